"""Two hosts behind each of some switches, all on one machine: plain, guarded, and with every message held.

The switches run at the same time and runs on them alternate, so that they meet the same machine.
"""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.scenarios.guarded import graduated, guarded
from topologies import marks, schema
from topologies.demo.stage import Stage
from topologies.laboratory import Laboratory, Setting
from topologies.network import Network
from topologies.waiting import until

P = TypeVar("P")
T = TypeVar("T")

ROOT = Path(__file__).parents[2]
TRAFFIC = Path(__file__).with_name("traffic.py")
SERVER = "10.200.0.4"
LEARNING = {"minimum": "4s", "quiet": "3s", "maximum": "60s"}

# Few hosts: the userspace datapath asks every port of the machine in turn. `crowd` is the port that made-up
# devices are behind, and says nothing.
HOSTS = """
name: Two hosts
description: A client and a server.
network: 10.200.0.0/16
switches:
  - {name: s1, dpid: 1}
hosts:
  - {name: client, switch: s1, mac: "02:00:00:c8:00:03", ipv4: 10.200.0.3}
  - {name: server, switch: s1, mac: "02:00:00:c8:00:04", ipv4: 10.200.0.4}
"""
WATCHED = """  - {name: watched, switch: s1, mac: "02:00:00:c8:00:05", ipv4: 10.200.0.5}
"""
CROWD = """  - {name: crowd, switch: s1, mac: "02:00:00:c8:00:06", ipv4: 10.200.0.6}
"""


class Worker:
    """traffic.py on a host."""

    def __init__(self, network: Network, host: str, role: str) -> None:
        reading, writing = os.pipe()
        self._said = os.fdopen(reading, "r")
        with os.fdopen(writing, "wb") as output, Path(os.devnull).open("wb") as nothing:
            command = [sys.executable, str(TRAFFIC), role]
            self._process = network.popen(host, command, stdout=output, stderr=nothing)
        assert json.loads(self._said.readline()) == "ready"

    def begin(self, do: str, **how: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **how}).encode() + b"\n")
        self._process.stdin.flush()

    def end(self) -> Any:
        said = json.loads(self._said.readline() or '{"error": "it has ended"}')
        if "error" in said:
            raise OSError(said["error"])
        return said["result"]

    def __call__(self, do: str, **how: object) -> Any:
        self.begin(do, **how)
        return self.end()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.kill()
        self._process.wait()
        self._said.close()


class Pair:
    """A client and a server, and the network between them."""

    def __init__(self, network: Network, client: Worker, server: Worker) -> None:
        self.network, self.client, self.server = network, client, server

    def delivered(self, size: int, seconds: float, port: str = "drain", rate: float = 0.0) -> float:
        """Datagrams a second that arrive when as many as go (or `rate`) are sent."""
        before = self.server("received")
        said = self.client("udp", address=SERVER, size=size, seconds=seconds, port=port, rate=rate)
        return float((self.server("received") - before) / said["seconds"])


@contextmanager
def pair(network: Network, client: str = "client", server: Worker | None = None) -> Iterator[Pair]:
    with ExitStack() as stack:
        if server is None:
            server = Worker(network, "server", "serve")
            stack.callback(server.close)
        asking = Worker(network, client, "measure")
        stack.callback(asking.close)
        yield Pair(network, asking, server)


@contextmanager
def plain() -> Iterator[Pair]:
    """The same switch, that forwards everything (NORMAL)."""
    with _laboratory(None) as network, pair(network) as made:
        yield made


