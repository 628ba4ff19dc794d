"""The inspector: the process at the switches' inspection and copy ports that carries out Inspection.

Frames in, frames out, and a line to whichever controller connects last; without one it goes on by
the table that it has. Decides nothing itself. Knows nothing of flows, requests or the site's
configuration. Needs CAP_NET_RAW and nothing else: `python -m controller.inspector --socket PATH`.
"""

import argparse
import fcntl
import gc
import logging
import os
import select
import signal
import socket
import stat
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, ParamSpec, assert_never

from controller.events import Applied, FromInspector, InspectorCounters, InspectorUp
from controller.inspector import link
from controller.inspector.judgement.inspection import Inspection
from controller.inspector.judgement.observations import Undelivered
from controller.inspector.judgement.outcome import Outcome
from controller.inspector.tap import PacketTap, Tap, TapGone
from controller.verdicts import Delta, VerdictTable

log = logging.getLogger("graphwall.inspector")
P = ParamSpec("P")

EAGER: Final = -10  # nice value, where it is permitted
FRAMES_PER_TURN: Final = 32  # of one interface, before the others and the line have their turn
READ_PER_TURN: Final = 256 * 1024  # bytes from the line
LINES_AT_MOST: Final = 4  # that have connected and not said hello yet
UNSENT_AT_MOST: Final = 1024 * 1024  # bytes for a slow controller; what is more waits
UNDELIVERED_PER_TICK: Final = 200  # events at a time
TURN: Final = 0.05  # seconds that nothing may happen before reports that are due are looked for
TICK: Final = 0.01  # seconds between two looks at what is due, when there is always something to do
RETRY: Final = 0.2  # seconds between two attempts to open an interface
TIDY_EVERY: Final = 5.0  # seconds between two searches for what Python's reference counts have missed
COUNTERS_EVERY: Final = 1.0  # seconds
ERRORS_EVERY: Final = 10.0  # seconds between two log lines about failed frames
SET: Final = 5.0  # seconds that a clock has to be put forward or back for connections to notice


class CannotStart(Exception):
    """The inspector cannot do its work here. The message says why and what to do."""


