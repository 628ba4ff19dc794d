"""A laboratory with or without a firewall before it: everything that a scenario needs."""

import contextlib
import socket
import subprocess
import sys
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from topologies import site
from topologies.control import Control
from topologies.demo.firewall import Firewall
from topologies.demo.report import Report
from topologies.laboratory import Laboratory, Setting
from topologies.marks import LabError
from topologies.schema import Topology


class Stage:
    """Builds all, and takes all down again, also when something fails."""

    def __init__(self, topology: Topology, report: Report, firewall: bool, prefix: str) -> None:
        self.topology, self.report = topology, report
        self._openflow = free_port()
        setting = Setting(firewall=firewall, controller=f"127.0.0.1:{self._openflow}", prefix=prefix)
        self.laboratory = Laboratory(topology, setting)
        self._firewall: Firewall | None = None
        self._attached: list[str] = []
        self._control: Control | None = None
        if firewall:
            described = site.description(topology, self.laboratory.network, devices=True)
            self._firewall = Firewall(self.laboratory.directory, described, self.laboratory.mark)

    @property
    def firewall(self) -> Firewall | None:
        return self._firewall

    @property
    def guarded(self) -> Firewall:
        """The firewall, where a scenario is played with one."""
        if self._firewall is None:
            raise LabError("this needs --firewall on")
        return self._firewall

    def start(self) -> None:
        laboratory, report = self.laboratory, self.report
        laboratory.prepare()
        if self._firewall is not None:
            report.step("Starting Graphwall: controller, inspector and API")
            self._firewall.configure(self._openflow, free_port())
            self._firewall.start()
        count = len([h for h in self.topology.hosts if h.joins == "now"])
        report.step(
            f"Building {self.topology.name}: {count} devices, {len(self.topology.switches)} switch(es) "
            f"({laboratory.network.datapath} datapath of Open vSwitch)"
        )
        laboratory.start(before_services=self._attach)
        self._control = Control(laboratory)
        self._control.__enter__()

    def _attach(self) -> None:
        if self._firewall is None:
            return
        for switch in self.topology.switches:
            bridge = self.laboratory.network.bridge(switch.name)
            self.report.step(f"graphwall attach {bridge}")
            self._attached.append(bridge)
            _graphwall("attach", bridge, "--controller", f"tcp:127.0.0.1:{self._openflow}")

    def stop(self) -> None:
        self.report.step("Taking everything down")
        if self._control is not None:
            self._control.__exit__()
        if self._firewall is not None:
            self._firewall.stop()
        for bridge in self._attached:
            with contextlib.suppress(LabError):
                _graphwall("attach", bridge, "--detach")
        self.laboratory.stop()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.stop()

    # What scenarios ask

    def shows(self, service: str) -> Callable[[str], Any]:
        """What a service shows of itself: `stage.shows("lock")("open")`."""
        return lambda key: self.laboratory.services.state(service).get(key)

    def human(self, host: str) -> str:
        return self.topology.host(host).human or host

    def names(self) -> Mapping[str, str]:
        """Device id -> name, as Graphwall has them."""
        return {d["id"]: d["name"] for d in self.guarded.get("devices")["devices"]}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _graphwall(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "controller", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).resolve().parents[2],
    )
    if done.returncode:
        raise LabError(f"graphwall {' '.join(words)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout
