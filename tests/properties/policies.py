"""Random sites as a switch's policy sees them, and frames that nearly fit them.

Few values for everything, so that what must not fit is close to what does.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from controller.flows.compile import (
    DISCOVERY,
    IPV4,
    IPV6,
    Pair,
    Policy,
    SwitchPorts,
)
from controller.flows.flow import Packet
from controller.model.relationship import DeviceId, Endpoint, Treatment
from controller.model.service import Admission, Binding, Device, Place
from controller.verdicts import GROUP

NETWORKS = ("10.0.0.0/8", "fe80::/10", "fd00::/8", "192.0.2.7/32")
INSPECTION, COPY, TRUNK = 8, 9, 7
EDGES = (1, 2, 3, 4)
SWITCHES = (1, 2, 3)
INSIDE = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "fe80::1", "fe80::2", "fd00::1", "fd00::2")
OUTSIDE = ("203.0.113.7", "203.0.113.8", "2001:db8::7")
GROUPS = (
    "255.255.255.255",
    "224.0.0.251",
    "239.255.255.250",
    "224.0.0.9",
    "ff02::fb",
    "ff02::1:2",
    "ff02::9",
)
BROADCAST = "ff:ff:ff:ff:ff:ff"
PORTS = (22, 53, 67, 68, 80, 123, 546, 547, 1900, 5353, 5683, 49152)
ENDPOINTS = (
    *(Endpoint("tcp", port) for port in (22, 53, 80)),
    *(Endpoint("udp", port) for port in (53, 123, 5683, 5683, 5683, 49152)),
    Endpoint("icmp", 0),
)


def mac(number: int) -> str:
    return f"02:00:00:00:00:{number:02x}"


@dataclass
class Site:
    """What all switches of a site share, and where the switches' ports lead."""

    devices: dict[DeviceId, Device] = field(default_factory=dict)
    pairs: dict[Pair, Treatment] = field(default_factory=dict)
    listening: dict[DeviceId, set[int]] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    inspected: bool = True  # switch 1 has an inspection and a copy port
    copied: bool = True
    trunk: bool = True  # switch 1 has a trunk
    networks: tuple[str, ...] = NETWORKS

    @property
    def router(self) -> Device | None:
        return next((d for d in self.devices.values() if "router" in d.roles and d.binding), None)

    def share(self) -> None:
        """Note which addresses outside belong to several vertices."""
        held = [a for d in self.devices.values() if d.place is Place.REMOTE for a in d.addresses]
        self.shared.clear()
        self.shared.update(a for a in held if held.count(a) > 1)

    def attached_to(self, device: Device, switch: int) -> bool:
        if device.place is Place.REMOTE:
            return self.router is not None and self.attached_to(self.router, switch)
        return device.binding is not None and device.binding.switch == switch

    def towards(self, device: Device, switch: int) -> int | None:
        """The port of a switch that leads to a device: its own, or the trunk where there is one."""
        if device.binding is None:
            return None
        if device.binding.switch == switch:
            return device.binding.port
        return TRUNK if self.trunk else None

    def policy(self, switch: int = 1) -> Policy:
        ports = SwitchPorts(
            switch,
            INSPECTION if self.inspected else None,
            COPY if self.copied else None,
            frozenset({TRUNK}) if self.trunk else frozenset(),
            frozenset({*EDGES, TRUNK}) if self.trunk else frozenset(EDGES),
        )
        leads = {d.id: port for d in self.devices.values() if (port := self.towards(d, switch)) is not None}
        return Policy(
            ports=ports,
            devices=self.devices,
            towards=leads,
            attached={d.id for d in self.devices.values() if self.attached_to(d, switch)},
            pairs=self.pairs,
            networks=self.networks,
            router=self.router.id if self.router else None,
            listening=self.listening,
            shared=self.shared,
        )


often_here = st.sampled_from((1, 1, 1, *SWITCHES))
bindings = st.builds(Binding, often_here, st.sampled_from(EDGES))
admissions = st.sampled_from([Admission.ADMITTED] * 6 + [Admission.NEW, Admission.BLOCKED])
roles = st.frozensets(st.sampled_from(["dns", "dhcp", "ntp", "router"]), max_size=2)
treatments = st.sampled_from(Treatment)


