"""The Common Industrial Protocol: which service a client asks of which class, instance or tag.

Knows nothing of what carries it (enip.py does). Follows THE CIP NETWORKS LIBRARY, volume 1, edition 3.30
(the section numbers below); the services on tags are those of Rockwell's publication 1756-PM020.
"""

from collections.abc import Mapping
from typing import NamedTuple

from controller.dpi.cursor import Cursor, text
from controller.dpi.message import Message, Operation

_NAME = "cip"
_REQUESTS_AT_MOST = 256  # inside of each other, in one message
_DEPTH_AT_MOST = 4
_READ, _WRITE, _EXECUTE = Operation.READ, Operation.WRITE, Operation.EXECUTE
_CONNECT, _LOOKUP, _DELETE = Operation.CONNECT, Operation.LOOKUP, Operation.DELETE
_MULTIPLE, _UNCONNECTED_SEND, _FORWARD_CLOSE = 0x0A, 0x52, 0x4E
_FORWARD_OPEN, _LARGE_FORWARD_OPEN = 0x54, 0x5B
_CONNECTION_MANAGER, _SYMBOL = 0x06, 0x6B

# Appendix A: services that are the same for every class
_COMMON: Mapping[int, tuple[str, Operation]] = {
    0x01: ("Get_Attributes_All", _READ),
    0x02: ("Set_Attributes_All", _WRITE),
    0x03: ("Get_Attribute_List", _READ),
    0x04: ("Set_Attribute_List", _WRITE),
    0x05: ("Reset", _EXECUTE),
    0x06: ("Start", _EXECUTE),
    0x07: ("Stop", _EXECUTE),
    0x08: ("Create", _WRITE),
    0x09: ("Delete", _DELETE),
    0x0A: ("Multiple_Service_Packet", _EXECUTE),
    0x0D: ("Apply_Attributes", _WRITE),
    0x0E: ("Get_Attribute_Single", _READ),
    0x10: ("Set_Attribute_Single", _WRITE),
    0x11: ("Find_Next_Object_Instance", _LOOKUP),
    0x15: ("Restore", _EXECUTE),
    0x16: ("Save", _EXECUTE),
    0x17: ("No_Operation", _CONNECT),
    0x18: ("Get_Member", _READ),
    0x19: ("Set_Member", _WRITE),
    0x1A: ("Insert_Member", _WRITE),
    0x1B: ("Remove_Member", _DELETE),
    0x1C: ("GroupSync", _EXECUTE),
}
_TAGS: Mapping[int, tuple[str, Operation]] = {
    0x4C: ("Read_Tag", _READ),
    0x4D: ("Write_Tag", _WRITE),
    0x4E: ("Read_Modify_Write_Tag", _WRITE),
    0x52: ("Read_Tag_Fragmented", _READ),
    0x53: ("Write_Tag_Fragmented", _WRITE),
    0x55: ("Get_Instance_Attribute_List", _LOOKUP),
}
_OF_CLASSES: Mapping[int, Mapping[int, tuple[str, Operation]]] = {
    _SYMBOL: _TAGS,
    _CONNECTION_MANAGER: {  # 3-5.5
        _FORWARD_CLOSE: ("Forward_Close", _CONNECT),
        _UNCONNECTED_SEND: ("Unconnected_Send", _EXECUTE),
        _FORWARD_OPEN: ("Forward_Open", _CONNECT),
        0x56: ("Get_Connection_Data", _READ),
        0x57: ("Search_Connection_Data", _LOOKUP),
        0x5A: ("Get_Connection_Owner", _READ),
        _LARGE_FORWARD_OPEN: ("Large_Forward_Open", _CONNECT),
    },
    0x37: {  # 5-42.4
        0x4B: ("Initiate_Upload", _READ),
        0x4C: ("Initiate_Download", _WRITE),
        0x4D: ("Initiate_Partial_Read", _READ),
        0x4E: ("Initiate_Partial_Write", _WRITE),
        0x4F: ("Upload_Transfer", _READ),
        0x50: ("Download_Transfer", _WRITE),
        0x51: ("Clear_File", _DELETE),
    },
    0x67: {0x4B: ("Execute_PCCC", _EXECUTE)},
}

