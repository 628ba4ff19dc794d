"""The firewall as the script of a conversation: what happens, and what it wants done."""

from collections.abc import Sequence
from itertools import count

import pytest

from controller.config import parse
from controller.events import (
    Answer,
    Decide,
    Duration,
    Effect,
    InspectorUp,
    Learn,
    Move,
    NotStored,
    Observed,
    Persist,
    Tick,
    Undo,
    UpdateTable,
)
from controller.firewall.firewall import Firewall
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, ServiceId, Status
from controller.verdicts import SetGrant

SITE = """
learning: {minimum: 10s, quiet: 5s, maximum: 60s}
devices:
  - {id: washer, name: Washing machine, mac: 02:00:00:00:00:01, addresses: [10.0.0.1]}
  - {id: lock, name: Front door, kind: door lock, mac: 02:00:00:00:00:02, addresses: [10.0.0.2]}
  - {id: spare, name: Spare node, mac: 02:00:00:00:00:03, addresses: [10.0.0.3]}
"""
ADDRESSES = {"washer": "10.0.0.1", "lock": "10.0.0.2", "spare": "10.0.0.3"}
PORT = Endpoint("tcp", 80)


class Script:
    """A firewall and a clock."""

    def __init__(self) -> None:
        self.firewall = Firewall(parse(SITE, "site.yaml"), None, b"secret")
        self.now = 1000.0
        self.tokens = count(1)
        self.firewall.handle(InspectorUp(1), self.now)

    def access(self, operation: str, resource: str, client: str = "main") -> Access:
        return Access(ServiceId(f"washer/{client}"), ServiceId("lock/tcp-80"), "http", operation, resource)

    def see(self, access: Access, reason: Reason, consumed: bool = False) -> Sequence[Effect]:
        allowed = reason in (Reason.LEARNING, Reason.KNOWN)
        seen = Observed(
            DeviceId("washer"), DeviceId("lock"), ADDRESSES["washer"], ADDRESSES["lock"], PORT, access,
            "GET", None, None, allowed, reason, self.now, consumed=consumed,
        )  # fmt: skip
        return self.firewall.handle(seen, self.now)

    def graduate(self) -> None:
        self.see(self.access("read", "/state"), Reason.LEARNING)
        for _ in range(20):
            self.now += 1.0
            self.firewall.handle(Tick(), self.now)

    def decide(self, approve: bool, duration: Duration = Duration.ALWAYS) -> Sequence[Effect]:
        request = self.firewall.view(self.now).requests[0].id
        command = Decide(next(self.tokens), request, approve, "me", duration=duration)
        return self.firewall.handle(command, self.now)

    def status(self, access: Access) -> Status | None:
        views = self.firewall.view(self.now).relationships.values()
        return next((v.relationship.status for v in views if v.relationship.access == access), None)


@pytest.fixture
def script() -> Script:
    made = Script()
    made.graduate()
    return made


def kinds(effects: Sequence[Effect]) -> list[type]:
    return [type(effect) for effect in effects if isinstance(effect, Persist | UpdateTable | Answer)]


def test_what_comes_while_both_learn_is_learnt_and_then_learning_ends(script: Script) -> None:
    assert script.status(script.access("read", "/state")) is Status.LEARNED
    assert not any(view.learning for view in script.firewall.view(script.now).services.values())


def test_refused_attempts_do_not_prolong_learning() -> None:
    script = Script()
    script.see(script.access("read", "/state"), Reason.LEARNING)
    for _ in range(20):
        script.now += 1.0
        script.see(script.access("write", "/door"), Reason.NEW_OPERATION)
        script.firewall.handle(Tick(), script.now)
    assert not any(view.learning for view in script.firewall.view(script.now).services.values())


def test_what_is_new_after_learning_is_asked_as_a_sentence(script: Script) -> None:
    script.see(script.access("write", "/isOpen"), Reason.NEW_OPERATION)
    (card,) = script.firewall.view(script.now).requests
    assert card.sentence == "Washing machine wants to lock or unlock Front door"
    assert (card.risk, card.reason) == ("opens", "new operation")


def test_noise_does_not_hide_what_opens_a_door(script: Script) -> None:
    for number in range(5):
        script.see(script.access("read", f"/noise-{'abcde'[number]}"), Reason.NEW_RESOURCE)
    script.see(script.access("write", "/isOpen"), Reason.NEW_OPERATION)
    cards = script.firewall.view(script.now).requests
    (alone,) = [card for card in cards if card.risk == "opens"]
    assert len(alone.relationships) == 1
    assert all(len(card.questions) == len(card.relationships) for card in cards)


