"""TCP that a server reads otherwise than somebody on the way may: evasions, live against a real server."""

import contextlib
import random
import socket
import struct
import subprocess
import time
from collections.abc import Callable

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from tests.attacks.ground import HTTP, IPV4, MACS, TLS, Ground, fresh, http_request, tls_hello
from tests.scenarios.wire import Wire
from topologies.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.attacks, pytest.mark.timeout(120)]


class Crafted:
    """A TCP connection whose every segment is made by hand, from a host whose kernel knows nothing of it."""

    def __init__(self, wire: Wire, timestamps: bool = False) -> None:
        self.wire = wire
        self.port = random.randint(20000, 60000)
        self.first = random.getrandbits(32)
        self.theirs = 0
        self.begin = len(wire.frames)
        self._clock = 1_000_000 if timestamps else None

    def segment(self, flags: str, at: int, data: bytes = b"", **fields: object) -> Ether:
        """`at`: bytes behind the first of the stream."""
        ip = {key: fields.pop(key) for key in ("ttl", "id") if key in fields}
        clock = fields.pop("clock", self._clock)
        options = [("Timestamp", (clock, 0))] if clock is not None else []
        return (
            Ether(src=MACS["forger"], dst=MACS["server"])
            / IP(src=IPV4["forger"], dst=IPV4["server"], **ip)
            / TCP(
                sport=self.port, dport=HTTP, flags=flags, seq=(self.first + 1 + at) % 2**32, ack=self.theirs,
                options=options, **fields,
            )
            / Raw(data)
        )  # fmt: skip

    def send(self, flags: str, at: int, data: bytes = b"", **fields: object) -> None:
        self.wire.send(self.segment(flags, at, data, **fields))

    def open(self) -> "Crafted":
        self.send("S", -1)
        answer = self.answered(lambda tcp: tcp.flags & 0x12 == 0x12)
        assert answer is not None, "the handshake of a learnt client passes"
        self.theirs = (answer.seq + 1) % 2**32
        self.send("A", 0)
        return self

    def answered(self, wanted: Callable[[TCP], bool], timeout: float = 2.0) -> TCP | None:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for frame in self.wire.frames[self.begin :]:
                packet = Ether(frame.raw)
                if TCP in packet and packet[TCP].dport == self.port and wanted(packet[TCP]):
                    return packet[TCP]
            time.sleep(0.005)
        return None

    def end(self) -> None:
        self.send("R", 0)


GOOD = http_request("/known")


def bad(token: bytes) -> bytes:
    return http_request("/" + token.decode())


def alike(token: bytes) -> tuple[bytes, bytes]:
    """An allowed and a denied request of one length."""
    denied = bad(token)
    return http_request("/known", "X: " + "y" * (len(denied) - len(GOOD) - 5)), denied


def split(step: int) -> Callable[[Crafted, bytes], None]:
    def act(tcp: Crafted, token: bytes) -> None:
        data = bad(token)
        for at in range(0, len(data), step):
            tcp.send("PA", at, data[at : at + step])

    return act


def backwards(tcp: Crafted, token: bytes) -> None:
    data = bad(token)
    for at in reversed(range(0, len(data), 7)):
        tcp.send("PA", at, data[at : at + 7])


def behind_good(tcp: Crafted, token: bytes) -> None:
    data = GOOD + bad(token)
    for at in range(0, len(data), 11):
        tcp.send("PA", at, data[at : at + 11])


def overlap_new_first(tcp: Crafted, token: bytes) -> None:
    """A gap, then the denied tail waiting, then an allowed whole over it."""
    good, denied = alike(token)
    tcp.send("PA", 4, denied[4:])
    tcp.send("PA", 0, good)


def overlap_old_first(tcp: Crafted, token: bytes) -> None:
    good, denied = alike(token)
    tcp.send("PA", 4, good[4:])
    tcp.send("PA", 0, denied)


def overlap_parts(tcp: Crafted, token: bytes) -> None:
    good, denied = alike(token)
    tcp.send("PA", 10, good[10:])
    tcp.send("PA", 3, denied[3:20])
    tcp.send("PA", 0, good[:5])
    tcp.send("PA", 0, denied)


def again_with_other_bytes(tcp: Crafted, token: bytes) -> None:
    """The server drops the first for its checksum; the second, in its place, asks for something else."""
    good, denied = alike(token)
    tcp.send("PA", 0, good, chksum=0x1234)
    tcp.send("PA", 0, denied)


