"""One site for many attacks: real servers, learnt clients, a device gone bad, a capture at every victim."""

import secrets
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether
from scapy.packet import Packet

from tests.scenarios.guarded import Programs, guarded, programs
from tests.scenarios.wire import Wire
from topologies.demo.stage import Stage
from topologies.waiting import until

HTTP, MQTT, MODBUS, COAP, ECHO, OWN_HTTP, TLS = 8000, 1883, 502, 5683, 9000, 8080, 8883
SHUT = 8123  # a port that nobody was ever seen to use

MACS = {
    "gateway": "02:00:66:00:00:01",
    "server": "02:00:66:00:00:02",
    "neighbour": "02:00:66:00:00:03",
    "attacker": "02:00:66:00:00:04",
    "forger": "02:00:66:00:00:05",
}
IPV4 = {name: f"10.66.0.{number}" for number, name in enumerate(MACS, 1)}
IPV6 = {name: f"fd00:66::{number}" for number, name in enumerate(MACS, 1)}

_HOSTS = "\n".join(
    f"""  - name: {name}
    switch: s1
    mac: "{mac}"
    ipv4: {IPV4[name]}
    ipv6: {IPV6[name]}/64
    {"roles: [router, dhcp, dns, ntp]" if name == "gateway" else ""}
    {
        '''services:
      - {name: broker, program: mosquitto}
      - {name: press, program: plc}
      - {name: light, program: lamp}'''
        if name == "server"
        else ""
    }"""
    for name, mac in MACS.items()
)
SITE = f"""
name: Under attack
description: Servers, their clients, and devices that have gone bad.
network: 10.66.0.0/24
switches:
  - {{name: s1, dpid: 1}}
hosts:
{_HOSTS}
"""

Sight = Callable[[bytes], bool]
PATIENCE = 5.0  # seconds for what must happen


def fresh() -> bytes:
    """Bytes that only one attack has."""
    return secrets.token_hex(6).encode()


# What clients say


def coap_request(method: int, path: bytes, token: bytes) -> bytes:
    """RFC 7252, section 3; token of at most eight bytes, path of at most twelve."""
    number = int.from_bytes(token[:2])
    return struct.pack("!BBH", 0x40 | len(token), method, number) + token + bytes((0xB0 | len(path),)) + path


def http_request(
    path: str, *more: str, method: str = "GET", agent: str = "sensor/1", body: str = ""
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: server", f"User-Agent: {agent}", *more]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def _mqtt(kind: int, body: bytes) -> bytes:
    assert len(body) < 128
    return bytes((kind, len(body))) + body


def mqtt_connect(client: str) -> bytes:
    name = client.encode()
    return _mqtt(0x10, b"\0\4MQTT\4\2\0\x3c" + struct.pack("!H", len(name)) + name)


def mqtt_publish(topic: str, payload: bytes) -> bytes:
    name = topic.encode()
    return _mqtt(0x30, struct.pack("!H", len(name)) + name + payload)


def mqtt_subscribe(topic: str) -> bytes:
    name = topic.encode()
    return _mqtt(0x82, b"\0\7" + struct.pack("!H", len(name)) + name + b"\0")


def tls_hello(name: str) -> bytes:
    """What a client says first that wants to speak TLS with `name`."""
    context, said = ssl.create_default_context(), ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), said, server_hostname=name)
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return said.read()
    raise AssertionError("nobody has answered")


def modbus_request(function: int, address: int, value: int) -> bytes:
    return struct.pack("!HHHBBHH", 7, 0, 6, 1, function, address, value)


@dataclass
class Ground:
    """The site, and what became of each attack on it."""

    stage: Stage
    wires: dict[str, Wire]
    run: Programs
    fates: list[tuple[str, str, str]]
    marks: list[tuple[str, Wire, Sight]] = field(default_factory=list)
    _echo: socket.socket | None = None

    @property
    def attacker(self) -> Wire:
        return self.wires["attacker"]

    @property
    def server(self) -> Wire:
        return self.wires["server"]

    @property
    def neighbour(self) -> Wire:
        return self.wires["neighbour"]

    def pass_by(self) -> None:
        """Wait until all that the attacker has sent has been dealt with.

        A request of its own that is allowed takes the same way through switch and inspector, behind
        everything else; it arriving also shows that the capture sees what arrives.
        """
        self.stage.guarded.get("status")
        with self.attacker.udp() as sender:
            for name in ("server", "neighbour"):
                token = fresh()[:8]
                begin = len(self.wires[name].frames)
                sender.sendto(coap_request(1, b"light", token), (IPV4[name], COAP))
                assert self.wires[name].await_bytes(token, begin), f"the allowed request to {name} was lost"

    def pass_by_from_forger(self, port: int) -> None:
        """As pass_by, on the way of the forger, which nobody answers."""
        token = fresh()[:8]
        begin = len(self.server.frames)
        request = UDP(sport=port, dport=COAP) / coap_request(1, b"light", token)
        addresses = IP(src=IPV4["forger"], dst=IPV4["server"])
        self.wires["forger"].send(Ether(src=MACS["forger"], dst=MACS["server"]) / addresses / request)
        assert self.server.await_bytes(token, begin), "the forger's allowed request was lost"

    def launch(
        self,
        name: str,
        frames: Sequence[Packet | bytes],
        seen: Sight | bytes,
        at: Iterable[str] = ("server", "neighbour"),
        by: str = "attacker",
    ) -> None:
        """Send frames; not one that `seen` recognises may arrive at the victims."""
        self.judged(name, lambda: self.wires[by].send(*frames), seen, at, f"{len(frames)} frames")

    def judged(
        self,
        name: str,
        act: Callable[[], object],
        seen: Sight | bytes,
        at: Iterable[str] = ("server", "neighbour"),
        what: str = "",
    ) -> None:
        """Attack; not one frame that `seen` recognises may arrive at the victims."""
        sight = _holds(seen) if isinstance(seen, bytes) else seen
        begins = {victim: len(self.wires[victim].frames) for victim in at}
        act()
        self.pass_by()
        arrived = [
            (victim, frame.raw)
            for victim, begin in begins.items()
            for frame in self.wires[victim].frames[begin:]
            if sight(frame.raw)
        ]
        victims = ", ".join(begins)
        fate = f"{len(arrived)} ARRIVED" if arrived else "nothing arrived"
        self.fates.append((name, f"{what} at {victims}".strip(), fate))
        self.marks += [(name, self.wires[victim], sight) for victim in begins]
        assert not arrived, "\n".join(f"{victim}: {Ether(raw).summary()}" for victim, raw in arrived[:5])

    def end_learning(self) -> None:
        firewall = self.stage.guarded

        def over() -> bool:
            learning = [s["service"]["id"] for s in firewall.get("services")["services"] if s["learning"]]
            for service in learning:
                firewall.post(f"services/{service}/learn", {"action": "end"})
            return not learning

        until(over, "learning ends", 20.0)


