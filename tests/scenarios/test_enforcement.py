"""Decisions reach the switch at once and disturb nobody; a killed controller loses nothing.

A real Open vSwitch with hosts of Mininet, and probes every millisecond.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.guarded import (
    HOSTS,
    Programs,
    graduated,
    guarded,
    latencies,
    programs,
    relationship,
    treatment,
)
from topologies.demo.stage import Stage
from topologies.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.timeout(240)]

DECISIONS = 200
KILLS = 3
KNOWN = (8000, 8001, 8002, 8003, 8005)  # where the server serves while everybody learns


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Graduated hosts: the prober may probe the echoer, the asker may get /known at each KNOWN port."""
    with guarded(HOSTS, tmp_path_factory.mktemp("site")) as made, programs(made) as run:
        run.ready("echoer", "echo", "9000")
        run("prober", "send", "10.0.0.4", "9000", "2000").result()
        for port in map(str, KNOWN):
            server = run.ready("server", "serve", port)
            assert set(run("asker", "get", "10.0.0.2", port, *["/known"] * 3).lines()) == {"200"}
            if port != "8000":
                server.end()
        assert graduated(made, 1 + len(KNOWN))
        until(lambda: treatment(made, "prober", "echoer", 9000) == "forward", "the probe's pair is forwarded")
        yield made
        counters = made.guarded.get("status")["counters"]
        assert counters["flows repaired"] == 0, "a reading has found a difference that nobody has made"


def connection(stage: Stage, port: int) -> dict[str, Any] | None:
    """The relationship that stands for connecting to a port at all, if there is one."""
    edges = stage.guarded.get("graph")["relationships"]
    return next((e for e in edges if e["relationship"]["endpoint"]["port"] == port), None)


@pytest.fixture
def run(stage: Stage) -> Iterator[Programs]:
    with programs(stage) as started:
        yield started


def test_two_hundred_decisions_come_into_force_and_cost_no_probe(stage: Stage, run: Programs) -> None:
    run.ready("server", "serve", "8001")
    assert "200" not in run("asker", "get", "10.0.0.2", "8001", "/new").lines()
    edge = until(lambda: relationship(stage, "/new"), "the attempt is asked about")
    probe = run.ready("prober", "send", "10.0.0.4", "9000", "12000")
    assert len(latencies(stage, edge["id"], DECISIONS)) == DECISIONS
    result = probe.result()
    assert result["lost"] == 0, result


def test_what_is_pending_is_not_served_and_what_is_approved_is(stage: Stage, run: Programs) -> None:
    server = run.ready("server", "serve", "8002")
    assert "200" not in run("asker", "get", "10.0.0.2", "8002", "/door").lines()
    edge = until(lambda: relationship(stage, "/door"), "the attempt is asked about")
    assert edge["relationship"]["status"] == "pending"
    made = stage.guarded.answer(edge["id"], approve=True)
    assert made["in_force"]
    assert run("asker", "get", "10.0.0.2", "8002", "/door").lines() == ["200"]
    assert server.line() == "/door"


def test_once_allows_one_message(stage: Stage, run: Programs) -> None:
    run.ready("server", "serve", "8003")
    run("asker", "get", "10.0.0.2", "8003", "/once").lines()
    edge = until(lambda: relationship(stage, "/once"), "the attempt is asked about")
    assert stage.guarded.answer(edge["id"], approve=True, duration="once")["in_force"]
    answers = run("asker", "get", "10.0.0.2", "8003", "/once", "/once").lines()
    assert answers[0] == "200"
    assert answers[1] != "200"


def test_denied_pair_is_dropped_in_the_switch(stage: Stage, run: Programs) -> None:
    # Nothing is known at this port, so that the connection itself is asked about.
    run.ready("server", "serve", "8004")
    run("asker", "get", "10.0.0.2", "8004", "/no").lines()
    edge = until(lambda: connection(stage, 8004), "the attempt is asked about")
    assert stage.guarded.answer(edge["id"], approve=False)["in_force"]
    assert treatment(stage, "asker", "server", 8004) == "drop"
    assert "200" not in run("asker", "get", "10.0.0.2", "8004", "/no").lines()


def test_killed_controller_loses_no_decision_and_no_packet(stage: Stage, run: Programs) -> None:
    firewall = stage.guarded
    run.ready("server", "serve", "8005")
    for number in range(KILLS):
        path = f"/kill-{'abc'[number]}"
        run("asker", "get", "10.0.0.2", "8005", path).lines()
        edge = until(lambda wanted=path: relationship(stage, wanted), "the attempt is asked about")
        probe = run.ready("prober", "send", "10.0.0.4", "9000", "8000")
        held = run("asker", "hold", "10.0.0.2", "8000", "8")
        made = firewall.answer(edge["id"], approve=number != 1)
        firewall.kill(signal.SIGKILL)
        firewall.start()
        edge = until(lambda wanted=path: relationship(stage, wanted), "the model is back")
        assert edge["relationship"]["status"] == ("denied" if number == 1 else "approved")
        assert edge["relationship"]["decision"] == made["decision"]
        until(lambda: firewall.get("status")["inspector"], "the inspector is adopted")
        result, connection = probe.result(), held.result()
        assert result["lost"] == 0, result
        assert connection["error"] == ""
        assert connection["served"] > 0


def test_controller_stops_within_two_seconds_and_leaves_no_process(tmp_path: Path) -> None:
    with guarded(HOSTS, tmp_path) as made:
        firewall = made.guarded
        group = firewall.processes()
        assert len(group) >= 2  # controller and inspector
        assert firewall.kill(signal.SIGTERM) < 2.0
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in group), "no process is left", 1.0)
        assert os.getpid() not in group
