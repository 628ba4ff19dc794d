"""One TCP connection as the byte stream that its server reads, so that nothing unjudged reaches it.

Knows nothing of services and verdicts: the caller judges the messages of a step, and if all are
allowed, sends what the step releases.

The rule that makes evasion pointless: a byte at one place in the stream has one value. Whatever a
receiver may drop, reorder or take twice (bad checksums, short TTLs, old timestamps, overlaps), it
gets only bytes that were judged, in the order in which they were judged, and no others.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from controller.dpi import craft
from controller.dpi.certificate import ServerFlight
from controller.dpi.frame import ACK, FIN, IPV4, PSH, RST, SYN, URG, Headers
from controller.dpi.message import Malformed, Message
from controller.dpi.registry import open_stream

_MASK = 0xFFFFFFFF
_ALL = FIN | SYN | RST | ACK | URG
_HALF = 0x80000000
_SEGMENTS_AHEAD_AT_MOST = 64
_OBSERVED_AHEAD_AT_MOST = 1024  # a loss at line rate shows only behind a whole window
_NUDGE = 8192  # bytes that are held back before the client is told to go on; a first window has more
_WINDOW = 8192  # of that acknowledgement, as sent: the server's own next one replaces it
_OVERHEAD = 2048  # bytes that a connection costs without any data, roughly
_MINUTE = 60.0  # seconds
_MULTIPATH = 30  # kind of a TCP option
_REACH = 8 * 1024 * 1024  # bytes before and behind what a server expects that it may take for its own

Key = tuple[int | None, str, int, str, int]  # VLAN, client address and port, server address and port
Zone = tuple[int, float]  # a sequence number near which the server may be in an older connection; until when


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is kept: bytes, unless said otherwise."""

    connections: int = 16384  # number of all
    memory: int = 64 * 1024 * 1024  # of all connections together
    held: int = 256 * 1024  # of one connection, waiting for the rest of a message or for a gap to close
    observed: int = (
        2 * 1024 * 1024
    )  # the same, of what has been forwarded already and waits for a gap to close
    tail: int = 64 * 1024  # of one connection, to compare retransmissions with; up to twice as many
    recent: int = 6 * 1024 * 1024  # the same, of the last minute or two: Linux's largest window
    idle: float = 7500.0  # seconds; TCP keep-alive comes every 7200 s by default
    opening: float = 90.0  # seconds without an answer to a server's SYN; it waits no longer either
    closed: float = 120.0  # seconds after its end
    settled: float = 7 * 86400.0  # seconds; meanwhile the switch may carry it without us


class Step(NamedTuple):
    """What a frame leads to."""

    messages: tuple[Message, ...] = ()  # to be judged, in this order
    release: tuple[bytes, ...] = ()  # frames that may go on, in this order, if all messages are allowed
    refuse: str | None = None  # the violated property: nothing of this connection may go on any more
    settled: bool = False  # the rest of the connection needs no judging
    acknowledge: bytes | None = None  # to be sent to the client, so that it sends what is missing
    told: Message | None = None  # what the server says of itself; there is nothing in it to judge


NOTHING = Step()
_made = tuple.__new__  # what a NamedTuple's own __new__ ends in, much faster; all fields are given


class _Segment(NamedTuple):
    raw: bytes
    start: int  # offsets in the stream
    end: int
    data: bytes
    fin: bool
    sure: bool  # the server must have taken it


def near(seq: int, place: int) -> bool:
    """Whether a server that expects sequence number `place` might take bytes at `seq` for its own."""
    return ((seq - place + _REACH) & _MASK) < 2 * _REACH


