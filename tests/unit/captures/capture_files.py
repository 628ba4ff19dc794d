"""Captures made by hand, byte by byte, as the formats' drafts say."""

import struct
from collections.abc import Iterable

ETHERNET = 1
MAC_A, MAC_B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
QUERY = bytes.fromhex("1234 0100 0001 0000 0000 0000 03777777 0474657374 00 0001 0001")


def ipv4(payload: bytes = QUERY, port: int = 53, source: str = "10.0.0.1") -> bytes:
    """An IPv4 packet with a UDP datagram."""
    udp = struct.pack("!HHHH", 40000, port, 8 + len(payload), 0) + payload
    src, dst = (bytes(map(int, a.split("."))) for a in (source, "10.0.0.2"))
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0, src, dst) + udp


def ipv6(payload: bytes = QUERY) -> bytes:
    udp = struct.pack("!HHHH", 40000, 53, 8 + len(payload), 0) + payload
    ends = bytes.fromhex("fe80" + "00" * 13 + "01" + "fe80" + "00" * 13 + "02")
    return struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + ends + udp


def ethernet(packet: bytes | None = None, tag: bytes = b"") -> bytes:
    return MAC_B + MAC_A + tag + b"\x08\0" + (ipv4() if packet is None else packet)


def pcap(
    frames: Iterable[bytes],
    link: int = ETHERNET,
    order: str = "<",
    magic: int = 0xA1B2C3D4,
    part: int = 123456,
) -> bytes:
    made = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 65535, link)
    for second, frame in enumerate(frames, 1_700_000_000):
        made += struct.pack(f"{order}IIII", second, part, len(frame), len(frame)) + frame
    return made


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    body += b"\0" * (-len(body) % 4)
    return struct.pack(f"{order}II", kind, len(body) + 12) + body + struct.pack(f"{order}I", len(body) + 12)


def section(order: str = "<") -> bytes:
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(link: int = ETHERNET, order: str = "<", options: bytes = b"") -> bytes:
    return block(1, struct.pack(f"{order}HHI", link, 0, 0) + options, order)


def option(code: int, value: bytes, order: str = "<") -> bytes:
    return struct.pack(f"{order}HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def packet(frame: bytes, ticks: int, number: int = 0, order: str = "<") -> bytes:
    head = struct.pack(f"{order}IIIII", number, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame))
    return block(6, head + frame, order)
