"""A running laboratory: a topology's network with its services. The only place that wires these parts."""

import contextlib
import subprocess
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from topologies import marks
from topologies.machine import check_machine, datapath_here
from topologies.manager import ServiceManager
from topologies.marks import PREFIX, LabError
from topologies.network import Endpoint, Network
from topologies.schema import Topology
from topologies.services.runtime import certificate_file

CONTROLLER = "127.0.0.1:6653"


@dataclass(frozen=True, slots=True)
class Setting:
    """How a laboratory is run.

    `firewall` off: switches forward as plain switches. On: they forward only what their controller says;
    `controller` none leaves them without one, for somebody who sets it later. `datapath` None: what this
    machine has. `prefix` is that of all interface names, so that two laboratories can run side by side.
    """

    firewall: bool = True
    controller: str | None = CONTROLLER
    datapath: str | None = None
    prefix: str = PREFIX

    def __post_init__(self) -> None:
        if not (2 <= len(self.prefix) <= 4 and self.prefix.endswith("-") and self.prefix[:-1].isalnum()):
            raise LabError(
                f"prefix {self.prefix!r}: give one to three letters or digits and a hyphen, such as {PREFIX}"
            )


class Laboratory:
    """Use it as a context manager, or call `start` and `stop`."""

    def __init__(self, topology: Topology, setting: Setting | None = None) -> None:
        self.topology, self.setting = topology, setting or Setting()
        self.directory = marks.directory_of(self.setting.prefix)
        on = self.setting.firewall
        self._state = marks.new_state(self.setting.prefix, [])
        self.network = Network(
            topology,
            prefix=self.setting.prefix,
            mark=self._state.mark,
            directory=self.directory,
            controller=Endpoint.parse(self.setting.controller) if on and self.setting.controller else None,
            secure=on,
            datapath=self.setting.datapath or datapath_here(),
        )
        self._services: ServiceManager | None = None
        self._prepared = False

    @property
    def services(self) -> ServiceManager:
        """The service manager, once the laboratory runs."""
        if self._services is None:
            raise LabError("the laboratory has not started")
        return self._services

    @property
    def mark(self) -> str:
        """What processes that belong to this laboratory carry in their environment (marks.MARK)."""
        return self._state.mark

    def prepare(self) -> None:
        """Take the place of this prefix, for whoever starts something before the network is there."""
        check_machine(self.topology)
        self._take_place()
        self._prepared = True

    def start(self, before_services: Callable[[], object] = lambda: None) -> None:
        """Build the network and start all services that are there from the start; raises LabError.

        `before_services` is called when the switches are there, and no service is yet.
        """
        if not self._prepared:
            self.prepare()
        try:
            if self.topology.outside:
                self._make_certificate()
            self._services = ServiceManager(self.topology, self.network, self.directory)
            self.network.start(before_services)
            for host in self.topology.hosts:
                if self.network.joined(host.name):
                    self.services.start_on(host.name)
        except BaseException:
            self.stop()
            raise

    def _take_place(self) -> None:
        before = marks.read_state(self.setting.prefix)
        if before and marks.is_running(before):
            raise LabError(
                f"a laboratory with prefix {before.prefix} is running already (process {before.runner}); "
                "end it, or use another --prefix"
            )
        if before:
            marks.clean(self.setting.prefix)  # it crashed
        self._state = marks.State(
            self._state.prefix,
            self._state.token,
            self._state.runner,
            self._state.started,
            tuple(self.network.interfaces()),
        )
        there = [i for i in self._state.interfaces if Path("/sys/class/net", i).exists()]
        if there:
            raise LabError(
                f"interfaces {', '.join(there)} exist already and are not ours; use another --prefix"
            )
        marks.write_state(self._state)

    def _make_certificate(self) -> None:
        """One self-signed certificate for all names of the simulated internet, its key in the same file."""
        names = [n for h in self.topology.outside for n in h.names] or ["internet.example"]
        file = certificate_file(self.directory)
        part = file.with_suffix(".crt")
        made = subprocess.run(
            [
                *(
                    "openssl",
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:prime256v1",
                    "-nodes",
                ),
                *("-keyout", str(file), "-out", str(part), "-days", "30", "-subj", f"/CN={names[0]}"),
                *("-addext", "subjectAltName=" + ",".join(f"DNS:{n}" for n in names)),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise LabError(f"openssl made no certificate: {made.stderr.strip()}")
        file.write_text(file.read_text(encoding="utf-8") + part.read_text(encoding="utf-8"), encoding="utf-8")

    def join(self, host: str) -> None:
        """Connect a host that joins later, and start its services."""
        self.network.join(host)
        self.services.start_on(host)

    def leave(self, host: str) -> None:
        """Stop a host's services and disconnect it."""
        self.services.stop_all(self.services.on(host))
        self.network.leave(host)

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Wait until all running services do their work; raises waiting.WaitedError naming who does not."""
        self.services.wait_ready(timeout)

    def stop(self) -> None:
        """Take everything down, and remove what is left."""
        with contextlib.suppress(LabError):
            self.services.stop_all()
        try:
            self.network.stop()
        finally:
            marks.clean(self.setting.prefix)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        self.stop()
