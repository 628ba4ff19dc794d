"""A recording as somebody at a mirror port would have made it: a lamp, its switch, and somebody else."""

import struct
from collections.abc import Iterable

from tests.unit.inspector.judgement.frames import ACK, FIN, PSH, SYN, coap, coap_answer, tcp, udp

BEGIN = 1_700_000_000.0
SWITCH, LAMP, WASHER, LOCK = "10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"

Frames = list[tuple[float, bytes]]  # seconds since BEGIN, and what was seen


def lamp(at: float, method: str = "GET", path: str = "/light", client: str = SWITCH) -> Frames:
    """One request over CoAP, and its answer."""
    return [
        (at, udp(client, LAMP, 40000, 5683, coap(method, path))),
        (at + 0.01, udp(LAMP, client, 5683, 40000, coap_answer())),
    ]


def http(
    at: float,
    *requests: bytes,
    client: str = WASHER,
    server: str = LOCK,
    own: int = 41000,
    step: float = 0.01,
) -> Frames:
    """A connection with these requests, each of which is answered whatever it asks for."""
    seq, ack, found = 1000, 7000, list[tuple[float, bytes]]()

    def sent(raw: bytes) -> None:
        found.append((at + step * len(found), raw))

    sent(tcp(client, server, own, 80, SYN, seq))
    sent(tcp(server, client, 80, own, SYN | ACK, ack, seq + 1))
    seq, ack = seq + 1, ack + 1
    sent(tcp(client, server, own, 80, ACK, seq, ack))
    for request in requests:
        sent(tcp(client, server, own, 80, PSH | ACK, seq, ack, request))
        seq += len(request)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
        sent(tcp(server, client, 80, own, PSH | ACK, ack, seq, answer))
        ack += len(answer)
    sent(tcp(client, server, own, 80, FIN | ACK, seq, ack))
    return found


def request(method: str, path: str) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: lock\r\n\r\n".encode()


def day(length: float = 100.0, step: float = 1.0) -> Frames:
    """What they always do, every `step` seconds."""
    found: Frames = []
    at = 0.0
    while at < length:
        found += lamp(at) + http(at + 0.1, request("GET", "/state"), own=41000 + int(at / step) % 1000)
        at += step
    return found


def capture(frames: Iterable[tuple[float, bytes]], begin: float = BEGIN) -> bytes:
    """As a pcap file."""
    made = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1)
    for at, raw in frames:
        seconds, part = divmod(round((begin + at) * 1e9), 10**9)
        made += struct.pack("<IIII", seconds, part, len(raw), len(raw)) + raw
    return made
