"""TLS: which server a client wants, and what kind of client it is, from the one message that can be read.

Knows nothing of connections, certificates and services. Follows RFC 8446 (TLS 1.3; the section numbers
below), RFC 6066 (server name), RFC 7301 (ALPN), RFC 8701 (GREASE) and, for the client's fingerprint,
"JA4: TLS Client Fingerprinting" by FoxIO. The same hello opens DTLS (dtls.py) and QUIC (quic.py).
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256

from controller.dpi.dissector import Fed
from controller.dpi.message import Malformed, Message, Operation

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_LARGEST = 65536  # bytes of the stream up to the end of the hello
_LARGEST_RECORD = 16384  # 5.1
_SERVER_NAME, _SIGNATURES, _ALPN, _VERSIONS, _ENCRYPTED_HELLO = 0, 13, 16, 43, 0xFE0D

# Version -> as people write it, as JA4 does
_VERSION_NAMES: Mapping[int, tuple[str, str]] = {
    0x0304: ("1.3", "13"),
    0x0303: ("1.2", "12"),
    0x0302: ("1.1", "11"),
    0x0301: ("1.0", "10"),
    0x0300: ("SSL 3.0", "s3"),
    0xFEFC: ("1.3", "d3"),  # DTLS counts down
    0xFEFD: ("1.2", "d2"),
    0xFEFF: ("1.0", "d1"),
}
_LETTERS: Mapping[str, str] = {"tls": "t", "dtls": "d", "quic": "q"}  # that JA4 begins with


def _wrong(what: str, offset: int) -> Malformed:
    return Malformed(f"tls: {what} at offset {offset} of the hello")


class Cursor:
    """Takes a handshake message apart; vectors are those of section 3.4."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    def take(self, size: int) -> bytes:
        at, self.at = self.at, self.at + size
        if self.at > len(self.data):
            raise _wrong(f"only {len(self.data) - at} of {size} bytes", at)
        return self.data[at : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, prefix: int, least: int = 0, most: int = 0xFFFF) -> bytes:
        at = self.at
        size = self.number(prefix)
        if not least <= size <= most:
            raise _wrong(f"vector of {size} bytes", at)
        return self.take(size)

    @property
    def more(self) -> bool:
        return self.at < len(self.data)


def _numbers(vector: bytes, what: str) -> list[int]:
    """Two bytes each, without what is only there so that servers get used to the unknown (GREASE)."""
    if len(vector) % 2:
        raise _wrong(f"odd number of bytes in {what}", 0)
    numbers = [vector[i] << 8 | vector[i + 1] for i in range(0, len(vector), 2)]
    return [number for number in numbers if not _grease(number)]


def _grease(number: int) -> bool:
    """RFC 8701, section 2: 0x0A0A, 0x1A1A and so on."""
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


def _whole(data: bytes, prefix: int, least: int, what: str) -> bytes:
    """The one vector that fills an extension."""
    cursor = Cursor(data)
    vector = cursor.vector(prefix, least)
    if cursor.more:
        raise _wrong(f"more than {what} in its extension", cursor.at)
    return vector


def _server_name(data: bytes) -> str:
    """RFC 6066, section 3: a list, of which each kind of name may be there once."""
    cursor = Cursor(_whole(data, 2, 1, "names"))
    name: bytes | None = None
    while cursor.more:
        kind, value = cursor.number(1), cursor.vector(2, 1)
        if kind:
            continue
        if name is not None:
            raise _wrong("two server names", cursor.at)
        name = value
    return (name or b"").lower().decode("utf-8", "backslashreplace")


def _protocols(data: bytes) -> list[bytes]:
    """RFC 7301, section 3.1."""
    cursor = Cursor(_whole(data, 2, 2, "protocols"))
    found = []
    while cursor.more:
        found.append(cursor.vector(1, 1))
    return found


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12] if text else "0" * 12


def _hex(numbers: Iterable[int]) -> str:
    return ",".join([f"{number:04x}" for number in numbers])


def _ja4_alpn(protocols: list[bytes]) -> str:
    if not protocols:
        return "00"
    ends = protocols[0][:1] + protocols[0][-1:]
    if ends.isalnum():  # of bytes: ASCII only
        return ends.decode()
    text = protocols[0].hex()
    return text[0] + text[-1]


