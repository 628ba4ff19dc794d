"""TCP: openings are judged, then every message of the client's; what is denied ends with resets.

Knows nothing of UDP or of sockets. How the bytes of a connection are followed is dpi's to know.
"""

from collections.abc import Callable
from typing import Final

from controller.dpi.frame import ACK, FIN, RST, SYN, TCP, Headers
from controller.dpi.refusal import resets
from controller.dpi.registry import UNKNOWN
from controller.dpi.stream import Connection, ConnectionTable, Key, Limits, Step, key_of
from controller.events import CARRIED, ConnectionSettled, FromInspector
from controller.inspector.judgement.conversations import Carried
from controller.inspector.judgement.judge import Context, Hearing, Judge
from controller.inspector.judgement.outcome import NOTHING, Outcome
from controller.model.relationship import Reason

Asks = Callable[[Headers], bool]
TELL_AGAIN: Final = 10.0  # seconds after which a settled connection is told again, while its frames come
KEPT_SHUT: Final = 2.0 * CARRIED  # seconds; the controller may have been slow to tell the switch

GAP: Final = 1.0  # seconds after which what is missing in a recording is given up


class _Followed:
    """What is known of a connection beside its bytes.

    `heard`: a message of it was allowed. `expected`: the sequence number at which the server takes
    a reset from its client. `told`: when the controller was told that it is settled. `resumed`: its
    opening was not seen.
    """

    __slots__ = ("carried", "connection", "context", "expected", "heard", "resumed", "told", "waits")

    def __init__(self, connection: Connection, context: Context, version: int, resumed: bool = False) -> None:
        self.connection = connection
        self.context = context
        self.carried = Carried(version)
        self.expected = connection.server_expects
        self.heard = False
        self.resumed = resumed
        self.told = float("-inf")
        self.waits: float | None = None  # in a recording: since when nothing could be read


