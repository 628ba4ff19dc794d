"""HTTP/1.0 and 1.1 as a client sends it (RFC 9112): requests one behind the other on a connection.

Knows nothing of connections and services, nor of what is spoken on top of HTTP. Whatever two HTTP servers
could read differently is Malformed.
"""

import re
from collections.abc import Callable, Mapping
from enum import Enum
from functools import lru_cache
from types import MappingProxyType

from controller.dpi.dissector import Fed, StreamDissector, Undecided
from controller.dpi.http import (
    BODY_AT_MOST,
    FIELDS_AT_MOST,
    METHODS,
    TCHAR,
    TOKEN,
    TOKEN_AT_MOST,
    Application,
    Head,
    add_field,
    check_method,
    check_name,
    plain_message,
    target_of,
)
from controller.dpi.message import Malformed, Message
from controller.dpi.websocket import MessageReader, WebSocketStream

_END = b"\r\n\r\n"  # of a head
HEAD_AT_MOST = 65536  # bytes of request line and header fields
_LINE_AT_MOST = 8192  # bytes that are looked at to tell HTTP from other text protocols
_CHUNK_LINE_AT_MOST = 512
_TRAILERS_AT_MOST = 16384

_METHODS = frozenset(name.encode() for name in METHODS)
_REQUEST_LINE = re.compile(rb"(%s{1,%d}) ([\x21-\x7e\x80-\xff]+) HTTP/1\.([01])" % (TCHAR, TOKEN_AT_MOST))
_NOT_IN_A_HEAD = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
_VERSION_AT_END = re.compile(rb"[ \t]HTTP/1\.[0-9][ \t\r]*$")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,8})(?:[ \t]*;[\t\x20-\x7e]*)?")
_DIGITS = re.compile(rb"[0-9]{1,18}")


def _wrong(what: str) -> Malformed:
    return Malformed(f"http: {what}")


def parse_head(data: bytes) -> Head:
    """Request line and fields, without the empty line behind them (RFC 9112, sections 3 and 5).

    Raises Malformed.
    """
    found = _NOT_IN_A_HEAD.search(data)
    if found:
        raise _wrong(f"byte {found[0][0]} at offset {found.start()} of a head (bare CR, LF or control)")
    lines = data.split(b"\r\n")
    line = _REQUEST_LINE.fullmatch(lines[0])
    if line is None:
        raise _wrong("request line is not 'method target HTTP/1.x'")
    if len(lines) > FIELDS_AT_MOST:
        raise _wrong(f"more than {FIELDS_AT_MOST} header fields")
    fields: dict[bytes, bytes] = {}
    for text in lines[1:]:
        name, value = _repeated_field(text) if len(text) <= _FIELD_REMEMBERED else _field(text)
        add_field(fields, name, value)
    method, target, minor = line[1].decode(), line[2], int(line[3])
    check_method(method)
    host, path, query = target_of(method, target)
    length = _body_length(fields, minor)
    return Head(
        method, path, query, fields.get(b"host") if host is None else host, f"1.{minor}", fields, length
    )


def _field(text: bytes) -> tuple[bytes, bytes]:
    """Name and value of a header field (RFC 9112, section 5)."""
    name, colon, value = text.partition(b":")
    if not colon or not TOKEN.fullmatch(name):
        raise _wrong("a header field has no name, a space in its name, or is folded")
    name = name.lower()
    check_name(name)
    return name, value.strip(b" \t")


_FIELD_REMEMBERED = 256  # bytes of a field that is worth keeping
_repeated_field = lru_cache(maxsize=2048)(_field)
_REPEATED_AT_MOST = 1024  # bytes of a head that is worth keeping
_repeated_head = lru_cache(maxsize=512)(parse_head)  # devices say the same again and again


@lru_cache(maxsize=512)
def _repeated_request(data: bytes, applications: tuple[Application, ...]) -> tuple[Message, ...] | None:
    """What a request without a body asks for; None if more hangs on it. Raises Malformed."""
    head = parse_head(data)
    if head.length or head.method == "CONNECT" or b"upgrade" in head.fields:
        return None
    application = next((a for a in applications if a.claims(head)), None)
    return (plain_message(head),) if application is None else tuple(application.messages(head, b""))


