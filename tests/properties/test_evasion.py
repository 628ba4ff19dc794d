"""The known ways to slip something past an inspector, each by name, on streams of every protocol.

What comes out is the same messages or a refusal, and the server reads nothing that was not judged. Random
mixtures of all this stand in test_streams.py; here each trick is sure to be tried.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import pytest

from controller.dpi.frame import parse
from controller.dpi.message import Malformed, Message
from controller.dpi.registry import open_stream
from controller.dpi.stream import ConnectionTable
from tests.unit.dpi.examples import STREAMS
from tests.unit.dpi.frames import ACK, FIN, PSH, RST, SYN, URG, checksum, tcp

ISN: Final = 0xFFFFFFC0  # sequence numbers wrap inside most of the examples
EVERY = pytest.mark.parametrize("stream", STREAMS, ids=[f"{n}-{port}" for n, (port, _) in enumerate(STREAMS)])
Stream = tuple[int, bytes]


class Sent(NamedTuple):
    raw: bytes
    lost: bool = False  # behind the inspector, or not taken by the server


class Outcome(NamedTuple):
    said: list[Message]
    read: bytes  # by the server
    refused: str | None


class Server:
    """What a kernel has of a stream: the first value of each byte counts."""

    def __init__(self) -> None:
        self.bytes: dict[int, int] = {}

    def take(self, raw: bytes) -> None:
        headers = parse(raw)
        start = (headers.seq - ISN - 1 + 2**31) % 2**32 - 2**31
        for at, byte in enumerate(raw[headers.payload_offset : headers.payload_end], start):
            self.bytes.setdefault(at, byte)

    def read(self) -> bytes:
        found = bytearray()
        while len(found) in self.bytes:
            found.append(self.bytes[len(found)])
        return bytes(found)


def segment(port: int, at: int, data: bytes, flags: int = ACK | PSH, **more: int) -> bytes:
    return tcp(ISN + 1 + at, data, flags, port=port, **more)


def run(frames: Iterable[bytes | Sent], first: bytes) -> Outcome:
    """One connection that begins with the frame `first`."""
    table, server = ConnectionTable(), Server()
    table.frame(first, parse(first), 0.0)
    said: list[Message] = []
    for frame in frames:
        sent = frame if isinstance(frame, Sent) else Sent(frame)
        try:
            headers = parse(sent.raw)
        except Malformed:
            continue  # it goes nowhere
        _, step = table.frame(sent.raw, headers, 0.0)
        if step.refuse is not None:
            return Outcome(said, server.read(), step.refuse)
        said += step.messages
        for raw in step.release:
            if not (sent.lost and raw == sent.raw):
                server.take(raw)
    return Outcome(said, server.read(), None)


def syn(port: int, dress: Callable[[bytes], bytes] = bytes) -> bytes:
    return dress(tcp(ISN, b"", SYN, ack=0, port=port))


def judged(stream: Stream) -> list[Message]:
    port, data = stream
    return list(open_stream(port).feed(data).messages)


def assert_same(stream: Stream, outcome: Outcome) -> None:
    assert outcome == Outcome(judged(stream), stream[1], None)


def cut(stream: Stream, edges: Sequence[int], **more: int) -> list[bytes]:
    port, data = stream
    bounds = [0, *edges, len(data)]
    return [segment(port, a, data[a:b], **more) for a, b in pairwise(bounds)]


@EVERY
def test_first_byte_alone(stream: Stream) -> None:
    assert_same(stream, run(cut(stream, [1]), syn(stream[0])))


@EVERY
def test_every_byte_alone_also_backwards(stream: Stream) -> None:
    port, data = stream
    frames = cut(stream, range(1, len(data)))
    assert_same(stream, run(frames, syn(port)))
    front, back = cut((port, data[:60]), range(1, min(60, len(data))))[::-1], [segment(port, 60, data[60:])]
    assert_same(stream, run(front + (back if data[60:] else []), syn(port)))


@EVERY
def test_beginning_over_three_segments(stream: Stream) -> None:
    for first in range(1, 8):
        assert_same(stream, run(cut(stream, [first, first + 3]), syn(stream[0])))


@EVERY
def test_all_messages_in_one_segment(stream: Stream) -> None:
    assert_same(stream, run(cut(stream, []), syn(stream[0])))


@EVERY
def test_segments_in_the_wrong_order(stream: Stream) -> None:
    third = max(len(stream[1]) // 3, 1)
    frames = cut(stream, [third, 2 * third])
    for order in ((2, 1, 0), (1, 2, 0), (2, 0, 1)):
        assert_same(stream, run([frames[index] for index in order], syn(stream[0])))


@EVERY
def test_segments_that_were_lost_behind_the_inspector_and_come_again(stream: Stream) -> None:
    half = len(stream[1]) // 2
    first, second = cut(stream, [half])
    assert_same(stream, run([Sent(first, lost=True), second, first, second], syn(stream[0])))


@EVERY
def test_same_place_with_other_bytes(stream: Stream) -> None:
    port, data = stream
    half = len(data) // 2
    other = bytes(byte ^ 0x20 for byte in data[:half])
    for first in (Sent(segment(port, 0, data[:half]), lost=True), segment(port, 0, data[:half])):
        outcome = run([first, segment(port, 0, other), segment(port, half, data[half:])], syn(port))
        assert outcome.refused == "ambiguous stream"
        assert data.startswith(outcome.read)
    # what is behind a gap is compared when the gap closes
    outcome = run(
        [segment(port, half, b"?" * 9), segment(port, half, data[half:]), segment(port, 0, data[:half])],
        syn(port),
    )
    assert outcome.refused is not None
    assert data.startswith(outcome.read)


@EVERY
def test_window_that_is_closed_and_probed(stream: Stream) -> None:
    """The probe's byte is new to the inspector, and the server without window does not take it."""
    port, data = stream
    half = len(data) // 2
    probe = Sent(segment(port, half, data[half : half + 1]), lost=True)
    frames = [segment(port, 0, data[:half]), probe, probe, segment(port, half - 1, b"", ACK)]
    assert_same(stream, run([*frames, segment(port, half, data[half:])], syn(port)))