class ConnectionJudge:
    """Carries all TCP connections.

    `recorded`: the frames come from a capture. What was denied went on in it all the same, and what the
    capture lacks will never be sent again; so a connection is followed from wherever it is seen, also
    behind a gap and after it was cut, as if its client had connected anew. `recorded` tells whether a
    frame's sender is the client.
    """

    def __init__(self, judge: Judge, limits: Limits | None = None, recorded: Asks | None = None) -> None:
        self._judge = judge
        self._recorded = recorded
        limits = limits or Limits()
        self._table = ConnectionTable(limits)
        self._at_most = 2 * limits.connections
        self._followed: dict[Key, _Followed] = {}
        self._carried: dict[Key, float] = {}  # what the switch may carry by itself: until when; oldest first
        self._listening_since = float("-inf")

    def tell_again(self, now: float) -> None:
        """Somebody new listens, who was not told which connections are settled."""
        self._listening_since = now

    def clock_was_set(self, now: float) -> None:
        """All connections are as if they had just been used."""
        self._table.refresh(now)
        self._carried = dict.fromkeys(self._carried, now + KEPT_SHUT)

    def tcp(self, raw: bytes, headers: Headers, observed: bool, now: float) -> Outcome:
        """One TCP segment."""
        if headers.tcp_flags & (SYN | ACK | RST) == SYN:
            return self._opening(raw, headers, observed, now)
        connection = self._table.find(headers)
        followed = self._followed.get(connection.key) if connection is not None else None
        if connection is None or followed is None or followed.connection is not connection:
            if self._recorded is not None:
                return self._resumed(raw, headers, observed, now) if self._recorded(headers) else NOTHING
            return self._unknown(raw, headers, observed, now)
        if raw[0] & 1:
            self._judge.counters["to a group"] += 1
            return NOTHING
        followed.expected = connection.server_expects
        if observed and headers.seq == followed.expected:  # it has got this segment
            followed.expected += headers.payload_end - headers.payload_offset + bool(headers.tcp_flags & FIN)
        if not self._judge.still(followed.carried, now):
            self._judge.counters["withdrawn"] += 1
            return self._cut(headers, followed, Hearing(False))
        _, step = self._table.frame(raw, headers, now, observed=observed or self._recorded is not None)
        if self._recorded is not None and self._waits_in_vain(followed, headers, step, now):
            self._judge.counters["gaps"] += 1
            self._forget(connection)
            return self._resumed(raw, headers, observed, now)
        return self._taken(headers, followed, step, observed, now)

    def _waits_in_vain(self, followed: _Followed, headers: Headers, step: Step, now: float) -> bool:
        """Whether segments wait for one that a recording does not have."""
        if step.messages or step.release or headers.payload_end == headers.payload_offset:
            followed.waits = None
        elif followed.waits is None:
            followed.waits = now
        return followed.waits is not None and now - followed.waits > GAP

    def _opening(self, raw: bytes, headers: Headers, observed: bool, now: float) -> Outcome:
        judge = self._judge
        if self._carried.get(key_of(headers), now) > now:
            # Its bytes would not come here. Whoever means it well tries again, from another port.
            judge.counters["ends in use"] += 1
            ends = resets(headers, None)
            return Outcome(ends if observed else ends[:1])
        context = self._context(raw, headers)
        verdict = judge.opening(context, now)
        if not verdict.allow:
            hearing = judge.deny(context, "SYN", verdict.reason, now, observed)
            ends = resets(headers, None)
            # Nothing has reached the server unless the switch has forwarded it.
            return Outcome(ends if observed else ends[:1] if hearing.tell else (), tuple(hearing.events))
        connection, step = self._table.frame(
            raw, headers, now, observed=observed or self._recorded is not None
        )
        if connection is None:
            hearing = self._judge.deny(context, "SYN", Reason.AMBIGUOUS, now, observed)
            return Outcome(resets(headers, None) if hearing.tell else (), tuple(hearing.events))
        return self._taken(headers, self._follow(connection, context), step, observed, now)

    def _follow(self, connection: Connection, context: Context, resumed: bool = False) -> _Followed:
        followed = self._followed.get(connection.key)
        if followed is None or followed.connection is not connection:
            if len(self._followed) >= self._at_most:
                self._forget_evicted()
            followed = _Followed(connection, context, self._judge.version, resumed)
            self._followed[connection.key] = followed
        return followed

    def _resumed(self, raw: bytes, headers: Headers, observed: bool, now: float) -> Outcome:
        """What a client sends in the middle of a recorded connection, if it could have connected anew."""
        context = self._context(raw, headers)
        says = headers.payload_end > headers.payload_offset and not headers.tcp_flags & RST
        if not says or not self._judge.opening(context, now).allow:
            self._judge.counters["unknown connections"] += says
            return NOTHING
        connection, step = self._table.frame(raw, headers, now, observed=True, resume=True)
        if connection is None:
            return NOTHING
        return self._taken(headers, self._follow(connection, context, True), step, observed, now)

    def _unreadable(self, followed: _Followed, step: Step) -> bool:
        """Whether a recorded connection cannot be read from here on, which says nothing about anybody."""
        if self._recorded is None:
            return False
        if followed.connection.lost and step.refuse is None:
            return True
        guessed = followed.resumed and not followed.heard
        unknown = bool(step.messages) and step.messages[0].protocol == UNKNOWN
        return guessed and (unknown or step.refuse is not None)

    def _context(self, raw: bytes, headers: Headers) -> Context:
        """Who is behind a client's segment."""
        port = headers.dst_port or 0
        return self._judge.context(headers.src_ip or "", headers.dst_ip or "", "tcp", port, raw[0] & 1 == 1)

    def _taken(
        self, headers: Headers, followed: _Followed, step: Step, observed: bool, now: float
    ) -> Outcome:
        """Judge what a segment has said, and let go what may go."""
        connection = followed.connection
        followed.context = self._judge.current(followed.context)
        if self._unreadable(followed, step):
            self._judge.counters["in the middle of a connection"] += 1
            self._forget(connection)
            return NOTHING
        if step.refuse is not None or connection.lost:
            return self._denied(headers, followed, step, observed, now)
        events: list[FromInspector] = []
        if step.messages:
            hearing = self._judge.hear(followed.context, step.messages, followed.carried, now, observed)
            if not hearing.allowed:
                return self._cut(headers, followed, hearing)
            followed.heard = True
            events.extend(hearing.events)
        if step.settled and followed.heard:
            events.extend(self._settled(followed, now))
        if observed:
            return Outcome((), tuple(events)) if events else NOTHING
        send = step.release if step.acknowledge is None else (*step.release, step.acknowledge)
        return Outcome(send, tuple(events))

    def _settled(self, followed: _Followed, now: float) -> tuple[FromInspector, ...]:
        """Nothing more needs judging; once, and again if its frames still come or another listens."""
        if 0 <= now - followed.told < TELL_AGAIN and followed.told >= self._listening_since:
            return ()
        key = followed.connection.key
        if self._recorded is None:
            self._carried.pop(key, None)
            if len(self._carried) >= self._at_most:
                return ()
            self._carried[key] = now + KEPT_SHUT
        followed.told = now
        _, client, client_port, server, server_port = key
        return (ConnectionSettled(client, client_port, server, server_port),)

    def _denied(
        self, headers: Headers, followed: _Followed, step: Step, observed: bool, now: float
    ) -> Outcome:
        """The stream cannot be read, or not in one way only."""
        why = step.refuse or "stream lost"
        if why.startswith("malformed"):
            verb, reason = "malformed", Reason.MALFORMED
        else:
            verb, reason = why, Reason.OVERLOAD if why == "stream buffer full" else Reason.AMBIGUOUS
        hearing = self._judge.deny(followed.context, verb, reason, now, observed)
        return self._cut(headers, followed, hearing)

    def _cut(self, headers: Headers, followed: _Followed, hearing: Hearing) -> Outcome:
        """End a connection: resets to both ends; what still comes of it belongs to none."""
        connection = followed.connection
        to_sender, to_receiver = resets(headers, None)
        if connection.key[1:3] == (headers.src_ip, headers.src_port):
            _, to_receiver = resets(headers._replace(seq=followed.expected), None)
        self._forget(connection)
        self._judge.counters["cut"] += 1
        return Outcome((to_sender, to_receiver), tuple(hearing.events))

    def _forget(self, connection: Connection) -> None:
        if self._recorded is None:
            self._table.remove(connection)
        else:
            self._table.forget(connection)
        self._followed.pop(connection.key, None)

    def _unknown(self, raw: bytes, headers: Headers, observed: bool, now: float) -> Outcome:
        """A segment of a connection whose opening was not seen, or that was cut.

        It passes where nothing has to be read; else both ends are told, so that they begin anew.
        """
        judge = self._judge
        judge.counters["unknown connections"] += 1
        context = self._context(raw, headers)
        back = judge.context(headers.dst_ip or "", headers.src_ip or "", "tcp", headers.src_port or 0, False)
        if judge.granted_as_a_whole(context, now) or (
            not context.forged and judge.granted_as_a_whole(back, now)
        ):
            return NOTHING if observed else Outcome((raw,))
        # What has no ACK belongs to no connection (RFC 9293, section 3.10.7.4): it is a scan.
        if headers.tcp_flags & (RST | ACK) != ACK or context.unknown or context.forged:
            return NOTHING
        hearing = judge.count_denial(context, now)
        if not hearing.tell:
            return Outcome((), tuple(hearing.events))
        to_sender, to_receiver = resets(headers, None)
        # The receiver may be in a connection only where one could have been opened, from either end.
        opened = judge.opening(context, now).allow or judge.opening(back, now).allow
        return Outcome((to_sender, to_receiver) if opened else (to_sender,), tuple(hearing.events))

    def knows(
        self, protocol: int, source: str, source_port: int, destination: str, port: int, now: float
    ) -> bool:
        """Whether a packet that an ICMP error quotes was part of a connection that is followed."""
        key = Headers("", "", None, 0, source, destination, protocol, source_port, port)
        connection = self._table.find(key) if protocol == TCP else None
        followed = self._followed.get(connection.key) if connection is not None else None
        return followed is not None and self._judge.still(followed.carried, now)

    def sweep(self, now: float) -> None:
        """Forget connections that were silent for too long, and those that had to give way."""
        while self._carried and next(iter(self._carried.values())) <= now:
            del self._carried[next(iter(self._carried))]
        for connection in self._table.expire(now):
            self._followed.pop(connection.key, None)
        if len(self._followed) > len(self._table):
            self._forget_evicted()

    def _forget_evicted(self) -> None:
        self._followed = {key: f for key, f in self._followed.items() if self._is_followed(f)}

    def _is_followed(self, followed: _Followed) -> bool:
        vlan, client, client_port, server, port = followed.connection.key
        ends = Headers("", "", vlan, 0, client, server, TCP, client_port, port)
        return self._table.find(ends) is followed.connection

    def __len__(self) -> int:
        return len(self._followed)
