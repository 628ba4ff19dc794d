import base64
import json
from collections.abc import Iterable

import h2.config
import h2.connection
import pytest
from hpack import Encoder

from controller.dpi.http2 import BLOCK_AT_MOST
from controller.dpi.message import Malformed, Message, Operation
from controller.dpi.registry import open_stream
from tests.unit.dpi.examples import PREFACE, http, http2

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED = 1, 4, 8
Pairs = Iterable[tuple[str, str]]


def block(*pairs: tuple[str, str]) -> bytes:
    return Encoder().encode(pairs)


def request(method: str = "GET", path: str = "/a", *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return ((":method", method), (":scheme", "http"), (":authority", "x"), (":path", path), *more)


GET = block(*request())


def headers(stream: int, data: bytes, flags: int = END_STREAM | END_HEADERS) -> bytes:
    return http2(HEADERS, stream, data, flags)


def messages(data: bytes) -> list[Message]:
    """Checked to be the same byte by byte."""
    stream = open_stream(80)
    one_by_one = [m for at in range(len(data)) for m in stream.feed(data[at : at + 1]).messages]
    assert list(open_stream(80).feed(data).messages) == one_by_one
    return one_by_one


def said(data: bytes) -> list[tuple[str, str, Operation, str]]:
    return [(m.protocol, m.verb, m.operation, m.resource) for m in messages(data)]


def test_what_a_library_writes_is_read() -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    agent = ("user-agent", "grpc-python/1.60")
    for stream in (1, 3):  # the second is all references to the table
        client.send_headers(stream, request("GET", "/things/t?u=C", agent), end_stream=True)
    client.send_headers(5, request("POST", "/pkg.Service/Call", agent, ("content-type", "application/grpc")))
    client.send_data(5, b"\0\0\0\0\2ab")
    client.ping(b"12345678")
    client.send_headers(5, (("grpc-status", "0"),), end_stream=True)
    found = messages(client.data_to_send())
    detail = {"host": "x", "query": "u=C", "version": "2"}
    get = Message("http", "GET", Operation.READ, "/things/t", "grpc-python", detail=detail)
    call = Message(
        "http", "POST", Operation.EXECUTE, "/pkg.Service/Call", "grpc-python",
        detail={"host": "x", "version": "2"},
    )  # fmt: skip
    assert found == [get, get, call]


def test_header_block_over_many_frames_is_held_until_it_is_whole() -> None:
    stream = open_stream(80)
    parts = (GET[:2], GET[2:3], GET[3:])
    assert stream.feed(PREFACE + headers(1, parts[0], END_STREAM)).released == len(PREFACE)
    assert stream.feed(http2(CONTINUATION, 1, parts[1])).released == len(PREFACE)
    found = stream.feed(http2(CONTINUATION, 1, parts[2], END_HEADERS))
    assert ([m.resource for m in found.messages], found.released) == (["/a"], len(PREFACE) + 27 + len(GET))


def test_padding_and_priority_are_left_out() -> None:
    padded = http2(HEADERS, 1, b"\3" + b"\0\0\0\0\x10" + GET + b"pad", END_HEADERS | PADDED | 0x20)
    body = http2(DATA, 1, b"\2bodypp", PADDED | END_STREAM)
    assert said(PREFACE + padded + body + headers(3, GET)) == [("http", "GET", Operation.READ, "/a")] * 2


def test_body_passes_while_it_comes() -> None:
    stream = open_stream(80)
    start = PREFACE + headers(1, GET, END_HEADERS) + (100000).to_bytes(3, "big") + b"\0\0\0\0\0\1"
    assert stream.feed(start + b"x" * 500).released == len(start) + 500
    assert stream.feed(b"x" * 99500 + headers(3, GET)).messages


def test_upgrade_from_http_1_is_read_on() -> None:
    upgrade = http(
        "GET /g", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABk"
    )
    assert [r for *_, r in said(upgrade + PREFACE + headers(3, GET))] == ["/g", "/a"]


def test_vsl_over_http_2_is_vsl() -> None:
    identity = base64.b64encode(json.dumps({"serviceId": "washer"}).encode()).decode()
    about = ("authorization", f"VSL {identity}")
    body = json.dumps({"operation": "SUBSCRIBE"}).encode()
    post = headers(1, block(*request("POST", "/vsl/agent1/light1/isOn", about)), END_HEADERS)
    stream = open_stream(80)
    assert stream.feed(PREFACE + post + http2(DATA, 1, body[:5])).released == len(PREFACE)
    (message,) = stream.feed(http2(DATA, 1, body[5:], END_STREAM)).messages
    assert (message.protocol, message.verb, message.operation) == ("vsl", "subscribe", Operation.SUBSCRIBE)
    assert (message.identity, message.service) == ("washer", "light1")


def test_what_goes_through_a_tunnel_is_unknown() -> None:
    connect = headers(1, block((":method", "CONNECT"), (":authority", "h:22")), END_HEADERS)
    through = http2(DATA, 1, b"SSH-2.0")
    assert said(PREFACE + connect + through + through) == [
        ("http", "CONNECT", Operation.CONNECT, "h:22"),
        ("unknown", "data", Operation.CONNECT, ""),
    ]


def test_websocket_over_http_2_is_opaque() -> None:
    pairs = sorted(request("CONNECT", "/ws"), key=lambda pair: pair[0])
    connect = block(*pairs, (":protocol", "websocket"))
    found = said(PREFACE + headers(1, connect, END_HEADERS) + http2(DATA, 1, b"\x81"))
    assert found == [
        ("http", "CONNECT", Operation.CONNECT, "/ws"),
        ("websocket", "data", Operation.CONNECT, "/ws"),
    ]


def test_path_has_the_same_form_as_in_http_1() -> None:
    assert said(PREFACE + headers(1, block(*request("GET", "/%6fpen/{x}"))))[0][3] == "/open/%7Bx%7D"


def test_trailers_are_no_request() -> None:
    start = headers(1, GET, END_HEADERS)
    assert len(messages(PREFACE + start + headers(1, block(("x", "y"))))) == 1


WRONG_BLOCKS = [
    ((":method", "GET"), (":scheme", "http")),
    ((":method", "GET"), (":path", "/a")),
    ((":method", "GET"), (":method", "PUT"), (":scheme", "http"), (":path", "/a")),
    (("x", "y"), *request()),
    (*request(), (":path", "/b")),
    ((":status", "200"), *request()),
    request("GET", ""),
    request("GET", "/a b"),
    request("GET", "/a\r\nX: y"),
    request("GET", "a"),
    request("GE T", "/a"),
    request("put", "/a"),
    request("GET", "/a", ("X", "y")),
    request("GET", "/a", ("x", "a\r\nb")),
    request("GET", "/a", ("x", "a\0")),
    request("GET", "/a", ("x", " a")),
    request("GET", "/a", ("host", "other")),
    request("GET", "/a", ("connection", "close")),
    request("GET", "/a", ("transfer-encoding", "chunked")),
    request("GET", "/a", ("upgrade", "websocket")),
    request("GET", "/a", ("te", "gzip")),
    request("GET", "/a", ("x-http-method-override", "PUT")),
    request("PUT", "/a", ("content-length", "1"), ("content-length", "2")),
    request("PUT", "/a", ("content-length", "x")),
    request("PUT", "/a", ("content-length", "1")),  # and the stream ends here
    request("GET", "/a", *((f"x{n}", "y") for n in range(300))),
    ((":method", "CONNECT"), (":authority", "h:1"), (":path", "/a")),
    ((":method", "GET"), (":scheme", "http"), (":path", "/a"), (":protocol", "websocket")),
]


@pytest.mark.parametrize("pairs", WRONG_BLOCKS)
def test_requests_that_servers_may_read_differently_are_malformed(pairs: Pairs) -> None:
    with pytest.raises(Malformed, match="http"):
        open_stream(80).feed(PREFACE + headers(1, block(*pairs)))


@pytest.mark.parametrize(
    "data",
    [
        PREFACE[:24] + headers(1, GET),  # SETTINGS must be first
        PREFACE[:24] + http2(SETTINGS, 0, b"", 1),
        PREFACE + http2(SETTINGS, 0, b"12345"),
        PREFACE + http2(SETTINGS, 0, b"123456", 1),
        PREFACE + http2(SETTINGS, 1, b""),
        PREFACE + http2(PING, 0, b"1234567"),
        PREFACE + http2(WINDOW, 0, b"123"),
        PREFACE + http2(PUSH, 1, b"1234"),
        PREFACE + http2(RST, 1, b"1234"),
        PREFACE + http2(DATA, 1, b""),
        PREFACE + http2(DATA, 0, b""),
        PREFACE + headers(2, GET),
        PREFACE + headers(0, GET),
        PREFACE + headers(3, GET) + headers(1, GET),
        PREFACE + headers(1, GET) + headers(1, GET),
        PREFACE + headers(1, GET, END_STREAM) + http2(PING, 0, bytes(8)),
        PREFACE + headers(1, GET, END_STREAM) + http2(CONTINUATION, 3, b"", END_HEADERS),
        PREFACE + http2(CONTINUATION, 1, GET, END_HEADERS),
        PREFACE + headers(1, b"\xff\xff\xff\xff"),
        PREFACE + headers(1, b"\x3f\xff\xff\xff\x7f" + GET),  # a table of 256 MB
        PREFACE + http2(HEADERS, 1, b"\xff" + GET, END_HEADERS | PADDED),
        PREFACE + headers(1, GET, END_HEADERS) + http2(DATA, 1, b"\5abc", PADDED),
        PREFACE + headers(1, GET, END_HEADERS) + http2(DATA, 1, b"", PADDED),
        PREFACE + http2(GOAWAY, 0, b"x" * 20000),
        PREFACE + http2(HEADERS, 1, b"x" * (BLOCK_AT_MOST + 1)),
        PREFACE
        + headers(1, block(*request("PUT", "/a", ("content-length", "3"))), END_HEADERS)
        + http2(DATA, 1, b"four"),
        PREFACE
        + headers(1, block(*request("PUT", "/a", ("content-length", "3"))), END_HEADERS)
        + http2(DATA, 1, b"12", END_STREAM),
    ],
)
def test_broken_frames_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed, match="http2"):
        open_stream(80).feed(data)


