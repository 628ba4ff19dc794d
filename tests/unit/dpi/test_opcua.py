import struct
from collections import Counter
from itertools import pairwise
from typing import Final
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi.message import Malformed, Message, Operation
from controller.dpi.opcua import OpcUaStream, recognise
from controller.dpi.registry import open_stream
from tests.unit.dpi.captures import CAPTURES, compare, messages, needs_captures, ours, shown, trees

POLICY: Final = "http://opcfoundation.org/UA/SecurityPolicy#"


def string(value: str | None) -> bytes:
    return b"\xff" * 4 if value is None else struct.pack("<i", len(value)) + value.encode()


def chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", 8 + len(body)) + body


def number(space: int, identifier: int) -> bytes:
    return struct.pack("<BHI", 2, space, identifier)


def named(space: int, identifier: str) -> bytes:
    return struct.pack("<BH", 3, space) + string(identifier)


def request(service: int, body: bytes) -> bytes:
    header = b"\0\0" + struct.pack("<qII", 0, 1, 0) + string(None) + struct.pack("<I", 1000) + b"\0\0\0"
    return struct.pack("<BBH", 1, 0, service) + header + body


def message(service: int, body: bytes, kind: bytes = b"MSGF", identifier: int = 2) -> bytes:
    return chunk(kind, struct.pack("<IIII", 1, 1, 1, identifier) + request(service, body))


def array(*items: bytes) -> bytes:
    return struct.pack("<i", len(items)) + b"".join(items)


HELLO: Final = chunk(b"HELF", struct.pack("<5I", 0, 65536, 65536, 0, 0) + string("opc.tcp://plc:4840/"))


def opening(policy: str = "None") -> bytes:
    start = struct.pack("<I", 0) + string(POLICY + policy) + string(None) + string(None)
    body = struct.pack("<III", 0, 1, 1) + string(None) + struct.pack("<I", 3_600_000)
    return chunk(b"OPNF", start + struct.pack("<II", 1, 1) + request(446, body))


OPEN: Final = HELLO + opening()
PUMP: Final = named(2, "Pump1.Speed")


def value_id(node: bytes, attribute: int = 13, part: str | None = None) -> bytes:
    return node + struct.pack("<I", attribute) + string(part) + b"\0\0" + string(None)


def read(*items: bytes) -> bytes:
    return message(631, struct.pack("<dI", 0.0, 2) + array(*items))


def data_value(variant: bytes) -> bytes:
    return b"\x0d" + variant + bytes(16)


def write(*items: tuple[bytes, bytes]) -> bytes:
    return message(
        673, array(*[node + struct.pack("<I", 13) + string(None) + data_value(v) for node, v in items])
    )


APPLICATION: Final = (
    string("urn:hmi") + string(None) + b"\3" + string("en") + string("HMI") + struct.pack("<I", 1)
    + string(None) + string(None) + array()
)  # fmt: skip
SESSION: Final = message(
    461,
    APPLICATION + string(None) + string("opc.tcp://plc") + string("s1") + string("x" * 32) + string(None)
    + struct.pack("<dI", 1e6, 0),
)  # fmt: skip


def said(raw: bytes) -> list[tuple[str, Operation, str]]:
    """What is read after the channel was opened without security."""
    stream = OpcUaStream()
    stream.feed(OPEN)
    fed = stream.feed(raw)
    assert fed.released == len(OPEN + raw)
    assert not fed.settled
    return [(m.verb, m.operation, m.resource) for m in fed.messages]


