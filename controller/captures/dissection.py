"""From captured frames to messages with their two ends, by the very dissectors that the inspector uses.

Knows nothing of files, of who may do what, or of how messages are shown. Every frame is taken as one
that has passed. What was cut off when capturing, and fragments, which the firewall does not let pass,
are counted and not guessed at.
"""

from collections import Counter
from typing import Final, NamedTuple

from controller.captures.link import ethernet, name
from controller.captures.reader import Captured
from controller.dpi.connection import NOTHING, Connection, Key, Step
from controller.dpi.datagrams import DatagramTable
from controller.dpi.frame import TCP, UDP, Headers, parse
from controller.dpi.message import Malformed, Message
from controller.dpi.registry import PROTOCOLS, UNKNOWN
from controller.dpi.stream import ConnectionTable

SWEEP_EVERY: Final = 5.0  # seconds
_SECOND: Final = 1e9  # ns

_USUAL: Final = frozenset(port for protocol in PROTOCOLS for port in protocol.ports)
_RESUMED: Final = frozenset(port for p in PROTOCOLS if p.resumes for port in p.ports)
_BROKEN_AT_MOST: Final = 4096  # connections that have gone wrong
_NONE: Final[tuple[Message, ...]] = ()


class Said(NamedTuple):
    """The messages that one frame completes, with the headers of a frame of their client."""

    headers: Headers
    messages: tuple[Message, ...]


def asks(headers: Headers) -> bool:
    """Whether a frame of a connection whose opening was not seen is taken for one from the client."""
    source, destination = headers.src_port or 0, headers.dst_port or 0
    if destination in _USUAL or source in _USUAL:
        return destination in _USUAL
    return destination < source


def _turned(headers: Headers) -> Headers:
    """Those of a frame on the way back."""
    return headers._replace(
        src_mac=headers.dst_mac, dst_mac=headers.src_mac, src_ip=headers.dst_ip, dst_ip=headers.src_ip,
        src_port=headers.dst_port, dst_port=headers.src_port,
    )  # fmt: skip


class Dissection:
    """Frames in, messages out. `counters`: what could not be read, by the words for it."""

    def __init__(self) -> None:
        self._connections = ConnectionTable()
        self._datagrams = DatagramTable()
        self._broken: dict[Key, None] = {}
        self._swept = float("-inf")
        self.counters: Counter[str] = Counter()

    def frame(self, captured: Captured) -> Said | None:
        """What a frame says; None when that is nothing."""
        _, time, link, data, length = captured
        raw = data if link == 1 else ethernet(link, data)
        if raw is None:
            self.counters[f"frames of {name(link)}"] += 1
            return None
        try:
            headers = parse(raw, captured=True)
            return self._said(raw, headers, time / _SECOND)
        except Malformed:
            self.counters["cut short when captured" if len(data) < length else "malformed"] += 1
            return None

    def _said(self, raw: bytes, headers: Headers, now: float) -> Said | None:
        messages = _NONE
        if headers.fragment:
            self.counters["fragments"] += 1
        elif headers.protocol == TCP:
            step = self._tcp(raw, headers, now)
            if step.told is not None:
                return Said(_turned(headers), (step.told,))
            messages = step.messages
        elif headers.protocol == UDP:
            messages = self._datagrams.frame(raw, headers, now).datagram.messages
        return Said(headers, messages) if messages else None

    def _tcp(self, raw: bytes, headers: Headers, now: float) -> Step:
        if not 0 <= now - self._swept < SWEEP_EVERY:
            self._swept = now
            self._connections.expire(now)
            self._datagrams.sweep(now)
        connection, step = self._connections.frame(raw, headers, now, observed=True, resume=asks(headers))
        if connection is None:
            return NOTHING
        if connection.missed(headers):
            self._connections.forget(connection)
        if step.refuse is not None and not connection.lost:
            self._refused(connection, step)
        guessed = self._broken and connection.key in self._broken
        if guessed and step.messages and step.messages[0].protocol == UNKNOWN:
            return NOTHING
        return step

    def _refused(self, connection: Connection, step: Step) -> None:
        """What cannot be read; the next segment may be where a protocol of whole segments goes on."""
        why = step.refuse or ""
        self.counters["malformed" if why.startswith("malformed") else why] += 1
        if connection.key[4] in _RESUMED:
            if len(self._broken) >= _BROKEN_AT_MOST:
                self._broken.clear()
            self._broken[connection.key] = None
            self._connections.forget(connection)
