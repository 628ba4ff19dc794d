"""The store keeps what it acknowledged, and refuses what it cannot keep without harming it."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from controller.dpi.message import Operation
from controller.events import AuditEntry, Record
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, Relationship, ServiceId, Status
from controller.model.service import Admission, Binding, Device, Place, Service
from controller.store import store as store_module
from controller.store.rows import MIGRATIONS
from controller.store.store import FILE, Store, StoreError

ROOT = Path(__file__).parents[2]
FIRST_SCHEMA = Path(__file__).with_name("store_schema_1.sql")


def home(devices: int = 20, relationships: int = 60) -> Record:
    """A site like the paper's: one service on each device, each with a few partners."""
    ids = [DeviceId(f"device-{n}") for n in range(devices)]
    services = [ServiceId(f"{device}/control") for device in ids]
    web = Endpoint("tcp", 80)
    return Record(
        devices=tuple(
            Device(
                id=device,
                number=n + 1,
                place=Place.SITE,
                name=f"Device {n}",
                mac=f"02:00:00:00:{n // 256:02x}:{n % 256:02x}",
                addresses=frozenset({f"10.0.{n // 256}.{n % 256}"}),
                binding=Binding(1, n + 1),
                admission=Admission.ADMITTED,
            )
            for n, device in enumerate(ids)
        ),
        services=tuple(
            Service(service, device, "control", f"Control of {device}", endpoints=frozenset({web}))
            for service, device in zip(services, ids, strict=True)
        ),
        relationships=tuple(
            Relationship(
                access=Access(
                    services[n % devices],
                    services[(n * 7 + 1) % devices],
                    "http",
                    Operation.READ,
                    f"/state/{n}",
                ),
                status=Status.LEARNED,
                reason=Reason.LEARNING,
                endpoint=web,
                verb="GET",
                first_seen=1.7e9,
                last_seen=1.7e9 + n,
                allowed=n,
            )
            for n in range(relationships)
        ),
    )


def line(text: str) -> AuditEntry:
    return AuditEntry(1.7e9, "decision", "somebody", text)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / FILE


# ---------------------------------------------------------------- what is kept


def test_the_newest_lines_of_the_log_are_loaded_in_order(path: Path) -> None:
    store = Store(path)
    store.write(Record(audit=tuple(line(str(n)) for n in range(300))))
    assert [entry.text for entry in store.load().audit] == [str(n) for n in range(100, 300)]
    store.close()


