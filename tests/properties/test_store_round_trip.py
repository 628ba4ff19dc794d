"""What is written to the store is what comes back, whatever names the network thought of."""

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.dpi.message import Operation
from controller.events import AuditEntry, Decision, Duration, Record, Scope
from controller.model.relationship import (
    ANY,
    Access,
    DeviceId,
    Endpoint,
    Reason,
    Relationship,
    ServiceId,
    Status,
)
from controller.model.service import Admission, Binding, Device, Place, Service
from controller.store.store import FILE, Store

T = TypeVar("T")

# Everything that Python calls a string: lone surrogates, NULs, backslashes, right-to-left overrides.
texts = st.text(st.characters(exclude_categories=()), max_size=12) | st.sampled_from(
    ["\\u0000", "\x00", "\ud800\\"]
)
times = st.floats(min_value=0, max_value=4e9)
counts = st.integers(0, 2**62)


def maybe(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    return st.none() | strategy


device_ids = st.builds(DeviceId, texts)
service_ids = st.builds(ServiceId, texts)
endpoints = st.builds(Endpoint, st.sampled_from(["tcp", "udp", "icmp"]), st.integers(0, 65535))
bindings = st.builds(Binding, st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1))
devices = st.builds(
    Device,
    id=device_ids,
    number=st.integers(0, 2**32 - 1),
    place=st.sampled_from(Place),
    name=texts,
    mac=maybe(texts),
    addresses=st.frozensets(texts, max_size=3),
    binding=maybe(bindings),
    admission=st.sampled_from(Admission),
    young=st.booleans(),
    kind=texts,
    vendor=texts,
    roles=st.frozensets(texts, max_size=2),
    first_seen=times,
    last_seen=times,
    named_by_manager=st.booleans(),
)
accesses = st.builds(
    Access, service_ids, service_ids, texts, st.sampled_from(Operation) | st.just(ANY), texts
)
relationships = st.builds(
    Relationship,
    access=accesses,
    status=st.sampled_from(Status),
    reason=st.sampled_from(Reason),
    endpoint=endpoints,
    verb=texts,
    first_seen=times,
    last_seen=times,
    allowed=counts,
    refused=counts,
    until=maybe(times),
    once=st.booleans(),
)
decisions = st.builds(
    Decision,
    id=st.integers(1, 2**62),
    request=texts,
    sentence=texts,
    approve=st.booleans(),
    scope=st.sampled_from(Scope),
    duration=st.sampled_from(Duration),
    by=texts,
    at=times,
    until=maybe(times),
    accesses=st.lists(accesses, max_size=2).map(tuple),
    before=st.lists(maybe(relationships), max_size=3).map(tuple),
    device=maybe(device_ids),
    undone_at=maybe(times),
    undone_by=maybe(texts),
)
entries = st.builds(AuditEntry, times, texts, texts, texts, texts)


@st.composite
def records(draw: st.DrawFn) -> Record:
    """A record that hangs together: services on its devices, relationships of its decisions."""
    homes = draw(st.lists(devices, max_size=3, unique_by=(lambda d: d.id, lambda d: d.number)))
    made = draw(st.lists(decisions, max_size=2, unique_by=lambda d: d.id))
    services: list[Service] = []
    if homes:
        services = draw(
            st.lists(
                st.builds(
                    Service,
                    id=service_ids,
                    device=st.sampled_from([home.id for home in homes]),
                    own_name=texts,
                    name=texts,
                    kind=texts,
                    description=texts,
                    endpoints=st.frozensets(endpoints, max_size=2),
                    learning=st.booleans(),
                    learning_since=maybe(times),
                    last_new=maybe(times),
                    first_seen=times,
                    last_seen=times,
                    named_by_manager=st.booleans(),
                ),
                max_size=3,
                unique_by=lambda s: s.id,
            )
        )
    edges = draw(st.lists(relationships, max_size=3, unique_by=lambda r: r.access))
    if made:
        edges = [replace(edge, decision=draw(st.sampled_from([None, made[0].id]))) for edge in edges]
    return Record(
        devices=tuple(homes),
        services=tuple(services),
        relationships=tuple(edges),
        decisions=tuple(made),
        audit=tuple(draw(st.lists(entries, max_size=3))),
    )


def same(record: Record, other: Record) -> bool:
    """Equal but for the order of what has an id."""
    return (
        {d.id: d for d in record.devices} == {d.id: d for d in other.devices}
        and {s.id: s for s in record.services} == {s.id: s for s in other.services}
        and {r.access: r for r in record.relationships} == {r.access: r for r in other.relationships}
        and {d.id: d for d in record.decisions} == {d.id: d for d in other.decisions}
        and record.audit == other.audit
    )


@settings(max_examples=60, deadline=None)
@given(records())
def test_what_was_written_comes_back_from_the_file(record: Record) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / FILE)
        store.write(record)
        assert same(store.load(), record)
        store.close()
        store = Store(Path(folder) / FILE)
        assert same(store.load(), record)
        store.close()


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_what_has_the_same_id_is_replaced_and_what_is_forgotten_is_gone(data: st.DataObject) -> None:
    first = data.draw(records())
    changed = data.draw(st.lists(relationships, max_size=2, unique_by=lambda r: r.access))
    renamed = tuple(replace(device, name=data.draw(texts)) for device in first.devices)
    undone = tuple(replace(d, undone_at=1.0, undone_by=data.draw(texts), before=()) for d in first.decisions)
    forgotten = tuple(r.access for r in first.relationships if data.draw(st.booleans()))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / FILE)
        store.write(first)
        store.write(
            Record(devices=renamed, decisions=undone, relationships=tuple(changed), forgotten=forgotten)
        )
        left = {r.access: r for r in first.relationships if r.access not in forgotten}
        left.update({r.access: r for r in changed})
        assert same(
            store.load(),
            replace(first, devices=renamed, decisions=undone, relationships=tuple(left.values())),
        )
        store.close()
