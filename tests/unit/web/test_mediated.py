"""Who hears whom through a broker: topics and filters meet as MQTT has it."""

from dataclasses import replace

import pytest

from controller.dpi.message import Operation
from controller.model.relationship import Access, ServiceId, Status
from controller.view import RelationshipView, SiteView
from controller.web.mediated import mediated, meets
from tests.unit.web.fake_site import home


@pytest.mark.parametrize(
    ("topic", "wanted", "met"),
    [
        ("home/door", "home/door", True),
        ("home/door", "home/+", True),
        ("home/door", "home/#", True),
        ("home", "home/#", True),
        ("home/door", "#", True),
        ("home/door/open", "home/+", False),
        ("home", "home/+", False),
        ("home/door", "home/window", False),
        ("home/door", "home", False),
        ("$SYS/load", "#", False),
        ("$SYS/load", "+/load", False),
        ("$SYS/load", "$SYS/#", True),
        ("home/{number}/state", "home/12/state", True),
        ("home/12/state", "home/{number}/state", True),
        ("*", "home", True),
    ],
)
def test_topics_meet_filters(topic: str, wanted: str, met: bool) -> None:
    assert meets(topic, wanted) is met


def site(*edges: tuple[str, str, str, Status]) -> SiteView:
    """Relationships with the broker: (client, operation, topic, status)."""
    view = home()
    model = view.relationships["aaaa111111"]

    def edge(number: int, client: str, operation: str, topic: str, status: Status) -> RelationshipView:
        access = Access(ServiceId(client), ServiceId("broker/tcp-1883"), "mqtt", Operation(operation), topic)
        relationship = replace(model.relationship, access=access, status=status)
        return replace(model, id=f"edge{number}", relationship=relationship)

    found = [edge(number, *given) for number, given in enumerate(edges)]
    return replace(view, relationships={one.id: one for one in found})


def test_each_publisher_is_joined_with_each_subscriber_that_hears_it() -> None:
    found = mediated(
        site(
            ("sensor/main", "publish", "home/door", Status.LEARNED),
            ("app/main", "subscribe", "home/#", Status.APPROVED),
            ("lamp/main", "subscribe", "garden/#", Status.LEARNED),
        )
    )
    assert [(one.publisher, one.topic, one.subscriber, one.status) for one in found] == [
        ("sensor/main", "home/door", "app/main", Status.APPROVED)
    ]


@pytest.mark.parametrize("worse", [Status.PENDING, Status.DENIED, Status.EXPIRED])
def test_the_status_is_that_of_the_worse_half(worse: Status) -> None:
    (found,) = mediated(
        site(
            ("sensor/main", "publish", "home/door", Status.LEARNED),
            ("app/main", "subscribe", "home/#", worse),
        )
    )
    assert (found.status, found.publish, found.subscribe) == (worse, "edge0", "edge1")
