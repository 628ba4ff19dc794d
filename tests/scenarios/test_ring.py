"""Three switches in a ring: devices find each other, broadcasts do not loop, and a cut link is survived.

Real Open vSwitch bridges under one Graphwall.
"""

import subprocess
from collections.abc import Iterator

import pytest

from tests.scenarios.guarded import graduated, guarded, programs, treatment
from topologies.demo.stage import Stage
from topologies.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.timeout(240)]

REROUTED_WITHIN = 1.0  # seconds

GUEST = "02:00:00:00:00:06"
RING = """
name: Ring
description: Three switches in a ring, and bare hosts.
network: 10.0.0.0/24
switches:
  - {name: s1, dpid: 1}
  - {name: s2, dpid: 2}
  - {name: s3, dpid: 3}
links:
  - {between: [s1, s2]}
  - {between: [s2, s3]}
  - {between: [s3, s1]}
hosts:
  - {name: asker, switch: s1, mac: "02:00:00:00:00:01", ipv4: 10.0.0.1}
  - {name: server, switch: s2, mac: "02:00:00:00:00:02", ipv4: 10.0.0.2}
  - {name: prober, switch: s1, mac: "02:00:00:00:00:03", ipv4: 10.0.0.3}
  - {name: echoer, switch: s2, mac: "02:00:00:00:00:04", ipv4: 10.0.0.4}
  - {name: third, switch: s3, mac: "02:00:00:00:00:05", ipv4: 10.0.0.5}
  - {name: guest, switch: s1, mac: "02:00:00:00:00:06", ipv4: 10.0.0.6, joins: later}
"""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with guarded(RING, tmp_path_factory.mktemp("ring")) as made:
        yield made


def test_ring_learns_forwards_and_survives_a_cut_link(stage: Stage) -> None:
    firewall = stage.guarded
    until(
        lambda: sum(len(s["links"]) for s in firewall.get("switches")["switches"]) == 6,
        "all links are found",
        20.0,
    )
    with programs(stage) as run:
        run.ready("echoer", "echo", "9000")
        run.ready("server", "serve", "8000")
        first = run("prober", "send", "10.0.0.4", "9000", "2000").result()
        assert first["lost"] < 1000, first
        assert set(run("asker", "get", "10.0.0.2", "8000", *["/known"] * 3).lines()) == {"200"}
        assert graduated(stage, 2)
        until(
            lambda: treatment(stage, "prober", "echoer", 9000) == "forward", "the probe's pair is forwarded"
        )

        probe = run.ready("prober", "send", "10.0.0.4", "9000", "6000")
        stage.laboratory.network.set_trunk("s1", "s2", up=False)
        result = probe.result()
        assert 0 < result["longest_gap"] < REROUTED_WITHIN, result
        assert run("asker", "get", "10.0.0.2", "8000", "/known").lines() == ["200"]
        assert "200" not in run("asker", "get", "10.0.0.2", "8000", "/other").lines()

        stage.laboratory.network.set_trunk("s1", "s2", up=True)
        until(
            lambda: sum(len(s["links"]) for s in firewall.get("switches")["switches"]) == 6,
            "the link is back",
            10.0,
        )
        again = run("prober", "send", "10.0.0.4", "9000", "2000").result()
        assert again["lost"] == 0, again


def test_each_switch_has_the_graph_of_its_own_devices(stage: Stage) -> None:
    firewall = stage.guarded
    whole = {edge["id"] for edge in firewall.get("graph")["relationships"]}
    parts = [
        {e["id"] for e in firewall.get("graph", switch=name)["relationships"]} for name in ("s1", "s2", "s3")
    ]
    assert set.union(*parts) == whole
    assert parts[0] == whole
    assert not parts[2]


def roam(stage: Stage, host: str, old: str, new: str) -> None:
    """The host's cable comes out of one switch and into another."""
    network = stage.laboratory.network
    port = network.port_of(stage.topology.host(host))
    subprocess.run(["ovs-vsctl", "del-port", network.bridge(old), port], check=True)
    subprocess.run(["ovs-vsctl", "add-port", network.bridge(new), port], check=True)


def test_device_that_roams_between_switches_keeps_what_it_may_and_gets_nothing_more(stage: Stage) -> None:
    firewall = stage.guarded
    stage.laboratory.network.join("guest")  # no port is laid down for it, as there is for the others
    with programs(stage) as run:
        run.ready("echoer", "echo", "9000")
        run.ready("server", "serve", "8000")

        def asks(path: str) -> bool:
            return "200" in run("guest", "get", "10.0.0.2", "8000", path).lines()

        def allowed() -> bool:
            """Whether the guest reads /known; what it has to be allowed for that is allowed."""
            answered = asks("/known")
            for card in firewall.requests():
                firewall.answer(card["id"], approve=True)
            return answered

        until(allowed, "the guest is admitted, and may read", 30.0)
        guest = next(d["id"] for d in firewall.get("devices")["devices"] if d["mac"] == GUEST)
        probe = run.ready("prober", "send", "10.0.0.4", "9000", "5000")
        for old, new in (("s1", "s3"), ("s3", "s1")):
            roam(stage, "guest", old, new)
            until(lambda: asks("/known"), f"what is allowed works at {new}", 20.0)
            edges = firewall.get("graph", switch=new)["relationships"]
            assert guest in {edge["client_device"] for edge in edges}
        assert not asks("/other")
        assert probe.result()["lost"] == 0  # a pair that has nothing to do with it
