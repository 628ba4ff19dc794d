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
from typing import Literal, TypeVar, assert_never

from controller.dpi.message import Message
from controller.model.relationship import ANY, Access, DeviceId, Endpoint, Reason, ServiceId, Verdict
from controller.model.resource import asked, widen
from controller.model.service import MAIN

K = TypeVar("K")

GROUP = DeviceId("@group")  # broadcast and multicast, as one vertex
NAMES_PER_ADDRESS = 16

# Discovery answered to one device alone (RFC 6762 section 5.4, RFC 4795): templated as the rest of it.
DISCOVERY = frozenset({("mdns", "udp-5353"), ("llmnr", "udp-5355")})


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
    `paused_until`: until then all that nobody has denied may pass, from it and to it.
    """

    device: DeviceId
    young: bool = False
    asks_nothing: bool = False
    blocked: bool = False
    gone: bool = False
    paused_until: float | None = None
    kind: Literal["device"] = "device"


@dataclass(frozen=True, slots=True)
class SetService:
    """A service that is known, where it lives now, and what it calls itself; or one that is `gone`."""

    service: ServiceId
    device: DeviceId
    own_name: str
    learning: bool
    endpoints: tuple[Endpoint, ...] = ()
    gone: bool = False
    kind: Literal["service"] = "service"


@dataclass(frozen=True, slots=True)
class SetGrant:
    """What was learnt or decided on an access; allow None takes it back.

    `until`: seconds since the epoch after which it counts no more. `once`: for one message. `over`
    (with allow None): a decision on it has ended, so that it is asked about and never learnt instead.
    """

    access: Access
    allow: bool | None
    until: float | None = None
    once: bool = False
    over: bool = False
    kind: Literal["grant"] = "grant"


Delta = SetNetworks | SetAddress | SetDevice | SetService | SetGrant


@lru_cache(maxsize=8192)
def slug(name: str) -> str:
    """A short, harmless, unambiguous form of a name from the network, for ids.

    >>> slug("washingmachine")
    'washingmachine'
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name)[:48].strip("-.")
    if plain == name and plain not in ("", MAIN):
        return plain
    digest = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    return f"{plain or 'unnamed'}~{digest}"


@lru_cache(maxsize=8192)
def remote(address: str) -> DeviceId:
    """The vertex of an internet address of which no name is known."""
    return DeviceId(f"@{address}")


@lru_cache(maxsize=8192)
def outside(name: str) -> DeviceId:
    """The vertex of a DNS name; never that of an address or of the group, whatever the name is.

    >>> outside("Cloud.example.")
    '@cloud.example'
    """
    vertex = DeviceId(f"@{slug(name.rstrip('.').lower())}")
    try:
        ip_address(vertex[1:])
    except ValueError:
        return DeviceId(f"{vertex}~name") if vertex == GROUP else vertex
    return DeviceId(f"{vertex}~name")


def _wider_and_wider(access: Access) -> Iterator[Access]:
    """The accesses under which something may have been decided that holds for this one too."""
    yield access
    protocol, resource = access.protocol, access.resource
    if (widened := widen(protocol, resource)) != resource:
        yield replace(access, resource=widened)
    yield replace(access, resource=ANY)
    yield Access(access.client, access.server, protocol, ANY, ANY)
    yield Access(access.client, access.server, ANY, ANY, ANY)


