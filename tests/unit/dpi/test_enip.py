from collections import Counter
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi import cip
from controller.dpi.cip import _CLASSES
from controller.dpi.cursor import Cursor
from controller.dpi.dissector import Datagram
from controller.dpi.enip import IO_PORT, PORT, EnipStream, datagram, recognise
from controller.dpi.message import Malformed, Message, Operation
from controller.dpi.registry import open_stream
from tests.unit.dpi.captures import CAPTURES, messages, needs_captures, tshark

IDENTITY: Final = "02 2001 2401"  # path: size in words, class 1, instance 1
SESSION: Final = 0x1234


def encapsulated(command: int, body: bytes = b"", session: int = SESSION, status: int = 0) -> bytes:
    parts = [(command, 2), (len(body), 2), (session, 4), (status, 4), (7, 8), (0, 4)]
    return b"".join(value.to_bytes(size, "little") for value, size in parts) + body


def item(kind: int, content: bytes) -> bytes:
    return kind.to_bytes(2, "little") + len(content).to_bytes(2, "little") + content


def unconnected(request: str, more: bytes = b"") -> bytes:
    """SendRRData"""
    count = 2 + bool(more)
    data = item(0, b"") + item(0xB2, bytes.fromhex(request)) + more
    return encapsulated(0x6F, bytes(6) + bytes([count, 0]) + data)


def connected(request: str) -> bytes:
    """SendUnitData"""
    data = item(0xA1, b"conn") + item(0xB1, b"\5\0" + bytes.fromhex(request))
    return encapsulated(0x70, bytes(6) + b"\2\0" + data)


REGISTER: Final = encapsulated(0x65, b"\1\0\0\0", 0)
ROUTE: Final = "01 00 0100"  # size in words, reserved, port 1 link 0


def several(*requests: str) -> str:
    """Multiple_Service_Packet"""
    parts = [bytes.fromhex(request) for request in requests]
    at, offsets = 2 + 2 * len(parts), b""
    for part in parts:
        offsets += at.to_bytes(2, "little")
        at += len(part)
    return "0a 02 2002 2401" + (len(parts).to_bytes(2, "little") + offsets + b"".join(parts)).hex()


def sent_on(request: str, route: str = ROUTE) -> str:
    """Unconnected_Send"""
    raw = bytes.fromhex(request)
    return (
        "52 02 2006 2401 0a0e"
        + len(raw).to_bytes(2, "little").hex()
        + request
        + "00" * (len(raw) % 2)
        + route
    )


def opened(path: str, large: bool = False) -> str:
    size = len(bytes.fromhex(path)) // 2
    return f"{'5b' if large else '54'} 02 2006 2401" + "00" * (39 if large else 35) + f"{size:02x}" + path


def said(raw: bytes) -> list[tuple[str, str, str, str]]:
    fed = EnipStream().feed(raw)
    assert fed.released == len(raw)
    assert not fed.settled
    return [(m.protocol, m.verb, m.operation.value, m.resource) for m in fed.messages]


