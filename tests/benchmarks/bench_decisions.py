"""From a decision until switch and inspector carry it out; from a new device until it may talk.

./lab bench decisions
"""

from collections.abc import Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
import pytest
from scapy.layers.l2 import ARP, Ether

from tests.benchmarks import grown
from tests.benchmarks.bench_forward import CROWD_PORT
from tests.benchmarks.record import Recorder, centile
from tests.benchmarks.rig import CROWD, HOSTS, behind_graphwall, in_place
from tests.scenarios.guarded import latencies
from tests.scenarios.wire import Wire
from topologies.demo.stage import Stage
from topologies.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.benchmark, pytest.mark.timeout(600)]

DECISIONS, ROUNDS = 40, 8
SIZES = ((40, 100), (2_000, 10_000), (10_000, 100_000))
NEWCOMERS, NEWCOMERS_A_ROUND = 40, 8


@pytest.mark.parametrize(("services", "relationships"), SIZES)
def test_from_decision_to_in_force(
    services: int, relationships: int, tmp_path: Path, record: Recorder
) -> None:
    saved = grown.site(services, relationships, pending=1, port=CROWD_PORT)
    site = {"networks": [grown.NETWORK], "devices_at_most": 20_000}
    with behind_graphwall(
        tmp_path, HOSTS + CROWD, site, lambda stage: grown.keep(stage.guarded.state, saved)
    ) as stage:
        installed = in_place(stage, relationships)
        request = until(lambda: the_request(stage), "the controller has time to answer", 120.0, 1.0)
        latencies(stage, request["id"], 20)
        rounds = [latencies(stage, request["id"], DECISIONS) for _ in range(ROUNDS)]
    assert all(len(found) == DECISIONS for found in rounds)
    for part, bound in ((50, None), (99, 20.0)):
        record.runs(
            f"decision to in force, p{part}, {relationships:,} relationships",
            [centile(found, part) * 1000 for found in rounds], "ms", at_most=bound,
            curve=f"in force p{part}", x=relationships,
            note=f"{installed:,} flows in the switch; rounds of {DECISIONS} decisions",
        )  # fmt: skip


def test_from_first_frame_to_admitted(tmp_path: Path, record: Recorder) -> None:
    """One port, one newcomer after the other: asked about, admitted by the manager, in force."""
    asked, admitted = [], []
    with behind_graphwall(tmp_path, HOSTS + CROWD, {"bindings": "first use"}) as stage:
        in_place(stage, 20)
        with Wire(stage.laboratory.network.pid("crowd")) as wire:
            for number in range(NEWCOMERS):
                mac, address = f"02:00:00:cc:00:{number:02x}", f"10.200.9.{number + 1}"
                frame = ARP(op=1, hwsrc=mac, psrc=address, pdst="10.200.0.4")
                began = monotonic()
                wire.send(Ether(src=mac, dst="ff:ff:ff:ff:ff:ff") / frame)
                card = until(lambda m=mac: newcomer(stage, m), "it is asked about", 10.0, 0.002)
                asked.append((monotonic() - began) * 1000)
                made = stage.guarded.answer(card["id"], approve=True)
                assert made["in_force"]
                admitted.append(made["latency"] * 1000)
    record("new device: from its first frame to the question", centile(asked, 50), "ms",
           runs=NEWCOMERS, note=f"p99 {centile(asked, 99):.1f} ms; asked for by the HTTP API")  # fmt: skip
    rounds = [admitted[n : n + NEWCOMERS_A_ROUND] for n in range(0, NEWCOMERS, NEWCOMERS_A_ROUND)]
    for part, bound in ((50, None), (99, 20.0)):
        record.runs(
            f"new device: from the answer until it may talk, p{part}",
            [centile(found, part) for found in rounds], "ms", at_most=bound,
            note=f"rounds of {NEWCOMERS_A_ROUND} devices",
        )  # fmt: skip


def the_request(stage: Stage) -> Mapping[str, Any] | None:
    """The only one; None while the controller has too much to do to tell."""
    try:
        return next(iter(stage.guarded.requests()), None)
    except httpx.TimeoutException:
        return None


def newcomer(stage: Stage, mac: str) -> dict[str, str] | None:
    name = mac.replace(":", "-")
    return next((dict(card) for card in stage.guarded.requests() if name in str(card)), None)