def test_continuations_without_end_are_malformed() -> None:
    stream = open_stream(80)
    stream.feed(PREFACE + headers(1, GET, END_STREAM))
    with pytest.raises(Malformed, match="frames"):
        stream.feed(http2(CONTINUATION, 1, b"") * 100)


def test_streams_with_a_body_are_bounded() -> None:
    post = block(*request("PUT", "/a", ("content-length", "3")))
    data = b"".join(headers(number, post, END_HEADERS) for number in range(1, 2001, 2))
    with pytest.raises(Malformed, match="streams"):
        open_stream(80).feed(PREFACE + data)


def test_bodies_that_have_to_be_read_are_bounded_together() -> None:
    post = headers(1, block(*request("POST", "/vsl/agent1/a")), END_HEADERS)
    other = headers(3, block(*request("POST", "/vsl/agent1/a")), END_HEADERS)
    stream = open_stream(80)
    stream.feed(PREFACE + post + other + http2(DATA, 1, b"x" * 16000) * 2)
    with pytest.raises(Malformed, match="bodies"):
        stream.feed(http2(DATA, 3, b"x" * 16000) * 3)


def test_few_bytes_do_not_become_many() -> None:
    """A long field that the table keeps, and references to it."""
    encoded = Encoder().encode([*request(), ("x", "y" * 3000)])
    bomb = [headers(number, b"\x82\x86\x84" + b"\xbe" * 5) for number in range(3, 300, 2)]
    stream = open_stream(80)
    stream.feed(PREFACE + headers(1, encoded) + bomb[0])
    with pytest.raises(Malformed, match="few bytes"):
        stream.feed(b"".join(bomb[1:]))


def test_table_counts_for_the_memory_of_a_connection() -> None:
    stream = open_stream(80)
    stream.feed(PREFACE)
    assert stream.reserved == 4096
    stream.feed(headers(1, b"\x3f\xe1\xff\x03" + GET))  # a table of 65536 bytes
    assert stream.reserved == 65536
