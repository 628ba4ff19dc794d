"""What people decide: scope, duration, undo, once, expiry; and what is refused, with its remedy."""

import pytest

from controller.events import (
    Answer,
    Block,
    Decide,
    Duration,
    Learn,
    Move,
    NotStored,
    Persist,
    Rename,
    Scope,
    Undo,
)
from controller.firewall.decisions import HOUR
from controller.firewall.requests import relationship_id
from controller.firewall.tending import HANDOVER
from controller.model.relationship import ANY, DeviceId, Reason, ServiceId, Status
from controller.model.service import Admission
from controller.verdicts import SetGrant
from tests.unit.firewall.script import (
    LOCK,
    SPARE,
    STRANGER,
    WASHER,
    Script,
    access,
    arp,
    deltas,
)

OPEN, READ, OTHER = access("write", "/isOpen"), access("read", "/a"), access("read", "/b")
STRANGE = DeviceId(STRANGER.replace(":", "-"))


@pytest.fixture
def script() -> Script:
    made = Script(learnt=True)
    for said in (READ, OTHER, OPEN):
        made.see(said, Reason.NEW_RESOURCE)
    return made


def on(said: object) -> str:
    return relationship_id(said)  # type: ignore[arg-type]


# Scope


def test_operation_covers_itself_alone(script: Script) -> None:
    script.decide(on(READ), approve=True)
    assert (script.status(READ), script.status(OTHER)) == (Status.APPROVED, Status.PENDING)


def test_service_scope_covers_every_operation_between_the_two_in_this_protocol(script: Script) -> None:
    script.decide(on(READ), approve=True, scope=Scope.SERVICE)
    assert script.status(access(ANY, ANY)) is Status.APPROVED
    assert {script.status(said) for said in (READ, OTHER, OPEN, access())} == {Status.APPROVED}
    other_protocol = access("read", "/t", protocol="coap")
    assert not script.state.table.judge(WASHER, LOCK, other_protocol, script.now).allow


def test_pair_scope_covers_every_protocol(script: Script) -> None:
    script.decide(on(READ), approve=False, scope=Scope.PAIR)
    assert script.status(access(ANY, ANY, protocol=ANY)) is Status.DENIED
    assert {script.status(said) for said in (READ, OTHER, OPEN, access())} == {Status.DENIED}


def test_wide_decision_does_not_reach_other_services(script: Script) -> None:
    elsewhere = access("read", "/a", client="washer/app")
    script.see(elsewhere, Reason.NEW_SERVICE)
    script.decide(on(READ), approve=True, scope=Scope.PAIR)
    assert script.status(elsewhere) is Status.PENDING


# Duration


@pytest.mark.parametrize("approve", [True, False])
def test_decision_for_an_hour_is_over_after_an_hour_and_is_asked_again(script: Script, approve: bool) -> None:
    script.decide(on(READ), approve, duration=Duration.HOUR)
    decided = Status.APPROVED if approve else Status.DENIED
    script.now += HOUR - 1
    script.wait(0.9, 0.3)
    assert script.status(READ) is decided
    script.wait(1)
    assert script.status(READ) is Status.EXPIRED
    assert not script.state.table.judge(WASHER, LOCK, READ, script.now).allow
    script.see(READ, Reason.NEW_RESOURCE)
    assert script.status(READ) is Status.PENDING


def test_tonight_ends_when_the_caller_says_that_the_day_ends(script: Script) -> None:
    assert script.decide(on(READ), approve=True, duration=Duration.TONIGHT).code == "no end given"
    assert script.status(READ) is Status.PENDING
    script.decide(on(READ), approve=True, duration=Duration.TONIGHT, tonight=script.now + 5)
    assert script.status(READ) is Status.APPROVED
    script.wait(5)
    assert script.status(READ) is Status.EXPIRED


def test_expiry_is_told_in_the_log_once(script: Script) -> None:
    script.decide(on(READ), approve=True, duration=Duration.HOUR)
    script.now += HOUR
    script.wait(3)
    assert [line.event for line in script.state.log].count("expired") == 1


def test_decision_expires_while_the_controller_is_gone(script: Script) -> None:
    script.decide(on(READ), approve=True, duration=Duration.HOUR)
    script.now += HOUR
    script.start()
    assert not script.state.table.judge(WASHER, LOCK, READ, script.now).allow
    script.wait(1)
    assert script.status(READ) is Status.EXPIRED


