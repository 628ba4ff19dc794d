"""Everything that the inspector does with frames, as one value that is told the time.

Knows nothing of sockets, processes or clocks: what it returns is to be sent and said.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Final

from controller.dpi.frame import ICMP, ICMPV6, TCP, UDP, Headers, parse
from controller.dpi.message import Malformed
from controller.inspector.judgement.connections import Asks, ConnectionJudge
from controller.inspector.judgement.datagrams import DatagramJudge, is_error, quoted
from controller.inspector.judgement.infrastructure import Infrastructure
from controller.inspector.judgement.judge import Judge
from controller.inspector.judgement.outcome import NOTHING, Outcome
from controller.verdicts import Delta, VerdictTable

SWEEP_EVERY: Final = 5.0  # seconds


class Inspection:
    """Frames in, outcomes out. Without a table (None) nothing passes and nothing is said.

    `recorded`: the frames come from a capture (connections.py).
    """

    def __init__(
        self, table: VerdictTable | None, reveal_intent: bool = True, recorded: Asks | None = None
    ) -> None:
        self._ready = table is not None
        self._judge = Judge(table if table is not None else VerdictTable())
        self._judge.reveal_intent = reveal_intent
        self._datagrams = DatagramJudge(self._judge)
        self._connections = ConnectionJudge(self._judge, recorded=recorded)
        self._infrastructure = Infrastructure(self._judge, self._datagrams)
        self._swept = float("-inf")

    @property
    def counters(self) -> Counter[str]:
        """Totals since the start, by name."""
        return self._judge.counters

    # What it goes by

    def replace(self, table: VerdictTable) -> None:
        """Judge by another table from now on; open conversations are judged anew."""
        self._judge.replace(table)
        self._ready = True

    def update(self, deltas: Iterable[Delta]) -> None:
        """Change the table; open conversations that were allowed by what is gone end."""
        self._judge.apply(deltas)

    def set(self, reveal_intent: bool) -> None:
        """Whether a handshake to a known service may pass, so that its first request can be read."""
        self._judge.reveal_intent = reveal_intent
        self._judge.apply(())

    def controller_connected(self, now: float) -> None:
        """Somebody new listens, who was not told which connections are settled."""
        self._connections.tell_again(now)

    def clock_was_set(self, now: float) -> None:
        """Forth or back, and no time has passed: no connection has been silent for that long."""
        self._connections.clock_was_set(now)

    # What it does

    def frame(self, raw: bytes, observed: bool, now: float) -> Outcome:
        """One frame. `observed`: a copy of one that was forwarded already, from the copy port."""
        counters = self._judge.counters
        counters["frames"] += 1
        if not self._ready:
            counters["before the table"] += 1
            return NOTHING
        try:
            headers = parse(raw)
        except Malformed:
            counters["malformed"] += 1
            return NOTHING
        protocol = headers.protocol
        if protocol is None:
            counters["not IP"] += 1
            return NOTHING
        if headers.fragment:
            counters["fragments"] += 1
            return NOTHING
        if observed and self._infrastructure.concerns(headers, now):
            counters["infrastructure"] += 1
            return Outcome((), self._infrastructure.learn(raw, headers, now))
        if protocol == UDP:
            return self._datagrams.udp(raw, headers, observed, now)
        if protocol == TCP:
            return self._connections.tcp(raw, headers, observed, now)
        if protocol in (ICMP, ICMPV6):
            if is_error(headers):
                return self._error(raw, headers, observed, now)
            return self._datagrams.icmp(raw, headers, observed, now)
        counters["other protocols"] += 1
        return NOTHING

    def _error(self, raw: bytes, headers: Headers, observed: bool, now: float) -> Outcome:
        """An ICMP error passes when it quotes something that was allowed, and comes from that way."""
        about = quoted(raw, headers)
        if about is not None and not raw[0] & 1:
            protocol, source, source_port, destination, port = about
            outside = (self._judge.device_at(destination) or "").startswith("@")  # then a router tells
            judge = self._connections if protocol == TCP else self._datagrams
            if (
                source == headers.dst_ip
                and (destination == headers.src_ip or outside)
                and judge.knows(protocol, source, source_port, destination, port, now)
            ):
                self._judge.counters["errors passed on"] += 1
                return NOTHING if observed else Outcome((raw,))
        self._judge.counters["errors about nothing"] += 1
        return NOTHING

    def tick(self, now: float) -> Outcome:
        """What is due because time has passed; to be called at least every 0.25 s."""
        if not 0 <= now - self._swept < SWEEP_EVERY:
            self._swept = now
            self._datagrams.sweep(now)
            self._connections.sweep(now)
            self._infrastructure.sweep(now)
        return Outcome((), self._judge.observations.due(now))