@pytest.mark.parametrize(
    ("command", "body", "verb", "operation"),
    [
        (0x00, b"anything", "NOP", "connect"),
        (0x04, b"", "ListServices", "lookup"),
        (0x63, b"", "ListIdentity", "lookup"),
        (0x64, b"", "ListInterfaces", "lookup"),
        (0x65, b"\1\0\0\0", "RegisterSession", "connect"),
        (0x66, b"", "UnRegisterSession", "connect"),
        (0x72, b"", "IndicateStatus", "connect"),
        (0x73, b"", "Cancel", "connect"),
    ],
)
def test_commands(command: int, body: bytes, verb: str, operation: str) -> None:
    assert said(encapsulated(command, body)) == [("enip", verb, operation, "")]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (f"01 {IDENTITY}", ("Get_Attributes_All", "read", "Identity instance 1")),
        ("0e 03 2001 2401 3007", ("Get_Attribute_Single", "read", "Identity instance 1 attribute 7")),
        (
            "10 04 20f5 25000100 3003 02000000",
            ("Set_Attribute_Single", "write", "TCP/IP Interface instance 1 attribute 3"),
        ),
        ("04 02 208b 2401 0100 0600", ("Set_Attribute_List", "write", "class 0x8B instance 1")),
        ("05 02 2001 2401 00", ("Reset", "execute", "Identity instance 1")),
        ("07 02 208e 2401", ("Stop", "execute", "class 0x8E instance 1")),
        ("09 05 21003403 260001000000", ("Delete", "delete", "class 0x334 instance 1")),
        ("4c 04 9105 5370656564 00 0100", ("Read_Tag", "read", "Speed")),
        (
            "4d 0a 910c 50726f6772616d3a4d61696e 9104 52617465 c400 0100 05000000",
            ("Write_Tag", "write", "Program:Main.Rate"),
        ),
        ("53 04 9103 416c6c00 2803 c400 0100 00000000 05", ("Write_Tag_Fragmented", "write", "All[3]")),
        ("4e 03 9103 416c6c00 0400", ("Read_Modify_Write_Tag", "write", "All")),
        ("52 02 206b 2405 0100 00000000", ("Read_Tag_Fragmented", "read", "Symbol instance 5")),
        ("55 02 206b 2400 0100 0100", ("Get_Instance_Attribute_List", "lookup", "Symbol instance 0")),
        ("4b 02 2067 2401 07", ("Execute_PCCC", "execute", "PCCC instance 1")),
        ("50 02 2037 24c8 00", ("Download_Transfer", "write", "File instance 200")),
        ("4b 02 20ac 2401", ("Service 0x4B", "execute", "class 0xAC instance 1")),
        (
            "4c 04 208e 2401 2074 2401",
            ("Service 0x4C", "execute", "class 0x8E instance 1 class 0x74 instance 1"),
        ),
        (f"01 03 0100 {IDENTITY[3:]}", ("Get_Attributes_All", "read", "route 1/0 Identity instance 1")),
        (sent_on(f"01 {IDENTITY}"), ("Get_Attributes_All", "read", "route 1/0 Identity instance 1")),
        (
            sent_on("4c 03 9103 416c6c00 0100", "05 00 1207 312e322e332e3400"),
            ("Read_Tag", "read", "route 2/1.2.3.4 All"),
        ),
        (opened("0100 2002 2401"), ("Forward_Open", "connect", "route 1/0 Message Router instance 1")),
        (
            opened("3404 0100020003000405 2004 2401 2c64 800100ff", large=True),
            ("Large_Forward_Open", "connect", "Assembly instance 1 connection point 100"),
        ),
        (
            "4e 02 2006 2401" + "00" * 10 + "02 00 2002 2401",
            ("Forward_Close", "connect", "Message Router instance 1"),
        ),
        ("54 02 2006 2401" + "00" * 35 + "00", ("Forward_Open", "connect", "")),
    ],
)  # fmt: skip
def test_services(request_: str, expected: tuple[str, str, str]) -> None:
    for raw in (unconnected(request_), connected(request_)):
        assert said(raw) == [("cip", *expected)]


def test_requests_inside_of_one() -> None:
    inner = several(f"01 {IDENTITY}", "10 03 2004 2464 3003 ff")
    for request in (inner, sent_on(inner)):
        route = "" if request == inner else "route 1/0 "
        assert said(unconnected(request)) == [
            ("cip", "Get_Attributes_All", "read", f"{route}Identity instance 1"),
            ("cip", "Set_Attribute_Single", "write", f"{route}Assembly instance 100 attribute 3"),
        ]


def test_a_packet_of_no_requests_is_one() -> None:
    raw = unconnected("0a 02 2002 2401 0000")
    assert said(raw) == [("cip", "Multiple_Service_Packet", "execute", "Message Router instance 1")]


def test_several_messages_in_one_segment_and_cut_anywhere() -> None:
    raw = REGISTER + unconnected(f"01 {IDENTITY}") + connected("4c 04 9105 5370656564 00 0100")
    whole = EnipStream().feed(raw)
    assert len(whole.messages) == 3
    for cut in range(len(raw) + 1):
        stream = EnipStream()
        first, second = stream.feed(raw[:cut]), stream.feed(raw[cut:])
        assert first.messages + second.messages == whole.messages
        assert first.released <= cut
        assert second.released == len(raw)


