"""Links between switches: shortest paths, and a spanning tree for broadcasts.

Knows nothing of devices, flows or how links are found. Every result depends on the links alone, in
no order, so that each computation gives the same paths.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import networkx as nx


@dataclass(frozen=True, slots=True, order=True)
class Link:
    """A cable between two switches: datapath ids and port numbers, the lower end first."""

    switch: int
    port: int
    peer: int
    peer_port: int

    @staticmethod
    def between(switch: int, port: int, peer: int, peer_port: int) -> "Link":
        if (switch, port) <= (peer, peer_port):
            return Link(switch, port, peer, peer_port)
        return Link(peer, peer_port, switch, port)

    def ends(self) -> tuple[tuple[int, int], tuple[int, int]]:
        return (self.switch, self.port), (self.peer, self.peer_port)


class Topology:
    """The switches and links of one moment."""

    def __init__(self, switches: Iterable[int] = (), links: Iterable[Link] = ()) -> None:
        self.links = frozenset(links)
        self.switches = frozenset(switches)
        self._graph: nx.Graph[int] = nx.Graph()
        self._graph.add_nodes_from(sorted(self.switches))
        for link in sorted(self.links, reverse=True):  # of parallel cables the lowest port is used
            self._graph.add_edge(
                link.switch, link.peer, ports={link.switch: link.port, link.peer: link.peer_port}
            )
        self.trunks = frozenset(end for link in self.links for end in link.ends())
        self._next: dict[tuple[int, int], int] = {}
        for source, paths in nx.all_pairs_shortest_path(self._graph):
            for target, path in sorted(paths.items()):
                if len(path) > 1:
                    self._next[source, target] = self._graph.edges[source, path[1]]["ports"][source]
        tree = nx.minimum_spanning_tree(self._graph, algorithm="kruskal") if self._graph else self._graph
        self._tree: dict[int, frozenset[int]] = {
            switch: frozenset(self._graph.edges[switch, peer]["ports"][switch] for peer in tree[switch])
            for switch in tree
        }

    def port_towards(self, switch: int, target: int) -> int | None:
        """The port of `switch` that leads to `target`; None when no way does."""
        return self._next.get((switch, target))

    def tree_ports(self, switch: int) -> frozenset[int]:
        """The trunk ports of `switch` that carry broadcasts."""
        return self._tree.get(switch, frozenset())
