"""BACnet/IP: which service a client asks of which object and property.

Knows nothing of devices and of who may ask. Follows ANSI/ASHRAE 135-2020 (the clause numbers below):
annex J (IP), clause 6 (network layer), clauses 13-17 and 20 (application layer).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from controller.dpi.bacnet_names import OBJECTS, PROPERTIES
from controller.dpi.cursor import Cursor, text
from controller.dpi.dissector import Datagram
from controller.dpi.frame import ip_text
from controller.dpi.message import Malformed, Message, Operation

PORT = 47808
_NAME = "bacnet"
_BACNET_IP = 0x81
_LARGEST = 1536  # bytes of a message: at most 1497 of the network layer (table 6-1), and what is before
_ANSWER = Datagram((), answer=True)
_UNASSIGNED = "-"


class _On(NamedTuple):
    """What one part of a request is on."""

    resource: str
    detail: Mapping[str, object] = {}


_Items = Iterator[_On]


class _Tags(Cursor):
    """The parameters of a service (20.2.1)."""

    __slots__ = ()

    def _tag(self) -> tuple[int, int, int]:
        """Number, kind (0: of the application, 1: of the context, 6: opening, 7: closing), bytes."""
        first = self.byte()
        number, size = first >> 4, first & 7
        if number == 15:
            number = self.byte()
        if first & 8 and size > 5:
            return number, size, 0
        if size == 5:
            size = self.byte()
            if size == 254:
                size = self.big(2)
            elif size == 255:
                size = self.big(4)
        elif size > 5:
            raise self.wrong(f"tag {first:#x}")
        if not first & 8 and number == 1:  # a boolean is its own length
            size = 0
        return number, 1 if first & 8 else 0, size

    def has(self, number: int, kind: int = 1) -> bool:
        """Whether a tag of this kind comes next; then it is taken, unless it has a value."""
        if not self.left:
            return False
        at = self.at
        found, what, _ = self._tag()
        fits = (found, what) == (number, kind)
        if not fits or kind < 6:
            self.at = at
        return fits

    def value(self, number: int, kind: int = 1) -> bytes:
        found, what, size = self._tag()
        if (found, what) != (number, kind):
            raise self.wrong(f"tag {found} where {number} must be")
        return self.take(size)

    def number(self, tag: int, kind: int = 1) -> int:
        """20.2.4"""
        found = self.value(tag, kind)
        if not 0 < len(found) <= 8:
            raise self.wrong(f"a number of {len(found)} bytes")
        return int.from_bytes(found, "big")

    def optional(self, tag: int) -> int | None:
        return self.number(tag) if self.has(tag) else None

    def object(self, tag: int, kind: int = 1) -> str:
        """20.2.14: ten bits of type, the others are the instance."""
        found = self.value(tag, kind)
        if len(found) != 4:
            raise self.wrong(f"an object identifier of {len(found)} bytes")
        value = int.from_bytes(found, "big")
        return f"{_object_type(value >> 22)} {value & 0x3FFFFF}"

    def property(self, tag: int) -> str:
        """A property, and which element of it, if it is an array and not all of it is meant."""
        number = self.number(tag)
        name = PROPERTIES[number] if number < len(PROPERTIES) else _UNASSIGNED
        name = f"property-{number}" if name == _UNASSIGNED else name
        index = self.optional(tag + 1)
        return name if index is None else f"{name}[{index}]"

    def text(self, tag: int, kind: int = 1) -> str:
        """20.2.9: one byte says in which characters."""
        found = self.value(tag, kind)
        if found[:1] == b"\0":
            return text(found[1:])
        if found[:1] == b"\4" and len(found) % 2:
            return text(found[1:].decode("utf-16-be", "replace").encode())
        return found.hex()

    def open(self, tag: int) -> None:
        if not self.has(tag, 6):
            raise self.wrong(f"no opening tag {tag}")

    def skip_constructed(self, tag: int) -> None:
        """What is left inside of an opening tag, and its closing tag."""
        inside = [tag]
        while inside:
            number, kind, size = self._tag()
            if kind == 6:
                inside.append(number)
            elif kind < 6:
                self.skip(size)
            elif inside.pop() != number:
                raise self.wrong(f"a closing tag {number} that closes nothing")

    def skip_all(self) -> None:
        """Everything until the end, as long as it is made of tags."""
        while self.left:
            number, kind, size = self._tag()
            if kind < 6:
                self.skip(size)
            elif kind == 6:
                self.skip_constructed(number)
            else:
                raise self.wrong(f"a closing tag {number} that closes nothing")


def _object_type(number: int) -> str:
    return OBJECTS[number] if number < len(OBJECTS) else f"object-type-{number}"


def _rest(tags: _Tags) -> _Items:
    tags.skip_all()
    return iter(())


def _first_object(tags: _Tags) -> _Items:
    """14.1, 14.2, 13.20, 15.4: an object identifier, then what is done with it."""
    yield _On(tags.object(12, 0))
    tags.skip_all()


def _context_object(tags: _Tags) -> _Items:
    yield _On(tags.object(0))
    tags.skip_all()


def _property(tags: _Tags) -> _Items:
    """15.5, 15.1, 15.2, 15.8: an object and a property; what else there is does not change that."""
    yield _On(f"{tags.object(0)} {tags.property(1)}")
    tags.skip_all()


def _write_property(tags: _Tags) -> _Items:
    """15.9"""
    resource = f"{tags.object(0)} {tags.property(1)}"
    tags.open(3)
    tags.skip_constructed(3)
    priority = tags.optional(4)
    yield _On(resource, {} if priority is None else {"priority": priority})


def _read_multiple(tags: _Tags) -> _Items:
    """15.7"""
    while tags.left:
        found = tags.object(0)
        tags.open(1)
        while not tags.has(1, 7):
            yield _On(f"{found} {tags.property(0)}")


def _write_multiple(tags: _Tags) -> _Items:
    """15.10"""
    while tags.left:
        found = tags.object(0)
        tags.open(1)
        while not tags.has(1, 7):
            resource = f"{found} {tags.property(0)}"
            tags.open(2)
            tags.skip_constructed(2)
            priority = tags.optional(3)
            yield _On(resource, {} if priority is None else {"priority": priority})


def _create(tags: _Tags) -> _Items:
    """15.3: by type, or by identifier."""
    tags.open(0)
    by_type = tags.optional(0)
    yield _On(tags.object(1) if by_type is None else _object_type(by_type))
    if not tags.has(0, 7):
        raise tags.wrong("no closing tag 0")
    tags.skip_all()


def _subscribe(tags: _Tags) -> _Items:
    """13.14, 13.15: with neither confirmation nor lifetime it is a cancellation."""
    process = tags.number(0)
    found = tags.object(1)
    cancelled = not tags.left
    confirmed, lifetime = tags.optional(2), tags.optional(3)
    if tags.has(4, 6):
        cancelled = confirmed is None and lifetime is None
        found += f" {tags.property(0)}"
        tags.skip_constructed(4)
    tags.skip_all()
    yield _On(found, {"process": process, **({"cancelled": True} if cancelled else {})})


def _subscribe_multiple(tags: _Tags) -> _Items:
    """13.16"""
    process = tags.number(0)
    cancelled = all([tags.optional(1) is None, tags.optional(2) is None])
    tags.optional(3)
    detail = {"process": process, **({"cancelled": True} if cancelled else {})}
    tags.open(4)
    while not tags.has(4, 7):
        found = tags.object(0)
        tags.open(1)
        while not tags.has(1, 7):
            tags.open(0)
            resource = f"{found} {tags.property(0)}"
            tags.skip_constructed(0)
            tags.optional(1)
            tags.optional(2)
            yield _On(resource, detail)


def _notification(tags: _Tags) -> _Items:
    """13.6, 13.8, and their unconfirmed kinds: of which object of which device."""
    process, device = tags.number(0), tags.object(1)
    yield _On(tags.object(2), {"process": process, "device": device})
    tags.skip_all()


def _notification_multiple(tags: _Tags) -> _Items:
    """13.17, 13.18"""
    detail = {"process": tags.number(0), "device": tags.object(1)}
    tags.number(2)
    if tags.has(3, 6):
        tags.skip_constructed(3)
    tags.open(4)
    while not tags.has(4, 7):
        yield _On(tags.object(0), detail)
        tags.open(1)
        tags.skip_constructed(1)


def _acknowledge(tags: _Tags) -> _Items:
    """13.3"""
    tags.number(0)
    yield _On(tags.object(1))
    tags.skip_all()


def _life_safety(tags: _Tags) -> _Items:
    """13.13"""
    tags.number(0)
    source, operation = tags.text(1), tags.number(2)
    yield _On(tags.object(3) if tags.has(3) else "", {"source": source, "operation": operation})
    tags.skip_all()


def _named(*names: str, tag: int) -> Callable[[_Tags], _Items]:
    """16.1, 16.4: which of a few things the device shall do."""

    def found(tags: _Tags) -> _Items:
        for before in range(tag):
            tags.optional(before)
        number = tags.number(tag)
        yield _On(names[number] if number < len(names) else f"state {number}")
        tags.skip_all()

    return found


def _private(tags: _Tags) -> _Items:
    """16.2: what follows is the vendor's own, and not always made of tags."""
    yield _On(f"vendor {tags.number(0)} service {tags.number(1)}")
    tags.skip(tags.left)


