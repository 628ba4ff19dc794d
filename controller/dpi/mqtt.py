"""MQTT 3.1, 3.1.1 and 5 as a client sends it: what it publishes and subscribes to.

Knows nothing of connections and services. Section numbers are of MQTT Version 5.0 (OASIS); 3.1 and
3.1.1 differ where said.
"""

from collections.abc import Mapping
from types import MappingProxyType

from controller.dpi.dissector import Fed
from controller.dpi.message import Malformed, Message, Operation

PORT = 1883
PACKET_AT_MOST = 131072  # bytes of a packet that is read whole: all but PUBLISH
_ALIASES_AT_MOST = 65536  # characters of all topics that a connection may keep under aliases

_PROPERTIES_AT_MOST = 256  # of one packet
_FILTERS_AT_MOST = 512  # of one packet
_TOPICS_REMEMBERED = 32  # of a connection, with their messages
_TOPIC_REMEMBERED = 128  # bytes of a topic that is worth it

_CONNECT, _PUBLISH, _PUBACK, _PUBREC, _PUBREL, _PUBCOMP = 1, 3, 4, 5, 6, 7
_SUBSCRIBE, _UNSUBSCRIBE, _PINGREQ, _DISCONNECT, _AUTH = 8, 10, 12, 14, 15

# Control packets of a client (2.1.2) that say nothing but that the connection goes on
_PLAIN: Mapping[int, str] = MappingProxyType(
    {
        _PUBACK: "PUBACK",
        _PUBREC: "PUBREC",
        _PUBREL: "PUBREL",
        _PUBCOMP: "PUBCOMP",
        _PINGREQ: "PINGREQ",
        _DISCONNECT: "DISCONNECT",
        _AUTH: "AUTH",
    }
)
_ACKNOWLEDGES = frozenset({_PUBACK, _PUBREC, _PUBREL, _PUBCOMP})
_NAMES: Mapping[bytes, tuple[int, ...]] = MappingProxyType({b"MQTT": (4, 5), b"MQIsdp": (3,)})
_SHARE = "$share/"
_DUP = 0x08  # 3.3.1.1
_BRIDGE = 0x80  # mosquitto sets this bit of the version when a broker connects as a client

# Properties (2.2.2.2): identifier -> size in bytes, or one of the words below
_VARIABLE, _STRING, _BINARY, _PAIR = -1, -2, -3, -4
_PROPERTIES: Mapping[int, int] = MappingProxyType(
    {
        0x01: 1, 0x02: 4, 0x03: _STRING, 0x08: _STRING, 0x09: _BINARY, 0x0B: _VARIABLE, 0x11: 4,
        0x12: _STRING, 0x13: 2, 0x15: _STRING, 0x16: _BINARY, 0x17: 1, 0x18: 4, 0x19: 1, 0x1A: _STRING,
        0x1C: _STRING, 0x1F: _STRING, 0x21: 2, 0x22: 2, 0x23: 2, 0x24: 1, 0x25: 1, 0x26: _PAIR, 0x27: 4,
        0x28: 1, 0x29: 1, 0x2A: 1,
    }
)  # fmt: skip
_REPEATABLE = frozenset({0x0B, 0x26})
_TOPIC_ALIAS = 0x23


def _wrong(what: str) -> Malformed:
    return Malformed(f"mqtt: {what}")


