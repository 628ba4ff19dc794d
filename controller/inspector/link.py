"""The line between controller and inspector: what is said on it, and how it is cut into bytes.

Knows nothing of sockets, frames or verdicts: sockets belong to those at the two ends.

The inspector listens on a unix stream socket, the controller connects. Each message is four bytes
of length (big endian) and a JSON object, whose `kind` says which of the values below or of
controller.events it is. Both ends begin with a Hello; who hears another version hangs up. Then the
inspector says InspectorUp, and the controller answers with Ports, Settings and the whole table.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from controller.events import FromInspector, UpdateTable
from controller.verdicts import Delta

VERSION = 2  # of what is said on the line
LARGEST = 4 * 1024 * 1024  # bytes of one message; neither end keeps more than this and what it read last
DELTAS_PER_PART = 500  # so that applying one part never keeps the inspector from its frames for long
_HEADER = 4  # bytes


class LinkError(Exception):
    """The line cannot be used any further. The message says what was wrong and what to do."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The first message of each end; `process` is its process id."""

    version: int
    process: int
    kind: Literal["hello"] = "hello"


@dataclass(frozen=True, slots=True)
class SwitchPorts:
    """The two interfaces that lead to one switch, by their names on the inspector's side."""

    switch: int
    inspection: str
    copy: str


@dataclass(frozen=True, slots=True)
class Ports:
    """Switches that are to be served, beside those that were named before.

    A controller that has just started knows none, and traffic does not wait until they have connected.
    """

    switches: tuple[SwitchPorts, ...]
    kind: Literal["ports"] = "ports"


@dataclass(frozen=True, slots=True)
class Settings:
    """What of the site's configuration concerns the inspector."""

    reveal_intent: bool = True  # a handshake to a known service may pass, so that its request is read
    kind: Literal["settings"] = "settings"


@dataclass(frozen=True, slots=True)
class TablePart:
    """A piece of an UpdateTable; nothing of it counts until the part with `last` is there."""

    version: int
    deltas: tuple[Annotated[Delta, Field(discriminator="kind")], ...]
    whole: bool
    last: bool
    kind: Literal["table"] = "table"


@dataclass(frozen=True, slots=True)
class Stop:
    """The site is being shut down: the inspector ends too. Without it, it outlives the controller."""

    kind: Literal["stop"] = "stop"


@dataclass(frozen=True, slots=True)
class Ping:
    """Is the loop still turning? Answered by a Pong, in its turn."""

    kind: Literal["ping"] = "ping"


@dataclass(frozen=True, slots=True)
class Pong:
    kind: Literal["pong"] = "pong"


ToInspector = Hello | Ports | Settings | TablePart | Ping | Stop
ToController = Hello | Pong | FromInspector
M = TypeVar("M")


@cache
def _to_inspector() -> TypeAdapter[ToInspector]:
    return TypeAdapter(Annotated[ToInspector, Field(discriminator="kind")])


@cache
def _to_controller() -> TypeAdapter[ToController]:
    return TypeAdapter(Annotated[ToController, Field(discriminator="kind")])


def parts(update: UpdateTable) -> Iterator[TablePart]:
    """The update cut into pieces that are small enough for the line; at least one."""
    deltas = update.deltas
    for start in range(0, max(len(deltas), 1), DELTAS_PER_PART):
        end = start + DELTAS_PER_PART
        yield TablePart(update.version, deltas[start:end], update.whole, last=end >= len(deltas))


def to_inspector(message: ToInspector) -> bytes:
    """The bytes of a message of the controller; raises LinkError when it cannot be said."""
    return _pack(_to_inspector(), message)


def to_controller(message: ToController) -> bytes:
    """The bytes of a message of the inspector; raises LinkError when it cannot be said."""
    return _pack(_to_controller(), message)


def _pack(adapter: TypeAdapter[Any], message: object) -> bytes:
    try:
        body = adapter.dump_json(message)
    except PydanticSerializationError as error:
        raise LinkError(f"{type(message).__name__} cannot be written as JSON: {error}") from None
    if len(body) > LARGEST:
        raise LinkError(
            f"{type(message).__name__} takes {len(body)} bytes; the line carries {LARGEST} at most"
        )
    return len(body).to_bytes(_HEADER) + body


class Decoder(Generic[M]):
    """Cuts what one end has read back into messages, one at a time."""

    def __init__(self, adapter: TypeAdapter[M]) -> None:
        self._adapter = adapter
        self._buffer = bytearray()
        self._greeted = False

    def feed(self, data: bytes) -> None:
        self._buffer += data

    @property
    def pending(self) -> bool:
        """Whether a whole message is there to be had."""
        buffer = self._buffer
        return len(buffer) >= _HEADER and len(buffer) >= _HEADER + int.from_bytes(buffer[:_HEADER])

    def next(self) -> M | None:
        """The next message, or None when more bytes are needed.

        Raises LinkError on anything that is not one, and on a Hello of another version.
        """
        buffer = self._buffer
        if len(buffer) < _HEADER:
            return None
        size = int.from_bytes(buffer[:_HEADER])
        if size > LARGEST:
            raise LinkError(f"a message of {size} bytes was announced; the line carries {LARGEST} at most")
        if len(buffer) < _HEADER + size:
            return None
        body = bytes(buffer[_HEADER : _HEADER + size])
        del buffer[: _HEADER + size]
        try:
            message = self._adapter.validate_json(body)
        except ValidationError as error:
            # Its input is left out: what was observed on the site stays out of logs.
            wrong = error.errors(include_url=False, include_context=False, include_input=False)[0]
            where = ".".join(str(step) for step in wrong["loc"])
            raise LinkError(f"a message is not one of this line: {where}: {wrong['msg']}") from None
        if not self._greeted:
            self._greet(message)
        return message

    def _greet(self, message: M) -> None:
        if not isinstance(message, Hello):
            raise LinkError(f"the first message has to be a hello, not {type(message).__name__}")
        if message.version != VERSION:
            raise LinkError(
                f"process {message.process} speaks version {message.version} of the line between controller "
                f"and inspector, this one version {VERSION}: restart both from the same installation"
            )
        self._greeted = True


def inspector_decoder() -> Decoder[ToInspector]:
    """For the inspector's end: reads what the controller says."""
    return Decoder(_to_inspector())


def controller_decoder() -> Decoder[ToController]:
    """For the controller's end: reads what the inspector says."""
    return Decoder(_to_controller())
