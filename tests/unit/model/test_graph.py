"""The graph as a collection, as parts of switches, and the treatment that it asks for."""

from dataclasses import replace

import pytest

from controller.model.graph import Between, CommunicationGraph, covers, on_endpoint, treatment
from controller.model.relationship import (
    ANY,
    Access,
    Endpoint,
    Reason,
    Relationship,
    ServiceId,
    Status,
    Treatment,
)

HTTP, COAP = Endpoint("tcp", 80), Endpoint("udp", 5683)
A, B, C = (ServiceId(f"{name}/main") for name in "abc")


def edge(
    client: ServiceId = A,
    server: ServiceId = B,
    protocol: str = "http",
    operation: str = "read",
    resource: str = "/x",
    status: Status = Status.LEARNED,
    **more: object,
) -> Relationship:
    access = Access(client, server, protocol, operation, resource)
    return replace(
        Relationship(access, status, Reason.LEARNING, HTTP, "GET", 1.0, 2.0),
        **more,  # type: ignore[arg-type]
    )


def whole(status: Status = Status.APPROVED, **more: object) -> Relationship:
    return edge(protocol=ANY, operation=ANY, resource=ANY, status=status, **more)


# The collection


def test_relationship_is_found_by_its_access() -> None:
    graph = CommunicationGraph([edge(), edge(operation="write")])
    assert graph.get(edge().access) == edge()
    assert graph.get(edge(resource="/y").access) is None
    assert len(graph) == 2


def test_relationship_with_the_same_access_is_replaced() -> None:
    graph = CommunicationGraph([edge()])
    graph.put(edge(status=Status.DENIED))
    assert [r.status for r in graph] == [Status.DENIED]


def test_removing_forgets_one_relationship_and_no_other() -> None:
    graph = CommunicationGraph([edge(), edge(resource="/y")])
    graph.remove(edge().access)
    graph.remove(edge().access)  # what is not there is no mistake
    assert [r.access.resource for r in graph] == ["/y"]


def test_direction_matters() -> None:
    graph = CommunicationGraph([edge(A, B)])
    assert graph.between(A, B) == (edge(A, B),)
    assert graph.between(B, A) == ()


def test_relationships_of_a_service_are_those_at_both_of_its_ends_once_each() -> None:
    graph = CommunicationGraph([edge(A, B), edge(C, A), edge(B, C), edge(A, A)])
    found = list(graph.of(A))
    assert {(r.access.client, r.access.server) for r in found} == {(A, B), (C, A), (A, A)}
    assert len(found) == 3
    assert list(graph.of(ServiceId("stranger/main"))) == []


def test_networkx_sees_services_as_vertices_and_who_asks_whom_as_edges() -> None:
    graph = CommunicationGraph([edge(), edge(operation="write"), edge(B, C)])
    assert set(graph.networkx.edges) == {(A, B), (B, C)}
    assert set(graph.networkx.edges[A, B].values()) == {edge(), edge(operation="write")}
    graph.remove(edge(B, C).access)
    assert set(graph.networkx.edges) == {(A, B)}  # an edge is never empty


@pytest.mark.parametrize("many", [1, 8, 9, 30])
def test_edge_keeps_few_relationships_as_well_as_many(many: int) -> None:
    all_of_them = [edge(resource=f"/{number}") for number in range(many)]
    graph = CommunicationGraph(all_of_them)
    graph.put(edge(resource="/0", status=Status.DENIED))
    assert len(graph) == len(graph.between(A, B)) == many
    assert {r.access.resource: r.status for r in graph} == {
        r.access.resource: Status.LEARNED if number else Status.DENIED for number, r in enumerate(all_of_them)
    }
    for relationship in all_of_them:
        assert graph.get(relationship.access) is not None
        graph.remove(relationship.access)
        assert graph.get(relationship.access) is None
    assert len(graph) == 0
    assert graph.between(A, B) == ()


def test_union_of_the_parts_is_the_whole() -> None:
    site = CommunicationGraph([edge(A, B), edge(B, C), edge(C, A)])
    parts = [site.part(frozenset(names).__contains__) for names in ((A,), (B, C))]
    assert set(CommunicationGraph.union(parts)) == set(site)


def test_part_of_a_switch_has_what_has_an_end_there() -> None:
    site = CommunicationGraph([edge(A, B), edge(B, C)])
    assert list(site.part({A}.__contains__)) == [edge(A, B)]


# What a decision covers


@pytest.mark.parametrize(
    ("wide", "covered"),
    [
        (edge(), True),
        (edge(operation=ANY, resource=ANY), True),
        (edge(resource=ANY), True),
        (whole(), True),
        (edge(operation="write"), False),
        (edge(protocol="coap", operation=ANY, resource=ANY), False),
        (edge(client=C, protocol=ANY, operation=ANY, resource=ANY), False),
        (edge(server=C, protocol=ANY, operation=ANY, resource=ANY), False),
    ],
)
def test_decision_covers_what_is_narrower_between_the_same_two(wide: Relationship, covered: bool) -> None:
    assert covers(wide.access, edge().access) is covered


