"""Reads the headers of one Ethernet frame, as the kernel that receives it would.

Knows nothing of what payloads mean, of connections, services or verdicts.
"""

from functools import lru_cache
from ipaddress import IPv6Address
from struct import Struct
from typing import NamedTuple

from controller.dpi.message import Malformed

ARP, IPV4, IPV6, LLDP = 0x0806, 0x0800, 0x86DD, 0x88CC
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
FIN, SYN, RST, PSH, ACK, URG = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20

NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, REDIRECT = 133, 134, 137

_TAGS = frozenset({0x8100, 0x88A8, 0x9100})  # IEEE 802.1Q, 802.1ad, and what came before it
_TAGS_AT_MOST = 2
_END_OF_OPTIONS, _NO_OPERATION, _SOURCE_ROUTES = 0, 1, frozenset({131, 137})
_EXTENSIONS_AT_MOST = 8
_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION, _MOBILITY = 0, 43, 44, 51, 60, 135
_EXTENSIONS = frozenset({_HOP_BY_HOP, _ROUTING, _FRAGMENT, _AUTHENTICATION, _DESTINATION, _MOBILITY})

# ICMPv6 type -> length of the fixed part, whether a target is in it, option with the sender's address
_NEIGHBOUR = {
    ROUTER_SOLICITATION: (8, False, 1),
    ROUTER_ADVERTISEMENT: (16, False, 1),
    NEIGHBOUR_SOLICITATION: (24, True, 1),
    NEIGHBOUR_ADVERTISEMENT: (24, True, 2),
    REDIRECT: (40, True, 1),
}

_ETHERNET_IPV4_TCP = Struct("!12s4xH2xHB3x8sHHIIBBH2xH")
_ETHERNET_IPV4_UDP = Struct("!12s4xH2xHB3x8sHHH")
_ETHERNET_IPV6_TCP = Struct("!12s2xIHBB32sHHIIBBH2xH")
_IPV4 = Struct("!BxHxxHBBxx4s4s")
_IPV6 = Struct("!IHBB16s16s")
_TCP = Struct("!HHIIBBHxxH")
_UDP = Struct("!HHH")
_PORTS = Struct("!HH")
_ARP = Struct("!HHBBH6s4s6s4s")


class _Link(NamedTuple):
    """Ethernet and its tags."""

    src_mac: str
    dst_mac: str
    vlan: int | None
    ethertype: int
    ip_offset: int
    tags: bytes


class _Network(NamedTuple):
    """IPv4, or IPv6 with its extension headers; what is behind it is raw[offset:end]."""

    src_ip: str
    dst_ip: str
    protocol: int
    ttl: int
    fragment: bool
    later: bool  # a fragment that is not the first
    offset: int
    end: int


class Headers(NamedTuple):
    """What the headers of a frame say; None where the frame has no such header.

    Addresses are text: MAC in lower case with colons, IPv6 compressed. For ARP, `src_ip` and
    `dst_ip` are the sender's and the target's protocol address.
    """

    src_mac: str
    dst_mac: str
    vlan: int | None  # id of the outermost tag that has one; a priority tag (id 0) is no VLAN
    ethertype: int  # the innermost; below 1536 it is the length of an IEEE 802.3 frame
    src_ip: str | None = None
    dst_ip: str | None = None
    protocol: int | None = None  # behind IPv6 extension headers
    src_port: int | None = None
    dst_port: int | None = None
    tcp_flags: int = 0
    seq: int = 0
    ack: int = 0
    window: int = 0
    payload_offset: int = 0  # the payload is raw[payload_offset:payload_end]: no Ethernet padding
    payload_end: int = 0
    fragment: bool = False  # of an IP datagram; then there may be no ports
    ttl: int = 0
    urgent: int = 0  # TCP urgent pointer
    ip_offset: int = 14  # where the header behind Ethernet and its tags begins
    transport_offset: int = 0
    kind: int = 0  # ARP operation or ICMP type
    code: int = 0  # ICMP code
    target: str | None = None  # the address that a neighbour solicitation or advertisement is about
    told_mac: str | None = None  # the hardware address of the sender as ARP or ND state it
    tags: bytes = b""  # all 802.1Q tags with their ethertypes, as they were


