"""What is learnt from observations: services, relationships, names; and when learning ends.

Knows nothing of switches or people: it changes the State, from which all else follows.
"""

from dataclasses import replace
from ipaddress import ip_address

from controller.events import NameSeen, Observed, ServiceAnnounced
from controller.model.relationship import (
    Access,
    DeviceId,
    Endpoint,
    Happening,
    Reason,
    Relationship,
    ServiceId,
    Status,
    after,
)
from controller.model.resource import COUNTER_AT, shorten, widen
from controller.model.service import MAIN, Admission, Device, Place, Service
from controller.requests import relationship_id
from controller.state import State
from controller.verdicts import GROUP
from controller.view import LearningView
from controller.words import explanation, sentence, visible

SERVICES_PER_DEVICE = 64
PENDING_PER_DEVICE = 500  # more questions than that by one device are one question: a scan
REMOTES_AT_MOST = 20000
NAME_KEPT = 86400.0  # seconds that an address outside keeps its name after the last answer

_ASKED = frozenset({Reason.NEW_SERVICE, Reason.NEW_PARTNER, Reason.NEW_OPERATION, Reason.NEW_RESOURCE})
_KINDS = {
    53: "name server", 80: "web", 123: "clock", 443: "web", 502: "Modbus", 1883: "MQTT broker",
    5683: "CoAP", 8883: "MQTT broker",
}  # fmt: skip


