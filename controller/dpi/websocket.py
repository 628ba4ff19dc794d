"""WebSocket as a client sends it (RFC 6455): the messages in its frames, and what is spoken in those.

Knows nothing of connections and services. Compressed messages (RFC 7692) are expanded, in bounded
memory. Whether the server has agreed to the upgrade or to compression is not seen: if it has not, it
fails the connection.
"""

import re
import zlib
from collections import deque
from collections.abc import Callable

from controller.dpi.dissector import Fed, Undecided
from controller.dpi.http import Head
from controller.dpi.message import Malformed, Message, Operation

MESSAGE_AT_MOST = 65536  # bytes of a message that has to be read whole
_EXPANDED_AT_MOST = 262144  # bytes that one piece of a compressed message may become
_INFLATING = 49152  # bytes that zlib takes, roughly
_WAITING_AT_MOST = 4096  # pieces of frames that may wait for the end of a message inside
_TEXT, _BINARY, _CLOSE, _PONG = 1, 2, 8, 10
_FIN, _COMPRESSED, _RESERVED = 0x80, 0x40, 0x30  # 5.2; RFC 7692, section 6
_TAIL = b"\0\0\xff\xff"  # RFC 7692, section 7.2.2
_EXTENSION = re.compile(rb"[^,]+")

MessageReader = Callable[[bytes], tuple[Message, ...]]


def _wrong(what: str) -> Malformed:
    return Malformed(f"websocket: {what}")


def _may_compress(head: Head) -> bool:
    """Whether a set bit RSV1 can only mean that a message is compressed."""
    offered = head.fields.get(b"sec-websocket-extensions", b"")
    names = {found[0].partition(b";")[0].strip() for found in _EXTENSION.finditer(offered)}
    return names == {b"permessage-deflate"}


def _unmasked(data: bytes, key: bytes) -> bytes:
    """5.3"""
    size = len(data)
    stream = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data, "big") ^ int.from_bytes(stream, "big")).to_bytes(size, "big")