@contextmanager
def held() -> Iterator[Pair]:
    """The same switch with packet_in.py as its controller."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "tests.benchmarks.packet_in", str(port)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            with _laboratory(f"127.0.0.1:{port}") as network, pair(network) as made:
                until(lambda: _echoes(made), "the held pair talks", 20.0)
                yield made
        finally:
            process.kill()


@contextmanager
def _laboratory(controller: str | None) -> Iterator[Network]:
    setting = Setting(firewall=controller is not None, controller=controller, prefix=marks.free_prefix())
    with Laboratory(schema.parse(HOSTS, "hosts"), setting) as laboratory:
        yield laboratory.network


def _echoes(made: Pair) -> bool:
    return bool(made.client("rtt", kind="datagram", address=SERVER, count=1))


@contextmanager
def behind_graphwall(
    tmp_path: Path,
    hosts: str = HOSTS,
    site: dict[str, object] | None = None,
    before: Callable[[Stage], None] = lambda _: None,
) -> Iterator[Stage]:
    """A stage; `site` overrides its site.yaml, `before` is called when nothing runs yet."""
    with guarded(hosts, tmp_path, {"learning": LEARNING, **(site or {})}, before) as stage:
        yield stage


KINDS = ("datagram", "coap", "echo", "http", "mqtt", "modbus")


def teach(made: Pair, kinds: Sequence[str] = KINDS, bulk: bool = True) -> None:
    """Let the pair do what it will be known for."""
    for kind in kinds:
        until(lambda kind=kind: _tried(made, kind), f"{kind} passes", 20.0)
    if "http" in kinds:
        until(lambda: _uploaded(made), "an upload passes", 20.0)
    if bulk:
        made.client("tcp", address=SERVER, size=0, seconds=0.05)
        made.client("udp", address=SERVER, size=18, seconds=0.01, rate=1000)


def _uploaded(made: Pair) -> bool:
    try:
        return bool(made.client("tcp", address=SERVER, size=0, seconds=0.02, port="http"))
    except OSError:
        return False


def _tried(made: Pair, kind: str) -> bool:
    try:
        return bool(made.client("rtt", kind=kind, address=SERVER, count=5))
    except OSError:
        return False


def settled(stage: Stage, relationships: int = 1) -> None:
    """Wait until nobody learns any more, and all is in force."""
    assert graduated(stage, relationships)


def alternating(one: P, other: P, rounds: int, run: Callable[[P], T]) -> tuple[list[T], list[T]]:
    """Runs of both sides in turns, each first as often as second."""
    ours: list[T] = []
    theirs: list[T] = []
    for number in range(rounds):
        if number % 2:
            theirs.append(run(other))
            ours.append(run(one))
        else:
            ours.append(run(one))
            theirs.append(run(other))
    return ours, theirs


def flows(stage: Stage) -> int:
    """How many flows the switch was told to have, once it is there."""
    return int(until(lambda: stage.guarded.get("switches")["switches"], "it is there", 60.0)[0]["flows"])


def flows_held(stage: Stage) -> int:
    """How many it has."""
    bridge = stage.laboratory.network.bridge("s1")
    command = ["ovs-ofctl", "-OOpenFlow13", "dump-aggregate", bridge]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return int(said.partition("flow_count=")[2].split()[0])


def flows_for_a_while(stage: Stage) -> int:
    """How many flows the switch has that end by themselves."""
    bridge = stage.laboratory.network.bridge("s1")
    command = ["ovs-ofctl", "-OOpenFlow13", "dump-flows", bridge]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.count("hard_timeout")


def in_place(stage: Stage, at_least: int) -> int:
    """Wait until the switch has had all its flows for a second; how many they are."""
    before = -1

    def there() -> int:
        nonlocal before
        now = flows_held(stage)
        same, before = now == before, now
        return now if same and now >= at_least else 0

    return until(there, "all flows are there", 240.0, 1.0)


def switch_process() -> int:
    return int(Path("/var/run/openvswitch/ovs-vswitchd.pid").read_text(encoding="ascii"))


def inspector_process(stage: Stage) -> int:
    return next(
        process
        for process in stage.guarded.processes()
        if b"controller.inspector" in Path(f"/proc/{process}/cmdline").read_bytes()
    )


def controller_process(stage: Stage) -> int:
    return min(p for p in stage.guarded.processes() if p != inspector_process(stage))


def processor_time(process: int) -> float:
    """Seconds that a process has used so far."""
    words = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def resident(process: int) -> float:
    """Megabytes of memory."""
    for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"process {process} has no memory")
