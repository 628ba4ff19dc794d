r"""DNS and what grew from it, mDNS and LLMNR: who asks for which name, and who announces one.

Knows nothing of hosts, services or the site's resolver. Follows RFC 1035 (messages; the section
numbers below), RFC 6762 (mDNS), RFC 6763 (service discovery), RFC 4795 (LLMNR), RFC 2136 (update),
RFC 1996 (notify), RFC 7766 (TCP). Names are written in lower case without the last dot; inside a
label a dot is written "\.", a backslash twice, and what is not UTF-8 "\xff".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from controller.dpi.dissector import Datagram, Fed
from controller.dpi.frame import ip_text
from controller.dpi.message import Malformed, Message, Operation

PORT = 53
_PROTOCOLS: Mapping[int, str] = {PORT: "dns", 5353: "mdns", 5355: "llmnr"}

_HEADER = Struct("!6H")  # 4.1.1
_QUESTION = Struct("!HH")  # 4.1.2, behind the name
_RECORD = Struct("!HHIH")  # 4.1.3, behind the name
_SRV_PORT = Struct("!xxxxH")  # RFC 2782: priority, weight, port
_RESPONSE = 0x8000
_SECTION_ANSWER, _SECTION_AUTHORITY, _SECTION_ADDITIONAL = range(3)
_LONGEST = 255  # bytes of a name, 2.3.4
_IN = 1

_A, _CNAME, _PTR, _AAAA, _SRV = 1, 5, 12, 28, 33
_TYPES: Mapping[int, str] = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 10: "NULL", 11: "WKS", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT",
    17: "RP", 18: "AFSDB", 24: "SIG", 25: "KEY", 28: "AAAA", 29: "LOC", 33: "SRV", 35: "NAPTR", 36: "KX",
    37: "CERT", 39: "DNAME", 41: "OPT", 42: "APL", 43: "DS", 44: "SSHFP", 45: "IPSECKEY", 46: "RRSIG",
    47: "NSEC", 48: "DNSKEY", 49: "DHCID", 50: "NSEC3", 51: "NSEC3PARAM", 52: "TLSA", 53: "SMIMEA", 55: "HIP",
    59: "CDS", 60: "CDNSKEY", 61: "OPENPGPKEY", 62: "CSYNC", 63: "ZONEMD", 64: "SVCB", 65: "HTTPS", 99: "SPF",
    108: "EUI48", 109: "EUI64", 249: "TKEY", 250: "TSIG", 251: "IXFR", 252: "AXFR", 253: "MAILB",
    254: "MAILA", 255: "ANY", 256: "URI", 257: "CAA",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Announcement:
    """One service instance that a host announces (RFC 6763, section 4.1)."""

    name: str  # the instance, as its owner wrote it: "Kitchen Light"
    type: str  # "_http._tcp.local"
    port: int
    target: str  # the host's name


class _Name(NamedTuple):
    text: str
    size: int  # bytes that it has when written without compression
    first: int  # where its first label stands


class _Question(NamedTuple):
    name: _Name
    type: int
    cls: int


class _Record(NamedTuple):
    section: int
    name: _Name
    type: int
    cls: int
    ttl: int  # seconds
    data: int  # offset
    size: int


def _wrong(what: str, offset: int) -> Malformed:
    return Malformed(f"dns: {what} at offset {offset}")


def _label(label: bytes) -> str:
    """5.1, but with what is not UTF-8 in hexadecimal."""
    if b"\\" in label or b"." in label:
        label = label.replace(b"\\", b"\\\\").replace(b".", b"\\.")
    return label.lower().decode("utf-8", "backslashreplace")


class _Reader:
    """One whole message (4.1). Every place is read once, however many pointers lead there."""

    def __init__(self, payload: bytes) -> None:
        if len(payload) < 12:
            raise _wrong("header cut short", len(payload))
        self.payload = payload
        self.id, self.flags, questions, *counts = _HEADER.unpack_from(payload)
        self.response = bool(self.flags & _RESPONSE)
        self.opcode = self.flags >> 11 & 15
        self._names: dict[int, _Name] = {}
        self.questions: list[_Question] = []
        self.records: list[_Record] = []
        at, end = 12, len(payload)
        for _ in range(questions):
            name, at = self.name(at)
            if at + 4 > end:
                raise _wrong("question cut short", at)
            self.questions.append(_Question(name, *_QUESTION.unpack_from(payload, at)))
            at += 4
        for section, count in enumerate(counts):
            for _ in range(count):
                name, at = self.name(at)
                if at + 10 > end:
                    raise _wrong("record cut short", at)
                kind, cls, ttl, size = _RECORD.unpack_from(payload, at)
                at += 10
                self.records.append(_Record(section, name, kind, cls, ttl, at, size))
                at += size
                if at > end:
                    raise _wrong(f"record of {size} bytes goes beyond the message", at - size)
        self.end = at

    def name(self, at: int) -> tuple[_Name, int]:
        """The name at an offset and the offset behind it (3.1, 4.1.4).

        Pointers have to lead back to before the part they stand in, so there is an end.
        """
        payload, names, end = self.payload, self._names, len(self.payload)
        behind, part, size = 0, at, 1
        name = _Name("", 1, at)
        places: list[tuple[int, bytes]] = []  # labels, and pointers as labels without bytes
        while True:
            if at >= end:
                raise _wrong("name cut short", at)
            if behind and at in names:
                name = names[at]
                break
            length = payload[at]
            if not length:
                behind = behind or at + 1
                name = _Name("", 1, at)
                break
            if length < 0x40:
                following = at + 1 + length
                size += 1 + length
                if following > end or size > _LONGEST:
                    raise _wrong("label cut short or name longer than 255 bytes", at)
                places.append((at, payload[at + 1 : following]))
                at = following
            elif length < 0xC0:
                raise _wrong(f"label of kind {length >> 6}", at)
            else:
                target = (length & 0x3F) << 8 | payload[at + 1] if at + 1 < end else end
                if not 12 <= target < part:
                    raise _wrong(f"pointer to {target}, which does not lead back", at)
                places.append((at, b""))
                behind = behind or at + 2
                at = part = target
        for place, label in reversed(places):
            if label:
                text = _label(label)
                name = _Name(f"{text}.{name.text}" if name.text else text, name.size + 1 + len(label), place)
                if name.size > _LONGEST:
                    raise _wrong("name longer than 255 bytes", place)
            names[place] = name
        return name, behind

    def address(self, record: _Record) -> str | None:
        """Of an A (3.4.1) or AAAA (RFC 3596) record of the internet; None if it is another."""
        if record.type not in (_A, _AAAA) or record.cls & 0x7FFF != _IN:
            return None
        if record.size != (4 if record.type == _A else 16):
            raise _wrong(f"address of {record.size} bytes", record.data)
        return ip_text(self.payload[record.data : record.data + record.size])

    def target(self, record: _Record) -> str | None:
        """The name that a CNAME, PTR or SRV record leads to; None if it is another."""
        skip = 6 if record.type == _SRV else 0
        if record.type not in (_CNAME, _PTR, _SRV):
            return None
        name, behind = self.name(record.data + skip)
        if behind != record.data + record.size:
            raise _wrong("record whose name does not fill it", record.data)
        return name.text


def _resource(name: _Name, kind: int) -> str:
    return f"{name.text or '.'} {_TYPES.get(kind) or f'TYPE{kind}'}"  # RFC 3597, section 5


def _asked(read: _Reader, protocol: str) -> tuple[Message, ...]:
    """What a request wants: one message per question, or per record of an update."""
    verb, operation = "query", Operation.LOOKUP
    wanted = [(question.name, question.type, question.cls) for question in read.questions]
    match read.opcode:
        case 0:
            pass
        case 1:  # 6.4, obsolete
            verb = "inverse query"
        case 2:
            verb = "status"
        case 4:  # RFC 1996
            verb, operation = "notify", Operation.NOTIFY
        case 5:  # RFC 2136, section 2: what shall change stands where the authority section is
            verb, operation = "update", Operation.WRITE
            changes = [record for record in read.records if record.section == _SECTION_AUTHORITY]
            wanted = [(change.name, change.type, change.cls) for change in changes] or wanted
        case other:
            verb, operation = f"opcode {other}", Operation.EXECUTE
    if not wanted:  # RFC 7873, section 5.4; RFC 6762, section 7.2
        return (Message(protocol, verb, operation, ""),)
    mask = 0x7FFF if protocol == "mdns" else 0xFFFF  # RFC 6762, section 5.4: the first bit is another's
    return tuple([
        Message(
            protocol, verb, operation, _resource(name, kind), None, None, False,
            {} if cls & mask == _IN else {"class": cls & mask},
        )
        for name, kind, cls in wanted
    ])  # fmt: skip


def _announced(read: _Reader) -> tuple[Message, ...]:
    """One message per answer of an mDNS response (RFC 6762, section 6)."""
    messages = []
    for record in read.records:
        if record.section != _SECTION_ANSWER:
            break
        detail: dict[str, object] = {"ttl": record.ttl}
        data = read.address(record) or read.target(record)
        if data is not None:
            detail["data"] = data
        resource = _resource(record.name, record.type)
        messages.append(Message("mdns", "response", Operation.ANNOUNCE, resource, detail=detail))
    return tuple(messages) or (Message("mdns", "response", Operation.ANNOUNCE, ""),)


_NETBIOS = re.compile(r"[A-Pa-p]{32}(?:\.|$)")  # one letter for each half byte
_ORDINARY = bytes.fromhex("0000 0100 0001 0000 0000 0000")  # the header of a plain query


def _sure(payload: bytes) -> bool:
    """Whether the header is one that no other protocol has by chance: one ordinary question."""
    if len(payload) < 17:
        return False
    flags: int
    _, flags, questions, answered, authorities, additionals = _HEADER.unpack_from(payload)
    if flags & 0x7840 or questions != 1:  # opcode 0, and the bit that must be zero
        return False
    if flags & _RESPONSE:
        return flags & 15 < 6
    return not flags & 0x068F and not answered and not authorities and additionals in (0, 1)


def _netbios(question: _Question) -> bool:
    """Whether it asks for a name of NetBIOS, which looks like DNS (RFC 1001, section 14.1)."""
    return question.type in (32, 33) and _NETBIOS.match(question.name.text) is not None


def datagram(payload: bytes, src_port: int, dst_port: int) -> Datagram | None:
    """One message on its ports, or on another if nothing speaks against it. Raises Malformed.

    Whose port decides between the three protocols: that of the receiver for a request, that of the
    sender for a response.
    """
    response = len(payload) > 2 and payload[2] >= 0x80
    ports = (src_port, dst_port) if response else (dst_port, src_port)
    protocol = _PROTOCOLS.get(ports[0]) or _PROTOCOLS.get(ports[1])
    if protocol is None:
        if not _sure(payload):
            return None
        try:
            read = _Reader(payload)
        except Malformed:
            return None
        if read.end != len(payload) or read.questions[0].cls != _IN or _netbios(read.questions[0]):
            return None
        protocol = "dns"
    else:
        read = _Reader(payload)
        if read.end != len(payload) and read.opcode < 6:
            raise _wrong("more than its counts say", read.end)
    if protocol == "mdns":
        if read.opcode:  # RFC 6762, section 18.3
            raise _wrong(f"opcode {read.opcode} in mDNS", 2)
        if read.response:  # section 6.7: to another port it is for the one who asked from there
            return Datagram(_announced(read), answer=dst_port != 5353)
    elif read.response:
        return Datagram((), answer=True)
    return Datagram(_asked(read, protocol))


def answers(payload: bytes) -> tuple[tuple[str, str, int], ...]:
    """Name, address and seconds to live of every address in the answers of a response.

    The name is the one that was asked for, also if aliases (3.6.2) lead from it to the address; the
    time is then that of the shortest. Records that do not belong to the question are left out; an
    mDNS response has no question, there every name counts. Raises Malformed.
    """
    read = _Reader(payload)
    if not read.response or read.opcode or read.flags & 15:
        return ()
    asked = {question.name.text: (question.name.text, 0xFFFFFFFF) for question in read.questions}
    records = [record for record in read.records if record.section == _SECTION_ANSWER]
    aliases: dict[str, list[_Record]] = {}
    for record in records:
        if record.type == _CNAME:
            aliases.setdefault(record.name.text, []).append(record)
    waiting = list(asked)
    while waiting:
        name = waiting.pop()
        asker, ttl = asked[name]
        for record in aliases.get(name, ()):
            target = read.target(record)
            if target is not None and target not in asked:
                asked[target] = asker, min(ttl, record.ttl)
                waiting.append(target)
    found = []
    for record in records:
        address = read.address(record)
        if address is None:
            continue
        if not read.questions:
            found.append((record.name.text, address, record.ttl))
        elif record.name.text in asked:
            asker, ttl = asked[record.name.text]
            found.append((asker, address, min(ttl, record.ttl)))
    return tuple(found)


def announcements(payload: bytes) -> tuple[Announcement, ...]:
    """The service instances in a response (RFC 6763, section 4).

    Without those that say goodbye (RFC 6762, section 10.1). Raises Malformed.
    """
    read = _Reader(payload)
    if not read.response or read.opcode or read.flags & 15:
        return ()
    found = []
    for record in read.records:
        if record.type != _SRV or not record.ttl or record.section == _SECTION_AUTHORITY:
            continue
        if not record.name.text:
            continue
        target = read.target(record)
        length = payload[record.name.first]
        start = record.name.first + 1
        kind, _ = read.name(start + length)
        if target is None or not kind.text.startswith("_"):
            continue
        instance = payload[start : start + length].decode("utf-8", "backslashreplace")
        (port,) = _SRV_PORT.unpack_from(payload, record.data)
        found.append(Announcement(instance, kind.text, port, target))
    return tuple(found)


class DnsStream:
    """Reads the requests of one client over TCP (4.2.2, RFC 7766): each behind its length."""

    __slots__ = ("_buffer", "_offset")

    def __init__(self) -> None:
        self._buffer = bytearray()  # the beginning of a message, less than 65,537 bytes
        self._offset = 0  # where it begins in the stream

    def feed(self, data: bytes) -> Fed:
        buffer = self._buffer
        buffer += data
        at = 0
        messages: list[Message] = []
        while len(buffer) - at >= 2:
            following = at + 2 + (buffer[at] << 8 | buffer[at + 1])
            if following > len(buffer):
                break
            read = _Reader(bytes(buffer[at + 2 : following]))
            if read.response:
                raise _wrong("a response where only requests may be", self._offset + at)
            if at + 2 + read.end != following and read.opcode < 6:  # RFC 8490: those count nothing
                raise _wrong("more than its counts say", self._offset + at + 2 + read.end)
            messages += _asked(read, "dns")
            at = following
        del buffer[:at]
        self._offset += at
        return Fed(tuple(messages), self._offset)

    @staticmethod
    def recognise(prefix: bytes, server_port: int) -> bool | None:
        """By the header on port 53; elsewhere the first message must be whole and an ordinary query."""
        length = prefix[0] << 8 | prefix[1] if len(prefix) > 1 else 17
        if length < 12 or prefix[4:5] >= b"\x80":
            return False
        if server_port == PORT:
            return True if len(prefix) >= 14 else None
        header = prefix[2:14]
        if not 17 <= length <= 4096 or not _sure(header + _ORDINARY[len(header) :] + bytes(5)):
            return False
        if len(prefix) < 2 + length:
            return None
        try:
            read = _Reader(prefix[2 : 2 + length])
        except Malformed:
            return False
        return read.end == length and read.questions[0].cls == _IN
