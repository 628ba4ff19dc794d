"""RTSP as a client of a camera sends it: which method on which stream (RFC 2326; RFC 7826, where said).

Knows nothing of connections and of the media. What servers could read differently is Malformed.
"""

import re
from collections.abc import Mapping

from controller.dpi.dissector import Fed
from controller.dpi.http import canonical_path, text_of
from controller.dpi.message import Malformed, Message, Operation

PORT = 554
_NAME = "rtsp"
_HEAD_AT_MOST = 16384  # bytes of a request without its body
_LINE_AT_MOST = 4096  # bytes that are looked at to tell it from other text protocols
_INTERLEAVED = 0x24  # section 10.12: "$", channel, size of the data

# Section 10; PLAY_NOTIFY is of RFC 7826
METHODS: Mapping[str, Operation] = {
    "OPTIONS": Operation.READ,
    "DESCRIBE": Operation.READ,
    "ANNOUNCE": Operation.WRITE,
    "SETUP": Operation.CONNECT,
    "PLAY": Operation.READ,
    "PAUSE": Operation.EXECUTE,
    "TEARDOWN": Operation.CONNECT,
    "GET_PARAMETER": Operation.READ,
    "SET_PARAMETER": Operation.WRITE,
    "REDIRECT": Operation.EXECUTE,
    "RECORD": Operation.WRITE,
    "PLAY_NOTIFY": Operation.NOTIFY,
}
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_LINE = re.compile(rb"([A-Z_]{3,20}) ([\x21-\x7e\x80-\xff]+) RTSP/[12]\.0")
_RESPONSE_LINE = re.compile(rb"RTSP/[12]\.0 [0-9]{3}(?: [\t\x20-\x7e\x80-\xff]*)?")
_TARGET = re.compile(rb"[Rr][Tt][Ss][Pp][SsUu]?://([^/?#]*)([^?#]*)(?:\?(.*))?", re.DOTALL)
_NOT_IN_A_HEAD = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n")
_BEGINNINGS = tuple(f"{method} ".encode() for method in METHODS)
_LONGEST_BEGINNING = max(map(len, _BEGINNINGS))
_REQUEST_INSIDE = re.compile(rb"(?:%s)[Rr][Tt][Ss][Pp]" % b"|".join(_BEGINNINGS))
_DIGITS = re.compile(rb"[0-9]{1,9}")


def _wrong(what: str) -> Malformed:
    return Malformed(f"rtsp: {what}")


def _fields(lines: list[bytes]) -> dict[bytes, bytes]:
    """Section 4.2"""
    fields: dict[bytes, bytes] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not _TOKEN.fullmatch(name):
            raise _wrong("a header field has no name, a space in its name, or is folded")
        name = name.lower()
        if name in fields and name == b"content-length":
            raise _wrong("Content-Length is there twice")
        fields[name] = value.strip(b" \t")
    return fields


def _message(line: bytes, fields: Mapping[bytes, bytes]) -> Message:
    found = _REQUEST_LINE.fullmatch(line)
    if found is None:
        raise _wrong("request line is not 'METHOD rtsp://… RTSP/1.0'")
    method, target = found[1].decode(), found[2]
    detail: dict[str, object] = {}
    path = "*"
    if target != b"*":
        parts = _TARGET.fullmatch(target)
        if parts is None:
            raise _wrong("target is neither * nor a URL of RTSP")
        path = canonical_path(parts[2] or b"/")
        detail["host"] = text_of(parts[1].rpartition(b"@")[2])
        if parts[3] is not None:
            detail["query"] = text_of(parts[3])
    if b"transport" in fields:
        detail["transport"] = text_of(fields[b"transport"])
    agent = _TOKEN.match(fields.get(b"user-agent", b""))
    operation = METHODS.get(method, Operation.EXECUTE)
    return Message(_NAME, method, operation, path, agent and agent[0][:64].decode(), detail=detail)


class RtspStream:
    """What a client sends on one connection: requests, answers to its server's, and data in between."""

    def __init__(self) -> None:
        self._buffer = b""
        self._offset = 0  # of the stream, where the buffer begins
        self._skip = 0  # bytes of a body that pass through

    def feed(self, data: bytes) -> Fed:
        """The next bytes of the stream. Raises Malformed."""
        data = self._buffer + data
        messages: list[Message] = []
        at, size = 0, len(data)
        while at < size:
            if self._skip:
                passed = min(self._skip, size - at)
                self._skip -= passed
                at += passed
                continue
            after = (
                self._interleaved(data, at) if data[at] == _INTERLEAVED else self._head(data, at, messages)
            )
            if after is None:
                break
            at = after
        self._buffer = data[at:]
        self._offset += at
        return Fed(tuple(messages), self._offset)

    def _interleaved(self, data: bytes, at: int) -> int | None:
        """One packet of media, whole: a server that expects none would look for a request in it."""
        end = at + 4 + int.from_bytes(data[at + 2 : at + 4], "big")
        if len(data) - at < 4 or len(data) < end:
            return None
        if _REQUEST_INSIDE.search(data, at, end):
            raise _wrong("a request where media should be")
        return end

    def _head(self, data: bytes, at: int, messages: list[Message]) -> int | None:
        """A request, or an answer to one of the server's."""
        if data[at] in b"\r\n":  # section 4.1: empty lines before a message are to be ignored
            if data[at : at + 2] == b"\r\n":
                return at + 2
            if data[at : at + 2] == b"\r":
                return None
            raise _wrong("bare CR or LF")
        end = data.find(b"\r\n\r\n", at, at + _HEAD_AT_MOST)
        if end < 0:
            if len(data) - at >= _HEAD_AT_MOST:
                raise _wrong(f"a head of more than {_HEAD_AT_MOST} bytes")
            return None
        head = data[at:end]
        wrong = _NOT_IN_A_HEAD.search(head)
        if wrong:
            raise _wrong(f"byte {wrong[0][0]} in a head (bare CR, LF or control)")
        line, *lines = head.split(b"\r\n")
        fields = _fields(lines)
        length = fields.get(b"content-length", b"0")
        if not _DIGITS.fullmatch(length):
            raise _wrong("Content-Length is not a number")
        start = data[end + 4 : end + 4 + min(int(length), _LONGEST_BEGINNING)]
        if start.startswith(_BEGINNINGS):  # a server that does not read the body would heed it
            raise _wrong("a request where a body should be")
        if len(start) < min(int(length), _LONGEST_BEGINNING) and (
            not start or any(method.startswith(start) for method in _BEGINNINGS)
        ):
            return None
        if not _RESPONSE_LINE.fullmatch(line):
            messages.append(_message(line, fields))
        self._skip = int(length)
        return end + 4


def recognise(prefix: bytes, server_port: int) -> bool | None:
    """By its request line, on any port."""
    del server_port
    if not any(prefix.startswith(start) or start.startswith(prefix) for start in _BEGINNINGS):
        return False
    end = prefix.find(b"\n", 0, _LINE_AT_MOST)
    if end < 0:
        return None if len(prefix) < _LINE_AT_MOST else False
    return re.search(rb" RTSP/[0-9]\.[0-9]\r?$", prefix[:end]) is not None
