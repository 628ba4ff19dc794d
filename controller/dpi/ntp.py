"""NTP: who asks for the time, and who asks a time server for more than that (RFC 5905, RFC 9327).

Knows nothing of clocks, nor of the site's time server.
"""

from collections.abc import Mapping

from controller.dpi.dissector import Datagram
from controller.dpi.message import Malformed, Message, Operation

PORT = 123
_NAME = "ntp"
_HEADER = 48  # bytes (RFC 5905, section 7.3)
_ACTIVE, _PASSIVE, _CLIENT, _SERVER, _BROADCAST, _CONTROL, _PRIVATE = range(1, 8)
_ANSWER = Datagram((), answer=True)
_TRANSMITTED = slice(40, 48)  # the time at which it was sent, by the sender's own clock

# Mode (RFC 5905, figure 10) -> as people call it, what it asks for
_MODES: Mapping[int, tuple[str, Operation]] = {
    _ACTIVE: ("symmetric active", Operation.READ),
    _CLIENT: ("client", Operation.READ),
    _BROADCAST: ("broadcast", Operation.ANNOUNCE),
}

# Operation code of a control message (RFC 9327, section 2) -> name, what it asks for
_OPCODES: Mapping[int, tuple[str, Operation]] = {
    1: ("read status", Operation.READ),
    2: ("read variables", Operation.READ),
    3: ("write variables", Operation.WRITE),
    4: ("read clock variables", Operation.READ),
    5: ("write clock variables", Operation.WRITE),
    6: ("set trap address", Operation.SUBSCRIBE),
    8: ("configure", Operation.WRITE),
    9: ("save configuration", Operation.EXECUTE),
    10: ("read recently used", Operation.READ),
    11: ("read ordered list", Operation.READ),
    12: ("request nonce", Operation.READ),
    31: ("unset trap address", Operation.UNSUBSCRIBE),
}


def _wrong(what: str, offset: int) -> Malformed:
    return Malformed(f"ntp: {what} at offset {offset}")


def _one(verb: str, operation: Operation, resource: str, detail: Mapping[str, object]) -> Datagram:
    return Datagram((Message(_NAME, verb, operation, resource, None, None, False, detail),))


def _managed(payload: bytes, mode: int, version: int) -> Datagram:
    """Control (RFC 9327, section 2), and what ntpd had before it (mode 7, RFC 5905, section 3)."""
    least = 12 if mode == _CONTROL else 8
    if len(payload) < least:
        raise _wrong("message cut short", len(payload))
    if payload[1 if mode == _CONTROL else 0] & 0x80:
        return _ANSWER
    if mode == _PRIVATE:
        return _one(f"private request {payload[3]}", Operation.EXECUTE, "", {"version": version})
    code = payload[1] & 31
    verb, operation = _OPCODES.get(code) or (f"control {code}", Operation.EXECUTE)
    association = payload[6] << 8 | payload[7]
    return _one(verb, operation, f"association {association}" if association else "", {"version": version})


def _read(payload: bytes) -> Datagram:
    if not payload:
        raise _wrong("nothing", 0)
    version, mode = payload[0] >> 3 & 7, payload[0] & 7
    if not 1 <= version <= 4:
        raise _wrong(f"version {version}", 0)
    if mode in (_CONTROL, _PRIVATE):
        return _managed(payload, mode, version)
    if len(payload) < _HEADER or len(payload) % 4:  # sections 7.3 and 7.5; RFC 7822
        raise _wrong("header, extensions or digest of a size that cannot be", len(payload))
    if mode in (_PASSIVE, _SERVER):
        return _ANSWER
    known = _MODES.get(mode)
    if known is None:
        raise _wrong(f"mode {mode}", 0)
    return _one(*known, "", {"version": version, "stratum": payload[1]})


def datagram(payload: bytes, src_port: int, dst_port: int) -> Datagram | None:
    """One message on port 123; on another a client's that says nothing but when. Raises Malformed."""
    if PORT in (src_port, dst_port):
        return _read(payload)
    if len(payload) != _HEADER or payload[0] & 0x3F not in (0x1B, 0x23):
        return None
    return _read(payload) if any(payload[_TRANSMITTED]) and not any(payload[4:40]) else None
