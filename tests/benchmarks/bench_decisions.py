"""How long a decision takes until the switch and the inspector carry it out. ./lab bench decisions"""

import statistics
from pathlib import Path

import pytest

from tests.scenarios.guarded import HOSTS, graduated, guarded, latencies, programs, relationship
from topologies.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.benchmark, pytest.mark.timeout(300)]

DECISIONS = 200


def test_from_decision_to_in_force(tmp_path: Path) -> None:
    with guarded(HOSTS, tmp_path) as stage, programs(stage) as run:
        run.ready("server", "serve", "8000")
        run("asker", "get", "10.0.0.2", "8000", *["/known"] * 3).lines()
        assert graduated(stage, 1)
        run("asker", "get", "10.0.0.2", "8000", "/new").lines()
        edge = until(lambda: relationship(stage, "/new"), "the attempt is asked about")
        found = sorted(seconds * 1000 for seconds in latencies(stage, edge["id"], DECISIONS))
    assert len(found) == DECISIONS
    centiles = statistics.quantiles(found, n=100)
    print(f"\n{DECISIONS} decisions: in force after p50 {centiles[49]:.1f} ms, p99 {centiles[98]:.1f} ms")
