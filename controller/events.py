"""What the shell tells the firewall (events), and what the firewall wants done (effects).

Values only. An event is a fact that has happened; an effect is carried out in order by app.py.
Times are seconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

from controller.flows.flow import Change, Flow, Strange
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, Relationship, ServiceId, Status
from controller.model.service import Device, Service
from controller.verdicts import Delta

# ---------------------------------------------------------------- events from switches


@dataclass(frozen=True, slots=True)
class PortInfo:
    """One port of a switch; `up` is link and administration together."""

    number: int
    name: str
    mac: str
    up: bool


@dataclass(frozen=True, slots=True)
class SwitchUp:
    """A switch has connected: its ports, and the flows of ours that it still holds."""

    switch: int
    ports: tuple[PortInfo, ...]
    flows: tuple[Flow, ...] = ()


@dataclass(frozen=True, slots=True)
class SwitchDown:
    switch: int


@dataclass(frozen=True, slots=True)
class PortChanged:
    switch: int
    port: PortInfo
    gone: bool = False


@dataclass(frozen=True, slots=True)
class PacketIn:
    """A frame that the switch could not place (unknown source), or LLDP."""

    switch: int
    port: int
    frame: bytes


@dataclass(frozen=True, slots=True)
class Done:
    """The switch has carried out everything up to the change with this ticket (barrier reply)."""

    switch: int
    ticket: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The switch refused a message (OFPErrorMsg); `cookie` is of the flow that it was about."""

    switch: int
    ticket: int | None
    cookie: int | None
    error: str


@dataclass(frozen=True, slots=True)
class FlowGone:
    """A flow with a timeout has ended (OFPFlowRemoved)."""

    switch: int
    flow: Flow


@dataclass(frozen=True, slots=True)
class FlowCounters:
    """Packets and bytes per cookie, as read from a switch."""

    switch: int
    counters: Mapping[int, tuple[int, int]] = field(hash=False)


@dataclass(frozen=True, slots=True)
class FlowsRead:
    """What a switch holds: ours, and anybody's in our tables, by what the switch says of each.

    The reading began when everything up to the change with this ticket was confirmed. `number` is that
    of the newest ReadFlows before it began.
    """

    switch: int
    flows: Mapping[bytes, Flow | Strange] = field(hash=False)
    ticket: int
    number: int = 0


@dataclass(frozen=True, slots=True)
class MeterChanged:
    """A limit on what the switch tells the controller was not as it should be, and is set again."""

    switch: int
    meter: int


# ---------------------------------------------------------------- events from the inspector


@dataclass(frozen=True, slots=True)
class Observed:
    """Messages of one access between two devices, and the verdict that they got.

    `count` messages since the last report of this access; `verb`, `identity` and `service` as in
    the newest of them. `consumed`: a grant for one message was used up.
    `client` and `server` may be devices that the controller does not know yet ("@203.0.113.7").
    """

    client: DeviceId
    server: DeviceId
    client_address: str
    server_address: str
    endpoint: Endpoint
    access: Access
    verb: str
    identity: str | None
    service: str | None
    allowed: bool
    reason: Reason
    time: float
    count: int = 1
    consumed: bool = False
    kind: Literal["observed"] = "observed"


CARRIED: Final = 60  # seconds


@dataclass(frozen=True, slots=True)
class ConnectionSettled:
    """Nothing on this TCP connection needs judging any more: it may go at line rate.

    For CARRIED seconds at most; then the inspector sees it again, and may tell so again.
    """

    client_address: str
    client_port: int
    server_address: str
    server_port: int
    kind: Literal["settled"] = "settled"


@dataclass(frozen=True, slots=True)
class RefusalWanted:
    """Denied messages repeat so fast that the switch should drop them for a short time.

    `flood`: there are so many, be it of ever other ones, that whatever else the client asks has to wait.
    """

    client_address: str
    server_address: str
    endpoint: Endpoint
    flood: bool = False
    kind: Literal["refusal"] = "refusal"


@dataclass(frozen=True, slots=True)
class NameSeen:
    """A DNS answer: this name has this address for `ttl` seconds.

    `server`: the address that said so; to be believed if a name server of the site holds it.
    """

    name: str
    address: str
    ttl: int
    server: str = ""
    kind: Literal["name"] = "name"


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """A DHCP message that was let through; `assigned` is set in an acknowledgement."""

    mac: str
    assigned: str | None
    host_name: str | None
    vendor_class: str | None
    kind: Literal["lease"] = "lease"


@dataclass(frozen=True, slots=True)
class ServiceAnnounced:
    """DNS-SD: a device says that a service of this name listens at one of its ports."""

    device: DeviceId
    endpoint: Endpoint
    name: str
    type: str
    kind: Literal["announced"] = "announced"


