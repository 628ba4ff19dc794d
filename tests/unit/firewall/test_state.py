"""A change of the model reaches the verdict table, the flows and the store, and no more than it has to."""

from dataclasses import replace

import pytest

from controller.events import Record
from controller.firewall.enforcement import Dirty
from controller.firewall.state import LOG_LENGTH, State, switch_of
from controller.flows.compile import Pair
from controller.model.relationship import (
    ANY,
    Access,
    DeviceId,
    Endpoint,
    Reason,
    Relationship,
    ServiceId,
    Status,
    Treatment,
)
from controller.model.service import Admission, Binding, Device, Place, Service
from controller.verdicts import SetAddress, SetGrant, SetService, VerdictTable
from tests.unit.firewall.script import LOCK, SPARE, WASHER, WEB, access, config

COAP = Endpoint("udp", 5683)
WASHER_LOCK = Pair(WASHER, LOCK, WEB)


def device(name: DeviceId, number: int, young: bool = False) -> Device:
    return Device(name, number, Place.SITE, name, f"02:00:00:00:00:0{number}",
                  frozenset({f"10.0.0.{number}"}), Binding(1, number), Admission.ADMITTED, young)  # fmt: skip


def service(name: str, on: DeviceId, *endpoints: Endpoint, learning: bool = False) -> Service:
    return Service(
        ServiceId(name), on, name.split("/")[1], name, endpoints=frozenset(endpoints), learning=learning
    )


def edge(
    said: Access | None = None, status: Status = Status.LEARNED, endpoint: Endpoint = WEB, **more: object
) -> Relationship:
    made = Relationship(said or access(), status, Reason.LEARNING, endpoint, "GET", 1.0, 1.0)
    return replace(made, **more)  # type: ignore[arg-type]


HOUSE = Record(
    devices=(device(WASHER, 1), device(LOCK, 2), device(SPARE, 3)),
    services=(
        service("washer/main", WASHER),
        service("lock/tcp-80", LOCK, WEB),
        service("lock/udp-5683", LOCK, COAP),
        service("spare/main", SPARE),
    ),
    relationships=(edge(),),
)


def made(more: str = "", saved: Record = HOUSE) -> State:
    return State(config(more), saved)


@pytest.fixture
def state() -> State:
    return made()


def settled(state: State) -> None:
    """All has been told and saved."""
    state.deltas.clear()
    state.dirty = Dirty()
    state.unsaved()


# What is saved is what comes back


def test_state_made_of_what_was_saved_is_the_same(state: State) -> None:
    state.put(edge(access("write", "/x"), Status.PENDING))
    again = State(config(), merged(HOUSE, state.unsaved()))
    assert set(map(repr, again.table.deltas())) == set(map(repr, state.table.deltas()))
    assert again.pairs == state.pairs
    assert not again.has_unsaved
    assert not again.dirty


def merged(old: Record, new: Record) -> Record:
    return replace(old, relationships=(*old.relationships, *new.relationships))


def test_relationship_of_services_that_were_lost_is_left_out() -> None:
    state = made(saved=replace(HOUSE, services=HOUSE.services[1:]))
    assert len(state.site.graph) == 0


def test_unsaved_is_what_has_changed_since_and_nothing_twice(state: State) -> None:
    settled(state)
    state.put(edge(access("read", "/new")))
    state.put(edge(access("read", "/new"), Status.APPROVED))
    record = state.unsaved()
    assert [r.status for r in record.relationships] == [Status.APPROVED]
    assert record.devices == record.services == ()
    assert state.unsaved() == Record()


def test_what_is_forgotten_is_told_to_the_store_unless_it_comes_back(state: State) -> None:
    settled(state)
    state.remove(access())
    assert state.unsaved().forgotten == (access(),)
    state.remove(access())  # it is gone
    assert state.unsaved() == Record()
    state.put(edge())
    state.unsaved()
    state.remove(access())
    state.put(edge())
    assert state.unsaved().forgotten == ()


def test_record_that_was_not_stored_is_unsaved_again(state: State) -> None:
    settled(state)
    state.put(edge(access("read", "/new")))
    state.remove(access())
    state.note("asked", "What?", 1.0)
    record = state.unsaved()
    state.save_again(record)
    state.save_lines_again(record.audit)
    assert state.unsaved() == record


def test_log_in_memory_is_bounded(state: State) -> None:
    for number in range(LOG_LENGTH + 7):
        state.note("asked", str(number), 1.0)
    assert len(state.log) == LOG_LENGTH
    assert state.log[-1].text == str(LOG_LENGTH + 6)


# What is told


