"""The communication graph: services, and the relationships between them.

One graph holds the site; `part` gives what one switch enforces, and the union of the parts is the
site again. Knows nothing of flows, verdict tables or time.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, cast

import networkx as nx

from controller.model.relationship import ANY, Access, Endpoint, Relationship, ServiceId, Status, Treatment

_FEW: Final = 8  # relationships of one edge that are looked through one by one
_NO_DATA: Final[Any] = MappingProxyType({})  # of every vertex: a dictionary for each would be empty for ever


class Edge(MutableMapping[Access, Relationship]):
    """The relationships in which one service asks another, by access.

    Most edges have one or two; a dictionary for each would cost more than the relationships.
    """

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: Relationship | tuple[Relationship, ...] | dict[Access, Relationship] = ()

    def _few(self) -> Iterable[Relationship]:
        found = self._found
        if isinstance(found, Relationship):
            return (found,)
        return found.values() if isinstance(found, dict) else found

    def _keep(self, few: tuple[Relationship, ...]) -> None:
        self._found = few[0] if len(few) == 1 else few

    def __getitem__(self, access: Access) -> Relationship:
        found = self._found
        if isinstance(found, dict):
            return found[access]
        for relationship in self._few():
            if relationship.access == access:
                return relationship
        raise KeyError(access)

    def __setitem__(self, access: Access, relationship: Relationship) -> None:
        found = self._found
        if isinstance(found, dict):
            found[access] = relationship
            return
        few = (*(r for r in self._few() if r.access != access), relationship)
        if len(few) <= _FEW:
            self._keep(few)
        else:
            self._found = {r.access: r for r in few}

    def __delitem__(self, access: Access) -> None:
        found = self._found
        if isinstance(found, dict):
            del found[access]
        else:
            gone = self[access]
            self._keep(tuple(r for r in self._few() if r is not gone))

    def __iter__(self) -> Iterator[Access]:
        return (relationship.access for relationship in self._few())

    def __len__(self) -> int:
        return 1 if isinstance(self._found, Relationship) else len(self._found)


if TYPE_CHECKING:
    Base = nx.DiGraph[ServiceId]
else:
    Base = nx.DiGraph


class _Graph(Base):
    edge_attr_dict_factory = cast("Any", Edge)
    node_attr_dict_factory = cast("Any", staticmethod(lambda: _NO_DATA))


class CommunicationGraph:
    """A directed graph (paper, section III): services, and who asks whom.

    An edge holds the relationships in which its first service asks its second. `networkx` is the graph
    itself, for whoever wants to compute on it; what it calls the data of an edge is an Edge, never empty.
    """

    __slots__ = ("_size", "networkx")

    def __init__(self, relationships: Iterable[Relationship] = ()) -> None:
        self.networkx: nx.DiGraph[ServiceId] = _Graph()
        self._size = 0
        for relationship in relationships:
            self.put(relationship)

    def put(self, relationship: Relationship) -> None:
        """Add a relationship, or replace the one with the same access."""
        access = relationship.access
        edge: Any = self._edge(access.client, access.server)
        if edge is None:
            self.networkx.add_edge(access.client, access.server)
            edge = self.networkx.succ[access.client][access.server]
        self._size += access not in edge
        edge[access] = relationship

    def get(self, access: Access) -> Relationship | None:
        edge = self._edge(access.client, access.server)
        return edge.get(access) if edge is not None else None

    def remove(self, access: Access) -> None:
        """Forget a relationship; its services stay. Nothing happens when it is not there."""
        edge = self._edge(access.client, access.server)
        if edge is None or access not in edge:
            return
        del edge[access]
        self._size -= 1
        if not edge:
            self.networkx.remove_edge(access.client, access.server)

    def remove_service(self, service: ServiceId) -> None:
        """Forget a service that has no relationships any more."""
        if service in self.networkx:
            self.networkx.remove_node(service)

    def _edge(self, client: ServiceId, server: ServiceId) -> Edge | None:
        edges: Any = self.networkx.succ.get(client, {})
        return cast("Edge | None", edges.get(server))

    def asked_by(self, client: ServiceId) -> int:
        """How many relationships a service is the client of."""
        return sum(map(len, self.networkx.succ[client].values())) if client in self.networkx else 0

    def __iter__(self) -> Iterator[Relationship]:
        for _, _, edge in self.networkx.edges(data=True):
            yield from edge.values()

    def __len__(self) -> int:
        return self._size

    def between(self, client: ServiceId, server: ServiceId) -> tuple[Relationship, ...]:
        """All relationships in which `client` asks `server`."""
        edge = self._edge(client, server)
        return tuple(edge.values()) if edge is not None else ()

    def of(self, service: ServiceId) -> Iterator[Relationship]:
        """All relationships that a service is an end of."""
        if service in self.networkx:
            for _, _, edge in self.networkx.out_edges(service, data=True):
                yield from edge.values()
            for client, _, edge in self.networkx.in_edges(service, data=True):
                if client != service:
                    yield from edge.values()

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


class Between:
    """The relationships between two devices, by what they have to do with an endpoint."""

    def __init__(self, relationships: Iterable[Relationship]) -> None:
        self._any: list[Relationship] = []
        self._on: defaultdict[Endpoint, list[Relationship]] = defaultdict(list)
        self._of: defaultdict[ServiceId, list[Relationship]] = defaultdict(list)
        for relationship in relationships:
            self._of[relationship.access.server].append(relationship)
            if relationship.access.protocol == ANY:
                self._any.append(relationship)
            else:
                self._on[relationship.endpoint].append(relationship)

    def use(self, endpoint: Endpoint) -> bool:
        """Whether one of them can use the endpoint."""
        return bool(self._any) or endpoint in self._on

    def known(self, endpoint: Endpoint, behind: Iterable[ServiceId]) -> Sequence[Relationship]:
        """Those that can use the endpoint, and all with the services behind it."""
        others = (r for service in behind for r in self._of.get(service, ()) if not on_endpoint(r, endpoint))
        return (*self._any, *self._on.get(endpoint, ()), *others)


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