@dataclass(frozen=True, slots=True)
class InspectorUp:
    """The inspector has connected; it wants the whole table."""

    process: int
    kind: Literal["up"] = "up"


@dataclass(frozen=True, slots=True)
class Applied:
    """The inspector judges by this version of the table."""

    version: int
    kind: Literal["applied"] = "applied"


@dataclass(frozen=True, slots=True)
class InspectorDown:
    kind: Literal["down"] = "down"


@dataclass(frozen=True, slots=True)
class InspectorCounters:
    """Totals since the inspector started, by name ("messages", "refused", "malformed", …)."""

    counters: Mapping[str, int] = field(hash=False)
    kind: Literal["counters"] = "counters"


# ---------------------------------------------------------------- events from people and programs


class Scope(StrEnum):
    OPERATION = "operation"  # this operation on this resource
    SERVICE = "service"  # every operation of the client service on this server service, this protocol
    PAIR = "pair"  # these two services as a whole; nothing between them is read any more


class Duration(StrEnum):
    ONCE = "once"
    HOUR = "hour"
    TONIGHT = "tonight"  # until the next midnight, site time
    ALWAYS = "always"


@dataclass(frozen=True, slots=True)
class Decide:
    """Approve or deny a request. `request` is its id, or a prefix that is unambiguous.

    `tonight`: when the site's day ends; the caller has the clock and the time zone.
    `only`: relationship ids, when not the whole card is meant.
    `manager`: who asks may answer everything, sensitive requests included. `confirmed`: he was told that
    it is sensitive, and said yes again.
    """

    token: int  # the shell's number for this call, given back in Answer
    request: str
    approve: bool
    by: str
    scope: Scope = Scope.OPERATION
    duration: Duration = Duration.ALWAYS
    tonight: float | None = None
    only: tuple[str, ...] = ()
    manager: bool = True
    confirmed: bool = True


@dataclass(frozen=True, slots=True)
class Undo:
    """Take a decision back. `manager`: who asks may do so with sensitive ones, too."""

    token: int
    decision: int
    by: str
    manager: bool = True


@dataclass(frozen=True, slots=True)
class Learn:
    """Start a service's learning phase again, or end it now."""

    token: int
    service: ServiceId
    start: bool
    by: str


@dataclass(frozen=True, slots=True)
class Rename:
    """Give a device or service a name that sticks."""

    token: int
    id: str
    name: str
    by: str


@dataclass(frozen=True, slots=True)
class Move:
    """A service has moved to another device (told by a service manager); its model goes along."""

    token: int
    service: ServiceId
    device: DeviceId
    by: str


@dataclass(frozen=True, slots=True)
class Block:
    """Quarantine a device, or admit it again."""

    token: int
    device: DeviceId
    blocked: bool
    by: str


@dataclass(frozen=True, slots=True)
class Pause:
    """Let everything pass from and to a device that nobody has denied; 0 seconds end it."""

    token: int
    device: DeviceId
    seconds: float
    by: str


@dataclass(frozen=True, slots=True)
class SameAs:
    """Admit a new device, which may do the same as one of its kind. `confirmed`: as in Decide."""

    token: int
    request: str
    device: DeviceId
    by: str
    confirmed: bool = True


@dataclass(frozen=True, slots=True)
class Forget:
    """Take a device out of the model, with its services and all that is known of them; the log stays."""

    token: int
    device: DeviceId
    by: str


@dataclass(frozen=True, slots=True)
class Verify:
    """Read back the flows of every switch, and say how they compare with the model."""

    token: int


@dataclass(frozen=True, slots=True)
class Edit:
    """One relationship as an imported model wants it. `after` None: forget it.

    `before`: the status that whoever imports has seen (None: there was none); else nothing is done.
    """

    access: Access
    before: Status | None
    after: Status | None
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class DeviceEdit:
    """A device as an imported model wants it; `mac` is needed for one that is not known yet."""

    id: DeviceId
    name: str
    kind: str
    blocked: bool
    mac: str | None


@dataclass(frozen=True, slots=True)
class ServiceEdit:
    """A service as an imported model wants it."""

    id: ServiceId
    device: DeviceId
    name: str
    endpoints: frozenset[Endpoint]


@dataclass(frozen=True, slots=True)
class Import:
    """Make the model what somebody has edited: all of it, or nothing. It learns nothing by that."""

    token: int
    relationships: tuple[Edit, ...]
    devices: tuple[DeviceEdit, ...]
    services: tuple[ServiceEdit, ...]
    by: str


