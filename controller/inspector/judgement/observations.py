"""What the inspector tells the controller about messages: each access at once, then counted.

Knows nothing of frames, of the verdict table or of sockets. Bounded in time and memory under any
flood: what is more than the bounds becomes one summary for each client device.
"""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from controller.events import (
    FromInspector,
    InspectorCounters,
    LeaseSeen,
    NameSeen,
    Observed,
    ServiceAnnounced,
)
from controller.model.relationship import Access, DeviceId, Endpoint, Verdict

INTERVAL: Final = 0.25  # seconds between two reports of one access
FORGET_AFTER: Final = 60.0  # seconds of silence, after which an access counts as new again
PER_CLIENT: Final = 10_000  # different accesses of one client device that are told apart
AT_MOST: Final = 50_000  # of all client devices together
REPORTS_PER_INTERVAL: Final = 1000  # at once, and as many that had to wait
MANY: Final = "{many}"  # the resource of a summary


@dataclass(frozen=True, slots=True)
class Ends:
    """The two ends of a conversation; `client` is the one that asks."""

    client: DeviceId
    server: DeviceId
    client_address: str
    server_address: str
    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Sighting:
    """A message in the words of a report, and the verdict that it got. No payload."""

    ends: Ends
    access: Access
    verdict: Verdict
    verb: str
    identity: str | None = None
    service: str | None = None


class Tally:
    """The messages of one access with one verdict since they were last reported."""

    __slots__ = ("consumed", "count", "newest", "sent", "summary", "time", "waiting")

    def __init__(self, newest: Sighting, summary: bool = False) -> None:
        self.newest = newest
        self.summary = summary
        self.count = 0
        self.consumed = False
        self.time = 0.0
        self.sent = float("-inf")
        self.waiting = False

    def report(self) -> Observed:
        """What is to be said now; the count begins again."""
        newest = self.newest
        ends, verdict = newest.ends, newest.verdict
        observed = Observed(
            client=ends.client,
            server=ends.server,
            client_address=ends.client_address,
            server_address=ends.server_address,
            endpoint=ends.endpoint,
            access=newest.access,
            verb=newest.verb,
            identity=newest.identity,
            service=newest.service,
            allowed=verdict.allow,
            reason=verdict.reason,
            time=self.time,
            count=self.count,
            consumed=self.consumed,
        )
        self.sent, self.count, self.consumed, self.waiting = self.time, 0, False, False
        return observed


class Observations:
    """Counts messages and decides when a report of them is due."""

    def __init__(self) -> None:
        self._tallies: dict[object, Tally] = {}
        self._summaries: dict[object, Tally] = {}
        self._per_client: Counter[DeviceId] = Counter()
        self._waiting: deque[Tally] = deque()
        self._budget = REPORTS_PER_INTERVAL
        self._flushed = float("-inf")
        self._swept = float("-inf")

    def tally(self, sighting: Sighting) -> Tally:
        """The count that messages like this one belong to; the same one while it is not forgotten."""
        ends = sighting.ends
        key = (ends.client, ends.server, ends.endpoint, sighting.access, sighting.verdict)
        tally = self._tallies.get(key)
        if tally is None:
            if self._per_client[ends.client] >= PER_CLIENT or len(self._tallies) >= AT_MOST:
                return self._summary(sighting)
            tally = self._tallies[key] = Tally(sighting)
            self._per_client[ends.client] += 1
        return tally

    def _summary(self, sighting: Sighting) -> Tally:
        # Its access stays that of the first message: whatever the flood varies, it is one question.
        client = sighting.ends.client if len(self._summaries) < PER_CLIENT else None
        key = (client, sighting.verdict)
        tally = self._summaries.get(key)
        if tally is None:
            sighting = replace(sighting, access=replace(sighting.access, resource=MANY))
            tally = self._summaries[key] = Tally(sighting, summary=True)
        return tally

    def note(self, tally: Tally, sighting: Sighting, now: float, consumed: bool = False) -> Observed | None:
        """Count one message; the report, when it is to be made at once."""
        tally.count += 1
        tally.time = now
        if not tally.summary:
            tally.newest = sighting
        if consumed:
            tally.consumed = True
        if tally.waiting:
            return None
        if self._budget > 0 and not 0 <= now - tally.sent < INTERVAL:
            self._budget -= 1
            return tally.report()
        tally.waiting = True
        self._waiting.append(tally)
        return None

    def due(self, now: float) -> tuple[Observed, ...]:
        """The reports that have waited long enough; to be asked for often."""
        if 0 <= now - self._flushed < INTERVAL:
            return ()
        self._flushed = now
        self._budget = REPORTS_PER_INTERVAL
        waiting = self._waiting
        reports = tuple(waiting.popleft().report() for _ in range(min(len(waiting), REPORTS_PER_INTERVAL)))
        if not 0 <= now - self._swept < FORGET_AFTER:
            self._swept = now
            self._forget(now)
        return reports

    def _forget(self, now: float) -> None:
        for tallies in (self._tallies, self._summaries):
            for key in [k for k, t in tallies.items() if not t.waiting and now - t.time >= FORGET_AFTER]:
                del tallies[key]
        self._per_client = Counter(tally.newest.ends.client for tally in self._tallies.values())

    def __len__(self) -> int:
        return len(self._tallies) + len(self._summaries)


