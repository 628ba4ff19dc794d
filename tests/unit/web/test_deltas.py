"""What is told of the graph: first all of it, then what differs and what is gone, then nothing."""

import json
from dataclasses import replace

import httpx

from controller.model.relationship import DeviceId, ServiceId
from controller.web.deltas import Gone, graph_delta
from controller.web.server import Server
from tests.unit.web.fake_site import TOKEN, home


def test_the_first_is_the_whole_graph() -> None:
    view = home()
    delta = graph_delta(None, view)
    assert delta is not None
    assert (delta.whole, delta.site, delta.gone) == (True, "Home", Gone())
    assert [len(delta.devices), len(delta.services), len(delta.relationships)] == [3, 3, 2]


def test_what_is_the_same_is_not_told() -> None:
    assert graph_delta(home(), home()) is None


def test_only_what_differs_is_told() -> None:
    old = home()
    edge = old.relationships["aaaa111111"]
    counted = replace(edge, relationship=replace(edge.relationship, allowed=8))
    delta = graph_delta(old, replace(old, relationships={**old.relationships, edge.id: counted}))
    assert delta is not None
    assert (delta.whole, delta.devices, delta.services) == (False, (), ())
    assert delta.relationships == (counted,)


def test_what_is_gone_is_told_by_its_id() -> None:
    old = home()
    kept = {name: view for name, view in old.devices.items() if name != "lock"}
    delta = graph_delta(old, replace(old, devices=kept, services={}, relationships={}))
    assert delta is not None
    assert delta.gone.devices == (DeviceId("lock"),)
    assert set(delta.gone.services) == {ServiceId(name) for name in old.services}
    assert delta.gone.relationships == ("aaaa111111", "bbbb222222")


def test_the_stream_begins_with_the_graph_for_those_who_ask(server: Server) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.stream("GET", f"{server.url}/api/v1/events?graph=1", headers=headers, timeout=5) as stream:
        lines = stream.iter_lines()
        event = next(line for line in lines if line.startswith("event:"))
        data = json.loads(next(line for line in lines if line.startswith("data:"))[5:])
    assert event == "event: graph"
    assert data["whole"]
    assert {device["id"] for device in data["devices"]} == {"washer", "battery", "lock"}
