"""The compiler: from what the site allows to the flows of one switch.

Each function compiles one origin (a binding, a device, a role, a pair), named by the string that its
cookies are made of, so that a change of the model compiles and touches its own flows only. Knows
nothing of OpenFlow messages, of requests or of time.
"""

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from functools import partial
from ipaddress import ip_network
from typing import assert_never

from controller.flows.flow import (
    CONTROLLER_PORT,
    DESTINATION_REGISTER,
    GROUP_NUMBER,
    NO_MAC,
    SOURCE_REGISTER,
    Action,
    Commit,
    Flow,
    Goto,
    Match,
    Output,
    Priority,
    SetRegister,
    Table,
    Track,
    cookie_of,
)
from controller.model.relationship import DeviceId, Endpoint, Treatment
from controller.model.service import Admission, Device, Place

IPV4, ARP, IPV6, LLDP = 0x0800, 0x0806, 0x86DD, 0x88CC
ICMP, IGMP, TCP, UDP, ICMPV6 = 1, 2, 6, 17, 58
ACK, NO_ACK = (0x10, 0x10), (0x00, 0x10)
ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT, NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT, REDIRECT = range(
    133, 138
)
MLD = (131, 132, 143)

# Discovery on the site: (family, protocol's port, group address). Templated, not learnt (RFC 6762,
# RFC 4795, UPnP Device Architecture 2.0 section 1).
DISCOVERY = (
    (IPV4, 5353, "224.0.0.251"),
    (IPV6, 5353, "ff02::fb"),
    (IPV4, 5355, "224.0.0.252"),
    (IPV6, 5355, "ff02::1:3"),
    (IPV4, 1900, "239.255.255.250"),
    (IPV6, 1900, "ff02::c"),
)
# Role: the port that its server is asked at, by family, and the protocols.
SERVER_ROLES = {
    "dns": ({IPV4: 53, IPV6: 53}, (TCP, UDP)),
    "ntp": ({IPV4: 123, IPV6: 123}, (UDP,)),
    "dhcp": ({IPV4: 67, IPV6: 547}, (UDP,)),
}
LEASES = {IPV4: (68, 67), IPV6: (546, 547)}  # ports of DHCP client and server (RFC 2131, RFC 8415)
GROUPS = ((IPV4, "224.0.0.0/4"), (IPV4, "255.255.255.255"), (IPV6, "ff00::/8"))
ICMP_REDIRECT, ICMP_ROUTER_ADVERTISEMENT = 5, 9  # RFC 792, RFC 1256

FLOOD_OVER = 10  # seconds of quiet after which a device that flooded is listened to again
FLOOD_AT_MOST = 300  # seconds; then it is looked at whether it still does
SILENCE = 2  # seconds; short, since a device may have a good reason to be elsewhere a moment later

FORWARD = Goto(Table.FORWARDING)


@dataclass(frozen=True, slots=True)
class SwitchPorts:
    """The ports of one switch by what they are for; `flood`: where broadcasts go out."""

    switch: int
    inspection: int | None = None
    copy: int | None = None
    trunks: frozenset[int] = frozenset()
    flood: frozenset[int] = frozenset()

    @property
    def inspect(self) -> tuple[Action, ...]:
        """What happens to a frame that must be judged; without an inspection port it is dropped."""
        return () if self.inspection is None else (Output(self.inspection),)

    @property
    def mirror(self) -> tuple[Action, ...]:
        """A copy for the inspector, as far as there is a copy port."""
        return () if self.copy is None else (Output(self.copy),)


