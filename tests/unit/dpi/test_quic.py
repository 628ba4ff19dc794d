import pytest

from controller.dpi.dissector import Datagram
from controller.dpi.message import Malformed, Operation
from controller.dpi.registry import dissect_datagram
from tests.unit.dpi.hellos import HELLO, quic, quic_initial


def said(payload: bytes, source: int = 40000, port: int = 443) -> Datagram:
    return dissect_datagram(payload, source, port)


@pytest.mark.parametrize("version", [1, 0x6B3343CF])
def test_hello_of_a_real_client_is_read(version: int) -> None:
    (message,) = said(quic("lamp.example", version)).messages
    assert (message.protocol, message.verb, message.operation) == ("quic", "ClientHello", Operation.CONNECT)
    assert (message.resource, message.opaque) == ("lamp.example", True)
    assert message.detail == {"alpn": ["h3"], "version": "1.3"}
    assert str(message.identity).startswith("q13d")
    assert str(message.identity).split("_")[0].endswith("h3")


def test_hello_is_known_on_any_port() -> None:
    assert said(quic(), 1, 2).messages


def test_hello_whose_fixed_bit_is_greased_is_read() -> None:
    """Servers of RFC 9287 read it, so it must not go by as one more packet behind another hello."""
    assert said(quic_initial([(0, HELLO)], bits=0x80)).messages[0].resource == "lamp.example"


def test_crypto_frames_may_come_in_any_order_between_others() -> None:
    pieces = [(40, HELLO[40:]), (0, HELLO[:20]), (20, HELLO[20:40])]
    others = b"\1\0\0\2\5\0\1\0\1\1" + b"\3\5\0\0\0\1\2\3"  # ping, padding, two acknowledgements
    assert said(quic_initial(pieces, frames=others)).messages[0].resource == "lamp.example"


def test_hello_over_two_datagrams_is_a_part() -> None:
    part = said(quic_initial([(100, HELLO[100:])])).part
    assert part is not None
    assert part.pieces == ((100, HELLO[100:]),)
    assert part.which == bytes.fromhex("8394c8f03e515708")


def test_packets_with_the_keys_of_others_say_nothing() -> None:
    hello, nothing = quic_initial([(0, HELLO)]), Datagram((), protocol="quic")
    assert said(hello[:-1] + bytes([hello[-1] ^ 1])) == nothing
    for kind in (0xD0, 0xE0, 0xF0):  # 0-RTT, Handshake, Retry
        assert said(bytes([kind]) + b"\0\0\0\1\x08abcdefgh\0\x14" + bytes(20)) == nothing
    assert said(quic_initial([])) == nothing


def test_short_headers_and_other_versions_are_unknown() -> None:
    for payload in (
        b"\x40" + bytes(50),
        b"\xc0\xff\0\0\x1d\0\0" + bytes(50),
        b"\xc0\0\0\0\1",
        b"\xc0\0\0\0\1\x15",
    ):
        assert said(payload, 40000, 4433).messages[0].protocol == "unknown"


@pytest.mark.parametrize(
    "payload",
    [
        quic_initial([(0, HELLO)])[:600],
        quic_initial([(0, HELLO), (0, b"?" + HELLO[1:])]),
        quic_initial([(0, HELLO)], frames=b"\x08"),
        quic_initial([(0, b"\2" + HELLO[1:])]),
        quic_initial([(0, b"\1\xff\xff\xff")]),
        quic_initial([(20000, b"x")]),
        b"\xd0\0\0\0\1\x08abcdefgh\0\x44\xff" + bytes(20),
    ],
)
def test_broken_packets_are_malformed(payload: bytes) -> None:
    with pytest.raises(Malformed):
        said(payload)
