"""Breaks parts of a running site while traffic flows, and tells what was lost and what got through.

Run as a program in namespaces of its own (see test_faults.py), so that its Open vSwitch is its own, too:
`python -m tests.faults.breaking FOLDER FAULT …` prints one JSON object per fault.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

from tests.faults import keeping
from tests.faults.ground import Fault, Site, site
from tests.scenarios.wire import descriptors, memory
from topologies.waiting import until


def kill_controller(site: Site, pause: float = 0.0) -> None:
    site.guarded.kill(signal.SIGKILL)
    time.sleep(pause)
    site.guarded.start()


def kill_inspector(site: Site, number: signal.Signals = signal.SIGKILL) -> str:
    before = site.inspector
    os.kill(before, number)
    begin = time.monotonic()
    site.await_other_inspector(before)
    return f"another inspector after {time.monotonic() - begin:.1f} s"


def kill_controller_and_inspector(site: Site) -> str:
    before = site.inspector
    site.guarded.kill(signal.SIGKILL)
    os.kill(before, signal.SIGKILL)
    begin = time.monotonic()
    site.guarded.start()
    site.await_other_inspector(before)
    return f"both again after {time.monotonic() - begin:.1f} s"


def kill_switch(site: Site) -> None:
    site.switch.switch.kill()
    site.switch.switch.wait()
    site.switch.start_switch()


def kill_database(site: Site) -> None:
    site.switch.database.kill()
    site.switch.database.wait()
    site.switch.start_database()


def kill_both(site: Site) -> None:
    site.switch.switch.kill()
    site.switch.database.kill()
    site.switch.switch.wait()
    site.switch.database.wait()
    site.switch.start_database()
    site.switch.start_switch()


def _stop(process: int, seconds: float) -> None:
    os.kill(process, signal.SIGSTOP)
    time.sleep(seconds)
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGCONT)


def cut_off_controller(site: Site, seconds: float) -> str:
    """It runs, and no switch can reach it."""
    subprocess.run(["ip", "link", "set", "lo", "down"], check=True)
    try:
        time.sleep(seconds)
    finally:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    begin = time.monotonic()

    def connected() -> bool:
        return all(s["connected"] for s in site.guarded.get("switches")["switches"])

    until(connected, "the switches are connected again", 30.0)
    return f"connected again after {time.monotonic() - begin:.1f} s"


def flap_links(site: Site) -> None:
    """The cable of a host that has nothing to do with the traffic goes in and out."""
    port = site.port_of("asker")
    for _ in range(10):
        for way in ("down", "up"):
            subprocess.run(["ip", "link", "set", port, way], check=True)
            time.sleep(0.1)


def _plug(port: str, out_of: str, into: str, number: int) -> None:
    """A cable comes back at a port with this number."""
    subprocess.run(["ovs-vsctl", "del-port", out_of, port], check=True)
    time.sleep(0.3)
    request = ["--", "set", "Interface", port, f"ofport_request={number}"]
    subprocess.run(["ovs-vsctl", "add-port", into, port, *request], check=True)


def move_port(site: Site) -> None:
    """A host's cable comes back at another port of the switch, and at the first again."""
    bridge = site.bridge("s1")
    for number in (77, site.stage.topology.port("asker")):
        _plug(site.port_of("asker"), bridge, bridge, number)
        time.sleep(2.0)


def roam(site: Site) -> str:
    """Hosts move to another switch and back: first the one that probes, then the one that attacks."""
    here, there = site.bridge("s1"), site.bridge("s2")
    gaps = []
    for host, command in (
        ("prober", ["send", "10.0.0.4", "9000", "300"]),
        ("asker", ["get", "10.0.0.2", "8000", "/known"]),
    ):
        ways = ((here, there, 77), (there, here, site.stage.topology.port(host)))
        for out_of, into, number in ways:
            _plug(site.port_of(host), out_of, into, number)
            begin = time.monotonic()

            def works(host: str = host, command: Sequence[str] = command) -> bool:
                lines = site.run(host, *command).lines()
                return lines[-1] == "200" or '"lost": 0,' in lines[-1]

            until(works, f"{host} is served again", 20.0)
            gaps.append(f"{host} at {into.rpartition('-')[2]} {time.monotonic() - begin:.1f} s")
    return "served again: " + ", ".join(gaps)