class Learner:
    """Turns observations into the model."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._names_until: dict[str, float] = {}
        if GROUP not in state.site.devices:
            state.put_device(
                Device(GROUP, 0, Place.GROUP, "everyone on the site", admission=Admission.ADMITTED)
            )

    # Observations

    def observed(self, seen: Observed, now: float) -> None:
        """Messages between two devices, already judged by the inspector."""
        state, site = self._state, self._state.site
        client = self._device(seen.client, seen.client_address, now)
        server = self._device(seen.server, seen.server_address, now)
        if client is None or server is None:
            state.counters["observations of unknown devices"] += seen.count
            return
        known = site.graph.get(seen.access)
        if known is not None:
            self._again(known, seen)
        elif seen.allowed and seen.reason is not Reason.LEARNING:
            self._covered(seen)
        elif seen.reason is Reason.LEARNING or seen.reason in _ASKED:
            self._new(seen, client, server, now)
        else:
            state.counters[f"refused: {seen.reason.value}"] += seen.count

    def _again(self, known: Relationship, seen: Observed) -> None:
        happening = Happening.LEARN if seen.reason is Reason.LEARNING and seen.allowed else Happening.ASK
        if seen.consumed and known.once:
            happening = Happening.EXPIRE
        status = after(known.status, happening)
        reason = known.reason
        if known.status is Status.EXPIRED and status is Status.PENDING:
            reason = seen.reason
        endpoint = known.endpoint
        server = self._state.site.services[known.access.server]
        if seen.allowed and endpoint not in server.endpoints:  # it has moved, and listens elsewhere now
            endpoint = seen.endpoint
            self._state.put_service(replace(server, endpoints=server.endpoints | {endpoint}))
        self._state.put(
            replace(
                known,
                status=status,
                reason=reason,
                endpoint=endpoint,
                verb=seen.verb,
                last_seen=max(known.last_seen, seen.time),
                allowed=known.allowed + (seen.count if seen.allowed else 0),
                refused=known.refused + (0 if seen.allowed else seen.count),
                once=known.once and not seen.consumed,
            )
        )
        self._touch(known.access, seen.time)

    def _covered(self, seen: Observed) -> None:
        """Allowed by something wider: that is what is counted."""
        grant = self._state.table.grant(seen.access, seen.time)
        wide = self._state.site.graph.get(grant.access) if grant is not None else None
        if wide is not None:
            self._state.put(
                replace(wide, last_seen=max(wide.last_seen, seen.time), allowed=wide.allowed + seen.count)
            )
            self._touch(wide.access, seen.time)

    def _new(self, seen: Observed, client: Device, server: Device, now: float) -> None:
        state, access = self._state, seen.access
        learnt = seen.reason is Reason.LEARNING and seen.allowed
        if not learnt and self._floods(client):
            state.counters["questions beyond the limit"] += seen.count
            return
        asking = self._service(access.client, client, seen.identity or MAIN, None, seen.time)
        asked = self._service(
            access.server, server, seen.service or str(seen.endpoint), seen.endpoint, seen.time
        )
        if asking is None or asked is None:
            state.counters["services beyond the limit"] += seen.count
            return
        state.put(
            Relationship(
                access=access,
                status=after(None, Happening.LEARN if learnt else Happening.ASK),
                reason=seen.reason,
                endpoint=seen.endpoint,
                verb=shorten(seen.verb, 40),
                first_seen=seen.time,
                last_seen=seen.time,
                allowed=seen.count if seen.allowed else 0,
                refused=0 if seen.allowed else seen.count,
            )
        )
        for service in (asking, asked):
            newest = state.site.services[service.id]
            state.put_service(
                replace(newest, last_new=seen.time if learnt else newest.last_new, last_seen=seen.time)
            )
        words = sentence(access, client, server)
        if learnt:
            state.note("learnt", words.replace(" wants to ", " may "), now, subject=relationship_id(access))
            self._widen(access)
        else:
            text = f"{words}. {explanation(seen.reason)}"
            state.note("asked", text, now, subject=relationship_id(access))

    def _floods(self, client: Device) -> bool:
        mine = self._state.site.services_on(client.id)
        return sum(access.client in mine for access in self._state.site.pending) >= PENDING_PER_DEVICE

    def _widen(self, access: Access) -> None:
        """Different numbers in the same place are a counter (resource.py, rule 3)."""
        wide = widen(access.protocol, access.resource)
        if wide == access.resource:
            return
        alike = [
            r
            for r in self._state.site.graph.between(access.client, access.server)
            if (r.access.protocol, r.access.operation) == (access.protocol, access.operation)
            and r.status is Status.LEARNED
            and widen(access.protocol, r.access.resource) == wide
        ]
        if len(alike) < COUNTER_AT:
            return
        newest = max(alike, key=lambda r: r.last_seen)
        self._state.put(
            replace(
                newest,
                access=replace(access, resource=wide),
                first_seen=min(r.first_seen for r in alike),
                allowed=sum(r.allowed for r in alike),
            )
        )
        for r in alike:
            if r.access.resource != wide:
                self._state.remove(r.access)

    def _touch(self, access: Access, time: float) -> None:
        for name in (access.client, access.server):
            service = self._state.site.services.get(name)
            if service is not None and time - service.last_seen > 1.0:
                self._state.put_service(replace(service, last_seen=time))

    # Vertices

    def _device(self, name: DeviceId, address: str, now: float) -> Device | None:
        site = self._state.site
        device = site.devices.get(name)
        if device is not None or not name.startswith("@"):
            return device
        if len(site.devices) >= REMOTES_AT_MOST:
            return None
        device = Device(
            id=name,
            number=site.next_number(),
            place=Place.REMOTE,
            name=visible(name[1:]),
            addresses=self._state.table.addresses_of(name) or self._alone(name, address),
            admission=Admission.ADMITTED,
            first_seen=now,
            last_seen=now,
        )
        self._state.put_device(device)
        return device

    def _alone(self, name: DeviceId, address: str) -> frozenset[str]:
        """An address without a name is its own vertex; one that several names share is nobody's."""
        return frozenset({address}) if name == f"@{address}" else frozenset()

    def _service(
        self, name: ServiceId, device: Device, own_name: str, endpoint: Endpoint | None, time: float
    ) -> Service | None:
        """The service, made known if it is not; None when its device has too many."""
        site = self._state.site
        service = site.services.get(name)
        endpoints = frozenset() if endpoint is None else frozenset({endpoint})
        if service is None:
            if device.place is Place.SITE and len(site.services_on(device.id)) >= SERVICES_PER_DEVICE:
                return None
            if own_name == MAIN:
                title = device.name
            elif endpoint is not None and own_name == str(endpoint):
                title = _KINDS.get(endpoint.port, f"{endpoint.transport.upper()} port {endpoint.port}")
            else:
                title = visible(own_name)
            service = Service(
                id=name,
                device=device.id,
                own_name=name.split("/", 1)[1],
                name=title,
                kind=device.kind,
                endpoints=endpoints,
                learning=device.young,
                learning_since=time if device.young else None,
                last_new=time,
                first_seen=time,
                last_seen=time,
            )
            self._state.put_service(service)
        elif not endpoints <= service.endpoints:
            service = replace(service, endpoints=service.endpoints | endpoints)
            self._state.put_service(service)
        return service

    def named(self, event: NameSeen, now: float) -> None:
        """The site's name server has told the address of a name."""
        try:
            ip_address(event.address)
        except ValueError:
            return
        self._names_until[event.address] = now + max(event.ttl, NAME_KEPT)
        delta = self._state.table.named(event.address, event.name)
        if delta is None:
            return
        self._state.tell(delta)
        for name in delta.devices:
            device = self._state.site.devices.get(name)
            if device is not None:
                self._state.put_device(replace(device, addresses=self._state.table.addresses_of(name)))

    def announced(self, event: ServiceAnnounced) -> None:
        """A device has told how its service is called: a better name for people, nothing more."""
        for name in self._state.site.services_on(event.device):
            service = self._state.site.services[name]
            if event.endpoint in service.endpoints and not service.named_by_manager:
                self._state.put_service(replace(service, name=visible(event.name)))

    # The end of learning

    def tick(self, now: float) -> None:
        """Graduate every service whose learning phase is over."""
        for name in list(self._state.site.learning):
            service = self._state.site.services[name]
            progress = self.progress(service)
            if progress is not None and now >= progress.ends_at_latest:
                self.graduate(service, now, "its time is over")
            elif progress is not None and now >= self.ends_if_quiet(service):
                self.graduate(service, now, "nothing new has come for a while")

    def graduate(self, service: Service, now: float, why: str, by: str = "") -> None:
        """End a learning phase; from now on new services on that device are asked about."""
        state = self._state
        state.put_service(replace(service, learning=False))
        device = state.site.devices[service.device]
        if device.young:
            state.put_device(replace(device, young=False))
        known = sum(1 for _ in state.site.graph.of(service.id))
        text = f"{visible(service.name)} has finished learning: {why}; {known} relationships known"
        state.note("graduated", text, now, by=by, subject=service.id)

    def ends_if_quiet(self, service: Service) -> float:
        """When a learning phase ends if nothing new comes."""
        times = self._state.config.learning
        since = service.learning_since or service.first_seen
        return max(since + times.minimum, (service.last_new or since) + times.quiet)

    def progress(self, service: Service) -> LearningView | None:
        """How far a service's learning phase is; None when it is not learning."""
        if not service.learning:
            return None
        since = service.learning_since or service.first_seen
        latest = since + self._state.config.learning.maximum
        quiet = service.last_new or since
        end = min(latest, self.ends_if_quiet(service))
        newest = max(service.last_seen, quiet)
        done = (newest - since) / (end - since) if end > since else 1.0
        return LearningView(min(max(done, 0.0), 1.0), latest, quiet)
