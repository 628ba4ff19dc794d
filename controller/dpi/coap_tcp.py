"""CoAP over TCP (RFC 8323): the requests that a client sends on one connection.

Knows nothing of connections and services. Options and methods are those of coap.py.
"""

from collections.abc import Mapping

from controller.dpi.coap import PORT, request
from controller.dpi.dissector import Fed
from controller.dpi.message import Malformed, Message, Operation

OPTIONS_AT_MOST = 4096  # bytes of the options of one message
_CSM = 0xE1
_CSM_OPTIONS = (2, 4)  # 5.3: Max-Message-Size, Block-Wise-Transfer
_LONGEST_TOKEN = 8

# Signalling (5.1) -> verb, operation
_SIGNALS: Mapping[int, tuple[str, Operation]] = {
    _CSM: ("CSM", Operation.CONNECT),
    0xE2: ("ping", Operation.LOOKUP),
    0xE3: ("pong", Operation.CONNECT),
    0xE4: ("release", Operation.CONNECT),
    0xE5: ("abort", Operation.CONNECT),
}
_EXTENDED: Mapping[int, tuple[int, int]] = {13: (1, 13), 14: (2, 269), 15: (4, 65805)}  # 3.2


def _wrong(what: str) -> Malformed:
    return Malformed(f"coap: {what}")


def _head(data: bytes, at: int) -> tuple[int, int, int, int] | None:
    """Code, length of the token, where the options begin, and where the message ends (3.2)."""
    if at >= len(data):
        return None
    length, token = data[at] >> 4, data[at] & 15
    if token > _LONGEST_TOKEN:
        raise _wrong(f"a token of {token} bytes")
    code_at = at + 1
    if length > 12:
        size, more = _EXTENDED[length]
        code_at += size
        length = int.from_bytes(data[at + 1 : code_at], "big") + more
    if code_at >= len(data):
        return None
    start = code_at + 1 + token
    return data[code_at], token, start, start + length


def _options_end(data: bytes, at: int, end: int) -> int | None:
    """Where the payload marker is, or the end of the message; None if that is not there yet."""
    size = len(data)
    while at < min(end, size):
        delta, length = data[at] >> 4, data[at] & 15
        if data[at] == 0xFF:
            return at
        if 15 in (delta, length):
            raise _wrong("option with delta or length 15")
        at += 1 + max(delta - 12, 0)
        if length > 12:
            value = at + length - 12
            more = 13 if length == 13 else 269
            length = int.from_bytes(data[at:value], "big") + more if value <= size else 0
            at = value
        at += length
    if at > end:
        raise _wrong("an option goes beyond its message")
    return end if at == end <= size else None


class CoapStream:
    """Reads what one client sends. A request is reported when its options are there; its body passes."""

    __slots__ = ("_begun", "_buffer", "_consumed", "_skip")

    def __init__(self) -> None:
        self._buffer = b""
        self._consumed = 0
        self._skip = 0  # bytes of the body that is passing through
        self._begun = False  # the capabilities have been told

    def feed(self, data: bytes) -> Fed:
        """The next bytes of the stream. Raises Malformed."""
        passed = min(self._skip, len(data))
        self._skip -= passed
        self._consumed += passed
        data = self._buffer + data[passed:]
        messages: list[Message] = []
        at, size = 0, len(data)
        while at < size:
            head = _head(data, at)
            if head is None:
                break
            code, token, start, end = head
            marker = _options_end(data, start, end)
            if (marker or size) - start > OPTIONS_AT_MOST:
                raise _wrong(f"options of more than {OPTIONS_AT_MOST} bytes")
            if marker is None:
                break
            if marker == end - 1:
                raise _wrong("payload marker without payload")
            self._message(code, token, data[start:marker], messages)
            at = min(end, size)
            self._skip = end - at
        self._buffer = data[at:]
        self._consumed += at
        return Fed(tuple(messages), self._consumed)

    def _message(self, code: int, token: int, options: bytes, messages: list[Message]) -> None:
        if not self._begun and code != _CSM:
            raise _wrong("another message before CSM")  # 5.3
        self._begun = True
        if code in _SIGNALS:
            request(0, options, 0, token)
            verb, operation = _SIGNALS[code]
            messages.append(Message("coap", verb, operation, "", detail={"transport": "tcp"}))
        elif code >> 5 == 0 and code:
            found = request(code, options, 0, token)
            detail = {**found.detail, "transport": "tcp"}
            messages.append(Message("coap", found.verb, found.operation, found.resource, detail=detail))
        elif code >> 5 in (2, 4, 5):  # it answers what the server has asked
            request(1, options, 0, token)
        elif code:  # 0.00 says nothing (3.4)
            raise _wrong(f"code {code >> 5}.{code & 31:02}")


def recognise(prefix: bytes, server_port: int) -> bool | None:
    """Whether a stream begins with a message of capabilities (5.3) that has no option but the two known.

    One without any option is too short to be sure of, but on the usual port.
    """
    if not prefix:
        return None
    size = prefix[0] >> 4
    if prefix[0] & 15 or size > 12 or prefix[1:2] not in (b"", b"\xe1"):
        return False
    at, number, end = 2, 0, 2 + size
    while at < min(end, len(prefix)):
        number += prefix[at] >> 4
        if number not in _CSM_OPTIONS or prefix[at] & 15 > 4:
            return False
        at += 1 + (prefix[at] & 15)
    if at > end or (not size and server_port != PORT):
        return False
    return True if len(prefix) >= end else None
