"""The disk is full or read-only, the database damaged, the clock jumps: a clear word, nothing half-done."""

import contextlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Fate
from topologies.demo.firewall import Firewall
from topologies.marks import LabError
from topologies.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.faults, pytest.mark.timeout(180)]

LIBFAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
SITE: dict[str, Any] = {
    "site": "Faults",
    "devices": [{"id": "lamp", "name": "Lamp", "mac": "02:00:00:00:00:01", "addresses": ["10.0.0.1"]}],
}
DAY = 86400


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    folder = tmp_path / "d"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def firewall(disk: Path) -> Iterator[Firewall]:
    made = Firewall(disk, SITE, "none")
    made.configure(free_port(), free_port())
    made.start()
    yield made
    made.stop()


def rename(firewall: Firewall, name: str) -> None:
    firewall.post("devices/lamp/rename", {"name": name})


def name(firewall: Firewall) -> str:
    devices = {d["id"]: d["name"] for d in firewall.get("devices")["devices"]}
    return str(devices["lamp"])


def again(firewall: Firewall) -> None:
    firewall.kill(signal.SIGTERM)
    firewall.start()


def refused(firewall: Firewall, text: str) -> str:
    """What is said when the name cannot be kept."""
    with pytest.raises(LabError) as said:
        rename(firewall, text)
    assert "could not be stored" in str(said.value)
    return str(said.value)


def test_full_disk_refuses_decisions_and_changes_nothing(
    firewall: Firewall, disk: Path, fates: list[Fate]
) -> None:
    rename(firewall, "Before")
    filling = disk / "filling"
    with contextlib.suppress(OSError), filling.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    said = refused(firewall, "x" * 80)
    assert name(firewall) == "Before"
    filling.unlink()
    rename(firewall, "After")
    again(firewall)
    assert name(firewall) == "After"
    fates.append(("fault: full disk", "one decision", f"refused: {said[:90]} …"))


def test_read_only_disk_is_named_at_the_start_and_changes_nothing(
    firewall: Firewall, disk: Path, fates: list[Fate]
) -> None:
    rename(firewall, "Kept")
    firewall.kill(signal.SIGTERM)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    words = ["run", "--config", str(firewall.config)]
    done = subprocess.run(
        [sys.executable, "-m", "controller", *words], capture_output=True, text=True, check=False, cwd=ROOT
    )
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    assert done.returncode != 0
    said = (done.stderr or done.stdout).strip().splitlines()[-1]
    assert "ead-only" in said
    assert str(disk) in said
    firewall.start()
    assert name(firewall) == "Kept"
    fates.append(("fault: read-only disk", "start", f"refused: {said[:110]}"))


def _truncated(data: bytearray) -> bytearray:
    return data[: len(data) // 2]


def _flipped(data: bytearray) -> bytearray:
    for place in range(1024, len(data), 256):
        data[place] ^= 0x10
    return data


def _headless(data: bytearray) -> bytearray:
    data[:16] = bytes(16)
    return data


@pytest.mark.parametrize(
    "damage",
    [
        _truncated,
        pytest.param(_flipped, marks=pytest.mark.long),
        pytest.param(_headless, marks=pytest.mark.long),
    ],
)
def test_damaged_database_is_refused_and_the_backup_offered(
    firewall: Firewall, damage: Any, fates: list[Fate]
) -> None:
    rename(firewall, "Kept")
    firewall.kill(signal.SIGTERM)  # writes a backup
    state = firewall.directory / "state"
    database = state / "graphwall.db"
    damaged = bytes(damage(bytearray(database.read_bytes())))
    database.write_bytes(damaged)
    with pytest.raises(LabError) as said:
        firewall.start()
    words = str(said.value)
    assert "nothing was changed" in words or "damaged" in words
    assert database.read_bytes() == damaged, "what is damaged is left for those who can mend it"
    assert str(database) + ".backup" in words
    database.write_bytes((state / "graphwall.db.backup").read_bytes())
    for left in state.glob("graphwall.db-*"):
        left.unlink()
    firewall.start()
    assert name(firewall) == "Kept"
    fates.append(
        (
            f"fault: database {damage.__name__.strip('_')}",
            "start",
            "refused; the backup was offered, and restored it",
        )
    )


@pytest.mark.skipif(LIBFAKETIME is None, reason="needs libfaketime: sudo ./lab setup")
@pytest.mark.parametrize("jump", [pytest.param(DAY, marks=pytest.mark.long), -DAY])
def test_clock_that_jumps_a_day_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: int, fates: list[Fate]
) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    monkeypatch.setenv("LD_PRELOAD", str(LIBFAKETIME))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(clock))
    monkeypatch.setenv("FAKETIME_CACHE_DURATION", "1")  # seconds
    monkeypatch.setenv("FAKETIME_DISABLE_SHM", "1")
    monkeypatch.setenv("DONT_FAKE_MONOTONIC", "1")
    firewall = Firewall(tmp_path, SITE, "none")
    firewall.configure(free_port(), free_port())
    firewall.start()
    monkeypatch.undo()
    try:
        rename(firewall, "Before")
        clock.write_text(f"{jump:+d}\n")

        def jumped() -> bool:
            rename(firewall, f"Jumped {time.monotonic()}")
            newest = firewall.get("log")["entries"][0]["at"]
            return abs(newest - time.time() - jump) < 3600

        until(jumped, "the controller's clock has jumped")
        rename(firewall, "After")
        assert name(firewall) == "After"
        until(lambda: firewall.get("status")["inspector"], "the inspector is there")
    finally:
        firewall.stop()
    fates.append((f"fault: clock jumps {jump:+d} s", "decisions", "decides, stores and logs on"))
