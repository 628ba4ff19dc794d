import pytest

from controller.dpi.dissector import Fed
from controller.dpi.message import Malformed, Message, Operation
from controller.dpi.registry import Stream, open_stream

GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"


def messages(data: bytes, port: int = 80) -> list[Message]:
    """Of the whole in one piece; checked to be those of the same bytes one by one."""
    found = list(open_stream(port).feed(data).messages)
    assert messages_one_by_one(data, port) == found
    return found


def messages_one_by_one(data: bytes, port: int = 80) -> list[Message]:
    stream = open_stream(port)
    return [
        message for index in range(len(data)) for message in stream.feed(data[index : index + 1]).messages
    ]


def said(data: bytes, port: int = 80) -> list[tuple[str, str, Operation, str]]:
    return [(m.protocol, m.verb, m.operation, m.resource) for m in messages(data, port)]


def test_request_is_method_and_path() -> None:
    (message,) = messages(
        b"GET /things/temp?unit=C HTTP/1.1\r\nHost: hub.local\r\nUser-Agent: curl/8.5.0 (linux)\r\n\r\n"
    )
    detail = {"host": "hub.local", "query": "unit=C"}
    assert message == Message("http", "GET", Operation.READ, "/things/temp", "curl", detail=detail)


@pytest.mark.parametrize(
    ("method", "operation"),
    [
        ("GET", Operation.READ),
        ("HEAD", Operation.READ),
        ("OPTIONS", Operation.READ),
        ("PUT", Operation.WRITE),
        ("PATCH", Operation.WRITE),
        ("POST", Operation.EXECUTE),
        ("DELETE", Operation.DELETE),
        ("SUBSCRIBE", Operation.SUBSCRIBE),
        ("BREW", Operation.EXECUTE),
    ],
)
def test_operation_of_a_method(method: str, operation: Operation) -> None:
    assert said(f"{method} /x HTTP/1.1\r\n\r\n".encode()) == [("http", method, operation, "/x")]


def test_keep_alive_and_pipelining_give_one_message_each() -> None:
    put = b"PUT /b HTTP/1.1\r\nContent-Length: 3\r\n\r\n\x01\x02\x03"
    assert [r for *_, r in said(GET + put + GET + b"\r\n" + put)] == ["/a", "/b", "/a", "/b"]


def test_chunked_bodies_are_skipped() -> None:
    post = (
        b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"4\r\nWiki\r\nA;name=value\r\n0123456789\r\n0\r\n"
    )
    assert [r for *_, r in said(post + b"\r\n" + GET)] == ["/c", "/a"]
    assert [r for *_, r in said(post + b"Digest: x\r\n\r\n" + GET)] == ["/c", "/a"]


def test_http_1_0_is_read_too() -> None:
    assert said(b"POST /x HTTP/1.0\r\nContent-Length: 1\r\n\r\n1") == [
        ("http", "POST", Operation.EXECUTE, "/x")
    ]


def test_absolute_form_names_the_host() -> None:
    (message,) = messages(b"GET http://cam.local:81/still?x HTTP/1.1\r\nHost: other\r\n\r\n")
    assert (message.resource, message.detail) == ("/still", {"host": "cam.local:81", "query": "x"})
    (message,) = messages(b"GET http://cam.local HTTP/1.1\r\n\r\n")
    assert message.resource == "/"


def test_released_bytes_are_those_of_reported_messages() -> None:
    stream = open_stream(80)
    assert stream.feed(GET[:5]) == Fed((), 0)
    assert stream.feed(GET[5:] + GET[:7]).released == len(GET)
    assert stream.feed(GET[7:]).released == 2 * len(GET)
    head = b"PUT /b HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"
    assert stream.feed(head).released == 2 * len(GET) + len(head)
    assert stream.feed(b"{" * 600).released == 2 * len(GET) + len(head) + 600
    assert stream.feed(b"{" * 400 + b"G").released == 2 * len(GET) + len(head) + 1000


