"""Decisions that bring a whole model: a new device gets that of one of its kind, or one is imported.

`number` is that of the decision; it counts only when there is one in the outcome. Knows nothing of cards.
"""

from dataclasses import replace

from controller.events import Answer, Decision, Duration, Import, SameAs, Scope
from controller.firewall.importing import IMPORTED, Refusal, accesses_of, bring_in, check
from controller.firewall.likeness import alike, copied
from controller.firewall.outcome import Before, Outcome, confirm, refuse, unknown
from controller.firewall.requests import find, title
from controller.firewall.state import State
from controller.model.service import Admission, Place
from controller.words import risk, visible


def same_as(state: State, number: int, command: SameAs, now: float) -> Outcome:
    """Admit a new device with the model of another; it learns nothing by itself."""
    site, token = state.site, command.token
    try:
        request = find(site, command.request)
    except ValueError as error:
        return refuse(token, "ambiguous", str(error), "give more of the id")
    if request is None or request.device is None:
        text = f"there is no device that waits to join by {visible(command.request)}"
        return refuse(token, "not found", text, "list the open requests with 'graphwall requests'")
    newcomer, model = request.device, site.devices.get(command.device)
    if model is None or model.place is not Place.SITE or model.admission is not Admission.ADMITTED:
        return unknown(token, "admitted device", command.device)
    if newcomer.kind and model.kind and not alike(newcomer, model):
        text = f"{visible(model.name)} is a {visible(model.kind)}, and this a {visible(newcomer.kind)}"
        return refuse(token, "not possible", text, "choose a device of the same kind")
    services, edges = copied(site, model.id, newcomer, number, now)
    if not edges:
        text = f"nothing was learnt or approved for {visible(model.name)} yet"
        return refuse(token, "not possible", text, "answer the request itself")
    admitted = replace(newcomer, admission=Admission.ADMITTED, young=False, kind=newcomer.kind or model.kind)
    mine = {service.id for service in services}
    servers = (
        (edge.access, admitted if edge.access.server in mine else site.device_of(edge.access.server))
        for edge in edges
        if edge.status.allows
    )
    sensitive = any(risk(access, server) == "opens" for access, server in servers)
    if sensitive and not command.confirmed:
        return confirm(token)
    made = Decision(
        id=number,
        request=request.id,
        sentence=f"{title(request, site)}, with the same permissions as {visible(model.name)}",
        approve=True,
        scope=Scope.OPERATION,
        duration=Duration.ALWAYS,
        by=command.by,
        at=now,
        until=None,
        accesses=tuple(edge.access for edge in edges),
        before=tuple(site.graph.get(edge.access) for edge in edges),
        device=newcomer.id,
    )
    state.decisions[made.id] = made
    old = tuple(found for service in services if (found := site.services.get(service.id)) is not None)
    state.put_device(admitted)
    for service in services:
        state.put_service(service)
    for edge in edges:
        state.put(edge)
    text = f"{visible(newcomer.name)} may join, and do the same as {visible(model.name)}"
    state.note("decision", text, now, by=command.by, subject=str(made.id))
    before = tuple(zip(made.accesses, made.before, strict=True))
    changed = Before(before, (newcomer,), old, made=made.id)
    return Outcome(Answer(token, made.id), False, made, changed)


def import_model(state: State, number: int, command: Import, now: float) -> Outcome:
    """Make the model what somebody has edited; one decision, so that it can be undone as one."""
    site = state.site
    try:
        check(site, command)
    except Refusal as refusal:
        return refuse(command.token, refusal.code, str(refusal), refusal.remedy)
    accesses = accesses_of(command)
    count = len(accesses) + len(command.devices) + len(command.services)
    made = Decision(
        id=number,
        request=IMPORTED,
        sentence=f"A model was imported: {count} change{'' if count == 1 else 's'}",
        approve=True,
        scope=Scope.OPERATION,
        duration=Duration.ALWAYS,
        by=command.by,
        at=now,
        until=None,
        accesses=accesses,
        before=tuple(site.graph.get(access) for access in accesses),
    )
    state.decisions[made.id] = made
    devices, services = bring_in(state, command, made.id, now)
    state.note("import", made.sentence, now, by=command.by, subject=str(made.id))
    before = Before(tuple(zip(accesses, made.before, strict=True)), devices, services, made=made.id)
    return Outcome(Answer(command.token, made.id), False, made, before)
