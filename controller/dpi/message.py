"""What one message asked for, in the words of the site: the result of all deep packet inspection.

Knows nothing of frames, sockets, services or verdicts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Malformed(Exception):
    """The only exception a dissector raises: these bytes are not the protocol they claim to be.

    The message says what is wrong and at which offset. Any other exception is a bug.
    """


class Operation(StrEnum):
    """What a message asks for, the same words for every protocol."""

    READ = "read"
    WRITE = "write"
    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"
    EXECUTE = "execute"
    DELETE = "delete"
    REGISTER = "register"
    UNREGISTER = "unregister"
    LOCK = "lock"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    NOTIFY = "notify"
    CONNECT = "connect"
    ANNOUNCE = "announce"
    LOOKUP = "lookup"


@dataclass(frozen=True, slots=True)
class Message:
    """One request of a client to a server, as the receiving service will read it.

    `protocol` is the registry name ("mqtt", "unknown"); `verb` the protocol's own word ("PUT");
    `resource` what the operation is on ("/agent1/light1/isOn", "unit 1 coils 16-31"), "" if nothing.
    `identity` is the client's own name inside the message (MQTT client id), or None.
    `service` is the server service's own name inside the message (VSL), or None.
    `opaque` says that no later operation on this connection can be read (TLS after its hello).
    """

    protocol: str
    verb: str
    operation: Operation
    resource: str
    identity: str | None = None
    service: str | None = None
    opaque: bool = False
    detail: Mapping[str, object] = field(default_factory=dict, hash=False)


def printable(text: str) -> str:
    """A text from the network as UTF-8 can carry it; what is no text is written in hexadecimal."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
