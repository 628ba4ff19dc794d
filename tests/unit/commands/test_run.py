"""`graphwall run` as a process: it starts, ends when told to, leaves nothing, and says what is wrong."""

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from controller.commands import run
from controller.commands.client import ADDRESS_FILE
from controller.commands.run import Ending
from controller.inspector.supervisor import SOCKET
from controller.store.store import Store
from controller.web.members import Members
from tests.unit.web.fake_site import TOKEN, FakeAccounts

ROOT = Path(__file__).parents[2]
GRAPHWALL = [sys.executable, "-m", "controller"]

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="the inspector needs CAP_NET_RAW"),
]


class Controller:
    """`graphwall run` in a folder of its own, on free ports."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "site.yaml"
        self.file.write_text("site: Test\nstate: state\nopenflow: {port: 0}\napi: {port: 0}\n")
        self.state = folder / "state"
        self.process: subprocess.Popen[str] | None = None

    def ask_url(self) -> str:
        """Where its API is."""
        return (self.state / ADDRESS_FILE).read_text().split()[0]

    def start(self, *more: str) -> "Controller":
        with (self.folder / "out").open("w") as out, (self.folder / "err").open("w") as err:
            command = [*GRAPHWALL, "run", "--config", str(self.file), *more]
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=err, text=True)
        end = time.monotonic() + 20
        while "Ctrl-C" not in self.out:
            assert self.process.poll() is None, self.err
            assert time.monotonic() < end, self.err
            time.sleep(0.05)
        return self

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text()

    def end(self, number: signal.Signals) -> tuple[int, float]:
        """Its exit code, and how long it took."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(10)
        return code, time.monotonic() - began

    def ask(self, *given: str) -> Any:
        command = [*GRAPHWALL, *given, "--json", "--config", str(self.file)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def inspectors(self) -> list[int]:
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                with suppress(OSError):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    if str(self.state / SOCKET).encode() in words:
                        found.append(int(entry.name))
        return found


@pytest.fixture
def controller(tmp_path: Path) -> Iterator[Controller]:
    made = Controller(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()
    for left in made.inspectors():
        os.kill(left, signal.SIGKILL)


def refused(file: Path, *more: str) -> str:
    done = subprocess.run(
        [*GRAPHWALL, "run", "--config", str(file), *more],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("graphwall: ")]
    assert "Traceback" not in done.stderr
    return line


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_everything_within_two_seconds(controller: Controller, number: signal.Signals) -> None:
    controller.start()
    assert "Graphwall protects Test." in controller.out
    status = controller.ask("status")
    assert (status["site"], status["inspector"]) == ("Test", True)
    assert len(controller.inspectors()) == 1
    code, took = controller.end(number)
    assert code == 0, controller.err
    assert took < 2 or os.getloadavg()[0] > 2
    assert controller.inspectors() == []
    assert (
        sorted(file.name for file in controller.state.iterdir() if file.suffix in (".sock", ".db-wal")) == []
    )
    assert not (controller.state / "api-address").exists()


def test_only_the_owner_can_look_into_the_state_folder(controller: Controller) -> None:
    controller.state.mkdir(mode=0o755)
    controller.start()
    assert controller.state.stat().st_mode & 0o777 == 0o700
    for name in ("api-token", "network-secret", "graphwall.db", "inspector.log"):
        assert (controller.state / name).stat().st_mode & 0o777 == 0o600


def test_the_inspector_survives_the_controller_and_is_adopted(controller: Controller) -> None:
    controller.start()
    (inspector,) = controller.inspectors()
    controller.end(signal.SIGKILL)
    time.sleep(0.3)
    assert controller.inspectors() == [inspector]
    token = (controller.state / "api-token").read_text()
    controller.start()
    assert controller.inspectors() == [inspector]
    assert f"process {inspector}" in controller.out
    assert controller.ask("status")["inspector"] is True
    assert (controller.state / "api-token").read_text() == token
    code, _ = controller.end(signal.SIGTERM)
    assert code == 0
    assert controller.inspectors() == []


def test_two_controllers_on_one_state_folder_are_refused(controller: Controller) -> None:
    controller.start()
    assert "is in use by another controller" in refused(controller.file)
    assert controller.ask("status")["site"] == "Test"


@pytest.mark.parametrize("section", ["openflow", "api"])
def test_a_port_that_is_in_use_is_named_and_nothing_is_left_running(
    controller: Controller, section: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ports = {"openflow": 0, "api": 0, section: port}
        controller.file.write_text(
            "state: state\n" + "".join(f"{name}: {{port: {number}}}\n" for name, number in ports.items())
        )
        said = refused(controller.file)
        assert str(port) in said
        assert "in use" in said
    assert controller.inspectors() == []


@pytest.mark.parametrize(
    ("damage", "said"),
    [("newer", "was written by a newer Graphwall"), ("holes", "to go back to the last backup")],
)
def test_a_newer_or_damaged_database_is_refused(controller: Controller, damage: str, said: str) -> None:
    database = controller.state / "graphwall.db"
    Store(database).close()
    if damage == "newer":
        with closing(sqlite3.connect(database)) as newer:
            newer.execute("PRAGMA user_version = 99")
    else:
        database.write_bytes(database.read_bytes()[:100] + b"\xff" * 4000)
    before = database.read_bytes()
    assert said in refused(controller.file)
    assert database.read_bytes() == before
    assert controller.inspectors() == []


def test_a_folder_that_others_may_write_to_is_refused(controller: Controller) -> None:
    controller.state.mkdir()
    (controller.state / "somebody's").write_text("")
    controller.state.chmod(0o777)
    assert "others may write to the folder" in refused(controller.file)
    assert [file.name for file in controller.state.iterdir()] == ["somebody's"]


def test_without_the_right_to_read_frames_it_says_so(controller: Controller) -> None:
    done = subprocess.run(
        ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", "--", *GRAPHWALL, "run", "--config",
         str(controller.file)],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert "the inspector needs the right to read frames (CAP_NET_RAW); run as root" in done.stderr


def test_a_second_signal_ends_the_process_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    ending = Ending()
    ending.handle(signal.SIGTERM, None)
    assert (ending.asked.is_set(), codes) == (True, [])
    ending.handle(signal.SIGTERM, None)
    assert codes == [128 + signal.SIGTERM]


def test_a_link_that_cannot_be_kept_is_no_reason_not_to_protect(caplog: pytest.LogCaptureFixture) -> None:
    accounts = FakeAccounts()
    accounts.broken = True
    assert run._first_link(Members(accounts, TOKEN)) is None
    assert "the disk is full; later: graphwall people invite" in caplog.text


def test_the_first_manager_joins_by_the_link_that_is_printed_once(controller: Controller) -> None:
    controller.start()
    (link,) = (line.strip() for line in controller.out.splitlines() if "#join=" in line)
    url, secret = link.split("/#join=")
    browser = httpx.Client(base_url=url, headers={"X-Graphwall": "1"})
    body = {"secret": secret, "name": "Ada", "device_label": "phone"}
    assert browser.post("/api/v1/session", json=body).status_code == 201
    assert browser.get("/").headers["content-type"].startswith("text/html")
    (person,) = controller.ask("people")["people"]
    assert (person["name"], person["role"]) == ("Ada", "manager")
    controller.end(signal.SIGTERM)
    controller.start()
    assert "#join=" not in controller.out
    found = httpx.get(
        f"{controller.ask_url()}/api/v1/session", cookies={"graphwall": browser.cookies["graphwall"]}
    )
    assert found.json()["person"]["name"] == "Ada"
    browser.close()


def test_beyond_this_machine_the_page_is_served_with_tls_unless_told_otherwise(
    controller: Controller,
) -> None:
    controller.file.write_text(
        controller.file.read_text().replace("api: {port: 0}", "api: {port: 0, listen: 0.0.0.0}")
    )
    controller.start()
    assert "Certificate  SHA-256 " in " ".join(controller.out.split(" "))
    assert controller.ask_url().startswith("https://")
    assert controller.ask("status")["site"] == "Test"
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{controller.ask_url()}/healthz")  # nobody vouches for it
    controller.end(signal.SIGTERM)
    controller.start("--insecure")
    assert controller.ask_url().startswith("http://")
    assert "is not encrypted" in controller.err
