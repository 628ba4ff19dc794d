"""The communication graph in formats of other programs: GraphML, node-link JSON and Graphviz DOT. Pure.

Every name is made visible first: XML has no control characters, and a file is read in a terminal, too.
"""

import json
from typing import Any

import graphviz
import networkx as nx

from controller.model.relationship import Status
from controller.view import SiteView
from controller.words import visible

COLOURS = {  # the paper's: in the model, not decided, denied
    Status.LEARNED: "#1a7f37",
    Status.APPROVED: "#1a7f37",
    Status.PENDING: "#bc6c00",
    Status.EXPIRED: "#bc6c00",
    Status.DENIED: "#c1121f",
}
STYLES = {Status.PENDING: "dashed", Status.EXPIRED: "dashed", Status.DENIED: "bold"}
LONGEST = 200  # characters of a text in a file


def _text(value: object) -> str:
    return visible(str(value), LONGEST)


def as_networkx(site: SiteView) -> "nx.MultiDiGraph[str]":
    """Services as vertices and relationships as edges, with plain texts and numbers as attributes."""
    graph: nx.MultiDiGraph[str] = nx.MultiDiGraph(name=_text(site.site))
    for view in site.services.values():
        graph.add_node(
            _text(view.service.id),
            name=_text(view.service.name),
            device=_text(view.device.id),
            device_name=_text(view.device.name),
            kind=_text(view.service.kind or view.device.kind),
            place=view.device.place.value,
            learning=view.learning is not None,
            infrastructure=view.infrastructure,
        )
    for edge in site.relationships.values():
        relationship, access = edge.relationship, edge.relationship.access
        graph.add_edge(
            _text(access.client),
            _text(access.server),
            key=edge.id,
            status=relationship.status.value,
            protocol=_text(access.protocol),
            operation=_text(access.operation),
            resource=_text(access.resource),
            endpoint=str(relationship.endpoint),
            sentence=_text(edge.sentence),
            treatment=edge.treatment.value,
            risk=edge.risk,
            decided_by=_text(edge.decided_by),
            allowed=relationship.allowed,
            refused=relationship.refused,
            first_seen=float(relationship.first_seen),
            last_seen=float(relationship.last_seen),
        )
    return graph


def graphml(site: SiteView) -> str:
    return "\n".join(nx.generate_graphml(as_networkx(site))) + "\n"


def node_link(site: SiteView) -> str:
    data: Any = nx.node_link_data(as_networkx(site), edges="links")
    return json.dumps(data, indent=1) + "\n"


def dot(site: SiteView) -> str:
    """For Graphviz: services in a box for each device."""
    drawing = graphviz.Digraph(
        name="Graphwall",
        graph_attr={"label": graphviz.escape(_text(site.site)), "rankdir": "LR", "fontname": "sans-serif"},
        node_attr={"shape": "box", "style": "rounded", "fontname": "sans-serif"},
        edge_attr={"fontname": "sans-serif", "fontsize": "10"},
    )
    ids = {name: f"s{number}" for number, name in enumerate(site.services)}
    for number, device in enumerate(site.devices.values()):
        there = [view for view in site.services.values() if view.service.device == device.id]
        if not there:
            continue
        with drawing.subgraph(name=f"cluster{number}") as box:
            box.attr(label=graphviz.escape(_text(device.name)), color="#8c959f")
            for view in there:
                box.node(ids[view.service.id], graphviz.escape(_text(view.service.name)))
    for edge in site.relationships.values():
        access, status = edge.relationship.access, edge.relationship.status
        what = f"{access.operation} {access.resource}" if access.resource else str(access.operation)
        drawing.edge(
            ids[access.client],
            ids[access.server],
            label=graphviz.escape(_text(what)),
            color=COLOURS[status],
            style=STYLES.get(status, "solid"),
        )
    return str(drawing.source)
