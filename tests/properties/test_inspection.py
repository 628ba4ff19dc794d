"""Nothing that the table does not allow ever comes out of the inspector (laws 3 and 4).

Random conversations are cut into frames, reordered, repeated and mixed with decisions. The oracle is
a table of its own that gets the same deltas, and the requests as they were written.
"""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.dpi.message import Operation
from controller.events import Observed
from controller.inspector.judgement.inspection import Inspection
from controller.model.relationship import ANY, Access, DeviceId, Endpoint, ServiceId
from controller.verdicts import Delta, SetDevice, SetGrant, VerdictTable
from tests.unit.inspector.judgement.frames import ACK, PSH, SYN, coap, coap_answer, tcp, udp
from tests.unit.inspector.judgement.site import BATTERY, DIRECTORY, HOSTS, LOCK, WASHER, main, service

ADDRESSES = {device: addresses[0] for device, addresses in HOSTS.items()}
DEVICES = (WASHER, BATTERY, LOCK)
PATHS = ("/charge", "/12345/x")
COAP, HTTP = Endpoint("udp", 5683), Endpoint("tcp", 80)
METHODS = {"GET": Operation.READ, "PUT": Operation.WRITE}

# Few of everything, so that actions often concern each other.
pairs = st.sampled_from([(WASHER, BATTERY), (WASHER, BATTERY), (BATTERY, WASHER), (WASHER, LOCK)])
requests = st.tuples(st.sampled_from(["GET", "GET", "PUT"]), st.sampled_from(["/charge", *PATHS]))


def access_of(
    pair: tuple[DeviceId, DeviceId], endpoint: Endpoint, protocol: str, method: str, path: str
) -> Access:
    resource = path.replace("12345", "{number}")
    return Access(
        ServiceId(f"{pair[0]}/main"), ServiceId(f"{pair[1]}/{endpoint}"), protocol, METHODS[method], resource
    )


@st.composite
def grants(draw: st.DrawFn) -> SetGrant:
    pair = draw(pairs)
    endpoint, protocol = draw(st.sampled_from([(COAP, "coap"), (HTTP, "http")]))
    access = access_of(pair, endpoint, protocol, *draw(requests))
    wide = draw(st.sampled_from(["exact", "exact", "exact", "protocol", "whole"]))
    if wide == "protocol":
        access = Access(access.client, access.server, protocol, ANY, ANY)
    if wide == "whole":
        access = Access(access.client, access.server, ANY, ANY, ANY)
    until = draw(st.sampled_from([None, None, None, 1001.0, 1003.0]))
    return SetGrant(access, draw(st.sampled_from([True, True, True, False, None])), until=until)


changes = st.one_of(
    st.builds(main, st.sampled_from(DEVICES), st.booleans()),
    st.builds(service, st.sampled_from(DEVICES), st.sampled_from([COAP, HTTP]), st.booleans()),
    st.builds(SetDevice, st.sampled_from(DEVICES), young=st.booleans(), blocked=st.booleans()),
)


def http(method: str, path: str) -> bytes:
    body = b"on" if method in ("PUT", "POST") else b""
    length = b"Content-Length: 2\r\n" if body else b""
    return f"{method} {path} HTTP/1.1\r\nHost: x\r\n".encode() + length + b"\r\n" + body


@dataclass
class Ask:
    """One CoAP request."""

    pair: tuple[DeviceId, DeviceId]
    port: int
    request: tuple[str, str]


@dataclass
class Answer:
    pair: tuple[DeviceId, DeviceId]  # client, server
    port: int


@dataclass
class Talk:
    """HTTP requests on one new connection, and the order in which pieces of them will arrive."""

    pair: tuple[DeviceId, DeviceId]
    port: int
    asked: list[tuple[str, str]]
    cuts: list[int]
    swaps: list[int]


@dataclass
class More:
    """The next pieces on one of the connections."""

    which: int
    count: int


