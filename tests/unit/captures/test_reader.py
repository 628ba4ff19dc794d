"""Captures of every kind give the same frames; damaged ones what stands before the damage."""

import gzip
import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.captures.reader import (
    CHUNK,
    LONGEST_BLOCK,
    LONGEST_FRAME,
    Captured,
    CaptureError,
    DamagedError,
    frames,
)
from tests.unit.captures.capture_files import block, ethernet, interface, option, packet, pcap, section

FRAMES = [ethernet(), b"x", b"", b"y" * 1500]
MICRO, NANO = 0xA1B2C3D4, 0xA1B23C4D
SECOND = 1_700_000_000 * 10**9


def read(data: bytes, step: int = CHUNK) -> tuple[list[Captured], str | None]:
    """All frames, and what was wrong at the end."""
    file, found = io.BytesIO(data), []
    try:
        for captured in frames(lambda n: file.read(min(n, step))):
            found.append(captured)  # noqa: PERF402  # what came before the error counts
    except DamagedError as error:
        return found, str(error)
    return found, None


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("magic", "part", "time"), [(MICRO, 123456, 123456000), (NANO, 123456789, 123456789)]
)
def test_pcap_of_both_byte_orders_and_resolutions_gives_the_same_frames(
    order: str, magic: int, part: int, time: int
) -> None:
    found, wrong = read(pcap(FRAMES, order=order, magic=magic, part=part))
    assert wrong is None
    assert [captured.data for captured in found] == FRAMES
    assert [captured.number for captured in found] == [1, 2, 3, 4]
    assert found[1] == Captured(2, SECOND + 10**9 + time, 1, b"x", 1)


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_has_interfaces_with_their_own_links_and_clocks(order: str) -> None:
    nanoseconds = option(9, b"\x09", order)
    binary = option(9, b"\x8a", order) + option(
        14, (100).to_bytes(8, "little" if order == "<" else "big"), order
    )
    data = section(order) + interface(order=order) + interface(101, order, nanoseconds)
    data += interface(113, order, binary) + block(0x0BAD, b"a custom block", order)
    data += (
        packet(b"one", 5_000_001, 0, order) + packet(b"two", 6, 1, order) + packet(b"three", 1024, 2, order)
    )
    found, wrong = read(data)
    assert wrong is None
    assert found == [
        Captured(1, 5_000_001_000, 1, b"one", 3),
        Captured(2, 6, 101, b"two", 3),
        Captured(3, 101 * 10**9, 113, b"three", 5),
    ]


def test_interfaces_of_one_section_are_not_those_of_the_next() -> None:
    data = section() + interface() + packet(b"a", 1) + section(">") + packet(b"b", 1, order=">")
    found, wrong = read(data)
    assert [captured.data for captured in found] == [b"a"]
    assert wrong is not None
    assert "frame 2 is of interface 0" in wrong


def test_simple_and_obsolete_blocks_are_frames_too() -> None:
    old = struct.pack("<HHIIII", 0, 0, 0, 7, 2, 60) + b"ab"
    data = section() + interface() + block(3, struct.pack("<I", 3) + b"abc") + block(2, old)
    assert read(data) == ([Captured(1, 0, 1, b"abc", 3), Captured(2, 7000, 1, b"ab", 60)], None)


@pytest.mark.parametrize("step", [1, 7, CHUNK])
def test_gzip_and_small_pieces_make_no_difference(step: int) -> None:
    data = pcap(FRAMES)
    members = gzip.compress(data[:50]) + gzip.compress(data[50:])
    assert read(data, step) == read(members, step) == read(data)


@pytest.mark.parametrize(
    "data", [b"", b"\xd4", b"hello world", b"PK\3\4" + b"x" * 99, gzip.compress(b"text", mtime=0)]
)
def test_what_is_no_capture_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(CaptureError, match="no capture"):
        frames(io.BytesIO(data).read)


@pytest.mark.parametrize(
    "data", [pcap([])[:20], section()[:20], section()[:6], gzip.compress(pcap([]), mtime=0)[:12]]
)
def test_a_header_cut_short_is_refused_at_once(data: bytes) -> None:
    with pytest.raises(CaptureError):
        frames(io.BytesIO(data).read)


