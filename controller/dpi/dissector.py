"""What every dissector gives back: the two shapes, one for datagrams and one for streams.

Knows no protocol.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from controller.dpi.message import Message


class Part(NamedTuple):
    """Pieces of a message that is spread over several datagrams of one conversation.

    `which` tells it from others of the conversation; a piece is an offset in the message and bytes.
    The message begins with its kind (one byte) and the length of the rest (three), as in TLS; `read`
    reads it, and raises Malformed.
    """

    which: bytes
    pieces: tuple[tuple[int, bytes], ...]
    read: Callable[[bytes], Message]


class Datagram(NamedTuple):
    """What one datagram says; `answer`: by its content it answers an earlier request.

    `part`: what it says cannot be read before the rest is there. `protocol`: that of a datagram
    without messages.
    """

    messages: tuple[Message, ...]
    answer: bool = False
    part: Part | None = None
    protocol: str = ""


class Fed(NamedTuple):
    """What became known by feeding bytes into a stream.

    `messages`: newly complete, a message being complete when its deciding header is. `released`:
    offset in the stream up to which every byte belongs to messages that were reported. `settled`:
    nothing later on this connection can be judged.
    """

    messages: tuple[Message, ...]
    released: int
    settled: bool = False


class StreamDissector(Protocol):
    """Reads the client's side of one TCP connection.

    A protocol's module has `recognise(prefix, server_port) -> bool | None` beside it; None: more bytes
    needed.
    """

    def feed(self, data: bytes) -> Fed:
        """The next bytes in order; raises Malformed on what is ambiguous or not the protocol."""
        ...


class Undecided(StreamDissector, Protocol):
    """One that finds out itself which protocol it reads."""

    def decide(self) -> Fed:
        """Nothing more comes that could tell: what is not known by now is unknown."""
        ...
