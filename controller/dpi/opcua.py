"""OPC UA over TCP, binary: which service a client calls, on which nodes.

Knows nothing of connections and of who the services are. Follows OPC 10000-6 (release 1.05; the section
numbers below) for the connection and OPC 10000-4 for the services. What a client encrypts is one opaque
message; what it only signs can be read.
"""

from collections.abc import Callable, Iterator, Mapping
from struct import Struct
from typing import ClassVar, NamedTuple

from controller.dpi.cursor import text
from controller.dpi.framed import FramedStream
from controller.dpi.message import Malformed, Message, Operation
from controller.dpi.opcua_values import Values

PORT = 4840
_NAME = "opcua"
_HEADER = Struct("<3scI")  # 7.1.2.2: type, chunk, size of all
_LARGEST = 131072  # bytes of one request, in all its chunks
_ITEMS_AT_MOST = 1000  # nodes in one request
_FIRST, _CHANNEL = frozenset({b"HEL", b"RHE"}), frozenset({b"OPN"})
_INSIDE = frozenset({b"OPN", b"MSG", b"CLO"})
_OPEN, _CREATE_SESSION = 446, 461
_OWN = "Service"  # one that the standard does not know

# Policy (OPC 10000-7) -> bytes of the signature behind each chunk that is signed and not encrypted
_POLICY = "http://opcfoundation.org/UA/SecurityPolicy#"
_NO_SECURITY = f"{_POLICY}None"
_SIGNATURES: Mapping[str, int] = {
    _NO_SECURITY: 0,
    f"{_POLICY}Basic128Rsa15": 20,
    f"{_POLICY}Basic256": 20,
    f"{_POLICY}Basic256Sha256": 32,
    f"{_POLICY}Aes128_Sha256_RsaOaep": 32,
    f"{_POLICY}Aes256_Sha256_RsaPss": 32,
}
_SIGNATURE_AT_MOST = 64  # of others

# OPC 10000-6, annex A.1
_ATTRIBUTES = (
    "", "NodeId", "NodeClass", "BrowseName", "DisplayName", "Description", "WriteMask", "UserWriteMask",
    "IsAbstract", "Symmetric", "InverseName", "ContainsNoLoops", "EventNotifier", "Value", "DataType",
    "ValueRank", "ArrayDimensions", "AccessLevel", "UserAccessLevel", "MinimumSamplingInterval",
    "Historizing", "Executable", "UserExecutable", "DataTypeDefinition", "RolePermissions",
    "UserRolePermissions", "AccessRestrictions", "AccessLevelEx",
)  # fmt: skip
_VALUE = _ATTRIBUTES.index("Value")


class _On(NamedTuple):
    """What one item of a request is on."""

    resource: str
    detail: Mapping[str, object] = {}


_Items = Iterator[_On]


def _attribute(node: str, number: int) -> str:
    """A node's value is what people mean by the node."""
    if number == _VALUE:
        return node
    return f"{_ATTRIBUTES[number] if 0 < number < len(_ATTRIBUTES) else f'attribute {number}'} of {node}"


def _read_value_id(values: Values) -> _On:
    """OPC 10000-4, section 7.29"""
    node = values.node_id()
    attribute, part = values.attribute()
    values.qualified_name()
    return _On(_attribute(node, attribute), {"range": part} if part else {})


def _rest(values: Values) -> _Items:
    """What says no more about nodes than the name of the service does."""
    values.skip(values.left)
    return iter(())


def _endpoint(values: Values) -> _Items:
    """OPC 10000-4, 5.5.2, 5.5.4: the URL that the client used, then lists of texts."""
    yield _On("", {"endpoint": values.string()})
    for _ in range(2):
        for _ in values.items():
            values.skip_bytes()


def _on_network(values: Values) -> _Items:
    """5.5.3"""
    values.skip(8)
    for _ in values.items():
        values.skip_bytes()
    return iter(())


def _register_server(values: Values) -> _Items:
    """5.5.5, 5.5.6"""
    yield _On(values.string())
    values.skip(values.left)


def _read(values: Values) -> _Items:
    """5.11.2"""
    values.skip(12)
    for _ in values.items():
        yield _read_value_id(values)


def _write(values: Values) -> _Items:
    """5.11.4"""
    for _ in values.items():
        node = values.node_id()
        attribute, part = values.attribute()
        values.data_value()
        yield _On(_attribute(node, attribute), {"range": part} if part else {})


