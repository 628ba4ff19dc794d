"""From captured frames to messages with their two ends, by the very dissectors that the inspector uses.

Knows nothing of files, of who may do what, or of how messages are shown. Every frame is taken as one
that has passed. What was cut off when capturing, and fragments, which the firewall does not let pass,
are counted and not guessed at.
"""

from collections import Counter
from typing import Final, NamedTuple

from controller.captures.link import ethernet, name
from controller.captures.reader import Captured
from controller.dpi.frame import TCP, UDP, Headers, parse
from controller.dpi.message import Malformed, Message
from controller.dpi.registry import PROTOCOLS, dissect_datagram
from controller.dpi.stream import ConnectionTable

SWEEP_EVERY: Final = 5.0  # seconds
_SECOND: Final = 1e9  # ns

_USUAL: Final = frozenset(port for protocol in PROTOCOLS for port in protocol.ports)
_NONE: Final[tuple[Message, ...]] = ()


class Said(NamedTuple):
    """The messages that one frame completes; its sender is their client."""

    headers: Headers
    messages: tuple[Message, ...]


def asks(headers: Headers) -> bool:
    """Whether a frame of a connection whose opening was not seen is taken for one from the client."""
    source, destination = headers.src_port or 0, headers.dst_port or 0
    if destination in _USUAL or source in _USUAL:
        return destination in _USUAL
    return destination < source


class Dissection:
    """Frames in, messages out. `counters`: what could not be read, by the words for it."""

    def __init__(self) -> None:
        self._connections = ConnectionTable()
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
            messages = self._messages(raw, headers, time / _SECOND)
        except Malformed:
            self.counters["cut short when captured" if len(data) < length else "malformed"] += 1
            return None
        return Said(headers, messages) if messages else None

    def _messages(self, raw: bytes, headers: Headers, now: float) -> tuple[Message, ...]:
        if headers.fragment:
            self.counters["fragments"] += 1
        elif headers.protocol == TCP:
            if not 0 <= now - self._swept < SWEEP_EVERY:
                self._swept = now
                self._connections.expire(now)
            connection, step = self._connections.frame(raw, headers, now, observed=True, resume=asks(headers))
            if connection is not None and connection.missed(headers):
                self._connections.forget(connection)
            if step.refuse is not None and connection is not None and not connection.lost:
                self._refused(step.refuse)
            return step.messages
        elif headers.protocol == UDP:
            payload = raw[headers.payload_offset : headers.payload_end]
            return dissect_datagram(payload, headers.src_port or 0, headers.dst_port or 0).messages
        return _NONE

    def _refused(self, why: str) -> None:
        self.counters["malformed" if why.startswith("malformed") else why] += 1
