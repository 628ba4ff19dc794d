"""What a request over HTTP is, whatever its version: method, path, fields, and what they ask for (RFC 9110).

Knows nothing of how requests are written on the wire (http1.py, http2.py), of connections and services,
nor of what is spoken on top of HTTP: that is an Application.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple, Protocol

from controller.dpi.message import Malformed, Message, Operation

BODY_AT_MOST = 65536  # bytes of a body that has to be read before its message can be judged
FIELDS_AT_MOST = 256
TOKEN_AT_MOST = 32  # bytes of a method
TARGET_AT_MOST = 8192  # bytes (RFC 9110, section 4.1: at least 8000)

_READ, _WRITE, _EXECUTE = Operation.READ, Operation.WRITE, Operation.EXECUTE

# What a method asks for (RFC 9110, section 9); then WebDAV (RFC 4918) and UPnP eventing. Others: execute.
METHODS: Mapping[str, Operation] = MappingProxyType(
    {
        "GET": _READ,
        "HEAD": _READ,
        "OPTIONS": _READ,
        "TRACE": _READ,
        "PUT": _WRITE,
        "PATCH": _WRITE,
        "POST": _EXECUTE,
        "DELETE": Operation.DELETE,
        "CONNECT": Operation.CONNECT,
        "PROPFIND": _READ,
        "REPORT": _READ,
        "SEARCH": _READ,
        "PROPPATCH": _WRITE,
        "MKCOL": _WRITE,
        "COPY": _WRITE,
        "MOVE": _WRITE,
        "LOCK": Operation.LOCK,
        "UNLOCK": Operation.WRITE,
        "SUBSCRIBE": Operation.SUBSCRIBE,
        "UNSUBSCRIBE": Operation.UNSUBSCRIBE,
        "NOTIFY": Operation.NOTIFY,
        "M-SEARCH": Operation.LOOKUP,
    }
)

TCHAR = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # RFC 9110, section 5.6.2
TOKEN = re.compile(TCHAR + rb"+")
FRAMING = frozenset({b"content-length", b"transfer-encoding"})
# A service that heeds one of these does another thing than the request line says.
_OVERRIDES = frozenset({
    b"x-http-method", b"x-http-method-override", b"x-method-override", b"x-original-url", b"x-rewrite-url",
})  # fmt: skip
_ONCE = frozenset({b"host", b"authorization", b"content-type", b"content-encoding", b"upgrade"})
_ABSOLUTE = re.compile(rb"[Hh][Tt][Tt][Pp][Ss]?://([^/?#]*)(.*)", re.DOTALL)

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
# What servers leave out of a path before they look for what it names, each in its own way (";" with what
# is behind it, too), so that they find another thing than it says.
_DOTS = re.compile(r"(?:^|/|%2F|%5C)\.\.?(?:$|/|;|%2F|%5C)")
_TO_MEND = re.compile(rb"%[0-9A-Fa-f]{2}|[\x00-\x20\"<>\\^`{|}\x7f-\xff]")


def _wrong(what: str) -> Malformed:
    return Malformed(f"http: {what}")


def _mended(found: re.Match[bytes]) -> bytes:
    text = found[0]
    if len(text) == 3:
        value = int(text[1:], 16)
        return bytes((value,)) if value in _UNRESERVED else text.upper()
    return b"%%%02X" % text[0]


def check_dots(path: str) -> None:
    """Malformed if a path has `.` or `..`: clients resolve those (RFC 3986, section 5.2.4), not servers."""
    if _DOTS.search(path):
        raise _wrong("a path with '.' or '..' in it")


def _canonical_path(path: bytes) -> str:
    canonical = _TO_MEND.sub(_mended, path).decode()
    check_dots(canonical)
    return canonical


_short_path = lru_cache(maxsize=4096)(_canonical_path)


def canonical_path(path: bytes) -> str:
    """A path in the one form of all that mean the same (RFC 3986, section 6.2.2.2). Raises Malformed.

    >>> canonical_path(b"/%6fpen/%7e/a%2fb")
    '/open/~/a%2Fb'
    """
    return _short_path(path) if len(path) < 256 else _canonical_path(path)


def text_of(value: bytes) -> str:
    """A header field's value for display: UTF-8 where it is, otherwise as ISO 8859-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