def _history_read(values: Values) -> _Items:
    """5.11.3"""
    values.extension_object()
    values.skip(5)
    for _ in values.items():
        node, part = values.node_id(), values.string()
        values.qualified_name()
        values.skip_bytes()
        yield _On(node, {"range": part} if part else {})


def _history_update(values: Values) -> _Items:
    """5.11.5; all details begin with the node (OPC 10000-11, section 6.9)."""
    for _ in values.items():
        _, content = values.extension_object()
        yield _On(Values(content.data[: content.end], content.at).node_id())


def _call(values: Values) -> _Items:
    """5.12.2"""
    for _ in values.items():
        target, method = values.node_id(), values.node_id()
        for _ in values.items():
            values.variant()
        yield _On(f"{method} of {target}")


def _browse(values: Values) -> _Items:
    """5.9.2"""
    values.node_id()
    values.skip(16)
    for _ in values.items():
        node = values.node_id()
        values.skip(4)
        values.node_id()
        values.skip(9)
        yield _On(node)


def _translate(values: Values) -> _Items:
    """5.9.4"""
    for _ in values.items():
        node = values.node_id()
        for _ in values.items():
            values.node_id()
            values.skip(2)
            values.qualified_name()
        yield _On(node)


def _nodes(values: Values) -> _Items:
    """5.9.5, 5.9.6"""
    for _ in values.items():
        yield _On(values.node_id())


def _add_nodes(values: Values) -> _Items:
    """5.8.2: what is added counts as a change of its parent."""
    for _ in values.items():
        parent = values.expanded_node_id()
        values.node_id()
        new = values.expanded_node_id()
        values.qualified_name()
        values.skip(4)
        values.extension_object()
        values.expanded_node_id()
        yield _On(parent, {"new": new})


def _add_references(values: Values) -> _Items:
    """5.8.3"""
    for _ in values.items():
        node = values.node_id()
        values.node_id()
        values.skip(1)
        values.skip_bytes()
        target = values.expanded_node_id()
        values.skip(4)
        yield _On(node, {"target": target})


def _delete_nodes(values: Values) -> _Items:
    """5.8.4"""
    for _ in values.items():
        node = values.node_id()
        values.skip(1)
        yield _On(node)


def _delete_references(values: Values) -> _Items:
    """5.8.5"""
    for _ in values.items():
        node = values.node_id()
        values.node_id()
        values.skip(1)
        target = values.expanded_node_id()
        values.skip(1)
        yield _On(node, {"target": target})


def _monitored_items(values: Values) -> _Items:
    """5.13.2"""
    detail = {"subscription": values.little(4)}
    values.skip(4)
    for _ in values.items():
        item = _read_value_id(values)
        values.skip(16)
        values.extension_object()
        values.skip(5)
        yield _On(item.resource, {**item.detail, **detail})


def _create_session(values: Values) -> _Items:
    """5.7.2: the client describes itself (7.2); then whom it wants, under which name."""
    application = values.string()
    values.skip_bytes()
    values.localized_text()
    values.skip(4)
    values.skip_bytes()
    values.skip_bytes()
    for _ in values.items():
        values.skip_bytes()
    values.skip_bytes()
    endpoint, session = values.string(), values.string()
    values.skip_bytes()
    values.skip_bytes()
    values.skip(12)
    yield _On("", {"application": application, "endpoint": endpoint, "session": session})


def _activate_session(values: Values) -> _Items:
    """5.7.3: as whom (7.41)."""
    values.skip_bytes()
    values.skip_bytes()
    for _ in values.items():
        values.skip_bytes()
        values.skip_bytes()
    for _ in values.items():
        values.skip_bytes()
    kind, token = values.extension_object()
    detail: dict[str, object] = {}
    if kind == "i=324":  # UserNameIdentityToken
        inside = Values(token.data[: token.end], token.at)
        inside.skip_bytes()
        detail["user"] = inside.string()
    values.skip_bytes()
    values.skip_bytes()
    yield _On("", detail)