@pytest.mark.parametrize(
    ("relationship", "grant"),
    [
        (edge(), SetGrant(access(), True)),
        (edge(status=Status.DENIED, decision=1, until=9.0), SetGrant(access(), False, 9.0)),
        (edge(status=Status.APPROVED, decision=1, once=True), SetGrant(access(), True, once=True)),
        (edge(status=Status.PENDING), SetGrant(access(), None)),
        (edge(status=Status.PENDING, decision=1), SetGrant(access(), None, over=True)),
        (edge(status=Status.EXPIRED, decision=1, until=9.0), SetGrant(access(), None, over=True)),
    ],
)
def test_status_is_told_as_a_grant(relationship: Relationship, grant: SetGrant) -> None:
    state = made(saved=replace(HOUSE, relationships=()))
    state.put(relationship)
    assert state.deltas == [grant]


def test_counting_a_message_tells_nobody(state: State) -> None:
    settled(state)
    state.put(edge(allowed=5, last_seen=9.0))
    state.put_service(replace(state.site.services[ServiceId("washer/main")], last_seen=9.0))
    state.put_device(replace(state.site.devices[WASHER], last_seen=9.0, name="Tub"))
    assert state.deltas == []
    assert not state.dirty
    assert state.has_unsaved


def test_address_that_is_given_up_is_told_unless_somebody_else_has_it(state: State) -> None:
    settled(state)
    state.put_device(replace(state.site.devices[WASHER], addresses=frozenset()))
    assert SetAddress("10.0.0.1", ()) in state.deltas
    state.put_device(replace(state.site.devices[SPARE], addresses=frozenset({"10.0.0.2"})))
    settled(state)
    state.put_device(replace(state.site.devices[LOCK], addresses=frozenset()))
    assert SetAddress("10.0.0.2", ()) not in state.deltas
    assert state.table.device_at("10.0.0.2") == SPARE


def test_moved_service_is_told_and_its_pairs_follow(state: State) -> None:
    settled(state)
    state.put_service(replace(state.site.services[ServiceId("lock/tcp-80")], device=SPARE))
    (row,) = state.deltas
    assert isinstance(row, SetService)
    assert (row.service, row.device) == ("lock/tcp-80", SPARE)
    assert set(state.pairs) == {Pair(WASHER, SPARE, WEB)}
    assert state.dirty.pairs == {WASHER_LOCK, Pair(WASHER, SPARE, WEB)}


def test_deltas_make_a_copy_of_the_table(state: State) -> None:
    copy = VerdictTable(state.table.deltas())
    settled(state)
    state.put(edge(access("write", "/x"), Status.DENIED, decision=1))
    state.remove(access())
    state.put_device(replace(state.site.devices[LOCK], admission=Admission.BLOCKED))
    for delta in state.deltas:
        copy.apply(delta)
    assert set(map(repr, copy.deltas())) == set(map(repr, state.table.deltas()))


# Treatments


def test_pair_gets_a_treatment_with_its_first_relationship_and_loses_it_with_its_last(state: State) -> None:
    assert state.pairs == {WASHER_LOCK: Treatment.INSPECT}
    settled(state)
    state.remove(access())
    assert state.pairs == {}
    assert state.dirty.pairs == {WASHER_LOCK}


def test_denied_pair_is_dropped_and_inspected_again_when_something_else_is_asked(state: State) -> None:
    state.put(edge(status=Status.DENIED, decision=1))
    assert state.pairs[WASHER_LOCK] is Treatment.DROP
    state.put(edge(access("write", "/x"), Status.PENDING))
    assert state.pairs[WASHER_LOCK] is Treatment.INSPECT


def test_denied_pair_over_udp_is_read_where_the_other_way_is_not_denied(state: State) -> None:
    """Its answers may come from the very port that is denied."""
    denied = access(server="lock/udp-5683", protocol="coap")
    back = Access(ServiceId("lock/tcp-80"), ServiceId("washer/main"), "coap", "read", "/t")
    state.put(edge(denied, Status.DENIED, COAP, decision=1))
    assert state.pairs[Pair(WASHER, LOCK, COAP)] is Treatment.DROP
    state.put(edge(back, endpoint=COAP))
    assert state.pairs[Pair(WASHER, LOCK, COAP)] is Treatment.INSPECT
    state.remove(back)
    assert state.pairs[Pair(WASHER, LOCK, COAP)] is Treatment.DROP


def test_pair_between_learners_is_watched_until_one_of_them_has_graduated() -> None:
    young = replace(
        HOUSE,
        devices=(device(WASHER, 1, young=True), device(LOCK, 2, young=True)),
        services=(
            service("washer/main", WASHER, learning=True),
            service("lock/tcp-80", LOCK, WEB, learning=True),
        ),
    )
    state = made(saved=young)
    assert state.pairs[WASHER_LOCK] is Treatment.WATCH
    state.put_service(replace(state.site.services[ServiceId("washer/main")], learning=False))
    assert state.pairs[WASHER_LOCK] is Treatment.INSPECT


