"""What the communication graph says of a message, said once more: laws 3 and 4 hold the rest against it.

Reads devices, services and relationships only; nothing is shared with the verdict table.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from controller.dpi.message import Message
from controller.model.relationship import (
    ANY,
    Access,
    DeviceId,
    Endpoint,
    Relationship,
    ServiceId,
    Status,
)
from controller.model.resource import generalise
from controller.model.service import Admission, Place, Service
from controller.model.site import Site

DECIDED = {Status.LEARNED: True, Status.APPROVED: True, Status.DENIED: False}
Asked = tuple[str, str, str]  # protocol, operation, resource
SHORT_NUMBER = re.compile(r"\d{1,4}")


@dataclass(frozen=True)
class Question:
    """A message of one device to another, as it leaves its sender."""

    client: DeviceId
    server: DeviceId
    endpoint: Endpoint
    message: Message


class Graph:
    """A site as it is at this moment, to be asked."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._services: defaultdict[DeviceId, list[Service]] = defaultdict(list)
        for service in site.services.values():
            self._services[service.device].append(service)
        self._between: defaultdict[tuple[ServiceId, ServiceId], dict[Asked, Relationship]] = defaultdict(dict)
        for r in site.graph:
            asked = (r.access.protocol, str(r.access.operation), r.access.resource)
            self._between[r.access.client, r.access.server][asked] = r

    def allows(self, question: Question, now: float) -> bool:
        """Whether a message may be delivered."""
        for name in (question.client, question.server):
            device = self.site.devices.get(name)
            if device is None and not name.startswith("@"):
                return False
            if device is not None and device.admission is not Admission.ADMITTED:
                return False
        if question.client.startswith("@") and question.server.startswith("@"):
            return False
        return self._granted(question, now) or self.as_a_whole(question)

    def access(self, question: Question) -> Access:
        message = question.message
        return Access(
            self._service(question.client, message.identity or "main"),
            self._service(question.server, message.service or str(question.endpoint)),
            message.protocol,
            message.operation,
            generalise(message.protocol, message.resource),
        )

    def _service(self, device: DeviceId, own_name: str) -> ServiceId:
        for service in self._on(device):
            if service.own_name == own_name:
                return service.id
        name = ServiceId(f"{device}/{own_name}")
        known = self.site.services.get(name)
        return name if known is None or known.device == device else ServiceId(f"{name}~left")

    def _on(self, device: DeviceId) -> Sequence[Service]:
        return self._services.get(device, ())

    def _granted(self, question: Question, now: float) -> bool:
        access = self.access(question)
        decided = self.decided(access, now)
        if decided is not None:
            return DECIDED[decided.status]
        over = any(r.decision is not None for r in self._on_it(access))  # people are asked, whoever learns
        if (
            not over
            and self._knows_all(access.client, question.client)
            and self._knows_all(access.server, question.server)
        ):
            return True
        ends = (self.site.devices.get(name) for name in (question.client, question.server))
        return any(d is not None and d.paused_until is not None and now < d.paused_until for d in ends)

    def decided(self, access: Access, now: float) -> Relationship | None:
        """The most specific thing that was learnt or decided and still holds."""
        for r in self._on_it(access):
            if r.status in DECIDED and (r.until is None or now < r.until):
                return r
        return None

    def _on_it(self, access: Access) -> Iterator[Relationship]:
        """What the graph has on an access, the most specific first."""
        between = self._between.get((access.client, access.server))
        if not between:
            return
        counted = "/".join("{number}" if SHORT_NUMBER.fullmatch(p) else p for p in access.resource.split("/"))
        for wanted in dict.fromkeys(
            (
                (access.protocol, access.operation, access.resource),
                (access.protocol, access.operation, counted),
                (access.protocol, access.operation, ANY),
                (access.protocol, ANY, ANY),
                (ANY, ANY, ANY),
            )
        ):
            if wanted in between:
                yield between[wanted]

    def _knows_all(self, service: ServiceId, device: DeviceId) -> bool:
        """Whether an end is learning, or outside."""
        place = self.site.devices.get(device)
        if device.startswith("@") or (place is not None and place.place is not Place.SITE):
            return True
        known = self.site.services.get(service)
        if known is None:
            return place is not None and place.young
        return known.device == device and known.learning

    def as_a_whole(self, question: Question) -> bool:
        """Whether the two devices may do anything at this endpoint, so that nobody reads what it is."""
        mine = [service.id for service in self._on(question.client)]
        theirs = {service.id for service in self._on(question.server)}
        between = [
            r
            for client in mine
            for server in theirs
            for r in self._between.get((client, server), {}).values()
            if r.access.protocol == ANY
            or r.endpoint == question.endpoint
            or question.endpoint in self.site.services[server].endpoints
        ]
        behind = {s for s in theirs if question.endpoint in self.site.services[s].endpoints}
        behind |= {r.access.server for r in between}
        if not between or any(r.status not in (Status.LEARNED, Status.APPROVED) for r in between):
            return False
        whole = {
            (r.access.client, r.access.server)
            for r in between
            if r.access.protocol == ANY and r.until is None and not r.once
        }
        return bool(whole) and whole >= {(client, server) for client in mine for server in behind}
