"""A running site with an Open vSwitch of its own, and what became of its traffic while something broke."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import httpx
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.scenarios.guarded import Programs, graduated, guarded, programs, treatment
from tests.scenarios.wire import Wire
from topologies.demo.firewall import Firewall
from topologies.demo.stage import Stage
from topologies.marks import LabError
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
HOSTS = """
name: Faults
description: Bare hosts on one switch, and a second switch to move to.
network: 10.0.0.0/24
switches:
  - {name: s1, dpid: 1}
  - {name: s2, dpid: 2}
links:
  - {between: [s1, s2]}
hosts:
  - {name: asker, human: Asker, switch: s1, mac: "02:00:00:00:00:01", ipv4: 10.0.0.1}
  - {name: server, human: Server, switch: s1, mac: "02:00:00:00:00:02", ipv4: 10.0.0.2}
  - {name: prober, human: Prober, switch: s1, mac: "02:00:00:00:00:03", ipv4: 10.0.0.3}
  - {name: echoer, human: Echoer, switch: s1, mac: "02:00:00:00:00:04", ipv4: 10.0.0.4}
"""


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
    failed: str = ""


class Site:
    """Bare hosts behind a graduated Graphwall: a pair at line rate, one that is inspected, one denied."""

    def __init__(self, stage: Stage, run: Programs, switch: OpenVSwitch, victim: Wire) -> None:
        self.stage, self.run, self.switch, self.victim = stage, run, switch, victim

    @property
    def guarded(self) -> Firewall:
        return self.stage.guarded

    @property
    def controller(self) -> int:
        return min(p for p in self.guarded.processes() if not _is_inspector(p))

    @property
    def inspector(self) -> int:
        return next(p for p in self.guarded.processes() if _is_inspector(p))

    def await_other_inspector(self, before: int) -> None:
        def there() -> bool:
            return any(p != before and _is_inspector(p) for p in self.guarded.processes())

        with contextlib.suppress(FileNotFoundError):
            until(there, "another inspector runs", 20.0, 0.02)

    def port_of(self, host: str) -> str:
        """The interface at the switch's end of a host's cable."""
        return self.stage.laboratory.network.port_of(self.stage.topology.host(host))

    def bridge(self, switch: str) -> str:
        return self.stage.laboratory.network.bridge(switch)

    def restart(self, number: signal.Signals = signal.SIGKILL) -> None:
        """The controller ends by this signal and starts again."""
        self.guarded.kill(number)
        self.guarded.start()

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

    def during(self, name: str, fault: "Fault") -> Told:
        with fault.around(self):
            self.well()
            begin = len(self.victim.frames)
            probe = self.run.ready("prober", "send", "10.0.0.4", "9000", str(int(fault.seconds * 1000)))
            held = self.run.ready("asker", "hold", "10.0.0.2", "8000", str(fault.seconds))
            words = (bytes(ATTACK).hex(), str(COUNTER_AT), str(ATTACKS_A_SECOND), str(fault.seconds + 1))
            attack = self.run.ready("asker", "flood", *words)
            told = Told(name)
            try:
                told.note = fault.act(self) or ""
            except (AssertionError, LabError, OSError, httpx.HTTPError, subprocess.SubprocessError) as error:
                told.failed = f"{type(error).__name__}: {error}"
            probed, attacked, connection = probe.result(), attack.result(), held.result()
        told.sent, told.lost, told.longest_gap = probed["sent"], probed["lost"], probed["longest_gap"]
        told.served, told.error = connection["served"], connection["error"]
        told.attacks = attacked["sent"]
        told.delivered = sum(MARK in frame.raw for frame in self.victim.frames[begin:])
        return told


def _is_inspector(process: int) -> bool:
    return b"controller.inspector" in Path(f"/proc/{process}/cmdline").read_bytes()


@dataclass(frozen=True)
class Fault:
    """What breaks for about so many seconds; `around`: what is prepared before the traffic begins."""

    seconds: float
    act: Callable[[Site], str | None]
    around: Callable[[Site], AbstractContextManager[None]] = lambda _: contextlib.nullcontext()


def _untied(stage: Stage) -> None:
    """Devices are where they turn up: they may move."""
    for device in stage.guarded.site["devices"]:
        del device["switch"], device["port"]


@contextlib.contextmanager
def site(folder: Path) -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="gwovs", dir="/run") as run_folder:
        switch = OpenVSwitch(Path(run_folder))
        try:
            with (
                guarded(HOSTS, folder, before=_untied) as stage,
                programs(stage) as run,
                Wire(stage.laboratory.network.pid("server")) as victim,
            ):
                made = Site(stage, run, switch, victim)
                made.learn()
                yield made
        finally:
            switch.stop()
