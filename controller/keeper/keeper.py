"""The one thread that owns the firewall: others post events to it, ask it, and read what it shows.

Knows nothing of OpenFlow; what goes to switches goes through `Hands`. Runs under either of os-ken's
hubs, but call() and snapshot() block their thread and are for native threads only.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Protocol, assert_never

from os_ken.lib import hub

from controller.events import (
    Answer,
    Command,
    Effect,
    Event,
    FlowsRead,
    NotStored,
    Persist,
    ReadFlows,
    Report,
    SendFlows,
    SendFrame,
    ServeSwitches,
    Tick,
    UpdateTable,
)
from controller.keeper.backlog import Backlog, Store
from controller.keeper.mailbox import Mailbox
from controller.view import SiteView

log = logging.getLogger(__name__)

TICK = 0.2  # seconds
FRESH = 0.05  # seconds that a view is good for, unless a command was answered since
ANSWER_WITHIN = 10.0  # seconds
DRAIN = 0.4  # seconds that stop() goes on handling what waits
NOT_STORED_DEPTH = 3  # a store that fails while its failure is handled, and again

_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


class Core(Protocol):
    """The firewall (firewall.py)."""

    def handle(self, event: Event, now: float) -> Sequence[Effect]: ...

    def view(self, now: float) -> SiteView: ...

    def stop(self, now: float) -> Sequence[Effect]: ...


class Inspector(Protocol):
    """The line to the inspector."""

    def send(self, message: UpdateTable | ServeSwitches) -> object:
        """Must not block."""


class Hands(Protocol):
    """What reaches the switches. Called on the owner's thread; must not block."""

    def send_flows(self, effect: SendFlows) -> None: ...

    def read_flows(self, effect: ReadFlows) -> None: ...

    def send_frame(self, effect: SendFrame) -> None: ...

    def tick(self) -> None: ...


class StoppingError(RuntimeError):
    """The controller is stopping; nothing was done."""

    def __init__(self) -> None:
        super().__init__("the controller is stopping; nothing was changed")


@dataclass(frozen=True, slots=True)
class _Look:
    """Somebody wants to see the site."""

    result: "Future[SiteView]"


