"""Server-sent events: what is told, in which order, and that nobody slow is waited for."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx

from controller.model.relationship import DeviceId, ServiceId
from controller.view import LearningView, RelationshipView, ServiceView
from controller.web.changes import LISTENERS, happened
from controller.web.server import Server
from tests.unit.web.fake_site import TOKEN, FakeSite, home

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


def events(stream: httpx.Response) -> Iterator[tuple[str, dict[str, object]]]:
    name = ""
    for line in stream.iter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


def test_a_listener_hears_a_decision_made_and_then_in_force(server: Server, site: FakeSite) -> None:
    site.in_force_after = 0.2
    with httpx.stream("GET", f"{server.url}/api/v1/events", headers=HEADERS, timeout=5) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        heard = events(stream)
        assert next(heard)[0] == "version"
        httpx.post(f"{server.url}/api/v1/requests/bbbb222222/approve", headers=HEADERS)
        names = []
        for name, data in heard:
            names.append(name)
            if name == "request-closed":
                assert data == {"id": "bbbb222222"}
            if name == "in-force":
                assert data["latency"] == 0.012
                break
        assert names == ["request-closed", "decision", "version", "in-force"]


def test_two_listeners_hear_of_a_new_request(server: Server, site: FakeSite) -> None:
    first = site.snapshot().requests[0]
    heard: list[str] = []
    ready = threading.Barrier(3)

    def listen() -> None:
        with httpx.stream("GET", f"{server.url}/api/v1/events", headers=HEADERS, timeout=5) as stream:
            found = events(stream)
            next(found)
            ready.wait()
            heard.append(next(data["id"] for name, data in found if name == "request"))

    threads = [threading.Thread(target=listen) for _ in range(2)]
    for thread in threads:
        thread.start()
    ready.wait()
    site.change(requests=(first, replace(first, id="cccc333333")))
    for thread in threads:
        thread.join(5)
    assert heard == ["cccc333333", "cccc333333"]


def test_a_flood_of_changes_is_gathered_and_its_end_is_told(server: Server, site: FakeSite) -> None:
    with httpx.stream("GET", f"{server.url}/api/v1/events", headers=HEADERS, timeout=5) as stream:
        heard = events(stream)
        next(heard)
        for _ in range(500):
            site.change()
        last = site.snapshot().version
        told = 0
        for name, data in heard:
            assert name == "version"
            told += 1
            if data["version"] == last:
                break
        assert told < 50


def test_there_is_a_limit_to_listeners(server: Server) -> None:
    with httpx.Client(limits=httpx.Limits(max_connections=None), headers=HEADERS, timeout=5) as client:
        open_streams = []
        for _ in range(LISTENERS):
            stream = client.send(client.build_request("GET", f"{server.url}/api/v1/events"), stream=True)
            lines = stream.iter_lines()  # kept, as its end would end the stream
            next(lines)
            open_streams.append((stream, lines))
        answer = client.get(f"{server.url}/api/v1/events")
        assert (answer.status_code, answer.json()["code"]) == (503, "too many listeners")
        for stream, _ in open_streams:
            stream.close()
        end = time.monotonic() + 3
        while time.monotonic() < end:
            with client.stream("GET", f"{server.url}/api/v1/events") as stream:
                if stream.status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError("the streams that ended still count")


def test_nothing_is_told_when_nothing_has_changed() -> None:
    view = home()
    assert list(happened(view, view)) == []
    assert [name for name, _ in happened(None, view)] == ["version"]
    assert [name for name, _ in happened(view, replace(view, version=6))] == ["version"]


def listening(server: Server) -> Any:
    return httpx.stream("GET", f"{server.url}/api/v1/events", headers=HEADERS, timeout=5)


def test_messages_are_counted_since_the_last_time(server: Server, site: FakeSite) -> None:
    def counted(allowed: int) -> dict[str, RelationshipView]:
        edges = dict(site.snapshot().relationships)
        edge = edges["aaaa111111"]
        edges["aaaa111111"] = replace(edge, relationship=replace(edge.relationship, allowed=allowed))
        return edges

    with listening(server) as stream:
        heard = events(stream)
        next(heard)
        site.change(relationships=counted(10))  # it was 7
        assert next(data for name, data in heard if name == "seen") == {"relationships": {"aaaa111111": 3}}
        site.change(relationships=counted(15))
        assert next(data for name, data in heard if name == "seen") == {"relationships": {"aaaa111111": 5}}


def test_learning_is_told_in_steps_and_when_it_is_over(server: Server, site: FakeSite) -> None:
    def at(progress: float | None) -> dict[ServiceId, ServiceView]:
        found = dict(site.snapshot().services)
        one = found[ServiceId("battery/tcp-80")]
        learning = None if progress is None else LearningView(progress, 2000.0, 100.0)
        found[one.service.id] = replace(one, learning=learning)
        return found

    with listening(server) as stream:
        heard = events(stream)
        next(heard)
        site.change(services=at(0.255))  # too small a step
        site.change(services=at(0.5))
        found = next(data for name, data in heard if name == "learning")
        assert found == {"service": "battery/tcp-80", "progress": 0.5, "ends_at_latest": 2000.0}
        site.change(services=at(None))
        found = next(data for name, data in heard if name == "learning")
        assert found == {"service": "battery/tcp-80", "ended": True}


def test_a_pause_and_its_end_are_told(server: Server, site: FakeSite) -> None:
    with listening(server) as stream:
        heard = events(stream)
        next(heard)
        for until in (1234.0, None):
            devices = dict(site.snapshot().devices)
            devices[DeviceId("lock")] = replace(devices[DeviceId("lock")], paused_until=until)
            site.change(devices=devices)
            found = next(data for name, data in heard if name == "pause")
            assert found == {"device": "lock", "until": until}
