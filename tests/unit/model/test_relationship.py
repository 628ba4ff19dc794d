"""The table of status transitions, whole; and what makes two accesses the same."""

from itertools import product

import pytest

from controller.model.relationship import (
    ANY,
    TRANSITIONS,
    Access,
    Endpoint,
    Happening,
    ServiceId,
    Status,
    after,
)

LEARN, ASK, APPROVE, DENY, EXPIRE = Happening
LEARNED, PENDING, APPROVED, DENIED, EXPIRED = Status
# What follows in each status upon LEARN, ASK, APPROVE, DENY, EXPIRE.
TABLE: dict[Status | None, tuple[Status | None, ...]] = {
    None: (LEARNED, PENDING, APPROVED, DENIED, None),
    LEARNED: (LEARNED, LEARNED, APPROVED, DENIED, LEARNED),
    PENDING: (LEARNED, PENDING, APPROVED, DENIED, PENDING),
    APPROVED: (APPROVED, APPROVED, APPROVED, DENIED, EXPIRED),
    DENIED: (DENIED, DENIED, APPROVED, DENIED, EXPIRED),
    EXPIRED: (PENDING, PENDING, APPROVED, DENIED, EXPIRED),
}
EXPECTED = [(s, h, TABLE[s][n]) for s in TABLE for n, h in enumerate(Happening) if TABLE[s][n] is not None]


@pytest.mark.parametrize(("status", "happening", "follows"), EXPECTED)
def test_status_follows_from_what_happens(
    status: Status | None, happening: Happening, follows: Status
) -> None:
    assert after(status, happening) is follows


def test_every_status_and_happening_is_thought_of() -> None:
    assert set(TABLE) == {None, *Status}
    named = {(s, h) for s, h, _ in EXPECTED} | {(None, EXPIRE)}
    assert named == set(product((None, *Status), Happening))


def test_what_is_not_known_cannot_expire() -> None:
    with pytest.raises(ValueError, match="nothing is known yet"):
        after(None, EXPIRE)


def test_no_learning_brings_back_what_the_manager_has_ended() -> None:
    for status in (DENIED, EXPIRED):
        assert not after(status, LEARN).allows


def test_only_people_leave_a_denial() -> None:
    assert {h for (s, h), follows in TRANSITIONS.items() if s is DENIED and follows.allows} == {APPROVE}


def test_learned_and_approved_are_the_statuses_that_allow() -> None:
    assert {status for status in Status if status.allows} == {LEARNED, APPROVED}


@pytest.mark.parametrize("wild", ["protocol", "operation", "resource"])
def test_access_with_a_wildcard_is_not_exact(wild: str) -> None:
    said = {"protocol": "http", "operation": "read", "resource": "/a"}
    ends = (ServiceId("a/main"), ServiceId("b/tcp-80"))
    assert Access(*ends, **said).exact
    assert not Access(*ends, **{**said, wild: ANY}).exact


def test_endpoint_is_written_as_transport_and_port() -> None:
    assert str(Endpoint("udp", 5683)) == "udp-5683"
