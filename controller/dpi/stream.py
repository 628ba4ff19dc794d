"""All TCP connections that are followed, bounded in number and memory; what is evicted is denied.

Knows nothing of services and verdicts. How one connection is followed stands in connection.py.
"""

from collections import OrderedDict
from itertools import islice

from controller.dpi.connection import NOTHING, Connection, Key, Limits, Step, Zone, near
from controller.dpi.frame import ACK, RST, SYN, Headers

__all__ = ["Connection", "ConnectionTable", "Key", "Limits", "Step"]

_ZONES_AT_MOST = 8  # older connections between the same two ports that the server may still be in
_ASKED_AT_A_TIME = 256  # connections, for memory
_NOTICED = 1.0  # seconds of use that count as one
_FOREVER = float("inf")
_UNKNOWN = Step(refuse="unknown connection")
_AMBIGUOUS = Step(refuse="ambiguous stream")


class ConnectionTable:
    """Connections by their ends.

    When there are too many, the client that has most loses the one that it has not used for longest:
    so a flood evicts nobody's but its own. When memory is short, the longest unused lose first
    what they keep to compare retransmissions with.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._connections: dict[Key, Connection] = {}
        self._by_client: dict[str, OrderedDict[Key, Connection]] = {}  # oldest use first
        self._remembered: OrderedDict[Key, tuple[Zone, ...]] = OrderedDict()  # of those that are gone
        self._size = 0

    def __len__(self) -> int:
        return len(self._connections)

    @property
    def memory(self) -> int:
        """Bytes that all connections keep, roughly."""
        return self._size

    def find(self, headers: Headers) -> Connection | None:
        """The connection that a frame from either end belongs to."""
        return self._connections.get(key_of(headers)) or self._connections.get(_back(headers))

    def frame(
        self, raw: bytes, headers: Headers, now: float, *, observed: bool = False, resume: bool = False
    ) -> tuple[Connection | None, Step]:
        """One TCP frame of either end; its connection, if it has one, and what to do.

        `observed`: the switch has forwarded it already. `resume`: a connection whose beginning was not
        seen may be followed from here on, the frame's sender being the client; never one that was
        known before and evicted.
        """
        key = key_of(headers)
        connection = self._connections.get(key)
        if headers.tcp_flags & (SYN | ACK | RST) == SYN:
            return self._syn(raw, headers, key, connection, now)
        if connection is not None and connection.lost and resume and not observed:
            self._drop(connection)
            connection = None
        if connection is None:
            answered = self._connections.get(_back(headers))
            if answered is not None and answered.lost and resume:  # its ends were taken for each other
                self._drop(answered)
            elif answered is not None:
                return answered, answered.server_frame(raw, headers, now)
            connection, step = self._unknown(headers, key, observed, resume)
            if connection is None:
                return None, step
            self._add(connection)
        step = connection.client_frame(raw, headers, now, observed)
        if not 0 <= now - connection.used < _NOTICED:
            connection.used = now
            self._by_client[key[1]].move_to_end(key)
        self._count(connection)
        if self._size > self._limits.memory:
            self._make_room(connection)
        return connection, step

    def _count(self, connection: Connection) -> None:
        size = connection.size
        self._size += size - connection.counted
        connection.counted = size

    def _unknown(
        self, headers: Headers, key: Key, observed: bool, resume: bool
    ) -> tuple[Connection | None, Step]:
        """A frame of a connection whose beginning was not seen."""
        if headers.tcp_flags & (SYN | RST):
            return None, NOTHING
        if key in self._remembered or not (resume or observed):
            return None, _UNKNOWN
        connection = Connection(key, self._limits, headers, resumed=True)
        connection.lost = not resume
        return connection, NOTHING

    def _syn(
        self, raw: bytes, headers: Headers, key: Key, old: Connection | None, now: float
    ) -> tuple[Connection | None, Step]:
        """A client's SYN: a new connection, unless the server may take its bytes for those of an older one.

        A server that is in a connection ignores another SYN (RFC 9293, section 3.10.7.4), whatever the
        client claims to have ended.
        """
        if headers.payload_end > headers.payload_offset:
            return old, NOTHING
        seq = headers.seq + 1
        zones = self._remembered.get(key, ())
        if old is not None:
            zones = self._zones(old, now)
            if not old.ended and seq & 0xFFFFFFFF == old.first_seq:  # once more
                return old, old.client_frame(raw, headers, now) if old.fresh else NOTHING
        zones = tuple(zone for zone in zones if now < zone[1])
        if len(zones) > _ZONES_AT_MOST or any(near(seq, place) for place, _ in zones):
            if old is None or old.ended:
                return old, _AMBIGUOUS
            return old, old.client_frame(raw, headers, now)  # the server says that it is in a connection
        if old is not None:
            self._drop(old)
        self._remembered.pop(key, None)
        connection = Connection(key, self._limits, headers, zones=zones)
        self._add(connection)
        return connection, connection.client_frame(raw, headers, now)

    def _add(self, connection: Connection) -> None:
        key = connection.key
        self._connections[key] = connection
        self._by_client.setdefault(key[1], OrderedDict())[key] = connection
        self._count(connection)
        if len(self._connections) > self._limits.connections:
            greedy = max(self._by_client.values(), key=len)
            self._evict(next(c for c in greedy.values() if c is not connection or len(greedy) == 1))

    def _drop(self, connection: Connection) -> None:
        key = connection.key
        if self._connections.get(key) is not connection:
            return
        del self._connections[key]
        peers = self._by_client[key[1]]
        del peers[key]
        if not peers:
            del self._by_client[key[1]]
        self._size -= connection.counted
        connection.counted = 0

    def _evict(self, connection: Connection) -> None:
        """Forget a connection: what still comes on it is refused."""
        self._drop(connection)
        zones = self._zones(connection, connection.last)
        if zones:
            self._remembered[connection.key] = zones
            if len(self._remembered) > self._limits.connections:
                self._remembered.popitem(last=False)

    def remove(self, connection: Connection) -> None:
        """Forget a connection that was denied."""
        self._evict(connection)

    def forget(self, connection: Connection) -> None:
        """Forget a connection as if it had never been: what still comes on it may be followed anew."""
        self._drop(connection)

    def _zones(self, connection: Connection, now: float) -> tuple[Zone, ...]:
        """Where the server may be after this connection, if it is not surely out of it."""
        if connection.surely_ended:
            return ()
        older = () if connection.confirmed else connection.zones
        if connection.lost:
            return older
        until = _FOREVER if connection.answered else now + self._limits.opening
        return (*older, (connection.server_expects, until))

    def _make_room(self, used: Connection) -> None:
        """First tails, then whole connections, of a few at a time so that no frame waits for long.

        Those are asked that were opened, or asked, longest ago; of these the longest unused go first.
        """
        enough = self._limits.memory - self._limits.memory // 16
        few = list(islice(self._connections.items(), _ASKED_AT_A_TIME))
        for key, connection in few:
            if self._size <= enough:
                return
            self._connections[key] = self._connections.pop(key)  # to the end
            connection.forget_tail()
            self._count(connection)
        if self._size <= self._limits.memory:
            return
        for connection in sorted((c for _, c in few), key=lambda c: (c is used, c.last)):
            if self._size <= enough:
                return
            self._evict(connection)

    def refresh(self, now: float) -> None:
        """No connection was silent until now."""
        for connection in self._connections.values():
            connection.last = connection.used = now

    def expire(self, now: float) -> tuple[Connection, ...]:
        """Forget connections that were silent for too long, and give them back."""
        gone = tuple(c for c in self._connections.values() if now - c.last > self._patience(c))
        for connection in gone:
            self._evict(connection)
        return gone

    def _patience(self, connection: Connection) -> float:
        limits = self._limits
        if connection.ended:
            return limits.closed
        if not connection.answered:
            return limits.opening
        return limits.settled if connection.settled else limits.idle


def key_of(headers: Headers) -> Key:
    """The key of a connection whose client has sent this frame."""
    src, dst = headers.src_ip or "", headers.dst_ip or ""
    return headers.vlan, src, headers.src_port or 0, dst, headers.dst_port or 0


def _back(headers: Headers) -> Key:
    """The key of a connection whose server has sent this frame."""
    src, dst = headers.src_ip or "", headers.dst_ip or ""
    return headers.vlan, dst, headers.dst_port or 0, src, headers.src_port or 0
