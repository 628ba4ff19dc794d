from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi.message import Malformed
from controller.dpi.registry import open_stream
from controller.dpi.rtsp import RtspStream, recognise
from tests.unit.dpi.captures import crafted, needs_tshark, ours, tshark
from tests.unit.dpi.frames import tcp


def request(line: str, *fields: str, body: str = "") -> bytes:
    length = (f"Content-Length: {len(body)}",) if body else ()
    return "\r\n".join((f"{line} RTSP/1.0", "CSeq: 1", *fields, *length, "", body)).encode()


CAMERA: Final = "rtsp://camera.example:554/live/1"
REQUESTS: Final = (
    request("OPTIONS *"),
    request(f"DESCRIBE {CAMERA}?user=x", "User-Agent: LibVLC/3.0", "Accept: application/sdp"),
    request(f"SETUP {CAMERA}/trackID=1", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"),
    request(f"PLAY {CAMERA}/", "Session: 7"),
    request(f"ANNOUNCE {CAMERA}", "Content-Type: application/sdp", body="v=0\r\n\r\n"),
    request(f"SET_PARAMETER {CAMERA}", body="ptz: up"),
    request(f"TEARDOWN {CAMERA}"),
)
EXPECTED: Final = [
    ("OPTIONS", "read", "*"),
    ("DESCRIBE", "read", "/live/1"),
    ("SETUP", "connect", "/live/1/trackID=1"),
    ("PLAY", "read", "/live/1/"),
    ("ANNOUNCE", "write", "/live/1"),
    ("SET_PARAMETER", "write", "/live/1"),
    ("TEARDOWN", "connect", "/live/1"),
]
DATA: Final = b"$\1\0\6abcdef"
WHOLE: Final = DATA.join(REQUESTS) + b"RTSP/1.0 200 OK\r\nCSeq: 9\r\n\r\n" + DATA
STREAMS: Final = ((554, WHOLE), (8554, b"\r\n".join(REQUESTS[1:])))


def said(raw: bytes) -> list[tuple[str, str, str]]:
    fed = RtspStream().feed(raw)
    assert fed.released == len(raw)
    assert all(message.protocol == "rtsp" for message in fed.messages)
    return [(m.verb, m.operation.value, m.resource) for m in fed.messages]


def test_requests_between_answers_and_data() -> None:
    assert said(WHOLE) == EXPECTED


def test_who_asks_whom_for_what() -> None:
    (found,) = RtspStream().feed(REQUESTS[1]).messages
    assert found.identity == "LibVLC"
    assert found.detail == {"host": "camera.example:554", "query": "user=x"}
    (found,) = RtspStream().feed(request("SETUP rtsp://joe:secret@h/a%7Eb", "Transport: RTP/AVP")).messages
    assert (found.resource, found.detail) == ("/a~b", {"host": "h", "transport": "RTP/AVP"})
    (found,) = RtspStream().feed(request("OPTIONS rtsp://h")).messages
    assert (found.resource, found.identity) == ("/", None)


def test_split_anywhere() -> None:
    whole = RtspStream().feed(WHOLE)
    for cut in range(len(WHOLE) + 1):
        stream = RtspStream()
        first, second = stream.feed(WHOLE[:cut]), stream.feed(WHOLE[cut:])
        assert first.messages + second.messages == whole.messages
        assert first.released <= cut
        assert second.released == len(WHOLE)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        request("PLAY /live"),
        request("PLAY http://h/"),
        request(f"play {CAMERA}"),
        request(f"PLAY {CAMERA} x"),
        request(f"PLAY {CAMERA}", " folded: x"),
        request(f"PLAY {CAMERA}", "no colon"),
        request(f"PLAY {CAMERA}", "a b: c"),
        request(f"PLAY {CAMERA}", "x: a\nb: c"),
        request(f"PLAY {CAMERA}", "x: a\0b"),
        request(f"PLAY {CAMERA}", "Content-Length: 1", body="x"),
        request(f"PLAY {CAMERA}", "Content-Length: +1"),
        request(f"PLAY {CAMERA}", body=f"TEARDOWN {CAMERA} RTSP/1.0\r\n\r\n"),
        b"\n" + REQUESTS[0],
        b"$\0\0\xff\r\n\r\n" + request(f"TEARDOWN {CAMERA}").ljust(251),
        request(f"PLAY {CAMERA}", "x: " + "y" * 20_000),
        b"PLAY " + b"x" * 20_000,
    ],
)
def test_what_servers_could_read_differently_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="rtsp"):
        RtspStream().feed(raw)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        (b"", None),
        (b"DESC", None),
        (b"DESCRIBE rtsp://x", None),
        (REQUESTS[1], True),
        (b"OPTIONS * RTSP/1.0\r\n", True),
        (b"OPTIONS * HTTP/1.1\r\n", False),
        (b"PLAY something else\n", False),
        (b"PLAY " + b"x" * 5000, False),
        (b"GET / HTTP/1.1\r\n", False),
    ],
)
def test_recognised_by_the_request_line(prefix: bytes, expected: bool | None) -> None:
    assert recognise(prefix, 8080) is expected


def test_http_and_rtsp_are_told_apart_on_each_others_ports() -> None:
    for port in (80, 554, 8080):
        assert {m.protocol for m in open_stream(port).feed(REQUESTS[0]).messages} == {"rtsp"}
        assert {m.protocol for m in open_stream(port).feed(b"OPTIONS * HTTP/1.1\r\n\r\n").messages} == {
            "http"
        }


@given(st.binary(max_size=60), st.integers(0, 400))
def test_any_bytes_are_read_or_malformed(junk: bytes, at: int) -> None:
    raw = WHOLE[:at] + junk + WHOLE[at:]
    try:
        assert RtspStream().feed(raw).released <= len(raw)
    except Malformed:
        return


@needs_tshark
def test_agrees_with_tshark(tmp_path: Path) -> None:
    frames, seq = [tcp(1, flags=2, port=554)], 2
    for raw in REQUESTS:
        frames.append(tcp(seq, raw, port=554))
        seq += len(raw)
    path = crafted(tmp_path / "rtsp.pcap", *frames)
    theirs = Counter(
        (number, method, "/" + url.partition("?")[0].split("/", 3)[3] if "//" in url else url)
        for number, ((method,), (url,)) in tshark(path, "rtsp.request", "rtsp.method", "rtsp.url")
    )
    assert theirs.total() == len(REQUESTS)
    assert ours(path, "rtsp") == theirs
