"""What a switch is asked for: the smallest change, followed until it is confirmed, traced to its origin."""

from dataclasses import replace

import pytest

from controller.firewall.enforcement import TEMPORARY_AT_MOST, Dirty, Enforcement
from controller.flows.compile import Pair, Policy, SwitchPorts, compile_connection, compile_flows
from controller.flows.flow import Flow, cookie_of
from controller.model.relationship import DeviceId, Endpoint, Treatment
from controller.model.service import Admission, Binding, Device, Place

WEB = Endpoint("tcp", 80)


def device(number: int, switch: int = 1) -> Device:
    return Device(
        DeviceId(f"d{number}"), number, Place.SITE, f"D{number}", f"02:00:00:00:00:0{number}",
        frozenset({f"10.0.0.{number}"}), Binding(switch, number), Admission.ADMITTED,
    )  # fmt: skip


A, B, C = (device(number) for number in (1, 2, 3))
AB, AC = Pair(A.id, B.id, WEB), Pair(A.id, C.id, WEB)


def policy(switch: int = 1) -> Policy:
    devices = {d.id: d for d in (A, B, C)}
    return Policy(
        ports=SwitchPorts(switch, 8, 9, frozenset(), frozenset({1, 2, 3})),
        devices=devices,
        towards={d.id: d.number for d in devices.values()},
        attached=set(devices),
        pairs={AB: Treatment.INSPECT, AC: Treatment.DROP},
    )


def flows(made: Policy) -> set[Flow]:
    return {flow for flows in compile_flows(made).values() for flow in flows}


def connection(port: int) -> Flow:
    return compile_connection(A, B, ("10.0.0.1", "10.0.0.2"), (port, 80), 30, 60)


def never(_: Pair) -> bool:
    return False


def always(_: Pair) -> bool:
    return True


@pytest.fixture
def served() -> tuple[Enforcement, Policy]:
    enforcement, made = Enforcement(), policy()
    enforcement.connect(made, (), never)
    return enforcement, made


# Connecting


def test_empty_switch_is_told_everything_in_one_change() -> None:
    sent = Enforcement().connect(policy(), (), never)
    assert set(sent.change.add) == flows(policy())
    assert sent.change.delete == ()


def test_switch_that_holds_everything_is_told_nothing() -> None:
    assert not Enforcement().connect(policy(), flows(policy()), never).change


def test_only_what_differs_is_sent_to_a_switch_that_comes_back() -> None:
    held = sorted(flows(policy()), key=repr)
    stray = connection(1)
    sent = Enforcement().connect(policy(), (*held[1:], replace(stray, idle_timeout=0)), never)
    assert sent.change.add == (held[0],)
    assert [flow.key for flow in sent.change.delete] == [stray.key]


@pytest.mark.parametrize(("lasting", "kept"), [(always, True), (never, False)])
def test_settled_connection_goes_on_over_a_reconnect_if_its_pair_still_allows_it(
    lasting: object, kept: bool
) -> None:
    enforcement = Enforcement()
    sent = enforcement.connect(policy(), (*flows(policy()), connection(1)), lasting)  # type: ignore[arg-type]
    assert (sent.change.delete == ()) is kept
    assert enforcement.count(1) == len(flows(policy())) + kept


def test_connection_of_devices_that_are_gone_does_not_go_on() -> None:
    stranger = replace(A, number=77)
    stray = compile_connection(stranger, B, ("10.0.0.9", "10.0.0.2"), (1, 80), 30, 60)
    sent = Enforcement().connect(policy(), (*flows(policy()), stray), always)
    assert sent.change.delete == (stray,)


# Changes


def test_change_of_one_pair_touches_its_flows_only(served: tuple[Enforcement, Policy]) -> None:
    enforcement, made = served
    changed = replace(made, pairs={**made.pairs, AB: Treatment.FORWARD})
    sent = enforcement.refresh(changed, Dirty(pairs={AB, AC}))
    assert sent is not None
    assert sent.change.add
    assert {flow.cookie for flow in (*sent.change.add, *sent.change.delete)} == {cookie_of(AB.origin)}
    assert set(enforcement.wanted(1)) == flows(changed)


@pytest.mark.parametrize("dirty", [Dirty(pairs={AB}), Dirty(devices={A.id}), Dirty(switches={1}), Dirty()])
def test_what_is_dirty_but_the_same_sends_nothing(served: tuple[Enforcement, Policy], dirty: Dirty) -> None:
    assert served[0].refresh(served[1], dirty) is None


def test_pair_that_is_forgotten_leaves_nothing(served: tuple[Enforcement, Policy]) -> None:
    enforcement, made = served
    without = replace(made, pairs={AC: Treatment.DROP})
    for dirty in (Dirty(pairs={AB}), Dirty(switches={1})):
        enforcement.connect(made, (), never)
        sent = enforcement.refresh(without, dirty)
        assert sent is not None
        assert sent.change.add == ()
        assert {flow.cookie for flow in sent.change.delete} == {cookie_of(AB.origin)}
        assert enforcement.origin(cookie_of(AB.origin)) is None


