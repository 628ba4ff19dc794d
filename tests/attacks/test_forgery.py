"""A device that says that it is another one is heard by nobody."""

import contextlib

import pytest
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.dns import DNS, DNSQR, DNSRR, DNSRRSRV
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from tests.attacks.ground import COAP, HTTP, IPV4, IPV6, MACS, SHUT, Ground, Sight, fresh, http_request

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.attacks, pytest.mark.timeout(120)]

ME, OTHER, VICTIM, GATEWAY = (MACS[name] for name in ("attacker", "neighbour", "server", "gateway"))
STRANGER = "02:00:66:00:00:99"
ALL, ALL6 = "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01"


def frame(source: str, target: str = VICTIM) -> Ether:
    return Ether(src=source, dst=target)


@pytest.mark.parametrize(
    ("name", "mac", "address"),
    [
        ("forged MAC: of nobody", STRANGER, IPV4["attacker"]),
        ("forged MAC: of another device", OTHER, IPV4["attacker"]),
        ("forged MAC: a group's", "03:00:66:00:00:04", IPV4["attacker"]),
        ("forged MAC: all zeros", "00:00:00:00:00:00", IPV4["attacker"]),
        ("forged MAC: the victim's own", VICTIM, IPV4["server"]),
        ("forged IP: of another device", ME, IPV4["neighbour"]),
        ("forged IP: the router's", ME, IPV4["gateway"]),
        ("forged IP: from outside", ME, "192.0.2.1"),
        ("forged IP: 0.0.0.0", ME, "0.0.0.0"),
        ("forged IP: 127.0.0.1", ME, "127.0.0.1"),
        ("forged IP: broadcast", ME, "255.255.255.255"),
        ("forged MAC and IP: another device as a whole", OTHER, IPV4["neighbour"]),
        ("forged MAC and IP: the router as a whole", GATEWAY, IPV4["gateway"]),
    ],
)
def test_packet_of_another_arrives_nowhere(ground: Ground, name: str, mac: str, address: str) -> None:
    token = fresh()
    packet = frame(mac) / IP(src=address, dst=IPV4["server"])
    frames = [packet / UDP(sport=40000, dport=port) / token for port in (COAP, 53, 9999)]
    ground.launch(name, [*frames, *frames], token)


@pytest.mark.parametrize(
    ("name", "mac", "address"),
    [
        ("forged IPv6: of another device", ME, IPV6["neighbour"]),
        ("forged IPv6: the unspecified address", ME, "::"),
        ("forged IPv6: from outside", ME, "2001:db8::1"),
        ("forged IPv6 and MAC: another device as a whole", OTHER, IPV6["neighbour"]),
    ],
)
def test_ipv6_packet_of_another_arrives_nowhere(ground: Ground, name: str, mac: str, address: str) -> None:
    token = fresh()
    packet = frame(mac) / IPv6(src=address, dst=IPV6["server"]) / UDP(sport=40000, dport=COAP) / token
    ground.launch(name, [packet, packet], token)


def arp_claims(address: str, mac: str) -> list[Packet]:
    return [
        frame(ME, ALL) / ARP(op=2, hwsrc=mac, psrc=address, hwdst=ALL, pdst=address),
        frame(ME, ALL) / ARP(op=1, hwsrc=mac, psrc=address, pdst=address),
        frame(ME) / ARP(op=2, hwsrc=mac, psrc=address, hwdst=VICTIM, pdst=IPV4["server"]),
        frame(ME) / ARP(op=1, hwsrc=mac, psrc=address, pdst=IPV4["server"]),
    ]


def tells(address: str, mac: str) -> Sight:
    def sight(raw: bytes) -> bool:
        packet = Ether(raw)
        return ARP in packet and packet[ARP].psrc == address and packet[ARP].hwsrc == mac

    return sight


@pytest.mark.parametrize(
    ("name", "address", "mac"),
    [
        ("forged ARP: another device is here", IPV4["neighbour"], ME),
        ("forged ARP: the router is here", IPV4["gateway"], ME),
        ("forged ARP: the victim is here", IPV4["server"], ME),
        ("forged ARP: I am where another is", IPV4["attacker"], OTHER),
        ("forged ARP: I am everywhere", IPV4["attacker"], ALL),
    ],
)
def test_arp_lie_arrives_nowhere(ground: Ground, name: str, address: str, mac: str) -> None:
    ground.launch(name, arp_claims(address, mac), tells(address, mac))


def advertised(target: str, mac: str) -> Sight:
    def sight(raw: bytes) -> bool:
        packet = Ether(raw)
        return (
            ICMPv6ND_NA in packet and packet[ICMPv6ND_NA].tgt == target and mac.replace(":", "") in raw.hex()
        )

    return sight


