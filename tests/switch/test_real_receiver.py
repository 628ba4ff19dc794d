"""What a Linux kernel reads of a stream that the inspector lets through: nothing that was not judged."""

import contextlib
import ctypes
import random
import secrets
import select
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.dpi.frame import parse
from controller.dpi.message import Message
from controller.dpi.stream import ConnectionTable
from tests.properties.test_streams import Segment, judged, noise, pieces
from tests.switch.conftest import command
from tests.unit.dpi.examples import STREAMS
from tests.unit.dpi.frames import ACK, CLIENT, SERVER, SYN, tcp

pytestmark = pytest.mark.root

EXAMPLES = settings(max_examples=60, deadline=None)
CLONE_NEWNET = 0x40000000
SMALL = [stream for stream in STREAMS if len(stream[1]) < 1400]


def listener(namespace: str, port: int, protocol: int = socket.IPPROTO_TCP) -> socket.socket:
    """A socket that belongs to another network namespace."""

    def listen() -> socket.socket:
        with Path("/var/run/netns", namespace).open() as place:
            if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "setns")
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((SERVER, port))
        made.listen(64)
        return made

    with ThreadPoolExecutor(1) as thread:  # only this thread changes over, and it ends
        return thread.submit(listen).result()


class Site:
    """A server's kernel at one end of a cable; the inspector and a hostile client at the other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cable = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.cable.bind((f"{name}-c", 0))
        self.cable.setblocking(False)
        self.listeners: dict[int, socket.socket] = {}
        self.ports = count(20000)

    def close(self) -> None:
        self.cable.close()
        for each in self.listeners.values():
            each.close()

    def answer(self, client_port: int) -> tuple[int, bytes]:
        """With which sequence number, and which options, the server takes a connection."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            if select.select([self.cable], [], [], 0.1)[0]:
                raw = self.cable.recv(2048)
                headers = parse(raw)
                if headers.dst_port == client_port and headers.tcp_flags & (SYN | ACK) == SYN | ACK:
                    return headers.seq, raw[headers.transport_offset + 20 : headers.payload_offset]
        raise TimeoutError("the server does not answer")


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    name = f"gwk{secrets.token_hex(3)}"
    inside = ("ip", "-n", name)
    command("ip", "netns", "add", name)
    try:
        near = (f"{name}-c", "address", "02:00:00:00:00:01", "mtu", "3000")
        far = ("s0", "address", "02:00:00:00:00:02", "netns", name)
        command("ip", "link", "add", *near, "type", "veth", "peer", "name", *far)
        command("sysctl", "-qw", f"net.ipv6.conf.{name}-c.disable_ipv6=1")
        command(*inside, "address", "add", f"{SERVER}/24", "dev", "s0")
        command(*inside, "link", "set", "s0", "mtu", "3000", "up")
        command("ip", "link", "set", f"{name}-c", "up")
        command(*inside, "neighbour", "add", CLIENT, "lladdr", "02:00:00:00:00:01", "dev", "s0")
        made = Site(name)
        yield made
        made.close()
    finally:
        with contextlib.suppress(Exception):
            command("ip", "link", "delete", f"{name}-c")
        command("ip", "netns", "delete", name)


