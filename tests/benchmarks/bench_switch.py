"""Flows for devices and relationships, and how long it takes until they are in the switch. ./lab bench switch

From the start of the controller; when a switch comes back without flows, as after its own restart; and when
it comes back with them.
"""

import subprocess
import time
from pathlib import Path

import pytest

from tests.benchmarks import grown
from tests.benchmarks.bench_forward import CROWD_PORT
from tests.benchmarks.record import Recorder
from tests.benchmarks.rig import (
    CROWD,
    HOSTS,
    behind_graphwall,
    flows,
    flows_for_a_while,
    flows_held,
    in_place,
)
from topologies.demo.stage import Stage
from topologies.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.benchmark, pytest.mark.timeout(600)]

SIZES = ((4, 10), (200, 1_000), (2_000, 10_000))  # services, relationships
TIMES = 3
BOUNDS = {10_000: 2.0}  # s


def seconds_until_held(stage: Stage, wanted: int, begin: float) -> float:
    until(lambda: flows_held(stage) >= wanted, "all flows are there", 60.0, 0.02)
    return time.monotonic() - begin


def controller_of(stage: Stage, *words: str) -> None:
    bridge = stage.laboratory.network.bridge("s1")
    subprocess.run(["ovs-vsctl", "--timeout=10", words[0], bridge, *words[1:]], check=True)


def come_back(stage: Stage, wanted: int) -> float:
    """The switch loses its controller, and with it its flows, and then calls it again."""
    target = f"tcp:127.0.0.1:{stage.guarded.openflow_port}"
    controller_of(stage, "del-controller")
    until(lambda: flows_held(stage) == 0, "the switch is empty", 20.0, 0.02)
    begin = time.monotonic()
    controller_of(stage, "set-controller", target)
    return seconds_until_held(stage, wanted, begin)


@pytest.mark.parametrize(("services", "relationships"), SIZES)
def test_flows_and_the_time_until_they_are_there(
    services: int, relationships: int, tmp_path: Path, record: Recorder
) -> None:
    saved = grown.site(services, relationships, port=CROWD_PORT)
    site = {"networks": [grown.NETWORK], "devices_at_most": 20_000}
    with behind_graphwall(
        tmp_path, HOSTS + CROWD, site, lambda stage: grown.keep(stage.guarded.state, saved)
    ) as stage:
        wanted = in_place(stage, relationships) - flows_for_a_while(stage)
        empty = [come_back(stage, wanted) for _ in range(TIMES)]
        in_place(stage, wanted)
        starts, kept = [], []
        for _ in range(TIMES):
            stage.guarded.stop()
            controller_of(stage, "del-controller")
            until(lambda: flows_held(stage) == 0, "the switch is empty", 20.0, 0.02)
            controller_of(stage, "set-controller", f"tcp:127.0.0.1:{stage.guarded.openflow_port}")
            begin = time.monotonic()
            stage.guarded.start()
            starts.append(seconds_until_held(stage, wanted, begin))
            stage.guarded.stop()
            begin = time.monotonic()
            stage.guarded.start()
            flows(stage)
            kept.append(time.monotonic() - begin)
            assert flows_held(stage) > relationships
    devices = services // grown.SERVICES_EACH
    note = f"{devices:,} devices: {wanted / relationships:.1f} flows for each relationship"
    of = f"{relationships:,} relationships"
    record(f"{of}: flows in the switch", wanted, "flows", curve="flows", x=relationships, note=note)
    record.runs(f"{of}: switch comes back empty, until all flows are there", empty, "s",
                at_most=BOUNDS.get(relationships), curve="empty", x=relationships)  # fmt: skip
    record.runs(f"{of}: controller started anew, until all flows are in an empty switch", starts, "s",
                curve="start", x=relationships)  # fmt: skip
    record.runs(f"{of}: controller started anew, until it serves a switch that kept its flows", kept, "s",
                curve="kept", x=relationships, note="traffic flows by them all the time")  # fmt: skip


def test_flows_are_linear_in_devices_and_relationships(record: Recorder) -> None:
    """Counted by the compiler, without a switch: slopes by least squares over a grid of sites."""
    numpy = pytest.importorskip("numpy")
    rows, counts = [], []
    for devices in (100, 400, 1_600):
        for each in (2, 5, 20):
            rows.append((1.0, devices, devices * each))
            counts.append(len(grown.compiled(grown.site(2 * devices, devices * each))))
    (base, of_device, of_relationship), *_ = numpy.linalg.lstsq(numpy.array(rows), numpy.array(counts))
    predicted = numpy.array(rows) @ numpy.array((base, of_device, of_relationship))
    off = float(abs(predicted / numpy.array(counts) - 1).max())
    record("flows for each device", float(of_device), "flows", note=f"and {base:.0f} for the switch itself")
    record("flows for each relationship of TCP between a pair of its own", float(of_relationship), "flows",
           note=f"linear: no site of the grid is off by more than {off:.2%}")  # fmt: skip
