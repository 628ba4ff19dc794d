"""Breaks parts of a running site while traffic flows, and tells what was lost and what got through.

Run as a program in namespaces of its own (see test_processes.py), so that its Open vSwitch is its own, too:
`python -m tests.faults.breaking FOLDER FAULT …` prints one JSON object per fault.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.scenarios.guarded import HOSTS, Programs, graduated, guarded, programs, treatment
from tests.scenarios.wire import Wire, descriptors, memory
from topologies.demo.stage import Stage
from topologies.waiting import until

SCHEMA = Path("/usr/share/openvswitch/vswitch.ovsschema")
MARK = b"denied--"
ATTACK = (
    Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    / IP(src="10.0.0.1", dst="10.0.0.2")
    / UDP(sport=7000, dport=7777, chksum=0)
    / (MARK + bytes(4))
)
ATTACKS_A_SECOND = 200
COUNTER_AT = 42 + len(MARK)


class OpenVSwitch:
    """An Open vSwitch of our own: database, sockets and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._database: subprocess.Popen[bytes] | None = None
        self._switch: subprocess.Popen[bytes] | None = None
        os.environ.update(OVS_RUNDIR=str(folder), OVS_LOGDIR=str(folder), OVS_DBDIR=str(folder))
        subprocess.run(["ovsdb-tool", "create", str(folder / "conf.db"), str(SCHEMA)], check=True)
        self.start_database()
        subprocess.run(["ovs-vsctl", "--no-wait", "init"], check=True)
        self.start_switch()

    @property
    def _remote(self) -> str:
        return f"unix:{self._folder}/db.sock"

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        with Path(os.devnull).open("wb") as nothing:
            return subprocess.Popen(words, stdout=nothing, stderr=nothing)

    def start_database(self) -> None:
        self._database = self._start(
            "ovsdb-server", str(self._folder / "conf.db"), f"--remote=p{self._remote}",
            "--remote=db:Open_vSwitch,Open_vSwitch,manager_options", "--pidfile", "--log-file",
        )  # fmt: skip
        until(lambda: self._answers("ovs-vsctl", "--no-wait", "show"), "the database answers")

    def start_switch(self) -> None:
        self._switch = self._start("ovs-vswitchd", self._remote, "--pidfile", "--log-file")
        until(lambda: self._answers("ovs-appctl", "-t", "ovs-vswitchd", "version"), "the switch answers")

    @staticmethod
    def _answers(command: str, *words: str) -> bool:
        done = subprocess.run([command, "--timeout=2", *words], capture_output=True, check=False)
        return done.returncode == 0

    @property
    def database(self) -> subprocess.Popen[bytes]:
        assert self._database is not None
        return self._database

    @property
    def switch(self) -> subprocess.Popen[bytes]:
        assert self._switch is not None
        return self._switch

    def stop(self) -> None:
        for process in (self._switch, self._database):
            if process is not None:
                process.kill()
                process.wait()


@dataclass
class Told:
    """What became of the traffic during a fault."""

    fault: str
    sent: int = 0
    lost: int = 0
    longest_gap: float = 0.0
    served: int = 0
    error: str = ""
    attacks: int = 0
    delivered: int = 0
    note: str = ""


class Site:
    """Bare hosts behind a graduated Graphwall: a pair at line rate, one that is inspected, one denied."""

    def __init__(self, stage: Stage, run: Programs, switch: OpenVSwitch, victim: Wire) -> None:
        self.stage, self.run, self.switch, self.victim = stage, run, switch, victim

    @property
    def controller(self) -> int:
        return min(p for p in self.stage.guarded.processes() if not _is_inspector(p))

    @property
    def inspector(self) -> int:
        return next(p for p in self.stage.guarded.processes() if _is_inspector(p))

    def learn(self) -> None:
        run, stage = self.run, self.stage
        run.ready("echoer", "echo", "9000")
        run.ready("server", "serve", "8000")
        run("prober", "send", "10.0.0.4", "9000", "2000").result()
        assert set(run("asker", "get", "10.0.0.2", "8000", *["/known"] * 5).lines()) == {"200"}
        assert graduated(stage, 2)
        until(lambda: treatment(stage, "prober", "echoer", 9000) == "forward", "the pair is forwarded")

    def well(self) -> None:
        """Wait until everything works."""

        def works() -> bool:
            probed = self.run("prober", "send", "10.0.0.4", "9000", "300").result()
            asked = self.run("asker", "get", "10.0.0.2", "8000", "/known").lines()
            return bool(probed["lost"] == 0 and asked == ["200"])

        until(works, "all traffic flows again", 30.0)

    def during(self, fault: str, seconds: float, act: Callable[[], str | None]) -> Told:
        self.well()
        begin = len(self.victim.frames)
        probe = self.run.ready("prober", "send", "10.0.0.4", "9000", str(int(seconds * 1000)))
        held = self.run.ready("asker", "hold", "10.0.0.2", "8000", str(seconds))
        words = (bytes(ATTACK).hex(), str(COUNTER_AT), str(ATTACKS_A_SECOND), str(seconds + 1))
        attack = self.run.ready("asker", "flood", *words)
        note = act()
        probed, attacked, connection = probe.result(), attack.result(), held.result()
        delivered = sum(MARK in frame.raw for frame in self.victim.frames[begin:])
        return Told(
            fault, probed["sent"], probed["lost"], probed["longest_gap"], connection["served"],
            connection["error"], attacked["sent"], delivered, note or "",
        )  # fmt: skip


