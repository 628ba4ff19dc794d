"""Readings of switches: what differs is told with whom it concerns, put right, counted and answered."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from controller.config import parse
from controller.events import (
    Answer,
    Done,
    Effect,
    FlowsRead,
    InspectorUp,
    Observed,
    PortInfo,
    ReadFlows,
    Refused,
    Report,
    SendFlows,
    SwitchDown,
    SwitchUp,
    Tick,
    Verify,
)
from controller.firewall.firewall import Firewall
from controller.flows.flow import Change, Flow, Match, Output, Strange, Table
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, ServiceId

SITE = """
switches: [{name: hall, dpid: 1}]
devices:
  - {id: washer, name: Washing machine, mac: 02:00:00:00:00:01, addresses: [10.0.0.1], switch: hall, port: 1}
  - {id: lock, name: Front door, mac: 02:00:00:00:00:02, addresses: [10.0.0.2], switch: hall, port: 2}
"""
PORTS = tuple(
    PortInfo(n, name, "02:ff:00:00:00:00", True) for n, name in enumerate(("a", "b", "x-gwi", "x-gwc"), 1)
)
BY_HAND = Flow(Table.ADMISSION, 9999, Match(in_port=1), (Output(2),), 0)


class Script:
    """A firewall, a clock, and a switch that carries out all that it is told."""

    def __init__(self) -> None:
        self.firewall = Firewall(parse(SITE, "site.yaml"), None, b"secret")
        self.now = 1000.0
        self.flows: dict[object, Flow | Strange] = {}
        self.ticket = 0
        self.do(InspectorUp(1))
        self.do(SwitchUp(1, PORTS))
        for _ in range(30):
            self.do(Tick())

    def do(self, event: object) -> Sequence[Effect]:
        self.now += 0.1
        effects = self.firewall.handle(event, self.now)  # type: ignore[arg-type]  # any event
        for effect in effects:
            if isinstance(effect, SendFlows):
                self._apply(effect.change)
                self.ticket = effect.ticket
                self.firewall.handle(Done(1, effect.ticket), self.now)
        return effects

    def _apply(self, change: Change) -> None:
        self.flows = {
            key: flow for key, flow in self.flows.items() if (flow.table, flow.cookie) not in change.purge
        }
        for flow in change.delete:
            self.flows.pop(flow.key, None)
        self.flows.update({flow.key: flow for flow in change.add})

    def read(self, number: int = 0) -> Sequence[Effect]:
        flows = {repr(flow).encode(): flow for flow in self.flows.values()}
        return self.do(FlowsRead(1, flows, self.ticket, number))

    def talk(self) -> Flow:
        """The washer reads the lock's state; the flow for its requests."""
        access = Access(ServiceId("washer/main"), ServiceId("lock/tcp-80"), "http", "read", "/state")
        self.do(
            Observed(
                DeviceId("washer"), DeviceId("lock"), "10.0.0.1", "10.0.0.2", Endpoint("tcp", 80), access,
                "GET", None, None, True, Reason.LEARNING, self.now,
            )
        )  # fmt: skip
        return next(
            flow
            for flow in self.flows.values()
            if isinstance(flow, Flow) and flow.table is Table.VERDICT and flow.match.dst_port == 80
        )

    def counted(self) -> int:
        return self.firewall.view(self.now).counters["flows repaired"]


@pytest.fixture
def script() -> Script:
    return Script()


def reports(effects: Sequence[Effect]) -> list[str]:
    return [effect.text for effect in effects if isinstance(effect, Report)]


def test_a_switch_that_holds_what_it_was_told_needs_nothing(script: Script) -> None:
    script.talk()
    assert script.read() == []
    assert script.counted() == 0


def test_a_missing_flow_is_told_with_its_relationship_and_sent_again(script: Script) -> None:
    flow = script.talk()
    script.read()
    del script.flows[flow.key]
    (said,) = reports(script.read())
    assert said.startswith("hall: Washing machine to Front door at tcp-80: a flow is missing, table 3")
    assert script.flows[flow.key] == flow
    assert script.counted() == 1
    assert script.firewall.view(script.now).log[-1].event == "repaired"
    assert script.read() == []