def _body_length(fields: Mapping[bytes, bytes], minor: int) -> int:
    """RFC 9112, section 6.3, without the leniences that make request smuggling possible."""
    coding = fields.get(b"transfer-encoding")
    length = fields.get(b"content-length")
    if coding is not None:
        if length is not None:
            raise _wrong("both Content-Length and Transfer-Encoding")
        if coding.lower() != b"chunked" or not minor:
            raise _wrong("Transfer-Encoding other than chunked, or in HTTP/1.0")
        return -1
    if length is None:
        return 0
    if not _DIGITS.fullmatch(length):
        raise _wrong("Content-Length is not a number")
    return int(length)


def recognise(prefix: bytes, server_port: int) -> bool | None:  # noqa: ARG001 - content decides alone
    """Whether a stream that begins so is HTTP/1.x; None: too few bytes to say.

    What a lenient server would take for HTTP counts as HTTP, so that it is refused, not unknown.
    """
    data = prefix.lstrip(b"\r\n")
    token = TOKEN.match(data)
    if token is None:
        return None if not data and len(prefix) <= _LINE_AT_MOST else False
    if token.end() > TOKEN_AT_MOST:
        return False
    if token.end() == len(data):
        return None
    if data[token.end()] not in b" \t":
        return False
    known = token[0].upper() in _METHODS
    target = data[token.end() :].lstrip(b" \t")
    if target[:1] == b"/" and known:
        return True
    if not known and target[:1] not in b"/*hH":  # b"" is in it
        return False
    end = target.find(b"\n", 0, _LINE_AT_MOST)
    if end < 0:
        return None if len(target) < _LINE_AT_MOST else False
    return _VERSION_AT_END.search(target, 0, end) is not None


def _opens_websocket(head: Head) -> bool:
    return head.fields.get(b"upgrade", b"").lower() == b"websocket"


class _Awaits(Enum):
    HEAD = "head"
    BODY_START = "start of a body"
    BODY = "body"
    CHUNK_LINE = "chunk size"
    CHUNK_START = "start of a chunk"
    CHUNK = "chunk"
    CHUNK_END = "end of a chunk"
    TRAILERS = "trailers"
    ANYTHING = "what follows CONNECT or Upgrade"


