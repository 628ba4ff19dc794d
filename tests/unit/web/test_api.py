"""The API over real HTTP: what it answers, what it refuses, and in which words."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx
import pytest

from controller.events import Answer, Block, Decide, Duration, Learn, Move, Pause, Rename, SameAs, Scope, Undo
from controller.flows.flow import Flow, Match, Table
from controller.model.relationship import DeviceId, Status
from controller.view import FlowView
from controller.web.commanding import tonight
from controller.web.guard import LARGEST_BODY
from controller.web.server import ServeError, Server, serve
from tests.unit.web.fake_site import COOKIE, TOKEN, FakeSite, app_of, home

# ---------------------------------------------------------------- who may ask


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer " + "0" * 64},
        {"Authorization": "Bearer " + TOKEN[:-1]},
        {"Authorization": "Bearer"},
        {"Authorization": f"Basic {TOKEN}"},
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/graph", "/api/v1/openapi.json", "/metrics", "/nowhere", "/pages"])
def test_nothing_is_told_without_the_token(server: Server, path: str, headers: dict[str, str]) -> None:
    answer = httpx.get(server.url + path, headers=headers)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert set(answer.json()) == {"code", "message", "remedy"}


def test_a_command_without_the_token_is_not_carried_out(server: Server, site: FakeSite) -> None:
    assert httpx.post(server.url + "/api/v1/requests/bbbb222222/approve").status_code == 401
    assert site.commands == []


def test_health_needs_no_token_and_tells_nothing_else(server: Server) -> None:
    assert httpx.get(server.url + "/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_long_is_refused(client: httpx.Client, site: FakeSite, chunked: bool) -> None:
    body = b"x" * (LARGEST_BODY + 1)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 8192):
            yield body[start : start + 8192]

    answer = client.post("/api/v1/requests/bbbb222222/approve", content=pieces() if chunked else body)
    assert (answer.status_code, answer.json()["code"]) == (413, "too long")
    assert site.commands == []


def test_answers_are_never_cached(client: httpx.Client) -> None:
    assert client.get("/api/v1/graph").headers["cache-control"] == "no-store"


# ---------------------------------------------------------------- reading


def test_the_graph_is_the_views_own_fields(client: httpx.Client) -> None:
    graph = client.get("/api/v1/graph").json()
    assert (graph["version"], graph["site"], graph["switch"]) == (5, "Home", None)
    assert {device["id"]: device["place"] for device in graph["devices"]} == {
        "washer": "site",
        "battery": "site",
        "lock": "site",
    }
    edge = next(edge for edge in graph["relationships"] if edge["id"] == "bbbb222222")
    assert edge["relationship"]["status"] == "pending"
    assert edge["relationship"]["access"] == {
        "client": "washer/control",
        "server": "lock/tcp-80",
        "protocol": "http",
        "operation": "write",
        "resource": "/state",
    }
    assert edge["treatment"] == "inspect"


@pytest.mark.parametrize("name", ["hall", "2", "0x2", "0000000000000002"])
def test_each_switch_has_a_graph_of_its_own(client: httpx.Client, name: str) -> None:
    graph = client.get("/api/v1/graph", params={"switch": name}).json()
    assert [edge["id"] for edge in graph["relationships"]] == ["bbbb222222"]
    assert {device["id"] for device in graph["devices"]} == {"washer", "lock"}


def test_a_switch_that_does_not_exist_is_named_with_those_that_do(client: httpx.Client) -> None:
    answer = client.get("/api/v1/graph", params={"switch": "attic"})
    assert answer.status_code == 404
    assert answer.json()["remedy"] == "the switches: kitchen, hall"


def test_a_service_with_a_slash_in_its_id_has_an_address(client: httpx.Client) -> None:
    answer = client.get("/api/v1/services/washer/control").json()
    assert answer["service"]["service"]["id"] == "washer/control"
    assert [edge["id"] for edge in answer["relationships"]] == ["aaaa111111", "bbbb222222"]
    assert [request["id"] for request in answer["requests"]] == ["bbbb222222"]
    assert client.get("/api/v1/services/washer/nothing").status_code == 404


def test_a_learning_phase_without_an_end_has_no_infinite_number(client: httpx.Client) -> None:
    text = client.get("/api/v1/services").text
    learning = [view["learning"] for view in json.loads(text)["services"] if view["learning"]]
    assert learning == [{"progress": 0.25, "ends_at_latest": None, "quiet_since": 100.0}]
    assert "Infinity" not in text


def test_cookies_are_text_because_browsers_have_too_small_numbers(client: httpx.Client) -> None:
    (pair,) = client.get("/api/v1/pairs").json()["pairs"]
    assert pair["cookie"] == f"{COOKIE:#x}"


def test_the_log_is_read_page_by_page(client: httpx.Client) -> None:
    numbers: list[int] = []
    before: int | None = None
    while True:
        page = client.get(
            "/api/v1/log", params={"limit": 100} | ({"before": before} if before else {})
        ).json()
        numbers += [entry["number"] for entry in page["entries"]]
        before = page["next"]
        if before is None:
            break
    assert numbers == list(range(250, 0, -1))


@pytest.mark.parametrize(
    "route", ["status", "requests", "decisions", "services", "devices", "switches", "pairs"]
)
def test_every_reading_route_says_its_version(client: httpx.Client, route: str) -> None:
    assert client.get(f"/api/v1/{route}").json()["version"] == 5


HOSTILE = "<script>alert(1)</script>\u202e\x00\ud800\"'\n"


def test_hostile_names_are_data_only() -> None:
    site = FakeSite(home(HOSTILE))
    running = serve(app_of(site), "127.0.0.1", 0)
    try:
        for route in ("graph", "status", "services", "devices", "requests"):
            answer = httpx.get(f"{running.url}/api/v1/{route}", headers={"Authorization": f"Bearer {TOKEN}"})
            assert answer.status_code == 200
            assert answer.headers["content-type"] == "application/json"
            assert answer.headers["x-content-type-options"] == "nosniff"
        names = {device["name"] for device in json.loads(_get(running, "devices"))["devices"]}
        assert "Lock" + HOSTILE in names
    finally:
        running.stop()


def _get(running: Server, route: str) -> bytes:
    return httpx.get(f"{running.url}/api/v1/{route}", headers={"Authorization": f"Bearer {TOKEN}"}).content


def test_openapi_describes_every_route(client: httpx.Client) -> None:
    described = client.get("/api/v1/openapi.json").json()
    assert {
        "/api/v1/graph",
        "/api/v1/requests/{request}/approve",
        "/api/v1/requests/{request}/deny",
        "/api/v1/decisions/{decision}/undo",
        "/api/v1/services/{name}",
        "/api/v1/services/{name}/learn",
        "/api/v1/services/{name}/move",
        "/api/v1/devices/{name}/block",
        "/api/v1/devices/{name}/rename",
        "/api/v1/switches",
        "/api/v1/log",
        "/api/v1/why",
        "/api/v1/events",
        "/metrics",
        "/healthz",
    } <= set(described["paths"])
    graph = described["paths"]["/api/v1/graph"]["get"]
    assert graph["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Graph"
    }
    assert graph["security"] == [{"HTTPBearer": []}, {"APIKeyCookie": []}]
    assert "Problem" in described["components"]["schemas"]


# ---------------------------------------------------------------- commands


def test_approving_makes_the_command_and_waits_until_it_is_in_force(
    client: httpx.Client, site: FakeSite
) -> None:
    site.in_force_after = 0.1
    answer = client.post(
        "/api/v1/requests/bbbb222222/approve",
        json={"scope": "service", "duration": "hour", "only": ["bbbb222222"], "wait": 3},
    )
    assert answer.status_code == 200
    assert answer.json()["decision"] == 1
    assert (answer.json()["in_force"], answer.json()["latency"]) == (True, 0.012)
    (command,) = site.commands
    assert isinstance(command, Decide)
    assert (command.request, command.approve, command.by) == ("bbbb222222", True, "local command line")
    assert (command.scope, command.duration) == (Scope.SERVICE, Duration.HOUR)
    assert command.only == ("bbbb222222",)


def test_asked_for_and_in_force_are_told_apart(client: httpx.Client, site: FakeSite) -> None:
    site.in_force_after = None
    began = time.monotonic()
    answer = client.post("/api/v1/requests/bbbb222222/deny", json={"wait": 0.3})
    assert 0.25 < time.monotonic() - began < 2
    assert answer.json()["in_force"] is False
    assert client.get("/api/v1/decisions").json()["decisions"][0]["in_force"] is False
    site.enforce(1)
    assert client.get("/api/v1/decisions").json()["decisions"][0]["in_force"] is True


def test_an_empty_body_means_this_operation_for_ever(client: httpx.Client, site: FakeSite) -> None:
    assert client.post("/api/v1/requests/bbbb/approve").status_code == 200
    (command,) = site.commands
    assert isinstance(command, Decide)
    assert (command.scope, command.duration, command.only) == (Scope.OPERATION, Duration.ALWAYS, ())


def test_tonight_ends_at_the_next_midnight_of_this_place(client: httpx.Client, site: FakeSite) -> None:
    client.post("/api/v1/requests/bbbb/approve", json={"duration": "tonight"})
    (command,) = site.commands
    assert isinstance(command, Decide)
    assert command.tonight is not None
    assert 0 < command.tonight - time.time() <= 25 * 3600
    assert time.strftime("%H:%M:%S", time.localtime(command.tonight)) == "00:00:00"


@pytest.mark.parametrize(
    ("now", "midnight"),
    [
        ("2024-03-30 12:00", "2024-03-31 00:00"),
        ("2024-03-31 00:00", "2024-04-01 00:00"),  # a day of 23 hours
        ("2024-10-27 00:30", "2024-10-28 00:00"),  # a day of 25 hours
        ("2024-12-31 23:59", "2025-01-01 00:00"),
    ],
)
def test_tonight_minds_days_that_are_not_24_hours_long(
    now: str, midnight: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        assert (
            tonight(datetime.fromisoformat(now).timestamp()) == datetime.fromisoformat(midnight).timestamp()
        )
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("path", "body", "command"),
    [
        ("decisions/3/undo", None, Undo(0, 3, "local command line")),
        (
            "services/washer/control/learn",
            {"action": "start"},
            Learn(0, "washer/control", True, "local command line"),
        ),
        (
            "services/washer/control/learn",
            {"action": "end"},
            Learn(0, "washer/control", False, "local command line"),
        ),
        (
            "services/washer/control/move",
            {"device": "lock"},
            Move(0, "washer/control", "lock", "local command line"),
        ),
        (
            "services/washer/control/rename",
            {"name": "W"},
            Rename(0, "washer/control", "W", "local command line"),
        ),
        ("devices/lock/rename", {"name": "Door"}, Rename(0, "lock", "Door", "local command line")),
        ("devices/@a.example/block", None, Block(0, "@a.example", True, "local command line")),
        ("devices/lock/pause", {"seconds": 600}, Pause(0, "lock", 600.0, "local command line")),
        ("devices/lock/pause", {}, Pause(0, "lock", 3600.0, "local command line")),
        (
            "requests/cccc333333/same-as",
            {"device": "lock"},
            SameAs(0, "cccc333333", "lock", "local command line"),
        ),
        ("devices/lock/name", {"name": "Door"}, Rename(0, "lock", "Door", "local command line")),
        ("devices/lock/block", {"blocked": False}, Block(0, "lock", False, "local command line")),
    ],
)
def test_each_route_makes_its_command(
    client: httpx.Client, site: FakeSite, path: str, body: object, command: object
) -> None:
    assert client.post(f"/api/v1/{path}", json=body).status_code == 200
    assert site.commands == [command]


@pytest.mark.parametrize(
    ("code", "status"),
    [("not found", 404), ("ambiguous", 409), ("already so", 409), ("not stored", 503), ("no end given", 400)],
)
def test_a_refused_command_is_an_error_with_its_remedy(
    client: httpx.Client, site: FakeSite, code: str, status: int
) -> None:
    site.answer = Answer(0, code=code, message="so it is", remedy="do this")
    answer = client.post("/api/v1/decisions/9/undo")
    assert answer.status_code == status
    assert answer.json() == {"code": code, "message": "so it is", "remedy": "do this"}


def test_a_controller_that_does_not_answer_is_an_error_too(client: httpx.Client, site: FakeSite) -> None:
    site.silent = True
    answer = client.post("/api/v1/decisions/9/undo")
    assert (answer.status_code, answer.json()["code"]) == (504, "no answer")


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("requests/a/approve", b'{"scope": "everything"}', "scope"),
        ("requests/a/approve", b'{"for": "ever"}', "for"),
        ("requests/a/approve", b'{"wait": 60}', "wait"),
        ("requests/a/approve", b"{", "JSON"),
        ("requests/a/approve", b"\xff", ""),
        ("decisions/x/undo", b"{}", "id"),
        ("services/a/b/learn", b'{"action": "stop"}', "action"),
        ("devices/a/rename", b'{"name": ""}', "name"),
        ("devices/a/pause", b'{"seconds": 86401}', "seconds"),
        ("devices/a/pause", b'{"seconds": -1}', "seconds"),
    ],
)
def test_a_body_that_is_not_understood_names_the_field(
    client: httpx.Client, site: FakeSite, path: str, body: bytes, word: str
) -> None:
    answer = client.post(f"/api/v1/{path}", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert set(answer.json()) == {"code", "message", "remedy"}
    assert word in answer.json()["message"]
    assert site.commands == []


def test_unknown_addresses_and_methods_are_errors_of_the_same_form(client: httpx.Client) -> None:
    for answer, status in ((client.get("/nowhere"), 404), (client.delete("/api/v1/graph"), 405)):
        assert answer.status_code == status
        assert set(answer.json()) == {"code", "message", "remedy"}


def test_an_error_inside_is_told_without_its_insides() -> None:
    class Broken(FakeSite):
        def call(self, _command: object) -> Answer:
            raise RuntimeError("the secret plan")

    running = serve(app_of(Broken(home())), "127.0.0.1", 0)
    try:
        answer = httpx.post(
            f"{running.url}/api/v1/decisions/1/undo", headers={"Authorization": f"Bearer {TOKEN}"}
        )
        assert (answer.status_code, answer.json()["code"]) == (500, "internal error")
        assert "secret" not in answer.text
    finally:
        running.stop()


# ---------------------------------------------------------------- pages and changes


@pytest.mark.parametrize(
    ("path", "key", "id_of"),
    [
        ("services", "services", lambda one: one["service"]["id"]),
        ("devices", "devices", lambda one: one["id"]),
        ("requests", "requests", lambda one: one["id"]),
    ],
)
def test_lists_are_read_page_by_page(
    client: httpx.Client, path: str, key: str, id_of: Callable[[Any], str]
) -> None:
    whole = client.get(f"/api/v1/{path}").json()
    assert whole["next"] is None
    found: list[Any] = []
    after = None
    while True:
        params = {"limit": 1} | ({} if after is None else {"after": after})
        one = client.get(f"/api/v1/{path}", params=params).json()
        found += one[key]
        after = one["next"]
        if after is None:
            break
        assert after == id_of(one[key][-1])
    assert found == whole[key]
    assert client.get(f"/api/v1/{path}", params={"after": "nobody"}).status_code == 404


def test_who_has_seen_the_newest_is_told_so_and_nothing_else(client: httpx.Client, site: FakeSite) -> None:
    for path in ("graph", "requests", "services", "devices", "status", "pairs", "decisions", "switches"):
        tag = client.get(f"/api/v1/{path}").headers["etag"]
        again = client.get(f"/api/v1/{path}", headers={"If-None-Match": tag})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        site.change()
        assert client.get(f"/api/v1/{path}", headers={"If-None-Match": tag}).status_code == 200


def test_the_flows_of_a_relationship_are_told_with_their_counters(
    client: httpx.Client, site: FakeSite
) -> None:
    flow = Flow(Table.VERDICT, 310, Match(eth_type=0x0800, ip_proto=6, dst_port=80), (), COOKIE)
    (pair,) = site.snapshot().pairs
    site.change(pairs=(replace(pair, flows=(FlowView(2, flow, 9, 900),)),))
    answer = client.get("/api/v1/relationships/bbbb222222/flows").json()
    (found,) = answer["flows"]
    assert (found["switch"], found["match"], found["actions"]) == ("hall", "tcp, tp_dst=80", "drop")
    assert (found["cookie"], found["packets"]) == (f"{COOKIE:#x}", 9)
    assert client.get("/api/v1/relationships/aaaa111111/flows").json()["flows"] == []
    assert client.get("/api/v1/relationships/zzzz/flows").status_code == 404


def test_the_graph_names_infrastructure_and_on_demand_who_hears_whom(
    client: httpx.Client, site: FakeSite
) -> None:
    assert client.get("/api/v1/graph").json()["mediated"] is None
    assert client.get("/api/v1/graph", params={"mediated": 1}).json()["mediated"] == []
    devices = dict(site.snapshot().devices)
    devices[DeviceId("lock")] = replace(devices[DeviceId("lock")], roles=frozenset({"dns"}))
    site.change(devices=devices)
    assert client.get("/api/v1/graph").json()["infrastructure"] == ["lock"]


def test_a_large_answer_is_compressed(client: httpx.Client) -> None:
    answer = client.get("/api/v1/graph", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json()["site"] == "Home"


# ---------------------------------------------------------------- why


def test_why_between_two_ends_by_name_id_or_address(client: httpx.Client) -> None:
    for asking in ("washer", "Washer", "washer/control", "10.0.0.1", "02:00:00:00:00:01"):
        answer = client.get("/api/v1/why", params={"client": asking, "server": "lock", "port": "80"}).json()
        assert answer["verdict"] == "waiting"
        assert [edge["id"] for edge in answer["relationships"]] == ["bbbb222222"]
        assert any("never talked" in sentence for sentence in answer["sentences"])
        assert any("inspector reads each request" in sentence for sentence in answer["sentences"])


def test_why_about_a_flows_cookie_finds_the_relationship(client: httpx.Client) -> None:
    answer = client.get("/api/v1/why", params={"id": f"{COOKIE:#x}"}).json()
    assert [edge["id"] for edge in answer["relationships"]] == ["bbbb222222"]
    assert client.get("/api/v1/why", params={"id": "0xnonsense"}).status_code == 404


def test_why_names_who_decided(client: httpx.Client, site: FakeSite) -> None:
    client.post("/api/v1/requests/bbbb222222/deny", json={"wait": 1})
    edge = site.snapshot().relationships["bbbb222222"]
    denied = replace(edge, relationship=replace(edge.relationship, status=Status.DENIED, decision=1))
    site.change(relationships={"bbbb222222": denied})
    answer = client.get("/api/v1/why", params={"id": "bbbb"}).json()
    assert answer["verdict"] == "denied"
    assert "denied by local command line on " in answer["sentences"][0]
    assert [view["decision"]["id"] for view in answer["decisions"]] == [1]


def test_why_for_what_was_never_seen_says_so(client: httpx.Client) -> None:
    answer = client.get("/api/v1/why", params={"client": "lock", "server": "battery"}).json()
    assert answer["verdict"] == "unknown"
    assert "Lock was never seen to ask Battery" in answer["sentences"][0]


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({}, 422),
        ({"client": "washer"}, 422),
        ({"client": "nobody", "server": "lock"}, 404),
        ({"id": "zzzz"}, 404),
        ({"id": ""}, 404),
    ],
)
def test_why_refuses_what_it_cannot_understand(
    client: httpx.Client, params: dict[str, str], status: int
) -> None:
    answer = client.get("/api/v1/why", params=params)
    assert answer.status_code == status
    assert answer.json()["remedy"]


# ---------------------------------------------------------------- metrics


def test_metrics_are_in_the_format_of_prometheus(client: httpx.Client) -> None:
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = answer.text.splitlines()
    for line in (
        'graphwall_switch_up{switch="kitchen"} 1.0',
        'graphwall_switch_up{switch="hall"} 0.0',
        'graphwall_relationships{status="pending"} 1.0',
        'graphwall_pairs{treatment="inspect"} 1.0',
        'graphwall_messages_total{protocol="http",verdict="allow"} 14.0',
        'graphwall_controller_events_total{event="odd name"} 1.0',
    ):
        assert line in lines
    assert answer.text.endswith("\n")


# ---------------------------------------------------------------- the server


def test_a_port_that_is_in_use_is_named(server: Server, site: FakeSite) -> None:
    with pytest.raises(ServeError, match=f"127.0.0.1 port {server.port}: Address already in use; stop"):
        serve(app_of(site), "127.0.0.1", server.port)


def test_stopping_ends_listeners_and_frees_the_port_quickly(site: FakeSite) -> None:
    running = serve(app_of(site), "127.0.0.1", 0)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.stream("GET", f"{running.url}/api/v1/events", headers=headers) as stream:
        lines = stream.iter_lines()
        next(lines)
        began = time.monotonic()
        running.stop()
        assert time.monotonic() - began < 1
        list(lines)  # ends by itself
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{running.url}/healthz")
    again = serve(app_of(site), "127.0.0.1", running.port)
    again.stop()
