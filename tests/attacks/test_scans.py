"""What fits no conversation that is allowed does not arrive, however it is dressed."""

import contextlib
import struct

import pytest
from scapy.contrib.lldp import LLDPDUChassisID, LLDPDUEndOfLLDPDU, LLDPDUPortID, LLDPDUTimeToLive
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, fragment
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
)
from scapy.layers.l2 import ARP, GRE, LLC, SNAP, STP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.packet import Packet, Raw

from tests.attacks.ground import (
    COAP,
    ECHO,
    HTTP,
    IPV4,
    MACS,
    OWN_HTTP,
    SHUT,
    Ground,
    Sight,
    coap_request,
    fresh,
    http_request,
)
from tests.attacks.ground import (
    IPV6 as ADDRESS6,
)

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.attacks, pytest.mark.timeout(120)]

ME, VICTIM, OTHER = MACS["attacker"], MACS["server"], MACS["neighbour"]
EVERYONE = "ff:ff:ff:ff:ff:ff"
ALLOWED_PORTS = (HTTP, 1883, 502)


def to_server(**fields: object) -> Packet:
    return Ether(src=ME, dst=VICTIM) / IP(src=IPV4["attacker"], dst=IPV4["server"], **fields)


def to_neighbour() -> Packet:
    return Ether(src=ME, dst=OTHER) / IP(src=IPV4["attacker"], dst=IPV4["neighbour"])


def to_server6() -> Packet:
    return Ether(src=ME, dst=VICTIM) / IPv6(src=ADDRESS6["attacker"], dst=ADDRESS6["server"])


def segments_from(port: int) -> Sight:
    return lambda raw: (
        raw[12:14] == b"\x08\0" and raw[23:24] == b"\6" and raw[34:36] == struct.pack("!H", port)
    )


def wanted_from(port: int) -> Sight:
    """As segments_from, but for what tells a port that may be asked that there is no such connection."""

    def sight(raw: bytes) -> bool:
        told = raw[47:48] and raw[47] & 4 and raw[36:38] in [struct.pack("!H", p) for p in ALLOWED_PORTS]
        return segments_from(port)(raw) and not told

    return sight


# Answers' source port


def test_new_datagram_from_an_answering_port_arrives_nowhere(ground: Ground) -> None:
    """The attacker is asked at its echo port; from there it starts conversations of its own."""
    with ground.neighbour.udp() as asking:
        asking.sendto(b"probe-00000001", (IPV4["attacker"], ECHO))
        assert asking.recv(100)
        asked_from = asking.getsockname()[1]
        token = fresh()
        ports = [COAP, 53, 5353, ECHO, *(asked_from + step for step in range(1, 8))]
        frames = [to_neighbour() / UDP(sport=ECHO, dport=port) / token for port in ports]
        ground.launch("answering port: new UDP conversations", frames, token)


def test_opening_from_an_answering_port_arrives_nowhere(ground: Ground) -> None:
    frames = [
        to_neighbour() / TCP(sport=OWN_HTTP, dport=port, flags=flags)
        for port in (22, 80, 40000)
        for flags in ("S", "SU", "SP", "SF", "SEC", "F", "", "FPU", "R")
    ]
    wanted = [struct.pack("!H", port) for port in (22, 80, 40000)]
    opening = segments_from(OWN_HTTP)
    ground.launch(
        "answering port: new TCP connections", frames, lambda raw: opening(raw) and raw[36:38] in wanted
    )


# Scans


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("SYN", "S"),
        ("ACK", "A"),
        ("FIN", "F"),
        ("FIN ACK", "FA"),
        ("Xmas", "FPU"),
        ("null", ""),
        ("RST", "R"),
    ],
)
def test_scan_arrives_nowhere(ground: Ground, name: str, flags: str) -> None:
    own = 41000 + len(flags) * 100 + len(name)
    ports = (21, 22, 23, 80, 443, 8081, 8443, SHUT)
    frames = [to_server() / TCP(sport=own, dport=port, flags=flags) for port in ports]
    if flags != "S":  # of connections that were never opened, at ports that are allowed
        frames += [
            to_server() / TCP(sport=own, dport=port, flags=flags, seq=9, ack=9) for port in ALLOWED_PORTS
        ]
    ground.launch(f"scan: {name}", frames, wanted_from(own))


