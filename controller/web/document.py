"""The model as a document: readable YAML that can be kept in git, edited, compared and brought back.

It holds what was learnt or decided for good; what waits for an answer, or ends by itself, is not in it.
Pure. Knows nothing of HTTP or files.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from controller.config import ConfigError, MacAddress, load
from controller.dpi.message import Operation
from controller.events import DeviceEdit, Edit, Import, ServiceEdit
from controller.model.relationship import ANY, Access, DeviceId, Endpoint, Relationship, ServiceId, Status
from controller.model.service import Admission, Place
from controller.view import SiteView
from controller.words import visible

HEAD = """\
# The communication graph of {site}, as Graphwall knows it.
# Edit it, and see what would change: graphwall import FILE
# What is learned or approved is allowed, what is denied is not; what is not listed is asked about.
"""
KEPT = (Status.LEARNED, Status.APPROVED, Status.DENIED)
LONGEST = 400  # characters of a text
_TRANSPORTS = ("tcp", "udp", "icmp", "sctp")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there


def _endpoint(text: str) -> str:
    if not re.fullmatch(rf"({'|'.join(_TRANSPORTS)})-\d{{1,5}}", text) or int(text.partition("-")[2]) > 65535:
        raise ValueError("an endpoint looks like tcp-80 or udp-5683")
    return text


def _operation(text: str) -> str:
    known = [ANY, *(operation.value for operation in Operation)]
    if text not in known:
        raise ValueError(f"is no operation; there are {', '.join(known)}")
    return text


def _service_id(text: str) -> str:
    if not re.fullmatch(r"[^/\s]+/\S+", text):
        raise ValueError("the id of a service looks like device/service")
    return text


Text = Annotated[str, Field(max_length=LONGEST)]
Id = Annotated[str, Field(min_length=1, max_length=LONGEST)]
ServiceName = Annotated[str, Field(max_length=LONGEST), AfterValidator(_service_id)]
At = Annotated[str, AfterValidator(_endpoint)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DevicePart(_Part):
    name: Text
    mac: MacAddress | None = None
    kind: Annotated[str, Field(max_length=40)] = ""
    admission: Literal["admitted", "blocked"] = "admitted"


class ServicePart(_Part):
    name: Text
    device: Id | None = None  # where it lives, if that is not in its id
    listens: tuple[At, ...] = ()


class RelationshipPart(_Part):
    client: ServiceName
    server: ServiceName
    at: At
    protocol: Text
    operation: Annotated[str, AfterValidator(_operation)]
    resource: Text = ""
    status: Literal["learned", "approved", "denied"]


class Document(_Part):
    graphwall: Literal[1]
    site: Text = ""
    devices: dict[Id, DevicePart] = {}
    services: dict[ServiceName, ServicePart] = {}
    relationships: tuple[RelationshipPart, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that an import would change. `kind`: "allow", "deny", "forget", "device" or "service"."""

    kind: str
    sentence: str


# ---------------------------------------------------------------- writing


def write(site: SiteView) -> str:
    """The document of a site; the same site gives the same text."""
    devices = {
        device.id: _without_defaults(
            name=device.name,
            mac=device.mac,
            kind=device.kind,
            admission=None if device.admission is Admission.ADMITTED else device.admission.value,
        )
        for device in sorted(site.devices.values(), key=lambda device: device.id)
        if device.place is Place.SITE and device.admission is not Admission.NEW
    }
    services = {
        view.service.id: _without_defaults(
            name=view.service.name,
            device=None if view.service.id.startswith(f"{view.service.device}/") else view.service.device,
            listens=sorted(map(str, view.service.endpoints)),
        )
        for view in sorted(site.services.values(), key=lambda view: view.service.id)
        if view.device.admission is not Admission.NEW
    }
    kept = sorted(_kept(site).values(), key=lambda r: tuple(map(str, _fields(r.access))))
    relationships = [
        _without_defaults(
            client=r.access.client,
            server=r.access.server,
            at=str(r.endpoint),
            protocol=r.access.protocol,
            operation=str(r.access.operation),
            resource=r.access.resource,
            status=r.status.value,
        )
        for r in kept
        if r.access.client in services and r.access.server in services
    ]
    whole = {
        "graphwall": 1,
        "site": site.site,
        "devices": devices,
        "services": services,
        "relationships": relationships,
    }
    text = _dump(whole, True)
    # YAML writes marks that turn the reading direction as they are; then everything odd is escaped.
    readable = all(c.isprintable() or c == "\n" for c in text)
    return HEAD.format(site=visible(site.site)) + (text if readable else _dump(whole, False))


def _dump(whole: Mapping[str, Any], plain: bool) -> str:
    return yaml.safe_dump(_plain(whole), sort_keys=False, allow_unicode=plain, width=110)


