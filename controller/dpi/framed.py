"""Streams whose messages say at their beginning how long they are. Knows no protocol."""

from abc import ABC, abstractmethod
from typing import ClassVar

from controller.dpi.dissector import Fed
from controller.dpi.message import Message


class FramedStream(ABC):
    """Cuts a client's stream into messages; a subclass says where, and reads them."""

    HEADER: ClassVar[int]  # bytes from which the size is known

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._offset = 0  # of the stream, where the buffer begins
        self._released = 0
        self._settled = False

    @abstractmethod
    def size(self, header: bytes) -> int:
        """Bytes of the message that begins with these HEADER bytes, itself included. Raises Malformed."""

    @abstractmethod
    def read(self, data: bytes, messages: list[Message]) -> bool:
        """Read one whole message; whether nothing more is needed to judge it. Raises Malformed."""

    def settle(self) -> None:
        """Nothing later on this connection can be judged."""
        self._settled = True

    def feed(self, data: bytes) -> Fed:
        """The next bytes of the stream. Raises Malformed."""
        buffer, header = self._buffer, self.HEADER
        buffer += data
        at = 0
        messages: list[Message] = []
        while not self._settled and len(buffer) - at >= header:
            following = at + self.size(bytes(buffer[at : at + header]))
            if following > len(buffer):
                break
            whole = self.read(bytes(buffer[at:following]), messages)
            at = following
            if whole:
                self._released = self._offset + at
        if self._settled:
            self._released = self._offset = self._offset + len(buffer)
            buffer.clear()
        else:
            del buffer[:at]
            self._offset += at
        return Fed(tuple(messages), self._released, self._settled)
