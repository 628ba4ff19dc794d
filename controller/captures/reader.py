"""Reads pcap and pcapng, plain or gzipped: one value for each captured frame.

Knows nothing of what frames hold. Both byte orders, microseconds and nanoseconds, many interfaces and
sections. Memory is bounded whatever the file says; what is damaged ends the reading with its place named.
"""

import zlib
from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final, Literal, NamedTuple

CHUNK: Final = 1 << 18  # bytes that are read at a time
LONGEST_FRAME: Final = 1 << 18  # bytes; what libpcap takes at most too (MAXIMUM_SNAPLEN)
LONGEST_BLOCK: Final = 1 << 24  # bytes of a pcapng block
INTERFACES_AT_MOST: Final = 4096  # of one pcapng section

_GZIP: Final = b"\x1f\x8b"
_PCAP: Final = {  # magic number: byte order, nanoseconds in a unit
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
}
_PCAPNG: Final = b"\n\r\r\n"
_ORDER: Final = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
_INTERFACE, _PACKET, _SIMPLE, _ENHANCED = 1, 2, 3, 6
_RESOLUTION, _OFFSET = 9, 14  # options of an interface
_SECOND = 1_000_000_000  # ns


class CaptureError(Exception):
    """The file is no capture, or not one of a kind that is read. The message says what and what to do."""


class DamagedError(Exception):
    """The file goes wrong behind the frames that were given so far. The message names the frame."""


class Captured(NamedTuple):
    """One frame: `time` in ns since the epoch, `link` the LINKTYPE number, `length` on the wire."""

    number: int
    time: int
    link: int
    data: bytes
    length: int


