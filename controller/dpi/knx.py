"""KNXnet/IP: which group or device of a building's bus a client reads or writes.

Knows nothing of connections and of what groups are for. Follows the KNX Standard v2.1 (= ISO 22510,
EN 50090-3-3): 3/8 (KNXnet/IP; the section numbers below), 3/6/3 (cEMI), 3/3/7 (application layer).
"""

from collections.abc import Mapping
from typing import ClassVar

from controller.dpi.cursor import Cursor
from controller.dpi.dissector import Datagram
from controller.dpi.framed import FramedStream
from controller.dpi.message import Malformed, Message, Operation

PORT = 3671
_NAME = "knx"
_START = b"\x06\x10"  # 3/8/2, 2.3: size of the header, version
_LARGEST = 1024  # bytes of a message; the longest that exist have about 300

_READ, _WRITE, _EXECUTE = Operation.READ, Operation.WRITE, Operation.EXECUTE
_CONNECT, _LOOKUP, _NOTIFY = Operation.CONNECT, Operation.LOOKUP, Operation.NOTIFY

_CONNECT_REQUEST, _CONFIGURE, _TUNNEL, _ROUTING, _SECURE = 0x0205, 0x0310, 0x0420, 0x0530, 0x0950
_FEATURES = frozenset({0x0422, 0x0424})

# 3/8/1, 5.3-5.7: service -> name, what it asks for
_SERVICES: Mapping[int, tuple[str, Operation]] = {
    0x0201: ("SEARCH_REQUEST", _LOOKUP),
    0x020B: ("SEARCH_REQUEST_EXTENDED", _LOOKUP),
    0x0203: ("DESCRIPTION_REQUEST", _LOOKUP),
    _CONNECT_REQUEST: ("CONNECT_REQUEST", _CONNECT),
    0x0207: ("CONNECTIONSTATE_REQUEST", _CONNECT),
    0x0209: ("DISCONNECT_REQUEST", _CONNECT),
    _CONFIGURE: ("DEVICE_CONFIGURATION_REQUEST", _EXECUTE),
    _TUNNEL: ("TUNNELLING_REQUEST", _EXECUTE),
    0x0422: ("TUNNELLING_FEATURE_GET", _READ),
    0x0424: ("TUNNELLING_FEATURE_SET", _WRITE),
    _ROUTING: ("ROUTING_INDICATION", _EXECUTE),
    0x0531: ("ROUTING_LOST_MESSAGE", _NOTIFY),
    0x0532: ("ROUTING_BUSY", _NOTIFY),
    0x0533: ("ROUTING_SYSTEM_BROADCAST", _EXECUTE),
    0x0740: ("REMOTE_DIAGNOSTIC_REQUEST", _READ),
    0x0742: ("REMOTE_BASIC_CONFIGURATION_REQUEST", _WRITE),
    0x0743: ("REMOTE_RESET_REQUEST", _EXECUTE),
    _SECURE: ("SECURE_WRAPPER", _CONNECT),
    0x0951: ("SESSION_REQUEST", _CONNECT),
    0x0953: ("SESSION_AUTHENTICATE", _CONNECT),
    0x0954: ("SESSION_STATUS", _CONNECT),
    0x0955: ("TIMER_NOTIFY", _NOTIFY),
}
_ANSWERS = frozenset({
    0x0202, 0x0204, 0x0206, 0x0208, 0x020A, 0x020C, 0x0311, 0x0421, 0x0423, 0x0425, 0x0741, 0x0952,
})  # fmt: skip

# 3/8/2, 7.5: what a connection is for
_KINDS: Mapping[int, str] = {
    3: "device management",
    4: "tunnel",
    6: "remote logging",
    7: "remote configuration",
    8: "object server",
}
_LAYERS: Mapping[int, str] = {0x02: "link layer", 0x04: "raw", 0x80: "bus monitor"}  # 3/8/4, 4.4.3

# 3/6/3, 4.1.4 and 4.1.7: message codes
_DATA_REQUEST, _DATA_INDICATION, _DATA_CONFIRMATION = 0x11, 0x29, 0x2E
_DATA = frozenset({_DATA_REQUEST, _DATA_INDICATION, _DATA_CONFIRMATION})
_LOCAL: Mapping[int, tuple[str, Operation]] = {
    0xFC: ("M_PropRead", _READ),
    0xF6: ("M_PropWrite", _WRITE),
    0xF8: ("M_FuncPropCommand", _EXECUTE),
    0xF9: ("M_FuncPropStateRead", _READ),
    0xF1: ("M_Reset", _EXECUTE),
    0x10: ("L_Raw", _EXECUTE),
    0x13: ("L_PollData", _READ),
    0x41: ("T_Data_Connected", _EXECUTE),
    0x4A: ("T_Data_Individual", _EXECUTE),
}
_ON_PROPERTIES = frozenset({0xFC, 0xF6, 0xF8, 0xF9})
_REPORTS = frozenset({0x25, 0x2B, 0x2D, 0x2F, 0x89, 0x94, 0xF0, 0xF5, 0xF7, 0xFA, 0xFB})

