"""What is learnt from observations: services, relationships, names; and when learning ends.

Knows nothing of switches or people: it changes the State, from which all else follows.
"""

from collections import OrderedDict
from dataclasses import replace
from ipaddress import ip_address

from controller.events import NameSeen, Observed, ServiceAnnounced
from controller.firewall.requests import relationship_id
from controller.firewall.state import State
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
from controller.model.service import MAIN, Admission, Certainty, Device, Place, Service
from controller.verdicts import GROUP, SetAddress, outside, remote
from controller.view import LearningView
from controller.words import explanation, sentence, visible

SERVICES_PER_DEVICE = 64
PENDING_PER_DEVICE = 500  # more questions than that by one device are one question: a scan
PENDING_FROM_OUTSIDE = 200  # questions about those outside who ask the site
LEARNT_PER_DEVICE = 5000  # relationships; what is more is asked about after learning
ENDPOINTS_PER_SERVICE = 16
REMOTES_AT_MOST = 20000
NAMES_AT_MOST = 20000  # addresses outside of which names are known
ADDRESSES_PER_NAME = 64
NAME_KEPT = 30 * 86400.0  # seconds that an address outside keeps its names after the last answer

_ASKED = frozenset({Reason.NEW_SERVICE, Reason.NEW_PARTNER, Reason.NEW_OPERATION, Reason.NEW_RESOURCE})
_KINDS = {
    53: "name server", 80: "web", 102: "S7", 123: "clock", 443: "web", 502: "Modbus", 554: "video",
    1883: "MQTT broker", 2404: "IEC 104", 3671: "KNX", 4840: "OPC UA", 5672: "AMQP broker", 5683: "CoAP",
    8883: "MQTT broker", 20000: "DNP3", 44818: "EtherNet/IP", 47808: "BACnet",
}  # fmt: skip


