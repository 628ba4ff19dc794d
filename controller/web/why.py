"""Answers "why is this so?" from one view of the site: sentences, and what they are made from.

Pure. Knows nothing of HTTP but the refusal of a question that cannot be understood.
"""

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from controller.model.relationship import DeviceId, Reason, ServiceId, Status, Treatment
from controller.model.service import Admission
from controller.view import DecisionView, PairView, RelationshipView, SiteView
from controller.web.site import ApiError
from controller.web.values import Why, pair
from controller.words import explanation, visible

_TREATMENTS = {
    Treatment.FORWARD: "the switch forwards it at line rate, and nothing of it is read",
    Treatment.DROP: "the switch drops it",
    Treatment.INSPECT: "the inspector reads each request before it goes on",
    Treatment.WATCH: "the switch forwards it at once, and the inspector reads a copy",
}
_VERDICTS = {
    Status.LEARNED: "allowed",
    Status.APPROVED: "allowed",
    Status.PENDING: "waiting",
    Status.DENIED: "denied",
    Status.EXPIRED: "waiting",
}
T = TypeVar("T")

MOST = 20  # sentences about relationships; all of them are in the answer beside


@dataclass(frozen=True, slots=True)
class _End:
    """What somebody means by a name: a device, or some services on one."""

    device: DeviceId
    services: Collection[ServiceId]


def _end(site: SiteView, text: str) -> _End:
    """The device or service with this id, address or name; raises ApiError."""
    service = site.services.get(ServiceId(text))
    if service is not None:
        return _End(service.service.device, (service.service.id,))
    folded = text.casefold()
    devices = {
        device.id
        for device in site.devices.values()
        if text in (device.id, device.mac) or text in device.addresses or device.name.casefold() == folded
    }
    by_id = DeviceId(text) in devices
    named = [] if devices else [v for v in site.services.values() if v.service.name.casefold() == folded]
    if by_id or len(devices) == 1:
        device_id = DeviceId(text) if by_id else devices.pop()
        there = {view.service.id for view in site.services.values() if view.service.device == device_id}
        return _End(device_id, there)
    if len(named) == 1:
        return _End(named[0].service.device, (named[0].service.id,))
    fitting = sorted({*devices, *(view.service.id for view in named)})
    if fitting:
        names = ", ".join(visible(name) for name in fitting)
        raise ApiError(409, "ambiguous", f"{visible(text)} could be {names}", "ask with one of these ids")
    raise ApiError(
        404,
        "not found",
        f"no device or service is called {visible(text)}",
        "see 'graphwall services' for their ids",
    )


def _served_at(view: PairView | RelationshipView, wanted: str) -> bool:
    endpoint = view.endpoint if isinstance(view, PairView) else view.relationship.endpoint
    return wanted in (str(endpoint), str(endpoint.port))


def between(site: SiteView, client: str, server: str, port: str | None) -> Why:
    """Why `client` may or may not do things with `server`; `port` such as "80" or "udp-5683"."""
    asker, asked = _end(site, client), _end(site, server)
    relationships = [
        view
        for view in site.relationships.values()
        if view.relationship.access.client in asker.services
        and view.relationship.access.server in asked.services
        and (port is None or _served_at(view, port))
    ]
    pairs = [
        view
        for view in site.pairs
        if (view.client, view.server) == (asker.device, asked.device)
        and (port is None or _served_at(view, port))
    ]
    why = _answer(site, relationships, pairs, (asker.device, asked.device))
    if relationships:
        return why
    nothing = (*_never(site, asker, asked, port), *why.sentences)
    return Why(why.version, why.verdict, nothing, (), why.pairs, why.requests, why.decisions)