def test_followed_from_the_middle_on() -> None:
    fed = open_stream(PORT, resumed=True).feed(connected(f"01 {IDENTITY}"))
    assert [m.resource for m in fed.messages] == ["Identity instance 1"]


STREAMS: Final = (
    (PORT, REGISTER + unconnected(sent_on(several(f"01 {IDENTITY}", opened("0100 2002 2401"))))),
    (PORT, connected("4d 0a 910c 50726f6772616d3a4d61696e 9104 52617465 c400 0100 05000000") * 2),
)
DATAGRAMS: Final = (
    (PORT, encapsulated(0x63, b"", 0)),
    (PORT, unconnected(f"01 {IDENTITY}", item(0x8000, bytes(16)))),
    (IO_PORT, b"\2\0" + item(0x8002, bytes(8)) + item(0xB1, b"data")),
)
BROKEN: Final = (
    encapsulated(0x01),
    REGISTER[:20] + b"\1\0\0\0" + REGISTER[24:],
    encapsulated(0x65, b"\2\0\0\0"),
    encapsulated(0x66, b"\0"),
    encapsulated(0x65, b"\1\0\0\0", status=1),
    encapsulated(0x63, b"\1\0"),
    encapsulated(0x6F, b"\1" + bytes(5) + b"\2\0" + item(0, b"") + item(0xB2, b"\1\0")),
    encapsulated(0x6F, bytes(6) + b"\1\0" + item(0, b"")),
    encapsulated(0x6F, bytes(6) + b"\2\0" + item(0xB2, b"\1\0") + item(0, b"")),
    encapsulated(0x6F, bytes(6) + b"\2\0" + item(0, b"") + item(0x8000, b"")),
    encapsulated(0x6F, bytes(6) + b"\2\0" + item(0, b"") + item(0xB2, b"\1\0") + b"x"),
    unconnected("81 00 0000"),
    unconnected("01"),
    unconnected("01 02 2001"),
    unconnected("01 01 2301"),
    unconnected("01 01 3c01"),
    unconnected("01 01 a001"),
    unconnected("01 01 910a"),
    unconnected("0a 02 2002 2401 0100 0200 01 00"),
    unconnected("0a 02 2002 2401 0200 0600 0600 0100"),
    unconnected("0a 02 2002 2401 0100 0400"),
    unconnected(several("81 00")),
    unconnected(sent_on("81 00")),
    unconnected(sent_on(f"01 {IDENTITY}") + "00"),
    unconnected("54 02 2006 2401" + "00" * 35),
    unconnected(several(*["0100"] * 300)),
    unconnected(sent_on(sent_on(sent_on(sent_on(sent_on(sent_on(f"01 {IDENTITY}"))))))),
)


@pytest.mark.parametrize("raw", BROKEN)
def test_broken_messages_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match=r"enip|cip"):
        EnipStream().feed(raw)


def test_a_response_is_no_request() -> None:
    found: list[Message] = []
    assert not cip.read(Cursor("cip", bytes.fromhex("81 00 0000")), found)
    assert not found


def test_datagrams() -> None:
    asked = Datagram((Message("enip", "ListIdentity", Operation.LOOKUP, ""),))
    answer = Datagram((), answer=True)
    assert datagram(encapsulated(0x63, b"", 0), 40000, PORT) == asked
    assert datagram(encapsulated(0x63, b"\1\0identity", 0), PORT, 40000) == answer
    assert datagram(unconnected("8e 00 0000"), PORT, 40000) == answer
    cyclic = Datagram((Message("enip", "I/O", Operation.PUBLISH, ""),))
    assert datagram(b"\2\0" + item(0x8002, bytes(8)) + item(0xB1, b"data"), IO_PORT, IO_PORT) == cyclic
    assert datagram(encapsulated(0x63, b"", 0), 40000, 5000) is None
    assert datagram(b"short", 40000, PORT) is None
    assert datagram(b"anything that is long enough", PORT, 9999) is None
    for raw, port in ((REGISTER + b"x", PORT), (b"\0\0", IO_PORT)):
        with pytest.raises(Malformed, match="enip"):
            datagram(raw, 40000, port)
    with pytest.raises(Malformed, match="cyclic"):
        datagram(b"\2\0" + item(0x8002, bytes(8)) + item(0xB2, b"data"), 40000, IO_PORT)