def _count(counts: "Counter[K]", key: K, step: int) -> None:
    counts[key] += step
    if not counts[key]:
        del counts[key]


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
        self._held: defaultdict[DeviceId, set[str]] = defaultdict(set)
        self._grants: dict[Access, SetGrant] = {}
        self._partners: Counter[tuple[ServiceId, ServiceId]] = Counter()
        self._denied: Counter[tuple[ServiceId, ServiceId]] = Counter()
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
                self._set_address(delta)
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

    def _set_address(self, row: SetAddress) -> None:
        old = self._addresses.pop(row.address, None)
        for device in old.devices if old is not None else ():
            self._held[device].discard(row.address)
            if not self._held[device]:
                del self._held[device]
        if row.devices:
            self._addresses[row.address] = row
            for device in row.devices:
                self._held[device].add(row.address)

    def _set_service(self, row: SetService) -> None:
        old = self._services.pop(row.service, None)
        if old is not None:
            self._living_on[old.device].pop(row.service)
            # Another service may have taken the place meanwhile; then it stays there.
            if self._by_name.get((old.device, old.own_name)) == row.service:
                del self._by_name[old.device, old.own_name]
            for endpoint in old.endpoints:
                self._listening[old.device, endpoint].discard(row.service)
        if row.gone:
            return
        self._services[row.service] = row  # last, so that a copy made by deltas() settles conflicts alike
        self._living_on.setdefault(row.device, {})[row.service] = row
        self._by_name[row.device, row.own_name] = row.service
        for endpoint in row.endpoints:
            self._listening[row.device, endpoint].add(row.service)

    def _set_grant(self, row: SetGrant) -> None:
        access = row.access
        old = self._grants.pop(access, None)
        pair = (access.client, access.server)
        for grant, step in ((old, -1), (row, 1)):
            if grant is not None and grant.allow:
                _count(self._partners, pair, step)
                _count(self._operations, (*pair, access.protocol, access.operation), step)
            elif grant is not None and grant.allow is False:
                _count(self._denied, pair, step)
        if row.allow is not None or row.over:
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
            if named is not None and len(row.devices) > 1:
                for choice in (DeviceId(f"@{named}"), outside(named)):
                    if choice in row.devices:
                        return choice
            return row.devices[0]
        ip = ip_address(address)
        if ip.is_multicast or address == "255.255.255.255":
            return GROUP
        return None if self.inside(address) else remote(address)

    def client_service(self, device: DeviceId, identity: str | None) -> ServiceId:
        return self._service_called(device, slug(identity) if identity else MAIN)

    def server_service(self, device: DeviceId, endpoint: Endpoint, service: str | None) -> ServiceId:
        return self._service_called(device, slug(service) if service else str(endpoint))

    def _service_called(self, device: DeviceId, own_name: str) -> ServiceId:
        """The service on a device that calls itself so; one that has moved away is another now."""
        known = self._by_name.get((device, own_name))
        if known is not None:
            return known
        name = ServiceId(f"{device}/{own_name}")
        away = self._services.get(name)
        return name if away is None or away.device == device else ServiceId(f"{name}~left")

    def access(self, client: DeviceId, server: DeviceId, endpoint: Endpoint, message: Message) -> Access:
        """The relationship that a message belongs to."""
        return Access(
            client=self.client_service(client, message.identity),
            server=self.server_service(server, endpoint, message.service),
            protocol=message.protocol,
            operation=message.operation,
            resource=asked(message.protocol, message.verb, message.operation, message.resource),
        )

    # May it?

    def grant(self, access: Access, now: float) -> SetGrant | None:
        """What was learnt or decided on an access; the more specific wins."""
        for candidate in _wider_and_wider(access):
            found = self._grants.get(candidate)
            if found is not None and found.allow is not None and (found.until is None or now < found.until):
                return found
        return None

    def _was_decided(self, access: Access) -> bool:
        """Whether somebody decided on an access, be it that the time of the decision is over."""
        return any(candidate in self._grants for candidate in _wider_and_wider(access))

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
        if (access.protocol, access.server.rpartition("/")[2]) in DISCOVERY:
            return Verdict(True, Reason.TEMPLATE)
        grant = self.grant(access, now)
        if grant is not None:
            return Verdict(True, Reason.KNOWN) if grant.allow else Verdict(False, Reason.DENIED)
        learning = self.knows_everything(access.client, client) and self.knows_everything(
            access.server, server
        )
        if learning and not self._was_decided(access):
            return Verdict(True, Reason.LEARNING)
        if self.pause(client, server, now) is not None:
            return Verdict(True, Reason.PAUSED)
        return Verdict(False, self._violated(access))

    def pause(self, client: DeviceId, server: DeviceId, now: float) -> float | None:
        """Until when the protection of one of two devices is paused; None when it is not."""
        rows = (self._devices.get(device) for device in (client, server))
        times = [row.paused_until for row in rows if row is not None and row.paused_until is not None]
        until = max(times, default=now)
        return until if now < until else None

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

        With `reveal_intent` a handshake to a service that is known, or is just being learnt, may pass;
        without, only one that some relationship already needs. Who opens it is not known yet: a denial
        for one service of the client must not stop the others.
        """
        access = Access(
            self.client_service(client, None), self.server_service(server, endpoint, None), ANY, ANY, ANY
        )
        verdict = self.judge(client, server, access, now)
        if verdict.allow or verdict.reason in (Reason.QUARANTINED, Reason.NEW_DEVICE):
            return verdict
        denied = verdict.reason is Reason.DENIED
        if (
            reveal_intent
            and not denied
            and (self._listening.get((server, endpoint)) or self._learns(access.server, server))
        ):
            return Verdict(True, Reason.KNOWN)
        if self._may_ever(client, server, endpoint, now):
            return Verdict(True, Reason.KNOWN)
        return verdict

    def _learns(self, service: ServiceId, device: DeviceId) -> bool:
        return not device.startswith("@") and self.knows_everything(service, device)

    def _may_ever(self, client: DeviceId, server: DeviceId, endpoint: Endpoint, now: float) -> bool:
        """Whether some service on one device may do something with one on the other."""
        there = self._living_on.get(server, {}).values()
        theirs = {row.service for row in there if endpoint in row.endpoints}
        theirs.add(self.server_service(server, endpoint, None))
        anywhere = theirs | {row.service for row in there if not row.endpoints}  # one that has moved, say
        place = self._devices.get(client)
        if place is not None and place.young and any(self.knows_everything(t, server) for t in theirs):
            return True  # by a service that is new
        return any(
            self._partners[mine.service, their]
            or (
                mine.learning
                and their in theirs
                and self.knows_everything(their, server)
                and not self._shut(mine.service, their, now)
            )
            for mine in self._living_on.get(client, {}).values()
            for their in anywhere
        )

    def _shut(self, client: ServiceId, server: ServiceId, now: float) -> bool:
        """Whether everything between two services is denied."""
        whole = self.grant(Access(client, server, ANY, ANY, ANY), now)
        return whole is not None and not whole.allow

    def as_a_whole(self, client: DeviceId, server: DeviceId, endpoint: Endpoint, now: float) -> bool:
        """Whether everything from one device to an endpoint of another is allowed, for good.

        Then nothing between them needs to be read: each service that is known on the one may do
        anything with each that is behind the endpoint, and nothing between those is denied.
        """
        if any(place is not None and place.blocked for place in map(self._devices.get, (client, server))):
            return False
        clients = set(self._living_on.get(client, ())) | {self.client_service(client, None)}
        servers = self._listening.get((server, endpoint), set()) | {
            self.server_service(server, endpoint, None)
        }
        for mine in clients:
            for their in servers:
                whole = self._grants.get(Access(mine, their, ANY, ANY, ANY))
                if whole is None or not whole.allow or whole.once or self._denied[mine, their]:
                    return False
                if whole.until is not None and now >= whole.until:
                    return False
        return True

    # Names outside

    def named(self, address: str, name: str, keep_nameless: bool = False) -> SetAddress | None:
        """The delta that adds a DNS name to an address outside; None when it changes nothing.

        `keep_nameless`: who does not say which name is meant still means the address itself.
        """
        if self.inside(address) or ip_address(address).is_multicast:
            return None
        row = self._addresses.get(address)
        before = row.devices if row is not None else ()
        nameless = remote(address)
        devices = tuple(device for device in before if device != nameless)
        if outside(name) not in devices and len(devices) < NAMES_PER_ADDRESS:
            devices = (*devices, outside(name))
        if keep_nameless:
            devices = (nameless, *devices)
        return None if devices == before else SetAddress(address, devices)

    def addresses_of(self, device: DeviceId) -> frozenset[str]:
        """All addresses that a device (name) has, those that it shares with others among them."""
        return frozenset(self._held.get(device, ()))

    def names_of(self, address: str) -> tuple[DeviceId, ...]:
        """The devices (names) that hold an address."""
        row = self._addresses.get(address)
        return row.devices if row is not None else ()