@st.composite
def sites(draw: st.DrawFn) -> Site:
    site = Site(
        inspected=draw(st.booleans() | st.just(True)),
        copied=draw(st.booleans() | st.just(True)),
        trunk=draw(st.booleans()),
    )
    group = Device(GROUP, 0, Place.GROUP, "everyone", admission=Admission.ADMITTED)
    site.devices[GROUP] = group
    free = list(INSIDE)
    for number in range(1, draw(st.integers(2, 5)) + 1):
        held = draw(st.frozensets(st.sampled_from(free), min_size=1, max_size=3)) if free else frozenset()
        free = [address for address in free if address not in held]
        device = Device(
            id=DeviceId(f"d{number}"),
            number=number,
            place=Place.SITE,
            name="",
            mac=mac(number),
            addresses=held,
            binding=draw(st.sampled_from([bindings] * 7 + [st.none()]).flatmap(lambda chosen: chosen)),
            admission=draw(admissions),
            roles=draw(st.just(frozenset()) | roles),
        )
        site.devices[device.id] = device
    for number in range(10, 10 + draw(st.integers(0, 3))):
        site.devices[DeviceId(f"@{number}")] = Device(
            id=DeviceId(f"@{number}"),
            number=number,
            place=Place.REMOTE,
            name="",
            addresses=draw(st.frozensets(st.sampled_from(OUTSIDE), max_size=2)),
            admission=Admission.ADMITTED,
        )
    site.share()
    for _ in range(draw(st.integers(2, 10))):
        site.pairs[draw(pairs(site))] = draw(treatments)
    for device in site.devices.values():
        if device.place is Place.SITE and draw(st.booleans()):
            site.listening[device.id] = draw(st.sets(st.sampled_from([5683, 49152]), max_size=2))
    return site


@st.composite
def pairs(draw: st.DrawFn, site: Site) -> Pair:
    clients = [name for name in site.devices if name != GROUP]
    client = draw(st.sampled_from(clients))
    servers = [name for name in clients if name != client]
    server = draw(st.sampled_from([*servers * 3, GROUP]))
    return Pair(client, server, draw(st.sampled_from(ENDPOINTS)))


@st.composite
def packets(draw: st.DrawFn, site: Site) -> Packet:
    """A frame that one of the site's devices might send to another, often with one field bent."""
    kinds = [_talk] * 6 + [_anything] * 2 + [_neighbours, _judged]
    kind = draw(st.sampled_from(kinds if site.pairs else kinds[6:]))
    return draw(_bent(draw(kind(site))))


@st.composite
def _neighbours(draw: st.DrawFn, site: Site) -> Packet:
    """What only neighbour discovery says: that an address is somebody's."""
    senders = [d for d in site.devices.values() if d.mac is not None]
    sender = draw(st.sampled_from([d for d in senders if site.attached_to(d, 1)] or senders))
    packet = draw(_between(site, sender, draw(st.sampled_from(senders))))
    addresses = [address for address in INSIDE if ":" in address]
    source = draw(st.sampled_from([*_of(IPV6, sender.addresses) * 3, "::", *addresses]))
    target = draw(st.sampled_from([*_of(IPV6, sender.addresses) * 3, *addresses]))
    return replace(
        packet, eth_type=IPV6, ip_src=source, ip_dst=draw(st.sampled_from(addresses)), ip_proto=58,
        icmp_type=draw(st.sampled_from([135, 136, 136])), nd_target=target, told_mac=draw(_told(sender.mac)),
    )  # fmt: skip


def _told(mac: str | None) -> st.SearchStrategy[str | None]:
    """The hardware address that a neighbour says to have: its own, as a rule."""
    return st.sampled_from([mac, mac, mac, None, "02:00:00:00:00:77"])


