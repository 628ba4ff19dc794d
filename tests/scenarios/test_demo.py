"""The demonstrator keeps every promise, as a person would start it."""

import subprocess
import sys
from pathlib import Path

import pytest

from topologies import marks

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.timeout(240)]


def demonstrate(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "topologies", "demo", "--prefix", marks.free_prefix(), *words]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=240)


@pytest.mark.parametrize("topology", ["paper", "smart_home"])
def test_every_promise_is_kept_before_the_firewall(root: Path, topology: str) -> None:
    done = demonstrate(root, "--topology", topology)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Promises: 14 of 14 kept" in done.stdout


def test_without_the_firewall_the_door_opens(root: Path) -> None:
    done = demonstrate(root, "--topology", "paper", "--firewall", "off", "--scenario", "malicious-update")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the door is OPEN" in done.stdout
