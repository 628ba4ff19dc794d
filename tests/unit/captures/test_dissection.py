"""Frames of a capture become messages, each with the number of the frame that completes it."""

import struct
from pathlib import Path
from ssl import TLSVersion

from controller.captures.dissection import Dissection, asks
from controller.captures.reader import Captured
from controller.dpi.frame import ACK, PSH, SYN, Headers
from tests.unit.captures.capture_files import MAC_A, MAC_B, ethernet, ipv4
from tests.unit.dpi import frames
from tests.unit.dpi.hellos import dtls_parts
from tests.unit.dpi.test_certificate import flight


def captured(number: int, raw: bytes, link: int = 1, length: int | None = None) -> Captured:
    return Captured(number, number * 10**9, link, raw, len(raw) if length is None else length)


def tcp(payload: bytes, seq: int, flags: int = ACK | PSH, ports: tuple[int, int] = (40000, 1883)) -> bytes:
    segment = struct.pack("!HHIIBBHHH", *ports, seq, 1, 0x50, flags, 1000, 0, 0) + payload
    ends = bytes([10, 0, 0, 1, 10, 0, 0, 2])
    header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 1, 0, 64, 6, 0)
    return MAC_B + MAC_A + b"\x08\0" + header + ends + segment


CONNECT = b"\x10\x10\0\4MQTT\4\2\0\x3c\0\4lamp"


def test_a_datagram_is_said_by_its_sender() -> None:
    said = Dissection().frame(captured(1, ethernet()))
    assert said is not None
    assert (said.headers.src_mac, said.headers.src_ip, said.headers.dst_port) == (
        "02:00:00:00:00:01",
        "10.0.0.1",
        53,
    )
    assert [(m.verb, m.resource) for m in said.messages] == [("query", "www.test A")]


def test_a_message_over_several_segments_belongs_to_the_one_that_completes_it() -> None:
    dissection = Dissection()
    pieces = [tcp(b"", 99, SYN), tcp(CONNECT[:5], 100), tcp(CONNECT[5:], 105)]
    said = [dissection.frame(captured(n, raw)) for n, raw in enumerate(pieces, 1)]
    assert said[:2] == [None, None]
    assert said[2] is not None
    assert said[2].messages[0].identity == "lamp"


def test_a_connection_may_begin_before_the_capture() -> None:
    publish = b"\x30\x08\0\3a/bxyz"
    said = Dissection().frame(captured(1, tcp(publish, 5000)))
    assert said is not None
    assert said.messages[0].resource == "a/b"


def test_who_asks_is_told_by_the_port_that_a_protocol_has_or_by_the_smaller_one() -> None:
    def ends(source: int, destination: int) -> Headers:
        return Headers("", "", None, 0x0800, src_port=source, dst_port=destination)

    assert asks(ends(40000, 502))
    assert not asks(ends(502, 40000))
    assert not asks(ends(502, 80))
    assert asks(ends(40000, 80))
    assert not asks(ends(80, 40000))


def test_what_is_not_read_is_counted_by_what_kept_it_from_being_read() -> None:
    dissection = Dissection()
    broken = ethernet(ipv4(b"\0" * 5))
    fragment = bytearray(ethernet())
    fragment[20] = 0x20
    for raw, link, length in [
        (broken, 1, None),
        (ethernet()[:50], 1, len(ethernet())),
        (b"anything", 127, None),
        (bytes(fragment), 1, None),
    ]:
        assert dissection.frame(captured(1, raw, link, length)) is None
    assert dissection.counters == {
        "malformed": 1,
        "cut short when captured": 1,
        "frames of Wi-Fi (link type 127)": 1,
        "fragments": 1,
    }


def test_a_hello_over_several_datagrams_is_said_by_the_last() -> None:
    dissection = Dissection()
    first, second = (frames.udp(part, 40000, 5684) for part in dtls_parts(50))
    assert dissection.frame(captured(1, first)) is None
    said = dissection.frame(captured(2, second))
    assert said is not None
    assert [message.resource for message in said.messages] == ["lamp.example"]


def test_what_a_server_says_of_itself_has_the_ends_of_its_connection(tmp_path: Path) -> None:
    asked, answered = flight(tmp_path, TLSVersion.TLSv1_2)
    sent = [
        frames.tcp(999, b"", SYN, ack=0),
        frames.tcp(5000, b"", SYN | ACK, ack=1000, back=True),
        frames.tcp(1000, asked),
        frames.tcp(5001, answered, back=True),
    ]
    dissection = Dissection()
    *_, hello, certificate = (dissection.frame(captured(number, raw)) for number, raw in enumerate(sent, 1))
    assert hello is not None
    assert certificate is not None
    assert (certificate.messages[0].verb, certificate.messages[0].resource) == ("Certificate", "hub.example")
    assert (certificate.headers.src_ip, certificate.headers.dst_port) == (hello.headers.src_ip, 80)
