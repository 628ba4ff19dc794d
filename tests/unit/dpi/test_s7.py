import re
from collections import Counter
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi.message import Malformed
from controller.dpi.registry import open_stream
from controller.dpi.s7 import PORT, S7Stream, recognise
from tests.unit.dpi.captures import CAPTURES, messages, needs_captures, trees

Said = tuple[str, str, str]


def tpkt(cotp: str, body: bytes = b"") -> bytes:
    head = bytes.fromhex(cotp)
    raw = bytes([len(head)]) + head + body
    return b"\3\0" + (4 + len(raw)).to_bytes(2, "big") + raw


def s7(kind: int, parameters: str, content: str = "", error: str = "") -> bytes:
    raw, data = bytes.fromhex(parameters), bytes.fromhex(content)
    sizes = len(raw).to_bytes(2, "big") + len(data).to_bytes(2, "big")
    return bytes([0x32, kind]) + b"\0\0\0\1" + sizes + bytes.fromhex(error) + raw + data


def job(parameters: str, content: str = "") -> bytes:
    return tpkt("f080", s7(1, parameters, content))


def item(size: int, count: int, block: int, area: int, place: int) -> str:
    numbers = bytes([0x10, size]) + count.to_bytes(2, "big") + block.to_bytes(2, "big") + bytes([area])
    return "120a" + (numbers + place.to_bytes(3, "big")).hex()


CONNECT: Final = tpkt("e0 0000 0001 00 c1020100 c2020102 c0010a")
SETUP: Final = job("f0 00 0001 0001 03c0")
READ: Final = job("04 02" + item(2, 64, 1, 0x84, 0) + item(1, 1, 0, 0x83, 0x85))
DOWNLOAD: Final = "0000 00000000 09" + b"_0A00001P".hex()
USER: Final = "000112 04 11"
CALLS: Final[tuple[tuple[bytes, list[Said]], ...]] = (
    (CONNECT, [("Connect", "connect", "rack 0 slot 2")]),
    (tpkt("e0 0000 0001 00 c2044142434d"), [("Connect", "connect", "ABCM")]),
    (SETUP, [("Setup communication", "connect", "")]),
    (READ, [("Read Var", "read", "DB1.DBX0.0 BYTE 64"), ("Read Var", "read", "M16.5 BIT 1")]),
    (
        job("05 01" + item(8, 1, 0, 0x83, 128), "00 04 0020 3f800000"),
        [("Write Var", "write", "M16.0 REAL 1")],
    ),
    (job("05 01" + item(0x1D, 8, 0, 0x1D, 3)), [("Write Var", "write", "T3 TIMER 8")]),
    (job("04 01 12 04 b2 ff 0000"), [("Read Var", "read", "item 0xB2 ff0000")]),
    (job(f"1a 00 {DOWNLOAD} 00"), [("Request download", "write", "DB1")]),
    (job(f"1d 00 {DOWNLOAD}"), [("Start upload", "read", "DB1")]),
    (job("28 000000000000fd 0000 09" + b"P_PROGRAM".hex()), [("PI-Service", "execute", "P_PROGRAM")]),
    (
        job("28 000000000000fd 000a 0100" + b"0800001P".hex() + "05" + b"_INSE".hex()),
        [("PI-Service", "execute", "_INSE OB1")],
    ),
    (job("29 0000000000 09" + b"P_PROGRAM".hex()), [("PLC Stop", "execute", "P_PROGRAM")]),
    (job("77"), [("Function 0x77", "execute", "")]),
    (tpkt("f080", s7(7, f"{USER} 44 01 00", "ff090004 001c0000")), [("Read SZL", "read", "")]),
    (tpkt("f080", s7(7, f"{USER} 47 02 00")), [("Set clock", "write", "")]),
    (tpkt("f080", s7(7, f"{USER} 41 10 00")), [("Programmer commands 16", "execute", "")]),
    (tpkt("f080", s7(7, f"{USER} 84 01 00")), []),
    (tpkt("f080", s7(3, "1b 00", "0004 00fb aabbccdd", "0000")), []),
    (tpkt("80 0001 0001 00"), [("Disconnect", "connect", "")]),
)


def said(raw: bytes) -> list[Said]:
    fed = S7Stream().feed(raw)
    assert fed.released == len(raw)
    assert all(message.protocol == "s7" for message in fed.messages)
    return [(m.verb, m.operation.value, m.resource) for m in fed.messages]


@pytest.mark.parametrize(("raw", "expected"), CALLS)
def test_requests(raw: bytes, expected: list[Said]) -> None:
    assert said(raw) == expected


def test_a_message_in_several_parts_is_released_as_a_whole() -> None:
    whole = READ[7:]
    first, second = tpkt("f000", whole[:9]), tpkt("f080", whole[9:])
    stream = S7Stream()
    assert stream.feed(first) == ((), 0, False)
    fed = stream.feed(second)
    assert fed.released == len(first + second)
    assert [m.resource for m in fed.messages] == ["DB1.DBX0.0 BYTE 64", "M16.5 BIT 1"]


def test_the_newer_protocol_inside_is_opaque() -> None:
    raw = CONNECT + tpkt("f080", b"\x72\1\0\0")
    fed = S7Stream().feed(raw + b"rest")
    assert fed.settled
    assert fed.released == len(raw) + 4
    assert [(m.verb, m.opaque) for m in fed.messages] == [("Connect", False), ("S7comm-plus", True)]