def test_narrow_decision_does_not_cover_a_wider_one() -> None:
    assert not covers(edge().access, whole().access)


def test_relationship_of_two_services_as_a_whole_can_use_any_endpoint() -> None:
    assert on_endpoint(whole(), COAP)
    assert on_endpoint(edge(), HTTP)
    assert not on_endpoint(edge(), COAP)


# Treatments


def choose(
    *known: Relationship,
    clients: tuple[ServiceId, ...] = (A,),
    servers: tuple[ServiceId, ...] = (B,),
    learning: bool = False,
    settled: bool = True,
    watch: bool = False,
) -> Treatment:
    return treatment(known, frozenset(clients), frozenset(servers), learning, settled, watch)


def test_nothing_known_is_inspected() -> None:
    assert choose() is Treatment.INSPECT


def test_what_learns_is_watched_without_delay() -> None:
    assert choose(edge(), learning=True, settled=False) is Treatment.WATCH


@pytest.mark.parametrize("status", [Status.PENDING, Status.DENIED, Status.EXPIRED])
def test_what_learns_is_inspected_as_soon_as_something_is_not_allowed(status: Status) -> None:
    assert choose(edge(), edge(resource="/y", status=status), learning=True, settled=False) is (
        Treatment.INSPECT
    )


def test_pair_whose_every_relationship_is_denied_is_dropped_in_the_switch() -> None:
    assert choose(edge(status=Status.DENIED), whole(Status.DENIED)) is Treatment.DROP


def test_denied_pair_is_inspected_while_something_new_could_still_be_learnt() -> None:
    assert choose(edge(status=Status.DENIED), settled=False) is Treatment.INSPECT


@pytest.mark.parametrize("status", [Status.PENDING, Status.LEARNED, Status.APPROVED, Status.EXPIRED])
def test_pair_with_anything_but_denials_is_not_dropped(status: Status) -> None:
    known = (edge(status=Status.DENIED), edge(resource="/y", status=status))
    assert choose(*known) is Treatment.INSPECT


def test_pair_that_is_allowed_as_a_whole_goes_at_line_rate() -> None:
    assert choose(whole(), edge()) is Treatment.FORWARD


@pytest.mark.parametrize("other", [edge(status=Status.DENIED), edge(status=Status.PENDING)])
def test_pair_that_is_allowed_as_a_whole_is_read_where_something_in_it_is_not(other: Relationship) -> None:
    assert choose(whole(), other) is Treatment.INSPECT


@pytest.mark.parametrize("limit", [{"until": 99.0}, {"once": True}])
def test_what_is_allowed_for_a_while_is_never_let_go_unread(limit: dict[str, object]) -> None:
    assert choose(whole(**limit)) is Treatment.INSPECT
    assert choose(edge(protocol="unknown", **limit)) is Treatment.INSPECT


def test_another_service_behind_the_endpoint_keeps_the_pair_inspected() -> None:
    assert choose(whole(), servers=(B, C)) is Treatment.INSPECT
    assert choose(whole(), clients=(A, C)) is Treatment.INSPECT


def test_protocol_without_operations_goes_at_line_rate() -> None:
    assert choose(edge(protocol="unknown")) is Treatment.FORWARD
    assert choose(edge(protocol="unknown"), edge()) is Treatment.INSPECT
    assert choose(edge(protocol="unknown"), clients=(A, C)) is Treatment.INSPECT


def test_watch_takes_the_place_of_inspection_and_of_nothing_else() -> None:
    assert choose(edge(), watch=True) is Treatment.WATCH
    assert choose(edge(status=Status.DENIED), watch=True) is Treatment.DROP
    assert choose(whole(), watch=True) is Treatment.FORWARD


# Between two devices


def test_relationships_between_two_devices_are_found_by_endpoint_and_by_the_services_behind_it() -> None:
    other, coap = edge(resource="/y"), edge(A, C, "coap", endpoint=COAP)
    between = Between([edge(), other, coap])
    assert (between.use(HTTP), between.use(COAP), between.use(Endpoint("tcp", 81))) == (True, True, False)
    assert set(between.known(HTTP, ())) == {edge(), other}
    assert set(between.known(COAP, ())) == {coap}
    assert set(between.known(HTTP, {C})) == {edge(), other, coap}
    assert len(between.known(HTTP, {B, C})) == 3  # none twice


def test_a_whole_grant_between_two_devices_is_about_every_endpoint() -> None:
    between = Between([edge(), whole()])
    assert between.use(COAP)
    assert set(between.known(COAP, ())) == {whole()}
    assert set(between.known(HTTP, {B})) == {edge(), whole()}
    assert not Between([]).use(HTTP)