def _who_is(tags: _Tags) -> _Items:
    """16.10"""
    low, high = tags.optional(0), tags.optional(1)
    if (low is None) != (high is None):
        raise tags.wrong("only one limit")
    tags.done()
    if low is not None:
        yield _On(f"device {low}" if low == high else f"device {low}-{high}")


def _who_has(tags: _Tags) -> _Items:
    """16.9"""
    low, high = tags.optional(0), tags.optional(1)
    detail = {} if low is None else {"devices": f"{low}-{high}"}
    yield _On(tags.object(2) if tags.has(2) else f'"{tags.text(3)}"', detail)
    tags.done()


def _i_have(tags: _Tags) -> _Items:
    """16.9"""
    device = tags.object(12, 0)
    yield _On(tags.object(12, 0), {"device": device, "name": tags.text(7, 0)})
    tags.done()


def _group(tags: _Tags) -> _Items:
    """15.11"""
    yield _On(f"group {tags.number(0)}")
    tags.skip_all()


_READ, _WRITE, _EXECUTE = Operation.READ, Operation.WRITE, Operation.EXECUTE
_SUBSCRIBE, _NOTIFY = Operation.SUBSCRIBE, Operation.NOTIFY
_LOOKUP, _ANNOUNCE = Operation.LOOKUP, Operation.ANNOUNCE
_Service = tuple[str, Operation, Callable[[_Tags], _Items]]
_STATES = ("coldstart", "warmstart", "start-backup", "end-backup", "start-restore", "end-restore",
           "abort-restore", "activate-changes")  # fmt: skip

