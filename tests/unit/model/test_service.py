"""Devices and services are plain values: they start with the least that is allowed."""

from dataclasses import FrozenInstanceError

import pytest

from controller.model.relationship import DeviceId, ServiceId
from controller.model.service import Admission, Device, Place, Service

DEVICE = Device(DeviceId("lamp"), 1, Place.SITE, "Lamp")


def test_device_that_nobody_has_admitted_is_new_and_learns_nothing() -> None:
    assert DEVICE.admission is Admission.NEW
    assert not DEVICE.young
    assert DEVICE.roles == frozenset()


def test_service_does_not_learn_unless_it_is_told_to() -> None:
    assert not Service(ServiceId("lamp/main"), DEVICE.id, "main", "Lamp").learning


def test_devices_can_be_read_by_other_threads_since_nothing_changes_them() -> None:
    with pytest.raises(FrozenInstanceError):
        DEVICE.young = True  # type: ignore[misc]
