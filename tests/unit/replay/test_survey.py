"""What a capture tells of its site: who is the router, who serves names, and what is inside."""

from ipaddress import ip_address

from controller.captures.link import NOBODY
from controller.config import Config
from controller.dpi.frame import parse
from controller.replay.survey import Description, Survey, hardware_of
from tests.unit.inspector.judgement.frames import udp

ROUTER = "02:00:00:00:00:fe"


def from_mac(raw: bytes, mac: str) -> bytes:
    return raw[:6] + bytes.fromhex(mac.replace(":", "")) + raw[12:]


def surveyed(*frames: bytes) -> Description:
    survey = Survey(Config().networks)
    for raw in frames:
        survey.see(parse(raw, captured=True), raw)
    return survey.described()


def roles(described: Description) -> dict[str, set[str]]:
    return {server.mac: set(server.roles) for server in described.servers}


def test_who_brings_frames_from_outside_is_the_router() -> None:
    described = surveyed(
        udp("10.0.0.1", "203.0.113.7", 40000, 443, b"x", bytes.fromhex(ROUTER.replace(":", ""))),
        from_mac(udp("203.0.113.7", "10.0.0.1", 443, 40000, b"x"), ROUTER),
    )
    assert roles(described) == {ROUTER: {"router"}}
    assert described.hosts == {"02:00:00:00:00:01", ROUTER}
    assert described.networks == Config().networks


def test_who_answers_as_a_server_of_the_network_is_one() -> None:
    response = b"\0\0\x81\x80" + bytes(8)
    query = b"\0\0\1\0" + bytes(8)
    described = surveyed(
        udp("10.0.0.9", "10.0.0.1", 53, 40000, response),
        udp("10.0.0.9", "10.0.0.1", 67, 68, b"\2"),
        udp("10.0.0.8", "10.0.0.1", 123, 123, b"\x24" + bytes(47)),
        udp("10.0.0.1", "10.0.0.8", 123, 123, b"\x23" + bytes(47)),
        udp("10.0.0.2", "10.0.0.9", 53, 53, query),
    )
    assert roles(described) == {"02:00:00:00:00:09": {"dns", "dhcp"}, "02:00:00:00:00:08": {"ntp"}}


def test_hosts_behind_one_hardware_address_get_their_own() -> None:
    many = [f"10.0.1.{n}" for n in range(1, 10)]
    described = surveyed(*(from_mac(udp(a, "10.0.0.1", 40000, 80, b""), ROUTER) for a in many))
    assert described.relays == {ROUTER}
    assert described.hosts >= {hardware_of(address) for address in many}
    assert roles(described) == {}


def test_without_hardware_addresses_the_ip_addresses_tell_hosts_apart() -> None:
    raw = bytes(12) + udp("10.0.0.1", "203.0.113.7", 40000, 443, b"")[12:]
    described = surveyed(raw)
    assert hardware_of("10.0.0.1") in described.hosts
    assert NOBODY not in described.hosts
    (router,) = described.servers
    assert router.roles == ("router",)
    assert len(described.hosts) == 2


def test_a_capture_without_private_addresses_is_of_a_site_with_others() -> None:
    described = surveyed(
        udp("141.81.0.10", "141.81.0.86", 40000, 502, b""), udp("141.81.0.86", "141.81.0.10", 502, 40000, b"")
    )
    assert set(described.networks) - set(Config().networks) == {"141.81.0.10", "141.81.0.86"}
    assert roles(described) == {}


def test_groups_are_nobody() -> None:
    described = surveyed(
        udp("10.0.0.1", "239.255.255.250", 40000, 1900, b""),
        udp("10.0.0.1", "10.0.0.255", 1, 2, b"", b"\xff" * 6),
    )
    assert described.hosts == {"02:00:00:00:00:01"}
    assert described.servers == ()
    forged = from_mac(udp("203.0.113.1", "10.0.0.1", 67, 68, b""), "01:00:5e:00:00:01")
    assert surveyed(forged) == surveyed()


def test_two_hosts_never_share_an_invented_hardware_address_while_their_last_parts_differ() -> None:
    addresses = [str(ip_address(n)) for n in range(0x0A000000, 0x0A000400)]
    assert len({hardware_of(address) for address in addresses}) == len(addresses)
