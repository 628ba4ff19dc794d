"""Keeps an inspector running and talks to it: adopts a living one, or starts one, again and again.

The inspector is no child in spirit: it goes on judging by its last table when the controller dies, and
the next controller adopts it. Only stop() ends it, unless somebody else looks after it: then it is
talked to, and neither started nor ended. Knows nothing of what is said on the line.
"""

import logging
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from controller.events import FromInspector, InspectorDown, InspectorUp, ServeSwitches, UpdateTable
from controller.inspector import link

log = logging.getLogger(__name__)

SOCKET = "inspector.sock"  # in the state folder
LOG = "inspector.log"  # beside it; the inspector outlives our own standard error
LOG_AT_MOST = 1024 * 1024  # bytes; then it begins anew
SOCKET_NAME_AT_MOST = 107  # bytes, sun_path of Linux

CONNECT_EVERY = 0.05  # s between two tries to reach one that is starting
START_WITHIN = 10.0  # s; who cannot be reached then is started again
PAUSES = (0.0, 0.2, 0.5, 1.0, 2.0, 5.0)  # s before starting one again that ended soon, and soon again
SOON = 5.0  # s
GRACE = 0.6  # s to end when asked to
PING_EVERY = 1.0  # s
HANGS_AFTER = 5.0  # s without a word although it was asked; then it is started anew
UNSENT_AT_MOST = 64 * 1024 * 1024  # bytes; an inspector that reads nothing is hung up on
READ = 256 * 1024  # bytes


class SupervisorError(Exception):
    """No inspector can run here. The message says what, where and what to do."""


