"""However a client cuts, reorders and repeats its stream, its server reads what was judged, nothing else."""

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.dpi.connection import Connection, Limits
from controller.dpi.frame import parse
from controller.dpi.message import Message
from controller.dpi.registry import open_stream
from tests.unit.dpi.examples import OPAQUE, STREAMS
from tests.unit.dpi.frames import ACK, FIN, PSH, RST, SYN, URG, tcp

EXAMPLES: Final = settings(max_examples=400, deadline=None)


class Segment(NamedTuple):
    at: int  # offset in the client's stream
    data: bytes
    flags: int = ACK | PSH
    ruined: bool = False  # on its way to the server, where the inspector cannot see it


class Server:
    """What a kernel makes of segments (RFC 9293, section 3.10.7.4); overlaps in either way of theirs."""

    def __init__(self, first_seq: int, newest_wins: bool) -> None:
        self.first_seq, self.newest_wins = first_seq, newest_wins
        self.waiting: dict[int, int] = {}
        self.read = bytearray()

    def take(self, raw: bytes) -> None:
        headers = parse(raw)
        start = ((headers.seq - self.first_seq + 2**31) & 0xFFFFFFFF) - 2**31
        for at, byte in enumerate(raw[headers.payload_offset : headers.payload_end], start):
            if at >= len(self.read) and (self.newest_wins or at not in self.waiting):
                self.waiting[at] = byte
        while len(self.read) in self.waiting:
            self.read.append(self.waiting.pop(len(self.read)))


def judged(port: int, data: bytes) -> tuple[list[Message], int]:
    """The messages of a stream, and how far they go."""
    fed = open_stream(port).feed(data)
    return list(fed.messages), fed.released


class Followed(NamedTuple):
    said: list[Message]  # what was to be judged
    read: bytes  # by the server
    refused: str | None
    taken: bytes  # as the client's stream, by the inspector


def follow(port: int, segments: Sequence[Segment], isn: int = 999, newest_wins: bool = False) -> Followed:
    """Send the segments of one connection."""
    syn = tcp(isn, b"", SYN, ack=0, port=port)
    connection = Connection((None, "10.0.0.1", 40000, "10.0.0.2", port), Limits(), parse(syn))
    server = Server((isn + 1) & 0xFFFFFFFF, newest_wins)
    said: list[Message] = []
    taken = b""
    for segment in segments:
        raw = tcp(isn + 1 + segment.at, segment.data, segment.flags, port=port)
        step = connection.client_frame(raw, parse(raw), 0.0)
        if step.refuse is not None:
            return Followed(said, bytes(server.read), step.refuse, taken)
        taken = bytes(connection._tail) or taken  # it keeps more than these examples have
        said += step.messages
        for frame in step.release:
            if not (segment.ruined and frame == raw):
                server.take(frame)
    return Followed(said, bytes(server.read), None, taken)


def pieces(data: bytes, cuts: Sequence[int]) -> list[Segment]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [Segment(a, data[a:b]) for a, b in pairwise(edges)]


@st.composite
def sent(draw: st.DrawFn, data: bytes) -> list[Segment]:
    """A stream cut anywhere, parts of it twice, in any order; in the end all of it was there."""
    segments = pieces(data, draw(st.lists(st.integers(0, 999), max_size=8)))
    for _ in range(draw(st.integers(0, 4))):
        a = draw(st.integers(0, len(data) - 1))
        b = draw(st.integers(a + 1, len(data)))
        segments.append(Segment(a, data[a:b], ACK))
    return draw(st.permutations(segments)) if draw(st.booleans()) else segments


@EXAMPLES
@given(st.data(), st.sampled_from(STREAMS), st.sampled_from([0, 999, 0xFFFFFFF0]))
def test_messages_are_the_same_however_a_stream_is_cut(
    data: st.DataObject, stream: tuple[int, bytes], isn: int
) -> None:
    port, whole = stream
    said, read, refused, _ = follow(port, data.draw(sent(whole)), isn)
    assert (said, read, refused) == (judged(port, whole)[0], whole, None)


@EXAMPLES
@given(st.data(), st.sampled_from(OPAQUE))
def test_opaque_streams_say_the_same_however_they_are_cut(
    data: st.DataObject, stream: tuple[int, bytes]
) -> None:
    port, whole = stream
    said, read, refused, _ = follow(port, data.draw(sent(whole)))
    assert (said, read, refused) == (judged(port, whole)[0], whole, None)


noise = st.builds(
    Segment,
    st.integers(-3, 160),
    st.binary(max_size=40),
    st.sampled_from([ACK, ACK | PSH, ACK | FIN, RST, RST | ACK, SYN, SYN | ACK, URG | ACK, 0, FIN]),
    st.booleans(),
)


@EXAMPLES
@given(
    st.sampled_from(STREAMS),
    st.lists(st.integers(0, 999), max_size=5),
    st.lists(noise, max_size=10),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_server_never_reads_what_was_not_judged(
    stream: tuple[int, bytes],
    cuts: list[int],
    attack: list[Segment],
    chance: random.Random,
    newest_wins: bool,
) -> None:
    """Whatever is sent between the segments, and whatever of it the server does not take."""
    port, whole = stream
    segments = [piece._replace(ruined=chance.random() < 0.2) for piece in pieces(whole, cuts)]
    segments += [*segments, *attack]
    chance.shuffle(segments)
    said, read, _, taken = follow(port, segments, newest_wins=newest_wins)
    messages, released = judged(port, taken)
    assert messages == said[: len(messages)]  # a FIN may say of what is undecided that it is unknown
    assert taken.startswith(read)
    assert len(read) <= released or len(said) > len(messages)


@EXAMPLES
@given(st.data(), st.sampled_from(STREAMS), st.integers(0, 200), st.binary(min_size=2, max_size=9))
def test_other_bytes_in_the_same_place_never_reach_the_server(
    data: st.DataObject, stream: tuple[int, bytes], at: int, other: bytes
) -> None:
    """The segment that was judged is lost on its way, and comes again with something else in it."""
    port, whole = stream
    at %= len(whole)
    segments = [Segment(0, whole, ruined=True)]
    segments += data.draw(st.permutations([Segment(at, other), *pieces(whole, [at])]))
    read = follow(port, segments).read
    assert whole.startswith(read)
