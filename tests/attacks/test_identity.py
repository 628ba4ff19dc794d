"""Whoever takes another name is somebody new, and learns nothing by it."""

import contextlib
import subprocess

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.attacks.ground import (
    COAP,
    HTTP,
    IPV4,
    MACS,
    MQTT,
    SHUT,
    Ground,
    coap_request,
    fresh,
    http_request,
    mqtt_connect,
    mqtt_publish,
)
from tests.attacks.test_operations import talk
from topologies.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.attacks, pytest.mark.timeout(120)]


def mqtt(ground: Ground, by: str, client: str, topic: str, token: bytes) -> None:
    with (
        contextlib.suppress(OSError),
        ground.wires[by].tcp(IPV4["server"], MQTT, timeout=1.0) as connection,
    ):
        talk(connection, mqtt_connect(client), mqtt_publish(topic, token) + b"\xc0\0")


def test_name_of_another_devices_client_opens_nothing(ground: Ground) -> None:
    token = fresh()
    ground.judged(
        "renaming: to the MQTT client of another device",
        lambda: mqtt(ground, "attacker", "cockpit", "door/open", token), token, what="CONNECT, PUBLISH",
    )  # fmt: skip


def test_name_of_another_client_on_the_same_device_opens_what_that_one_may_and_no_more(
    ground: Ground,
) -> None:
    """A device that lies about which of its services speaks cannot be caught: README says so."""
    token, begin = fresh(), len(ground.server.frames)
    mqtt(ground, "attacker", "blinds", "hall/blinds", token)
    assert ground.server.await_bytes(token, begin)
    ground.fates.append((
        "renaming: to another MQTT client of the same device, for what that one may",
        "CONNECT, PUBLISH", "arrives, as README says",
    ))  # fmt: skip
    token = fresh()
    ground.judged(
        "renaming: to another MQTT client of the same device, for what that one may not",
        lambda: mqtt(ground, "attacker", "blinds", "garden/heat", token), token, what="CONNECT, PUBLISH",
    )  # fmt: skip


@pytest.mark.parametrize("name", ["update-17", "", "sensor2", "SENSOR", "sensor\u200b", "x" * 60])
def test_new_name_does_not_learn(ground: Ground, name: str) -> None:
    """Its device has graduated: a service that is new on it has no learning phase of its own."""
    token = fresh()
    ground.judged(
        f"renaming: to {name[:12]!r}, to learn anew",
        lambda: mqtt(ground, "attacker", name, "door/open", token), token, what="CONNECT, PUBLISH",
    )  # fmt: skip
    token = fresh()

    def ask() -> None:
        with (
            contextlib.suppress(OSError),
            ground.attacker.tcp(IPV4["server"], HTTP, timeout=1.0) as connection,
        ):
            talk(connection, http_request(f"/{token.decode()}", agent=name or "x"))

    ground.judged(f"renaming: user agent {name[:12]!r}", ask, token, what="GET")


def test_new_server_on_a_graduated_device_is_not_learnt(ground: Ground) -> None:
    """The attacker opens a port of its own, and a victim is lured there."""
    token = fresh()
    with ground.attacker.udp(own_port=7777):

        def lure() -> None:
            with ground.neighbour.udp() as lured:
                lured.sendto(token, (IPV4["attacker"], 7777))

        ground.judged(
            "a new server on a device that has graduated", lure, token, at=("attacker",), what="datagram"
        )


def test_address_of_another_family_member_is_no_way_around(ground: Ground) -> None:
    """A device may take a further address; that makes it nobody else."""
    token = fresh()[:8]
    request = coap_request(3, b"light", token)
    frames = [
        _udp(MACS["attacker"], address, IPV4["server"], COAP, request)
        for address in ("10.66.0.77", "10.66.0.78")
        for _ in range(3)
    ]
    ground.launch("renaming: by a further address", frames, token)


def _udp(mac: str, source: str, target: str, port: int, payload: bytes) -> bytes:
    return bytes(
        Ether(src=mac, dst=MACS["server"])
        / IP(src=source, dst=target)
        / UDP(sport=43000, dport=port)
        / payload
    )


def test_place_of_a_device_that_is_switched_off_cannot_be_taken(ground: Ground) -> None:
    """site.yaml ties the neighbour to its port (devices that are not tied may turn up elsewhere)."""
    token = fresh()[:8]
    request = coap_request(1, b"light", token)
    network = ground.stage.laboratory.network
    port = network.port_of(ground.stage.topology.host("neighbour"))

    frame = _udp(MACS["neighbour"], IPV4["neighbour"], IPV4["server"], COAP, request)

    def impersonate() -> None:
        subprocess.run(["ip", "link", "set", port, "down"], check=True)
        try:
            for _ in range(3):
                ground.attacker.send(frame)
                ground.stage.guarded.get("status")
        finally:
            subprocess.run(["ip", "link", "set", port, "up"], check=True)
            until(lambda: reaches_neighbour(ground), "the neighbour is back")

    name = "forged MAC and IP: of a device that is switched off"
    ground.judged(name, impersonate, token, at=("server",), what="3 GET")


def reaches_neighbour(ground: Ground) -> bool:
    with ground.attacker.udp(timeout=0.3) as asking:
        asking.sendto(coap_request(1, b"light", fresh()[:8]), (IPV4["neighbour"], COAP))
        with contextlib.suppress(OSError):
            return bool(asking.recv(1000))
    return False


def test_device_that_was_not_admitted_says_nothing(ground: Ground) -> None:
    token = fresh()
    frames = [
        _udp("02:00:66:00:00:55", "10.66.0.55", IPV4["server"], port, token)
        for port in (COAP, 53, 5353, SHUT)
    ]
    ground.launch("a device that nobody has admitted", frames * 3, token)
    cards = [card for card in ground.stage.guarded.requests() if card["kind"] == "admission"]
    assert any("02:00:66:00:00:55" in str(card) or "02-00-66-00-00-55" in str(card) for card in cards)


def test_what_was_attempted_is_put_before_the_site_manager(ground: Ground) -> None:
    """After all attacks on one server: few cards, not one for each packet."""
    cards = [card for card in ground.stage.guarded.requests() if card["kind"] == "access"]
    assert cards
    assert len(cards) < 40
