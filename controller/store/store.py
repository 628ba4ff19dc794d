"""The state folder's database: devices, services, relationships, decisions and the audit log, in SQLite.

Knows nothing of switches, packets or who may do what: it keeps the values of a Record and gives them
back. A write is one transaction that is on the disk when the call returns, or nothing of it is. One
process at a time; any of its threads may write, and others may read the log meanwhile.
"""

import fcntl
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from controller.events import Record
from controller.store import rows
from controller.store.rows import MIGRATIONS, AuditLine

log = logging.getLogger(__name__)

FILE = "graphwall.db"  # in the state folder
BUSY_TIMEOUT = 5000  # ms; somebody may be looking with the sqlite3 command
PAGE_SIZE = 1024  # bytes; a small home's model is a few pages
DAY = 86400.0  # s between two backups

_APPLICATION_ID = 0x47775761  # says in the file's header whose it is
_HEADER = b"SQLite format 3\x00"

T = TypeVar("T")


class StoreError(Exception):
    """The state cannot be read or written. The message says what, where and what to do."""


# ---------------------------------------------------------------- the file


def _open(path: Path, mode: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT / 1000,
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def back_up(source: Path, target: Path) -> None:
    """Write `source`, as it is now, to `target` as one file of its own, in one step or not at all."""
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    with closing(_open(source, "ro")) as origin, closing(_open(partial, "rw")) as copy:
        origin.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")
    partial.replace(target)
    _sync_folder(target.parent)


class Store:
    """The database at `path`, held by this process alone until close().

    Raises StoreError when another process holds it, when it is damaged, not Graphwall's or written
    by a newer Graphwall; then nothing has been changed.
    """

    def __init__(self, path: Path, migrations: Sequence[str] = MIGRATIONS) -> None:
        self.path = path
        self.backup = path.with_name(path.name + ".backup")
        self._migrations = migrations
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._backing_up: threading.Thread | None = None
        self._closed = False
        with self._explained("open"):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = self._hold()
            try:
                version = self._check()
                self._connection = self._prepare(version)
                self._reader = _open(path, "ro")
            except BaseException:
                os.close(self._lock)
                raise
        self._backed_up = self.backup.stat().st_mtime if self.backup.exists() else time.time()

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Errors of the system and of SQLite as a StoreError; a transaction is rolled back."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            raise StoreError(
                f"cannot {what} the state in {self.path}: {error}; {self._remedy(error)}"
            ) from error
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise StoreError(
                f"cannot {what} the state in {self.path}: {reason}; "
                "give this user a folder that it may write to"
            ) from error

    def _remedy(self, error: sqlite3.DatabaseError) -> str:
        match getattr(error, "sqlite_errorname", "").split("_")[1:2]:
            case ["FULL"] | ["IOERR"]:
                return "free space on that disk; nothing was changed"
            case ["CANTOPEN"] | ["READONLY"] | ["PERM"]:
                return "give this user a folder that it may write to"
            case ["BUSY"] | ["LOCKED"]:
                return "another program has locked it; close that one and try again"
            case ["CONSTRAINT"]:
                return "nothing was changed; please report this"
            case _:
                return self._how_to_restore()

    def _how_to_restore(self) -> str:
        if not self.backup.exists():
            return (
                "move it away to start with an empty model, or put a copy of yours there; nothing was changed"
            )
        path = self.path
        return (
            f"nothing was changed; to go back to the last backup: rm -f {path}-wal {path}-shm && "
            f"cp {self.backup} {path}"
        )

    def _hold(self) -> int:
        """An open, locked file; the system lets go of it when this process ends, however it ends."""
        handle = os.open(f"{self.path}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(handle, 20).decode("ascii", "replace").strip() or "?"
            os.close(handle)
            raise StoreError(
                f"the state folder {self.path.parent} is in use by another controller (process {owner}); "
                "stop that one, or choose another folder with 'state:' in site.yaml"
            ) from None
        ours = f"{os.getpid()}\n".encode()
        os.pwrite(handle, ours, 0)  # before it is cut: a full disk would not give back what is let go
        os.truncate(handle, len(ours))
        return handle

    def _check(self) -> int:
        """The schema version of the file, 0 for one that has yet to be made; touches nothing."""
        if not self.path.exists() or not self.path.stat().st_size:
            if self.backup.exists():
                raise StoreError(
                    f"{self.path} is gone or empty, but there is a backup of it; bring it back with "
                    f"'cp {self.backup} {self.path}', or move the backup away to begin with an empty model"
                )
            return 0
        newest = len(self._migrations)
        with self.path.open("rb") as file:
            header = file.read(100)
        if not header.startswith(_HEADER):
            raise StoreError(f"{self.path} is not a database, or is damaged; {self._how_to_restore()}")
        version = int.from_bytes(header[60:64])
        if version <= newest:
            log_file = Path(f"{self.path}-wal")
            crashed = log_file.exists() and log_file.stat().st_size
            # Without a write-ahead log nothing may be created beside the file either.
            with closing(_open(self.path, "ro" if crashed else "ro&immutable=1")) as connection:
                problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
                if problem != "ok":
                    raise StoreError(f"{self.path} is damaged ({problem}); {self._how_to_restore()}")
                version = _number(connection, "user_version")
                empty = not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
                ours = _number(connection, "application_id") == _APPLICATION_ID or (empty and version == 0)
            if not ours:
                raise StoreError(f"{self.path} is a database of another program; choose another state folder")
        if version > newest:
            raise StoreError(
                f"{self.path} was written by a newer Graphwall (schema {version}, this one knows {newest}); "
                "install that version again, or choose another state folder; nothing was changed"
            )
        return version

    def _prepare(self, version: int) -> sqlite3.Connection:
        """A connection to a file that has the newest schema."""
        if not self.path.exists():
            os.close(os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        self.path.chmod(0o600)
        newest = len(self._migrations)
        if 0 < version < newest:
            kept = self.path.with_name(f"{self.path.name}.schema-{version}.backup")
            back_up(self.path, kept)
            log.info("state: schema %d to %d; the file as it was is in %s", version, newest, kept)
        connection = _open(self.path, "rw")
        try:
            connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            if version < newest:
                self._migrate(connection, version)
                _sync_folder(self.path.parent)
            connection.execute("PRAGMA recursive_triggers = ON")
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: sqlite3.Connection, version: int) -> None:
        connection.execute("PRAGMA foreign_keys = OFF")  # or a table could not be made anew
        steps = "\n".join(self._migrations[version:])
        try:
            connection.executescript(
                f"BEGIN IMMEDIATE; {steps} PRAGMA application_id = {_APPLICATION_ID}; "
                f"PRAGMA user_version = {len(self._migrations)};"
            )
            broken = connection.execute("PRAGMA foreign_key_check").fetchone()
            if broken is not None:
                raise StoreError(
                    f"{self.path}: a {broken[0]} refers to a {broken[2]} that is not there; please report"
                )
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    # ------------------------------------------------------------ reading and writing

    def write(self, record: Record) -> None:
        """Keep what the record holds; on return it is on the disk. Raises StoreError: nothing is."""
        self.transact(lambda connection: rows.write(connection, record))

    def transact(self, write: Callable[[sqlite3.Connection], None]) -> None:
        """Have `write` write; on return all of it is on the disk. Raises StoreError: nothing is."""
        with self._writing, self._explained("write"):
            self._open_still()
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                write(self._connection)
                self._connection.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                raise
        self._back_up_daily()

    def load(self) -> Record:
        """Everything that is kept; of the log only the newest lines, newest last."""
        try:
            return self.read(rows.load)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self.path} holds a value that Graphwall never writes ({error}); {self._how_to_restore()}"
            ) from error

    def audit(self, limit: int = 100, before: int | None = None) -> tuple[AuditLine, ...]:
        """At most `limit` lines of the log, newest first; `before`: only those with smaller numbers."""
        return tuple(self.read(lambda connection: rows.audit(connection, limit, before)))

    def read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """What `read` finds in one consistent state of the file. Raises StoreError."""
        with self._reading, self._explained("read"):
            self._open_still()
            self._reader.execute("BEGIN")
            try:
                return read(self._reader)
            finally:
                self._reader.execute("ROLLBACK")

    def _open_still(self) -> None:
        if self._closed:
            raise StoreError(f"the state in {self.path} has been closed; the controller is stopping")

    # ------------------------------------------------------------ backups and the end

    def _back_up_daily(self) -> None:
        running = self._backing_up is not None and self._backing_up.is_alive()
        if time.time() - self._backed_up < DAY or running:
            return
        self._backed_up = time.time()
        self._backing_up = threading.Thread(target=self._back_up_now, name="backup")
        self._backing_up.start()

    def _back_up_now(self) -> None:
        try:
            back_up(self.path, self.backup)
        except (OSError, sqlite3.Error) as error:  # the model itself is safe: say so and go on
            log.warning("state: no backup could be written to %s: %s", self.backup, error)

    def close(self) -> None:
        """Make a backup and let go of the file. May be called twice."""
        with self._writing, self._reading:
            if self._closed:
                return
            self._closed = True
            if self._backing_up is not None:
                self._backing_up.join()
            self._reader.close()
            self._back_up_now()
            self._connection.close()
            os.close(self._lock)
