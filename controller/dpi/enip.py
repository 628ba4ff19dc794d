"""EtherNet/IP: sessions, and the CIP requests that they carry.

Knows nothing of connections and devices. Follows THE CIP NETWORKS LIBRARY, volume 2, edition 1.26 (the
section numbers below). What cyclic data mean was agreed when their connection was opened.
"""

from collections.abc import Mapping
from struct import Struct
from typing import ClassVar

from controller.dpi import cip
from controller.dpi.cursor import Cursor
from controller.dpi.dissector import Datagram
from controller.dpi.framed import FramedStream
from controller.dpi.message import Malformed, Message, Operation

PORT, IO_PORT = 44818, 2222
_NAME = "enip"
_HEADER = Struct("<HHIIQI")  # 2-3.1: command, length, session, status, sender context, options
_NOP, _REGISTER, _SEND_RR, _SEND_UNIT = 0x00, 0x65, 0x6F, 0x70
_LARGEST = 65511  # 2-3.3

# 2-3.2
_COMMANDS: Mapping[int, tuple[str, Operation]] = {
    _NOP: ("NOP", Operation.CONNECT),
    0x04: ("ListServices", Operation.LOOKUP),
    0x63: ("ListIdentity", Operation.LOOKUP),
    0x64: ("ListInterfaces", Operation.LOOKUP),
    _REGISTER: ("RegisterSession", Operation.CONNECT),
    0x66: ("UnRegisterSession", Operation.CONNECT),
    _SEND_RR: ("SendRRData", Operation.EXECUTE),
    _SEND_UNIT: ("SendUnitData", Operation.EXECUTE),
    0x72: ("IndicateStatus", Operation.CONNECT),
    0x73: ("Cancel", Operation.CONNECT),
}
_LISTS = frozenset({0x04, 0x63, 0x64})
# 2-6.2: items
_NO_ADDRESS, _CONNECTION, _CONNECTED, _UNCONNECTED, _SEQUENCED = 0x00, 0xA1, 0xB1, 0xB2, 0x8002
_ADDRESSES = frozenset({_NO_ADDRESS, _CONNECTION, _SEQUENCED})
_SOCKETS = frozenset({0x8000, 0x8001})

_CYCLIC = Datagram((Message(_NAME, "I/O", Operation.PUBLISH, ""),))


def _items(cursor: Cursor) -> tuple[int, Cursor]:
    """2-6: an address and data, perhaps with sockets; the kind of the data, and the data."""
    count = cursor.little(2)
    found: list[tuple[int, Cursor]] = []
    for place in range(count):
        kind = cursor.little(2)
        content = cursor.part(cursor.little(2))
        if (place == 0) != (kind in _ADDRESSES) or (place > 1) != (kind in _SOCKETS) or place > 3:
            raise cursor.wrong(f"item {kind:#x} at place {place}")
        found.append((kind, content))
    cursor.done()
    if len(found) < 2 or found[1][0] not in (_CONNECTED, _UNCONNECTED):
        raise cursor.wrong("no data")
    return found[1]


def _carried(body: Cursor, messages: list[Message]) -> bool:
    """2-4.7, 2-4.8: an interface (that of CIP is 0), how long to wait, then items; False for a response."""
    if body.little(4):
        raise body.wrong("an interface that is not CIP's")
    body.skip(2)
    kind, content = _items(body)
    if kind == _CONNECTED:
        content.skip(2)  # a sequence number (volume 1, 3-4.4)
    return cip.read(content, messages)


def _read(data: bytes, messages: list[Message]) -> bool:
    """One whole message; False for a response."""
    command, _, _, status, _, options = _HEADER.unpack_from(data)
    known = _COMMANDS.get(command)
    body = Cursor(_NAME, data, _HEADER.size)
    if known is None or options:
        raise body.wrong(f"command {command:#x}, options {options:#x}")
    # An error comes without data; with some, a server that heeds no status would take it for a request.
    if command in (_SEND_RR, _SEND_UNIT) and (body.left or not status):
        return _carried(body, messages)
    if status:
        return False
    if command in _LISTS and body.left:
        return False
    if command == _REGISTER and body.take(4) != b"\1\0\0\0":
        raise body.wrong("a session of another version")
    if command != _NOP:
        body.done()
    messages.append(Message(_NAME, *known, ""))
    return True


class EnipStream(FramedStream):
    """Reads the requests of one client."""

    HEADER: ClassVar[int] = _HEADER.size

    def size(self, header: bytes) -> int:
        command, length, *_ = _HEADER.unpack(header)
        if command not in _COMMANDS or length > _LARGEST:
            raise Malformed(f"enip: command {command:#x} with {length} bytes")
        return _HEADER.size + int(length)

    def read(self, data: bytes, messages: list[Message]) -> bool:
        if not _read(data, messages):
            raise Malformed("enip: a response where only requests may be")
        return True


def recognise(prefix: bytes, server_port: int) -> bool | None:
    """By its first header: on port 44818 any command, elsewhere one that may begin a conversation."""
    usual = server_port == PORT
    first = prefix[:2] + b"\0\0"[len(prefix) :]
    command = first[0] | first[1] << 8
    if len(prefix) > 1 and command not in _COMMANDS:
        return False
    if prefix[8:12].strip(b"\0") or prefix[20:24].strip(b"\0"):  # status and options
        return False
    if len(prefix) >= 4 and not usual:
        length = prefix[2] | prefix[3] << 8
        if (command, length) not in {(_REGISTER, 4), (0x04, 0), (0x63, 0), (0x64, 0)}:
            return False
        if prefix[4:8].strip(b"\0"):  # the session, which there is none of yet
            return False
    return True if len(prefix) >= _HEADER.size else None


def datagram(payload: bytes, src_port: int, dst_port: int) -> Datagram | None:
    """One message on port 44818, or cyclic data on port 2222. Raises Malformed.

    Any client may happen to ask from the former, so that it must begin with a command there too.
    """
    ports = (src_port, dst_port)
    if PORT in ports:
        if len(payload) < _HEADER.size or (payload[0] | payload[1] << 8) not in _COMMANDS:
            return None
        if len(payload) != _HEADER.size + (payload[2] | payload[3] << 8):
            raise Malformed(f"enip: {len(payload)} bytes, which its length does not say")
        messages: list[Message] = []
        if _read(payload, messages):
            return Datagram(tuple(messages))
        return Datagram((), answer=True)
    if IO_PORT in ports:  # 2-3.4
        kind, _ = _items(Cursor(_NAME, payload))
        if kind != _CONNECTED:
            raise Malformed("enip: cyclic data without a connection")
        return _CYCLIC
    return None
