"""The JSON of the API: the fields of the view's dataclasses, in envelopes that say their version.

Only what differs from controller.view is declared here. Cookies are text ("0x67…", as switches show
them), because they do not fit into the numbers that browsers have.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from pydantic_core import PydanticSerializationError

from controller.events import Duration, Scope, SwitchCheck
from controller.model.relationship import DeviceId, Endpoint, Treatment
from controller.model.relationship import Status as Standing
from controller.model.service import Device
from controller.view import (
    DecisionView,
    PairView,
    RelationshipView,
    RequestView,
    ServiceView,
    SiteView,
    SwitchView,
)

# ---------------------------------------------------------------- what is answered


@dataclass(frozen=True, slots=True)
class Problem:
    """Every error: a stable code, what is wrong, and what to do about it."""

    code: str
    message: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Status:
    """The site in numbers. `relationships` by status, `pairs` by treatment."""

    version: int
    time: float
    site: str
    inspector: bool
    switches: Mapping[str, bool]  # name -> connected
    devices: int
    waiting_devices: int
    services: int
    learning_services: int
    requests: int
    relationships: Mapping[str, int]
    pairs: Mapping[str, int]
    counters: Mapping[str, int]
    paused: Mapping[str, float]  # device -> when its protection is on again


@dataclass(frozen=True, slots=True)
class Mediated:
    """A publisher that a subscriber hears by way of a broker.

    `status`: the worse of the two relationships, `publish` and `subscribe`.
    """

    publisher: str
    broker: str
    topic: str
    subscriber: str
    status: Standing
    publish: str
    subscribe: str


@dataclass(frozen=True, slots=True)
class Graph:
    """The communication graph of the site, or of one switch.

    `infrastructure`: devices that everybody uses. `mediated`: null when it was not asked for.
    """

    version: int
    time: float
    site: str
    switch: str | None
    devices: tuple[Device, ...]
    services: tuple[ServiceView, ...]
    relationships: tuple[RelationshipView, ...]
    infrastructure: tuple[str, ...] = ()
    mediated: tuple[Mediated, ...] | None = None


@dataclass(frozen=True, slots=True)
class InstalledFlow:
    """A flow of a switch in the words of its tools. `passing`: it has a timeout."""

    switch: str
    table: str
    priority: int
    cookie: str
    match: str
    actions: str
    packets: int
    bytes: int
    passing: bool


@dataclass(frozen=True, slots=True)
class Flows:
    version: int
    relationship: str
    flows: tuple[InstalledFlow, ...]


@dataclass(frozen=True, slots=True)
class Requests:
    version: int
    requests: tuple[RequestView, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Decisions:
    version: int
    decisions: tuple[DecisionView, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Services:
    version: int
    services: tuple[ServiceView, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class OneService:
    version: int
    service: ServiceView
    relationships: tuple[RelationshipView, ...]
    requests: tuple[RequestView, ...]


@dataclass(frozen=True, slots=True)
class Devices:
    version: int
    devices: tuple[Device, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Switches:
    version: int
    switches: tuple[SwitchView, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """What the switches do between two devices. `in_force`: they have confirmed it."""

    client: DeviceId
    server: DeviceId
    endpoint: Endpoint
    treatment: Treatment
    in_force: bool
    cookie: str
    packets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Pairs:
    version: int
    pairs: tuple[Pair, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class LogEntry:
    number: int
    at: float
    event: str
    by: str
    text: str
    subject: str


@dataclass(frozen=True, slots=True)
class Log:
    """A page of the log, newest first. `next`: give it as `before` for the page that follows."""

    entries: tuple[LogEntry, ...]
    next: int | None


@dataclass(frozen=True, slots=True)
class Why:
    """Why something is allowed or not: sentences for people, and what they are made from.

    `verdict`: "allowed", "denied", "waiting" (for the site manager), "mixed" or "unknown".
    """

    version: int
    verdict: str
    sentences: tuple[str, ...]
    relationships: tuple[RelationshipView, ...]
    pairs: tuple[Pair, ...]
    requests: tuple[RequestView, ...]
    decisions: tuple[DecisionView, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A flow that is not as the model asks; `relationships`: the ids of those concerned."""

    kind: str  # "missing", "changed" or "added"
    sentence: str
    origin: str
    cookie: str
    relationships: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """What was read back from one switch. `read` false: it could not be read.

    `expected`, `found`, `differing`: numbers of flows; `differences` has the first of these.
    `repaired`: flows since the controller started.
    """

    switch: str
    name: str
    read: bool
    expected: int
    found: int
    differing: int
    repaired: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Verified:
    """Whether every switch was read back and holds exactly what the model asks for."""

    equal: bool
    switches: tuple[Checked, ...]