def test_opening() -> None:
    hello, opened = OpcUaStream().feed(OPEN).messages
    assert hello == Message(
        "opcua", "Hello", Operation.CONNECT, "", detail={"endpoint": "opc.tcp://plc:4840/"}
    )
    assert opened == Message("opcua", "OpenSecureChannel", Operation.CONNECT, "", detail={"policy": "None"})


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (read(value_id(PUMP)), ("Read", "read", ["ns=2;s=Pump1.Speed"])),
        (
            read(value_id(b"\0\x07", 17), value_id(b"\1\2\x10\0"), value_id(number(3, 70000), 99)),
            ("Read", "read", ["AccessLevel of i=7", "ns=2;i=16", "attribute 99 of ns=3;i=70000"]),
        ),
        (read(value_id(b"\5\1\0" + string("ab"))), ("Read", "read", ["ns=1;b=YWI="])),
        (
            read(value_id(b"\4\1\0" + bytes.fromhex("91 2b 96 72 75 fa e6 4a 8d 28 b4 04 dc 7d af 63"))),
            ("Read", "read", ["ns=1;g=72962b91-fa75-4ae6-8d28-b404dc7daf63"]),  # OPC 10000-6, 5.2.2.6
        ),
        (
            write(
                (PUMP, b"\x0b" + bytes(8)),
                (number(0, 300), b"\x8c" + array(string("a"), string("b"))),
                (number(0, 301), b"\xc6" + array(*[bytes(4)] * 4) + array(b"\2\0\0\0", b"\2\0\0\0")),
                (number(0, 302), b"\x16\1\0\x2a\0\1" + string("xyz")),
                (number(0, 303), b"\x15\3" + string("de") + string("Pumpe")),
                (number(0, 304), b"\x98" + array(b"\1\1", b"\0", b"\x11\0\5")),
                (number(0, 305), b"\x17\1\x19\x71" + bytes(4) + string("why") + bytes(4) + b"\0"),
                (number(0, 306), b"\x14\1\0" + string("name")),
            ),
            ("Write", "write", ["ns=2;s=Pump1.Speed", *[f"i={i}" for i in range(300, 307)]]),
        ),
        (
            message(712, array(number(2, 1) + named(2, "reset of all") + array(b"\6\0\0\0\0"))),
            ("Call", "execute", ["ns=2;s=reset\\x20of all of ns=2;i=1"]),
        ),
        (
            message(
                527,
                b"\0\0" + bytes(16)
                + array(b"\0\x54" + bytes(4) + b"\0\x21\1" + bytes(8), b"\0\x55" + bytes(4) + bytes(11)),
            ),
            ("Browse", "lookup", ["i=84", "i=85"]),
        ),
        (message(533, b"\0" + array(string("here"))), ("BrowseNext", "lookup", [""])),
        (
            message(554, array(b"\0\x54" + array(b"\0\x21\0\1\2\0" + string("Pump1")))),
            ("TranslateBrowsePathsToNodeIds", "lookup", ["i=84"]),
        ),
        (message(560, array(PUMP, b"\0\5")), ("RegisterNodes", "register", ["ns=2;s=Pump1.Speed", "i=5"])),
        (message(566, array(PUMP)), ("UnregisterNodes", "unregister", ["ns=2;s=Pump1.Speed"])),
        (
            message(
                751,
                struct.pack("<II", 1, 2)
                + array(value_id(PUMP) + bytes(4) + struct.pack("<Id", 1, 100.0) + b"\0\0\0" + b"\1\0\0\0\1"),
            ),
            ("CreateMonitoredItems", "subscribe", ["ns=2;s=Pump1.Speed"]),
        ),
        (message(781, bytes(4) + array(bytes(4))), ("DeleteMonitoredItems", "unsubscribe", [""])),
        (message(826, array()), ("Publish", "subscribe", [""])),
        (
            message(
                488,
                array(
                    b"\0\x55\0\x23" + number(2, 9) + b"\2\0" + string("new") + bytes(4) + b"\0\0\0\0\x3f",
                ),
            ),
            ("AddNodes", "write", ["i=85"]),
        ),
        (
            message(494, array(PUMP + b"\0\x23\1" + string(None) + b"\x80\7" + string("urn:x") + bytes(4))),
            ("AddReferences", "write", ["ns=2;s=Pump1.Speed"]),
        ),
        (message(500, array(PUMP + b"\1")), ("DeleteNodes", "delete", ["ns=2;s=Pump1.Speed"])),
        (
            message(506, array(PUMP + b"\0\x23\1\x40\7\1\0\0\0\1")),
            ("DeleteReferences", "delete", ["ns=2;s=Pump1.Speed"]),
        ),
        (
            message(664, b"\1\0\x87\2\1" + string("x" * 24) + bytes(5) + array(PUMP + string(None) + bytes(2)
            + string(None) + string(None))),
            ("HistoryRead", "read", ["ns=2;s=Pump1.Speed"]),
        ),
        (
            message(700, array(b"\1\0\xa8\2\1" + struct.pack("<i", len(PUMP) + 3) + PUMP + b"xyz")),
            ("HistoryUpdate", "write", ["ns=2;s=Pump1.Speed"]),
        ),
        (message(437, string("urn:plc") + b"rest"), ("RegisterServer", "register", ["urn:plc"])),
        (message(422, string("opc.tcp://x") + array() + array()), ("FindServers", "lookup", [""])),
        (message(12208, bytes(8) + array(string("LDS"))), ("FindServersOnNetwork", "lookup", [""])),
        (message(9999, b"whatever"), ("Service", "execute", ["i=9999"])),
    ],
)  # fmt: skip
def test_services(raw: bytes, expected: tuple[str, str, list[str]]) -> None:
    verb, operation, resources = expected
    assert said(raw) == [(verb, Operation(operation), resource) for resource in resources]


