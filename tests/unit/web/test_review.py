"""The review of what a service has learnt: what deserves a look is said, with why, the riskiest first."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from controller.model.relationship import DeviceId, ServiceId, Status
from controller.model.service import Place
from controller.view import RelationshipView, SiteView
from controller.web.review import review
from controller.web.site import ApiError
from tests.unit.web.fake_site import home

WASHER = ServiceId("washer/control")


def learnt(change: Callable[[RelationshipView], RelationshipView], place: Place = Place.SITE) -> SiteView:
    """A site in which washer and battery have one learnt relationship, changed a little."""
    view = home()
    edge = change(view.relationships["aaaa111111"])
    devices = dict(view.devices)
    battery = devices[DeviceId("battery")]
    devices[battery.id] = replace(battery, place=place, addresses=frozenset({"battery"}))
    return replace(view, relationships={edge.id: edge}, devices=devices)


def counted(edge: RelationshipView, times: int) -> RelationshipView:
    return replace(edge, relationship=replace(edge.relationship, allowed=times))


@pytest.mark.parametrize(
    ("change", "place", "why"),
    [
        (lambda edge: edge, Place.SITE, None),
        (lambda edge: replace(edge, risk="changes"), Place.SITE, None),
        (lambda edge: replace(edge, risk="opens"), Place.SITE, "It can open or endanger something."),
        (
            lambda edge: counted(replace(edge, risk="changes"), 1),
            Place.SITE,
            "It changes something, and was seen only once.",
        ),
        (lambda edge: edge, Place.REMOTE, "It goes to an address outside that has no name."),
        (
            lambda edge: replace(edge, client_device=DeviceId("battery")),
            Place.REMOTE,
            "Somebody outside asks for it.",
        ),
    ],
)
def test_what_deserves_a_look_is_said_with_why(
    change: Callable[[RelationshipView], RelationshipView], place: Place, why: str | None
) -> None:
    found = review(learnt(change, place), WASHER)
    assert found.learnt == 1
    assert [one.why for one in found.worth_a_look] == ([] if why is None else [why])
    assert [one.relationship for one in found.worth_a_look] == ([] if why is None else ["aaaa111111"])


def test_only_what_was_learnt_is_reviewed() -> None:
    def denied(edge: RelationshipView) -> RelationshipView:
        return replace(edge, risk="opens", relationship=replace(edge.relationship, status=Status.DENIED))

    assert review(learnt(denied), WASHER).learnt == 0


def test_the_riskiest_comes_first() -> None:
    view = learnt(lambda edge: counted(replace(edge, risk="changes"), 1))
    (edge,) = view.relationships.values()
    view = replace(view, relationships={edge.id: edge, "b": replace(edge, id="b", risk="opens")})
    assert [one.risk for one in review(view, WASHER).worth_a_look] == ["opens", "changes"]


def test_it_says_when_learning_ended() -> None:
    view = home()
    assert review(view, ServiceId("battery/tcp-80")).ended_at is None  # it learns still
    one = view.services[WASHER]
    ended = replace(one, service=replace(one.service, graduated=77.0))
    assert review(replace(view, services={WASHER: ended}), WASHER).ended_at == 77.0


def test_a_service_that_does_not_exist_is_named() -> None:
    with pytest.raises(ApiError, match="there is no service nobody"):
        review(home(), ServiceId("nobody"))
