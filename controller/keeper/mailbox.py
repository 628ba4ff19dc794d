"""What waits for the owner of the firewall: any thread puts in, one takes out, and it has an end.

Knows nothing of what an event means beyond whether it may be lost. Waits by os-ken's hub, so that it
works under either of its hubs.
"""

import contextlib
import threading
from collections import Counter, deque
from collections.abc import Mapping
from typing import Any

from os_ken.lib import hub

from controller.events import (
    ConnectionSettled,
    FlowCounters,
    InspectorCounters,
    LeaseSeen,
    NameSeen,
    Observed,
    PacketIn,
    RefusalWanted,
    ServiceAnnounced,
)

# What may be lost when it comes faster than it can be handled, and how many of each may wait. All else
# is never dropped, and goes before: a flood must not delay a decision.
LIMITS: Mapping[type, int] = {
    PacketIn: 1_000,
    Observed: 20_000,
    ConnectionSettled: 5_000,
    RefusalWanted: 5_000,
    NameSeen: 5_000,
    LeaseSeen: 1_000,
    ServiceAnnounced: 1_000,
    FlowCounters: 100,
    InspectorCounters: 100,
}


class Mailbox:
    """A queue of two lanes. `dropped` counts what was lost, by kind."""

    def __init__(self, limits: Mapping[type, int] = LIMITS) -> None:
        self._limits = limits
        self._first: deque[Any] = deque()
        self._then: deque[Any] = deque()
        self._lock = threading.Lock()  # held for a few instructions only, never across a wait
        self._count: Counter[type] = Counter()
        self._wake = hub.Queue()  # one token for each item, at least
        self.dropped: Counter[str] = Counter()

    def put(self, item: object) -> bool:
        """Never blocks. False: dropped."""
        kind = type(item)
        limit = self._limits.get(kind)
        with self._lock:
            # That a grant for one message is used up must be heard
            if limit is None or (isinstance(item, Observed) and item.consumed):
                self._first.append(item)
            elif self._count[kind] >= limit:
                self.dropped[kind.__name__] += 1
                return False
            else:
                self._count[kind] += 1
                self._then.append(item)
        self._wake.put(None)
        return True

    def wake(self) -> None:
        """End the taker's wait."""
        self._wake.put(None)

    def take(self, timeout: float) -> Any:
        """The next item; None when there is none within `timeout` seconds, or after wake()."""
        with contextlib.suppress(hub.QueueEmpty):
            self._wake.get(timeout=max(timeout, 0.001))
        with self._lock:
            if self._first:
                return self._first.popleft()
            if self._then:
                item = self._then.popleft()
                self._count[type(item)] -= 1
                return item
        return None

    def __len__(self) -> int:
        return len(self._first) + len(self._then)