class HttpStream:
    """What a client sends on one connection (RFC 9112).

    After CONNECT or Upgrade the server may speak HTTP on, or something else; so what follows is looked
    at: HTTP goes on as such, and for all else `otherwise` makes the dissector, inside WebSocket too.
    `applications` are asked in order; the first that claims a request reads it. `sockets`: who reads
    the messages of a WebSocket, by the name of the protocol that the client has offered for it.
    """

    def __init__(
        self,
        otherwise: Callable[[], Undecided],
        applications: tuple[Application, ...] = (),
        sockets: Mapping[bytes, Callable[[Head], MessageReader]] = MappingProxyType({}),
    ) -> None:
        self._otherwise = otherwise
        self._applications = applications
        self._sockets = sockets
        self._buffer = bytearray()
        self._consumed = 0  # offset in the stream where the buffer begins
        self._searched = 0  # of the buffer, for the end of a head
        self._awaits = _Awaits.HEAD
        self._remaining = 0  # bytes of the body or chunk
        self._pending: tuple[Application, Head] | None = None  # claimed, and its body is being read
        self._pending_from = 0
        self._body = bytearray()
        self._upgrade: Head | None = None  # the request that may have ended HTTP
        self._inner: StreamDissector | None = None

    recognise = staticmethod(recognise)

    @property
    def reserved(self) -> int:
        """Bytes that what is spoken inside keeps, roughly."""
        return getattr(self._inner, "reserved", 0)

    def feed(self, data: bytes) -> Fed:
        """The next bytes of the stream. Raises Malformed."""
        if self._inner is not None:
            return self._feed_inner(data)
        if self._awaits is _Awaits.BODY and len(data) < self._remaining and self._pending is None:
            self._remaining -= len(data)
            self._consumed += len(data)
            return Fed((), self._consumed)
        messages: list[Message] = []
        if self._awaits is _Awaits.HEAD and not self._buffer and data.endswith(_END, 0, _REPEATED_AT_MOST):
            end = len(data) - len(_END)
            if data.find(_END) == end and data[0] != 0x0D:  # nothing but one head
                found = _repeated_request(data[:end], self._applications)
                if found is not None:
                    self._consumed += len(data)
                    return Fed(found, self._consumed)
        self._buffer += data
        while self._step(messages):
            if self._inner is not None:
                rest = bytes(self._buffer)
                self._buffer.clear()
                inner = self._feed_inner(rest)
                return Fed((*messages, *inner.messages), inner.released, inner.settled)
        return Fed(tuple(messages), self._consumed if self._pending is None else self._pending_from)

    def _feed_inner(self, data: bytes) -> Fed:
        if self._inner is None:
            raise AssertionError
        fed = self._inner.feed(data)
        return Fed(fed.messages, self._consumed + fed.released, fed.settled)

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        self._consumed += size
        return taken

    def _step(self, messages: list[Message]) -> bool:
        """Go on by one element; False when there are too few bytes for it."""
        match self._awaits:
            case _Awaits.HEAD:
                return self._head(messages)
            case _Awaits.BODY_START | _Awaits.CHUNK_START:
                return self._body_start(messages)
            case _Awaits.BODY:
                return self._part_of_body(messages)
            case _Awaits.CHUNK_LINE:
                return self._chunk_line()
            case _Awaits.CHUNK:
                return self._part_of_body(messages)
            case _Awaits.CHUNK_END:
                return self._chunk_end()
            case _Awaits.TRAILERS:
                return self._trailers(messages)
            case _Awaits.ANYTHING:
                return self._anything()

    def _head(self, messages: list[Message]) -> bool:
        buffer = self._buffer
        if buffer[:1] == b"\r":  # RFC 9112, section 2.2: an empty line before a request is skipped
            if len(buffer) == 1:
                return False
            if buffer[1] != 0x0A:
                raise _wrong("bare CR before a request")
            self._take(2)
            return True
        end = buffer.find(b"\r\n\r\n", self._searched)
        if end < 0 or end > HEAD_AT_MOST:
            if len(buffer) > HEAD_AT_MOST:
                raise _wrong(f"a head of more than {HEAD_AT_MOST} bytes")
            complete = len(buffer) - buffer.endswith(b"\r")  # what comes behind a last CR decides about it
            if _NOT_IN_A_HEAD.search(buffer, self._searched, complete):
                raise _wrong("bare CR, LF or control in a head")
            self._searched = max(len(buffer) - 3, 0)
            return False
        self._searched = 0
        start = self._consumed
        data = self._take(end + 4)[:end]
        head = _repeated_head(data) if end <= _REPEATED_AT_MOST else parse_head(data)
        application = next((a for a in self._applications if a.claims(head)), None)
        if application is None:
            messages.append(plain_message(head))
        elif head.length and application.needs_body(head):
            if head.length > BODY_AT_MOST:
                raise _wrong(f"a body of {head.length} bytes says what is asked for; at most {BODY_AT_MOST}")
            self._pending, self._pending_from = (application, head), start
        else:
            messages.extend(application.messages(head, b""))
        if head.method == "CONNECT" or b"upgrade" in head.fields:
            self._upgrade = head
            self._tunnel_has_no_body(head)
        self._remaining = max(head.length, 0)
        if head.length < 0:
            self._awaits = _Awaits.CHUNK_LINE
        elif head.length:
            self._awaits = _Awaits.BODY_START
        else:
            self._complete(messages)
        return bool(self._buffer)

    @staticmethod
    def _tunnel_has_no_body(head: Head) -> None:
        """RFC 9110, section 9.3.6; RFC 6455, section 4.1: to the server it would be what is said inside."""
        if head.length and (head.method == "CONNECT" or _opens_websocket(head)):
            raise _wrong("a body where a tunnel or a WebSocket begins")

    def _body_start(self, messages: list[Message]) -> bool:
        """A server that does not read a body would take it for the next request: no body may be one."""
        start = bytes(self._buffer[: min(self._remaining, _LINE_AT_MOST * 2)])
        request = recognise(start, 0)
        if request:
            raise _wrong("a request where a body should be")
        if request is None and len(start) < self._remaining:
            return False
        self._awaits = _Awaits.BODY if self._awaits is _Awaits.BODY_START else _Awaits.CHUNK
        return self._part_of_body(messages)

    def _part_of_body(self, messages: list[Message]) -> bool:
        taken = self._take(min(self._remaining, len(self._buffer)))
        self._remaining -= len(taken)
        if self._pending is not None:
            self._body += taken
            if len(self._body) > BODY_AT_MOST:
                raise _wrong(f"a body that says what is asked for has more than {BODY_AT_MOST} bytes")
        if self._remaining:
            return False
        if self._awaits is _Awaits.CHUNK:
            self._awaits = _Awaits.CHUNK_END
        else:
            self._complete(messages)
        return bool(self._buffer)

    def _chunk_line(self) -> bool:
        """RFC 9112, section 7.1."""
        end = self._buffer.find(b"\r\n", 0, _CHUNK_LINE_AT_MOST)
        line = bytes(self._buffer[: end if end >= 0 else _CHUNK_LINE_AT_MOST])
        if end < 0:
            if len(line) == _CHUNK_LINE_AT_MOST or b"\n" in line or b"\r" in line[:-1]:
                raise _wrong("chunk size line is too long or has a bare CR or LF")
            return False
        found = _CHUNK_LINE.fullmatch(line)
        if found is None:
            raise _wrong("chunk size is not a hexadecimal number")
        self._take(end + 2)
        self._remaining = int(found[1], 16)
        self._awaits = _Awaits.CHUNK_START if self._remaining else _Awaits.TRAILERS
        return bool(self._buffer)

    def _chunk_end(self) -> bool:
        if self._buffer[:2] != b"\r\n"[: len(self._buffer)]:
            raise _wrong("a chunk is longer than its size")
        if len(self._buffer) < 2:
            return False
        self._take(2)
        self._awaits = _Awaits.CHUNK_LINE
        return bool(self._buffer)

    def _trailers(self, messages: list[Message]) -> bool:
        """RFC 9112, section 7.1.2: fields like those of a head, then an empty line."""
        buffer = self._buffer
        if buffer[:2] == b"\r\n":
            self._take(2)
            self._complete(messages)
            return bool(self._buffer)
        end = buffer.find(b"\r\n\r\n")
        if end < 0 or end > _TRAILERS_AT_MOST:
            if len(buffer) > _TRAILERS_AT_MOST:
                raise _wrong(f"trailers of more than {_TRAILERS_AT_MOST} bytes")
            return False
        lines = self._take(end + 4)[:end]
        if _NOT_IN_A_HEAD.search(lines) or not all(
            TOKEN.fullmatch(line.partition(b":")[0]) and b":" in line for line in lines.split(b"\r\n")
        ):
            raise _wrong("a trailer is no header field")
        self._complete(messages)
        return bool(self._buffer)

    def _complete(self, messages: list[Message]) -> None:
        """A request has ended."""
        if self._pending is not None:
            application, head = self._pending
            self._pending = None
            messages.extend(application.messages(head, bytes(self._body)))
            self._body.clear()
        self._awaits = _Awaits.HEAD if self._upgrade is None else _Awaits.ANYTHING

    def _anything(self) -> bool:
        head, self._upgrade = self._upgrade, None
        if head is None:
            raise AssertionError
        again = recognise(bytes(self._buffer), 0)
        if again is None:
            self._upgrade = head
            return False
        self._awaits = _Awaits.HEAD
        if not again:
            self._inner = self._websocket(head) if _opens_websocket(head) else self._otherwise()
        return True

    def _websocket(self, head: Head) -> WebSocketStream:
        offered = head.fields.get(b"sec-websocket-protocol", b"").split(b",")
        reads = next((found for name in offered if (found := self._sockets.get(name.strip()))), None)
        return WebSocketStream(head, self._otherwise(), reads(head) if reads is not None else None)
