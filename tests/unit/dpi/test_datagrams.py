import pytest

from controller.dpi.assembly import Assembly
from controller.dpi.datagrams import DatagramTable, Heard
from controller.dpi.frame import parse
from controller.dpi.message import Malformed
from tests.unit.dpi.frames import udp
from tests.unit.dpi.hellos import DTLS_BODY, HELLO, dtls, dtls_parts, quic_initial

OTHER = DTLS_BODY.replace(b"lamp", b"door")


class Wire:
    def __init__(self) -> None:
        self.table = DatagramTable()
        self.now = 0.0

    def send(self, payload: bytes, sport: int = 40000) -> Heard:
        raw = udp(payload, sport, 5684)
        return self.table.frame(raw, parse(raw), self.now)

    def said(self, payload: bytes, sport: int = 40000) -> tuple[list[str], int]:
        """The names that were said, and how many frames belong to it."""
        heard = self.send(payload, sport)
        return [message.resource for message in heard.datagram.messages], len(heard.frames)


def test_whole_datagrams_do_not_wait() -> None:
    assert Wire().said(dtls(DTLS_BODY)) == (["lamp.example"], 1)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 1, 0, 0, 2)])
def test_parts_wait_for_each_other_in_any_order(order: tuple[int, ...]) -> None:
    wire, parts = Wire(), dtls_parts(30, 80)
    for index in order[:-1]:
        assert wire.said(parts[index]) == ([], 0)
    assert wire.said(parts[order[-1]]) == (["lamp.example"], 3)
    assert len(wire.table) == 0


def test_parts_of_a_quic_hello_wait_for_each_other() -> None:
    wire = Wire()
    assert wire.said(quic_initial([(60, HELLO[60:])], 0)) == ([], 0)
    assert wire.said(quic_initial([(0, HELLO[:60])], 1)) == (["lamp.example"], 2)


def test_another_hello_takes_the_place_of_the_first() -> None:
    wire = Wire()
    first, second = dtls_parts(50), dtls_parts(50, data=OTHER, number=1)
    wire.send(first[0])
    wire.send(second[0])
    assert wire.said(second[1]) == (["door.example"], 2)


def test_parts_of_others_are_never_mixed() -> None:
    wire, parts = Wire(), dtls_parts(50)
    wire.send(parts[0])
    assert wire.said(parts[1], 40001) == ([], 0)


def test_another_value_in_the_same_place_is_malformed_and_forgotten() -> None:
    wire, parts = Wire(), dtls_parts(100)
    wire.send(parts[0])
    with pytest.raises(Malformed, match="two values"):
        wire.send(dtls_parts(101, data=OTHER)[0])
    assert wire.said(parts[1]) == ([], 0)


def test_what_follows_waits_for_the_hello() -> None:
    wire, parts = Wire(), dtls_parts(50)
    data = b"\x17\xfe\xfd\0\1" + bytes(6) + b"\0\2ab"
    wire.send(parts[0])
    assert wire.said(data) == ([], 0)
    wire.send(parts[1])
    assert wire.said(data) == ([], 1)


def test_half_hellos_are_forgotten_after_a_while() -> None:
    wire, parts = Wire(), dtls_parts(50)
    wire.send(parts[0])
    wire.now = 11.0
    assert wire.said(parts[1]) == ([], 0)
    wire.now = 22.0
    wire.table.sweep(wire.now)
    assert len(wire.table) == 0


def test_half_hellos_are_bounded_for_each_sender_and_in_number_of_frames() -> None:
    wire, parts = Wire(), dtls_parts(50)
    for port in range(2000):
        wire.send(parts[0], port)
    assert len(wire.table) == 32
    many = [parts[0] + b"\x17\xfe\xfd\0\1" + bytes(6) + b"\0\1" + bytes([number]) for number in range(65)]
    for payload in many[:-1]:
        wire.send(payload)
    with pytest.raises(Malformed, match="datagrams"):
        wire.send(many[-1])


def test_assembly_is_bounded() -> None:
    assembly = Assembly(b"", 0.0)
    with pytest.raises(Malformed):
        assembly.add(16384, b"x")
    assembly.add(0, b"\1\xff\0\0")
    with pytest.raises(Malformed):
        assembly.whole()
