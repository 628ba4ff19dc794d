"""Flows to OpenFlow and back, without a switch. What Open vSwitch makes of them is in tests/switch."""

import struct
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from controller.flows.flow import (
    CONTROLLER_PORT,
    COOKIE_MARK,
    COOKIE_MASK,
    PACKET_IN_METER,
    Change,
    Commit,
    Flow,
    Goto,
    Match,
    Output,
    SetRegister,
    Table,
    Track,
    cookie_of,
)
from controller.switches import openflow
from tests.unit.flow_strategies import flows

PROTOCOL = ProtocolDesc(version=ofp.OFP_VERSION)
LAMP = Flow(
    Table.VERDICT,
    300,
    Match(eth_type=0x0800, ip_proto=6, source=3, destination=7, dst_port=80),
    (Goto(Table.FORWARDING),),
    cookie_of("pair lamp hub tcp-80"),
)


def read(message: bytes) -> Any:
    """What os-ken reads in a message of ours."""
    version, kind, length, xid = struct.unpack_from("!BBHI", message)
    assert length == len(message)
    assert kind == ofp.OFPT_FLOW_MOD
    return parser.OFPFlowMod.parser(PROTOCOL, version, kind, length, xid, bytearray(message))


@given(flows())
def test_what_is_encoded_is_what_is_decoded(flow: Flow) -> None:
    assert openflow.decode_flow(read(openflow.encode_flow(flow, openflow.ADD, 1))) == flow


@given(flows())
def test_os_ken_packs_the_same_bytes(flow: Flow) -> None:
    """The fast encoder says nothing that os-ken's classes would not say."""
    ours = openflow.encode_flow(flow, openflow.ADD, 9)
    theirs = read(ours)
    for instruction in theirs.instructions:
        for action in getattr(instruction, "actions", ()):
            if isinstance(action, parser.OFPActionOutput):
                assert action.max_len == 0xFFFF
    again = parser.OFPFlowMod(
        PROTOCOL, theirs.cookie, theirs.cookie_mask, theirs.table_id, theirs.command, theirs.idle_timeout,
        theirs.hard_timeout, theirs.priority, theirs.buffer_id, theirs.out_port, theirs.out_group,
        theirs.flags,
        parser.OFPMatch(**dict(theirs.match.items())), theirs.instructions,
    )  # fmt: skip
    again.set_xid(9)
    again.serialize()
    back = read(bytes(again.buf))
    # os-ken sorts the fields of a match by its own order, so the values are compared
    assert dict(back.match.items()) == dict(theirs.match.items())
    assert len(again.buf) == len(ours)
    assert bytes(again.buf[:48]) == ours[:48]


def test_a_timeout_asks_for_the_report_of_its_end() -> None:
    assert read(openflow.encode_flow(LAMP, openflow.ADD, 1)).flags == 0
    short = replace(LAMP, idle_timeout=30)
    assert read(openflow.encode_flow(short, openflow.ADD, 1)).flags == ofp.OFPFF_SEND_FLOW_REM


def test_only_our_own_flow_is_deleted() -> None:
    message = read(openflow.encode_flow(LAMP, openflow.DELETE_STRICT, 1))
    assert message.command == ofp.OFPFC_DELETE_STRICT
    assert (message.cookie, message.cookie_mask) == (COOKIE_MARK, COOKIE_MASK)
    assert message.priority == LAMP.priority
    assert openflow.decode_flow(message).match == LAMP.match


def never(flow: Flow, error: str) -> None:
    raise AssertionError(f"{flow}: {error}")


def test_one_bad_flow_does_not_keep_the_others_back() -> None:
    bad = replace(LAMP, match=Match(eth_type=0x0800, source=1 << 40))
    worse = replace(LAMP, match=Match(eth_src="not a MAC address"))
    told: list[Flow] = []
    change = Change(add=(bad, LAMP, worse))
    messages = list(openflow.encode_change(change, count(), lambda flow, _error: told.append(flow)))
    assert told == [bad, worse]
    assert [openflow.decode_flow(read(message)) for message in messages] == [LAMP]