def test_head_is_released_before_the_body_that_waits_for_100_continue() -> None:
    head = b"PUT /b HTTP/1.1\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
    fed = open_stream(80).feed(head)
    assert (len(fed.messages), fed.released) == (1, len(head))


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 5, 5",
        b"Content-Length: +5",
        b"Content-Length: 0x5",
        b"Content-Length: -1",
        b"Content-Length: 99999999999999999999",
        b"Content-Length : 5",
        b"Content_Length: 5",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: chunked, identity",
        b"Transfer-Encoding:\x0bchunked",
        b"Transfer_Encoding: chunked",
        b"X: a\r\n folded",
        b"X: a\r\n\tTransfer-Encoding: chunked",
        b"X: a\nTransfer-Encoding: chunked",
        b"X: a\rTransfer-Encoding: chunked",
        b"X: a\0b",
        b"X",
        b": x",
        b" Host: x",
        b"Host: a\r\nHost: b",
    ],
)
def test_what_servers_may_read_differently_is_malformed(head: bytes) -> None:
    request = b"POST /x HTTP/1.1\r\n" + head + b"\r\n\r\n"
    with pytest.raises(Malformed):
        open_stream(80).feed(request)
    with pytest.raises(Malformed):
        messages_one_by_one(request)


@pytest.mark.parametrize(
    "line",
    [
        b"GET /a\r\n\r\n",
        b"GET /a HTTP/1.2\r\n\r\n",
        b"GET  /a HTTP/1.1\r\n\r\n",
        b"GET /a b HTTP/1.1\r\n\r\n",
        b"GET\t/a HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1 \r\n\r\n",
        b"GET /a HTTP/1.1\n\n",
        b"\nGET /a HTTP/1.1\r\n\r\n",
        b"GET ftp://x/ HTTP/1.1\r\n\r\n",
        b"get /a HTTP/1.1\nX: y\r\n\r\n",
        b"put /a HTTP/1.1\r\n\r\n",  # some servers take it for PUT
        b"Delete /a HTTP/1.1\r\n\r\n",
    ],
)
def test_broken_request_lines_are_malformed_not_unknown(line: bytes) -> None:
    with pytest.raises(Malformed, match="http"):
        open_stream(80).feed(line)