@st.composite
def _judged(draw: st.DrawFn, site: Site) -> Packet:
    """What comes back from inspection, often for everyone."""
    senders = [d for d in site.devices.values() if d.mac is not None]
    sender = draw(st.sampled_from([d for d in senders if site.attached_to(d, 1)] or senders))
    target = draw(st.sampled_from([*site.devices.values(), *[site.devices[GROUP]] * 3]))
    packet = replace(draw(_between(site, sender, target)), in_port=INSPECTION)
    return replace(packet, ip_proto=draw(st.sampled_from([6, 17, 1, 58])))


def _of(eth_type: int, addresses: Iterable[str]) -> list[str]:
    return sorted(address for address in addresses if (":" in address) == (eth_type == IPV6))


@st.composite
def _between(draw: st.DrawFn, site: Site, client: Device, server: Device) -> Packet:
    """IP from one vertex to another, by the hardware addresses that it would have."""
    held = GROUPS if server.place is Place.GROUP else server.addresses
    both = [e for e in (IPV4, IPV6) if _of(e, client.addresses) and _of(e, held)]
    eth_type = draw(st.sampled_from(both or [IPV4, IPV6]))
    router = site.router

    def hardware(end: Device) -> str:
        if end.place is Place.GROUP:
            return BROADCAST
        return end.mac or (router.mac if router is not None and router.mac else mac(9))

    at = router if client.place is Place.REMOTE else client
    port = at.binding.port if at is not None and at.binding is not None else 1
    away = at is not None and at.binding is not None and at.binding.switch != 1
    return Packet(
        in_port=TRUNK if away and draw(st.booleans()) else port,
        eth_src=hardware(client),
        eth_dst=hardware(server),
        eth_type=eth_type,
        ip_src=draw(st.sampled_from(_of(eth_type, client.addresses) or _of(eth_type, INSIDE))),
        ip_dst=draw(st.sampled_from(_of(eth_type, held) or _of(eth_type, INSIDE))),
    )


@st.composite
def _talk(draw: st.DrawFn, site: Site) -> Packet:
    """What belongs to one of the pairs, as request or answer."""
    asking = [(p, False) for p in site.pairs if site.attached_to(site.devices[p.client], 1)]
    answering = [(p, True) for p in site.pairs if site.attached_to(site.devices[p.server], 1)]
    some = asking + answering or [(p, False) for p in site.pairs]
    pair, answers = draw(st.sampled_from(sorted(some, key=str)))
    client, server = site.devices[pair.client], site.devices[pair.server]
    if answers and server.place is not Place.GROUP:
        packet = draw(_between(site, server, client))
    else:
        answers, packet = False, draw(_between(site, client, server))
    v6 = packet.eth_type == IPV6
    port = pair.endpoint.port
    own = draw(st.sampled_from([40000, 5683, 49152, port, port, port]))
    source, destination = (port, own) if answers else (own, port)
    match pair.endpoint.transport:
        case "icmp":
            kind = (129 if answers else 128) if v6 else (0 if answers else 8)
            return replace(packet, ip_proto=58 if v6 else 1, icmp_type=kind, answer=draw(st.booleans()))
        case "tcp":
            flags = draw(st.sampled_from([0x02, 0x10, 0x12, 0x18, 0x04]))
            packet = replace(packet, ip_proto=6, tcp_flags=flags)
        case _:
            packet = replace(
                packet, ip_proto=17, answer=answers and draw(st.sampled_from([True, True, False]))
            )
    return replace(packet, src_port=source, dst_port=destination)