class Conversation:
    """One connection of the client's, through the inspector, to the server's kernel."""

    def __init__(self, site: Site, port: int, isn: int) -> None:
        if port not in site.listeners:
            site.listeners[port] = listener(site.name, port)
        self.site, self.port, self.isn = site, port, isn
        self.client_port = next(site.ports)
        self.table = ConnectionTable()
        self.said: list[Message] = []
        self.refused: str | None = None
        self.taken = b""
        self.ack = 0
        self.send(Segment(-1, b"", SYN))
        self.ack = site.answer(self.client_port)[0] + 1
        self.send(Segment(0, b"", ACK))
        self.server, _ = site.listeners[port].accept()
        self.server.setblocking(False)
        self.server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def send(self, segment: Segment) -> None:
        ack = self.ack & 0xFFFFFFFF if segment.flags & ACK else 0
        raw = tcp(
            self.isn + 1 + segment.at, segment.data, segment.flags, ack=ack, port=self.port,
            client_port=self.client_port,
        )  # fmt: skip
        connection, step = self.table.frame(raw, parse(raw), 0.0)
        if step.refuse is not None:
            self.refused = step.refuse
            return
        self.said += step.messages
        if connection is not None:
            self.taken = bytes(connection._tail) or self.taken
        for frame in step.release:
            if not (segment.ruined and frame == raw):
                self.site.cable.send(frame)

    def read(self, expected: int = 0) -> bytes:
        """What the server's program gets; waits for `expected` bytes of it."""
        found = b""
        deadline = time.monotonic() + 5
        while len(found) < expected and time.monotonic() < deadline:
            if select.select([self.server], [], [], 0.1)[0]:
                found += self.server.recv(65536)
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            while more := self.server.recv(65536):
                found += more
        return found

    def close(self) -> None:
        self.server.close()
        with contextlib.suppress(BlockingIOError):
            while self.site.cable.recv(2048):
                pass


@EXAMPLES
@given(
    st.sampled_from(SMALL),
    st.sampled_from([999, 0xFFFFFFF0]),
    st.lists(st.integers(0, 999), max_size=8),
    st.randoms(use_true_random=False),
)
def test_server_reads_all_that_was_judged_however_it_was_cut_and_mixed(
    site: Site, stream: tuple[int, bytes], isn: int, cuts: list[int], chance: random.Random
) -> None:
    port, whole = stream
    segments = pieces(whole, cuts) * 2
    chance.shuffle(segments)
    conversation = Conversation(site, port, isn)
    for segment in segments:
        conversation.send(segment)
    assert conversation.refused is None
    assert conversation.said == judged(port, whole)[0]
    assert conversation.read(len(whole)) == whole
    conversation.close()


@EXAMPLES
@given(
    st.sampled_from(SMALL),
    st.lists(st.integers(0, 999), max_size=5),
    st.lists(noise, max_size=10),
    st.randoms(use_true_random=False),
)
def test_server_reads_nothing_that_was_not_judged_whatever_is_sent_in_between(
    site: Site, stream: tuple[int, bytes], cuts: list[int], attack: list[Segment], chance: random.Random
) -> None:
    port, whole = stream
    segments = [piece._replace(ruined=chance.random() < 0.2) for piece in pieces(whole, cuts)]
    segments += [*segments, *attack]
    chance.shuffle(segments)
    conversation = Conversation(site, port, 5000)
    for segment in segments:
        if conversation.refused is None:
            conversation.send(segment)
    read = conversation.read()
    messages, released = judged(port, conversation.taken)
    assert conversation.said[: len(messages)] == messages
    assert conversation.taken.startswith(read)
    assert len(read) <= released or len(conversation.said) > len(messages)
    conversation.close()


def test_server_is_not_offered_multipath_tcp(site: Site) -> None:
    """With it the client alone would say in which order the server reads what it is sent."""
    try:
        server = listener(site.name, 8262, socket.IPPROTO_MPTCP)
    except OSError:
        pytest.skip("this kernel has no Multipath TCP")
    with server:
        port, offer = next(site.ports), bytes.fromhex("1e040101")
        site.cable.send(tcp(999, b"", SYN, ack=0, port=8262, client_port=port, told=offer))
        assert site.answer(port)[1].find(b"\x1e\x0c\x01") >= 0  # so it is when nobody stands between
        port = next(site.ports)
        sent = tcp(999, b"", SYN, ack=0, port=8262, client_port=port, told=offer)
        _, step = ConnectionTable().frame(sent, parse(sent), 0.0)
        site.cable.send(*step.release)
        assert site.answer(port)[1].find(b"\x1e\x0c\x01") < 0
