"""The communication graph: services, and the relationships between them.

One graph holds the site; `part` gives what one switch enforces, and the union of the parts is the
site again. Knows nothing of flows, verdict tables or time.
"""

from collections.abc import Callable, Iterable, Iterator

import networkx as nx

from controller.model.relationship import ANY, Access, Endpoint, Relationship, ServiceId, Status, Treatment


class CommunicationGraph:
    """A directed multigraph (paper, section III): vertices are services, edges relationships.

    `networkx` is the graph itself, for whoever wants to compute on it; each edge has its
    Relationship as the attribute `relationship` and (protocol, operation, resource) as its key.
    """

    __slots__ = ("networkx",)

    def __init__(self, relationships: Iterable[Relationship] = ()) -> None:
        self.networkx: nx.MultiDiGraph[ServiceId] = nx.MultiDiGraph()
        for relationship in relationships:
            self.put(relationship)

    def put(self, relationship: Relationship) -> None:
        """Add a relationship, or replace the one with the same access."""
        access = relationship.access
        self.networkx.add_edge(
            access.client,
            access.server,
            key=(access.protocol, access.operation, access.resource),
            relationship=relationship,
        )

    def get(self, access: Access) -> Relationship | None:
        data = self.networkx.get_edge_data(
            access.client, access.server, key=(access.protocol, access.operation, access.resource)
        )
        return data["relationship"] if data else None

    def remove(self, access: Access) -> None:
        """Forget a relationship; its services stay. Nothing happens when it is not there."""
        key = (access.protocol, access.operation, access.resource)
        if self.networkx.has_edge(access.client, access.server, key=key):
            self.networkx.remove_edge(access.client, access.server, key=key)

    def __iter__(self) -> Iterator[Relationship]:
        for _, _, data in self.networkx.edges(data=True):
            yield data["relationship"]

    def __len__(self) -> int:
        return self.networkx.number_of_edges()

    def between(self, client: ServiceId, server: ServiceId) -> tuple[Relationship, ...]:
        """All relationships in which `client` asks `server`."""
        edges = self.networkx.get_edge_data(client, server) or {}
        return tuple(data["relationship"] for data in edges.values())

    def of(self, service: ServiceId) -> Iterator[Relationship]:
        """All relationships that a service is an end of."""
        if service in self.networkx:
            for _, _, data in self.networkx.out_edges(service, data=True):
                yield data["relationship"]
            for client, _, data in self.networkx.in_edges(service, data=True):
                if client != service:
                    yield data["relationship"]

    def part(self, enforced: Callable[[ServiceId], bool]) -> "CommunicationGraph":
        """The graph of one switch: every relationship with an end that it enforces for."""
        return CommunicationGraph(r for r in self if enforced(r.access.client) or enforced(r.access.server))

    @staticmethod
    def union(parts: Iterable["CommunicationGraph"]) -> "CommunicationGraph":
        """The site's graph from those of its switches."""
        whole = CommunicationGraph()
        for part in parts:
            for relationship in part:
                whole.put(relationship)
        return whole


def covers(wide: Access, narrow: Access) -> bool:
    """Whether a decision on `wide` is also one on `narrow`."""
    return (wide.client, wide.server) == (narrow.client, narrow.server) and all(
        mine in (ANY, theirs)
        for mine, theirs in (
            (wide.protocol, narrow.protocol),
            (wide.operation, narrow.operation),
            (wide.resource, narrow.resource),
        )
    )


def on_endpoint(relationship: Relationship, endpoint: Endpoint) -> bool:
    """Whether a relationship can use an endpoint of its server service."""
    return relationship.access.protocol == ANY or relationship.endpoint == endpoint


def treatment(
    relationships: Iterable[Relationship],
    clients: frozenset[ServiceId],
    servers: frozenset[ServiceId],
    learning: bool,
    settled: bool,
    watch: bool,
) -> Treatment:
    """What the switch does between a client device and one endpoint of a server device.

    `relationships`: all that could use this pair. `clients`, `servers`: all services known on the
    client device and behind the endpoint. `learning`: what is new between them is whitelisted.
    `settled`: nothing there is in a learning phase. `watch`: the owner prefers no delay here.
    """
    known = tuple(relationships)
    statuses = {r.status for r in known}
    if learning and statuses <= {Status.LEARNED, Status.APPROVED}:
        return Treatment.WATCH
    if settled and statuses == {Status.DENIED}:
        return Treatment.DROP
    if known and statuses <= {Status.LEARNED, Status.APPROVED}:
        lasting = [r for r in known if r.until is None and not r.once]
        whole = {(r.access.client, r.access.server) for r in lasting if r.access.protocol == ANY}
        if whole and whole >= {(client, server) for client in clients for server in servers}:
            return Treatment.FORWARD
        if (
            len(clients) == 1
            and len(lasting) == len(known)
            and all(r.access.protocol == "unknown" for r in known)
        ):
            return Treatment.FORWARD
    return Treatment.WATCH if watch else Treatment.INSPECT
