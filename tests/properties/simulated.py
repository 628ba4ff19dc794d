"""A whole site without a network: switches, inspector, store and devices that do what real ones would.

Everything that is on its way waits in a queue, so that a test can choose what arrives when.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from controller.config import parse
from controller.dpi.message import Message, Operation
from controller.events import (
    Answer,
    Applied,
    Command,
    ConnectionSettled,
    Done,
    Effect,
    Event,
    FlowGone,
    InspectorDown,
    InspectorUp,
    NameSeen,
    NotStored,
    Observed,
    PacketIn,
    Persist,
    PortChanged,
    PortInfo,
    Record,
    RefusalWanted,
    SendFlows,
    SendFrame,
    SwitchDown,
    SwitchUp,
    Tick,
    UpdateTable,
)
from controller.firewall.firewall import Firewall
from controller.flows.compile import TCP, UDP, Pair, compile_flows
from controller.flows.flow import CONTROLLER_PORT, Flow, Packet, lookup
from controller.keeper.backlog import Backlog, merged
from controller.model.relationship import Access, DeviceId, Endpoint
from controller.verdicts import SetGrant, VerdictTable
from tests.properties.graph_meaning import Graph, Question

TRUNK, INSPECTION, COPY = 7, 8, 9
CLOUD = "203.0.113.7"
CONFIG = parse(
    """
admission: ask
switches: [{name: one, dpid: 1}, {name: two, dpid: 2}]
learning: {minimum: 5s, quiet: 10s, maximum: 60s}
devices:
  - {id: washer, mac: 02:00:00:00:00:01}
  - {id: lock, mac: 02:00:00:00:00:02}
  - {id: lamp, mac: 02:00:00:00:00:03}
  - {id: gateway, mac: 02:00:00:00:00:04, roles: [router]}
