"""What a site costs as it grows: memory of its graph, loading, compiling, one decision, flows.

No switch and no sockets: the firewall itself. ./lab bench growth
"""

import gc
import statistics
import tracemalloc
from pathlib import Path
from time import perf_counter

import pytest

from controller.config import parse
from controller.events import Answer, Decide, Record, SendFlows
from controller.firewall.firewall import Firewall
from controller.model.graph import CommunicationGraph
from controller.store.store import FILE, Store
from tests.benchmarks.grown import BEGAN, NETWORK, SWITCH, site, switch_up

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

SITE = f"networks: [{NETWORK}]\nbindings: static\n"
DECISIONS = 50


def stored(folder: Path, record: Record) -> Path:
    folder.mkdir(exist_ok=True)
    store = Store(folder / FILE)
    store.write(record)
    store.close()
    return folder / FILE


def loaded(path: Path) -> Record:
    store = Store(path)
    try:
        return store.load()
    finally:
        store.close()


@pytest.mark.parametrize(("services", "relationships"), [(20, 30), (1_000, 10_000), (10_000, 100_000)])
def test_memory_of_the_communication_graph(services: int, relationships: int, tmp_path: Path) -> None:
    path = stored(tmp_path / "state", site(services, relationships))
    loaded(path)  # what every process has once
    gc.collect()
    tracemalloc.start()
    graph = CommunicationGraph(loaded(path).relationships)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(graph) == relationships
    print(
        f"\n{services:,} services, {relationships:,} relationships: graph {size / 1024:,.1f} KB in memory "
        f"({size / relationships:,.0f} bytes each)"
    )


@pytest.mark.parametrize(("services", "relationships"), [(200, 1_000), (2_000, 10_000), (10_000, 100_000)])
def test_time_of_loading_compiling_and_deciding(services: int, relationships: int, tmp_path: Path) -> None:
    path = stored(tmp_path / "state", site(services, relationships, pending=DECISIONS))
    began = perf_counter()
    record = loaded(path)
    read = perf_counter()
    firewall = Firewall(parse(SITE, "site.yaml"), record, b"secret")
    ready = perf_counter()
    now = BEGAN + 1_000_000
    effects = firewall.handle(switch_up(), now)
    compiled = perf_counter()
    flows = sum(len(e.change.add) for e in effects if isinstance(e, SendFlows) and e.switch == SWITCH)
    took = []
    for number, request in enumerate(firewall.view(now).requests[:DECISIONS]):
        before = perf_counter()
        done = firewall.handle(Decide(number + 1, request.id, approve=True, by="bench"), now)
        took.append(perf_counter() - before)
        assert any(isinstance(effect, Answer) and effect.code is None for effect in done)
    before = perf_counter()
    firewall.view(now)
    viewed = perf_counter() - before
    print(f"\n{services:,} services, {relationships:,} relationships, {flows:,} flows:")
    print(
        f"  read in {read - began:.2f} s, ready in {ready - read:.2f} s, compiled in {compiled - ready:.2f} s"
    )
    typical, worst = statistics.median(took) * 1000, max(took) * 1000
    print(f"  a decision {typical:.2f} ms (worst {worst:.2f}), a view {viewed * 1000:.0f} ms")
