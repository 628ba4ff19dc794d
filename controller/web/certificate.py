"""The certificate that the page and the API are served with: the owner's, or one made at first start.

A certificate of our own is vouched for by nobody: its fingerprint, shown at the start, is what a person
compares, and what the commands on this machine insist on.
"""

import datetime as dt
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CERTIFICATE = "api-certificate.pem"  # in the state folder
KEY = "api-key.pem"
VALID = dt.timedelta(days=820)  # browsers refuse more than 825
RENEW = dt.timedelta(days=30)  # before its end

_NOT_FOR = (
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class CertificateError(Exception):
    """It cannot be used. The message says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files, and the SHA-256 fingerprint of the certificate (of DER, in hexadecimal)."""

    certificate: Path
    key: Path
    fingerprint: str

    @property
    def readable(self) -> str:
        """The fingerprint as browsers show it."""
        text = self.fingerprint.upper()
        return ":".join(text[at : at + 2] for at in range(0, len(text), 2))


def given(certificate: Path, key: Path) -> Certificate:
    """The owner's certificate. Raises CertificateError when it is none, or not that of the key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise CertificateError(
            f"{certificate} and {key} are no certificate with its key, in PEM ({reason}): "
            "correct api.certificate and api.key in site.yaml"
        ) from None
    return Certificate(certificate, key, _fingerprint(found))


def _no_password() -> str:
    """Else OpenSSL would ask the terminal for the password of a key."""
    raise ValueError("the key is encrypted")


def own(folder: Path, names: Iterable[str], now: dt.datetime) -> Certificate:
    """The certificate in the state folder for these names and addresses; made anew when it does not fit.

    Raises OSError.
    """
    certificate, key = folder / CERTIFICATE, folder / KEY
    wanted = set(names)
    try:
        found = x509.load_pem_x509_certificate(certificate.read_bytes())
        same = wanted <= _names(found) and key.exists() and not key.stat().st_mode & 0o077
        if same and now + RENEW < found.not_valid_after_utc:
            return Certificate(certificate, key, _fingerprint(found))
    except (FileNotFoundError, ValueError, x509.ExtensionNotFound):
        pass
    private = ec.generate_private_key(ec.SECP256R1())
    made = _made(private, sorted(wanted), now)
    secret = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key, secret)
    _write(certificate, made.public_bytes(serialization.Encoding.PEM))
    return Certificate(certificate, key, _fingerprint(made))


def names_here(listen: str) -> list[str]:
    """What this machine can be called by whoever reaches `listen`."""
    names = {"localhost", socket.gethostname(), "127.0.0.1", "::1"}
    address = reachable(listen)
    return sorted(names | {address, listen} - {"0.0.0.0", "::"})  # noqa: S104  # not listened on: left out


def reachable(listen: str) -> str:
    """An address under which others reach a server that listens at `listen`; sends nothing."""
    if not ipaddress.ip_address(listen).is_unspecified:
        return listen
    family, somewhere = (socket.AF_INET6, "2001:db8::1") if ":" in listen else (socket.AF_INET, "192.0.2.1")
    with socket.socket(family, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect((somewhere, 9))
        except OSError:  # no route leads out of here
            return socket.gethostname()
        return str(asked.getsockname()[0])


def _names(certificate: x509.Certificate) -> set[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    addresses = found.get_values_for_type(x509.IPAddress)
    return {*found.get_values_for_type(x509.DNSName), *map(str, addresses)}


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _made(private: ec.EllipticCurvePrivateKey, names: Iterable[str], now: dt.datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Graphwall")])
    public = private.public_key()
    usage = dict.fromkeys(_NOT_FOR, False)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))  # clocks differ
        .not_valid_after(now + VALID)
        .add_extension(x509.SubjectAlternativeName(map(_alternative, names)), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .sign(private, hashes.SHA256())
    )


def _fingerprint(certificate: x509.Certificate) -> str:
    return sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()


def _write(file: Path, content: bytes) -> None:
    partial = file.with_name(f"{file.name}.partial")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(content)
    partial.replace(file)
