"""A small OpenFlow 1.3 switch on a TCP socket: enough to connect, to hold flows, and to misbehave."""

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from time import monotonic, sleep
from typing import Any

from os_ken.ofproto import ofproto_v1_3 as ofp

from controller.flows.flow import Flow
from controller.switches import openflow
from controller.switches.gate import TlsWire, Wire


def wait_for(condition: Callable[[], Any], seconds: float = 5.0) -> Any:
    """The first true value of `condition`; fails when there is none in time."""
    end = monotonic() + seconds
    while monotonic() < end:
        found = condition()
        if found:
            return found
        sleep(0.005)
    raise AssertionError(f"not within {seconds} s: {condition}")


def message(kind: int, body: bytes = b"", xid: int = 0, version: int = ofp.OFP_VERSION) -> bytes:
    return struct.pack("!BBHI", version, kind, 8 + len(body), xid) + body


def port_bytes(number: int, name: str, state: int = 0) -> bytes:
    mac = bytes([2, 0, 0, 0, 0, number & 0xFF])
    return struct.pack("!I4x6s2x16sIIIIIIII", number, mac, name.encode(), 0, state, 0, 0, 0, 0, 0, 0)


def stats_bytes(flow: Flow, packets: int = 0, octets: int = 0, cookie: int | None = None) -> bytes:
    rest = openflow.encode_flow(flow, openflow.ADD, 0)[48:]
    return (
        struct.pack(
            "!HBxIIHHHH4xQQQ", 48 + len(rest), flow.table, 0, 0, flow.priority, flow.idle_timeout,
            flow.hard_timeout, 0, flow.cookie if cookie is None else cookie, packets, octets,
        )
        + rest
    )  # fmt: skip


def asked_for(request: bytes, entries: Iterable[bytes]) -> Iterator[bytes]:
    """The entries of flow statistics whose cookies a request is for (OpenFlow 1.3.5, section 7.3.5.2)."""
    cookie, mask = struct.unpack_from("!QQ", request, 32)
    return (e for e in entries if not (struct.unpack_from("!Q", e, 24)[0] ^ cookie) & mask)


class FakeSwitch:
    """Connects at once and answers on a thread of its own. What it received is in `heard` (type, bytes)."""

    def __init__(
        self,
        port: int,
        dpid: int = 1,
        *,
        entries: tuple[bytes, ...] = (),
        silent: tuple[int, ...] = (),
        refuse: Callable[[int, bytes], tuple[int, int] | None] = lambda *_: None,
        tls: ssl.SSLContext | None = None,
        version: int = ofp.OFP_VERSION,
    ) -> None:
        self.dpid = dpid
        self.entries = entries  # of flow statistics
        self.silent = silent  # types of messages that are not answered
        self.refuse = refuse  # (type, message) -> error type and code
        self.ports: tuple[tuple[int, str], ...] = ((1, "s1-eth1"), (2, "s1-gwi"))
        self.heard: list[tuple[int, bytes]] = []
        self.closed = False
        self._version = version
        plain = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._socket = Wire(plain) if tls is None else TlsWire(plain, tls, server_side=False)
        try:
            if isinstance(self._socket, TlsWire):
                self._socket.handshake(5)
            self.send(message(ofp.OFPT_HELLO, version=version))
        except OSError:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        self._socket.close()
        self._thread.join(5)

    def of(self, kind: int) -> list[bytes]:
        return [data for found, data in self.heard if found == kind]

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            try:
                more = self._socket.recv(length - len(data))
            except TimeoutError:
                continue
            if not more:
                raise ConnectionError
            data += more
        return data

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                head = self._read(8)
                _, kind, length, xid = struct.unpack("!BBHI", head)
                data = head + self._read(length - 8)
                self.heard.append((kind, data))
                error = self.refuse(kind, data)
                if error is not None:
                    self.send(message(ofp.OFPT_ERROR, struct.pack("!HH", *error) + data[:64], xid))
                elif kind not in self.silent:
                    self._answer(kind, data, xid)
        self.closed = True

    def _answer(self, kind: int, data: bytes, xid: int) -> None:
        match kind:
            case ofp.OFPT_FEATURES_REQUEST:
                self.send(
                    message(
                        ofp.OFPT_FEATURES_REPLY, struct.pack("!QIBB2xII", self.dpid, 0, 254, 0, 0, 0), xid
                    )
                )
            case ofp.OFPT_ECHO_REQUEST:
                self.send(message(ofp.OFPT_ECHO_REPLY, data[8:], xid))
            case ofp.OFPT_BARRIER_REQUEST:
                self.send(message(ofp.OFPT_BARRIER_REPLY, b"", xid))
            case ofp.OFPT_MULTIPART_REQUEST:
                (what,) = struct.unpack_from("!H", data, 8)
                if what == ofp.OFPMP_PORT_DESC:
                    self._multipart(what, [port_bytes(*port) for port in self.ports], xid)
                elif what == ofp.OFPMP_FLOW:
                    self._multipart(what, list(asked_for(data, self.entries)), xid)

    def _multipart(self, what: int, entries: list[bytes], xid: int) -> None:
        """One entry in each part, so that replies in parts are tested by the way."""
        for place, entry in enumerate(entries or [b""], start=1):
            more = ofp.OFPMPF_REPLY_MORE if place < len(entries) else 0
            self.send(message(ofp.OFPT_MULTIPART_REPLY, struct.pack("!HH4x", what, more) + entry, xid))

    def port_status(self, reason: int, number: int, name: str, state: int = 0) -> None:
        self.send(
            message(ofp.OFPT_PORT_STATUS, struct.pack("!B7x", reason) + port_bytes(number, name, state))
        )

    def packet_in(self, in_port: int, frame: bytes, cookie: int) -> None:
        match = struct.pack("!HHII4x", ofp.OFPMT_OXM, 12, ofp.OXM_OF_IN_PORT, in_port)
        head = struct.pack("!IHBBQ", 0xFFFFFFFF, len(frame), 0, 0, cookie)
        self.send(message(ofp.OFPT_PACKET_IN, head + match + b"\0\0" + frame))

    def flow_removed(self, flow: Flow, reason: int) -> None:
        head = struct.pack(
            "!QHBBIIHHQQ", flow.cookie, flow.priority, reason, flow.table, 0, 0, flow.idle_timeout,
            flow.hard_timeout, 0, 0,
        )  # fmt: skip
        match = openflow.encode_flow(flow, openflow.DELETE_STRICT, 0)[48:]
        self.send(message(ofp.OFPT_FLOW_REMOVED, head + match))
