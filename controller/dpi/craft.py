"""Builds the few frames that Graphwall itself puts on the wire, with all their checksums.

Knows nothing of why they are sent.
"""

from ipaddress import ip_address
from struct import Struct

from controller.dpi.frame import ICMP, ICMPV6, IPV4, IPV6, TCP, Headers

_ETHERTYPE = Struct("!H")
_IPV4 = Struct("!BBHHHBBH4s4s")
_IPV6 = Struct("!IHBB16s16s")
_TCP = Struct("!HHIIBBHHH")
_PSEUDO = Struct("!HBB")
_MASK = 0xFFFFFFFF
_HOPS = 64
_DONT_FRAGMENT = 0x4000
_END_OF_OPTIONS, _NO_OPERATION = 0, 1  # of TCP


def checksum(data: bytes) -> int:
    """The Internet checksum (RFC 1071) of data in which its own field is zero."""
    if len(data) & 1:
        data += b"\0"
    total = int.from_bytes(data, "big")
    return 0xFFFF - ((total - 1) % 0xFFFF + 1 if total else 0)


def _pseudo(src: bytes, dst: bytes, protocol: int, length: int) -> bytes:
    """RFC 9293, section 3.1; RFC 8200, section 8.1 (which comes to the same sum)."""
    return src + dst + _PSEUDO.pack(length, 0, protocol)


def _ethernet(headers: Headers, back: bool) -> bytes:
    """The link header of a frame on the way of `headers`, or back, in the same VLAN."""
    ends = (headers.src_mac, headers.dst_mac) if back else (headers.dst_mac, headers.src_mac)
    macs = b"".join(bytes.fromhex(mac.replace(":", "")) for mac in ends)
    return macs + headers.tags + _ETHERTYPE.pack(headers.ethertype)


def _addresses(headers: Headers, back: bool) -> tuple[bytes, bytes]:
    """Source and destination on the way of `headers`, or back."""
    src, dst = ip_address(headers.src_ip or "").packed, ip_address(headers.dst_ip or "").packed
    return (dst, src) if back else (src, dst)


def _ip(src: bytes, dst: bytes, protocol: int, payload: bytes) -> bytes:
    if len(src) == 16:
        return _IPV6.pack(6 << 28, len(payload), protocol, _HOPS, src, dst) + payload
    total = 20 + len(payload)
    bare = _IPV4.pack(0x45, 0, total, 0, _DONT_FRAGMENT, _HOPS, protocol, 0, src, dst)
    return _IPV4.pack(0x45, 0, total, 0, _DONT_FRAGMENT, _HOPS, protocol, checksum(bare), src, dst) + payload


def tcp(headers: Headers, *, back: bool, seq: int, ack: int, flags: int, window: int = 0) -> bytes:
    """A TCP segment without data between the two ends of `headers`: on its way, or back."""
    src, dst = _addresses(headers, back)
    ports = headers.src_port or 0, headers.dst_port or 0
    sport, dport = ports[::-1] if back else ports
    seq, ack = seq & _MASK, ack & _MASK
    bare = _TCP.pack(sport, dport, seq, ack, 0x50, flags, window, 0, 0)
    value = checksum(_pseudo(src, dst, TCP, len(bare)) + bare)
    segment = _TCP.pack(sport, dport, seq, ack, 0x50, flags, window, value, 0)
    return _ethernet(headers, back) + _ip(src, dst, TCP, segment)


def icmp_error(headers: Headers, kind: int, code: int, quoted: bytes) -> bytes:
    """An ICMP or ICMPv6 error from the destination of `headers` to its source."""
    src, dst = _addresses(headers, back=True)
    bare = bytes((kind, code, 0, 0, 0, 0, 0, 0)) + quoted
    if headers.ethertype == IPV6:
        value, protocol = checksum(_pseudo(src, dst, ICMPV6, len(bare)) + bare), ICMPV6
    else:
        value, protocol = checksum(bare), ICMP
    message = bare[:2] + _ETHERTYPE.pack(value) + bare[4:]
    return _ethernet(headers, back=True) + _ip(src, dst, protocol, message)


def without_payload(raw: bytes, headers: Headers) -> bytes:
    """A TCP frame with its headers as they are, but no data."""
    at = headers.ip_offset
    frame = bytearray(raw[: headers.payload_offset])
    if headers.ethertype == IPV4:
        frame[at + 2 : at + 4] = _ETHERTYPE.pack(len(frame) - at)
        frame[at + 10 : at + 12] = b"\0\0"
        frame[at + 10 : at + 12] = _ETHERTYPE.pack(checksum(bytes(frame[at : headers.transport_offset])))
    else:
        frame[at + 4 : at + 6] = _ETHERTYPE.pack(len(frame) - at - 40)
    return _summed(frame, headers)


def without_option(raw: bytes, headers: Headers, kind: int) -> bytes:
    """A TCP frame that says nothing where it had that option (RFC 9293, section 3.1)."""
    frame = bytearray(raw[: headers.payload_end])
    at, end = headers.transport_offset + 20, headers.payload_offset
    found = False
    while at < end and frame[at] != _END_OF_OPTIONS:
        size = 1 if frame[at] == _NO_OPERATION else max((2, *frame[at + 1 : at + 2]))
        if frame[at] == kind and at + size <= end:
            frame[at : at + size] = bytes((_NO_OPERATION,)) * size
            found = True
        at += size
    return _summed(frame, headers) if found else raw


def _summed(frame: bytearray, headers: Headers) -> bytes:
    """A frame with the TCP checksum that its segment has now."""
    src, dst = _addresses(headers, back=False)
    segment = headers.transport_offset
    frame[segment + 16 : segment + 18] = b"\0\0"
    data = bytes(frame[segment:])
    frame[segment + 16 : segment + 18] = _ETHERTYPE.pack(checksum(_pseudo(src, dst, TCP, len(data)) + data))
    return bytes(frame)


def tcp_checksum_right(raw: bytes, headers: Headers) -> bool:
    """Whether the TCP checksum of a frame without IP options or extension headers is complete and right.

    False also where a network card is to complete it.
    """
    start, end = headers.transport_offset, headers.payload_end
    size = end - start
    # Both addresses stand before the segment, and their order means nothing to the sum.
    value = int.from_bytes(raw[start - (8 if headers.ethertype == IPV4 else 32) : end], "big")
    return not ((value << 8 if size & 1 else value) + size + TCP) % 0xFFFF
