"""A household without a network: the real firewall and inspector's table, before devices that only talk.

What devices say is judged by the real table and told to the real firewall; switches and store agree to
everything at once. Stands at this level for what tests/scenarios has real switches for.
"""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from controller.config import parse
from controller.dpi.message import Message, Operation
from controller.events import (
    Answer,
    Applied,
    AuditEntry,
    Command,
    Done,
    Effect,
    Event,
    InspectorUp,
    Observed,
    PacketIn,
    Persist,
    PortInfo,
    SendFlows,
    SwitchUp,
    Tick,
    UpdateTable,
)
from controller.firewall.firewall import Firewall
from controller.model.relationship import Endpoint
from controller.verdicts import SetGrant, VerdictTable
from controller.view import SiteView

FRESH = 0.05  # s that a view is good for, as in the controller
INSPECTION, COPY = 98, 99
DAY = 24 * 3600.0

READ, WRITE, PUBLISH, SUBSCRIBE = Operation.READ, Operation.WRITE, Operation.PUBLISH, Operation.SUBSCRIBE


@dataclass(frozen=True)
class Talk:
    """What one device says to another."""

    client: str
    server: str
    port: int
    message: Message


@dataclass(frozen=True)
class Line:
    number: int
    entry: AuditEntry


def vsl(client: str, server: str, operation: Operation, path: str, identity: str | None = None) -> Talk:
    verb = {READ: "get", WRITE: "set", SUBSCRIBE: "subscribe"}[operation]
    return Talk(client, server, 5683, Message("vsl", verb, operation, path, identity=identity))


def mqtt(client: str, operation: Operation, topic: str) -> Talk:
    return Talk(client, "hub", 1883, Message("mqtt", operation.upper(), operation, topic, identity=client))


def address_of(number: int) -> str:
    return f"10.0.{number // 200}.{number % 200 + 1}"


def mac_of(number: int) -> str:
    return f"02:00:00:00:{number // 256:02x}:{number % 256:02x}"


class Household:
    """The site for the web, and the hand that makes its devices speak."""

    def __init__(self, text: str, names: Sequence[str]) -> None:
        self.firewall = Firewall(parse(text, "site.yaml"), None, b"secret")
        self._table = VerdictTable()
        self._lock = threading.RLock()
        self._shift = -3 * DAY  # s; the household's past is played before its present
        self._listeners: dict[int, Callable[[], object]] = {}
        self._numbers = itertools.count(1)
        self._answer: Answer | None = None
        self._view: SiteView | None = None
        self._viewed = 0.0
        self._lines: list[Line] = []
        self._ended = threading.Event()
        self.addresses = {name: address_of(number) for number, name in enumerate(names, 1)}
        self.macs = {name: mac_of(number) for number, name in enumerate(names, 1)}
        self.post(InspectorUp(1))

    # The firewall, and those who carry out what it wants

    @property
    def now(self) -> float:
        return time.time() + self._shift

    def post(self, event: Event) -> None:
        with self._lock:
            self._carry_out(self.firewall.handle(event, self.now))
            if not isinstance(event, Tick | Observed):
                self._view = None
        for listener in list(self._listeners.values()):
            listener()

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        for effect in effects:
            match effect:
                case UpdateTable():
                    if effect.whole:
                        self._table = VerdictTable()
                    for delta in effect.deltas:
                        self._table.apply(delta)
                    self._carry_out(self.firewall.handle(Applied(effect.version), self.now))
                case SendFlows():
                    self._carry_out(self.firewall.handle(Done(effect.switch, effect.ticket), self.now))
                case Persist():
                    self._lines += [Line(next(self._numbers), entry) for entry in effect.record.audit]
                case Answer():
                    self._answer = effect
                case _:
                    pass

    def run(self) -> None:
        """From now on the present passes by itself, until `end`."""
        self._shift = 0.0
        threading.Thread(target=self._tick, daemon=True).start()

    def _tick(self) -> None:
        while not self._ended.wait(0.2):
            self.post(Tick())

    def end(self) -> None:
        self._ended.set()

    # What the web needs of a site

    def snapshot(self) -> SiteView:
        with self._lock:
            if self._view is None or time.monotonic() - self._viewed > FRESH:
                self._view, self._viewed = self.firewall.view(self.now), time.monotonic()
            return self._view

    def call(self, command: Command) -> Answer:
        with self._lock:
            self._answer = None
            self.post(replace(command, token=next(self._numbers)))
            assert self._answer is not None
            return self._answer

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        number = next(self._numbers)
        self._listeners[number] = callback
        return lambda: self._listeners.pop(number, None) and None

    def audit(self, limit: int, before: int | None) -> Sequence[Line]:
        return [line for line in reversed(self._lines) if before is None or line.number < before][:limit]

    # Its devices

    def switch(self, number: int, ports: int) -> None:
        infos = [PortInfo(port, f"eth{port}", "02:ff:00:00:00:00", True) for port in range(1, ports + 1)]
        for port, name in ((INSPECTION, "s-gwi"), (COPY, "s-gwc")):
            infos.append(PortInfo(port, name, "02:ff:00:00:00:00", True))
        self.post(SwitchUp(number, tuple(infos)))

    def plug(self, name: str, switch: int, port: int) -> None:
        """A device shows itself with an ARP announcement."""
        mac = bytes.fromhex(self.macs[name].replace(":", ""))
        address = bytes(map(int, self.addresses[name].split(".")))
        arp = bytes.fromhex("0001080006040001") + mac + address + bytes(6) + address
        self.post(PacketIn(switch, port, b"\xff" * 6 + mac + b"\x08\x06" + arp + bytes(18)))

    def say(self, talk: Talk) -> bool:
        """Whether the message gets through."""
        with self._lock:
            client = self._table.device_at(self.addresses[talk.client])
            server = self._table.device_at(self.addresses[talk.server])
            if client is None or server is None:
                return False
            endpoint = Endpoint("tcp", talk.port)
            access = self._table.access(client, server, endpoint, talk.message)
            verdict = self._table.judge(client, server, access, self.now)
            grant = self._table.grant(access, self.now) if verdict.allow else None
            once = grant is not None and bool(grant.once)
            if grant is not None and once:
                self._table.apply(SetGrant(grant.access, None))
            self.post(
                Observed(
                    client, server, self.addresses[talk.client], self.addresses[talk.server], endpoint,
                    access, talk.message.verb, talk.message.identity, talk.message.service, verdict.allow,
                    verdict.reason, self.now, consumed=once,
                )
            )  # fmt: skip
            return verdict.allow

    def pass_days(self, days: float) -> None:
        """Time goes on, in steps that end learning phases."""
        for _ in range(4):
            self._shift += days * DAY / 4
            self.post(Tick())