def client_hello(body: bytes, protocol: str = "tls") -> Message:
    """The message for the body of a ClientHello (4.1.2; RFC 9147, section 5.3). Raises Malformed."""
    cursor = Cursor(body)
    version = cursor.number(2)
    cursor.take(32)  # random
    cursor.vector(1, 0, 32)  # session
    if protocol == "dtls":
        cursor.vector(1)  # cookie
    ciphers = _numbers(cursor.vector(2, 2, 0xFFFE), "cipher suites")
    cursor.vector(1, 1, 255)  # compression
    extensions: dict[int, bytes] = {}
    if cursor.more:  # TLS 1.2 knows hellos without
        inner = Cursor(cursor.vector(2))
        if cursor.more:
            raise _wrong("more than the extensions", cursor.at)
        while inner.more:
            number = inner.number(2)
            if number in extensions:  # 4.2
                raise _wrong(f"extension {number} again", inner.at)
            extensions[number] = inner.vector(2)
    name = _server_name(extensions[_SERVER_NAME]) if _SERVER_NAME in extensions else ""
    protocols = _protocols(extensions[_ALPN]) if _ALPN in extensions else []
    signatures: list[int] = []
    if _SIGNATURES in extensions:  # 4.2.3
        signatures = _numbers(_whole(extensions[_SIGNATURES], 2, 2, "schemes"), "schemes")
    if _VERSIONS in extensions:  # 4.2.1
        offered = _numbers(_whole(extensions[_VERSIONS], 1, 2, "versions"), "versions")
        version = (min if protocol == "dtls" else max)(offered, default=version)
    written, short = _VERSION_NAMES.get(version) or (f"0x{version:04x}", "00")
    kinds = [number for number in extensions if not _grease(number)]
    hashed = _hex(sorted(set(kinds) - {_SERVER_NAME, _ALPN}))
    if hashed and signatures:
        hashed += "_" + _hex(signatures)
    ja4 = (
        f"{_LETTERS[protocol]}{short}{'d' if _SERVER_NAME in extensions else 'i'}{min(len(ciphers), 99):02}"
        f"{min(len(kinds), 99):02}{_ja4_alpn(protocols)}_{_digest(_hex(sorted(ciphers)))}_{_digest(hashed)}"
    )
    detail: dict[str, object] = {
        "alpn": [protocol.decode("utf-8", "backslashreplace") for protocol in protocols],
        "version": written,
    }
    if _ENCRYPTED_HELLO in extensions:  # RFC 9849: then the name may be only that of a front
        detail["encrypted_hello"] = True
    return Message(protocol, "ClientHello", Operation.CONNECT, name, ja4, None, True, detail)


class TlsStream:
    """Reads a client's first message (5.1), however it is cut into records and segments."""

    __slots__ = ("_hello", "_offset", "_record", "_settled")

    def __init__(self) -> None:
        self._record = bytearray()  # of the stream: what is not yet a whole record header or its content
        self._hello = bytearray()
        self._offset = 0  # bytes fed
        self._settled = False

    def feed(self, data: bytes) -> Fed:
        self._offset += len(data)
        if self._settled:
            return Fed((), self._offset, settled=True)
        record, hello = self._record, self._hello
        record += data[: _LARGEST + 1]
        at = 0
        while len(record) - at >= 5:
            if record[at] != _HANDSHAKE or record[at + 1] != 3:
                raise Malformed(f"tls: record of type {record[at]} before the hello is complete")
            size = record[at + 3] << 8 | record[at + 4]
            if not 0 < size <= _LARGEST_RECORD:
                raise Malformed(f"tls: record of {size} bytes")
            if at + 5 + size > len(record):
                break
            hello += record[at + 5 : at + 5 + size]
            at += 5 + size
            message = self._complete()
            if message is not None:
                self._settled = True
                record.clear()
                hello.clear()
                return Fed((message,), self._offset, settled=True)
        del record[:at]
        if self._offset > _LARGEST:
            raise Malformed(f"tls: no whole hello in {_LARGEST} bytes")
        return Fed((), 0)

    def _complete(self) -> Message | None:
        """The hello, if all of it is there (4: type, 24 bits of length, body)."""
        hello = self._hello
        if hello[0] != _CLIENT_HELLO:
            raise Malformed(f"tls: handshake message of type {hello[0]} instead of the hello")
        if len(hello) < 4:
            return None
        size = int.from_bytes(hello[1:4], "big")
        if size > _LARGEST:
            raise Malformed(f"tls: hello of {size} bytes")
        if len(hello) < 4 + size:
            return None
        if len(hello) > 4 + size:  # 5.1: the keys change here, so nothing else may be in this record
            raise Malformed("tls: another handshake message in the record of the hello")
        return client_hello(bytes(hello[4:]))

    @staticmethod
    def recognise(prefix: bytes, server_port: int) -> bool | None:
        """By its first bytes, on any port: a handshake record that begins with a ClientHello."""
        del server_port
        for found, allowed in zip(prefix, (b"\x16", b"\x03", b"\0\1\2\3\4"), strict=False):
            if found not in allowed:
                return False
        if len(prefix) < 6:
            return None
        return 0 < prefix[3] << 8 | prefix[4] <= _LARGEST_RECORD and prefix[5] == _CLIENT_HELLO