def test_what_was_allowed_for_an_hour_is_not_learnt_afterwards(script: Script) -> None:
    script.decide(on(READ), approve=True, duration=Duration.HOUR)
    for service in ("washer/main", "lock/tcp-80"):
        script.command(Learn(0, ServiceId(service), True, "me"))
    script.now += HOUR
    script.see(READ, Reason.LEARNING)  # an inspector that has not heard of it yet
    script.see(READ, Reason.LEARNING)
    script.wait(1)
    script.see(READ, Reason.LEARNING)
    assert script.status(READ) is Status.PENDING


def test_denied_once_is_asked_again_when_it_is_tried_again(script: Script) -> None:
    script.decide(on(READ), approve=False, duration=Duration.ONCE)
    assert script.status(READ) is Status.EXPIRED
    assert READ not in {r.access for r in script.state.site.waiting()}
    script.see(READ, Reason.NEW_RESOURCE)
    assert script.status(READ) is Status.PENDING


# Once


def test_once_is_for_one_message_and_stays_used_up_after_a_restart(script: Script) -> None:
    script.decide(on(READ), approve=True, duration=Duration.ONCE)
    effects = script.see(READ, Reason.KNOWN, consumed=True)
    assert any(isinstance(effect, Persist) for effect in effects)  # at once, not with the next save
    assert SetGrant(READ, None, over=True) in list(deltas(effects))
    script.start()
    assert script.status(READ) is Status.EXPIRED
    assert not script.state.table.judge(WASHER, LOCK, READ, script.now).allow


def test_wide_permission_for_one_message_is_used_up_by_any_message_that_it_covers(script: Script) -> None:
    script.decide(on(READ), approve=True, scope=Scope.SERVICE, duration=Duration.ONCE)
    fresh = access("read", "/never-seen")
    script.see(fresh, Reason.KNOWN, consumed=True)
    assert script.status(access(ANY, ANY)) is Status.EXPIRED
    assert not script.state.table.judge(WASHER, LOCK, fresh, script.now).allow


def test_message_that_used_nothing_up_leaves_once_as_it_is(script: Script) -> None:
    script.decide(on(READ), approve=True, duration=Duration.ONCE)
    script.see(READ, Reason.KNOWN)
    assert script.status(READ) is Status.APPROVED


# Undo


@pytest.mark.parametrize("approve", [True, False])
def test_undo_restores_each_relationship_as_it_was(script: Script, approve: bool) -> None:
    answer = script.decide(on(READ), approve, scope=Scope.PAIR)
    assert answer.decision is not None
    script.command(Undo(0, answer.decision, "me"))
    assert script.status(access(ANY, ANY, protocol=ANY)) is None
    assert script.status(access()) is Status.LEARNED
    assert {script.status(said) for said in (READ, OTHER, OPEN)} == {Status.PENDING}


def test_undo_keeps_what_was_counted_since(script: Script) -> None:
    answer = script.decide(on(READ), approve=True)
    script.see(READ, Reason.KNOWN, count=5)
    assert answer.decision is not None
    script.command(Undo(0, answer.decision, "me"))
    found = script.relationship(READ)
    assert found is not None
    assert found.allowed == 5


def test_undo_does_not_touch_what_was_decided_again_since(script: Script) -> None:
    first, second = (script.decide(on(READ), approve).decision for approve in (True, False))
    assert first is not None
    assert second is not None
    script.command(Undo(0, first, "me"))
    assert script.status(READ) is Status.DENIED
    script.command(Undo(0, second, "me"))
    assert script.status(READ) is Status.PENDING  # and not what the undone one had made of it


def test_decision_is_undone_once(script: Script) -> None:
    answer = script.decide(on(READ), approve=True)
    assert answer.decision is not None
    assert script.command(Undo(0, answer.decision, "me")).code is None
    assert script.command(Undo(0, answer.decision, "me")).code == "already so"


def test_undo_lasts_over_a_restart(script: Script) -> None:
    answer = script.decide(on(READ), approve=True)
    assert answer.decision is not None
    script.command(Undo(0, answer.decision, "you"))
    script.start()
    assert script.status(READ) is Status.PENDING
    assert script.state.decisions[answer.decision].undone_by == "you"


def test_numbers_of_decisions_go_on_after_a_restart(script: Script) -> None:
    first = script.decide(on(READ), approve=True).decision
    script.start()
    second = script.decide(on(OTHER), approve=True).decision
    assert first is not None
    assert second == first + 1


# Order of effects: a crash in between must leave traffic blocked