""",
    "site.yaml",
)
GUEST = DeviceId("02-00-00-00-00-05")
NAMES = ("washer", "lock", "lamp", "gateway", GUEST)
HOSTS = {name: (f"02:00:00:00:00:0{n}", f"10.0.0.{n}") for n, name in enumerate(NAMES, 1)}
PLUGS = {"washer": (1, 1), "lock": (1, 2), "lamp": (2, 1), "gateway": (2, 2), GUEST: (2, 3)}
HTTP, COAP, TLS = Endpoint("tcp", 80), Endpoint("udp", 5683), Endpoint("tcp", 443)
MESSAGES = (
    (HTTP, Message("http", "GET", Operation.READ, "/state")),
    (HTTP, Message("http", "PUT", Operation.WRITE, "/door/1")),
    (HTTP, Message("http", "PUT", Operation.WRITE, "/door/1", identity="rogue")),
    (COAP, Message("coap", "GET", Operation.READ, "/t")),
    (COAP, Message("coap", "PUT", Operation.WRITE, "/door")),
    (TLS, Message("tls", "ClientHello", Operation.CONNECT, "", opaque=True)),
)
TALKS = (
    ("washer", "lock"),
    ("lock", "washer"),
    ("washer", "lamp"),
    (GUEST, "lock"),
    ("washer", CLOUD),
    ("lamp", "lock"),
)


@dataclass(frozen=True)
class Sending:
    """A message as it is put on the wire: by whom, to whom, from which port."""

    client: str
    server: str
    endpoint: Endpoint
    message: Message
    port: int

    def __repr__(self) -> str:
        said = f"{self.message.protocol} {self.message.verb} as {self.message.identity}"
        return f"<{self.client}:{self.port} to {self.server} {self.endpoint}: {said}>"


SENDINGS = tuple(
    Sending(client, server, endpoint, message, port)
    for client, server in TALKS
    for endpoint, message in MESSAGES
    for port in (40000, endpoint.port)
)


@dataclass
class Switch:
    """A table of flows, a connection to the controller, and what is on its way there."""

    dpid: int
    flows: dict[object, Flow] = field(default_factory=dict)
    connected: bool = False
    coming: deque[SendFlows] = field(default_factory=deque)
    remembered: set[tuple[object, ...]] = field(default_factory=set)  # connection tracking

    def ports(self) -> tuple[PortInfo, ...]:
        names = {**{n: f"e{n}" for n in (1, 2, 3, 4, TRUNK)}, INSPECTION: "s-gwi", COPY: "s-gwc"}
        return tuple(PortInfo(n, name, "02:ff:00:00:00:00", True) for n, name in names.items())

    def apply(self) -> SendFlows:
        sent = self.coming.popleft()
        for flow in sent.change.delete:
            self.flows.pop(flow.key, None)
        for flow in sent.change.add:
            self.flows[flow.key] = flow
        return sent


class Disk:
    """What outlives the controller."""

    def __init__(self) -> None:
        self.kept = Record()
        self.full = False

    def write(self, record: Record) -> None:
        if self.full:
            raise OSError("no space left on device")
        whole = merged(self.kept, record)
        gone = set(record.forgotten) - {r.access for r in record.relationships}
        self.kept = replace(
            whole, relationships=tuple(r for r in whole.relationships if r.access not in gone), forgotten=()
        )


@dataclass
class Inspector:
    """The other process: a copy of the table that lags, and what it has yet to tell."""

    table: VerdictTable | None = None
    connected: bool = False
    coming: deque[UpdateTable] = field(default_factory=deque)
    telling: deque[Event] = field(default_factory=deque)

    def apply(self) -> None:
        update = self.coming.popleft()
        if update.whole:
            self.table = VerdictTable()
        if self.table is not None:
            for delta in update.deltas:
                self.table.apply(delta)
            self.telling.append(Applied(update.version))

    def judge(self, packet: Packet, message: Message, now: float, copied: bool) -> bool:
        """Whether a message may pass; what is said of it waits to be told."""
        if self.table is None or packet.ip_src is None or packet.ip_dst is None:
            return False
        client, server = self.table.device_at(packet.ip_src), self.table.device_at(packet.ip_dst)
        if client is None or server is None or packet.dst_port is None or packet.src_port is None:
            return False
        endpoint = Endpoint("tcp" if packet.ip_proto == TCP else "udp", packet.dst_port)
        access = self.table.access(client, server, endpoint, message)
        verdict = self.table.judge(client, server, access, now)
        grant = self.table.grant(access, now) if verdict.allow else None
        once = grant is not None and bool(grant.once)
        if grant is not None and once:
            self.table.apply(SetGrant(grant.access, None, over=True))
        self.telling.append(
            Observed(client, server, packet.ip_src, packet.ip_dst, endpoint, access, message.verb,
                     message.identity, message.service, verdict.allow, verdict.reason, now, consumed=once)
        )  # fmt: skip
        if not verdict.allow:
            self.telling.append(RefusalWanted(packet.ip_src, packet.ip_dst, endpoint))
        elif message.opaque and not once and not copied:
            self.telling.append(
                ConnectionSettled(packet.ip_src, packet.src_port, packet.ip_dst, packet.dst_port)
            )
        return verdict.allow

    def opens(self, packet: Packet, now: float) -> bool:
        """Whether a handshake may pass."""
        if self.table is None or packet.ip_src is None or packet.ip_dst is None or packet.dst_port is None:
            return False
        client, server = self.table.device_at(packet.ip_src), self.table.device_at(packet.ip_dst)
        if client is None or server is None:
            return False
        endpoint = Endpoint("tcp", packet.dst_port)
        return self.table.judge_opening(client, server, endpoint, True, now).allow


class Laboratory:
    """The site. `passes` is what the graph has allowed at some moment since all had heard the last of it."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self.disk = Disk()
        self.switches = {1: Switch(1), 2: Switch(2)}
        self.inspector = Inspector()
        self.plugs: dict[str, tuple[int, int]] = dict(PLUGS)
        self.passes: set[Sending] = set()
        self.answers: dict[int, Answer] = {}
        self.arriving: deque[PacketIn] = deque()
        self.tokens = 0
        self.failed_ever = False
        self.start()

    def start(self) -> None:
        """A controller with what the disk has kept."""
        self.backlog = Backlog(self.disk)
        self.firewall = Firewall(CONFIG, self.disk.kept, b"secret")

    # The controller and what reaches it

    @property
    def graph(self) -> Graph:
        return Graph(self.firewall._state.site)

    def question(self, sending: Sending) -> Question:
        server = DeviceId(sending.server)
        if sending.server == CLOUD:
            server = self.firewall._state.table.device_at(CLOUD) or DeviceId(f"@{CLOUD}")
        return Question(DeviceId(sending.client), server, sending.endpoint, sending.message)

    def allowed(self) -> set[Sending]:
        graph, found = self.graph, set[Sending]()
        for sending, from_its_port in zip(SENDINGS[::2], SENDINGS[1::2], strict=True):
            if graph.allows(self.question(sending), self.now):
                found |= {sending, from_its_port}
        return found

    def post(self, event: Event, crash_after: int | None = None) -> None:
        """An event, and its effects; with `crash_after` only the first of them."""
        effects = self.firewall.handle(event, self.now)
        self.passes |= self.allowed()
        self._carry_out(effects if crash_after is None else effects[:crash_after])
        while (
            self.arriving and crash_after is None
        ):  # what an effect leads to is an event after all effects, as in app.py
            self.post(self.arriving.popleft())

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case Persist():
                    error = self.backlog.write(effect.record, keep=not effect.token)
                    self.failed_ever |= error is not None
                    if error is not None and effect.token:
                        self._carry_out(self.firewall.handle(NotStored(effect.token, error), self.now))
                        self.passes |= self.allowed()
                        return
                case SendFlows():
                    if self.switches[effect.switch].connected:
                        self.switches[effect.switch].coming.append(effect)
                case SendFrame(switch, frame, port) if port == TRUNK:
                    other = 3 - switch
                    if self.switches[switch].connected and self.switches[other].connected:
                        self.arriving.append(PacketIn(other, TRUNK, frame))
                case UpdateTable():
                    if self.inspector.connected:
                        self.inspector.coming.append(effect)
                case Answer():
                    self.answers[effect.token] = effect

    def command(self, command: Command, crash_after: int | None = None) -> Answer | None:
        self.tokens += 1
        self.post(replace(command, token=self.tokens), crash_after)
        return self.answers.get(self.tokens)

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.backlog.retry(now=True)
        self.post(Tick())

    def connect(self, dpid: int) -> None:
        switch = self.switches[dpid]
        switch.connected = True
        switch.coming.clear()
        self.post(SwitchUp(dpid, switch.ports(), tuple(switch.flows.values())))

    def disconnect(self, dpid: int) -> None:
        if self.switches[dpid].connected:
            self.switches[dpid].connected = False
            self.switches[dpid].coming.clear()
            self.post(SwitchDown(dpid))

    def connect_inspector(self, restarted: bool) -> None:
        if self.inspector.connected:
            self.post(InspectorDown())
        if restarted:
            self.inspector = Inspector()
        self.inspector.connected = True
        self.inspector.coming.clear()
        wishes = (ConnectionSettled, RefusalWanted, Applied)  # are of no use any more (observations.py)
        self.inspector.telling = deque(e for e in self.inspector.telling if not isinstance(e, wishes))
        self.post(InspectorUp(1))

    def crash(self) -> None:
        """The controller is killed, and another begins with what was stored."""
        for switch in self.switches.values():
            switch.connected = False
            switch.coming.clear()
        self.inspector.connected = False
        self.inspector.coming.clear()
        self.arriving.clear()
        self.start()
        self.passes |= self.allowed()

    # One thing at a time

    def switch_hears(self, dpid: int) -> None:
        switch = self.switches[dpid]
        if switch.connected and switch.coming:
            self.post(Done(dpid, switch.apply().ticket))

    def inspector_hears(self) -> None:
        if self.inspector.connected and self.inspector.coming:
            self.inspector.apply()

    def inspector_tells(self) -> None:
        if self.inspector.connected and self.inspector.telling:
            self.post(self.inspector.telling.popleft())

    def all_hear(self) -> None:
        """Everything that is on its way arrives."""
        for _ in range(1000):
            busy = False
            for dpid, switch in self.switches.items():
                while switch.connected and switch.coming:
                    self.switch_hears(dpid)
                    busy = True
            while self.inspector.connected and (self.inspector.coming or self.inspector.telling):
                self.inspector_hears()
                self.inspector_tells()
                busy = True
            if not busy:
                return
        raise AssertionError("the site does not come to rest")

    def settle(self) -> None:
        """All are connected and have heard everything; what passes now is what the graph says now."""
        for dpid, switch in self.switches.items():
            if not switch.connected:
                self.connect(dpid)
        if not self.inspector.connected:
            self.connect_inspector(restarted=False)
        self.all_hear()
        for _ in range(4):
            self.tick(0.8)
            self.all_hear()
        self._time_out()
        for name in self.plugs:
            self.speak(name)
            self.all_hear()
        self._time_out()
        self.all_hear()
        self.passes = self.allowed()

    def _time_out(self) -> None:
        """Time passes without traffic: what drops for a while ends."""
        for dpid, switch in self.switches.items():
            for flow in [flow for flow in switch.flows.values() if flow.hard_timeout]:
                del switch.flows[flow.key]
                self.post(FlowGone(dpid, flow))

    # Frames

    def speak(self, name: str) -> None:
        """A device asks for an address, so that the switch hears where it is."""
        mac, address = HOSTS[name]
        hardware, own = bytes.fromhex(mac.replace(":", "")), bytes(map(int, address.split(".")))
        frame = (
            b"\xff" * 6 + hardware + b"\x08\x06" + b"\0\1\x08\0\x06\4\0\1" + hardware + own + bytes(6) + own
        )
        dpid, port = self.plugs[name]
        packet = Packet(port, mac, "ff:ff:ff:ff:ff:ff", 0x0806, ip_src=address, ip_dst=address, told_mac=mac)
        fate = lookup(self.switches[dpid].flows.values(), packet)
        if CONTROLLER_PORT in fate.ports and self.switches[dpid].connected:
            self.post(PacketIn(dpid, port, frame))

    def replug(self, name: str, place: tuple[int, int]) -> None:
        """Take a device off its port, and plug it in elsewhere."""
        if place in self.plugs.values():
            return
        (dpid, port), self.plugs[name] = self.plugs[name], place
        for up in (False, True):
            if self.switches[dpid].connected:
                self.post(PortChanged(dpid, PortInfo(port, f"e{port}", "02:ff:00:00:00:00", up)))

    def send(self, sending: Sending) -> bool:
        """Put a message on the wire as its sender would; whether it was delivered."""
        mac, address = HOSTS[sending.client]
        via = "gateway" if sending.server == CLOUD else sending.server
        target = CLOUD if sending.server == CLOUD else HOSTS[via][1]
        tcp = sending.endpoint.transport == "tcp"
        dpid, port = self.plugs[sending.client]
        packet = Packet(
            port, mac, HOSTS[via][0], 0x0800, ip_proto=TCP if tcp else UDP, ip_src=address, ip_dst=target,
            src_port=sending.port, dst_port=sending.endpoint.port, tcp_flags=0x02 if tcp else None,
        )  # fmt: skip
        if tcp:
            if not self._carried(dpid, packet, None, via):
                return False
            packet = replace(packet, tcp_flags=0x18)
        return self._carried(dpid, packet, sending.message, via)

    def go_on(self, sending: Sending) -> bool:
        """More of a connection that is open already."""
        mac, address = HOSTS[sending.client]
        via = "gateway" if sending.server == CLOUD else sending.server
        dpid, port = self.plugs[sending.client]
        packet = Packet(
            port, mac, HOSTS[via][0], 0x0800, ip_proto=TCP, ip_src=address,
            ip_dst=CLOUD if sending.server == CLOUD else HOSTS[via][1],
            src_port=sending.port, dst_port=sending.endpoint.port, tcp_flags=0x18,
        )  # fmt: skip
        return self._carried(dpid, packet, sending.message, via)

    def _carried(self, dpid: int, packet: Packet, message: Message | None, to: str) -> bool:
        """The way of one frame; `message` None: a handshake."""
        switch = self.switches[dpid]
        talk = (packet.ip_proto, packet.ip_src, packet.src_port, packet.ip_dst, packet.dst_port)
        back = (packet.ip_proto, packet.ip_dst, packet.dst_port, packet.ip_src, packet.src_port)
        fate = lookup(switch.flows.values(), replace(packet, answer=back in switch.remembered))
        if fate.committed and back not in switch.remembered:
            switch.remembered.add(talk)
        delivered = False
        for port in fate.ports:
            if port == INSPECTION:
                if message is None:
                    passes = self.inspector.opens(packet, self.now)
                else:
                    passes = self.inspector.judge(packet, message, self.now, copied=False)
                if passes:
                    delivered |= self._carried(dpid, replace(packet, in_port=INSPECTION), message, to)
            elif port == COPY:
                if message is not None:
                    self.inspector.judge(packet, message, self.now, copied=True)
            elif port == TRUNK:
                delivered |= self._carried(3 - dpid, replace(packet, in_port=TRUNK), message, to)
            elif self.plugs[to] == (dpid, port):
                delivered = True
        return delivered

    # What is wanted

    def wanted(self, dpid: int) -> dict[object, Flow]:
        """The flows that a switch should hold, compiled anew."""
        policy = self.firewall._make_policy(dpid)
        return {flow.key: flow for flows in compile_flows(policy).values() for flow in flows}

    def lasting(self, dpid: int) -> dict[object, Flow]:
        """The flows without a timeout that a switch holds."""
        flows = self.switches[dpid].flows
        return {key: f for key, f in flows.items() if not f.idle_timeout and not f.hard_timeout}

    def accesses(self) -> Iterable[tuple[Question, Access]]:
        graph = self.graph
        for sending in SENDINGS[::2]:
            question = self.question(sending)
            yield question, graph.access(question)

    def name(self, name: str) -> None:
        """A device has looked up a name of the cloud."""
        self.post(NameSeen(name, CLOUD, 60))


def pair_of(question: Question) -> Pair:
    return Pair(question.client, question.server, question.endpoint)