@EVERY
def test_urgent_data_is_refused(stream: Stream) -> None:
    port, data = stream
    frames = [segment(port, 0, data[:2]), segment(port, 2, data[2:4], ACK | URG, urgent=1)]
    outcome = run([*frames, segment(port, 4, data[4:])], syn(port))
    assert (outcome.refused, data[:2].startswith(outcome.read)) == ("urgent data", True)


@EVERY
@pytest.mark.parametrize(
    ("offset", "more"),
    [(-9, {}), (-1, {}), (3, {}), (100_000, {}), (0, {"ttl": 1}), (0, {"wrong_checksum": 1})],
)
def test_bare_flags_in_between_end_nothing_or_all(stream: Stream, offset: int, more: dict[str, int]) -> None:
    """At a wrong place, or on a packet that the server does not get: then nothing unjudged follows it."""
    port, data = stream
    half = len(data) // 2
    first, second = cut(stream, [half])
    evil = segment(port, half, b"GET /evil HTTP/1.1\r\n\r\n")
    for flags in (FIN, RST, FIN | ACK, RST | ACK, SYN | ACK, SYN, 0):
        trick = Sent(segment(port, half + offset, b"", flags, **more), lost=True)
        outcome = run([first, trick, second, evil], syn(port))
        assert data.startswith(outcome.read)
        assert outcome.said == judged(stream)[: len(outcome.said)]
        assert not offset or outcome.read == data or outcome.refused is not None


@EVERY
def test_new_connection_in_the_middle_of_another(stream: Stream) -> None:
    """A SYN that the server does not take must not make the inspector forget where the server is."""
    port, data = stream
    half = len(data) // 2
    trick = Sent(tcp(ISN + half + 40, b"", SYN, ack=0, port=port), lost=True)
    evil = segment(port, half + 41, data)
    outcome = run([segment(port, 0, data[:half]), trick, evil, segment(port, half, data[half:])], syn(port))
    assert data.startswith(outcome.read)


# ---------------------------------------------------------------------- other headers, the same stream


def options(raw: bytes) -> bytes:
    """Four options of IPv4 that do nothing."""
    ip = bytearray(raw[14:34])
    ip[0] = 0x46
    ip[2:4] = (int.from_bytes(ip[2:4], "big") + 4).to_bytes(2, "big")
    ip += b"\1\1\1\0"
    ip[10:12] = b"\0\0"
    ip[10:12] = checksum(bytes(ip)).to_bytes(2, "big")
    return raw[:14] + bytes(ip) + raw[34:]


def tag(raw: bytes) -> bytes:
    return raw[:12] + b"\x81\0\0\7" + raw[12:]


def two_tags(raw: bytes) -> bytes:
    return raw[:12] + b"\x88\xa8\0\7\x81\0\0\x09" + raw[12:]


def extended(raw: bytes) -> bytes:
    """Hop-by-hop options, a fragment that is the whole, destination options."""
    more = (
        bytes([44, 0, 1, 4, 0, 0, 0, 0]) + bytes([60, 0, 0, 0, 0, 0, 0, 9]) + bytes([6, 0, 1, 4, 0, 0, 0, 0])
    )
    length = int.from_bytes(raw[18:20], "big") + len(more)
    return raw[:18] + length.to_bytes(2, "big") + b"\0" + raw[21:54] + more + raw[54:]


def padded(raw: bytes) -> bytes:
    return raw + b"GET /evil HTTP/1.1\r\n\r\n"


@EVERY
@pytest.mark.parametrize(
    ("dress", "six"),
    [(options, 0), (tag, 0), (two_tags, 0), (tag, 1), (extended, 1), (padded, 0), (padded, 1), (bytes, 1)],
)
def test_same_stream_behind_other_headers(stream: Stream, dress: Callable[[bytes], bytes], six: int) -> None:
    port, data = stream
    frames = [dress(raw) for raw in cut(stream, [1, len(data) // 2], six=six)]
    first = dress(tcp(ISN, b"", SYN, ack=0, port=port, six=bool(six)))
    assert_same(stream, run(frames, first))


@EVERY
def test_headers_may_change_from_segment_to_segment(stream: Stream) -> None:
    plain = cut(stream, [1, 5])
    assert_same(stream, run([plain[0], options(plain[1]), padded(plain[2])], syn(stream[0])))


@EVERY
def test_another_vlan_is_another_connection(stream: Stream) -> None:
    first, second = cut(stream, [len(stream[1]) // 2])
    outcome = run([first, tag(second)], syn(stream[0]))
    assert outcome.refused == "unknown connection"
    assert stream[1].startswith(outcome.read)


@EVERY
def test_fragments_carry_nothing(stream: Stream) -> None:
    """Neither the first part of a packet, nor one that covers the header of another."""
    port, data = stream
    for fragment in (0x2000, 0x0001):
        outcome = run([segment(port, 0, data, fragment=fragment)], syn(port))
        assert (outcome.said, outcome.read) == ([], b"")
