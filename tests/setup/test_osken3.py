"""The application also loads under os-ken 3.1.1 and its osken-manager, the last series that has it."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

PATIENCE = 20.0  # seconds


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def says_hello(port: int) -> bool:
    """Whether somebody listens there who opens the conversation with an OpenFlow hello (type 0)."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            return connection.recv(8)[1:2] == b"\x00"
    except OSError:
        return False


@pytest.mark.timeout(60)
def test_osken_manager_loads_the_application_and_listens(root: Path, tmp_path: Path) -> None:
    manager = root / ".venv-osken3/bin/osken-manager"
    if not manager.exists():
        pytest.skip("needs .venv-osken3: sudo ./lab setup")
    if not (root / "controller/app.py").exists():
        pytest.skip("controller/app.py is not there yet")
    port, log = free_port(), tmp_path / "log"
    with log.open("w", encoding="utf-8") as output:
        running = subprocess.Popen(
            [
                *(manager, "--verbose", "controller.app"),
                *("--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", str(port)),
            ],
            cwd=tmp_path,  # whatever it writes without being told where
            env=os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        end = time.monotonic() + PATIENCE
        while not (heard := says_hello(port)) and running.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        said = log.read_text(encoding="utf-8")
        assert heard, said
        assert "instantiating app controller.app" in said
        assert "Traceback" not in said
    finally:
        running.send_signal(signal.SIGTERM)
        try:
            running.wait(5)
        except subprocess.TimeoutExpired:
            running.kill()
            running.wait()
