"""S7 communication: which data, blocks and states of a Siemens controller a client reads or changes.

Knows nothing of connections and of what the data are. RFC 1006 and ISO 8073 (X.224) carry it; the protocol
itself was never published, its names are those of Wireshark's and Snap7's descriptions.
"""

import re
from collections.abc import Mapping
from typing import ClassVar

from controller.dpi.cursor import Cursor, text
from controller.dpi.framed import FramedStream
from controller.dpi.message import Malformed, Message, Operation

PORT = 102
_NAME = "s7"
_LARGEST = 65535  # bytes of one message, in all its parts
_CONNECT_REQUEST, _DATA, _DISCONNECT = 0xE0, 0xF0, 0x80  # X.224, section 13
_S7, _S7_PLUS = 0x32, 0x72
_JOB, _ACK, _ACK_DATA, _USER_DATA = 1, 2, 3, 7
_READ_VAR, _WRITE_VAR, _CONTROL, _STOP = 0x04, 0x05, 0x28, 0x29
_DOWNLOADS, _UPLOAD = frozenset({0x1A, 0x1B, 0x1C}), 0x1D

_READ, _WRITE, _EXECUTE = Operation.READ, Operation.WRITE, Operation.EXECUTE
_CONNECT = Operation.CONNECT

_FUNCTIONS: Mapping[int, tuple[str, Operation]] = {
    0x00: ("CPU services", _EXECUTE),
    _READ_VAR: ("Read Var", _READ),
    _WRITE_VAR: ("Write Var", _WRITE),
    0x1A: ("Request download", _WRITE),
    0x1B: ("Download block", _WRITE),
    0x1C: ("Download ended", _WRITE),
    _UPLOAD: ("Start upload", _READ),
    0x1E: ("Upload", _READ),
    0x1F: ("End upload", _READ),
    _CONTROL: ("PI-Service", _EXECUTE),
    _STOP: ("PLC Stop", _EXECUTE),
    0xF0: ("Setup communication", _CONNECT),
}

# Function group of user data -> name; then those of it that are known
_GROUPS: Mapping[int, str] = {
    1: "Programmer commands", 2: "Cyclic services", 3: "Block functions", 4: "CPU functions", 5: "Security",
    6: "PBC", 7: "Time functions", 15: "NC programming",
}  # fmt: skip
_USER_FUNCTIONS: Mapping[tuple[int, int], tuple[str, Operation]] = {
    (2, 1): ("Cyclic transfer", Operation.SUBSCRIBE),
    (2, 4): ("Unsubscribe", Operation.UNSUBSCRIBE),
    (3, 1): ("List blocks", Operation.LOOKUP),
    (3, 2): ("List blocks of type", Operation.LOOKUP),
    (3, 3): ("Get block info", _READ),
    (4, 1): ("Read SZL", _READ),
    (4, 2): ("Message service", Operation.SUBSCRIBE),
    (5, 1): ("PLC password", _CONNECT),
    (7, 1): ("Read clock", _READ),
    (7, 2): ("Set clock", _WRITE),
    (7, 3): ("Read clock (following)", _READ),
    (7, 4): ("Set clock", _WRITE),
}

_AREAS: Mapping[int, str] = {
    0x03: "system info", 0x05: "system flags", 0x06: "analog inputs", 0x07: "analog outputs", 0x1C: "C",
    0x1D: "T", 0x1E: "C(200)", 0x1F: "T(200)", 0x80: "P", 0x81: "I", 0x82: "Q", 0x83: "M", 0x84: "DB",
    0x85: "DI", 0x86: "L", 0x87: "V",
}  # fmt: skip
_SIZES: Mapping[int, str] = {
    1: "BIT", 2: "BYTE", 3: "CHAR", 4: "WORD", 5: "INT", 6: "DWORD", 7: "DINT", 8: "REAL", 9: "DATE",
    10: "TOD", 11: "TIME", 12: "S5TIME", 15: "DATE_AND_TIME", 0x1C: "COUNTER", 0x1D: "TIMER",
}  # fmt: skip
_BLOCKS: Mapping[str, str] = {
    "08": "OB", "0A": "DB", "0B": "SDB", "0C": "FC", "0D": "SFC", "0E": "FB", "0F": "SFB",
}  # fmt: skip
_FILE = re.compile(r"[_$]?([0-9A-F]{2})([0-9]{5})([APB])")


def _item(cursor: Cursor) -> str:
    """A range of data as it is written in programs: P#DB1.DBX0.0 BYTE 4 without the mark."""
    if cursor.byte() != 0x12:
        raise cursor.wrong("an item that names no variable")
    item = cursor.part(cursor.byte())
    syntax = item.byte()
    if syntax != 0x10:  # by symbol, or for other kinds of controllers
        return f"item 0x{syntax:02X} {item.take(item.left).hex()}"
    size, count, block, area, place = item.byte(), item.big(2), item.big(2), item.byte(), item.big(3)
    item.done()
    kind = _SIZES.get(size) or f"0x{size:02X}"
    name = _AREAS.get(area) or f"area 0x{area:02X} "
    if area in (0x1C, 0x1D):
        return f"{name}{place} {kind} {count}"
    where = f"{place >> 3}.{place & 7}"
    if area in (0x84, 0x85):
        return f"{name}{block}.{name}X{where} {kind} {count}"
    return f"{name}{where} {kind} {count}"


