"""The supervisor and a real inspector process: started, adopted, restarted, ended. And `graphwall run`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from controller.events import Applied, FromInspector, InspectorDown, InspectorUp, UpdateTable
from controller.inspector import supervisor
from controller.inspector.link import Settings
from controller.inspector.supervisor import LOG, SOCKET, Process, Supervisor, SupervisorError

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="the inspector needs CAP_NET_RAW"),
]


def until(true: Callable[[], object], seconds: float = 10.0) -> float:
    """How long it took until `true` held."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds, "this never happened"
        time.sleep(0.01)
    return time.monotonic() - began


def inspectors(folder: Path) -> list[int]:
    """Process ids of the inspectors that serve this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                if str(folder / SOCKET).encode() in words and b"controller.inspector" in words:
                    found.append(int(entry.name))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    for left in inspectors(tmp_path):
        os.kill(left, signal.SIGKILL)


class Running:
    """A supervisor with what it heard."""

    def __init__(self, folder: Path) -> None:
        self.heard: list[FromInspector] = []
        self.supervisor = Supervisor(folder, Settings())
        self.supervisor.start(self.heard.append)
        assert self.supervisor.wait(10), self.supervisor.last_words()

    def count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.heard)

    @property
    def process(self) -> int:
        assert self.supervisor.process is not None
        return self.supervisor.process


def test_an_inspector_is_started_told_and_ended(folder: Path) -> None:
    running = Running(folder)
    assert inspectors(folder) == [running.process]
    assert isinstance(running.heard[0], InspectorUp)
    running.supervisor.send(UpdateTable(4, ()))  # a change of a table that it does not have yet
    running.supervisor.send(UpdateTable(7, (), whole=True))
    until(lambda: running.count(Applied))
    assert Applied(7) in running.heard
    assert Applied(4) not in running.heard
    began = time.monotonic()
    running.supervisor.stop()
    assert time.monotonic() - began < 1.5
    assert inspectors(folder) == []
    assert isinstance(running.heard[-1], InspectorDown)
    running.supervisor.send(UpdateTable(8, ()))  # to nobody


def test_an_inspector_that_dies_is_back_within_a_second(folder: Path) -> None:
    running = Running(folder)
    first = running.process
    os.kill(first, signal.SIGKILL)
    until(lambda: running.count(InspectorDown) == 1)
    took = until(lambda: running.count(InspectorUp) == 2)
    assert running.process != first
    assert took < 1 or os.getloadavg()[0] > 2  # a busy machine starts no process in time
    running.supervisor.stop()


def test_an_inspector_that_hangs_is_replaced(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "PING_EVERY", 0.1)
    monkeypatch.setattr(supervisor, "HANGS_AFTER", 1.0)
    running = Running(folder)
    first = running.process
    os.kill(first, signal.SIGSTOP)
    until(lambda: running.count(InspectorUp) == 2)
    assert running.process != first
    assert not Path(f"/proc/{first}/cmdline").exists() or first not in inspectors(folder)
    running.supervisor.stop()


def test_an_inspector_that_answers_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "PING_EVERY", 0.01)
    monkeypatch.setattr(supervisor, "HANGS_AFTER", 5.0)
    running = Running(folder)
    first = running.process
    running.supervisor.send(UpdateTable(7, (), whole=True))
    until(lambda: running.count(Applied))
    time.sleep(0.5)
    assert running.process == first
    assert not running.count(InspectorDown)
    running.supervisor.stop()


def test_a_living_inspector_is_adopted_and_then_ended_too(folder: Path) -> None:
    started = subprocess.Popen(
        [sys.executable, "-c", STARTER, str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    process = int(started.stdout.readline())
    started.kill()  # -9: nothing is tidied up
    started.wait()
    started.stdout.close()
    assert inspectors(folder) == [process]
    running = Running(folder)
    assert running.process == process
    running.supervisor.stop()
    assert inspectors(folder) == []


STARTER = """
import sys, time
from pathlib import Path
from controller.inspector.link import Settings
from controller.inspector.supervisor import Supervisor
supervisor = Supervisor(Path(sys.argv[1]), Settings())
supervisor.start(lambda event: None)
supervisor.wait(10)
print(supervisor.process, flush=True)
time.sleep(60)
"""


def test_an_inspector_that_hangs_when_it_should_end_is_ended(folder: Path) -> None:
    running = Running(folder)
    os.kill(running.process, signal.SIGSTOP)
    began = time.monotonic()
    running.supervisor.stop()
    assert time.monotonic() - began < 2.5
    until(lambda: not inspectors(folder))


def test_an_inspector_that_cannot_start_is_not_started_in_a_hurry(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / SOCKET).mkdir()  # the inspector refuses to serve there
    supervisor = Supervisor(folder, Settings())
    supervisor.start(lambda _: None)
    assert not supervisor.wait(4)
    supervisor.stop()
    ends = [record for record in caplog.records if "has ended (exit code 2)" in record.message]
    assert 1 <= len(ends) <= 5
    assert "is not a socket" in ends[0].message
    assert (folder / LOG).stat().st_mode & 0o777 == 0o600


def test_a_state_folder_with_too_long_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SupervisorError, match="choose a shorter one"):
        Supervisor(tmp_path / ("x" * 100), Settings())


def test_a_process_is_not_mistaken_for_another_one() -> None:
    child = subprocess.Popen(["sleep", "60"])
    process = Process(child.pid)
    assert not process.ended(0.01)
    process.signal(signal.SIGKILL)
    assert process.ended(5)
    child.wait()
    process.signal(signal.SIGTERM)  # to nobody, whoever has the number now
    process.close()
