"""What each kind of link puts before IP, as an Ethernet frame, which all else here reads.

Knows nothing of files. A link without MAC addresses gets zeros in their place.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

NOBODY: Final = "00:00:00:00:00:00"  # where the link has no MAC address

_ETHERNET, _NULL, _LOOP, _SLL, _SLL2, _IPV4, _IPV6 = 1, 0, 108, 113, 276, 228, 229
_RAW: Final = frozenset({12, 14, 101})
_FAMILIES_6: Final = frozenset({10, 24, 28, 30})  # AF_INET6 of Linux, OpenBSD, FreeBSD and macOS
_NAMES: Final = MappingProxyType(
    {9: "PPP", 105: "Wi-Fi", 127: "Wi-Fi", 187: "Bluetooth", 195: "IEEE 802.15.4", 201: "Bluetooth",
     220: "USB", 227: "CAN", 230: "IEEE 802.15.4"}
)  # fmt: skip


def _ip(data: bytes) -> bytes:
    kind = b"\x86\xdd" if data[:1] >= b"\x60" else b"\x08\0"
    return bytes(12) + kind + data


def _family(data: bytes) -> bytes:
    """The address family as the host's own number, in the host's byte order (LINKTYPE_NULL), or not."""
    number = max(data[:1], data[3:4])[0] if len(data) >= 4 else 0
    return bytes(12) + (b"\x86\xdd" if number in _FAMILIES_6 else b"\x08\0") + data[4:]


def _cooked(data: bytes) -> bytes:
    """LINKTYPE_LINUX_SLL: kind, hardware, length of the address, address, protocol."""
    source = data[6:12] if data[4:6] == b"\0\6" else bytes(6)
    return bytes(6) + source + data[14:]


def _cooked_2(data: bytes) -> bytes:
    """LINKTYPE_LINUX_SLL2: protocol, reserved, interface, hardware, kind, length of the address, address."""
    source = data[12:18] if data[11:12] == b"\6" else bytes(6)
    return bytes(6) + source + data[:2] + data[20:]


_READERS: Mapping[int, Callable[[bytes], bytes]] = MappingProxyType(
    {_NULL: _family, _LOOP: _family, _SLL: _cooked, _SLL2: _cooked_2, _IPV4: _ip, _IPV6: _ip}
    | dict.fromkeys(_RAW, _ip)
)


def ethernet(link: int, data: bytes) -> bytes | None:
    """A captured frame as Ethernet has it; None for a link that is not read."""
    if link == _ETHERNET:
        return data
    reader = _READERS.get(link)
    return None if reader is None else reader(data)


def name(link: int) -> str:
    """What people call a link type that is not read."""
    return f"{_NAMES[link]} (link type {link})" if link in _NAMES else f"link type {link}"