@lru_cache(maxsize=8192)
def mac_text(mac: bytes) -> str:
    """Six bytes as text.

    >>> mac_text(bytes(6))
    '00:00:00:00:00:00'
    """
    return mac.hex(":")


@lru_cache(maxsize=16384)
def ip_text(address: bytes) -> str:
    """IPv4 (4 bytes) or IPv6 (16 bytes) as `str(ipaddress.ip_address(address))` writes it."""
    if len(address) == 4:
        return "{}.{}.{}.{}".format(*address)
    return str(IPv6Address(address))


@lru_cache(maxsize=8192)
def _two_macs(macs: bytes) -> tuple[str, str]:
    """Destination and source of a frame as text."""
    return mac_text(macs[:6]), mac_text(macs[6:])


@lru_cache(maxsize=16384)
def _two_ips(addresses: bytes) -> tuple[str, str]:
    """Source and destination of a packet as text."""
    half = len(addresses) // 2
    return ip_text(addresses[:half]), ip_text(addresses[half:])


_made = tuple.__new__  # what a NamedTuple's own __new__ ends in, four times as fast; all fields are given


def parse(raw: bytes, captured: bool = False) -> Headers:
    """The headers of an Ethernet frame without its check sequence.

    Lengths and the IPv4 header checksum are checked as a receiving kernel checks them; TCP and UDP
    checksums are not, because a host may leave them to its network card. `captured`: by the sender,
    perhaps before its card had put in the header checksum, so that it says nothing. Raises Malformed.
    """
    size = len(raw)
    if size >= 42 and raw[12] == 8 and raw[13] == 0 and raw[14] == 0x45:  # IPv4 without tags or options
        # RFC 1071: the ones' complement sum must be zero
        if int.from_bytes(raw[14:34], "big") % 0xFFFF and not captured:
            raise Malformed("ipv4: header checksum at offset 24 is wrong")
        protocol = raw[23]
        if protocol == TCP and size >= 54:
            (macs, total, fragment, ttl, ips, sport, dport, seq, ack, words, flags, window, urgent) = (
                _ETHERNET_IPV4_TCP.unpack_from(raw)
            )
            end, payload = 14 + total, 34 + (words >> 4) * 4
            if not fragment & 0x3FFF and 54 <= payload <= end <= size:
                dst, src = _two_macs(macs)
                src_ip, dst_ip = _two_ips(ips)
                return _made(Headers, (
                    src, dst, None, IPV4, src_ip, dst_ip, TCP, sport, dport, flags, seq, ack, window,
                    payload, end, False, ttl, urgent, 14, 34, 0, 0, None, None, b"",
                ))  # fmt: skip
        elif protocol == UDP:
            macs, total, fragment, ttl, ips, sport, dport, length = _ETHERNET_IPV4_UDP.unpack_from(raw)
            if not fragment & 0x3FFF and 8 <= length <= total - 20 and 14 + total <= size:
                dst, src = _two_macs(macs)
                src_ip, dst_ip = _two_ips(ips)
                return _made(Headers, (
                    src, dst, None, IPV4, src_ip, dst_ip, UDP, sport, dport, 0, 0, 0, 0,
                    42, 34 + length, False, ttl, 0, 14, 34, 0, 0, None, None, b"",
                ))  # fmt: skip
    elif size >= 74 and raw[12] == 0x86 and raw[13] == 0xDD and raw[20] == TCP:
        (macs, first, length, _, ttl, ips, sport, dport, seq, ack, words, flags, window, urgent) = (
            _ETHERNET_IPV6_TCP.unpack_from(raw)
        )
        end, payload = 54 + length, 54 + (words >> 4) * 4
        if first >> 28 == 6 and 74 <= payload <= end <= size:
            dst, src = _two_macs(macs)
            src_ip, dst_ip = _two_ips(ips)
            return _made(Headers, (
                src, dst, None, IPV6, src_ip, dst_ip, TCP, sport, dport, flags, seq, ack, window,
                payload, end, False, ttl, urgent, 14, 54, 0, 0, None, None, b"",
            ))  # fmt: skip
    return _any(raw, captured)


