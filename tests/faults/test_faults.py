"""Parts die, hang, fill up and move while traffic flows: what is allowed goes on, what is denied stays out.

The site runs in namespaces of its own with an Open vSwitch of its own, since it is that which is killed.
"""

import json
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Fate
from tests.faults import keeping

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.faults]

QUICK = (
    "controller killed", "inspector killed", "switch and its database killed", "inspector hangs",
    "disk full", "database truncated", "clock jumps by a day",
)  # fmt: skip
LONG = (
    "controller and inspector killed", "switch killed", "switch database killed",
    "controller hangs for 10 s", "switch hangs for 10 s", "switch database hangs for 10 s",
    "controller gone for 60 s", "controller unreachable for 60 s",
    "disk turns read-only", "database with flipped bits", "database without its head",
    "link flaps", "port moved", "hosts roam between switches", "100 restarts", "soak",
)  # fmt: skip
# When its database comes back, Open vSwitch configures its ports anew, which may cost some hundred ms; a
# host that roams is not there meanwhile.
MAY_LOSE_PROBES = {
    "switch killed", "switch database killed", "switch and its database killed", "switch hangs for 10 s",
    "hosts roam between switches",
}  # fmt: skip
# A connection that is read does not outlive its reader, nor the cable or the switch that it goes through.
MAY_CLOSE = {
    "inspector killed", "inspector hangs", "controller and inspector killed", "switch killed",
    "switch and its database killed", "switch hangs for 10 s", "link flaps", "port moved",
    "hosts roam between switches", "disk turns read-only",
}  # fmt: skip

NEEDED: Mapping[str, Path | None] = {
    "clock jumps by a day": keeping.LIBFAKETIME,
    "disk turns read-only": keeping.LOOP,
}


def possible(faults: Sequence[str]) -> list[str]:
    return [fault for fault in faults if fault not in NEEDED or ((n := NEEDED[fault]) and n.exists())]


def broken(folder: Path, faults: Sequence[str], seconds: float) -> dict[str, Any]:
    """What was told of each fault."""
    inner = shlex.join([sys.executable, "-m", "tests.faults.breaking", str(folder), *possible(faults)])
    script = f"mount -t sysfs sysfs /sys && ip link set lo up && exec {inner}"
    with (folder / "errors.txt").open("w+", encoding="utf-8") as errors:
        done = subprocess.run(
            ["unshare", "--net", "--mount", "sh", "-c", script],
            stdout=subprocess.PIPE, stderr=errors, text=True, check=False, timeout=seconds, cwd=ROOT,
        )  # fmt: skip
        errors.seek(0)
        assert done.returncode == 0, errors.read()[-3000:]
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {one["fault"]: one for one in told}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return broken(tmp_path_factory.mktemp("quick"), QUICK, 170)


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return broken(tmp_path_factory.mktemp("long"), LONG, 3000)


def judged(fault: str, told: dict[str, Any], fates: list[Fate]) -> None:
    if fault not in told:
        pytest.skip(f"{NEEDED[fault] or 'libfaketime'} is not on this machine")
    one = told[fault]
    connection = one["error"] or f"served {one['served']} times"
    fates.append((
        f"fault: {fault}",
        f"{one['sent']} probes, {one['attacks']} attack packets",
        f"{one['lost']} probes lost (gap {one['longest_gap']:.2f} s), {one['delivered']} attacks arrived; "
        f"open connection {connection}; {one['note']}".rstrip("; "),
    ))  # fmt: skip
    assert not one["failed"], one["failed"]
    assert one["delivered"] == 0
    assert one["attacks"] > 0
    assert one["lost"] == 0 or fault in MAY_LOSE_PROBES
    assert not one["error"] or fault in MAY_CLOSE
    assert "leaked" not in one["note"] or "nothing leaked" in one["note"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("fault", QUICK)
def test_traffic_survives(fault: str, quick: dict[str, Any], fates: list[Fate]) -> None:
    judged(fault, quick, fates)


@pytest.mark.long
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("fault", LONG)
def test_traffic_survives_for_long(fault: str, long: dict[str, Any], fates: list[Fate]) -> None:
    judged(fault, long, fates)