def test_deletions_go_before_additions() -> None:
    change = Change(
        delete=(replace(LAMP, priority=1),), add=(replace(LAMP, priority=2), replace(LAMP, priority=3))
    )
    messages = [read(message) for message in openflow.encode_change(change, count(40), never)]
    assert [(m.command, m.priority, m.xid) for m in messages] == [
        (openflow.DELETE_STRICT, 1, 40),
        (openflow.ADD, 2, 41),
        (openflow.ADD, 3, 42),
    ]


TELLS = (Output(CONTROLLER_PORT),)


@pytest.mark.parametrize(
    ("match", "actions", "meters"),
    [
        (Match(eth_type=0x0800), TELLS, [PACKET_IN_METER]),
        (Match(eth_type=0x88CC), TELLS, [openflow.LLDP_METER]),
        (Match(eth_type=0x88CC, in_port=4), TELLS, [openflow.TRUNK_LLDP_METER]),
        (Match(eth_type=0x0800), (Output(CONTROLLER_PORT), Goto(Table.FORWARDING)), []),
        (Match(eth_type=0x0800), (Output(1),), []),
        (Match(), (), []),
    ],
)
def test_a_meter_is_only_where_it_cannot_drop_what_is_forwarded(
    match: Match, actions: tuple[Any, ...], meters: list[int]
) -> None:
    flow = Flow(Table.ADMISSION, 100, match, actions, COOKIE_MARK)
    for metered, wanted in ((True, meters), (False, [])):
        message = read(openflow.encode_flow(flow, openflow.ADD, 1, metered))
        found = [i.meter_id for i in message.instructions if isinstance(i, parser.OFPInstructionMeter)]
        assert found == wanted
        assert openflow.decode_flow(message) == flow


@pytest.mark.parametrize(
    "flow",
    [
        replace(LAMP, match=Match(ip_src="10.0.0.1")),
        replace(LAMP, match=Match(eth_type=0x0800, dst_port=80)),
        replace(LAMP, match=Match(eth_type=0x0800, ip_src="10.0.0.1/32")),
        replace(LAMP, match=Match(eth_type=0x0800, ip_src="0.0.0.0/0")),
        replace(LAMP, match=Match(eth_type=0x86DD, ip_src="10.0.0.0/8")),
        replace(LAMP, match=Match(eth_type=0x0800, ip_src="fe80::1")),
        replace(LAMP, match=Match(eth_dst="02:00:00:00:00:01", eth_dst_group=True)),
        replace(LAMP, match=Match(eth_type=0x0800, ip_proto=6, tcp_flags=(0x12, 0x10))),
        replace(LAMP, actions=(Goto(Table.FORWARDING), Output(1))),
        replace(LAMP, actions=(Track(Table.VERDICT), Goto(Table.FORWARDING))),
        replace(LAMP, actions=(Track(Table.VERDICT), Commit())),
        replace(LAMP, actions=(Goto(Table.ADMISSION),)),
    ],
)
def test_what_cannot_be_said_is_refused_rather_than_sent_wrong(flow: Flow) -> None:
    with pytest.raises(openflow.EncodingError):
        openflow.encode_flow(flow, openflow.ADD, 1)