@dataclass(frozen=True, slots=True)
class Carried:
    """What became of a command. `in_force` is null when it is about no decision.

    `latency`: seconds from the decision until every switch and the inspector carry it out.
    """

    version: int
    decision: int | None
    sentence: str
    in_force: bool | None
    latency: float | None
    until: float | None


@dataclass(frozen=True, slots=True)
class Deserving:
    """A learnt relationship that a person should look at."""

    relationship: str
    sentence: str
    risk: str
    why: str


@dataclass(frozen=True, slots=True)
class Review:
    """What a service has learnt. `ended_at`: null while it learns, or when that is not known."""

    version: int
    learning: bool
    learnt: int
    worth_a_look: tuple[Deserving, ...]
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class Health:
    status: str


# ---------------------------------------------------------------- what is asked for


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Wait = Annotated[float, Field(ge=0, le=5, description="seconds to wait until it is in force")]


class Answering(Body):
    """How a request is answered. `only`: ids of relationships, when not the whole card is meant."""

    scope: Scope = Scope.OPERATION
    duration: Duration = Duration.ALWAYS
    only: tuple[str, ...] = ()
    wait: Wait = 0.0
    confirmed: Annotated[bool, Field(description="sensitive requests need this second word")] = False


class Undoing(Body):
    wait: Wait = 0.0


class LearnAction(Body):
    """Start the learning phase again ("start"), or end it now ("end")."""

    action: Annotated[str, Field(pattern="^(start|end)$")]


class Moving(Body):
    device: str


class Blocking(Body):
    blocked: bool = True


class Pausing(Body):
    seconds: Annotated[float, Field(ge=0, le=86400, description="0: end it now")] = 3600.0


class Likening(Body):
    """`device`: the one that has the permissions already."""

    device: str
    confirmed: bool = False
    wait: Wait = 0.0


class Naming(Body):
    name: Annotated[str, Field(min_length=1, max_length=200)]


# ---------------------------------------------------------------- to JSON


def pair(view: PairView) -> Pair:
    return Pair(
        view.client,
        view.server,
        view.endpoint,
        view.treatment,
        view.in_force,
        f"{view.cookie:#018x}",
        view.packets,
        view.bytes,
    )


def checked(check: SwitchCheck) -> Checked:
    return Checked(
        f"{check.switch:#x}", check.name, check.read,
        check.expected, check.found, check.differing, check.repaired,
        tuple(
            Difference(d.kind, d.sentence, d.origin, f"{d.cookie:#018x}", d.relationships)
            for d in check.differences
        ),
    )  # fmt: skip


def switch_name(site: SiteView, wanted: str) -> SwitchView | None:
    """The switch with this name or datapath id (decimal, or hexadecimal with 0x)."""
    for switch in site.switches:
        if wanted in (switch.name, str(switch.switch), f"{switch.switch:#x}", f"{switch.switch:016x}"):
            return switch
    return None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def to_json(value: Any) -> bytes:
    """A dataclass as JSON. Lone surrogates in names are escaped; no number is infinite."""
    kind: Any = type(value)
    adapter = _adapter(kind)
    try:
        return adapter.dump_json(value, warnings="none")
    except PydanticSerializationError:  # a string that is no UTF-8
        text = json.dumps(adapter.dump_python(value, mode="json", warnings="none"))
        return json.dumps(json.loads(text, parse_constant=lambda _: None)).encode()
