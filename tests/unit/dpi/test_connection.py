import pytest

from controller.dpi.connection import Connection, Limits, Step
from controller.dpi.frame import Headers, parse
from controller.dpi.stream import ConnectionTable
from tests.unit.dpi.frames import ACK, FIN, PSH, RST, SYN, URG, tcp

ISN = 0xFFFFFF00  # the sequence numbers wrap early
GET = b"GET /a HTTP/1.1\r\n\r\n"
PUT = b"PUT /b HTTP/1.1\r\nContent-Length: 4\r\n\r\n{{}}"


class Client:
    """Plays a client; offsets count the bytes of its stream."""

    def __init__(self, limits: Limits | None = None, observed: bool = False, port: int = 80) -> None:
        self.port, self.observed = port, observed
        self.limits = limits or Limits()
        syn = self.headers(tcp(ISN, flags=SYN, ack=0, port=port))
        self.connection = Connection((None, "10.0.0.1", 40000, "10.0.0.2", port), self.limits, syn)
        self.seen = bytearray()  # what the server gets

    @staticmethod
    def headers(raw: bytes) -> Headers:
        return parse(raw)

    def frame(self, at: int, data: bytes = b"", flags: int = ACK | PSH, **more: int) -> bytes:
        return tcp(ISN + 1 + at, data, flags, port=self.port, **more)

    def send(self, at: int, data: bytes = b"", flags: int = ACK | PSH, **more: int) -> Step:
        raw = self.frame(at, data, flags, **more)
        return self.connection.client_frame(raw, parse(raw), 0.0, self.observed)

    def said(self, step: Step) -> list[str]:
        return [message.resource for message in step.messages]


def test_handshake_and_bare_acknowledgements_pass() -> None:
    client = Client()
    for raw in (client.frame(-1, flags=SYN), client.frame(0, flags=ACK), client.frame(99, flags=ACK)):
        assert client.connection.client_frame(raw, parse(raw), 0.0).release == (raw,)


def test_message_in_one_segment_is_released_at_once() -> None:
    client = Client()
    step = client.send(0, GET)
    assert (client.said(step), step.release, step.refuse) == (["/a"], (client.frame(0, GET),), None)


def test_message_over_three_segments_is_released_when_it_is_whole() -> None:
    client = Client()
    assert client.send(0, GET[:1], ACK) == Step()
    assert client.send(1, GET[1:9], ACK) == Step()
    step = client.send(9, GET[9:])
    assert client.said(step) == ["/a"]
    assert step.release == (
        client.frame(0, GET[:1], ACK),
        client.frame(1, GET[1:9], ACK),
        client.frame(9, GET[9:]),
    )


def test_segment_with_a_message_and_the_beginning_of_another_waits() -> None:
    client = Client()
    step = client.send(0, GET + GET[:4], ACK)
    assert (client.said(step), step.release) == (["/a"], ())
    step = client.send(len(GET) + 4, GET[4:])
    assert (client.said(step), len(step.release)) == (["/a"], 2)


def test_waiting_client_is_acknowledged_so_that_it_goes_on() -> None:
    client = Client()
    step = client.send(0, GET[:5], ack=777)
    assert step.acknowledge is not None
    headers = parse(step.acknowledge)
    assert (headers.src_ip, headers.dst_ip) == ("10.0.0.2", "10.0.0.1")
    assert (headers.src_port, headers.dst_port, headers.tcp_flags) == (80, 40000, ACK)
    assert (headers.seq, headers.ack) == (777, ISN + 6)
    assert client.send(0, GET[:5]).acknowledge is not None  # and again, when it was lost


def test_out_of_order_segments_wait_for_the_gap_to_close() -> None:
    client = Client()
    assert client.send(len(GET), PUT) == Step()
    assert client.send(len(GET), PUT) == Step()
    step = client.send(0, GET)
    assert client.said(step) == ["/a", "/b"]
    assert step.release == (client.frame(0, GET), client.frame(len(GET), PUT))


def test_retransmission_of_the_same_passes() -> None:
    client = Client()
    client.send(0, GET)
    step = client.send(0, GET)
    assert (step.messages, step.release) == ((), (client.frame(0, GET),))
    part = client.send(4, GET[4:9])
    assert part.release == (client.frame(4, GET[4:9]),)


def test_retransmission_of_something_else_is_refused() -> None:
    client = Client()
    client.send(0, GET)
    assert client.send(0, GET.replace(b"a", b"b")).refuse == "ambiguous stream"
    assert client.send(len(GET), GET).refuse == "ambiguous stream"
    assert client.send(0, b"", ACK).refuse == "ambiguous stream"


