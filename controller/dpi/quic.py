"""QUIC: the hello in a client's first packets, whose keys anybody can derive (RFC 9000, 9001, 9369).

Knows nothing of conversations: what comes behind the hello says nothing, and belongs to who has said
hello. Packets with a short header look like any bytes, so on their own they are not recognised.
"""

from functools import lru_cache
from hmac import digest
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from controller.dpi.dissector import Datagram, Part
from controller.dpi.message import Malformed, Message
from controller.dpi.tls import client_hello

_PADDING, _PING, _ACK, _ACK_ECN, _CRYPTO, _CLOSE = 0x00, 0x01, 0x02, 0x03, 0x06, 0x1C
_CLIENT_HELLO = 1
_ID_AT_MOST = 20  # bytes of a connection id (RFC 9000, section 17.2)
_PACKETS_AT_MOST = 8  # in one datagram
_LONG = 0x80  # the first bit of a long header; the second may be greased (RFC 9287)

_SAYS_NOTHING = Datagram(())


class _Version(NamedTuple):
    """What differs between versions (RFC 9001, section 5.2; RFC 9369, section 3)."""

    salt: bytes
    label: bytes
    initial: int  # type of an Initial packet
    retry: int


_VERSIONS = {
    b"\0\0\0\1": _Version(bytes.fromhex("38762cf7f55934b34d179ae6a4c80cadccbb7f0a"), b"quic ", 0, 3),
    b"\x6b\x33\x43\xcf": _Version(
        bytes.fromhex("0dede3def700a6db819381be6e269dcbf9bd2ed9"), b"quicv2 ", 1, 0
    ),
}


class _Keys(NamedTuple):
    """What protects a client's Initial packets."""

    packet: AESGCM
    iv: int
    header: AES


def _wrong(what: str) -> Malformed:
    return Malformed(f"quic: {what}")


def _expanded(secret: bytes, label: bytes, size: int) -> bytes:
    """RFC 8446, section 7.1: HKDF-Expand-Label without context."""
    label = b"tls13 " + label
    info = size.to_bytes(2, "big") + bytes([len(label)]) + label + b"\0"
    return HKDFExpand(SHA256(), size, info).derive(secret)


@lru_cache(maxsize=256)
def _keys(version: _Version, destination: bytes) -> _Keys:
    """RFC 9001, sections 5.1 and 5.2."""
    client = _expanded(digest(version.salt, destination, "sha256"), b"client in", 32)
    key = _expanded(client, version.label + b"key", 16)
    iv = int.from_bytes(_expanded(client, version.label + b"iv", 12), "big")
    return _Keys(AESGCM(key), iv, AES(_expanded(client, version.label + b"hp", 16)))


class _Reader:
    """Takes a packet apart; raises Malformed when there is not enough of it."""

    __slots__ = ("at", "data", "end")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data, self.at, self.end = data, at, len(data)

    def take(self, size: int) -> bytes:
        at, self.at = self.at, self.at + size
        if self.at > self.end:
            raise _wrong(f"cut short at offset {at}")
        return self.data[at : self.at]

    def number(self) -> int:
        """RFC 9000, section 16."""
        first = self.take(1)[0]
        value = first & 0x3F
        for byte in self.take((1 << (first >> 6)) - 1):
            value = value << 8 | byte
        return value


def datagram(payload: bytes, src_port: int, dst_port: int) -> Datagram | None:
    """One datagram, whatever its ports, if it begins with a long header of a version that is known."""
    del src_port, dst_port
    if len(payload) < 7 or payload[0] < _LONG or payload[1:5] not in _VERSIONS:
        return None
    if payload[5] > _ID_AT_MOST or len(payload) < 7 + payload[5] or payload[6 + payload[5]] > _ID_AT_MOST:
        return None
    pieces: list[tuple[int, bytes]] = []
    which, at = payload[6 : 6 + payload[5]], 0
    for _ in range(_PACKETS_AT_MOST):
        if at + 7 > len(payload) or payload[at] < _LONG or payload[at + 6 : at + 6 + len(which)] != which:
            break  # a short header, padding, or of another connection (RFC 9000, section 12.2)
        at = _packet(payload, at, pieces)
    if not pieces:
        return _SAYS_NOTHING
    return Datagram((), part=Part(which, tuple(pieces), _read))


def _packet(data: bytes, at: int, pieces: list[tuple[int, bytes]]) -> int:
    """One packet with a long header (RFC 9000, section 17.2); the offset behind it.

    What it carries of the hello is added to `pieces`.
    """
    reader = _Reader(data, at + 5)
    version = _VERSIONS.get(data[at + 1 : at + 5])
    if version is None:
        raise _wrong(f"another version at offset {at}")
    destination = reader.take(reader.take(1)[0])
    reader.take(reader.take(1)[0])
    kind = data[at] >> 4 & 3
    if kind == version.retry:
        return len(data)
    if kind == version.initial:
        reader.take(reader.number())  # token
    size = reader.number()
    start = reader.at
    reader.take(size)
    if kind == version.initial and size >= 20:
        opened = _opened(_keys(version, destination), data, at, start, reader.at)
        if opened is not None:
            _crypto(opened, pieces)
    return reader.at


def _opened(keys: _Keys, data: bytes, at: int, start: int, end: int) -> bytes | None:
    """A packet without its protection (RFC 9001, section 5.4); None if it is protected with other keys.

    That is so for all that comes after the server has answered.
    """
    encryptor = Cipher(keys.header, ECB()).encryptor()  # noqa: S305 - one block, as the RFC has it
    mask = encryptor.update(data[start + 4 : start + 20])
    first = data[at] ^ (mask[0] & 0x0F)
    length = (first & 3) + 1
    number = bytes(a ^ b for a, b in zip(data[start : start + length], mask[1:], strict=False))
    header = bytes([first]) + data[at + 1 : start] + number
    nonce = (keys.iv ^ int.from_bytes(number, "big")).to_bytes(12, "big")
    try:
        return keys.packet.decrypt(nonce, data[start + length : end], header)
    except InvalidTag:
        return None


def _crypto(data: bytes, pieces: list[tuple[int, bytes]]) -> None:
    """The pieces of the hello among the frames that an Initial packet may have (RFC 9000, section 17.2.2)."""
    reader = _Reader(data)
    while reader.at < reader.end:
        kind = reader.number()
        if kind == _CRYPTO:
            offset, size = reader.number(), reader.number()
            pieces.append((offset, reader.take(size)))
        elif kind in (_ACK, _ACK_ECN):
            reader.number()
            reader.number()
            ranges = reader.number()
            for _ in range(min(1 + 2 * ranges, reader.end)):
                reader.number()
            for _ in range(3 if kind == _ACK_ECN else 0):
                reader.number()
        elif kind == _CLOSE:
            reader.number()
            reader.number()
            reader.take(reader.number())
        elif kind == _PADDING:
            reader.at = reader.end - len(data[reader.at :].lstrip(b"\0"))
        elif kind != _PING:
            raise _wrong(f"frame of type {kind} in an Initial packet")


def _read(whole: bytes) -> Message:
    if whole[0] != _CLIENT_HELLO:
        raise _wrong(f"handshake message of type {whole[0]} instead of the hello")
    return client_hello(whole[4:], "quic")
