"""What the site manager reads: sentences, reasons and risks in plain words.

Knows nothing of how a question is answered. Names may come from the network: they are shortened and
made visible here, and still are text only.
"""

import unicodedata
from collections.abc import Sequence

from controller.dpi.message import Operation
from controller.model.relationship import ANY, Access, Reason, Relationship
from controller.model.service import Device, Place, Service

LONGEST_NAME = 60
MARKS = 2  # accents on one letter; more of them run over what is above
_UNSEEN = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # letters and marks that show nothing

_VERBS: dict[str, str] = {
    Operation.READ: "read",
    Operation.WRITE: "change",
    Operation.PUBLISH: "publish",
    Operation.SUBSCRIBE: "follow",
    Operation.UNSUBSCRIBE: "stop following",
    Operation.EXECUTE: "run",
    Operation.DELETE: "delete",
    Operation.REGISTER: "register",
    Operation.UNREGISTER: "unregister",
    Operation.LOCK: "reserve",
    Operation.COMMIT: "confirm changes to",
    Operation.ROLLBACK: "take back changes to",
    Operation.NOTIFY: "notify",
    Operation.CONNECT: "connect to",
    Operation.ANNOUNCE: "announce",
    Operation.LOOKUP: "look up",
    ANY: "do anything with",
}
_CHANGES = frozenset(
    {
        Operation.WRITE,
        Operation.EXECUTE,
        Operation.DELETE,
        Operation.PUBLISH,
        Operation.COMMIT,
        Operation.REGISTER,
        ANY,
    }
)
_SENSITIVE = ("lock", "door", "alarm", "heating", "valve", "gate", "garage", "oven")

_EVERYBODYS = frozenset({53, 67, 123, 547, 1883, 1900, 5353, 5355, 8883})

_EXPLANATIONS = {
    Reason.NEW_DEVICE: "This device is new here.",
    Reason.NEW_SERVICE: "A program with this name was never seen on this device.",
    Reason.NEW_PARTNER: "These two have never talked to each other.",
    Reason.NEW_OPERATION: "They know each other, but this was never asked before.",
    Reason.NEW_RESOURCE: "It did the same before, but never with this.",
}


def visible(text: str, longest: int = LONGEST_NAME) -> str:
    """`text` with what cannot be seen or reorders other text made visible, and not too long."""
    if len(text) <= longest and text.isascii() and text.isprintable():  # as most are
        return text
    shown, marks = "", 0
    for c in text[: longest + 1]:
        kind = unicodedata.category(c)[0]
        marks = marks + 1 if kind == "M" else 0
        hidden = (kind in "CZ" and c != " ") or c in _UNSEEN or marks > MARKS
        shown += f"<U+{ord(c):04X}>" if hidden else c
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def thing(access: Access) -> str:
    """What an operation is on, as short as it stays clear: the last parts of a path."""
    if access.resource in ("", ANY):
        return ""
    parts = [part for part in access.resource.split("/") if part]
    if access.protocol == "vsl" and len(parts) > 2:
        return visible("/".join(parts[2:]))
    return visible(access.resource)


def risk(access: Access, server: Device) -> str:
    """Whether it "opens", "changes" or "reads": how much harm a wrong answer could do."""
    kind = f"{server.kind} {server.name}".lower()
    if access.operation in _CHANGES:
        return "opens" if any(word in kind for word in _SENSITIVE) else "changes"
    return "reads"


def infrastructure(device: Device, service: Service | None = None) -> bool:
    """Whether it is what everybody uses (gateway, name server, clock, broker), of little interest here."""
    if device.place is Place.GROUP or device.roles:
        return True
    return service is not None and any(endpoint.port in _EVERYBODYS for endpoint in service.endpoints)


def called(device: Device) -> str:
    """A device's name in a sentence; a verb in it is set off, as what is answered stands behind the first."""
    return visible(device.name).replace("wants to", "“wants to”")


def who(service: Service, device: Device) -> str:
    """A service by the name of its device, and its own where it is one of several."""
    name = visible(device.name)
    return name if service.name in ("", device.name) else f"{name} ({visible(service.name)})"


def action(access: Access, server: Device) -> tuple[str, str]:
    """The verb and what it is done to, such as ("change", "isOpen"); the latter may be empty."""
    verb = _VERBS.get(access.operation, str(access.operation))
    what = thing(access)
    changes = access.operation in (Operation.WRITE, Operation.EXECUTE)
    if changes and "lock" in f"{server.kind} {server.name}".lower() and "open" in what.lower():
        return "lock or unlock", ""
    return verb, what


def sentence(access: Access, client: Device, server: Device) -> str:
    """For example "Washing machine wants to change isOpen of Front door"."""
    asker, asked = called(client), called(server)
    verb, what = action(access, server)
    if access.operation == Operation.CONNECT or not what:
        return f"{asker} wants to {verb} {asked}"
    if access.protocol in ("mqtt", "dns", "mdns"):
        return f"{asker} wants to {verb} {what} at {asked}"
    return f"{asker} wants to {verb} {what} of {asked}"


def group_sentence(asker: Device, relationships: Sequence[Relationship], servers: Sequence[Device]) -> str:
    """One sentence for several questions of the same asker."""
    if len(servers) == 1:
        operations = sorted({_VERBS.get(r.access.operation, str(r.access.operation)) for r in relationships})
        return (
            f"{called(asker)} wants to do {len(relationships)} new things with "
            f"{called(servers[0])}: {', '.join(operations)}"
        )
    return f"{called(asker)} wants to do {len(relationships)} new things with {_some(servers)}"


SCAN = (
    "Who tries so many at once is searching for something: a program that was told to, or somebody who "
    "looks for a way in. Deny it unless you know why it searches."
)


def scan_sentence(asker: Device, services: int, servers: Sequence[Device]) -> str:
    """One sentence for a client that has tried many services; `servers`: the devices they are on."""
    return f"{called(asker)} tries {services} services of {_some(servers)}: this looks like a scan"


def _some(devices: Sequence[Device]) -> str:
    named = ", ".join(called(device) for device in devices[:3])
    return named + (f" and {len(devices) - 3} more" if len(devices) > 3 else "")


def explanation(reason: Reason) -> str:
    return _EXPLANATIONS.get(reason, f"{reason.value.capitalize()}.")