@pytest.mark.parametrize(
    ("name", "source", "target", "told"),
    [
        ("forged ND: another device is here, by my address", IPV6["attacker"], IPV6["neighbour"], ME),
        ("forged ND: another device is here, by its address", IPV6["neighbour"], IPV6["neighbour"], ME),
        ("forged ND: the router is here", IPV6["attacker"], IPV6["gateway"], ME),
        ("forged ND: I am where another is", IPV6["attacker"], IPV6["attacker"], OTHER),
    ],
)
def test_neighbour_advertisement_lie_arrives_nowhere(
    ground: Ground, name: str, source: str, target: str, told: str
) -> None:
    body = ICMPv6ND_NA(tgt=target, R=0, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=told)
    frames = [
        frame(ME) / IPv6(src=source, dst=IPV6["server"], hlim=255) / body,
        frame(ME, ALL6) / IPv6(src=source, dst="ff02::1", hlim=255) / body,
        frame(ME) / IPv6(src=source, dst=IPV6["server"], hlim=255) / IPv6ExtHdrDestOpt() / body,
        frame(ME) / IPv6(src=source, dst=IPV6["server"], hlim=255) / IPv6ExtHdrFragment() / body,
        frame(ME) / IPv6(src=source, dst=IPV6["server"], hlim=255) / IPv6ExtHdrHopByHop() / body,
    ]
    ground.launch(name, frames, advertised(target, told))


def test_neighbour_solicitation_lie_arrives_nowhere(ground: Ground) -> None:
    def sight(raw: bytes) -> bool:
        packet = Ether(raw)
        return ICMPv6ND_NS in packet and (
            (packet[IPv6].src == IPV6["neighbour"] and packet.src == ME)
            or (
                ICMPv6NDOptSrcLLAddr in packet
                and packet.src == ME
                and packet[ICMPv6NDOptSrcLLAddr].lladdr == OTHER
            )
        )

    def body(lladdr: str) -> Packet:
        return ICMPv6ND_NS(tgt=IPV6["server"]) / ICMPv6NDOptSrcLLAddr(lladdr=lladdr)

    frames = [
        frame(ME) / IPv6(src=IPV6["neighbour"], dst=IPV6["server"], hlim=255) / body(ME),
        frame(ME) / IPv6(src=IPV6["attacker"], dst=IPV6["server"], hlim=255) / body(OTHER),
    ]
    ground.launch("forged ND: solicitation with another's address", frames, sight)


def test_dhcp_answer_arrives_nowhere(ground: Ground) -> None:
    token = fresh()
    offer = BOOTP(op=2, yiaddr="10.66.0.200", siaddr=IPV4["attacker"], sname=token) / DHCP(
        options=[("message-type", "offer"), ("router", IPV4["attacker"]), "end"]
    )
    frames = [
        frame(ME, mac) / IP(src=source, dst=target) / UDP(sport=port, dport=68) / offer
        for mac, target in ((ALL, "255.255.255.255"), (VICTIM, IPV4["server"]))
        for source in (IPV4["attacker"], IPV4["gateway"], "0.0.0.0")
        for port in (67, 1067, 68)
    ]
    ground.launch("forged DHCP server", frames, token)


def test_dhcpv6_answer_arrives_nowhere(ground: Ground) -> None:
    token = fresh()
    frames = [
        frame(ME, mac) / IPv6(src=IPV6["attacker"], dst=target) / UDP(sport=port, dport=546) / token
        for mac, target in (("33:33:00:01:00:02", "ff02::1:2"), (VICTIM, IPV6["server"]))
        for port in (547, 1547)
    ]
    ground.launch("forged DHCPv6 server", frames, token)


def test_router_advertisement_arrives_nowhere(ground: Ground) -> None:
    def sight(raw: bytes) -> bool:
        packet = Ether(raw)
        return packet.src == ME and (ICMPv6ND_RA in packet or packet.haslayer(IPv6ExtHdrFragment) == 1)

    link_local = "fe80::66:ff:fe00:4"
    body = ICMPv6ND_RA() / ICMPv6NDOptSrcLLAddr(lladdr=ME)
    frames = []
    for source in (link_local, IPV6["attacker"], IPV6["gateway"]):
        for mac, target in ((ALL6, "ff02::1"), (VICTIM, IPV6["server"])):
            ip = IPv6(src=source, dst=target, hlim=255)
            frames += [
                frame(ME, mac) / ip / body,
                frame(ME, mac) / ip / IPv6ExtHdrHopByHop() / body,
                frame(ME, mac) / ip / IPv6ExtHdrDestOpt() / body,
                frame(ME, mac) / ip / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / body,
                frame(ME, mac) / ip / IPv6ExtHdrFragment() / body,
                frame(ME, mac) / ip / IPv6ExtHdrFragment(m=1) / IPv6ExtHdrDestOpt(),
            ]
    ground.launch("forged router advertisement, bare and behind extension headers", frames, sight)


