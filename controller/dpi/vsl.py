"""The Virtual State Layer of DS2OS over HTTP: which service does what to which node.

Knows nothing of connections, nor of who the services are. Addresses are `/agentN/service/child/…`;
the agent that a request goes to serves them all, so a message names its service itself.
"""

import json
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType

from controller.dpi.cbor import text_fields
from controller.dpi.http import METHODS, Head, check_dots, text_of
from controller.dpi.message import Malformed, Message, Operation

_IDENTITY_AT_MOST = 4096  # bytes of the Authorization field
_PREFIX = "/vsl/"
_SEARCH = "/search/"
_NAMES = ("serviceId", "name", "id")  # of the calling service, in the JSON of Authorization
_AMBIGUOUS = re.compile(r"//|;|\\|%(?:00|25|2F|5C)")
_ENDINGS = frozenset({"/service/register", "/service/unregister", "/ka/handshake"})
_CALLBACKS = "/callbacks"
CALLBACK_PROTOCOL = b"v1.vsl.ds2os.org"  # of the WebSocket that callbacks go over

# What the body of a POST to a node says -> what it asks for
OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "SUBSCRIBE": Operation.SUBSCRIBE,
        "UNSUBSCRIBE": Operation.UNSUBSCRIBE,
        "NOTIFY": Operation.NOTIFY,
        "LOCK_SUBTREE": Operation.LOCK,
        "COMMIT_SUBTREE": Operation.COMMIT,
        "ROLLBACK_SUBTREE": Operation.ROLLBACK,
        "REGISTER_VIRTUAL_NODE": Operation.REGISTER,
        "UNREGISTER_VIRTUAL_NODE": Operation.UNREGISTER,
    }
)


def _wrong(what: str) -> Malformed:
    return Malformed(f"vsl: {what}")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _wrong("a key is there twice")
    return found


def _json_fields(data: bytes, what: str) -> dict[str, str | None]:
    """The fields of a JSON object; None for a value that is not text. Raises Malformed."""
    try:
        found = json.loads(data.decode(), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise _wrong(f"{what} is not JSON") from None
    if not isinstance(found, dict):
        raise _wrong(f"{what} is not a JSON object")
    return {key: value if isinstance(value, str) else None for key, value in found.items()}


@lru_cache(maxsize=1024)
def _caller(authorization: bytes) -> str | None:
    scheme, _, text = authorization.partition(b" ")
    if scheme.upper() != b"VSL":
        return None
    try:
        identity = b64decode(text.strip(), validate=True)
    except ValueError:
        raise _wrong("Authorization is not base64") from None
    fields = _json_fields(identity, "the service identity")
    return next((name for key in _NAMES if (name := fields.get(key))), None)


def caller(head: Head) -> str | None:
    """The calling service: `Authorization: VSL <base64 of JSON ServiceIdentity>`. Raises Malformed."""
    authorization = head.fields.get(b"authorization")
    if authorization is None:
        return None
    if len(authorization) > _IDENTITY_AT_MOST:
        raise _wrong(f"an identity of more than {_IDENTITY_AT_MOST} bytes")
    return _caller(authorization)


def _body_fields(head: Head, body: bytes) -> dict[str, str | None] | None:
    """The fields of a body; None if it is in a form that is not read here. Raises Malformed."""
    if head.fields.get(b"content-encoding", b"identity").lower() != b"identity":
        raise _wrong("a compressed body")
    kind = head.fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
    if not body:
        return {}
    if not kind:
        kind = b"application/cbor" if body[0] >> 5 == 5 else b"application/json"  # a CBOR map, or not
    if kind == b"application/json":
        return _json_fields(body, "the body")
    if kind == b"application/cbor":
        return text_fields(body)
    return None


class Vsl:
    """VSL as an application of HTTP."""

    def claims(self, head: Head) -> bool:
        path = head.path
        if path.startswith(_PREFIX) or (head.method == "POST" and path in _ENDINGS):
            return True
        if path == _CALLBACKS and CALLBACK_PROTOCOL in head.fields.get(b"sec-websocket-protocol", b""):
            return True
        return head.fields.get(b"authorization", b"")[:4].upper() == b"VSL "

    def needs_body(self, head: Head) -> bool:
        return head.method == "POST"

    def messages(self, head: Head, body: bytes) -> tuple[Message, ...]:
        if head.path.startswith(_PREFIX):
            return (self._on_node(head, body),)
        identity = caller(head)
        if head.method == "POST" and head.path in _ENDINGS:
            fields = _body_fields(head, body) or {}
            if head.path == "/ka/handshake":
                return (_message("handshake", Operation.CONNECT, "", identity, None, head),)
            registers = head.path == "/service/register"
            operation = Operation.REGISTER if registers else Operation.UNREGISTER
            verb = "register_service" if registers else "unregister_service"
            return (_message(verb, operation, fields.get("modelId") or "", identity, None, head),)
        if head.path == _CALLBACKS:
            return (_message("callbacks", Operation.CONNECT, head.path, identity, None, head),)
        return (_message(*_by_method(head.method), head.path, identity, None, head),)

    def _on_node(self, head: Head, body: bytes) -> Message:
        address = head.path[len(_PREFIX) - 1 :]
        identity = caller(head)
        if address.startswith(_SEARCH):
            return _message("search", Operation.LOOKUP, address, identity, None, head)
        service = _service(address)
        if head.method != "POST":
            return _message(*_by_method(head.method), address, identity, service, head)
        fields = _body_fields(head, body)
        if fields is None:
            return _message("post", Operation.EXECUTE, address, identity, service, head)
        asked = fields.get("operation")
        if asked is None:
            raise _wrong("a POST to a node without an operation")
        operation = OPERATIONS.get(asked, Operation.EXECUTE)
        return _message(asked.lower()[:64], operation, address, identity, service, head)


def callbacks(head: Head) -> Callable[[bytes], tuple[Message, ...]]:
    """Reads what a client sends on the WebSocket that a request has opened.

    The agent invokes, the client acknowledges; an agent that is itself the client may invoke too.
    """
    identity = caller(head)

    def read(data: bytes) -> tuple[Message, ...]:
        fields = text_fields(data) if data[:1] and data[0] >> 5 == 5 else _json_fields(data, "a callback")
        if "invoke" not in fields:
            return (_message("callback", Operation.CONNECT, head.path, identity, None, head),)
        asked, address = fields["invoke"], fields.get("address")
        if asked is None or not address or not address.startswith("/"):
            raise _wrong("a callback that does not say what it invokes where")
        operation = OPERATIONS.get(asked, Operation.EXECUTE)
        service = _service(address)
        return (_message(asked.lower()[:64], operation, address, identity, service, head),)

    return read


def _service(address: str) -> str | None:
    """The service that a node belongs to: the second part of its address. Raises Malformed.

    Agents could find another service than we in an address that can be divided in two ways.
    """
    if _AMBIGUOUS.search(address):
        raise _wrong("a node address with an empty part, a parameter or a hidden slash")
    check_dots(address)
    parts = address.split("/", 3)
    return parts[2] if len(parts) > 2 and parts[2] else None


def _by_method(method: str) -> tuple[str, Operation]:
    if method == "PUT":
        return "set", Operation.WRITE
    return method.lower(), METHODS.get(method, Operation.EXECUTE)


def _message(
    verb: str, operation: Operation, resource: str, identity: str | None, service: str | None, head: Head
) -> Message:
    detail = head.detail
    kind = head.fields.get(b"content-type")
    if kind:
        detail = {**detail, "content_type": text_of(kind)}
    return Message("vsl", verb, operation, resource, identity, service, detail=detail)