# 3/3/7, 2: services of four bits, whose other six are data; then those of ten bits
_SHORT: Mapping[int, tuple[str, Operation]] = {
    0: ("GroupValueRead", _READ),
    1: ("GroupValueResponse", _NOTIFY),
    2: ("GroupValueWrite", _WRITE),
    3: ("IndividualAddressWrite", _WRITE),
    4: ("IndividualAddressRead", _READ),
    5: ("IndividualAddressResponse", _NOTIFY),
    6: ("ADCRead", _READ),
    7: ("ADCResponse", _NOTIFY),
    8: ("MemoryRead", _READ),
    9: ("MemoryResponse", _NOTIFY),
    10: ("MemoryWrite", _WRITE),
    12: ("DeviceDescriptorRead", _READ),
    13: ("DeviceDescriptorResponse", _NOTIFY),
}
_LONG: Mapping[int, tuple[str, Operation]] = {
    0x2C0: ("UserMemoryRead", _READ),
    0x2C1: ("UserMemoryResponse", _NOTIFY),
    0x2C2: ("UserMemoryWrite", _WRITE),
    0x2C5: ("UserManufacturerInfoRead", _READ),
    0x2C6: ("UserManufacturerInfoResponse", _NOTIFY),
    0x2C7: ("FunctionPropertyCommand", _EXECUTE),
    0x2C8: ("FunctionPropertyStateRead", _READ),
    0x2C9: ("FunctionPropertyStateResponse", _NOTIFY),
    0x380: ("Restart", _EXECUTE),
    0x381: ("Restart", _EXECUTE),
    0x3A1: ("RestartResponse", _NOTIFY),
    0x3D1: ("AuthorizeRequest", _CONNECT),
    0x3D2: ("AuthorizeResponse", _NOTIFY),
    0x3D3: ("KeyWrite", _WRITE),
    0x3D4: ("KeyResponse", _NOTIFY),
    0x3D5: ("PropertyValueRead", _READ),
    0x3D6: ("PropertyValueResponse", _NOTIFY),
    0x3D7: ("PropertyValueWrite", _WRITE),
    0x3D8: ("PropertyDescriptionRead", _READ),
    0x3D9: ("PropertyDescriptionResponse", _NOTIFY),
    0x3DC: ("IndividualAddressSerialNumberRead", _READ),
    0x3DD: ("IndividualAddressSerialNumberResponse", _NOTIFY),
    0x3DE: ("IndividualAddressSerialNumberWrite", _WRITE),
    0x3F1: ("SecureService", _EXECUTE),
}
_WITH_PROPERTY = frozenset({0x2C7, 0x2C8, 0x2C9, 0x3D5, 0x3D6, 0x3D7, 0x3D8, 0x3D9})
# 3/3/4, 2: transport control without data
_CONTROL = ("T_Connect", "T_Disconnect", "T_ACK", "T_NAK")


def _group(address: int) -> str:
    """3/5/1: main, middle and sub group."""
    return f"{address >> 11}/{address >> 8 & 7}/{address & 255}"


def _individual(address: int) -> str:
    return f"{address >> 12}.{address >> 8 & 15}.{address & 255}"


def _application(tpdu: Cursor, target: str) -> tuple[str, Operation, str]:
    """3/3/7, 2: the name of the service, what it asks for, and what it is on."""
    first = tpdu.byte()
    if not tpdu.left:
        if not first & 0x80:
            raise tpdu.wrong("data without a service")
        return _CONTROL[first & 3], _CONNECT, target
    code = (first & 3) << 8 | tpdu.byte()
    known = _LONG.get(code) if code >> 6 in (11, 14, 15) else _SHORT.get(code >> 6)
    if known is None:
        return f"Service 0x{code:03X}", _EXECUTE, target
    verb, operation = known
    if code in _WITH_PROPERTY:
        target += f" object {tpdu.byte()} property {tpdu.byte()}"
    elif verb.startswith("Memory"):
        start, count = tpdu.big(2), code & 63
        target += f" memory {start}-{start + max(count, 1) - 1}"
    return verb, operation, target


