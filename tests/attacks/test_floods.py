"""One device sends as much as it can; the others go on, the site manager gets one card, nothing grows.

What was measured is told in the table, compared with runs without the flood that alternate with those in it.
"""

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from tests.attacks.ground import COAP, HTTP, IPV4, MACS, Ground, coap_request
from tests.scenarios.guarded import treatment
from tests.scenarios.wire import memory
from topologies.waiting import until

pytestmark = [
    pytest.mark.root, pytest.mark.mininet, pytest.mark.attacks, pytest.mark.long, pytest.mark.timeout(300),
]  # fmt: skip

RATE = 50_000  # frames per second
ROUNDS = 3
# Bytes that a process may grow by. Open vSwitch remembers what it did with each hardware address for ten
# seconds, at most 200,000 of them (its flow-limit), with 2.4 kB for each as measured.
GROWTH = {"controller": 64_000_000, "inspector": 64_000_000, "switch": 200_000 * 3_200}
FLOWS_AT_MOST = 2_000
BULK = 9100  # port

OUTER = Ether(src=MACS["attacker"], dst=MACS["server"]) / IP(src=IPV4["attacker"], dst=IPV4["server"])


@dataclass(frozen=True)
class Flood:
    """A frame of which four bytes are always other ones, and what of it may not arrive."""

    frame: Packet
    at: int
    arrives: Callable[[bytes], bool]


def from_attacker(protocol: int) -> Callable[[bytes], bool]:
    sender = bytes(map(int, IPV4["attacker"].split(".")))
    return lambda raw: raw[12:14] == b"\x08\0" and raw[23] == protocol and raw[26:30] == sender


def mac(raw: bytes) -> str:
    return raw[6:12].hex(":")


MARK = b"flooded-"
FLOODS: Mapping[str, Flood] = {
    "UDP to every port": Flood(OUTER / UDP(sport=1, dport=2, chksum=0) / MARK, 34, lambda raw: MARK in raw),
    "SYN from and to every port": Flood(OUTER / TCP(sport=1, dport=2, flags="S"), 34, from_attacker(6)),
    "CoAP, ever other paths": Flood(
        OUTER / UDP(sport=40000, dport=COAP, chksum=0) / coap_request(1, b"xxxx", MARK), 55,
        lambda raw: MARK in raw,
    ),
    "ever other hardware addresses": Flood(
        Ether(src=MACS["attacker"], dst="ff:ff:ff:ff:ff:ff")
        / ARP(op=1, hwsrc=MACS["attacker"], psrc=IPV4["attacker"], pdst=IPV4["server"]), 8,
        lambda raw: raw[12:14] == b"\x08\x06" and raw[6:8] == b"\x02\0" and mac(raw) not in MACS.values(),
    ),
}  # fmt: skip


def mbits(ground: Ground) -> float:
    """0 when a connection is not made within five seconds."""
    lines = ground.run("neighbour", "pour", IPV4["server"], str(BULK), "2").lines()
    said = json.loads(lines[-1]) if lines else {"bytes": 0, "seconds": 1}
    return float(said["bytes"]) * 8 / said["seconds"] / 1e6


def allow_bulk(ground: Ground) -> None:
    firewall = ground.stage.guarded
    ground.run.ready("server", "drink", str(BULK))
    if treatment(ground.stage, "neighbour", "server", BULK) is None:
        ground.run("neighbour", "pour", IPV4["server"], str(BULK), "0.3").lines()

    def card() -> object:
        return next((c for c in firewall.requests() if str(BULK) in json.dumps(c)), None)

    asked = until(card, "the bulk transfer is asked about")
    assert isinstance(asked, dict)
    firewall.answer(asked["id"], approve=True, scope="pair")


def processes(ground: Ground) -> dict[str, int]:
    switch = int(Path("/var/run/openvswitch/ovs-vswitchd.pid").read_text(encoding="ascii"))
    controller, inspector = sorted(ground.stage.guarded.processes())[:2]
    return {"controller": controller, "inspector": inspector, "switch": switch}


