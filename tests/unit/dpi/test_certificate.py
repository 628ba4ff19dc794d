import contextlib
import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from controller.dpi.certificate import ServerFlight, certificate_message
from controller.dpi.frame import parse
from controller.dpi.message import Malformed, Message, Operation
from controller.dpi.stream import ConnectionTable
from tests.unit.dpi.frames import ACK, SYN, tcp
from tests.unit.dpi.test_tls import handshake, hello, record, vector

NAMES = ["Hub.example", "other.example"]


def key_and_certificate(names: list[str], common: str = "box") -> tuple[bytes, bytes, bytes]:
    """Private key and certificate as PEM, and the certificate as DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    now = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now.replace(year=2049))
    if names:
        extension = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
        builder = builder.add_extension(extension, critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    encoding = serialization.Encoding
    return private, certificate.public_bytes(encoding.PEM), certificate.public_bytes(encoding.DER)


def flight(folder: Path, version: ssl.TLSVersion) -> tuple[bytes, bytes]:
    """What a client says first, and what a server answers."""
    private, pem, _ = key_and_certificate(NAMES)
    (folder / "pem").write_bytes(private + pem)
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(folder / "pem")
    client_context = ssl.create_default_context()
    client_context.maximum_version = version
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server, server_hostname="hub.example")
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    said = to_server.read()
    to_server.write(said)
    with contextlib.suppress(ssl.SSLWantReadError):
        server.do_handshake()
    return said, to_client.read()


EXPECTED = Message(
    "tls",
    "Certificate",
    Operation.ANNOUNCE,
    "hub.example",
    detail={"names": ["hub.example", "other.example"]},
)


def test_name_of_a_server_is_in_its_certificate(tmp_path: Path) -> None:
    _, data = flight(tmp_path, ssl.TLSVersion.TLSv1_2)
    for size in (len(data), 100, 1):
        reader = ServerFlight()
        found = [reader.feed(data[at : at + size]) for at in range(0, len(data), size) if not reader.done]
        assert [message for message in found if message] == [EXPECTED]


def test_tls_1_3_hides_the_certificate(tmp_path: Path) -> None:
    _, data = flight(tmp_path, ssl.TLSVersion.TLSv1_3)
    reader = ServerFlight()
    assert reader.feed(data) is None
    assert reader.done


def test_connection_tells_it_when_the_frames_of_the_server_are_seen(tmp_path: Path) -> None:
    said, answered = flight(tmp_path, ssl.TLSVersion.TLSv1_2)
    table = ConnectionTable()
    told = []
    frames = [tcp(999, b"", SYN, ack=0), tcp(5000, b"", SYN | ACK, ack=1000, back=True), tcp(1000, said)]
    cut = len(answered) // 2
    frames += [tcp(5001, answered[:cut], back=True)] * 2 + [tcp(5001 + cut, answered[cut:], back=True)]
    for raw in frames:
        _, step = table.frame(raw, parse(raw), 0.0)
        assert step.release == (raw,)
        told += [step.told] if step.told else []
    assert told == [EXPECTED]


def test_common_name_stands_in_for_other_names() -> None:
    assert certificate_message(key_and_certificate([], "Box")[2]).resource == "box"


@pytest.mark.parametrize(
    "der",
    [b"", b"\x30\x03\2\1\1", key_and_certificate(NAMES)[2][:-9]],
    ids=["empty", "no certificate", "cut short"],
)
def test_broken_certificates_are_malformed_and_end_it(der: bytes) -> None:
    reader = ServerFlight()
    with pytest.raises(Malformed):
        reader.feed(record(handshake(vector(vector(der, 3) or b"\0", 3), 11)))
    assert reader.done


@pytest.mark.parametrize(
    "data",
    [b"220 hello", record(b"", 22), record(handshake(b"", 14)), record(handshake(b"\0\0\0", 11)), hello(b"")],
)
def test_what_has_no_certificate_ends_it(data: bytes) -> None:
    reader = ServerFlight()
    assert reader.feed(data) is None
    assert reader.done


def test_flights_are_bounded() -> None:
    reader = ServerFlight()
    reader.feed(record(b"\2\0\xff\xff" + bytes(1000)))
    for _ in range(8):
        reader.feed(record(bytes(10000)))
    assert reader.done
