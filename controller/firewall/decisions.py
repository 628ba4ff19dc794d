"""What the site manager decides: approve, deny, undo, learn again, rename, move, block, pause.

Each command changes the State and says what must be stored and answered. An approval is stored
before it is enforced, a denial enforced before it is stored: a crash in between blocks.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import assert_never

from controller.events import (
    Answer,
    Block,
    Decide,
    Decision,
    Duration,
    Import,
    Learn,
    Move,
    Order,
    Pause,
    Rename,
    SameAs,
    Scope,
    Undo,
)
from controller.firewall.importing import IMPORTED, Refusal, accesses_of, bring_in, check
from controller.firewall.learning import Learner
from controller.firewall.likeness import alike, copied
from controller.firewall.requests import Request, find, relationship_id, title
from controller.firewall.state import State
from controller.model.graph import covers
from controller.model.relationship import (
    ANY,
    Access,
    DeviceId,
    Happening,
    Relationship,
    ServiceId,
    Status,
    after,
)
from controller.model.service import Admission, Certainty, Device, Place, Service
from controller.words import risk, sentence, visible

HOUR = 3600.0
LONGEST_PAUSE = 24 * HOUR


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command. `restricts`: it must be in the switch before it is stored."""

    answer: Answer
    restricts: bool = False
    decision: Decision | None = None
    before: "Before | None" = None


@dataclass(frozen=True, slots=True)
class Before:
    """What a command has changed, as it was: to be put back when the store refuses it."""

    relationships: tuple[tuple[Access, Relationship | None], ...] = ()
    devices: tuple[Device, ...] = ()
    services: tuple[Service, ...] = ()
    decision: Decision | None = None
    made: int | None = None


