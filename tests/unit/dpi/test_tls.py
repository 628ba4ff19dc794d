import contextlib
import hashlib
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi.dissector import Fed
from controller.dpi.message import Malformed, Message, Operation
from controller.dpi.tls import TlsStream

CAPTURES = Path(__file__).parents[4] / "shared" / "captures" / "http_json_rest"
PUBLISHED = "t13d1516h2_8daaf6152771_d8a2da3f94cd"  # of a Chromium 145, with the lists it is made of:
CIPHERS = "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
EXTENSIONS = "fe0d,0033,ff01,0017,001b,000a,0000,0010,0005,002b,002d,0012,000b,44cd,000d,0023"
SCHEMES = "0403,0804,0401,0503,0805,0501,0806,0601"


def vector(data: bytes, size: int = 2) -> bytes:
    return len(data).to_bytes(size, "big") + data


def numbers(text: str) -> bytes:
    return bytes.fromhex(text.replace(",", ""))


def extension(number: int, data: bytes = b"") -> bytes:
    return number.to_bytes(2, "big") + vector(data)


def named(name: bytes) -> bytes:
    return extension(0, vector(b"\0" + vector(name)))


def alpn(*names: bytes) -> bytes:
    return extension(16, vector(b"".join(vector(name, 1) for name in names)))


def body(extensions: bytes | None, ciphers: str = "1301,1302", version: str = "0303") -> bytes:
    start = bytes.fromhex(version) + bytes(32) + vector(bytes(32), 1) + vector(numbers(ciphers)) + b"\1\0"
    return start if extensions is None else start + vector(extensions)


def handshake(content: bytes, kind: int = 1) -> bytes:
    return bytes([kind]) + vector(content, 3)


def record(data: bytes, kind: int = 22) -> bytes:
    return bytes([kind, 3, 1]) + vector(data)


def hello(extensions: bytes | None, ciphers: str = "1301,1302", version: str = "0303") -> bytes:
    return record(handshake(body(extensions, ciphers, version)))


def only(raw: bytes) -> Message:
    fed = TlsStream().feed(raw)
    assert fed.settled
    assert fed.released == len(raw)
    (message,) = fed.messages
    return message


def browser() -> bytes:
    content = {
        "0000": vector(b"\0" + vector(b"Lamp.Example")),
        "0010": vector(b"\2h2\x08http/1.1"),
        "002b": vector(bytes.fromhex("8a8a03040303"), 1),
        "000d": vector(numbers(SCHEMES)),
    }
    parts = [extension(0x1A1A)]
    parts += [extension(int(number, 16), content.get(number, b"")) for number in EXTENSIONS.split(",")]
    return hello(b"".join([*parts, extension(0xFAFA, b"\0")]), "3a3a," + CIPHERS)


def test_the_fingerprint_is_the_published_one() -> None:
    assert only(browser()) == Message(
        "tls", "ClientHello", Operation.CONNECT, "lamp.example", PUBLISHED, None, True,
        {"alpn": ["h2", "http/1.1"], "version": "1.3", "encrypted_hello": True},
    )  # fmt: skip


def test_a_hello_without_extensions() -> None:
    message = only(hello(None, "002f"))
    ciphers = hashlib.sha256(b"002f").hexdigest()[:12]
    assert (message.resource, message.identity) == ("", f"t12i010000_{ciphers}_000000000000")
    assert message.detail == {"alpn": [], "version": "1.2"}


@pytest.mark.parametrize(
    ("name", "ends"),
    [(b"h2", "h2"), (b"http/1.1", "h1"), (b"x", "xx"), (b"\xab", "ab"), (b"\xab\xcd", "ad"), (b"0\xab", "3b"),
     (b"a/", "6f")],
)  # fmt: skip
def test_first_protocol_in_the_fingerprint(name: bytes, ends: str) -> None:
    identity = only(hello(alpn(name))).identity
    assert identity is not None
    assert identity.split("_")[0] == f"t12i0201{ends}"


@pytest.mark.parametrize(
    ("version", "written", "short"),
    [("0301", "1.0", "10"), ("0302", "1.1", "11"), ("0300", "SSL 3.0", "s3"), ("0309", "0x0309", "00")],
)
def test_versions(version: str, written: str, short: str) -> None:
    message = only(hello(b"", version=version))
    assert message.detail["version"] == written
    assert str(message.identity)[1:3] == short


def test_the_name_may_be_any_bytes() -> None:
    assert only(hello(named(b"A\xff"))).resource == "a\\xff"


RAW = browser()
PIECES = b"".join(record(handshake(RAW[9:])[at : at + 100]) for at in range(0, len(RAW) - 5, 100))