def _counts(site: Site) -> dict[str, int]:
    bridge = site.bridge("s1")
    flows = subprocess.run(
        ["ovs-ofctl", "-OOpenFlow13", "dump-flows", bridge], check=True, capture_output=True, text=True
    ).stdout
    ports = subprocess.run(["ovs-vsctl", "list-ports", bridge], check=True, capture_output=True, text=True)
    lasting = [line for line in flows.splitlines() if "cookie" in line and "timeout" not in line]
    return {
        "flows": len(lasting),
        "ports": len(ports.stdout.splitlines()),
        "processes": len(site.guarded.processes()),
        "descriptors of the inspector": descriptors(site.inspector),
        "descriptors of the controller": descriptors(site.controller),
        "descriptors of the switch": descriptors(site.switch.switch.pid),
    }


def restart_often(site: Site, times: int) -> str:
    def settled() -> bool:
        status = site.guarded.get("status")
        return bool(status["inspector"])

    kill_controller(site)
    until(settled, "the inspector is adopted", 20.0)
    site.well()
    before = _counts(site)
    for _ in range(times):
        kill_controller(site)
        until(settled, "the inspector is adopted", 20.0)
    site.well()
    after = _counts(site)
    grown = {what: (before[what], after[what]) for what in before if after[what] > before[what] + SLACK[what]}
    return f"leaked: {grown}" if grown else f"{times} restarts, nothing leaked"


# What a moment more or less of the same traffic makes of these numbers.
SLACK: Mapping[str, int] = {
    "flows": 0, "ports": 0, "processes": 0, "descriptors of the inspector": 0,
    "descriptors of the controller": 4, "descriptors of the switch": 4,
}  # fmt: skip


def soak(site: Site, seconds: float) -> str:
    """Memory after a tenth of the time, and at the end."""
    told = []
    time.sleep(seconds / 10)
    watched = {
        "controller": site.controller, "inspector": site.inspector, "switch": site.switch.switch.pid,
    }  # fmt: skip
    before = {what: memory(process) for what, process in watched.items()}
    time.sleep(seconds * 0.85)
    for what, process in watched.items():
        grown = memory(process) - before[what]
        told.append(f"{what} {grown / 1e6:+.1f} MB")
        if grown > 16_000_000:
            told.append("leaked")
    return ", ".join(told)


SOAK = float(os.environ.get("GRAPHWALL_SOAK", "180"))  # seconds; 1800 is what a release is tried with
FAULTS: Mapping[str, Fault] = {
    "controller killed": Fault(4, kill_controller),
    "inspector killed": Fault(4, kill_inspector),
    "controller and inspector killed": Fault(4, kill_controller_and_inspector),
    "switch killed": Fault(6, kill_switch),
    "switch database killed": Fault(4, kill_database),
    "switch and its database killed": Fault(6, kill_both),
    "inspector hangs": Fault(10, partial(kill_inspector, number=signal.SIGSTOP)),
    "controller hangs for 10 s": Fault(12, lambda site: _stop(site.controller, 10)),
    "switch hangs for 10 s": Fault(14, lambda site: _stop(site.switch.switch.pid, 10)),
    "switch database hangs for 10 s": Fault(12, lambda site: _stop(site.switch.database.pid, 10)),
    "controller gone for 60 s": Fault(64, partial(kill_controller, pause=60)),
    "controller unreachable for 60 s": Fault(70, partial(cut_off_controller, seconds=60)),
    "disk full": Fault(6, keeping.fill_disk, partial(keeping.own_disk, keeping.in_memory)),
    "disk turns read-only": Fault(
        6, keeping.disk_turns_read_only, partial(keeping.own_disk, keeping.in_a_file)
    ),
    "database truncated": Fault(5, partial(keeping.damage, keeping.truncated), keeping.backed_up),
    "database with flipped bits": Fault(5, partial(keeping.damage, keeping.flipped), keeping.backed_up),
    "database without its head": Fault(5, partial(keeping.damage, keeping.headless), keeping.backed_up),
    "clock jumps by a day": Fault(6, keeping.clock_jumps, keeping.clock_of_its_own),
    "link flaps": Fault(4, flap_links),
    "port moved": Fault(7, move_port),
    "hosts roam between switches": Fault(12, roam),
    "100 restarts": Fault(120, partial(restart_often, times=100)),
    "soak": Fault(SOAK, lambda site: soak(site, SOAK)),
}


def main(words: Sequence[str]) -> None:
    with site(Path(words[0])) as made:
        for name in words[1:]:
            told = made.during(name, FAULTS[name])
            sys.stdout.write(json.dumps(asdict(told)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
