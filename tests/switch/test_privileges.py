"""A controller without any right, and an inspector that may only read and write frames: they enforce."""

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import controller
from controller import cli
from controller.commands import attach
from controller.commands.client import ADDRESS_FILE
from controller.web.token import FILE as TOKEN_FILE
from tests.unit.fake_switch import wait_for

SOURCE = Path(controller.__file__).parents[1]
NOBODY, NOGROUP, INSPECTING = 65534, 65534, 65533
NET_RAW = 1 << 13  # capabilities(7)

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not installed"),
    pytest.mark.skipif(
        any(not step.stat().st_mode & 0o001 for step in (SOURCE, *SOURCE.parents)),
        reason=f"{SOURCE} is closed to users without rights",
    ),
]

SITE = """
state: {state}
openflow: {{port: 0}}
api: {{port: 0}}
devices:
  - {{id: washer, name: Washing machine, mac: 02:00:00:00:00:01, addresses: [10.0.0.1]}}
  - {{id: lock, name: Front door, mac: 02:00:00:00:00:02, addresses: [10.0.0.2]}}
"""


def without_rights(user: int, *capabilities: str) -> list[str]:
    """The beginning of a command that runs as a user with these capabilities only."""
    kept = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    return [
        "setpriv", f"--reuid={user}", f"--regid={NOGROUP}", "--clear-groups", "--no-new-privs",
        f"--inh-caps={kept}", f"--ambient-caps={kept}", f"--bounding-set={kept}",
    ]  # fmt: skip


CONTROLLER = without_rights(NOBODY)
INSPECTOR = without_rights(INSPECTING, "net_raw")


def started(command: list[str], out: Path) -> subprocess.Popen[bytes]:
    with out.open("wb") as file:
        return subprocess.Popen(
            command, stdout=file, stderr=file, env={**os.environ, "PYTHONPATH": str(SOURCE)}, cwd="/"
        )


class Home:
    """A bridge, a controller of nobody's, an inspector of another's."""

    def __init__(self, bridge: str, folder: Path) -> None:
        self.bridge, self.folder = bridge, folder
        folder.chmod(0o755)
        self.state, run = folder / "state", folder / "run"
        for made, owner, mode in ((self.state, NOBODY, 0o700), (run, INSPECTING, 0o750)):
            made.mkdir()
            os.chown(made, owner, NOGROUP)
            made.chmod(mode)
        self.socket = run / "inspector.sock"
        (folder / "site.yaml").write_text(SITE.format(state=self.state))
        python = [sys.executable, "-P", "-m"]
        self.inspector = started(
            [*INSPECTOR, *python, "controller.inspector", "--group", "--socket", str(self.socket)],
            folder / "inspector.log",
        )
        self.controller = started(
            [*CONTROLLER, *python, "controller", "--config", str(folder / "site.yaml"), "run", "--inspector",
             str(self.socket)],
            folder / "controller.log",
        )  # fmt: skip
        wait_for(lambda: "Ctrl-C" in self.said(), 20)
        listening = next(line for line in self.said().splitlines() if "may connect" in line)
        attach.attach(bridge, f"tcp:127.0.0.1:{listening.split()[-1]}")
        wait_for(lambda: self.get("status")["inspector"] and self.get("switches")["switches"], 20)

    def said(self) -> str:
        return (self.folder / "controller.log").read_text()

    def _ask(self, method: str, path: str, body: str | None = None) -> Any:
        address = (self.state / ADDRESS_FILE).read_text().strip().removeprefix("http://")
        headers = {
            "Authorization": f"Bearer {(self.state / TOKEN_FILE).read_text().strip()}",
            "Content-Type": "application/json",
        }
        connection = http.client.HTTPConnection(address, timeout=10)
        try:
            connection.request(method, f"/api/v1/{path}", body, headers)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        return self._ask("GET", path)

    def post(self, path: str, **body: object) -> Any:
        return self._ask("POST", path, json.dumps(body))

    def status(self, process: subprocess.Popen[bytes]) -> dict[str, list[str]]:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        return {key: value.split() for key, _, value in (line.partition(":") for line in lines)}

    def close(self) -> None:
        attach.detach(self.bridge)
        for process in (self.controller, self.inspector):
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def home(make_bridge: Callable[..., str]) -> Iterator[Home]:
    folder = Path(tempfile.mkdtemp())  # pytest's own is for root only
    made: Home | None = None
    try:
        made = Home(make_bridge(ports=2), folder)
        yield made
    finally:
        if made is not None:
            made.close()
        shutil.rmtree(folder)