def test_held_bytes_cannot_be_exchanged_either() -> None:
    client = Client()
    client.send(0, GET[:6])
    assert client.send(4, b"/b").refuse == "ambiguous stream"
    client = Client()
    client.send(9, GET[9:])
    client.send(9, b"X" + GET[10:])
    assert client.send(0, GET[:9]).refuse == "ambiguous stream"


def test_overlap_with_the_same_bytes_and_new_ones_is_taken() -> None:
    client = Client()
    client.send(0, GET[:6], ACK)
    step = client.send(2, GET[2:])
    assert (client.said(step), len(step.release)) == (["/a"], 2)


def test_keep_alive_probe_passes_with_or_without_a_byte() -> None:
    client = Client()
    assert len(client.send(-1, b"", ACK).release) == 1
    assert len(client.send(-1, b"\0", ACK).release) == 1
    client.send(0, GET)
    end = len(GET)
    assert client.send(end - 1, b"", ACK).release == (client.frame(end - 1, b"", ACK),)
    assert client.send(end - 1, b"\n", ACK).release == (client.frame(end - 1, b"\n", ACK),)
    (probe,) = client.send(end - 1, b"\0", ACK).release
    headers = parse(probe)
    assert headers.payload_offset == headers.payload_end  # the byte itself is not let through
    assert headers.seq == parse(client.frame(end - 1)).seq
    assert probe == client.frame(end - 1, b"", ACK)


def test_bytes_from_before_what_is_kept_are_refused_unless_acknowledged() -> None:
    client = Client(Limits(tail=100, recent=0))
    body = b"PUT /x HTTP/1.1\r\nContent-Length: 1000\r\n\r\n"
    client.send(0, body)
    for index in range(10):
        client.send(len(body) + index * 100, b"{" * 100)
    answer = tcp(5000, b"", ACK, ack=(ISN + 1 + 50) & 0xFFFFFFFF, back=True)
    client.connection.server_frame(answer, parse(answer), 0.0)
    assert client.send(0, body[:30]) == Step()
    assert client.send(40, b"{" * 60).refuse == "out of window"


def test_what_was_lost_on_the_way_may_come_again_however_much_was_sent_meanwhile() -> None:
    client = Client(Limits(tail=100, recent=5000))
    body = b"PUT /x HTTP/1.1\r\nContent-Length: 9000\r\n\r\n"
    client.send(0, body)
    for index in range(40):
        client.send(len(body) + index * 100, b"{" * 100)
    again = client.send(len(body), b"{" * 100)
    assert again.release == (client.frame(len(body), b"{" * 100),)
    assert client.send(len(body) + 100, b"}" * 100).refuse == "ambiguous stream"


def test_fin_passes_behind_a_whole_message_only() -> None:
    client = Client()
    step = client.send(0, GET, ACK | FIN)
    assert (client.said(step), len(step.release)) == (["/a"], 1)
    assert client.send(0, GET, ACK | FIN).release == (client.frame(0, GET, ACK | FIN),)
    assert len(client.send(len(GET) + 1, b"", ACK).release) == 1
    assert client.send(len(GET) + 1, GET) == Step()
    client = Client()
    client.send(0, GET[:7])
    assert client.send(7, b"", ACK | FIN).refuse.startswith("malformed")


def test_fin_behind_a_gap_waits() -> None:
    client = Client()
    assert client.send(len(GET), b"", ACK | FIN) == Step()
    step = client.send(0, GET)
    assert step.release == (client.frame(0, GET), client.frame(len(GET), b"", ACK | FIN))


def test_fin_at_a_wrong_place_is_dropped() -> None:
    client = Client()
    client.send(0, GET)
    assert client.send(3, b"", ACK | FIN) == Step()
    assert client.send(3, GET[3:5], ACK | FIN) == Step()
    assert client.said(client.send(len(GET), PUT)) == ["/b"]


def test_reset_counts_only_where_the_server_takes_it() -> None:
    client = Client()
    client.send(0, GET)
    assert client.send(len(GET) + 5, b"", RST) == Step()
    assert client.send(3, b"", RST | ACK) == Step()
    assert client.said(client.send(len(GET), PUT)) == ["/b"]
    end = len(GET + PUT)
    assert client.send(end, b"", RST).release == (client.frame(end, b"", RST),)
    assert client.send(end, GET) == Step()


@pytest.mark.parametrize("flags", [0, PSH, FIN, FIN | PSH, SYN | ACK, SYN | FIN, SYN | RST])
def test_segments_that_no_server_takes_are_dropped(flags: int) -> None:
    client = Client()
    assert client.send(0, GET, flags) == Step()
    assert client.said(client.send(0, GET)) == ["/a"]


