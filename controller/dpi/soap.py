"""SOAP over HTTP, as UPnP and web services speak it: which action of which service.

Knows nothing of connections. Follows UPnP Device Architecture 2.0, section 3.2, SOAP 1.1 (section 6.1.1)
and SOAP 1.2 part 2. Devices go by the header or by the body, so both must say the same.
"""

import re
from xml.parsers import expat

from controller.dpi.cursor import text
from controller.dpi.http import Head
from controller.dpi.message import Malformed, Message, Operation

_ENVELOPES = ("http://schemas.xmlsoap.org/soap/envelope/", "http://www.w3.org/2003/05/soap-envelope")
_BETWEEN = "\n"  # what expat puts between a namespace and a name; neither can have it
_DEEPEST = 64
_ELEMENTS_AT_MOST = 4096
_LONGEST = 255  # characters of an action's name
_ACTIONS = (b"soapaction", b"01-soapaction")  # 3.2.1: a mandatory extension has a number before it
# SOAP 1.2 part 2, section 6.5.3: it says so in a parameter of the content type.
_PARAMETER = re.compile(rb""";[ \t]*action[ \t]*=[ \t]*("[^"]*"|[^;]*)""", re.IGNORECASE)


def _wrong(what: str) -> Malformed:
    return Malformed(f"soap: {what}")


class _Body:
    """Finds the one element in the body of an envelope."""

    def __init__(self) -> None:
        self.found: list[tuple[str, str]] = []
        self._inside: list[tuple[str, str]] = []
        self._bodies = 0
        self._elements = 0

    def start(self, name: str, _: object) -> None:
        namespace, between, local = name.rpartition(_BETWEEN)
        element = (namespace if between else "", local)
        depth = len(self._inside)
        if depth == 0 and (element[0] not in _ENVELOPES or local != "Envelope"):
            raise _wrong("a body that is no envelope")
        if depth == 1 and local == "Body":
            self._bodies += 1
            if element[0] != self._inside[0][0] or self._bodies > 1:
                raise _wrong("two bodies, or one of another version")
        if depth == 2 and self._inside[1][1] == "Body":
            self.found.append(element)
        self._elements += 1
        if depth >= _DEEPEST or self._elements > _ELEMENTS_AT_MOST:
            raise _wrong("elements inside of elements, or too many")
        self._inside.append(element)

    def end(self, _: str) -> None:
        self._inside.pop()


def _refuse(*_: object) -> None:
    raise _wrong("a document type")  # SOAP 1.1, section 3; SOAP 1.2, section 5: there must be none


def _action(body: bytes) -> tuple[str, str]:
    """Namespace and name of the element that says what shall be done."""
    reader = _Body()
    parser = expat.ParserCreate(namespace_separator=_BETWEEN)
    parser.StartElementHandler = reader.start
    parser.EndElementHandler = reader.end
    parser.StartDoctypeDeclHandler = _refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, ValueError, LookupError):
        raise _wrong("a body that is no XML") from None
    if len(reader.found) != 1:
        raise _wrong(f"{len(reader.found)} actions in one body")
    return reader.found[0]


def _asked(head: Head) -> bytes:
    """The action that a request names outside of its body; empty if it names none. Raises Malformed."""
    kind = head.fields.get(b"content-type", b"")
    named = [head.fields[field] for field in _ACTIONS if field in head.fields] + _PARAMETER.findall(kind)
    asked = {value.strip(b'" \t') for value in named} - {b""}
    if len(asked) > 1:
        raise _wrong("two actions in the header")
    return asked.pop() if asked else b""


class Soap:
    """SOAP as an application of HTTP."""

    def claims(self, head: Head) -> bool:
        if head.method not in ("POST", "M-POST"):
            return False
        kind = head.fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
        return kind == b"application/soap+xml" or any(name in head.fields for name in _ACTIONS)

    def needs_body(self, head: Head) -> bool:
        del head
        return True

    def messages(self, head: Head, body: bytes) -> tuple[Message, ...]:
        if head.fields.get(b"content-encoding", b"identity").lower() != b"identity":
            raise _wrong("a compressed body")
        namespace, name = _action(body)
        said = _asked(head)
        service = namespace
        if len(name) > _LONGEST:
            raise _wrong(f"an action of {len(name)} characters")
        if b"#" in said:  # UPnP, 3.2.1: service type # action
            if said != f"{namespace}#{name}".encode():
                raise _wrong("SOAPACTION asks for another action than the body")
        elif said:
            service = said.decode("latin-1")
        detail = {**head.detail, "path": head.path}
        return (
            Message(
                "soap", text(name.encode()), Operation.EXECUTE, text(service.encode()), head.user_agent,
                detail=detail,
            ),
        )  # fmt: skip