def _file(name: str) -> str:
    """A block, by the file that it is loaded from: _0A00001P is DB1."""
    found = _FILE.fullmatch(name)
    if found is None or found[1] not in _BLOCKS:
        return name
    return f"{_BLOCKS[found[1]]}{int(found[2])}"


def _resources(cursor: Cursor, function: int) -> list[str]:
    """What a job is on."""
    if function in (_READ_VAR, _WRITE_VAR):
        return [_item(cursor) for _ in range(cursor.byte())]
    if function in _DOWNLOADS or function == _UPLOAD:
        cursor.skip(7)
        return [_file(text(cursor.take(cursor.byte())))]
    if function == _CONTROL:
        cursor.skip(7)
        arguments = cursor.take(cursor.big(2))
        name = text(cursor.take(cursor.byte()))
        files = (
            [_file(text(arguments[at : at + 8])) for at in range(2, len(arguments), 8)] if arguments else []
        )
        return [" ".join([name, *files] if arguments[1:2] == b"\0" else [name, text(arguments)]).strip()]
    if function == _STOP:
        cursor.skip(5)
        return [text(cursor.take(cursor.byte()))]
    return [""]


def _user_data(cursor: Cursor) -> list[Message]:
    """A function of a group; answers are the client's acknowledgement of what it subscribed to."""
    cursor.skip(5)
    kind, function = cursor.byte(), cursor.byte()
    if kind >> 4 != 4:
        return []
    group = kind & 15
    known = _USER_FUNCTIONS.get((group, function))
    verb, operation = known or (f"{_GROUPS.get(group) or f'Group {group}'} {function}", _EXECUTE)
    return [Message(_NAME, verb, operation, "", detail={"group": group, "function": function})]


def _message(data: bytes) -> list[Message]:
    """One whole message of S7."""
    cursor = Cursor(_NAME, data, 1)
    kind = cursor.byte()
    cursor.skip(4)
    parameters, content = cursor.big(2), cursor.big(2)
    if kind in (_ACK, _ACK_DATA):
        cursor.skip(2)
    inside = cursor.part(parameters)
    cursor.skip(content)
    cursor.done()
    if kind in (_ACK, _ACK_DATA):
        return []
    if kind == _USER_DATA:
        return _user_data(inside)
    if kind != _JOB:
        raise cursor.wrong(f"a message of kind {kind}")
    function = inside.byte()
    verb, operation = _FUNCTIONS.get(function) or (f"Function 0x{function:02X}", _EXECUTE)
    detail = {"function": function}
    return [
        Message(_NAME, verb, operation, resource, None, None, False, detail)
        for resource in _resources(inside, function) or [""]
    ]


class S7Stream(FramedStream):
    """Reads the requests of one client."""

    HEADER: ClassVar[int] = 4  # RFC 1006, section 6: version, reserved, size

    def __init__(self) -> None:
        super().__init__()
        self._parts = bytearray()  # of a message whose last part has not come

    def size(self, header: bytes) -> int:
        size = header[2] << 8 | header[3]
        if header[0] != 3 or size < 7:
            raise Malformed(f"s7: header {header.hex()}")
        return size

    def read(self, data: bytes, messages: list[Message]) -> bool:
        cursor = Cursor(_NAME, data, 4)
        head = cursor.part(cursor.byte())
        kind = head.byte() & 0xF0
        if self._parts and kind != _DATA:  # which may mean to a controller that those parts are nothing
            raise cursor.wrong("something else between the parts of a message")
        if kind == _CONNECT_REQUEST:
            messages.append(_connection(head))
            return True
        if kind == _DISCONNECT:
            messages.append(Message(_NAME, "Disconnect", _CONNECT, ""))
            return True
        if kind != _DATA:
            raise cursor.wrong(f"transport message {kind:#x} from a client")
        self._parts += cursor.take(cursor.left)
        if len(self._parts) > _LARGEST:
            raise cursor.wrong(f"a message of more than {_LARGEST} bytes")
        if not head.byte() & 0x80:  # X.224, 13.7: not the last part
            return False
        whole = bytes(self._parts)
        self._parts.clear()
        if whole[:1] == bytes([_S7_PLUS]):
            messages.append(Message(_NAME, "S7comm-plus", _CONNECT, "", opaque=True))
            self.settle()
        elif whole[:1] == bytes([_S7]):
            messages += _message(whole)
        elif whole:
            raise cursor.wrong(f"protocol {whole[0]:#x} inside")
        return True


def _connection(head: Cursor) -> Message:
    """X.224, 13.3: from whom to whom; the last byte says which rack and slot."""
    head.skip(5)
    resource = ""
    while head.left:
        code = head.byte()
        value = head.take(head.byte())
        if code == 0xC2 and len(value) == 2:
            resource = f"rack {value[1] >> 5} slot {value[1] & 31}"
        elif code == 0xC2:
            resource = text(value)
    return Message(_NAME, "Connect", _CONNECT, resource)


def recognise(prefix: bytes, server_port: int) -> bool | None:
    """By its first message, on any port: a transport connection that names whom it is for."""
    del server_port
    if prefix[:2] != b"\3\0"[: len(prefix[:2])]:
        return False
    if len(prefix) < 6:
        return None
    size = prefix[2] << 8 | prefix[3]
    if prefix[5] != _CONNECT_REQUEST or prefix[4] != size - 5 or size > 200:
        return False
    if len(prefix) < size:
        return None
    return b"\xc1\2" in prefix[11:size] and b"\xc2\2" in prefix[11:size]