def test_redirect_arrives_nowhere(ground: Ground) -> None:
    token = fresh()
    inner = IP(src=IPV4["server"], dst="192.0.2.9") / UDP(sport=1, dport=2)
    frames = [
        frame(ME)
        / IP(src=source, dst=IPV4["server"])
        / ICMP(type=kind, code=1, gw=IPV4["attacker"])
        / inner
        / token
        for source in (IPV4["attacker"], IPV4["gateway"])
        for kind in (5, 9)
    ]
    frames += [
        frame(ME)
        / IPv6(src=source, dst=IPV6["server"], hlim=255)
        / ICMPv6ND_Redirect(tgt=IPV6["attacker"], dst="2001:db8::1")
        / Raw(b"\4\2\0\0\0\0\0\0" + token[:8])
        for source in (IPV6["attacker"], IPV6["gateway"])
    ]
    ground.launch("forged redirect (ICMP, ICMPv6)", frames, token[:8])


def test_dns_answer_arrives_nowhere(ground: Ground) -> None:
    """The victim has a query open, and the attacker even knows its port and number."""
    token = fresh()
    with ground.server.udp() as asking:
        asking.sendto(bytes(DNS(id=7, qd=DNSQR(qname="cloud.example"))), (IPV4["gateway"], 53))
        port = asking.getsockname()[1]
        answer = DNS(
            id=7,
            qr=1,
            qd=DNSQR(qname="cloud.example"),
            an=DNSRR(rrname="cloud.example", rdata=IPV4["attacker"]),
        )
        frames = [
            frame(ME) / IP(src=source, dst=IPV4["server"]) / UDP(sport=53, dport=port) / answer / token
            for source in (IPV4["attacker"], IPV4["gateway"])
        ]
        ground.launch("forged DNS answer to an open query", frames, token)


def test_dns_answer_to_the_servers_own_port_arrives_nowhere(ground: Ground) -> None:
    token = fresh()
    frames = [
        frame(ME) / IP(src=IPV4["attacker"], dst=IPV4["server"]) / UDP(sport=port, dport=to) / token
        for port in (53, 123, 67, 5353, 1900, 5355)
        for to in (53, 123, 67, 5353, 1900, 5355, HTTP)
    ]
    ground.launch("datagrams between ports of infrastructure, to no server of it", frames, token)


def test_who_believes_a_forged_mdns_name_reaches_no_impostor(ground: Ground) -> None:
    """Anybody may say any name to the group (README says so): the conversation with the liar is denied."""
    begin = len(ground.neighbour.frames)
    instance, host = "Front door._http._tcp.local", "server.local"
    said = DNS(
        id=0, qr=1, aa=1, qd=[],
        an=[
            DNSRR(rrname="_http._tcp.local", type="PTR", ttl=120, rdata=instance),
            DNSRRSRV(rrname=instance, rclass=0x8001, ttl=120, port=SHUT, target=host),
            DNSRR(rrname=host, rclass=0x8001, ttl=120, rdata=IPV4["attacker"]),
        ],
    )  # fmt: skip
    ground.attacker.send(
        Ether(src=ME, dst="01:00:5e:00:00:fb")
        / IP(src=IPV4["attacker"], dst="224.0.0.251", ttl=255)
        / UDP(sport=5353, dport=5353)
        / said
    )
    assert ground.neighbour.await_bytes(b"Front door", begin)
    ground.fates.append(
        ("forged mDNS: name of another service", "1 answer to the group", "is heard, as README says")
    )
    token = fresh()

    def believe() -> None:
        with contextlib.suppress(OSError), ground.neighbour.tcp(IPV4["attacker"], SHUT, timeout=1.0) as lured:
            lured.sendall(http_request(f"/{token.decode()}", agent="cockpit/1"))

    with ground.attacker.listening(SHUT):
        ground.judged("forged mDNS: a client that believes it", believe, token, at=("attacker",), what="GET")


def test_forged_mdns_answer_to_one_device_arrives_nowhere(ground: Ground) -> None:
    """Nobody has asked: an answer by its content is none."""
    token = fresh()
    said = DNS(id=0, qr=1, aa=1, qd=[], an=DNSRR(rrname="server.local", ttl=120, rdata=IPV4["attacker"]))
    frames = [
        frame(ME) / IP(src=source, dst=IPV4["server"], ttl=255) / UDP(sport=5353, dport=port) / said / token
        for source in (IPV4["attacker"], IPV4["neighbour"])
        for port in (5353, 5355, 41234)
    ]
    ground.launch("forged mDNS: an answer to one device that has not asked", frames, token)