def test_address_that_changes_hands_is_replaced_and_not_deleted_after(
    served: tuple[Enforcement, Policy],
) -> None:
    """The flow for the MAC address is the same to the switch, whichever device it is of."""
    enforcement, made = served
    taken = replace(B, mac=A.mac, addresses=A.addresses)
    without = replace(A, mac="02:00:00:00:00:77", addresses=frozenset())
    changed = replace(made, devices={**made.devices, A.id: without, B.id: taken})
    sent = enforcement.refresh(changed, Dirty(devices={A.id, B.id}, pairs={AB, AC}))
    assert sent is not None
    assert {f.key for f in sent.change.add}.isdisjoint(f.key for f in sent.change.delete)
    held = {f.key: f for f in flows(made)}
    for flow in sent.change.delete:
        held.pop(flow.key)
    held.update({f.key: f for f in sent.change.add})
    assert set(held.values()) == flows(changed)


def test_switch_that_is_gone_is_sent_nothing(served: tuple[Enforcement, Policy]) -> None:
    enforcement, made = served
    enforcement.disconnect(1)
    assert enforcement.refresh(made, Dirty(switches={1})) is None
    assert enforcement.temporary(1, connection(1), AB) is None
    assert enforcement.count(1) == 0


# Flows for a short time


def test_settled_connection_is_withdrawn_when_its_pair_changes(served: tuple[Enforcement, Policy]) -> None:
    enforcement, made = served
    assert enforcement.temporary(1, connection(1), AB) is not None
    assert enforcement.temporary(1, connection(1), AB) is None  # it is there
    assert enforcement.refresh(made, Dirty(pairs={AC})) is None
    sent = enforcement.refresh(made, Dirty(pairs={AB}))
    assert sent is not None
    assert sent.change.delete == (connection(1),)


def test_settled_connections_are_withdrawn_when_another_inspects(served: tuple[Enforcement, Policy]) -> None:
    enforcement, _ = served
    enforcement.temporary(1, connection(1), AB)
    (sent,) = enforcement.carry_nothing()
    assert sent.change.delete == (connection(1),)
    assert not list(enforcement.carry_nothing())
    assert enforcement.temporary(1, connection(1), AB) is not None


def test_one_pair_cannot_fill_the_switch_with_connections(served: tuple[Enforcement, Policy]) -> None:
    enforcement, _ = served
    sent = [enforcement.temporary(1, connection(port), AB) for port in range(TEMPORARY_AT_MOST + 3)]
    assert sum(change is not None for change in sent) == TEMPORARY_AT_MOST
    enforcement.ended(1, connection(0))
    assert enforcement.temporary(1, connection(60000), AB) is not None


def test_flow_that_has_ended_is_not_withdrawn_again(served: tuple[Enforcement, Policy]) -> None:
    enforcement, made = served
    enforcement.temporary(1, connection(1), AB)
    enforcement.ended(1, connection(1))
    enforcement.ended(1, connection(2))  # one that nobody knows
    assert enforcement.refresh(made, Dirty(pairs={AB})) is None


# In force


def test_change_is_in_force_once_every_switch_has_confirmed_it() -> None:
    enforcement = Enforcement()
    first = enforcement.connect(policy(1), (), never)
    second = enforcement.connect(policy(2), (), never)
    asked = enforcement.asked()
    assert not enforcement.in_force(asked)
    enforcement.confirm(1, first.ticket)
    assert not enforcement.in_force(asked)
    enforcement.confirm(2, second.ticket)
    assert enforcement.in_force(asked)


def test_old_confirmation_does_not_take_back_a_newer_one(served: tuple[Enforcement, Policy]) -> None:
    enforcement, made = served
    enforcement.refresh(replace(made, pairs={}), Dirty(pairs={AB}))
    ticket = enforcement.asked()[1]
    enforcement.confirm(1, ticket)
    enforcement.confirm(1, ticket - 1)
    assert enforcement.in_force({1: ticket})


def test_nothing_is_in_force_at_a_switch_that_is_gone_until_it_has_confirmed_again(
    served: tuple[Enforcement, Policy],
) -> None:
    enforcement, made = served
    enforcement.confirm(1, enforcement.asked()[1])
    enforcement.disconnect(1)
    assert not enforcement.in_force(enforcement.asked())
    sent = enforcement.connect(made, flows(made), never)
    assert not enforcement.in_force(enforcement.asked())
    enforcement.confirm(1, sent.ticket)
    assert enforcement.in_force(enforcement.asked())


# Where a flow comes from


def test_every_flow_that_is_wanted_says_what_it_is_for(served: tuple[Enforcement, Policy]) -> None:
    enforcement, _ = served
    origins = {enforcement.origin(flow.cookie) for flow in enforcement.wanted(1)}
    assert None not in origins
    assert {"switch", f"binding {A.id}", f"device {B.id}", AB.origin, AC.origin} <= origins
    enforcement.temporary(1, connection(1), AB)
    assert enforcement.origin(connection(1).cookie) == f"{AB.origin} (for a short time)"
    assert enforcement.origin(1) is None


def test_origin_is_known_as_long_as_one_switch_has_its_flows() -> None:
    enforcement = Enforcement()
    for switch in (1, 2):
        enforcement.connect(policy(switch), (), never)
    enforcement.disconnect(1)
    assert enforcement.origin(cookie_of(AB.origin)) == AB.origin
    enforcement.disconnect(2)
    assert enforcement.origin(cookie_of(AB.origin)) is None
