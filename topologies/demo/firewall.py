"""A Graphwall of the demonstrator's own: its process, and its HTTP API."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from topologies import waiting
from topologies.marks import MARK, LabError

STOPS_WITHIN = 5.0  # seconds; then it is killed
LEARNING = {"minimum": "12s", "quiet": "8s", "maximum": "60s"}  # as short as a demonstration needs


class Firewall:
    """`graphwall run` with a state folder of its own."""

    def __init__(self, directory: Path, site: Mapping[str, Any], mark: str) -> None:
        self.directory = directory / "firewall"
        self.site = dict(site)  # what becomes site.yaml, until it is configured
        self._mark = mark
        self._process: subprocess.Popen[bytes] | None = None
        self._client: httpx.Client | None = None
        self.openflow_port = 0
        self.api_port = 0

    @property
    def config(self) -> Path:
        return self.directory / "site.yaml"

    @property
    def state(self) -> Path:
        """The state folder."""
        return self.directory / "state"

    def configure(self, openflow_port: int, api_port: int) -> None:
        """Write site.yaml."""
        self.openflow_port, self.api_port = openflow_port, api_port
        self.directory.mkdir(parents=True, exist_ok=True)
        site = {
            "admission": "ask",
            "learning": LEARNING,
            **self.site,
            "state": str(self.state),
            "openflow": {"port": openflow_port},
            "api": {"port": api_port},
        }
        self.config.write_text(yaml.safe_dump(site, sort_keys=False, allow_unicode=True), encoding="utf-8")

    def start(self) -> None:
        """Start it and wait until its API answers; raises LabError with what it said when it does not."""
        log = self.directory / "graphwall.log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "controller", "run", "--config", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={**os.environ, MARK: self._mark, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
            )
        url = f"http://127.0.0.1:{self.api_port}"

        def answers() -> bool:
            if self._process is None or self._process.poll() is not None:
                raise LabError(f"graphwall did not start: {_tail(log)}")
            try:
                return httpx.get(f"{url}/healthz", timeout=1.0).status_code == httpx.codes.OK
            except httpx.HTTPError:
                return False

        waiting.until(answers, "graphwall answers", 20.0)
        token = (self.state / "api-token").read_text(encoding="utf-8").strip()
        self._client = httpx.Client(
            base_url=f"{url}/api/v1/", headers={"Authorization": f"Bearer {token}"}, timeout=10.0
        )

    def stop(self) -> None:
        """End it in an orderly way."""
        if self._client is not None:
            self._client.close()
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOPS_WITHIN)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._process = None

    def kill(self, number: signal.Signals) -> float:
        """Send a signal to the controller process alone; returns the seconds until it has ended."""
        if self._process is None:
            raise LabError("the firewall does not run")
        if self._client is not None:
            self._client.close()
            self._client = None
        begin = time.monotonic()
        self._process.send_signal(number)
        self._process.wait(10.0)
        self._process = None
        return time.monotonic() - begin

    def processes(self) -> list[int]:
        """The controller and what it has started: every process that keeps its state folder in its words."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if str(self.directory).encode() in path.read_bytes():
                    found.append(int(path.parent.name))
        return found

    # Its API

    def get(self, path: str, **query: str) -> Any:
        return self._answer("GET", path, params=query)

    def post(self, path: str, body: Mapping[str, object] | None = None) -> Any:
        return self._answer("POST", path, json=dict(body or {}))

    def _answer(self, method: str, path: str, **rest: Any) -> Any:
        if self._client is None:
            raise LabError("the firewall does not run")
        response = self._client.request(method, path, **rest)
        if response.status_code >= httpx.codes.BAD_REQUEST:
            try:
                problem = response.json()
                said = f"{problem['message']}; {problem['remedy']}"
            except (json.JSONDecodeError, KeyError, TypeError):
                said = response.text[:200]
            raise LabError(f"graphwall refused {method} {path}: {said}")
        return response.json()

    def requests(self) -> Sequence[Mapping[str, Any]]:
        found: Sequence[Mapping[str, Any]] = self.get("requests")["requests"]
        return found

    def answer(self, request: str, approve: bool, **body: object) -> Mapping[str, Any]:
        """Decide, and wait until it is in force."""
        word = "approve" if approve else "deny"
        made: Mapping[str, Any] = self.post(f"requests/{request}/{word}", {**body, "wait": 2.0})
        return made


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " / ".join(lines[-3:]) or "it said nothing"