class _Packet:
    """Reads the elements of one packet in order."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int, end: int) -> None:
        self.data, self.at, self.end = data, at, end

    def number(self, size: int) -> int:
        at = self.at
        self.at = at + size
        if self.at > self.end:
            raise _wrong("packet cut short")
        return int.from_bytes(self.data[at : self.at], "big")

    def variable(self) -> int:
        """1.5.5"""
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 21:
                raise _wrong("a variable length of more than 4 bytes")

    def binary(self) -> bytes:
        """1.5.6"""
        size = self.number(2)
        at = self.at
        self.at = at + size
        if self.at > self.end:
            raise _wrong("packet cut short")
        return self.data[at : self.at]

    def string(self) -> str:
        """1.5.4"""
        return _utf8(self.binary())

    def properties(self) -> dict[int, int]:
        """Those with a number as value (2.2.2); the others are only checked."""
        size = self.variable()
        end = self.at + size
        if end > self.end:
            raise _wrong("properties cut short")
        inside = _Packet(self.data, self.at, end)
        found: dict[int, int] = {}
        count = 0
        while inside.at < end:
            count += 1
            if count > _PROPERTIES_AT_MOST:
                raise _wrong(f"more than {_PROPERTIES_AT_MOST} properties")
            identifier = inside.number(1)
            kind = _PROPERTIES.get(identifier)
            if kind is None or (identifier in found and identifier not in _REPEATABLE):
                raise _wrong(f"property {identifier:#x} is unknown or there twice")
            found[identifier] = 0
            if kind > 0:
                found[identifier] = inside.number(kind)
            elif kind == _VARIABLE:
                inside.variable()
            elif kind == _BINARY:
                inside.binary()
            else:
                inside.string()
                if kind == _PAIR:
                    inside.string()
        self.at = end
        return found


def _utf8(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise _wrong("text that is not UTF-8") from None
    if "\0" in text:
        raise _wrong("text with U+0000")
    return text


def _topic(text: str) -> str:
    """4.7.1.1: a topic name has at least one character and no wildcards."""
    if not text or "+" in text or "#" in text:
        raise _wrong("a topic name that is empty or has wildcards")
    return text


def _filter(text: str) -> str:
    """4.7.1: `#` stands only at the end, `+` and `#` only for whole levels."""
    if not text:
        raise _wrong("an empty topic filter")
    if "#" in text or "+" in text:
        levels = text.split("/")
        for number, level in enumerate(levels):
            whole = level == "+" or (level == "#" and number == len(levels) - 1)
            if not whole and ("#" in level or "+" in level):
                raise _wrong("a topic filter with a wildcard inside a level or before its end")
    return text


def _shared(text: str) -> tuple[str, str | None]:
    """4.8.2: the filter that counts, and the name of those who share it: `$share/name/filter`.

    Brokers know it in older versions too; those that do not take it for a filter that no topic fits.
    """
    if not text.startswith(_SHARE):
        return text, None
    name, slash, shared = text[len(_SHARE) :].partition("/")
    if not name or not slash or "+" in name or "#" in name:
        raise _wrong("a shared subscription without name or filter")
    return _filter(shared), name


def recognise(prefix: bytes, server_port: int) -> bool | None:  # noqa: ARG001 - content decides alone
    """Whether a stream begins with CONNECT (3.1): its fixed header, and a protocol name that is known."""
    if prefix[:1] != b"\x10"[: len(prefix)]:
        return False
    at = 1
    while at < len(prefix) and prefix[at] >= 0x80:
        at += 1
        if at > 4:
            return False
    name = prefix[at + 1 : at + 9]
    expected = [len(known).to_bytes(2, "big") + known for known in _NAMES]
    if any(name.startswith(known) for known in expected):
        return True
    return None if any(known.startswith(name) for known in expected) else False


class MqttStream:
    """What a client sends on one connection."""

    def __init__(self, resumed: bool = False) -> None:
        self._buffer = b""
        self._consumed = 0
        self._skip = 0  # bytes of the payload that is passing through
        self._version = 4 if resumed else 0  # 0: no CONNECT yet
        self._resumed = resumed
        self._client: str | None = None
        self._aliases: dict[int, str] = {}
        self._aliases_size = 0
        self._topics: dict[tuple[int, bytes], Message] = {}

    recognise = staticmethod(recognise)

    @property
    def reserved(self) -> int:
        """Bytes that topics have which are kept, under aliases and otherwise, roughly."""
        return self._aliases_size + 128 * len(self._aliases) + 1024 * len(self._topics)

    def feed(self, data: bytes) -> Fed:
        """The next bytes of the stream. Raises Malformed."""
        if self._skip:
            passed = min(self._skip, len(data))
            self._skip -= passed
            self._consumed += passed
            if passed == len(data):
                return Fed((), self._consumed)
            data = data[passed:]
        if self._buffer:
            data = self._buffer + data
        messages: list[Message] = []
        at, size = 0, len(data)
        while at < size:
            after = self._packet(data, at, messages)
            if after is None:
                break
            if after > size:
                self._skip = after - size
                after = size
            at = after
        self._buffer = data[at:]
        self._consumed += at
        return Fed(tuple(messages), self._consumed)

    def _packet(self, data: bytes, at: int, messages: list[Message]) -> int | None:
        """Read the packet at `at`; the offset behind it, which may be beyond the data; None: incomplete."""
        size = len(data)
        first = data[at]
        kind = first >> 4
        remaining = shift = 0
        start = at + 1
        while True:  # 2.1.4
            if start >= size:
                return None
            byte = data[start]
            start += 1
            remaining |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 21:
                raise _wrong("a remaining length of more than 4 bytes")
        end = start + remaining
        if not self._version:
            if kind != _CONNECT:
                raise _wrong("another packet before CONNECT")
        elif kind == _CONNECT:
            raise _wrong("a second CONNECT")
        if kind == _PUBLISH:
            return end if self._publish(first & 15, data, start, end, messages) else None
        if remaining > PACKET_AT_MOST:
            raise _wrong(f"packet type {kind} of {remaining} bytes")
        if end > size:
            return None
        packet = _Packet(data, start, end)
        if kind == _CONNECT:
            self._connect(first & 15, packet, messages)
        elif kind == _SUBSCRIBE:
            self._subscribe(first & 15, packet, messages)
        elif kind == _UNSUBSCRIBE:
            self._unsubscribe(first & 15, packet, messages)
        else:
            self._plain(kind, first & 15, packet, messages)
        if packet.at != end:
            raise _wrong(f"packet type {kind} is longer than what is in it")
        return end

    def _flags(self, given: int, expected: int) -> None:
        """2.1.3: reserved bits; MQTT 3.1 has DUP and QoS in every packet and lets servers ignore them."""
        if given != expected and self._version != 3:
            raise _wrong(f"reserved flags {given:#x} instead of {expected:#x}")

    def _connect(self, flags: int, packet: _Packet, messages: list[Message]) -> None:
        """3.1"""
        versions = _NAMES.get(packet.binary())
        level = packet.number(1)
        version = level & ~_BRIDGE
        if versions is None or version not in versions:
            raise _wrong(f"protocol level {level} does not fit the protocol name")
        self._version = version
        self._flags(flags, 0)
        given = packet.number(1)
        has_will, will_qos = bool(given & 0x04), given >> 3 & 3
        if given & 0x01 or will_qos == 3 or (given & 0x38 and not has_will):
            raise _wrong(f"connect flags {given:#x}")
        keep_alive = packet.number(2)
        if version == 5:
            packet.properties()
        self._client = packet.string() or None
        detail: dict[str, object] = {
            "version": {3: "3.1", 4: "3.1.1", 5: "5"}[version],
            "keep_alive": keep_alive,
        }
        if level & _BRIDGE:
            detail["bridge"] = True
        will: Message | None = None
        if has_will:
            if version == 5:
                packet.properties()
            topic = _topic(packet.string())
            packet.binary()
            about: dict[str, object] = {"will": True, "qos": will_qos, "retain": bool(given & 0x20)}
            will = Message("mqtt", "PUBLISH", Operation.PUBLISH, topic, self._client, detail=about)
        if given & 0x80:
            detail["user_name"] = packet.string()
        if given & 0x40:
            packet.binary()
        messages.append(Message("mqtt", "CONNECT", Operation.CONNECT, "", self._client, detail=detail))
        if will is not None:
            messages.append(will)

    def _publish(self, flags: int, data: bytes, at: int, end: int, messages: list[Message]) -> bool:
        """3.3; True when everything before the payload is there, and so the message is complete."""
        qos = flags >> 1 & 3
        if qos == 3:
            raise _wrong("QoS 3")
        size = len(data)
        if at + 2 > end:
            raise _wrong("PUBLISH without a topic")
        if at + 2 > size:
            return False
        at += 2
        behind = at + (data[at - 2] << 8 | data[at - 1])
        need = behind + (2 if qos else 0)
        if need > end:
            raise _wrong("PUBLISH is shorter than its topic")
        if need > size:
            return False
        if qos and not data[behind] and not data[behind + 1]:
            raise _wrong("packet identifier 0")
        if self._version != 5 or (need < end and data[need : need + 1] == b"\0"):  # without properties
            messages.append(self._named(flags, data[at:behind]))
            return True
        topic = _utf8(data[at:behind])
        detail: dict[str, object] = {"qos": qos, "retain": bool(flags & 1)}
        if end > size and not _properties_there(data, need, end):
            return False
        packet = _Packet(data, need, min(end, size))
        alias = packet.properties().get(_TOPIC_ALIAS)
        if alias is not None:
            detail["alias"] = alias
            topic = self._aliased(alias, topic)
        messages.append(
            Message("mqtt", "PUBLISH", Operation.PUBLISH, _topic(topic), self._client, detail=detail)
        )
        return True

    def _named(self, flags: int, topic: bytes) -> Message:
        """What is published under the topic in the packet: clients say the same again and again."""
        key = (flags & ~_DUP, topic)
        message = self._topics.get(key)
        if message is None:
            name = _topic(_utf8(topic))
            detail = {"qos": flags >> 1 & 3, "retain": bool(flags & 1)}
            message = Message("mqtt", "PUBLISH", Operation.PUBLISH, name, self._client, detail=detail)
            if len(topic) <= _TOPIC_REMEMBERED:
                if len(self._topics) >= _TOPICS_REMEMBERED:
                    self._topics.clear()
                self._topics[key] = message
        return message

    def _aliased(self, alias: int, topic: str) -> str:
        """3.3.2.3.4"""
        known = self._aliases.get(alias)
        if not topic:
            if known is None:
                raise _wrong(f"topic alias {alias} stands for nothing")
            return known
        if not alias:
            raise _wrong("topic alias 0")
        self._aliases_size += len(topic) - len(known or "")
        if self._aliases_size > _ALIASES_AT_MOST:
            raise _wrong("too many topic aliases")
        self._aliases[alias] = topic
        return topic

    def _identifier(self, packet: _Packet) -> None:
        if not packet.number(2):
            raise _wrong("packet identifier 0")

    def _subscribe(self, flags: int, packet: _Packet, messages: list[Message]) -> None:
        """3.8: one message for each filter."""
        self._flags(flags, 2)
        self._identifier(packet)
        if self._version == 5:
            packet.properties()
        if packet.at == packet.end:
            raise _wrong("SUBSCRIBE without a filter")
        before = len(messages)
        while packet.at < packet.end:
            if len(messages) - before >= _FILTERS_AT_MOST:
                raise _wrong(f"more than {_FILTERS_AT_MOST} filters")
            wanted, share = _shared(_filter(packet.string()))
            options = packet.number(1)
            if options & 3 == 3 or options & (0xC0 if self._version == 5 else 0xFC):
                raise _wrong(f"subscription options {options:#x}")
            detail: dict[str, object] = {"qos": options & 3}
            if share is not None:
                detail["share"] = share
            messages.append(
                Message("mqtt", "SUBSCRIBE", Operation.SUBSCRIBE, wanted, self._client, detail=detail)
            )

    def _unsubscribe(self, flags: int, packet: _Packet, messages: list[Message]) -> None:
        """3.10: one message for each filter."""
        self._flags(flags, 2)
        self._identifier(packet)
        if self._version == 5:
            packet.properties()
        if packet.at == packet.end:
            raise _wrong("UNSUBSCRIBE without a filter")
        before = len(messages)
        while packet.at < packet.end:
            if len(messages) - before >= _FILTERS_AT_MOST:
                raise _wrong(f"more than {_FILTERS_AT_MOST} filters")
            wanted, share = _shared(_filter(packet.string()))
            about: dict[str, object] = {} if share is None else {"share": share}
            messages.append(
                Message("mqtt", "UNSUBSCRIBE", Operation.UNSUBSCRIBE, wanted, self._client, detail=about)
            )

    def _plain(self, kind: int, flags: int, packet: _Packet, messages: list[Message]) -> None:
        """3.4-3.7, 3.12, 3.14, 3.15; the others are sent by servers only."""
        name = _PLAIN.get(kind)
        if name is None or (kind == _AUTH and self._version != 5 and not self._resumed):
            raise _wrong(f"packet type {kind} from a client")
        self._flags(flags, 2 if kind == _PUBREL else 0)
        if kind in _ACKNOWLEDGES:
            self._identifier(packet)
        if (self._version == 5 or self._resumed) and packet.at < packet.end and kind != _PINGREQ:
            packet.number(1)  # reason code
            if packet.at < packet.end:
                packet.properties()
        messages.append(Message("mqtt", name, Operation.CONNECT, "", self._client))


def _properties_there(data: bytes, at: int, end: int) -> bool:
    """Whether the properties that begin at `at` of a PUBLISH that ends at `end` have all arrived."""
    length = shift = 0
    for byte in data[at : at + 4]:
        at += 1
        length |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if at + length > end or length > PACKET_AT_MOST:
                raise _wrong("properties cut short, or too long")
            return at + length <= len(data)
    if shift == 28:
        raise _wrong("a variable length of more than 4 bytes")
    return False
