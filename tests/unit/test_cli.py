"""The commands: what they ask the controller, what they print, and how they refuse."""

import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller import cli
from controller.commands import attach
from controller.commands.client import ADDRESS_FILE
from controller.config import Config
from controller.events import (
    Answer,
    Block,
    Decide,
    Duration,
    FlowDifference,
    Forget,
    Import,
    Learn,
    Move,
    Pause,
    Rename,
    SameAs,
    Scope,
    SwitchCheck,
    Undo,
    Verify,
)
from controller.model.relationship import DeviceId, ServiceId
from controller.model.service import Place
from controller.web.server import Server, serve
from controller.web.token import FILE as TOKEN_FILE
from tests.unit.web.fake_site import COOKIE, TOKEN, FakeSite, app_of, home

LOCAL = "local command line"


@pytest.fixture(scope="module")
def served() -> Iterator[tuple[FakeSite, Server]]:
    site = FakeSite(home())
    running = serve(app_of(site), "127.0.0.1", 0)
    yield site, running
    running.stop()


@pytest.fixture
def site(served: tuple[FakeSite, Server], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSite:
    """A site whose state folder the environment names."""
    served[0].begin(home())
    (tmp_path / ADDRESS_FILE).write_text(f"{served[1].url}\n")
    (tmp_path / TOKEN_FILE).write_text(f"{TOKEN}\n")
    monkeypatch.setenv("GRAPHWALL_STATE", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "80")
    return served[0]


def printed(capsys: pytest.CaptureFixture[str], *given: str) -> str:
    assert cli.main(given) == 0, capsys.readouterr().err
    shown = capsys.readouterr()
    assert shown.err == ""
    return shown.out


def refused(capsys: pytest.CaptureFixture[str], *given: str) -> str:
    assert cli.main(given) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert all(line.startswith("graphwall: ") for line in lines)
    assert "Traceback" not in shown.err
    return shown.err.removeprefix("graphwall: ").strip()


# ---------------------------------------------------------------- reading

READING = (
    ("status",),
    ("requests",),
    ("requests", "bbbb"),
    ("people",),
    ("tokens",),
    ("graph",),
    ("graph", "--switch", "hall"),
    ("services",),
    ("services", "washer/control"),
    ("review", "washer/control"),
    ("devices",),
    ("why", "washer", "lock"),
    ("why", "bbbb"),
    ("log",),
)


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("given", READING, ids=" ".join)
def test_every_reading_command_fits_80_columns(
    given: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    out = printed(capsys, *given)
    assert out.strip()
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 80


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("given", READING, ids=" ".join)
def test_every_reading_command_has_json(given: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, *given, "--json")
    assert isinstance(json.loads(out), dict)
    assert out.isascii()  # a terminal obeys nothing in it


@pytest.mark.usefixtures("site")
def test_a_request_reads_as_a_sentence_with_its_reason_and_how_to_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = printed(capsys, "requests")
    assert "bbbb222222  Washer wants to change /state of Lock" in out
    assert "Why you are asked: These two have never talked to each other. (new partner)" in out
    assert "Risk: opens; 2 attempts, the last " in out
    assert "graphwall approve bbbb222222  or  graphwall deny bbbb222222" in out


def test_no_request_is_said_in_words(site: FakeSite, capsys: pytest.CaptureFixture[str]) -> None:
    site.change(requests=())
    assert printed(capsys, "requests").strip() == "Nothing waits for an answer."


@pytest.mark.usefixtures("site")
def test_the_graph_shows_first_what_needs_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    assert [line.split() for line in printed(capsys, "graph").splitlines()] == [
        ["Washer", "(control", "of", "washer)", "→", "Lock", "(tcp-80", "of", "lock)"],
        ["bbbb222222", "pending", "inspect", "write", "/state", "(http)"],
        ["Washer", "(control", "of", "washer)", "→", "Battery", "(tcp-80", "of", "battery)"],
        ["aaaa111111", "learned", "inspect", "read", "/state", "(http)"],
        [],
        ["2", "relationships", "of", "3", "services."],
    ]


@pytest.mark.usefixtures("site")
def test_why_answers_in_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    out = " ".join(printed(capsys, "why", "10.0.0.1", "Lock", "80").split())
    assert out.startswith("waiting Washer wants to write /state of Lock: not decided yet (new partner: ")
    assert "the inspector reads each request before it goes on" in out
    assert out == " ".join(printed(capsys, "why", f"{COOKIE:#x}").split())


@pytest.mark.usefixtures("site")
def test_why_about_two_that_never_met_says_what_is_known_and_what_would_happen(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = " ".join(printed(capsys, "why", "lock", "battery").split())
    assert out.startswith("not known Lock was never seen to ask Battery for anything.")
    assert "Lock has 1 known service (none learning); it asks others in 0 relationships" in out
    assert "Battery has 1 known service (all learning)" in out
    assert out.endswith("it is blocked, and you are asked about it: graphwall requests")


@pytest.mark.usefixtures("site")
def test_one_request_is_shown_with_everything_and_an_unknown_one_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = printed(capsys, "requests", "bbbb")
    assert "bbbb222222  Washer wants to change /state of Lock" in out
    assert "washer/control" in out
    assert json.loads(printed(capsys, "requests", "bbbb", "--json"))["id"] == "bbbb222222"
    assert "there is no request zzz" in refused(capsys, "requests", "zzz")


def test_everyone_on_the_site_is_no_device(site: FakeSite, capsys: pytest.CaptureFixture[str]) -> None:
    view = site.snapshot()
    group = replace(view.devices[DeviceId("lock")], id=DeviceId("@group"), place=Place.GROUP, name="everyone")
    outside = replace(group, id=DeviceId("@a.example"), place=Place.REMOTE, name="a.example")
    site.change(devices={**view.devices, group.id: group, outside.id: outside})
    out = printed(capsys, "devices")
    assert "everyone" not in out
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["washer", "battery", "lock", "@a.example"]
    assert "outside" in out.splitlines()[-1]


def test_a_pause_of_more_than_a_day_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "at most 1d" in refused(capsys, "pause", "lock", "--time", "2d")


def test_a_pause_is_in_sight_as_long_as_it_lasts(site: FakeSite, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Paused" not in printed(capsys, "status")
    devices = dict(site.snapshot().devices)
    devices[DeviceId("lock")] = replace(devices[DeviceId("lock")], paused_until=4102444800.0)
    site.change(devices=devices)
    for command in ("status", "devices"):
        assert "until 21" in " ".join(printed(capsys, command).split())


def test_people_are_invited_shown_and_removed(capsys: pytest.CaptureFixture[str], site: FakeSite) -> None:
    assert site is not None
    out = printed(capsys, "people", "invite", "Bo", "--role", "viewer")
    assert "signs in one device as viewer" in out
    link = next(line.strip() for line in out.splitlines() if "#join=" in line)
    assert link.startswith("http://127.0.0.1:")
    shown = printed(capsys, "people")
    assert "invited as viewer" in shown
    invitation = next(line.split()[0] for line in shown.splitlines() if "Bo" in line)
    assert "worth nothing" in printed(capsys, "people", "withdraw", invitation)
    assert "say which one" in refused(capsys, "people", "remove")
    assert "there is no person nobody" in refused(capsys, "people", "remove", "nobody")


def test_a_program_gets_a_token_and_loses_it(capsys: pytest.CaptureFixture[str], site: FakeSite) -> None:
    assert site is not None
    made = json.loads(printed(capsys, "tokens", "add", "Grafana", "--json"))
    assert "Grafana" in printed(capsys, "tokens")
    assert "may not ask any more" in printed(capsys, "tokens", "remove", made["id"])
    assert "No program has a token" in printed(capsys, "tokens")


@pytest.mark.usefixtures("site")
def test_the_graph_is_written_in_the_format_of_the_files_name(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, begins in (
        ("g.svg", b"<svg"),
        ("g.png", b"\x89PNG"),
        ("g.dot", b"digraph"),
        ("g.graphml", b"<graphml"),
    ):
        assert printed(capsys, "export", "graph", "-o", str(tmp_path / name)) == ""
        assert (tmp_path / name).read_bytes().startswith(begins)
    assert "cannot be written" in refused(capsys, "export", "graph", "-o", str(tmp_path / "no" / "g.svg"))
    assert "not written as .gif" in refused(capsys, "export", "graph", "-o", str(tmp_path / "g.gif"))
    assert not (tmp_path / "g.gif").exists()


def test_the_dashboard_needs_no_controller(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    assert cli.main(["export", "grafana"]) == 0
    assert json.loads(capsysbinary.readouterr().out)["title"] == "Graphwall"


def test_a_model_is_looked_at_before_it_is_imported(
    site: FakeSite, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "model.yaml"
    printed(capsys, "export", "model", "-o", str(file))
    assert "nothing would change" in printed(capsys, "import", str(file))
    file.write_text(file.read_text().replace("name: Lock", "name: Front door"))
    out = printed(capsys, "import", str(file))
    assert "Lock is called Front door" in out
    assert "--yes" in out
    assert site.commands == []
    printed(capsys, "import", str(file), "--yes")
    assert [type(command) for command in site.commands] == [Import]
    file.write_text("graphwall: 1\nrooms: {}\n")
    assert "line 2: rooms: is not a key here" in refused(capsys, "import", str(file))
    assert "cannot be read" in refused(capsys, "import", str(tmp_path / "nothing"))


HOSTILE = "[red]x[/red]\x1b[31m\u202e\u2066\r\n\ud800:smile:"


def test_names_from_the_network_cannot_play_with_the_terminal(
    site: FakeSite, capsys: pytest.CaptureFixture[str]
) -> None:
    site.begin(home(HOSTILE))
    request = replace(
        home().requests[0], sentence=f"Washer{HOSTILE} wants", explanation=HOSTILE, client=HOSTILE
    )
    site.change(requests=(request,))
    for given in READING:
        out = printed(capsys, *given)
        assert not set(out) & set("\x1b\u202e\u2066\r\ud800"), given
    assert "[red]x[/red]<U+001B>[31m<U+202E>" in printed(capsys, "requests")
    assert ":smile:" in printed(capsys, "requests")


# ---------------------------------------------------------------- commands


@pytest.mark.parametrize(
    ("given", "command"),
    [
        (("undo", "3"), Undo(0, 3, LOCAL)),
        (("learn", "washer/control"), Learn(0, ServiceId("washer/control"), True, LOCAL)),
        (("learn", "washer/control", "--end"), Learn(0, ServiceId("washer/control"), False, LOCAL)),
        (("move", "washer/control", "lock"), Move(0, ServiceId("washer/control"), DeviceId("lock"), LOCAL)),
        (("rename", "washer/control", "Wäscher"), Rename(0, "washer/control", "Wäscher", LOCAL)),
        (("rename", "lock", "Door"), Rename(0, "lock", "Door", LOCAL)),
        (("forget", "washer"), Forget(0, DeviceId("washer"), LOCAL)),
        (("block", "@odd name?#%.example"), Block(0, DeviceId("@odd name?#%.example"), True, LOCAL)),
        (("pause", "lock"), Pause(0, DeviceId("lock"), 3600.0, LOCAL)),
        (("pause", "lock", "--time", "30m"), Pause(0, DeviceId("lock"), 1800.0, LOCAL)),
        (("pause", "lock", "--end"), Pause(0, DeviceId("lock"), 0.0, LOCAL)),
        (("same-as", "cccc", "lock"), SameAs(0, "cccc", DeviceId("lock"), LOCAL)),
        (("unblock", "lock"), Block(0, DeviceId("lock"), False, LOCAL)),
    ],
)
def test_each_command_reaches_the_firewall(
    given: tuple[str, ...], command: object, site: FakeSite, capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys, *given)
    assert site.commands == [command]


def test_approving_says_when_it_is_in_force_and_how_to_undo_it(
    site: FakeSite, capsys: pytest.CaptureFixture[str]
) -> None:
    out = printed(capsys, "approve", "bbbb", "--scope", "pair", "--duration", "hour", "--only", "bbbb222222")
    (command,) = site.commands
    assert isinstance(command, Decide)
    assert (command.request, command.approve, command.by) == ("bbbb", True, LOCAL)
    assert (command.scope, command.duration, command.only) == (Scope.PAIR, Duration.HOUR, ("bbbb222222",))
    assert "Allowed: Washing machine wants to change open of Front door" in out
    assert "It is in force, 12 ms after the decision." in out
    assert "graphwall undo 1" in out


def test_a_decision_that_is_not_in_force_yet_says_so(
    site: FakeSite, capsys: pytest.CaptureFixture[str]
) -> None:
    site.in_force_after = None
    out = printed(capsys, "deny", "bbbb", "--wait", "0.1")
    assert "Denied: " in out
    assert "not in force yet" in out


@pytest.mark.usefixtures("site")
def test_what_the_firewall_refuses_is_one_line_with_a_remedy(
    site: FakeSite, capsys: pytest.CaptureFixture[str]
) -> None:
    site.answer = Answer(0, code="not found", message="there is no request x", remedy="list the open ones")
    assert refused(capsys, "approve", "x") == "there is no request x; list the open ones"


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "say what to do; see: graphwall --help"),
        (("dance",), "invalid choice: 'dance'"),
        (("approve",), "required: id; see: graphwall approve --help"),
        (("approve", "x", "--scope", "all"), "invalid choice: 'all'"),
        (("approve", "x", "--wait", "9"), "a number of seconds from 0 to 5"),
        (("undo", "first"), "invalid int value: 'first'"),
        (("log", "--limit", "0"), "a number from 1 to 1000"),
        (("status", "--loud"), "unknown: --loud"),
        (("run",), "graphwall run --config site.yaml"),
        (("run", "--config", "/nowhere/site.yaml"), "there is no file /nowhere/site.yaml; name"),
        (("run", "--config", "/"), "/ cannot be read: Is a directory"),
        (("status", "--config", "/nowhere/site.yaml"), "there is no file"),
        (("status", "--state", "/nowhere"), "no controller runs with the state folder /nowhere"),
    ],
)
def test_arguments_that_cannot_be_are_one_line(
    given: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = refused(capsys, *given)
    assert said in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"site: [", "site.yaml, line 1: not YAML"),
        (b"colour: red\n", "site.yaml, line 1: colour: is not a key here; known keys: site, state"),
        (b"site: Home\napi:\n  port: many\n", "site.yaml, line 3: api.port: "),
        (b"site: \xff\n", "is not UTF-8 text"),
    ],
)
def test_a_site_description_that_cannot_be_used_names_the_line(
    text: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site.yaml").write_bytes(text)
    assert said in refused(capsys, "run", "--config", str(tmp_path / "site.yaml"))


def test_a_controller_that_is_gone_is_said(
    site: FakeSite, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"http://127.0.0.1:{gone.getsockname()[1]}"
    (tmp_path / ADDRESS_FILE).write_text(address)
    assert refused(capsys, "status").startswith(f"no controller answers at {address}; start it with: ")
    assert site.commands == []


@pytest.mark.usefixtures("site")
def test_a_token_that_is_missing_or_wrong_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / TOKEN_FILE).write_text("0" * 64)
    assert "does not know the token in api-token" in refused(capsys, "status")
    (tmp_path / TOKEN_FILE).unlink()
    assert "there is no api-token" in refused(capsys, "status")


class Stranger(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<h1>Printer</h1>")

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.usefixtures("site")
def test_another_program_at_the_address_is_not_taken_for_graphwall(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Stranger) as printer:
        threading.Thread(target=printer.serve_forever, daemon=True).start()
        (tmp_path / ADDRESS_FILE).write_text(f"http://127.0.0.1:{printer.server_port}")
        assert "is not Graphwall" in refused(capsys, "status")
        printer.shutdown()


@pytest.mark.usefixtures("site")
def test_a_mistake_of_ours_is_no_traceback_either_unless_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli.display, "status", lambda _: 1 / 0)
    assert cli.main(["status"]) == 1
    assert "this should not happen: ZeroDivisionError: division by zero; run it with --debug" in (
        capsys.readouterr().err
    )
    with pytest.raises(ZeroDivisionError):
        cli.main(["status", "--debug"])


# ---------------------------------------------------------------- where things are


def test_the_state_folder_is_looked_for_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "site.yaml"
    file.write_text("state: here\n")

    def state(*given: str) -> Path:
        return cli._state(cli._arguments(["status", *given]))

    monkeypatch.setenv("GRAPHWALL_STATE", "/from/environment")
    assert state("--state", "/from/option", "--config", str(file)) == Path("/from/option")
    assert state("--config", str(file)) == tmp_path / "here"  # beside site.yaml, wherever we are
    assert state() == Path("/from/environment")
    monkeypatch.delenv("GRAPHWALL_STATE")
    assert state() == Path("/var/lib/graphwall")


def test_options_may_stand_before_and_after_the_command() -> None:
    assert cli._arguments(["--state", "/x", "status"]).state == "/x"
    assert cli._arguments(["status", "--state", "/x"]).state == "/x"


@pytest.mark.parametrize(
    ("openflow", "target"),
    [
        ({}, "tcp:127.0.0.1:6653"),
        ({"listen": "0.0.0.0", "port": 7000}, "tcp:127.0.0.1:7000"),
        ({"listen": "::"}, "tcp:[::1]:6653"),
        ({"key": "k", "certificate": "c", "ca": "a"}, "ssl:127.0.0.1:6654"),
    ],
)
def test_a_bridge_is_told_where_this_sites_controller_listens(
    openflow: dict[str, object], target: str
) -> None:
    assert cli._target(Config.model_validate({"openflow": openflow})) == target


def test_the_demonstrator_gets_all_its_arguments_and_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    monkeypatch.setattr(
        os, "execve", lambda _, command, environment: seen.append([*command, environment["PYTHONPATH"]])
    )
    cli._demo(cli._arguments(["demo", "--scenario", "all", "--keep"]))
    (command,) = seen
    assert command[1:-1] == ["-P", "-m", "topologies", "demo", "--scenario", "all", "--keep"]
    assert (Path(command[-1].split(":")[0]) / "topologies").is_dir()


def test_without_the_source_there_is_no_demonstrator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "controller" / "cli.py"))
    assert "the laboratory is not here" in refused(capsys, "demo")


# ---------------------------------------------------------------- verify

EQUAL = SwitchCheck(1, "hall", read=True, expected=42, found=42, repaired=3)
DRIFTED = SwitchCheck(
    2, "attic", read=True, expected=7, found=8, differing=1,
    differences=(FlowDifference("added", "a flow that nobody asked for", "", 5, ("bbbb222222",)),),
)  # fmt: skip


def test_verify_ends_well_only_when_every_switch_is_equal(
    site: FakeSite, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "attachments", tuple)
    site.answer = Answer(0, checks=(EQUAL,))
    shown = printed(capsys, "verify")
    assert "✓ hall: all 42 flows are as the model asks; 3 repaired since the start" in shown
    assert isinstance(site.commands[0], Verify)
    for checks in ((EQUAL, DRIFTED), (EQUAL, SwitchCheck(3, "shed", read=False)), ()):
        site.answer = Answer(0, checks=checks)
        assert cli.main(["verify"]) == 1
    assert "No switch has connected yet." in capsys.readouterr().out


def test_verify_names_the_difference_and_its_relationship(
    site: FakeSite, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attach, "attachments", tuple)
    site.answer = Answer(0, checks=(DRIFTED,))
    assert cli.main(["verify"]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "✗ attic: 8 flows instead of 7, 1 differ" in shown
    assert "added: a flow that nobody asked for (relationship bbbb222222)" in shown
    assert cli.main(["verify", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert (answer["equal"], answer["switches"][0]["differences"][0]["cookie"]) == (
        False,
        "0x0000000000000005",
    )


def test_verify_tells_of_a_bridge_that_would_forward_everything(
    site: FakeSite, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = "br0 forwards everything while it has no controller"
    monkeypatch.setattr(attach, "attachments", lambda: (attach.Attachment("br0", 1, "", "", (fault,)),))
    site.answer = Answer(0, checks=(EQUAL,))
    assert cli.main(["verify"]) == 1
    assert f"✗ {fault}" in capsys.readouterr().out