def test_a_client_says_who_it_is_when_its_session_begins() -> None:
    user = (
        b"\1\0\x44\1\1"
        + struct.pack("<i", 4 + 1 + 4 + 3 + 4 + 4)
        + string("p")
        + string("amy")
        + string(None)
    )
    user += string(None)
    activate = message(
        467, string(None) * 2 + array() + array(string("en")) + user + string(None) + string(None)
    )
    first, session, activated, later = (
        OpcUaStream().feed(OPEN + SESSION + activate + read(value_id(PUMP))).messages[1:]
    )
    assert first.identity is None
    assert (session.verb, session.detail) == (
        "CreateSession",
        {"application": "urn:hmi", "endpoint": "opc.tcp://plc", "session": "s1"},
    )
    assert activated.detail == {"user": "amy"}
    assert session.identity == activated.identity == later.identity == "urn:hmi"


def test_details_of_what_is_read() -> None:
    stream = OpcUaStream()
    (found,) = stream.feed(OPEN + read(value_id(PUMP, part="1:3"))).messages[2:]
    assert found.detail == {"range": "1:3"}


def test_text_of_node_ids_is_unambiguous() -> None:
    nodes = [named(1, "a\nb"), named(1, "a\\x0ab"), struct.pack("<BHi", 3, 1, 2) + b"\xff\xfe"]
    resources = [resource for _, _, resource in said(read(*[value_id(node) for node in nodes]))]
    assert resources == ["ns=1;s=a\\x0ab", "ns=1;s=a\\\\x0ab", "ns=1;s=\\xff\\xfe"]


def parts(raw: bytes, *cuts: int, identifier: int = 5) -> list[bytes]:
    """A request in several chunks."""
    body = raw[24:]
    places = [0, *cuts, len(body)]
    return [
        chunk(
            b"MSGF" if end == len(body) else b"MSGC",
            struct.pack("<IIII", 1, 1, place, identifier) + body[start:end],
        )
        for place, (start, end) in enumerate(pairwise(places))
    ]


def test_a_request_in_several_chunks_is_released_as_a_whole() -> None:
    stream = OpcUaStream()
    stream.feed(OPEN)
    first, second, third = parts(read(value_id(PUMP)), 7, 40)
    for raw in (first, second):
        assert stream.feed(raw) == ((), len(OPEN), False)
    fed = stream.feed(third)
    assert [m.resource for m in fed.messages] == ["ns=2;s=Pump1.Speed"]
    assert fed.released == len(OPEN + first + second + third)


def test_a_client_may_take_a_request_back() -> None:
    stream = OpcUaStream()
    stream.feed(OPEN)
    first, _ = parts(read(value_id(PUMP)), 7)
    aborted = chunk(b"MSGA", struct.pack("<IIIII", 1, 1, 1, 5, 0) + string("no"))
    fed = stream.feed(first + aborted)
    assert (fed.messages, fed.released) == ((), len(OPEN + first + aborted))
    assert [m.resource for m in stream.feed(read(value_id(PUMP))).messages] == ["ns=2;s=Pump1.Speed"]


def test_what_is_only_signed_is_read() -> None:
    stream = OpcUaStream()
    stream.feed(HELLO + opening("Basic256Sha256"))
    body = SESSION[8:] + bytes(32)
    (found,) = stream.feed(chunk(b"MSGF", body)).messages
    assert (found.verb, found.identity) == ("CreateSession", "urn:hmi")
    first, second = (chunk(raw[:4], raw[8:] + bytes(32)) for raw in parts(read(value_id(PUMP)), 30))
    assert [m.resource for m in stream.feed(first + second).messages] == ["ns=2;s=Pump1.Speed"]
    with pytest.raises(Malformed, match="opcua"):
        stream.feed(read(value_id(PUMP)))


@pytest.mark.parametrize("policy", ["Basic256Sha256", "ECC_nistP256"])
def test_what_is_encrypted_is_one_opaque_message(policy: str) -> None:
    stream = OpcUaStream()
    stream.feed(HELLO + opening(policy))
    raw = chunk(b"MSGF", bytes(range(200)))
    fed = stream.feed(raw + b"and so on")
    assert fed.settled
    assert fed.released == len(HELLO + opening(policy) + raw) + 9
    (found,) = fed.messages
    assert found.opaque
    assert (found.verb, found.operation, found.detail) == ("SignAndEncrypt", "connect", {"policy": policy})


