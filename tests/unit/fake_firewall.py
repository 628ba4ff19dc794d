"""A firewall that does as it is told by a test, and a store that fails when it is told to."""

import threading
from collections.abc import Callable, Sequence

from controller.events import Effect, Event, ReadFlows, Record, SendFlows, SendFrame, Tick
from controller.view import SiteView


def empty_view(version: int = 0) -> SiteView:
    return SiteView(version, 0.0, "test", False, {}, {}, {})


class FakeFirewall:
    """`decide` gives the effects of an event. `events`: all but ticks, in order."""

    def __init__(self, decide: Callable[[Event], Sequence[Effect]] = lambda _: ()) -> None:
        self.decide = decide
        self.events: list[Event] = []
        self.ticks = 0
        self.now = 0.0
        self.views = 0
        self.threads: set[int] = set()
        self.last: Sequence[Effect] = ()

    def handle(self, event: Event, now: float) -> Sequence[Effect]:
        self.threads.add(threading.get_ident())
        self.now = now
        if isinstance(event, Tick):
            self.ticks += 1
        else:
            self.events.append(event)
        return self.decide(event)

    def view(self, now: float) -> SiteView:
        self.threads.add(threading.get_ident())
        self.now = now
        self.views += 1
        return empty_view(len(self.events))

    def stop(self, now: float) -> Sequence[Effect]:
        self.now = now
        return self.last

    def of(self, kind: type) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]


class FakeStore:
    def __init__(self) -> None:
        self.records: list[Record] = []
        self.error: Exception | None = None

    def write(self, record: Record) -> None:
        if self.error is not None:
            raise self.error
        self.records.append(record)


class FakeHands:
    """Notes what reaches the switches, with everything else that a test adds to `log`."""

    def __init__(self) -> None:
        self.log: list[object] = []
        self.ticks = 0

    def send_flows(self, effect: SendFlows) -> None:
        self.log.append(effect)

    def read_flows(self, effect: ReadFlows) -> None:
        self.log.append(effect)

    def send_frame(self, effect: SendFrame) -> None:
        self.log.append(effect)

    def tick(self) -> None:
        self.ticks += 1