def test_a_capture_cut_anywhere_gives_all_whole_frames_and_names_the_one_that_is_not() -> None:
    whole = pcap(FRAMES)
    ends = [24]
    for frame in FRAMES:
        ends.append(ends[-1] + 16 + len(frame))
    for cut in range(24, len(whole)):
        found, wrong = read(whole[:cut])
        count = sum(end <= cut for end in ends[1:])
        assert [captured.data for captured in found] == FRAMES[:count]
        assert (wrong is None) == (cut in ends)
        assert wrong is None or wrong.endswith(f"frame {count + 1}")


def test_a_pcapng_cut_anywhere_gives_all_whole_frames() -> None:
    start, blocks = section() + interface(), [packet(frame, 1) for frame in FRAMES]
    whole = start + b"".join(blocks)
    for cut in range(len(section()), len(whole)):
        found, wrong = read(whole[:cut])
        complete = [n for n in range(5) if len(start) + sum(map(len, blocks[:n])) <= cut]
        assert len(found) == max(complete, default=0)
        assert wrong is not None or cut in (
            len(section()),
            *(len(start) + sum(map(len, blocks[:n])) for n in complete),
        )


@pytest.mark.parametrize("size", [LONGEST_FRAME + 1, 0x7FFFFFFF, 0xFFFFFFFF])
def test_no_length_makes_it_read_what_no_frame_has(size: int) -> None:
    asked = []
    file = io.BytesIO(pcap([b"good"]) + struct.pack("<IIII", 0, 0, size, size) + b"x" * 99)

    def reading(count: int) -> bytes:
        asked.append(count)
        return file.read(count)

    found = frames(reading)
    assert next(found).data == b"good"
    with pytest.raises(DamagedError, match="frame 2 says that it has"):
        next(found)
    assert max(asked) <= CHUNK


@pytest.mark.parametrize("length", [0, 4, 8, 13, LONGEST_BLOCK + 4, 0xFFFFFFF0])
def test_no_block_is_longer_or_shorter_than_blocks_are(length: int) -> None:
    data = section() + interface() + packet(b"good", 1) + struct.pack("<II", 6, length) + b"x" * 99
    found, wrong = read(data)
    assert len(found) == 1
    assert wrong is not None
    assert "after frame 1" in wrong


@pytest.mark.parametrize(
    "body",
    [
        struct.pack("<IIIII", 0, 0, 0, 999, 999) + b"short",
        struct.pack("<IIIII", 7, 0, 0, 0, 0),
        struct.pack("<IIIII", 0, 0, 0, LONGEST_FRAME + 1, 0),
        b"abcd",
    ],
)
def test_frames_that_contradict_their_blocks_are_not_given(body: bytes) -> None:
    found, wrong = read(section() + interface() + block(6, body))
    assert found == []
    assert wrong is not None


def test_two_lengths_of_one_block_must_agree() -> None:
    data = bytearray(section() + interface() + packet(b"good", 1))
    data[-4] ^= 4
    found, wrong = read(bytes(data))
    assert (found, wrong) == ([], "a block has two different lengths")


@given(
    st.binary(max_size=300),
    st.sampled_from([pcap(FRAMES), section() + interface(), gzip.compress(pcap(FRAMES))]),
)
def test_any_bytes_behind_any_beginning_give_frames_or_one_of_two_errors(tail: bytes, head: bytes) -> None:
    for cut in (4, 24, len(head)):
        try:
            found, _ = read(head[:cut] + tail)
        except CaptureError:
            continue
        assert all(len(captured.data) <= LONGEST_FRAME for captured in found)


def test_a_bomb_is_read_piece_by_piece() -> None:
    bomb = gzip.compress(pcap([]) + bytes(64 * 1024 * 1024))
    file = io.BytesIO(bomb)
    count = sum(1 for _ in zip(range(1000), frames(file.read), strict=False))
    assert count == 1000
    assert file.tell() <= len(bomb)