# Of a request's binary encoding -> its name, what it asks for, what is read from it
_SERVICES: Mapping[int, tuple[str, Operation, Callable[[Values], _Items]]] = {
    422: ("FindServers", Operation.LOOKUP, _endpoint),
    428: ("GetEndpoints", Operation.LOOKUP, _endpoint),
    437: ("RegisterServer", Operation.REGISTER, _register_server),
    _OPEN: ("OpenSecureChannel", Operation.CONNECT, _rest),
    452: ("CloseSecureChannel", Operation.CONNECT, _rest),
    _CREATE_SESSION: ("CreateSession", Operation.CONNECT, _create_session),
    467: ("ActivateSession", Operation.CONNECT, _activate_session),
    473: ("CloseSession", Operation.CONNECT, _rest),
    479: ("Cancel", Operation.CONNECT, _rest),
    488: ("AddNodes", Operation.WRITE, _add_nodes),
    494: ("AddReferences", Operation.WRITE, _add_references),
    500: ("DeleteNodes", Operation.DELETE, _delete_nodes),
    506: ("DeleteReferences", Operation.DELETE, _delete_references),
    527: ("Browse", Operation.LOOKUP, _browse),
    533: ("BrowseNext", Operation.LOOKUP, _rest),
    554: ("TranslateBrowsePathsToNodeIds", Operation.LOOKUP, _translate),
    560: ("RegisterNodes", Operation.REGISTER, _nodes),
    566: ("UnregisterNodes", Operation.UNREGISTER, _nodes),
    615: ("QueryFirst", Operation.LOOKUP, _rest),
    621: ("QueryNext", Operation.LOOKUP, _rest),
    631: ("Read", Operation.READ, _read),
    664: ("HistoryRead", Operation.READ, _history_read),
    673: ("Write", Operation.WRITE, _write),
    700: ("HistoryUpdate", Operation.WRITE, _history_update),
    712: ("Call", Operation.EXECUTE, _call),
    751: ("CreateMonitoredItems", Operation.SUBSCRIBE, _monitored_items),
    763: ("ModifyMonitoredItems", Operation.SUBSCRIBE, _rest),
    769: ("SetMonitoringMode", Operation.SUBSCRIBE, _rest),
    775: ("SetTriggering", Operation.SUBSCRIBE, _rest),
    781: ("DeleteMonitoredItems", Operation.UNSUBSCRIBE, _rest),
    787: ("CreateSubscription", Operation.SUBSCRIBE, _rest),
    793: ("ModifySubscription", Operation.SUBSCRIBE, _rest),
    799: ("SetPublishingMode", Operation.SUBSCRIBE, _rest),
    826: ("Publish", Operation.SUBSCRIBE, _rest),
    832: ("Republish", Operation.SUBSCRIBE, _rest),
    841: ("TransferSubscriptions", Operation.SUBSCRIBE, _rest),
    847: ("DeleteSubscriptions", Operation.UNSUBSCRIBE, _rest),
    12208: ("FindServersOnNetwork", Operation.LOOKUP, _on_network),
    12211: ("RegisterServer2", Operation.REGISTER, _register_server),
}


def _request(values: Values) -> tuple[str, int | None]:
    """The type of a request, and its number if it is one of the standard; then its header (5.33)."""
    kind = values.expanded_node_id()
    values.node_id()
    values.skip(16)
    values.skip_bytes()
    values.skip(4)
    values.extension_object()
    return kind, int(kind[2:]) if kind.startswith("i=") else None