def _bus_data(cemi: Cursor) -> tuple[str, Operation, str, Mapping[str, object]]:
    """3/6/3, 4.1.5: one telegram of the bus."""
    _, control = cemi.byte(), cemi.byte()
    source, target = cemi.big(2), cemi.big(2)
    size = cemi.byte()
    text = _group(target) if control & 0x80 else _individual(target)
    if size == 0xFF:
        raise cemi.wrong("a telegram of reserved size")
    tpdu = cemi.part(size + 1)
    cemi.done()
    return *_application(tpdu, text), {"source": _individual(source)}


def _cemi(cemi: Cursor, service: int) -> Datagram:
    """3/6/3, 4.1: what a client asks the bus, or what the bus tells it."""
    code = cemi.byte()
    if code in _DATA:
        cemi.skip(cemi.byte())
        verb, operation, resource, detail = _bus_data(cemi)
        told = service == _TUNNEL and code != _DATA_REQUEST
        message = Message(_NAME, verb, _NOTIFY if told else operation, resource, None, None, False, detail)
        return Datagram((message,), answer=told)
    if code in _REPORTS:
        return Datagram((), answer=True)
    known = _LOCAL.get(code)
    if known is None:
        raise cemi.wrong(f"message code {code:#x}")
    resource = ""
    if code in _ON_PROPERTIES:  # 4.1.7.3
        kind, instance, identifier = cemi.big(2), cemi.byte(), cemi.byte()
        resource = f"object {kind} instance {instance} property {identifier}"
    return Datagram((Message(_NAME, *known, resource),))


def _connect(cursor: Cursor) -> Datagram:
    """3/8/2, 7.8.1: where answers go to, then what the connection is for."""
    for _ in range(2):
        size = cursor.byte()
        if size < 2:
            raise cursor.wrong(f"address of {size} bytes")
        cursor.skip(size - 1)
    size, kind = cursor.byte(), cursor.byte()
    rest = cursor.part(size - 2)
    cursor.done()
    resource = _KINDS.get(kind) or f"connection type {kind}"
    layer = _LAYERS.get(rest.byte()) if kind == 4 and rest.left else None
    detail = {} if layer is None else {"layer": layer}
    verb, operation = _SERVICES[_CONNECT_REQUEST]
    return Datagram((Message(_NAME, verb, operation, resource, None, None, False, detail),))


def _read(data: bytes) -> Datagram:
    """3/8/2, 2: one whole message."""
    cursor = Cursor(_NAME, data)
    start, service, size = cursor.take(2), cursor.big(2), cursor.big(2)
    if start != _START or size != len(data):
        raise cursor.wrong(f"header {start.hex()}, {size} bytes instead of {len(data)}")
    if service in _ANSWERS:
        return Datagram((), answer=True)
    known = _SERVICES.get(service)
    if known is None:
        raise cursor.wrong(f"service {service:#06x}")
    if service == _CONNECT_REQUEST:
        return _connect(cursor)
    if service in (_CONFIGURE, _TUNNEL):  # 3/8/4, 4.4.6: a header of the connection
        if cursor.byte() != 4:
            raise cursor.wrong("header of the connection")
        cursor.skip(3)
        return _cemi(cursor, service)
    if service in (_ROUTING, 0x0533):
        return _cemi(cursor, service)
    resource = ""
    if service in _FEATURES:  # 3/8/4, 4.4.8
        cursor.skip(4)
        resource = f"feature {cursor.byte()}"
    return Datagram((Message(_NAME, *known, resource, None, None, service == _SECURE),))


def datagram(payload: bytes, src_port: int, dst_port: int) -> Datagram | None:
    """One message on port 3671, or on another if all of it is as it must be. Raises Malformed."""
    if PORT in (src_port, dst_port):
        return _read(payload)
    if payload[:2] != _START or payload[4:6] != len(payload).to_bytes(2, "big"):
        return None
    try:
        return _read(payload)
    except Malformed:
        return None


class KnxStream(FramedStream):
    """Reads what one client sends over TCP (3/8/2, 8.8)."""

    HEADER: ClassVar[int] = 6

    def size(self, header: bytes) -> int:
        size = int.from_bytes(header[4:], "big")
        if header[:2] != _START or not self.HEADER <= size <= _LARGEST:
            raise Malformed(f"knx: header {header.hex()}")
        return size

    def read(self, data: bytes, messages: list[Message]) -> bool:
        messages += _read(data).messages
        if messages and messages[-1].opaque:
            self.settle()
        return True


def recognise(prefix: bytes, server_port: int) -> bool | None:
    """By its first header, on any port."""
    del server_port
    if not _START.startswith(prefix[:2]):
        return False
    if len(prefix) < 6:
        return None
    service, size = prefix[2] << 8 | prefix[3], prefix[4] << 8 | prefix[5]
    return service in _SERVICES and 6 <= size <= _LARGEST
