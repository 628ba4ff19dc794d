"""What people do with devices and services beside answering: learn again, rename, move, block, pause.

Each function changes the State and says what became of it. Knows nothing of requests.
"""

from dataclasses import replace

from controller.events import Answer, Block, Learn, Move, Pause, Rename
from controller.firewall.learning import Learner
from controller.firewall.outcome import Before, Outcome, refuse, unknown
from controller.firewall.state import State
from controller.model.relationship import Access, DeviceId, Relationship, ServiceId, Status
from controller.model.service import Admission, Certainty, Place
from controller.words import visible

HOUR = 3600.0
LONGEST_PAUSE = 24 * HOUR
HANDOVER = 60.0  # seconds after a move in which nobody is asked about who still looks for it where it was


def learn(state: State, learner: Learner, command: Learn, now: float) -> Outcome:
    service = state.site.services.get(command.service)
    if service is None:
        return unknown(command.token, "service", command.service)
    if not command.start:
        if not service.learning:
            return refuse(command.token, "already so", f"{visible(service.name)} is not learning", "")
        device = state.site.devices[service.device]
        learner.graduate(service, now, "ended by the site manager", command.by)
        return Outcome(Answer(command.token), True, before=Before(services=(service,), devices=(device,)))
    state.put_service(replace(service, learning=True, learning_since=now, last_new=now))
    state.note("learning", f"{visible(service.name)} learns again", now, by=command.by, subject=service.id)
    return Outcome(Answer(command.token), before=Before(services=(service,)))


def rename(state: State, command: Rename, now: float) -> Outcome:
    name = visible(command.name.strip())
    if not name:
        return refuse(command.token, "empty name", "a name has at least one character", "give one")
    device = state.site.devices.get(DeviceId(command.id))
    service = state.site.services.get(ServiceId(command.id))
    if device is not None:
        state.put_device(replace(device, name=name, named_by_manager=True, certainty=Certainty.GIVEN))
        before = Before(devices=(device,))
    elif service is not None:
        state.put_service(replace(service, name=name, named_by_manager=True, certainty=Certainty.GIVEN))
        before = Before(services=(service,))
    else:
        return unknown(command.token, "device or service", command.id)
    state.note(
        "rename", f"{visible(command.id)} is now called {name}", now, by=command.by, subject=command.id
    )
    return Outcome(Answer(command.token), before=before)


def move(state: State, command: Move, now: float) -> Outcome:
    service = state.site.services.get(command.service)
    if service is None:
        return unknown(command.token, "service", command.service)
    device = state.site.devices.get(command.device)
    if device is None or device.admission is not Admission.ADMITTED or device.place is not Place.SITE:
        return unknown(command.token, "admitted device", command.device)
    if service.device == device.id:
        return refuse(command.token, "already so", f"{visible(service.name)} lives there", "nothing to do")
    before = [service]
    removed: list[tuple[Access, Relationship | None]] = []
    for name in state.site.services_on(device.id):  # one that was taken for a stranger there
        other = state.site.services[name]
        if other.own_name == service.own_name:
            for relationship in list(state.site.graph.of(name)):
                if relationship.status is Status.PENDING:
                    removed.append((relationship.access, relationship))
                    state.remove(relationship.access)
            before.append(other)
            state.put_service(replace(other, own_name=f"{other.own_name}~before"))
    state.put_service(replace(service, device=device.id, endpoints=frozenset()))
    state.left = {name: until for name, until in state.left.items() if now < until}
    state.left[state.table.client_service(service.device, service.own_name)] = now + HANDOVER
    text = f"{visible(service.name)} has moved to {visible(device.name)} and keeps its model"
    state.note("move", text, now, by=command.by, subject=service.id)
    changed = Before(tuple(removed), services=tuple(before))
    return Outcome(Answer(command.token), before=changed)


def block(state: State, command: Block, now: float) -> Outcome:
    device = state.site.devices.get(command.device)
    if device is None or device.mac is None:
        return unknown(command.token, "device", command.device)
    admission = Admission.BLOCKED if command.blocked else Admission.ADMITTED
    if device.admission is admission:
        return refuse(command.token, "already so", f"{visible(device.name)} is {admission.value}", "")
    state.put_device(replace(device, admission=admission))
    word = "blocked" if command.blocked else "admitted again"
    state.note("block", f"{visible(device.name)} is {word}", now, by=command.by, subject=device.id)
    return Outcome(Answer(command.token), command.blocked, before=Before(devices=(device,)))


def pause(state: State, command: Pause, now: float) -> Outcome:
    device = state.site.devices.get(command.device)
    if device is None or device.place is not Place.SITE:
        return unknown(command.token, "device", command.device)
    if device.admission is not Admission.ADMITTED:
        text = f"{visible(device.name)} is {device.admission.value}, so nothing of it passes"
        return refuse(command.token, "not possible", text, "admit it first")
    if not 0 <= command.seconds <= LONGEST_PAUSE:
        text = f"protection is paused for at most {LONGEST_PAUSE / HOUR:g} hours"
        return refuse(command.token, "not possible", text, "choose a shorter time")
    if not command.seconds and device.paused_until is None:
        text = f"the protection of {visible(device.name)} is not paused"
        return refuse(command.token, "already so", text, "nothing to do")
    until = now + command.seconds if command.seconds else None
    state.put_device(replace(device, paused_until=until))
    minutes = f"for {max(1, round(command.seconds / 60))} minutes"
    text = f"the protection of {visible(device.name)} is {f'paused {minutes}' if until else 'on again'}"
    state.note("pause", text, now, by=command.by, subject=device.id)
    return Outcome(Answer(command.token), until is None, before=Before(devices=(device,)))


def end_pauses(state: State, now: float) -> None:
    """The protection is on again where the time is over."""
    for name in list(state.site.paused):
        device = state.site.devices[name]
        if device.paused_until is not None and now >= device.paused_until:
            state.put_device(replace(device, paused_until=None))
            text = f"the protection of {visible(device.name)} is on again: the pause is over"
            state.note("pause", text, now, subject=device.id)