class Line:
    """One connection that a controller has made; never waits."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._unsent = bytearray()
        self._said = 0  # bytes so far, sent or not
        self._waiting: deque[tuple[int, link.ToController]] = deque()  # where each ends
        self.decoder = link.inspector_decoder()
        self.greeted = False
        self.waits_to_write = False  # as the poll was told
        self.say(link.Hello(link.VERSION, os.getpid()))

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def wants_to_write(self) -> bool:
        return bool(self._unsent)

    @property
    def has_room(self) -> bool:
        return len(self._unsent) < UNSENT_AT_MOST

    def say(self, message: link.ToController) -> None:
        """Raises LinkError when it cannot be said; OSError when nobody listens."""
        data = link.to_controller(message)
        self._unsent += data
        self._said += len(data)
        self._waiting.append((self._said, message))

    def unsent(self) -> Iterator[link.ToController]:
        """What has not gone out as a whole."""
        return (message for _, message in self._waiting)

    def flush(self) -> None:
        """Write as much as goes; raises OSError when nobody listens."""
        with suppress(BlockingIOError):
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        sent = self._said - len(self._unsent)
        while self._waiting and self._waiting[0][0] <= sent:
            self._waiting.popleft()

    def read(self) -> bool:
        """Take in what has come; False when the controller is gone."""
        with suppress(BlockingIOError):
            data = self._socket.recv(READ_PER_TURN)
            self.decoder.feed(data)
            return bool(data)
        return True

    def close(self) -> None:
        self._socket.close()


class Inspector:
    """The loop: one turn serves every interface and the line for a bounded time."""

    def __init__(
        self,
        listener: socket.socket,
        open_tap: Callable[[str], Tap] = PacketTap,
        clock: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        listener.setblocking(False)
        self._listener = listener
        self._open_tap = open_tap
        self._clock, self._steady = clock, steady
        self._ahead = clock() - steady()  # as long as nobody sets the clock
        self._inspection = Inspection(None)
        self._undelivered = Undelivered()
        self._lines: dict[int, Line] = {}
        self._controller: Line | None = None
        self._building: VerdictTable | None = None
        self._deltas: list[Delta] = []
        self._ports: dict[int, link.SwitchPorts] = {}  # by switch
        self._taps: dict[str, Tap] = {}
        self._way_out: dict[str, str] = {}  # interface -> the inspection interface of the same switch
        self._by_fd: dict[int, Tap] = {}
        self._down: set[str] = set()
        self._counters = {"errors": 0, "not sent": 0, "unsayable": 0}
        self._told: dict[str, int] = {}
        self._next_tick = self._next_retry = self._next_counters = self._next_error = 0.0
        self._stopped = False
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)

    # The loop

    def run(self) -> None:
        """Serve until told to stop; closes everything."""
        gc.disable()
        tidy_at = 0.0
        try:
            while not self._stopped:
                self.turn(TURN)
                if time.monotonic() >= tidy_at:
                    tidy_at = time.monotonic() + TIDY_EVERY
                    gc.collect()
                    gc.freeze()  # so that the next time looks at what is new only, however large the table
        finally:
            gc.enable()
            for tap in list(self._taps.values()):
                self._close_tap(tap)
            for line in list(self._lines.values()):
                with suppress(OSError):
                    line.flush()
                self._hang_up(line)
            self._epoll.close()
            self._listener.close()

    def stop(self) -> None:
        """End with the current turn; may be called from a signal handler."""
        self._stopped = True

    def turn(self, timeout: float) -> None:
        """Wait for something to do, at most `timeout` seconds, and do a bounded part of it.

        Inspection first: those frames are waited for, the copies have long arrived.
        """
        pending = any(line.decoder.pending for line in self._lines.values())
        copies: list[Tap] = []
        others: set[int] = set()
        ready = self._epoll.poll(0 if pending else timeout)
        for fd, events in ready:
            tap = self._by_fd.get(fd)
            if tap is None:
                others.add(fd)
            elif events & select.EPOLLERR:
                self._fails(tap)
            elif self._way_out.get(tap.name) == tap.name:
                self._serve(tap, observed=False)
            else:
                copies.append(tap)
        if pending or others:
            self._listen(others)
        for tap in copies:
            if self._taps.get(tap.name) is tap:  # the line may have brought other interfaces
                self._serve(tap, observed=True)
        self._housekeeping(idle=not ready)

    def _listen(self, ready: set[int]) -> None:
        """What was said on the lines, and whoever calls."""
        for line in list(self._lines.values()):
            pending = line.decoder.pending
            if pending or line.fileno() in ready:
                self._attend(line, readable=not pending)
        if self._listener.fileno() in ready:
            self._accept()

    def _housekeeping(self, idle: bool) -> None:
        moment = time.monotonic()
        if idle or moment >= self._next_tick:
            self._next_tick = moment + TICK
            self._tick(moment)
        for line in self._lines.values():
            if line.wants_to_write or line.waits_to_write:
                self._flush_all()
                break

    def _tick(self, moment: float) -> None:
        now = self._clock()
        ahead = now - self._steady()
        if abs(ahead - self._ahead) > SET:
            self._inspection.clock_was_set(now)
        self._ahead = ahead  # a clock that is slowly put right is followed
        outcome = self._guarded(self._inspection.tick, now)
        if outcome is not None and outcome.events:
            self._tell(outcome.events)
        if moment >= self._next_retry:
            self._next_retry = moment + RETRY
            self._look_after_taps()
        if moment >= self._next_counters:
            self._next_counters = moment + COUNTERS_EVERY
            self._tell_counters()
        controller = self._controller
        if controller is not None and len(self._undelivered) and controller.has_room:
            for _, event in zip(range(UNDELIVERED_PER_TICK), self._undelivered.take(), strict=False):
                self._say(controller, event)

    def _flush_all(self) -> None:
        for line in [line for line in self._lines.values() if line.wants_to_write or line.waits_to_write]:
            self._flush(line)

    # Frames

    def _serve(self, tap: Tap, observed: bool) -> None:
        """A bounded number of frames of one interface."""
        way_out = self._taps.get(self._way_out.get(tap.name, ""))
        inspect, clock = self._inspection.frame, self._clock
        try:
            for _ in range(FRAMES_PER_TURN):
                frame = tap.receive()
                if frame is None:
                    return
                outcome = self._guarded(inspect, frame, observed, clock())
                if outcome is None:
                    continue
                if way_out is not None:
                    for passed in outcome.send:
                        if not way_out.send(passed):
                            self._counters["not sent"] += 1
                if outcome.events:
                    self._tell(outcome.events)
                if self._down:
                    self._down.discard(tap.name)
        except TapGone as gone:
            self._lose(tap, gone)

    def _fails(self, tap: Tap) -> None:
        try:
            tap.check()
        except TapGone as gone:
            self._lose(tap, gone)

    def _lose(self, tap: Tap, why: TapGone) -> None:
        if tap.name not in self._down:  # once, however often it fails until frames come again
            log.warning("interface %s; trying again every %s s", why, RETRY)
        self._down.add(tap.name)
        self._close_tap(tap)

    def _guarded(self, decide: Callable[P, Outcome], *args: P.args, **kwargs: P.kwargs) -> Outcome | None:
        """The only broad except: whatever goes wrong with a frame, it is dropped and the loop goes on."""
        try:
            return decide(*args, **kwargs)
        except Exception:
            self._counters["errors"] += 1
            if time.monotonic() >= self._next_error:
                self._next_error = time.monotonic() + ERRORS_EVERY
                log.exception("a frame was dropped because of a bug; %d so far", self._counters["errors"])
            return None

    # Interfaces

    def _serve_switches(self, switches: tuple[link.SwitchPorts, ...]) -> None:
        # A controller that starts names each switch once it has connected. Until then all goes on as it was:
        # interfaces go with their switch, not with the controller that knows it.
        self._ports = {**self._ports, **{switch.switch: switch for switch in switches}}
        self._way_out = {}
        for switch in self._ports.values():
            self._way_out[switch.copy] = self._way_out[switch.inspection] = switch.inspection
        for tap in list(self._taps.values()):
            if tap.name not in self._way_out:
                self._close_tap(tap)
        self._look_after_taps()

    def _look_after_taps(self) -> None:
        for tap in list(self._taps.values()):
            if not tap.same():
                self._close_tap(tap)
        for name in self._way_out:
            if name and name not in self._taps:
                with suppress(OSError):  # not there yet
                    tap = self._open_tap(name)
                    self._taps[name] = self._by_fd[tap.fileno()] = tap
                    self._epoll.register(tap.fileno(), select.EPOLLIN)

    def _close_tap(self, tap: Tap) -> None:
        if self._taps.get(tap.name) is tap:
            del self._taps[tap.name]
            del self._by_fd[tap.fileno()]
            with suppress(OSError):
                self._epoll.unregister(tap.fileno())
            tap.close()

    # The line

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        waiting = [line for line in self._lines.values() if not line.greeted]
        if len(waiting) >= LINES_AT_MOST:
            self._hang_up(waiting[0])
        line = Line(connection)
        self._lines[line.fileno()] = line
        self._epoll.register(line.fileno(), select.EPOLLIN)

    def _hang_up(self, line: Line) -> None:
        if self._lines.pop(line.fileno(), None) is None:
            return
        self._epoll.unregister(line.fileno())
        line.close()
        if line is self._controller:
            self._controller = None
            self._building, self._deltas = None, []
            for message in line.unsent():
                if not isinstance(message, link.Hello | link.Pong):
                    self._undelivered.add(message)

    def _attend(self, line: Line, readable: bool) -> None:
        """One read, or one message that was read before; more wait for the next turn."""
        try:
            alive = line.read() if readable else True
            message = line.decoder.next()
            if message is not None:
                self._obey(line, message)
            elif not alive:
                self._hang_up(line)
        except link.LinkError as error:
            log.warning("the line to the controller is closed: %s", error)
            self._hang_up(line)
        except OSError:
            self._hang_up(line)

    def _obey(self, line: Line, message: link.ToInspector) -> None:
        match message:
            case link.Hello():
                if self._controller is not None:
                    self._hang_up(self._controller)  # the newest wins
                line.greeted = True
                self._controller = line
                self._inspection.controller_connected(self._clock())
                self._told = {}
                for event in self._undelivered.take_used():  # the table that is asked for must know it
                    self._say(line, event)
                self._say(line, InspectorUp(os.getpid()))
            case link.Ports():
                self._serve_switches(message.switches)
            case link.Settings():
                self._inspection.set(reveal_intent=message.reveal_intent)
            case link.TablePart():
                self._take(line, message)
            case link.Ping():
                self._say(line, link.Pong())
            case link.Stop():
                self.stop()
            case _:
                assert_never(message)

    def _take(self, line: Line, part: link.TablePart) -> None:
        """Collect the parts of an update; they count together, when the last one is there."""
        if part.whole:
            if self._building is None:
                self._building = VerdictTable()
            for delta in part.deltas:
                self._building.apply(delta)
            if part.last:
                self._inspection.replace(self._building)
                self._building = None
        else:
            self._deltas += part.deltas
            if part.last:
                deltas, self._deltas = self._deltas, []
                self._inspection.update(deltas)
        if part.last:
            self._say(line, Applied(part.version))

    def _tell(self, events: Iterable[FromInspector]) -> None:
        for event in events:
            controller = self._controller
            if controller is not None and controller.has_room:
                self._say(controller, event)
            else:
                self._undelivered.add(event)

    def _say(self, line: Line, event: FromInspector | link.Pong) -> None:
        try:
            line.say(event)
        except link.LinkError:
            self._counters["unsayable"] += 1

    def _flush(self, line: Line) -> None:
        try:
            line.flush()
            if line.wants_to_write != line.waits_to_write:
                line.waits_to_write = line.wants_to_write
                waits = select.EPOLLOUT if line.waits_to_write else 0
                self._epoll.modify(line.fileno(), select.EPOLLIN | waits)
        except OSError:
            self._hang_up(line)

    def _tell_counters(self) -> None:
        counters = {
            **self._inspection.counters,
            **self._counters,
            "lost observations": self._undelivered.lost,
            "unfinished checksums": sum(tap.unfinished for tap in self._taps.values()),
        }
        if counters != self._told:
            self._told = counters
            self._tell((InspectorCounters(counters),))


def listen(path: Path, group: bool = False) -> tuple[socket.socket, int]:
    """The socket at `path`, for its owner only, and the lock that keeps a second inspector away.

    `group`: for the whole group of this process. Raises CannotStart.
    """
    try:
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        remedy = f"create {path.parent} and let me write there"
        raise CannotStart(f"{path}.lock: {error.strerror}; {remedy}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise CannotStart(f"{path}: another inspector serves this socket; stop it first") from None
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.exists():
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise CannotStart(f"{path} is not a socket; give another --socket or move it away")
            path.unlink()  # left behind by an inspector that was killed: its lock was free
        before = os.umask(0o117 if group else 0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(LINES_AT_MOST)
    except OSError as error:
        listener.close()
        os.close(lock)
        raise CannotStart(f"{path}: {error.strerror or error}; give another --socket") from None
    except CannotStart:
        listener.close()
        os.close(lock)
        raise
    return listener, lock


def _check_rights() -> None:
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        raise CannotStart(
            "reading frames needs CAP_NET_RAW; start the inspector as root or grant it"
        ) from None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the inspector; 2 when it cannot start."""
    parser = argparse.ArgumentParser(prog="python -m controller.inspector", description=__doc__)
    parser.add_argument(
        "--socket", required=True, type=Path, help="unix socket on which the controller calls"
    )
    parser.add_argument("--group", action="store_true", help="let the group of this process call, too")
    given = parser.parse_args(arguments)
    path: Path = given.socket
    logging.basicConfig(format="%(asctime)s inspector %(levelname)s %(message)s", level=logging.INFO)
    logging.raiseExceptions = False  # whoever read the log may be gone; the inspector is not
    try:
        _check_rights()
        listener, lock = listen(path, given.group)
    except CannotStart as problem:
        sys.stderr.write(f"inspector: {problem}\n")
        return 2
    with suppress(PermissionError):  # already the leader of a group of its own
        os.setsid()
    with suppress(PermissionError):  # messages wait for it; Open vSwitch runs as eagerly
        os.setpriority(os.PRIO_PROCESS, 0, EAGER)
    inspector = Inspector(listener)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: inspector.stop())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        inspector.run()
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)
    return 0
