"""DNP3 over TCP: which points and files of an outstation a master reads or operates.

Knows nothing of connections and of what the points are. Follows IEEE 1815-2012 (the clause numbers below).
"""

from collections.abc import Mapping
from typing import ClassVar

from controller.dpi.cursor import Cursor, text
from controller.dpi.framed import FramedStream
from controller.dpi.message import Malformed, Message, Operation

PORT = 20000
_NAME = "dnp3"
_START = b"\x05\x64"
_LARGEST = 8192  # bytes of one request, in all its parts
_HEADERS_AT_MOST = 256  # of objects, in one request
_PRIMARY, _USER_DATA = 0x40, frozenset({3, 4})  # 9.2.4.1
_FIRST, _LAST, _NUMBER = 0x40, 0x80, 0x3F  # 8.2.1

_READ, _WRITE, _EXECUTE = Operation.READ, Operation.WRITE, Operation.EXECUTE
_CONNECT, _DELETE = Operation.CONNECT, Operation.DELETE
_CONFIRM, _OPEN, _UNSOLICITED = 0, 25, 130
_RESPONSES = frozenset({129, 131})

# 4.2.2.5: function -> name, what it asks for
_FUNCTIONS: Mapping[int, tuple[str, Operation]] = {
    _CONFIRM: ("Confirm", _CONNECT),
    1: ("Read", _READ),
    2: ("Write", _WRITE),
    3: ("Select", _WRITE),
    4: ("Operate", _WRITE),
    5: ("Direct Operate", _WRITE),
    6: ("Direct Operate No Ack", _WRITE),
    7: ("Immediate Freeze", _EXECUTE),
    8: ("Immediate Freeze No Ack", _EXECUTE),
    9: ("Freeze and Clear", _EXECUTE),
    10: ("Freeze and Clear No Ack", _EXECUTE),
    11: ("Freeze with Time", _EXECUTE),
    12: ("Freeze with Time No Ack", _EXECUTE),
    13: ("Cold Restart", _EXECUTE),
    14: ("Warm Restart", _EXECUTE),
    15: ("Initialize Data", _EXECUTE),
    16: ("Initialize Application", _EXECUTE),
    17: ("Start Application", _EXECUTE),
    18: ("Stop Application", _EXECUTE),
    19: ("Save Configuration", _EXECUTE),
    20: ("Enable Unsolicited", Operation.SUBSCRIBE),
    21: ("Disable Unsolicited", Operation.UNSUBSCRIBE),
    22: ("Assign Class", _WRITE),
    23: ("Delay Measurement", _READ),
    24: ("Record Current Time", _EXECUTE),
    _OPEN: ("Open File", _READ),
    26: ("Close File", _CONNECT),
    27: ("Delete File", _DELETE),
    28: ("Get File Info", _READ),
    29: ("Authenticate File", _CONNECT),
    30: ("Abort File", _CONNECT),
    31: ("Activate Configuration", _EXECUTE),
    32: ("Authentication Request", _CONNECT),
    33: ("Authentication Request No Ack", _CONNECT),
    _UNSOLICITED: ("Unsolicited Response", Operation.NOTIFY),
}
_WITH_DATA = frozenset({2, 3, 4, 5, 6})

# Annex A: bytes of an object that a master may write; bits of those that are packed
_SIZES: Mapping[tuple[int, int], int] = {
    (12, 1): 11, (12, 2): 11, (34, 1): 2, (34, 2): 4, (34, 3): 4, (41, 1): 5, (41, 2): 3, (41, 3): 5,
    (41, 4): 9, (50, 1): 6, (50, 2): 10, (50, 3): 6, (50, 4): 11, (51, 1): 6, (51, 2): 6, (52, 1): 2,
    (52, 2): 2, (102, 1): 1,
}  # fmt: skip
_BITS: Mapping[tuple[int, int], int] = {(1, 1): 1, (3, 1): 2, (10, 1): 1, (12, 3): 1, (80, 1): 1}
_STRINGS = frozenset({110, 112})  # their variation is their size
_FILE, _FILE_COMMAND = 70, 3


def _table() -> tuple[int, ...]:
    """9.2.4.3.1: the check sum of every byte; x16 + x13 + x12 + x11 + x10 + x8 + x6 + x5 + x2 + 1."""
    found = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xA6BC if value & 1 else 0)  # noqa: PLW2901 - bit by bit
        found.append(value)
    return tuple(found)


_CHECK = _table()


def _block(cursor: Cursor, size: int) -> bytes:
    """Bytes behind which stands their right check sum."""
    data = cursor.take(size)
    value = 0
    for byte in data:
        value = value >> 8 ^ _CHECK[(value ^ byte) & 0xFF]
    if cursor.little(2) != value ^ 0xFFFF:
        raise cursor.wrong("a wrong check sum")
    return data


def _range(cursor: Cursor, code: int) -> tuple[int | None, int]:
    """4.2.2.7.3: the first of a range, or None, and how many there are; 0 for all."""
    if code <= 2:
        size = 1 << code
        first, last = cursor.little(size), cursor.little(size)
        if last < first:
            raise cursor.wrong(f"points from {first} to {last}")
        return first, last - first + 1
    if code == 6:
        return None, 0
    if 7 <= code <= 9:
        return None, cursor.little(1 << code - 7)
    if code == 11:
        return None, cursor.byte()
    raise cursor.wrong(f"range of kind {code}")


