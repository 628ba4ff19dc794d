"""What waits for a failing store is stored as if it had never failed."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from controller.events import AuditEntry, Decision, Duration, Record, Scope
from controller.keeper import backlog
from controller.keeper.backlog import Backlog, merged
from controller.model.relationship import (
    Access,
    DeviceId,
    Endpoint,
    Reason,
    Relationship,
    ServiceId,
    Status,
)
from controller.model.service import Device, Place, Service
from tests.unit.fake_firewall import FakeStore

accesses = st.sampled_from("abc").map(
    lambda name: Access(ServiceId(name), ServiceId("s"), "http", "read", "/")
)
times = st.integers(0, 5).map(float)
records = st.builds(
    Record,
    devices=st.lists(
        st.builds(
            lambda n, t: Device(DeviceId(n), 1, Place.SITE, n, last_seen=t), st.sampled_from("de"), times
        )
    ).map(tuple),
    services=st.lists(
        st.builds(
            lambda n, t: Service(ServiceId(n), DeviceId("d"), n, n, last_seen=t), st.sampled_from("st"), times
        )
    ).map(tuple),
    relationships=st.lists(
        st.builds(
            lambda a, t: Relationship(a, Status.LEARNED, Reason.LEARNING, Endpoint("tcp", 80), "GET", 0.0, t),
            accesses,
            times,
        )
    ).map(tuple),
    forgotten=st.lists(accesses).map(tuple),
    decisions=st.lists(
        st.builds(
            lambda n, t: Decision(n, "r", "", True, Scope.PAIR, Duration.ALWAYS, "owner", t, None),
            st.integers(1, 3),
            times,
        )
    ).map(tuple),
    audit=st.lists(st.builds(lambda t: AuditEntry(t, "test", "", ""), times)).map(tuple),
)


def stored(*written: Record) -> tuple[Any, ...]:
    """What a store holds after some records (see rows.write: what is forgotten goes first)."""
    devices: dict[Any, Any] = {}
    services: dict[Any, Any] = {}
    relationships: dict[Any, Any] = {}
    decisions: dict[Any, Any] = {}
    audit: list[Any] = []
    for record in written:
        for access in record.forgotten:
            relationships.pop(access, None)
        devices |= {d.id: d for d in record.devices}
        services |= {s.id: s for s in record.services}
        relationships |= {r.access: r for r in record.relationships}
        decisions |= {d.id: d for d in record.decisions}
        audit += record.audit
    return devices, services, relationships, decisions, audit


@given(records, records, records)
def test_one_merged_record_leaves_what_its_parts_would(first: Record, second: Record, third: Record) -> None:
    assert stored(merged(merged(first, second), third)) == stored(first, second, third)
    assert stored(first, merged(second, third)) == stored(first, second, third)


def test_the_log_that_waits_has_an_end() -> None:
    many = Record(audit=tuple(AuditEntry(float(n), "test", "", "") for n in range(9_000)))
    kept = merged(many, many)
    assert len(kept.audit) == backlog.AUDIT_KEPT
    assert kept.audit[-1] == many.audit[-1]


def entry(text: str) -> Record:
    return Record(audit=(AuditEntry(0.0, "test", "", text),))


def test_the_store_is_tried_again_once_in_a_while() -> None:
    now = 100.0
    store = FakeStore()
    store.error = OSError("disk full")
    waiting = Backlog(store, lambda: now)
    assert waiting.write(entry("a"), keep=True) == "disk full"
    store.error = None
    assert waiting.retry() is None
    assert not store.records
    now += backlog.RETRY
    assert waiting.retry() is None
    assert store.records == [entry("a")]
    waiting.retry(now=True)
    assert store.records == [entry("a")]


def test_an_error_without_words_is_still_an_error() -> None:
    store = FakeStore()
    store.error = KeyError()
    assert Backlog(store).write(entry("a"), keep=False) == "KeyError"


def test_without_a_store_nothing_fails() -> None:
    assert Backlog(None).write(entry("a"), keep=False) is None
