"""Flows in the words of a switch's tools."""

import pytest

from controller.flows.flow import CONTROLLER_PORT, Commit, Goto, Match, Output, SetRegister, Table, Track
from controller.flows.notation import actions_text, match_text


@pytest.mark.parametrize(
    ("match", "text"),
    [
        (Match(), "everything"),
        (
            Match(eth_type=0x0800, ip_proto=6, source=3, destination=4, dst_port=80, tcp_flags=(0x10, 0x10)),
            "tcp, tp_dst=80, reg0=3, reg1=4, tcp_flags=0x10/0x10",
        ),
        (Match(eth_type=0x86DD, ip_proto=17, ip_src="fe80::/10"), "udp6, nw_src=fe80::/10"),
        (Match(eth_type=0x0806, in_port=1), "arp, in_port=1"),
        (Match(eth_type=0x88CC), "dl_type=0x88cc"),
        (Match(eth_dst_group=True, vlan=False, tracked=False), "to a group, untagged, ct_state=-trk"),
        (Match(tracked=True), "ct_state=+trk+est+rpl"),
    ],
)
def test_a_match_is_readable(match: Match, text: str) -> None:
    assert match_text(match) == text


def test_actions_are_readable() -> None:
    actions = (
        Output(CONTROLLER_PORT),
        Output(3),
        SetRegister(0, 7),
        Commit(),
        Track(Table.VERDICT),
        Goto(Table.FORWARDING),
    )
    said = actions_text(actions)
    assert said == "controller, output:3, load:7->reg0, ct(commit), ct(table=3), goto_table:4"


def test_no_action_is_a_drop() -> None:
    assert actions_text(()) == "drop"
