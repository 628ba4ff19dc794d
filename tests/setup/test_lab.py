"""The script `lab`: what it says to a newcomer, when it refuses, and what it leaves behind."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

Run = subprocess.CompletedProcess[str]
Lab = Callable[..., Run]

# What a bare machine has: the commands of Debian's essential packages that the script uses.
ESSENTIAL = (
    *("awk", "cat", "chmod", "chown", "cut", "date", "dirname", "env", "find", "flock", "grep", "head", "id"),
    *(
        "ls",
        "mkdir",
        "readlink",
        "rm",
        "sed",
        "sh",
        "sha256sum",
        "sleep",
        "sort",
        "stat",
        "tail",
        "tr",
        "true",
    ),
)


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    """A checkout in which nothing was set up."""
    fresh = tmp_path / "check out"  # a space: people have them
    fresh.mkdir()
    for name in ("lab", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, fresh)
    for name in (".ci", "controller"):
        shutil.copytree(root / name, fresh / name, ignore=shutil.ignore_patterns("__pycache__"))
    return fresh


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A folder with the commands of a bare machine and no other."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ESSENTIAL:
        found = shutil.which(name)
        assert found, name
        (folder / name).symlink_to(found)
    return folder


@pytest.fixture
def lab(checkout: Path, bare: Path) -> Lab:
    """The script on a bare machine: lab('demo')."""

    def run(*arguments: str, shell: str = "sh") -> Run:
        # What it knows of this machine must stay out of it: folders, its Python, its services.
        script = (checkout / "lab").read_text(encoding="utf-8")
        for name, here in {
            "PATH": bare,
            "SYSTEM_PYTHON": bare / "python3",
            "POLICY": bare / "policy",
        }.items():
            script, found = re.subn(f"^{name}=[^ \n]*", f"{name}='{here}'", script, flags=re.MULTILINE)
            assert found == 1
        (checkout / "lab").write_text(script, encoding="utf-8")
        return subprocess.run(
            [bare / shell, checkout / "lab", *arguments],
            env={"PATH": str(bare), "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run


def put(folder: Path, name: str, script: str) -> None:
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / name).chmod(0o755)


def refused(run: Run) -> str:
    """The one line in which the script refused."""
    assert run.returncode == 2, run.stdout + run.stderr
    line = run.stderr.strip().splitlines()[-1]
    assert line.startswith("lab: ")
    return line


def test_script_is_valid_for_a_posix_shell(root: Path) -> None:
    if shellcheck := shutil.which("shellcheck"):
        subprocess.run([shellcheck, "--shell=sh", root / "lab"], check=True)
    for shell in ("dash", "bash"):
        if found := shutil.which(shell):
            subprocess.run([found, "-n", root / "lab"], check=True)


def test_help_names_every_command(lab: Lab, checkout: Path) -> None:
    run = lab("help")
    assert run.returncode == 0
    for command in ("demo", "test", "setup", "check", "bench", "fuzz", "clean", "help"):
        assert f"./lab {command}" in run.stdout
    assert not (checkout / ".lab").exists()


def test_unknown_command_is_refused_by_name(lab: Lab) -> None:
    assert "'dmeo'" in refused(lab("dmeo"))


def test_demo_and_test_say_that_they_need_root(lab: Lab, bare: Path, checkout: Path) -> None:
    put(bare, "id", "case $1 in -u) echo 1000 ;; *) echo someone ;; esac")
    for command in ("demo", "test", "clean"):
        assert f"sudo ./lab {command}" in refused(lab(command))
    assert not (checkout / ".lab").exists()


def test_without_apt_get_the_missing_packages_are_named(lab: Lab, bare: Path) -> None:
    put(bare, "id", "echo 0")
    line = refused(lab("demo"))
    assert "apt-get was not found" in line
    assert "openvswitch-switch" in line
    assert "mininet" in line
    assert "python3-venv" in line


def test_without_a_network_it_says_so_and_shows_why(lab: Lab, bare: Path, checkout: Path) -> None:
    put(bare, "id", "echo 0")
    put(bare, "apt-get", "echo 'E: Failed to fetch a list  Could not resolve the host'; exit 100")
    run = lab("demo")
    assert "network" in refused(run)
    assert "Could not resolve the host" in run.stderr
    assert "Could not resolve the host" in (checkout / ".lab/setup.log").read_text(encoding="utf-8")


def test_services_are_held_back_while_packages_are_installed(lab: Lab, bare: Path) -> None:
    policy = bare / "policy"
    put(bare, "id", "echo 0")
    put(bare, "apt-get", f'[ $1 = update ] && exit; "{policy}" mosquitto start; echo held back: $?; exit 1')
    run = lab("demo")
    refused(run)
    assert "held back: 101" in run.stderr
    assert not policy.exists()


def test_somebody_elses_policy_for_services_is_kept(lab: Lab, bare: Path) -> None:
    put(bare, "policy", "exit 0")
    put(bare, "id", "echo 0")
    put(bare, "apt-get", "exit 1")
    refused(lab("demo"))
    assert (bare / "policy").exists()


def test_too_old_a_python_is_named(lab: Lab, bare: Path) -> None:
    put(bare, "python3", "case $* in *version_info*) exit 1 ;; *--version*) echo Python 3.9.2 ;; esac")
    line = refused(lab("check"))
    assert "3.11" in line
    assert "3.9.2" in line


def test_set_up_takes_no_time_when_all_is_there(root: Path) -> None:
    if not (root / ".venv/.project").exists():
        pytest.skip("this checkout was not set up by ./lab setup")
    if os.geteuid() != 0:
        pytest.skip("needs root: sudo ./lab test")
    subprocess.run([root / "lab", "setup"], capture_output=True, check=True)
    begin = time.monotonic()
    run = subprocess.run([root / "lab", "setup"], capture_output=True, text=True, check=True)
    assert time.monotonic() - begin < 5
    assert "[" not in run.stdout  # no step was needed


@pytest.fixture
def ready(checkout: Path) -> Path:
    """A checkout whose `lab test` runs a stand-in for pytest, and whose set-up is there."""
    script = (checkout / "lab").read_text(encoding="utf-8")
    script = script.replace("\n    set_up test\n", "\n").replace("\n    need_root test\n", "\n")
    script = script.replace("sleep 5\n", "sleep 1\n").replace("GRACE=25", "GRACE=2")
    script = re.sub("(?m)^LABORATORIES=[^ ]*", f"LABORATORIES='{checkout}/laboratories'", script)
    (checkout / "lab").write_text(script, encoding="utf-8")
    environment = checkout / ".venv/bin"
    environment.mkdir(parents=True)
    put(environment, "python", f'exec {sys.executable} "{checkout}/stand_in.py" "$@"')
    (checkout / "stand_in.py").write_text(
        "import pathlib, sys, time\n"
        "here = pathlib.Path(__file__).parent\n"
        "if 'clean' in sys.argv:\n"
        "    with (here / 'cleaned').open('a') as file: file.write(sys.argv[-1] + '\\n')\n"
        "    sys.exit()\n"
        "if (here / 'laboratories').exists():\n"
        "    import json, subprocess\n"
        "    process = subprocess.Popen(['sleep', '20'], stdout=subprocess.DEVNULL)\n"
        "    (here / 'laboratories/ours').mkdir()\n"
        "    state = json.dumps({'prefix': 'ours-', 'runner': process.pid, 'started': 1})\n"
        "    (here / 'laboratories/ours/state.json').write_text(state)\n"
        "try:\n"
        "    print(' '.join(sys.argv[1:]), flush=True)\n"
        "    while not (here / 'end').exists(): time.sleep(0.05)\n"
        "except KeyboardInterrupt:\n"
        "    (here / 'interrupted').touch()\n"
        "    while (here / 'deaf').exists():\n"
        "        try: time.sleep(0.05)\n"
        "        except KeyboardInterrupt: pass\n"
        "    sys.exit(2)\n"
        "sys.exit(7)\n",
        encoding="utf-8",
    )
    return checkout


@dataclass
class Running:
    """The script, running the stand-in."""

    process: subprocess.Popen[str]
    arguments: str  # what the stand-in was called with

    def code(self) -> int:
        return self.process.wait(15)


@pytest.fixture
def start(ready: Path) -> Iterator[Callable[..., Running]]:
    """start('-x'): `lab test -x`, once the stand-in runs."""
    with contextlib.ExitStack() as stack:

        def run(*arguments: str) -> Running:
            # Whoever runs these tests in the background may have made them deaf to some signals.
            hearing = ["env", *(f"--default-signal={name}" for name in ("HUP", "INT", "QUIT", "TERM"))]
            command = [*hearing, ready / "lab", "test", *arguments]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
            stack.enter_context(process)
            assert process.stdout
            return Running(process, process.stdout.readline().strip())

        yield run
        (ready / "end").touch()
        (ready / "deaf").unlink(missing_ok=True)


def test_test_hands_on_the_exit_code_and_cleans_up(ready: Path, start: Callable[..., Running]) -> None:
    (ready / "end").touch()
    running = start("-k", "a word")
    assert running.code() == 7
    assert running.arguments.startswith("-m pytest")
    assert running.arguments.endswith("-k a word")
    assert (ready / "cleaned").exists()


def test_laboratory_of_somebody_else_goes_on(ready: Path, start: Callable[..., Running]) -> None:
    theirs = ready / "laboratories/theirs"
    theirs.mkdir(parents=True)
    state = json.dumps({"prefix": "theirs-", "runner": os.getpid(), "started": 1})
    (theirs / "state.json").write_text(state, encoding="utf-8")
    (ready / "end").touch()
    assert start().code() == 7
    cleaned = (ready / "cleaned").read_text(encoding="utf-8").split()
    assert "ours-" in cleaned
    assert "theirs-" not in cleaned


def test_a_kind_of_tests_is_chosen_by_one_word(ready: Path, start: Callable[..., Running]) -> None:
    (ready / "end").touch()
    running = start("attacks", "-x")
    assert running.code() == 7
    assert running.arguments.endswith("-m attacks -x")


@pytest.mark.parametrize(
    ("number", "to_group", "code"),
    [
        pytest.param(signal.SIGINT, True, 130, id="Ctrl-C"),
        pytest.param(signal.SIGINT, False, 130, id="SIGINT to the script alone"),
        pytest.param(signal.SIGTERM, False, 143, id="SIGTERM"),
        pytest.param(signal.SIGHUP, False, 143, id="SIGHUP"),
    ],
)
def test_interrupted_test_ends_and_cleans_up(
    ready: Path, start: Callable[..., Running], number: signal.Signals, to_group: bool, code: int
) -> None:
    running = start()
    (os.killpg if to_group else os.kill)(running.process.pid, number)
    assert running.code() == code
    assert (ready / "interrupted").exists()
    assert (ready / "cleaned").exists()


def test_interrupted_test_that_does_not_end_is_killed(ready: Path, start: Callable[..., Running]) -> None:
    (ready / "deaf").touch()
    running = start()
    os.kill(running.process.pid, signal.SIGTERM)
    assert running.code() == 143
    assert (ready / "cleaned").exists()
