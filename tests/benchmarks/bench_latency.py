"""What inspection costs: round trips of a CoAP request on a plain switch, forwarded, and inspected.

Both switches run at the same time on the same machine, and the runs alternate; medians are printed.
Run with: sudo ./lab bench latency
"""

import statistics
from pathlib import Path

import pytest

from tests.scenarios.guarded import graduated, guarded, programs, treatment
from topologies import marks, schema
from topologies.laboratory import Laboratory, Setting
from topologies.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.benchmark, pytest.mark.timeout(600)]

ROUNDS, REQUESTS = 30, 300  # short rounds, so that both sides of a pair meet the same machine

# Two hosts only: the userspace datapath asks every port of the machine in turn.
HOSTS = """
name: Two hosts
description: A client and a CoAP server.
network: 10.0.0.0/24
switches:
  - {name: s1, dpid: 1}
hosts:
  - {name: prober, switch: s1, mac: "02:00:00:00:00:03", ipv4: 10.0.0.3}
  - {name: echoer, switch: s1, mac: "02:00:00:00:00:04", ipv4: 10.0.0.4}
"""


class _Plain:
    """Stands for a Stage where only programs are started."""

    def __init__(self, laboratory: Laboratory) -> None:
        self.laboratory = laboratory


def test_round_trip_of_an_inspected_message(tmp_path: Path) -> None:
    file = tmp_path / "plain.yaml"
    file.write_text(HOSTS, encoding="utf-8")
    setting = Setting(firewall=False, prefix=marks.free_prefix())
    with Laboratory(schema.read(str(file)), setting) as plain, guarded(HOSTS, tmp_path) as stage:
        bare = _Plain(plain)
        with programs(bare) as there, programs(stage) as here:  # type: ignore[arg-type]
            for run in (there, here):
                run.ready("echoer", "coap", "5683")
                run("prober", "rtt", "10.0.0.4", "5683", "500").result()
            assert graduated(stage, 1)
            until(lambda: treatment(stage, "prober", "echoer", 5683) == "inspect", "the pair is inspected")
            found: dict[str, list[float]] = {"plain": [], "inspect": []}
            for _ in range(ROUNDS):
                for name, run in (("plain", there), ("inspect", here)):
                    result = run("prober", "rtt", "10.0.0.4", "5683", str(REQUESTS)).result()
                    assert result["answered"] == REQUESTS
                    found[name].append(result["p50"] * 1000)
    added = sorted(i - p for p, i in zip(found["plain"], found["inspect"], strict=True))
    plain, inspected = (statistics.median(times) for times in found.values())
    low, middle, high = statistics.quantiles(added, n=4)
    print(
        f"\nround trip of a CoAP request, p50 of {REQUESTS}, median of {ROUNDS} alternating pairs of rounds"
    )
    print(f"plain switch {plain:.3f} ms, inspected {inspected:.3f} ms, ratio {inspected / plain:.2f}")
    print(f"added {middle:.3f} ms (half of the pairs between {low:.3f} and {high:.3f} ms)")
