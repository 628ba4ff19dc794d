"""What other servers read in a stream that is let through: the requests that were judged, and no others."""

from unittest.mock import Mock

import h11
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.dpi.http import METHODS
from controller.dpi.message import Malformed
from controller.dpi.registry import open_stream

LINES = [
    b"GET /a HTTP/1.1", b"PUT /b HTTP/1.1", b"POST /c HTTP/1.0", b"get /d HTTP/1.1", b"FOO /h HTTP/1.1",
    b"CONNECT h:80 HTTP/1.1", b"GET  /f HTTP/1.1", b"DELETE /g http/1.1", b"GET http://h/e HTTP/1.1",
    b"GET /i HTTP/1.2",
]  # fmt: skip
FIELDS = [
    b"Host: y", b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: 5,5", b"Content-Length: 0x5",
    b"content-length:05 ", b"Content-Length: 27", b"Content-Length : 5", b"Transfer-Encoding: chunked",
    b"transfer-encoding: Chunked ", b"Transfer-Encoding: identity", b"Transfer-Encoding:\x0bchunked",
    b"Transfer-Encoding: gzip, chunked", b"Connection: Upgrade", b"Connection: close", b"Upgrade: websocket",
    b"Upgrade: h2c", b"Expect: 100-continue", b"X:", b" folded", b"X: \x80", b"Connection: Content-Length",
]  # fmt: skip
BODIES = [
    b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"5;x=y\r\nhello\r\n0\r\nT: 1\r\n\r\n", b"0\r\n\r\n", b"\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n", b"x GET /evil HTTP/1.1\r\n\r\n", b"0005\r\nhello\r\n000\r\n\r\n", b"\n",
]  # fmt: skip
ENDS = st.sampled_from([b"\r\n"] * 60 + [b"\n", b"\r", b"\r\r\n", b" \r\n"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """What may be a request, or two, or one inside another."""
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=4))
    lines = [draw(st.sampled_from(LINES)) + b"\r\nHost: x", *fields, b""]
    return b"".join(line + draw(ENDS) for line in lines) + draw(st.sampled_from(BODIES))


def asked(method: str, target: str) -> str:
    """Methods that mean nothing may be written in any way."""
    known = method.upper() in METHODS
    return f"{method if known else method.upper()} {target.removeprefix('http://h')}"


def read_by_aiohttp(data: bytes, kind: type[HttpRequestParser] = HttpRequestParser) -> list[str]:
    parser, found = kind(Mock(), Mock(), 2**16), []
    for at in range(0, len(data), 40):
        try:
            heard, upgraded, _ = parser.feed_data(data[at : at + 40])
        except HttpProcessingError:
            break
        found += [asked(message.method, message.path) for message, _ in heard]
        if upgraded:
            break
    return found


def read_by_aiohttp_in_python(data: bytes) -> list[str]:
    return read_by_aiohttp(data, HttpRequestParserPy)


def read_by_h11(data: bytes) -> list[str]:
    server, found = h11.Connection(h11.SERVER), []
    server.receive_data(data)
    try:
        while isinstance(event := server.next_event(), h11.Request | h11.Data | h11.EndOfMessage):
            if isinstance(event, h11.Request):
                found.append(asked(event.method.decode(), event.target.decode()))
            elif isinstance(event, h11.EndOfMessage):
                if server.our_state is not h11.SEND_RESPONSE:
                    break
                server.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
                server.send(h11.EndOfMessage())
                if server.our_state is not h11.DONE:
                    break
                server.start_next_cycle()
    except h11.RemoteProtocolError:
        pass
    return found


@settings(max_examples=400, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=3).map(b"".join))
def test_no_server_reads_a_request_that_was_not_judged(data: bytes) -> None:
    """Whatever is let through: servers find no other requests in it, and none between these."""
    stream, judged = open_stream(80), []
    try:
        for at in range(0, len(data), 40):
            judged += [asked(m.verb, m.resource) for m in stream.feed(data[at : at + 40]).messages]
    except Malformed:
        return
    for read in (read_by_aiohttp, read_by_aiohttp_in_python, read_by_h11):
        theirs = read(data)
        assert theirs == judged[: len(theirs)]