def kinds(script: Script, command: Decide | Undo | Block) -> list[str]:
    return [type(effect).__name__ for effect in script.tell(command)]


def test_undo_of_an_approval_is_enforced_first_and_of_a_denial_stored_first(script: Script) -> None:
    approved = script.decide(on(READ), approve=True).decision
    denied = script.decide(on(OTHER), approve=False).decision
    assert approved is not None
    assert denied is not None
    assert kinds(script, Undo(7, approved, "me")) == ["UpdateTable", "Persist", "Answer"]
    assert kinds(script, Undo(8, denied, "me")) == ["Persist", "UpdateTable", "Answer"]


def test_quarantine_is_enforced_first_and_its_end_stored_first(script: Script) -> None:
    assert kinds(script, Block(7, WASHER, True, "me")) == ["UpdateTable", "Persist", "Answer"]
    assert kinds(script, Block(8, WASHER, False, "me")) == ["Persist", "UpdateTable", "Answer"]


@pytest.mark.parametrize(
    "command",
    [
        Decide(7, on(READ), True, "me", Scope.PAIR),
        Learn(7, ServiceId("washer/main"), True, "me"),
        Rename(7, "washer", "Tub", "me"),
        Move(7, ServiceId("lock/tcp-80"), SPARE, "me"),
        Block(7, WASHER, True, "me"),
    ],
)
def test_command_that_cannot_be_stored_changes_nothing(script: Script, command: Decide) -> None:
    site = script.state.site
    script.wait(1)
    before = dict(site.devices), dict(site.services), {r.access: r for r in site.graph}
    table = set(map(repr, script.state.table.deltas()))
    effects = script.firewall.handle(command, script.now)  # not kept
    assert any(isinstance(effect, Persist) for effect in effects)
    (answer,) = [e for e in script.tell(NotStored(7, "disk full")) if isinstance(e, Answer)]
    assert answer.code == "not stored"
    assert "disk full" in answer.message
    assert answer.remedy
    assert (dict(site.devices), dict(site.services), {r.access: r for r in site.graph}) == before
    assert set(map(repr, script.state.table.deltas())) == table
    assert not script.firewall.view(script.now).decisions


# Admission


@pytest.fixture
def newcomer() -> Script:
    made = Script()
    made.plug()
    made.frame(arp(STRANGER, "10.0.0.99"), port=2)
    return made


def test_device_that_may_join_is_admitted_and_learns(newcomer: Script) -> None:
    newcomer.decide(newcomer.cards[0].id, approve=True)
    device = newcomer.state.site.devices[STRANGE]
    assert (device.admission, device.young) == (Admission.ADMITTED, True)


def test_device_that_may_not_join_is_blocked_and_asks_no_more(newcomer: Script) -> None:
    newcomer.decide(newcomer.cards[0].id, approve=False)
    newcomer.frame(arp(STRANGER, "10.0.0.99"), port=2)
    assert newcomer.state.site.devices[STRANGE].admission is Admission.BLOCKED
    assert newcomer.cards == ()


@pytest.mark.parametrize("approve", [True, False])
def test_admission_that_is_undone_is_asked_again(newcomer: Script, approve: bool) -> None:
    answer = newcomer.decide(newcomer.cards[0].id, approve)
    assert answer.decision is not None
    newcomer.command(Undo(0, answer.decision, "me"))
    assert [card.kind for card in newcomer.cards] == ["admission"]


def test_nobody_joins_for_a_while(newcomer: Script) -> None:
    answer = newcomer.decide(newcomer.cards[0].id, approve=True, duration=Duration.HOUR)
    assert (answer.code, bool(answer.remedy)) == ("not possible", True)
    assert newcomer.state.site.devices[STRANGE].admission is Admission.NEW


# The rest


def test_learning_begins_again_and_is_ended(script: Script) -> None:
    main = ServiceId("washer/main")
    assert script.command(Learn(0, main, False, "me")).code == "already so"
    script.command(Learn(0, main, True, "me"))
    assert script.state.site.services[main].learning
    script.command(Learn(0, main, False, "me"))
    assert not script.state.site.services[main].learning
    assert script.state.log[-1].by == "me"


def test_name_that_the_manager_gave_sticks(script: Script) -> None:
    script.command(Rename(0, "washer", "  Tub\n ", "me"))
    script.command(Rename(0, "lock/tcp-80", "Bolt", "me"))
    script.start()
    assert script.state.site.devices[WASHER].name == "Tub"
    assert script.state.site.services[ServiceId("lock/tcp-80")].name == "Bolt"
    assert script.command(Rename(0, "washer", " \t ", "me")).code == "empty name"