def _never(site: SiteView, asker: _End, asked: _End, port: str | None) -> Iterator[str]:
    """What there is to say of two that never talked: what is known of each, and what would happen."""
    names = [visible(site.devices[end.device].name) for end in (asker, asked)]
    at = "" if port is None else f" at port {visible(port)}"
    yield f"{names[0]} was never seen to ask {names[1]} for anything{at}."
    elsewhere = [
        view
        for view in site.relationships.values()
        if view.relationship.access.client in asker.services
        and view.relationship.access.server in asked.services
    ]
    if elsewhere:
        yield f"At other ports it was: see graphwall why {visible(asker.device)} {visible(asked.device)}"
    for name, end in zip(names, (asker, asked), strict=True):
        yield _known_of(site, name, end)
    learning = [all(site.services[s].learning is not None for s in end.services) for end in (asker, asked)]
    if all(learning):
        yield "Both are learning: the first time that it happens, it is allowed and learnt."
    else:
        yield "The first time that it happens, it is blocked, and you are asked about it: graphwall requests"


def _known_of(site: SiteView, name: str, end: _End) -> str:
    if not end.services:
        return f"No service of {name} is known yet."
    edges = [view.relationship.access for view in site.relationships.values()]
    asks = sum(access.client in end.services for access in edges)
    serves = sum(access.server in end.services for access in edges)
    learning = sum(site.services[one].learning is not None for one in end.services)
    state = (
        "all learning"
        if learning == len(end.services)
        else f"{learning} learning"
        if learning
        else "none learning"
    )
    return (
        f"{name} has {len(end.services)} known service{'s' * (len(end.services) != 1)} ({state}); "
        f"it asks others in {asks} relationships, and is asked in {serves}."
    )


def about(site: SiteView, wanted: str) -> Why:
    """Why, for the id (or the unambiguous beginning of one) of a relationship, request, decision or flow."""
    if wanted.lower().startswith("0x"):
        return _flow(site, wanted)
    request = next((request for request in site.requests if request.id == wanted), None)
    if request is not None:
        ids = request.relationships or ()
        views = [site.relationships[name] for name in ids if name in site.relationships]
        devices = (DeviceId(request.client),) if request.kind == "admission" else ()
        return _answer(site, views, _pairs_of(site, views), devices)
    if wanted in site.services or wanted in site.devices:
        end = _end(site, wanted)
        touching = [
            view
            for view in site.relationships.values()
            if view.relationship.access.client in end.services
            or view.relationship.access.server in end.services
        ]
        pairs = [view for view in site.pairs if end.device in (view.client, view.server)]
        why = _answer(site, touching, pairs, (end.device,))
        known = _known_of(site, visible(site.devices[end.device].name), end)
        return why if touching else replace(why, sentences=(known, *why.sentences))
    made = next((view for view in site.decisions if str(view.decision.id) == wanted), None)
    if made is not None:
        accesses = set(made.decision.accesses)
        views = [view for view in site.relationships.values() if view.relationship.access in accesses]
        devices = () if made.decision.device is None else (made.decision.device,)
        return _answer(site, views, _pairs_of(site, views), devices, (made,))
    fitting = [view for name, view in site.relationships.items() if wanted and name.startswith(wanted)]
    if len(fitting) == 1:
        return _answer(site, fitting, _pairs_of(site, fitting), ())
    if fitting:
        names = ", ".join(view.id for view in fitting[:5])
        raise ApiError(409, "ambiguous", f"{visible(wanted)} could be {names}", "give more of the id")
    raise ApiError(
        404,
        "not found",
        f"there is no relationship, request, decision, service or device {visible(wanted)}",
        "see 'graphwall graph' and 'graphwall requests' for their ids",
    )


def _flow(site: SiteView, wanted: str) -> Why:
    try:
        cookie = int(wanted, 16)
    except ValueError:
        cookie = -1
    pairs = [view for view in site.pairs if view.cookie == cookie]
    if not pairs:
        raise ApiError(
            404,
            "not found",
            f"no treatment of two devices has the cookie {visible(wanted)}",
            "only flows of the verdict table (3) carry a pair's cookie; see 'graphwall why CLIENT SERVER'",
        )
    views = [
        view
        for view in site.relationships.values()
        if any(
            (view.client_device, view.server_device) == (p.client, p.server)
            and view.relationship.endpoint == p.endpoint
            for p in pairs
        )
    ]
    return _answer(site, views, pairs, (pairs[0].client, pairs[0].server))


