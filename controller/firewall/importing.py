"""Brings an edited model in: devices, services and relationships as somebody wants them.

Nothing that it brings learns, and what it forgets is asked about again. Knows nothing of files.
"""

from dataclasses import replace

from controller.events import DeviceEdit, Edit, Import, ServiceEdit
from controller.firewall.state import State
from controller.model.relationship import Access, DeviceId, Reason, Relationship, Status
from controller.model.service import MAIN, Admission, Certainty, Device, Place, Service
from controller.model.site import Site
from controller.words import visible

IMPORTED = "import"  # stands for the request in a decision that is an import


class Refusal(Exception):
    """The model cannot be brought in; nothing was changed."""

    def __init__(self, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


def accesses_of(command: Import) -> tuple[Access, ...]:
    return tuple(edit.access for edit in command.relationships)


def check(site: Site, command: Import) -> None:
    """Raise Refusal when something does not fit, or has changed since it was looked at."""
    for edit in command.relationships:
        now = site.graph.get(edit.access)
        if (None if now is None else now.status) is not edit.before:
            raise Refusal("changed", "the model has changed since it was compared", "compare it again")
    macs = {device.mac: device.id for device in site.devices.values() if device.mac is not None}
    for wanted in command.devices:
        holder = macs.get(wanted.mac) if wanted.mac is not None else None
        if holder is not None and holder != wanted.id:
            text = f"{wanted.mac} belongs to the device {visible(holder)}"
            raise Refusal("not possible", text, f"call it {visible(holder)} in the file, too")
        if wanted.id not in site.devices and wanted.mac is None:
            text = f"the device {visible(wanted.id)} is not known here"
            raise Refusal("not possible", text, "give its 'mac:' in the file")
    devices = site.devices.keys() | {device.id for device in command.devices}
    for service in command.services:
        if service.device not in devices and not service.device.startswith("@"):
            text = f"{visible(service.id)} is on {visible(service.device)}, which is not known here"
            raise Refusal("not possible", text, "add that device to the file, with its 'mac:'")
    services = site.services.keys() | {service.id for service in command.services}
    for edit in command.relationships:
        for end in (edit.access.client, edit.access.server):
            if end not in services:
                text = f"a relationship names the service {visible(end)}, which is not known here"
                raise Refusal("not possible", text, "add that service to the file")


def bring_in(
    state: State, command: Import, decision: int, now: float
) -> tuple[tuple[Device, ...], tuple[Service, ...]]:
    """Change the model; the devices and services that were there, as they were before."""
    devices, services = [], []
    for wanted in command.devices:
        old = state.site.devices.get(wanted.id)
        if old is not None:
            devices.append(old)
        state.put_device(_device(state, old, wanted, now))
    for one in command.services:
        if one.device not in state.site.devices:
            state.put_device(_outside(state, one.device, now))
        before = state.site.services.get(one.id)
        if before is not None:
            services.append(before)
        state.put_service(_service(before, one, now))
    for edit in command.relationships:
        _relationship(state, edit, decision, now)
    return tuple(devices), tuple(services)


def _device(state: State, old: Device | None, wanted: DeviceEdit, now: float) -> Device:
    if old is None:
        old = Device(
            wanted.id,
            state.site.next_number(),
            Place.SITE,
            wanted.name,
            wanted.mac,
            first_seen=now,
            last_seen=now,
        )
    renamed = wanted.name != old.name or old.certainty is Certainty.GIVEN
    return replace(
        old,
        name=visible(wanted.name),
        kind=wanted.kind,
        admission=Admission.BLOCKED if wanted.blocked else Admission.ADMITTED,
        named_by_manager=old.named_by_manager or wanted.name != old.name,
        certainty=Certainty.GIVEN if renamed else old.certainty,
    )


def _outside(state: State, name: DeviceId, now: float) -> Device:
    return Device(
        name, state.site.next_number(), Place.REMOTE, visible(name[1:]), admission=Admission.ADMITTED,
        first_seen=now, last_seen=now,
    )  # fmt: skip


def _service(old: Service | None, wanted: ServiceEdit, now: float) -> Service:
    if old is None:
        own_name = wanted.id.split("/", 1)[1] if "/" in wanted.id else MAIN
        old = Service(wanted.id, wanted.device, own_name, wanted.name, first_seen=now, last_seen=now)
    return replace(
        old,
        device=wanted.device,
        name=visible(wanted.name),
        endpoints=wanted.endpoints,
        named_by_manager=old.named_by_manager or wanted.name != old.name,
        certainty=Certainty.GIVEN if wanted.name != old.name else old.certainty,
    )


def _relationship(state: State, edit: Edit, decision: int, now: float) -> None:
    if edit.after is None:
        state.remove(edit.access)
        return
    old = state.site.graph.get(edit.access) or Relationship(
        edit.access, edit.after, Reason.KNOWN, edit.endpoint, "", now, now
    )
    state.put(
        replace(
            old,
            status=Status(edit.after),
            endpoint=edit.endpoint,
            decision=decision,
            until=None,
            once=False,
        )
    )