def test_move_takes_the_place_of_the_stranger_that_it_was_taken_for(script: Script) -> None:
    taken = access("read", "/state", server="spare/tcp-80")
    script.see(taken, Reason.NEW_PARTNER)
    assert script.command(Move(0, ServiceId("lock/tcp-80"), SPARE, "me")).code is None
    assert script.status(taken) is None  # its questions go with it
    assert script.state.table.server_service(SPARE, script.state.site.graph.between(
        ServiceId("washer/main"), ServiceId("lock/tcp-80"))[0].endpoint, None) == "lock/tcp-80"  # fmt: skip


def test_nobody_is_asked_about_who_looks_for_a_moved_service_where_it_was_until_a_minute_later(
    script: Script,
) -> None:
    assert script.command(Move(0, ServiceId("lock/tcp-80"), SPARE, "me")).code is None
    late = access("read", "/state", server="lock/tcp-80~left")
    script.see(late, Reason.NEW_PARTNER)
    assert script.status(late) is None
    other = access("read", "/state", server="lock/tcp-81")  # something else that is still there
    script.see(other, Reason.NEW_PARTNER)
    assert script.status(other) is Status.PENDING
    script.wait(HANDOVER)
    script.see(late, Reason.NEW_PARTNER)
    assert script.status(late) is Status.PENDING


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (Decide(0, "nothing", True, "me"), "not found"),
        (Decide(0, "", True, "me"), "not found"),
        (Decide(0, on(READ), True, "me", only=("nothing",)), "not found"),
        (Undo(0, 99, "me"), "not found"),
        (Learn(0, ServiceId("nobody/main"), True, "me"), "not found"),
        (Rename(0, "nobody", "x", "me"), "not found"),
        (Move(0, ServiceId("nobody/main"), SPARE, "me"), "not found"),
        (Move(0, ServiceId("lock/tcp-80"), DeviceId("nobody"), "me"), "not found"),
        (Move(0, ServiceId("lock/tcp-80"), DeviceId("@group"), "me"), "not found"),
        (Move(0, ServiceId("lock/tcp-80"), LOCK, "me"), "already so"),
        (Block(0, DeviceId("nobody"), True, "me"), "not found"),
        (Block(0, DeviceId("@group"), True, "me"), "not found"),
        (Block(0, WASHER, False, "me"), "already so"),
    ],
)
def test_command_that_makes_no_sense_is_refused_and_changes_nothing(
    script: Script, command: Decide, code: str
) -> None:
    script.wait(1)
    before = script.state.revision
    answer = script.command(command)
    assert (answer.code, answer.decision) == (code, None)
    assert answer.message
    assert script.state.revision == before


def test_who_is_no_manager_decides_nothing_sensitive(script: Script) -> None:
    assert script.decide(on(OPEN), approve=True, manager=False).code == "not allowed"
    assert script.decide(on(READ), approve=True, scope=Scope.SERVICE, manager=False).code == "not allowed"
    assert script.decide(on(READ), approve=True, manager=False).code is None


def test_sensitive_permission_needs_a_second_word_and_a_denial_does_not(script: Script) -> None:
    assert script.decide(on(OPEN), approve=True, confirmed=False).code == "confirm"
    assert script.status(OPEN) is Status.PENDING
    assert script.decide(on(OPEN), approve=False, confirmed=False).code is None


def test_admission_is_stored_first_and_its_refusal_enforced_first(newcomer: Script) -> None:
    request = newcomer.cards[0].id
    for approve, order in (
        (True, ["Persist", "UpdateTable"]),
        (False, ["UpdateTable", "SendFlows", "Persist"]),
    ):
        effects = [type(e).__name__ for e in newcomer.tell(Decide(7, request, approve, "me"))]
        assert [kind for kind in effects if kind in order] == order
        (made,) = (d for d in newcomer.state.decisions if newcomer.state.decisions[d].undone_at is None)
        newcomer.command(Undo(0, made, "me"))


def test_undo_of_a_decision_whose_relationship_is_gone_does_no_harm(script: Script) -> None:
    answer = script.decide(on(READ), approve=True)
    script.state.remove(READ)
    assert answer.decision is not None
    assert script.command(Undo(0, answer.decision, "me")).code is None
    assert script.status(READ) is None