def _file(content: Cursor) -> tuple[str, bool]:
    """Annex A.25.3: a file, in the object that opens or deletes it; whether it is opened to be changed."""
    offset, size = content.little(2), content.little(2)
    content.skip(16)
    mode = content.little(2)
    content.skip(offset - 22)
    return f" file {text(content.take(size))}", mode > 1


def _points(first: int, count: int) -> str:
    return f" point {first}" if count == 1 else f" points {first}-{first + count - 1}"


def _objects(cursor: Cursor, function: int) -> list[tuple[str, bool]]:
    """One header (4.2.2.7) and what follows it, in words; whether a file is opened to be changed."""
    group, variation, qualifier = cursor.byte(), cursor.byte(), cursor.byte()
    name = f" g{group}v{variation}"
    prefix = qualifier >> 4 & 7
    first, count = _range(cursor, qualifier & 15)
    size = _SIZES.get((group, variation), variation if group in _STRINGS else None)
    bits = _BITS.get((group, variation))
    if prefix == 0 and first is not None:
        if function in _WITH_DATA:
            if bits is None and size is None:
                raise cursor.wrong(f"an object{name} whose size nobody knows")
            cursor.skip((count * bits + 7) // 8 if bits is not None else count * (size or 0))
        return [(name + _points(first, count), False)]
    if not count or prefix == 0:
        if function in _WITH_DATA and count:
            if size is None:
                raise cursor.wrong(f"an object{name} whose size nobody knows")
            cursor.skip(count * size)
        return [(name, False)]
    if count > cursor.left:
        raise cursor.wrong(f"{count} objects")
    if prefix > 6:
        raise cursor.wrong(f"prefix of kind {prefix}")
    found: list[tuple[str, bool]] = []
    for _ in range(count):
        if prefix > 3:  # each behind its size
            content = cursor.part(cursor.little(1 << prefix - 4))
            is_file = (group, variation) == (_FILE, _FILE_COMMAND)
            found.append(_file(content) if is_file else (name, False))
            continue
        found.append((f"{name} point {cursor.little(1 << prefix - 1)}", False))
        if function in _WITH_DATA:
            if size is None:
                raise cursor.wrong(f"an object{name} whose size nobody knows")
            cursor.skip(size)
    return found


def _request(data: bytes, station: int) -> list[Message]:
    """4.2.2: one whole message of the application."""
    cursor = Cursor(_NAME, data, 1)
    function = cursor.byte()
    if function in _RESPONSES:
        return []
    known = _FUNCTIONS.get(function)
    verb, operation = known or (f"Function {function}", _EXECUTE)
    where = f"station {station}"
    resources: list[tuple[str, bool]] = []
    headers = 0
    while cursor.left and known is not None and function != _UNSOLICITED:
        resources += _objects(cursor, function)
        headers += 1
        if max(headers, len(resources)) > _HEADERS_AT_MOST:
            raise cursor.wrong(f"more than {_HEADERS_AT_MOST} objects in one request")
    detail = {"function": function}
    return [
        Message(_NAME, verb, _WRITE if opened and function == _OPEN else operation, where + on, detail=detail)
        for on, opened in resources or [("", False)]
    ]


class Dnp3Stream(FramedStream):
    """Reads the requests of one client."""

    HEADER: ClassVar[int] = 3  # 9.2.4.1: where it starts, size

    def __init__(self) -> None:
        super().__init__()
        self._parts = bytearray()  # of a request whose last part has not come
        self._from_to = b""  # of these parts
        self._next = 0  # number of the next one (8.2.1)

    def size(self, header: bytes) -> int:
        size = header[2]
        if header[:2] != _START or size < 5:
            raise Malformed(f"dnp3: header {header.hex()}")
        content = size - 5
        return 10 + content + 2 * ((content + 15) // 16)

    def read(self, data: bytes, messages: list[Message]) -> bool:
        cursor = Cursor(_NAME, data)
        head = _block(cursor, 8)
        content = b""
        for at in range(0, head[2] - 5, 16):
            content += _block(cursor, min(16, head[2] - 5 - at))
        if not head[3] & _PRIMARY or head[3] & 15 not in _USER_DATA:
            return not self._parts  # keeps the link alive
        if not content:
            raise cursor.wrong("user data that are none")
        # A station puts only those parts together that follow each other and are of the same two ends.
        if self._parts and (head[4:] != self._from_to or content[0] & (_FIRST | _NUMBER) != self._next):
            raise cursor.wrong("something else between the parts of a request")
        if not self._parts and not content[0] & _FIRST:
            raise cursor.wrong("the later part of a request without its first")
        self._from_to, self._next = head[4:], (content[0] + 1) & _NUMBER
        self._parts += content[1:]
        if len(self._parts) > _LARGEST:
            raise cursor.wrong(f"a request of more than {_LARGEST} bytes")
        if not content[0] & _LAST:
            return False
        messages += _request(bytes(self._parts), head[4] | head[5] << 8)
        self._parts.clear()
        return True


def recognise(prefix: bytes, server_port: int) -> bool | None:
    """By the header of its first frame, whose check sum must be right, on any port."""
    del server_port
    if not _START.startswith(prefix[:2]):
        return False
    if len(prefix) < 10:
        return None
    try:
        _block(Cursor(_NAME, prefix), 8)
    except Malformed:
        return False
    return prefix[2] >= 5