def _pairs_of(site: SiteView, views: Iterable[RelationshipView]) -> list[PairView]:
    wanted = {(view.client_device, view.server_device, view.relationship.endpoint) for view in views}
    return [view for view in site.pairs if (view.client, view.server, view.endpoint) in wanted]


def _answer(
    site: SiteView,
    relationships: Collection[RelationshipView],
    pairs: Collection[PairView],
    devices: Iterable[DeviceId],
    decisions: Collection[DecisionView] = (),
) -> Why:
    ids = {view.id for view in relationships}
    numbers = {view.relationship.decision for view in relationships}
    concerned = set(devices)
    requests = [r for r in site.requests if not ids.isdisjoint(r.relationships) or r.client in concerned]
    made = [view for view in site.decisions if view.decision.id in numbers or view in decisions]
    shut_out = [
        d for d in concerned if d in site.devices and site.devices[d].admission is not Admission.ADMITTED
    ]
    verdicts = {_VERDICTS[view.relationship.status] for view in relationships}
    if shut_out:
        blocked = any(site.devices[d].admission is Admission.BLOCKED for d in shut_out)
        verdict = "denied" if blocked else "waiting"
    else:
        verdict = verdicts.pop() if len(verdicts) == 1 else "mixed" if verdicts else "unknown"
    sentences = [
        *_admissions(site, shut_out),
        *_up_to(MOST, relationships, lambda view: _relationship(site, view)),
        *_up_to(MOST, pairs, lambda view: _pair(site, view)),
        *(f"A request waits for an answer: graphwall approve {r.id}" for r in requests),
    ]
    return Why(
        site.version,
        verdict,
        tuple(sentences),
        tuple(relationships),
        tuple(map(pair, pairs)),
        tuple(requests),
        tuple(made),
    )


def _up_to(most: int, items: Collection[T], say: Callable[[T], str]) -> Iterator[str]:
    for _, item in zip(range(most), items, strict=False):
        yield say(item)
    if len(items) > most:
        yield f"… and {len(items) - most} more."


def _admissions(site: SiteView, devices: Iterable[DeviceId]) -> Iterator[str]:
    for device in devices:
        name = visible(site.devices[device].name)
        if site.devices[device].admission is Admission.BLOCKED:
            again = f"graphwall unblock {visible(device)}"
            yield f"{name} is blocked: nothing of it passes. Let it in again with: {again}"
        else:
            yield f"{name} is new and waits to be admitted: nothing of it passes."


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))


def _relationship(site: SiteView, view: RelationshipView) -> str:
    relationship = view.relationship
    text = f"{view.sentence}: "
    match relationship.status:
        case Status.LEARNED:
            text += f"learnt on {_when(relationship.first_seen)}"
        case Status.PENDING:
            reason = relationship.reason.value
            text += f"not decided yet ({reason}: {explanation(Reason(relationship.reason))[:-1]})"
        case Status.EXPIRED:
            text += "the time of its decision is over; the site manager is asked again"
        case Status.APPROVED | Status.DENIED:
            text += "allowed" if relationship.status is Status.APPROVED else "denied"
            text += _by_whom(site, relationship.decision)
            if relationship.once:
                text += ", for one message"
            elif relationship.until is not None:
                text += f", until {_when(relationship.until)}"
    return f"{text}. {relationship.allowed} let through, {relationship.refused} refused."


def _by_whom(site: SiteView, number: int | None) -> str:
    for view in site.decisions:
        if view.decision.id == number:
            made = view.decision
            force = "" if view.in_force else ", not in force yet"
            return f" by {visible(made.by)} on {_when(made.at)} (decision {made.id}{force})"
    return ""


def _pair(site: SiteView, view: PairView) -> str:
    names = [
        visible(site.devices[end].name) if end in site.devices else visible(end)
        for end in (view.client, view.server)
    ]
    force = "" if view.in_force else " (not in force yet)"
    return (
        f"From {names[0]} to {names[1]} at {view.endpoint}: {_TREATMENTS[view.treatment]}{force}; "
        f"{view.packets} packets; flow cookie {view.cookie:#x}."
    )
