"""What can be asked: every route that changes nothing.

Each answer is made from one snapshot of the site, so that its parts fit together. The routes are no
coroutines: FastAPI runs them in threads, as a snapshot may have to be waited for.
"""

from collections import Counter
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from starlette.responses import StreamingResponse

from controller.events import Verify
from controller.model.relationship import ServiceId
from controller.model.service import Admission, Place
from controller.view import DecisionView, SiteView, SwitchView
from controller.web import metrics, why
from controller.web.asking import AnAsker
from controller.web.changes import Changes
from controller.web.installed import installed
from controller.web.looking import for_asker, looking_at, page
from controller.web.mediated import mediated
from controller.web.members import Members
from controller.web.review import review
from controller.web.site import ApiError, History, Site
from controller.web.values import (
    Decisions,
    Devices,
    Flows,
    Graph,
    Health,
    Log,
    LogEntry,
    OneService,
    Pairs,
    Requests,
    Review,
    Services,
    Status,
    Switches,
    Verified,
    Why,
    checked,
    pair,
    switch_name,
    to_json,
)
from controller.words import infrastructure, visible

Limit = Annotated[int | None, Query(ge=1, le=1000, description="at most so many")]
After = Annotated[str | None, Query(description="'next' of the page before")]


def shown(value: object) -> Response:
    return Response(to_json(value), media_type="application/json")


def _the_switch(view: SiteView, wanted: str) -> SwitchView:
    found = switch_name(view, wanted)
    if found is None:
        names = ", ".join(switch.name for switch in view.switches) or "none is known yet"
        raise ApiError(404, "not found", f"there is no switch {visible(wanted)}", f"the switches: {names}")
    return found


def _graph(view: SiteView, switch: str | None, with_mediated: bool) -> Graph:
    relationships = tuple(view.relationships.values())
    services = tuple(view.services.values())
    devices = tuple(view.devices.values())
    if switch is not None:
        number = _the_switch(view, switch).switch
        relationships = tuple(edge for edge in relationships if number in edge.switches)
        ends = {end for edge in relationships for end in (edge.client_device, edge.server_device)}
        devices = tuple(
            device
            for device in devices
            if device.id in ends or (device.binding is not None and device.binding.switch == number)
        )
        there = {device.id for device in devices}
        services = tuple(service for service in services if service.service.device in there)
    return Graph(
        view.version,
        view.time,
        view.site,
        switch,
        devices,
        services,
        relationships,
        tuple(device.id for device in devices if infrastructure(device)),
        mediated(view) if with_mediated else None,
    )


def _status(view: SiteView) -> Status:
    return Status(
        version=view.version,
        time=view.time,
        site=view.site,
        inspector=view.inspector,
        switches={switch.name: switch.connected for switch in view.switches},
        devices=sum(device.place is Place.SITE for device in view.devices.values()),
        waiting_devices=sum(device.admission is Admission.NEW for device in view.devices.values()),
        services=len(view.services),
        learning_services=sum(one.service.learning for one in view.services.values()),
        requests=len(view.requests),
        relationships=dict(Counter(edge.relationship.status.value for edge in view.relationships.values())),
        pairs=dict(Counter(one.treatment.value for one in view.pairs)),
        counters=view.counters,
        paused={device.id: device.paused_until for device in view.devices.values() if device.paused_until},
    )