def test_pair_that_the_owner_wants_watched_is_watched_by_whatever_id_it_has_got() -> None:
    assert made("watch: [{client: washer, server: lock}]\n").pairs[WASHER_LOCK] is Treatment.WATCH
    assert made("watch: [{client: lock, server: washer}]\n").pairs[WASHER_LOCK] is Treatment.INSPECT


def test_pair_lasts_only_while_nothing_in_it_can_end(state: State) -> None:
    assert state.lasting(WASHER_LOCK, 1.0)
    for spoiled in (
        edge(access("read", "/b"), Status.PENDING),
        edge(access("read", "/b"), Status.APPROVED, once=True, decision=1),
        edge(access("read", "/b"), Status.APPROVED, until=1.0, decision=1),
        edge(access("read", "/b"), Status.DENIED, decision=1),
    ):
        state.put(spoiled)
        assert not state.lasting(WASHER_LOCK, 1.0)
        state.remove(spoiled.access)
    assert not state.lasting(Pair(LOCK, WASHER, WEB), 1.0)  # nobody has allowed anything there


def test_denial_withdraws_settled_connections_though_the_treatment_stays(state: State) -> None:
    settled(state)
    state.put(edge(access("write", "/x"), Status.PENDING))
    assert not state.dirty.pairs  # a question changes nothing for what is allowed
    state.put(edge(access("write", "/x"), Status.APPROVED, decision=1))
    state.put(edge(access("write", "/x"), Status.DENIED, decision=2))
    assert state.dirty.pairs == {WASHER_LOCK}


def test_wide_relationship_has_a_say_at_every_endpoint_of_its_server(state: State) -> None:
    state.put_service(service("lock/tcp-80", LOCK, WEB, Endpoint("tcp", 8080)))
    state.put(edge(access(ANY, ANY, protocol=ANY), Status.DENIED, decision=1))
    assert {pair.endpoint.port for pair in state.pairs} == {80, 8080}


# Where


def test_switch_of_what_is_outside_is_the_routers(state: State) -> None:
    outside = Device(DeviceId("@cloud"), 9, Place.REMOTE, "cloud")
    assert switch_of(state.site, outside) is None
    state.put_device(replace(state.site.devices[SPARE], roles=frozenset({"router"}), binding=Binding(7, 1)))
    assert switch_of(state.site, outside) == 7
    assert switch_of(state.site, state.site.devices[WASHER]) == 1


def test_udp_ports_that_services_listen_at_are_known_once_something_was_allowed_there(state: State) -> None:
    said = access(server="lock/udp-5683", protocol="coap")
    state.put(edge(said, Status.PENDING, COAP))
    assert dict(state.listening) == {}
    state.put(edge(said, Status.APPROVED, COAP, decision=1))
    assert state.listening[LOCK] == {5683}
    assert LOCK in state.dirty.devices


def test_table_of_a_restart_knows_what_the_one_before_was_told() -> None:
    """Every device, service and relationship that was put one by one is there again."""
    before = made(saved=Record())
    for one in HOUSE.devices:
        before.put_device(one)
    for each in HOUSE.services:
        before.put_service(each)
    before.put(edge())
    assert set(map(repr, before.table.deltas())) == set(map(repr, made().table.deltas()))
    assert before.pairs == made().pairs


def test_relationship_that_is_seen_elsewhere_leaves_its_old_pair(state: State) -> None:
    state.put_service(service("lock/tcp-80", LOCK))
    state.put(edge(endpoint=Endpoint("tcp", 8080)))
    assert set(state.pairs) == {Pair(WASHER, LOCK, Endpoint("tcp", 8080))}


def test_whatever_is_unsaved_is_known_to_be(state: State) -> None:
    settled(state)
    assert not state.has_unsaved
    state.remove(access())
    assert state.has_unsaved
    state.unsaved()
    state.note("asked", "What?", 1.0)
    assert state.has_unsaved


def test_table_after_a_device_was_forgotten_is_as_if_it_had_never_been(state: State) -> None:
    state.forget(LOCK)
    others = replace(
        HOUSE,
        devices=tuple(d for d in HOUSE.devices if d.id != LOCK),
        services=tuple(s for s in HOUSE.services if s.device != LOCK),
        relationships=(),
    )
    assert set(map(repr, state.table.deltas())) == set(map(repr, made(saved=others).table.deltas()))
    assert state.pairs == {}
