"""Who hears whom through a broker: publishers and subscribers whose topics meet. Pure.

Knows nothing of HTTP. Topics meet as MQTT 5.0, section 4.7 has it; what the graph has generalised
(`{number}`) meets any level.
"""

from collections import defaultdict
from collections.abc import Iterator
from itertools import islice

from controller.dpi.message import Operation
from controller.model.relationship import ANY, ServiceId, Status
from controller.view import RelationshipView, SiteView
from controller.web.values import Mediated

AT_MOST = 5000  # edges; more than that nobody can read
_WORST = (Status.DENIED, Status.EXPIRED, Status.PENDING, Status.APPROVED, Status.LEARNED)


def meets(topic: str, wanted: str) -> bool:
    """Whether what is published under a topic reaches a subscription to a filter."""
    if ANY in (topic, wanted):
        return True
    levels, pattern = topic.split("/"), wanted.split("/")
    if levels[0].startswith("$") and pattern[0] in ("#", "+"):
        return False
    for at, level in enumerate(pattern):
        if level == "#":
            return True
        if at >= len(levels):
            return False
        if level not in ("+", levels[at]) and not (_general(level) or _general(levels[at])):
            return False
    return len(levels) == len(pattern)


def _general(level: str) -> bool:
    return level.startswith("{") and level.endswith("}")


def mediated(site: SiteView) -> tuple[Mediated, ...]:
    """Every publisher that a subscriber hears, or would if both were allowed."""
    return tuple(islice(_edges(site), AT_MOST))


def _edges(site: SiteView) -> Iterator[Mediated]:
    heard: defaultdict[ServiceId, list[RelationshipView]] = defaultdict(list)
    for view in site.relationships.values():
        if view.relationship.access.operation == Operation.SUBSCRIBE:
            heard[view.relationship.access.server].append(view)
    for publishing in site.relationships.values():
        said = publishing.relationship.access
        if said.operation != Operation.PUBLISH:
            continue
        for subscribing in heard.get(said.server, ()):
            asked = subscribing.relationship.access
            if asked.protocol == said.protocol and meets(said.resource, asked.resource):
                both = (publishing.relationship.status, subscribing.relationship.status)
                yield Mediated(
                    publisher=said.client,
                    broker=said.server,
                    topic=said.resource,
                    subscriber=asked.client,
                    status=min(both, key=_WORST.index),
                    publish=publishing.id,
                    subscribe=subscribing.id,
                )