@st.composite
def _anything(draw: st.DrawFn, site: Site) -> Packet:
    """Infrastructure, and what was never asked for."""
    here = [d for d in site.devices.values() if d.mac is not None and site.attached_to(d, 1)]
    sender = draw(st.sampled_from(here or [d for d in site.devices.values() if d.mac is not None]))
    target = draw(st.sampled_from(list(site.devices.values())))
    packet = draw(_between(site, sender, target))
    eth_type = draw(st.sampled_from([packet.eth_type] * 4 + [0x0806, 0x88CC, 0x0801]))
    if eth_type == packet.eth_type:
        if "router" in sender.roles and draw(st.booleans()):
            packet = replace(packet, ip_src=draw(st.sampled_from(_of(eth_type, OUTSIDE))))
        return draw(_transport(packet))
    if eth_type != 0x0806:
        return replace(packet, eth_type=eth_type, ip_src=None, ip_dst=None)
    asked = draw(st.sampled_from(["0.0.0.0", *_of(eth_type, sender.addresses)]))
    told = draw(_told(packet.eth_src))
    return replace(packet, eth_type=eth_type, ip_src=asked, ip_dst="10.0.0.1", told_mac=told)


@st.composite
def _bent(draw: st.DrawFn, packet: Packet) -> Packet:
    addresses = (*INSIDE, *OUTSIDE, *GROUPS, "0.0.0.0", "::")
    match draw(st.sampled_from([""] * 12 + ["port", "src", "ip_src", "dst", "ip_dst", "tagged"])):
        case "port":
            return replace(packet, in_port=draw(st.sampled_from([*EDGES, INSPECTION, COPY, TRUNK])))
        case "src":
            return replace(packet, eth_src=mac(draw(st.integers(1, 9))))
        case "dst":
            return replace(packet, eth_dst=draw(st.sampled_from([BROADCAST, *map(mac, range(1, 10))])))
        case "tagged":
            return replace(packet, tagged=True)
        case "ip_src" if packet.ip_src is not None:
            return replace(packet, ip_src=draw(st.sampled_from(_of(packet.eth_type, addresses))))
        case "ip_dst" if packet.ip_dst is not None:
            return replace(packet, ip_dst=draw(st.sampled_from(_of(packet.eth_type, addresses))))
    return packet


@st.composite
def _transport(draw: st.DrawFn, packet: Packet) -> Packet:
    v6 = packet.eth_type == IPV6
    kind = draw(st.sampled_from(["tcp", "tcp", "udp", "udp", "icmp", "dhcp", "discovery", "igmp", "other"]))
    match kind:
        case "tcp" | "udp":
            client, server = draw(st.sampled_from([40000, *PORTS])), draw(st.sampled_from(PORTS))
            if draw(st.booleans()):
                client, server = server, client
            if draw(st.sampled_from([False, False, True])):
                client = server
            flags = draw(st.sampled_from([0x02, 0x10, 0x12, 0x18, 0x04])) if kind == "tcp" else None
            return replace(
                packet, ip_proto=6 if kind == "tcp" else 17, src_port=client, dst_port=server,
                tcp_flags=flags, answer=draw(st.booleans()),
            )  # fmt: skip
        case "icmp":
            types = [128, 129, 131, 133, 134, 135, 136, 137, 143, 1] if v6 else [0, 3, 5, 8, 9]
            chosen = draw(st.sampled_from(types))
            target = draw(st.sampled_from([a for a in INSIDE if ":" in a])) if chosen in (135, 136) else None
            return replace(
                packet,
                ip_proto=58 if v6 else 1,
                icmp_type=chosen,
                nd_target=target,
                told_mac=draw(_told(packet.eth_src)) if chosen in (135, 136) else None,
                answer=draw(st.booleans()),
            )
        case "dhcp":
            client, server = (546, 547) if v6 else (68, 67)
            group = "ff02::1:2" if v6 else "255.255.255.255"
            if draw(st.booleans()):
                client, server = server, client
            to = draw(st.sampled_from([group, packet.ip_dst]))
            return replace(packet, ip_proto=17, src_port=client, dst_port=server, ip_dst=to)
        case "discovery":
            _, port, group = draw(st.sampled_from([d for d in DISCOVERY if (d[0] == IPV6) == v6]))
            to_all = draw(st.sampled_from([BROADCAST, packet.eth_dst]))
            return replace(packet, ip_proto=17, src_port=port, dst_port=port, ip_dst=group, eth_dst=to_all)
        case "igmp":
            return replace(packet, ip_proto=2)
        case _:
            return replace(packet, ip_proto=47)
