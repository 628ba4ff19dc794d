"""A name that looks like another's is warned of before anybody answers; honest names are not."""

from dataclasses import replace

import pytest

from controller.firewall.impostors import Impostors
from controller.firewall.requests import Request, requests
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, Relationship, ServiceId, Status
from controller.model.service import Admission, Device, Place, Service
from controller.model.site import Site

LOCK, NEW, CLOUD = DeviceId("lock"), DeviceId("new"), DeviceId("@cloud.example")
WEB = Endpoint("tcp", 80)


def site(name: str, program: str = "main", place: Place = Place.SITE) -> Site:
    """A lock called Front door with a program called doorman, and a newcomer of a given name."""

    def device(id_: DeviceId, number: int, called: str, place: Place = Place.SITE) -> Device:
        return Device(id_, number, place, called, f"02:00:00:00:00:0{number}", admission=Admission.ADMITTED)

    access = Access(ServiceId("new/x"), ServiceId("lock/tcp-80"), "http", "write", "/open")
    return Site(
        [device(LOCK, 1, "Front door"), device(NEW, 2, name, place)],
        [
            Service(ServiceId("lock/tcp-80"), LOCK, "tcp-80", "web", endpoints=frozenset({WEB})),
            Service(ServiceId("lock/doorman"), LOCK, "doorman", "doorman"),
            Service(ServiceId("new/x"), NEW, "main" if program == "main" else "x", program),
        ],
        [Relationship(access, Status.PENDING, Reason.NEW_PARTNER, WEB, "PUT", 1.0, 1.0)],
    )


def warning(found: Site) -> str:
    (request,) = requests(found)
    return Impostors(found).warning(request)


@pytest.mark.parametrize("name", ["Fr\u043ent door", "Fr0nt door", "Front-door", "Front d00r"])
def test_a_device_called_almost_like_another_is_warned_of(name: str) -> None:
    assert warning(site(name)) == (
        f'It is called "{name}": that looks like Front door, but is written with other letters.'
    )


def test_a_program_called_almost_like_another_is_warned_of() -> None:
    assert "looks like doorman" in warning(site("Washer", "d00rman"))


def test_a_device_that_waits_to_join_is_warned_of() -> None:
    found = site("Washer")
    newcomer = replace(found.devices[NEW], name="Fr\u043ent door", admission=Admission.NEW)
    found.put_device(newcomer)
    assert "looks like Front door" in Impostors(found).warning(Request("x", newcomer))


@pytest.mark.parametrize("name", ["Back door", "Washer", "Front door", "", "…"])
def test_other_names_and_the_very_same_are_not(name: str) -> None:
    assert warning(site(name)) == ""


def test_names_outside_are_not_looked_at() -> None:
    assert warning(site("Fr\u043ent door", place=Place.REMOTE)) == ""


def test_hostile_names_are_quoted_as_visible_text() -> None:
    text = warning(site("<b>Fr0nt</b> do\u202eor"))
    assert "\u202e" not in text