WHOLE: Final = b"".join(raw for raw, _ in CALLS)
STREAMS: Final = ((PORT, WHOLE), (1102, CONNECT + SETUP + READ))
OPAQUE: Final = ((PORT, CONNECT + tpkt("f080", b"\x72\1\0\0")),)


def test_split_anywhere() -> None:
    whole = S7Stream().feed(WHOLE)
    for cut in range(len(WHOLE) + 1):
        stream = S7Stream()
        first, second = stream.feed(WHOLE[:cut]), stream.feed(WHOLE[cut:])
        assert first.messages + second.messages == whole.messages
        assert second.released == len(WHOLE)


@pytest.mark.parametrize(
    "raw",
    [
        b"\3\0\0\6abcd",
        b"\4" + CONNECT[1:],
        tpkt("d0 0000 0001 00"),
        tpkt("f0"),
        tpkt("f080", b"\x99"),
        tpkt("f080", s7(9, "04")),
        tpkt("f080", s7(1, "")),
        tpkt("f080", s7(1, "f000") + b"\0"),
        tpkt("f080", s7(1, "f000")[:-1]),
        job("04 01"),
        job("04 01 13 0a"),
        job("04 01 12 0b" + item(2, 1, 1, 0x84, 0)[4:] + "00"),
        job("1a 00"),
        tpkt("f080", s7(7, "0001")),
        tpkt("f000", bytes(40_000)) + tpkt("f000", bytes(40_000)),
        tpkt("f000", b"\x32\1") + CONNECT,
        tpkt("f000", b"\x32\1") + tpkt("80 0000 0001 00"),
    ],
)
def test_broken_messages_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="s7"):
        S7Stream().feed(raw)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (b"", None),
        (b"\3\0\0", None),
        (CONNECT[:20], None),
        (CONNECT, True),
        (tpkt("e0 0000 0000 00 01000800 0b000000"), False),  # remote desktop
        (SETUP, False),
        (b"\3\1", False),
        (b"GET", False),
    ],
)
def test_recognised_by_its_connection_request(prefix: bytes, expected: bool | None) -> None:
    assert recognise(prefix, PORT) is expected


def test_followed_from_the_middle_on() -> None:
    assert [m.verb for m in open_stream(PORT, resumed=True).feed(SETUP).messages] == ["Setup communication"]


@given(st.sampled_from([1, 3, 7]), st.binary(max_size=60))
def test_any_parameters_are_read_or_malformed(kind: int, parameters: bytes) -> None:
    try:
        said(tpkt("f080", s7(kind, parameters.hex(), "", "0000" if kind == 3 else "")))
    except Malformed:
        return


ITEM: Final = re.compile(r"Item \[\d+\]: \((.*)\)")


@needs_captures
@pytest.mark.parametrize(
    "name",
    [
        "s7comm_downloading_block_db1",
        "s7comm_program_blocklist_onlineview",
        "s7comm_reading_plc_status",
        "s7comm_reading_setting_plc_time",
        "s7comm_varservice_libnodavedemo",
        "snap7_s300_everything",
        "snap7_s300_setupCommunication",
    ],
)
def test_agrees_with_tshark(name: str) -> None:
    """Function, or function of a group; variables as tshark writes them, but for spaces."""
    (path,) = CAPTURES.glob(f"s7comm/*__{name}.pcap*")
    theirs: Counter[tuple[int, object, str]] = Counter()
    asked = "s7comm && tcp.dstport == 102 && !tcp.analysis.retransmission"
    for number, tree in trees(path, asked, "s7comm"):
        shown = {field.get("name", ""): field for field in tree.iter("field")}
        kind = int(shown["s7comm.header.rosctr"].get("show", ""))
        if kind == 1:
            code: object = int(shown["s7comm.param.func"].get("value", ""), 16)
            items = [
                ITEM.match(field.get("showname", ""))
                for field in tree.iter("field")
                if field.get("name") == "s7comm.param.item"
            ]
            found = [match[1].replace(".DBX ", ".DBX").replace("DB ", "DB") for match in items if match]
            for resource in found or [""]:
                theirs[number, code, re.sub(r"^([MIQTC]) ", r"\1", resource)] += 1
        elif kind == 7 and shown["s7comm.param.userdata.type"].get("show") in ("4", "0x04"):
            group = int(shown["s7comm.param.userdata.funcgroup"].get("show", ""), 0)
            theirs[number, (group, int(shown["s7comm.param.userdata.subfunc"].get("show", ""), 0)), ""] += 1
    malformed: list[int] = []
    mine: Counter[tuple[int, object, str]] = Counter()
    for number, message in messages(path, malformed):
        if message.protocol != "s7" or "function" not in message.detail:
            continue
        resource = message.resource if message.verb in ("Read Var", "Write Var") else ""
        resource = re.sub(" (TIMER|COUNTER) .*", "", resource)  # which tshark does not count
        function = message.detail["function"]
        group = message.detail.get("group")
        mine[number, function if group is None else (group, function), resource] += 1
    assert not malformed
    assert theirs
    assert mine == theirs
