"""What an allowed pair costs: throughput and round trips against the same switch with NORMAL.

With 10, 1,000 and 10,000 relationships of other devices installed. ./lab bench forward
"""

from pathlib import Path

import pytest

from controller.events import Record
from controller.store.store import FILE, Store
from tests.benchmarks import grown
from tests.benchmarks.record import Recorder, centile
from tests.benchmarks.rig import (
    CROWD,
    HOSTS,
    SERVER,
    Pair,
    alternating,
    behind_graphwall,
    in_place,
    pair,
    plain,
    settled,
    teach,
)
from tests.scenarios.guarded import treatment
from topologies.demo.stage import Stage
from topologies.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.benchmark, pytest.mark.timeout(600)]

SKIPPED = (512, 590)  # with 1,000 relationships
SIZES = (10, 1_000, 10_000)
SECONDS, ROUNDS = 0.12, 18
EXCHANGES, ROUNDS_OF_EXCHANGES = 400, 40
CROWD_PORT = 3
# Frame, and bytes of UDP payload, or of a TCP segment (88 is the least that Linux takes).
UDP = {64: 18, 512: 466, 1518: 1472}
TCP = {142: 88, 590: 536, 1518: 0}


def grow(stage: Stage, relationships: int) -> None:
    """More devices and relationships in the store, while nothing runs."""
    made = grown.site(max(relationships // 5, 4), relationships, port=CROWD_PORT)
    store = Store(stage.guarded.state / FILE)
    known = {device.id: device for device in store.load().devices}
    first = max((device.number for device in known.values()), default=0) + 100_000
    devices = tuple(
        known.get(device.id) or grown.numbered(device, first + place)
        for place, device in enumerate(made.devices)
    )
    store.write(Record(devices, made.services, made.relationships))
    store.close()


def test_forwarded_pair(tmp_path: Path, record: Recorder) -> None:
    with (
        plain() as bare,
        behind_graphwall(tmp_path, HOSTS + CROWD) as stage,
        pair(stage.laboratory.network) as made,
    ):
        teach(made, ("datagram", "echo"))
        settled(stage)
        for relationships in SIZES:
            stage.guarded.stop()
            grow(stage, relationships)
            stage.guarded.start()
            installed = in_place(stage, relationships)
            for port in (9000, 9001, 9002):
                until(
                    lambda port=port: treatment(stage, "client", "server", port) == "forward",
                    f"port {port} is forwarded", 60.0, 0.5,
                )  # fmt: skip
            measure(bare, made, relationships, installed, record)


def measure(bare: Pair, made: Pair, relationships: int, installed: int, record: Recorder) -> None:
    with_ = f"with {relationships:,} relationships"
    curve: dict[str, object] = {"x": relationships, "note": f"{installed:,} flows"}
    for frame, size in UDP.items():
        if relationships == 1_000 and frame in SKIPPED:
            continue
        found = alternating(made, bare, ROUNDS, lambda pair, s=size: pair.delivered(s, SECONDS))
        name = f"UDP, {frame} B frames"
        record.ratio(f"{name}, {with_}", *found, "datagrams/s", at_least=0.98, curve=name, **curve)
    for frame, size in TCP.items():
        if relationships == 1_000 and frame in SKIPPED:
            continue
        how = {"address": SERVER, "size": size, "seconds": SECONDS}
        found = alternating(made, bare, ROUNDS, lambda pair, h=how: pair.client("tcp", **h) / 1e6)
        name = f"TCP, {frame} B frames"
        record.ratio(f"{name}, {with_}", *found, "Mbit/s", at_least=0.98, curve=name, **curve)
    how = {"kind": "datagram", "address": SERVER, "count": EXCHANGES}
    here, there = alternating(made, bare, ROUNDS_OF_EXCHANGES, lambda pair: pair.client("rtt", **how))
    assert all(len(times) == EXCHANGES for times in (*here, *there))
    for part, bound in ((50, 5.0), (99, 20.0)):
        values, bases = ([centile(times, part) * 1e6 for times in side] for side in (here, there))
        record.added(
            f"added round-trip time, p{part}, {with_}", values, bases, "µs", at_most=bound,
            curve=f"added p{part}", **curve,
        )  # fmt: skip