def test_data_of_a_connection_that_was_never_opened_arrives_nowhere(ground: Ground) -> None:
    token = fresh()
    request = http_request("/known", f"X: {token.decode()}")
    frames = [to_server() / TCP(sport=41999, dport=HTTP, flags="PA", seq=100, ack=100) / request]
    ground.launch("data without a connection", frames, token)


# Fragments


def test_fragments_arrive_nowhere(ground: Ground) -> None:
    token = fresh()[:8]
    request = coap_request(1, b"light", token)
    whole = to_server(id=77) / UDP(sport=42000, dport=COAP) / request
    forbidden = bytes(to_server(id=78)[IP] / UDP(sport=42000, dport=COAP) / coap_request(3, b"light", token))
    overlapping = [
        to_server(id=79, flags="MF", proto=17) / Raw(bytes(whole[UDP])[:16]),
        to_server(id=79, frag=1, proto=17) / Raw(forbidden[28:]),
    ]
    tcp = to_server(id=80) / TCP(sport=42001, dport=HTTP, flags="S") / Raw(token)
    tiny = [
        to_server(id=80, flags="MF", proto=6) / Raw(bytes(tcp[TCP])[:8]),
        to_server(id=80, frag=1, proto=6) / Raw(bytes(tcp[TCP])[8:]),
    ]
    six = [
        to_server6() / IPv6ExtHdrFragment(id=6, m=1, nh=17) / Raw(bytes(whole[UDP])[:8]),
        to_server6() / IPv6ExtHdrFragment(id=6, offset=1, nh=17) / Raw(bytes(whole[UDP])[8:]),
    ]

    def seen(raw: bytes) -> bool:
        part = raw[12:14] == b"\x08\0" and bool(raw[20] & 0x3F or raw[21])
        return token in raw or (part and raw[26:30] == bytes((10, 66, 0, 4)))

    ground.launch("fragments: plain", fragment(whole, 16), seen)
    ground.launch("fragments: overlapping", overlapping, seen)
    ground.launch("fragments: tiny, with TCP flags in the second", tiny, seen)
    ground.launch("fragments: IPv6", six, seen)
    whole6 = UDP(sport=42000, dport=COAP) / coap_request(3, b"light", token)
    atomic = to_server6() / IPv6ExtHdrFragment(id=7) / whole6
    ground.launch("fragments: IPv6, one that is the whole, with a write", [atomic], token)


# Link layer


def test_tagged_frame_arrives_nowhere(ground: Ground) -> None:
    token = fresh()
    inner = IP(src=IPV4["attacker"], dst=IPV4["server"]) / UDP(sport=42002, dport=COAP) / token
    outer = Ether(src=ME, dst=VICTIM)
    frames = [
        outer / Dot1Q(vlan=0) / inner,
        outer / Dot1Q(vlan=0, prio=7) / inner,
        outer / Dot1Q(vlan=1) / inner,
        outer / Dot1Q(vlan=5) / inner,
        outer / Dot1Q(vlan=1) / Dot1Q(vlan=5) / inner,
        outer / Dot1AD(vlan=1) / Dot1Q(vlan=5) / inner,
        outer / Dot1AD(vlan=5) / inner,
        Ether(src=ME, dst=EVERYONE)
        / Dot1Q(vlan=5)
        / ARP(hwsrc=ME, psrc=IPV4["neighbour"], pdst=IPV4["server"])
        / token,
    ]
    ground.launch("VLAN tags: one, two, priority only", frames, token)