def test_a_changed_flow_is_put_back_without_a_gap(script: Script) -> None:
    flow = script.talk()
    script.flows[flow.key] = replace(flow, actions=(), cookie=0)
    effects = script.read()
    assert [e.change for e in effects if isinstance(e, SendFlows)] == [Change(add=(flow,))]
    assert "Washing machine to Front door at tcp-80: a flow was changed" in reports(effects)[0]


def test_a_flow_that_nobody_asked_for_goes(script: Script) -> None:
    script.flows[BY_HAND.key] = BY_HAND
    (said,) = reports(script.read())
    assert "a flow that nobody asked for, table 0 priority 9999 in_port=1: output:2" in said
    assert BY_HAND.key not in script.flows


def test_a_flow_by_hand_between_two_devices_is_told_by_their_names(script: Script) -> None:
    asked = script.talk()
    match = replace(asked.match, dst_port=23)
    script.flows["hand"] = replace(asked, match=match, priority=999, cookie=0)
    script.do(Verify(7))
    answer = next(e for e in script.read(1) if isinstance(e, Answer))
    (difference,) = answer.checks[0].differences
    assert difference.sentence.startswith("Washing machine to Front door: a flow that nobody asked for")
    assert difference.relationships == tuple(script.firewall.view(script.now).relationships)


def test_what_has_no_words_is_purged_by_its_cookie(script: Script) -> None:
    script.flows["strange"] = Strange(0, 3, None, 77, "tunnel")
    script.read()
    assert "strange" not in script.flows
    assert script.read() == []


def test_the_same_difference_again_and_again_is_repaired_each_time_and_logged_once(script: Script) -> None:
    said = []
    for _ in range(5):
        script.flows[BY_HAND.key] = BY_HAND
        said += reports(script.read())
        assert BY_HAND.key not in script.flows
        script.read()
    assert len(said) == 1
    assert script.counted() == 5


def test_a_flow_that_the_switch_refuses_is_not_sent_again_at_once(script: Script) -> None:
    flow = script.talk()
    del script.flows[flow.key]
    script.do(Refused(1, script.ticket, flow.cookie, "table full"))
    assert [e for e in script.read() if isinstance(e, SendFlows)] == []
    script.now += 61
    assert [e.change.add for e in script.read() if isinstance(e, SendFlows)] == [(flow,)]


def test_all_flows_gone_make_a_few_lines_and_come_back(script: Script) -> None:
    flow = script.talk()
    script.read()
    held = dict(script.flows)
    script.flows.clear()
    said = reports(script.read())
    assert script.flows == held
    assert flow.key in script.flows
    assert len(said) <= 21
    assert said[-1].endswith("more flows were put right.")


def test_a_question_is_answered_by_a_reading_that_began_after_it(script: Script) -> None:
    assert [e for e in script.do(Verify(7)) if isinstance(e, ReadFlows)] == [ReadFlows(1, 1)]
    assert script.read(0) == []
    (answer,) = script.read(1)
    assert isinstance(answer, Answer)
    (check,) = answer.checks
    assert (answer.token, check.name, check.read, check.differing) == (7, "hall", True, 0)
    assert check.expected == check.found == len(script.flows) > 10


def test_a_switch_that_is_gone_or_silent_is_said_to_be_unread(script: Script) -> None:
    script.do(Verify(7))
    script.now += 8
    answer = next(e for e in script.do(Tick()) if isinstance(e, Answer))
    assert [check.read for check in answer.checks] == [False]
    script.do(SwitchDown(1))
    assert next(e for e in script.do(Verify(8)) if isinstance(e, Answer)).checks[0].read is False


def test_a_site_without_switches_is_answered_at_once() -> None:
    effects = Firewall(parse(SITE, "site.yaml"), None, b"s").handle(Verify(7), 0.0)
    assert effects == [Answer(7)]