def again_with_low_ttl(tcp: Crafted, token: bytes) -> None:
    good, denied = alike(token)
    tcp.send("PA", 0, good, ttl=1)
    tcp.send("PA", 0, denied, ttl=64)


def again_without_ack(tcp: Crafted, token: bytes) -> None:
    good, denied = alike(token)
    tcp.send("P", 0, good)
    tcp.send("PA", 0, denied)


def again_with_wrong_ack(tcp: Crafted, token: bytes) -> None:
    """A server drops what acknowledges what it never sent (RFC 9293, section 3.10.7.4)."""
    good, denied = alike(token)
    ours = tcp.theirs
    tcp.theirs = (ours + 1_000_000) % 2**32
    tcp.send("PA", 0, good)
    tcp.theirs = ours
    tcp.send("PA", 0, denied)


def again_with_old_clock(tcp: Crafted, token: bytes) -> None:
    """A server drops what is older than what it has seen (RFC 7323, section 5)."""
    good, denied = alike(token)
    tcp.send("PA", 0, good, clock=10)
    tcp.send("PA", 0, denied)


def again_with_md5(tcp: Crafted, token: bytes) -> None:
    good, denied = alike(token)
    segment = tcp.segment("PA", 0, good)
    segment[TCP].options = [(19, b"\0" * 16)]
    tcp.wire.send(segment)
    tcp.send("PA", 0, denied)


def beyond_the_window(tcp: Crafted, token: bytes) -> None:
    tcp.send("PA", 0, GOOD)
    tcp.send("PA", len(GOOD) + 10_000_000, GOOD)
    tcp.send("PA", len(GOOD), bad(token))


def reset_that_is_none(tcp: Crafted, token: bytes) -> None:
    """The server ignores a reset outside of its window; for it the connection goes on."""
    tcp.send("PA", 0, GOOD)
    tcp.send("R", 500_000_000)
    tcp.send("PA", len(GOOD), bad(token))


def reset_inside_the_window(tcp: Crafted, token: bytes) -> None:
    tcp.send("PA", 0, GOOD)
    tcp.send("R", len(GOOD) + 100)
    tcp.send("PA", len(GOOD), bad(token))


def reset_with_bad_checksum(tcp: Crafted, token: bytes) -> None:
    tcp.send("PA", 0, GOOD)
    tcp.send("R", len(GOOD), chksum=0x1234)
    tcp.send("PA", len(GOOD), bad(token))


def reset_then_new_opening(tcp: Crafted, token: bytes) -> None:
    """A reset that does not reach the server, then what looks like a new connection with the same ends."""
    tcp.send("PA", 0, GOOD)
    tcp.send("R", len(GOOD), ttl=1, chksum=0x1234)
    tcp.send("S", 5_000)
    tcp.send("A", 5_001)
    tcp.send("PA", len(GOOD), bad(token))


def end_that_is_none(tcp: Crafted, token: bytes) -> None:
    tcp.send("PA", 0, GOOD)
    tcp.send("FA", len(GOOD), chksum=0x1234)
    tcp.send("PA", len(GOOD), bad(token))


def end_too_early(tcp: Crafted, token: bytes) -> None:
    tcp.send("PA", 0, GOOD)
    tcp.send("FA", len(GOOD) + 300)
    tcp.send("PA", len(GOOD), bad(token))


def urgent(tcp: Crafted, token: bytes) -> None:
    """The server reads one byte less than there is, where urgent data are not inline."""
    data = bad(token)
    half = len(token) // 2
    at = data.index(token) + half
    tcp.send("PA", 0, data[:at])
    tcp.send("PAU", at, b"!" + data[at : at + 1], urgptr=1)
    tcp.send("PA", at + 2, data[at + 1 :])


def urgent_pointer_without_flag(tcp: Crafted, token: bytes) -> None:
    tcp.send("PA", 0, bad(token), urgptr=3)


def request_in_the_opening(tcp: Crafted, token: bytes) -> None:
    tcp.send("S", -1, bad(token))
    tcp.send("A", 0)
    tcp.send("PA", 0, bad(token))


def second_opening(tcp: Crafted, token: bytes) -> None:
    """Another sequence number before the first is answered: which one does the server follow?"""
    good, denied = alike(token)
    tcp.send("S", 99_999)
    tcp.send("PA", 0, good)
    tcp.send("PA", 100_001, denied)
    tcp.send("PA", 0, denied)


