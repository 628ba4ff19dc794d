"""Flows as values: how a packet goes through them, and what changes one set into another."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.flows.flow import (
    COOKIE_MARK,
    COOKIE_MASK,
    DESTINATION_REGISTER,
    SOURCE_REGISTER,
    Action,
    Change,
    Commit,
    Flow,
    Goto,
    Match,
    Output,
    Packet,
    SetRegister,
    Table,
    Track,
    cookie_of,
    difference,
    lookup,
)

IPV4, IPV6, TCP, UDP = 0x0800, 0x86DD, 6, 17
PACKET = Packet(
    1, "02:00:00:00:00:01", "02:00:00:00:00:02", IPV4, ip_proto=TCP, ip_src="10.0.0.1", ip_dst="10.0.0.2",
    src_port=40000, dst_port=80, tcp_flags=0x18,
)  # fmt: skip


def flow(match: Match, *actions: Action, table: Table = Table.ADMISSION, priority: int = 1) -> Flow:
    return Flow(table, priority, match, actions, 0)


def way(*flows: Flow, packet: Packet = PACKET) -> tuple[int, ...]:
    return lookup(flows, packet).ports


# Looking up


def test_packet_that_meets_no_flow_is_dropped() -> None:
    assert lookup((), PACKET).ports == ()
    assert way(flow(Match(in_port=2), Output(2))) == ()


def test_flow_without_actions_drops() -> None:
    assert way(flow(Match()), flow(Match(), Output(2), priority=0)) == ()


def test_higher_priority_wins_whatever_the_order() -> None:
    low, high = flow(Match(), Output(2)), flow(Match(in_port=1), Output(3), priority=2)
    assert way(low, high) == way(high, low) == (3,)


@pytest.mark.parametrize(
    "match",
    [
        Match(in_port=1),
        Match(vlan=False),
        Match(eth_src=PACKET.eth_src),
        Match(eth_dst=PACKET.eth_dst),
        Match(eth_type=IPV4),
        Match(ip_proto=TCP),
        Match(ip_src="10.0.0.1"),
        Match(ip_src="10.0.0.0/8"),
        Match(ip_dst="10.0.0.2"),
        Match(src_port=40000),
        Match(dst_port=80),
        Match(tcp_flags=(0x10, 0x10)),
        Match(tcp_flags=(0x00, 0x02)),
        Match(tracked=False),
    ],
)
def test_field_that_is_as_wanted_meets(match: Match) -> None:
    assert way(flow(match, Output(2))) == (2,)


@pytest.mark.parametrize(
    "match",
    [
        Match(in_port=2),
        Match(vlan=True),
        Match(eth_src=PACKET.eth_dst),
        Match(eth_dst=PACKET.eth_src),
        Match(eth_dst_group=True),
        Match(eth_type=IPV6),
        Match(ip_proto=UDP),
        Match(ip_src="10.0.0.2"),
        Match(ip_src="11.0.0.0/8"),
        Match(ip_src="fe80::/10"),
        Match(ip_dst="10.0.0.1"),
        Match(src_port=80),
        Match(dst_port=40000),
        Match(icmp_type=8),
        Match(nd_target="fe80::1"),
        Match(tcp_flags=(0x02, 0x02)),
        Match(source=1),
        Match(destination=1),
        Match(tracked=True),
    ],
)
def test_field_that_is_otherwise_does_not_meet(match: Match) -> None:
    assert way(flow(match, Output(2))) == ()


def test_frame_without_a_field_meets_no_flow_that_asks_for_it() -> None:
    bare = Packet(1, PACKET.eth_src, PACKET.eth_dst, 0x88CC)
    for match in (Match(ip_src="0.0.0.0/0"), Match(tcp_flags=(0, 1)), Match(dst_port=0)):
        assert way(flow(match, Output(2)), packet=bare) == ()


def test_tag_and_group_bit_are_seen() -> None:
    assert way(flow(Match(vlan=False), Output(2)), packet=replace(PACKET, tagged=True)) == ()
    group = replace(PACKET, eth_dst="33:33:00:00:00:01")
    assert way(flow(Match(eth_dst_group=True), Output(2)), packet=group) == (2,)


def test_addresses_are_compared_as_addresses_and_not_as_text() -> None:
    packet = replace(PACKET, eth_type=IPV6, ip_src="fe80::1", ip_dst="fe80::2")
    assert way(flow(Match(ip_src="FE80:0:0::1"), Output(2)), packet=packet) == (2,)


def test_frame_never_leaves_by_the_port_that_it_came_in_by() -> None:
    assert way(flow(Match(), Output(1), Output(2))) == (2,)


def test_registers_last_over_tables_and_start_at_nought() -> None:
    flows = (
        flow(Match(source=0), SetRegister(SOURCE_REGISTER, 7), SetRegister(DESTINATION_REGISTER, 8),
             Goto(Table.VERDICT)),
        flow(Match(source=7, destination=8), Output(2), table=Table.VERDICT),
    )  # fmt: skip
    fate = lookup(flows, PACKET)
    assert fate.ports == (2,)
    assert fate.flows == flows


def test_connection_tracking_is_asked_before_it_answers() -> None:
    flows = (
        flow(Match(tracked=False), Track(Table.VERDICT)),
        flow(Match(tracked=True), Output(2), table=Table.VERDICT),
        flow(Match(), Output(3), table=Table.VERDICT, priority=0),
    )
    assert way(*flows, packet=replace(PACKET, answer=True)) == (2,)
    assert way(*flows) == (3,)


def test_commit_is_told() -> None:
    assert lookup((flow(Match(), Commit(), Output(2)),), PACKET).committed
    assert not lookup((flow(Match(), Output(2)),), PACKET).committed


def test_flows_that_go_round_in_a_circle_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="round in a circle"):
        way(flow(Match(), Goto(Table.ADMISSION)))


# Cookies


def test_cookie_is_ours_and_always_the_same() -> None:
    assert cookie_of("pair washer lock tcp-80") == cookie_of("pair washer lock tcp-80") < 2**64
    assert cookie_of("a") & COOKIE_MASK == COOKIE_MARK
    assert cookie_of("a") != cookie_of("b")


# Comparing

matches = st.builds(Match, in_port=st.integers(1, 3), dst_port=st.sampled_from([None, 80]))
flows = st.builds(
    Flow,
    st.sampled_from([Table.ADMISSION, Table.VERDICT]),
    st.integers(0, 2),
    matches,
    st.lists(st.builds(Output, st.integers(1, 2)), max_size=1).map(tuple),
    st.integers(0, 1),
)


@given(st.lists(flows), st.lists(flows))
def test_change_makes_one_set_of_flows_the_other_and_touches_nothing_else(
    before: list[Flow], after: list[Flow]
) -> None:
    installed, wanted = {f.key: f for f in before}, {f.key: f for f in after}
    change = difference(before, after)
    made = {key: f for key, f in installed.items() if f not in change.delete}
    made.update({f.key: f for f in change.add})
    assert made == wanted
    assert not set(change.delete) & set(wanted.values())
    assert not set(change.add) & set(installed.values())
    assert {f.key for f in change.delete}.isdisjoint(wanted)


def test_what_is_the_same_is_no_change() -> None:
    assert not difference((flow(Match(), Output(2)),), (flow(Match(), Output(2)),))
    assert not Change()


def test_flow_with_other_actions_is_replaced_in_one_step() -> None:
    before, after = flow(Match(), Output(2)), flow(Match(), Output(3))
    assert difference((before,), (after,)) == Change(delete=(), add=(after,))
    assert difference((before,), ()) == Change(delete=(before,))
