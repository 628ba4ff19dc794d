"""A running laboratory from another process: JSON lines over a Unix socket, one question a connection."""

import contextlib
import dataclasses
import json
import socket
import socketserver
from collections.abc import Callable, Mapping
from threading import Thread
from typing import TYPE_CHECKING, Any, Self

from topologies import marks
from topologies.marks import LabError
from topologies.waiting import WaitedError

if TYPE_CHECKING:  # it takes Mininet's time to import, which whoever only asks need not spend
    from topologies.laboratory import Laboratory

ANSWER_WITHIN = 120.0  # seconds


def _status(laboratory: "Laboratory") -> dict[str, Any]:
    network, topology = laboratory.network, laboratory.topology
    return {
        "topology": topology.name,
        "firewall": laboratory.setting.firewall,
        "datapath": network.datapath,
        "directory": str(laboratory.directory),
        "switches": {s.name: network.bridge(s.name) for s in topology.switches},
        "hosts": [
            {
                "name": host.name,
                "human": host.human or host.name,
                "joined": network.joined(host.name),
                "address": network.address(host.name) if network.joined(host.name) else None,
                "mac": host.mac,
                "interface": network.port_of(host) if host.switch else None,
                "pid": network.pid(host.name) if network.joined(host.name) else None,
            }
            for host in topology.hosts
        ],
        "services": [dataclasses.asdict(s) for s in laboratory.services.status()],
    }


def _ready(laboratory: "Laboratory", timeout: str = "30") -> None:
    try:
        laboratory.wait_ready(float(timeout))
    except WaitedError as error:
        raise LabError(str(error)) from None


def _do(laboratory: "Laboratory", service: str, command: str, *pairs: str) -> Any:
    """`pairs` are key=value, the value JSON where it is JSON, else text."""
    arguments: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise LabError(f"{pair!r}: give arguments as key=value")
        arguments[key] = value
        with contextlib.suppress(json.JSONDecodeError):
            arguments[key] = json.loads(value)
    return laboratory.services.command(service, command, **arguments)


def _link(laboratory: "Laboratory", one: str, other: str, up_or_down: str) -> None:
    if up_or_down not in ("up", "down"):
        raise LabError(f"{up_or_down!r}: say up or down")
    laboratory.network.set_trunk(one, other, up=up_or_down == "up")


# What can be asked: name -> (arguments as shown to users, function).
COMMANDS: Mapping[str, tuple[str, Callable[..., Any]]] = {
    "status": ("", _status),
    "ready": ("[SECONDS]", _ready),
    "start": ("SERVICE", lambda lab, service: lab.services.start(service)),
    "stop": ("SERVICE", lambda lab, service: lab.services.stop(service)),
    "update": ("SERVICE VERSION", lambda lab, service, version: lab.services.update(service, version)),
    "migrate": ("SERVICE HOST", lambda lab, service, host: lab.services.migrate(service, host)),
    "state": ("SERVICE", lambda lab, service: lab.services.state(service)),
    "log": ("SERVICE", lambda lab, service: lab.services.log(service)),
    "do": ("SERVICE COMMAND [KEY=VALUE ...]", _do),
    "join": ("HOST", lambda lab, host: lab.join(host)),
    "leave": ("HOST", lambda lab, host: lab.leave(host)),
    "link": ("SWITCH SWITCH up|down", _link),
}


class _Handler(socketserver.StreamRequestHandler):
    server: "Control"

    def handle(self) -> None:
        answer = self.server.answer(self.rfile.readline())
        with contextlib.suppress(OSError):
            self.wfile.write(json.dumps(answer, default=str).encode() + b"\n")


class Control(socketserver.ThreadingUnixStreamServer):
    """Answers for a laboratory while it runs; use it as a context manager."""

    daemon_threads = True

    def __init__(self, laboratory: "Laboratory") -> None:
        self._laboratory = laboratory
        path = laboratory.directory / "control"
        path.unlink(missing_ok=True)
        super().__init__(str(path), _Handler)
        path.chmod(0o600)
        self._thread = Thread(target=self.serve_forever, name="control", daemon=True)

    def answer(self, line: bytes) -> dict[str, Any]:
        """The answer to one question; every failure is an answer."""
        try:
            name, *arguments = json.loads(line)
            usage, function = COMMANDS[name]
            try:
                return {"ok": True, "result": function(self._laboratory, *arguments)}
            except TypeError:
                raise LabError(f"usage: ctl {name} {usage}".rstrip()) from None
        except (LabError, KeyError) as error:
            return {"ok": False, "error": str(error.args[0])}
        except Exception as error:  # noqa: BLE001  the border to whoever asks
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


def ask(prefix: str, *words: str) -> Any:
    """The laboratory's answer, e.g. to ask("gw-", "migrate", "storage", "node-5"); raises LabError."""
    if words[0] not in COMMANDS:
        raise LabError(f"ctl knows no {words[0]!r}; it knows: {', '.join(COMMANDS)}")
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_WITHIN)
            connection.connect(str(marks.directory_of(prefix) / "control"))
            connection.sendall(json.dumps(words).encode() + b"\n")
            answer = json.loads(connection.makefile().readline())
    except (FileNotFoundError, ConnectionRefusedError):
        raise LabError(
            f"no laboratory with prefix {prefix} is running; "
            "start one with: python -m topologies run smart_home.yaml"
        ) from None
    except PermissionError:
        raise LabError("a laboratory is run by root, and asked by root: use sudo") from None
    except (OSError, ValueError) as error:
        raise LabError(f"the laboratory did not answer: {error}") from None
    if not answer["ok"]:
        raise LabError(answer["error"])
    return answer["result"]
