"""What came of a recording, counted: what passed, what was denied and why, and how the site looks now.

Knows nothing of how it was found out, nor of files and terminals. Times are those of the recording.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from controller.events import AuditEntry, FromInspector, Observed
from controller.model.relationship import Relationship
from controller.model.service import Admission, Device, Place
from controller.view import SiteView
from controller.words import visible

Json = dict[str, Any]


def observation(event: FromInspector, where: Mapping[str, object]) -> Json | None:
    """One line of the stream for what the inspector has reported; None for what is about no message.

    `count`: so many messages of this kind since they were last reported.
    """
    if not isinstance(event, Observed):
        return None
    access = event.access
    return {
        "kind": "messages",
        **where,
        "time": event.time,
        "client": access.client,
        "server": access.server,
        "client_address": event.client_address,
        "server_address": event.server_address,
        "endpoint": str(event.endpoint),
        "protocol": access.protocol,
        "verb": event.verb,
        "operation": str(access.operation),
        "resource": access.resource,
        "identity": event.identity,
        "allowed": event.allowed,
        "reason": event.reason.value,
        "count": event.count,
    }


def entry(line: AuditEntry, where: Mapping[str, object]) -> Json:
    """One line of the stream for a line of the firewall's log."""
    return {"kind": line.event, **where, "time": line.at, "subject": line.subject, "text": line.text}


class Findings:
    """Reports in, a summary out."""

    def __init__(self) -> None:
        self.allowed: Counter[str] = Counter()  # messages by reason
        self.denied: Counter[str] = Counter()
        self.labelled: Counter[tuple[str, bool]] = Counter()  # by the log's own label, and whether allowed

    def hear(self, event: FromInspector) -> None:
        if isinstance(event, Observed):
            (self.allowed if event.allowed else self.denied)[event.reason.value] += event.count

    def summary(self, view: SiteView, unread: Mapping[str, int]) -> Json:
        """All that is to be said at the end; `unread`: frames that nobody judged, by what kept them."""
        devices = view.devices
        shown = [d for d in devices.values() if d.place is not Place.GROUP]
        return {
            "kind": "summary",
            "site": view.site,
            "time": view.time,
            "messages": {"allowed": sum(self.allowed.values()), "denied": sum(self.denied.values())},
            "allowed": dict(self.allowed.most_common()),
            "denied": dict(self.denied.most_common()),
            "labelled": _labelled(self.labelled),
            "not_judged": {what: count for what, count in unread.items() if count},
            "devices": [_device(device) for device in sorted(shown, key=lambda d: d.number)],
            "services": [
                {
                    "id": found.service.id,
                    "name": found.service.name,
                    "device": found.device.id,
                    "endpoints": sorted(map(str, found.service.endpoints)),
                    "learning": found.service.learning,
                    "relationships": found.relationships,
                }
                for found in view.services.values()
            ],
            "relationships": [
                {"id": found.id, "sentence": found.sentence, **_relationship(found.relationship)}
                for found in view.relationships.values()
            ],
            "requests": [
                {
                    "id": request.id,
                    "sentence": request.sentence,
                    "reason": request.reason,
                    "risk": request.risk,
                    "questions": list(request.questions),
                    "attempts": request.attempts,
                    "first_seen": request.first_seen,
                }
                for request in view.requests
            ],
        }


def _labelled(counted: Counter[tuple[str, bool]]) -> Json:
    labels = sorted({label for label, _ in counted})
    return {label: {"allowed": counted[label, True], "denied": counted[label, False]} for label in labels}


def _device(device: Device) -> Json:
    return {
        "id": device.id,
        "name": visible(device.name),
        "mac": device.mac,
        "addresses": sorted(device.addresses),
        "roles": sorted(device.roles),
        "outside": device.place is Place.REMOTE,
        "admitted": device.admission is Admission.ADMITTED,
    }


def _relationship(relationship: Relationship) -> Json:
    access = relationship.access
    return {
        "status": relationship.status.value,
        "reason": relationship.reason.value,
        "client": access.client,
        "server": access.server,
        "endpoint": str(relationship.endpoint),
        "protocol": access.protocol,
        "verb": relationship.verb,
        "operation": str(access.operation),
        "resource": access.resource,
        "allowed": relationship.allowed,
        "refused": relationship.refused,
    }
