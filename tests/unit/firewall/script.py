"""A small house and its firewall, to be told what happens; nothing here is a network."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

from controller.config import Config, parse
from controller.events import (
    Answer,
    Command,
    Decide,
    Done,
    Duration,
    Effect,
    Event,
    InspectorUp,
    Observed,
    PacketIn,
    Persist,
    PortInfo,
    Record,
    Scope,
    SendFlows,
    SwitchUp,
    Tick,
    UpdateTable,
)
from controller.firewall.firewall import Firewall
from controller.firewall.state import State
from controller.flows.flow import Flow
from controller.keeper.backlog import merged
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, Relationship, ServiceId, Status
from controller.verdicts import Delta
from controller.view import RequestView
from tests.unit.dpi.frames import ethernet, ipv4, ipv6, udp_segment

WASHER, LOCK, SPARE = DeviceId("washer"), DeviceId("lock"), DeviceId("spare")
ADDRESSES = {WASHER: "10.0.0.1", LOCK: "10.0.0.2", SPARE: "10.0.0.3"}
MACS = {name: f"02:00:00:00:00:0{number}" for number, name in enumerate(ADDRESSES, 1)}
STRANGER = "02:00:00:00:00:99"
SITE = """
learning: {minimum: 10s, quiet: 5s, maximum: 60s}
switches: [{name: hall, dpid: 1}, {name: attic, dpid: 2}]
devices:
  - {id: washer, name: Washing machine, mac: 02:00:00:00:00:01, addresses: [10.0.0.1]}
  - {id: lock, name: Front door, kind: door lock, mac: 02:00:00:00:00:02, addresses: [10.0.0.2]}
  - {id: spare, name: Spare node, mac: 02:00:00:00:00:03, addresses: [10.0.0.3]}
"""
WEB = Endpoint("tcp", 80)
START = 1_700_000_000.0


def config(more: str = "") -> Config:
    return parse(SITE + more, "site.yaml")


def access(
    operation: str = "read",
    resource: str = "/state",
    client: str = "washer/main",
    server: str = "lock/tcp-80",
    protocol: str = "http",
) -> Access:
    return Access(ServiceId(client), ServiceId(server), protocol, operation, resource)


def observed(said: Access, reason: Reason, at: float, **more: object) -> Observed:
    """What the inspector tells of one message; by default from where the services were born."""
    client, server = (DeviceId(name.split("/")[0]) for name in (said.client, said.server))
    own = said.client.split("/")[1]
    transport, _, port = said.server.split("/")[1].partition("-")
    seen = Observed(
        client, server, ADDRESSES.get(client, "203.0.113.7"), ADDRESSES.get(server, "203.0.113.7"),
        Endpoint(transport, int(port.partition("~")[0])), said, "GET", None if own == "main" else own, None,
        reason in (Reason.LEARNING, Reason.KNOWN), reason, at,
    )  # fmt: skip
    return replace(seen, **more)  # type: ignore[arg-type]


# Frames as devices send them


def octets(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def arp(mac: str, address: str, told: str | None = None) -> bytes:
    """RFC 826: who is at 10.0.0.254, asks the holder of `address`, who says that it is `told`."""
    own = bytes(map(int, address.split(".")))
    body = bytes.fromhex("0001080006040001") + octets(told or mac) + own + bytes(6) + bytes((10, 0, 0, 254))
    return ethernet(body, 0x0806, macs=b"\xff" * 6 + octets(mac))


def datagram(mac: str, source: str, data: bytes = b"x", ports: tuple[int, int] = (40000, 9)) -> bytes:
    segment = udp_segment(data, *ports)
    if ":" in source:
        return ethernet(ipv6(17, segment, source, "ff02::1"), 0x86DD, macs=b"\x33\x33\0\0\0\1" + octets(mac))
    return ethernet(ipv4(17, segment, source, "255.255.255.255"), macs=b"\xff" * 6 + octets(mac))


class Script:
    """A firewall, its store and a clock."""

    def __init__(self, more: str = "", saved: Record | None = None, learnt: bool = False) -> None:
        self.config = config(more)
        self.now = START
        self.tokens = count(1)
        self.kept = saved or Record()
        self.start()
        if learnt:
            self.see(access())
            self.wait(20)

    def start(self) -> None:
        """As after a restart: with what was stored, and with an inspector."""
        self.firewall = Firewall(self.config, self.kept, b"secret")
        self.tell(InspectorUp(1))

    @property
    def state(self) -> State:
        return self.firewall._state

    def tell(self, event: Event) -> Sequence[Effect]:
        effects = self.firewall.handle(event, self.now)
        for effect in effects:
            if isinstance(effect, Persist):
                self.kept = merged(self.kept, effect.record)
        return effects

    def wait(self, seconds: float, step: float = 1.0) -> list[Effect]:
        effects: list[Effect] = []
        for _ in range(round(seconds / step)):
            self.now += step
            effects += self.tell(Tick())
        return effects

    def see(self, said: Access, reason: Reason = Reason.LEARNING, **more: object) -> Sequence[Effect]:
        return self.tell(observed(said, reason, self.now, **more))

    # The network

    def plug(self, switch: int = 1, ports: int = 4) -> None:
        """A switch comes, and its ports have been up for long enough."""
        infos = [PortInfo(n, f"e{n}", "02:ff:00:00:00:00", True) for n in range(1, ports + 1)]
        infos += [
            PortInfo(8, "s-gwi", "02:ff:00:00:00:00", True),
            PortInfo(9, "s-gwc", "02:ff:00:00:00:00", True),
        ]
        self.tell(SwitchUp(switch, tuple(infos)))
        self.wait(2, 0.5)

    def frame(self, frame: bytes, port: int = 1, switch: int = 1) -> Sequence[Effect]:
        return self.tell(PacketIn(switch, port, frame))

    @property
    def for_a_while(self) -> tuple[Flow, ...]:
        """The flows with a timeout that switch 1 was asked for."""
        return tuple(self.firewall._enforcement._temporary[1])

    def carried_out(self, effects: Sequence[Effect]) -> None:
        for sent in effects:
            if isinstance(sent, SendFlows):
                self.tell(Done(sent.switch, sent.ticket))

    # People

    def command(self, command: Command) -> Answer:
        answers = [e for e in self.tell(replace(command, token=next(self.tokens))) if isinstance(e, Answer)]
        (answer,) = answers
        return answer

    def decide(
        self,
        request: str,
        approve: bool,
        scope: Scope = Scope.OPERATION,
        duration: Duration = Duration.ALWAYS,
        **more: object,
    ) -> Answer:
        command = Decide(0, request, approve, "me", scope, duration)
        return self.command(replace(command, **more))  # type: ignore[arg-type]

    @property
    def cards(self) -> tuple[RequestView, ...]:
        return self.firewall.view(self.now).requests

    def relationship(self, said: Access) -> Relationship | None:
        return self.state.site.graph.get(said)

    def status(self, said: Access) -> Status | None:
        found = self.relationship(said)
        return None if found is None else found.status


def deltas(effects: Sequence[Effect]) -> Iterator[Delta]:
    for effect in effects:
        if isinstance(effect, UpdateTable):
            yield from effect.deltas