def _is_inspector(process: int) -> bool:
    return b"controller.inspector" in Path(f"/proc/{process}/cmdline").read_bytes()


# What breaks


def kill_controller(site: Site, pause: float = 0.0) -> None:
    site.stage.guarded.kill(signal.SIGKILL)
    time.sleep(pause)
    site.stage.guarded.start()


def kill_inspector(site: Site) -> str:
    before = site.inspector
    os.kill(before, signal.SIGKILL)
    begin = time.monotonic()
    _until_another(site, before)
    return f"another inspector after {time.monotonic() - begin:.1f} s"


def _until_another(site: Site, before: int) -> None:
    def there() -> bool:
        return any(p != before and _is_inspector(p) for p in site.stage.guarded.processes())

    with contextlib.suppress(FileNotFoundError):
        until(there, "another inspector runs", 20.0, 0.02)


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


def stop_inspector(site: Site) -> str:
    before = site.inspector
    os.kill(before, signal.SIGSTOP)
    begin = time.monotonic()
    _until_another(site, before)
    return f"another inspector after {time.monotonic() - begin:.1f} s"


def flap_links(site: Site) -> None:
    """The cable of a host that has nothing to do with the traffic goes in and out."""
    network = site.stage.laboratory.network
    port = network.port_of(site.stage.topology.host("asker"))
    for _ in range(10):
        for way in ("down", "up"):
            subprocess.run(["ip", "link", "set", port, way], check=True)
            time.sleep(0.1)


def move_port(site: Site) -> None:
    """A host's cable comes back at another port of the switch."""
    network = site.stage.laboratory.network
    bridge, port = network.bridge("s1"), network.port_of(site.stage.topology.host("asker"))
    for number in (77, site.stage.topology.port("asker")):
        subprocess.run(["ovs-vsctl", "del-port", bridge, port], check=True)
        time.sleep(0.3)
        request = ["--", "set", "Interface", port, f"ofport_request={number}"]
        subprocess.run(["ovs-vsctl", "add-port", bridge, port, *request], check=True)
        time.sleep(2.0)


def _counts(site: Site) -> dict[str, int]:
    bridge = site.stage.laboratory.network.bridge("s1")
    flows = subprocess.run(
        ["ovs-ofctl", "-OOpenFlow13", "dump-flows", bridge], check=True, capture_output=True, text=True
    ).stdout
    ports = subprocess.run(["ovs-vsctl", "list-ports", bridge], check=True, capture_output=True, text=True)
    lasting = [line for line in flows.splitlines() if "cookie" in line and "timeout" not in line]
    return {
        "flows": len(lasting),
        "ports": len(ports.stdout.splitlines()),
        "processes": len(site.stage.guarded.processes()),
        "descriptors of the inspector": descriptors(site.inspector),
        "descriptors of the controller": descriptors(site.controller),
        "descriptors of the switch": descriptors(site.switch.switch.pid),
    }


def restart_often(site: Site, times: int) -> str:
    def settled() -> bool:
        status = site.stage.guarded.get("status")
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
    watched = {"controller": site.controller, "inspector": site.inspector}
    before = {what: memory(process) for what, process in watched.items()}
    time.sleep(seconds * 0.85)
    for what, process in watched.items():
        grown = memory(process) - before[what]
        told.append(f"{what} {grown / 1e6:+.1f} MB")
        if grown > 16_000_000:
            told.append("leaked")
    return ", ".join(told)


@dataclass(frozen=True)
class Fault:
    seconds: float
    act: Callable[[Site], str | None]


SOAK = float(os.environ.get("GRAPHWALL_SOAK", "180"))  # seconds; 1800 is what a release is tried with
FAULTS: Mapping[str, Fault] = {
    "controller killed": Fault(4, kill_controller),
    "inspector killed": Fault(4, kill_inspector),
    "switch killed": Fault(6, kill_switch),
    "switch database killed": Fault(4, kill_database),
    "switch and its database killed": Fault(6, kill_both),
    "inspector hangs": Fault(9, stop_inspector),
    "controller hangs for 10 s": Fault(12, lambda site: _stop(site.controller, 10)),
    "switch hangs for 10 s": Fault(14, lambda site: _stop(site.switch.switch.pid, 10)),
    "switch database hangs for 10 s": Fault(12, lambda site: _stop(site.switch.database.pid, 10)),
    "controller unreachable for 60 s": Fault(64, lambda site: kill_controller(site, 60)),
    "link flaps": Fault(4, flap_links),
    "port moved": Fault(7, move_port),
    "5 restarts": Fault(2, lambda site: restart_often(site, 5)),
    "100 restarts": Fault(2, lambda site: restart_often(site, 100)),
    "soak": Fault(SOAK, lambda site: soak(site, SOAK)),
}


@contextlib.contextmanager
def site(folder: Path) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="gwovs", dir="/run") as run_folder:
        switch = OpenVSwitch(Path(run_folder))
        try:
            with (
                guarded(HOSTS, folder) as stage,
                programs(stage) as run,
                Wire(stage.laboratory.network.pid("server")) as victim,
            ):
                made = Site(stage, run, switch, victim)
                made.learn()
                yield made
        finally:
            switch.stop()


def main(words: Sequence[str]) -> None:
    with site(Path(words[0])) as made:
        for name in words[1:]:
            fault = FAULTS[name]
            told = made.during(name, fault.seconds, lambda: fault.act(made))  # noqa: B023  # called at once
            sys.stdout.write(json.dumps(asdict(told)) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
