"""Modbus/TCP: which coils and registers a client reads or writes.

Knows nothing of connections and services. Follows "MODBUS Application Protocol Specification V1.1b3"
(PDU; the section numbers below) and "MODBUS Messaging on TCP/IP Implementation Guide V1.0b" (MBAP).
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import Struct

from controller.dpi.dissector import Fed
from controller.dpi.message import Malformed, Message, Operation

PORT = 502
_NAME = "modbus"
_MBAP = Struct("!HHHB")  # transaction, protocol (0), length of what follows, unit
_SMALLEST, _LARGEST = 2, 254  # values of the length field (guide 3.1.3: an ADU has at most 260 bytes)
_TWO = Struct("!HH")
_THREE = Struct("!HHH")
_WRITE_MANY = Struct("!HHB")
_READ_WRITE = Struct("!HHHHB")
_FILE = Struct("!BHHH")

COILS, DISCRETE = "coils", "discrete inputs"
HOLDING, INPUT = "holding registers", "input registers"

_READ, _WRITE, _EXECUTE = Operation.READ, Operation.WRITE, Operation.EXECUTE
_Found = tuple[tuple[Operation, str], ...]


def _wrong(what: str) -> Malformed:
    return Malformed(f"modbus: {what}")


def _range(space: str, first: int, count: int) -> str:
    if not count:
        raise _wrong(f"a request for no {space} at offset 10")
    if first + count > 0x10000:
        raise _wrong(f"{count} {space} from {first} on go beyond the last")
    return f"{space} {first}-{first + count - 1}"


def _read(space: str) -> Callable[[bytes], _Found]:
    """6.1-6.4: address, quantity."""

    def found(pdu: bytes) -> _Found:
        if len(pdu) != 5:
            raise _wrong(f"function {pdu[0]} with {len(pdu)} bytes instead of 5")
        first, count = _TWO.unpack_from(pdu, 1)
        return ((_READ, _range(space, first, count)),)

    return found


def _write_one(space: str, size: int) -> Callable[[bytes], _Found]:
    """6.5, 6.6, 6.16: address, then the value (or two masks)."""

    def found(pdu: bytes) -> _Found:
        if len(pdu) != size:
            raise _wrong(f"function {pdu[0]} with {len(pdu)} bytes instead of {size}")
        return ((_WRITE, _range(space, pdu[1] << 8 | pdu[2], 1)),)

    return found


def _write_many(space: str, bits: int) -> Callable[[bytes], _Found]:
    """6.11, 6.12: address, quantity, byte count, values of so many `bits`."""

    def found(pdu: bytes) -> _Found:
        if len(pdu) < 6:
            raise _wrong(f"function {pdu[0]} cut short")
        first, count, size = _WRITE_MANY.unpack_from(pdu, 1)
        if len(pdu) != 6 + size or size != (count * bits + 7) // 8:
            raise _wrong(f"function {pdu[0]}: byte count {size} at offset 12 does not fit quantity {count}")
        return ((_WRITE, _range(space, first, count)),)

    return found


def _read_write(pdu: bytes) -> _Found:
    """6.17: the write is done before the read."""
    if len(pdu) < 10:
        raise _wrong("function 23 cut short")
    first, count, write_first, write_count, size = _READ_WRITE.unpack_from(pdu, 1)
    if len(pdu) != 10 + size or size != 2 * write_count:
        raise _wrong(f"function 23: byte count {size} at offset 16 does not fit quantity {write_count}")
    return ((_WRITE, _range(HOLDING, write_first, write_count)), (_READ, _range(HOLDING, first, count)))


def _files(operation: Operation) -> Callable[[bytes], _Found]:
    """6.14, 6.15: groups of reference type 6, file, first record, number of records (and their values)."""

    def found(pdu: bytes) -> _Found:
        if len(pdu) < 2 or len(pdu) != 2 + pdu[1]:
            raise _wrong(f"function {pdu[0]}: byte count does not fit")
        groups: list[tuple[Operation, str]] = []
        at = 2
        while at < len(pdu):
            if at + 7 > len(pdu):
                raise _wrong(f"function {pdu[0]}: group cut short")
            kind, file, first, count = _FILE.unpack_from(pdu, at)
            at += 7 + (2 * count if operation is _WRITE else 0)
            if kind != 6 or at > len(pdu):
                raise _wrong(f"function {pdu[0]}: group with reference type {kind}, {count} records")
            groups.append((operation, _range(f"file {file} records", first, count)))
        if not groups:
            raise _wrong(f"function {pdu[0]} without a group")
        return tuple(groups)

    return found


def _plain(operation: Operation, resource: str, size: int) -> Callable[[bytes], _Found]:
    def found(pdu: bytes) -> _Found:
        if len(pdu) != size:
            raise _wrong(f"function {pdu[0]} with {len(pdu)} bytes instead of {size}")
        return ((operation, resource),)

    return found


def _diagnostics(pdu: bytes) -> _Found:
    """6.8: a sub-function, and its data in whole registers."""
    if len(pdu) < 5 or len(pdu) % 2 == 0:
        raise _wrong("function 8 cut short")
    return ((_EXECUTE, f"diagnostics {pdu[1] << 8 | pdu[2]}"),)


def _fifo(pdu: bytes) -> _Found:
    """6.18"""
    if len(pdu) != 3:
        raise _wrong(f"function 24 with {len(pdu)} bytes instead of 3")
    return ((_READ, f"fifo queue {pdu[1] << 8 | pdu[2]}"),)


def _encapsulated(pdu: bytes) -> tuple[str, _Found]:
    """6.19-6.21: type, then data; the name of the function depends on the type."""
    if len(pdu) < 2:
        raise _wrong("function 43 cut short")
    if pdu[1] == 14:
        if len(pdu) != 4:
            raise _wrong(f"function 43/14 with {len(pdu)} bytes instead of 4")
        return "Read Device Identification", ((_READ, "device identification"),)
    name = "CANopen General Reference" if pdu[1] == 13 else "Encapsulated Interface Transport"
    return name, ((_EXECUTE, f"encapsulated interface {pdu[1]}"),)


# Function code -> name of the function, and what a request's PDU asks for.
_FUNCTIONS: Mapping[int, tuple[str, Callable[[bytes], _Found]]] = {
    1: ("Read Coils", _read(COILS)),
    2: ("Read Discrete Inputs", _read(DISCRETE)),
    3: ("Read Holding Registers", _read(HOLDING)),
    4: ("Read Input Registers", _read(INPUT)),
    5: ("Write Single Coil", _write_one(COILS, 5)),
    6: ("Write Single Register", _write_one(HOLDING, 5)),
    7: ("Read Exception Status", _plain(_READ, "exception status", 1)),
    8: ("Diagnostics", _diagnostics),
    11: ("Get Comm Event Counter", _plain(_READ, "comm event counter", 1)),
    12: ("Get Comm Event Log", _plain(_READ, "comm event log", 1)),
    15: ("Write Multiple Coils", _write_many(COILS, 1)),
    16: ("Write Multiple Registers", _write_many(HOLDING, 16)),
    17: ("Report Server ID", _plain(_READ, "server id", 1)),
    20: ("Read File Record", _files(_READ)),
    21: ("Write File Record", _files(_WRITE)),
    22: ("Mask Write Register", _write_one(HOLDING, 7)),
    23: ("Read/Write Multiple Registers", _read_write),
    24: ("Read FIFO Queue", _fifo),
}


_ENCAPSULATED = 43


_REMEMBERED = 16  # bytes of unit and PDU; longer requests are read each time


@lru_cache(maxsize=4096)
def _repeated(request: bytes) -> tuple[Message, ...]:
    """A short request by unit and PDU: devices ask the same again and again."""
    return tuple(_request(request[0], request[1:]))


def _request(unit: int, pdu: bytes) -> list[Message]:
    function = pdu[0]
    known = _FUNCTIONS.get(function)
    if known is not None:
        verb, read = known
        found = read(pdu)
    elif function == _ENCAPSULATED:
        verb, found = _encapsulated(pdu)
    elif 0 < function < 128:  # section 5: user-defined or reserved
        resource = f"unit {unit}"
        return [Message(_NAME, f"Function {function}", _EXECUTE, resource, detail={"function": function})]
    else:  # section 4.1: 128 and above are exception responses
        raise _wrong(f"function {function} at offset 7 is no request")
    # Positional: this is the way of every poll of every device.
    return [
        Message(_NAME, verb, operation, f"unit {unit} {resource}", None, None, False, {"function": function})
        for operation, resource in found
    ]


class ModbusStream:
    """Reads the requests of one client."""

    __slots__ = ("_buffer", "_offset")

    def __init__(self) -> None:
        self._buffer = b""  # the beginning of a request, at most 259 bytes
        self._offset = 0  # where it begins in the stream

    def feed(self, data: bytes) -> Fed:
        if self._buffer:
            data = self._buffer + data
        size, at = len(data), 0
        messages: list[Message] = []
        while size - at >= 7:
            _, protocol, length, unit = _MBAP.unpack_from(data, at)
            if protocol or not _SMALLEST <= length <= _LARGEST:
                raise _wrong(
                    f"header with protocol {protocol}, length {length} at offset {self._offset + at}"
                )
            end = at + 6 + length
            if end > size:
                break
            if length <= _REMEMBERED:
                messages += _repeated(data[at + 6 : end])
            else:
                messages += _request(unit, data[at + 7 : end])
            at = end
        self._buffer = data[at:]
        self._offset += at
        return Fed(tuple(messages), self._offset)

    @staticmethod
    def recognise(prefix: bytes, server_port: int) -> bool | None:
        """By its header on port 502; elsewhere the first request must be whole and a public function."""
        usual = server_port == PORT
        if prefix[2:4] != b"\0\0"[: len(prefix[2:4])]:
            return False
        if len(prefix) < 8:
            return None if prefix[4:5] in (b"", b"\0") else False
        length, function = prefix[4] << 8 | prefix[5], prefix[7]
        if not _SMALLEST <= length <= _LARGEST or function >= 128:
            return False
        if usual:
            return True  # with function 0, which none has, it is malformed and not unknown
        if function not in _FUNCTIONS and function != _ENCAPSULATED:
            return False
        if len(prefix) < 6 + length:
            return None
        try:
            _request(prefix[6], prefix[7 : 6 + length])
        except Malformed:
            return False
        return True
