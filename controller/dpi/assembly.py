"""Puts a message together that is spread over several datagrams: the hellos of DTLS and QUIC.

Knows no protocol and no conversation. So that nobody can show one hello here and another to the server,
a byte at one place in it has one value.
"""

from controller.dpi.dissector import Datagram, Part
from controller.dpi.message import Malformed

_MESSAGE_AT_MOST = 16384  # bytes


class Assembly:
    """A message as far as it is there."""

    __slots__ = ("_data", "_known", "frames", "since", "which")

    def __init__(self, which: bytes, now: float) -> None:
        self.which = which
        self.since = now
        self.frames: list[bytes] = []
        self._data = bytearray()
        self._known = bytearray()  # 255 where a byte is there

    def add(self, offset: int, piece: bytes) -> None:
        """Raises Malformed if something else is there already."""
        end = offset + len(piece)
        if end > _MESSAGE_AT_MOST:
            raise Malformed(f"a message over several datagrams has more than {_MESSAGE_AT_MOST} bytes")
        missing = end - len(self._data)
        if missing > 0:
            self._data += bytes(missing)
            self._known += bytes(missing)
        there, known = self._data[offset:end], self._known[offset:end]
        if any(known):
            differs = int.from_bytes(there, "big") ^ int.from_bytes(piece, "big")
            if differs & int.from_bytes(known, "big"):
                raise Malformed(f"a message over several datagrams has two values at offset {offset}")
        self._data[offset:end] = piece
        self._known[offset:end] = b"\xff" * len(piece)

    def whole(self) -> bytes | None:
        """All of it, once it is there."""
        if len(self._data) < 4 or self._known.find(0, 0, 4) >= 0:
            return None
        size = 4 + int.from_bytes(self._data[1:4], "big")
        if size > _MESSAGE_AT_MOST:
            raise Malformed(f"a message over several datagrams has {size} bytes")
        if len(self._data) < size or self._known.find(0, 0, size) >= 0:
            return None
        return bytes(self._data[:size])


def put_together(part: Part) -> Datagram:
    """A part that may be the whole: then what it says."""
    assembly = Assembly(part.which, 0.0)
    for piece in part.pieces:
        assembly.add(*piece)
    whole = assembly.whole()
    return Datagram((), part=part) if whole is None else Datagram((part.read(whole),))
