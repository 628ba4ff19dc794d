r"""The values inside OPC UA messages: node ids as people write them; everything else is only measured.

Knows nothing of services. Follows OPC 10000-6 (release 1.05), section 5.2. Node ids are written as in
its section 5.3.1.10: "i=2258", "ns=2;s=Pump1.Speed".
"""

from base64 import b64encode
from collections.abc import Mapping
from functools import lru_cache
from uuid import UUID

from controller.dpi.cursor import Cursor, text

_VALUES_AT_MOST = 4096  # in one message, of those whose size depends on their content
_DEPTH_AT_MOST = 16  # values inside values

# Built-in types (5.1.2) of a fixed size: bytes of each
_FIXED: Mapping[int, int] = {
    1: 1, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 7: 4, 8: 8, 9: 8, 10: 4, 11: 8, 13: 8, 14: 16, 19: 4,
}  # fmt: skip


_NODE_ID_SIZES: Mapping[int, int] = {0: 2, 1: 4, 2: 7, 3: 7, 4: 19, 5: 7}  # bytes, without those of a text


@lru_cache(maxsize=8192)
def _written(kind: int, encoded: bytes) -> str:
    """A node id as text in which " of " stands for nothing else."""
    if kind == 0:
        return f"i={encoded[0]}"
    if kind == 1:
        space, identifier = encoded[0], f"i={encoded[1] | encoded[2] << 8}"
    else:
        space, value = encoded[0] | encoded[1] << 8, encoded[2:]
        match kind:
            case 2:
                identifier = f"i={int.from_bytes(value, 'little')}"
            case 3:
                identifier = f"s={text(value[4:])}".replace(" of ", "\\x20of ")
            case 4:
                identifier = f"g={UUID(bytes_le=value)}"
            case _:
                identifier = f"b={b64encode(value[4:]).decode()}"
    return f"ns={space};{identifier}" if space else identifier


class Values(Cursor):
    """A message of which values are taken in order."""

    __slots__ = ("_values",)

    def __init__(self, data: bytes, at: int = 0) -> None:
        super().__init__("opcua", data, at)
        self._values = 0

    def _count(self) -> None:
        self._values += 1
        if self._values > _VALUES_AT_MOST:
            raise self.wrong(f"more than {_VALUES_AT_MOST} values")

    def length(self) -> int:
        """Of a string or an array (5.2.2.4, 5.2.5): -1, or any number below, is null."""
        return max(int.from_bytes(self.take(4), "little", signed=True), 0)

    def items(self) -> range:
        """The positions of an array whose elements follow; each has at least one byte."""
        count = self.length()
        if count > self.left:
            raise self.wrong(f"an array of {count}")
        return range(count)

    def skip_bytes(self) -> None:
        """5.2.2.4, 5.2.2.7: String, ByteString, XmlElement."""
        self._count()
        self.skip(self.length())

    def string(self) -> str:
        return text(self.take(self.length()))

    def node_id(self) -> str:
        """5.2.2.9"""
        return self._node_id(self.data[self.at] if self.at < self.end else 0xFF)

    def _node_id(self, kind: int) -> str:
        at, data = self.at, self.data
        size = _NODE_ID_SIZES.get(kind)
        if size is None:
            raise self.wrong(f"node id of kind {kind}")
        if kind in (3, 5) and at + 7 <= self.end:
            size += max(int.from_bytes(data[at + 3 : at + 7], "little", signed=True), 0)
        self.skip(size)
        return _written(kind, data[at + 1 : at + size])

    def expanded_node_id(self) -> str:
        """5.2.2.10; the namespace's URI, if given, is used instead of its number."""
        self._count()
        kind = self.data[self.at] if self.at < self.end else 0xFF
        found = self._node_id(kind & 0x3F)
        if kind & 0x80:
            uri = self.string()
            found = f"nsu={uri};{found.partition(';')[2] if found.startswith('ns=') else found}"
        return f"svr={self.little(4)};{found}" if kind & 0x40 else found

    def attribute(self) -> tuple[int, str]:
        """The number of an attribute, and which part of its value: what follows a node's id in requests."""
        at = self.skip(8)
        data = self.data
        part = int.from_bytes(data[at + 4 : at + 8], "little", signed=True)
        return int.from_bytes(data[at : at + 4], "little"), text(self.take(part)) if part > 0 else ""

    def qualified_name(self) -> None:
        """5.2.2.13"""
        self.skip(2)
        self.skip_bytes()

    def localized_text(self) -> None:
        """5.2.2.14"""
        self._count()
        mask = self.byte()
        for bit in (1, 2):
            if mask & bit:
                self.skip_bytes()

    def extension_object(self) -> tuple[str, Cursor]:
        """5.2.2.15: its type and its content."""
        self._count()
        kind = self.node_id()
        encoding = self.byte()
        if encoding > 2:
            raise self.wrong(f"extension object of encoding {encoding}")
        return kind, self.part(self.length() if encoding else 0)

    def diagnostic_info(self, depth: int = 0) -> None:
        """5.2.2.12"""
        self._count()
        mask = self.byte()
        if depth > _DEPTH_AT_MOST:
            raise self.wrong("diagnostics inside diagnostics")
        for bit in (1, 2, 4, 8):
            if mask & bit:
                self.skip(4)
        if mask & 0x10:
            self.skip_bytes()
        if mask & 0x20:
            self.skip(4)
        if mask & 0x40:
            self.diagnostic_info(depth + 1)

    def data_value(self, depth: int = 0) -> None:
        """5.2.2.17"""
        self._count()
        mask = self.byte()
        if mask & 0x01:
            self.variant(depth)
        for bit, size in ((0x02, 4), (0x04, 8), (0x10, 2), (0x08, 8), (0x20, 2)):
            if mask & bit:
                self.skip(size)

    def variant(self, depth: int = 0) -> None:
        """5.2.2.16"""
        self._count()
        if depth > _DEPTH_AT_MOST:
            raise self.wrong("variants inside variants")
        mask = self.byte()
        kind = mask & 0x3F
        count = self.length() if mask & 0x80 else 1
        size = _FIXED.get(kind)
        if not kind:
            pass
        elif size is not None:
            self.skip(count * size)
        else:
            if count > self.left:
                raise self.wrong(f"an array of {count}")
            for _ in range(count):
                self._value(kind, depth + 1)
        if mask & 0x40:
            self.skip(4 * self.length())

    def _value(self, kind: int, depth: int) -> None:
        match kind:
            case 12 | 15 | 16 | 26 | 27 | 28 | 29 | 30 | 31:  # 5.1.2: those from 26 on count as ByteString
                self.skip_bytes()
            case 17 | 18:
                self.expanded_node_id()
            case 20:
                self.qualified_name()
            case 21:
                self.localized_text()
            case 22:
                self.extension_object()
            case 23:
                self.data_value(depth)
            case 24:
                self.variant(depth)
            case 25:
                self.diagnostic_info(depth)
            case _:
                raise self.wrong(f"variant of type {kind}")
