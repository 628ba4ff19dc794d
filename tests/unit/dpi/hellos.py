"""Hellos as other implementations write them."""

import ssl
from itertools import pairwise

from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.unit.dpi.test_tls import alpn, body, handshake, named

BODY = body(named(b"lamp.example") + alpn(b"coap"), version="fefd")
DTLS_BODY = BODY[:67] + b"\4cook" + BODY[67:]  # behind version, random and session


def quic(name: str = "lamp.example", version: int = 1) -> bytes:
    """The first datagram of a client."""
    configuration = QuicConfiguration(
        is_client=True,
        server_name=name,
        alpn_protocols=["h3"],
        verify_mode=ssl.CERT_NONE,
        original_version=version,
        supported_versions=[version],
    )
    client = QuicConnection(configuration=configuration)
    client.connect(("10.0.0.2", 443), now=0.0)
    (first, _), *_ = client.datagrams_to_send(now=0.0)
    return first


def dtls(part: bytes, offset: int = 0, size: int = len(DTLS_BODY), number: int = 0, kind: int = 1) -> bytes:
    """A record with a part of a hello (RFC 6347, sections 4.1 and 4.2.2)."""
    message = bytes([kind]) + size.to_bytes(3, "big") + number.to_bytes(2, "big")
    message += offset.to_bytes(3, "big") + len(part).to_bytes(3, "big") + part
    return b"\x16\xfe\xfd" + bytes(8) + len(message).to_bytes(2, "big") + message


def dtls_parts(*edges: int, data: bytes = DTLS_BODY, number: int = 0) -> list[bytes]:
    """A hello cut into datagrams."""
    return [dtls(data[a:b], a, len(data), number) for a, b in pairwise((0, *edges, len(data)))]


def quic_initial(
    pieces: list[tuple[int, bytes]], number: int = 0, frames: bytes = b"", bits: int = 0xC0
) -> bytes:
    """An Initial packet with CRYPTO frames, protected with the keys of RFC 9001, appendix A.1."""
    destination = bytes.fromhex("8394c8f03e515708")
    key, iv = bytes.fromhex("1f369613dd76d5467730efcbe3b1a22d"), bytes.fromhex("fa044b2f42a3fd3b46fb255c")
    header_key = bytes.fromhex("9f50449e04a0e810283a1e9933adedd2")
    for offset, piece in pieces:
        frames += b"\6" + (0x80000000 | offset).to_bytes(4, "big") + (0x4000 | len(piece)).to_bytes(2, "big")
        frames += piece
    frames += bytes(max(1162 - len(frames), 0))
    header = bytes([bits | 3]) + b"\0\0\0\1" + bytes([len(destination)]) + destination + b"\0\0"
    header += (0x4000 | 4 + len(frames) + 16).to_bytes(2, "big")
    counted = header + number.to_bytes(4, "big")
    nonce = (int.from_bytes(iv, "big") ^ number).to_bytes(12, "big")
    sealed = AESGCM(key).encrypt(nonce, frames, counted)
    mask = Cipher(algorithms.AES(header_key), modes.ECB()).encryptor().update(sealed[:16])
    first = bytes([counted[0] ^ mask[0] & 15])
    protected = bytes(a ^ b for a, b in zip(counted[-4:], mask[1:5], strict=True))
    return first + header[1:] + protected + sealed


HELLO = handshake(body(named(b"lamp.example") + alpn(b"h3")))
