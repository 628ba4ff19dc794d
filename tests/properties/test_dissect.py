"""Law 2: whatever the bytes, a dissector returns or raises Malformed, and soon."""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.dpi import dhcp, dns, lldp
from controller.dpi.certificate import ServerFlight, certificate_message
from controller.dpi.datagrams import DatagramTable
from controller.dpi.dissector import Datagram
from controller.dpi.frame import TCP, _any, parse
from controller.dpi.message import Malformed, Message
from controller.dpi.registry import PROTOCOLS, dissect_datagram, open_stream
from controller.dpi.stream import ConnectionTable
from tests.unit.dpi.examples import DATAGRAMS, OPAQUE, STREAMS
from tests.unit.dpi.frames import ethernet, ipv4, ipv6, tcp, udp, udp_segment
from tests.unit.dpi.hellos import HELLO, dtls_parts, quic_initial
from tests.unit.dpi.test_certificate import key_and_certificate
from tests.unit.dpi.test_tls import handshake, record, vector

T = TypeVar("T")
SLOWEST: Final = 0.25  # seconds of computing for one small input
EXAMPLES: Final = settings(max_examples=300, deadline=None)
PORTS: Final = sorted({80, 8081, 8883, 40000}.union(*[protocol.ports for protocol in PROTOCOLS]))

_, _, CERTIFICATE = key_and_certificate(["hub.example"])
HELLOS: Final = (*dtls_parts(30, 60), quic_initial([(0, HELLO[:50])]), quic_initial([(50, HELLO[50:])], 1))
FRAMES: Final = (
    tcp(1, b"GET / HTTP/1.1\r\n\r\n"),
    tcp(1, b"x", six=True),
    udp(b"hello"),
    ethernet(ipv4(6, b"x" * 30, options=8), tags=b"\x81\0\0\5"),
    ethernet(ipv6(0, bytes([60, 0, *bytes(6)]) + bytes([17, 0, *bytes(6)]) + udp_segment(b"x")), 0x86DD),
    ethernet(ipv6(58, bytes([135, *bytes(23), 1, 1, *bytes(6)])), 0x86DD),
    ethernet(bytes.fromhex("0001 0800 06 04 0002 02000000000a 0a000001 020000000002 0a000002"), 0x0806),
    lldp.encode(7, 3, b"secret"),
)


@st.composite
def damaged(draw: st.DrawFn, whole: Sequence[bytes]) -> bytes:
    """Something valid with bytes changed, taken out, put in, cut off or there twice."""
    data = bytearray(draw(st.sampled_from(whole)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(len(data) - 1, 0)))
        match draw(st.sampled_from(["change", "take out", "put in", "cut off", "twice"])):
            case "change":
                data[at : at + 1] = bytes([draw(st.integers(0, 255))])
            case "take out":
                del data[at : at + draw(st.integers(1, 8))]
            case "put in":
                data[at:at] = draw(st.binary(max_size=8))
            case "cut off":
                del data[at:]
            case _:
                data += data[at:]
    return bytes(data)


ports = st.sampled_from(PORTS)
streams = st.one_of(st.binary(max_size=600), damaged([data for _, data in STREAMS + OPAQUE]))
datagrams = st.one_of(streams, damaged([data for _, data in DATAGRAMS]))


def tried(function: Callable[..., T], *arguments: object) -> T | None:
    """What a function makes of it; None if it is Malformed and says why. And it does not take long."""
    started = time.thread_time()
    try:
        return function(*arguments)
    except Malformed as error:
        if not str(error):
            raise AssertionError("Malformed without a reason") from error
        return None
    finally:
        assert time.thread_time() - started < SLOWEST


def feed(port: int, data: bytes, cuts: Sequence[int], resumed: bool) -> None:
    """A stream in pieces; what it says of itself is consistent."""
    stream = open_stream(port, resumed)
    released = 0
    for start, end in pairwise(sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})):
        fed = stream.feed(data[start:end])
        assert released <= fed.released <= end
        assert fed.released == end or not fed.settled
        assert all(isinstance(message, Message) for message in fed.messages)
        released = fed.released
    stream.end()


