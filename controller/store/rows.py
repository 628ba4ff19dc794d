"""The database's schema, and the values of a Record as its rows and back.

Knows nothing of files, locks or backups; store.py does those.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import Any

from controller.dpi.message import Operation
from controller.events import AuditEntry, Decision, Duration, Record, Scope
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, Relationship, ServiceId, Status
from controller.model.service import Admission, Binding, Certainty, Device, Place, Service
from controller.store.text import escaped, unescaped

NEWEST = 200  # audit lines that load() gives

SCHEMA_1 = """
CREATE TABLE device (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    place TEXT NOT NULL,
    name TEXT NOT NULL,
    mac TEXT,
    addresses TEXT NOT NULL,           -- JSON list
    switch TEXT,                       -- datapath id, 16 hexadecimal digits
    port INTEGER,
    admission TEXT NOT NULL,
    young INTEGER NOT NULL,
    kind TEXT NOT NULL,
    vendor TEXT NOT NULL,
    roles TEXT NOT NULL,               -- JSON list
    first_seen REAL NOT NULL,          -- all times: seconds since the epoch
    last_seen REAL NOT NULL,
    named_by_manager INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE service (
    id TEXT PRIMARY KEY,
    device TEXT NOT NULL REFERENCES device (id) DEFERRABLE INITIALLY DEFERRED,
    own_name TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    description TEXT NOT NULL,
    endpoints TEXT NOT NULL,           -- JSON list such as ["tcp-80"]
    learning INTEGER NOT NULL,
    learning_since REAL,
    last_new REAL,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    named_by_manager INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE decision (
    id INTEGER PRIMARY KEY,
    request TEXT NOT NULL,
    sentence TEXT NOT NULL,
    approve INTEGER NOT NULL,
    scope TEXT NOT NULL,
    duration TEXT NOT NULL,
    who TEXT NOT NULL,
    at REAL NOT NULL,
    until REAL,
    device TEXT,
    undone_at REAL,
    undone_by TEXT,
    earlier INTEGER NOT NULL           -- length of the list that decision_before holds
) STRICT;

-- No references to services and decisions: what was learnt must be kept, too, while the decision that it
-- is about waits for the switches.
CREATE TABLE relationship (
    client TEXT NOT NULL,
    server TEXT NOT NULL,
    protocol TEXT NOT NULL,
    operation TEXT NOT NULL,
    resource TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    transport TEXT NOT NULL,
    port INTEGER NOT NULL,
    verb TEXT NOT NULL,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    allowed INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    decision INTEGER,
    until REAL,
    once INTEGER NOT NULL,
    PRIMARY KEY (client, server, protocol, operation, resource)
) STRICT, WITHOUT ROWID;

CREATE TABLE decision_access (
    of INTEGER NOT NULL REFERENCES decision (id),
    position INTEGER NOT NULL,
    client TEXT NOT NULL,
    server TEXT NOT NULL,
    protocol TEXT NOT NULL,
    operation TEXT NOT NULL,
    resource TEXT NOT NULL,
    PRIMARY KEY (of, position)
) STRICT, WITHOUT ROWID;

-- The relationships as they were before a decision, so that it can be undone.
CREATE TABLE decision_before (
    of INTEGER NOT NULL REFERENCES decision (id),
    position INTEGER NOT NULL,
    client TEXT NOT NULL,
    server TEXT NOT NULL,
    protocol TEXT NOT NULL,
    operation TEXT NOT NULL,
    resource TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    transport TEXT NOT NULL,
    port INTEGER NOT NULL,
    verb TEXT NOT NULL,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    allowed INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    decision INTEGER,
    until REAL,
    once INTEGER NOT NULL,
    PRIMARY KEY (of, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    event TEXT NOT NULL,
    who TEXT NOT NULL,
    text TEXT NOT NULL,
    subject TEXT NOT NULL
) STRICT;

CREATE TRIGGER audit_keeps_lines BEFORE DELETE ON audit
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;

CREATE TRIGGER audit_keeps_words BEFORE UPDATE ON audit
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;

CREATE TRIGGER audit_keeps_numbers BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE number = NEW.number)
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
"""

SCHEMA_2 = """
CREATE TABLE person (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    created REAL NOT NULL,
    password TEXT                      -- Argon2, with its salt and parameters
) STRICT, WITHOUT ROWID;

CREATE TABLE session (
    id TEXT PRIMARY KEY,
    person TEXT NOT NULL REFERENCES person (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,              -- of the secret, which is kept nowhere
    device TEXT NOT NULL,
    created REAL NOT NULL,
    last_seen REAL NOT NULL,
    expires REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE invitation (
    id TEXT PRIMARY KEY,
    digest TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    who TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL NOT NULL,
    person TEXT REFERENCES person (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE TABLE program (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    digest TEXT NOT NULL,
    who TEXT NOT NULL,
    created REAL NOT NULL
) STRICT, WITHOUT ROWID;
"""

SCHEMA_3 = """
ALTER TABLE device ADD COLUMN certainty TEXT NOT NULL DEFAULT 'guessed';
ALTER TABLE device ADD COLUMN paused_until REAL;
UPDATE device SET certainty = 'given' WHERE named_by_manager;
ALTER TABLE service ADD COLUMN certainty TEXT NOT NULL DEFAULT 'guessed';
ALTER TABLE service ADD COLUMN graduated REAL;
UPDATE service SET certainty = 'given' WHERE named_by_manager;
"""

# What leads from version N to version N + 1, beginning with the empty file. Only ever append.
MIGRATIONS: tuple[str, ...] = (SCHEMA_1, SCHEMA_2, SCHEMA_3)


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line of the log and its number, which only grows."""

    number: int
    entry: AuditEntry


# ---------------------------------------------------------------- values as columns and back


def _list(values: Iterable[object]) -> str:
    return json.dumps(sorted(str(value) for value in values))


def _endpoint(text: str) -> Endpoint:
    transport, _, port = text.rpartition("-")
    return Endpoint(transport, int(port))


@lru_cache(maxsize=1024)
def _endpoint_at(transport: str, port: int) -> Endpoint:
    return Endpoint(unescaped(transport), port)


def _columns(text: str) -> list[str]:
    return text.split()


_DEVICE = _columns(
    "id number place name mac addresses switch port admission young kind vendor roles "
    "first_seen last_seen named_by_manager certainty paused_until"
)
_SERVICE = _columns(
    "id device own_name name kind description endpoints learning learning_since last_new "
    "first_seen last_seen named_by_manager certainty graduated"
)
_DECISION = _columns(
    "id request sentence approve scope duration who at until device undone_at undone_by earlier"
)
_ACCESS = _columns("client server protocol operation resource")
_RELATIONSHIP = _ACCESS + _columns(
    "status reason transport port verb first_seen last_seen allowed refused decision until once"
)
_AUDIT = _columns("at event who text subject")

Row = Sequence[Any]


def _device_row(device: Device) -> Row:
    binding = device.binding
    return (
        escaped(device.id),
        device.number,
        device.place.value,
        escaped(device.name),
        None if device.mac is None else escaped(device.mac),
        _list(device.addresses),
        None if binding is None else f"{binding.switch:016x}",
        None if binding is None else binding.port,
        device.admission.value,
        device.young,
        escaped(device.kind),
        escaped(device.vendor),
        _list(device.roles),
        device.first_seen,
        device.last_seen,
        device.named_by_manager,
        device.certainty.value,
        device.paused_until,
    )


def _device(row: Row) -> Device:
    return Device(
        id=DeviceId(unescaped(row[0])),
        number=row[1],
        place=Place(row[2]),
        name=unescaped(row[3]),
        mac=None if row[4] is None else unescaped(row[4]),
        addresses=frozenset(json.loads(row[5])),
        binding=None if row[6] is None else Binding(int(row[6], 16), row[7]),
        admission=Admission(row[8]),
        young=bool(row[9]),
        kind=unescaped(row[10]),
        vendor=unescaped(row[11]),
        roles=frozenset(json.loads(row[12])),
        first_seen=row[13],
        last_seen=row[14],
        named_by_manager=bool(row[15]),
        certainty=Certainty(row[16]),
        paused_until=row[17],
    )


def _service_row(service: Service) -> Row:
    return (
        escaped(service.id),
        escaped(service.device),
        escaped(service.own_name),
        escaped(service.name),
        escaped(service.kind),
        escaped(service.description),
        _list(service.endpoints),
        service.learning,
        service.learning_since,
        service.last_new,
        service.first_seen,
        service.last_seen,
        service.named_by_manager,
        service.certainty.value,
        service.graduated,
    )


def _service(row: Row) -> Service:
    return Service(
        id=ServiceId(unescaped(row[0])),
        device=DeviceId(unescaped(row[1])),
        own_name=unescaped(row[2]),
        name=unescaped(row[3]),
        kind=unescaped(row[4]),
        description=unescaped(row[5]),
        endpoints=frozenset(_endpoint(text) for text in json.loads(row[6])),
        learning=bool(row[7]),
        learning_since=row[8],
        last_new=row[9],
        first_seen=row[10],
        last_seen=row[11],
        named_by_manager=bool(row[12]),
        certainty=Certainty(row[13]),
        graduated=row[14],
    )


def _access_row(access: Access) -> Row:
    return (
        escaped(access.client),
        escaped(access.server),
        escaped(access.protocol),
        escaped(access.operation),
        escaped(access.resource),
    )


_OPERATIONS: dict[str, Operation] = {operation.value: operation for operation in Operation}


def _access(row: Row) -> Access:
    client, server, protocol, operation, resource = map(unescaped, row)
    return Access(  # many have the same ends
        ServiceId(intern(client)),
        ServiceId(intern(server)),
        intern(protocol),
        _OPERATIONS.get(operation, operation),
        resource,
    )


def _relationship_row(relationship: Relationship) -> Row:
    return (
        *_access_row(relationship.access),
        relationship.status.value,
        relationship.reason.value,
        escaped(relationship.endpoint.transport),
        relationship.endpoint.port,
        escaped(relationship.verb),
        relationship.first_seen,
        relationship.last_seen,
        relationship.allowed,
        relationship.refused,
        relationship.decision,
        relationship.until,
        relationship.once,
    )


_STATUSES: dict[str, Status] = {status.value: status for status in Status}
_REASONS: dict[str, Reason] = {reason.value: reason for reason in Reason}


def _relationship(row: Row) -> Relationship:
    return Relationship(
        access=_access(row[:5]),
        status=_STATUSES[row[5]],
        reason=_REASONS[row[6]],
        endpoint=_endpoint_at(row[7], row[8]),
        verb=intern(unescaped(row[9])),
        first_seen=row[10],
        last_seen=row[11],
        allowed=row[12],
        refused=row[13],
        decision=row[14],
        until=row[15],
        once=bool(row[16]),
    )


def _decision_row(decision: Decision) -> Row:
    return (
        decision.id,
        escaped(decision.request),
        escaped(decision.sentence),
        decision.approve,
        decision.scope.value,
        decision.duration.value,
        escaped(decision.by),
        decision.at,
        decision.until,
        None if decision.device is None else escaped(decision.device),
        decision.undone_at,
        None if decision.undone_by is None else escaped(decision.undone_by),
        len(decision.before),
    )


def _decision(row: Row, accesses: Sequence[Access], before: dict[int, Relationship]) -> Decision:
    return Decision(
        id=row[0],
        request=unescaped(row[1]),
        sentence=unescaped(row[2]),
        approve=bool(row[3]),
        scope=Scope(row[4]),
        duration=Duration(row[5]),
        by=unescaped(row[6]),
        at=row[7],
        until=row[8],
        accesses=tuple(accesses),
        before=tuple(before.get(position) for position in range(row[12])),
        device=None if row[9] is None else DeviceId(unescaped(row[9])),
        undone_at=row[10],
        undone_by=None if row[11] is None else unescaped(row[11]),
    )


def _audit_row(entry: AuditEntry) -> Row:
    return (entry.at, escaped(entry.event), escaped(entry.by), escaped(entry.text), escaped(entry.subject))


def _entry(row: Row) -> AuditEntry:
    return AuditEntry(row[0], unescaped(row[1]), unescaped(row[2]), unescaped(row[3]), unescaped(row[4]))


# ---------------------------------------------------------------- statements


def _insert(table: str, columns: Sequence[str]) -> str:
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def _upsert(table: str, columns: Sequence[str], key: Sequence[str]) -> str:
    """Insert or replace what has the same key; never another row, as INSERT OR REPLACE might."""
    rest = ", ".join(f"{column} = excluded.{column}" for column in columns if column not in key)
    return f"{_insert(table, columns)} ON CONFLICT ({', '.join(key)}) DO UPDATE SET {rest}"


def _select(table: str, columns: Sequence[str], order: str) -> str:
    return f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order}"


_PUT_DEVICE = _upsert("device", _DEVICE, ["id"])
_PUT_SERVICE = _upsert("service", _SERVICE, ["id"])
_PUT_RELATIONSHIP = _upsert("relationship", _RELATIONSHIP, _ACCESS)
_PUT_DECISION = _upsert("decision", _DECISION, ["id"])
_PUT_DECISION_ACCESS = _insert("decision_access", ["of", "position", *_ACCESS])
_PUT_DECISION_BEFORE = _insert("decision_before", ["of", "position", *_RELATIONSHIP])
_PUT_AUDIT = _insert("audit", _AUDIT)
_FORGET = f"DELETE FROM relationship WHERE {' AND '.join(f'{column} = ?' for column in _ACCESS)}"


def write(connection: sqlite3.Connection, record: Record) -> None:
    """What is forgotten goes first: what the same record also holds is there afterwards."""
    put = connection.executemany
    put(_FORGET, map(_access_row, record.forgotten))
    for gone in map(escaped, record.forgotten_devices):
        connection.execute("DELETE FROM service WHERE device = ?", (gone,))
        connection.execute("DELETE FROM device WHERE id = ?", (gone,))
    for number in record.forgotten_decisions:
        connection.execute("DELETE FROM decision_access WHERE of = ?", (number,))
        connection.execute("DELETE FROM decision_before WHERE of = ?", (number,))
        connection.execute("DELETE FROM decision WHERE id = ?", (number,))
    put(_PUT_DEVICE, map(_device_row, record.devices))
    put(_PUT_SERVICE, map(_service_row, record.services))
    for decision in record.decisions:
        connection.execute(_PUT_DECISION, _decision_row(decision))
        connection.execute("DELETE FROM decision_access WHERE of = ?", (decision.id,))
        connection.execute("DELETE FROM decision_before WHERE of = ?", (decision.id,))
        put(
            _PUT_DECISION_ACCESS, ((decision.id, n, *_access_row(a)) for n, a in enumerate(decision.accesses))
        )
        put(
            _PUT_DECISION_BEFORE,
            ((decision.id, n, *_relationship_row(r)) for n, r in enumerate(decision.before) if r is not None),
        )
    put(_PUT_RELATIONSHIP, map(_relationship_row, record.relationships))
    add_audit(connection, record.audit)


def add_audit(connection: sqlite3.Connection, entries: Iterable[AuditEntry]) -> None:
    connection.executemany(_PUT_AUDIT, map(_audit_row, entries))


def load(connection: sqlite3.Connection) -> Record:
    accesses: dict[int, list[Access]] = {}
    before: dict[int, dict[int, Relationship]] = {}
    rows = connection.execute
    for of, _, *access in rows(_select("decision_access", ["of", "position", *_ACCESS], "of, position")):
        accesses.setdefault(of, []).append(_access(access))
    for of, position, *earlier in rows(_select("decision_before", ["of", "position", *_RELATIONSHIP], "of")):
        before.setdefault(of, {})[position] = _relationship(earlier)
    return Record(
        devices=tuple(map(_device, rows(_select("device", _DEVICE, "number")))),
        services=tuple(map(_service, rows(_select("service", _SERVICE, "id")))),
        relationships=tuple(
            map(_relationship, rows(_select("relationship", _RELATIONSHIP, ", ".join(_ACCESS))))
        ),
        decisions=tuple(
            _decision(row, accesses.get(row[0], ()), before.get(row[0], {}))
            for row in rows(_select("decision", _DECISION, "id"))
        ),
        audit=tuple(line.entry for line in reversed(audit(connection, NEWEST, None))),
    )


def audit(connection: sqlite3.Connection, limit: int, before: int | None) -> list[AuditLine]:
    found = connection.execute(
        f"SELECT number, {', '.join(_AUDIT)} FROM audit "
        "WHERE ? IS NULL OR number < ? ORDER BY number DESC LIMIT ?",
        (before, before, limit),
    )
    return [AuditLine(number, _entry(row)) for number, *row in found]
