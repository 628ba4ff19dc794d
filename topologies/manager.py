"""The service manager: places, starts, stops, updates and migrates services while the network runs.

It has the role of DS2OS in the paper. It knows where each service is and in which version; it knows
nothing of what services do.
"""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from topologies import native, waiting
from topologies.marks import LabError
from topologies.network import Network
from topologies.schema import Host, Service, Topology, Version, options_of
from topologies.services.programs import PROGRAMS, Needs, Spec
from topologies.services.runtime import command_socket, log_file, read_state, state_file
from topologies.services.vsl import PORT_BASE

STOP_PATIENCE = 3.0  # seconds for a service to end before it is killed
LISTENING = "0A"  # state of a TCP socket in /proc/net/tcp


class ServiceState(StrEnum):
    RUNNING = "running"
    STOPPED = "stopped"
    FAILED = "failed"  # it ended by itself


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """Where a service is, and how it does. `ready`: it does its work."""

    name: str
    human: str
    host: str
    program: str
    version: str
    state: ServiceState
    ready: bool
    pid: int | None
    memory: int  # bytes, resident


@dataclass(slots=True)
class _Placement:
    service: Service
    host: str
    version: str = "1"
    process: subprocess.Popen[bytes] | None = None
    port: int = 0  # of a native program, which is ready once it listens there


def _resident(pid: int) -> int:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _listens(pid: int, port: int) -> bool:
    """Whether anybody listens on a TCP or UDP port in the process's network namespace."""
    for kind in ("tcp", "tcp6", "udp", "udp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{kind}").read_text(encoding="utf-8").splitlines()[1:]:
                part = line.split()
                if int(part[1].rpartition(":")[2], 16) == port and (
                    kind.startswith("udp") or part[3] == LISTENING
                ):
                    return True
    return False


