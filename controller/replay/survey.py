"""Who is in a capture: hosts with their hardware and addresses, and what they are to each other.

A first pass over the frames. It guesses what a site's owner knows: which host is the router, the name
server, the DHCP server, the clock, and which addresses are inside. Knows nothing of the firewall.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Final

from controller.captures.link import NOBODY
from controller.config import Config, DeviceConfig, Role
from controller.dpi.frame import UDP, Headers

PLACES_AT_MOST: Final = 20_000  # pairs of hardware address and IP address
RELAYED: Final = 4  # addresses of one family that one host has; with more it passes on others' frames
NOWHERE: Final = frozenset({"0.0.0.0", "::", None})  # noqa: S104  # compared; what sends from here has none yet
_EVERYONE: Final = "255.255.255.255"
_WAY_OUT: Final = "02:67:ff:ff:ff:fe"  # the router, where frames have no hardware addresses
_CALLED: Final[Mapping[Role, str]] = {
    "router": "Router",
    "dhcp": "DHCP server",
    "dns": "Name server",
    "ntp": "Clock",
}


@lru_cache(maxsize=65536)
def hardware_of(address: str) -> str:
    """A hardware address for a host of which only the IP address is known."""
    return f"02:67:{ip_address(address).packed[-4:].hex(':')}"


@lru_cache(maxsize=65536)
def is_group(address: str) -> bool:
    """Whether an address is of many: multicast, or everyone."""
    return address == _EVERYONE or ip_address(address).is_multicast


def sender(headers: Headers) -> str:
    """The hardware address that a frame comes from; NOBODY where it tells nothing."""
    return NOBODY if headers.src_mac == headers.dst_mac else headers.src_mac


def receiver(headers: Headers) -> str:
    """The hardware address that a frame goes to, in the same way."""
    return NOBODY if headers.src_mac == headers.dst_mac else headers.dst_mac


@dataclass(frozen=True, slots=True)
class Description:
    """What the survey came to. `hosts`: all hardware addresses; `relays`: those of many hosts."""

    networks: tuple[str, ...]
    servers: tuple[DeviceConfig, ...]
    hosts: frozenset[str]
    relays: frozenset[str] = frozenset()
    unlisted: int = 0  # frames of hosts that were too many


def site_of(described: Description) -> Config:
    """A description of the site, where its owner has given none."""
    return Config(
        site="The recording",
        networks=described.networks,
        devices=described.servers,
        admission="automatic",
        devices_at_most=PLACES_AT_MOST,
    )


class Survey:
    """Frames in, then `described`. `networks`: what is inside, where the capture uses it."""

    def __init__(self, networks: Iterable[str]) -> None:
        self._networks = tuple(networks)
        self._parsed = tuple(map(ip_network, self._networks))
        self._listed: dict[str, bool] = {}
        self._held: defaultdict[str, set[str]] = defaultdict(set)  # addresses by hardware address
        self._ways: set[tuple[str, str]] = set()  # hardware addresses, and what was sent to them
        self._roles: defaultdict[str, set[Role]] = defaultdict(set)  # by IP address
        self._places = 0
        self._unlisted = 0

    def see(self, headers: Headers, raw: bytes) -> None:
        """One frame."""
        source, destination = headers.src_ip, headers.dst_ip
        if source is None or destination is None or source in NOWHERE:
            return
        mac, to = sender(headers), receiver(headers)
        if int(mac[:2], 16) & 1:
            return  # a group sends nothing
        if source not in self._held[mac]:
            self._note(mac, source)
        single = not int(to[:2], 16) & 1 and not is_group(destination)
        if single and (to, destination) not in self._ways and self._room():
            self._ways.add((to, destination))
        if headers.protocol == UDP and headers.src_port in (53, 67, 123, 547):
            self._serves(headers, raw, source)

    def _room(self) -> bool:
        if self._places >= PLACES_AT_MOST:
            self._unlisted += 1
            return False
        self._places += 1
        return True

    def _note(self, mac: str, source: str) -> None:
        if self._room():
            self._held[mac].add(source)

    def _serves(self, headers: Headers, raw: bytes, source: str) -> None:
        at = headers.payload_offset
        match headers.src_port:
            case 53 if headers.payload_end - at > 2 and raw[at + 2] & 0x80:  # a response (RFC 1035)
                self._roles[source].add("dns")
            case 67 | 547:
                self._roles[source].add("dhcp")
            case 123 if headers.payload_end > at and raw[at] & 7 == 4:  # a server's (RFC 5905)
                self._roles[source].add("ntp")

    # What came of it

    def described(self) -> Description:
        """The site: a capture without one address of the usual networks is of a site with others."""
        sources = {address for held in self._held.values() for address in held}
        listed = {address for address in sources if self._is_listed(address)}
        inside = listed or {
            address
            for mac, held in self._held.items()
            for address in held
            if mac == NOBODY or not _many(held)
        }
        relays = frozenset(mac for mac, held in self._held.items() if mac != NOBODY and _many(held & inside))
        own = () if listed else sorted(inside)
        hosts: set[str] = set()
        roles: defaultdict[str, set[Role]] = defaultdict(set)
        held_by: defaultdict[str, set[str]] = defaultdict(set)
        for mac, held in self._held.items():
            for address in held:
                name = hardware(mac, address, address in inside, relays)
                hosts.add(name)
                if address in inside:
                    held_by[name].add(address)
                    roles[name] |= self._roles.get(address, set())
                else:
                    roles[name].add("router")
        for mac, address in self._ways:
            within = address in inside or (bool(listed) and self._is_listed(address))
            name = hardware(mac, address, within, relays)
            hosts.add(name)
            if not within:
                roles[name].add("router")
        servers = tuple(_server(name, kinds, held_by[name]) for name, kinds in sorted(roles.items()) if kinds)
        return Description((*self._networks, *own), servers, frozenset(hosts), relays, self._unlisted)

    def _is_listed(self, address: str) -> bool:
        known = self._listed.get(address)
        if known is None:
            ip = ip_address(address)
            known = any(ip in network for network in self._parsed if network.version == ip.version)
            self._listed[address] = known
        return known


def _many(addresses: set[str]) -> bool:
    return any(sum((":" in a) is six for a in addresses) > RELAYED for six in (False, True))


def hardware(mac: str, address: str, inside: bool, relays: frozenset[str]) -> str:
    """The hardware address of the host behind these two.

    Where frames have none, or one that passes on the frames of many hosts, each inside has its own.
    """
    if inside and (mac == NOBODY or mac in relays):
        return hardware_of(address)
    return _WAY_OUT if mac == NOBODY else mac


def _server(mac: str, roles: set[Role], addresses: set[str]) -> DeviceConfig:
    kind = next(called for role, called in _CALLED.items() if role in roles)
    name = f"{kind} {min(addresses, key=lambda a: (':' in a, a))}" if addresses else kind
    return DeviceConfig(
        id=mac.replace(":", "-"), name=name, mac=mac, kind=kind.lower(), roles=tuple(sorted(roles))
    )
