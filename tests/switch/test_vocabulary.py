"""What Open vSwitch makes of our flows: it takes them all, and gives them back as they were."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.flows.flow import Flow, difference
from tests.switch.conftest import Channel
from tests.unit.flow_strategies import flows

pytestmark = pytest.mark.root


def by_key(some: list[Flow]) -> list[Flow]:
    return list({flow.key: flow for flow in some}.values())


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(flows(), min_size=1, max_size=40))
def test_every_flow_is_accepted_and_read_back_equal(shared_channel: Channel, wanted: list[Flow]) -> None:
    wanted = by_key(wanted)
    shared_channel.install(*wanted)
    try:
        installed = shared_channel.flows()
        assert not difference(installed, wanted)
        assert set(installed) == set(wanted)
        assert len(installed) == len(wanted)
    finally:
        shared_channel.remove(*wanted)
    assert shared_channel.flows() == []


@pytest.fixture
def shared_channel(make_bridge: Callable[..., str], channel: Callable[[str], Channel]) -> Channel:
    found = channel(make_bridge())
    assert found.meters() == []
    return found
