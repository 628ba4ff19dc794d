"""DHCP for IPv4: who asks for which address, and who hands it out (RFC 2131, RFC 2132).

Knows nothing of devices, addresses in use or the site's DHCP server.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from struct import Struct
from typing import NamedTuple

from controller.dpi.dissector import Datagram
from controller.dpi.frame import ip_text, mac_text
from controller.dpi.message import Malformed, Message, Operation

_PORTS = frozenset({67, 68})
_HEADER = Struct("!BBBxxxxxxxxx4s4s4s4s16s")  # RFC 2131, section 2, up to chaddr
_SNAME, _FILE, _COOKIE, _OPTIONS = 44, 108, 236, 240
_MAGIC = b"\x63\x82\x53\x63"
_NOWHERE = bytes(4)
_BOOTREQUEST, _BOOTREPLY = 1, 2

# RFC 2132: sections 3.14, 9.1, 9.3, 9.6, 9.7, 9.8, 9.13; RFC 8520, section 10
_HOST_NAME, _REQUESTED, _OVERLOAD, _MESSAGE_TYPE, _SERVER, _WANTED, _VENDOR_CLASS = 12, 50, 52, 53, 54, 55, 60
_MUD = 161

# Message type -> name and the `op` it is sent with (RFC 2132, section 9.6; RFC 3203; RFC 4388)
_TYPES: Mapping[int, tuple[str, int]] = {
    1: ("DISCOVER", _BOOTREQUEST),
    2: ("OFFER", _BOOTREPLY),
    3: ("REQUEST", _BOOTREQUEST),
    4: ("DECLINE", _BOOTREQUEST),
    5: ("ACK", _BOOTREPLY),
    6: ("NAK", _BOOTREPLY),
    7: ("RELEASE", _BOOTREQUEST),
    8: ("INFORM", _BOOTREQUEST),
    9: ("FORCERENEW", _BOOTREPLY),
    10: ("LEASEQUERY", _BOOTREQUEST),
    11: ("LEASEUNASSIGNED", _BOOTREPLY),
    12: ("LEASEUNKNOWN", _BOOTREPLY),
    13: ("LEASEACTIVE", _BOOTREPLY),
}


@dataclass(frozen=True, slots=True)
class Lease:
    """What one DHCP message says about the client with the hardware address `mac`."""

    mac: str
    message_type: str  # "DISCOVER", "ACK", …
    assigned: str | None  # the address an ACK gives
    host_name: str | None
    vendor_class: str | None
    requested: str | None  # the address that a client asks for, renews or gives back
    server: str | None  # the server identifier


class _Read(NamedTuple):
    reply: bool
    lease: Lease
    offered: str | None
    ethernet: bool
    mud_url: str | None
    wanted: bytes  # the numbers of options that the client asks for, in its order


def _wrong(what: str, offset: int) -> Malformed:
    return Malformed(f"dhcp: {what} at offset {offset}")


def _collect(payload: bytes, at: int, end: int, options: dict[int, bytes]) -> None:
    """Options of one field (RFC 2132, section 2); the parts of a long one are joined (RFC 3396)."""
    while at < end:
        code = payload[at]
        if code == 0:
            at += 1
            continue
        if code == 255:
            return
        value = at + 2
        following = value + payload[at + 1] if value <= end else end + 1
        if following > end:
            raise _wrong(f"option {code} cut short", at)
        part = payload[value:following]
        options[code] = options[code] + part if code in options else part
        at = following


def _options(payload: bytes) -> Mapping[int, bytes]:
    options: dict[int, bytes] = {}
    _collect(payload, _OPTIONS, len(payload), options)
    overload = options.get(_OVERLOAD)
    if overload is not None:  # RFC 2131, section 4.1: first `file`, then `sname`
        if overload not in (b"\1", b"\2", b"\3"):
            raise Malformed(f"dhcp: option {_OVERLOAD} says {overload.hex()}, not 1, 2 or 3")
        if overload[0] & 1:
            _collect(payload, _FILE, _COOKIE, options)
        if overload[0] & 2:
            _collect(payload, _SNAME, _FILE, options)
    return options


def _address(options: Mapping[int, bytes], code: int) -> str | None:
    value = options.get(code)
    if value is None:
        return None
    if len(value) != 4:
        raise Malformed(f"dhcp: option {code} has {len(value)} bytes, which is no address")
    return ip_text(value)


def _text(options: Mapping[int, bytes], code: int) -> str | None:
    """RFC 2132, section 2: some end their text with a zero, which is to be taken away."""
    value = options.get(code, b"").rstrip(b"\0")
    return value.decode(errors="backslashreplace") if value else None


def _read(payload: bytes) -> _Read:
    if len(payload) < _OPTIONS:
        raise _wrong("message cut short", len(payload))
    op, _, hlen, ciaddr, yiaddr, _, _, chaddr = _HEADER.unpack_from(payload)
    if payload[_COOKIE:_OPTIONS] != _MAGIC:
        raise _wrong("no magic cookie", _COOKIE)
    if hlen > 16:
        raise _wrong(f"hardware address of {hlen} bytes", 2)
    options = _options(payload)
    kind = options.get(_MESSAGE_TYPE, b"")
    name, direction = _TYPES.get(kind[0], ("", 0)) if len(kind) == 1 else ("", 0)
    if op != direction:
        raise _wrong(f"message type {kind.hex() or 'missing'} does not fit op {op}", 0)
    requested = _address(options, _REQUESTED)
    # RFC 2131, table 5: who renews or releases says in ciaddr which address
    if requested is None and name in ("REQUEST", "RELEASE") and ciaddr != _NOWHERE:
        requested = ip_text(ciaddr)
    offered = ip_text(yiaddr) if op == _BOOTREPLY and yiaddr != _NOWHERE else None
    lease = Lease(
        mac_text(chaddr[:hlen]),
        name,
        offered if name == "ACK" else None,
        _text(options, _HOST_NAME),
        _text(options, _VENDOR_CLASS),
        requested,
        _address(options, _SERVER),
    )
    wanted = options.get(_WANTED, b"")
    return _Read(op == _BOOTREPLY, lease, offered, hlen == 6, _text(options, _MUD), wanted)


def datagram(payload: bytes, src_port: int, dst_port: int) -> Datagram | None:
    """One message on its ports, or on another with the magic cookie. Raises Malformed."""
    if src_port not in _PORTS and dst_port not in _PORTS and payload[_COOKIE:_OPTIONS] != _MAGIC:
        return None
    reply, told, offered, _, mud_url, wanted = _read(payload)
    detail: dict[str, object] = {"mac": told.mac}
    if told.server is not None:
        detail["server"] = told.server
    if told.vendor_class is not None:
        detail["vendor_class"] = told.vendor_class
    if mud_url is not None:
        detail["mud_url"] = mud_url
    if wanted:
        detail["parameters"] = list(wanted)
    message = Message(
        "dhcp",
        told.message_type,
        Operation.ANNOUNCE if reply else Operation.LOOKUP,
        (offered if reply else told.requested) or "",
        told.host_name,
        detail=detail,
    )
    return Datagram((message,), reply and told.message_type != "FORCERENEW")  # RFC 3203: nobody asked


def lease(payload: bytes) -> Lease | None:
    """What a datagram on the DHCP ports says of a client; None if that is not on Ethernet.

    Raises Malformed.
    """
    read = _read(payload)
    return read.lease if read.ethernet else None