@EXAMPLES
@given(ports, streams, st.lists(st.integers(0, 999), max_size=5), st.booleans())
def test_streams_give_messages_or_are_malformed(
    port: int, data: bytes, cuts: list[int], resumed: bool
) -> None:
    tried(feed, port, data, cuts, resumed)


@EXAMPLES
@given(datagrams, ports, ports)
def test_datagrams_give_messages_or_are_malformed(data: bytes, src_port: int, dst_port: int) -> None:
    found = tried(dissect_datagram, data, src_port, dst_port)
    assert found is None or not (found.messages and found.part)


@EXAMPLES
@given(st.lists(st.tuples(damaged(HELLOS), st.integers(0, 3)), max_size=8))
def test_hellos_over_several_datagrams_are_put_together_or_malformed(sent: list[tuple[bytes, int]]) -> None:
    table = DatagramTable()
    for data, port in sent:
        raw = udp(data, 40000 + port, 4433)
        heard = tried(table.frame, raw, parse(raw), 0.0)
        assert heard is None or raw in heard.frames or not (heard.frames or heard.datagram.messages)


@EXAMPLES
@given(datagrams)
def test_every_datagram_protocol_returns_or_is_malformed_on_any_port(data: bytes) -> None:
    for protocol in PROTOCOLS:
        for port in (*protocol.ports, 40000) if protocol.datagram else ():
            for ends in ((40000, port), (port, 40000)):
                assert isinstance(tried(protocol.datagram, data, *ends), Datagram | None)


@EXAMPLES
@given(datagrams)
def test_helpers_return_or_are_malformed(data: bytes) -> None:
    for helper in (dns.answers, dns.announcements, dhcp.lease):
        tried(helper, data)
    assert lldp.decode(data, b"secret") is None


@EXAMPLES
@given(damaged([CERTIFICATE]))
def test_certificates_are_read_or_malformed(data: bytes) -> None:
    tried(certificate_message, data)
    flight = record(handshake(vector(vector(data, 3), 3), 11))
    tried(ServerFlight().feed, flight)


@EXAMPLES
@given(st.one_of(st.binary(max_size=200), damaged(FRAMES)))
def test_frames_have_headers_or_are_malformed(raw: bytes) -> None:
    headers = tried(parse, raw)
    if headers is None:
        return
    assert 0 <= headers.ip_offset <= headers.payload_offset <= headers.payload_end <= len(raw)
    if headers.protocol == TCP and headers.src_port is not None:
        ConnectionTable().frame(raw, headers, 0.0, resume=True)


@EXAMPLES
@given(damaged(FRAMES), st.booleans())
def test_short_way_through_headers_reads_what_the_long_way_reads(raw: bytes, captured: bool) -> None:
    assert tried(parse, raw, captured) == tried(_any, raw, captured)


@pytest.mark.parametrize(("port", "data"), STREAMS + OPAQUE)
def test_examples_of_streams_are_valid(port: int, data: bytes) -> None:
    fed = open_stream(port).feed(data)
    assert (bool(fed.messages), fed.released, fed.settled) == (True, len(data), (port, data) in OPAQUE)


@pytest.mark.parametrize(("port", "data"), DATAGRAMS)
def test_examples_of_datagrams_are_valid(port: int, data: bytes) -> None:
    (message, *_) = dissect_datagram(data, 40000, port).messages
    assert message.protocol != "unknown"


def test_every_protocol_has_an_example() -> None:
    found = {
        message.protocol
        for port, data in STREAMS + OPAQUE
        for message in open_stream(port).feed(data).messages
    }
    for port, data in DATAGRAMS:
        found |= {message.protocol for message in dissect_datagram(data, 40000, port).messages}
    assert {protocol.name for protocol in PROTOCOLS} <= found