class OpcUaStream(FramedStream):
    """Reads the requests of one client."""

    HEADER: ClassVar[int] = 8

    def __init__(self, resumed: bool = False) -> None:
        super().__init__()
        self._next = _INSIDE if resumed else _FIRST
        self._policy = ""  # of the channel; "" while that is not known
        self._readable = resumed  # whether a request was read already, so that none is encrypted
        self._application: str | None = None  # as which the client introduced itself
        self._parts = bytearray()  # of a request whose last chunk has not come
        self._number: int | None = None  # of that request

    def size(self, header: bytes) -> int:
        kind, chunk, size = _HEADER.unpack(header)
        if kind not in self._next or chunk not in (b"FCA" if kind == b"MSG" else b"F"):  # 6.7.2.2
            raise Malformed(f"opcua: chunk {text(header[:4])} where none may be")
        if not 8 < size <= _LARGEST:
            raise Malformed(f"opcua: chunk of {size} bytes")
        return int(size)

    def read(self, data: bytes, messages: list[Message]) -> bool:
        kind = data[:3]
        if self._number is not None and kind != b"MSG":
            raise Malformed(f"opcua: {text(kind)} inside of request {self._number}")
        if kind in (b"MSG", b"CLO"):
            return self._chunk(data, messages)
        self._next = _CHANNEL if kind == b"HEL" else _INSIDE
        if kind == b"OPN":
            messages.append(self._open(data))
            return True
        values = Values(data, 8)
        if kind == b"HEL":  # 7.1.2.3
            values.skip(20)
            on = _On("", {"endpoint": values.string()})
            messages.append(self._message("Hello", Operation.CONNECT, on))
        else:  # 7.1.2.6: a server calls a client; the requests come from the other side
            on = _On("", {"server": values.string(), "endpoint": values.string()})
            messages.append(self._message("ReverseHello", Operation.CONNECT, on, opaque=True))
            self.settle()
        values.done()
        return True

    def _message(self, verb: str, operation: Operation, on: _On, opaque: bool = False) -> Message:
        return Message(_NAME, verb, operation, on.resource, self._application, None, opaque, on.detail)

    def _open(self, data: bytes) -> Message:
        """6.7.4"""
        values = Values(data, 12)
        policy = values.string()
        for _ in range(2):
            values.skip_bytes()
        if policy == _NO_SECURITY:
            values.skip(8)
            _, number = _request(values)
            if number != _OPEN:
                raise values.wrong("no OpenSecureChannel in an OPN")
        self._policy, self._readable = policy, policy == _NO_SECURITY
        return self._message("OpenSecureChannel", Operation.CONNECT, _On("", self._detail()))

    def _detail(self) -> Mapping[str, object]:
        return {"policy": self._policy.rpartition("#")[2]}

    def _chunk(self, data: bytes, messages: list[Message]) -> bool:
        """6.7.2: a request in one chunk or in several, that are not mixed with those of others."""
        if not self._readable:
            self._first(data, messages)
            return True
        values = Values(data, 8)
        values.skip(12)
        number = values.little(4)
        if self._number not in (None, number):
            raise values.wrong(f"a chunk of request {number} inside of request {self._number}")
        self._number = None
        match data[3:4]:
            case b"A":  # 6.7.3: the client takes it back
                self._parts.clear()
            case b"F" if not self._parts:
                self._service(values, messages)
            case _:
                signature = _SIGNATURES.get(self._policy)
                if signature is None:
                    raise values.wrong("a request in chunks that end nobody knows where")
                self._parts += values.take(values.left - signature)
                if len(self._parts) > _LARGEST:
                    raise values.wrong(f"a request of more than {_LARGEST} bytes")
                if data[3:4] == b"C":
                    self._number = number
                    return False
                self._service(Values(bytes(self._parts) + bytes(signature)), messages)
                self._parts.clear()
        return True

    def _first(self, data: bytes, messages: list[Message]) -> None:
        """The first request of a channel with security shows whether it is encrypted or only signed."""
        found: list[Message] = []
        try:
            self._service(Values(data, 24), found)
        except Malformed:
            found.clear()
        if found and found[0].verb != _OWN:
            self._readable = True
            messages += found
            return
        messages.append(
            self._message("SignAndEncrypt", Operation.CONNECT, _On("", self._detail()), opaque=True)
        )
        self.settle()

    def _service(self, values: Values, messages: list[Message]) -> None:
        """One whole request, and its signature."""
        kind, number = _request(values)
        known = _SERVICES.get(number or 0)
        if number is None:
            raise values.wrong(f"a request of type {kind}")
        if known is None:  # of a later release
            messages.append(self._message(_OWN, Operation.EXECUTE, _On(kind)))
            return
        verb, operation, items = known
        found: list[_On] = []
        for on in items(values):
            found.append(on)
            if len(found) > _ITEMS_AT_MOST:
                raise values.wrong(f"more than {_ITEMS_AT_MOST} nodes in one request")
        if items is not _rest and not self._signature_fits(values.left):
            raise values.wrong(f"{values.left} bytes behind a request")
        if number == _CREATE_SESSION:
            self._application = str(found[0].detail["application"]) or None
        messages += [self._message(verb, operation, on) for on in found or [_On("")]]

    def _signature_fits(self, size: int) -> bool:
        signature = _SIGNATURES.get(self._policy)
        return size <= _SIGNATURE_AT_MOST if signature is None else size == signature


def recognise(prefix: bytes, server_port: int) -> bool | None:
    """By its first message, on any port: a hello, whose texts have less than 4096 bytes each (7.1.2.3)."""
    del server_port
    start = prefix[:4]
    if not (b"HELF".startswith(start) or b"RHEF".startswith(start)):
        return False
    if len(prefix) < 8:
        return None
    return 16 <= int.from_bytes(prefix[4:8], "little") <= 8300
