"""A device that is forgotten: nothing of it stays but the log, in the model, table, flows or store."""

from pathlib import Path

import pytest

from controller.config import parse
from controller.events import (
    Answer,
    Decide,
    Forget,
    InspectorUp,
    Observed,
    PacketIn,
    Persist,
    PortInfo,
    SendFlows,
    SwitchUp,
    Tick,
    Undo,
    UpdateTable,
)
from controller.firewall.firewall import Firewall
from controller.flows.flow import cookie_of
from controller.keeper.backlog import merged
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, ServiceId
from controller.store.store import Store
from controller.verdicts import SetAddress, SetDevice, SetService, VerdictTable

SITE = """
admission: ask
networks: [10.0.0.0/8]
devices: [{id: lock, name: Front door, mac: 02:00:00:00:00:02, addresses: [10.0.0.2]}]
"""
GUEST = DeviceId("02-00-00-00-00-09")
PORTS = tuple(PortInfo(n, f"p{n}", "02:ff:00:00:00:00", True) for n in (1, 2))
ARP = bytes.fromhex(
    "ffffffffffff 020000000009 0806 0001080006040001 020000000009 0a000009 000000000000 0a000009"
) + bytes(18)


class Script:
    """A site where a guest was admitted and has talked to the door."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.firewall = Firewall(parse(SITE, "site.yaml"), None, b"secret")
        self.table = VerdictTable()
        self.now = 1000.0
        self.changes: list[SendFlows] = []
        self.do(InspectorUp(1))
        self.do(SwitchUp(1, PORTS))
        for _ in range(30):
            self.do(Tick())
        self.do(PacketIn(1, 1, ARP))
        (card,) = self.firewall.view(self.now).requests
        self.do(Decide(1, card.id, True, "me"))
        access = Access(ServiceId(f"{GUEST}/main"), ServiceId("lock/tcp-80"), "http", "read", "/state")
        self.do(
            Observed(
                GUEST, DeviceId("lock"), "10.0.0.9", "10.0.0.2", Endpoint("tcp", 80), access,
                "GET", None, None, True, Reason.LEARNING, self.now,
            )
        )  # fmt: skip
        for _ in range(10):
            self.do(Tick())

    def do(self, event: object) -> list[Answer]:
        self.now += 0.1
        effects = self.firewall.handle(event, self.now)  # type: ignore[arg-type]  # any event
        for effect in effects:
            match effect:
                case Persist():
                    self.store.write(effect.record)
                case UpdateTable():
                    for delta in effect.deltas:
                        self.table.apply(delta)
                case SendFlows():
                    self.changes.append(effect)
        return [effect for effect in effects if isinstance(effect, Answer)]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(Store(tmp_path / "graphwall.db"))


def test_nothing_of_it_stays_but_the_log(script: Script) -> None:
    before = script.firewall.view(script.now)
    assert GUEST in before.devices
    assert before.relationships
    assert before.decisions
    (answer,) = script.do(Forget(7, GUEST, "me"))
    assert answer == Answer(7)
    after = script.firewall.view(script.now)
    assert GUEST not in after.devices
    assert not [name for name in after.services if name.startswith(GUEST)]
    assert (after.relationships, after.requests, after.decisions, tuple(after.pairs)) == ({}, (), (), ())
    assert after.log[-1].text == "New device 0009 (02:00:00:00:00:09) is forgotten"
    assert {line.event for line in after.log} >= {"device", "decision", "forgotten"}


def test_the_inspector_forgets_it_too(script: Script) -> None:
    script.do(Forget(7, GUEST, "me"))
    rows = list(script.table.deltas())
    assert not [row for row in rows if isinstance(row, SetDevice | SetService) and row.device == GUEST]
    assert not [row for row in rows if isinstance(row, SetAddress) and row.address == "10.0.0.9"]


def test_its_flows_are_taken_out_and_no_others(script: Script) -> None:
    held = {flow.cookie for flow in script.firewall.wanted(1)}
    assert cookie_of(f"binding {GUEST}") in held
    script.changes.clear()
    script.do(Forget(7, GUEST, "me"))
    left = {flow.cookie for flow in script.firewall.wanted(1)}
    assert {cookie_of(f"{kind} {GUEST}") for kind in ("binding", "device")}.isdisjoint(left)
    assert cookie_of("device lock") in left
    (sent,) = script.changes
    assert sent.change.delete
    assert sent.change.add == ()


def test_it_is_not_back_after_a_restart(script: Script) -> None:
    script.do(Forget(7, GUEST, "me"))
    saved = script.store.load()
    assert sorted(device.id for device in saved.devices) == ["@group", "lock"]
    assert [s.id for s in saved.services if s.device == GUEST] == []
    assert (saved.relationships, saved.decisions) == ((), ())
    assert [line for line in saved.audit if line.event == "forgotten"]


def test_a_store_that_fails_meanwhile_ends_the_same(script: Script) -> None:
    record = script.store.load()
    effects = script.firewall.handle(Forget(7, GUEST, "me"), script.now)
    forgetting = next(effect.record for effect in effects if isinstance(effect, Persist))
    whole = merged(record, forgetting)
    assert sorted(device.id for device in whole.devices) == ["@group", "lock"]
    assert (whole.relationships, whole.decisions) == ((), ())


def test_what_is_still_heard_of_it_changes_nothing_until_it_speaks_again(script: Script) -> None:
    script.do(Forget(7, GUEST, "me"))
    access = Access(ServiceId(f"{GUEST}/main"), ServiceId("lock/tcp-80"), "http", "read", "/late")
    script.do(
        Observed(
            GUEST, DeviceId("lock"), "10.0.0.9", "10.0.0.2", Endpoint("tcp", 80), access,
            "GET", None, None, True, Reason.LEARNING, script.now,
        )
    )  # fmt: skip
    for _ in range(20):
        script.do(Tick())
    assert GUEST not in script.firewall.view(script.now).devices
    script.do(PacketIn(1, 1, ARP))
    assert script.firewall.view(script.now).requests[0].kind == "admission"


def test_its_decisions_cannot_be_undone_any_more(script: Script) -> None:
    number = script.firewall.view(script.now).decisions[0].decision.id
    script.do(Forget(7, GUEST, "me"))
    assert script.do(Undo(8, number, "me"))[0].code == "not found"


def test_what_is_described_in_site_yaml_or_not_there_is_not_forgotten(script: Script) -> None:
    assert script.do(Forget(7, DeviceId("lock"), "me"))[0].code == "not allowed"
    assert script.do(Forget(7, DeviceId("nobody"), "me"))[0].code == "not found"
    assert "lock" in script.firewall.view(script.now).devices
