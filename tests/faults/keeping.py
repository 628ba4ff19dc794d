"""What is kept breaks: the disk is full or read-only, the database damaged, the clock jumps.

Each gets a clear word, and nothing is half-done.
"""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.faults.ground import Site
from topologies.marks import LabError
from topologies.waiting import until

LIBFAKETIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
DAY = 86400
LOOP = Path("/dev/loop-control")


def _rename(site: Site, name: str) -> None:
    site.guarded.post("devices/asker/rename", {"name": name})


def _name(site: Site) -> str:
    return str(site.stage.names()["asker"])


def _refusal(act: Callable[[], object]) -> str:
    """What is said when something cannot be done."""
    try:
        act()
    except LabError as said:
        return str(said)
    raise AssertionError("it was not refused")


# The disk


def in_memory(state: Path) -> None:
    _mount("-t", "tmpfs", "-o", "size=2M", "tmpfs", str(state))


def in_a_file(state: Path) -> None:
    """ext4, which can turn read-only while files are open for writing."""
    image = state.with_name("disk")
    if not image.exists():
        with image.open("wb") as file:
            file.truncate(8 * 1024 * 1024)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(image)], check=True)
    _mount("-o", "loop", str(image), str(state))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


@contextlib.contextmanager
def own_disk(mount: Callable[[Path], None], site: Site) -> Iterator[None]:
    """What is kept is on a small disk of its own, and then where it was before."""
    state = site.guarded.state
    site.guarded.kill(signal.SIGTERM)
    aside = state.rename(state.with_name("aside"))
    state.mkdir(mode=0o700)
    mount(state)
    try:
        shutil.copytree(aside, state, dirs_exist_ok=True)
        site.guarded.start()
        yield
        site.guarded.stop()
    finally:
        subprocess.run(["umount", "--lazy", str(state)], check=True)
        state.rmdir()
        aside.rename(state)
    site.guarded.start()


def fill_disk(site: Site) -> str:
    _rename(site, "Before")
    filling = site.guarded.state / "filling"
    with contextlib.suppress(OSError), filling.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))
    said = _refusal(lambda: [_rename(site, f"{number} " + "x" * 70) for number in range(1000)])
    assert "could not be stored" in said, said
    assert "free space" in said, said
    held = _name(site)
    site.restart()
    assert _name(site) == held, "what was answered for is kept, what was refused is not"
    filling.unlink()
    _rename(site, "After")
    site.restart()
    assert _name(site) == "After"
    return f"a decision was refused: {said[:100]} …"


def disk_turns_read_only(site: Site) -> str:
    """As it does after an error of the disk: a decision is refused, and so is a start."""
    state = site.guarded.state
    _rename(site, "Kept")
    _mount("-o", "remount,abort", str(state))
    said = _refusal(lambda: _rename(site, "Lost"))
    assert "could not be stored" in said, said
    assert _name(site) == "Kept"
    site.guarded.kill(signal.SIGKILL)
    at_start = _refusal(site.guarded.start)
    assert str(state) in at_start, at_start
    assert "ead-only" in at_start, at_start
    os.kill(site.inspector, signal.SIGKILL)  # who mends a disk stops what has files open there
    until(lambda: not subprocess.run(["umount", str(state)], check=False).returncode, "the disk is free")
    in_a_file(state)
    site.guarded.start()
    assert _name(site) == "Kept"
    return f"decision and start were refused: {at_start[-110:]}"


# The database


@contextlib.contextmanager
def backed_up(site: Site) -> Iterator[None]:
    """A backup is made at each orderly end."""
    _rename(site, "Kept")
    site.restart(signal.SIGTERM)
    yield


def truncated(data: bytearray) -> bytearray:
    return data[: len(data) // 2]


def flipped(data: bytearray) -> bytearray:
    for place in range(1024, len(data), 256):
        data[place] ^= 0x10
    return data


def headless(data: bytearray) -> bytearray:
    data[:16] = bytes(16)
    return data


def damage(how: Callable[[bytearray], bytearray], site: Site) -> str:
    database = site.guarded.state / "graphwall.db"
    backup = Path(f"{database}.backup")
    site.guarded.kill(signal.SIGKILL)
    with contextlib.closing(sqlite3.connect(database)) as whole:
        whole.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damaged = bytes(how(bytearray(database.read_bytes())))
    database.write_bytes(damaged)
    said = _refusal(site.guarded.start)
    assert "nothing was changed" in said or "damaged" in said, said
    assert str(backup) in said, said
    assert database.read_bytes() == damaged, "what is damaged is left for those who can mend it"
    shutil.copyfile(backup, database)
    for left in site.guarded.state.glob("graphwall.db-*"):
        left.unlink()
    site.guarded.start()
    assert _name(site) == "Kept"
    return "refused; the backup was offered, and restored it"


# The clock


@contextlib.contextmanager
def clock_of_its_own(site: Site) -> Iterator[None]:
    """Controller and inspector read the time of day from a file (libfaketime)."""
    _clock(site, 0)
    fake = {
        "LD_PRELOAD": str(LIBFAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(site.guarded.directory / "clock"),
        "FAKETIME_CACHE_DURATION": "1",  # seconds
        "FAKETIME_DISABLE_SHM": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    os.environ.update(fake)
    try:
        _start_both(site)
    finally:
        for name in fake:
            del os.environ[name]
    yield
    _start_both(site)


def _clock(site: Site, ahead: int) -> None:
    (site.guarded.directory / "clock").write_text(f"{ahead:+d}\n", encoding="ascii")


def _start_both(site: Site) -> None:
    """Controller and inspector anew, with what is in the environment now."""
    before = site.inspector
    site.guarded.kill(signal.SIGTERM)
    with contextlib.suppress(ProcessLookupError):
        os.kill(before, signal.SIGKILL)
    site.guarded.start()
    site.await_other_inspector(before)


def clock_jumps(site: Site) -> str:
    """A day ahead, then two days back."""
    for process in (site.controller, site.inspector):
        assert b"FAKETIME" in Path(f"/proc/{process}/environ").read_bytes()
    for ahead in (DAY, -DAY):
        _clock(site, ahead)

        def jumped() -> bool:
            _rename(site, f"Jumped {time.monotonic()}")
            newest = site.guarded.get("log")["entries"][0]["at"]
            return abs(newest - time.time() - ahead) < 3600  # noqa: B023  # called at once

        until(jumped, "the controller's clock has jumped")
        _rename(site, f"At {ahead:+d}")
        assert _name(site) == f"At {ahead:+d}"
    return "decides, stores and logs on"