class ServiceManager:
    """The services of one laboratory. Methods may be called from any thread; each returns when it is done."""

    def __init__(self, topology: Topology, network: Network, directory: Path) -> None:
        self._topology, self._network, self._directory = topology, network, directory
        self._placements = {
            s.name: _Placement(s, host.name) for host in topology.hosts for s in host.services
        }
        self._lock = threading.RLock()
        for name in ("state", "log", "command"):
            (directory / name).mkdir(parents=True, exist_ok=True)

    # Asking

    def _placement(self, service: str) -> _Placement:
        if service not in self._placements:
            raise LabError(f"there is no service {service!r}; there are: {', '.join(self._placements)}")
        return self._placements[service]

    def where(self, service: str) -> str:
        """The host that the service is placed on."""
        return self._placement(service).host

    def on(self, host: str) -> list[str]:
        """The services placed on a host, in the order of the topology."""
        return [name for name, p in self._placements.items() if p.host == host]

    def status(self) -> tuple[ServiceStatus, ...]:
        """All services."""
        with self._lock:
            return tuple(self._status(name) for name in self._placements)

    def _status(self, name: str) -> ServiceStatus:
        placement = self._placements[name]
        process, version = placement.process, self._version(placement)
        code = process.poll() if process else None
        if process is None:
            state = ServiceState.STOPPED
        else:
            state = ServiceState.RUNNING if code is None else ServiceState.FAILED
        running = process if state is ServiceState.RUNNING else None
        ready = bool(running) and self._is_ready(placement)
        return ServiceStatus(
            name=name,
            human=placement.service.human or name,
            host=placement.host,
            program=version.program,
            version=placement.version,
            state=state,
            ready=ready,
            pid=running.pid if running else None,
            memory=_resident(running.pid) if running else 0,
        )

    def _is_ready(self, placement: _Placement) -> bool:
        if placement.port:
            return placement.process is not None and _listens(placement.process.pid, placement.port)
        return self.state(placement.service.name).get("ready") is True

    def state(self, service: str) -> dict[str, object]:
        """What the service shows of itself, such as whether the door is open."""
        self._placement(service)
        return read_state(self._directory, service)

    def log(self, service: str) -> list[dict[str, Any]]:
        """What the service did and saw since the laboratory started, oldest first."""
        self._placement(service)
        found = []
        with contextlib.suppress(FileNotFoundError):
            for line in log_file(self._directory, service).read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(
                    json.JSONDecodeError
                ):  # a native program's own words, or a line half written
                    entry = json.loads(line)
                    if isinstance(entry, dict):
                        found.append(entry)
        return found

    # Doing

    def start(self, service: str) -> None:
        """Start a service where it is placed; nothing happens when it runs."""
        with self._lock:
            placement = self._placement(service)
            if placement.process is None or placement.process.poll() is not None:
                self.stop(service)  # what is left of one that ended by itself
                self._launch(placement)

    def start_on(self, host: str) -> None:
        """Start the services of a host that are to run from the start."""
        for service in self.on(host):
            if self._placement(service).service.start:
                self.start(service)

    def stop(self, service: str) -> None:
        """Stop a service in an orderly way; nothing happens when it does not run."""
        self.stop_all([service])

    def stop_all(self, services: Iterable[str] | None = None) -> None:
        """Stop several services at once (all of them, unless told), and wait until they have ended."""
        with self._lock:
            placements = [self._placement(s) for s in (self._placements if services is None else services)]
            running = [(p, p.process) for p in placements if p.process is not None]
            for _placement, process in running:
                if process.poll() is None:
                    process.terminate()
            for placement, process in running:
                try:
                    process.wait(STOP_PATIENCE)
                except subprocess.TimeoutExpired:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                if process.stdin:
                    process.stdin.close()
                placement.process = None

    def update(self, service: str, version: str) -> None:
        """Replace a service by another version of it, on the same host."""
        with self._lock:
            placement = self._placement(service)
            self._version(replace(placement, version=version))
            self.stop(service)
            placement.version = version
            self._launch(placement)

    def migrate(self, service: str, host: str) -> None:
        """Move a service to another host; it goes on there with the state that it had."""
        with self._lock:
            placement = self._placement(service)
            if host not in self._topology.host_names:
                raise LabError(
                    f"there is no host {host!r}; there are: {', '.join(self._topology.host_names)}"
                )
            target = self._topology.host(host)
            if not self._network.joined(host):
                raise LabError(f"host {host} has not joined yet; join it first")
            if PROGRAMS[self._version(placement).program].needs is Needs.AGENT and target.agent is None:
                raise LabError(f"service {service} needs a knowledge agent, and host {host} has none")
            self.stop(service)
            placement.host = host
            self._launch(placement)

    def command(self, service: str, command: str, timeout: float = 10.0, **arguments: object) -> Any:
        """Have a service do something; returns its answer. Raises LabError when it cannot."""
        self._placement(service)
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(timeout)
                connection.connect(str(command_socket(self._directory, service)))
                connection.sendall(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")
                answer = json.loads(connection.makefile().readline())
        except (OSError, ValueError) as error:
            raise LabError(f"service {service} does not answer ({error}); is it running?") from None
        if not answer["ok"]:
            raise LabError(f"service {service} could not {command}: {answer['error']}")
        return answer["result"]

    def wait_ready(self, timeout: float, services: Iterable[str] | None = None) -> None:
        """Wait until all running services (or those named) are ready; raises WaitedError naming the rest."""
        wanted = None if services is None else set(services)

        def late() -> list[str]:
            return [
                s.name
                for s in self.status()
                if not s.ready
                and (s.name in wanted if wanted is not None else s.state is not ServiceState.STOPPED)
            ]

        try:
            waiting.until(lambda: not late(), "services ready", timeout)
        except waiting.WaitedError:
            raise waiting.WaitedError(f"not ready within {timeout:g} s: {', '.join(late())}") from None

    # How

    @staticmethod
    def _version(placement: _Placement) -> Version:
        found = placement.service.version(placement.version)
        if found is None:
            name, versions = placement.service.name, ", ".join(["1", *placement.service.versions])
            raise LabError(f"service {name} has no version {placement.version!r}; there are: {versions}")
        return found

    def _launch(self, placement: _Placement) -> None:
        name, version = placement.service.name, self._version(placement)
        host = self._topology.host(placement.host)
        options = options_of(version.program, version.options)
        environment: Mapping[str, str] = {}
        if PROGRAMS[version.program].command:
            native_command = native.command(options, host, self._topology, self._directory)
            for path, text in native_command.files.items():
                path.write_text(text, encoding="utf-8")
            command, placement.port = list(native_command.arguments), native_command.port
        else:
            spec = self._spec(placement, host, dataclasses.asdict(options))
            command = [
                sys.executable,
                "-m",
                "topologies.services",
                version.program,
                json.dumps(dataclasses.asdict(spec)),
            ]
            environment = {"PYTHONPATH": str(Path(__file__).resolve().parent.parent), "PYTHONUNBUFFERED": "1"}
            self._forget_readiness(name)
        errors = self._directory / "log" / f"{name}.err"
        with log_file(self._directory, name).open("ab") as log, errors.open("ab") as error_log:
            placement.process = self._network.popen(
                host.name, command, stdout=log, stderr=error_log, environment=dict(environment)
            )

    def _spec(self, placement: _Placement, host: Host, options: Mapping[str, object]) -> Spec:
        return Spec(
            service=placement.service.name,
            host=host.name,
            version=placement.version,
            directory=str(self._directory),
            agent=PORT_BASE + host.agent.number if host.agent else 0,
            options=options,
        )

    def _forget_readiness(self, service: str) -> None:
        """A killed service leaves `ready` behind; the next run must earn it again."""
        before = read_state(self._directory, service)
        if before.get("ready"):
            state_file(self._directory, service).write_text(
                json.dumps({**before, "ready": False}), encoding="utf-8"
            )
