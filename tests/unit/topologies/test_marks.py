import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from topologies import marks, waiting
from topologies.marks import MARK, State

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)",
]


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(marks, "RUN_DIRECTORY", tmp_path)
    return tmp_path


@pytest.fixture
def prefix() -> str:
    return f"u{os.getpid()}-"


@pytest.fixture
def marked(prefix: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, MARK: f"{prefix}:token"}
    with subprocess.Popen(STUBBORN, env=environment, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it ignores SIGTERM from now on
        yield process
        process.kill()


def test_marked_processes_are_found_and_others_are_not(prefix: str, marked: subprocess.Popen[bytes]) -> None:
    with subprocess.Popen(SLEEP, env={**os.environ, MARK: f"{prefix}x:token"}) as other:
        assert marks.marked_processes(prefix) == [marked.pid]
        assert marks.marked_processes(prefix, "token") == [marked.pid]
        assert marks.marked_processes(prefix, "another") == []
        other.kill()


def test_process_that_ignores_the_request_is_killed(
    prefix: str, marked: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(marks, "PATIENCE", 0.3)
    assert marks.end_processes(prefix) == [marked.pid]
    assert marked.wait(5) == -signal.SIGKILL


def test_written_state_is_read(prefix: str) -> None:
    state = marks.new_state(prefix, ["gw-s1", "gw-s1-1"])
    marks.write_state(state)
    assert marks.read_state(prefix) == state
    assert prefix in marks.known_prefixes()
    assert marks.is_running(state)


def test_number_of_another_process_is_not_the_runner(prefix: str) -> None:
    own = marks.new_state(prefix, [])
    assert not marks.is_running(State(prefix, "t", own.runner, own.started - 1))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"prefix": "gw-"}'])
def test_broken_state_is_no_state(text: str, prefix: str) -> None:
    file = marks.directory_of(prefix) / "state.json"
    file.parent.mkdir()
    file.write_text(text)
    assert marks.read_state(prefix) is None
    assert prefix in marks.known_prefixes()  # so that clean removes it


def test_ended_process_has_no_start_time() -> None:
    with subprocess.Popen(SLEEP) as process:
        assert marks.start_time(process.pid)
        process.kill()
        waiting.until(
            lambda: marks.start_time(process.pid) is None, "the process has ended"
        )  # a zombie until wait()
    assert marks.start_time(process.pid) is None


def test_waiting_says_what_it_waited_for() -> None:
    with pytest.raises(waiting.WaitedError, match=r"the moon: not within 0\.1 s \(last: 0\)"):
        waiting.until(lambda: 0, "the moon", timeout=0.1)
