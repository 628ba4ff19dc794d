"""TLS up to 1.2 as a server answers it: the name in its certificate, which it sends in the clear.

Knows nothing of connections and services. Follows RFC 5246 (the section numbers below) and RFC 5280. The
certificate is not verified: it tells what the server says of itself.
"""

from cryptography import x509
from cryptography.x509.oid import NameOID

from controller.dpi.message import Malformed, Message, Operation
from controller.dpi.tls import Cursor

_HANDSHAKE, _SERVER_HELLO, _CERTIFICATE = 22, 2, 11
_LARGEST = 65536  # bytes up to the end of the certificate
_LARGEST_RECORD = 16384  # 6.2.1
_NAMES_AT_MOST = 16


def _wrong(what: str) -> Malformed:
    return Malformed(f"tls: {what}")


def certificate_message(der: bytes) -> Message:
    """What a server says by its certificate (RFC 5280, section 4.1). Raises Malformed."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = _common_names(certificate)
        extensions = certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.InvalidVersion, x509.UnsupportedGeneralNameType):
        raise _wrong("a certificate that cannot be read") from None
    for extension in extensions:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            names = extension.value.get_values_for_type(x509.DNSName) or names  # RFC 6125, section 6.4.4
    names = [name.lower() for name in names[:_NAMES_AT_MOST]]
    first = names[0] if names else ""
    return Message("tls", "Certificate", Operation.ANNOUNCE, first, detail={"names": names})


def _common_names(certificate: x509.Certificate) -> list[str]:
    found = [attribute.value for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return [value for value in found if isinstance(value, str)]


class ServerFlight:
    """Reads what a server sends until its certificate has come, or it is clear that none can be read."""

    __slots__ = ("_handshake", "_record", "_size", "done")

    def __init__(self) -> None:
        self.done = False
        self._record = b""
        self._handshake = b""
        self._size = 0

    def feed(self, data: bytes) -> Message | None:
        """The next bytes; the message, once. Raises Malformed, after which it is done."""
        self._size += len(data)
        self._record += data
        self.done = self._size > _LARGEST
        try:
            while not self.done and len(self._record) >= 5:
                kind, major, size = self._record[0], self._record[1], int.from_bytes(self._record[3:5], "big")
                if kind != _HANDSHAKE or major != 3 or not 0 < size <= _LARGEST_RECORD:
                    self.done = True
                    break
                if len(self._record) < 5 + size:
                    return None
                self._handshake += self._record[5 : 5 + size]
                self._record = self._record[5 + size :]
                found = self._messages()
                if found is not None:
                    return found
        except Malformed:
            self.done = True
            raise
        finally:
            if self.done:
                self._record = self._handshake = b""
        return None

    def _messages(self) -> Message | None:
        """7.4: the messages of the handshake that are whole."""
        while len(self._handshake) >= 4:
            kind, size = self._handshake[0], int.from_bytes(self._handshake[1:4], "big")
            if size > _LARGEST:
                raise _wrong(f"handshake message of {size} bytes")
            if len(self._handshake) < 4 + size:
                return None
            body = self._handshake[4 : 4 + size]
            self._handshake = self._handshake[4 + size :]
            if kind == _CERTIFICATE:
                self.done = True
                chain = Cursor(Cursor(body).vector(3, 0, _LARGEST))
                return certificate_message(chain.vector(3, 1, _LARGEST)) if chain.more else None
            if kind != _SERVER_HELLO:
                self.done = True
                return None
        return None
