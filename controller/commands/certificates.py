"""`graphwall certs`: a small CA of the site's own, with certificates for the controller and its switches.

Either side of OpenFlow over TLS believes only what this CA has signed: whoever holds no key of it is
neither a switch to the controller nor a controller to the switch. Knows nothing of who uses the files.
"""

import datetime as dt
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA, CONTROLLER = "ca", "controller"
CA_VALID = dt.timedelta(days=3653)
VALID = dt.timedelta(days=1826)
CLOCKS_DIFFER = dt.timedelta(days=1)

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_USES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


class CertificatesError(Exception):
    """They cannot be made. The message says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class Made:
    """The folder, the names for which there are NAME.key and NAME.pem now, and when the first ends."""

    folder: Path
    names: tuple[str, ...]
    until: dt.datetime


@dataclass(frozen=True, slots=True)
class _Authority:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


def make(folder: Path, switches: Sequence[str], now: dt.datetime) -> Made:
    """Make what is not there: CA and controller at first, later further switches of the same CA.

    Nothing is overwritten. Raises CertificatesError.
    """
    for name in switches:
        if not _NAME.fullmatch(name) or name in (CA, CONTROLLER):
            raise CertificatesError(
                f"a switch cannot be called {name!r} here: lower-case letters, digits and hyphens, and not "
                f"{CA} or {CONTROLLER}"
            )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = _file(folder, CA, "key").exists()
        names = (*(() if there else (CONTROLLER,)), *switches)
        _refuse_to_overwrite(folder, names if there else (CA, *names))
        authority = _load(folder) if there else _authority(folder, now)
        ends = [authority.certificate.not_valid_after_utc]
        ends += [_leaf(folder, name, authority, now) for name in names]
    except OSError as error:
        raise CertificatesError(f"{error.filename}: {error.strerror}; choose a folder of your own") from None
    return Made(folder, names, min(ends))


def _file(folder: Path, name: str, kind: str) -> Path:
    return folder / f"{name}.{kind}"


def _refuse_to_overwrite(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        for kind in ("key", "pem"):
            file = _file(folder, name, kind)
            if file.exists():
                raise CertificatesError(
                    f"{file} is there already and is not overwritten; choose another folder, or name a "
                    "switch that has no key yet"
                )


def _load(folder: Path) -> _Authority:
    certificate, key = _file(folder, CA, "pem"), _file(folder, CA, "key")
    try:
        found = serialization.load_pem_private_key(key.read_bytes(), None)
        if not isinstance(found, ec.EllipticCurvePrivateKey):
            raise ValueError("its key is of another kind")  # noqa: TRY004  # as whatever else is wrong with it
        authority = _Authority(found, x509.load_pem_x509_certificate(certificate.read_bytes()))
        if authority.certificate.public_key() != found.public_key():
            raise ValueError("its key is that of another")
    except (ValueError, TypeError) as error:
        raise CertificatesError(
            f"{certificate} and {key} are no CA of Graphwall's ({error}); choose another folder"
        ) from None
    return authority


def _authority(folder: Path, now: dt.datetime) -> _Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    subject = _subject(f"Graphwall CA {serial:x}"[:32])  # two sites' CAs are told apart
    certificate = (
        _builder(subject, subject, key, serial, now, now + CA_VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(folder, CA, key, certificate)
    return _Authority(key, certificate)


def _leaf(folder: Path, name: str, authority: _Authority, now: dt.datetime) -> dt.datetime:
    """The end of its validity. A switch calls, so that its certificate serves no controller."""
    key = ec.generate_private_key(ec.SECP256R1())
    issuer = authority.certificate
    until = min(now + VALID, issuer.not_valid_after_utc)
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if name == CONTROLLER else ExtendedKeyUsageOID.CLIENT_AUTH
    certificate = (
        _builder(_subject(name), issuer.subject, key, x509.random_serial_number(), now, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False
        )
        .sign(authority.key, hashes.SHA256())
    )
    _write(folder, name, key, certificate)
    return until


def _subject(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*uses: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{use: use in uses for use in _USES})


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    serial: int,
    now: dt.datetime,
    until: dt.datetime,
) -> x509.CertificateBuilder:
    public = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(now - CLOCKS_DIFFER)
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _write(folder: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for kind, mode, content in (("key", 0o600, secret), ("pem", 0o644, certificate.public_bytes(pem))):
        file = _file(folder, name, kind)
        handle = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as out:
            out.write(content)
