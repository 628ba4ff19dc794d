"""Names, leases and announcements are read from copies, and nobody can use those ports to hide."""

from struct import pack

import pytest

from controller.events import FromInspector, LeaseSeen, NameSeen, Observed, ServiceAnnounced
from controller.inspector.judgement.infrastructure import NEWS_PER_SECOND, SAY_AGAIN
from controller.model.relationship import Endpoint
from tests.unit.inspector.judgement.frames import coap, icmp, mac, udp
from tests.unit.inspector.judgement.site import BATTERY, L, Site, W

SERVER = "10.0.0.53"
CLOUD = "203.0.113.7"


def labels(name: str) -> bytes:
    return b"".join(bytes([len(part)]) + part.encode() for part in name.split(".")) + b"\0"


def query(name: str = "battery.example") -> bytes:
    return pack("!6H", 7, 0x0100, 1, 0, 0, 0) + labels(name) + pack("!HH", 1, 1)


def response(name: str = "battery.example", address: str = CLOUD, ttl: int = 60) -> bytes:
    packed = bytes(map(int, address.split(".")))
    record = labels(name) + pack("!HHIH", 1, 1, ttl, 4) + packed
    return pack("!6H", 7, 0x8180, 1, 1, 0, 0) + labels(name) + pack("!HH", 1, 1) + record


def observed(site: Site, raw: bytes) -> tuple[FromInspector, ...]:
    outcome = site.frame(raw, observed=True)
    assert outcome.send == ()
    return outcome.events


def asks(site: Site, port: int = 40000, name: str = "battery.example") -> None:
    assert observed(site, udp(W, SERVER, port, 53, query(name))) == ()


def test_a_name_is_learnt_from_the_answer_to_a_question() -> None:
    site = Site()
    asks(site)
    events = observed(site, udp(SERVER, W, 53, 40000, response()))
    assert events == (NameSeen("battery.example", CLOUD, 60, SERVER),)


def test_the_same_name_is_told_again_later_only() -> None:
    site = Site()
    asks(site)
    assert observed(site, udp(SERVER, W, 53, 40000, response()))
    assert not observed(site, udp(SERVER, W, 53, 40000, response(ttl=59)))
    site.now += SAY_AGAIN
    assert observed(site, udp(SERVER, W, 53, 40000, response(ttl=30)))


def test_a_device_cannot_hide_behind_the_source_port_of_a_name_server() -> None:
    """Its requests are judged like any others, and what looks like an answer teaches nothing."""
    site = Site()
    events = observed(site, udp(W, L, 53, 9999, response()))
    assert not any(isinstance(event, NameSeen) for event in events)
    assert any(isinstance(event, Observed) for event in events)


def test_names_do_not_come_faster_than_the_controller_can_bear() -> None:
    site = Site()
    asks(site)
    told = 0
    for number in range(2 * NEWS_PER_SECOND):
        told += len(observed(site, udp(SERVER, W, 53, 40000, response(f"n{number}.example"))))
    assert told == NEWS_PER_SECOND


@pytest.mark.parametrize("payload", [b"", b"\xff", query()[:15], response()[:-2], bytes(200)])
def test_malformed_answers_teach_nothing(payload: bytes) -> None:
    site = Site()
    asks(site)
    assert observed(site, udp(SERVER, W, 53, 40000, payload)) == ()


def dhcp(kind: int, reply: bool, client: bytes, options: bytes = b"", given: str = "0.0.0.0") -> bytes:
    head = (
        pack("!BBBB", 2 if reply else 1, 1, 6, 0) + bytes(12) + bytes(map(int, given.split("."))) + bytes(8)
    )
    return (
        head
        + client.ljust(16, b"\0")
        + bytes(192)
        + b"\x63\x82\x53\x63"
        + bytes([53, 1, kind])
        + options
        + b"\xff"
    )


def test_a_lease_is_told_with_what_the_client_calls_itself() -> None:
    site = Site()
    name = b"\x0c\x06washer"
    asked = udp(W, "255.255.255.255", 68, 67, dhcp(3, False, mac(W), name))
    assert observed(site, asked) == (LeaseSeen("02:00:00:00:00:01", None, "washer", None),)
    given = udp(SERVER, W, 67, 68, dhcp(5, True, mac(W), given=W))
    assert observed(site, given) == (LeaseSeen("02:00:00:00:00:01", W, None, None),)


