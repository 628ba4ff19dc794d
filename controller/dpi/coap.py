"""CoAP over UDP: what a client wants of which resource (RFC 7252). Over TCP: coap_tcp.py.

Knows nothing of sockets and services. Also: observing (RFC 7641), blocks (RFC 7959), FETCH and PATCH
(RFC 8132).
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from controller.dpi.dissector import Datagram
from controller.dpi.message import Malformed, Message, Operation

PORT = 5683

_CON, _NON, _ACK, _RST = range(4)
_OBSERVE, _URI_PATH, _URI_QUERY = 6, 11, 15
_PLACES: Mapping[int, str] = {3: "host", 35: "proxy_uri", 39: "proxy_scheme"}
_BLOCKS: Mapping[int, str] = {27: "block1", 23: "block2", 19: "q_block1", 31: "q_block2"}

# Code of a request (section 12.1.1, RFC 8132) -> method, operation
_METHODS: Mapping[int, tuple[str, Operation]] = {
    1: ("GET", Operation.READ),
    2: ("POST", Operation.EXECUTE),
    3: ("PUT", Operation.WRITE),
    4: ("DELETE", Operation.DELETE),
    5: ("FETCH", Operation.READ),
    6: ("PATCH", Operation.WRITE),
    7: ("iPATCH", Operation.WRITE),
}
# Codes of responses (section 12.1.2; RFC 7959, 8132, 8516) and options (section 12.2; RFC 7641, 7959,
# 7967, 8613, 9175) that exist; only used to tell CoAP from other protocols on other ports.
_RESPONSES = frozenset({
    65, 66, 67, 68, 69, 95, 128, 129, 130, 131, 132, 133, 134, 136, 137, 140, 141, 143, 150, 157, 160, 161,
    162, 163, 164, 165,
})  # fmt: skip
_OPTIONS = frozenset(
    {1, 3, 4, 5, 6, 7, 8, 9, 11, 12, 14, 15, 17, 19, 20, 23, 27, 28, 31, 35, 39, 60, 252, 258, 292}
)

_REMEMBERED = 256  # bytes; longer messages are read each time

_ANSWER = Datagram((), answer=True)
_PING = Datagram((Message("coap", "ping", Operation.LOOKUP, ""),))
# What would be read differently in "/a/b" than inside one of its parts; the backslash because bytes
# that are not UTF-8 are written with it.
_RESERVED = re.compile(r"[\x00-\x1f%/\\\x7f]")


def _wrong(what: str, offset: int) -> Malformed:
    return Malformed(f"coap: {what} at offset {offset}")


def _part(value: bytes, offset: int) -> str:
    """One Uri-Path as a part of a path (section 6.5), except that other alphabets stay readable."""
    if len(value) > 255:  # section 5.10
        raise _wrong(f"Uri-Path of {len(value)} bytes", offset)
    if value in (b".", b".."):
        raise _wrong("Uri-Path '.' or '..' (section 5.10.1)", offset)
    text = value.decode("utf-8", "backslashreplace")
    if _RESERVED.search(text):
        text = _RESERVED.sub(lambda found: f"%{ord(found[0]):02X}", value.decode("latin-1"))
        text = text.encode("latin-1").decode("utf-8", "backslashreplace")
    return text


def _block(value: bytes, offset: int) -> str:
    """A block option as RFC 7959 writes it (section 2.3): number, whether more will come, size in bytes."""
    if len(value) > 3:
        raise _wrong("Block longer than 3 bytes", offset)
    number = int.from_bytes(value, "big")
    return f"{number >> 4}/{number >> 3 & 1}/{1 << (number & 7) + 4}"


def request(
    code: int, data: bytes, offset: int, token_length: int, known: frozenset[int] | None = None
) -> Message:
    """The message with method `code` whose options begin at `offset` (sections 3.1 and 5.10).

    Options that are not in `known` are Malformed, if `known` is given.
    """
    path = ""
    number = 0
    observe: int | None = None
    queries: list[str] = []
    detail: dict[str, object] = {"token_length": token_length}
    end = len(data)
    while offset < end:
        first = data[offset]
        offset += 1
        if first == 0xFF:  # section 3: a payload marker with nothing behind it is an error
            if offset == end:
                raise _wrong("payload marker without payload", offset - 1)
            break
        delta, length = first >> 4, first & 15
        if delta > 12:
            if delta == 15 or offset + delta - 12 > end:
                raise _wrong("option delta", offset - 1)
            if delta == 13:
                delta = data[offset] + 13
                offset += 1
            else:
                delta = (data[offset] << 8 | data[offset + 1]) + 269
                offset += 2
        if length > 12:
            if length == 15 or offset + length - 12 > end:
                raise _wrong("option length", offset - 1)
            if length == 13:
                length = data[offset] + 13
                offset += 1
            else:
                length = (data[offset] << 8 | data[offset + 1]) + 269
                offset += 2
        number += delta
        value = data[offset : offset + length]
        if len(value) < length:
            raise _wrong(f"option {number} longer than the message", offset)
        if number == _URI_PATH:
            path += "/" + _part(value, offset)
        elif number == _URI_QUERY:
            queries.append(value.decode("utf-8", "backslashreplace"))
        elif number == _OBSERVE:
            if length > 3:  # RFC 7641, section 2
                raise _wrong("Observe longer than 3 bytes", offset)
            if observe is None:  # section 5.4.5: a second one counts as unknown
                observe = int.from_bytes(value, "big")
        elif number in _BLOCKS:
            detail[_BLOCKS[number]] = _block(value, offset)
        elif number in _PLACES:
            if _PLACES[number] in detail:  # section 5.4.5: a second one is critical and unknown
                raise _wrong(f"option {number} is there twice", offset)
            detail[_PLACES[number]] = value.decode("utf-8", "backslashreplace")
        elif known is not None and number not in known:
            raise _wrong(f"unknown option {number}", offset)
        offset += length
    method, operation = _METHODS.get(code) or (f"0.{code:02}", Operation.EXECUTE)
    if observe is not None and operation is Operation.READ and observe < 2:
        operation = Operation.UNSUBSCRIBE if observe else Operation.SUBSCRIBE
    if queries:
        detail["query"] = "&".join(queries)
    path = path or "/"
    # Section 5.10.2: what a proxy is to fetch is another thing than what it has at the same path.
    if "proxy_uri" in detail:
        path = str(detail["proxy_uri"])
    elif "proxy_scheme" in detail:
        path = f"{detail['proxy_scheme']}://{detail.get('host', '')}{path}"
    return Message("coap", method, operation, path, None, None, False, detail)


@lru_cache(maxsize=1024)
def _asked(code: int, options: int, data: bytes, known: frozenset[int] | None) -> Datagram:
    """The request whose options begin at `options`: devices ask the same again and again.

    Only message id and token, which are in front, are new then.
    """
    return Datagram((request(code, bytes(options) + data, options, options - 4, known),))


def _read(data: bytes, known: frozenset[int] | None) -> Datagram:
    """Section 3."""
    if len(data) < 4:
        raise _wrong("header cut short", len(data))
    first, code = data[0], data[1]
    kind, options = first >> 4 & 3, 4 + (first & 15)
    if first >> 6 != 1 or options > 12:
        raise _wrong("version or token length", 0)
    if not code:
        if len(data) != 4 or options != 4:  # section 4.1
            raise _wrong("an empty message that is not empty", 4)
        if kind == _NON:  # section 4.3
            raise _wrong("an empty message that asks for nothing", 0)
        return _PING if kind == _CON else _ANSWER
    if options > len(data):
        raise _wrong("token cut short", 4)
    if code < 32:
        if kind > _NON:  # sections 4.2 and 4.3
            raise _wrong("a request in an acknowledgement or reset", 0)
        if len(data) <= _REMEMBERED:
            return _asked(code, options, data[options:], known)
        return Datagram((request(code, data, options, options - 4, known),))
    if code >> 5 not in (2, 4, 5):
        raise _wrong(f"code class {code >> 5}", 1)
    if kind == _RST:
        raise _wrong("a response in a reset", 0)
    request(1, data, options, options - 4, known)
    return _ANSWER


def datagram(payload: bytes, src_port: int, dst_port: int) -> Datagram | None:
    """One message on port 5683; on other ports only if nothing speaks against it. Raises Malformed."""
    if PORT in (dst_port, src_port):
        return _read(payload, None)
    if len(payload) < 4 or payload[0] >> 6 != 1:
        return None
    code = payload[1]
    # A request for "/" and a response without token are too short to be sure of.
    if (
        code not in _METHODS
        and (code or len(payload) != 4)
        and (code not in _RESPONSES or not payload[0] & 15)
    ):
        return None
    try:
        found = _read(payload, _OPTIONS)
    except Malformed:
        return None
    if code in _METHODS:
        path = found.messages[0].resource
        if len(path) < 2 or "\\" in path or not path.isprintable():
            return None
    return found