class Connection:
    """What its client will send, and what may be delivered of it."""

    def __init__(self, talk: Talk, first: int) -> None:
        self.talk = talk
        self.first = first
        texts = [http(*request) for request in talk.asked]
        self.stream = b"".join(texts)
        self.belongs = [number for number, text in enumerate(texts) for _ in text]
        self.pieces: list[tuple[int, bytes]] = []
        at = 0
        while at < len(self.stream):
            size = talk.cuts[len(self.pieces) % len(talk.cuts)]
            self.pieces.append((at, self.stream[at : at + size]))
            at += size
        for swap in talk.swaps:  # reordered and repeated
            self.pieces.insert(swap % len(self.pieces), self.pieces[swap * 7 % len(self.pieces)])

    def frame(self, flags: int, at: int, payload: bytes = b"") -> bytes:
        client, server = (ADDRESSES[device] for device in self.talk.pair)
        ack = 1 if flags & ACK else 0
        return tcp(client, server, self.talk.port, 80, flags, (self.first + at) & 0xFFFFFFFF, ack, payload)


@dataclass
class Wait:
    seconds: float


Action = Ask | Answer | Talk | More | Wait | Delta

ports = st.sampled_from([5683, 40000])
actions = st.one_of(
    st.builds(Ask, pairs, ports, requests),
    st.builds(Ask, pairs, ports, requests),
    st.builds(Answer, pairs, ports),
    st.builds(
        Talk,
        pairs,
        st.integers(40000, 40003),
        st.lists(requests, min_size=1, max_size=4),
        st.lists(st.integers(1, 70), min_size=1, max_size=6),
        st.lists(st.integers(0, 30), max_size=4),
    ),
    st.builds(More, st.integers(0, 3), st.integers(1, 12)),
    st.builds(More, st.integers(0, 3), st.integers(1, 12)),
    st.builds(Wait, st.sampled_from([0.3, 1.0, 130.0])),
    grants(),
    grants(),
    changes,
)


BEGINNING: tuple[Delta, ...] = (
    *DIRECTORY,
    *(main(device) for device in DEVICES),
    *(service(device, endpoint) for device in DEVICES for endpoint in (COAP, HTTP)),
    *(
        SetGrant(access_of((WASHER, BATTERY), endpoint, protocol, "GET", "/charge"), True)
        for endpoint, protocol in ((COAP, "coap"), (HTTP, "http"))
    ),
)