class Head(NamedTuple):
    """A request without its body."""

    method: str
    path: str  # canonical, without scheme, host and query; for CONNECT the authority
    query: bytes | None
    host: bytes | None  # of the target if that has one, otherwise of the Host field
    version: str  # "1.0", "1.1" or "2"
    fields: Mapping[bytes, bytes]  # by lower-case name; values of repeated ones joined by ", "
    length: int  # of the body; -1: chunked

    @property
    def user_agent(self) -> str | None:
        """The first product of the user agent, without its version (RFC 9110, section 10.1.5)."""
        found = TOKEN.match(self.fields.get(b"user-agent", b""))
        return found[0][:64].decode() if found else None

    @property
    def detail(self) -> Mapping[str, object]:
        """Host, query, the protocol to change to where the request has them, and HTTP/2."""
        detail: dict[str, object] = {}
        if self.host is not None:
            detail["host"] = text_of(self.host)
        if self.query is not None:
            detail["query"] = text_of(self.query)
        if b"upgrade" in self.fields:
            detail["upgrade"] = text_of(self.fields[b"upgrade"])
        if self.version == "2":
            detail["version"] = "2"
        return detail


class Application(Protocol):
    """What is spoken on top of HTTP and has its own words for what a request asks for."""

    def claims(self, head: Head) -> bool:
        """Whether a request is its own."""

    def needs_body(self, head: Head) -> bool:
        """Whether the body says what the request asks for; then it has at most BODY_AT_MOST bytes."""

    def messages(self, head: Head, body: bytes) -> tuple[Message, ...]:
        """What the request asks for. Raises Malformed."""


def plain_message(head: Head) -> Message:
    """A request as HTTP itself sees it."""
    method = head.method
    operation = METHODS.get(method, _EXECUTE)
    return Message("http", method, operation, head.path, identity=head.user_agent, detail=head.detail)


def check_method(method: str) -> None:
    """Malformed if servers could take a method for another (case counts: RFC 9110, section 9.1)."""
    if method not in METHODS and method.upper() in METHODS:
        raise _wrong(f"method {method} is not in capitals")


def check_name(name: bytes) -> None:
    """Malformed if servers could take a header field (in lower case) for another one, or obey it."""
    like = name.replace(b"_", b"-")
    if like != name and like in FRAMING:
        raise _wrong(f"{name.decode()} looks like a length and is none")
    if like in _OVERRIDES:
        raise _wrong(f"{name.decode()} asks for something else than the request line")


def add_field(fields: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    """One more header field; Malformed if servers could disagree about which one counts."""
    before = fields.get(name)
    if before is None:
        fields[name] = value
    elif name in FRAMING or name in _ONCE:
        if before != value or name == b"transfer-encoding":
            raise _wrong(f"{name.decode()} is there twice")
    else:
        fields[name] = before + b", " + value


def target_of(method: str, target: bytes) -> tuple[bytes | None, str, bytes | None]:
    """Host, path and query of the four forms of a request target (RFC 9112, section 3.2)."""
    if len(target) > TARGET_AT_MOST:
        raise _wrong(f"a request target of {len(target)} bytes")
    if target[0] == 0x2F:
        path, mark, query = target.partition(b"?")
        return None, canonical_path(path), query if mark else None
    if method == "CONNECT":
        return target, text_of(target), None
    if target == b"*":
        return None, "*", None
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise _wrong("request target is neither a path, nor a URL, nor *")
    path, mark, query = absolute[2].partition(b"?")
    return absolute[1], canonical_path(path or b"/"), query if mark else None
