"""A laboratory of bare hosts before a real Graphwall, and programs on them."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from rich.console import Console

from topologies import marks, schema
from topologies.demo.report import Report
from topologies.demo.stage import Stage
from topologies.waiting import until

PROBE = Path(__file__).with_name("probe.py")

HOSTS = """
name: Bare hosts
description: Hosts without services.
network: 10.0.0.0/24
switches:
  - {name: s1, dpid: 1}
hosts:
  - {name: asker, human: Asker, switch: s1, mac: "02:00:00:00:00:01", ipv4: 10.0.0.1}
  - {name: server, human: Server, switch: s1, mac: "02:00:00:00:00:02", ipv4: 10.0.0.2}
  - {name: prober, human: Prober, switch: s1, mac: "02:00:00:00:00:03", ipv4: 10.0.0.3}
  - {name: echoer, human: Echoer, switch: s1, mac: "02:00:00:00:00:04", ipv4: 10.0.0.4}
"""


class Program:
    """A process on a host; what it prints is read line by line."""

    def __init__(self, stage: Stage, host: str, *words: str) -> None:
        read, write = _pipe()
        self._output = read
        with Path(os.devnull).open("wb") as errors:  # a refused client ends its server's thread noisily
            self._process = stage.laboratory.network.popen(
                host, [sys.executable, str(PROBE), *words], stdout=write, stderr=errors
            )
        write.close()

    def line(self) -> str:
        """The next line that it prints; "" when it has ended."""
        return self._output.readline().decode().strip()

    def result(self) -> Any:
        """What it prints as JSON at its end."""
        return json.loads(self.lines()[-1])

    def lines(self) -> list[str]:
        """All that it prints until it ends."""
        return self._output.read().decode().splitlines()

    def end(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdin:
            self._process.stdin.close()
        self._output.close()


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb"), os.fdopen(writing, "wb")


@contextmanager
def guarded(
    topology: str,
    tmp_path: Path,
    site: Mapping[str, object] | None = None,
    before: Callable[[Stage], object] = lambda _: None,
) -> Iterator[Stage]:
    """The topology (a name, or YAML text) with Graphwall before it.

    `site` adds to its site.yaml; `before` is called when nothing runs yet.
    """
    if "\n" in topology:
        file = tmp_path / "hosts.yaml"
        file.write_text(topology, encoding="utf-8")
        topology = str(file)
    report = Report(Console(file=io.StringIO()))
    stage = Stage(schema.read(topology), report, firewall=True, prefix=marks.free_prefix())
    stage.guarded.site.update(site or {})
    before(stage)
    with stage:
        yield stage


@contextmanager
def programs(stage: Stage) -> Iterator["Programs"]:
    """Programs that end with the block."""
    running = Programs(stage)
    try:
        yield running
    finally:
        running.end()


class Programs:
    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._running: list[Program] = []

    def __call__(self, host: str, *words: str) -> Program:
        started = Program(self._stage, host, *words)
        self._running.append(started)
        return started

    def ready(self, host: str, *words: str) -> Program:
        """One that says when it is ready."""
        started = self(host, *words)
        assert started.line() == "ready"
        return started

    def end(self) -> None:
        for program in self._running:
            program.end()


def graduated(stage: Stage, relationships: int) -> bool:
    """Wait until so many relationships are learnt and all learning is over."""

    def over() -> bool:
        status = stage.guarded.get("status")
        learnt = status["relationships"].get("learned", 0)
        return bool(status["learning_services"] == 0 and learnt >= relationships)

    return until(over, "learning ends", 60.0, 0.2)


def relationship(stage: Stage, resource: str) -> dict[str, Any] | None:
    """The relationship on a resource, if there is one."""
    edges = stage.guarded.get("graph")["relationships"]
    return next((e for e in edges if e["relationship"]["access"]["resource"] == resource), None)


def treatment(stage: Stage, client: str, server: str, port: int) -> str | None:
    """What the switch does between two hosts, once it is in force."""
    for pair in stage.guarded.get("pairs")["pairs"]:
        if (pair["client"], pair["server"], pair["endpoint"]["port"]) == (client, server, port) and pair[
            "in_force"
        ]:
            return str(pair["treatment"])
    return None


def latencies(stage: Stage, request: str, decisions: int) -> list[float]:
    """Deny a request and undo that, over and over: seconds from each decision until it was in force."""
    found = []
    for _ in range(decisions // 2):
        denied = stage.guarded.answer(request, approve=False)
        undone = stage.guarded.post(f"decisions/{denied['decision']}/undo", {"wait": 2.0})
        found += [made["latency"] for made in (denied, undone) if made["in_force"]]
    return found
