"""People, sessions, invitations and programs as rows of the database, and back.

Knows nothing of secrets or of who may do what: it keeps the values and gives them back.
"""

import sqlite3
from collections.abc import Sequence
from typing import Any

from controller.people import (
    Everybody,
    Invitation,
    Kept,
    NotKeptError,
    PeopleChange,
    Person,
    PersonId,
    Program,
    Role,
    Session,
)
from controller.store.rows import add_audit
from controller.store.store import Store, StoreError
from controller.store.text import escaped, unescaped

Row = Sequence[Any]

_PERSON = ("id", "name", "role", "created", "password")
_SESSION = ("id", "person", "digest", "device", "created", "last_seen", "expires")
_INVITATION = ("id", "digest", "name", "role", "who", "created", "expires", "person")
_PROGRAM = ("id", "name", "role", "digest", "who", "created")


def _row(value: Kept) -> tuple[str, Sequence[str], Row]:
    """The table of a value, its columns, and what they hold."""
    match value:
        case Person(id, name, role, created, password):
            return "person", _PERSON, (id, escaped(name), role.value, created, password)
        case Session(id, person, digest, device, created, last_seen, expires):
            return "session", _SESSION, (id, person, digest, escaped(device), created, last_seen, expires)
        case Invitation(id, digest, name, role, by, created, expires, person):
            named = (escaped(name), role.value, escaped(by))
            return "invitation", _INVITATION, (id, digest, *named, created, expires, person)
        case Program(id, name, role, digest, by, created):
            return "program", _PROGRAM, (id, escaped(name), role.value, digest, escaped(by), created)


def _write(connection: sqlite3.Connection, change: PeopleChange) -> None:
    for value in change.gone:
        table, _, _ = _row(value)
        connection.execute(f"DELETE FROM {table} WHERE id = ?", (value.id,))
    for value in change.put:
        table, columns, row = _row(value)
        marks = ", ".join("?" * len(columns))
        others = ", ".join(f"{column} = excluded.{column}" for column in columns[1:])
        connection.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks}) "
            f"ON CONFLICT (id) DO UPDATE SET {others}",
            row,
        )
    add_audit(connection, change.audit)


def _load(connection: sqlite3.Connection) -> Everybody:
    def rows(table: str, columns: Sequence[str]) -> list[Row]:
        return connection.execute(f"SELECT {', '.join(columns)} FROM {table} ORDER BY created").fetchall()

    return Everybody(
        people=tuple(
            Person(PersonId(key), unescaped(name), Role(role), created, password)
            for key, name, role, created, password in rows("person", _PERSON)
        ),
        sessions=tuple(
            Session(key, PersonId(person), digest, unescaped(device), *times)
            for key, person, digest, device, *times in rows("session", _SESSION)
        ),
        invitations=tuple(
            Invitation(key, digest, unescaped(name), Role(role), unescaped(by), created, expires, person)
            for key, digest, name, role, by, created, expires, person in rows("invitation", _INVITATION)
        ),
        programs=tuple(
            Program(key, unescaped(name), Role(role), digest, unescaped(by), created)
            for key, name, role, digest, by, created in rows("program", _PROGRAM)
        ),
    )


class Accounts:
    """The people in the database of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def load(self) -> Everybody:
        return self._store.read(_load)

    def write(self, change: PeopleChange) -> None:
        """Keep a change; on return it is on the disk. Raises NotKeptError: nothing of it is."""
        try:
            self._store.transact(lambda connection: _write(connection, change))
        except StoreError as error:
            raise NotKeptError(str(error)) from error