DEVICES = (
    # id, name, kind, vendor, switch
    ("router", "Home router", "router", "Gatewell", 1),
    ("hub", "Home hub", "hub", "Hubertus", 1),
    ("door-lock", "Front door lock", "door lock", "Portalis", 2),
    ("battery", "Battery", "battery", "Voltara", 2),
    ("washer", "Washing machine", "washing machine", "Lavanda", 2),
    ("thermostat", "Living room thermostat", "thermostat", "Calorix", 1),
    ("window", "Kitchen window sensor", "window sensor", "Sensorine", 1),
    ("phone", "Anna's phone", "phone", "Palmtree", 1),
    ("lamp", "Hall lamp", "lamp", "Lumora", 1),
    ("wall-switch", "Hall wall switch", "wall switch", "Lumora", 1),
    ("camera", "Garden camera", "camera", "Ocularis", 1),
    ("tablet", "Kitchen tablet", "tablet", "Palmtree", 1),
)
ROUTER = ", roles: [router, dhcp, dns, ntp]"
SWITCHES = {1: "cellar", 2: "hall"}
NEWCOMER = "battery-2"  # joins later, and nobody has named it

HABITS = (
    vsl("washer", "battery", READ, "/agent2/storage/level", "washing-control"),
    vsl("washer", "battery", SUBSCRIBE, "/agent2/storage/level", "washing-control"),
    vsl("washer", "door-lock", READ, "/agent1/search/type", "washing-control"),
    vsl("phone", "door-lock", WRITE, "/agent1/lock/isOpen"),
    vsl("phone", "door-lock", READ, "/agent1/lock/isOpen"),
    mqtt("thermostat", PUBLISH, "home/living-room/thermostat"),
    mqtt("window", PUBLISH, "home/kitchen/window"),
    mqtt("phone", SUBSCRIBE, "home/#"),
    mqtt("thermostat", SUBSCRIBE, "home/kitchen/window"),
    Talk("wall-switch", "lamp", 5683, Message("coap", "PUT", WRITE, "/light")),
    Talk("phone", "lamp", 5683, Message("coap", "GET", READ, "/light")),
    Talk("tablet", "camera", 80, Message("http", "GET", READ, "/snapshot.jpg")),
)


def described(devices: Sequence[tuple[str, str, str, str, int]]) -> str:
    """site.yaml of these devices."""
    lines = [
        "site: Rose cottage",
        f"switches: [{{name: {SWITCHES[1]}, dpid: 1}}, {{name: {SWITCHES[2]}, dpid: 2}}]",
        "learning: {minimum: 10m, quiet: 1h, maximum: 7d}",
        "devices:",
    ]
    for number, (key, name, kind, vendor, switch) in enumerate(devices, 1):
        lines += [
            f'  - {{id: {key}, name: "{name}", kind: {kind}, vendor: {vendor}, mac: "{mac_of(number)}",',
            f"     switch: {SWITCHES[switch]}, port: {number}, addresses: [{address_of(number)}]",
            f"     {ROUTER if kind == 'router' else ''}}}",
        ]
    return "\n".join(lines)


def settled(devices: Sequence[tuple[str, str, str, str, int]], habits: Sequence[Talk]) -> Household:
    """These devices, that have learnt these habits three days ago, and have them still."""
    home = Household(described(devices), [*(device[0] for device in devices), NEWCOMER])
    for number in SWITCHES:
        home.switch(number, len(devices) + 1)
    for talk in habits:
        home.say(talk)
    home.pass_days(2)
    home.run()
    for talk in habits:
        home.say(talk)
    return home


def rose_cottage() -> Household:
    """A home of twelve devices."""
    return settled(DEVICES, HABITS * 3)
