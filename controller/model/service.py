"""Devices and services as the site knows them.

Knows nothing of packets, relationships' statuses, flows or people.
"""

from dataclasses import dataclass
from enum import StrEnum

from controller.model.relationship import DeviceId, Endpoint, ServiceId

MAIN = "main"  # the service that messages without an identity are attributed to


class Admission(StrEnum):
    """Whether a device may take part at all."""

    NEW = "new"  # waits for the site manager; nothing it sends passes
    ADMITTED = "admitted"
    BLOCKED = "blocked"


class Place(StrEnum):
    """Where a vertex of the graph is."""

    SITE = "site"  # a device on a switch port
    REMOTE = "remote"  # an internet destination, known by name
    GROUP = "group"  # broadcast and multicast


class Certainty(StrEnum):
    """How sure a name is."""

    GIVEN = "given"  # by people, here or in site.yaml
    ANNOUNCED = "announced"  # it calls itself so
    GUESSED = "guessed"  # from its address or port


@dataclass(frozen=True, slots=True)
class Binding:
    """From where a device may send: OpenFlow datapath id and port number."""

    switch: int
    port: int


@dataclass(frozen=True, slots=True)
class Device:
    """An IoT node, or a destination outside. Times are seconds since the epoch.

    `number` stands for it in the switch's registers and never changes.
    `learning_until` None: no service of it has graduated yet only while `young`.
    """

    id: DeviceId
    number: int
    place: Place
    name: str
    mac: str | None = None
    addresses: frozenset[str] = frozenset()
    binding: Binding | None = None
    admission: Admission = Admission.NEW
    young: bool = False  # new services on it are born learning
    kind: str = ""  # "door lock", "battery"; free text from site.yaml or discovery
    vendor: str = ""
    roles: frozenset[str] = frozenset()  # of "dhcp", "dns", "router", "ntp"
    first_seen: float = 0.0
    last_seen: float = 0.0
    named_by_manager: bool = False
    certainty: Certainty = Certainty.GUESSED  # of the name
    paused_until: float | None = None  # until then its protection is paused: what nobody has denied may pass


@dataclass(frozen=True, slots=True)
class Service:
    """A program on a device. Its id keeps the name of the device it was born on when it moves."""

    id: ServiceId
    device: DeviceId
    own_name: str  # what it calls itself in its messages, or MAIN, or "tcp-80"
    name: str  # for people
    kind: str = ""
    description: str = ""
    endpoints: frozenset[Endpoint] = frozenset()
    learning: bool = False
    learning_since: float | None = None
    last_new: float | None = None  # when something new was last learnt about it
    first_seen: float = 0.0
    last_seen: float = 0.0
    named_by_manager: bool = False
    certainty: Certainty = Certainty.GUESSED  # of the name
    graduated: float | None = None  # when its learning phase ended last
