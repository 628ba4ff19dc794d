"""`graphwall selftest` against a real controller, inspector and switch: it shows, and it leaves nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import controller
from controller import cli
from controller.commands import attach, selftest_hosts
from controller.commands.client import find
from tests.switch.conftest import command
from tests.unit.fake_switch import wait_for

SOURCE = Path(controller.__file__).parents[1]
GRAPHWALL = [sys.executable, "-P", "-m", "controller"]

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]


class Home:
    """A bridge without devices, before a whole Graphwall."""

    def __init__(self, bridge: str, folder: Path, more: str) -> None:
        self.bridge = bridge
        self.file = folder / "site.yaml"
        self.file.write_text(f"state: state\nopenflow: {{port: 0}}\napi: {{port: 0}}\n{more}")
        self.environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
        self._log = folder / "log"
        with self._log.open("w") as out:
            self._process = subprocess.Popen(
                [*GRAPHWALL, "--config", str(self.file), "run"], stdout=out, stderr=out, env=self.environment
            )
        wait_for(lambda: "Ctrl-C" in self._log.read_text(), 20)
        self.client = find(folder / "state")
        line = next(line for line in self._log.read_text().splitlines() if "may connect" in line)
        attach.attach(bridge, f"tcp:127.0.0.1:{line.split()[-1]}")
        wait_for(lambda: [s for s in self.client.get("switches")["switches"] if s["connected"]], 20)

    def left(self) -> dict[str, Any]:
        """What there is of the hosts on this machine and in the model."""
        known = [self.client.get(what)[what] for what in ("devices", "services", "requests", "decisions")]
        return {
            "ports": [p for p in command("ovs-vsctl", "list-ports", self.bridge).split() if "-gw" not in p],
            "known": [one for all_of in known for one in all_of if "02-67-77" in json.dumps(one)],
            "edges": self.client.get("graph")["relationships"],
        }

    def close(self) -> None:
        attach.detach(self.bridge)
        self._process.terminate()
        self._process.wait(10)


NOTHING: dict[str, Any] = {"ports": [], "known": [], "edges": []}


@pytest.fixture
def home(make_bridge: Callable[..., str], tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Home]:
    before = set(Path("/run/netns").glob("gws*"))
    made = Home(make_bridge(), tmp_path, getattr(request, "param", ""))
    yield made
    made.close()
    assert set(Path("/run/netns").glob("gws*")) <= before


def test_all_is_shown_and_nothing_is_left(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["selftest", "--config", str(home.file), home.bridge]) == 0, capsys.readouterr()
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("✓") == 6
    assert "✗" not in said
    assert "both waited for the manager's word" in said
    assert "Self-test A wants to change" in said
    assert home.left() == NOTHING
    assert home.client.get("status")["counters"]["flows repaired"] == 0, "nobody has changed a flow by hand"
    told = [line["text"] for line in home.client.get("log")["entries"]]
    assert [text for text in told if "Self-test A" in text and "is forgotten" in text]


@pytest.mark.parametrize("home", ["networks: [10.99.0.0/24]\nadmission: automatic\n"], indirect=True)
def test_a_firewall_that_lets_through_what_is_new_fails_and_nothing_is_left(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selftest_hosts.Conversation, "ask", _asks_twice(selftest_hosts.Conversation.ask))
    assert cli.main(["selftest", "--json", "--config", str(home.file), home.bridge]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["passed"] is False
    assert [check["passed"] for check in answer["checks"]] == [True, True, True, False, True]
    assert answer["checks"][3]["detail"] == "it passed"
    assert home.left() == NOTHING


def _asks_twice(ask: Callable[..., bool]) -> Callable[..., bool]:
    """As if whatever is asked got through."""

    def lets_through(self: object, method: str, path: str) -> bool:
        return ask(self, method, path) or method == "PUT"

    return lets_through


def test_ctrl_c_leaves_nothing(home: Home) -> None:
    running = subprocess.Popen(
        [*GRAPHWALL, "selftest", "--config", str(home.file), home.bridge],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=home.environment,
    )  # fmt: skip
    assert running.stdout
    assert running.stderr
    with running, running.stdout, running.stderr:
        assert "✓ Two new devices" in running.stdout.readline()
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
        assert running.stderr.read() == ""
    wait_for(lambda: home.left() == NOTHING, 10)