def test_a_request_that_pretends_to_be_an_error_is_a_request() -> None:
    """Servers need not look at the status of what they are sent."""
    raw = unconnected("05 02 2001 2401 00")
    read = datagram(raw[:8] + b"\1" + raw[9:], 40000, PORT)
    assert read is not None
    assert [m.verb for m in read.messages] == ["Reset"]
    assert datagram(encapsulated(0x6F, status=1), PORT, 40000) == Datagram((), answer=True)


@pytest.mark.parametrize(
    ("prefix", "port", "expected"),
    [
        (b"", PORT, None),
        (b"", 80, None),
        (b"\x65", 80, None),
        (REGISTER[:23], 80, None),
        (REGISTER, 80, True),
        (encapsulated(0x63, b"", 0), 80, True),
        (encapsulated(0x63, b"", 0), PORT, True),
        (connected(f"01 {IDENTITY}"), PORT, True),
        (connected(f"01 {IDENTITY}"), 80, False),
        (encapsulated(0x65, b"\1\0\0\0"), 80, False),
        (encapsulated(0x65, b"\1\0\0\0", status=3), PORT, False),
        (b"GET / HTTP/1.1\r\n\r\n", PORT, False),
        (bytes(30), 80, False),
    ],
)
def test_recognised_by_the_first_header(prefix: bytes, port: int, expected: bool | None) -> None:
    assert recognise(prefix, port) is expected


@given(st.binary(max_size=80))
def test_any_request_is_read_or_malformed(request_: bytes) -> None:
    for raw in (unconnected(request_.hex()), unconnected(sent_on(request_.hex()))):
        try:
            EnipStream().feed(raw)
        except Malformed:
            continue


NUMBERS: Final = {name: number for number, name in _CLASSES.items()}
CONTAINERS: Final = {0x0A}


def class_of(resource: str) -> int:
    words = resource.split(" ", 2)[2] if resource.startswith("route ") else resource
    name = words.partition(" instance")[0]
    return NUMBERS[name] if name in NUMBERS else int(name.removeprefix("class "), 16)


@needs_captures
@pytest.mark.parametrize(
    "name",
    [
        "cip-multiple-1",
        "cip_stop_plc",
        "cip_unlock_cpu",
        "openics__EIP-ChangeDateAttempt",
        "openics__EIP-RemoteModeChangeAttempt",
        "openics__EIP-SoftwareDownload",
        "openics__EIP-SoftwareUpload",
        "arkime_synthetic",
        "set_attribute_single_service_cip",
    ],
)
def test_agrees_with_tshark(name: str) -> None:
    (path,) = CAPTURES.glob(f"ethernetip_cip/*__{name}.pcap*")
    malformed: list[int] = []
    mine: dict[int, list[Message]] = {}
    for number, message in messages(path, malformed):
        if message.protocol == "cip":
            mine.setdefault(number, []).append(message)
    asked = (
        "cip.rr == 0 && (tcp.dstport == 44818 || udp.dstport == 44818) && cip && !tcp.analysis.retransmission"
    )
    for number, (services, classes) in tshark(path, asked, "cip.sc", "cip.class"):
        assert number not in malformed
        found = mine.pop(number)
        codes = [int(service, 16) for service in services]
        inner = [code for code in codes if code not in CONTAINERS] or codes
        if inner[0] == 0x52 and "0x06" in classes[:1]:  # Unconnected_Send
            inner = inner[1:]
        assert [message.detail["service"] for message in found] == inner
        read = Counter(class_of(message.resource) for message in found if "instance" in message.resource)
        assert read <= Counter(int(number, 16) for number in classes)
    assert not mine
