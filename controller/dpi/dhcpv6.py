"""DHCP for IPv6: who asks for which address, and who hands it out (RFC 8415; its section numbers below).

Knows nothing of devices, addresses in use or the site's DHCP server.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from controller.dpi.cursor import Cursor, text
from controller.dpi.dissector import Datagram
from controller.dpi.frame import ip_text, mac_text
from controller.dpi.message import Message, Operation

CLIENT_PORT, SERVER_PORT = 546, 547
_NAME = "dhcpv6"
_PORTS = frozenset({CLIENT_PORT, SERVER_PORT})
_RELAYED_FORTH, _RELAYED_BACK = 12, 13
_LOOKUP, _ANNOUNCE = Operation.LOOKUP, Operation.ANNOUNCE

# Message type (7.3; RFC 5007) -> name, and what it is for
_TYPES: Mapping[int, tuple[str, Operation]] = {
    1: ("SOLICIT", _LOOKUP),
    2: ("ADVERTISE", _ANNOUNCE),
    3: ("REQUEST", _LOOKUP),
    4: ("CONFIRM", _LOOKUP),
    5: ("RENEW", _LOOKUP),
    6: ("REBIND", _LOOKUP),
    7: ("REPLY", _ANNOUNCE),
    8: ("RELEASE", _LOOKUP),
    9: ("DECLINE", _LOOKUP),
    10: ("RECONFIGURE", _ANNOUNCE),
    11: ("INFORMATION-REQUEST", _LOOKUP),
    _RELAYED_FORTH: ("RELAY-FORW", _LOOKUP),
    _RELAYED_BACK: ("RELAY-REPL", _ANNOUNCE),
    14: ("LEASEQUERY", _LOOKUP),
    15: ("LEASEQUERY-REPLY", _ANNOUNCE),
}
_UNASKED = "RECONFIGURE"  # 18.3.11: the only one of a server's that nobody asked for

# Options (21; RFC 4704; RFC 8520, section 11)
_CLIENT_ID, _SERVER_ID, _IA_NA, _IA_TA, _IA_ADDRESS, _WANTED = 1, 2, 3, 4, 5, 6
_VENDOR_CLASS, _IA_PD, _IA_PREFIX, _FQDN, _MUD = 16, 25, 26, 39, 112
_ONCE = frozenset({_CLIENT_ID, _SERVER_ID, _WANTED, _FQDN, _MUD})
_IDENTITIES = {_IA_NA: 12, _IA_TA: 4, _IA_PD: 12}  # bytes before the options inside


@dataclass(frozen=True, slots=True)
class Told:
    """What one message says of the client."""

    message_type: str  # "SOLICIT", "REPLY", …
    addresses: tuple[str, ...] = ()  # that it wants, has or is given; prefixes as "2001:db8::/56"
    duid: str | None = None  # in hexadecimal
    mac: str | None = None  # that its DUID was made from
    host_name: str | None = None
    vendor_class: str | None = None
    mud_url: str | None = None
    wanted: tuple[int, ...] = ()  # the numbers of options that it asks for, in its order


def _options(cursor: Cursor) -> list[tuple[int, Cursor]]:
    """21.1"""
    found: list[tuple[int, Cursor]] = []
    while cursor.left:
        code = cursor.big(2)
        found.append((code, cursor.part(cursor.big(2))))
    codes = [code for code, _ in found if code in _ONCE]
    if len(set(codes)) != len(codes):
        raise cursor.wrong("an option twice that may be there once")
    return found


def _addresses(identity: Cursor, fixed: int) -> list[str]:
    """21.4, 21.5, 21.21: an identity association, and what is in it."""
    identity.skip(fixed)
    found = []
    for code, option in _options(identity):
        if code == _IA_ADDRESS:
            found.append(ip_text(option.take(16)))
            option.skip(8)
        elif code == _IA_PREFIX:
            option.skip(8)
            length = option.byte()
            found.append(f"{ip_text(option.take(16))}/{length}")
    return found


def _mac(duid: bytes) -> str | None:
    """11.2, 11.4: of a DUID that was made from an Ethernet address."""
    start = {b"\0\1\0\1": 8, b"\0\3\0\1": 4}.get(duid[:4])
    return mac_text(duid[start:]) if start is not None and len(duid) == start + 6 else None


def _host_name(option: Cursor) -> str:
    """RFC 4704, section 4: flags, then a name of DNS that need not be whole."""
    option.skip(1)
    labels: list[str] = []
    while option.left:
        size = option.byte()
        if not size:
            break
        if size > 63:
            raise option.wrong(f"label of {size} bytes")
        labels.append(text(option.take(size)))
    option.done()
    return ".".join(labels)


def _vendor_class(option: Cursor) -> str:
    """21.16: the vendor's number, then texts behind their lengths."""
    number = option.big(4)
    parts = []
    while option.left:
        parts.append(text(option.take(option.big(2))))
    return " ".join(parts) or f"enterprise {number}"


def read(payload: bytes) -> Told:
    """One message (8, 9). Raises Malformed."""
    cursor = Cursor(_NAME, payload)
    kind = cursor.byte()
    name, _ = _TYPES.get(kind) or ("", None)
    if not name:
        raise cursor.wrong(f"message type {kind}")
    cursor.skip(33 if kind in (_RELAYED_FORTH, _RELAYED_BACK) else 3)
    addresses: list[str] = []
    duid: bytes | None = None
    host = vendor = mud = None
    wanted: tuple[int, ...] = ()
    for code, option in _options(cursor):
        if code == _CLIENT_ID:
            duid = option.take(option.left)
        elif code in _IDENTITIES:
            addresses += _addresses(option, _IDENTITIES[code])
        elif code == _WANTED:
            wanted = tuple(option.big(2) for _ in range((option.left + 1) // 2))
        elif code == _VENDOR_CLASS:
            vendor = vendor or _vendor_class(option)
        elif code == _FQDN:
            host = _host_name(option) or None
        elif code == _MUD:
            mud = text(option.take(option.left))
    made_from = None if duid is None else _mac(duid)
    written = None if duid is None else duid.hex()
    return Told(name, tuple(addresses), written, made_from, host, vendor, mud, wanted)


def datagram(payload: bytes, src_port: int, dst_port: int) -> Datagram | None:
    """One message on its ports; it has nothing that would tell it from others elsewhere. Raises Malformed."""
    if src_port not in _PORTS and dst_port not in _PORTS:
        return None
    told = read(payload)
    detail: dict[str, object] = {
        name: value
        for name, value in (
            ("duid", told.duid),
            ("mac", told.mac),
            ("vendor_class", told.vendor_class),
            ("mud_url", told.mud_url),
            ("parameters", list(told.wanted) or None),
        )
        if value is not None
    }
    _, operation = _TYPES[payload[0]]
    message = Message(
        _NAME, told.message_type, operation, " ".join(told.addresses), told.host_name, None, False, detail
    )
    return Datagram((message,), operation is _ANNOUNCE and told.message_type != _UNASKED)