@dataclass(frozen=True, slots=True, order=True)
class Pair:
    """A client device, a server device, and where the server listens."""

    client: DeviceId
    server: DeviceId
    endpoint: Endpoint

    @property
    def origin(self) -> str:
        return f"pair {self.client} {self.server} {self.endpoint}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What one switch has to carry out.

    `towards`: the port of this switch that leads to a device, for devices that can be reached.
    `attached`: the devices whose frames enter here; what is outside enters where `router` does.
    `networks`: the addresses inside, as CIDR. `listening`: the UDP ports that services of a device
    were seen to listen at. `shared`: addresses outside that have several names, so that they tell
    nobody. The mappings may be live ones of the owner.
    """

    ports: SwitchPorts
    devices: Mapping[DeviceId, Device]
    towards: Mapping[DeviceId, int]
    attached: AbstractSet[DeviceId]
    pairs: Mapping[Pair, Treatment]
    networks: tuple[str, ...] = ()
    router: DeviceId | None = None
    listening: Mapping[DeviceId, AbstractSet[int]] = field(default_factory=dict)
    shared: AbstractSet[str] = frozenset()


def compile_flows(policy: Policy) -> dict[str, tuple[Flow, ...]]:
    """All flows of a switch by origin. Linear in devices, addresses and pairs."""
    flows = {"switch": compile_switch(policy.ports)}
    for device in policy.devices.values():
        flows[f"device {device.id}"] = compile_device(policy, device)
        if device.place is Place.SITE:
            flows[f"binding {device.id}"] = compile_binding(policy, device)
            flows[f"role {device.id}"] = compile_role(policy, device)
    for pair, chosen in policy.pairs.items():
        flows[pair.origin] = compile_pair(policy, pair, chosen)
    return flows


def _named(origin: str, flows: Iterable[Flow]) -> tuple[Flow, ...]:
    cookie = cookie_of(origin)  # not by replace(), which takes longer than all else
    return tuple(Flow(flow.table, flow.priority, flow.match, flow.actions, cookie) for flow in flows)


def _flow(table: Table, priority: int, match: Match, *actions: Action) -> Flow:
    return Flow(table, priority, match, actions, 0)


def family(address: str) -> int:
    return IPV6 if ":" in address else IPV4


# ------------------------------------------------------------------ the switch itself


def compile_switch(ports: SwitchPorts) -> tuple[Flow, ...]:
    """Defaults of the five tables, trunks, the way back from inspection, and the guards."""
    return _named("switch", _switch(ports))


def _switch(ports: SwitchPorts) -> Iterator[Flow]:
    admission, verdict = Table.ADMISSION, Table.VERDICT
    to_controller = Output(CONTROLLER_PORT)
    yield _flow(admission, Priority.DEFAULT, Match())
    for eth_type in (ARP, IPV4, IPV6):  # an unknown source: the controller learns where it is
        yield _flow(admission, Priority.CLASS, Match(eth_type=eth_type, vlan=False), to_controller)
    yield _flow(admission, Priority.GUARD, Match(eth_type=LLDP), to_controller)
    judged = [] if ports.inspection is None else [ports.inspection]
    for port in (*judged, *sorted(ports.trunks)):
        yield _flow(admission, Priority.CONNECTION, Match(in_port=port), FORWARD)
        for eth_type, protocol in ((IPV4, UDP), (IPV6, UDP), (IPV4, ICMP), (IPV6, ICMPV6)):
            match = Match(in_port=port, eth_type=eth_type, ip_proto=protocol)
            yield _flow(admission, Priority.CONNECTION + 1, match, Commit(), FORWARD)
        yield _flow(admission, Priority.CONNECTION + 2, Match(in_port=port, eth_type=LLDP), to_controller)
    if ports.copy is not None:
        yield _flow(admission, Priority.QUARANTINE, Match(in_port=ports.copy))
    # Who may be a DHCP server or a router is a role, never learnt. Many DHCP clients look at the
    # port that an answer comes to only, not at the one that it comes from.
    for eth_type, (asking, _) in LEASES.items():
        yield _flow(admission, Priority.GUARD, Match(eth_type=eth_type, ip_proto=UDP, dst_port=asking))
    for icmp_type in (ROUTER_ADVERTISEMENT, REDIRECT):
        yield _flow(admission, Priority.GUARD, Match(eth_type=IPV6, ip_proto=ICMPV6, icmp_type=icmp_type))
    for icmp_type in (ICMP_REDIRECT, ICMP_ROUTER_ADVERTISEMENT):
        yield _flow(admission, Priority.GUARD, Match(eth_type=IPV4, ip_proto=ICMP, icmp_type=icmp_type))

    yield _flow(Table.SOURCE, Priority.DEFAULT, Match(), Goto(Table.DESTINATION))
    yield _flow(Table.DESTINATION, Priority.DEFAULT, Match(), Goto(verdict))
    # A frame to everyone whose packet is for one device is no group traffic: the inspector sees to it.
    group = SetRegister(DESTINATION_REGISTER, GROUP_NUMBER)
    for eth_type, everyone in GROUPS:
        match = Match(eth_dst_group=True, eth_type=eth_type, ip_dst=everyone)
        yield _flow(Table.DESTINATION, Priority.CLASS, match, group, Goto(verdict))

    yield _flow(verdict, Priority.DEFAULT, Match(), *ports.inspect)
    for eth_type, port, address in DISCOVERY:
        match = Match(
            eth_type=eth_type, ip_proto=UDP, ip_dst=address, dst_port=port, destination=GROUP_NUMBER
        )
        yield _flow(verdict, Priority.TEMPLATE, match, *ports.mirror, FORWARD)
    yield _flow(
        verdict, Priority.TEMPLATE, Match(eth_type=IPV4, ip_proto=IGMP, destination=GROUP_NUMBER), FORWARD
    )

    yield _flow(Table.FORWARDING, Priority.DEFAULT, Match())
    everywhere = tuple(Output(port) for port in sorted(ports.flood))
    yield _flow(Table.FORWARDING, Priority.CLASS, Match(eth_dst_group=True), *everywhere)


# ------------------------------------------------------------------ devices


def compile_binding(policy: Policy, device: Device) -> tuple[Flow, ...]:
    """What a device may send: frames from its own port, MAC address and addresses only."""
    if device.id not in policy.attached or device.mac is None or device.binding is None:
        return ()
    return _named(f"binding {device.id}", _binding(policy, device))


def _binding(policy: Policy, device: Device) -> Iterator[Flow]:
    assert device.binding is not None
    admission, ports = Table.ADMISSION, policy.ports
    mine = Match(in_port=device.binding.port, vlan=False, eth_src=device.mac)
    if device.admission is Admission.BLOCKED:
        yield _flow(admission, Priority.QUARANTINE, Match(eth_src=device.mac))
        return
    if device.admission is Admission.NEW:  # waits for the site manager; only its name is of interest
        yield _flow(admission, Priority.HOST, mine)
        asks = replace(mine, eth_type=IPV4, ip_proto=UDP, src_port=68, dst_port=67)
        yield _flow(admission, Priority.TEMPLATE, asks, Output(CONTROLLER_PORT))
        yield _flow(admission, Priority.TEMPLATE, replace(mine, eth_type=ARP), Output(CONTROLLER_PORT))
        return

    for eth_type, everyone in ((IPV4, "255.255.255.255"), (IPV6, "ff02::1:2")):
        source, destination = LEASES[eth_type]
        match = replace(mine, eth_type=eth_type, ip_proto=UDP, src_port=source, dst_port=destination,
                        ip_dst=everyone)  # fmt: skip
        yield _flow(admission, Priority.TEMPLATE, match, *ports.mirror, FORWARD)
    # Whoever tells where it is tells where it is itself, in ARP and in neighbour discovery alike.
    here = replace(mine, eth_type=ARP, told_mac=device.mac)
    probe = replace(here, ip_src="0.0.0.0")  # noqa: S104  # who asks so has no address yet
    yield _flow(admission, Priority.TEMPLATE, probe, FORWARD)
    unnamed = replace(mine, eth_type=IPV6, ip_src="::", ip_proto=ICMPV6)
    unnamed_asks = replace(unnamed, icmp_type=NEIGHBOUR_SOLICITATION, told_mac=NO_MAC)  # RFC 4861, 4.3
    yield _flow(admission, Priority.TEMPLATE, unnamed_asks, FORWARD)
    for icmp_type in (ROUTER_SOLICITATION, *MLD):
        yield _flow(admission, Priority.TEMPLATE, replace(unnamed, icmp_type=icmp_type), FORWARD)
    number = SetRegister(SOURCE_REGISTER, device.number)
    for address in sorted(device.addresses):
        eth_type = family(address)
        sent = replace(mine, eth_type=eth_type, ip_src=address)
        yield _flow(admission, Priority.HOST, sent, Goto(Table.SOURCE))
        yield _flow(Table.SOURCE, Priority.HOST, Match(eth_src=device.mac, eth_type=eth_type, ip_src=address),
                    number, Goto(Table.DESTINATION))  # fmt: skip
        if eth_type == IPV4:
            yield _flow(admission, Priority.TEMPLATE, replace(here, ip_src=address), FORWARD)
            continue
        for icmp_type in (ROUTER_SOLICITATION, *MLD):
            match = replace(sent, ip_proto=ICMPV6, icmp_type=icmp_type)
            yield _flow(admission, Priority.TEMPLATE, match, FORWARD)
        # It speaks for its own addresses, and for no other (RFC 4861, section 7.2.4).
        told = replace(mine, eth_type=IPV6, ip_proto=ICMPV6, icmp_type=NEIGHBOUR_ADVERTISEMENT)
        asked = replace(sent, ip_proto=ICMPV6, icmp_type=NEIGHBOUR_SOLICITATION)
        for told_mac in (device.mac, NO_MAC):
            yield _flow(admission, Priority.TEMPLATE, replace(asked, told_mac=told_mac), FORWARD)
            match = replace(told, nd_target=address, told_mac=told_mac)
            yield _flow(admission, Priority.TEMPLATE, match, FORWARD)
        yield _flow(admission, Priority.PAIR, replace(told, ip_src=address))
    if ports.inspection is not None and device.binding.port in ports.flood:
        # What comes back from inspection for everyone is not for its sender.
        match = Match(in_port=ports.inspection, eth_src=device.mac, eth_dst_group=True)
        others = sorted(ports.flood - {device.binding.port})
        yield _flow(Table.FORWARDING, Priority.HOST, match, *(Output(port) for port in others))
    if "router" in device.roles:
        for network in dict.fromkeys(policy.networks):  # addresses from outside, never from inside
            eth_type = IPV6 if ip_network(network).version == 6 else IPV4
            inside = replace(mine, eth_type=eth_type, ip_src=_matched(network))
            yield _flow(admission, Priority.HOST - 10, inside, Output(CONTROLLER_PORT))
        for eth_type in (IPV4, IPV6):
            yield _flow(admission, Priority.HOST - 20, replace(mine, eth_type=eth_type), Goto(Table.SOURCE))


def _matched(network: str) -> str | None:
    """A network as a match says it: one address without a mask, everything as nothing."""
    parsed = ip_network(network)
    if parsed.prefixlen == parsed.max_prefixlen:
        return str(parsed.network_address)
    return network if parsed.prefixlen else None


def compile_device(policy: Policy, device: Device) -> tuple[Flow, ...]:
    """How a device is recognised as a destination, and where it is."""
    return _named(f"device {device.id}", _device(policy, device))


def _device(policy: Policy, device: Device) -> Iterator[Flow]:
    if device.admission is not Admission.ADMITTED or device.place is Place.GROUP:
        return
    meant = SetRegister(DESTINATION_REGISTER, device.number)
    mac = device.mac
    addresses = sorted(device.addresses)
    if device.place is Place.REMOTE:
        addresses = sorted(device.addresses - policy.shared)
        router = policy.devices.get(policy.router) if policy.router else None
        if router is None or router.mac is None:
            return
        mac = router.mac
        if router.id in policy.attached:
            number = SetRegister(SOURCE_REGISTER, device.number)
            for address in addresses:
                match = Match(eth_src=mac, eth_type=family(address), ip_src=address)
                yield _flow(Table.SOURCE, Priority.HOST, match, number, Goto(Table.DESTINATION))
    for address in addresses:
        match = Match(eth_dst=mac, eth_type=family(address), ip_dst=address)
        yield _flow(Table.DESTINATION, Priority.HOST, match, meant, Goto(Table.VERDICT))
    if device.place is not Place.SITE:
        return
    if "router" not in device.roles:  # a packet for one device in a frame for another would be misjudged
        yield _flow(Table.DESTINATION, Priority.HOST - 10, Match(eth_dst=mac))
    for eth_type in sorted({family(address) for address in addresses}):
        for listening in sorted(policy.listening.get(device.id, ())):
            match = Match(eth_type=eth_type, ip_proto=UDP, destination=device.number, dst_port=listening)
            yield _flow(Table.VERDICT, Priority.LISTENING, match, *policy.ports.inspect)
    port = policy.towards.get(device.id)
    if port is not None:
        yield _flow(Table.FORWARDING, Priority.HOST, Match(eth_dst=mac), Output(port))


def compile_role(policy: Policy, device: Device) -> tuple[Flow, ...]:
    """What an infrastructure server may do beyond others, and how it is reached by all."""
    if not device.roles or device.admission is not Admission.ADMITTED:
        return ()
    return _named(f"role {device.id}", _role(policy, device))


def _role(policy: Policy, device: Device) -> Iterator[Flow]:
    mirror = policy.ports.mirror
    if device.id in policy.attached and device.binding is not None:
        mine = Match(in_port=device.binding.port, vlan=False, eth_src=device.mac)
        above = Priority.GUARD + 10
        if "dhcp" in device.roles:
            for address in sorted(device.addresses):
                eth_type = family(address)
                destination, source = LEASES[eth_type]
                match = replace(mine, eth_type=eth_type, ip_src=address, ip_proto=UDP,
                                src_port=source, dst_port=destination)  # fmt: skip
                yield _flow(Table.ADMISSION, above, match, *mirror, FORWARD)
        if "router" in device.roles:
            for address in sorted(a for a in device.addresses if family(a) == IPV6):
                for icmp_type in (ROUTER_ADVERTISEMENT, REDIRECT):
                    match = replace(mine, eth_type=IPV6, ip_src=address, ip_proto=ICMPV6, icmp_type=icmp_type)
                    yield _flow(Table.ADMISSION, above, match, FORWARD)
    for role, (by_family, protocols) in SERVER_ROLES.items():
        if role not in device.roles:
            continue
        for eth_type in sorted({family(address) for address in device.addresses}):
            port = by_family[eth_type]
            for protocol in protocols:
                infrastructure = partial(Match, eth_type=eth_type, ip_proto=protocol)
                asked = infrastructure(destination=device.number, dst_port=port)
                told = partial(infrastructure, source=device.number, src_port=port)
                seen = (*mirror, FORWARD)
                yield from _conversation(asked, told, seen, seen, Priority.TEMPLATE)


# ------------------------------------------------------------------ pairs


def _conversation(
    asked: Match,
    told: "partial[Match]",
    request: tuple[Action, ...],
    answer: tuple[Action, ...],
    priority: int,
) -> Iterator[Flow]:
    """A request flow, and below it answers to what was asked only: by ACK for TCP, else by conntrack."""
    verdict, below = Table.VERDICT, priority - 10
    if asked.ip_proto == TCP:
        yield _flow(verdict, priority, asked, *request)
        yield _flow(verdict, below, told(tcp_flags=ACK), *answer)
        # Else a server could ask from the port that it answers from: an inspected handshake, and the
        # rest of it would pass as answers.
        yield _flow(verdict, below, told(tcp_flags=NO_ACK))
        return
    commit = (Commit(),) if FORWARD in request else ()
    yield _flow(verdict, priority, asked, *commit, *request)
    yield _flow(verdict, below, told(tracked=False), Track(verdict))
    yield _flow(verdict, below, told(tracked=True), *answer)


def compile_pair(policy: Policy, pair: Pair, chosen: Treatment) -> tuple[Flow, ...]:
    """One treatment: the client's requests, and the server's answers, IPv4 and IPv6."""
    client, server = policy.devices.get(pair.client), policy.devices.get(pair.server)
    if client is None or server is None or client.place is Place.GROUP:  # a group asks for nothing
        return ()
    if pair.client not in policy.attached and pair.server not in policy.attached:
        return ()
    return _named(pair.origin, _pair(policy, client, server, pair.endpoint, chosen))


def _pair(
    policy: Policy, client: Device, server: Device, endpoint: Endpoint, chosen: Treatment
) -> Iterator[Flow]:
    ports = policy.ports
    match chosen:
        case Treatment.DROP:
            request: tuple[Action, ...] = ()
        case Treatment.INSPECT:
            request = ports.inspect
        case Treatment.WATCH:
            request = (*ports.mirror, FORWARD)
        case Treatment.FORWARD:
            request = (FORWARD,)
        case _:
            assert_never(chosen)
    group = server.place is Place.GROUP
    both = {family(a) for a in client.addresses}
    if not group:
        both &= {family(a) for a in server.addresses}
    for eth_type in sorted(both):
        number = GROUP_NUMBER if group else server.number
        forth = partial(Match, eth_type=eth_type, source=client.number, destination=number)
        back = partial(Match, eth_type=eth_type, source=server.number, destination=client.number)
        if endpoint.transport == "icmp":
            echo, reply = (8, 0) if eth_type == IPV4 else (128, 129)
            protocol = ICMP if eth_type == IPV4 else ICMPV6
            asked = forth(ip_proto=protocol, icmp_type=echo)
            told = partial(back, ip_proto=protocol, icmp_type=reply)
        else:
            protocol = TCP if endpoint.transport == "tcp" else UDP
            asked = forth(ip_proto=protocol, dst_port=endpoint.port)
            told = partial(back, ip_proto=protocol, src_port=endpoint.port)
        if chosen is Treatment.DROP or group:
            yield _flow(Table.VERDICT, Priority.PAIR, asked, *request)
            continue
        yield from _conversation(asked, told, request, (FORWARD,), Priority.PAIR)
        if endpoint.transport == "udp":
            yield from _between_equals(ports, asked, told, chosen)


def _between_equals(
    ports: SwitchPorts, asked: Match, told: "partial[Match]", chosen: Treatment
) -> Iterator[Flow]:
    """Where both ends use the server's port, only what they say tells answers from requests.

    So they are read; and so that answers are recognised, what is asked is copied.
    """
    port = asked.dst_port
    if chosen is Treatment.FORWARD:
        if ports.inspection is None or ports.copy is None:
            return
        asked = replace(asked, src_port=port)
        yield _flow(Table.VERDICT, Priority.PAIR + 1, asked, Commit(), *ports.mirror, FORWARD)
    yield _flow(Table.VERDICT, Priority.LISTENING, told(dst_port=port), *ports.inspect)


# ------------------------------------------------------------------ one connection, for a short time


def compile_connection(
    client: Device,
    server: Device,
    addresses: tuple[str, str],
    ports: tuple[int, int],
    idle: int,
    at_most: int,
) -> Flow:
    """The rest of one TCP connection at line rate (client to server; answers have their flow).

    It cannot tell a later connection between the same ends from this one, so it lasts `at_most` seconds.
    """
    match = Match(
        eth_type=family(addresses[0]),
        ip_proto=TCP,
        source=client.number,
        destination=server.number,
        ip_src=addresses[0],
        ip_dst=addresses[1],
        src_port=ports[0],
        dst_port=ports[1],
        tcp_flags=ACK,
    )
    origin = f"connection {addresses[0]} {ports[0]} {addresses[1]} {ports[1]}"
    return Flow(
        Table.VERDICT, Priority.CONNECTION, match, (FORWARD,), cookie_of(origin),
        idle_timeout=min(idle, at_most), hard_timeout=at_most,
    )  # fmt: skip


def compile_silence(port: int, mac: str | None, waits: bool) -> Flow:
    """Frames from there are not told to the controller for a while; what is admitted goes on.

    `mac` None: of nobody new at this port. `waits`: the device is known and waits to be admitted.
    """
    priority = Priority.TEMPLATE + 50 if waits else Priority.CLASS + 50
    match = Match(in_port=port, eth_src=mac)
    return Flow(
        Table.ADMISSION, priority, match, (), cookie_of(f"silence {port} {mac}"), hard_timeout=SILENCE
    )


def compile_refusal(
    client: Device,
    server: Device,
    endpoint: Endpoint,
    eth_type: int,
    seconds: int,
    instead: tuple[Action, ...] = (),
) -> Flow | None:
    """Repeats of what was denied are dropped in the switch for a while; or `instead` is done with them."""
    if endpoint.transport not in ("tcp", "udp"):
        return None
    destination = GROUP_NUMBER if server.place is Place.GROUP else server.number
    match = Match(
        eth_type=eth_type,
        ip_proto=TCP if endpoint.transport == "tcp" else UDP,
        source=client.number,
        destination=destination,
        dst_port=endpoint.port,
    )
    cookie = cookie_of(f"refusal {client.id} {server.id} {endpoint}")
    return Flow(Table.VERDICT, Priority.CONNECTION - 10, match, instead, cookie, hard_timeout=seconds)


def compile_flood(client: Device) -> Flow:
    """All that a device asks and that no pair of it has a treatment for is dropped until it is quiet.

    It would else be read again now and then, and others would wait behind it each time.
    """
    match = Match(source=client.number)
    cookie = cookie_of(f"flood {client.id}")
    return Flow(
        Table.VERDICT, Priority.FLOOD, match, (), cookie, idle_timeout=FLOOD_OVER, hard_timeout=FLOOD_AT_MOST
    )