def test_a_server_that_calls_its_client_cannot_be_read() -> None:
    raw = chunk(b"RHEF", string("urn:plc") + string("opc.tcp://plc"))
    fed = open_stream(4841).feed(raw)
    assert fed.settled
    (found,) = fed.messages
    assert (found.protocol, found.verb, found.opaque) == ("opcua", "ReverseHello", True)


def test_followed_from_the_middle_on() -> None:
    fed = open_stream(4840, resumed=True).feed(read(value_id(PUMP)))
    assert [(m.verb, m.resource, m.identity) for m in fed.messages] == [("Read", "ns=2;s=Pump1.Speed", None)]


WHOLE: Final = OPEN + SESSION + read(value_id(PUMP), value_id(b"\0\5")) + write((PUMP, b"\1\1"))

SIGNED_STREAM: Final = HELLO + opening("Basic256Sha256") + chunk(b"MSGF", SESSION[8:] + bytes(32))
STREAMS: Final = ((4840, WHOLE), (4840, OPEN + b"".join(parts(SESSION, 30, 60))), (4841, SIGNED_STREAM))
OPAQUE: Final = ((4840, HELLO + opening("Basic256Sha256") + chunk(b"MSGF", bytes(range(200)))),)


def test_split_anywhere() -> None:
    whole = OpcUaStream().feed(WHOLE)
    for cut in range(len(WHOLE) + 1):
        stream = OpcUaStream()
        first, second = stream.feed(WHOLE[:cut]), stream.feed(WHOLE[cut:])
        assert first.messages + second.messages == whole.messages
        assert first.released <= cut
        assert second.released == len(WHOLE)


def resized(raw: bytes, size: int) -> bytes:
    return raw[:4] + struct.pack("<I", size) + raw[8:]


@pytest.mark.parametrize(
    "raw",
    [
        HELLO + HELLO,
        HELLO + read(value_id(PUMP)),
        OPEN + HELLO,
        resized(HELLO, 8),
        OPEN + b"ACKF" + bytes(24),
        OPEN + b"MSGX" + bytes(24),
        OPEN + resized(read(value_id(PUMP)), 200_000),
        OPEN + chunk(b"MSGF", bytes(15)),
        OPEN + chunk(b"MSGF", read(value_id(PUMP))[8:] + b"\0"),
        OPEN + chunk(b"MSGF", read(value_id(PUMP))[8:-1]),
        OPEN + message(631, bytes(12) + struct.pack("<i", 1_000_000)),
        OPEN + read(value_id(b"\7\0\0")),
        OPEN + read(*[value_id(b"\0\5")] * 1001),
        OPEN + write((PUMP, b"\x20")),
        OPEN + write((PUMP, b"\x18" * 30)),
        OPEN + write((PUMP, b"\x19" + b"\x40" * 30)),
        OPEN + write((PUMP, b"\x98" + struct.pack("<i", 5000) + bytes(5000))),
        OPEN + write((PUMP, b"\x8c" + struct.pack("<i", 90_000) + bytes(8))),
        OPEN + b"".join(parts(read(value_id(PUMP)), 7)[:1]) + read(value_id(PUMP)),
        OPEN + b"".join(parts(read(value_id(PUMP)), 7)[:1]) + opening("None"),
        HELLO + chunk(b"OPNF", struct.pack("<I", 0) + string(POLICY + "None") + string(None) * 2 + bytes(8)
                      + request(631, bytes(16))),
    ],
)  # fmt: skip
def test_broken_requests_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="opcua"):
        OpcUaStream().feed(raw)


def test_a_request_has_an_end() -> None:
    stream = OpcUaStream()
    stream.feed(OPEN)
    part = chunk(b"MSGC", struct.pack("<IIII", 1, 1, 1, 5) + bytes(60_000))
    stream.feed(part + part)
    with pytest.raises(Malformed, match="more than"):
        stream.feed(part)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (b"", None),
        (b"HE", None),
        (b"HELF\x33\0", None),
        (HELLO, True),
        (b"RHEF\x33\0\0\0", True),
        (b"HELF\xff\xff\0\0", False),
        (b"HELO mail.example\r\n", False),
        (b"MSGF\x33\0\0\0", False),
    ],
)
def test_recognised_by_its_hello(prefix: bytes, expected: bool | None) -> None:
    assert recognise(prefix, 80) is expected


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=3))
def test_any_bytes_are_read_or_malformed(body: bytes, cuts: list[int]) -> None:
    stream = OpcUaStream()
    stream.feed(OPEN)
    try:
        for raw in parts(bytes(24) + body, *sorted(cut for cut in cuts if cut < len(body))):
            stream.feed(raw)
    except Malformed:
        return