@dataclass
class World:
    """The inspector, and the oracle beside it."""

    inspection: Inspection = field(default_factory=lambda: Inspection(VerdictTable(BEGINNING)))
    oracle: VerdictTable = field(default_factory=lambda: VerdictTable(BEGINNING))
    now: float = 1000.0
    asked: dict[tuple[DeviceId, DeviceId, int], set[Access]] = field(default_factory=dict)
    connections: list[Connection] = field(default_factory=list)

    def allows(self, access: Access, pair: tuple[DeviceId, DeviceId]) -> bool:
        return self.oracle.judge(*pair, access, self.now).allow

    def frame(self, raw: bytes) -> tuple[bytes, ...]:
        """What comes out; everything that is reported has to be what the oracle says."""
        outcome = self.inspection.frame(raw, False, self.now)
        for event in outcome.events:
            if isinstance(event, Observed) and event.access.protocol in ("coap", "http"):
                assert event.allowed == self.allows(event.access, (event.client, event.server)), event
        return outcome.send

    def do(self, action: Action) -> None:
        match action:
            case Ask():
                self._ask(action)
            case Answer():
                self._answer(action)
            case Talk():
                self._open(action)
            case More():
                self._more(action)
            case Wait():
                self.now += action.seconds
                self.inspection.tick(self.now)
            case _:
                self.oracle.apply(action)
                self.inspection.update((action,))

    def _ask(self, action: Ask) -> None:
        client, server = (ADDRESSES[device] for device in action.pair)
        raw = udp(client, server, action.port, 5683, coap(*action.request))
        access = access_of(action.pair, COAP, "coap", *action.request)
        passed = raw in self.frame(raw)
        assert passed == self.allows(access, action.pair)
        if passed:
            self.asked.setdefault((*action.pair, action.port), set()).add(access)

    def _answer(self, action: Answer) -> None:
        client, server = action.pair
        raw = udp(ADDRESSES[server], ADDRESSES[client], 5683, action.port, coap_answer())
        if raw in self.frame(raw):
            # What looks like an answer may be the acknowledgement of a client that has port 5683.
            ends = [action.pair] if action.port != 5683 else [action.pair, (server, client)]
            assert any(
                self.allows(access, pair)
                for pair in ends
                for access in self.asked.get((*pair, action.port), ())
            )

    def _open(self, talk: Talk) -> None:
        first = 1000 + 0x10000000 * len(self.connections)
        connection = Connection(talk, first & 0xFFFFFFFF)
        self.connections = [
            c for c in self.connections if (c.talk.pair, c.talk.port) != (talk.pair, talk.port)
        ]
        self.connections.append(connection)
        self.frame(connection.frame(SYN, -1))
        self.frame(connection.frame(ACK, 0))

    def _more(self, more: More) -> None:
        if not self.connections:
            return
        connection = self.connections[more.which % len(self.connections)]
        for _ in range(min(more.count, len(connection.pieces))):
            at, piece = connection.pieces.pop(0)
            for sent in self.frame(connection.frame(ACK | PSH, at, piece)):
                self._delivered(connection, sent)

    def _delivered(self, connection: Connection, sent: bytes) -> None:
        """Every byte that reaches the server belongs to a request that is allowed now."""
        payload, talk = sent[54:], connection.talk
        if not payload:
            return
        assert sent[26:30] == bytes(map(int, ADDRESSES[talk.pair[0]].split(".")))
        at = (int.from_bytes(sent[38:42]) - connection.first) & 0xFFFFFFFF
        assert connection.stream[at : at + len(payload)] == payload
        for number in set(connection.belongs[at : at + len(payload)]):
            access = access_of(talk.pair, HTTP, "http", *talk.asked[number])
            assert self.allows(access, talk.pair), (talk.asked[number], self.now)


@settings(max_examples=250)
@given(st.lists(actions, min_size=30, max_size=80))
def test_nothing_that_is_not_allowed_ever_comes_out(script: list[Action]) -> None:
    world = World()
    for action in script:
        world.do(action)


@given(st.lists(actions, max_size=15), st.binary(max_size=120), st.integers(0, 60), st.booleans())
def test_any_bytes_at_any_time_are_survived_and_never_pass(
    script: list[Action], noise: bytes, at: int, observed: bool
) -> None:
    """Random bytes, and random changes of a good frame, behind any history."""
    world = World()
    for action in script:
        world.do(action)
    client, server, _ = ADDRESSES.values()
    good = udp(client, server, 40000, 5683, coap("GET", "/charge"))
    outcome = world.inspection.frame(noise, observed, world.now)
    assert noise not in outcome.send
    changed = good[:at] + noise + good[at + len(noise) :]
    outcome = world.inspection.frame(changed, observed, world.now)
    assert not (observed and changed in outcome.send)


@given(st.lists(st.one_of(grants(), changes), max_size=30), pairs, requests)
def test_the_inspector_and_the_table_never_differ(
    deltas: list[Delta], pair: tuple[DeviceId, DeviceId], request: tuple[str, str]
) -> None:
    """Law 4: whatever way the table came about, by deltas or as a whole copy."""
    table = VerdictTable((*BEGINNING, *deltas))
    client, server = (ADDRESSES[device] for device in pair)
    raw = udp(client, server, 40000, 5683, coap(*request))
    verdict = table.judge(*pair, access_of(pair, COAP, "coap", *request), 1000.0)
    copied = Inspection(VerdictTable(table.deltas()))
    grown = Inspection(VerdictTable(BEGINNING))
    grown.frame(raw, False, 1000.0)
    grown.update(deltas)
    for inspection in (copied, grown):
        outcome = inspection.frame(raw, False, 1000.0)
        assert (raw in outcome.send) == verdict.allow
        for event in outcome.events:
            assert not isinstance(event, Observed) or (event.allowed, event.reason) == (
                verdict.allow,
                verdict.reason,
            )
