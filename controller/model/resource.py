"""When two resources are the same resource: ids, UUIDs and counters become placeholders.

Knows nothing of services, verdicts or frames. The rule, in full:

1. In paths, topics and node addresses (`http`, `coap`, `vsl`, `mqtt`, `websocket`, `rtsp`) each part
   between slashes is looked at alone; other protocols' resources are left as they are.
2. At once, `generalise` replaces a whole part that nobody types by hand:
   a UUID -> `{uuid}`; 5 or more decimal digits -> `{number}`; 12 or more hexadecimal digits with at
   least one decimal digit among them -> `{hex}`.
3. A short number may be a counter or may be a door, so it stays, until the same relationship was
   learnt with `COUNTER_AT` different numbers in its place; then `widen` puts `{number}` there for
   all of them. That happens only while learning: afterwards the site manager is asked.
4. In a VSL node address the first part says where the service is now (`/agent1/light1/isOn`), which is
   no part of what is asked for: it becomes `{agent}`, so that a service that moves keeps its model.
5. What is to be executed is known by its name only: `Stop` and `Start` of the same thing are not the same.
   So `asked` puts the protocol's verb before the resource of what executes, unless it is a plain POST.
6. What is longer than `LONGEST` is cut there and marked with a digest of the whole, so that a
   hostile name costs no memory and never equals another.
"""

import re
from functools import lru_cache
from hashlib import blake2b

LONGEST = 200  # characters of one resource
COUNTER_AT = 3  # different numbers that make a counter

_PLAIN = frozenset({"POST", "post"})
_SEGMENTED = frozenset({"http", "coap", "vsl", "mqtt", "websocket", "rtsp"})
_UUID = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")
_LONG_NUMBER = re.compile(r"[0-9]{5,}")
_SHORT_NUMBER = re.compile(r"[0-9]{1,4}")
_HEX = re.compile(r"(?=[^0-9]*[0-9])[0-9a-fA-F]{12,}")


def _part(part: str) -> str:
    if _LONG_NUMBER.fullmatch(part):
        return "{number}"
    if _UUID.fullmatch(part):
        return "{uuid}"
    if _HEX.fullmatch(part):
        return "{hex}"
    return part


def shorten(text: str, longest: int = LONGEST) -> str:
    """`text` itself, or its start and a digest of the whole when it is longer than `longest`."""
    if len(text) <= longest:
        return text
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{text[: longest - 17]}~{digest}"


def generalise(protocol: str, resource: str) -> str:
    """The resource as the graph keeps it.

    >>> generalise("http", "/camera/123456/still")
    '/camera/{number}/still'
    >>> generalise("modbus", "unit 1 coils 16-31")
    'unit 1 coils 16-31'
    """
    return _generalised(protocol, resource) if len(resource) <= 8 * LONGEST else shorten(resource)


@lru_cache(maxsize=8192)
def _generalised(protocol: str, resource: str) -> str:
    if protocol in _SEGMENTED:
        parts = [_part(part) for part in resource.split("/")]
        if protocol == "vsl" and len(parts) > 2:
            parts[1] = "{agent}"
        resource = "/".join(parts)
    return shorten(resource)


def asked(protocol: str, verb: str, operation: str, resource: str) -> str:
    """What a message asks for beside its operation, as the graph keeps it.

    >>> asked("cip", "Stop", "execute", "class 0x8E instance 1")
    'Stop class 0x8E instance 1'
    >>> asked("http", "POST", "execute", "/door/1")
    '/door/1'
    """
    kept = generalise(protocol, resource)
    if operation != "execute" or verb in _PLAIN:
        return kept
    return shorten(f"{verb} {kept}".rstrip())


@lru_cache(maxsize=8192)
def widen(protocol: str, resource: str) -> str:
    """A generalised resource with short numbers replaced too.

    >>> widen("mqtt", "home/3/temperature")
    'home/{number}/temperature'
    """
    if protocol not in _SEGMENTED:
        return resource
    return "/".join("{number}" if _SHORT_NUMBER.fullmatch(part) else part for part in resource.split("/"))
