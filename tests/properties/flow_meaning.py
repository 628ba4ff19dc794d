"""What a switch should do with a frame, said once more and without any flow: law 1 holds the two together.

Follows DESIGN section 3 rule by rule; nothing is shared with the compiler but the model's values.
"""

from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from controller.flows.compile import Pair
from controller.flows.flow import CONTROLLER_PORT, Packet
from controller.model.relationship import Endpoint, Treatment
from controller.model.service import Admission, Device, Place
from tests.properties.policies import COPY, EDGES, INSPECTION, TRUNK, Site

ARP, IPV4, IPV6, LLDP = 0x0806, 0x0800, 0x86DD, 0x88CC
GROUP_ADDRESSES = ("224.0.0.0/4", "255.255.255.255/32", "ff00::/8")
DISCOVERED = {
    (17, 5353, "224.0.0.251"), (17, 5353, "ff02::fb"), (17, 5355, "224.0.0.252"), (17, 5355, "ff02::1:3"),
    (17, 1900, "239.255.255.250"), (17, 1900, "ff02::c"),
}  # fmt: skip
NOTHING: tuple[int, ...] = ()
CONTROLLER = (CONTROLLER_PORT,)


def within(address: str | None, networks: tuple[str, ...]) -> bool:
    return address is not None and any(
        ip_address(address) in ip_network(n) for n in networks if (":" in n) == (":" in address)
    )


def is_group(mac: str) -> bool:
    return bool(int(mac[:2], 16) & 1)


