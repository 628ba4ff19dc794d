from controller.dpi.frame import parse
from controller.dpi.stream import Connection, ConnectionTable, Limits, Step
from tests.unit.dpi.frames import ACK, FIN, PSH, RST, SYN, tcp

GET = b"GET /a HTTP/1.1\r\n\r\n"
FAR = 100_000_000  # sequence numbers between two connections of a usual client


class Wire:
    def __init__(self, limits: Limits | None = None) -> None:
        self.table = ConnectionTable(limits)
        self.now = 0.0

    def send(self, seq: int, data: bytes = b"", flags: int = ACK | PSH, **more: int) -> Step:
        return self.both(seq, data, flags, **more)[1]

    def both(
        self, seq: int, data: bytes = b"", flags: int = ACK | PSH, **more: int
    ) -> tuple[Connection | None, Step]:
        options = {name: bool(more.pop(name)) for name in ("observed", "resume") if name in more}
        raw = tcp(seq, data, flags, **more)
        return self.table.frame(raw, parse(raw), self.now, **options)

    def open(self, seq: int = 999, **more: int) -> None:
        assert self.send(seq, b"", SYN, ack=0, **more).release
        assert self.send(seq + 1, b"", ACK, **more).release


def test_connection_is_followed_from_its_syn() -> None:
    wire = Wire()
    wire.open()
    step = wire.send(1000, GET)
    assert ([m.resource for m in step.messages], len(step.release)) == (["/a"], 1)
    assert len(wire.table) == 1


def test_frames_of_unknown_connections_are_refused() -> None:
    wire = Wire()
    assert wire.both(1000, GET) == (None, Step(refuse="unknown connection"))
    assert wire.both(1000, b"", ACK) == (None, Step(refuse="unknown connection"))
    assert wire.both(1000, b"", RST) == (None, Step())
    assert wire.both(1000, b"", SYN | ACK) == (None, Step())
    assert len(wire.table) == 0


def test_connections_are_followed_from_their_middle_only_if_allowed() -> None:
    wire = Wire()
    step = wire.send(1000, GET, resume=True)
    assert [m.resource for m in step.messages] == ["/a"]


def test_observed_connection_without_a_beginning_is_lost() -> None:
    wire = Wire()
    connection, step = wire.both(1000, GET, observed=True)
    assert connection is not None
    assert (connection.lost, step.messages) == (True, ())
    assert wire.send(1000 + len(GET), GET).refuse == "stream lost"
    assert wire.send(1000 + len(GET), GET, resume=True).messages


def test_resumed_connection_may_have_been_seen_first_from_its_server() -> None:
    wire = Wire()
    wire.send(5000, b"HTTP/1.1 200 OK\r\n\r\n", back=True, observed=True)
    assert wire.send(1000, GET, observed=True, resume=True).messages
    assert len(wire.table) == 1


def test_what_the_server_sends_passes() -> None:
    wire = Wire()
    wire.open()
    connection, step = wire.both(5000, b"HTTP/1.1 200 OK\r\n\r\n", back=True)
    assert connection is not None
    assert (len(step.release), step.messages) == (1, ())


def test_ipv6_and_other_ports_are_other_connections() -> None:
    wire = Wire()
    wire.open()
    wire.open(six=True)
    wire.open(client_port=40001)
    wire.open(port=8080)
    assert len(wire.table) == 4
    assert wire.send(1000, GET, six=True).messages


def test_syn_again_is_the_same_connection() -> None:
    wire = Wire()
    first, _ = wire.both(999, b"", SYN, ack=0)
    again, step = wire.both(999, b"", SYN, ack=0)
    assert first is again
    assert len(step.release) == 1
    wire.send(1000, GET)
    assert wire.send(999, b"", SYN, ack=0) == Step()


def test_new_syn_far_from_the_old_connection_begins_a_new_one() -> None:
    wire = Wire()
    wire.open(999)
    wire.send(1000, GET)
    wire.open(999 + FAR)
    assert wire.send(1000 + FAR, GET).messages
    assert len(wire.table) == 1


def test_new_syn_near_a_living_connection_changes_nothing() -> None:
    """The server ignores it, so bytes judged as the new stream's would be the old one's to it."""
    wire = Wire()
    wire.open(999)
    wire.send(1000, GET)
    old = wire.table.find(parse(tcp(1)))
    assert len(wire.send(1000 - 1 - 8, b"", SYN, ack=0).release) == 1
    assert wire.table.find(parse(tcp(1))) is old
    assert wire.send(992, b"GET /ok-DELETE /b HTTP/1.1\r\n\r\n").refuse is not None


