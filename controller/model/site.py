"""The site: its devices, its services and their communication graph, with the indexes to find them.

Knows nothing of flows, requests, people or the network; every change is one of its methods.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from controller.model.graph import CommunicationGraph
from controller.model.relationship import Access, DeviceId, Relationship, ServiceId, Status
from controller.model.service import Device, Place, Service


class Site:
    """Everything that is learnt. `router` is the device that leads outside, if there is one."""

    def __init__(
        self,
        devices: Iterable[Device] = (),
        services: Iterable[Service] = (),
        relationships: Iterable[Relationship] = (),
    ) -> None:
        self.devices: dict[DeviceId, Device] = {}
        self.services: dict[ServiceId, Service] = {}
        self.graph = CommunicationGraph()
        self.pending: dict[Access, None] = {}  # in the order they were first asked
        self.timed: set[Access] = set()
        self.learning: set[ServiceId] = set()
        self.paused: set[DeviceId] = set()  # whose protection is paused
        self.shared: set[str] = set()  # addresses outside that more than one vertex has
        self.asked_by: Counter[ServiceId] = Counter()  # pending relationships by client
        self.asked_from_outside = 0  # those of them whose client is outside
        self._holders: defaultdict[str, set[DeviceId]] = defaultdict(set)
        self._routers: dict[DeviceId, None] = {}
        self._by_mac: dict[str, DeviceId] = {}
        self._by_address: dict[str, DeviceId] = {}
        self._services_on: defaultdict[DeviceId, set[ServiceId]] = defaultdict(set)
        self._next_number = 1
        self._by_access: dict[Access, Relationship] = {}
        for device in devices:
            self.put_device(device)
        for service in services:
            self.put_service(service)
        for relationship in sorted(relationships, key=lambda r: r.first_seen):
            self.put(relationship)

    # Devices

    def next_number(self) -> int:
        return self._next_number

    def put_device(self, device: Device) -> set[DeviceId]:
        """Add or replace a device.

        Returns the vertices outside that have an address alone from now on, or no longer.
        """
        old = self.devices.get(device.id)
        if old is not None:
            for address in old.addresses:
                if self._by_address.get(address) == device.id:
                    del self._by_address[address]
            if old.mac is not None and old.mac != device.mac and self._by_mac.get(old.mac) == device.id:
                del self._by_mac[old.mac]
        self.devices[device.id] = device
        (self.paused.discard if device.paused_until is None else self.paused.add)(device.id)
        self._next_number = max(self._next_number, device.number + 1)
        if device.mac is not None:
            self._by_mac[device.mac] = device.id
        for address in device.addresses:
            self._by_address[address] = device.id
        if "router" in device.roles and device.binding is not None:
            self._routers[device.id] = None
        else:
            self._routers.pop(device.id, None)
        if device.place is not Place.REMOTE:
            return set()
        return self._share(device.id, old.addresses if old is not None else frozenset(), device.addresses)

    def _share(self, device: DeviceId, before: frozenset[str], after: frozenset[str]) -> set[DeviceId]:
        affected: set[DeviceId] = set()
        for address in before ^ after:
            holders = self._holders[address]
            (holders.add if address in after else holders.discard)(device)
            if (len(holders) > 1) != (address in self.shared):
                affected |= holders | {device}
                (self.shared.add if len(holders) > 1 else self.shared.discard)(address)
            if not holders:
                del self._holders[address]
        return affected

    def by_mac(self, mac: str) -> Device | None:
        found = self._by_mac.get(mac)
        return None if found is None else self.devices[found]

    def by_address(self, address: str) -> Device | None:
        found = self._by_address.get(address)
        return None if found is None else self.devices[found]

    @property
    def router(self) -> DeviceId | None:
        return next(iter(self._routers), None)

    def remove_device(self, device: DeviceId) -> None:
        """Forget a device of the site; its services and their relationships must be gone before."""
        old = self.devices.pop(device)
        for address in old.addresses:
            if self._by_address.get(address) == device:
                del self._by_address[address]
        if old.mac is not None and self._by_mac.get(old.mac) == device:
            del self._by_mac[old.mac]
        self.paused.discard(device)
        self._routers.pop(device, None)
        self._services_on.pop(device, None)

    # Services

    def put_service(self, service: Service) -> None:
        old = self.services.get(service.id)
        if old is not None:
            self._services_on[old.device].discard(service.id)
        self.services[service.id] = service
        self._services_on[service.device].add(service.id)
        (self.learning.add if service.learning else self.learning.discard)(service.id)

    def remove_service(self, service: ServiceId) -> None:
        """Forget a service; its relationships must be gone before."""
        old = self.services.pop(service)
        self._services_on[old.device].discard(service)
        self.learning.discard(service)
        self.graph.remove_service(service)

    def services_on(self, device: DeviceId) -> frozenset[ServiceId]:
        return frozenset(self._services_on.get(device, ()))

    def device_of(self, service: ServiceId) -> Device:
        """The device that a known service lives on now."""
        return self.devices[self.services[service].device]

    # Relationships

    def put(self, relationship: Relationship) -> None:
        access = relationship.access
        self.graph.put(relationship)
        self._by_access[access] = relationship
        if relationship.status is not Status.PENDING:
            self._answered(access)
        elif access not in self.pending:
            self.pending[access] = None
            self.asked_by[access.client] += 1
            self.asked_from_outside += access.client.startswith("@")
        timed = relationship.until is not None and relationship.status is not Status.EXPIRED
        (self.timed.add if timed else self.timed.discard)(access)

    def remove(self, access: Access) -> None:
        self.graph.remove(access)
        self._by_access.pop(access, None)
        self._answered(access)
        self.timed.discard(access)

    def _answered(self, access: Access) -> None:
        if access in self.pending:
            del self.pending[access]
            self.asked_by[access.client] -= 1
            if not self.asked_by[access.client]:
                del self.asked_by[access.client]
            self.asked_from_outside -= access.client.startswith("@")

    def relationships(self) -> dict[Access, Relationship]:
        """All of them as they are now, to keep: a hundred times quicker than a walk of the graph."""
        return self._by_access.copy()

    def waiting(self) -> Iterator[Relationship]:
        """The pending relationships, the oldest question first."""
        for access in self.pending:
            relationship = self.graph.get(access)
            if relationship is not None:
                yield relationship

    def between_devices(self, client: DeviceId, server: DeviceId) -> Iterator[Relationship]:
        servers = self._services_on.get(server, set())
        for mine in self._services_on.get(client, ()):
            if mine not in self.graph.networkx:
                continue
            asked = self.graph.networkx.succ[mine]
            for theirs in servers if len(servers) < len(asked) else asked:
                if theirs in servers and theirs in asked:
                    yield from self.graph.between(mine, theirs)

    def asks_nothing(self, device: Device) -> bool:
        """Whether a device has no model of its own that could say no."""
        return device.place is not Place.SITE