# Clause 21: BACnetConfirmedServiceChoice
_CONFIRMED: Mapping[int, _Service] = {
    0: ("AcknowledgeAlarm", _EXECUTE, _acknowledge),
    1: ("ConfirmedCOVNotification", _NOTIFY, _notification),
    2: ("ConfirmedEventNotification", _NOTIFY, _notification),
    3: ("GetAlarmSummary", _READ, _rest),
    4: ("GetEnrollmentSummary", _READ, _rest),
    5: ("SubscribeCOV", _SUBSCRIBE, _subscribe),
    6: ("AtomicReadFile", _READ, _first_object),
    7: ("AtomicWriteFile", _WRITE, _first_object),
    8: ("AddListElement", _WRITE, _property),
    9: ("RemoveListElement", _WRITE, _property),
    10: ("CreateObject", _WRITE, _create),
    11: ("DeleteObject", Operation.DELETE, _first_object),
    12: ("ReadProperty", _READ, _property),
    13: ("ReadPropertyConditional", _READ, _rest),
    14: ("ReadPropertyMultiple", _READ, _read_multiple),
    15: ("WriteProperty", _WRITE, _write_property),
    16: ("WritePropertyMultiple", _WRITE, _write_multiple),
    17: ("DeviceCommunicationControl", _EXECUTE, _named("enable", "disable", "disable-initiation", tag=1)),
    18: ("ConfirmedPrivateTransfer", _EXECUTE, _private),
    19: ("ConfirmedTextMessage", _NOTIFY, _context_object),
    20: ("ReinitializeDevice", _EXECUTE, _named(*_STATES, tag=0)),
    21: ("VT-Open", Operation.CONNECT, _rest),
    22: ("VT-Close", Operation.CONNECT, _rest),
    23: ("VT-Data", _EXECUTE, _rest),
    24: ("Authenticate", Operation.CONNECT, _rest),
    25: ("RequestKey", Operation.CONNECT, _rest),
    26: ("ReadRange", _READ, _property),
    27: ("LifeSafetyOperation", _EXECUTE, _life_safety),
    28: ("SubscribeCOVProperty", _SUBSCRIBE, _subscribe),
    29: ("GetEventInformation", _READ, _rest),
    30: ("SubscribeCOVPropertyMultiple", _SUBSCRIBE, _subscribe_multiple),
    31: ("ConfirmedCOVNotificationMultiple", _NOTIFY, _notification_multiple),
    32: ("ConfirmedAuditNotification", _NOTIFY, _rest),
    33: ("AuditLogQuery", _READ, _context_object),
}

