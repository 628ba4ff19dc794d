"""The verdict table: who is behind an address, and may this message pass?

The firewall keeps one, and sends each change of it (a Delta) to the inspector, which keeps a copy:
both judge with the code in this file. Knows nothing of frames, sockets, flows or people.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Literal, assert_never

from controller.dpi.message import Message
from controller.model.relationship import ANY, Access, DeviceId, Endpoint, Reason, ServiceId, Verdict
from controller.model.resource import generalise, widen
from controller.model.service import MAIN

GROUP = DeviceId("@group")  # broadcast and multicast, as one vertex
NAMES_PER_ADDRESS = 16


@dataclass(frozen=True, slots=True)
class SetNetworks:
    """Which addresses are inside; all others are internet destinations."""

    networks: tuple[str, ...]
    kind: Literal["networks"] = "networks"


@dataclass(frozen=True, slots=True)
class SetAddress:
    """Which devices hold an address: one on the site, any number of names outside; () forgets it."""

    address: str
    devices: tuple[DeviceId, ...]
    kind: Literal["address"] = "address"


@dataclass(frozen=True, slots=True)
class SetDevice:
    """`young`: services that are new on it are learning. `blocked`: nothing of it passes.

    `asks_nothing`: it has no model of its own that could say no (internet, groups).
    """

    device: DeviceId
    young: bool = False
    asks_nothing: bool = False
    blocked: bool = False
    gone: bool = False
    kind: Literal["device"] = "device"


@dataclass(frozen=True, slots=True)
class SetService:
    """A service that is known, where it lives now, and what it calls itself."""

    service: ServiceId
    device: DeviceId
    own_name: str
    learning: bool
    endpoints: tuple[Endpoint, ...] = ()
    kind: Literal["service"] = "service"


@dataclass(frozen=True, slots=True)
class SetGrant:
    """What was learnt or decided on an access; allow None takes it back.

    `until`: seconds since the epoch after which it counts no more. `once`: for one message.
    """

    access: Access
    allow: bool | None
    until: float | None = None
    once: bool = False
    kind: Literal["grant"] = "grant"


Delta = SetNetworks | SetAddress | SetDevice | SetService | SetGrant


@lru_cache(maxsize=8192)
def slug(name: str) -> str:
    """A short, harmless, unambiguous form of a name from the network, for ids.

    >>> slug("washingmachine")
    'washingmachine'
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:48].strip("-.")
    if plain == name and plain != MAIN:
        return plain
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{plain or 'unnamed'}~{digest}"


@lru_cache(maxsize=8192)
def remote(address: str) -> DeviceId:
    """The vertex of an internet address of which no name is known."""
    return DeviceId(f"@{address}")


def _wider_and_wider(access: Access) -> Iterator[Access]:
    """The accesses under which something may have been decided that holds for this one too."""
    yield access
    protocol, resource = access.protocol, access.resource
    if (widened := widen(protocol, resource)) != resource:
        yield replace(access, resource=widened)
    yield replace(access, resource=ANY)
    yield Access(access.client, access.server, protocol, ANY, ANY)
    yield Access(access.client, access.server, ANY, ANY, ANY)