def _plain(value: Any) -> Any:
    """Only dicts, lists, strings and numbers; enumerations and new types are what they stand for."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, str) else value


def _without_defaults(**fields: Any) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value not in (None, "", [], ())}


def _fields(access: Access) -> tuple[object, ...]:
    return (access.client, access.server, access.protocol, access.operation, access.resource)


def _kept(site: SiteView) -> dict[Access, Relationship]:
    """What was learnt or decided for good."""
    return {
        view.relationship.access: view.relationship
        for view in site.relationships.values()
        if view.relationship.status in KEPT and view.relationship.until is None and not view.relationship.once
    }


# ---------------------------------------------------------------- reading and comparing


def read(text: str) -> Document:
    """The document in `text`. Raises ConfigError, naming the line and what to do."""
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            if isinstance(event, yaml.AliasEvent):
                line = 0 if event.start_mark is None else event.start_mark.line + 1
                raise ConfigError(
                    f"model, line {line}: aliases (*{event.anchor}) are not used here: write it out"
                )
    except yaml.YAMLError:
        pass  # load() says it in words
    return load(Document, text, "model", _LOADER)


def _access(part: RelationshipPart) -> Access:
    operations = {operation.value: operation for operation in Operation}
    return Access(
        ServiceId(part.client),
        ServiceId(part.server),
        part.protocol,
        operations.get(part.operation, part.operation),
        part.resource,
    )


def _parsed(text: str) -> Endpoint:
    transport, _, port = text.partition("-")
    return Endpoint(transport, int(port))


def difference(site: SiteView, wanted: Document, by: str) -> Import:
    """What has to change to make a site what a document says."""
    return Import(
        0,
        tuple(_relationships(site, wanted)),
        tuple(_devices(site, wanted)),
        tuple(_services(site, wanted)),
        by,
    )


def _devices(site: SiteView, wanted: Document) -> Iterator[DeviceEdit]:
    for name, part in wanted.devices.items():
        old = site.devices.get(DeviceId(name))
        blocked = part.admission == "blocked"
        if old is not None:
            admission = Admission.BLOCKED if blocked else Admission.ADMITTED
            if (old.name, old.kind, old.admission) == (part.name, part.kind, admission):
                continue
        yield DeviceEdit(DeviceId(name), part.name, part.kind, blocked, part.mac)


def _services(site: SiteView, wanted: Document) -> Iterator[ServiceEdit]:
    for name, part in wanted.services.items():
        old = site.services.get(ServiceId(name))
        device = DeviceId(part.device or name.split("/", 1)[0])
        endpoints = frozenset(map(_parsed, part.listens))
        if old is not None:
            was = old.service
            if (was.name, was.device, was.endpoints) == (part.name, device, endpoints):
                continue
        yield ServiceEdit(ServiceId(name), device, part.name, endpoints)


def _relationships(site: SiteView, wanted: Document) -> Iterator[Edit]:
    now = {view.relationship.access: view.relationship for view in site.relationships.values()}
    kept = _kept(site)
    listed: set[Access] = set()
    for part in wanted.relationships:
        access, status = _access(part), Status(part.status)
        if access in listed:
            raise ConfigError(f"model: {_said(access)} is listed twice: keep one")
        listed.add(access)
        old = now.get(access)
        if access in kept and old is not None and old.status is status:
            continue
        yield Edit(access, None if old is None else old.status, status, _parsed(part.at))
    for access, old in kept.items():
        if access not in listed and all(_exported(site, end) for end in (access.client, access.server)):
            yield Edit(access, old.status, None, old.endpoint)


def _exported(site: SiteView, service: ServiceId) -> bool:
    view = site.services.get(service)
    return view is not None and view.device.admission is not Admission.NEW


def _said(access: Access) -> str:
    operation = "anything" if access.operation == ANY else access.operation
    what = f" {visible(access.resource)}" if access.resource not in ("", ANY) else ""
    return f"{visible(access.client)} → {visible(access.server)}: {operation}{what}"


def changes(site: SiteView, command: Import) -> tuple[Change, ...]:
    """An import in sentences."""
    return tuple(_changes(site, command))


def _changes(site: SiteView, command: Import) -> Iterator[Change]:
    for device in command.devices:
        name, old = visible(device.name), site.devices.get(device.id)
        if old is None:
            yield Change("device", f"{name} ({visible(device.id)}, {device.mac}) becomes known")
            continue
        if old.name != device.name:
            yield Change("device", f"{visible(old.name)} is called {name}")
        if old.kind != device.kind:
            yield Change("device", f"{name} is a {visible(device.kind) or 'device of unknown kind'}")
        if (old.admission is Admission.BLOCKED) != device.blocked or old.admission is Admission.NEW:
            yield Change("device", f"{name} is {'blocked' if device.blocked else 'admitted'}")
    for service in command.services:
        known = site.services.get(service.id)
        text = "becomes known" if known is None else f"is called {visible(service.name)}"
        if known is not None and known.service.name == service.name:
            text = f"listens at {', '.join(sorted(map(str, service.endpoints))) or 'nothing'}"
        if known is not None and known.service.device != service.device:
            text = f"lives on {visible(service.device)}"
        yield Change("service", f"{visible(service.id)} {text}")
    for edit in command.relationships:
        was = "" if edit.before is None else f" (was {edit.before.value})"
        if edit.after is None:
            yield Change("forget", f"{_said(edit.access)} is forgotten, and asked about again{was}")
        elif edit.after.allows:
            yield Change("allow", f"{_said(edit.access)} is allowed{was}")
        else:
            yield Change("deny", f"{_said(edit.access)} is denied{was}")


def fingerprint(command: Import) -> str:
    """What stands for exactly these changes."""
    parts: tuple[DeviceEdit | ServiceEdit | Edit, ...] = (
        *command.devices,
        *command.services,
        *command.relationships,
    )
    text = "\n".join(sorted(_stable(part) for part in parts))
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=10).hexdigest()


def _stable(part: DeviceEdit | ServiceEdit | Edit) -> str:
    if isinstance(part, ServiceEdit):
        return repr((part.id, part.device, part.name, sorted(map(str, part.endpoints))))
    return repr(part)