def test_client_that_was_restarted_may_come_again_after_its_reset() -> None:
    wire = Wire()
    wire.open(999)
    wire.send(1000, GET)
    wire.send(999, b"", SYN, ack=0)  # a simple stack begins with the same number; the server objects
    wire.send(1000 + len(GET), b"", RST, ack=0)
    wire.open(999)
    assert wire.send(1000, GET).messages


def test_reset_that_the_server_may_not_have_taken_makes_no_room_for_a_new_connection() -> None:
    for trick in ({"wrong_checksum": 1}, {"ttl": 3}):
        wire = Wire()
        wire.open(999)
        wire.send(1000, GET)
        wire.send(1000 + len(GET), b"", RST, ack=0, **trick)
        assert wire.send(999, b"", SYN, ack=0).refuse == "ambiguous stream"


def test_new_connection_never_comes_to_where_the_server_may_be_in_an_older_one() -> None:
    wire = Wire()
    wire.open(999)
    wire.send(1000, GET)
    wire.open(1000 - 9_000_000)
    seq = 1001 - 9_000_000
    head = b"PUT /x HTTP/1.1\r\nContent-Length: 90000000\r\n\r\n"
    wire.send(seq, head)
    seq += len(head)
    for _ in range(20):
        step = wire.send(seq, b"{" * 60000)
        seq += 60000
        if step.refuse:
            break
    assert step.refuse == "ambiguous stream"


def test_server_that_agrees_ends_all_doubt() -> None:
    wire = Wire()
    wire.open(999)
    wire.send(1000, GET)
    new = 1000 - 9_000_000
    wire.send(new, b"", SYN, ack=0)
    wire.send(7000, b"", SYN | ACK, ack=new + 1 & 0xFFFFFFFF, back=True)
    connection = wire.table.find(parse(tcp(1)))
    assert connection is not None
    assert connection.confirmed


def test_closed_connection_makes_room_for_the_next() -> None:
    wire = Wire()
    wire.open(999)
    wire.send(1000, GET, ACK | FIN)
    wire.open(1000)
    assert wire.send(1001, GET).messages


def test_flood_evicts_nobody_but_its_own() -> None:
    wire = Wire(Limits(connections=10))
    wire.open(999, six=True)  # another client
    for port in range(40000, 40030):
        wire.open(999, client_port=port)
    assert len(wire.table) == 10
    assert wire.send(1000, GET, six=True).messages
    assert wire.send(1000, GET, client_port=40029).messages
    assert wire.send(1000, GET, client_port=40000).refuse == "unknown connection"


def test_evicted_connection_is_never_resumed() -> None:
    wire = Wire(Limits(connections=2))
    wire.open(999, client_port=1)
    wire.send(1000, b"PUT /x HTTP/1.1\r\nContent-Length: 100\r\n\r\n", client_port=1)
    wire.open(999, client_port=2)
    wire.open(999, client_port=3)
    assert wire.send(1040, GET, client_port=1, resume=True).refuse == "unknown connection"


def test_memory_is_bounded_and_released() -> None:
    wire = Wire(Limits(memory=200_000))
    head = b"PUT /x HTTP/1.1\r\nContent-Length: 30000\r\n\r\n"
    for port in range(1, 30):
        wire.open(999, client_port=port)
        wire.send(1000, head, client_port=port)
        wire.send(1000 + len(head), b"{" * 30000, client_port=port)
        assert wire.table.memory <= 200_000 + 40_000
    assert len(wire.table) == 29  # what they kept for comparing went first
    for port in range(1, 30):
        wire.send(31000 + len(head), b"GET / HTTP/1.1\r\nX: " + b"y" * 30000, client_port=port)
        assert wire.table.memory <= 200_000 + 80_000
    assert len(wire.table) < 29
    wire.now = 1e9
    assert wire.table.expire(wire.now)
    assert (len(wire.table), wire.table.memory) == (0, 0)


def test_silent_connections_are_forgotten() -> None:
    wire = Wire()
    wire.send(999, b"", SYN, ack=0, client_port=1)
    wire.open(999, client_port=2)
    wire.open(999, client_port=3)
    wire.send(1000, GET, ACK | FIN, client_port=3)
    wire.open(999, client_port=4)
    wire.send(1000, b"\xff" * 9, client_port=4)
    assert [len(wire.table.expire(t)) for t in (80, 100, 130, 7000, 8000, 80_000)] == [0, 1, 1, 0, 1, 0]
    assert wire.send(1009, b"x", client_port=4).settled


def test_removed_connection_is_refused() -> None:
    wire = Wire()
    wire.open()
    connection, _ = wire.both(1000, GET)
    assert connection is not None
    wire.table.remove(connection)
    wire.table.remove(connection)
    assert wire.send(1000 + len(GET), GET).refuse == "unknown connection"
    assert wire.table.memory == 0
