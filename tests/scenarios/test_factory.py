"""A factory hall under the firewall: real stations and PLCs speak Modbus/TCP on a ring of three switches."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.scenarios.guarded import graduated, guarded
from topologies.demo.stage import Stage
from topologies.marks import LabError
from topologies.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.slow, pytest.mark.timeout(240)]

LINKS = 6  # each of the three from both ends
STATIONS, PLCS = ("panel", "records", "projects"), {"plc-1", "plc-2", "plc-3"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with guarded("factory", tmp_path_factory.mktemp("factory")) as made:
        services = made.laboratory.services
        for station in STATIONS:
            until(
                lambda s=station: set(services.state(s).get("readings", ())) == PLCS,
                f"{station} reads all",
                60.0,
            )  # type: ignore[misc]
        assert graduated(made, len(STATIONS) * len(PLCS))
        yield made


def links(stage: Stage) -> int:
    return sum(len(switch["links"]) for switch in stage.guarded.get("switches")["switches"])


def written(stage: Stage, plc: str) -> list[str]:
    return [e["operation"] for e in stage.laboratory.services.log(plc) if e["event"] == "served"]


def refused(stage: Stage, command: str, **what: object) -> None:
    """Have the engineering station write something; the PLC does not answer."""
    with pytest.raises(LabError, match="No response received"):
        stage.laboratory.services.command("projects", command, **what)


def card(stage: Stage, verb: str) -> Any:
    """The request about what the engineering station has just tried."""
    edges = {e["id"]: e["relationship"] for e in stage.guarded.get("graph")["relationships"]}
    for request in stage.guarded.requests():
        if any(edges[id_]["verb"] == verb for id_ in request["relationships"]):
            return request
    return None


def test_reading_goes_on_and_nobody_is_asked(stage: Stage) -> None:
    begin = time.time()
    for station in STATIONS:
        until(
            lambda s=station: any(  # type: ignore[misc]
                e["event"] == "sent" and e["time"] > begin for e in stage.laboratory.services.log(s)
            ),
            f"{station} reads again",
        )
    assert not stage.guarded.requests()


def test_a_write_that_was_never_seen_reaches_the_plc_only_after_it_was_allowed(stage: Stage) -> None:
    services = stage.laboratory.services
    refused(stage, "register", plc="plc-1", address=0, value=80)
    asked = until(lambda: card(stage, "Write Single Register"), "the site manager is asked", 20.0)
    assert asked["reason"] == "new operation"
    assert asked["risk"] == "changes"
    assert "Engineering station" in asked["sentence"]
    assert written(stage, "press") == []
    assert services.state("press").get("wanted") == 40

    stage.guarded.answer(asked["id"], approve=True)
    services.command("projects", "register", plc="plc-1", address=0, value=80)
    until(lambda: services.state("press").get("wanted") == 80, "the press has its new speed", 20.0)

    refused(stage, "register", plc="plc-2", address=0, value=80)
    until(lambda: card(stage, "Write Single Register"), "it is asked for the other PLC", 20.0)
    assert written(stage, "conveyor") == []


def test_a_cut_link_changes_nothing_of_that(stage: Stage) -> None:
    services = stage.laboratory.services
    until(lambda: links(stage) == LINKS, "all links are known", 20.0)
    stage.laboratory.network.set_trunk("s1", "s2", up=False)
    try:
        until(lambda: links(stage) == LINKS - 2, "the cut is known", 10.0)
        begin = time.time()
        until(
            lambda: any(
                e["event"] == "sent" and e["plc"] == "plc-1" and e["time"] > begin
                for e in services.log("records")
            ),
            "the historian on s2 reads the PLC on s1 the other way",
            20.0,
        )
        refused(stage, "coil", plc="plc-3", address=0, value=False)
        until(lambda: card(stage, "Write Single Coil"), "the site manager is asked", 20.0)
        assert written(stage, "packing") == []
    finally:
        stage.laboratory.network.set_trunk("s1", "s2", up=True)
    until(lambda: links(stage) == LINKS, "the link is back", 10.0)