class Learner:
    """Turns observations into the model."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._names_until: OrderedDict[str, float] = OrderedDict()  # by address, the oldest answer first
        self._recalled = False
        if GROUP not in state.site.devices:
            state.put_device(
                Device(GROUP, 0, Place.GROUP, "everyone on the site", admission=Admission.ADMITTED)
            )

    # Observations

    def observed(self, seen: Observed, now: float) -> None:
        """Messages between two devices, already judged by the inspector."""
        state, site = self._state, self._state.site
        known = site.graph.get(seen.access)
        learnt = seen.allowed and seen.reason is Reason.LEARNING
        if known is None and (learnt or seen.reason in _ASKED) and self._floods(seen, learnt):
            state.counters[f"{'learnt' if learnt else 'questions'} beyond the limit"] += seen.count
            return
        client = self._device(seen.client, seen.client_address, now)
        server = self._device(seen.server, seen.server_address, now)
        if client is None or server is None:
            state.counters["observations of unknown devices"] += seen.count
            return
        if known is not None:
            self._again(known, seen)
        elif not learnt and self._left(seen.access, now):
            state.counters["refused: it has moved"] += seen.count
        elif learnt or (seen.reason in _ASKED and not seen.allowed):
            self._new(seen, client, server, now)
        elif seen.allowed and seen.reason is Reason.PAUSED:
            state.counters["let through while protection was paused"] += seen.count
        elif seen.allowed:
            self._covered(seen)
        else:
            state.counters[f"refused: {seen.reason.value}"] += seen.count
        if seen.consumed:
            self._consumed(seen)

    def _left(self, access: Access, now: float) -> bool:
        """Whether it is the former place of a service that has just moved; all will find it soon."""
        left = self._state.left
        return bool(left) and any(now < left.get(end, 0.0) for end in (access.client, access.server))

    def _again(self, known: Relationship, seen: Observed) -> None:
        status, reason = known.status, known.reason
        if seen.allowed and seen.reason is Reason.LEARNING:
            # What people have decided on is not learnt instead: this was judged before all had heard.
            status = after(status, Happening.LEARN if known.decision is None else Happening.ASK)
        elif not seen.allowed and seen.reason in _ASKED:
            status = after(status, Happening.ASK)
        if known.status is Status.EXPIRED and status is Status.PENDING and seen.reason in _ASKED:
            reason = seen.reason
        endpoint = known.endpoint
        if seen.allowed:
            server = self._listening(self._state.site.services[known.access.server], seen.endpoint)
            if endpoint not in server.endpoints:  # it has moved, and listens elsewhere now
                endpoint = seen.endpoint
        self._state.put(
            replace(
                known,
                status=status,
                reason=reason,
                endpoint=endpoint,
                verb=shorten(seen.verb, 40),
                last_seen=max(known.last_seen, seen.time),
                allowed=known.allowed + (seen.count if seen.allowed else 0),
                refused=known.refused + (0 if seen.allowed else seen.count),
            )
        )
        self._touch(known.access, seen.time)

    def _listening(self, service: Service, endpoint: Endpoint) -> Service:
        """The service, which was allowed to be asked at an endpoint."""
        if endpoint not in service.endpoints and len(service.endpoints) < ENDPOINTS_PER_SERVICE:
            service = replace(service, endpoints=service.endpoints | {endpoint})
            self._state.put_service(service)
        return service

    def _covered(self, seen: Observed) -> None:
        """Allowed by something wider: that is what is counted."""
        grant = self._state.table.grant(seen.access, seen.time)
        wide = self._state.site.graph.get(grant.access) if grant is not None else None
        if wide is not None:
            self._state.put(
                replace(wide, last_seen=max(wide.last_seen, seen.time), allowed=wide.allowed + seen.count)
            )
            self._touch(wide.access, seen.time)

    def _consumed(self, seen: Observed) -> None:
        """What was allowed for one message has been used, be it this access or a wider one."""
        grant = self._state.table.grant(seen.access, seen.time)
        used = self._state.site.graph.get(grant.access) if grant is not None and grant.once else None
        if used is not None:
            self._state.put(replace(used, status=after(used.status, Happening.EXPIRE), once=False))

    def _new(self, seen: Observed, client: Device, server: Device, now: float) -> None:
        state, access = self._state, seen.access
        learnt = seen.allowed
        asking = self._service(access.client, client, seen.identity or MAIN, None, seen.time)
        asked = self._service(
            access.server, server, seen.service or str(seen.endpoint), seen.endpoint, seen.time, learnt
        )
        if asking is None or asked is None:
            state.counters["services beyond the limit"] += seen.count
            return
        if learnt:
            self._listening(asked, seen.endpoint)
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
            state.put_service(replace(newest, last_new=seen.time, last_seen=seen.time))
        words = sentence(access, client, server)
        if learnt:
            state.note(
                "learnt", words.replace(" wants to ", " may ", 1), now, subject=relationship_id(access)
            )
            self._widen(access)
        else:
            text = f"{words}. {explanation(seen.reason)}"
            state.note("asked", text, now, subject=relationship_id(access))

    def _floods(self, seen: Observed, learnt: bool) -> bool:
        """Whether the asking device has had its share; asked before anything is made of a message."""
        site = self._state.site
        if learnt:
            return sum(map(site.graph.asked_by, site.services_on(seen.client))) >= LEARNT_PER_DEVICE
        if seen.client.startswith("@"):
            return site.asked_from_outside >= PENDING_FROM_OUTSIDE
        return sum(site.asked_by[service] for service in site.services_on(seen.client)) >= PENDING_PER_DEVICE

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
        """An address without a name is its own vertex."""
        nameless = name == remote(address) and not self._state.table.names_of(address)
        return frozenset({address}) if nameless else frozenset()

    def _service(
        self,
        name: ServiceId,
        device: Device,
        own_name: str,
        endpoint: Endpoint | None,
        time: float,
        listens: bool = True,
    ) -> Service | None:
        """The service, made known if it is not; None when its device has too many.

        `listens`: it is known to be there. A denied attempt shows only that somebody has looked for it,
        and must not make the next handshake one to a known service.
        """
        site = self._state.site
        service = site.services.get(name)
        endpoints = frozenset({endpoint}) if endpoint is not None and listens else frozenset()
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
        return service

    def named(self, event: NameSeen, now: float) -> None:
        """A name server has told the address of a name; it is believed if site.yaml says that it is one."""
        teller = self._state.site.by_address(event.server) if event.server else None
        if event.server and (teller is None or "dns" not in teller.roles):
            self._state.counters["names told by strangers"] += 1
            return
        try:
            event = replace(event, address=str(ip_address(event.address)))
        except ValueError:
            return
        table, site = self._state.table, self._state.site
        delta = table.named(event.address, event.name, keep_nameless=self._relied_on(event.address))
        if event.address in self._names_until or delta is not None:
            self._names_until[event.address] = now + max(event.ttl, NAME_KEPT)
            self._names_until.move_to_end(event.address)
        if delta is None:
            return
        nameless = site.devices.get(remote(event.address))
        if nameless is not None and nameless.id not in delta.devices:
            self._state.put_device(replace(nameless, addresses=frozenset()))
        self._hold(delta)
        mine = table.addresses_of(outside(event.name))
        if len(mine) > ADDRESSES_PER_NAME:
            oldest = min(mine, key=lambda address: self._names_until.get(address, 0.0))
            left = tuple(d for d in table.names_of(oldest) if d != outside(event.name))
            self._hold(SetAddress(oldest, left))
        while len(self._names_until) > NAMES_AT_MOST:
            self._hold(SetAddress(self._names_until.popitem(last=False)[0], ()))

    def _relied_on(self, address: str) -> bool:
        """Whether something is allowed with an address outside as such, without a name.

        Then it stays so: names can be given to any address by whoever asks for his own.
        """
        graph = self._state.site.graph
        services = self._state.site.services_on(remote(address))
        return any(r.status.allows for service in services for r in graph.of(service))

    def _hold(self, delta: SetAddress) -> None:
        """Give an address outside to those names, in the table and in the model."""
        before = self._state.table.names_of(delta.address)
        self._state.tell(delta)
        for name in {*before, *delta.devices}:
            device = self._state.site.devices.get(name)
            if device is not None:
                addresses = device.addresses - {delta.address}
                if name in delta.devices:
                    addresses |= {delta.address}
                if addresses != device.addresses:
                    self._state.put_device(replace(device, addresses=addresses))

    def _forget_names(self, now: float) -> None:
        if not self._recalled:  # what was known before the start is kept as long as if it had come now
            self._recalled = True
            for device in self._state.site.devices.values():
                if device.place is Place.REMOTE:
                    for address in sorted(device.addresses):
                        self._names_until.setdefault(address, now + NAME_KEPT)
        while self._names_until and now >= next(iter(self._names_until.values())):
            self._hold(SetAddress(self._names_until.popitem(last=False)[0], ()))

    def announced(self, event: ServiceAnnounced, now: float) -> None:
        """A device has told where it listens: a service that others may open a connection to.

        That allows nothing yet: what they ask for is still judged.
        """
        device = self._state.site.devices.get(event.device)
        if device is None or device.admission is not Admission.ADMITTED:
            return
        listening = [
            service
            for service in map(self._state.site.services.__getitem__, self._state.site.services_on(device.id))
            if event.endpoint in service.endpoints
        ]
        if not listening:
            name = ServiceId(f"{device.id}/{event.endpoint}")
            found = self._service(name, device, str(event.endpoint), event.endpoint, now)
            listening = [] if found is None else [found]
        for service in listening:
            if service.own_name == str(event.endpoint) and not service.named_by_manager:
                self._state.put_service(
                    replace(service, name=visible(event.name), certainty=Certainty.ANNOUNCED)
                )

    # The end of learning

    def tick(self, now: float) -> None:
        """Graduate every service whose learning phase is over."""
        self._forget_names(now)
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
        state.put_service(replace(service, learning=False, graduated=now))
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