class Process:
    """A process that cannot be mistaken for another one that was given the same number later."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._handle = os.pidfd_open(number)

    def signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._handle, number)

    def ended(self, within: float) -> bool:
        """Whether it has ended, after waiting at most so many seconds."""
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(within * 1000))

    def close(self) -> None:
        os.close(self._handle)


class _Line:
    """One connection to an inspector."""

    def __init__(self, connection: socket.socket) -> None:
        number = int.from_bytes(
            connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 4), sys.byteorder
        )
        self.process = Process(number)
        self.decoder = link.controller_decoder()
        self.unsent = bytearray(link.to_inspector(link.Hello(link.VERSION, os.getpid())))
        self.has_table = False  # changes of a table mean nothing before the whole
        connection.setblocking(False)
        self.socket = connection

    def flush(self) -> None:
        with suppress(BlockingIOError):
            while self.unsent:
                del self.unsent[: self.socket.send(self.unsent)]

    def close(self) -> None:
        self.socket.close()
        self.process.close()


class Supervisor:
    """The controller's end of the line; `send` may be called from any thread and never waits.

    `elsewhere`: the socket of an inspector that others start and end.
    """

    def __init__(self, folder: Path, settings: link.Settings, elsewhere: Path | None = None) -> None:
        self._path = elsewhere or folder / SOCKET
        self._ours = elsewhere is None
        self._unreachable = ""  # why
        if len(os.fsencode(self._path)) > SOCKET_NAME_AT_MOST:
            raise SupervisorError(
                f"the path of the state folder is too long for a socket in it ({self._path}); choose a "
                "shorter one with 'state:' in site.yaml or --state"
            )
        self._log = folder / LOG
        self._settings = settings
        self._post: Callable[[FromInspector], object] = lambda _: None
        self._outbox: deque[UpdateTable | ServeSwitches] = deque()
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)
        self._connected = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._child: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._ended_soon = 0
        self._line: _Line | None = None
        self._asked: float | None = None  # when it was asked whether it is alive, and has not answered yet
        self._next_ping = 0.0

    # ------------------------------------------------------------ for other threads

    def start(self, post: Callable[[FromInspector], object]) -> None:
        """Begin; what the inspector says goes to `post`, which must not wait."""
        self._post = post
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Whether the inspector is there, after waiting at most so many seconds."""
        return self._connected.wait(seconds)

    @property
    def process(self) -> int | None:
        """The inspector's process id while it is connected."""
        line = self._line
        return None if line is None else line.process.number

    def send(self, message: UpdateTable | ServeSwitches) -> None:
        """Say it to the inspector, if there is one: a new one is told everything when it comes up."""
        if self._connected.is_set():
            self._outbox.append(message)
            self._ring()

    def stop(self) -> None:
        """End the inspector and the line, within about twice GRACE."""
        self._stopping.set()
        self._ring()
        if self._thread.is_alive():
            self._thread.join(2 * GRACE + 0.3)
        self._bell.close()
        self._ear.close()

    def kill(self) -> None:
        """End the inspector at once, from a signal handler."""
        line, child = self._line, self._child
        if line is not None and self._ours:
            line.process.signal(signal.SIGKILL)
        if child is not None and child.poll() is None:
            child.kill()

    def last_words(self) -> str:
        """What an inspector that could not start wrote last, or why one of others cannot be reached."""
        if not self._ours:
            return self._unreachable
        with suppress(OSError):
            lines = self._log.read_text("utf-8", "replace").strip().splitlines()
            return lines[-1].removeprefix("inspector: ") if lines else ""
        return ""

    def _ring(self) -> None:
        with suppress(OSError):
            self._bell.send(b"!")

    # ------------------------------------------------------------ the supervisor's thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            line = self._connect()
            if line is None:
                if self._ours:
                    self._look_after_child()
                self._stopping.wait(CONNECT_EVERY)
                continue
            self._line = line
            try:
                self._serve(line)
            except Exception:
                log.exception("a mistake on the line to the inspector; it is connected again")
            finally:
                self._lost(line)
        self._end_child()

    def _connect(self) -> _Line | None:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(1.0)
        try:
            connection.connect(str(self._path))
            return _Line(connection)
        except OSError as error:
            connection.close()
            text = f"none can be reached at {self._path} ({error.strerror or error})"
            if not self._ours and text != self._unreachable:
                log.warning("the inspector: %s; it is tried again and again", text)
            self._unreachable = text
            return None

    def _lost(self, line: _Line) -> None:
        was_up = self._connected.is_set()
        self._connected.clear()
        self._outbox.clear()
        self._line = None
        if self._stopping.is_set() and self._ours and not self._ended_by_request(line):
            line.process.signal(signal.SIGKILL)
        line.close()
        if was_up:
            self._post(InspectorDown())

    def _end(self, line: _Line, number: signal.Signals) -> None:
        """It is of no use to us; one of ours is started anew, to any other the line is made again."""
        if self._ours:
            line.process.signal(number)
            line.process.ended(GRACE)

    def _ended_by_request(self, line: _Line) -> bool:
        for ask in (None, signal.SIGTERM):
            if ask is not None:
                line.process.signal(ask)
            if self._child is not None:
                self._child.poll()
            if line.process.ended(GRACE):
                return True
        return False

    # Starting

    def _look_after_child(self) -> None:
        """Nobody answers: start an inspector, unless one is just about to."""
        child = self._child
        age = time.monotonic() - self._started
        if child is not None:
            code = child.poll()
            if code is None and age < START_WITHIN:
                return
            if code is None:
                log.error("the inspector (process %d) does not answer; it is started again", child.pid)
                child.kill()
                child.wait()
            else:
                words = f": {self.last_words()}" if code > 0 else ""
                log.error("the inspector has ended (%s)%s", _how(code), words)
            self._child = None
            self._ended_soon = self._ended_soon + 1 if age < SOON else 0
        if age >= PAUSES[min(self._ended_soon, len(PAUSES) - 1)]:
            self._start()

    def _start(self) -> None:
        self._started = time.monotonic()
        source = str(Path(__file__).parents[1])
        found = os.environ.get("PYTHONPATH")
        try:
            mode = "ab" if self._log.exists() and self._log.stat().st_size < LOG_AT_MOST else "wb"
            with open(self._log, mode, opener=_private) as out:  # Path.open has no opener
                self._child = subprocess.Popen(
                    [sys.executable, "-P", "-m", "controller.inspector", "--socket", str(self._path)],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    start_new_session=True,  # what ends the controller does not end it
                    env={**os.environ, "PYTHONPATH": f"{source}:{found}" if found else source},
                )
        except OSError:
            self._ended_soon += 1
            log.exception("the inspector cannot be started")

    def _end_child(self) -> None:
        """A child that was started and never reached."""
        child = self._child
        if child is None or child.poll() is not None:
            return
        child.terminate()
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    # The line

    def _serve(self, line: _Line) -> None:
        poll = select.poll()
        poll.register(self._ear, select.POLLIN)
        give_up = time.monotonic() + START_WITHIN  # unless it says that it is up
        asked_to_stop = False
        self._asked = None
        while True:
            if self._stopping.is_set() and not self._ours:
                return
            if self._stopping.is_set() and not asked_to_stop:
                asked_to_stop = True
                give_up = time.monotonic() + GRACE
                line.unsent += link.to_inspector(link.Stop())
            may_wait = self._connected.is_set() and not asked_to_stop
            poll.register(line.socket, select.POLLIN | (select.POLLOUT if line.unsent else 0))
            poll.poll(PING_EVERY * 1000 if may_wait else 100)
            if may_wait and self._hangs(line):
                log.error("the inspector (process %d) hangs; it is started anew", line.process.number)
                self._end(line, signal.SIGKILL)
                return
            if not may_wait and time.monotonic() > give_up:
                log.error("the inspector (process %d) does not answer; it is given up", line.process.number)
                self._end(line, signal.SIGKILL)
                return
            with suppress(BlockingIOError):
                self._ear.recv(4096)
            try:
                if not self._hear(line):
                    return
                self._speak(line)
            except OSError:
                return
            except link.LinkError as error:
                log.error("the line to the inspector is closed: %s", error)  # noqa: TRY400  # it says it all
                self._end(line, signal.SIGTERM)
                return

    def _hangs(self, line: _Line) -> bool:
        """Ask now and then whether it is alive, and say when it has not answered for too long."""
        now = time.monotonic()
        if self._asked is None:
            if now >= self._next_ping:
                self._asked, self._next_ping = now, now + PING_EVERY
                line.unsent += link.to_inspector(link.Ping())
            return False
        readable = select.poll()
        readable.register(line.socket, select.POLLIN)
        return now - self._asked > HANGS_AFTER and not readable.poll(0)  # else it was us who were late

    def _hear(self, line: _Line) -> bool:
        """Take in what the inspector says; False when it is gone."""
        try:
            data = line.socket.recv(READ)
        except BlockingIOError:
            return True
        self._asked = None
        line.decoder.feed(data)
        while (message := line.decoder.next()) is not None:
            match message:
                case link.Pong():
                    pass
                case link.Hello():
                    line.unsent += link.to_inspector(self._settings)
                case InspectorUp():
                    self._ended_soon = 0
                    self._connected.set()
                    log.info("inspector: process %d", message.process)
                    self._post(message)
                case _:
                    self._post(message)
        return bool(data)

    def _speak(self, line: _Line) -> None:
        while self._outbox:
            message = self._outbox.popleft()
            match message:
                case ServeSwitches():
                    switches = tuple(link.SwitchPorts(*ports) for ports in message.interfaces)
                    line.unsent += link.to_inspector(link.Ports(switches))
                case UpdateTable():
                    line.has_table = line.has_table or message.whole
                    if line.has_table:
                        for part in link.parts(message):
                            line.unsent += link.to_inspector(part)
        line.flush()
        if len(line.unsent) > UNSENT_AT_MOST:
            log.error("the inspector (process %d) does not read; it is given up", line.process.number)
            self._end(line, signal.SIGKILL)
            raise ConnectionAbortedError


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"