# Of tshark's tree of a request: where its items are, and of an item which fields are node ids
ITEMS: Final = {
    "Read": ("NodesToRead", ["NodeId"]),
    "Write": ("NodesToWrite", ["NodeId"]),
    "Browse": ("NodesToBrowse", ["NodeId"]),
    "TranslateBrowsePathsToNodeIds": ("BrowsePaths", ["StartingNode"]),
    "CreateMonitoredItems": ("ItemsToCreate", ["NodeId"]),
    "AddNodes": ("NodesToAdd", ["ParentNodeId"]),
    "Call": ("MethodsToCall", ["MethodId", "ObjectId"]),
}
HELLOS: Final = {"HEL": "Hello", "RHE": "ReverseHello", "OPN": "OpenSecureChannel"}


def labelled(tree: ET.Element, label: str) -> ET.Element:
    return next(field for field in tree.iter("field") if field.get("show", "").startswith(f"{label}: "))


def node_text(tree: ET.Element) -> str:
    (space,) = shown(tree, "opcua.nodeid.nsindex") or ["0"]
    found = [
        f"{short}={value}"
        for kind, short in (("numeric", "i"), ("string", "s"), ("guid", "g"))
        for value in shown(tree, f"opcua.nodeid.{kind}")
    ]
    return found[0] if space == "0" else f"ns={space};{found[0]}"


def resource(item: ET.Element, ids: list[str]) -> str:
    node = " of ".join(node_text(labelled(item, name)) for name in ids)
    attribute = next(
        (f.get("showname", "") for f in item.iter("field") if f.get("name") == "opcua.AttributeId"), ""
    )
    name = attribute.removeprefix("AttributeId: ").partition(" ")[0] or "Value"
    return node if name == "Value" else f"{name} of {node}"


def requests(tree: ET.Element) -> list[tuple[str, str]]:
    """Verb and resources as tshark understands one chunk; none for answers and for what is encrypted."""
    (kind,) = shown(tree, "opcua.transport.type")
    if kind in HELLOS and kind != "OPN":
        return [(HELLOS[kind], "")]
    service = tree.find("field/field[2]")
    name = "" if service is None else service.get("show", "")
    if service is None or not name.endswith("Request"):
        return []
    verb = name.removesuffix("Request")
    if verb == "RegisterServer2":
        return [(verb, shown(service, "opcua.ServerUri")[0])]
    if verb not in ITEMS:
        return [(verb, "")]
    where, ids = ITEMS[verb]
    items = [
        item for item in labelled(service, where).findall("field") if item.get("show", "").startswith("[")
    ]
    return [(verb, resource(item, ids)) for item in items]


SECRET: Final = "open62541_client-server_encrypted"
SIGNED: Final = "python_opcua-client-server_encrypted"


@needs_captures
@pytest.mark.parametrize(
    ("name", "only_ours"),
    [
        ("opcua_synthetic", []),
        ("open62541_browse_has_server_idx", []),
        ("open62541_browse_request_with_results", []),
        ("open62541_browse_with_diagnostic_info", []),
        (SECRET, [(31, "OpenSecureChannel"), (35, "SignAndEncrypt")]),  # tshark reads nothing of these
        (SIGNED, [(31, "OpenSecureChannel")]),
        ("open62541_client-server_mainloop-ActivateSession-diagInfo", []),
        ("open62541_create_monitored_items", []),
        ("open62541_discover_getendpoints_discover_urls", []),
        ("open62541_read_service_test_data", []),
        ("python_opcua-client-server_minimal-2", []),
        ("opcua_with-gap_with-handshake", []),
        ("open62541_client-server_mainloop-no-handshake", []),
    ],
)
def test_agrees_with_tshark(name: str, only_ours: list[tuple[int, str]]) -> None:
    (path,) = CAPTURES.glob(f"opcua/*__{name}.pcap")
    theirs = Counter(
        (number, verb, resource)
        for number, tree in trees(path, "opcua", "opcua")
        for verb, resource in requests(tree)
    )
    mine = ours(path, "opcua")
    compare(mine - Counter((number, verb, "") for number, verb in only_ours), theirs, set())
    assert all(mine[number, verb, ""] for number, verb in only_ours)


@needs_captures
def test_answers_to_nobody_are_no_requests() -> None:
    """Both ends have port 4840, and the first frame is an answer: tshark reads requests in the others."""
    (path,) = CAPTURES.glob("opcua/*__pending_overflow.pcap")
    malformed: list[int] = []
    assert not list(messages(path, malformed))
    assert malformed == list(range(1, 25, 2))
