from collections import Counter
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi.dnp3 import PORT, Dnp3Stream, recognise
from controller.dpi.message import Malformed
from controller.dpi.registry import open_stream
from tests.unit.dpi.captures import CAPTURES, messages, needs_captures, tshark

Said = tuple[str, str, str]


def checked(block: bytes) -> bytes:
    """IEEE 1815-2012, 9.2.4.3.1, bit by bit."""
    value = 0
    for byte in block:
        for bit in range(8):
            value = value >> 1 ^ (0xA6BC if (value ^ byte >> bit) & 1 else 0)
    return block + (value ^ 0xFFFF).to_bytes(2, "little")


def link(content: bytes, control: int = 0xC4, station: int = 4) -> bytes:
    head = b"\x05\x64" + bytes([5 + len(content), control]) + station.to_bytes(2, "little") + b"\3\0"
    return checked(head) + b"".join(checked(content[at : at + 16]) for at in range(0, len(content), 16))


def request(function: int, objects: str = "") -> bytes:
    return link(b"\xc0\xc1" + bytes([function]) + bytes.fromhex(objects))


FILE: Final = b"./a.xml"
FILE_3: Final = "1a00 0700 000000000000 0000 00000000 00000000 {mode} 0004 0000" + FILE.hex()
CROB: Final = "41 01 64000000 64000000 00"


def opened(mode: str) -> str:
    content = FILE_3.format(mode=mode)
    return f"46 03 5b 01 {len(bytes.fromhex(content)):02x}00 {content}"


CALLS: Final[tuple[tuple[bytes, list[Said]], ...]] = (
    (request(0), [("Confirm", "connect", "station 4")]),
    (
        request(1, "3c 02 06 3c 01 06"),
        [("Read", "read", "station 4 g60v2"), ("Read", "read", "station 4 g60v1")],
    ),
    (request(1, "1e 05 00 03 07"), [("Read", "read", "station 4 g30v5 points 3-7")]),
    (request(1, "1e 05 01 0001 0001"), [("Read", "read", "station 4 g30v5 point 256")]),
    (request(1, "16 00 07 05"), [("Read", "read", "station 4 g22v0")]),
    (
        request(1, "1e 00 17 02 05 09"),
        [("Read", "read", "station 4 g30v0 point 5"), ("Read", "read", "station 4 g30v0 point 9")],
    ),
    (request(2, "32 01 07 01 a1b2c3d4e5f6"), [("Write", "write", "station 4 g50v1")]),
    (request(2, "50 01 00 07 07 00"), [("Write", "write", "station 4 g80v1 point 7")]),
    (request(2, "6e 03 00 01 02 616263 646566"), [("Write", "write", "station 4 g110v3 points 1-2")]),
    (request(3, f"0c 01 28 0100 9f86 {CROB}"), [("Select", "write", "station 4 g12v1 point 34463")]),
    (request(5, f"0c 01 17 01 03 {CROB}"), [("Direct Operate", "write", "station 4 g12v1 point 3")]),
    (request(4, "29 02 28 0100 0700 3412 00"), [("Operate", "write", "station 4 g41v2 point 7")]),
    (request(13), [("Cold Restart", "execute", "station 4")]),
    (request(9, "14 00 06"), [("Freeze and Clear", "execute", "station 4 g20v0")]),
    (request(20, "3c 02 06"), [("Enable Unsolicited", "subscribe", "station 4 g60v2")]),
    (request(25, opened("0100")), [("Open File", "read", "station 4 file ./a.xml")]),
    (request(25, opened("0200")), [("Open File", "write", "station 4 file ./a.xml")]),
    (request(27, opened("0200")), [("Delete File", "delete", "station 4 file ./a.xml")]),
    (request(26, "46 04 5b 01 0300 010203"), [("Close File", "connect", "station 4 g70v4")]),
    (request(70, "ff"), [("Function 70", "execute", "station 4")]),
    (request(130, "0000 ff"), [("Unsolicited Response", "notify", "station 4")]),
    (request(129, "0000 ff"), []),
    (link(b"", 0xC9), []),
)


def said(raw: bytes) -> list[Said]:
    fed = Dnp3Stream().feed(raw)
    assert fed.released == len(raw)
    assert all(message.protocol == "dnp3" for message in fed.messages)
    return [(m.verb, m.operation.value, m.resource) for m in fed.messages]


@pytest.mark.parametrize(("raw", "expected"), CALLS)
def test_requests(raw: bytes, expected: list[Said]) -> None:
    assert said(raw) == expected


