"""Builds frames byte by byte, without any code of the product."""

import struct
from ipaddress import ip_address

CLIENT, SERVER = "10.0.0.1", "10.0.0.2"
CLIENT_6, SERVER_6 = "fd00::1", "fd00::2"
MACS = bytes.fromhex("020000000002 020000000001")  # to the server, from the client
FIN, SYN, RST, PSH, ACK, URG = 1, 2, 4, 8, 16, 32


def checksum(data: bytes) -> int:
    """RFC 1071, as it is written there."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(protocol: int, payload: bytes, src: str = CLIENT, dst: str = SERVER, **fields: int) -> bytes:
    """`fields`: total, fragment, ttl, options (bytes), checksum."""
    options = bytes(fields.get("options", 0))
    length = 20 + len(options)
    head = struct.pack(
        "!BBHHHBBH4s4s",
        0x40 | length // 4,
        0,
        fields.get("total", length + len(payload)),
        7,
        fields.get("fragment", 0),
        fields.get("ttl", 64),
        protocol,
        0,
        ip_address(src).packed,
        ip_address(dst).packed,
    )
    head += options
    value = fields.get("checksum", checksum(head))
    return head[:10] + struct.pack("!H", value) + head[12:] + payload


def ipv6(protocol: int, payload: bytes, src: str = CLIENT_6, dst: str = SERVER_6, hops: int = 64) -> bytes:
    addresses = ip_address(src).packed + ip_address(dst).packed
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, hops) + addresses + payload


def ethernet(payload: bytes, ethertype: int = 0x0800, tags: bytes = b"", macs: bytes = MACS) -> bytes:
    return macs + tags + struct.pack("!H", ethertype) + payload


def udp_segment(data: bytes, sport: int = 40000, dport: int = 5683, length: int | None = None) -> bytes:
    return struct.pack("!HHHH", sport, dport, 8 + len(data) if length is None else length, 0) + data


def udp(data: bytes, sport: int = 40000, dport: int = 5683) -> bytes:
    return ethernet(ipv4(17, udp_segment(data, sport, dport)))


def tcp(
    seq: int,
    data: bytes = b"",
    flags: int = ACK | PSH,
    *,
    ack: int = 5000,
    port: int = 80,
    client_port: int = 40000,
    urgent: int = 0,
    wrong_checksum: bool = False,
    six: bool = False,
    back: bool = False,
    told: bytes = b"",
    **fields: int,
) -> bytes:
    """A frame from the client to the server; with `back` from the server to the client. `told`: options."""
    src, dst = (CLIENT_6, SERVER_6) if six else (CLIENT, SERVER)
    sport, dport, macs = client_port, port, MACS
    if back:
        src, dst, sport, dport, macs = dst, src, dport, sport, MACS[6:] + MACS[:6]
    seq &= 0xFFFFFFFF
    size = 0x50 + len(told) // 4 * 16
    bare = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, size, flags, 65535, 0, urgent) + told + data
    pseudo = ip_address(src).packed + ip_address(dst).packed + struct.pack("!IHBB", len(bare), 0, 0, 6)
    value = checksum(pseudo + bare) ^ wrong_checksum
    segment = bare[:16] + struct.pack("!H", value) + bare[18:]
    if six:
        return ethernet(ipv6(6, segment), 0x86DD, macs=macs)
    return ethernet(ipv4(6, segment, src, dst, **fields), macs=macs)