# ---------------------------------------------------------------- events from the shell itself


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passes; sent about five times a second."""


@dataclass(frozen=True, slots=True)
class NotStored:
    """The store refused what a Persist effect with this token said: take it back."""

    token: int
    error: str


Order = Decide | Undo | Learn | Rename | Move | Block | Pause | SameAs | Import  # what changes the model
Command = Order | Forget | Verify
FromInspector = (
    Observed
    | ConnectionSettled
    | RefusalWanted
    | NameSeen
    | LeaseSeen
    | ServiceAnnounced
    | InspectorUp
    | Applied
    | InspectorDown
    | InspectorCounters
)
FromSwitch = (
    SwitchUp
    | SwitchDown
    | PortChanged
    | PacketIn
    | Done
    | Refused
    | FlowGone
    | FlowCounters
    | FlowsRead
    | MeterChanged
)
Event = FromSwitch | FromInspector | Command | Tick | NotStored

# ---------------------------------------------------------------- what is persisted


@dataclass(frozen=True, slots=True)
class Decision:
    """What the site manager said, and what it changed. Never altered; an undo is noted in `undone`.

    `before`: the relationships (or None) as they were; `devices` likewise for an admission.
    """

    id: int
    request: str
    sentence: str
    approve: bool
    scope: Scope
    duration: Duration
    by: str
    at: float
    until: float | None
    accesses: tuple[Access, ...] = ()
    before: tuple[Relationship | None, ...] = ()
    device: DeviceId | None = None  # set for an admission
    undone_at: float | None = None
    undone_by: str | None = None


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the append-only log. `event`: "decision", "undo", "learnt", "denied", …"""

    at: float
    event: str
    by: str  # "" for the firewall itself
    text: str  # one sentence
    subject: str = ""  # id of the device, service, request or decision concerned


@dataclass(frozen=True, slots=True)
class Record:
    """What one transaction writes; values replace what has the same id.

    What is forgotten goes first; with a device its services.
    """

    devices: tuple[Device, ...] = ()
    services: tuple[Service, ...] = ()
    relationships: tuple[Relationship, ...] = ()
    forgotten: tuple[Access, ...] = ()
    decisions: tuple[Decision, ...] = ()
    audit: tuple[AuditEntry, ...] = ()
    forgotten_devices: tuple[DeviceId, ...] = ()
    forgotten_decisions: tuple[int, ...] = ()


# ---------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class SendFlows:
    """Send this change, then a barrier; its reply comes back as Done with the ticket."""

    switch: int
    change: Change = field(hash=False)
    ticket: int = 0


@dataclass(frozen=True, slots=True)
class ReadFlows:
    """Read back what a switch holds; comes back as FlowsRead with this number, or a later one."""

    switch: int
    number: int


@dataclass(frozen=True, slots=True)
class SendFrame:
    """Packet-out; `port` None: through the tables again as if it had come in by `in_port`."""

    switch: int
    frame: bytes
    port: int | None
    in_port: int | None = None


@dataclass(frozen=True, slots=True)
class UpdateTable:
    """Tell the inspector; `whole`: forget what you have first. Comes back as Applied."""

    version: int
    deltas: tuple[Delta, ...]
    whole: bool = False


@dataclass(frozen=True, slots=True)
class ServeSwitches:
    """Tell the inspector which interfaces lead to which switch: (switch, inspection, copy)."""

    interfaces: tuple[tuple[int, str, str], ...]


@dataclass(frozen=True, slots=True)
class Persist:
    """Write in one transaction. On failure the shell sends NotStored with the token.

    `token` 0: nobody waits (learnt things); the shell keeps the record and tries again.
    """

    record: Record
    token: int = 0


@dataclass(frozen=True, slots=True)
class FlowDifference:
    """A flow that is not as the model asks: "missing", "changed" or "added" by hand.

    `origin`: what it is for, as its cookie says. `relationships`: the ids of those concerned.
    """

    kind: Literal["missing", "changed", "added"]
    sentence: str
    origin: str
    cookie: int
    relationships: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SwitchCheck:
    """What was read back from one switch. `read` False: it could not be read.

    `expected`, `found`, `differing`: numbers of flows; `differences` has the first of these.
    `repaired`: flows since the controller started.
    """

    switch: int
    name: str
    read: bool
    expected: int = 0
    found: int = 0
    repaired: int = 0
    differing: int = 0
    differences: tuple[FlowDifference, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a command: `decision` when there is one, else an error and its remedy.

    `checks`: the result of Verify.

    Sent only after the store has taken it, since the effects are carried out in order.
    """

    token: int
    decision: int | None = None
    code: str | None = None  # "not found", "not stored", "already so", …; None: all is well
    message: str = ""
    remedy: str = ""
    checks: tuple[SwitchCheck, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """A line for the log; `level` is "info", "warning" or "error"."""

    level: Literal["info", "warning", "error"]
    text: str


Effect = SendFlows | ReadFlows | SendFrame | UpdateTable | ServeSwitches | Persist | Answer | Report