def request(number: int) -> bytes:
    """A frame of the washer to the door: CoAP GET /state (RFC 7252, section 3)."""
    coap = b"\x50\x01" + number.to_bytes(2) + b"\xb5state"
    udp = b"\xc0\x00\x16\x33" + (8 + len(coap)).to_bytes(2) + b"\0\0" + coap
    head = bytearray(bytes.fromhex("4500 0000 0000 4000 4011 0000 0a000001 0a000002"))
    head[2:4] = (20 + len(udp)).to_bytes(2)
    total = sum(int.from_bytes(head[at : at + 2]) for at in range(0, 20, 2))
    head[10:12] = (0xFFFF - (total + (total >> 16) & 0xFFFF)).to_bytes(2)
    return bytes.fromhex("020000000002 020000000001 0800") + bytes(head) + udp


class Ends:
    """The hosts' ends of both ports."""

    def __init__(self, bridge: str) -> None:
        self._ends = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) for _ in range(2)]
        for number, end in enumerate(self._ends, 1):
            end.bind((f"{bridge}-{number}p", 0))
            end.settimeout(0.3)
        self._number = 0

    def arrives(self) -> bool:
        """Whether a new request gets through."""
        self._introduce()
        self._number += 1
        sent = request(self._number)
        self._ends[0].send(sent)
        with suppress(TimeoutError):
            while True:
                if self._ends[1].recv(2000).startswith(sent):
                    return True
        return False

    def _introduce(self) -> None:
        """The door says where it is, by ARP."""
        arp = bytes.fromhex("ffffffffffff 020000000002 0806 0001080006040001 020000000002 0a000002")
        self._ends[1].send(arp + bytes.fromhex("000000000000 0a000002") + bytes(18))

    def close(self) -> None:
        for end in self._ends:
            end.close()


def test_without_rights_they_enforce_all_the_same(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    ends = Ends(home.bridge)
    try:
        wait_for(ends.arrives, 20)
        wait_for(lambda: home.get("graph")["relationships"])
        access = home.get("graph")["relationships"][0]["relationship"]["access"]
        assert (access["operation"], access["resource"]) == ("read", "/state")
        assert cli.main(["verify", "--state", str(home.state)]) == 0, capsys.readouterr()
        home.post("devices/washer/block", blocked=True)
        wait_for(lambda: not ends.arrives())
        assert not any(ends.arrives() for _ in range(3))
        home.post("devices/washer/block", blocked=False)
        wait_for(ends.arrives)
    finally:
        ends.close()
    controller, inspector = home.status(home.controller), home.status(home.inspector)
    for status, user, rights in ((controller, NOBODY, 0), (inspector, INSPECTING, NET_RAW)):
        assert {*status["Uid"], *status["Gid"]} <= {str(user), str(NOGROUP)}
        assert {int(status[kind][0], 16) for kind in ("CapEff", "CapPrm", "CapBnd")} == {rights}


def test_the_inspector_outlives_the_controller_who_may_not_end_it(home: Home) -> None:
    home.controller.send_signal(signal.SIGTERM)
    assert home.controller.wait(10) == 0
    assert home.inspector.poll() is None
    assert "Traceback" not in home.said()


def may(command: list[str], code: str) -> bool:
    """Whether a program with these rights can do this; it fails with a PermissionError or not at all."""
    done = subprocess.run(
        [*command, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        timeout=30,
    )
    assert done.returncode == 0 or "PermissionError" in done.stderr, done.stderr
    return done.returncode == 0


def test_what_neither_may(home: Home) -> None:
    raw = "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)"
    assert may(INSPECTOR, raw)
    assert not may(CONTROLLER, raw)
    token, key = home.state / TOKEN_FILE, home.state / "network-secret"
    for file in (token, key):
        assert may(CONTROLLER, f"open({str(file)!r})")
        assert not may(INSPECTOR, f"open({str(file)!r})")
    kill = "import os; os.kill({}, 0)"
    assert not may(CONTROLLER, kill.format(home.inspector.pid))
    assert not may(INSPECTOR, kill.format(home.controller.pid))
    management = (
        f"import socket; socket.socket(socket.AF_UNIX).connect('/var/run/openvswitch/{home.bridge}.mgmt')"
    )
    down = (
        "import fcntl, socket, struct; fcntl.ioctl(socket.socket(), 0x8914, "
        f"struct.pack('16sH14x', b'{home.bridge}-1', 0))"  # SIOCSIFFLAGS, netdevice(7)
    )
    for command in (CONTROLLER, INSPECTOR):
        assert not may(command, management)
        assert not may(command, down)
    stranger = without_rights(65532)
    stranger[stranger.index(f"--regid={NOGROUP}")] = "--regid=65532"
    call = f"import socket; socket.socket(socket.AF_UNIX).connect({str(home.socket)!r})"
    assert may(CONTROLLER, call)
    assert not may(stranger, call)
