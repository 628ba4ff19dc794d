"""HTTP/2 as a client sends it (RFC 9113): the request of each stream, as far as its header block says it.

Knows nothing of connections and services. Header compression is the hpack library's (RFC 7541). What the
server sends, its settings among it, is not seen: limits here are what any server keeps within.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from struct import Struct

from hpack import Decoder, HPACKError

from controller.dpi.dissector import Fed
from controller.dpi.http import (
    BODY_AT_MOST,
    FIELDS_AT_MOST,
    TCHAR,
    TOKEN_AT_MOST,
    Application,
    Head,
    add_field,
    check_method,
    check_name,
    plain_message,
    target_of,
)
from controller.dpi.message import Malformed, Message, Operation

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # 3.4
BLOCK_AT_MOST = 16384  # bytes of a compressed header block, over all its frames
_LIST_AT_MOST = 16384  # bytes of the fields of a request (6.5.2)
_TABLE_AT_MOST = 65536  # bytes of the table that compressed headers refer to; a server may allow less
_EXPANDED_AT_MOST = (
    131072  # bytes of fields that what is fed at a time may become, and as many times its size
)
_EXPANSION = 32
_FRAMES_AT_MOST = 64  # of one header block
_FRAME_AT_MOST = 16384  # bytes of a frame that is read whole
_STREAMS_AT_MOST = 256  # that are open and of which something is kept

_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _SETTINGS, _PUSH_PROMISE = range(6)
_PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = range(6, 10)
_END_STREAM, _ACK, _END_HEADERS, _PADDED, _PRIORITISED = 0x1, 0x1, 0x4, 0x8, 0x20
_FIXED: Mapping[int, int] = {_PRIORITY: 5, _RST_STREAM: 4, _PING: 8, _WINDOW_UPDATE: 4}
_OF_CONNECTION = frozenset({_SETTINGS, _PING, _GOAWAY})

_HEADER = Struct("!BHBBI")
_NAME = re.compile(rb"(?![^A-Z]*[A-Z])%s+" % TCHAR)  # 8.2.1: in lower case
_METHOD = re.compile(rb"%s{1,%d}" % (TCHAR, TOKEN_AT_MOST))
_NOT_IN_A_TARGET = re.compile(rb"[^\x21-\x7e\x80-\xff]|#")
_OF_HTTP_1 = frozenset(  # 8.2.2
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
)
_PSEUDO = frozenset({b":method", b":scheme", b":authority", b":path", b":protocol"})  # 8.3.1, RFC 8441
_DIGITS = re.compile(rb"[0-9]{1,18}")


def _wrong(what: str) -> Malformed:
    return Malformed(f"http2: {what}")


def recognise(prefix: bytes, server_port: int) -> bool | None:  # noqa: ARG001 - content decides alone
    """Whether a stream begins with the connection preface."""
    if prefix.startswith(PREFACE):
        return True
    return None if PREFACE.startswith(prefix) else False


class _Body:
    """What is known of a stream whose request has a body that matters."""

    __slots__ = ("data", "left", "pending", "start", "tunnel")

    def __init__(self, left: int | None, tunnel: Message | None) -> None:
        self.left = left  # bytes that are to come, if the request says how many
        self.tunnel = tunnel  # what to say when something goes through it
        self.pending: tuple[Application, Head] | None = None  # the body says what is asked for
        self.data = bytearray()
        self.start = 0  # offset of the request on the connection


class Http2Stream:
    """What a client sends on one connection."""

    def __init__(self, applications: tuple[Application, ...] = ()) -> None:
        self._applications = applications
        self._decoder = Decoder(_LIST_AT_MOST)
        self._decoder.max_allowed_table_size = _TABLE_AT_MOST
        self._buffer = b""
        self._consumed = 0  # offset in the stream where the buffer begins
        self._prefaced = False
        self._settings = False  # have come
        self._skip = 0  # bytes of a frame whose content does not matter
        self._last = 0  # stream of the newest request
        self._block = bytearray()  # of the request that is being read
        self._frames = 0  # of that block
        self._block_stream = 0
        self._block_ends = False  # nothing follows on its stream
        self._block_start = 0
        self._bodies: dict[int, _Body] = {}
        self._kept = 0  # bytes of bodies
        self._expanded = self._expanded_at_most = 0  # bytes of the fields in what is fed

    @property
    def reserved(self) -> int:
        """Bytes that the table of header fields may have, roughly."""
        return self._decoder.header_table_size

    def feed(self, data: bytes) -> Fed:
        """The next bytes of the stream. Raises Malformed."""
        passed = min(self._skip, len(data))
        self._skip -= passed
        self._consumed += passed
        self._expanded, self._expanded_at_most = 0, _EXPANDED_AT_MOST + _EXPANSION * len(data)
        data = self._buffer + data[passed:]
        at = 0
        if not self._prefaced:
            if len(data) < len(PREFACE):
                self._buffer = data
                return Fed((), 0)
            self._prefaced, at = True, len(PREFACE)
            self._consumed += at
        messages: list[Message] = []
        while len(data) - at >= 9:
            high, low, kind, flags, stream = _HEADER.unpack_from(data, at)
            end = at + 9 + (high << 16 | low)
            stream &= 0x7FFFFFFF
            self._in_place(kind, flags, stream)
            after = self._frame(kind, flags, stream, data, at + 9, end, messages)
            if after is None:
                break
            self._consumed += after - at
            at = after
            if end > len(data):
                self._skip = end - at
                break
        self._buffer = data[at:]
        return Fed(tuple(messages), self._released())

    def _released(self) -> int:
        starts = [body.start for body in self._bodies.values() if body.pending is not None]
        if self._block_stream:
            starts.append(self._block_start)
        return min(starts, default=self._consumed)

    def _in_place(self, kind: int, flags: int, stream: int) -> None:
        """Whether a frame may come now, and on this stream (3.4, 4.1, 6)."""
        if not self._settings and (kind != _SETTINGS or flags & _ACK):
            raise _wrong("another frame before SETTINGS")
        if self._block_stream and (kind != _CONTINUATION or stream != self._block_stream):
            raise _wrong("another frame inside a header block")
        if not self._block_stream and kind == _CONTINUATION:
            raise _wrong("CONTINUATION of nothing")
        if kind == _PUSH_PROMISE:
            raise _wrong("PUSH_PROMISE of a client")
        if (kind in _OF_CONNECTION and stream) or (kind <= _RST_STREAM and not stream):
            raise _wrong(f"frame of type {kind} on stream {stream}")

    def _frame(
        self, kind: int, flags: int, stream: int, data: bytes, at: int, end: int, messages: list[Message]
    ) -> int | None:
        """Read a frame; the offset up to which it was read, its end or that of the data; None: incomplete."""
        if kind == _DATA:
            return self._data(flags, stream, data, at, end, messages)
        if kind > _CONTINUATION:  # 5.5: extensions are ignored
            return min(end, len(data))
        if end - at > _FRAME_AT_MOST:
            raise _wrong(f"frame of type {kind} with {end - at} bytes")
        if end > len(data):
            return None
        if kind in _FIXED and end - at != _FIXED[kind]:
            raise _wrong(f"frame of type {kind} with {end - at} bytes instead of {_FIXED[kind]}")
        if kind == _SETTINGS:
            if (end - at) % 6 or (flags & _ACK and end > at):
                raise _wrong(f"SETTINGS of {end - at} bytes")
            self._settings = True
        elif kind == _HEADERS:
            self._headers(flags, stream, data[at:end], messages)
        elif kind == _CONTINUATION:
            self._more(flags, data[at:end], messages)
        elif kind == _RST_STREAM:
            if stream > self._last:
                raise _wrong("RST_STREAM of a stream that is not there")
            self._forget(stream)
        return end

    def _data(
        self, flags: int, stream: int, data: bytes, at: int, end: int, messages: list[Message]
    ) -> int | None:
        """6.1"""
        if stream > self._last:
            raise _wrong("DATA on a stream that is not there")
        body = self._bodies.get(stream)
        start, padding = at, 0
        if flags & _PADDED:
            if at >= min(end, len(data)):
                if end == at:
                    raise _wrong("padding without its length")
                return None
            start, padding = at + 1, data[at]
        size = end - start - padding
        if size < 0:
            raise _wrong("padding longer than its frame")
        if body is None:
            return min(end, len(data))
        if body.pending is not None:
            if self._kept + size > BODY_AT_MOST:
                raise _wrong(f"bodies that say what is asked for have more than {BODY_AT_MOST} bytes")
            if end > len(data):
                return None
            body.data += data[start : start + size]
            self._kept += size
        if body.left is not None:
            body.left -= size
            if body.left < 0:
                raise _wrong("a body is longer than its content-length")
        if body.tunnel is not None and size:
            messages.append(body.tunnel)
            body.tunnel = None
        if flags & _END_STREAM:
            self._ended(stream, messages)
        return min(end, len(data))

    def _forget(self, stream: int) -> _Body | None:
        body = self._bodies.pop(stream, None)
        if body is not None:
            self._kept -= len(body.data)
        return body

    def _ended(self, stream: int, messages: list[Message]) -> None:
        """Nothing more comes on a stream."""
        body = self._forget(stream)
        if body is None:
            return
        if body.left:
            raise _wrong("a body is shorter than its content-length")
        if body.pending is not None:
            application, head = body.pending
            messages += application.messages(head, bytes(body.data))

    def _headers(self, flags: int, stream: int, payload: bytes, messages: list[Message]) -> None:
        """6.2"""
        start, end = 0, len(payload)
        if flags & _PADDED:
            start = 1
            end -= payload[0] if payload else 1
        if flags & _PRIORITISED:
            start += 5
        if start > end:
            raise _wrong("padding longer than its frame")
        if stream % 2 == 0:
            raise _wrong(f"a client opens stream {stream}")
        self._block_stream, self._block_ends = stream, bool(flags & _END_STREAM)
        self._block_start = self._consumed
        self._frames = 0
        self._block.clear()
        self._more(flags, payload[start:end], messages)

    def _more(self, flags: int, part: bytes, messages: list[Message]) -> None:
        """The next part of a header block (6.10)."""
        self._block += part
        self._frames += 1
        if len(self._block) > BLOCK_AT_MOST or self._frames > _FRAMES_AT_MOST:
            raise _wrong(f"a header block of more than {BLOCK_AT_MOST} bytes or {_FRAMES_AT_MOST} frames")
        if not flags & _END_HEADERS:
            return
        try:
            pairs = [(field[0], field[1]) for field in self._decoder.decode(bytes(self._block), raw=True)]
        except HPACKError:
            raise _wrong("a header block that HPACK does not have, or of too many fields") from None
        self._expanded += sum(len(name) + len(value) for name, value in pairs)
        if self._expanded > self._expanded_at_most:
            raise _wrong("few bytes that become many header fields")
        stream, self._block_stream = self._block_stream, 0
        self._block.clear()
        if stream <= self._last:
            self._trailers(pairs, stream, messages)
        else:
            self._last = stream
            self._request(_head_of(pairs), stream, messages)

    def _trailers(self, pairs: list[tuple[bytes, bytes]], stream: int, messages: list[Message]) -> None:
        """8.1: behind the body; on a stream that was closed they mean nothing to any server."""
        if not self._block_ends or any(name[:1] == b":" for name, _ in pairs):
            raise _wrong(f"stream {stream} is opened again")
        for name, value in pairs:
            _check_name(name)
            _check_value(name, value)
        self._ended(stream, messages)

    def _request(self, head: Head, stream: int, messages: list[Message]) -> None:
        application = next((a for a in self._applications if a.claims(head)), None)
        body = _Body(head.length if b"content-length" in head.fields else None, _tunnel(head))
        body.start = self._block_start
        if application is None:
            messages.append(plain_message(head))
        elif application.needs_body(head) and not self._block_ends:
            body.pending = (application, head)
        else:
            messages += application.messages(head, b"")
        if body.pending or body.left is not None or body.tunnel:
            self._bodies[stream] = body
            if len(self._bodies) > _STREAMS_AT_MOST:
                raise _wrong(f"more than {_STREAMS_AT_MOST} streams at a time")
        if self._block_ends:
            self._ended(stream, messages)


def _tunnel(head: Head) -> Message | None:
    """What it means that bytes go through a tunnel (8.5, RFC 8441): nobody reads them."""
    if head.method != "CONNECT":
        return None
    protocol = "websocket" if head.fields.get(b":protocol") == b"websocket" else "unknown"
    resource = head.path if protocol == "websocket" else ""
    return Message(protocol, "data", Operation.CONNECT, resource, head.user_agent, None, True)


@lru_cache(maxsize=2048)
def _check_name(name: bytes) -> None:
    """8.2.1, 8.2.2; lru_cache keeps no exceptions, only that a name is right."""
    if not _NAME.fullmatch(name):
        raise _wrong("a header field with a name that HTTP does not have")
    if name in _OF_HTTP_1:
        raise _wrong(f"{name.decode()} is of HTTP/1")
    check_name(name)


def _check_value(name: bytes, value: bytes) -> None:
    """8.2.1"""
    if b"\r" in value or b"\n" in value or b"\0" in value or value.strip(b" \t") != value:
        raise _wrong("a header field with a value that HTTP does not have")
    if name == b"te" and value.lower() != b"trailers":
        raise _wrong("te is of HTTP/1")


def _head_of(pairs: list[tuple[bytes, bytes]]) -> Head:
    """The request that a header block makes (8.3.1). Raises Malformed."""
    if len(pairs) > FIELDS_AT_MOST:
        raise _wrong(f"more than {FIELDS_AT_MOST} header fields")
    pseudo: dict[bytes, bytes] = {}
    fields: dict[bytes, bytes] = {}
    for name, value in pairs:
        if name[:1] == b":":
            if name not in _PSEUDO or name in pseudo or fields:
                raise _wrong("a pseudo-header field that is unknown, repeated, or behind the others")
            _check_value(name, value)
            pseudo[name] = value
        else:
            _check_name(name)
            _check_value(name, value)
            add_field(fields, name, value)
    method, path, authority = pseudo.get(b":method", b""), pseudo.get(b":path"), pseudo.get(b":authority")
    host = fields.get(b"host")
    if not _METHOD.fullmatch(method) or (host is not None and authority not in (None, host)):
        raise _wrong("no method, or two hosts")
    check_method(method.decode())
    if b":protocol" in pseudo:
        if method != b"CONNECT":
            raise _wrong(":protocol without CONNECT")
        fields[b":protocol"] = pseudo[b":protocol"]
    elif method == b"CONNECT":
        if path is not None or b":scheme" in pseudo:
            raise _wrong("CONNECT with a path")
        path = authority
    if not path or _NOT_IN_A_TARGET.search(path) or (method != b"CONNECT" and b":scheme" not in pseudo):
        raise _wrong("no path, or one that HTTP does not have")
    if b":protocol" in fields:
        _, canonical, query = target_of("GET", path)
    else:
        _, canonical, query = target_of(method.decode(), path)
    length = fields.get(b"content-length", b"0")
    if not _DIGITS.fullmatch(length):
        raise _wrong("content-length is not a number")
    return Head(
        method.decode(), canonical, query, authority if authority is not None else host, "2", fields,
        int(length),
    )  # fmt: skip
