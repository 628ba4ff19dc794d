"""The database's schema, and the values of a Record as its rows and back.

Knows nothing of files, locks or backups; store.py does those.
"""

import json
import re
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from controller.dpi.message import Operation
from controller.events import AuditEntry, Decision, Duration, Record, Scope
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, Relationship, ServiceId, Status
from controller.model.service import Admission, Binding, Device, Place, Service

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

# What leads from version N to version N + 1, beginning with the empty file. Only ever append.
MIGRATIONS: tuple[str, ...] = (SCHEMA_1,)


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line of the log and its number, which only grows."""

    number: int
    entry: AuditEntry


# ---------------------------------------------------------------- values as columns and back

_ODD = re.compile("[\\\\\x00\ud800-\udfff]")
_ESCAPED = re.compile(r"\\(?:\\|u[0-9a-f]{4})")


def _escape(found: re.Match[str]) -> str:
    return "\\\\" if found[0] == "\\" else f"\\u{ord(found[0]):04x}"


def _unescape(found: re.Match[str]) -> str:
    return "\\" if found[0] == "\\\\" else chr(int(found[0].removeprefix("\\u"), base=16))


def _text(value: str) -> str:
    """`value` as valid, readable UTF-8: what a database cannot hold is escaped with a backslash."""
    return _ODD.sub(_escape, value) if _ODD.search(value) else str(value)


def _read(value: str) -> str:
    return _ESCAPED.sub(_unescape, value) if "\\" in value else value


def _list(values: Iterable[object]) -> str:
    return json.dumps(sorted(str(value) for value in values))


def _endpoint(text: str) -> Endpoint:
    transport, _, port = text.rpartition("-")
    return Endpoint(transport, int(port))


def _columns(text: str) -> list[str]:
    return text.split()


_DEVICE = _columns(
    "id number place name mac addresses switch port admission young kind vendor roles "
    "first_seen last_seen named_by_manager"
)
_SERVICE = _columns(
    "id device own_name name kind description endpoints learning learning_since last_new "
    "first_seen last_seen named_by_manager"
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
        _text(device.id),
        device.number,
        device.place.value,
        _text(device.name),
        None if device.mac is None else _text(device.mac),
        _list(device.addresses),
        None if binding is None else f"{binding.switch:016x}",
        None if binding is None else binding.port,
        device.admission.value,
        device.young,
        _text(device.kind),
        _text(device.vendor),
        _list(device.roles),
        device.first_seen,
        device.last_seen,
        device.named_by_manager,
    )


def _device(row: Row) -> Device:
    return Device(
        id=DeviceId(_read(row[0])),
        number=row[1],
        place=Place(row[2]),
        name=_read(row[3]),
        mac=None if row[4] is None else _read(row[4]),
        addresses=frozenset(json.loads(row[5])),
        binding=None if row[6] is None else Binding(int(row[6], 16), row[7]),
        admission=Admission(row[8]),
        young=bool(row[9]),
        kind=_read(row[10]),
        vendor=_read(row[11]),
        roles=frozenset(json.loads(row[12])),
        first_seen=row[13],
        last_seen=row[14],
        named_by_manager=bool(row[15]),
    )


def _service_row(service: Service) -> Row:
    return (
        _text(service.id),
        _text(service.device),
        _text(service.own_name),
        _text(service.name),
        _text(service.kind),
        _text(service.description),
        _list(service.endpoints),
        service.learning,
        service.learning_since,
        service.last_new,
        service.first_seen,
        service.last_seen,
        service.named_by_manager,
    )


def _service(row: Row) -> Service:
    return Service(
        id=ServiceId(_read(row[0])),
        device=DeviceId(_read(row[1])),
        own_name=_read(row[2]),
        name=_read(row[3]),
        kind=_read(row[4]),
        description=_read(row[5]),
        endpoints=frozenset(_endpoint(text) for text in json.loads(row[6])),
        learning=bool(row[7]),
        learning_since=row[8],
        last_new=row[9],
        first_seen=row[10],
        last_seen=row[11],
        named_by_manager=bool(row[12]),
    )


def _access_row(access: Access) -> Row:
    return (
        _text(access.client),
        _text(access.server),
        _text(access.protocol),
        _text(access.operation),
        _text(access.resource),
    )


_OPERATIONS: dict[str, Operation] = {operation.value: operation for operation in Operation}


def _access(row: Row) -> Access:
    client, server, protocol, operation, resource = map(_read, row)
    return Access(
        ServiceId(client), ServiceId(server), protocol, _OPERATIONS.get(operation, operation), resource
    )


def _relationship_row(relationship: Relationship) -> Row:
    return (
        *_access_row(relationship.access),
        relationship.status.value,
        relationship.reason.value,
        _text(relationship.endpoint.transport),
        relationship.endpoint.port,
        _text(relationship.verb),
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
        endpoint=Endpoint(_read(row[7]), row[8]),
        verb=_read(row[9]),
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
        _text(decision.request),
        _text(decision.sentence),
        decision.approve,
        decision.scope.value,
        decision.duration.value,
        _text(decision.by),
        decision.at,
        decision.until,
        None if decision.device is None else _text(decision.device),
        decision.undone_at,
        None if decision.undone_by is None else _text(decision.undone_by),
        len(decision.before),
    )


def _decision(row: Row, accesses: Sequence[Access], before: dict[int, Relationship]) -> Decision:
    return Decision(
        id=row[0],
        request=_read(row[1]),
        sentence=_read(row[2]),
        approve=bool(row[3]),
        scope=Scope(row[4]),
        duration=Duration(row[5]),
        by=_read(row[6]),
        at=row[7],
        until=row[8],
        accesses=tuple(accesses),
        before=tuple(before.get(position) for position in range(row[12])),
        device=None if row[9] is None else DeviceId(_read(row[9])),
        undone_at=row[10],
        undone_by=None if row[11] is None else _read(row[11]),
    )


def _audit_row(entry: AuditEntry) -> Row:
    return (entry.at, _text(entry.event), _text(entry.by), _text(entry.text), _text(entry.subject))


def _entry(row: Row) -> AuditEntry:
    return AuditEntry(row[0], _read(row[1]), _read(row[2]), _read(row[3]), _read(row[4]))


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
    put(_PUT_AUDIT, map(_audit_row, record.audit))


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
