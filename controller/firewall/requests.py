"""Requests: pending relationships grouped into the cards that the site manager answers.

The rule: what one client service asks of one server service is one card. A client service that asks
more than `SCAN_AT` server services at once gets one card for all of it, which says that it looks like
a scan. What opens something, and a device that waits to be admitted, are cards of their own. A card's id
stands for what the card is about, so that it stays the same while the card grows. Knows nothing of
decisions, flows or the web.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from controller.firewall.likeness import like
from controller.model.relationship import Access, DeviceId, Reason, Relationship, ServiceId
from controller.model.service import MAIN, Admission, Device
from controller.model.site import Site
from controller.view import RequestView, Suggestion
from controller.words import (
    SCAN,
    action,
    called,
    explanation,
    group_sentence,
    risk,
    scan_sentence,
    sentence,
    visible,
)

SCAN_AT = 4
STILL_TRYING = 60.0  # seconds since the last attempt
NAMED = 3  # servers that a card names
_RISKS = ("reads", "changes", "opens")


def relationship_id(access: Access) -> str:
    """Ten hexadecimal digits that stand for an access, the same after a restart."""
    fields = (access.client, access.server, access.protocol, access.operation, access.resource)
    return _digest(*fields)


def admission_id(device: DeviceId) -> str:
    return _digest("admission", device)


def talk_id(client: ServiceId, server: ServiceId) -> str:
    """What stands for all that one service asks of another."""
    return _digest("talk", client, server)


def scan_id(client: ServiceId) -> str:
    """What stands for all that a service asks of many."""
    return _digest("scan", client)


def _digest(*fields: str) -> str:
    return blake2b("\0".join(fields).encode("utf-8", "surrogatepass"), digest_size=5).hexdigest()


@dataclass(frozen=True, slots=True)
class Request:
    """A question: about a device (`device`), or about relationships, the oldest first."""

    id: str
    device: Device | None = None
    relationships: tuple[Relationship, ...] = ()
    scan: bool = False


def requests(site: Site) -> tuple[Request, ...]:
    """All open questions, the oldest first."""
    waiting = [Request(admission_id(d.id), d) for d in site.devices.values() if d.admission is Admission.NEW]
    return (*waiting, *_groups(site))


def _groups(site: Site) -> Iterator[Request]:
    by_client: defaultdict[ServiceId, list[Relationship]] = defaultdict(list)
    for relationship in site.waiting():
        if risk(relationship.access, site.device_of(relationship.access.server)) == "opens":
            # A card of its own, so that no noise can hide it.
            yield Request(relationship_id(relationship.access), relationships=(relationship,))
            continue
        by_client[relationship.access.client].append(relationship)
    for client, asked in by_client.items():
        if len({r.access.server for r in asked}) > SCAN_AT:
            yield Request(scan_id(client), relationships=tuple(asked), scan=True)
        else:
            yield from _talks(asked)


def _talks(asked: Iterable[Relationship]) -> Iterator[Request]:
    """Questions of the same service, one request for each that they are put to."""
    by_server: defaultdict[ServiceId, list[Relationship]] = defaultdict(list)
    for relationship in asked:
        by_server[relationship.access.server].append(relationship)
    for server, group in by_server.items():
        yield Request(talk_id(group[0].access.client, server), relationships=tuple(group))


def find(site: Site, wanted: str) -> Request | None:
    """The request with this id or this beginning of one.

    A part of a request has an id, too: what is between two services in a scan, and each relationship. So
    an answer to a card that has become part of another covers no more than was on it. Raises ValueError
    when more than one would fit.
    """
    fitting: dict[str, Request] = {}
    for request in requests(site) if wanted else ():
        for part in (request, *_parts(request)):
            if part.id == wanted:
                return part
            if part.id.startswith(wanted):
                fitting[part.id] = part
    if len({(part.device, part.relationships) for part in fitting.values()}) > 1:
        raise ValueError(f"{wanted} could be {', '.join(fitting)}")
    return next(iter(fitting.values()), None)


def _parts(request: Request) -> Iterator[Request]:
    if request.scan:
        yield from _talks(request.relationships)
    for relationship in request.relationships:
        yield Request(relationship_id(relationship.access), relationships=(relationship,))


def title(request: Request, site: Site) -> str:
    """The sentence of a card."""
    if request.device is not None:
        return f"{called(request.device)} wants to join"
    first = request.relationships[0].access
    asker = site.device_of(first.client)
    servers = {d.id: d for d in (site.device_of(r.access.server) for r in request.relationships)}
    if request.scan:
        return scan_sentence(
            asker, len({r.access.server for r in request.relationships}), tuple(servers.values())
        )
    if len(request.relationships) == 1:
        return sentence(first, asker, *servers.values())
    return group_sentence(asker, request.relationships, tuple(servers.values()))


def card(request: Request, site: Site, switches: Mapping[int, str], now: float) -> RequestView:
    """A request as people see it. `switches`: their names."""
    if request.device is not None:
        device = request.device
        return RequestView(
            request.id, "admission", title(request, site), Reason.NEW_DEVICE.value,
            _whereabouts(device, site, switches), "changes", device.id, "", (), (),
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
        explanation=SCAN if request.scan else _explained(first, site),
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
        server_name=_several(tuple(visible(device.name) for device in servers.values())),
        client_kind=site.services[first.access.client].kind or client.kind,
        server_kind=(site.services[first.access.server].kind or server.kind) if len(servers) == 1 else "",
        verb=", ".join(dict.fromkeys(verb for verb, _ in actions)),
        resource=(actions[0][1] or None) if len(actions) == 1 else None,
    )


def _several(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _suggestion(device: Device, site: Site) -> Suggestion | None:
    found = like(site, device)
    if found is None:
        return None
    name = visible(found.name)
    return Suggestion(found.id, name, f"This looks like {name}, which you allowed.")


def _whereabouts(device: Device, site: Site, switches: Mapping[int, str]) -> str:
    """That a device is new, where it is, and who else is there: a cable that two share is worth a look."""
    text, at = explanation(Reason.NEW_DEVICE), device.binding
    if at is None:
        return text
    text += f" It is plugged in at socket {at.port} of {switches.get(at.switch, f'switch {at.switch}')}"
    others = [
        visible(d.name)
        for d in site.devices.values()
        if d.binding == at and d.id != device.id and d.admission is Admission.ADMITTED
    ]
    if not others:
        return f"{text}."
    named = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")
    return f"{text}, where {named} {'is' if len(others) == 1 else 'are'}, too."


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
