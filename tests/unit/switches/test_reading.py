"""Reading a switch's flows: known again by their bytes, told apart when anything about them differs."""

import struct
from dataclasses import replace
from typing import Any

import pytest
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser

from controller.flows.flow import (
    CONTROLLER_PORT,
    COOKIE_MARK,
    Flow,
    Goto,
    Match,
    Output,
    Strange,
    Table,
    cookie_of,
)
from controller.switches import openflow
from controller.switches.reading import FlowEntry, Reader, Reading
from tests.unit.fake_switch import stats_bytes

LAMP = Flow(
    Table.VERDICT,
    300,
    Match(eth_type=0x0800, ip_proto=6, source=3, destination=7, dst_port=80),
    (Goto(Table.FORWARDING),),
    cookie_of("pair lamp hub tcp-80"),
)
TELLS = Flow(Table.ADMISSION, 100, Match(eth_type=0x0800), (Output(CONTROLLER_PORT),), cookie_of("switch"))


def read(reader: Reader, *entries: bytes) -> Reading:
    reader.begin()
    reader.take(FlowEntry.parser(entry, 0) for entry in entries)
    return reader.end()


def aged(entry: bytes) -> bytes:
    return entry[:4] + struct.pack("!II", 77, 5) + entry[12:]


def test_a_flow_that_has_aged_and_counted_is_the_same() -> None:
    reader = Reader()
    first = read(reader, stats_bytes(LAMP, 1, 10))
    second = read(reader, aged(stats_bytes(LAMP, 5, 50)))
    assert first.flows.keys() == second.flows.keys()
    assert next(iter(second.flows.values())) is next(iter(first.flows.values()))
    assert second.counters == {LAMP.cookie: (5, 50)}


def test_what_was_read_before_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader()
    entries = [stats_bytes(replace(LAMP, match=replace(LAMP.match, source=n))) for n in range(100)]
    before = read(reader, *entries)

    def fails(*_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(parser.OFPFlowStats, "parser", fails)
    assert read(reader, *entries).flows == before.flows


@pytest.mark.parametrize(
    "other",
    [
        replace(LAMP, priority=301),
        replace(LAMP, table=Table.DESTINATION),
        replace(LAMP, cookie=LAMP.cookie + 1),
        replace(LAMP, idle_timeout=9),
        replace(LAMP, hard_timeout=9),
        replace(LAMP, actions=(Output(1),)),
        replace(LAMP, match=replace(LAMP.match, dst_port=81)),
    ],
)
def test_flows_that_differ_in_anything_are_told_apart(other: Flow) -> None:
    reader = Reader()
    assert list(read(reader, stats_bytes(LAMP), stats_bytes(other)).flows.values()) == [LAMP, other]


def test_a_reply_that_never_ended_is_forgotten() -> None:
    reader = Reader()
    reader.begin()
    reader.take([FlowEntry(stats_bytes(LAMP))])
    assert list(read(reader, stats_bytes(TELLS)).flows.values()) == [TELLS]


def test_an_entry_that_says_a_wrong_length_ends_the_reply() -> None:
    for length in (0, 55, 5000):
        entry = struct.pack("!H", length) + stats_bytes(LAMP)[2:]
        with pytest.raises(ValueError, match="an entry of"):
            FlowEntry.parser(entry, 0)


def test_what_the_parser_cannot_read_is_strange_and_has_no_key() -> None:
    cut = bytearray(stats_bytes(LAMP))
    cut[50:52] = (2000).to_bytes(2)  # the length of the match
    (found,) = read(Reader(), bytes(cut)).flows.values()
    assert isinstance(found, Strange)
    assert (found.table, found.priority, found.cookie, found.key) == (3, 300, LAMP.cookie, None)


def test_flows_without_their_meter_or_with_another_are_strange() -> None:
    reader = Reader()
    metered, plain = stats_bytes(TELLS), stats_bytes(LAMP)
    assert list(read(reader, metered, plain).flows.values()) == [TELLS, LAMP]
    unmetered = Reader()
    unmetered.metered = False
    (found,) = read(unmetered, metered).flows.values()
    assert isinstance(found, Strange)
    assert found.key == TELLS.key


def test_what_others_have_in_tables_that_are_not_ours_is_nobodys_business() -> None:
    entry = bytearray(stats_bytes(LAMP, cookie=5))
    entry[2] = 9
    reading = read(Reader(), bytes(entry))
    assert (dict(reading.flows), reading.number) == ({}, 1)
    ours = bytearray(stats_bytes(LAMP, cookie=COOKIE_MARK | 5))
    ours[2] = 9
    (found,) = read(Reader(), bytes(ours)).flows.values()
    assert (found.table, found.key) == (9, None)


def test_os_ken_finds_in_an_entry_what_it_always_did() -> None:
    entry: Any = FlowEntry.parser(b"xx" + stats_bytes(LAMP, 4, 44), 2)
    assert (entry.packet_count, entry.cookie, entry.match["reg0"]) == (4, LAMP.cookie, 3)


def test_what_a_switch_gives_back_as_it_was_told_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    short = replace(LAMP, idle_timeout=30, hard_timeout=9, priority=400)
    reader = Reader()
    for flow in (LAMP, short, TELLS):
        reader.told(flow, openflow.encode_flow(flow, openflow.ADD, 7))
    entries = [stats_bytes(LAMP, 1, 1), stats_bytes(TELLS)]
    told = bytearray(stats_bytes(short))
    told[18:20] = ofp.OFPFF_SEND_FLOW_REM.to_bytes(2)
    with monkeypatch.context() as patch:
        patch.setattr(parser.OFPFlowStats, "parser", None)
        assert set(read(reader, *entries, bytes(told)).flows.values()) == {LAMP, short, TELLS}
    changed = replace(LAMP, actions=(Output(4),))
    reader.told(LAMP, openflow.encode_flow(LAMP, openflow.ADD, 8))
    assert set(read(reader, stats_bytes(changed)).flows.values()) == {changed}


def test_a_reading_without_a_change_gives_the_same_mapping_again() -> None:
    reader = Reader()
    other = replace(LAMP, priority=301)
    first = read(reader, stats_bytes(LAMP), stats_bytes(other))
    assert read(reader, stats_bytes(other, 7, 70), stats_bytes(LAMP)).flows is first.flows
    fewer = read(reader, stats_bytes(LAMP))
    assert set(fewer.flows.values()) == {LAMP}
    assert set(read(reader, stats_bytes(other)).flows.values()) == {other}