@pytest.mark.parametrize(
    "body",
    [
        b"5\nabcde\r\n",
        b"5\r\nabcdeX",
        b"x\r\n",
        b"-1\r\n",
        b"\r\n",
        b"0x5\r\n",
        b"0\r\nX\r\n\r\n",
        b"123456789\r\n",
    ],
)
def test_broken_chunks_are_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        open_stream(80).feed(b"POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body)


def test_body_that_is_a_request_is_malformed() -> None:
    """Many small servers do not read the body of a GET, and take it for the next request."""
    hidden = b"PUT /lock/open HTTP/1.1\r\n\r\n"
    head = b"GET /a HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(hidden)
    with pytest.raises(Malformed, match="body"):
        open_stream(80).feed(head + hidden)
    stream = open_stream(80)
    assert stream.feed(head + hidden[:2]).released == len(head)
    with pytest.raises(Malformed, match="body"):
        stream.feed(hidden[2:])


@pytest.mark.parametrize("framing", [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n"])
@pytest.mark.parametrize(
    "head",
    [b"CONNECT plc:502 HTTP/1.1\r\n", b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n"],
)
def test_body_that_may_be_what_goes_through_a_tunnel_is_malformed(head: bytes, framing: bytes) -> None:
    """A server that knows of no body there would hand it on as what is said inside, judged by nobody."""
    with pytest.raises(Malformed, match="tunnel"):
        open_stream(80).feed(head + framing + b"\r\n")
    assert len(messages(head + b"Content-Length: 0\r\n\r\n")) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/open/../locked",
        "/open/..",
        "/./locked",
        "/open/%2e%2E/locked",
        "/open/.%2e/locked",
        "/open/..;x=1/locked",
        "/open/..%2Flocked",
        "/open%2f..%2flocked",
        "/open/..\\locked",
    ],
)
def test_path_that_servers_resolve_to_another_is_malformed(path: str) -> None:
    with pytest.raises(Malformed, match="path"):
        messages(f"GET {path} HTTP/1.1\r\n\r\n".encode())
    with pytest.raises(Malformed, match="path"):
        messages(f"GET http://hub.local{path} HTTP/1.1\r\n\r\n".encode())


@pytest.mark.parametrize("path", ["/.well-known/core", "/a..b/c.", "/...", "/a?x=/../y"])
def test_dots_in_names_and_queries_are_names(path: str) -> None:
    assert said(f"GET {path} HTTP/1.1\r\n\r\n".encode())[0][3] == path.partition("?")[0]


def test_body_that_is_one_word_passes() -> None:
    assert [r for *_, r in said(b"PUT /x HTTP/1.1\r\nContent-Length: 2\r\n\r\non" + GET)] == ["/x", "/a"]


def test_heads_are_bounded() -> None:
    stream = open_stream(80)
    stream.feed(b"GET / HTTP/1.1\r\nX: " + b"y" * 65000)
    with pytest.raises(Malformed):
        stream.feed(b"y" * 1000)
    with pytest.raises(Malformed):
        open_stream(80).feed(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 300 + b"\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"EHLO example.org\r\n",
        b"GET key\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"{}\n",
        bytes(100),
        b"\xff" * 20,
    ],
)
def test_other_protocols_are_unknown(data: bytes) -> None:
    assert said(data) == [("unknown", "data", Operation.CONNECT, "")]
    assert open_stream(80).feed(data).settled


def test_refused_upgrade_does_not_hide_the_next_request() -> None:
    upgrade = b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert [r for *_, r in said(upgrade + GET + upgrade + GET)] == ["/ws", "/a", "/ws", "/a"]


def test_websocket_that_nobody_reads_is_one_opaque_message() -> None:
    stream = open_stream(80)
    stream.feed(b"GET /ws HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    fed = stream.feed(b"\x81\x85mask12345")
    (message,) = fed.messages
    assert (message.protocol, message.operation, message.resource) == ("websocket", Operation.CONNECT, "/ws")
    assert message.opaque
    assert fed.settled
    assert stream.feed(b"more").messages == ()


def test_what_goes_through_a_tunnel_is_judged_too() -> None:
    connect = b"CONNECT broker.local:1883 HTTP/1.1\r\nHost: broker.local:1883\r\n\r\n"
    assert said(connect) == [("http", "CONNECT", Operation.CONNECT, "broker.local:1883")]
    mqtt = bytes.fromhex("100c 0004 4d515454 04 02 003c 0000")
    assert said(connect + mqtt)[1:] == [("mqtt", "CONNECT", Operation.CONNECT, "")]
    assert said(connect + GET)[1:] == [("http", "GET", Operation.READ, "/a")]
    assert said(connect + bytes(20))[1:] == [("unknown", "data", Operation.CONNECT, "")]


def test_stream_that_ends_inside_a_head_is_malformed() -> None:
    stream = open_stream(80)
    stream.feed(b"GET /a HTTP/1.1\r\n")
    with pytest.raises(Malformed):
        stream.end()


def test_stream_that_ends_undecided_is_unknown() -> None:
    stream = open_stream(80)
    assert stream.feed(b"GE").messages == ()
    (message,) = stream.end().messages
    assert message.protocol == "unknown"
    assert Stream(80).end().messages == ()


def test_chunk_that_begins_like_a_request_is_refused() -> None:
    head = b"GET /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    inner = b"GET /b HTTP/1.1\r\n\r\n"
    with pytest.raises(Malformed, match="request where a body should be"):
        messages(head + b"%x\r\n" % len(inner) + inner + b"\r\n0\r\n\r\n")
