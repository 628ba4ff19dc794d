"""A small site for the tests of judgement: three devices, a verdict table, and a clock."""

from collections.abc import Iterable

from controller.dpi.message import Operation
from controller.events import FromInspector, Observed
from controller.inspector.judgement.inspection import Inspection
from controller.inspector.judgement.outcome import Outcome
from controller.model.relationship import Access, DeviceId, Endpoint, ServiceId
from controller.verdicts import (
    Delta,
    SetAddress,
    SetDevice,
    SetGrant,
    SetNetworks,
    SetService,
    VerdictTable,
)

WASHER, BATTERY, LOCK = DeviceId("washer"), DeviceId("battery"), DeviceId("lock")
HOSTS = {
    WASHER: ("10.0.0.1", "fe80::1"),
    BATTERY: ("10.0.0.2", "fe80::2"),
    LOCK: ("10.0.0.3", "fe80::3"),
}
W, B, L = (addresses[0] for addresses in HOSTS.values())

DIRECTORY: tuple[Delta, ...] = (
    SetNetworks(("10.0.0.0/8", "fe80::/10")),
    *(SetDevice(device) for device in HOSTS),
    *(SetAddress(address, (device,)) for device, addresses in HOSTS.items() for address in addresses),
)


def access(
    protocol: str,
    operation: Operation | str,
    resource: str,
    client: DeviceId = WASHER,
    server: DeviceId = BATTERY,
    endpoint: Endpoint | str = "udp-5683",
) -> Access:
    return Access(
        ServiceId(f"{client}/main"), ServiceId(f"{server}/{endpoint}"), protocol, operation, resource
    )


def service(device: DeviceId, endpoint: Endpoint, learning: bool = False) -> SetService:
    return SetService(ServiceId(f"{device}/{endpoint}"), device, str(endpoint), learning, (endpoint,))


def main(device: DeviceId, learning: bool = False) -> SetService:
    return SetService(ServiceId(f"{device}/main"), device, "main", learning)


class Site:
    """An Inspection of this site; time stands still unless it is moved."""

    def __init__(self, *deltas: Delta, reveal_intent: bool = True) -> None:
        self.table = VerdictTable((*DIRECTORY, *deltas))
        self.inspection = Inspection(self.table, reveal_intent)
        self.now = 1000.0
        self.events: list[FromInspector] = []

    def frame(self, raw: bytes, observed: bool = False) -> Outcome:
        outcome = self.inspection.frame(raw, observed, self.now)
        self.events += outcome.events
        return outcome

    def passes(self, raw: bytes) -> bool:
        """Whether exactly this frame, and nothing else, comes out."""
        return self.frame(raw).send == (raw,)

    def dropped(self, raw: bytes) -> bool:
        """Whether this frame does not come out; a word to its sender may."""
        return raw not in self.frame(raw).send

    def update(self, *deltas: Delta) -> None:
        self.inspection.update(deltas)

    def allow(self, *accesses: Access) -> None:
        self.update(*(SetGrant(each, True) for each in accesses))

    def withdraw(self, *accesses: Access) -> None:
        self.update(*(SetGrant(each, None) for each in accesses))

    def seen(self) -> list[Observed]:
        """The observations since the last call, those that had to wait included."""
        self.now += 0.25
        self.events += self.inspection.tick(self.now).events
        seen = [event for event in self.events if isinstance(event, Observed)]
        self.events = [event for event in self.events if not isinstance(event, Observed)]
        return seen

    def said(self, kind: type[FromInspector]) -> list[FromInspector]:
        """The events of one kind since the last call."""
        said = [event for event in self.events if isinstance(event, kind)]
        self.events = [event for event in self.events if not isinstance(event, kind)]
        return said


def passed(outcomes: Iterable[Outcome]) -> list[bytes]:
    return [frame for outcome in outcomes for frame in outcome.send]
