"""A site that exists only for these tests: it holds a view, and does as it is told to commands."""

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fastapi import FastAPI

from controller.dpi.message import Operation
from controller.events import Answer, AuditEntry, Command, Decide, Decision, Undo
from controller.model.relationship import (
    Access,
    DeviceId,
    Endpoint,
    Reason,
    Relationship,
    ServiceId,
    Status,
    Treatment,
)
from controller.model.service import Admission, Binding, Device, Place, Service
from controller.people import Everybody, NotKeptError, PeopleChange
from controller.view import (
    DecisionView,
    LearningView,
    PairView,
    RelationshipView,
    RequestView,
    ServiceView,
    SiteView,
    SwitchView,
)
from controller.web.api import create_app
from controller.web.members import Members

TOKEN = "0123456789abcdef" * 4
WEB = Endpoint("tcp", 80)
COOKIE = 0x67 << 56 | 0xABCDEF0123456


@dataclass(frozen=True)
class FakeLine:
    number: int
    entry: AuditEntry


class FakeAccounts:
    """Keeps people in memory, and refuses when told to."""

    def __init__(self) -> None:
        self.changes: list[PeopleChange] = []
        self.broken = False

    def load(self) -> Everybody:
        return Everybody()

    def write(self, change: PeopleChange) -> None:
        if self.broken:
            raise NotKeptError("the disk is full")
        self.changes.append(change)


def app_of(site: "FakeSite") -> FastAPI:
    """The application for a site, with nobody signed in."""
    return app_with(site, Members(FakeAccounts(), TOKEN))


def app_with(site: "FakeSite", members: Members) -> FastAPI:
    return create_app(site, site, members)


class FakeSite:
    """Stands for the running firewall, at this level of tests only."""

    def __init__(self, view: SiteView) -> None:
        self._callbacks: dict[int, Callable[[], object]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self.lines = tuple(
            FakeLine(n, AuditEntry(float(n), "decision", "somebody", f"line {n}")) for n in range(1, 251)
        )
        self.begin(view)

    def begin(self, view: SiteView) -> None:
        """Forget everything but who listens."""
        self._view = view
        self.commands: list[Command] = []
        self.answer: Answer | None = None  # instead of the usual one
        self.silent = False  # never answers
        self.in_force_after: float | None = 0.0  # seconds; None: never

    def snapshot(self) -> SiteView:
        return self._view

    def change(self, **fields: object) -> None:
        with self._lock:
            self._view = replace(self._view, version=self._view.version + 1, **fields)
            callbacks = list(self._callbacks.values())
        for callback in callbacks:
            callback()

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        number = next(self._numbers)
        self._callbacks[number] = callback
        return lambda: self._callbacks.pop(number, None) and None

    def call(self, command: Command) -> Answer:
        if self.silent:
            raise TimeoutError
        self.commands.append(command)
        if self.answer is not None:
            return self.answer
        match command:
            case Decide():
                return self._decide(command)
            case Undo():
                return Answer(command.token, decision=command.decision)
            case _:
                return Answer(command.token)

    def _decide(self, command: Decide) -> Answer:
        number = len(self._view.decisions) + 1
        made = Decision(
            number,
            command.request,
            "Washing machine wants to change open of Front door",
            command.approve,
            command.scope,
            command.duration,
            command.by,
            1000.0,
            command.tonight,
        )
        self.change(decisions=(*self._view.decisions, DecisionView(made, False)), requests=())
        if self.in_force_after is not None:
            threading.Timer(self.in_force_after, self.enforce, [number]).start()
        return Answer(command.token, decision=number)

    def enforce(self, number: int) -> None:
        self.change(
            decisions=tuple(
                replace(view, in_force=True, latency=0.012) if view.decision.id == number else view
                for view in self._view.decisions
            )
        )

    def audit(self, limit: int, before: int | None) -> Sequence[FakeLine]:
        found = [line for line in reversed(self.lines) if before is None or line.number < before]
        return found[:limit]


def home(hostile: str = "") -> SiteView:
    """Three devices on two switches: the paper's washing machine, battery and door lock."""

    def device(name: str, number: int, switch: int) -> Device:
        return Device(
            id=DeviceId(name),
            number=number,
            place=Place.SITE,
            name=name.capitalize() + hostile,
            mac=f"02:00:00:00:00:0{number}",
            addresses=frozenset({f"10.0.0.{number}"}),
            binding=Binding(switch, number),
            admission=Admission.ADMITTED,
            kind="door lock" if name == "lock" else "",
        )

    def edge(
        id: str, client: str, server: str, status: Status, switches: tuple[int, ...]
    ) -> RelationshipView:
        operation = Operation.READ if server == "battery" else Operation.WRITE
        access = Access(
            ServiceId(f"{client}/control"),
            ServiceId(f"{server}/tcp-80"),
            "http",
            operation,
            "/state" + hostile,
        )
        return RelationshipView(
            id=id,
            relationship=Relationship(
                access,
                status,
                Reason.LEARNING if status is Status.LEARNED else Reason.NEW_PARTNER,
                WEB,
                "GET",
                100.0,
                200.0,
                allowed=7,
                refused=2,
            ),
            sentence=f"{client.capitalize()} wants to {operation} /state of {server.capitalize()}",
            treatment=Treatment.INSPECT,
            client_device=DeviceId(client),
            server_device=DeviceId(server),
            switches=switches,
        )

    def service(device: Device, own_name: str, learning: bool) -> ServiceView:
        return ServiceView(
            Service(
                ServiceId(f"{device.id}/{own_name}"),
                device.id,
                own_name,
                f"{own_name} of {device.id}",
                endpoints=frozenset({WEB}) if own_name == "tcp-80" else frozenset(),
                learning=learning,
            ),
            device,
            LearningView(0.25, float("inf"), 100.0) if learning else None,
            1,
        )

    devices = {d.id: d for d in (device("washer", 1, 1), device("battery", 2, 1), device("lock", 3, 2))}
    services = [
        service(devices[DeviceId("washer")], "control", False),
        service(devices[DeviceId("battery")], "tcp-80", True),
        service(devices[DeviceId("lock")], "tcp-80", False),
    ]
    edges = [
        edge("aaaa111111", "washer", "battery", Status.LEARNED, (1,)),
        edge("bbbb222222", "washer", "lock", Status.PENDING, (1, 2)),
    ]
    return SiteView(
        version=5,
        time=1000.0,
        site="Home" + hostile,
        inspector=True,
        devices=devices,
        services={view.service.id: view for view in services},
        relationships={view.id: view for view in edges},
        requests=(
            RequestView(
                "bbbb222222",
                "access",
                "Washer wants to change /state of Lock",
                "new partner",
                "These two have never talked to each other.",
                "opens",
                "washer/control",
                "lock/tcp-80",
                ("bbbb222222",),
                ("Washer wants to change /state of Lock",),
                100.0,
                995.0,
                2,
                True,
            ),
        ),
        pairs=(PairView(DeviceId("washer"), DeviceId("lock"), WEB, Treatment.INSPECT, True, COOKIE, 9, 900),),
        switches=(
            SwitchView(1, "kitchen", True, {1: "eth1", 2: "eth2"}, 20, ((9, 2, 9),), True),
            SwitchView(2, "hall", False, {3: "eth3"}, 10, (), True),
        ),
        counters={"messages": 42, "odd name": 1},
    )
