"""What has changed, told to everyone who listens: server-sent events, and waiting for a state.

The site's thread only rings a bell here. Each listener compares the newest view with the one that it
was told last, so that a slow one skips views instead of making a queue.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool

from controller.model.relationship import DeviceId, ServiceId
from controller.view import DecisionView, RequestView, SiteView
from controller.web.deltas import graph_delta
from controller.web.site import ApiError, Site
from controller.web.values import to_json

LISTENERS = 64  # at most, each holds a connection
GATHER = 0.1  # s; changes within this time are told together
SHARE = 4  # or, if that is longer, this many times what it took to look at the site
HEARTBEAT = 15.0  # s; a comment, so that both ends notice a dead line
SEEN_EVERY = 0.25  # s between two countings of messages
STEP = 0.01  # of a learning phase
POLL = 0.05  # s; while waiting for something that rings no bell


@dataclass(frozen=True, slots=True)
class VersionChanged:
    """Something is different: read again what is shown."""

    version: int
    time: float
    requests: int
    inspector: bool


@dataclass(frozen=True, slots=True)
class RequestClosed:
    id: str


@dataclass(frozen=True, slots=True)
class Seen:
    """How many messages of each relationship there were since the last time."""

    relationships: Mapping[str, int] = field(hash=False)


@dataclass(frozen=True, slots=True)
class Learning:
    """How far a service's learning phase is."""

    service: ServiceId
    progress: float
    ends_at_latest: float


@dataclass(frozen=True, slots=True)
class Learnt:
    """A learning phase is over."""

    service: ServiceId
    ended: bool = True


@dataclass(frozen=True, slots=True)
class Paused:
    """The protection of a device is paused until then, or (None) on again."""

    device: DeviceId
    until: float | None


Said = VersionChanged | RequestView | RequestClosed | DecisionView | Seen | Learning | Learnt | Paused


def happened(old: SiteView | None, new: SiteView) -> Iterator[tuple[str, Said]]:
    """The events, by name, that lead from one view to another.

    `request`: one was added or changed; `request-closed`: nothing is asked there any more;
    `decision`: made or undone; `in-force`: carried out everywhere; `pause`: the protection of a device is
    off or on; last, if anything is, `version`.
    """
    said = False
    for name, value in _differences(old, new):
        said = True
        yield name, value
    if said or old is None or old.version != new.version:
        yield "version", VersionChanged(new.version, new.time, len(new.requests), new.inspector)


def _differences(old: SiteView | None, new: SiteView) -> Iterator[tuple[str, Said]]:
    if old is not None:
        asked = {request.id: request for request in old.requests}
        for request in new.requests:
            if asked.pop(request.id, None) != request:
                yield "request", request
        for gone in asked:
            yield "request-closed", RequestClosed(gone)
        if old.decisions is not new.decisions:
            known = {view.decision.id: view for view in old.decisions}
            for view in new.decisions:
                before = known.get(view.decision.id)
                if before is None or before.decision != view.decision:
                    yield "decision", view
                if view.in_force and (before is None or not before.in_force):
                    yield "in-force", view
        for device in new.devices.values():
            before_it = old.devices.get(device.id)
            if device.paused_until != (before_it.paused_until if before_it is not None else None):
                yield "pause", Paused(device.id, device.paused_until)