class VerdictTable:
    """Directory and grants; the same deltas in the same order give the same table anywhere."""

    def __init__(self, deltas: Iterable[Delta] = ()) -> None:
        self._networks: tuple[IPv4Network | IPv6Network, ...] = ()
        self._addresses: dict[str, SetAddress] = {}
        self._devices: dict[DeviceId, SetDevice] = {}
        self._services: dict[ServiceId, SetService] = {}
        self._living_on: dict[DeviceId, dict[ServiceId, SetService]] = {}
        self._by_name: dict[tuple[DeviceId, str], ServiceId] = {}
        self._listening: defaultdict[tuple[DeviceId, Endpoint], set[ServiceId]] = defaultdict(set)
        self._grants: dict[Access, SetGrant] = {}
        self._partners: Counter[tuple[ServiceId, ServiceId]] = Counter()
        self._operations: Counter[tuple[ServiceId, ServiceId, str, str]] = Counter()
        self._inside: dict[str, bool] = {}
        for delta in deltas:
            self.apply(delta)

    def apply(self, delta: Delta) -> None:
        match delta:
            case SetNetworks():
                self._networks = tuple(ip_network(text) for text in delta.networks)
                self._inside.clear()
            case SetAddress():
                if delta.devices:
                    self._addresses[delta.address] = delta
                else:
                    self._addresses.pop(delta.address, None)
            case SetDevice():
                if delta.gone:
                    self._devices.pop(delta.device, None)
                else:
                    self._devices[delta.device] = delta
            case SetService():
                self._set_service(delta)
            case SetGrant():
                self._set_grant(delta)
            case _:
                assert_never(delta)

    def _set_service(self, row: SetService) -> None:
        old = self._services.pop(row.service, None)
        if old is not None:
            self._living_on[old.device].pop(row.service)
            # Another service may have taken the place meanwhile; then it stays there.
            if self._by_name.get((old.device, old.own_name)) == row.service:
                del self._by_name[old.device, old.own_name]
            for endpoint in old.endpoints:
                self._listening[old.device, endpoint].discard(row.service)
        self._services[row.service] = row  # last, so that a copy made by deltas() settles conflicts alike
        self._living_on.setdefault(row.device, {})[row.service] = row
        self._by_name[row.device, row.own_name] = row.service
        for endpoint in row.endpoints:
            self._listening[row.device, endpoint].add(row.service)

    def _set_grant(self, row: SetGrant) -> None:
        access = row.access
        old = self._grants.pop(access, None)
        for grant, step in ((old, -1), (row, 1)):
            if grant is not None and grant.allow:
                self._partners[access.client, access.server] += step
                self._operations[access.client, access.server, access.protocol, access.operation] += step
        if row.allow is not None:
            self._grants[access] = row

    def deltas(self) -> Iterator[Delta]:
        """What makes an empty table equal to this one."""
        yield SetNetworks(tuple(str(network) for network in self._networks))
        yield from self._devices.values()
        yield from self._addresses.values()
        yield from self._services.values()
        yield from self._grants.values()

    # Who is it?

    def inside(self, address: str) -> bool:
        """Whether an address belongs to the site's networks."""
        known = self._inside.get(address)
        if known is None:
            if len(self._inside) > 65536:
                self._inside.clear()
            ip = ip_address(address)
            known = any(ip in network for network in self._networks if network.version == ip.version)
            self._inside[address] = known
        return known

    def device_at(self, address: str, named: str | None = None) -> DeviceId | None:
        """The device that holds an address; None for one inside that nobody was seen to hold.

        `named` (an SNI) chooses among the names of an address outside; it never adds one.
        """
        row = self._addresses.get(address)
        if row is not None:
            if (
                named is not None
                and len(row.devices) > 1
                and (choice := DeviceId(f"@{named}")) in row.devices
            ):
                return choice
            return row.devices[0]
        ip = ip_address(address)
        if ip.is_multicast or address == "255.255.255.255":
            return GROUP
        return None if self.inside(address) else remote(address)

    def client_service(self, device: DeviceId, identity: str | None) -> ServiceId:
        own_name = slug(identity) if identity else MAIN
        return self._by_name.get((device, own_name)) or ServiceId(f"{device}/{own_name}")

    def server_service(self, device: DeviceId, endpoint: Endpoint, service: str | None) -> ServiceId:
        own_name = slug(service) if service else str(endpoint)
        return self._by_name.get((device, own_name)) or ServiceId(f"{device}/{own_name}")

    def access(self, client: DeviceId, server: DeviceId, endpoint: Endpoint, message: Message) -> Access:
        """The relationship that a message belongs to."""
        return Access(
            client=self.client_service(client, message.identity),
            server=self.server_service(server, endpoint, message.service),
            protocol=message.protocol,
            operation=message.operation,
            resource=generalise(message.protocol, message.resource),
        )

    # May it?

    def grant(self, access: Access, now: float) -> SetGrant | None:
        """What was learnt or decided on an access; the more specific wins."""
        for candidate in _wider_and_wider(access):
            found = self._grants.get(candidate)
            if found is not None and (found.until is None or now < found.until):
                return found
        return None

    def knows_everything(self, service: ServiceId, device: DeviceId) -> bool:
        """Whether an end is in its learning phase, or has no model that could say no."""
        row = self._services.get(service)
        if row is not None and row.device == device and row.learning:
            return True
        place = self._devices.get(device)
        if place is None:
            return device.startswith("@")
        return place.asks_nothing or (row is None and place.young)

    def judge(self, client: DeviceId, server: DeviceId, access: Access, now: float) -> Verdict:
        """May this access happen between services on these devices, and why (not)?"""
        if client.startswith("@") and server.startswith("@"):
            return Verdict(False, Reason.NEW_DEVICE)  # neither end is of the site, so nobody would say no
        for device in (client, server):
            place = self._devices.get(device)
            if place is None and not device.startswith("@"):
                return Verdict(False, Reason.NEW_DEVICE)
            if place is not None and place.blocked:
                return Verdict(False, Reason.QUARANTINED)
        grant = self.grant(access, now)
        if grant is not None:
            return Verdict(True, Reason.KNOWN) if grant.allow else Verdict(False, Reason.DENIED)
        if self.knows_everything(access.client, client) and self.knows_everything(access.server, server):
            return Verdict(True, Reason.LEARNING)
        return Verdict(False, self._violated(access))

    def _violated(self, access: Access) -> Reason:
        if access.client not in self._services:
            return Reason.NEW_SERVICE
        if not self._partners[access.client, access.server]:
            return Reason.NEW_PARTNER
        if not self._operations[access.client, access.server, access.protocol, access.operation]:
            return Reason.NEW_OPERATION
        return Reason.NEW_RESOURCE

    def judge_opening(
        self, client: DeviceId, server: DeviceId, endpoint: Endpoint, reveal_intent: bool, now: float = 0.0
    ) -> Verdict:
        """May a conversation be opened, so that its first request can be read?

        With `reveal_intent` a handshake to a service that is known may pass; without, only one that
        some relationship already needs.
        """
        access = Access(
            self.client_service(client, None), self.server_service(server, endpoint, None), ANY, ANY, ANY
        )
        verdict = self.judge(client, server, access, now)
        if verdict.allow or verdict.reason in (Reason.DENIED, Reason.QUARANTINED, Reason.NEW_DEVICE):
            return verdict
        if reveal_intent and self._listening.get((server, endpoint)):
            return Verdict(True, Reason.KNOWN)
        if self._may_ever(client, server, endpoint):
            return Verdict(True, Reason.KNOWN)
        return verdict

    def _may_ever(self, client: DeviceId, server: DeviceId, endpoint: Endpoint) -> bool:
        """Whether some service on one device may do something with one on the other."""
        theirs = {*self._living_on.get(server, ()), self.server_service(server, endpoint, None)}
        return any(
            self._partners[mine.service, their] or (mine.learning and self.knows_everything(their, server))
            for mine in self._living_on.get(client, {}).values()
            for their in theirs
        )

    # Names outside

    def named(self, address: str, name: str) -> SetAddress | None:
        """The delta that adds a DNS name to an address outside; None when it changes nothing."""
        if self.inside(address) or ip_address(address).is_multicast:
            return None
        device = DeviceId(f"@{slug(name.rstrip('.').lower())}")
        row = self._addresses.get(address)
        devices = row.devices if row is not None else ()
        if device in devices or len(devices) >= NAMES_PER_ADDRESS:
            return None
        return SetAddress(address, (*devices, device))

    def addresses_of(self, device: DeviceId) -> frozenset[str]:
        """The addresses that only this device (name) has."""
        return frozenset(a for a, row in self._addresses.items() if row.devices == (device,))