def test_unknown_ethertype_arrives_nowhere(ground: Ground) -> None:
    token = fresh()
    kinds = (
        0x88B5,
        0x8863,
        0x8864,
        0x8847,
        0x8848,
        0x888E,
        0x88E5,
        0x8906,
        0x9000,
        0x0842,
        0x8035,
        0x6003,
        0x0600,
        0x22F0,
    )
    frames = [
        Ether(src=ME, dst=to, type=kind) / Raw(token * 4) for kind in kinds for to in (VICTIM, EVERYONE)
    ]
    frames += [
        Dot3(src=ME, dst="01:80:c2:00:00:00") / LLC() / STP() / Raw(token * 2),
        Dot3(src=ME, dst=VICTIM) / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(code=0x0800) / Raw(token * 4),
        Ether(src=ME, dst="01:80:c2:00:00:0e", type=0x88CC) / Raw(token * 4),
        Ether(src=ME, dst=VICTIM, type=0x88CC) / Raw(token * 4),
    ]
    ground.launch("unknown ethertypes, LLC and SNAP", frames, token)


def test_lldp_of_its_own_makes_no_trunk_of_the_attackers_port(ground: Ground) -> None:
    token = fresh()
    lies = [
        Ether(src=ME, dst="01:80:c2:00:00:0e")
        / LLDPDUChassisID(subtype=7, id=b"dpid:0000000000000001")
        / LLDPDUPortID(subtype=7, id=b"1")
        / LLDPDUTimeToLive(ttl=120)
        / LLDPDUEndOfLLDPDU()
    ]
    # And what the switch itself has sent to this port, sent back.
    lies += [frame.raw for frame in ground.attacker.frames if frame.raw[12:14] == b"\x88\xcc"][-3:]
    assert len(lies) > 1
    stranger = Ether(src="02:00:66:00:00:98", dst=VICTIM) / IP(src="10.66.0.98", dst=IPV4["server"])
    ground.launch(
        "LLDP: forged and replayed, then as a trunk",
        [*lies, *[stranger / UDP(dport=COAP) / token] * 3],
        token,
    )
    assert not ground.stage.guarded.get("switches")["switches"][0]["links"]


def test_frame_to_everyone_that_is_for_one_arrives_nowhere(ground: Ground) -> None:
    token = fresh()
    body = UDP(sport=42003, dport=COAP) / coap_request(1, b"light", token[:8])
    frames = [
        Ether(src=ME, dst=mac) / IP(src=IPV4["attacker"], dst=address) / body
        for mac in (EVERYONE, "01:00:5e:00:00:fb", OTHER)
        for address in (IPV4["server"], IPV4["gateway"])
    ]
    ground.launch("one device's packet in another's or everyone's frame", frames, token[:8])


def test_datagram_to_a_group_or_everyone_that_is_no_discovery_arrives_nowhere(ground: Ground) -> None:
    token = fresh()
    v4 = [
        ("ff:ff:ff:ff:ff:ff", "255.255.255.255"), ("ff:ff:ff:ff:ff:ff", "10.66.0.255"),
        ("01:00:5e:00:00:01", "224.0.0.1"), ("01:00:5e:00:00:fb", "224.0.0.251"),
        ("01:00:5e:7f:ff:fa", "239.255.255.250"), ("01:00:5e:01:02:03", "239.1.2.3"),
    ]  # fmt: skip
    frames = [
        Ether(src=ME, dst=mac) / IP(src=IPV4["attacker"], dst=address) / body
        for mac, address in v4
        for body in (
            UDP(sport=42007, dport=9999) / token, UDP(sport=5353, dport=COAP) / token,
            TCP(sport=42007, dport=HTTP, flags="PA") / token, ICMP() / token,
        )
    ]  # fmt: skip
    frames += [
        Ether(src=ME, dst=mac) / IPv6(src=ADDRESS6["attacker"], dst=address) / UDP(dport=9999) / token
        for mac, address in (("33:33:00:00:00:01", "ff02::1"), ("33:33:00:00:00:fb", "ff02::fb"))
    ]
    ground.launch("datagrams to groups and everyone that are no discovery", frames, token)


# Network layer