class Keeper:
    """Runs `core`: everything that happens goes through post() or call(), one at a time.

    `clock` gives seconds since the epoch. Without `inspector` nobody judges.
    """

    def __init__(
        self,
        core: Core,
        hands: Hands,
        store: Store | None,
        inspector: Inspector | None,
        clock: Callable[[], float],
    ) -> None:
        self._core = core
        self._hands = hands
        self._backlog = Backlog(store)
        self._inspector = inspector
        self._clock = clock
        self._mail = Mailbox()
        self._lock = threading.Lock()  # held for a few instructions only, never across a wait
        self._thread: Any = None
        self._owner: int | None = None
        self._stopping = False
        self._drain_until = 0.0
        self._ended = False
        self._token = 0
        self._answers: dict[int, Future[Answer]] = {}
        self._answered = 0
        self._look: _Look | None = None
        self._seen: tuple[SiteView, float, int] | None = None  # view, when, answers until then
        self._subscribers: tuple[Callable[[], object], ...] = ()
        self._changed = False
        self._notified = 0.0
        self._mistakes = 0

    # ------------------------------------------------------------ for any thread

    def post(self, event: Event) -> None:
        """Hand over an event. Returns at once; what may be lost is dropped when too much waits."""
        if not self._ended:
            self._mail.put(event)

    def call(self, command: Command, timeout: float = ANSWER_WITHIN) -> Answer:
        """Carry out a command and wait for its answer; the command's token is replaced.

        Raises TimeoutError when none comes (it may still be carried out), StoppingError at the end.
        """
        self._not_from_within()
        result: Future[Answer] = Future()
        with self._lock:
            if self._stopping:
                raise StoppingError
            self._token += 1
            token = self._token
            self._answers[token] = result
            self._mail.put(replace(command, token=token))
        try:
            return result.result(timeout)
        except FutureTimeoutError:
            raise TimeoutError(
                f"no answer within {timeout:g} s; the log will say whether it was done"
            ) from None
        finally:
            self._answers.pop(token, None)

    def snapshot(self, timeout: float = ANSWER_WITHIN) -> SiteView:
        """The site as it is: at most FRESH seconds old, and never from before the last answer of call().

        Raises TimeoutError.
        """
        seen = self._seen
        if seen is not None:
            view, at, answered = seen
            if self._ended or (answered == self._answered and monotonic() - at < FRESH):
                return view
        self._not_from_within()
        with self._lock:
            if self._ended and self._seen is not None:
                return self._seen[0]
            look = self._look
            if look is None:  # else somebody has asked, and has not been shown yet
                look = self._look = _Look(Future())
                self._mail.put(look)
        try:
            return look.result.result(timeout)
        except FutureTimeoutError:
            raise TimeoutError(f"the firewall did not answer within {timeout:g} s") from None

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback` after changes, at most every FRESH seconds; returns what ends that.

        It is called on the owner's thread, so it must return at once.
        """
        with self._lock:
            self._subscribers = (*self._subscribers, callback)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers = tuple(c for c in self._subscribers if c is not callback)

        return unsubscribe

    @property
    def counters(self) -> dict[str, int]:
        """What was lost, and how often the firewall failed."""
        lost = {f"dropped {kind}": count for kind, count in self._mail.dropped.items()}
        return {**lost, "mistakes": self._mistakes, "waiting": len(self._mail)}

    def start(self) -> None:
        self._thread = hub.spawn(self._run)

    def stop(self, timeout: float = 1.0) -> None:
        """Handle what waits, save, and end the thread. May be called twice."""
        with self._lock:
            if not self._stopping:
                self._drain_until = monotonic() + DRAIN
            self._stopping = True
        self._mail.wake()
        if isinstance(self._thread, threading.Thread):
            self._thread.join(timeout)
            if self._thread.is_alive():
                log.error("the firewall's thread has not ended within %g s", timeout)
        elif self._thread is not None:  # a green thread has no timeout
            hub.joinall([self._thread])

    def _not_from_within(self) -> None:
        if threading.get_ident() == self._owner:
            raise RuntimeError("the owner's thread would wait for itself")

    # ------------------------------------------------------------ the owner's thread

    def _run(self) -> None:
        self._owner = threading.get_ident()
        due = monotonic()
        while True:
            wait = due - monotonic()
            if self._changed:
                wait = min(wait, self._notified + FRESH - monotonic())
            item = self._mail.take(wait)
            if monotonic() >= due:
                due = monotonic() + TICK
                self._guarded(self._tick)
            if item is not None:
                self._guarded(self._meet, item)
            elif self._stopping:
                break
            if self._stopping and monotonic() > self._drain_until:
                break
            self._guarded(self._notify)
        self._guarded(self._finish)
        self._guarded(self._leave)

    def _guarded(self, step: Callable[..., object], *arguments: object) -> None:
        """The border: whatever goes wrong is logged and counted, and what was not sent is not allowed."""
        try:
            step(*arguments)
        except Exception:
            log.exception("a mistake in the firewall; the traffic concerned stays denied")
            self._mistakes += 1

    def _meet(self, item: Event | _Look) -> None:
        if isinstance(item, _Look):
            self._show(item)
            return
        if self._handle(item) or not isinstance(item, FlowsRead):  # which mostly finds all as it was
            self._changed = True

    def _tick(self) -> None:
        if self._handle(Tick()):
            self._changed = True
        self._backlog.retry()
        self._hands.tick()

    def _show(self, look: _Look) -> None:
        with self._lock:
            self._look = None
        try:
            view = self._core.view(self._clock())
        except Exception as error:
            look.result.set_exception(error)
            raise
        self._seen = (view, monotonic(), self._answered)
        look.result.set_result(view)

    def _notify(self) -> None:
        if not self._changed or monotonic() < self._notified + FRESH:
            return
        self._changed, self._notified = False, monotonic()
        for callback in self._subscribers:
            self._guarded(callback)

    def _handle(self, event: Event, depth: int = 0) -> bool:
        """Let the firewall decide, and carry it out in order; whether there was anything to do."""
        try:
            effects = self._core.handle(event, self._clock())
        except Exception:
            if isinstance(event, Command):
                text, remedy = "the firewall failed at this", "look at the log and report it"
                self._answer(Answer(event.token, code="internal error", message=text, remedy=remedy))
            raise
        for effect in effects:
            if not isinstance(effect, Persist):
                self._guarded(self._carry_out, effect)
                continue
            error = self._backlog.write(effect.record, keep=not effect.token)
            if error is not None and effect.token:  # what follows it must not happen
                if depth < NOT_STORED_DEPTH:
                    self._handle(NotStored(effect.token, error), depth + 1)
                break
        return bool(effects)

    def _carry_out(
        self, effect: SendFlows | ReadFlows | SendFrame | UpdateTable | ServeSwitches | Answer | Report
    ) -> None:
        match effect:
            case SendFlows():
                self._hands.send_flows(effect)
            case ReadFlows():
                self._hands.read_flows(effect)
            case SendFrame():
                self._hands.send_frame(effect)
            case UpdateTable() | ServeSwitches():
                if self._inspector is not None:
                    self._inspector.send(effect)
            case Answer():
                self._answer(effect)
            case Report(level, text):
                log.log(_LEVELS[level], "%s", text)
            case _:
                assert_never(effect)

    def _answer(self, answer: Answer) -> None:
        self._answered += 1
        waiting = self._answers.get(answer.token)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _finish(self) -> None:
        for effect in self._core.stop(self._clock()):
            if isinstance(effect, Persist):
                self._backlog.write(effect.record, keep=True)
            else:
                self._guarded(self._carry_out, effect)
        if self._backlog.retry(now=True) is not None:
            log.error("what was learnt since the store failed is lost")
        self._seen = (self._core.view(self._clock()), monotonic(), self._answered)

    def _leave(self) -> None:
        """Nobody is left waiting."""
        with self._lock:
            self._ended = True
            look, self._look = self._look, None
        if look is not None and not look.result.done():
            if self._seen is not None:
                look.result.set_result(self._seen[0])
            else:
                look.result.set_exception(StoppingError())
        for waiting in list(self._answers.values()):
            if not waiting.done():
                waiting.set_exception(StoppingError())