@dataclass(slots=True)
class Decisions:
    """Carries out commands on the state."""

    state: State
    learner: Learner
    _next: int = field(init=False)

    def __post_init__(self) -> None:
        self._next = max(self.state.decisions, default=0) + 1

    def carry_out(self, command: Order, now: float) -> Outcome:
        match command:
            case Decide():
                return self._decide(command, now)
            case Undo():
                return self._undo(command, now)
            case Learn():
                return self._learn(command, now)
            case Rename():
                return self._rename(command, now)
            case Move():
                return self._move(command, now)
            case Block():
                return self._block(command, now)
            case Pause():
                return self._pause(command, now)
            case SameAs():
                return self._same_as(command, now)
            case Import():
                return self._import(command, now)
            case _:
                assert_never(command)

    # Approve and deny

    def _decide(self, command: Decide, now: float) -> Outcome:
        try:
            request = find(self.state.site, command.request) or self._decided_before(command.request)
        except ValueError as error:
            return _refuse(command.token, "ambiguous", str(error), "give more of the id")
        if request is None:
            return _refuse(
                command.token,
                "not found",
                f"there is no request {visible(command.request)}",
                "list the open ones with 'graphwall requests'",
            )
        until = {Duration.HOUR: now + HOUR, Duration.TONIGHT: command.tonight}.get(command.duration)
        if command.duration is Duration.TONIGHT and until is None:
            return _refuse(
                command.token, "no end given", "'tonight' needs the time when the day ends", "send it"
            )
        made = Decision(
            id=self._next,
            request=request.id,
            sentence=title(request, self.state.site),
            approve=command.approve,
            scope=command.scope,
            duration=command.duration,
            by=command.by,
            at=now,
            until=until,
        )
        if request.device is not None:
            if not command.manager:
                return _not_allowed(command.token, "who may join")
            if command.duration is not Duration.ALWAYS:
                return _refuse(
                    command.token,
                    "not possible",
                    "whether a device may join is not decided for a while only",
                    "answer without a duration; it can be undone or blocked at any time",
                )
            return self._admit(request.device, made, command, now)
        chosen = [
            r for r in request.relationships if not command.only or relationship_id(r.access) in command.only
        ]
        if not chosen:
            return _refuse(
                command.token, "not found", "none of these is part of the request", "choose from its list"
            )
        forbidden = self._forbidden(command, chosen)
        if forbidden is not None:
            return forbidden
        return self._apply(made, chosen, command, now)

    def _forbidden(self, command: Decide, chosen: Iterable[Relationship]) -> Outcome | None:
        """The refusal of an answer that needs a manager, or a second word; None when it is all right.

        What counts is what would be allowed: a wider scope may be sensitive where the question was not.
        """
        if not any(self._sensitive(_scoped(r.access, command.scope)) for r in chosen):
            return None
        if not command.manager:
            return _not_allowed(command.token, "what could open or endanger something")
        if command.approve and not command.confirmed:
            return _confirm(command.token)
        return None

    def _sensitive(self, access: Access) -> bool:
        return risk(access, self.state.site.device_of(access.server)) == "opens"

    def _decided_before(self, wanted: str) -> Request | None:
        """A relationship that was decided or learnt already can be decided again, by its id."""
        fitting = [r for r in self.state.site.graph if relationship_id(r.access) == wanted]
        return Request(wanted, relationships=tuple(fitting)) if fitting else None

    def _apply(self, made: Decision, chosen: list[Relationship], command: Decide, now: float) -> Outcome:
        graph = self.state.site.graph
        happening = Happening.APPROVE if made.approve else Happening.DENY
        wanted: dict[Access, Relationship] = {}
        for relationship in chosen:
            access = _scoped(relationship.access, made.scope)
            wanted[access] = replace(graph.get(access) or relationship, access=access)
            if made.scope is not Scope.OPERATION:
                for narrow in graph.between(access.client, access.server):
                    if narrow.access != access and covers(access, narrow.access):
                        wanted[narrow.access] = narrow
        before = tuple(graph.get(access) for access in wanted)
        made = replace(made, accesses=tuple(wanted), before=before)
        self._next += 1
        self.state.decisions[made.id] = made
        for access, relationship in wanted.items():
            old = graph.get(access)
            status = after(old.status if old else None, happening)
            if not made.approve and made.duration is Duration.ONCE:
                status = after(status, Happening.EXPIRE)  # it is asked about when it is tried again
            self.state.put(
                replace(
                    relationship,
                    status=status,
                    decision=made.id,
                    until=made.until,
                    once=made.approve and made.duration is Duration.ONCE,
                )
            )
        word = "allowed" if made.approve else "denied"
        self.state.note("decision", f"{made.sentence}: {word} ({made.scope}, {made.duration})", now,
                        by=made.by, subject=str(made.id))  # fmt: skip
        changed = Before(relationships=tuple(zip(wanted, before, strict=True)), made=made.id)
        return Outcome(Answer(command.token, made.id), not made.approve, made, changed)

    def _admit(self, device: Device, made: Decision, command: Decide, now: float) -> Outcome:
        self._next += 1
        made = replace(made, device=device.id)
        self.state.decisions[made.id] = made
        admission = Admission.ADMITTED if made.approve else Admission.BLOCKED
        self.state.put_device(replace(device, admission=admission, young=made.approve))
        word = "may join" if made.approve else "may not join"
        self.state.note("decision", f"{visible(device.name)} {word}", now, by=made.by, subject=device.id)
        return Outcome(
            Answer(command.token, made.id), not made.approve, made, Before(devices=(device,), made=made.id)
        )

    def _same_as(self, command: SameAs, now: float) -> Outcome:
        """Admit a new device with the model of another; it learns nothing by itself."""
        site, token = self.state.site, command.token
        try:
            request = find(site, command.request)
        except ValueError as error:
            return _refuse(token, "ambiguous", str(error), "give more of the id")
        if request is None or request.device is None:
            text = f"there is no device that waits to join by {visible(command.request)}"
            return _refuse(token, "not found", text, "list the open requests with 'graphwall requests'")
        newcomer, model = request.device, site.devices.get(command.device)
        if model is None or model.place is not Place.SITE or model.admission is not Admission.ADMITTED:
            return _unknown(token, "admitted device", command.device)
        if newcomer.kind and model.kind and not alike(newcomer, model):
            text = f"{visible(model.name)} is a {visible(model.kind)}, and this a {visible(newcomer.kind)}"
            return _refuse(token, "not possible", text, "choose a device of the same kind")
        services, edges = copied(site, model.id, newcomer, self._next, now)
        if not edges:
            text = f"nothing was learnt or approved for {visible(model.name)} yet"
            return _refuse(token, "not possible", text, "answer the request itself")
        mine = {service.id for service in services}
        servers = (
            (edge.access, newcomer if edge.access.server in mine else site.device_of(edge.access.server))
            for edge in edges
            if edge.status.allows
        )
        sensitive = any(risk(access, server) == "opens" for access, server in servers)
        if sensitive and not command.confirmed:
            return _confirm(token)
        made = Decision(
            id=self._next,
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
        self._next += 1
        self.state.decisions[made.id] = made
        old = tuple(found for service in services if (found := site.services.get(service.id)) is not None)
        admitted = replace(
            newcomer, admission=Admission.ADMITTED, young=False, kind=newcomer.kind or model.kind
        )
        self.state.put_device(admitted)
        for service in services:
            self.state.put_service(service)
        for edge in edges:
            self.state.put(edge)
        text = f"{visible(newcomer.name)} may join, and do the same as {visible(model.name)}"
        self.state.note("decision", text, now, by=command.by, subject=str(made.id))
        before = tuple(zip(made.accesses, made.before, strict=True))
        changed = Before(before, (newcomer,), old, made=made.id)
        return Outcome(Answer(token, made.id), False, made, changed)

    def _import(self, command: Import, now: float) -> Outcome:
        """Make the model what somebody has edited; one decision, so that it can be undone as one."""
        site = self.state.site
        try:
            check(site, command)
        except Refusal as refusal:
            return _refuse(command.token, refusal.code, str(refusal), refusal.remedy)
        accesses = accesses_of(command)
        count = len(accesses) + len(command.devices) + len(command.services)
        made = Decision(
            id=self._next,
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
        self._next += 1
        self.state.decisions[made.id] = made
        devices, services = bring_in(self.state, command, made.id, now)
        self.state.note("import", made.sentence, now, by=command.by, subject=str(made.id))
        before = Before(tuple(zip(accesses, made.before, strict=True)), devices, services, made=made.id)
        return Outcome(Answer(command.token, made.id), False, made, before)

    # Undo

    def _undo(self, command: Undo, now: float) -> Outcome:
        made = self.state.decisions.get(command.decision)
        if made is None:
            return _refuse(
                command.token, "not found", f"there is no decision {command.decision}", "see 'graphwall log'"
            )
        if made.undone_at is not None:
            return _refuse(command.token, "already so", "this decision was undone before", "nothing to do")
        if not command.manager and (made.device is not None or any(map(self._sensitive, made.accesses))):
            return _not_allowed(command.token, "what a manager decided about this")
        undone = replace(made, undone_at=now, undone_by=command.by)
        self.state.decisions[made.id] = undone
        changed: list[tuple[Access, Relationship | None]] = []
        loosens = False
        for access in made.accesses:
            current = self.state.site.graph.get(access)
            forgotten = current is None and made.request == IMPORTED
            if not forgotten and (current is None or current.decision != made.id):
                continue  # decided again since
            changed.append((access, current))
            before = self._before(access, made)
            if before is None:
                self.state.remove(access)
            elif current is None:
                loosens |= before.status.allows
                self.state.put(before)
            else:
                loosens |= before.status.allows
                self.state.put(replace(before, endpoint=current.endpoint, last_seen=current.last_seen,
                                       allowed=current.allowed, refused=current.refused))  # fmt: skip
        devices: tuple[Device, ...] = ()
        if made.device is not None:
            device = self.state.site.devices[made.device]
            if device.admission is (Admission.ADMITTED if made.approve else Admission.BLOCKED):
                devices = (device,)
                self.state.put_device(replace(device, admission=Admission.NEW, young=False))
        self.state.note("undo", f"undone: {made.sentence}", now, by=command.by, subject=str(made.id))
        before_undo = Before(tuple(changed), devices, decision=made)
        return Outcome(Answer(command.token, made.id), made.approve and not loosens, undone, before_undo)

    def _before(self, access: Access, made: Decision) -> Relationship | None:
        """How a relationship was before a decision, and before those under it that are undone, too."""
        before = dict(zip(made.accesses, made.before, strict=True)).get(access)
        while before is not None and before.decision is not None:
            earlier = self.state.decisions.get(before.decision)
            if earlier is None or earlier.undone_at is None:
                break
            before = dict(zip(earlier.accesses, earlier.before, strict=True)).get(access)
        return before

    # The rest

    def _learn(self, command: Learn, now: float) -> Outcome:
        service = self.state.site.services.get(command.service)
        if service is None:
            return _unknown(command.token, "service", command.service)
        if not command.start:
            if not service.learning:
                return _refuse(command.token, "already so", f"{visible(service.name)} is not learning", "")
            device = self.state.site.devices[service.device]
            self.learner.graduate(service, now, "ended by the site manager", command.by)
            return Outcome(Answer(command.token), True, before=Before(services=(service,), devices=(device,)))
        self.state.put_service(replace(service, learning=True, learning_since=now, last_new=now))
        self.state.note(
            "learning", f"{visible(service.name)} learns again", now, by=command.by, subject=service.id
        )
        return Outcome(Answer(command.token), before=Before(services=(service,)))

    def _rename(self, command: Rename, now: float) -> Outcome:
        name = visible(command.name.strip())
        if not name:
            return _refuse(command.token, "empty name", "a name has at least one character", "give one")
        device = self.state.site.devices.get(DeviceId(command.id))
        service = self.state.site.services.get(ServiceId(command.id))
        if device is not None:
            self.state.put_device(
                replace(device, name=name, named_by_manager=True, certainty=Certainty.GIVEN)
            )
            before = Before(devices=(device,))
        elif service is not None:
            self.state.put_service(
                replace(service, name=name, named_by_manager=True, certainty=Certainty.GIVEN)
            )
            before = Before(services=(service,))
        else:
            return _unknown(command.token, "device or service", command.id)
        self.state.note(
            "rename", f"{visible(command.id)} is now called {name}", now, by=command.by, subject=command.id
        )
        return Outcome(Answer(command.token), before=before)

    def _move(self, command: Move, now: float) -> Outcome:
        service = self.state.site.services.get(command.service)
        if service is None:
            return _unknown(command.token, "service", command.service)
        device = self.state.site.devices.get(command.device)
        if device is None or device.admission is not Admission.ADMITTED or device.place is not Place.SITE:
            return _unknown(command.token, "admitted device", command.device)
        if service.device == device.id:
            return _refuse(
                command.token, "already so", f"{visible(service.name)} lives there", "nothing to do"
            )
        before = [service]
        removed: list[tuple[Access, Relationship | None]] = []
        for name in self.state.site.services_on(device.id):  # one that was taken for a stranger there
            other = self.state.site.services[name]
            if other.own_name == service.own_name:
                for relationship in list(self.state.site.graph.of(name)):
                    if relationship.status is Status.PENDING:
                        removed.append((relationship.access, relationship))
                        self.state.remove(relationship.access)
                before.append(other)
                self.state.put_service(replace(other, own_name=f"{other.own_name}~before"))
        self.state.put_service(replace(service, device=device.id, endpoints=frozenset()))
        text = f"{visible(service.name)} has moved to {visible(device.name)} and keeps its model"
        self.state.note("move", text, now, by=command.by, subject=service.id)
        changed = Before(tuple(removed), services=tuple(before))
        return Outcome(Answer(command.token), before=changed)

    def _block(self, command: Block, now: float) -> Outcome:
        device = self.state.site.devices.get(command.device)
        if device is None or device.mac is None:
            return _unknown(command.token, "device", command.device)
        admission = Admission.BLOCKED if command.blocked else Admission.ADMITTED
        if device.admission is admission:
            return _refuse(command.token, "already so", f"{visible(device.name)} is {admission.value}", "")
        self.state.put_device(replace(device, admission=admission))
        word = "blocked" if command.blocked else "admitted again"
        self.state.note("block", f"{visible(device.name)} is {word}", now, by=command.by, subject=device.id)
        return Outcome(Answer(command.token), command.blocked, before=Before(devices=(device,)))

    def _pause(self, command: Pause, now: float) -> Outcome:
        device = self.state.site.devices.get(command.device)
        if device is None or device.place is not Place.SITE:
            return _unknown(command.token, "device", command.device)
        if device.admission is not Admission.ADMITTED:
            text = f"{visible(device.name)} is {device.admission.value}, so nothing of it passes"
            return _refuse(command.token, "not possible", text, "admit it first")
        if not 0 <= command.seconds <= LONGEST_PAUSE:
            text = f"protection is paused for at most {LONGEST_PAUSE / HOUR:g} hours"
            return _refuse(command.token, "not possible", text, "choose a shorter time")
        if not command.seconds and device.paused_until is None:
            text = f"the protection of {visible(device.name)} is not paused"
            return _refuse(command.token, "already so", text, "nothing to do")
        until = now + command.seconds if command.seconds else None
        self.state.put_device(replace(device, paused_until=until))
        minutes = f"for {max(1, round(command.seconds / 60))} minutes"
        text = f"the protection of {visible(device.name)} is {f'paused {minutes}' if until else 'on again'}"
        self.state.note("pause", text, now, by=command.by, subject=device.id)
        return Outcome(Answer(command.token), until is None, before=Before(devices=(device,)))

    def take_back(self, before: Before) -> None:
        """The store has refused: everything as it was."""
        for access, relationship in before.relationships:
            if relationship is None:
                self.state.remove(access)
            else:
                self.state.put(relationship)
        for device in before.devices:
            self.state.put_device(device)
        for service in before.services:
            self.state.put_service(service)
        if before.decision is not None:
            self.state.decisions[before.decision.id] = before.decision
        if before.made is not None:
            self.state.decisions.pop(before.made, None)

    def tick(self, now: float) -> None:
        """End the decisions and pauses whose time is over."""
        for name in list(self.state.site.paused):
            device = self.state.site.devices[name]
            if device.paused_until is not None and now >= device.paused_until:
                self.state.put_device(replace(device, paused_until=None))
                text = f"the protection of {visible(device.name)} is on again: the pause is over"
                self.state.note("pause", text, now, subject=device.id)
        for relationship in self._over(now):
            access = relationship.access
            self.state.put(
                replace(relationship, status=after(relationship.status, Happening.EXPIRE), once=False)
            )
            site = self.state.site
            text = sentence(access, site.device_of(access.client), site.device_of(access.server))
            self.state.note("expired", f"{text}: the time of the decision is over", now,
                            subject=relationship_id(access))  # fmt: skip

    def _over(self, now: float) -> Iterable[Relationship]:
        for access in list(self.state.site.timed):
            relationship = self.state.site.graph.get(access)
            if relationship is not None and relationship.until is not None and now >= relationship.until:
                yield relationship


def _scoped(access: Access, scope: Scope) -> Access:
    match scope:
        case Scope.OPERATION:
            return access
        case Scope.SERVICE:
            return replace(access, operation=ANY, resource=ANY)
        case Scope.PAIR:
            return replace(access, protocol=ANY, operation=ANY, resource=ANY)


def _refuse(token: int, code: str, message: str, remedy: str) -> Outcome:
    return Outcome(Answer(token, code=code, message=message, remedy=remedy))


def _confirm(token: int) -> Outcome:
    return _refuse(
        token,
        "confirm",
        "this could open or endanger something",
        "look again who asks, and answer once more with 'confirmed'",
    )


def _not_allowed(token: int, what: str) -> Outcome:
    return _refuse(token, "not allowed", f"only a manager decides {what}", "ask a manager to do it")


def _unknown(token: int, what: str, name: str) -> Outcome:
    return _refuse(token, "not found", f"there is no {what} {visible(name)}", "see 'graphwall services'")
