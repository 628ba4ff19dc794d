from collections import Counter
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi.iec104 import PORT, Iec104Stream, recognise
from controller.dpi.message import Malformed
from controller.dpi.registry import open_stream
from tests.unit.dpi.captures import CAPTURES, messages, needs_captures, tshark


def frame(control: str, data: str = "") -> bytes:
    raw = bytes.fromhex(control + data)
    return bytes([0x68, len(raw)]) + raw


def told(data: str) -> bytes:
    return frame("02000400", data)


START: Final = frame("07000000")
COMMAND: Final = told("2d 01 06 00 0300 941100 01")
CALLS: Final[tuple[tuple[bytes, tuple[str, str, str]], ...]] = (
    (START, ("STARTDT act", "connect", "")),
    (frame("43000000"), ("TESTFR act", "connect", "")),
    (COMMAND, ("C_SC_NA_1", "write", "station 3 point 4500")),
    (told("32 01 06 00 0300 9c1300 0000803f 80"), ("C_SE_NC_1", "write", "station 3 point 5020")),
    (told("64 01 06 00 0300 000000 14"), ("C_IC_NA_1", "read", "station 3")),
    (told("66 01 05 00 0300 010000"), ("C_RD_NA_1", "read", "station 3 point 1")),
    (told("67 01 06 00 ffff 000000 00000000000000"), ("C_CS_NA_1", "write", "station 65535")),
    (told("69 01 06 00 0300 000000 01"), ("C_RP_NA_1", "execute", "station 3")),
    (told("6b 01 06 00 0300 000000" + "00" * 9), ("C_TS_TA_1", "connect", "station 3")),
    (told("01 01 03 00 0300 010000 01"), ("M_SP_NA_1", "notify", "station 3 point 1")),
    (told("7d 01 0d 00 0300 010000 0100 01 03 aabbcc"), ("F_SG_NA_1", "write", "station 3 point 1")),
    (told("7a 01 0d 00 0300 010000 0100 00 01"), ("F_SC_NA_1", "read", "station 3 point 1")),
    (told("80 01 06 00 0300 anything".replace("anything", "ff")), ("Type 128", "execute", "station 3")),
    (told("2d 00 06 00 0300"), ("C_SC_NA_1", "write", "station 3")),
)


def said(raw: bytes) -> list[tuple[str, str, str]]:
    fed = Iec104Stream().feed(raw)
    assert fed.released == len(raw)
    assert all(message.protocol == "iec104" for message in fed.messages)
    return [(m.verb, m.operation.value, m.resource) for m in fed.messages]


@pytest.mark.parametrize(("raw", "expected"), CALLS)
def test_frames(raw: bytes, expected: tuple[str, str, str]) -> None:
    assert said(raw) == [expected]


def test_several_points() -> None:
    assert said(told("2d 02 06 00 0300 010000 01 020000 00")) == [
        ("C_SC_NA_1", "write", "station 3 point 1"), ("C_SC_NA_1", "write", "station 3 point 2"),
    ]  # fmt: skip
    assert [resource for *_, resource in said(told("01 83 03 00 0300 010000 01 00 01"))] == [
        "station 3 point 1", "station 3 point 2", "station 3 point 3",
    ]  # fmt: skip


def test_acknowledgements_ask_for_nothing() -> None:
    assert said(frame("01000400")) == []


def test_details() -> None:
    for data, detail in (
        ("2d 01 06 00 0300 941100 81", {"type": 45, "cause": 6, "select": True}),
        ("32 01 08 00 0300 9c1300 0000803f 00", {"type": 50, "cause": 8, "deactivation": True}),
    ):
        (found,) = Iec104Stream().feed(told(data)).messages
        assert found.detail == detail


@pytest.mark.parametrize(
    "raw",
    [
        b"\x68\3\0\0\0",
        b"\x68\xff",
        b"\x69" + COMMAND[1:],
        frame("07000001"),
        frame("0f000000"),
        frame("0700000000"),
        frame("0100000000"),
        told("2d 01 06"),
        told("2d 01 06 00 0300 9411"),
        told("2d 01 06 00 0300 941100 01 00"),
        told("2d 02 06 00 0300 941100 01"),
        told("2d 82 06 00 0300 941100 01 01"),
    ],
)
def test_broken_frames_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="iec104"):
        Iec104Stream().feed(raw)


WHOLE: Final = b"".join(raw for raw, _ in CALLS)
STREAMS: Final = ((PORT, WHOLE), (2405, START + COMMAND))


def test_split_anywhere() -> None:
    whole = Iec104Stream().feed(WHOLE)
    for cut in range(len(WHOLE) + 1):
        stream = Iec104Stream()
        first, second = stream.feed(WHOLE[:cut]), stream.feed(WHOLE[cut:])
        assert first.messages + second.messages == whole.messages
        assert second.released == len(WHOLE)


@pytest.mark.parametrize(
    ("prefix", "port", "expected"),
    [
        (b"", PORT, None),
        (b"\x68", PORT, None),
        (COMMAND, PORT, True),
        (COMMAND, 80, False),
        (START, 80, True),
        (START[:5], 80, None),
        (b"hello", 80, False),
        (b"GET", PORT, False),
    ],
)
def test_recognised_by_the_first_frame(prefix: bytes, port: int, expected: bool | None) -> None:
    assert recognise(prefix, port) is expected


def test_followed_from_the_middle_on() -> None:
    assert [m.verb for m in open_stream(PORT, resumed=True).feed(COMMAND).messages] == ["C_SC_NA_1"]


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    try:
        said(told(data.hex()))
    except Malformed:
        return


@needs_captures
@pytest.mark.parametrize("name", ["090813_diverse", "JavaRMI_and_IEC_Misc"])
def test_agrees_with_tshark(name: str) -> None:
    (path,) = CAPTURES.glob(f"iec104/*__{name}.pcap")
    theirs: Counter[tuple[int, int, str]] = Counter()
    asked = "iec60870_asdu && tcp.dstport == 2404 && !tcp.analysis.retransmission"
    fields = ("iec60870_asdu.typeid", "iec60870_asdu.addr", "iec60870_asdu.ioa")
    for number, (kinds, stations, points) in tshark(path, asked, *fields):
        for kind, station, point in zip(kinds, stations, points, strict=True):
            where = f"station {station} point {point}" if point != "0" else f"station {station}"
            theirs[number, int(kind), where] += 1
    malformed: list[int] = []
    mine = Counter(
        (number, m.detail["type"], m.resource)
        for number, m in messages(path, malformed)
        if m.protocol == "iec104" and "type" in m.detail
    )
    assert theirs
    assert mine == theirs
    assert not malformed
