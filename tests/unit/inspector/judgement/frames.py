"""Frames as hosts would send them, written by hand so that no parser of the product checks itself."""

from ipaddress import ip_address
from struct import pack

SYN, ACK, PSH, RST, FIN = 0x02, 0x10, 0x08, 0x04, 0x01
COAP_METHODS = {"GET": 1, "POST": 2, "PUT": 3, "DELETE": 4}


def mac(address: str) -> bytes:
    """The MAC address of the host with this address; of a group if it is one."""
    ip = ip_address(address)
    if ip.is_multicast or address == "255.255.255.255":
        return b"\xff" * 6
    return b"\x02\0\0\0\0" + ip.packed[-1:]


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(int.from_bytes(data[i : i + 2]) for i in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def ip(
    source: str, destination: str, protocol: int, body: bytes, to: bytes | None = None, fragment: int = 0
) -> bytes:
    """An IPv4 or IPv6 packet in an Ethernet frame; `to` is another MAC address than the host's own."""
    src, dst = ip_address(source), ip_address(destination)
    link = (to if to is not None else mac(destination)) + mac(source)
    if src.version == 6:
        return (
            link + pack("!HIHBB", 0x86DD, 6 << 28, len(body), protocol, 64) + src.packed + dst.packed + body
        )
    head = pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, fragment, 64, protocol, 0) + src.packed + dst.packed
    head = head[:10] + pack("!H", checksum(head)) + head[12:]
    return link + b"\x08\0" + head + body


def _summed(source: str, destination: str, protocol: int, body: bytes, at: int) -> bytes:
    pseudo = ip_address(source).packed + ip_address(destination).packed
    pseudo += pack("!II", len(body), protocol)
    return body[:at] + pack("!H", checksum(pseudo + body) or 0xFFFF) + body[at + 2 :]


def udp(
    source: str, destination: str, source_port: int, port: int, payload: bytes, to: bytes | None = None
) -> bytes:
    body = pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload
    return ip(source, destination, 17, _summed(source, destination, 17, body, 6), to)


def tcp(
    source: str,
    destination: str,
    source_port: int,
    port: int,
    flags: int,
    seq: int = 0,
    ack: int = 0,
    payload: bytes = b"",
) -> bytes:
    body = pack("!HHIIBBHHH", source_port, port, seq, ack, 5 << 4, flags, 64240, 0, 0) + payload
    return ip(source, destination, 6, _summed(source, destination, 6, body, 16))


def icmp(source: str, destination: str, kind: int, code: int, rest: bytes) -> bytes:
    """`rest` is everything behind the checksum."""
    body = pack("!BBH", kind, code, 0) + rest
    if ":" in source:
        return ip(source, destination, 58, _summed(source, destination, 58, body, 2))
    return ip(source, destination, 1, body[:2] + pack("!H", checksum(body)) + body[4:])


def echo(source: str, destination: str, identifier: int, reply: bool = False) -> bytes:
    kinds = (128, 129) if ":" in source else (8, 0)
    return icmp(source, destination, kinds[reply], 0, pack("!HH", identifier, 1) + b"ping")


def unreachable(source: str, frame: bytes) -> bytes:
    """The error by which `source` tells the sender of `frame` that nobody listens there."""
    packet = frame[14:]
    if packet[0] >> 4 == 6:
        sender = str(ip_address(packet[8:24]))
        return icmp(source, sender, 1, 4, bytes(4) + packet[:1200])
    sender = str(ip_address(packet[12:16]))
    return icmp(source, sender, 3, 3, bytes(4) + packet[:28])


def coap(method: str, path: str, kind: int = 0) -> bytes:
    """A CoAP request (RFC 7252)."""
    options, last = b"", 0
    for part in path.strip("/").split("/"):
        text = part.encode()
        assert len(text) < 13, "long options are not for these tests"
        options += bytes([(11 - last) << 4 | len(text)]) + text
        last = 11
    return bytes([0x40 | kind << 4 | 1, COAP_METHODS[method], 0, 1, 0x2A]) + options


def coap_answer(code: int = 0x45, kind: int = 2) -> bytes:
    return bytes([0x40 | kind << 4 | 1, code, 0, 1, 0x2A]) + b"\xff21"


COAP_ACK = bytes([0x60, 0, 0, 1])