def test_approval_is_stored_before_it_is_enforced(script: Script) -> None:
    script.see(script.access("write", "/isOpen"), Reason.NEW_OPERATION)
    assert kinds(script.decide(approve=True)) == [Persist, UpdateTable, Answer]


def test_denial_is_enforced_before_it_is_stored(script: Script) -> None:
    script.see(script.access("write", "/isOpen"), Reason.NEW_OPERATION)
    assert kinds(script.decide(approve=False)) == [UpdateTable, Persist, Answer]


def test_decision_that_cannot_be_stored_changes_nothing(script: Script) -> None:
    access = script.access("write", "/isOpen")
    script.see(access, Reason.NEW_OPERATION)
    (persist,) = [e for e in script.decide(approve=True) if isinstance(e, Persist)]
    effects = script.firewall.handle(NotStored(persist.token, "disk full"), script.now)
    assert script.status(access) is Status.PENDING
    (answer,) = [e for e in effects if isinstance(e, Answer)]
    assert answer.code == "not stored"


def test_undo_puts_the_question_back(script: Script) -> None:
    access = script.access("write", "/isOpen")
    script.see(access, Reason.NEW_OPERATION)
    script.decide(approve=False)
    assert script.status(access) is Status.DENIED
    script.firewall.handle(Undo(99, 1, "me"), script.now)
    assert script.status(access) is Status.PENDING


def test_denied_relationship_stays_denied_while_learning_again(script: Script) -> None:
    access = script.access("write", "/isOpen")
    script.see(access, Reason.NEW_OPERATION)
    script.decide(approve=False)
    for service in ("washer/main", "lock/tcp-80"):
        script.firewall.handle(Learn(50, ServiceId(service), True, "me"), script.now)
    script.see(access, Reason.DENIED)
    assert script.status(access) is Status.DENIED


def test_decision_for_an_hour_expires(script: Script) -> None:
    access = script.access("write", "/isOpen")
    script.see(access, Reason.NEW_OPERATION)
    script.decide(approve=True, duration=Duration.HOUR)
    assert script.status(access) is Status.APPROVED
    script.now += 3601.0
    effects = script.firewall.handle(Tick(), script.now)
    assert script.status(access) is Status.EXPIRED
    deltas = [d for e in effects if isinstance(e, UpdateTable) for d in e.deltas]
    assert any(isinstance(d, SetGrant) and d.access == access and d.allow is None for d in deltas)


def test_what_is_allowed_once_is_used_up(script: Script) -> None:
    access = script.access("write", "/isOpen")
    script.see(access, Reason.NEW_OPERATION)
    script.decide(approve=True, duration=Duration.ONCE)
    script.see(access, Reason.KNOWN, consumed=True)
    assert script.status(access) is Status.EXPIRED


def test_service_renamed_on_a_graduated_device_does_not_learn_again(script: Script) -> None:
    script.see(script.access("read", "/state", client="renamed"), Reason.NEW_SERVICE)
    view = script.firewall.view(script.now)
    assert not view.services[ServiceId("washer/renamed")].service.learning
    assert view.requests[0].reason == "new service"
    assert '"renamed"' in view.requests[0].explanation


def test_service_that_moves_keeps_its_relationships(script: Script) -> None:
    script.firewall.handle(Move(60, ServiceId("lock/tcp-80"), DeviceId("spare"), "me"), script.now)
    view = script.firewall.view(script.now)
    assert view.services[ServiceId("lock/tcp-80")].device.id == "spare"
    assert script.status(script.access("read", "/state")) is Status.LEARNED
    assert {(pair.client, pair.server) for pair in view.pairs} == {("washer", "spare")}


def test_view_shows_the_site_as_it_was_however_late_it_is_looked_at(script: Script) -> None:
    before = script.firewall.view(script.now)
    script.see(script.access("write", "/isOpen"), Reason.NEW_OPERATION)
    script.firewall.handle(Move(61, ServiceId("lock/tcp-80"), DeviceId("spare"), "me"), script.now)
    after = script.firewall.view(script.now)
    assert {view.relationship.access.operation for view in before.relationships.values()} == {"read"}
    assert {view.relationship.access.operation for view in after.relationships.values()} == {"read", "write"}
    assert before.services[ServiceId("lock/tcp-80")].device.id == "lock"
    assert [pair.server for pair in before.pairs] == ["lock"]
    assert [pair.server for pair in after.pairs] == ["spare"]
