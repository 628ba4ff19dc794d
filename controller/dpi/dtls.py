"""DTLS: the hello that opens a conversation over UDP (RFC 6347, RFC 9147), read as in TLS.

Knows nothing of conversations: what comes behind the hello says nothing, and belongs to who has said hello.
"""

from struct import Struct

from controller.dpi.dissector import Datagram, Part
from controller.dpi.message import Malformed, Message
from controller.dpi.tls import client_hello

_RECORD = Struct("!BBBHHIH")  # type, version, epoch, sequence number (48 bits), length
_MESSAGE = Struct("!BBHHBHBH")  # kind, length, number, offset and length of this part (24 bits)
_HEADER = 13
_HANDSHAKE, _WITH_ID = 22, 25  # content types; RFC 9146
_TYPES = frozenset({20, 21, _HANDSHAKE, 23, 24, 26})
_MINORS = frozenset({0xFF, 0xFD, 0xFC})  # 1.0, 1.2, 1.3
_UNIFIED = 1  # RFC 9147, section 4: the first three bits of an encrypted record of 1.3
_CLIENT_HELLO = 1
_OF_SERVERS = frozenset({0, 2, 3, 6, 12, 13, 14, 22})  # kinds of handshake messages

_Part = tuple[int, int, bytes]  # number of the hello, offset in it, some of its bytes

_SAYS_NOTHING = Datagram(())
_ANSWER = Datagram((), answer=True)


def _wrong(what: str, offset: int) -> Malformed:
    return Malformed(f"dtls: {what} at offset {offset}")


def _is_record(data: bytes, at: int) -> bool:
    """Whether the header of a record with all its content is at `at`.

    Servers take a hello with any minor version (RFC 6347, section 4.2.1, wants 1.0 there).
    """
    if len(data) < at + _HEADER or data[at] not in _TYPES or data[at + 1] != 0xFE:
        return False
    if at + _HEADER + (data[at + 11] << 8 | data[at + 12]) > len(data):
        return False
    hello = data[at] == _HANDSHAKE and data[at + 3 : at + 5] == b"\0\0" and data[at + 13 : at + 14] == b"\1"
    return data[at + 2] in _MINORS or hello


def datagram(payload: bytes, src_port: int, dst_port: int) -> Datagram | None:
    """One datagram, whatever its ports: some records, of which the first is as DTLS has it."""
    del src_port, dst_port
    if payload[:1] == bytes([_WITH_ID]) and payload[1:3] in (b"\xfe\xfd", b"\xfe\xfc"):
        return _SAYS_NOTHING  # where its length stands is known to its ends alone
    if not _is_record(payload, 0):
        return None
    parts: list[_Part] = []
    at = 0
    while at < len(payload):
        if not _is_record(payload, at):
            if payload[at] >> 5 == _UNIFIED or payload[at] == _WITH_ID:
                break
            raise _wrong("no record", at)
        kind, _, _, epoch, _, _, size = _RECORD.unpack_from(payload, at)
        at += _HEADER
        if kind == _HANDSHAKE and not epoch and _said_by_server(payload, at, at + size, parts):
            return _ANSWER
        at += size
    if not parts:
        return _SAYS_NOTHING
    numbers = {number for number, _, _ in parts}
    if len(numbers) > 1:
        raise _wrong("two hellos", 0)
    pieces = tuple((offset, piece) for _, offset, piece in parts)
    return Datagram((), part=Part(b"%d" % numbers.pop(), pieces, _read))


def _said_by_server(data: bytes, at: int, end: int, parts: list[_Part]) -> bool:
    """Add the parts of a ClientHello in a record (RFC 6347, section 4.2.2); True if a server says this."""
    while at < end:
        if end - at < _MESSAGE.size:
            raise _wrong("handshake message cut short", at)
        kind, high, low, number, o_high, o_low, p_high, p_low = _MESSAGE.unpack_from(data, at)
        size, offset, part = high << 16 | low, o_high << 16 | o_low, p_high << 16 | p_low
        at += _MESSAGE.size
        if offset + part > size or at + part > end:
            raise _wrong("part of a handshake message does not fit", at)
        if kind in _OF_SERVERS:
            return True
        if kind == _CLIENT_HELLO:
            parts.append((number, 0, bytes((_CLIENT_HELLO, high, low >> 8, low & 0xFF))))
            parts.append((number, 4 + offset, data[at : at + part]))
        at += part
    return False


def _read(whole: bytes) -> Message:
    return client_hello(whole[4:], "dtls")