class _Running:
    """What changes all the time, told at most every SEEN_EVERY seconds: messages, and steps of learning."""

    def __init__(self) -> None:
        self._counts: dict[str, int] | None = None
        self._learning: dict[ServiceId, float] = {}
        self._at = float("-inf")
        self._version = -1

    def behind(self, view: SiteView) -> bool:
        """Whether there may be something to tell once it is time."""
        return view.version != self._version

    def news(self, view: SiteView, now: float) -> Iterator[tuple[str, Said]]:
        if now - self._at < SEEN_EVERY:
            return
        first, self._at, self._version = self._counts is None, now, view.version
        told, self._counts = self._counts or {}, {
            name: edge.relationship.allowed + edge.relationship.refused
            for name, edge in view.relationships.items()
        }  # fmt: skip
        more = {name: count - told.get(name, 0) for name, count in self._counts.items()}
        found = {name: number for name, number in more.items() if number > 0}
        if found and not first:
            yield "seen", Seen(found)
        for event in self._steps(view):
            if not first:
                yield "learning", event

    def _steps(self, view: SiteView) -> Iterator[Learning | Learnt]:
        for name, service in view.services.items():
            learning = service.learning
            if learning is None:
                if self._learning.pop(name, None) is not None:
                    yield Learnt(name)
            elif abs(learning.progress - self._learning.get(name, -1.0)) >= STEP:
                self._learning[name] = learning.progress
                yield Learning(name, learning.progress, learning.ends_at_latest)


class Changes:
    """The bell between the site's thread and the listeners on the web's event loop."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._waiting: set[asyncio.Event] = set()
        self._listeners = 0
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def open(self) -> None:
        """Begin; called on the event loop."""
        self._loop = asyncio.get_running_loop()
        self._unsubscribe = self._site.subscribe(self._ring_from_afar)

    def _ring_from_afar(self, *_: object) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has just ended
                self._loop.call_soon_threadsafe(self.ring)

    def ring(self) -> None:
        """Have every listener look; called on the event loop."""
        for bell in self._waiting:
            bell.set()

    def close(self) -> None:
        """Send every listener home; from any thread."""
        self._closed = True
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        self._ring_from_afar()

    @contextmanager
    def _bell(self) -> Iterator[asyncio.Event]:
        bell = asyncio.Event()
        self._waiting.add(bell)
        try:
            yield bell
        finally:
            self._waiting.discard(bell)

    async def wait_until(self, seen: Callable[[SiteView], bool], at_most: float) -> SiteView:
        """The first view in which `seen` holds, or the newest once `at_most` seconds are over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + at_most
        with self._bell() as bell:
            while True:
                bell.clear()
                view = await run_in_threadpool(self._site.snapshot)
                left = end - loop.time()
                if seen(view) or left <= 0 or self._closed:
                    return view
                await _rung(bell, min(left, POLL))

    def listen(
        self, shown: Callable[[SiteView], SiteView | None], graph: bool = False
    ) -> AsyncIterator[bytes]:
        """The event stream for one listener; raises ApiError when there are too many.

        `shown`: the site as this listener may see it; None once he may not see it any more.
        `graph`: tell also what changes in the graph, beginning with the whole of it.
        """
        if self._listeners >= LISTENERS:
            raise ApiError(
                503, "too many listeners", f"{LISTENERS} programs listen already", "close some of them"
            )
        return self._stream(shown, graph)

    async def _stream(
        self, shown: Callable[[SiteView], SiteView | None], graph: bool
    ) -> AsyncIterator[bytes]:
        self._listeners += 1
        told: SiteView | None = None
        running = _Running()
        loop = asyncio.get_running_loop()
        try:
            with self._bell() as bell:
                while not self._closed:
                    bell.clear()
                    began = loop.time()
                    view = shown(await run_in_threadpool(self._site.snapshot))
                    if view is None:
                        break
                    delta = graph_delta(told, view) if graph else None
                    if delta is not None:  # first: what follows speaks of what is in it
                        yield _event(view, "graph", delta)
                    news = (*happened(told, view), *running.news(view, loop.time()))
                    for name, value in news:
                        yield _event(view, name, value)
                    told = view
                    await asyncio.sleep(max(GATHER, SHARE * (loop.time() - began)))
                    wait = SEEN_EVERY if running.behind(view) else HEARTBEAT
                    if not await _rung(bell, wait) and wait == HEARTBEAT:
                        yield b": still here\n\n"
        finally:
            self._listeners -= 1


def _event(view: SiteView, name: str, value: object) -> bytes:
    return f"id: {view.version}\nevent: {name}\ndata: ".encode() + to_json(value) + b"\n\n"


async def _rung(bell: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await bell.wait()
    except TimeoutError:
        return False
    return True