def _any(raw: bytes, captured: bool) -> Headers:
    size = len(raw)
    if size < 14:
        raise Malformed(f"ethernet: a frame of {size} bytes is shorter than its header")
    offset, vlan = 14, None
    ethertype = raw[12] << 8 | raw[13]
    while ethertype in _TAGS:
        if offset + 4 > size or offset >= 14 + 4 * _TAGS_AT_MOST:
            raise Malformed(f"ethernet: 802.1Q tag at offset {offset - 2} is cut short or one too many")
        if vlan is None:
            vlan = (raw[offset] << 8 | raw[offset + 1]) & 0x0FFF or None
        ethertype = raw[offset + 2] << 8 | raw[offset + 3]
        offset += 4
    tags = raw[12 : offset - 2]
    link = _Link(mac_text(raw[6:12]), mac_text(raw[:6]), vlan, ethertype, offset, tags)
    if ethertype == IPV4:
        return _transport(raw, link, _ipv4(raw, offset, captured))
    if ethertype == IPV6:
        return _transport(raw, link, _ipv6(raw, offset))
    if ethertype == ARP:
        return _arp(raw, link)
    return Headers(
        link.src_mac, link.dst_mac, vlan, ethertype, payload_offset=offset, payload_end=size,
        ip_offset=offset, transport_offset=offset, tags=tags,
    )  # fmt: skip


def _arp(raw: bytes, link: _Link) -> Headers:
    """RFC 826, for IPv4 over Ethernet, the only ARP that a host answers."""
    offset = link.ip_offset
    if len(raw) < offset + 28:
        raise Malformed(f"arp: cut short at offset {offset}")
    hardware, protocol, hlen, plen, operation, sha, spa, _, tpa = _ARP.unpack_from(raw, offset)
    if (hardware, protocol, hlen, plen) != (1, IPV4, 6, 4):
        raise Malformed(f"arp: not for IPv4 over Ethernet at offset {offset}")
    return Headers(
        link.src_mac, link.dst_mac, link.vlan, link.ethertype, ip_text(spa), ip_text(tpa), kind=operation,
        told_mac=mac_text(sha), payload_offset=offset + 28, payload_end=offset + 28, ip_offset=offset,
        transport_offset=offset, tags=link.tags,
    )  # fmt: skip


def _ipv4(raw: bytes, offset: int, captured: bool) -> _Network:
    """RFC 791, section 3.1."""
    if len(raw) < offset + 20:
        raise Malformed(f"ipv4: header cut short at offset {offset}")
    first, total, fragment, ttl, protocol, src, dst = _IPV4.unpack_from(raw, offset)
    header = (first & 15) * 4
    if first >> 4 != 4 or header < 20:
        raise Malformed(f"ipv4: version or header length at offset {offset} is wrong")
    end = offset + total
    if total < header or end > len(raw):
        raise Malformed(f"ipv4: total length {total} at offset {offset + 2} does not fit the frame")
    if int.from_bytes(raw[offset : offset + header], "big") % 0xFFFF and not captured:
        raise Malformed(f"ipv4: header checksum at offset {offset + 10} is wrong")
    if header > 20 and _leads_on(raw[offset + 20 : offset + header]):
        raise Malformed(f"ipv4: source route at offset {offset + 20} leads on to another host")
    later = bool(fragment & 0x1FFF)
    src_ip, dst_ip = ip_text(src), ip_text(dst)
    return _Network(src_ip, dst_ip, protocol, ttl, bool(fragment & 0x3FFF), later, offset + header, end)


def _leads_on(options: bytes) -> bool:
    """Whether there is a source route among IPv4 options (RFC 791, section 3.1)."""
    at = 0
    while at < len(options) and options[at] != _END_OF_OPTIONS:
        if options[at] in _SOURCE_ROUTES:
            return True
        at += 1 if options[at] == _NO_OPERATION else max((2, *options[at + 1 : at + 2]))
    return False


