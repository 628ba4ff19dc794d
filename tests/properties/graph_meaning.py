"""What the communication graph says of a message, said once more: laws 3 and 4 hold the rest against it.

Reads devices, services and relationships only; nothing is shared with the verdict table.
"""

import re
from collections.abc import Iterator
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
SHORT_NUMBER = re.compile(r"\d{1,4}")


@dataclass(frozen=True)
class Question:
    """A message of one device to another, as it leaves its sender."""

    client: DeviceId
    server: DeviceId
    endpoint: Endpoint
    message: Message


class Graph:
    """A site, to be asked."""

    def __init__(self, site: Site) -> None:
        self.site = site

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

    def _on(self, device: DeviceId) -> Iterator[Service]:
        return (service for service in self.site.services.values() if service.device == device)

    def _granted(self, question: Question, now: float) -> bool:
        access = self.access(question)
        decided = self.decided(access, now)
        if decided is not None:
            return DECIDED[decided.status]
        if self._knows_all(access.client, question.client) and self._knows_all(
            access.server, question.server
        ):
            return True
        ends = (self.site.devices.get(name) for name in (question.client, question.server))
        return any(d is not None and d.paused_until is not None and now < d.paused_until for d in ends)

    def decided(self, access: Access, now: float) -> Relationship | None:
        """The most specific thing that was learnt or decided and still holds."""
        between = [
            r
            for r in self.site.graph
            if (r.access.client, r.access.server) == (access.client, access.server)
            and r.status in DECIDED
            and (r.until is None or now < r.until)
        ]
        counted = "/".join("{number}" if SHORT_NUMBER.fullmatch(p) else p for p in access.resource.split("/"))
        for protocol, operation, resource in (
            (access.protocol, access.operation, access.resource),
            (access.protocol, access.operation, counted),
            (access.protocol, access.operation, ANY),
            (access.protocol, ANY, ANY),
            (ANY, ANY, ANY),
        ):
            for r in between:
                if (r.access.protocol, r.access.operation, r.access.resource) == (
                    protocol,
                    operation,
                    resource,
                ):
                    return r
        return None

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
            for r in self.site.graph
            if r.access.client in mine
            and r.access.server in theirs
            and (
                r.access.protocol == ANY
                or r.endpoint == question.endpoint
                or question.endpoint in self.site.services[r.access.server].endpoints
            )
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
