"""What belongs to a laboratory, and how to remove it, also after a crash; never anything else.

Every process of a laboratory carries a mark in its environment (MARK), every bridge the same mark in its
external ids, and a state file says who runs the laboratory and which interfaces it makes. A network
namespace has no name: it goes with its last process. Nothing is ever found by a process's name.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import string
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

MARK = "GRAPHWALL_LAB"  # in the environment of processes
BRIDGE_KEY = "graphwall-lab"  # in the external ids of bridges
RUN_DIRECTORY = Path("/run/graphwall-lab")
PREFIX = "gw-"  # of interface names, unless another is asked for
PATIENCE = 5.0  # seconds for a process to end before it is killed


class LabError(Exception):
    """The laboratory cannot do it. The message says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class State:
    """What a laboratory writes down before it makes anything."""

    prefix: str
    token: str
    runner: int  # process id, which means something only together with:
    started: int  # when the runner started, in clock ticks since boot
    interfaces: tuple[str, ...] = ()

    @property
    def mark(self) -> str:
        return f"{self.prefix}:{self.token}"


@dataclass(slots=True)
class Removed:
    """What a cleaning removed."""

    runners: list[int] = field(default_factory=list)
    processes: list[int] = field(default_factory=list)
    bridges: list[str] = field(default_factory=list)
    interfaces: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, other: "Removed") -> None:
        for each in fields(self):
            getattr(self, each.name).extend(getattr(other, each.name))


def directory_of(prefix: str) -> Path:
    """Where the laboratory with this prefix keeps its state, logs and sockets."""
    return RUN_DIRECTORY / prefix.rstrip("-")


def free_prefix() -> str:
    """A prefix that no laboratory uses, so that one more can run beside the others."""
    while True:
        prefix = f"{secrets.choice(string.ascii_lowercase)}{secrets.token_hex(1)}-"
        if not directory_of(prefix).exists():
            return prefix


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when it is not running (proc(5))."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if after_name[0] in "ZX" else int(after_name[19])


def new_state(prefix: str, interfaces: Iterable[str]) -> State:
    """The state of a laboratory that this process runs."""
    pid = os.getpid()
    return State(prefix, secrets.token_hex(8), pid, start_time(pid) or 0, tuple(interfaces))


def write_state(state: State) -> None:
    """Write it down, before anything is made."""
    directory = directory_of(state.prefix)
    directory.mkdir(parents=True, exist_ok=True)
    fresh = directory / "state.new"
    fresh.write_text(json.dumps(asdict(state)), encoding="utf-8")
    fresh.replace(directory / "state.json")


def read_state(prefix: str) -> State | None:
    """The state of the laboratory with this prefix, running or crashed; None when there is none."""
    try:
        found = json.loads((directory_of(prefix) / "state.json").read_text(encoding="utf-8"))
        return State(**{**found, "interfaces": tuple(found["interfaces"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def is_running(state: State) -> bool:
    """Whether the process that runs the laboratory is still there."""
    return start_time(state.runner) == state.started


def known_prefixes() -> list[str]:
    """The prefixes of all laboratories that left files, or bridges (which outlive a restart)."""
    found = {f"{path.name}-" for path in RUN_DIRECTORY.glob("*")}
    with contextlib.suppress(LabError):
        found |= {mark.partition(":")[0] for mark in _marks_of_bridges().values()}
    return sorted(found)


def marked_processes(prefix: str, token: str = "") -> list[int]:
    """The processes of the laboratory (with `token`: only of that run of it), this one not among them."""
    wanted = f"{MARK}={prefix}:{token}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        pid = int(path.parent.name)
        with contextlib.suppress(OSError):
            if pid != os.getpid() and any(v.startswith(wanted) for v in path.read_bytes().split(b"\0")):
                found.append(pid)
    return found


def _marks_of_bridges() -> dict[str, str]:
    command = ["ovs-vsctl", "--timeout=5", "--format=json", "--columns=name,external_ids", "list", "Bridge"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return {}
    if asked.returncode:
        raise LabError(
            f"Open vSwitch does not answer, so its bridges were not looked at: {asked.stderr.strip()}"
        )
    rows = json.loads(asked.stdout)["data"]
    return {name: dict(ids)[BRIDGE_KEY] for name, (_map, ids) in rows if BRIDGE_KEY in dict(ids)}


def marked_bridges(prefix: str) -> list[str]:
    """The bridges of the laboratory. Raises LabError when Open vSwitch does not answer."""
    return [name for name, mark in _marks_of_bridges().items() if mark.startswith(f"{prefix}:")]


def _signal(pid: int, number: signal.Signals) -> bool:
    """Send a signal to a process that was just recognised; False when it is gone."""
    try:
        handle = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def _rounds() -> Iterator[signal.Signals]:
    """SIGTERM at first, SIGKILL when PATIENCE is over, for as long as somebody asks; each at least once."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + PATIENCE
        yield number
        while time.monotonic() < end:
            time.sleep(0.05)
            yield number


def _end_runner(state: State) -> bool:
    """Ask the runner to clean up, and wait for it; True when there was one."""
    if not is_running(state) or state.runner == os.getpid():
        return False
    _signal(state.runner, signal.SIGTERM)
    end = time.monotonic() + 4 * PATIENCE
    while is_running(state) and time.monotonic() < end:
        time.sleep(0.05)
    if is_running(state):
        _signal(state.runner, signal.SIGKILL)
    return True


def end_processes(prefix: str) -> list[int]:
    """End all processes of the laboratory; returns which there were."""
    told: dict[int, signal.Signals] = {}
    for number in _rounds():
        living = [p for p in marked_processes(prefix) if start_time(p) is not None]
        if not living:
            break
        for pid in living:
            if told.get(pid) is not number:
                told[pid] = number
                _signal(pid, number)
    return sorted(told)


def _remove_bridges(prefix: str) -> Removed:
    removed = Removed()
    try:
        removed.bridges = marked_bridges(prefix)
    except LabError as error:
        removed.problems.append(str(error))
    for bridge in removed.bridges:
        subprocess.run(["ovs-vsctl", "--timeout=5", "--if-exists", "del-br", bridge], check=False)
    return removed


def _remove_interfaces(names: Iterable[str]) -> list[str]:
    there = [name for name in names if Path("/sys/class/net", name).exists()]
    for name in there:
        subprocess.run(["ip", "link", "del", name], capture_output=True, check=False)
    return there


def clean(prefix: str) -> Removed:
    """Remove everything that the laboratory with this prefix made; asks a running one to end first.

    What could not be done is in `problems` of the result.
    """
    state = read_state(prefix)
    removed = Removed()
    if state and _end_runner(state):
        removed.runners.append(state.runner)
    removed.processes = end_processes(prefix)
    removed.add(_remove_bridges(prefix))
    removed.interfaces = _remove_interfaces(state.interfaces if state else ())
    if not removed.problems:  # else the next cleaning needs to know that something is left
        shutil.rmtree(directory_of(prefix), ignore_errors=True)
    return removed