# Clause 21: BACnetUnconfirmedServiceChoice
_UNCONFIRMED: Mapping[int, _Service] = {
    0: ("I-Am", _ANNOUNCE, _first_object),
    1: ("I-Have", _ANNOUNCE, _i_have),
    2: ("UnconfirmedCOVNotification", _NOTIFY, _notification),
    3: ("UnconfirmedEventNotification", _NOTIFY, _notification),
    4: ("UnconfirmedPrivateTransfer", _EXECUTE, _private),
    5: ("UnconfirmedTextMessage", _NOTIFY, _context_object),
    6: ("TimeSynchronization", _WRITE, _rest),
    7: ("Who-Has", _LOOKUP, _who_has),
    8: ("Who-Is", _LOOKUP, _who_is),
    9: ("UTCTimeSynchronization", _WRITE, _rest),
    10: ("WriteGroup", _WRITE, _group),
    11: ("UnconfirmedCOVNotificationMultiple", _NOTIFY, _notification_multiple),
    12: ("UnconfirmedAuditNotification", _NOTIFY, _rest),
    13: ("Who-Am-I", _LOOKUP, _rest),
    14: ("You-Are", _WRITE, _rest),
}

# 6.4: messages of the network layer, and whether a network's number follows
_NETWORK: Mapping[int, tuple[str, Operation, bool]] = {
    0x00: ("Who-Is-Router-To-Network", _LOOKUP, True),
    0x01: ("I-Am-Router-To-Network", _ANNOUNCE, True),
    0x02: ("I-Could-Be-Router-To-Network", _ANNOUNCE, True),
    0x04: ("Router-Busy-To-Network", _ANNOUNCE, True),
    0x05: ("Router-Available-To-Network", _ANNOUNCE, True),
    0x06: ("Initialize-Routing-Table", _WRITE, False),
    0x08: ("Establish-Connection-To-Network", Operation.CONNECT, True),
    0x09: ("Disconnect-Connection-To-Network", Operation.CONNECT, True),
    0x12: ("What-Is-Network-Number", _LOOKUP, False),
    0x13: ("Network-Number-Is", _ANNOUNCE, True),
}
_REJECT, _ROUTING_TABLE_ACK = 0x03, 0x07

# Annex J.2: what is asked of the other end itself, as a broadcast management device
_VIRTUAL_LINK: Mapping[int, tuple[str, Operation]] = {
    0x01: ("Write-Broadcast-Distribution-Table", _WRITE),
    0x02: ("Read-Broadcast-Distribution-Table", _READ),
    0x05: ("Register-Foreign-Device", Operation.REGISTER),
    0x06: ("Read-Foreign-Device-Table", _READ),
    0x08: ("Delete-Foreign-Device-Table-Entry", Operation.DELETE),
}
_RESULTS = frozenset({0x00, 0x03, 0x07})
_FORWARDED, _SECURED = 0x04, 0x0C
_CARRIES = frozenset({_FORWARDED, 0x09, 0x0A, 0x0B})


def _message(verb: str, operation: Operation, resource: str, detail: Mapping[str, object]) -> Message:
    return Message(_NAME, verb, operation, resource, None, None, False, detail)