def test_the_log_is_read_page_by_page_newest_first(path: Path) -> None:
    store = Store(path)
    store.write(Record(audit=tuple(line(str(n)) for n in range(1, 8))))
    first = store.audit(limit=3)
    assert [found.entry.text for found in first] == ["7", "6", "5"]
    assert [found.entry.text for found in store.audit(limit=3, before=first[-1].number)] == ["4", "3", "2"]
    assert store.audit(limit=3, before=1) == ()
    store.close()


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET text = 'nothing happened'",
        "DELETE FROM audit",
        "INSERT OR REPLACE INTO audit VALUES (1, 0, '', '', 'nothing happened', '')",
    ],
)
def test_the_log_cannot_be_rewritten(path: Path, statement: str) -> None:
    store = Store(path)
    store.write(Record(audit=(line("it happened"),)))
    store.close()
    with (
        closing(sqlite3.connect(path)) as stranger,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        stranger.execute(statement)
    store = Store(path)
    assert [entry.text for entry in store.load().audit] == ["it happened"]
    store.close()


def test_a_record_that_cannot_be_kept_whole_is_not_kept_in_part(path: Path) -> None:
    store = Store(path)
    lost = Service(ServiceId("nowhere/main"), DeviceId("nowhere"), "main", "Lost")
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        store.write(replace(home(), services=(lost,), audit=(line("never"),)))
    assert store.load() == Record()
    store.write(home())
    assert len(store.load().devices) == 20
    store.close()


def test_columns_can_be_read_by_people(path: Path) -> None:
    store = Store(path)
    store.write(home())
    store.close()
    with closing(sqlite3.connect(path)) as reader:
        assert reader.execute(
            "SELECT addresses, switch, port FROM device WHERE id = 'device-3'"
        ).fetchone() == (
            '["10.0.0.3"]',
            "0000000000000001",
            4,
        )


# ---------------------------------------------------------------- size and speed


def test_twenty_services_take_less_than_the_papers_34_kilobytes(path: Path) -> None:
    store = Store(path)
    store.write(home(devices=20, relationships=60))
    store.close()
    assert path.stat().st_size < 34_000


def test_a_hundred_thousand_relationships_load_in_three_seconds(path: Path) -> None:
    store = Store(path)
    store.write(home(devices=500, relationships=100_000))
    store.close()
    began = time.process_time()  # what others do on this machine meanwhile does not count
    store = Store(path)
    assert len(store.load().relationships) == 100_000
    assert time.process_time() - began < 3.0
    store.close()


# ---------------------------------------------------------------- files


def test_only_the_owner_may_read_what_is_stored(path: Path) -> None:
    store = Store(path)
    store.write(home())
    for file in path.parent.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600, file
    assert path.parent.stat().st_mode & 0o777 == 0o700
    store.close()
    assert path.with_name(FILE + ".backup").stat().st_mode & 0o777 == 0o600


def test_a_second_controller_on_the_same_folder_is_refused(path: Path) -> None:
    store = Store(path)
    with pytest.raises(StoreError, match=rf"in use by another controller \(process {os.getpid()}\)"):
        Store(path)
    store.write(home())
    store.close()
    Store(path).close()


def test_a_clean_close_leaves_a_backup_that_can_take_the_files_place(path: Path) -> None:
    store = Store(path)
    store.write(home())
    store.close()
    path.unlink()
    backup = path.with_name(FILE + ".backup")
    with pytest.raises(StoreError, match="bring it back with") as failure:
        Store(path)
    assert str(backup) in str(failure.value)
    backup.rename(path)
    store = Store(path)
    assert len(store.load().relationships) == 60
    store.close()


def test_a_long_running_controller_makes_a_backup_every_day(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(path)
    store.write(home())
    backup = path.with_name(FILE + ".backup")
    assert not backup.exists()
    monkeypatch.setattr(store_module, "DAY", 0.0)
    store.write(Record(audit=(line("a day later"),)))
    give_up = time.monotonic() + 5
    while not backup.exists() and time.monotonic() < give_up:
        time.sleep(0.01)
    with closing(sqlite3.connect(backup)) as copy:
        assert copy.execute("SELECT text FROM audit").fetchall() == [("a day later",)]
    store.close()


def test_nothing_is_written_after_the_end(path: Path) -> None:
    store = Store(path)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="has been closed"):
        store.write(home())


# ---------------------------------------------------------------- files that are refused


def untouched(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith(".lock")}


def made(path: Path) -> None:
    store = Store(path)
    store.write(home())
    store.close()


def test_a_newer_database_is_refused_and_left_alone(path: Path) -> None:
    made(path)
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("PRAGMA user_version = 99")
    before = untouched(path)
    with pytest.raises(StoreError, match=r"newer Graphwall \(schema 99, this one knows \d+\); install"):
        Store(path)
    assert untouched(path) == before


def test_a_newer_version_that_is_still_in_the_write_ahead_log_is_seen(path: Path) -> None:
    made(path)
    newer = sqlite3.connect(path)
    newer.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer Graphwall"):
        Store(path)
    newer.close()


@pytest.mark.parametrize("kind", ["text", "cut", "holes"])
def test_a_damaged_database_is_refused_and_left_alone(path: Path, kind: str) -> None:
    made(path)
    whole = path.read_bytes()
    match kind:
        case "text":
            path.write_bytes(b"site: My home\n" * 500)
        case "cut":
            path.write_bytes(whole[: len(whole) // 2])
        case "holes":
            path.write_bytes(whole[:4096] + b"\x5a" * 8192 + whole[12288:])
    before = untouched(path)
    with pytest.raises(StoreError, match=r"damaged|malformed") as failure:
        Store(path)
    assert "to go back to the last backup: " in str(failure.value)
    assert untouched(path) == before
    subprocess.run(str(failure.value).split("last backup: ")[1], shell=True, check=True)  # the remedy works
    store = Store(path)
    assert len(store.load().relationships) == 60
    store.close()


def test_a_database_of_another_program_is_refused(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE bookmark (url TEXT)")
    with pytest.raises(StoreError, match="another program"):
        Store(path)


def test_a_value_that_was_never_written_is_refused_with_a_remedy(path: Path) -> None:
    made(path)
    with closing(sqlite3.connect(path)) as editor:
        editor.execute("UPDATE relationship SET status = 'fine' WHERE resource = '/state/1'")
        editor.commit()
    store = Store(path)
    with pytest.raises(StoreError, match=r"'fine'.*go back to the last backup"):
        store.load()
    store.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot open the state in .*file"):
        Store(tmp_path / "file" / FILE)


def test_a_full_disk_refuses_the_write_and_keeps_the_rest(path: Path) -> None:
    store = Store(path)
    store.write(home())
    pages = store._connection.execute("PRAGMA page_count").fetchone()[0]
    store._connection.execute(f"PRAGMA max_page_count = {pages}")  # SQLite's own way of being full
    with pytest.raises(StoreError, match=r"full; free space"):
        store.write(home(devices=20, relationships=5000))
    assert len(store.load().relationships) == 60
    store._connection.execute("PRAGMA max_page_count = 1000000")
    store.write(Record(audit=(line("again"),)))
    assert [entry.text for entry in store.load().audit] == ["again"]
    store.close()


# ---------------------------------------------------------------- migrations


def test_a_file_made_by_the_first_schema_is_still_read(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with closing(sqlite3.connect(path)) as first:
        first.executescript(FIRST_SCHEMA.read_text())
    store = Store(path)
    found = store.load()
    assert {device.id: device.name for device in found.devices} == {
        "lock": "Front door \ud800 \\ \x00",
        "washer": "Washing machine",
    }
    (edge,) = found.relationships
    assert (edge.access.client, edge.access.operation, edge.status) == ("washer/main", "write", Status.DENIED)
    (made_then,) = found.decisions
    assert made_then.accesses == (edge.access,)
    assert [then and then.status for then in made_then.before] == [Status.PENDING, None]
    assert edge.decision == made_then.id
    assert [entry.by for entry in found.audit] == ["local command line"]
    store.close()


ADD_ROOM = "ALTER TABLE device ADD COLUMN room TEXT NOT NULL DEFAULT '';"


def test_an_older_file_is_migrated_after_a_backup_of_it(path: Path) -> None:
    made(path)
    store = Store(path, migrations=(*MIGRATIONS, ADD_ROOM))
    assert len(store.load().relationships) == 60
    store.close()
    kept = path.with_name(f"{FILE}.schema-{len(MIGRATIONS)}.backup")
    for file, version in ((path, len(MIGRATIONS) + 1), (kept, len(MIGRATIONS))):
        with closing(sqlite3.connect(file)) as reader:
            assert reader.execute("PRAGMA user_version").fetchone() == (version,)
            assert reader.execute("SELECT count(*) FROM relationship").fetchone() == (60,)
    with pytest.raises(StoreError, match="newer Graphwall"):
        Store(path)


def test_a_migration_that_fails_half_way_changes_nothing(path: Path) -> None:
    made(path)
    with pytest.raises(StoreError, match="no such table: cellar"):
        Store(path, migrations=(*MIGRATIONS, ADD_ROOM, "INSERT INTO cellar VALUES (1);"))
    store = Store(path)
    assert len(store.load().relationships) == 60
    store.close()


# ---------------------------------------------------------------- sudden ends

WRITER = """
import sys
from pathlib import Path
from controller.events import AuditEntry, Decision, Duration, Record, Scope
from controller.store.store import Store

store = Store(Path(sys.argv[1]))
number = max((d.id for d in store.load().decisions), default=0)
while True:
    number += 1
    decision = Decision(number, "r", "It may.", True, Scope.OPERATION, Duration.ALWAYS, "test", 1.0, None)
    store.write(Record(decisions=(decision,), audit=(AuditEntry(1.0, "decision", "test", str(number)),)))
    print(number, flush=True)
"""


def test_every_acknowledged_decision_survives_kill_9(path: Path) -> None:
    chance = random.Random(7)
    acknowledged = 0
    for _ in range(20):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        assert writer.stdout is not None
        first = writer.stdout.readline()
        assert int(first) > acknowledged
        time.sleep(chance.random() * 0.05)
        writer.send_signal(signal.SIGKILL)
        acknowledged = int([first, *writer.stdout.read().split()][-1])
        writer.wait()
        writer.stdout.close()
        store = Store(path)
        found = store.load()
        # One may have been written whose acknowledgement the kill cut off; none may be missing.
        assert [d.id for d in found.decisions] == list(range(1, len(found.decisions) + 1))
        assert acknowledged <= len(found.decisions) <= acknowledged + 1
        assert [int(found.entry.text) for found in store.audit(1)] == [len(found.decisions)]
        store.close()
    assert acknowledged > 20