class Undelivered:
    """What the controller could not be told yet, merged so that it stays small.

    What is of no use later (a wish for a flow) is dropped.
    """

    def __init__(self) -> None:
        self._events: OrderedDict[tuple[object, ...], FromInspector] = OrderedDict()
        self._per_client: Counter[DeviceId] = Counter()
        self.lost = 0

    def add(self, event: FromInspector) -> None:
        match event:
            case Observed():
                self._add_observed(event)
            case NameSeen():
                self._put((NameSeen, event.name, event.address), event)
            case LeaseSeen():
                self._put((LeaseSeen, event.mac), event)
            case ServiceAnnounced():
                self._put((ServiceAnnounced, event.device, event.endpoint), event)
            case InspectorCounters():
                self._put((InspectorCounters,), event)
            case _:
                pass

    def _put(self, key: tuple[object, ...], event: FromInspector) -> None:
        if key in self._events or len(self._events) < AT_MOST:
            self._events[key] = event
        else:
            self.lost += 1

    def _add_observed(self, event: Observed) -> None:
        key: tuple[object, ...] = (
            event.client,
            event.server,
            event.endpoint,
            event.access,
            event.allowed,
            event.reason,
        )
        before = self._events.get(key)
        if before is None and (self._per_client[event.client] >= PER_CLIENT or len(self._events) >= AT_MOST):
            key = (MANY, event.client, event.allowed, event.reason)
            before = self._events.get(key)
            if before is None:
                if len(self._events) >= AT_MOST + PER_CLIENT:
                    self.lost += event.count
                    return
                event = replace(event, access=replace(event.access, resource=MANY))
        elif before is None:
            self._per_client[event.client] += 1
        if isinstance(before, Observed):
            event = replace(
                event,
                access=before.access,
                server=before.server,
                endpoint=before.endpoint,
                count=before.count + event.count,
                consumed=before.consumed or event.consumed,
            )
        self._events[key] = event

    def take(self) -> Iterator[FromInspector]:
        """Everything, one by one, oldest first; what is not taken stays."""
        while self._events:
            key, event = self._events.popitem(last=False)
            if isinstance(event, Observed) and key[0] != MANY:
                self._per_client[event.client] -= 1
            yield event

    def take_used(self) -> Iterator[FromInspector]:
        """Which grants for one message were used up: to be told before anything builds on them."""
        for key in [k for k, e in self._events.items() if isinstance(e, Observed) and e.consumed]:
            event = self._events.pop(key)
            if isinstance(event, Observed) and key[0] != MANY:
                self._per_client[event.client] -= 1
            yield event

    def __len__(self) -> int:
        return len(self._events)