class _Source:
    """A file's bytes from front to back, decompressed where it is gzip (RFC 1952)."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self._gzip: zlib._Decompress | None = None
        self._packed = b""
        self.buffer = b""
        self.at = 0
        self._more(2)
        if self.buffer.startswith(_GZIP):
            self._packed, self.buffer = self.buffer, b""
            self._gzip = zlib.decompressobj(31)

    def _more(self, wanted: int) -> bool:
        """Have `wanted` bytes in the buffer from `at` on, if there are so many."""
        rest = self.buffer[self.at :]
        self.at = 0
        parts, have = [rest], len(rest)
        while have < wanted:
            part = self._next()
            if not part:
                break
            parts.append(part)
            have += len(part)
        self.buffer = b"".join(parts)
        return have >= wanted

    def _next(self) -> bytes:
        if self._gzip is None:
            return self._read(CHUNK)
        while True:
            if self._gzip.eof:  # a file may have several members
                self._packed = self._gzip.unused_data + self._read(CHUNK)
                if len(self._packed) == 1:
                    self._packed += self._read(1)
                if not self._packed.startswith(_GZIP):
                    return b""
                self._gzip = zlib.decompressobj(31)
            packed = self._packed or self._read(CHUNK)
            if not packed:
                return b""
            try:
                part = self._gzip.decompress(packed, CHUNK)
            except zlib.error as error:
                raise DamagedError(f"the compressed data are damaged ({error})") from None
            self._packed = self._gzip.unconsumed_tail
            if part:
                return part

    def take(self, size: int) -> bytes:
        """The next bytes; fewer at the end of the file."""
        if self.at + size > len(self.buffer):
            self._more(size)
        found = self.buffer[self.at : self.at + size]
        self.at += len(found)
        return found

    def ensure(self, size: int) -> bool:
        """Whether `size` more bytes are there, and then in the buffer from `at` on."""
        return self.at + size <= len(self.buffer) or self._more(size)

    @property
    def ended(self) -> bool:
        return not self.ensure(1)


def frames(read: Callable[[int], bytes]) -> Iterator[Captured]:
    """All frames of a capture; `read(n)` gives up to n further bytes of the file, none at its end.

    Raises CaptureError at once, or DamagedError after the last frame that is whole.
    """
    try:
        source = _Source(read)
        magic = source.take(4)
    except DamagedError as error:
        raise CaptureError(str(error)) from None
    if magic in _PCAP:
        return _pcap(source, *_PCAP[magic])
    if magic == _PCAPNG:
        return _Pcapng(source).frames()
    what = "it is empty" if not magic else f"it begins with {magic.hex(' ')}"
    raise CaptureError(f"this is no capture ({what}); give a file in pcap or pcapng format")


def _pcap(source: _Source, order: str, unit: int) -> Iterator[Captured]:
    """draft-ietf-opsawg-pcap, section 4 and 5."""
    header = source.take(20)
    if len(header) < 20:
        raise CaptureError("the file ends inside its own header; copy it again")
    link = int.from_bytes(header[16:20], "little" if order == "<" else "big") & 0xFFFF
    return _records(source, Struct(f"{order}IIII").unpack_from, unit, link)


def _records(
    source: _Source, unpack: Callable[[bytes, int], tuple[int, ...]], unit: int, link: int
) -> Iterator[Captured]:
    number = 0
    while True:
        buffer, at = source.buffer, source.at
        if at + 16 > len(buffer):
            if not source.ensure(16):
                break
            buffer, at = source.buffer, source.at
        seconds, part, size, length = unpack(buffer, at)
        at += 16
        if at + size > len(buffer):
            if size > LONGEST_FRAME:
                raise DamagedError(_too_long(number + 1, size))
            if not source.ensure(16 + size):
                raise DamagedError(f"the file ends inside frame {number + 1}")
            buffer, at = source.buffer, source.at + 16
        source.at = at + size
        number += 1
        yield Captured(number, seconds * _SECOND + part * unit, link, buffer[at : at + size], length)
    if not source.ended:
        raise DamagedError(f"the file ends inside the header of frame {number + 1}")


def _too_long(number: int, size: int) -> str:
    return f"frame {number} says that it has {size} bytes, which no frame has"


class _Interface(NamedTuple):
    link: int
    longest: int  # snap length; 0: none
    ticks: int  # in a second
    offset: int  # seconds that are to be added


class _Pcapng:
    """draft-ietf-opsawg-pcapng, sections 3 and 4. The magic number has been read."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._number = 0
        self._time = 0
        self._interfaces: list[_Interface] = []
        self._order: str | None = None

    def frames(self) -> Iterator[Captured]:
        self._section()
        return self._all()

    def _all(self) -> Iterator[Captured]:
        while (kind := self._source.take(4)) != b"":
            if len(kind) < 4:
                raise self._cut()
            if kind == _PCAPNG:
                self._section()
                continue
            body = self._body(self._source.take(4))
            found = self._block(int.from_bytes(kind, self._endian), body)
            if found is not None:
                yield found

    @property
    def _endian(self) -> Literal["little", "big"]:
        return "little" if self._order == "<" else "big"

    def _wrong(self, what: str) -> DamagedError | CaptureError:
        if self._order is None:
            return CaptureError(f"{what}; give a file in pcap or pcapng format")
        return DamagedError(f"after frame {self._number}: {what}" if self._number else what)

    def _cut(self) -> DamagedError | CaptureError:
        return self._wrong("the file ends inside a block")

    def _section(self) -> None:
        head = self._source.take(8)
        order = _ORDER.get(head[4:8])
        if order is None:
            raise self._wrong(
                "this section has no byte order" if len(head) == 8 else "the file ends inside a block"
            )
        first, self._order = self._order is None, order
        try:
            self._body(head[:4], taken=4)
        except DamagedError as error:
            raise (CaptureError(f"{error}; copy the file again") if first else error) from None
        self._interfaces.clear()

    def _body(self, size: bytes, taken: int = 0) -> bytes:
        """The rest of a block whose length field is given, `taken` bytes of its body having been read."""
        if len(size) < 4:
            raise self._cut()
        length = int.from_bytes(size, self._endian)
        if length < 12 + taken or length % 4 or length > LONGEST_BLOCK:
            raise self._wrong(f"a block says that it has {length} bytes, which none has")
        body = self._source.take(length - 8 - taken)
        if len(body) < length - 8 - taken:
            raise self._cut()
        if body[-4:] != size:
            raise self._wrong("a block has two different lengths")
        return body[:-4]

    def _block(self, kind: int, body: bytes) -> Captured | None:
        order = self._order or "<"
        if kind == _ENHANCED:
            if len(body) < 20:
                raise self._wrong("a frame's block is too short")
            interface, high, low, size, length = Struct(f"{order}IIIII").unpack_from(body)
            return self._frame(interface, high << 32 | low, body, 20, size, length)
        if kind == _SIMPLE:
            if len(body) < 4 or not self._interfaces:
                raise self._wrong("a frame's block is too short or before its interface")
            length = int.from_bytes(body[:4], self._endian)
            size = min(length, self._interfaces[0].longest or length, len(body) - 4)
            return self._frame(0, None, body, 4, size, length)
        if kind == _PACKET:
            if len(body) < 20:
                raise self._wrong("a frame's block is too short")
            interface, _, high, low, size, length = Struct(f"{order}HHIIII").unpack_from(body)
            return self._frame(interface, high << 32 | low, body, 20, size, length)
        if kind == _INTERFACE:
            self._describe(body)
        return None

    def _frame(
        self, interface: int, ticks: int | None, body: bytes, at: int, size: int, length: int
    ) -> Captured:
        if interface >= len(self._interfaces):
            raise self._wrong(f"frame {self._number + 1} is of interface {interface}, which is not described")
        if size > LONGEST_FRAME:
            raise DamagedError(_too_long(self._number + 1, size))
        if at + size > len(body):
            raise self._wrong(f"frame {self._number + 1} is longer than its block")
        link, _, per_second, offset = self._interfaces[interface]
        if ticks is not None:  # a simple block has no time; it is that of the frame before
            self._time = ticks * _SECOND // per_second + offset * _SECOND
        self._number += 1
        return Captured(self._number, self._time, link, body[at : at + size], length)

    def _describe(self, body: bytes) -> None:
        if len(body) < 8 or len(self._interfaces) >= INTERFACES_AT_MOST:
            raise self._wrong("an interface's description is too short, or one too many")
        order = self._order or "<"
        link, _, longest = Struct(f"{order}HHI").unpack_from(body)
        ticks, offset, at = 1_000_000, 0, 8
        option = Struct(f"{order}HH")
        while at + 4 <= len(body):
            code, size = option.unpack_from(body, at)
            value = body[at + 4 : at + 4 + size]
            if code == 0 or len(value) < size:
                break
            if code == _RESOLUTION and size == 1:
                ticks = 2 ** (value[0] & 0x7F) if value[0] & 0x80 else 10 ** value[0]
            elif code == _OFFSET and size == 8:
                offset = int.from_bytes(value, self._endian, signed=True)
            at += 4 + (size + 3) // 4 * 4
        self._interfaces.append(_Interface(link, longest, ticks, offset))