def test_a_client_of_dhcpv6_says_what_it_calls_itself() -> None:
    name = b"\0\x27\0\x08\0\6washer"
    asked = udp("fe80::1", "ff02::1:2", 546, 547, b"\1\0\0\1" + name)
    assert observed(Site(), asked) == (
        LeaseSeen(":".join(f"{b:02x}" for b in mac("fe80::1")), None, "washer", None),
    )
    assert observed(Site(), udp("fe80::1", "ff02::1:2", 546, 547, b"\1\0\0\1")) == ()


def test_a_client_speaks_for_itself_only() -> None:
    asked = udp(W, "255.255.255.255", 68, 67, dhcp(3, False, mac(L), b"\x0c\x04lock"))
    assert observed(Site(), asked) == ()


def test_leases_are_believed_on_the_ports_that_the_switch_guards_only() -> None:
    forged = udp(W, L, 67, 67, dhcp(5, True, mac(L), given=L))
    assert observed(Site(), forged) == ()


def test_a_device_announces_its_own_services() -> None:
    instance, service = "Kitchen._http._tcp.local", "_http._tcp.local"
    target = labels("kitchen.local")
    record = labels(instance) + pack("!HHIH", 33, 1, 120, 6 + len(target)) + pack("!HHH", 0, 0, 8080) + target
    payload = pack("!6H", 0, 0x8400, 0, 1, 0, 0) + record
    assert service in instance
    (event,) = observed(Site(), udp("10.0.0.2", "224.0.0.251", 5353, 5353, payload))
    assert isinstance(event, ServiceAnnounced)
    assert (event.device, event.endpoint, event.name) == (BATTERY, Endpoint("tcp", 8080), "Kitchen")
    assert observed(Site(), udp(CLOUD, "224.0.0.251", 5353, 5353, payload)) == ()


def test_discovery_and_neighbours_are_never_judged() -> None:
    site = Site()
    for raw in (
        udp(W, "239.255.255.250", 1900, 1900, b"NOTIFY * HTTP/1.1\r\n\r\n"),
        udp(W, SERVER, 123, 123, bytes(48)),
        icmp("fe80::1", "fe80::2", 136, 0, bytes(20)),
    ):
        assert observed(site, raw) == ()
    assert site.seen() == []


SEARCH = b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nST: ssdp:all\r\n\r\n'
FOUND = b"HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nUSN: uuid:1::upnp:rootdevice\r\n\r\n"


def test_whoever_looks_for_devices_may_be_answered_by_them_for_a_while() -> None:
    """The question goes by the switch's template, the answers come to the inspection port."""
    site = Site()
    assert site.dropped(udp(L, W, 1900, 50000, FOUND))
    assert observed(site, udp(W, "239.255.255.250", 50000, 1900, SEARCH)) == ()
    assert site.passes(udp(L, W, 1900, 50000, FOUND))
    assert site.dropped(udp(L, W, 1900, 50000, b"\xde\xad")), "only answers"
    assert site.dropped(udp(L, W, 1900, 50000, SEARCH))
    assert site.dropped(udp(CLOUD, W, 1900, 50000, FOUND)), "only from the site"
    assert site.dropped(udp(L, W, 1900, 50001, FOUND))
    site.now += 31
    assert site.dropped(udp(L, W, 1900, 50000, FOUND))


def test_at_the_inspection_port_these_protocols_are_judged_like_any_other() -> None:
    site = Site()
    assert site.dropped(udp(W, L, 40000, 53, query()))
    assert site.dropped(udp(W, L, 40000, 123, coap("GET", "/charge")))
    assert {seen.allowed for seen in site.seen()} == {False}


def test_port_of_discovery_of_one_device_hides_nothing_where_a_pair_is_watched() -> None:
    site = Site()
    events = site.frame(udp(W, L, 40000, 1900, coap("PUT", "/isOpen")), observed=True).events
    assert [event.allowed for event in events if isinstance(event, Observed)] == [False]