class Connection:
    """The client's side of one TCP connection.

    Offsets count the client's bytes from the first one that is followed. What the server sends need
    not be seen.
    """

    __slots__ = (
        "_acknowledged", "_adrift", "_ahead", "_ahead_size", "_client_ack", "_delivered",
        "_delivered_before", "_fed", "_fin", "_held", "_held_size", "_limits", "_minute", "_minute_before",
        "_minute_ends", "_next_seq", "_refused", "_released", "_server", "_server_mac", "_server_seq",
        "_stream", "_sure", "_tail", "_tail_end", "_ttl", "answered", "closed", "confirmed", "counted",
        "first_seq", "key", "last", "lost", "settled", "used", "zones",
    )  # fmt: skip

    def __init__(
        self, key: Key, limits: Limits, headers: Headers, resumed: bool = False, zones: tuple[Zone, ...] = ()
    ) -> None:
        """A connection that begins with the frame with these headers, a SYN unless it is `resumed`."""
        self.key = key
        self.last = 0.0  # when its last frame came
        self.answered = resumed  # the client has acknowledged the server's SYN
        self.confirmed = False  # the server was seen to agree to this connection
        self.settled = False  # nothing that comes needs judging
        self.lost = False  # bytes are missing in what was observed: nothing can be said any more
        self.closed = False  # by a reset
        self.counted = 0  # of its size, by the table
        self.used = 0.0  # when the table last noticed that it is in use
        self.zones = zones
        self._limits = limits
        self._stream = open_stream(key[4], resumed)
        self.first_seq = (headers.seq + (not resumed)) & _MASK  # of the byte at offset 0
        self._next_seq = self.first_seq  # of the byte at offset _fed
        self._adrift = resumed  # the first data says where the stream is
        self._fed = 0  # bytes that the dissector was given
        self._released = 0  # of these, bytes of messages that it has reported
        self._delivered = 0  # end of the last frame that was let through
        self._delivered_before = 0
        self._held: deque[tuple[bytes, int]] = deque()  # frames that were fed and not released; their ends
        self._held_size = 0
        self._ahead: list[_Segment] = []  # behind a gap, in order
        self._ahead_size = 0
        self._tail = bytearray()  # the last bytes that were judged, to compare with
        self._tail_end = 0  # _fed, until the connection is settled
        self._minute = self._minute_before = 0  # _fed when this minute of data began, and the one before
        self._minute_ends = 0.0
        self._fin: int | None = None  # offset where the client's stream ends
        self._client_ack = headers.ack
        self._acknowledged = -1  # by the server, as far as that was seen
        self._refused: str | None = None
        self._sure = not resumed  # the server must have taken all that was let through
        self._server_mac = headers.dst_mac
        self._server: ServerFlight | None = None
        self._server_seq = -1  # of the next byte of the server's; -1: not known
        self._ttl = headers.ttl

    @property
    def server_expects(self) -> int:
        """The sequence number after the last byte that was let through to the server."""
        return (self._next_seq - (self._fed - self._delivered)) & _MASK

    @property
    def server_expected(self) -> int:
        """The same before the last frame of the client's: what that one released counts as not sent."""
        return (self.first_seq + self._delivered_before) & _MASK

    @property
    def client_expects(self) -> int:
        """The sequence number that the client expects next from the server."""
        return self._client_ack

    @property
    def size(self) -> int:
        """Bytes of memory, roughly."""
        unsaid = self._fed - self._released  # the dissector has it
        kept = self._stream.reserved + len(self._tail) + self._held_size + self._ahead_size
        return _OVERHEAD + kept + unsaid

    @property
    def fresh(self) -> bool:
        """No data has come yet."""
        return not self._fed

    @property
    def ended(self) -> bool:
        """Nothing more will come from the client."""
        return self.closed or self._fin is not None or self._refused is not None

    @property
    def surely_ended(self) -> bool:
        """The server must have taken the client's FIN or reset: it is not in this connection any more."""
        return self._sure and (self.closed or self._fin is not None) and not self._held

    def missed(self, headers: Headers) -> bool:
        """Whether the server acknowledges bytes that were not seen, so that they will not come any more."""
        if self.settled or not headers.tcp_flags & ACK or self.key[3:] != (headers.src_ip, headers.src_port):
            return False
        return 0 < ((headers.ack - self._next_seq - (self._fin is not None)) & _MASK) < _HALF

    def forget_tail(self) -> None:
        """Give memory back: retransmissions that the server has not acknowledged will be refused."""
        unsent = self._fed - self._delivered
        del self._tail[: len(self._tail) - unsent]

    # ------------------------------------------------------------------ from the client

    def client_frame(self, raw: bytes, headers: Headers, now: float, observed: bool = False) -> Step:
        """One frame from the client. `observed`: the switch has forwarded it already."""
        self.last = now
        self._delivered_before = self._delivered
        flags = headers.tcp_flags
        if (
            headers.seq == self._next_seq
            and flags & _ALL == ACK
            and headers.payload_end > headers.payload_offset
            and self._in_step
            and not (self._held or self._ahead or self.settled or headers.fragment)
        ):
            self.answered = True
            self._client_ack = headers.ack
            return self._straight(raw, headers, observed)
        if flags & SYN:
            return _syn(raw, headers)
        if not flags & (ACK | RST) or headers.fragment or self.closed:
            return NOTHING  # no receiver takes it for part of a connection (RFC 9293, section 3.10.7.4)
        start = self._fed + ((headers.seq - self._next_seq + _HALF) & _MASK) - _HALF
        if flags & RST:
            return self._rst(raw, headers, start)
        if self._refused is not None:
            return Step(refuse=self._refused)
        self.answered = True
        self._client_ack = headers.ack
        if self.settled:
            return self._beyond(raw, headers, start)
        size = headers.payload_end - headers.payload_offset
        if flags & URG:
            return self._refuse("urgent data")
        if not size and not flags & FIN:
            return _made(Step, ((), (raw,), None, False, None, None))
        if self.lost:
            return NOTHING if observed else self._refuse("stream lost")
        if self._adrift:
            self._adrift, self.first_seq, self._next_seq, start = False, headers.seq, headers.seq, 0
        return self._data(raw, headers, start, observed)

    @property
    def _in_step(self) -> bool:
        """Nothing is special about this connection, so that what comes next can take the short way."""
        return not (
            self.closed
            or self.lost
            or self.zones
            or self._adrift
            or self._fin is not None
            or self._refused is not None
        )

    def _segment(self, raw: bytes, headers: Headers, start: int) -> _Segment:
        data = raw[headers.payload_offset : headers.payload_end]
        fin = bool(headers.tcp_flags & FIN)
        return _Segment(raw, start, start + len(data), data, fin, self._takes(raw, headers))

    def _data(self, raw: bytes, headers: Headers, start: int, observed: bool) -> Step:
        fin = bool(headers.tcp_flags & FIN)
        segment = self._segment(raw, headers, start)
        if start > self._fed:
            return self._ahead_of_gap(segment, observed)
        if start < self._fed and segment.end <= self._fed and not (fin and segment.end == self._fed):
            return self._again(segment, headers, observed)
        step = self._in_order(segment, observed)
        return self._nudged(step, headers) if self._held else step

    def _straight(self, raw: bytes, headers: Headers, observed: bool) -> Step:
        """The usual case: the next bytes, and nothing that waits."""
        sure = self._takes(raw, headers)
        try:
            messages = self._feed(raw[headers.payload_offset : headers.payload_end])
        except Malformed as error:
            return self._refuse(f"malformed {error}")
        self._sure = sure
        if observed or self._released >= self._fed:
            self._delivered = self._fed
            return _made(Step, (messages, (raw,), None, self.settled, None, None))
        self._held.append((raw, self._fed))
        self._held_size = len(raw)
        return self._nudged(Step(messages), headers)

    def _nudged(self, step: Step, headers: Headers) -> Step:
        """Frames wait for the rest of a message. A client that waits for their acknowledgement gets one.

        Otherwise the two would wait for each other: Nagle's algorithm sends nothing small, and a full
        window nothing at all, while something is unacknowledged.
        """
        if headers.tcp_flags & PSH or self._held_size >= _NUDGE:
            return self._nudge(step, headers)
        return step

    def _refuse(self, why: str) -> Step:
        self._refused = why
        self._drop_all()
        return Step(refuse=why)

    def _drop_all(self) -> None:
        self._held.clear()
        self._ahead.clear()
        self._tail.clear()
        self._stream.close()
        self._released = self._fed
        self._held_size = self._ahead_size = 0

    def _takes(self, raw: bytes, headers: Headers) -> bool:
        """Whether the server must take this frame and has taken all before; false also if that is unknown."""
        return (
            self._sure
            and headers.ttl >= self._ttl
            and headers.dst_mac == self._server_mac
            and headers.transport_offset - headers.ip_offset == (20 if headers.ethertype == IPV4 else 40)
            and craft.tcp_checksum_right(raw, headers)
        )

    def _rst(self, raw: bytes, headers: Headers, start: int) -> Step:
        """A reset counts only where the server would take it (RFC 5961, section 3.2)."""
        end = self._fed + (self._fin is not None)
        if not self.settled and start not in (self._delivered, self._fed, end):
            return NOTHING
        self._sure = start in (self._delivered, end) and self._takes(raw, headers)
        self.closed = True
        self._drop_all()
        # What it says to people (RFC 9293, section 3.5.3) is nothing that anybody judged.
        return Step(
            (),
            (craft.without_payload(raw, headers) if headers.payload_end > headers.payload_offset else raw,),
        )

    def _beyond(self, raw: bytes, headers: Headers, start: int) -> Step:
        """Nothing needs judging any more, but what was judged must not come again as something else."""
        if start < self._tail_end and headers.payload_end > headers.payload_offset:
            segment = self._segment(raw, headers, start)
            if not self._same(segment):
                return self._again(segment, headers, observed=False)
        end = start + headers.payload_end - headers.payload_offset
        if headers.tcp_flags & FIN:
            self._fin = end
        self._passed(end)
        return Step((), (raw,), None, True)

    def _let_go(self) -> list[bytes]:
        """The waiting segments: the gap before them is the server's now."""
        waiting = self._ahead.copy()
        self._ahead.clear()
        self._ahead_size = 0
        self._passed(max(segment.end for segment in waiting))
        return [segment.raw for segment in waiting]

    def _passed(self, end: int) -> None:
        """Bytes up to `end` go on without being judged."""
        if end > self._fed:
            self._next_seq = (self._next_seq + end - self._fed) & _MASK
            self._fed = self._released = self._delivered = end
            self._sure = False

    def _ahead_of_gap(self, segment: _Segment, observed: bool) -> Step:
        """What lies behind a gap waits, or is dropped so that the client sends it again."""
        if self._fin is not None:
            return NOTHING
        ahead = self._ahead
        at = bisect_right(ahead, _place(segment), key=_place)
        if segment in ahead[bisect_left(ahead, _place(segment), key=_place) : at]:
            return NOTHING
        size = self._ahead_size + len(segment.raw) + self._held_size
        most, room = _SEGMENTS_AHEAD_AT_MOST, self._limits.held
        if observed:
            most, room = _OBSERVED_AHEAD_AT_MOST, self._limits.observed
        if size <= room and len(ahead) < most:
            ahead.insert(at, segment)
            self._ahead_size += len(segment.raw)
        elif observed:
            self.lost = True
            self._drop_all()
        return NOTHING

    def _again(self, segment: _Segment, headers: Headers, observed: bool) -> Step:
        """Bytes that were there before: the same, or nothing of this connection passes any more."""
        if segment.fin:
            return NOTHING  # at a place where there was no FIN before
        same = self._same(segment)
        if not same and segment.start == self._fed - 1:
            # A keep-alive of the old kind has a byte that means nothing (RFC 9293, section 3.8.4).
            return Step((), (craft.without_payload(segment.raw, headers),))
        if segment.start < self._tail_end - len(self._tail):
            if observed or segment.end <= max(self._acknowledged, 0):
                return NOTHING
            return self._refuse("out of window")
        if not same:
            return self._refuse("ambiguous stream")
        if segment.end <= self._delivered:
            return Step((), (segment.raw,))
        return NOTHING if observed else self._nudge(NOTHING, headers)

    def _same(self, segment: _Segment) -> bool:
        """Whether the part of a segment that was there before is kept, and is as it was then."""
        tail = self._tail
        at = segment.start - (self._tail_end - len(tail))
        if at < 0:
            return False
        old = min(segment.end, self._tail_end) - segment.start
        return tail[at : at + old] == segment.data[:old]

    def _in_order(self, first: _Segment, observed: bool) -> Step:
        """A segment that begins where the stream has come to, or before; then those that waited for it."""
        messages: tuple[Message, ...] = ()
        release: list[bytes] = []
        segment: _Segment | None = first
        while segment is not None:
            if segment.start < self._fed and not self._same(segment):
                return self._refuse("ambiguous stream")
            if self._fin is not None:
                if segment.fin and segment.end == self._fin and not self._held:
                    release.append(segment.raw)  # its FIN once more
            elif segment.end > self._fed or segment.fin:
                try:
                    messages += self._take(segment)
                except Malformed as error:
                    return self._refuse(f"malformed {error}")
                if self.zones and not self.confirmed and self._in_older_connection():
                    return self._refuse("ambiguous stream")
                held = self._held
                while held and held[0][1] <= self._released:
                    raw, self._delivered = held.popleft()
                    self._held_size -= len(raw)
                    release.append(raw)
                if observed:
                    held.clear()
                    self._held_size, self._delivered = 0, self._fed
                elif self._held_size > self._limits.held:
                    return self._refuse("stream buffer full")
            segment = self._next_waiting() if self._ahead else None
        if self.settled and self._ahead:
            release += self._let_go()
        return Step(messages, tuple(release), None, self.settled)

    def _take(self, segment: _Segment) -> tuple[Message, ...]:
        """A segment is the next of the stream from now on; what its new bytes say."""
        messages: tuple[Message, ...] = ()
        if segment.end > self._fed:
            messages = self._feed(segment.data[self._fed - segment.start :])
        if segment.fin:
            self._fin = segment.end
            last, self._released, _ = self._stream.end()
            messages += last
        self._held.append((segment.raw, segment.end))
        self._held_size += len(segment.raw)
        self._sure = segment.sure
        return messages

    def _feed(self, new: bytes) -> tuple[Message, ...]:
        """Give new bytes to the dissector."""
        messages, self._released, self.settled = self._stream.feed(new)
        self._fed = self._tail_end = self._fed + len(new)
        self._next_seq = (self._next_seq + len(new)) & _MASK
        self._tail += new
        if len(self._tail) > 2 * self._limits.tail:
            self._trim_tail()
        return messages

    def _trim_tail(self) -> None:
        """Keep what may come again: the client repeats what it lost on the way within a minute or two."""
        if self.last >= self._minute_ends:
            self._minute_before, self._minute = self._minute, self._fed
            self._minute_ends = self.last + _MINUTE
        recent = min(self._fed - self._minute_before, self._limits.recent)
        excess = len(self._tail) - max(self._limits.tail, recent, self._fed - self._delivered)
        if excess > self._limits.tail:
            del self._tail[:excess]

    def _next_waiting(self) -> _Segment | None:
        """The first of the waiting segments, if the stream has come up to it."""
        found = self._ahead[0]
        if found.start > self._fed:
            return None
        del self._ahead[0]
        self._ahead_size -= len(found.raw)
        return found

    def _in_older_connection(self) -> bool:
        return any(near(self._next_seq, place) for place, until in self.zones if self.last < until)

    def _nudge(self, step: Step, headers: Headers) -> Step:
        frame = craft.tcp(headers, back=True, seq=headers.ack, ack=self._next_seq, flags=ACK, window=_WINDOW)
        return step._replace(acknowledge=frame)

    # ------------------------------------------------------------------ from the server

    def server_frame(self, raw: bytes, headers: Headers, now: float) -> Step:
        """One frame from the server, if any are seen at all: they always pass."""
        self.last = now
        flags = headers.tcp_flags
        if flags & ACK:
            delta = ((headers.ack - self._next_seq + _HALF) & _MASK) - _HALF
            if flags & SYN and self.fresh and not delta:
                self.confirmed = True
            if self._acknowledged < self._fed + delta <= self._fed:
                self._acknowledged = self._fed + delta
        if flags & RST and not self.closed:
            self.closed = self._sure = True
            self._drop_all()
        if flags & SYN:
            self._server_seq = (headers.seq + 1) & _MASK
        elif headers.seq == self._server_seq and headers.payload_end > headers.payload_offset:
            return Step((), (raw,), told=self._told(raw[headers.payload_offset : headers.payload_end]))
        return Step((), (raw,))

    def _told(self, data: bytes) -> Message | None:
        """What the next bytes of the server's say of itself: its certificate, behind a client's hello."""
        if not self.settled:
            self._server_seq = -1  # it speaks first, or of what is read anyway
            return None
        self._server = self._server or ServerFlight()
        self._server_seq = (self._server_seq + len(data)) & _MASK
        try:
            found = self._server.feed(data)
        except Malformed:
            found = None
        if self._server.done:
            self._server, self._server_seq = None, -1
        return found


def _place(segment: _Segment) -> tuple[int, int]:
    return segment.start, segment.end


def _syn(raw: bytes, headers: Headers) -> Step:
    """The handshake passes; not with data, FIN and the like on it (RFC 7413 falls back to without).

    Nor with an offer of Multipath TCP, whose server puts the bytes of several connections in an order that
    only its client says: without it both go on with one (RFC 8684, section 3.7).
    """
    if headers.tcp_flags & (ACK | FIN | RST | URG) or headers.payload_end > headers.payload_offset:
        return NOTHING
    return Step((), (craft.without_option(raw, headers, _MULTIPATH),))
