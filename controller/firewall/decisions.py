"""What the site manager decides: approve, deny, undo; and which module carries out what else is ordered.

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
from controller.firewall.adopting import import_model, same_as
from controller.firewall.importing import IMPORTED
from controller.firewall.learning import Learner
from controller.firewall.outcome import Before, Outcome, confirm, not_allowed, refuse
from controller.firewall.requests import Request, find, relationship_id, title
from controller.firewall.state import State
from controller.firewall.tending import block, end_pauses, learn, move, pause, rename
from controller.model.graph import covers
from controller.model.relationship import (
    ANY,
    Access,
    Happening,
    Relationship,
    after,
)
from controller.model.service import Admission, Device
from controller.words import risk, sentence, visible

HOUR = 3600.0


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
                return learn(self.state, self.learner, command, now)
            case Rename():
                return rename(self.state, command, now)
            case Move():
                return move(self.state, command, now)
            case Block():
                return block(self.state, command, now)
            case Pause():
                return pause(self.state, command, now)
            case SameAs():
                return self._numbered(same_as(self.state, self._next, command, now))
            case Import():
                return self._numbered(import_model(self.state, self._next, command, now))
            case _:
                assert_never(command)

    def _numbered(self, outcome: Outcome) -> Outcome:
        """An outcome whose decision, if it has one, has used the next number."""
        self._next += outcome.decision is not None
        return outcome

    # Approve and deny

    def _decide(self, command: Decide, now: float) -> Outcome:
        try:
            request = find(self.state.site, command.request) or self._decided_before(command.request)
        except ValueError as error:
            return refuse(command.token, "ambiguous", str(error), "give more of the id")
        if request is None:
            return refuse(
                command.token,
                "not found",
                f"there is no request {visible(command.request)}",
                "list the open ones with 'graphwall requests'",
            )
        until = {Duration.HOUR: now + HOUR, Duration.TONIGHT: command.tonight}.get(command.duration)
        if command.duration is Duration.TONIGHT and until is None:
            return refuse(
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
                return not_allowed(command.token, "who may join")
            if command.duration is not Duration.ALWAYS:
                return refuse(
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
            return refuse(
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
            return not_allowed(command.token, "what could open or endanger something")
        if command.approve and not command.confirmed:
            return confirm(command.token)
        return None

    def _sensitive(self, access: Access) -> bool:
        if access.server not in self.state.site.services:  # forgotten since: nothing is known of it
            return True
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

    # Undo

    def _undo(self, command: Undo, now: float) -> Outcome:
        made = self.state.decisions.get(command.decision)
        if made is None:
            return refuse(
                command.token, "not found", f"there is no decision {command.decision}", "see 'graphwall log'"
            )
        if made.undone_at is not None:
            return refuse(command.token, "already so", "this decision was undone before", "nothing to do")
        if not command.manager and (made.device is not None or any(map(self._sensitive, made.accesses))):
            return not_allowed(command.token, "what a manager decided about this")
        undone = replace(made, undone_at=now, undone_by=command.by)
        self.state.decisions[made.id] = undone
        changed: list[tuple[Access, Relationship | None]] = []
        loosens = False
        for access in made.accesses:
            current = self.state.site.graph.get(access)
            known = {access.client, access.server} <= self.state.site.services.keys()
            forgotten = current is None and made.request == IMPORTED and known
            if not forgotten and (current is None or current.decision != made.id):
                continue  # decided again since
            if not {access.client, access.server} <= self.state.site.services.keys():
                continue  # forgotten with its device
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
        end_pauses(self.state, now)
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