def _service(service: _Service, tags: _Tags, where: str) -> Datagram:
    verb, operation, items = service
    found = list(items(tags))
    tags.done()
    messages = []
    for on in found or [_On("")]:
        cancels = operation is _SUBSCRIBE and "cancelled" in on.detail
        messages.append(
            _message(verb, Operation.UNSUBSCRIBE if cancels else operation, where + on.resource, on.detail)
        )
    return Datagram(tuple(messages))


def _application(cursor: Cursor, where: str) -> Datagram:
    """20.1"""
    first = cursor.byte()
    kind = first >> 4
    if kind == 0:  # 20.1.2
        cursor.skip(2)
        segment = cursor.take(2) if first & 0x08 else b""
        number = cursor.byte()
        service = _CONFIRMED.get(number)
    elif kind == 1:  # 20.1.3
        segment = b""
        number = cursor.byte()
        service = _UNCONFIRMED.get(number)
    elif kind < 8:  # 20.1.4-20.1.9
        return _ANSWER
    else:
        raise cursor.wrong(f"message of type {kind}")
    if service is None:
        verb = f"{'Confirmed' if kind == 0 else 'Unconfirmed'} Service {number}"
        return Datagram((_message(verb, _EXECUTE, where, {}),))
    if segment:  # what it is on may be cut anywhere, and be more than one can see
        detail = {"segment": segment[0], "more": bool(first & 0x04)}
        return Datagram((_message(service[0], service[1], f"{where}(in segments)", detail),))
    return _service(service, _Tags(_NAME, cursor.data, cursor.at, cursor.end), where)


def _network_layer(cursor: Cursor) -> Datagram:
    """6.2"""
    version, control = cursor.byte(), cursor.byte()
    if version != 1 or control & 0x50:
        raise cursor.wrong(f"network version {version}, control {control:#x}")
    where = ""
    if control & 0x20:
        network, address = cursor.big(2), cursor.take(cursor.byte())
        if network != 0xFFFF:
            station = str(address[0]) if len(address) == 1 else address.hex()
            where = f"network {network} {f'station {station} ' if address else ''}"
    if control & 0x08:
        cursor.skip(2)
        cursor.skip(cursor.byte())
    if control & 0x20:
        cursor.skip(1)
    if not control & 0x80:
        return _application(cursor, where)
    kind = cursor.byte()
    if kind in (_REJECT, _ROUTING_TABLE_ACK):
        return _ANSWER
    verb, operation, numbered = _NETWORK.get(kind) or (f"Network Message {kind}", _EXECUTE, False)
    resource = f"network {cursor.big(2)}" if numbered and cursor.left >= 2 else ""
    return Datagram((_message(verb, operation, where + resource, {}),))


def _read(payload: bytes) -> Datagram:
    """J.2"""
    cursor = Cursor(_NAME, payload)
    cursor.skip(1)
    function, size = cursor.byte(), cursor.big(2)
    if size != len(payload) or size > _LARGEST:
        raise cursor.wrong(f"{len(payload)} bytes, of which the header says {size}")
    if function in _CARRIES:
        if function == _FORWARDED:
            cursor.skip(6)
        return _network_layer(cursor)
    if function in _RESULTS:
        return _ANSWER
    if function == _SECURED:
        return Datagram((Message(_NAME, "Secure-BVLL", Operation.CONNECT, "", opaque=True),))
    known = _VIRTUAL_LINK.get(function)
    if known is None:
        raise cursor.wrong(f"function {function:#x}")
    resource = ""
    if known[1] is Operation.DELETE:
        resource = f"{ip_text(cursor.take(4))}:{cursor.big(2)}"
    return Datagram((_message(*known, resource, {}),))


def datagram(payload: bytes, src_port: int, dst_port: int) -> Datagram | None:
    """One message on port 47808, or on another if all of it is as it must be. Raises Malformed.

    Any client may happen to ask from that port, so its first byte must fit there too.
    """
    if payload[:1] != bytes([_BACNET_IP]):
        return None
    if PORT in (src_port, dst_port):
        return _read(payload)
    if payload[2:4] != len(payload).to_bytes(2, "big") or payload[4:5] != b"\1":
        return None
    try:
        return _read(payload)
    except Malformed:
        return None
