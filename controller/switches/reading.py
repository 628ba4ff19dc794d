"""All flows of a switch, read again and again; what was there before costs next to nothing.

os-ken takes 150 µs to parse a flow, so that reading ten thousand would hold up everything for more than
a second. Here a flow is parsed when it is first seen, and known again by its bytes; one that comes back
in the bytes in which the switch was told it is not parsed at all. Knows nothing of connections, time or
what the flows should be.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from os_ken.ofproto import ofproto_v1_3_parser as parser

from controller.flows.flow import Flow, Match, Strange, Table, is_ours
from controller.switches import openflow

_HEAD = struct.Struct("!HBxIIHHHH4xQQQ")  # ofp_flow_stats up to its match (OpenFlow 1.3.5, section 7.3.5.2)
_MATCH_AT_LEAST = 8


class FlowEntry:
    """One entry of an OFPFlowStatsReply: its bytes, and for os-ken's own use all that they say."""

    __slots__ = ("length", "raw")

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.length = len(raw)

    @classmethod
    def parser(cls, data: bytes, offset: int) -> "FlowEntry":
        (length,) = struct.unpack_from("!H", data, offset)
        if length < _HEAD.size + _MATCH_AT_LEAST or offset + length > len(data):
            raise ValueError(f"an entry of {length} bytes at {offset} of {len(data)}")
        return cls(data[offset : offset + length])

    def __getattr__(self, name: str) -> Any:
        return getattr(parser.OFPFlowStats.parser(self.raw, 0), name)


def install() -> None:
    """Let os-ken leave the entries unparsed until somebody asks what they say."""
    parser.OFPFlowStatsReply.cls_stats_body_cls = FlowEntry


Flows = Mapping[bytes, Flow | Strange]  # by what the switch says of each, but for age and counters


@dataclass(frozen=True, slots=True)
class Reading:
    """What a switch held at one moment: ours in all its tables, and anybody's in ours.

    `flows` is the very mapping of the reading before where nothing has changed since. `counters`: packets
    and bytes by cookie, of ours only.
    """

    flows: Flows
    counters: Mapping[int, tuple[int, int]]
    number: int  # of all its flows


class Reader:
    """Takes in the parts of one reply after another. `metered`: whether the switch has our meters."""

    def __init__(self) -> None:
        self.metered = True
        self._known: dict[bytes, Flow | Strange | None] = {}
        self._now: dict[bytes, Flow | Strange | None] = {}
        self._counters: dict[int, tuple[int, int]] = {}
        self._flows: Flows = {}
        self._changed = False
        self._told: dict[bytes, Flow] = {}
        self._told_before: dict[bytes, Flow] = {}  # in the time of the reading before

    def told(self, flow: Flow, message: bytes) -> None:
        """The switch is told to have this flow, by an OFPFlowMod. From another thread: it may be missed."""
        # Table; priority, timeouts, flags, cookie; match and instructions (OpenFlow 1.3.5, section 7.3.4.1).
        numbers = message[30:32] + message[26:30] + message[44:46] + bytes(4) + message[8:16]
        self._told[message[24:25] + numbers + message[48:]] = flow

    def begin(self) -> None:
        """What was taken in of a reply that never ended is forgotten."""
        self._now, self._counters, self._changed = {}, {}, False

    def take(self, entries: Iterable[FlowEntry]) -> None:
        known, now, counters = self._known, self._now, self._counters
        for entry in entries:
            raw = entry.raw
            what = raw[2:3] + raw[12:32] + raw[48:]  # all but age and counters
            if what in known:
                flow = known[what]
            else:
                flow, self._changed = self._told_or_decoded(what, entry), True
            now[what] = flow
            if flow is not None and is_ours(flow.cookie):
                packets, octets = counters.get(flow.cookie, (0, 0))
                more, size = struct.unpack_from("!QQ", raw, 32)
                counters[flow.cookie] = (packets + more, octets + size)

    def end(self) -> Reading:
        if self._changed or len(self._now) != len(self._known):
            self._flows = {what: flow for what, flow in self._now.items() if flow is not None}
        self._known = self._now
        self._told_before, self._told = self._told, {}
        reading = Reading(self._flows, self._counters, len(self._now))
        self.begin()
        return reading

    def _told_or_decoded(self, what: bytes, entry: FlowEntry) -> Flow | Strange | None:
        return self._told.get(what) or self._told_before.get(what) or self._decoded(entry)

    def _decoded(self, entry: FlowEntry) -> Flow | Strange | None:
        """None: not ours, and in nobody's way."""
        _, table, _, _, priority, _, _, _, cookie, _, _ = _HEAD.unpack_from(entry.raw)
        if not is_ours(cookie) and table not in {*Table}:
            return None
        match: Match | None = None
        text = "what it does has no words here"
        try:
            said = parser.OFPFlowStats.parser(entry.raw, 0)
            text = f"{dict(said.match.items())}"
            match = openflow.decode_match(said.match)
            flow = openflow.decode_flow(said)
            if openflow.rightly_metered(said, flow, self.metered):
                return flow
        except Exception as error:  # noqa: BLE001  # whatever os-ken makes of flows that are not for it
            text = f"{text}: {error}"
        if match is not None and table not in {*Table}:
            match = None  # no flow of ours can be meant
        return Strange(table, priority, match, cookie, text)
