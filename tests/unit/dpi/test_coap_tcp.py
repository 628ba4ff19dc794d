import contextlib

import pytest
from aiocoap import Code, Message
from aiocoap.transports.tcp import _serialize

from controller.dpi.coap_tcp import CoapStream
from controller.dpi.message import Malformed, Operation
from controller.dpi.registry import open_stream

CSM = bytes.fromhex("30e1 220480")
GET = bytes.fromhex("6301 aabbcc b3666f6f 0162")  # token aabbcc, /foo/b


def said(data: bytes, port: int = 5683) -> list[tuple[str, Operation, str]]:
    """Checked to be the same byte by byte, and released up to the last whole message."""
    stream = open_stream(port)
    one_by_one = [m for at in range(len(data)) for m in stream.feed(data[at : at + 1]).messages]
    found = open_stream(port).feed(data)
    assert list(found.messages) == one_by_one
    assert all(m.protocol in ("coap", "unknown") for m in one_by_one)
    return [(m.verb, m.operation, m.resource) for m in found.messages]


def test_requests_behind_the_capabilities() -> None:
    assert said(CSM + GET + GET) == [
        ("CSM", Operation.CONNECT, ""),
        ("GET", Operation.READ, "/foo/b"),
        ("GET", Operation.READ, "/foo/b"),
    ]


def test_what_a_library_writes_is_read() -> None:
    put = Message(code=Code.PUT, payload=b"x" * 70000, _token=b"12345678")
    put.opt.uri_path = ("lamp", "on")
    put.opt.uri_query = ("a=b",)
    get = Message(code=Code.GET, observe=0)
    get.opt.uri_path = ("t" * 200, "u")
    data = CSM + _serialize(put) + _serialize(get)
    found = open_stream(5683).feed(data)
    assert [(m.verb, m.operation, m.resource) for m in found.messages] == [
        ("CSM", Operation.CONNECT, ""),
        ("PUT", Operation.WRITE, "/lamp/on"),
        ("GET", Operation.SUBSCRIBE, "/" + "t" * 200 + "/u"),
    ]
    assert found.messages[1].detail == {"token_length": 8, "query": "a=b", "transport": "tcp"}
    assert found.released == len(data)


def test_a_request_is_judged_before_its_body_is_there() -> None:
    head = bytes.fromhex("f0 00000100 03 b178 ff")  # 65805 + 256 bytes of options and body
    stream = open_stream(5683)
    found = stream.feed(CSM + head)
    assert ([m.verb for m in found.messages], found.released) == (["CSM", "PUT"], len(CSM + head))
    body = 65805 + 256 - 3
    assert stream.feed(b"\x01" * body).messages == ()
    assert [m.verb for m in stream.feed(GET).messages] == ["GET"]


def test_signals_and_answers_to_the_server() -> None:
    data = CSM + bytes.fromhex("00e2 00e3 10e3 20 00e4 00e5 0000 2145 7f ff76")
    assert [verb for verb, *_ in said(data)] == ["CSM", "ping", "pong", "pong", "release", "abort"]


@pytest.mark.parametrize(
    "data",
    [
        GET,  # no capabilities
        CSM + bytes.fromhex("0901"),  # a token of 9 bytes
        CSM + bytes.fromhex("00 c0"),  # code 6.00
        CSM + bytes.fromhex("10 01 ff"),  # a marker and no payload
        CSM + bytes.fromhex("20 01 b3 66"),  # an option longer than its message
        CSM + bytes.fromhex("20 01 f0 66"),
        CSM + bytes.fromhex("20 01 1e 66"),
        CSM + bytes.fromhex("20 01 b1 2e"),  # a path "."
        CSM + bytes.fromhex("f0 00000000 01") + b"\x01a" * 2500,  # options without end
    ],
)
def test_broken_messages_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        CoapStream().feed(data)


@pytest.mark.parametrize(
    ("data", "port", "known"),
    [
        (CSM, 40000, True),
        (b"\0\xe1", 5683, True),
        (b"\0\xe1\0\0\0\6\1\3\0\0\0\1", 40000, False),  # Modbus, transaction 225
        (b"\x20\xe1\x11\0", 5683, False),
        (b"\x10\xe1\x23", 5683, False),
        (b"\x30\x01\x20\0", 5683, False),
        (b"\x01\xe1\0", 5683, False),
    ],
)
def test_known_by_its_capabilities_on_any_port(data: bytes, port: int, known: bool) -> None:
    stream, protocols = open_stream(port), []
    with contextlib.suppress(Malformed):
        protocols = [m.protocol for m in (*stream.feed(data).messages, *stream.end().messages)]
    assert ("coap" in protocols) is known
