"""An edited model is brought in as a whole, learns nothing, and can be taken back as a whole."""

from dataclasses import replace

import pytest

from controller.config import parse
from controller.events import (
    Answer,
    Block,
    DeviceEdit,
    Edit,
    Forget,
    Import,
    NotStored,
    Persist,
    ServiceEdit,
    Tick,
    Undo,
)
from controller.firewall.firewall import Firewall
from controller.model.relationship import Access, DeviceId, Endpoint, ServiceId, Status
from controller.model.service import Admission, Certainty, Place

NOW = 100.0
WEB = Endpoint("tcp", 80)
WASHER, LOCK, CLOUD = DeviceId("washer"), DeviceId("lock"), DeviceId("@cloud.example")
SITE = """
devices:
  - {id: washer, name: Washing machine, mac: 02:00:00:00:00:01}
  - {id: lock, name: Front door, kind: door lock, mac: 02:00:00:00:00:02}
"""
ASKER, ASKED = ServiceId("washer/main"), ServiceId("lock/tcp-80")
READ = Access(ASKER, ASKED, "http", "read", "/state")
WRITE = replace(READ, operation="write")
SERVICES = (
    ServiceEdit(ASKER, WASHER, "Washing machine", frozenset()),
    ServiceEdit(ASKED, LOCK, "web", frozenset({WEB})),
)


class Site:
    def __init__(self) -> None:
        self.firewall = Firewall(parse(SITE, "site.yaml"), None, b"secret")
        self.firewall.handle(Tick(), NOW)

    def do(self, command: object) -> Answer:
        (found,) = (e for e in self.firewall.handle(command, NOW) if isinstance(e, Answer))  # type: ignore[arg-type]
        return found

    def bring(
        self,
        *edits: Edit,
        devices: tuple[DeviceEdit, ...] = (),
        services: tuple[ServiceEdit, ...] = SERVICES,
    ) -> Answer:
        return self.do(Import(1, edits, devices, services, "Ada (phone)"))

    def status(self, access: Access) -> Status | None:
        found = self.firewall._state.site.graph.get(access)
        return None if found is None else found.status

    def allows(self, access: Access) -> bool:
        return self.firewall._state.table.judge(WASHER, LOCK, access, NOW).allow


@pytest.fixture
def site() -> Site:
    made = Site()
    assert (
        made.bring(Edit(READ, None, Status.LEARNED, WEB), Edit(WRITE, None, Status.DENIED, WEB)).code is None
    )
    return made


def test_what_is_brought_in_is_in_force_and_nothing_learns(site: Site) -> None:
    assert site.allows(READ)
    assert not site.allows(WRITE)
    view = site.firewall.view(NOW)
    assert not any(one.learning for one in view.services.values())
    (made,) = view.decisions
    assert (made.decision.sentence, made.decision.by) == ("A model was imported: 4 changes", "Ada (phone)")


def test_what_is_forgotten_is_asked_about_again_and_undo_brings_it_back(site: Site) -> None:
    answer = site.bring(
        Edit(READ, Status.LEARNED, None, WEB), Edit(WRITE, Status.DENIED, Status.APPROVED, WEB), services=()
    )
    assert site.status(READ) is None
    assert site.allows(WRITE)
    assert answer.decision is not None
    assert site.do(Undo(2, answer.decision, "Ada")).code is None
    assert site.status(READ) is Status.LEARNED
    assert not site.allows(WRITE)


def test_undo_brings_nothing_back_for_a_device_that_is_forgotten_since(site: Site) -> None:
    lamp, bulb = DeviceId("lamp"), ServiceId("lamp/tcp-80")
    dim = replace(READ, server=bulb)
    device = DeviceEdit(lamp, "Lamp", "light", False, "02:00:00:00:00:09")
    service = ServiceEdit(bulb, lamp, "web", frozenset({WEB}))
    site.bring(Edit(dim, None, Status.LEARNED, WEB), devices=(device,), services=(service,))
    made = site.bring(
        Edit(READ, Status.LEARNED, None, WEB), Edit(dim, Status.LEARNED, None, WEB), services=()
    )
    assert made.decision is not None
    site.do(Block(2, lamp, True, "Ada"))
    assert site.do(Forget(3, lamp, "Ada")).code is None
    assert site.do(Undo(4, made.decision, "Bo", manager=False)).code == "not allowed"
    assert site.do(Undo(5, made.decision, "Ada")).code is None
    assert site.status(dim) is None
    assert site.status(READ) is Status.LEARNED


def test_it_is_all_or_nothing(site: Site) -> None:
    answer = site.bring(
        Edit(READ, Status.LEARNED, Status.DENIED, WEB), Edit(WRITE, Status.LEARNED, Status.APPROVED, WEB)
    )
    assert answer.code == "changed"
    assert site.allows(READ)


def test_what_the_store_refuses_does_not_happen(site: Site) -> None:
    command = Import(7, (Edit(READ, Status.LEARNED, Status.DENIED, WEB),), (), (), "Ada")
    effects = site.firewall.handle(command, NOW)
    assert any(isinstance(effect, Persist) for effect in effects)
    site.firewall.handle(NotStored(7, "full"), NOW)
    assert site.allows(READ)
    assert len(site.firewall.view(NOW).decisions) == 1


def test_a_device_is_renamed_blocked_and_made_known(site: Site) -> None:
    new = DeviceEdit(DeviceId("lamp"), "Lamp", "light", False, "02:00:00:00:00:09")
    site.bring(devices=(DeviceEdit(LOCK, "Back door", "door lock", True, None), new), services=())
    devices = site.firewall.view(NOW).devices
    assert (devices[LOCK].name, devices[LOCK].admission) == ("Back door", Admission.BLOCKED)
    assert devices[LOCK].certainty is Certainty.GIVEN
    lamp = devices[DeviceId("lamp")]
    assert (lamp.admission, lamp.young, lamp.mac) == (Admission.ADMITTED, False, "02:00:00:00:00:09")
    assert len({device.number for device in devices.values()}) == len(devices)


def test_a_destination_outside_is_made_known_with_its_service(site: Site) -> None:
    server = ServiceId("@cloud.example/tcp-443")
    out = Access(ASKER, server, "tls", "connect", "cloud.example")
    services = (ServiceEdit(server, CLOUD, "web", frozenset({Endpoint("tcp", 443)})),)
    assert site.bring(Edit(out, None, Status.LEARNED, Endpoint("tcp", 443)), services=services).code is None
    assert site.firewall.view(NOW).devices[CLOUD].place is Place.REMOTE


@pytest.mark.parametrize(
    ("devices", "services", "edits", "word"),
    [
        ((DeviceEdit(DeviceId("x"), "X", "", False, None),), (), (), "give its 'mac:'"),
        ((DeviceEdit(DeviceId("x"), "X", "", False, "02:00:00:00:00:01"),), (), (), "call it washer"),
        ((), (ServiceEdit(ServiceId("x/main"), DeviceId("x"), "X", frozenset()),), (), "add that device"),
        (
            (),
            (),
            (Edit(replace(READ, server=ServiceId("x/y")), None, Status.LEARNED, WEB),),
            "add that service",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_what_to_do(
    site: Site,
    devices: tuple[DeviceEdit, ...],
    services: tuple[ServiceEdit, ...],
    edits: tuple[Edit, ...],
    word: str,
) -> None:
    answer = site.bring(*edits, devices=devices, services=services)
    assert answer.code == "not possible"
    assert word in answer.remedy