@dataclass
class Meaning:
    """What switch 1 of a site does."""

    site: Site

    def of(self, packet: Packet) -> tuple[int, ...]:
        """The ports that a frame leaves by, sorted."""
        return tuple(sorted(port for port in self._of(packet) if port != packet.in_port))

    def remembers(self, packet: Packet, fate: tuple[int, ...]) -> bool | None:
        """Whether a request that passes is remembered, so that its answers are known; None: either may be."""
        passes = bool(set(fate) & {*EDGES, TRUNK})
        stateless = packet.ip_proto not in (17, 58 if packet.eth_type == IPV6 else 1)
        if not passes or stateless or packet.eth_type not in (IPV4, IPV6):
            return None if not passes else False
        if packet.in_port in (INSPECTION, TRUNK):
            return True
        lease = (packet.src_port, packet.dst_port) in ((68, 67), (67, 68), (546, 547), (547, 546))
        if packet.answer or lease or is_group(packet.eth_dst) or (packet.icmp_type or 0) >= 130:
            return None
        return True

    def _of(self, packet: Packet) -> tuple[int, ...]:
        site = self.site
        sender = next((d for d in site.devices.values() if d.mac == packet.eth_src), None)
        here = sender is not None and site.attached_to(sender, 1)
        if site.copied and packet.in_port == COPY:
            return NOTHING
        if sender is not None and here and sender.admission is Admission.BLOCKED:
            return NOTHING
        judged = site.inspected and packet.in_port == INSPECTION
        if judged or (site.trunk and packet.in_port == TRUNK):
            if packet.eth_type == LLDP:
                return CONTROLLER
            return self._forward(packet, sender if judged and here else None)
        if packet.eth_type == LLDP:
            return CONTROLLER
        if packet.tagged:
            return NOTHING
        bound = sender if here and sender and self._port(sender) == packet.in_port else None
        return self._admit(packet, bound)

    @staticmethod
    def _port(device: Device) -> int:
        assert device.binding is not None
        return device.binding.port

    def _forward(self, packet: Packet, sender: Device | None = None) -> tuple[int, ...]:
        site = self.site
        if is_group(packet.eth_dst):
            everywhere = {*EDGES, TRUNK} if site.trunk else set(EDGES)
            if sender is not None and sender.admission is Admission.ADMITTED:
                everywhere.discard(self._port(sender))
            return tuple(everywhere)
        target = next((d for d in site.devices.values() if d.mac == packet.eth_dst), None)
        if target is None or target.admission is not Admission.ADMITTED:
            return NOTHING
        port = site.towards(target, 1)
        return NOTHING if port is None else (port,)

    @property
    def _inspect(self) -> tuple[int, ...]:
        return (INSPECTION,) if self.site.inspected else NOTHING

    def _copied(self, packet: Packet) -> tuple[int, ...]:
        """Forwarded, and seen by the inspector."""
        return ((COPY,) if self.site.copied else NOTHING) + self._forward(packet)

    # Who may send

    def _admit(self, packet: Packet, bound: Device | None) -> tuple[int, ...]:
        own = bound.addresses if bound is not None else frozenset()
        admitted = bound is not None and bound.admission is Admission.ADMITTED
        v6, udp = packet.eth_type == IPV6, packet.ip_proto == 17
        if udp and packet.dst_port == (546 if v6 else 68):  # an answer of a DHCP server
            right = packet.src_port == (547 if v6 else 67) and packet.ip_src in own
            return self._copied(packet) if admitted and bound and "dhcp" in bound.roles and right else NOTHING
        if v6 and packet.ip_proto == 58 and packet.icmp_type in (134, 137):  # router advertisement, redirect
            right = admitted and bound is not None and "router" in bound.roles and packet.ip_src in own
            return self._forward(packet) if right else NOTHING
        if packet.eth_type == IPV4 and packet.ip_proto == 1 and packet.icmp_type in (5, 9):
            return NOTHING
        known = packet.eth_type in (ARP, IPV4, IPV6)
        if bound is None:
            return CONTROLLER if known else NOTHING
        if bound.admission is Admission.NEW:
            asks = packet.eth_type == IPV4 and udp and (packet.src_port, packet.dst_port) == (68, 67)
            return CONTROLLER if asks or packet.eth_type == ARP else NOTHING
        if not known:
            return NOTHING
        return self._admitted(packet, bound)

    def _admitted(self, packet: Packet, bound: Device) -> tuple[int, ...]:
        v6 = packet.eth_type == IPV6
        lease = (546, 547, "ff02::1:2") if v6 else (68, 67, "255.255.255.255")
        if packet.ip_proto == 17 and (packet.src_port, packet.dst_port, packet.ip_dst) == lease:
            return self._copied(packet)
        own = packet.ip_src in bound.addresses
        if packet.eth_type == ARP:
            named = (own or packet.ip_src == "0.0.0.0") and packet.told_mac == bound.mac
            return self._forward(packet) if named else CONTROLLER
        if v6 and packet.ip_proto == 58:
            if packet.icmp_type in (131, 132, 133, 143) and (own or packet.ip_src == "::"):
                return self._forward(packet)
            if packet.icmp_type == 135 and packet.ip_src == "::" and packet.told_mac is None:
                return self._forward(packet)
            honest = packet.told_mac in (bound.mac, None)
            if packet.icmp_type == 135 and own and honest:
                return self._forward(packet)
            if packet.icmp_type == 136 and packet.nd_target in bound.addresses and honest:
                return self._forward(packet)
            if packet.icmp_type == 136 and own:
                return NOTHING
        if own:
            return self._judge(packet, bound)
        if "router" in bound.roles and not within(packet.ip_src, self.site.networks):
            return self._judge(packet, self._outside(packet.ip_src) if bound is self.site.router else None)
        return CONTROLLER

    def _outside(self, address: str | None) -> Device | None:
        """The one vertex outside that has an address."""
        remotes = (d for d in self.site.devices.values() if d.place is Place.REMOTE)
        holders = [d for d in remotes if address in d.addresses]
        return holders[0] if len(holders) == 1 else None

    # Who may talk to whom

    def _judge(self, packet: Packet, client: Device | None) -> tuple[int, ...]:
        site = self.site
        server: Device | None = None
        if is_group(packet.eth_dst):
            if within(packet.ip_dst, GROUP_ADDRESSES):
                server = next(d for d in site.devices.values() if d.place is Place.GROUP)
        else:
            target = next((d for d in site.devices.values() if d.mac == packet.eth_dst), None)
            if target is not None and target.admission is Admission.ADMITTED:
                if packet.ip_dst in target.addresses:
                    server = target
                elif "router" not in target.roles:
                    return NOTHING
            if server is None and site.router is not None and packet.eth_dst == site.router.mac:
                server = self._outside(packet.ip_dst)
        template = self._template(packet, client, server)
        if template is not None:
            return template
        return self._pair(packet, client, server)

    def _template(
        self, packet: Packet, client: Device | None, server: Device | None
    ) -> tuple[int, ...] | None:
        """Infrastructure, which is not learnt."""
        ports = {"dns": 53, "ntp": 123, "dhcp": 547 if packet.eth_type == IPV6 else 67}
        if server is not None and server.place is Place.GROUP:
            if (packet.ip_proto, packet.dst_port, packet.ip_dst) in DISCOVERED:
                return self._copied(packet)
            if packet.eth_type == IPV4 and packet.ip_proto == 2:
                return self._forward(packet)
        served = [(r, p) for r, p in ports.items() if packet.ip_proto in ((6, 17) if r == "dns" else (17,))]
        if server is not None and any(r in server.roles and packet.dst_port == p for r, p in served):
            return self._copied(packet)
        if client is not None and any(r in client.roles and packet.src_port == p for r, p in served):
            if packet.ip_proto == 6:
                return self._copied(packet) if (packet.tcp_flags or 0) & 0x10 else NOTHING
            if packet.answer:
                return self._copied(packet)
        return None

    def _pair(self, packet: Packet, client: Device | None, server: Device | None) -> tuple[int, ...]:
        site, transport = self.site, {6: "tcp", 17: "udp"}.get(packet.ip_proto or 0, "")
        if client is None or server is None:
            return self._inspect
        v6 = packet.eth_type == IPV6
        asks = server_port = None
        if transport:
            asks, server_port = (
                Endpoint(transport, packet.dst_port or 0),
                Endpoint(transport, packet.src_port or 0),
            )
        elif packet.ip_proto == (58 if v6 else 1):
            asks = Endpoint("icmp", 0) if packet.icmp_type == (128 if v6 else 8) else None
            server_port = Endpoint("icmp", 0) if packet.icmp_type == (129 if v6 else 0) else None
        chosen = site.pairs.get(Pair(client.id, server.id, asks)) if asks else None
        equals = transport == "udp" and packet.src_port == packet.dst_port and server.place is not Place.GROUP
        match chosen:
            case Treatment.FORWARD if equals and site.inspected:
                return self._copied(packet)
            case Treatment.FORWARD:
                return self._forward(packet)
            case Treatment.WATCH:
                return self._copied(packet)
            case Treatment.INSPECT:
                return self._inspect
            case Treatment.DROP:
                return NOTHING
        back = site.pairs.get(Pair(server.id, client.id, server_port)) if server_port else None
        if server.place is Place.GROUP or back in (None, Treatment.DROP):
            back = None
        if transport == "udp":
            told_apart = back is not Treatment.FORWARD or (site.inspected and site.copied)
            if back is not None and packet.src_port == packet.dst_port and told_apart:
                return self._inspect
            if server.place is Place.SITE and packet.dst_port in site.listening.get(server.id, ()):
                return self._inspect
        if back is None:
            return self._inspect
        if transport == "tcp":
            return self._forward(packet) if (packet.tcp_flags or 0) & 0x10 else NOTHING
        return self._forward(packet) if packet.answer else self._inspect
