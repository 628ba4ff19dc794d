"""A new device that looks like a known one is said to, and may get the same permissions at once."""

from dataclasses import replace

import pytest

from controller.config import parse
from controller.events import Answer, Decision, NotStored, Persist, Record, SameAs, Tick, Undo
from controller.firewall.firewall import Firewall
from controller.firewall.likeness import alike
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, Relationship, ServiceId, Status
from controller.model.service import Admission, Device, Place, Service

OLD, NEW, WASHER = DeviceId("battery-1"), DeviceId("battery-2"), DeviceId("washer")
WEB = Endpoint("tcp", 80)


def device(name: DeviceId, number: int, mac: str, kind: str = "", **more: object) -> Device:
    made = Device(name, number, Place.SITE, name.capitalize(), mac, admission=Admission.ADMITTED, kind=kind)
    return replace(made, **more)  # type: ignore[arg-type]


def relationship(client: str, server: str, operation: str, status: Status) -> Relationship:
    access = Access(ServiceId(client), ServiceId(server), "http", operation, "/charge")
    return Relationship(access, status, Reason.LEARNING, WEB, "GET", 1.0, 2.0, 5)


SAVED = Record(
    devices=(
        device(OLD, 1, "00:11:22:00:00:01", "battery"),
        device(NEW, 2, "00:11:22:00:00:02", admission=Admission.NEW),
        device(WASHER, 3, "00:99:99:00:00:03"),
    ),
    services=(
        Service(ServiceId("battery-1/main"), OLD, "main", "Battery-1"),
        Service(ServiceId("battery-1/tcp-80"), OLD, "tcp-80", "web", endpoints=frozenset({WEB})),
        Service(ServiceId("washer/main"), WASHER, "main", "Washer"),
        Service(ServiceId("washer/tcp-80"), WASHER, "tcp-80", "web", endpoints=frozenset({WEB})),
    ),
    relationships=(
        relationship("washer/main", "battery-1/tcp-80", "read", Status.LEARNED),
        relationship("washer/main", "battery-1/tcp-80", "write", Status.DENIED),
        relationship("battery-1/main", "washer/tcp-80", "read", Status.APPROVED),
        relationship("battery-1/main", "washer/tcp-80", "write", Status.PENDING),
        replace(relationship("washer/main", "battery-1/tcp-80", "delete", Status.APPROVED), until=9999.0),
    ),
)


class Site:
    def __init__(self, saved: Record = SAVED) -> None:
        self.firewall = Firewall(parse("", "site.yaml"), saved, b"secret")
        self.firewall.handle(Tick(), 100.0)

    def answer(self, command: object) -> Answer:
        (found,) = (e for e in self.firewall.handle(command, 100.0) if isinstance(e, Answer))  # type: ignore[arg-type]
        return found

    def request(self) -> str:
        (found,) = (r for r in self.firewall.view(100.0).requests if r.kind == "admission")
        return found.id

    def accept(self, **more: object) -> Answer:
        return self.answer(replace(SameAs(1, self.request(), OLD, "Ada (phone)"), **more))  # type: ignore[arg-type]

    def statuses(self) -> dict[tuple[str, str, str], Status]:
        return {
            (r.access.client, r.access.server, str(r.access.operation)): r.status
            for r in self.firewall._state.site.graph
            if "battery-2" in r.access.client + r.access.server
        }


def test_a_new_device_of_the_same_maker_is_said_to_look_alike() -> None:
    (card,) = (r for r in Site().firewall.view(100.0).requests if r.kind == "admission")
    assert card.suggestion is not None
    assert (card.suggestion.device, card.suggestion.sentence) == (
        OLD,
        "This looks like Battery-1, which you allowed.",
    )


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"kind": "lamp"}, {"kind": "Lamp", "mac": "00:99:99:00:00:01"}, True),
        ({"kind": "lamp"}, {"kind": "lock"}, False),
        ({}, {}, True),
        ({"vendor": "a"}, {"vendor": "b"}, False),
        ({"mac": "02:11:22:00:00:01"}, {"mac": "02:11:22:00:00:02"}, False),  # made up
        ({"mac": None}, {"mac": None}, False),
    ],
)
def test_alike_is_the_kind_or_else_the_maker(one: dict[str, str], other: dict[str, str], same: bool) -> None:
    first, second = device(OLD, 1, "00:11:22:00:00:01"), device(NEW, 2, "00:11:22:00:00:02")
    assert alike(replace(first, **one), replace(second, **other)) is same  # type: ignore[arg-type]


