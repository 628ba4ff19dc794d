"""The switch in memory does what flows mean; its index changes nothing but the time that it takes."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.flows.compile import compile_flows
from controller.flows.flow import Change, Commit, Flow, Goto, Match, Output, Packet, Table, Track, lookup
from controller.replay.switch import TRACKED_FOR, Switch
from tests.properties.policies import Site, packets, sites

UDP = 17
PACKET = Packet(
    1, "02:00:00:00:00:01", "02:00:00:00:00:02", 0x0800, False, UDP, "10.0.0.1", "10.0.0.2", 40000, 53
)


def flow(table: Table, *actions: object, priority: int = 1, match: Match | None = None, **more: int) -> Flow:
    return Flow(table, priority, match or Match(), tuple(actions), 7, **more)  # type: ignore[arg-type]


@settings(max_examples=25)  # the sites are large; flows are what tests/properties/ is about
@given(st.data())
def test_the_index_finds_what_looking_through_all_flows_finds(data: st.DataObject) -> None:
    site: Site = data.draw(sites())
    flows = [flow for part in compile_flows(site.policy()).values() for flow in part]
    switch = Switch()
    switch.apply(Change(add=tuple(flows)), 0.0)
    gone = data.draw(st.sets(st.sampled_from(flows), max_size=3))
    for at in range(10):
        if at == 5:
            switch.apply(Change(delete=tuple(gone)), 0.0)
            flows = [flow for flow in flows if flow not in gone]
        packet = replace(data.draw(packets(site)), answer=False)
        fate = switch.fate(packet, 1000.0 * at)  # so late that nothing is the answer to what was before
        assert fate.ports == lookup(flows, packet).ports
        assert switch.fate(packet, 1000.0 * at).ports == fate.ports


def test_answers_are_told_from_requests_until_nobody_remembers_the_request() -> None:
    switch = Switch()
    track = flow(Table.ADMISSION, Track(Table.SOURCE))
    answer = flow(Table.SOURCE, Output(9), priority=5, match=Match(tracked=True))
    request = flow(Table.SOURCE, Commit(), Output(8), match=Match(eth_src=PACKET.eth_src))
    switch.apply(Change(add=(track, answer, request)), 0.0)
    back = replace(
        PACKET, eth_src=PACKET.eth_dst, eth_dst=PACKET.eth_src, ip_src=PACKET.ip_dst, ip_dst=PACKET.ip_src,
        src_port=53, dst_port=40000,
    )  # fmt: skip
    assert switch.fate(back, 0.0).ports == ()
    assert switch.fate(PACKET, 1.0).ports == (8,)
    assert switch.fate(replace(back, dst_port=40001), 2.0).ports == ()
    assert switch.fate(back, 2.0).ports == (9,)
    assert switch.fate(back, 2.0 + TRACKED_FOR).ports == ()


def test_flows_end_when_their_time_is_over() -> None:
    switch = Switch()
    lasting = flow(Table.ADMISSION, Output(1))
    hard = flow(Table.ADMISSION, Output(3), priority=3, hard_timeout=5)
    idle = flow(Table.ADMISSION, Output(2), priority=2, idle_timeout=5)
    switch.apply(Change(add=(lasting, hard, idle)), 0.0)
    packet = replace(PACKET, in_port=9)
    assert switch.fate(packet, 4.0).ports == (3,)
    assert switch.ended(4.9) == ()
    assert set(switch.ended(5.0)) == {hard, idle}
    switch.apply(Change(add=(idle,)), 10.0)
    assert switch.fate(packet, 14.0).ports == (2,)
    assert switch.ended(18.0) == ()
    assert switch.ended(19.0) == (idle,)
    assert switch.fate(packet, 19.0).ports == (1,)


def test_a_flow_that_is_there_is_replaced_in_one_step() -> None:
    switch = Switch()
    old, new = flow(Table.ADMISSION, Goto(Table.SOURCE)), flow(Table.ADMISSION, Output(4))
    switch.apply(Change(add=(old,)), 0.0)
    switch.apply(Change(add=(new,)), 0.0)
    assert switch.fate(PACKET, 0.0).ports == (4,)
    assert list(switch.flows.values()) == [new]
