"""Relationships between services, their status, and the one table of status transitions.

Knows nothing of packets, flows, people or time: those who decide pass in what happened.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from controller.dpi.message import Operation

DeviceId = NewType("DeviceId", str)
ServiceId = NewType("ServiceId", str)  # "device/service"
ANY = "*"  # in Access: every operation, every resource, every protocol


class Status(StrEnum):
    """What the site thinks of a relationship."""

    LEARNED = "learned"
    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    EXPIRED = "expired"

    @property
    def allows(self) -> bool:
        return self in (Status.LEARNED, Status.APPROVED)


class Treatment(StrEnum):
    """What the switch does with packets from a client device to a server device's port."""

    FORWARD = "forward"
    DROP = "drop"
    INSPECT = "inspect"
    WATCH = "watch"


class Happening(StrEnum):
    """What can happen to a relationship."""

    LEARN = "seen while every end that does not know it is learning"
    ASK = "seen while an end that does not know it is not learning"
    APPROVE = "approved by the site manager"
    DENY = "denied by the site manager"
    EXPIRE = "the time of the decision is over"


TRANSITIONS: dict[tuple[Status | None, Happening], Status] = {
    (None, Happening.LEARN): Status.LEARNED,
    (None, Happening.ASK): Status.PENDING,
    (None, Happening.APPROVE): Status.APPROVED,
    (None, Happening.DENY): Status.DENIED,
    (Status.LEARNED, Happening.LEARN): Status.LEARNED,
    (Status.LEARNED, Happening.ASK): Status.LEARNED,
    (Status.LEARNED, Happening.APPROVE): Status.APPROVED,
    (Status.LEARNED, Happening.DENY): Status.DENIED,
    (Status.PENDING, Happening.LEARN): Status.LEARNED,
    (Status.PENDING, Happening.ASK): Status.PENDING,
    (Status.PENDING, Happening.APPROVE): Status.APPROVED,
    (Status.PENDING, Happening.DENY): Status.DENIED,
    (Status.APPROVED, Happening.LEARN): Status.APPROVED,
    (Status.APPROVED, Happening.ASK): Status.APPROVED,
    (Status.APPROVED, Happening.APPROVE): Status.APPROVED,
    (Status.APPROVED, Happening.DENY): Status.DENIED,
    (Status.APPROVED, Happening.EXPIRE): Status.EXPIRED,
    (Status.DENIED, Happening.LEARN): Status.DENIED,
    (Status.DENIED, Happening.ASK): Status.DENIED,
    (Status.DENIED, Happening.APPROVE): Status.APPROVED,
    (Status.DENIED, Happening.DENY): Status.DENIED,
    (Status.DENIED, Happening.EXPIRE): Status.EXPIRED,
    (Status.EXPIRED, Happening.LEARN): Status.PENDING,
    (Status.EXPIRED, Happening.ASK): Status.PENDING,
    (Status.EXPIRED, Happening.APPROVE): Status.APPROVED,
    (Status.EXPIRED, Happening.DENY): Status.DENIED,
}


def after(status: Status | None, happening: Happening) -> Status:
    """The status that follows; a pair that is not in the table leaves the status as it is."""
    follows = TRANSITIONS.get((status, happening), status)
    if follows is None:
        raise ValueError(f"nothing is known yet that could be {happening.value}")
    return follows


class Reason(StrEnum):
    """Why a verdict is what it is; for a denial, the property of the model that is violated."""

    KNOWN = "known"
    TEMPLATE = "infrastructure"  # templated, not learnt
    LEARNING = "learning"
    PAUSED = "protection paused"
    DENIED = "denied by the site manager"
    NEW_DEVICE = "new device"
    NEW_SERVICE = "new service"
    NEW_PARTNER = "new partner"
    NEW_OPERATION = "new operation"
    NEW_RESOURCE = "new resource"
    SPOOFED = "spoofed address"
    QUARANTINED = "quarantined"
    MALFORMED = "malformed"
    AMBIGUOUS = "ambiguous stream"
    OVERLOAD = "too many connections"
    NOT_ASKED = "answer to nothing"


@dataclass(frozen=True, slots=True)
class Verdict:
    allow: bool
    reason: Reason


@dataclass(frozen=True, slots=True, order=True)
class Access:
    """Who asks whom for what: the identity of a relationship.

    `operation` is an Operation or ANY; `resource` is generalised (see resource.py) or ANY;
    `protocol` a registry name or ANY. A wildcard stands for a decision with a wider scope.
    """

    client: ServiceId
    server: ServiceId
    protocol: str
    operation: Operation | str
    resource: str

    @property
    def exact(self) -> bool:
        return ANY not in (self.protocol, self.operation, self.resource)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server service listens: transport "tcp", "udp" or "icmp", and port (icmp: 0)."""

    transport: str
    port: int

    def __str__(self) -> str:
        return f"{self.transport}-{self.port}"


@dataclass(frozen=True, slots=True)
class Relationship:
    """An edge of the communication graph. Times are seconds since the epoch."""

    access: Access
    status: Status
    reason: Reason  # why it was asked, or LEARNING
    endpoint: Endpoint  # where it was seen
    verb: str  # the protocol's own word, as last seen
    first_seen: float
    last_seen: float
    allowed: int = 0  # messages let through
    refused: int = 0  # messages denied
    decision: int | None = None  # id of the decision that gave the status
    until: float | None = None  # when that decision's time is over
    once: bool = False  # allowed for one message only
