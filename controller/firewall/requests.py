"""Requests: pending relationships grouped into the cards that the site manager answers.

The rule: what one client service asks of one server service is one card. A client service that asks
more than `SCAN_AT` server services at once gets one card for all of it (a scan). A device that waits
to be admitted is a card of its own. Knows nothing of decisions, flows or the web.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b

from controller.firewall.likeness import like
from controller.model.relationship import Access, DeviceId, Reason, Relationship
from controller.model.service import MAIN, Admission, Device
from controller.model.site import Site
from controller.view import RequestView, Suggestion
from controller.words import action, explanation, group_sentence, risk, sentence, visible

SCAN_AT = 4
STILL_TRYING = 60.0  # seconds since the last attempt
_RISKS = ("reads", "changes", "opens")


def relationship_id(access: Access) -> str:
    """Ten hexadecimal digits that stand for an access, the same after a restart."""
    fields = (access.client, access.server, access.protocol, access.operation, access.resource)
    text = "\0".join(fields)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=5).hexdigest()


def admission_id(device: DeviceId) -> str:
    return blake2b(f"admission\0{device}".encode(), digest_size=5).hexdigest()


@dataclass(frozen=True, slots=True)
class Request:
    """A question: about a device (`device`), or about relationships, the oldest first."""

    id: str
    device: Device | None = None
    relationships: tuple[Relationship, ...] = ()


def requests(site: Site) -> tuple[Request, ...]:
    """All open questions, the oldest first."""
    waiting = [Request(admission_id(d.id), d) for d in site.devices.values() if d.admission is Admission.NEW]
    return (*waiting, *_groups(site))


def _groups(site: Site) -> Iterator[Request]:
    by_client: defaultdict[str, defaultdict[str, list[Relationship]]] = defaultdict(lambda: defaultdict(list))
    for relationship in site.waiting():
        if risk(relationship.access, site.device_of(relationship.access.server)) == "opens":
            # A card of its own, so that no noise can hide it.
            yield Request(relationship_id(relationship.access), relationships=(relationship,))
            continue
        by_client[relationship.access.client][relationship.access.server].append(relationship)
    for servers in by_client.values():
        groups = list(servers.values())
        if len(groups) > SCAN_AT:
            groups = [[relationship for group in groups for relationship in group]]
        for group in groups:
            yield Request(relationship_id(group[0].access), relationships=tuple(group))


def find(site: Site, wanted: str) -> Request | None:
    """The request with this id or this beginning of one.

    The id of a relationship that is in a request stands for that and what the same two services were
    asked about with it, so that an answer never covers more than a card that has grown since it was
    read. Raises ValueError when more than one would fit.
    """
    fitting: dict[str, Request] = {}
    for request in requests(site):
        if request.id == wanted:
            return request
        if wanted and request.id.startswith(wanted):
            fitting[request.id] = request
        for relationship in request.relationships:
            name = relationship_id(relationship.access)
            if wanted and name != request.id and name.startswith(wanted):
                fitting[name] = _part(request, relationship.access)
    if wanted in fitting:
        return fitting[wanted]
    if len({(part.device, part.relationships) for part in fitting.values()}) > 1:
        raise ValueError(f"{wanted} could be {', '.join(fitting)}")
    return next(iter(fitting.values()), None)


def _part(request: Request, access: Access) -> Request:
    """What a request asks between the two services of one of its accesses."""
    ends = (access.client, access.server)
    alike = tuple(r for r in request.relationships if (r.access.client, r.access.server) == ends)
    return Request(relationship_id(alike[0].access), relationships=alike)


def title(request: Request, site: Site) -> str:
    """The sentence of a card."""
    if request.device is not None:
        return f"{visible(request.device.name)} is new and wants to join"
    first = request.relationships[0].access
    asker = site.device_of(first.client)
    servers = {d.id: d for d in (site.device_of(r.access.server) for r in request.relationships)}
    if len(request.relationships) == 1:
        return sentence(first, asker, *servers.values())
    return group_sentence(asker, request.relationships, tuple(servers.values()))


def card(request: Request, site: Site, now: float) -> RequestView:
    """A request as people see it."""
    if request.device is not None:
        device = request.device
        return RequestView(
            request.id, "admission", title(request, site), Reason.NEW_DEVICE.value,
            explanation(Reason.NEW_DEVICE), "changes", device.id, "", (), (),
            device.first_seen, device.last_seen, 1, now - device.last_seen < STILL_TRYING,
            client_name=visible(device.name), client_kind=device.kind, verb="join",
            suggestion=_suggestion(device, site),
        )  # fmt: skip
    asked = request.relationships
    first = asked[0]
    risks = {risk(r.access, site.device_of(r.access.server)) for r in asked}
    last_seen = max(r.last_seen for r in asked)
    client, server = site.device_of(first.access.client), site.device_of(first.access.server)
    servers = {site.device_of(r.access.server).id: site.device_of(r.access.server) for r in asked}
    actions = list(dict.fromkeys(action(r.access, site.device_of(r.access.server)) for r in asked))
    worst = max(risks, key=_RISKS.index)
    return RequestView(
        id=request.id,
        kind="access",
        sentence=title(request, site),
        reason=first.reason.value,
        explanation=_explained(first, site),
        risk=worst,
        client=first.access.client,
        server=first.access.server,
        relationships=tuple(relationship_id(r.access) for r in asked),
        questions=tuple(
            sentence(r.access, site.device_of(r.access.client), site.device_of(r.access.server))
            for r in asked
        ),
        first_seen=min(r.first_seen for r in asked),
        last_seen=last_seen,
        attempts=sum(r.refused for r in asked),
        still_trying=now - last_seen < STILL_TRYING,
        sensitive=worst == "opens",
        client_name=visible(client.name),
        server_name=", ".join(visible(device.name) for device in servers.values()),
        client_kind=site.services[first.access.client].kind or client.kind,
        server_kind=(site.services[first.access.server].kind or server.kind) if len(servers) == 1 else "",
        verb=", ".join(dict.fromkeys(verb for verb, _ in actions)),
        resource=(actions[0][1] or None) if len(actions) == 1 else None,
    )


def _suggestion(device: Device, site: Site) -> Suggestion | None:
    found = like(site, device)
    if found is None:
        return None
    name = visible(found.name)
    return Suggestion(found.id, name, f"This looks like {name}, which you allowed.")


def _explained(first: Relationship, site: Site) -> str:
    """Why it is asked; of a program never seen there also what it calls itself, and who else does."""
    client = site.services[first.access.client]
    if first.reason is not Reason.NEW_SERVICE or client.own_name == MAIN:
        return explanation(first.reason)
    text = f'It calls itself "{visible(client.own_name)}", a name never seen on this device before.'
    others = [s for s in site.services.values() if s.own_name == client.own_name and s.id != client.id]
    if others:
        text += f" A program of {visible(site.devices[others[0].device].name)} has that name."
    return text