def flow_count(ground: Ground) -> int:
    bridge = ground.stage.laboratory.network.bridge("s1")
    command = ["ovs-ofctl", "-OOpenFlow13", "dump-aggregate", bridge]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"flow_count=(\d+)", said)
    assert found is not None
    return int(found[1])


@pytest.fixture(scope="module")
def bulk(ground: Ground) -> Ground:
    allow_bulk(ground)
    return ground


@pytest.mark.parametrize("name", FLOODS)
def test_flood_of_one_device_is_no_matter_of_the_others(bulk: Ground, name: str) -> None:
    flood, run = FLOODS[name], bulk.run
    before = {what: memory(process) for what, process in processes(bulk).items()}
    cards = [c for c in bulk.stage.guarded.requests() if c["kind"] == "access"]
    begin = len(bulk.server.frames)
    quiet, flooded, sent, answered = [], [], 0, []
    for _ in range(ROUNDS):
        quiet.append(mbits(bulk))
        source = run.ready("attacker", "flood", bytes(flood.frame).hex(), str(flood.at), str(RATE), "6")
        flooded.append(mbits(bulk))
        answered.append(run("neighbour", "often", IPV4["server"], str(HTTP), "2").result())
        sent += source.result()["sent"]
    after = {what: memory(process) for what, process in processes(bulk).items()}
    arrived = sum(map(flood.arrives, (frame.raw for frame in bulk.server.frames[begin:])))
    more = [c for c in bulk.stage.guarded.requests() if c["kind"] == "access"]
    grown = {what: after[what] - before[what] for what in after}
    ratio = median(flooded) / median(quiet)
    slowest = max(one["p99"] or 0.0 for one in answered)
    bulk.fates.append((
        f"flood: {name}",
        f"{sent / (6 * ROUNDS):.0f}/s at server",
        (
            f"{arrived} arrived; others: {ratio:.2f} x throughput, new requests p99 {slowest * 1000:.0f} ms, "
            f"{sum(one['failed'] for one in answered)} failed; {len(more) - len(cards)} cards; "
            f"{flow_count(bulk)} flows; memory {max(grown.values()) / 1e6:+.0f} MB"
        ),
    ))  # fmt: skip
    # What is let in before the flood is seen as one is what a device may ask by itself: openings.
    assert arrived == 0 or name.startswith("SYN")
    assert len(more) <= len(cards) + 1
    assert all(size < GROWTH[what] for what, size in grown.items()), grown
    assert flow_count(bulk) < FLOWS_AT_MOST
    assert sum(one["answered"] for one in answered) > 0


def test_table_of_devices_is_bounded(bulk: Ground) -> None:
    """After the flood of hardware addresses."""
    assert len(bulk.stage.guarded.get("devices")["devices"]) < 60


def tracked() -> int:
    """Connections that Open vSwitch keeps in mind, with the userspace datapath."""
    said = subprocess.run(
        ["ovs-appctl", "dpctl/ct-get-nconns", "netdev@ovs-netdev"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    return int(said) if said.isdecimal() else 0


def test_allowed_requests_from_every_port_do_not_exhaust_what_tracks_answers(bulk: Ground) -> None:
    """Each makes the switch expect an answer. Those who ask meanwhile for the first time get theirs."""
    request = OUTER / UDP(sport=1, dport=COAP, chksum=0) / coap_request(1, b"light", b"token123")
    source = bulk.run.ready("attacker", "flood", bytes(request).hex(), "34", "10000", "10", "2")
    answered, counts = 0, []
    for _ in range(8):
        answered += bulk.run("neighbour", "rtt", IPV4["server"], str(COAP), "50").result()["answered"]
        counts.append(tracked())
    sent = source.result()["sent"]
    bulk.fates.append((
        "exhaustion of connection tracking: allowed requests from every port",
        f"{sent / 10:.0f}/s",
        f"{answered} of 400 requests of others answered; at most {max(counts)} connections kept in mind",
    ))  # fmt: skip
    until(lambda: bulk.run("neighbour", "rtt", IPV4["server"], str(COAP), "20").result()["answered"] == 20,
          "others are answered as before", 20.0)  # fmt: skip
    assert answered > 0
