"""Switches without packets: OpenFlow 1.3 connections that hold what a controller installs.

They answer everything that is asked of a real switch in the life of a connection, keep flows and meters,
and give them back when they are read. Devices behind them are frames in packet-ins.
"""

import asyncio
import contextlib
import struct
from collections.abc import Callable, Sequence
from time import perf_counter

from os_ken.ofproto import ofproto_v1_3 as ofp

from controller.flows.flow import cookie_of
from tests.unit.fake_switch import asked_for, message, port_bytes

LONGEST = 60_000  # bytes of a part of a reply
_FLOW_MOD = struct.Struct("!QQBBHHHIIIHxx")  # after the header, up to the match
_STATS = struct.Struct("!HBxIIHHHH4xQQQ")
_MATCH_AT = 8 + _FLOW_MOD.size


class Switch:
    """One connection. `installed` is called whenever a barrier closes changes."""

    def __init__(self, dpid: int, ports: Sequence[tuple[int, str]]) -> None:
        self.dpid = dpid
        self.ports = ports
        self.flows: dict[tuple[int, int, bytes], bytes] = {}  # entries of statistics
        self.changes = 0  # flows added or removed so far
        self.in_force_at = 0.0  # when the last barrier after a change was answered
        self.awaited: dict[bytes, Callable[[], None]] = {}  # MAC address -> whom to tell that it is in force
        self._seen: list[bytes] = []  # of those, what the change that is going on has
        self._meters: dict[int, bytes] = {}
        self._changed = False
        self._writer: asyncio.StreamWriter | None = None
        self._task: asyncio.Task[None] | None = None

    async def connect(self, port: int) -> None:
        reader, self._writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        self._send(message(ofp.OFPT_HELLO))
        self._task = asyncio.create_task(self._serve(reader))

    async def close(self) -> None:
        assert self._writer is not None
        assert self._task is not None
        self._task.cancel()
        self._writer.close()
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await self._task

    def _send(self, data: bytes) -> None:
        assert self._writer is not None
        self._writer.write(data)

    async def _serve(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(8)
                _, kind, length, xid = struct.unpack("!BBHI", head)
                self._take(kind, head + await reader.readexactly(length - 8), xid)

    def _take(self, kind: int, data: bytes, xid: int) -> None:
        match kind:
            case ofp.OFPT_FLOW_MOD:
                self._flow_mod(data)
            case ofp.OFPT_BARRIER_REQUEST:
                self._send(message(ofp.OFPT_BARRIER_REPLY, b"", xid))
                self._in_force()
            case ofp.OFPT_ECHO_REQUEST:
                self._send(message(ofp.OFPT_ECHO_REPLY, data[8:], xid))
            case ofp.OFPT_FEATURES_REQUEST:
                features = struct.pack("!QIBB2xII", self.dpid, 0, 254, 0, 0, 0)
                self._send(message(ofp.OFPT_FEATURES_REPLY, features, xid))
            case ofp.OFPT_METER_MOD:
                command, flags, meter = struct.unpack_from("!HHI", data, 8)
                if command == ofp.OFPMC_DELETE:
                    self._meters.pop(meter, None)
                else:
                    self._meters[meter] = struct.pack("!HHI", len(data) - 8, flags, meter) + data[16:]
            case ofp.OFPT_MULTIPART_REQUEST:
                self._tell(data, xid)

    def _flow_mod(self, data: bytes) -> None:
        cookie, _, table, command, idle, hard, priority, _, _, _, flags = _FLOW_MOD.unpack_from(data, 8)
        (length,) = struct.unpack_from("!H", data, _MATCH_AT + 2)
        rest = data[_MATCH_AT:]
        key = table, priority, rest[:length]
        if command in (ofp.OFPFC_DELETE, ofp.OFPFC_DELETE_STRICT):
            self.flows.pop(key, None)
        else:
            size = _STATS.size + len(rest)
            self.flows[key] = _STATS.pack(size, table, 0, 0, priority, idle, hard, flags, cookie, 0, 0) + rest
            self._seen += [mac for mac in self.awaited if mac in rest]
        self.changes += 1
        self._changed = True

    def _in_force(self) -> None:
        if self._changed:
            self._changed, self.in_force_at = False, perf_counter()
            for mac in self._seen:
                if told := self.awaited.pop(mac, None):
                    told()
            self._seen.clear()

    def _tell(self, request: bytes, xid: int) -> None:
        (what,) = struct.unpack_from("!H", request, 8)
        entries: Sequence[bytes] = ()
        if what == ofp.OFPMP_PORT_DESC:
            entries = [port_bytes(number, name) for number, name in self.ports]
        elif what == ofp.OFPMP_FLOW:
            entries = list(asked_for(request, self.flows.values()))
        elif what == ofp.OFPMP_METER_CONFIG:
            entries = list(self._meters.values())
        part = bytearray()
        for entry in entries:
            if len(part) + len(entry) > LONGEST:
                self._part(what, part, xid, more=True)
                part.clear()
            part += entry
        self._part(what, part, xid, more=False)

    def _part(self, what: int, part: bytearray, xid: int, more: bool) -> None:
        head = struct.pack("!HH4x", what, ofp.OFPMPF_REPLY_MORE if more else 0)
        self._send(message(ofp.OFPT_MULTIPART_REPLY, head + part, xid))

    def packet_in(self, in_port: int, frame: bytes) -> None:
        """A frame that the switch's own flows sent to the controller."""
        match = struct.pack("!HHII4x", ofp.OFPMT_OXM, 12, ofp.OXM_OF_IN_PORT, in_port)
        head = struct.pack("!IHBBQ", 0xFFFFFFFF, len(frame), 0, 0, cookie_of("switch"))
        self._send(message(ofp.OFPT_PACKET_IN, head + match + b"\0\0" + frame))
