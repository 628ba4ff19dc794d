"""What the site looks like at one moment, for reading by other threads: page, API and commands.

Immutable values only; they are made by Firewall.view(). What there are thousands of is made by whoever looks
at it, so that the owner of the model is not held up. The API's JSON is these fields.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar, overload

from controller.events import AuditEntry, Decision
from controller.flows.flow import Flow
from controller.model.relationship import DeviceId, Endpoint, Relationship, ServiceId, Treatment
from controller.model.service import Device, Service

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


class LaterMapping(Mapping[K, V]):
    """A mapping that is made when somebody first looks at it, on that one's thread.

    `make` goes by values that nobody changes, so that it tells the same whenever it is called; two that
    look at the same time may both call it.
    """

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], Mapping[K, V]]) -> None:
        self._make: Callable[[], Mapping[K, V]] | None = make
        self._made: Mapping[K, V] | None = None

    def _all(self) -> Mapping[K, V]:
        made, make = self._made, self._make
        if made is None and make is not None:
            made = self._made = make()
            self._make = None  # with all that it holds
        return self._made if made is None else made  # type: ignore[return-value]  # another was quicker

    def __getitem__(self, key: K) -> V:
        return self._all()[key]

    def __iter__(self) -> Iterator[K]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class LaterSequence(Sequence[T], Generic[T]):
    """The same for a sequence."""

    __slots__ = ("_made",)

    def __init__(self, make: Callable[[], Sequence[T]]) -> None:
        self._made = LaterMapping(lambda: {"all": make()})

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[T]: ...
    def __getitem__(self, place: int | slice) -> T | Sequence[T]:
        return self._made["all"][place]

    def __iter__(self) -> Iterator[T]:
        return iter(self._made["all"])

    def __len__(self) -> int:
        return len(self._made["all"])


@dataclass(frozen=True, slots=True)
class RelationshipView:
    """A relationship with what people need beside it. `packets` and `bytes` are the flows' counters."""

    id: str
    relationship: Relationship
    sentence: str
    treatment: Treatment
    client_device: DeviceId
    server_device: DeviceId
    switches: tuple[int, ...]
    packets: int = 0
    bytes: int = 0
    risk: str = "reads"
    decided_by: str = ""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """An admitted device that a new one looks like."""

    device: DeviceId
    name: str
    sentence: str


@dataclass(frozen=True, slots=True)
class RequestView:
    """A card. `kind`: "access" or "admission". `risk`: "reads", "changes" or "opens".

    `sensitive`: allowing it needs a manager and a second word. `verb` and `resource` are plain words;
    resource is None when there is none, or several. `may_answer`: whoever this view is shown to.
    """

    id: str
    kind: str
    sentence: str
    reason: str  # the violated property, e.g. "new operation"
    explanation: str  # the same as a sentence
    risk: str
    client: str  # id of the asking service (or device)
    server: str
    relationships: tuple[str, ...]  # ids of RelationshipView
    questions: tuple[str, ...]  # the sentence of each relationship, in the same order
    first_seen: float
    last_seen: float
    attempts: int
    still_trying: bool
    sensitive: bool = False
    client_name: str = ""
    server_name: str = ""
    client_kind: str = ""
    server_kind: str = ""
    verb: str = ""
    resource: str | None = None
    suggestion: Suggestion | None = None
    warning: str = ""  # a sentence about whom the asker could be taken for
    may_answer: bool = True


@dataclass(frozen=True, slots=True)
class DecisionView:
    """A decision; `in_force` when every switch and the inspector carry it out.

    `latency`: seconds from the decision to in force. `covers`: attempts allowed since.
    """

    decision: Decision
    in_force: bool
    latency: float | None = None
    covers: int = 0


@dataclass(frozen=True, slots=True)
class LearningView:
    """How far a service's learning phase is: 0 to 1, and when it ends at the latest."""

    progress: float
    ends_at_latest: float
    quiet_since: float


@dataclass(frozen=True, slots=True)
class ServiceView:
    service: Service
    device: Device
    learning: LearningView | None
    relationships: int
    infrastructure: bool = False  # name servers, clocks, brokers, gateways: what everybody uses


@dataclass(frozen=True, slots=True)
class FlowView:
    """One flow that a switch holds, or should."""

    switch: int
    flow: Flow
    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class PairView:
    """One treatment in force or asked for. `in_force`: the switches have confirmed it."""

    client: DeviceId
    server: DeviceId
    endpoint: Endpoint
    treatment: Treatment
    in_force: bool
    cookie: int
    packets: int = 0
    bytes: int = 0
    flows: tuple[FlowView, ...] = ()


@dataclass(frozen=True, slots=True)
class SwitchView:
    switch: int
    name: str
    connected: bool
    ports: Mapping[int, str] = field(hash=False)
    flows: int = 0
    links: tuple[tuple[int, int, int], ...] = ()  # (port, other switch, other port)
    inspected: bool = False  # it has an inspection and a copy port


@dataclass(frozen=True, slots=True)
class SiteView:
    """Everything, at `time`. `version` grows with each change."""

    version: int
    time: float
    site: str
    inspector: bool
    devices: Mapping[DeviceId, Device] = field(hash=False)
    services: Mapping[ServiceId, ServiceView] = field(hash=False)
    relationships: Mapping[str, RelationshipView] = field(hash=False)
    requests: tuple[RequestView, ...] = ()
    decisions: tuple[DecisionView, ...] = ()
    pairs: Sequence[PairView] = ()
    switches: tuple[SwitchView, ...] = ()
    log: tuple[AuditEntry, ...] = ()  # the newest, newest last
    counters: Mapping[str, int] = field(default_factory=dict, hash=False)