def test_it_gets_what_was_learnt_approved_and_denied_for_good_and_learns_nothing() -> None:
    site = Site()
    answer = site.accept()
    assert answer.code is None
    assert site.statuses() == {
        ("washer/main", "battery-2/tcp-80", "read"): Status.APPROVED,
        ("washer/main", "battery-2/tcp-80", "write"): Status.DENIED,
        ("battery-2/main", "washer/tcp-80", "read"): Status.APPROVED,
    }
    view = site.firewall.view(100.0)
    admitted = view.devices[NEW]
    assert (admitted.admission, admitted.young, admitted.kind) == (Admission.ADMITTED, False, "battery")
    assert not any(one.service.learning for one in view.services.values())
    (made,) = view.decisions
    assert (made.decision.by, made.decision.device) == ("Ada (phone)", NEW)
    assert made.decision.sentence.endswith("with the same permissions as Battery-1")


def test_undo_takes_all_of_it_back() -> None:
    site = Site()
    answer = site.accept()
    assert answer.decision is not None
    assert site.answer(Undo(2, answer.decision, "Ada")).code is None
    assert site.statuses() == {}
    assert site.firewall.view(100.0).devices[NEW].admission is Admission.NEW


def test_it_is_stored_before_it_is_enforced_and_not_at_all_when_the_store_is_full() -> None:
    site = Site()
    effects = site.firewall.handle(SameAs(1, site.request(), OLD, "Ada"), 100.0)
    kinds = [type(effect) for effect in effects]
    assert kinds[0] is Persist
    assert kinds[-1] is Answer
    site.firewall.handle(NotStored(1, "full"), 100.0)
    assert site.statuses() == {}
    assert site.firewall.view(100.0).devices[NEW].admission is Admission.NEW
    assert not site.firewall.view(100.0).decisions


def test_it_is_the_same_after_a_restart() -> None:
    site = Site()
    (persist,) = (
        e
        for e in site.firewall.handle(SameAs(1, site.request(), OLD, "Ada"), 100.0)
        if isinstance(e, Persist)
    )
    stored = persist.record
    assert all(isinstance(one, Decision) for one in stored.decisions)
    devices = {d.id: d for d in (*SAVED.devices, *stored.devices)}
    services = {s.id: s for s in (*SAVED.services, *stored.services)}
    edges = {r.access: r for r in (*SAVED.relationships, *stored.relationships)}
    again = Site(
        Record(tuple(devices.values()), tuple(services.values()), tuple(edges.values()), (), stored.decisions)
    )
    assert again.statuses() == site.statuses()


def test_sensitive_permissions_need_a_second_word() -> None:
    locks = replace(SAVED, devices=(*SAVED.devices[:2], replace(SAVED.devices[2], kind="door lock")))
    edges = (
        *SAVED.relationships,
        relationship("battery-1/main", "washer/tcp-80", "execute", Status.APPROVED),
    )
    site = Site(replace(locks, relationships=edges))
    assert site.accept(confirmed=False).code == "confirm"
    assert site.accept(confirmed=True).code is None


def test_to_become_a_lock_that_others_may_open_is_sensitive() -> None:
    devices = (replace(SAVED.devices[0], kind="door lock"), *SAVED.devices[1:])
    edges = (
        *SAVED.relationships,
        relationship("washer/main", "battery-1/tcp-80", "execute", Status.APPROVED),
    )
    site = Site(replace(SAVED, devices=devices, relationships=edges))
    assert site.accept(confirmed=False).code == "confirm"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"device": DeviceId("nobody")}, "not found"),
        ({"device": NEW}, "not found"),
        ({"request": "zzz"}, "not found"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, object], code: str) -> None:
    assert Site().accept(**change).code == code


def test_a_lock_is_no_model_for_a_lamp() -> None:
    devices = (
        replace(SAVED.devices[0], kind="lock"), replace(SAVED.devices[1], kind="lamp"), SAVED.devices[2]
    )  # fmt: skip
    answer = Site(replace(SAVED, devices=devices)).accept()
    assert (answer.code, answer.message) == ("not possible", "Battery-1 is a lock, and this a lamp")