EVASIONS: dict[str, Callable[[Crafted, bytes], None]] = {
    "one byte in each segment": split(1),
    "five bytes in each segment": split(5),
    "last segment first": backwards,
    "behind an allowed request, cut anywhere": behind_good,
    "overlap: the denied tail first": overlap_new_first,
    "overlap: the allowed tail first": overlap_old_first,
    "overlap: of parts": overlap_parts,
    "other bytes after a wrong checksum": again_with_other_bytes,
    "other bytes after a low TTL": again_with_low_ttl,
    "other bytes after no ACK": again_without_ack,
    "other bytes after a wrong ACK": again_with_wrong_ack,
    "other bytes after an old timestamp": again_with_old_clock,
    "other bytes after an MD5 option": again_with_md5,
    "data beyond the window": beyond_the_window,
    "RST outside of the window": reset_that_is_none,
    "RST inside the window": reset_inside_the_window,
    "RST with a wrong checksum": reset_with_bad_checksum,
    "RST, then a new opening": reset_then_new_opening,
    "FIN with a wrong checksum": end_that_is_none,
    "FIN out of order": end_too_early,
    "urgent data": urgent,
    "urgent pointer without its flag": urgent_pointer_without_flag,
    "second opening": second_opening,
}


@pytest.mark.parametrize("name", EVASIONS)
def test_evasion_brings_nothing_denied_to_the_server(ground: Ground, name: str) -> None:
    token = fresh()
    received: dict[int, bytes] = {}

    def act() -> None:
        tcp = Crafted(ground.wires["forger"], timestamps="timestamp" in name).open()
        EVASIONS[name](tcp, token)
        ground.pass_by_from_forger(tcp.port)
        tcp.end()
        received.update(_stream(ground, tcp.port))

    ground.judged(f"stream: {name}", act, token, at=("server",), what="crafted connection")
    # What the server has got of it, put together in either way in which bytes may overlap.
    for merged in (_merge(received, newest=True), _merge(received, newest=False)):
        assert token not in merged.replace(b"!", b"")


def _stream(ground: Ground, port: int) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    for frame in ground.server.frames:
        packet = Ether(frame.raw)
        if TCP in packet and packet[TCP].sport == port and packet[TCP].payload:
            found[len(found) << 40 | packet[TCP].seq] = bytes(packet[TCP].payload)
    return found


def _merge(segments: dict[int, bytes], newest: bool) -> bytes:
    """The bytes at each place of the stream; where several came, the last or the first of them."""
    places: dict[int, int] = {}
    for key in sorted(segments):
        seq = key & (1 << 40) - 1
        for step, byte in enumerate(segments[key]):
            if newest or seq + step not in places:
                places[seq + step] = byte
    return bytes(places[place] for place in sorted(places))


def test_request_in_the_opening_brings_nothing_denied_to_the_server(ground: Ground) -> None:
    token = fresh()

    def act() -> None:
        tcp = Crafted(ground.wires["forger"])
        request_in_the_opening(tcp, token)

    ground.judged("stream: request in the SYN", act, token, at=("server",), what="crafted connection")


@pytest.mark.parametrize("name", ["another name", "no TLS at all"])
def test_ends_of_a_connection_at_line_rate_open_no_other_one(ground: Ground, name: str) -> None:
    """Behind an allowed hello the switch carries a connection by itself. A second one has the same ends."""
    token = fresh()
    denied = (
        tls_hello(f"{token.decode()}.example")
        if name == "another name"
        else http_request(f"/{token.decode()}")
    )

    def act() -> None:
        first = ground.attacker.tcp(IPV4["server"], TLS)
        port = first.getsockname()[1]
        first.sendall(tls_hello("known.example"))
        until(lambda: _carried(ground, port), "the switch carries the connection")
        first.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        first.close()  # by a reset
        with (
            contextlib.suppress(OSError),
            ground.attacker.tcp(IPV4["server"], TLS, timeout=1.5, own_port=port) as second,
        ):
            second.sendall(denied)

    ground.judged(
        f"stream: ends of a connection at line rate, {name}", act, token, at=("server",), what="hello"
    )


def _carried(ground: Ground, port: int) -> bool:
    bridge = ground.stage.laboratory.network.bridge("s1")
    command = ["ovs-ofctl", "-OOpenFlow13", "dump-flows", bridge]
    flows = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return f"tp_src={port}," in flows
