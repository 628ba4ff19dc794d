import io
from pathlib import Path

import pytest
from scapy.utils import RawPcapReader

from controller.dpi.datagrams import DatagramTable
from controller.dpi.dissector import Datagram
from controller.dpi.frame import UDP, parse
from controller.dpi.message import Malformed, Operation
from controller.dpi.registry import dissect_datagram
from tests.unit.dpi.hellos import DTLS_BODY, dtls, dtls_parts

CAPTURES = Path(__file__).parents[4] / "shared" / "captures" / "dtls"


def said(payload: bytes, source: int = 40000, port: int = 5684) -> Datagram:
    return dissect_datagram(payload, source, port)


def test_hello_names_the_server_and_the_client() -> None:
    (message,) = said(dtls(DTLS_BODY)).messages
    assert (message.protocol, message.verb, message.operation) == ("dtls", "ClientHello", Operation.CONNECT)
    assert (message.resource, message.detail) == ("lamp.example", {"alpn": ["coap"], "version": "1.2"})
    assert str(message.identity).startswith("dd2d0202cp_")
    assert message.opaque


def test_hello_is_known_on_any_port() -> None:
    assert said(dtls(DTLS_BODY), 1, 2).messages


def test_hello_is_known_by_any_minor_version() -> None:
    for minor in (0xFF, 0xFC, 0x00, 0x99):
        assert said(b"\x16\xfe" + bytes([minor]) + dtls(DTLS_BODY)[3:]).messages[0].resource == "lamp.example"


def test_hello_in_two_records_of_one_datagram_is_whole() -> None:
    assert said(b"".join(dtls_parts(50))).messages[0].resource == "lamp.example"


def test_hello_cut_over_datagrams_is_a_part() -> None:
    part = said(dtls_parts(50)[0]).part
    assert part is not None
    assert part.pieces[-1] == (4, DTLS_BODY[:50])


@pytest.mark.parametrize("kind", [2, 3, 12, 14])
def test_what_a_server_says_is_an_answer(kind: int) -> None:
    assert said(dtls(b"x", size=1, kind=kind)).answer


@pytest.mark.parametrize(
    "payload",
    [
        b"\x17\xfe\xfd\0\1" + bytes(6) + b"\0\2ab",  # application data
        b"\x16\xfe\xfd\0\1" + bytes(6) + b"\0\2ab",  # encrypted handshake
        dtls(b"x", size=1, kind=16),
        b"\x14\xfe\xfd" + bytes(8) + b"\0\1\1" + b"\x2c\1\2\3\4",  # and an encrypted record of 1.3
        b"\x19\xfe\xfd" + bytes(20),  # with a connection id
    ],
)
def test_what_comes_behind_the_hello_says_nothing(payload: bytes) -> None:
    assert said(payload) == Datagram((), protocol="dtls")


@pytest.mark.parametrize(
    "payload",
    [
        dtls(DTLS_BODY[:-1], size=len(DTLS_BODY) - 1),
        dtls(DTLS_BODY, offset=1),
        dtls(DTLS_BODY) + b"rest",
        dtls(DTLS_BODY) + dtls(DTLS_BODY, number=1),
        dtls(DTLS_BODY) + dtls(b"?", offset=1),
        b"\x16\xfe\xfd" + bytes(8) + b"\0\5" + b"\1\0\0\0\0",
    ],
)
def test_broken_hellos_are_malformed(payload: bytes) -> None:
    with pytest.raises(Malformed):
        said(payload)


def test_other_bytes_are_unknown() -> None:
    for payload in (b"\x16\xfe\xfd", b"\x16\xfe\xfd" + bytes(8) + b"\xff\xff", b"\x16\3\3\0\1x" + bytes(20)):
        assert said(payload).messages[0].protocol == "unknown"


@pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures in {CAPTURES}")
def test_real_hellos_are_put_together() -> None:
    found: dict[str, set[str]] = {}
    for path in CAPTURES.glob("*"):
        table = DatagramTable()
        for raw, _ in RawPcapReader(io.BytesIO(path.read_bytes())):
            try:
                headers = parse(raw, captured=True)
                heard = table.frame(raw, headers, 0.0) if headers.protocol == UDP else None
            except Malformed:
                continue
            for message in heard.datagram.messages if heard else ():
                if message.protocol == "dtls":
                    found.setdefault(path.stem.rpartition("__")[2], set()).add(str(message.detail["version"]))
    assert found["cloudshark-dtls1"] == found["dtls1_0"] == {"1.0"}
    assert found["wireshark-dtls12"] == found["dtls1_2"] == {"1.2"}
    assert found["dtls13-wolfssl"] == {"1.3"}