def _holds(token: bytes) -> Sight:
    return lambda raw: token in raw


@contextmanager
def ground(folder: Path, fates: list[tuple[str, str, str]]) -> Iterator[Ground]:
    """The site, learnt and graduated."""
    with guarded(SITE, folder) as stage, programs(stage) as run:
        network = stage.laboratory.network
        stage.laboratory.wait_ready()
        run.ready("server", "serve", str(HTTP))
        run.ready("server", "drink", str(TLS))
        run.ready("neighbour", "coap", str(COAP))
        run.ready("attacker", "echo", str(ECHO))
        run.ready("attacker", "serve", str(OWN_HTTP))
        wires = {name: Wire(network.pid(name)) for name in MACS}
        made = Ground(stage, wires, run, fates)
        try:
            _learn(made)
            _make_forger_silent(stage)
            yield made
            late = {
                name for name, wire, sight in made.marks if any(sight(frame.raw) for frame in wire.frames)
            }
            assert not late, f"arrived late: {late}"
        finally:
            for wire in wires.values():
                wire.close()


def _make_forger_silent(stage: Stage) -> None:
    """Its kernel holds no address any more, so that it does not meddle with crafted connections."""
    network = stage.laboratory.network
    network.run("forger", ["ip", "address", "flush", "dev", "lan0"])
    for family, address in ((4, IPV4["forger"]), (6, IPV6["forger"])):
        words = f"ip -{family} neighbour replace {address} lladdr {MACS['forger']} dev lan0"
        assert not network.run("server", words.split()).returncode


def _learn(ground: Ground) -> None:
    """Everybody does what they will be known for."""
    for client in ("attacker", "neighbour", "forger"):
        _be_a_client(ground.wires[client], ("server", "neighbour") if client == "attacker" else ("server",))
    _retry(lambda: _mqtt_session(ground.attacker, "sensor", "garden/heat"))
    _retry(lambda: _mqtt_session(ground.attacker, "blinds", "hall/blinds"))
    _retry(lambda: _mqtt_session(ground.neighbour, "cockpit", "door/open"))
    _retry(lambda: _http(ground.attacker, IPV6["server"], "/six"))
    with ground.attacker.tcp(IPV4["server"], MODBUS) as plc:
        plc.sendall(modbus_request(3, 0, 1))
        assert plc.recv(100)
    with ground.attacker.tcp(IPV4["server"], TLS) as vault:
        hello = tls_hello("known.example")
        vault.sendall(hello)
        assert ground.server.await_bytes(hello[:64])
    # The attacker serves, too: its clients are victims.
    with ground.neighbour.udp() as asking:
        _retry(lambda: _ask(asking, (IPV4["attacker"], ECHO), b"probe-00000001"))
    _retry(lambda: _http(ground.neighbour, IPV4["attacker"], "/known", OWN_HTTP))
    ground.end_learning()


def _be_a_client(wire: Wire, of: Iterable[str]) -> None:
    for name in of:
        with wire.udp() as asking:
            _ask_often(asking, (IPV4[name], COAP), coap_request(1, b"light", fresh()[:8]))
    for address in (IPV4["server"], IPV6["server"]):
        _retry(lambda to=address: _http(wire, to, "/known"))


def _ask_often(asking: socket.socket, address: tuple[str, int], request: bytes) -> None:
    _retry(lambda: _ask(asking, address, request))


def _ask(asking: socket.socket, address: tuple[str, int], request: bytes) -> bytes:
    asking.sendto(request, address)
    return asking.recv(2048)


def _http(wire: Wire, address: str, path: str, port: int = HTTP) -> bytes:
    with wire.tcp(address, port) as connection:
        connection.sendall(http_request(path))
        said = connection.recv(4096)
    assert b" 200 " in said
    return said


def _mqtt_session(wire: Wire, client: str, topic: str) -> bytes:
    with wire.tcp(IPV4["server"], MQTT) as connection:
        connection.sendall(mqtt_connect(client))
        said = connection.recv(100)
        connection.sendall(
            mqtt_publish(topic, b"20") + b"\xc0\0"
        )  # and a ping, whose answer says that it came
        assert connection.recv(100)
    return said


def _retry(do: Callable[[], bytes]) -> None:
    """The first of a conversation may get lost while devices are being found."""
    end = time.monotonic() + PATIENCE
    while True:
        try:
            assert do()
        except OSError:
            if time.monotonic() > end:
                raise
        else:
            return