class WebSocketStream:
    """What a client sends on one connection after its upgrade.

    With a `reader` each message is read whole. Otherwise the messages are one stream (as MQTT's
    section 6 wants it), which `inside` reads; of what that does not know, one opaque message is made.
    """

    def __init__(self, head: Head, inside: Undecided, reader: MessageReader | None = None) -> None:
        self._head = head
        self._inside = inside
        self._reader = reader
        self._inflate = zlib.decompressobj(-zlib.MAX_WBITS) if _may_compress(head) else None
        self._buffer = b""  # the beginning of a frame's header, or of a control frame
        self._consumed = 0  # offset in the stream where the buffer begins
        self._released = 0
        self._first = 0  # first byte of the frame whose payload is being read
        self._remaining = 0  # bytes of that payload
        self._key = b""  # its mask, from the next byte on
        self._open = False  # a message has begun and not ended
        self._compressed = False
        self._body = bytearray()  # of the message that is read whole
        self._given = 0  # bytes that `inside` was given
        self._waiting: deque[tuple[int, int]] = deque()  # ends of pieces: as given to it, in the stream
        self._settled = False

    @property
    def reserved(self) -> int:
        """Bytes that it takes to expand what is compressed, roughly, and what the protocol inside keeps."""
        inside: int = getattr(self._inside, "reserved", 0)
        return inside if self._inflate is None else inside + _INFLATING

    def feed(self, data: bytes) -> Fed:
        """The next bytes of the stream. Raises Malformed."""
        if self._settled:
            self._consumed += len(data)
            return Fed((), self._consumed, settled=True)
        data = self._buffer + data
        messages: list[Message] = []
        at, size = 0, len(data)
        while at < size or (self._key and not self._remaining):
            if self._key:
                after = min(at + self._remaining, size)
                at += self._payload(data[at:after], after - at, messages)
            else:
                start = self._header(data, at)
                if start is None:
                    break
                at, self._consumed = start, self._consumed + start - at
            if self._settled:
                self._consumed += size - at
                return Fed(tuple(messages), self._consumed, settled=True)
        self._buffer = data[at:]
        if not self._waiting and not (self._reader is not None and self._open):
            self._released = self._consumed
        return Fed(tuple(messages), self._released)

    def _header(self, data: bytes, at: int) -> int | None:
        """Read a frame's header (5.2), and the whole of a control frame; where the rest begins."""
        if at + 2 > len(data):
            return None
        first, second = data[at], data[at + 1]
        opcode, length, start = first & 15, second & 0x7F, at + 2
        if not second & 0x80:
            raise _wrong("a frame of a client without mask")
        if opcode > _PONG or _BINARY < opcode < _CLOSE:
            raise _wrong(f"opcode {opcode}")
        compressed = bool(first & _COMPRESSED)
        if first & _RESERVED or (compressed and (opcode not in (_TEXT, _BINARY) or self._inflate is None)):
            raise _wrong("a reserved bit")
        if length > 125:
            wide = 2 if length == 126 else 8
            start += wide
            if start > len(data):
                return None
            length = int.from_bytes(data[start - wide : start], "big")
            if length < (126 if wide == 2 else 0x10000) or length >= 1 << 63:
                raise _wrong(f"length {length} is written in a wrong way")
        if start + 4 > len(data):
            return None
        if opcode >= _CLOSE:
            if not first & _FIN or length > 125:
                raise _wrong("a control frame that is fragmented or long")
            end = start + 4 + length
            return end if end <= len(data) else None
        if self._open is (opcode != 0):
            raise _wrong("a message inside another, or the rest of none")
        if opcode:
            self._compressed = compressed
        self._open = True
        self._first, self._remaining = first, length
        self._key = data[start : start + 4]
        return start + 4

    def _payload(self, masked: bytes, size: int, messages: list[Message]) -> int:
        """The next piece of the payload, which may be empty; how many bytes of the stream it had."""
        key = self._key
        data = _unmasked(masked, key)
        self._key = key[size & 3 :] + key[: size & 3]
        self._remaining -= size
        self._consumed += size
        ends = not self._remaining and bool(self._first & _FIN)
        if not self._remaining:
            self._key = b""
        if self._compressed:
            data = self._expanded(data)
            if ends:
                data += self._expanded(_TAIL)
        self._open = not ends
        if self._reader is None:
            self._give(data, ends, messages)
        else:
            self._body += data
            if len(self._body) > MESSAGE_AT_MOST:
                raise _wrong(f"a message that has to be read has more than {MESSAGE_AT_MOST} bytes")
            if ends:
                messages += self._reader(bytes(self._body))
                self._body.clear()
        return size

    def _expanded(self, data: bytes) -> bytes:
        """RFC 7692, section 7.2.2. A server that was told to forget in between fails where this does not."""
        inflate = self._inflate
        if inflate is None:
            raise AssertionError
        try:
            found = inflate.decompress(data, _EXPANDED_AT_MOST)
        except zlib.error:
            raise _wrong("compressed data that cannot be expanded") from None
        if inflate.unconsumed_tail or inflate.eof:
            raise _wrong("compressed data that becomes too much, or ends for good")
        return found

    def _give(self, data: bytes, ends: bool, messages: list[Message]) -> None:
        """Let a piece of the stream inside be read. What it is shows in the first message, or never."""
        if data:
            self._given += len(data)
            self._waiting.append((self._given, self._consumed))
            self._hear(self._inside.feed(data), messages)
        if ends and self._given:
            self._hear(self._inside.decide(), messages)
        if len(self._waiting) > _WAITING_AT_MOST:
            raise _wrong(f"a message inside is spread over more than {_WAITING_AT_MOST} frames")

    def _hear(self, fed: Fed, messages: list[Message]) -> None:
        found, released, self._settled = fed
        messages += (self._opaque() if message.protocol == "unknown" else message for message in found)
        while self._waiting and self._waiting[0][0] <= released:
            _, self._released = self._waiting.popleft()

    def _opaque(self) -> Message:
        """What is said is not understood: one message for the connection."""
        head = self._head
        return Message(
            "websocket", "data", Operation.CONNECT, head.path, head.user_agent, None, True, head.detail
        )
