"""SSDP: who looks for which kind of device, and who announces one (UPnP Device Architecture 2.0, section 1).

Knows nothing of devices and services. The fields are those of HTTP (RFC 9110, section 5), one datagram
a message.
"""

import re
from collections.abc import Mapping

from controller.dpi.dissector import Datagram
from controller.dpi.message import Malformed, Message, Operation

PORT = 1900

# First line without its version -> verb, operation, field that says what of (1.3.2, 1.2.2, 1.3.3)
_LINES: Mapping[bytes, tuple[str, Operation, bytes]] = {
    b"M-SEARCH *": ("M-SEARCH", Operation.LOOKUP, b"st"),
    b"NOTIFY *": ("NOTIFY", Operation.ANNOUNCE, b"nt"),
    b"200": ("response", Operation.ANNOUNCE, b"st"),
}
_FIRST = re.compile(rb"(?:(M-SEARCH \*|NOTIFY \*) HTTP/1\.[01]|HTTP/1\.[01] (200)\b)([^\n]*)\n")
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# 1.2.2: "Linux/5.4 UPnP/1.1 Lamp/2.0": what is behind UPnP is the product. Others have only a product.
_PRODUCT = re.compile(r"(?:.*?\bUPnP/[0-9.]+[ ,]+)?([^/]+)", re.IGNORECASE)
_FIELDS_AT_MOST = 64


def _wrong(what: str, offset: int) -> Malformed:
    return Malformed(f"ssdp: {what} at offset {offset}")


def _fields(payload: bytes, at: int) -> Mapping[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    end = len(payload)
    while at < end and len(fields) < _FIELDS_AT_MOST:
        following = payload.find(b"\n", at)
        line = payload[at : following if following >= 0 else end]
        if line.endswith(b"\r"):
            line = line[:-1]
        if not line:
            return fields
        name, colon, value = line.partition(b":")
        name = name.rstrip(b" \t").lower()
        if not colon or b"\r" in value or b"\0" in value or not _NAME.fullmatch(name):
            raise _wrong("line that is no field", at)
        if name in fields:
            raise _wrong(f"field {name.decode()} again", at)
        fields[name] = value.strip(b" \t")
        at = following + 1 if following >= 0 else end
    if at < end:
        raise _wrong(f"more than {_FIELDS_AT_MOST} fields", at)
    return fields  # some devices leave out the empty line


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def datagram(payload: bytes, src_port: int, dst_port: int) -> Datagram | None:
    """One message on port 1900, or on another if its first line is one of SSDP. Raises Malformed."""
    usual = PORT in (src_port, dst_port)
    first = _FIRST.match(payload)
    if first is None:
        if not usual:
            return None
        raise _wrong("no first line", 0)
    if first[1] and first[3].strip(b" \t\r"):
        raise _wrong("more in the first line", first.start(3))
    line: bytes = first[1] or first[2]
    verb, operation, about = _LINES[line]
    fields = _fields(payload, first.end())
    target = fields.get(about)
    if not target:
        raise _wrong(f"{verb} without {about.decode().upper()}", first.end())
    maker = fields.get(b"user-agent") if operation is Operation.LOOKUP else fields.get(b"server")
    product = _PRODUCT.match(_text(maker)) if maker else None
    detail: dict[str, object] = {
        name: _text(fields[name.encode()]) for name in ("nts", "usn", "location") if name.encode() in fields
    }
    message = Message(
        "ssdp", verb, operation, _text(target), product[1].strip(" ,") if product else None, detail=detail
    )
    return Datagram((message,), answer=line == b"200")
