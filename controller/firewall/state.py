"""The model, and everything that must follow when it changes: verdict table, flows, what to save.

A change is made in one place and reaches all of them, so that what the inspector judges, what the
switch does and what is stored can never come from different models. Decides nothing itself.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache

from controller.config import Config
from controller.events import AuditEntry, Decision, Record
from controller.firewall.enforcement import Dirty
from controller.flows.compile import Pair, family
from controller.model.graph import Between, treatment
from controller.model.relationship import (
    Access,
    DeviceId,
    Endpoint,
    Relationship,
    ServiceId,
    Status,
    Treatment,
)
from controller.model.service import Admission, Device, Place, Service
from controller.model.site import Site
from controller.verdicts import Delta, SetAddress, SetDevice, SetGrant, SetNetworks, SetService, VerdictTable

LOG_LENGTH = 500  # lines kept in memory; the store has all


class State:
    """The site with its consequences. `dirty`, `deltas` and `unsaved` gather what has changed."""

    def __init__(self, config: Config, saved: Record | None) -> None:
        saved = saved or Record()
        self.config = config
        homes = {device.id for device in saved.devices}
        services = {service.id: service for service in saved.services if service.device in homes}
        edges = [r for r in saved.relationships if {r.access.client, r.access.server} <= services.keys()]
        self.site = Site(saved.devices, services.values(), edges)
        self.decisions: dict[int, Decision] = {d.id: d for d in saved.decisions}
        self.log: list[AuditEntry] = list(saved.audit)[-LOG_LENGTH:]
        self.table = VerdictTable([SetNetworks(config.networks)])
        self.version = 1  # of the verdict table
        self.revision = 1  # of everything; grows with each change
        self.counters: defaultdict[str, int] = defaultdict(int)
        self.dirty = Dirty()
        self.deltas: list[Delta] = []
        self.pairs: dict[Pair, Treatment] = {}
        self.listening: defaultdict[DeviceId, set[int]] = defaultdict(set)  # UDP ports
        self.left: dict[ServiceId, float] = {}  # what is taken for a service where it was, and until when
        self._pairs_of: defaultdict[DeviceId, set[Pair]] = defaultdict(set)
        self._changed: tuple[set[DeviceId], set[ServiceId], set[Access]] = (set(), set(), set())
        self._forgotten: set[Access] = set()
        self._gone: tuple[set[DeviceId], set[int]] = (set(), set())  # devices, decisions
        self._audit: list[AuditEntry] = []
        ids = {d.id: known.id for d in config.devices if (known := self.site.by_mac(d.mac)) is not None}
        self._watched = {
            (ids.get(pair.client, pair.client), ids.get(pair.server, pair.server)) for pair in config.watch
        }
        for device in self.site.devices.values():
            self._device_follows(device)
        self._recall_names()
        for service in self.site.services.values():
            self._tell(_row(service))
        for relationship in self.site.graph:
            self._tell(_grant(relationship))
            self._listens(relationship)
        self.update_pairs({self._pair(r, r.endpoint) for r in self.site.graph})
        self.deltas.clear()
        self.dirty = Dirty()

    def _recall_names(self) -> None:
        """The names of addresses outside, as far as somebody has ever talked to them."""
        names: defaultdict[str, list[DeviceId]] = defaultdict(list)
        for device in sorted(self.site.devices.values(), key=lambda device: device.number):
            if device.place is Place.REMOTE:
                for address in device.addresses:
                    names[address].append(device.id)
        for address, devices in names.items():
            self._tell(SetAddress(address, tuple(devices)))

    # Changes

    def put_device(self, device: Device) -> None:
        self.revision += 1
        old = self.site.devices.get(device.id)
        self.dirty.devices |= self.site.put_device(device)
        self._changed[0].add(device.id)
        moved = old is None or replace(old, last_seen=0.0, name="", young=False) != replace(
            device, last_seen=0.0, name="", young=False
        )
        if old is not None and device.place is Place.SITE:
            for address in old.addresses - device.addresses:
                if self.site.by_address(address) is None:
                    self._tell(SetAddress(address, ()))
        if moved or old is None or old.young != device.young:
            self._device_follows(device)
        if moved:
            self.dirty.devices.add(device.id)
            if old is not None and (_families(old), old.binding) != (_families(device), device.binding):
                self.dirty.pairs |= self._pairs_of[device.id]
        if old is None or old.young != device.young:
            self.update_pairs(self._pairs_of[device.id])
        if old is not None and old.paused_until != device.paused_until:
            self.update_pairs(self._pairs_of[device.id], withdraw=True)

    def _device_follows(self, device: Device) -> None:
        self._tell(
            SetDevice(
                device.id,
                young=device.young,
                asks_nothing=self.site.asks_nothing(device),
                blocked=device.admission is not Admission.ADMITTED,
                paused_until=device.paused_until,
            )
        )
        if device.place is Place.SITE:
            for address in device.addresses:
                self._tell(SetAddress(address, (device.id,)))

    def put_service(self, service: Service) -> None:
        self.revision += 1
        old = self.site.services.get(service.id)
        self.site.put_service(service)
        self._changed[1].add(service.id)
        row = _row(service)
        if old is None or _row(old) != row:
            self._tell(row)
            affected = set(self._pairs_of[service.device])
            if old is not None and old.device != service.device:
                affected |= self._pairs_of[old.device]
            moved = old is not None and old.device != service.device
            if moved or (old is not None and service.endpoints != old.endpoints):
                for relationship in self.site.graph.of(service.id):
                    affected |= self._pairs_for(relationship)
                    self._listens(relationship)
            self.update_pairs(affected, withdraw=moved)

    def put(self, relationship: Relationship) -> None:
        self.revision += 1
        access = relationship.access
        old = self.site.graph.get(access)
        self.site.put(relationship)
        self._changed[2].add(access)
        self._forgotten.discard(access)
        if old is None or _decided(old) != _decided(relationship):
            self._tell(_grant(relationship))
            could = old is not None and old.status.allows
            if old is not None and old.endpoint != relationship.endpoint:
                self.update_pairs(self._pairs_for(old), withdraw=True)
            self.update_pairs(
                self._pairs_for(relationship),
                withdraw=could != relationship.status.allows and relationship.status is not Status.LEARNED,
            )
            self._listens(relationship)

    def remove(self, access: Access) -> None:
        self.revision += 1
        old = self.site.graph.get(access)
        if old is None:
            return
        self.site.remove(access)
        self._changed[2].discard(access)
        self._forgotten.add(access)
        self._tell(SetGrant(access, None))
        self.update_pairs(self._pairs_for(old), withdraw=True)

    def forget(self, device: DeviceId) -> tuple[int, ...]:
        """Take a device of the site out, with all that is known of it; the decisions that went with it.

        Those are about nothing else. Flows must be compiled anew for all switches.
        """
        self.revision += 1
        site = self.site
        services = site.services_on(device)
        gone = tuple(
            made.id
            for made in self.decisions.values()
            if made.device == device
            or (made.accesses and all({a.client, a.server} & services for a in made.accesses))
        )
        for access in {r.access for service in services for r in site.graph.of(service)}:
            self.remove(access)
        for name in services:
            self._tell(replace(_row(site.services[name]), gone=True))
            site.remove_service(name)
            self._changed[1].discard(name)
        old = site.devices[device]
        site.remove_device(device)
        for address in old.addresses:
            if site.by_address(address) is None:
                self._tell(SetAddress(address, ()))
        self._tell(SetDevice(device, gone=True))
        for number in gone:
            del self.decisions[number]
        self._changed[0].discard(device)
        self.dirty.devices.discard(device)
        self._pairs_of.pop(device, None)
        self.listening.pop(device, None)
        self._gone[0].add(device)
        self._gone[1].update(gone)
        return gone

    def note(self, event: str, text: str, now: float, by: str = "", subject: str = "") -> AuditEntry:
        """Write a line into the audit log."""
        self.revision += 1
        entry = AuditEntry(now, event, by, text, subject)
        self._audit.append(entry)
        self.log.append(entry)
        del self.log[:-LOG_LENGTH]
        return entry

    def tell(self, delta: Delta) -> None:
        """Change the verdict table by something that is no part of the model (names of addresses)."""
        self._tell(delta)

    def _tell(self, delta: Delta) -> None:
        self.table.apply(delta)
        self.deltas.append(delta)

    # Pairs

    def _pair(self, relationship: Relationship, endpoint: Endpoint) -> Pair:
        access = relationship.access
        return Pair(
            self.site.services[access.client].device, self.site.services[access.server].device, endpoint
        )

    def _pairs_for(self, relationship: Relationship) -> set[Pair]:
        """All pairs whose treatment a relationship has a say in."""
        endpoints = {relationship.endpoint} | self.site.services[relationship.access.server].endpoints
        return {self._pair(relationship, endpoint) for endpoint in endpoints}

    def pairs_of(self, client: DeviceId, server: DeviceId) -> Iterator[tuple[Pair, Treatment]]:
        """The pairs between two devices with their treatments."""
        for pair in self._pairs_of.get(client, ()):
            if (pair.client, pair.server) == (client, server):
                yield pair, self.pairs[pair]

    def update_pairs(self, pairs: Iterable[Pair], withdraw: bool = False) -> None:
        """Choose the treatment of these pairs again.

        `withdraw`: their short-lived flows (settled connections, refusals) no longer hold.
        """
        between = cache(lambda client, server: Between(self.site.between_devices(client, server)))
        for pair in _both_ways(pairs):
            chosen = self._choose(pair, between)
            if chosen is self.pairs.get(pair):
                if withdraw:
                    self.dirty.pairs.add(pair)
                continue
            self.dirty.pairs.add(pair)
            if chosen is None:
                del self.pairs[pair]
                self._pairs_of[pair.client].discard(pair)
                self._pairs_of[pair.server].discard(pair)
            else:
                self.pairs[pair] = chosen
                self._pairs_of[pair.client].add(pair)
                self._pairs_of[pair.server].add(pair)

    def _choose(self, pair: Pair, between: Callable[[DeviceId, DeviceId], Between]) -> Treatment | None:
        chosen = self._chosen_alone(pair, between)
        if chosen is Treatment.DROP and pair.endpoint.transport == "udp":
            back = self._chosen_alone(_back(pair), between)
            if back is not None and back is not Treatment.DROP:
                # Its answers may come from the very port that is denied: they have to be told apart.
                return Treatment.INSPECT
        return chosen

    def _chosen_alone(self, pair: Pair, between: Callable[[DeviceId, DeviceId], Between]) -> Treatment | None:
        relationships = between(pair.client, pair.server)
        if not relationships.use(pair.endpoint):
            return None
        services = self.site.services
        client, server = self.site.devices[pair.client], self.site.devices[pair.server]
        behind = {s for s in self.site.services_on(server.id) if pair.endpoint in services[s].endpoints}
        known = relationships.known(pair.endpoint, behind)
        return treatment(
            known,
            self.site.services_on(client.id),
            frozenset(behind | {r.access.server for r in known}),
            learning=self._all_learning(client) and self._all_learning(server),
            settled=not ((self._some_learning(client) and self._some_learning(server)) or self.paused(pair)),
            watch=(client.id, server.id) in self._watched,
        )

    def paused(self, pair: Pair) -> bool:
        """Whether the protection of one of the two devices is paused."""
        return not self.site.paused.isdisjoint((pair.client, pair.server))

    def lasting(self, pair: Pair, now: float) -> bool:
        """Whether all that could use a pair is allowed, and stays so until somebody says otherwise."""
        if self.pairs.get(pair, Treatment.DROP) is Treatment.DROP:
            return False
        return all(
            r.status.allows and not r.once and (r.until is None or now < r.until)
            for r in self.site.between_devices(pair.client, pair.server)
        )

    def _listens(self, relationship: Relationship) -> None:
        """Note a UDP port at which a device has answered somebody, or was meant to."""
        if relationship.endpoint.transport != "udp" or relationship.status is Status.PENDING:
            return
        device = self.site.services[relationship.access.server].device
        if relationship.endpoint.port not in self.listening[device]:
            self.listening[device].add(relationship.endpoint.port)
            self.dirty.devices.add(device)

    def _all_learning(self, device: Device) -> bool:
        if self.site.asks_nothing(device):
            return True
        return device.young and self.site.services_on(device.id) <= self.site.learning

    def _some_learning(self, device: Device) -> bool:
        if self.site.asks_nothing(device) or device.young:
            return True
        return not self.site.services_on(device.id).isdisjoint(self.site.learning)

    # What to save

    def unsaved(self) -> Record:
        """What has changed since the last call, for one transaction."""
        devices, services, accesses = self._changed
        found = [self.site.graph.get(access) for access in accesses]
        record = Record(
            devices=tuple(self.site.devices[d] for d in devices),
            services=tuple(self.site.services[s] for s in services),
            relationships=tuple(r for r in found if r is not None),
            forgotten=tuple(self._forgotten),
            forgotten_devices=tuple(self._gone[0]),
            forgotten_decisions=tuple(self._gone[1]),
            audit=tuple(self._audit),
        )
        self._changed = (set(), set(), set())
        self._forgotten, self._gone, self._audit = set(), (set(), set()), []
        return record

    def save_again(self, record: Record) -> None:
        """A record was not stored: what it held is unsaved again, but for its decisions and log."""
        devices, services, accesses = self._changed
        self._gone[0].update(record.forgotten_devices)
        self._gone[1].update(record.forgotten_decisions)
        devices.update(device.id for device in record.devices)
        services.update(service.id for service in record.services)
        for access in (*record.forgotten, *(r.access for r in record.relationships)):
            if self.site.graph.get(access) is not None:
                accesses.add(access)
            else:
                self._forgotten.add(access)

    def unsay(self, entries: Iterable[AuditEntry]) -> None:
        """Take lines out of the log that tell of what was not done after all."""
        for entry in entries:
            if entry in self.log:
                self.log.remove(entry)

    def save_lines_again(self, entries: Iterable[AuditEntry]) -> None:
        self._audit[:0] = entries

    @property
    def unsaved_lines(self) -> int:
        return len(self._audit)

    @property
    def has_unsaved(self) -> bool:
        return any(self._changed) or any(self._gone) or bool(self._forgotten or self._audit)


def switch_of(site: Site, device: Device) -> int | None:
    """The switch that enforces for a device: where it is attached; outside, where the router is."""
    return enforcer(site.devices, site.router, device)


def enforcer(devices: Mapping[DeviceId, Device], router: DeviceId | None, device: Device) -> int | None:
    """The same among devices of which one is the router."""
    if device.place is Place.REMOTE and router:
        device = devices[router]
    return None if device.binding is None else device.binding.switch


def _back(pair: Pair) -> Pair:
    return Pair(pair.server, pair.client, pair.endpoint)


def _both_ways(pairs: Iterable[Pair]) -> set[Pair]:
    """These pairs, and over UDP those in the other direction, which may depend on them."""
    found = set(pairs)
    return found | {_back(pair) for pair in found if pair.endpoint.transport == "udp"}


def _families(device: Device) -> frozenset[int]:
    return frozenset(map(family, device.addresses))


def _row(service: Service) -> SetService:
    return SetService(
        service.id,
        service.device,
        service.own_name,
        service.learning,
        tuple(sorted(service.endpoints, key=str)),
    )


_ALLOW: Mapping[Status, bool | None] = {
    Status.LEARNED: True,
    Status.APPROVED: True,
    Status.DENIED: False,
    Status.PENDING: None,
    Status.EXPIRED: None,
}


def _grant(relationship: Relationship) -> SetGrant:
    allow = _ALLOW[relationship.status]
    if allow is None:
        return SetGrant(relationship.access, None, over=relationship.decision is not None)
    return SetGrant(relationship.access, allow, relationship.until, relationship.once and allow)


def _decided(relationship: Relationship) -> tuple[object, ...]:
    decided = relationship.decision is not None
    return (relationship.status, relationship.until, relationship.once, relationship.endpoint, decided)