# Chapter 5: classes that have a public name
_CLASSES: Mapping[int, str] = {
    0x01: "Identity", 0x02: "Message Router", 0x03: "DeviceNet", 0x04: "Assembly", 0x05: "Connection",
    0x06: "Connection Manager", 0x07: "Register", 0x08: "Discrete Input Point", 0x09: "Discrete Output Point",
    0x0A: "Analog Input Point", 0x0B: "Analog Output Point", 0x0E: "Presence Sensing", 0x0F: "Parameter",
    0x10: "Parameter Group", 0x12: "Group", 0x1D: "Discrete Input Group", 0x1E: "Discrete Output Group",
    0x1F: "Discrete Group", 0x20: "Analog Input Group", 0x21: "Analog Output Group", 0x22: "Analog Group",
    0x23: "Position Sensor", 0x24: "Position Controller Supervisor", 0x25: "Position Controller",
    0x26: "Block Sequencer", 0x27: "Command Block", 0x28: "Motor Data", 0x29: "Control Supervisor",
    0x2A: "AC/DC Drive", 0x2B: "Acknowledge Handler", 0x2C: "Overload", 0x2D: "Softstart", 0x2E: "Selection",
    0x30: "S-Device Supervisor", 0x31: "S-Analog Sensor", 0x32: "S-Analog Actuator",
    0x33: "S-Single Stage Controller", 0x34: "S-Gas Calibration", 0x35: "Trip Point", 0x37: "File",
    0x39: "Safety Supervisor", 0x3A: "Safety Validator", 0x42: "Motion Device Axis", 0x43: "Time Sync",
    0x44: "Modbus", 0x47: "Device Level Ring", 0x48: "QoS", 0x4E: "Base Energy", 0x4F: "Electrical Energy",
    0x5D: "CIP Security", 0x5E: "EtherNet/IP Security", 0x5F: "Certificate Management", 0x67: "PCCC",
    0x6B: "Symbol", 0x6C: "Template", 0xF0: "ControlNet", 0xF3: "Connection Configuration", 0xF4: "Port",
    0xF5: "TCP/IP Interface", 0xF6: "Ethernet Link",
}  # fmt: skip

_LOGICAL = ("class", "instance", "member", "connection point", "attribute")


class _Path(NamedTuple):
    """Where a request goes: through which ports, then to what."""

    route: str
    target: str
    cls: int | None  # the class; None if a tag is named


def _logical(path: Cursor, first: int) -> tuple[str, int]:
    """C-1.4.2: what kind of number, and the number."""
    kind, width = first >> 2 & 7, first & 3
    if kind == 5 and first == 0x34:  # an electronic key says which device it must be, not what is asked of it
        path.byte()
        path.skip(8)
        return "", 0
    if kind >= len(_LOGICAL) or width == 3:
        raise path.wrong(f"logical segment {first:#x}")
    if not width:
        return _LOGICAL[kind], path.byte()
    path.skip(1)  # in a padded path
    return _LOGICAL[kind], path.little(2 * width)


def _port(path: Cursor, first: int) -> str:
    """C-1.4.1"""
    number = first & 15
    size = path.byte() if first & 0x10 else 1
    if number == 15:
        number = path.little(2)
    link = path.take(size)
    if first & 0x10 and size & 1:
        path.skip(1)
    return f"{number}/{link[0] if size == 1 else text(link)}"


