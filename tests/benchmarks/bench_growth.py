"""What a site costs as it grows: memory of its graph, loading, compiling, one change, flows.

The home of the demonstrator learns for real; else no switch and no sockets: the firewall itself.
./lab bench growth
"""

import gc
import sqlite3
import statistics
import tracemalloc
from contextlib import closing
from pathlib import Path
from time import perf_counter

import pytest

from controller.commands.run import COLLECT
from controller.config import parse
from controller.events import Answer, Decide, Record, SendFlows
from controller.firewall.firewall import Firewall
from controller.model.graph import CommunicationGraph
from controller.store.store import FILE, Store
from tests.benchmarks.grown import BEGAN, NETWORK, SWITCH, site, switch_up
from tests.benchmarks.record import Recorder, centile
from tests.scenarios.guarded import graduated, guarded

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(600)]

SITE = f"networks: [{NETWORK}]\nbindings: static\n"
DECISIONS = 50
PAPER = 34  # KB for the communication relationships of 20 services
SIZES = ((200, 1_000), (2_000, 10_000), (10_000, 100_000))
BOUNDS = {100_000: (60.0, 3.0, 3.0, 5.0)}  # MB, s to load, s to compile, ms for one change


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


def memory(path: Path) -> tuple[CommunicationGraph, int]:
    """The graph of a stored site, with all that only it holds: bytes."""
    loaded(path)  # what every process has once
    gc.collect()
    tracemalloc.start()
    graph = CommunicationGraph(loaded(path).relationships)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return graph, size


@pytest.mark.root
@pytest.mark.mininet
def test_communication_graph_of_the_home(tmp_path: Path, record: Recorder) -> None:
    """smart_home.yaml with its 20 services, learnt by Graphwall from what they really do."""
    learning = {"minimum": "25s", "quiet": "8s", "maximum": "90s"}
    with guarded("smart_home", tmp_path, {"admission": "automatic", "learning": learning}) as stage:
        stage.laboratory.join("battery-2")
        stage.laboratory.wait_ready()
        assert graduated(stage, 12)
        stage.guarded.stop()
        path = stored(tmp_path / "home", loaded(stage.guarded.state / FILE))
    graph, size = memory(path)
    services = len(graph.networkx)
    with closing(sqlite3.connect(path)) as database:
        (pages,) = database.execute(
            "SELECT sum(pgsize) FROM dbstat WHERE name LIKE '%relationship%'"
        ).fetchone()
    note = f"{len(graph)} relationships of {services} services and devices; the paper: {PAPER} KB"
    record("communication graph of smart_home.yaml in memory", size / 1024, "KB", at_most=17.0, note=note)
    record("communication graph of smart_home.yaml stored", pages / 1024, "KB", at_most=8.0, note=note)


@pytest.mark.parametrize(("services", "relationships"), SIZES)
def test_memory_of_the_communication_graph(
    services: int, relationships: int, tmp_path: Path, record: Recorder
) -> None:
    graph, size = memory(stored(tmp_path / "state", site(services, relationships)))
    assert len(graph) == relationships
    record(
        f"communication graph, {services:,} services, {relationships:,} relationships", size / 1e6, "MB",
        at_most=BOUNDS.get(relationships, (None,))[0], curve="graph in memory", x=relationships,
        note=f"{size / relationships:,.0f} bytes for each relationship",
    )  # fmt: skip


@pytest.mark.parametrize(("services", "relationships"), SIZES)
def test_time_of_loading_compiling_and_deciding(
    services: int, relationships: int, tmp_path: Path, record: Recorder
) -> None:
    gc.set_threshold(*COLLECT)  # as the controller does
    path = stored(tmp_path / "state", site(services, relationships, pending=DECISIONS))
    began = perf_counter()
    saved = loaded(path)
    read = perf_counter()
    firewall = Firewall(parse(SITE, "site.yaml"), saved, b"secret")
    ready = perf_counter()
    now = BEGAN + 1_000_000
    effects = firewall.handle(switch_up(), now)
    compiled = perf_counter()
    flows = sum(len(e.change.add) for e in effects if isinstance(e, SendFlows) and e.switch == SWITCH)
    took = []
    for number, request in enumerate(firewall.view(now).requests[:DECISIONS]):
        before = perf_counter()
        done = firewall.handle(Decide(number + 1, request.id, approve=True, by="bench"), now)
        took.append((perf_counter() - before) * 1000)
        assert any(isinstance(effect, Answer) and effect.code is None for effect in done)
    before = perf_counter()
    view = firewall.view(now)
    taken = perf_counter()
    assert len(view.relationships) == relationships
    assert len(view.pairs) > 0
    made = perf_counter()
    _, to_load, to_compile, to_change = BOUNDS.get(relationships, (None,) * 4)
    of = f"{relationships:,} relationships"
    record(f"{of}: loaded from the store", read - began, "s", at_most=to_load, curve="loaded",
           x=relationships, note=f"and ready for events after {ready - read:.2f} s more")  # fmt: skip
    record(f"{of}: compiled into flows", compiled - ready, "s", at_most=to_compile, curve="compiled",
           x=relationships, note=f"{flows:,} flows")  # fmt: skip
    record(f"{of}: one change, from decision to its flows", statistics.median(took), "ms",
           at_most=to_change, runs=len(took), curve="one change", x=relationships,
           note=f"p99 {centile(took, 99):.2f} ms")  # fmt: skip
    record(f"{of}: a view of the site, for the thread that decides", (taken - before) * 1000, "ms",
           curve="view", x=relationships)  # fmt: skip
    record(f"{of}: a view of the site, for the thread that looks at all of it", (made - taken) * 1000, "ms",
           x=relationships)  # fmt: skip