def test_a_request_in_several_parts_is_released_as_a_whole() -> None:
    stream = Dnp3Stream()
    first, second = link(b"\x40\xc1\1\x3c\2"), link(b"\x81\6")
    assert stream.feed(first) == ((), 0, False)
    assert stream.feed(link(b"", 0xC9)).released == 0
    fed = stream.feed(second)
    assert fed.released == len(first + link(b"", 0xC9) + second)
    assert [m.resource for m in fed.messages] == ["station 4 g60v2"]


WHOLE: Final = b"".join(raw for raw, _ in CALLS)
STREAMS: Final = ((PORT, WHOLE), (20001, request(5, f"0c 01 17 01 03 {CROB}")))


def test_split_anywhere() -> None:
    whole = Dnp3Stream().feed(WHOLE)
    for cut in range(0, len(WHOLE) + 1, 3):
        stream = Dnp3Stream()
        first, second = stream.feed(WHOLE[:cut]), stream.feed(WHOLE[cut:])
        assert first.messages + second.messages == whole.messages
        assert second.released == len(WHOLE)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x05\x65\5",
        b"\x05\x64\4",
        request(1, "3c 02 06")[:-1] + b"\0",
        b"\x05\x64\5\xc9\4\0\3\0\0\0",
        link(b"", 0xC4),
        link(b"\x81\1"),
        request(1, "3c"),
        request(1, "3c 02 0f"),
        request(1, "1e 05 00 07 03"),
        request(1, "1e 00 77 02"),
        request(1, "1e 00 17 ff 05"),
        request(2, "1e 05 00 00 00 01"),
        request(2, "1e 05 07 01 00"),
        request(5, "1e 05 17 01 00 00"),
        request(5, f"0c 01 17 02 03 {CROB}"),
        request(25, "46 03 5b 01 0400 1a000700"),
        b"".join(link(bytes([n or 0x40]) + bytes(200)) for n in range(50)),
        link(b"\x40\xc1\1\x3c") + link(b"\x40\xc1\2\x3c"),
        link(b"\x40\xc1\1\x3c") + link(b"\x81\2", station=5),
        link(b"\x40\xc1\1\x3c") + link(b"\x82\2"),
    ],
)
def test_broken_requests_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="dnp3"):
        Dnp3Stream().feed(raw)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (b"", None),
        (b"\5", None),
        (WHOLE[:9], None),
        (WHOLE, True),
        (b"\x05\x64" + bytes(20), False),
        (b"GET", False),
    ],
)
def test_recognised_by_its_first_header(prefix: bytes, expected: bool | None) -> None:
    assert recognise(prefix, 80) is expected


def test_followed_from_the_middle_on() -> None:
    assert [m.verb for m in open_stream(PORT, resumed=True).feed(request(13)).messages] == ["Cold Restart"]


@given(st.integers(0, 33), st.binary(max_size=60))
def test_any_objects_are_read_or_malformed(function: int, objects: bytes) -> None:
    try:
        said(request(function, objects.hex()))
    except Malformed:
        return


@needs_captures
@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("dnp3", {154, 156, 163, 166, 174, 176}),  # an object with a qualifier that does not exist
        ("dnp3_del_measure", set()),
        ("dnp3_en_spon", set()),
        ("dnp3_file_write", set()),
        ("dnp3_read", set()),
    ],
)
def test_agrees_with_tshark(name: str, refused: set[int]) -> None:
    """Functions, and the kinds of objects that they are on."""
    (path,) = CAPTURES.glob(f"dnp3/*__{name}.pcap")
    theirs: Counter[tuple[int, int]] = Counter()
    kinds: set[tuple[int, str]] = set()
    asked = "tcp.dstport == 20000 && dnp3.al.func && !tcp.analysis.retransmission"
    for number, (functions, objects) in tshark(path, asked, "dnp3.al.func", "dnp3.al.obj"):
        if number in refused:
            continue
        theirs.update((number, int(function)) for function in functions)
        codes = [int(text, 16) for text in objects]
        kinds |= {(number, f"g{code >> 8}v{code & 255}") for code in codes if code != 0x4603}
    malformed: list[int] = []
    mine: Counter[tuple[int, int]] = Counter()
    found: set[tuple[int, str]] = set()
    for number, message in messages(path, malformed):
        if message.protocol == "dnp3":
            function = message.detail["function"]
            assert isinstance(function, int)
            mine[number, function] = 1
            _, _, kind, *_ = [*message.resource.split(), "file"]
            found |= {(number, kind)} - {(number, "file")}
    assert refused <= set(malformed)
    assert malformed == [] or refused
    assert theirs
    assert mine == theirs
    assert found == kinds
