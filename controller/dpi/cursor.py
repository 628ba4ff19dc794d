"""Takes a binary message apart, element by element. Knows no protocol."""

from controller.dpi.message import Malformed


class Cursor:
    """A place in a message that has to have all that is taken from it.

    `name` is that of the protocol, for what Malformed says.
    """

    __slots__ = ("at", "data", "end", "name")

    def __init__(self, name: str, data: bytes, at: int = 0, end: int | None = None) -> None:
        self.name = name
        self.data = data
        self.at = at
        self.end = len(data) if end is None else end

    @property
    def left(self) -> int:
        """Bytes that have not been taken."""
        return self.end - self.at

    def wrong(self, what: str) -> Malformed:
        return Malformed(f"{self.name}: {what} at offset {self.at}")

    def skip(self, size: int) -> int:
        """Go on by so many bytes; the offset of the first of them."""
        at = self.at
        following = at + size
        if size < 0 or following > self.end:
            raise self.wrong(f"only {self.end - at} bytes instead of {size}")
        self.at = following
        return at

    def take(self, size: int) -> bytes:
        at = self.skip(size)
        return self.data[at : at + size]

    def byte(self) -> int:
        at = self.at
        if at >= self.end:
            raise self.wrong("message cut short")
        self.at = at + 1
        return self.data[at]

    def big(self, size: int) -> int:
        """An unsigned number of so many bytes, the highest first."""
        return int.from_bytes(self.take(size), "big")

    def little(self, size: int) -> int:
        """An unsigned number of so many bytes, the lowest first."""
        return int.from_bytes(self.take(size), "little")

    def part(self, size: int) -> "Cursor":
        """A cursor of its own for the next bytes."""
        at = self.skip(size)
        return Cursor(self.name, self.data, at, at + size)

    def done(self) -> None:
        """Raises Malformed if something is left."""
        if self.at != self.end:
            raise self.wrong(f"{self.end - self.at} bytes too many")


def text(data: bytes) -> str:
    r"""Text from the network for people: what is not UTF-8 in hexadecimal, and so is what is no character.

    A backslash is written twice, so that no two different bytes become the same text.

    >>> text(b"Pump 1\n\xff")
    'Pump 1\\x0a\\xff'
    """
    found = data.replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")
    if found.isprintable():
        return found
    return "".join([c if c.isprintable() else f"\\x{ord(c):02x}" for c in found])
