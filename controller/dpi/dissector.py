"""What every dissector gives back: the two shapes, one for datagrams and one for streams.

Knows no protocol.
"""

from dataclasses import dataclass
from typing import Protocol

from controller.dpi.message import Message


@dataclass(frozen=True, slots=True)
class Datagram:
    """What one datagram says; `answer`: by its content it answers an earlier request."""

    messages: tuple[Message, ...]
    answer: bool = False


@dataclass(frozen=True, slots=True)
class Fed:
    """What became known by feeding bytes into a stream.

    `messages`: newly complete, a message being complete when its deciding header is. `released`:
    offset in the stream up to which every byte belongs to messages that were reported. `settled`:
    nothing later on this connection can be judged.
    """

    messages: tuple[Message, ...]
    released: int
    settled: bool = False


class StreamDissector(Protocol):
    """Reads the client's side of one TCP connection. A protocol module's class of this shape has the
    static method `recognise(prefix, server_port) -> bool | None` beside it; None: more bytes needed."""

    def feed(self, data: bytes) -> Fed:
        """The next bytes in order; raises Malformed on what is ambiguous or not the protocol."""
        ...
