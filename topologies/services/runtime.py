"""What every service has: a log of JSON lines, a visible state, commands, growing pauses, an orderly end.

Knows nothing of any protocol.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from topologies.services.programs import Spec

Command = Callable[..., Awaitable[object]]

PAUSE_FIRST, PAUSE_LONGEST = 0.2, 4.0  # seconds between tries
COMMAND_LONGEST = 1 << 20  # bytes of one command


def state_file(directory: str | Path, service: str) -> Path:
    """Where the service keeps its visible state."""
    return Path(directory) / "state" / f"{service}.json"


def log_file(directory: str | Path, service: str) -> Path:
    """Where the JSON lines of the service go."""
    return Path(directory) / "log" / f"{service}.jsonl"


def command_socket(directory: str | Path, service: str) -> Path:
    """Where the service takes commands."""
    return Path(directory) / "command" / service


def certificate_file(directory: str | Path) -> Path:
    """The certificate of the simulated internet, which its clients trust."""
    return Path(directory) / "internet.pem"


def read_state(directory: str | Path, service: str) -> dict[str, object]:
    """The visible state of a service; empty before its first start."""
    try:
        found = json.loads(state_file(directory, service).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


class Backoff:
    """Growing pauses between tries, so that nobody is flooded; `reset` after a success."""

    def __init__(self) -> None:
        self._next = PAUSE_FIRST

    def reset(self) -> None:
        self._next = PAUSE_FIRST

    async def pause(self) -> None:
        await asyncio.sleep(self._next)
        self._next = min(self._next * 2, PAUSE_LONGEST)


class Runtime:
    """One running service. `previous` is the state it left behind when it last ended, on whichever host."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.commands: dict[str, Command] = {}
        self.previous: Mapping[str, object] = read_state(spec.directory, spec.service)
        self._state: dict[str, object] = {
            "service": spec.service,
            "host": spec.host,
            "version": spec.version,
            "ready": False,
        }

    def log(self, event: str, **fields: object) -> None:
        """Write one JSON line: what was done, or what came."""
        line = {"time": round(time.time(), 3), "service": self.spec.service, "event": event, **fields}
        print(json.dumps(line, default=str), flush=True)

    def show(self, **fields: object) -> None:
        """Change the visible state; logged when something is different."""
        changed = {k: v for k, v in fields.items() if self._state.get(k, self) != v}
        if not changed:
            return
        self._state.update(changed)
        path = state_file(self.spec.directory, self.spec.service)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(self._state, default=str), encoding="utf-8")
        fresh.replace(path)
        self.log("state", **changed)

    def ready(self) -> None:
        """Say that the service does its work from now on."""
        self.show(ready=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            asked = json.loads(await reader.readline())
            name, arguments = asked["command"], asked.get("arguments", {})
            self.log("command", command=name, arguments=arguments)
            if name in self.commands:
                answer: dict[str, object] = {"ok": True, "result": await self.commands[name](**arguments)}
            else:
                known = ", ".join(self.commands) or "none"
                answer = {"ok": False, "error": f"no command {name!r}; there are: {known}"}
        except Exception as error:  # noqa: BLE001  the border to whoever commands: every failure is an answer
            answer = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        writer.write(json.dumps(answer, default=str).encode() + b"\n")
        with contextlib.suppress(OSError):
            await writer.drain()
        writer.close()

    async def listen_for_commands(self) -> asyncio.Server:
        """Take commands, one JSON object a line, on the service's Unix socket."""
        path = command_socket(self.spec.directory, self.spec.service)
        path.unlink(missing_ok=True)
        return await asyncio.start_unix_server(self._answer, path, limit=COMMAND_LONGEST)


def _end_with_parent(stop: Callable[[], object]) -> None:
    """End when standard input closes: whoever started the service is gone."""

    def gone() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
            stop()

    with contextlib.suppress(PermissionError):  # a plain file cannot be waited for, nor close
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), gone)


async def serve(run: Runtime, main: Awaitable[None]) -> int:
    """Run a service's `main` until it ends, SIGTERM or SIGINT comes, or its parent is gone.

    Returns the exit status: 0 for an orderly end, 1 when `main` failed.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    _end_with_parent(task.cancel)
    run.log("started", host=run.spec.host, version=run.spec.version, pid=os.getpid())
    run.show(ready=False)
    server = await run.listen_for_commands()
    try:
        await task
    except asyncio.CancelledError:
        run.log("stopped")
        return 0
    except Exception as error:  # the border of the process: say why before ending
        run.log("failed", error=f"{type(error).__name__}: {error}")
        raise
    finally:
        server.close()
        run.show(ready=False)
    run.log("ended")
    return 0