@pytest.mark.parametrize("raw", [RAW, PIECES], ids=["one record", "many records"])
def test_split_anywhere(raw: bytes) -> None:
    message = only(raw)
    for cut in range(len(raw)):
        stream = TlsStream()
        assert stream.feed(raw[:cut]) == Fed((), 0)
        assert stream.feed(raw[cut:]) == Fed((message,), len(raw), settled=True)
    stream = TlsStream()
    feds = [stream.feed(bytes([byte])) for byte in raw]
    assert feds[-1] == Fed((message,), len(raw), settled=True)
    assert all(fed == Fed((), 0) for fed in feds[:-1])


def test_everything_behind_the_hello_is_released() -> None:
    stream = TlsStream()
    assert stream.feed(RAW + b"\x17\x03\x03").released == len(RAW) + 3
    assert stream.feed(b"anything") == Fed((), len(RAW) + 11, settled=True)


@pytest.mark.parametrize(
    "raw",
    [
        b"GET / HTTP/1.1\r\n",
        record(b"\1\0", 21),
        record(b""),
        b"\x16\x02\x01\0\1\1",
        b"\x16\x03\x01\x40\x01\1",
        record(handshake(b"", 2)),
        record(b"\1\xff\0\0"),
        record(handshake(body(b""))[:20]) + record(b"x", 23),
        record(handshake(body(b"")) + b"\x14\0\0\0"),
        hello(named(b"a") + named(b"b")),
        hello(extension(0, vector(b"\0" + vector(b"a") + b"\0" + vector(b"b")))),
        hello(extension(0, vector(b""))),
        hello(extension(0, vector(b"\0" + vector(b"a")) + b"x")),
        hello(extension(0, vector(b"\0\0"))),
        hello(alpn(b"")),
        hello(extension(43, b"\1\3")),
        hello(extension(13, vector(b"\4\3\4"))),
        hello(b"\0"),
        hello(b"", ""),
        record(handshake(body(b"") + b"x")),
        record(handshake(body(None)[:-2])),
        record(handshake(body(None)[:20])),
    ],
)
def test_broken_hellos_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="tls"):
        TlsStream().feed(raw)


def test_no_hello_is_waited_for_longer_than_64_kib() -> None:
    stream = TlsStream()
    start = record(b"\1\0\xff\xff") + record(b"x") * 10920
    assert stream.feed(start) == Fed((), 0)
    assert len(start) < 65536
    with pytest.raises(Malformed, match="65536"):
        stream.feed(record(b"x") * 20000)
    assert len(stream._record) + len(stream._hello) <= 70000


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", None),
        (RAW[:5], None),
        (RAW[:6], True),
        (PIECES, True),
        (b"\x16\x03\x01\0\0", None),
        (b"\x16\x03\x01\0\0\1", False),
        (b"\x16\x03\x01\xff\xff\1", False),
        (record(handshake(b"", 2)), False),
        (b"\x17", False),
        (b"\x16\x02", False),
        (b"GET", False),
    ],
)
def test_recognised_on_any_port(raw: bytes, expected: bool | None) -> None:
    assert TlsStream.recognise(raw, 443) is expected
    assert TlsStream.recognise(raw, 8883) is expected


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_reads_what_openssl_writes(version: ssl.TLSVersion) -> None:
    context = ssl.create_default_context()
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["mqtt"])
    out = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname="broker.example")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    message = only(out.read())
    short = "13" if version is ssl.TLSVersion.TLSv1_3 else "12"
    assert message.resource == "broker.example"
    assert message.detail == {"alpn": ["mqtt"], "version": f"{short[0]}.{short[1]}"}
    assert str(message.identity).startswith(f"t{short}d")
    assert str(message.identity).split("_")[0].endswith("mt")


@given(st.one_of(st.binary(max_size=100), st.binary(max_size=100).map(hello)), st.integers(0, 100))
def test_any_bytes_are_read_or_malformed(raw: bytes, cut: int) -> None:
    TlsStream.recognise(raw, 443)
    stream = TlsStream()
    try:
        stream.feed(raw[:cut])
        stream.feed(raw[cut:])
    except Malformed:
        return


@pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures in {CAPTURES}")
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_agrees_with_tshark() -> None:
    (path,) = CAPTURES.glob("*__arkime_synthetic.pcap")
    printed = subprocess.run(
        ["tshark", "-r", path, "-Y", "tcp && tls.handshake.type == 1",
         "-T", "fields", "-E", "separator=;", "-e", "tcp.payload", "-e",
         "tls.handshake.extensions_server_name", "-e", "tls.handshake.ciphersuite"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    read = 0
    for line in printed.splitlines():
        payload, name, ciphers = line.split(";")
        try:
            message = only(bytes.fromhex(payload))
        except Malformed:
            continue  # made by hand to be so
        read += 1
        assert message.resource == name
        suites = sorted(cipher.lower().removeprefix("0x") for cipher in ciphers.split(","))
        assert f"_{hashlib.sha256(','.join(suites).encode()).hexdigest()[:12]}_" in str(message.identity)
    assert read > 4