@pytest.mark.parametrize(
    ("match", "instructions"),
    [
        ({"metadata": 1}, []),
        ({"vlan_vid": 0x1003}, []),
        ({"ct_state": (1, 1)}, []),
        ({}, [parser.OFPInstructionActions(ofp.OFPIT_WRITE_ACTIONS, [parser.OFPActionOutput(1)])]),
        ({}, [parser.OFPInstructionActions(ofp.OFPIT_APPLY_ACTIONS, [parser.OFPActionPopVlan()])]),
        ({}, [parser.OFPInstructionGotoTable(77)]),
        (
            {},
            [
                parser.OFPInstructionActions(
                    ofp.OFPIT_APPLY_ACTIONS, [parser.NXActionCT(1, "", 5, 255, 0, [])]
                )
            ],
        ),
    ],
)
def test_a_flow_that_is_not_of_our_making_is_not_guessed_at(
    match: dict[str, Any], instructions: list[Any]
) -> None:
    stats = parser.OFPFlowStats(
        3, 0, 0, 300, 0, 0, 0, COOKIE_MARK, 0, 0, parser.OFPMatch(**match), instructions
    )
    reasons = r"not a (flow|match) of ours|instruction|action|vlan_vid|is not a valid"
    with pytest.raises(ValueError, match=reasons):
        openflow.decode_flow(stats)


def test_an_ended_flow_is_known_by_its_key() -> None:
    flow = replace(LAMP, idle_timeout=30)
    sent = read(openflow.encode_flow(flow, openflow.ADD, 1))
    removed = parser.OFPFlowRemoved(
        PROTOCOL, cookie=flow.cookie, priority=flow.priority, reason=ofp.OFPRR_IDLE_TIMEOUT,
        table_id=flow.table, idle_timeout=30, hard_timeout=0, match=sent.match,
    )  # fmt: skip
    assert openflow.decode_flow(removed) == replace(flow, actions=())
    assert openflow.decode_flow(removed).key == flow.key


def test_an_error_names_the_flow_that_it_is_about() -> None:
    message = openflow.encode_flow(LAMP, openflow.ADD, 5)
    error = parser.OFPErrorMsg(PROTOCOL, ofp.OFPET_BAD_MATCH, ofp.OFPBMC_BAD_PREREQ, message[:64])
    assert openflow.decode_error(error) == ("bad match: bad prereq", LAMP.cookie)


@pytest.mark.parametrize(
    "data", [b"", b"\x04\x0e", struct.pack("!BBHI", 4, ofp.OFPT_METER_MOD, 32, 5) + bytes(24)]
)
def test_an_error_about_no_flow_names_none(data: bytes) -> None:
    error = parser.OFPErrorMsg(PROTOCOL, ofp.OFPET_METER_MOD_FAILED, ofp.OFPMMFC_UNKNOWN_METER, data)
    assert openflow.decode_error(error) == ("meter mod failed: unknown meter", None)


def test_an_error_of_an_extension_is_readable() -> None:
    error = parser.OFPErrorMsg(PROTOCOL, ofp.OFPET_EXPERIMENTER, None, b"", exp_type=7, experimenter=0x2320)
    assert openflow.decode_error(error)[0] == "refused by an extension: experimenter 0x2320, type 7"


def test_an_unknown_error_is_shown_by_number() -> None:
    text, _ = openflow.decode_error(parser.OFPErrorMsg(PROTOCOL, 77, 3, b""))
    assert "77" in text


@pytest.mark.parametrize(
    ("config", "state", "up"),
    [
        (0, 0, True),
        (ofp.OFPPC_PORT_DOWN, 0, False),
        (0, ofp.OFPPS_LINK_DOWN, False),
        (0, ofp.OFPPS_LIVE, True),
    ],
)
def test_a_port_is_up_when_link_and_administration_are(config: int, state: int, up: bool) -> None:
    port = parser.OFPPort(7, "02:00:00:00:00:07", b"s1-eth7", config, state, 0, 0, 0, 0, 0, 0)
    found = openflow.decode_port(port)
    assert (found.number, found.name, found.mac, found.up) == (7, "s1-eth7", "02:00:00:00:00:07", up)


def test_registers_are_set_and_matched_under_the_same_name() -> None:
    flow = replace(LAMP, actions=(SetRegister(0, 5), SetRegister(1, 0xFFFFFFFF), Goto(Table.FORWARDING)))
    assert openflow.decode_flow(read(openflow.encode_flow(flow, openflow.ADD, 1))) == flow