def test_unusual_header_carries_nothing_past(ground: Ground) -> None:
    """A write, which is not allowed, behind headers that a reader may stumble over."""
    token = fresh()[:8]
    write = UDP(sport=42004, dport=COAP) / coap_request(3, b"light", token)
    frames = [
        to_server(options=[IPOption_LSRR(routers=[IPV4["neighbour"]])]) / write,
        to_server(options=b"\x94\x04\x00\x00") / write,
        to_server(options=b"\x01" * 40) / write,
        to_server(tos=0xFF, ttl=1) / write,
        to_server6() / write,
        to_server6() / IPv6ExtHdrHopByHop() / write,
        to_server6() / IPv6ExtHdrDestOpt() / write,
        to_server6() / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / write,
        to_server6() / IPv6ExtHdrRouting(addresses=[ADDRESS6["neighbour"]], segleft=1) / write,
        to_server6() / IPv6ExtHdrRouting(addresses=[], segleft=0) / write,
    ]
    ground.launch("headers: IPv4 options, IPv6 extensions before a denied write", frames, token)


def test_other_protocols_arrive_nowhere(ground: Ground) -> None:
    token = fresh()
    inner = IP(src=IPV4["attacker"], dst=IPV4["server"]) / UDP(dport=COAP) / token
    frames = [
        to_server(proto=number) / Raw(token * 3)
        for number in (0, 2, 4, 33, 41, 47, 50, 51, 89, 103, 112, 132, 136, 253, 255)
    ]
    frames += [
        to_server() / GRE() / inner,
        to_server(proto=4) / inner,
        to_server6() / Raw(token * 3),
        to_server() / ICMP(type=13) / token,
        to_server() / ICMP(type=17) / token,
        to_server()
        / ICMP(type=3, code=4)
        / IP(src=IPV4["server"], dst="192.0.2.1")
        / UDP(sport=5, dport=6)
        / token,
    ]
    ground.launch("protocols: tunnels, SCTP, ICMP that nobody asked for", frames, token)


def test_ipv6_is_under_the_same_policy(ground: Ground) -> None:
    """MQTT and Modbus were learnt over IPv4 only, HTTP over both: a denied request is denied over both."""
    token = fresh()
    path = f"/{token.decode()}"

    def ask() -> None:
        for address in (ADDRESS6["server"], IPV4["server"]):
            with contextlib.suppress(OSError), ground.attacker.tcp(address, HTTP, timeout=1.0) as connection:
                connection.sendall(http_request(path))
                assert b" 200 " not in connection.recv(1000)

    ground.judged("IPv6: what is denied over IPv4", ask, token, what="GET")
    token = fresh()[:8]

    def write() -> None:
        with ground.attacker.udp(family=10) as asking:
            asking.sendto(coap_request(3, b"light", token), (ADDRESS6["server"], COAP))

    ground.judged("IPv6: a CoAP write where only a read over IPv4 was learnt", write, token, what="PUT")


def test_ipv4_is_under_the_same_policy_as_ipv6(ground: Ground) -> None:
    """/six was learnt over IPv6 only: that opens no other request over IPv4."""
    token = fresh()

    def ask() -> None:
        for request in (
            http_request("/six", f"X: {token.decode()}", "Content-Length: 0", method="POST"),
            http_request(f"/six/{token.decode()}"),
        ):
            with (
                contextlib.suppress(OSError),
                ground.attacker.tcp(IPV4["server"], HTTP, timeout=1.0) as connection,
            ):
                connection.sendall(request)
                assert b" 200 " not in connection.recv(1000)

    ground.judged("IPv4: what was not learnt over IPv6 either", ask, token, what="POST, GET")


def test_discovery_ports_of_one_device_are_judged(ground: Ground) -> None:
    token = fresh()
    frames = [
        to_server() / UDP(sport=own, dport=port) / token
        for port in (53, 67, 123, 547, 1900, 5355, 5353)
        for own in (42006, port)
    ]
    ground.launch("infrastructure's ports of a device that is none", frames, token)