def reading(site: Site, history: History, changes: Changes, members: Members) -> APIRouter:
    """The routes below /api/v1."""
    router = APIRouter(tags=["reading"], responses={304: {"description": "as the ETag says, nothing is new"}})
    look = looking_at(site)

    @router.get("/status", response_model=Status)
    def status(view: Annotated[SiteView, Depends(look)]) -> Response:
        """The site in numbers."""
        return shown(_status(view))

    @router.get("/graph", response_model=Graph)
    def graph(
        view: Annotated[SiteView, Depends(look)],
        switch: Annotated[str | None, Query(description="name or datapath id of one switch")] = None,
        mediated: Annotated[bool, Query(description="with who hears whom through a broker")] = False,
    ) -> Response:
        """Devices, services and relationships: the communication graph."""
        return shown(_graph(view, switch, mediated))

    @router.get("/requests", response_model=Requests)
    def requests(
        view: Annotated[SiteView, Depends(look)], limit: Limit = None, after: After = None
    ) -> Response:
        """What waits for the site manager's answer."""
        found, further = page(view.requests, lambda one: one.id, limit, after)
        return shown(Requests(view.version, found, further))

    @router.get("/decisions", response_model=Decisions)
    def decisions(
        view: Annotated[SiteView, Depends(look)], limit: Limit = None, after: After = None
    ) -> Response:
        """What was decided, and whether it is in force."""
        found, further = page(view.decisions, lambda one: str(one.decision.id), limit, after)
        return shown(Decisions(view.version, found, further))

    @router.get("/decisions/{number}", response_model=DecisionView)
    def decision(view: Annotated[SiteView, Depends(look)], number: int) -> Response:
        """One decision, whether it is in force, and how often it was made use of."""
        found = next((one for one in view.decisions if one.decision.id == number), None)
        if found is None:
            raise ApiError(404, "not found", f"there is no decision {number}", "see 'graphwall log'")
        return shown(found)

    @router.get("/services", response_model=Services)
    def services(
        view: Annotated[SiteView, Depends(look)], limit: Limit = None, after: After = None
    ) -> Response:
        """Every service with its device and learning phase."""
        found, further = page(tuple(view.services.values()), lambda one: one.service.id, limit, after)
        return shown(Services(view.version, found, further))

    @router.get("/services/{name:path}/review", response_model=Review)
    def review_of(view: Annotated[SiteView, Depends(look)], name: str) -> Response:
        """What a service has learnt, and what of it deserves a look, the riskiest first."""
        return shown(review(view, ServiceId(name)))

    @router.get("/services/{name:path}", response_model=OneService)
    def service(view: Annotated[SiteView, Depends(look)], name: str) -> Response:
        """One service with what it does and what is asked about it."""
        found = view.services.get(ServiceId(name))
        if found is None:
            raise ApiError(
                404,
                "not found",
                f"there is no service {visible(name)}",
                "see 'graphwall services' for the ids",
            )
        edges = tuple(
            edge
            for edge in view.relationships.values()
            if name in (edge.relationship.access.client, edge.relationship.access.server)
        )
        ids = {edge.id for edge in edges}
        asked = tuple(request for request in view.requests if not ids.isdisjoint(request.relationships))
        return shown(OneService(view.version, found, edges, asked))

    @router.get("/devices", response_model=Devices)
    def devices(
        view: Annotated[SiteView, Depends(look)], limit: Limit = None, after: After = None
    ) -> Response:
        """Every device, those outside included."""
        found, further = page(tuple(view.devices.values()), lambda one: one.id, limit, after)
        return shown(Devices(view.version, found, further))

    @router.get("/switches", response_model=Switches)
    def switches(view: Annotated[SiteView, Depends(look)]) -> Response:
        """Every switch with its ports and links."""
        return shown(Switches(view.version, view.switches))

    @router.get("/verify", response_model=Verified)
    def verify() -> Response:
        """Read the flows back from every switch and compare them with the model."""
        checks = tuple(map(checked, site.call(Verify(0)).checks))
        equal = bool(checks) and all(check.read and not check.differing for check in checks)
        return shown(Verified(equal, checks))

    @router.get("/pairs", response_model=Pairs)
    def pairs(view: Annotated[SiteView, Depends(look)], limit: Limit = None, after: After = None) -> Response:
        """What the switches do between two devices: forward, drop, inspect or watch."""
        found, further = page(tuple(map(pair, view.pairs)), lambda one: one.cookie, limit, after)
        return shown(Pairs(view.version, found, further))

    @router.get("/relationships/{name}/flows", response_model=Flows)
    def flows(view: Annotated[SiteView, Depends(look)], name: str) -> Response:
        """The flows that carry out what is decided on a relationship, with their counters."""
        edge = view.relationships.get(name)
        if edge is None:
            text = f"there is no relationship {visible(name)}"
            raise ApiError(404, "not found", text, "see 'graphwall graph' for the ids")
        names = {switch.switch: switch.name for switch in view.switches}
        ends = (edge.client_device, edge.server_device, edge.relationship.endpoint)
        found = [
            flow for one in view.pairs if (one.client, one.server, one.endpoint) == ends for flow in one.flows
        ]
        listed = (installed(flow, names.get(flow.switch, str(flow.switch))) for flow in found)
        return shown(Flows(view.version, name, tuple(listed)))

    @router.get("/log", response_model=Log)
    def log(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: Annotated[int | None, Query(ge=0, lt=2**63, description="'next' of the page before")] = None,
    ) -> Response:
        """The log, newest first, page by page."""
        lines = history.audit(limit, before)
        entries = tuple(
            LogEntry(
                line.number,
                line.entry.at,
                line.entry.event,
                line.entry.by,
                line.entry.text,
                line.entry.subject,
            )
            for line in lines
        )
        return shown(Log(entries, entries[-1].number if len(entries) == limit else None))

    @router.get("/why", response_model=Why)
    def why_is_it(
        view: Annotated[SiteView, Depends(look)],
        about: Annotated[
            str | None, Query(alias="id", description="of a relationship, request, decision, or cookie 0x…")
        ] = None,
        client: Annotated[str | None, Query(description="id, name or address of the asking end")] = None,
        server: Annotated[str | None, Query(description="id, name or address of the asked end")] = None,
        port: Annotated[str | None, Query(description='"80" or "udp-5683"')] = None,
    ) -> Response:
        """Why something is allowed or not, in sentences and with everything that they are made from."""
        if about is not None and client is None and server is None:
            return shown(why.about(view, about))
        if about is None and client is not None and server is not None:
            return shown(why.between(view, client, server, port))
        raise ApiError(
            422, "incomplete", "why needs an id, or a client and a server", "give one or the other"
        )

    @router.get(
        "/events",
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {}}, "description": "server-sent events"}},
    )
    async def events(
        asker: AnAsker,
        graph: Annotated[bool, Query(description="also tell the graph, and then its changes")] = False,
    ) -> StreamingResponse:
        """Server-sent events, each with JSON as its data.

        `version`: read again what is shown; `request` (as in /requests); `request-closed` {id}; `decision`,
        `in-force` (as in /decisions); `seen` {relationships: {id: messages since the last time}};
        `learning` {service, progress, ends_at_latest} or {service, ended}; `pause` {device, until};
        `graph`: with `graph=1`, first all of it, then what has changed.
        """

        def still(view: SiteView) -> SiteView | None:
            known = members.newest(asker)
            if known is None or known.role is not asker.role:  # who may do more or less now asks anew
                return None
            return for_asker(view, known)

        stream: AsyncIterator[bytes] = changes.listen(still, graph)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    return router


def plain(site: Site) -> APIRouter:
    """What programs expect at the top: /healthz and /metrics."""
    router = APIRouter(tags=["operation"])

    @router.get("/healthz", response_model=Health)
    def healthz() -> Response:
        """Whether the controller answers; the only route that needs no token."""
        site.snapshot()
        return shown(Health("ok"))

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}, "description": "as Prometheus reads it"}},
    )
    def numbers() -> Response:
        """The site for Prometheus."""
        return Response(metrics.render(site.snapshot()), media_type=metrics.MEDIA_TYPE)

    return router