def _ipv6(raw: bytes, offset: int) -> _Network:
    """RFC 8200, sections 3 and 4."""
    if len(raw) < offset + 40:
        raise Malformed(f"ipv6: header cut short at offset {offset}")
    first, length, protocol, hops, src, dst = _IPV6.unpack_from(raw, offset)
    end = offset + 40 + length
    if first >> 28 != 6:
        raise Malformed(f"ipv6: version at offset {offset} is wrong")
    if end > len(raw):
        raise Malformed(f"ipv6: payload length {length} at offset {offset + 4} goes beyond the frame")
    at, fragment, later, count = offset + 40, False, False, 0
    while protocol in _EXTENSIONS and not later:
        if count == _EXTENSIONS_AT_MOST:
            raise Malformed(f"ipv6: more than {_EXTENSIONS_AT_MOST} extension headers")
        if at + 8 > end:
            raise Malformed(f"ipv6: extension header cut short at offset {at}")
        following = raw[at]
        if protocol == _FRAGMENT:
            part = raw[at + 2] << 8 | raw[at + 3]
            fragment, later = fragment or bool(part & 0xFFF9), bool(part & 0xFFF8)
            at += 8
        elif protocol == _AUTHENTICATION:
            at += (raw[at + 1] + 2) * 4  # RFC 4302, section 2.2
        else:
            if protocol == _HOP_BY_HOP and count:
                raise Malformed(f"ipv6: hop-by-hop options at offset {at} are not the first header")
            if protocol == _ROUTING and raw[at + 3]:
                raise Malformed(f"ipv6: routing header at offset {at} leads on to another host")
            at += (raw[at + 1] + 1) * 8
        if at > end:
            raise Malformed(f"ipv6: extension header before offset {at} goes beyond the packet")
        protocol = following
        count += 1
    return _Network(ip_text(src), ip_text(dst), protocol, hops, fragment, later, at, end)


def _transport(raw: bytes, link: _Link, network: _Network) -> Headers:
    """TCP, UDP or ICMP behind IP."""
    src_mac, dst_mac, vlan, ethertype, ip_offset, tags = link
    src_ip, dst_ip, protocol, ttl, fragment, later, offset, end = network
    sport = dport = target = told_mac = None
    flags = seq = ack = window = urgent = kind = code = 0
    payload = offset
    if fragment:
        if not later and protocol in (TCP, UDP) and end - offset >= 4:
            sport, dport = _PORTS.unpack_from(raw, offset)
    elif protocol == TCP:
        if end - offset < 20:
            raise Malformed(f"tcp: header cut short at offset {offset}")
        sport, dport, seq, ack, words, flags, window, urgent = _TCP.unpack_from(raw, offset)
        payload = offset + (words >> 4) * 4
        if payload < offset + 20 or payload > end:
            raise Malformed(f"tcp: data offset at offset {offset + 12} points outside the segment")
    elif protocol == UDP:
        if end - offset < 8:
            raise Malformed(f"udp: header cut short at offset {offset}")
        sport, dport, length = _UDP.unpack_from(raw, offset)
        if length < 8 or offset + length > end:
            raise Malformed(f"udp: length {length} at offset {offset + 4} does not fit the packet")
        payload, end = offset + 8, offset + length
    elif protocol in (ICMP, ICMPV6):
        if end - offset < (8 if protocol == ICMP else 4):
            raise Malformed(f"icmp: header cut short at offset {offset}")
        kind, code, payload = raw[offset], raw[offset + 1], offset + 4
        if protocol == ICMPV6 and kind in _NEIGHBOUR:
            target, told_mac = _neighbour(raw, kind, offset, end)
    return Headers(
        src_mac, dst_mac, vlan, ethertype, src_ip, dst_ip, protocol, sport, dport, flags, seq, ack, window,
        payload, end, fragment, ttl, urgent, ip_offset, offset, kind, code, target, told_mac, tags,
    )  # fmt: skip


def _neighbour(raw: bytes, kind: int, offset: int, end: int) -> tuple[str | None, str | None]:
    """Target and sender's link-layer address of neighbour discovery (RFC 4861, sections 4.1-4.6)."""
    fixed, targeted, wanted = _NEIGHBOUR[kind]
    if end - offset < fixed:
        raise Malformed(f"icmpv6: neighbour discovery cut short at offset {offset}")
    told = None
    at = offset + fixed
    while at < end:
        length = raw[at + 1] * 8 if at + 1 < end else 0
        if not length or at + length > end:
            raise Malformed(f"icmpv6: option at offset {at} has a wrong length")
        if raw[at] == wanted and told is None:
            told = mac_text(raw[at + 2 : at + 8])
        at += length
    return ip_text(raw[offset + 8 : offset + 24]) if targeted else None, told