def test_data_on_syn_is_dropped() -> None:
    assert Client().send(-1, GET, SYN) == Step()


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize(
    ("told", "left"),
    [
        ("020405b4 1e0c0081 0102030405060708", "020405b4" + 12 * "01"),  # MP_CAPABLE behind a segment size
        ("01 1e0c1001 0102030405060708 010101", 16 * "01"),  # MP_JOIN
        ("1e040081 00 1e0300", 4 * "01" + "00 1e0300"),  # behind the end nobody reads
        ("1e0c0081", "1e0c0081"),  # it does not fit, so nobody reads it either
        ("020405b4 04020303", "020405b4 04020303"),
    ],
)
def test_offer_of_multipath_tcp_is_left_out(told: str, left: str, six: bool) -> None:
    """The server would put the bytes of its connections in an order that the inspector does not know."""
    sent = tcp(999, b"", SYN, ack=0, told=bytes.fromhex(told), six=six)
    _, step = ConnectionTable().frame(sent, parse(sent), 0.0)
    assert step.release == (tcp(999, b"", SYN, ack=0, told=bytes.fromhex(left), six=six),)


def test_urgent_data_is_refused() -> None:
    assert Client().send(0, GET, ACK | URG, urgent=3).refuse == "urgent data"


def test_malformed_is_refused_and_stays_so() -> None:
    client = Client()
    step = client.send(0, b"GET /a HTTP/1.1\n\n")
    assert step.refuse is not None
    assert step.refuse.startswith("malformed http")
    assert step.release == ()
    assert client.send(0, GET).refuse == step.refuse


def test_held_frames_are_bounded() -> None:
    client = Client(Limits(held=4000))
    steps = [client.send(0, b"GET / HTTP/1.1\r\nX: ")]
    steps += [client.send(19 + n * 1000, b"x" * 1000) for n in range(5)]
    assert next(s.refuse for s in steps if s.refuse) == "stream buffer full"
    assert client.connection.size < 3000


def test_frames_behind_a_gap_are_bounded_and_come_again() -> None:
    client = Client(Limits(held=4000))
    for n in range(1, 20):
        assert client.send(n * 1000, b"x" * 1000) == Step()
    assert client.connection.size < 8000
    assert client.connection.lost is False


def test_rest_of_an_opaque_connection_passes() -> None:
    client = Client()
    step = client.send(0, b"\xff" * 10)
    assert (step.settled, [m.opaque for m in step.messages], len(step.release)) == (True, [True], 1)
    step = client.send(10, b"anything")
    assert (step.settled, step.messages, len(step.release)) == (True, (), 1)
    assert client.connection.server_expects == (ISN + 1 + 18) & 0xFFFFFFFF


def test_reset_goes_where_the_server_is() -> None:
    client = Client()
    client.send(0, GET)
    client.send(len(GET), PUT[:10])
    assert client.connection.server_expects == (ISN + 1 + len(GET)) & 0xFFFFFFFF
    assert client.connection.client_expects == 5000


def test_observed_connection_gives_messages_and_never_waits() -> None:
    client = Client(observed=True)
    assert client.said(client.send(0, GET + PUT[:5])) == ["/a"]
    assert client.connection.server_expects == (ISN + 1 + len(GET) + 5) & 0xFFFFFFFF
    step = client.send(len(GET) + 5, PUT[5:])
    assert (client.said(step), step.acknowledge) == (["/b"], None)


def test_observed_gap_makes_lost_and_never_wrong_messages() -> None:
    client = Client(Limits(observed=3000), observed=True)
    client.send(0, GET)
    for n in range(5):
        assert client.send(1000 + n * 1000, GET * 50).messages == ()
    assert client.connection.lost
    assert client.send(len(GET), PUT).messages == ()
    client.observed = False
    assert client.send(len(GET), PUT).refuse == "stream lost"


def test_resumed_connection_begins_with_its_first_data() -> None:
    raw = tcp(699, b"", ACK)
    connection = Connection((None, "a", 1, "b", 80), Limits(), parse(raw), resumed=True)
    assert connection.client_frame(raw, parse(raw), 0.0).release == (raw,)  # a keep-alive: one too low
    raw = tcp(700, GET)
    assert [m.resource for m in connection.client_frame(raw, parse(raw), 0.0).messages] == ["/a"]


def test_surely_ended_only_if_the_server_must_have_taken_everything() -> None:
    client = Client()
    client.send(0, GET)
    assert not client.connection.surely_ended
    client.send(len(GET), b"", ACK | FIN)
    assert client.connection.surely_ended
    for unsure in ({"wrong_checksum": True}, {"ttl": 1}, {"options": 4}):
        client = Client()
        client.send(0, GET, **unsure)
        client.send(len(GET), b"", ACK | FIN)
        assert not client.connection.surely_ended