def _path(path: Cursor) -> _Path:
    """C-1.4: a padded path."""
    route: list[str] = []
    target = ""
    cls: int | None = None
    named = False
    while path.left:
        first = path.byte()
        if first < 0x20:
            route.append(_port(path, first))
        elif first < 0x40:
            kind, number = _logical(path, first)
            if kind == "class":
                cls = number if cls is None else cls
                target += f" {_CLASSES.get(number) or f'class 0x{number:02X}'}"
            elif named and kind == "member":
                target += f"[{number}]"
            elif kind:
                target += f" {kind} {number}"
        elif first < 0x60:  # C-1.4.3: of the network, not of the target
            path.skip(2 * path.byte() if first & 0x10 else 1)
        elif first == 0x91:  # C-1.4.5.3
            size = path.byte()
            name = text(path.take(size))
            path.skip(size & 1)
            target += f".{name}" if named else f" {name}"
            named = True
        elif first == 0x80:  # C-1.4.5.1: for whom a connection is opened
            path.skip(2 * path.byte())
        else:
            raise path.wrong(f"segment {first:#x} in a path")
    return _Path(f"route {' '.join(route)} " if route else "", target.strip(), None if named else cls)


def _known(path: _Path, service: int) -> tuple[str, Operation]:
    of_class = _TAGS if path.cls is None else _OF_CLASSES.get(path.cls, {})
    return of_class.get(service) or _COMMON.get(service) or (f"Service 0x{service:02X}", _EXECUTE)


def _opened(request: Cursor, service: int) -> _Path:
    """3-5.5.2, 3-5.5.3: whereto a connection is opened or closed."""
    if service == _FORWARD_CLOSE:
        request.skip(10)
        size = request.byte()
        request.skip(1)
    else:
        request.skip(35 if service == _FORWARD_OPEN else 39)
        size = request.byte()
    return _path(request.part(2 * size))


def read(request: Cursor, messages: list[Message], where: str = "", depth: int = 0) -> bool:
    """One message (2-4): its requests, also those inside; False for a response. Raises Malformed.

    `where`: the way that it takes, in words.
    """
    service, size = request.byte(), request.byte()
    if service & 0x80:
        return False
    path = _path(request.part(2 * size))
    where += path.route
    if depth > _DEPTH_AT_MOST or len(messages) >= _REQUESTS_AT_MOST:
        raise request.wrong("too many requests inside of each other")
    verb, operation = _known(path, service)
    if service == _MULTIPLE and _parts(request, messages, where, depth):
        return True
    target = path.target
    if path.cls == _CONNECTION_MANAGER:
        if service == _UNCONNECTED_SEND:
            _sent_on(request, messages, where, depth)
            return True
        if service in (_FORWARD_OPEN, _LARGE_FORWARD_OPEN, _FORWARD_CLOSE):
            found = _opened(request, service)
            request.done()
            where, target = where + found.route, found.target
    messages.append(Message(_NAME, verb, operation, where + target, None, None, False, {"service": service}))
    return True


def _parts(request: Cursor, messages: list[Message], where: str, depth: int) -> int:
    """A-4.10: a number of requests, each from its offset to the next one's."""
    start = request.at
    count = request.little(2)
    if count > _REQUESTS_AT_MOST:
        raise request.wrong(f"{count} requests in one")
    offsets = [request.little(2) for _ in range(count)]
    ends = [*offsets, request.end - start][1:]
    if count and offsets[0] < 2 + 2 * count:
        raise request.wrong(f"{count} requests in one, of which the first stands before its place")
    for offset, end in zip(offsets, ends, strict=True):
        if not offset < end <= request.end - start:
            raise request.wrong("requests in one that overlap")
        inner = Cursor(_NAME, request.data, start + offset, start + end)
        if not read(inner, messages, where, depth + 1):
            raise request.wrong("a response inside of a request")
    return count


def _sent_on(request: Cursor, messages: list[Message], where: str, depth: int) -> None:
    """3-5.5.4: a request, and the way to whom it is for."""
    request.skip(2)
    size = request.little(2)
    inner = request.part(size)
    request.skip(size & 1)
    words = request.byte()
    request.skip(1)
    path = _path(request.part(2 * words))
    request.done()
    if not read(inner, messages, where + path.route, depth + 1):
        raise request.wrong("a response inside of a request")
