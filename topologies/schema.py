"""topologies/*.yaml as checked, frozen values; every error names file, line and remedy.

Knows nothing of Mininet or of processes.
"""

import dataclasses
import difflib
import ipaddress
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from controller.config import Address, ConfigError, Identifier, MacAddress, Network, Role, load
from topologies.services.programs import PROGRAMS, KnowledgeAgent, Needs, Options

T = TypeVar("T")
Several = Annotated[tuple[T, ...], Field(strict=False)]  # YAML has lists only
Place = tuple[int | str, ...]

HERE = Path(__file__).parent


def _address_or_dhcp(value: str) -> str:
    if value == "dhcp":
        return value
    try:
        return str(ipaddress.IPv4Address(value))
    except ValueError:
        raise ValueError(f"'{value}' is neither an IPv4 address nor the word dhcp") from None


def _interface(value: str) -> str:
    try:
        found = ipaddress.IPv6Interface(value)
    except ValueError:
        found = None
    if found is None or "/" not in value:
        raise ValueError("an IPv6 address with its prefix length looks like fd00:77::10/64")
    return str(found)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Version(_Section):
    """Another version of a service: another program, or other options."""

    program: str
    options: dict[str, Any] = {}


class Service(_Section):
    """A program that runs on a host. What `program` and `options` say is version "1"."""

    name: Identifier
    human: str = ""
    program: str
    options: dict[str, Any] = {}
    versions: dict[str, Version] = {}
    start: bool = True

    def version(self, version: str) -> Version | None:
        """What runs as `version`, or None when there is no such version."""
        return (
            Version(program=self.program, options=self.options)
            if version == "1"
            else self.versions.get(version)
        )


class Host(_Section):
    """A device on a switch, or one behind the router (then it plays the internet)."""

    name: Identifier
    human: str = ""
    vendor: str = ""
    kind: str = ""
    switch: str | None = None
    behind: str | None = None
    mac: MacAddress
    ipv4: Annotated[str, AfterValidator(_address_or_dhcp)]
    ipv6: Annotated[str, AfterValidator(_interface)] | None = None
    roles: Several[Role] = ()
    names: Several[str] = ()  # DNS names, for a host behind the router
    joins: Literal["now", "later"] = "now"
    services: Several[Service] = ()

    @property
    def agent(self) -> KnowledgeAgent | None:
        """The options of the knowledge agent on this host."""
        for service in self.services:
            if service.program == "knowledge_agent":
                return KnowledgeAgent(**service.options)
        return None


class Switch(_Section):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]{0,3}$")]  # interface names are short
    dpid: Annotated[int, Field(ge=1, lt=2**64)]


class Link(_Section):
    """A trunk between two switches."""

    between: Annotated[tuple[str, str], Field(strict=False)]


class Topology(_Section):
    """A network, its devices and the services on them."""

    name: str
    description: str = ""
    network: Network
    internet: Network | None = None  # where hosts behind the router live; the router has its first address
    switches: Annotated[tuple[Switch, ...], Field(strict=False, min_length=1)]
    links: Several[Link] = ()
    hosts: Annotated[tuple[Host, ...], Field(strict=False, min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [
            InitErrorDetails(
                type=PydanticCustomError("topology", "{text}", {"text": text}), loc=where, input=None
            )
            for where, text in _problems(self)
        ]
        if problems:
            raise ValidationError.from_exception_data("Topology", problems)
        return self

    @property
    def router(self) -> Host | None:
        """The host that leads out of the network."""
        return next((h for h in self.hosts if "router" in h.roles), None)

    @property
    def outside(self) -> tuple[Host, ...]:
        """The hosts behind the router."""
        return tuple(h for h in self.hosts if h.behind)

    def length_at(self, host: Host) -> int:
        """The prefix length of the network that the host is in."""
        return ipaddress.ip_network(
            self.internet if host.behind and self.internet else self.network
        ).prefixlen

    @property
    def gateway(self) -> str | None:
        """The router's address outside, which hosts behind it send to."""
        return str(next(ipaddress.ip_network(self.internet).hosts())) if self.internet else None

    def host(self, name: str) -> Host:
        """Raises KeyError when there is none of that name."""
        return next((h for h in self.hosts if h.name == name), None) or _missing(
            "host", name, self.host_names
        )

    @property
    def host_names(self) -> tuple[str, ...]:
        return tuple(h.name for h in self.hosts)

    def trunk_port(self, index: int, switch: str) -> int:
        """The OpenFlow port of link number `index` on `switch`: trunks have the lowest port numbers."""
        return 1 + [i for i, link in enumerate(self.links) if switch in link.between].index(index)

    def port(self, host: str) -> int:
        """The OpenFlow port that `host` is on, on its switch: after the trunks, in the order of the file."""
        switch = self.host(host).switch
        trunks = sum(switch in link.between for link in self.links)
        return 1 + trunks + [h.name for h in self.hosts if h.switch == switch].index(host)


def _missing(what: str, name: str, known: Sequence[str]) -> Any:
    raise KeyError(f"there is no {what} {name!r}; {_among(name, known)}")


def _among(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known) or 'none'}"


def _problems(topology: Topology) -> Iterator[tuple[Place, str]]:
    """Where parts of a topology do not fit together, and what to do about it."""
    yield from _doubles(topology)
    switches = [s.name for s in topology.switches]
    for i, link in enumerate(topology.links):
        for end in link.between:
            if end not in switches:
                yield ("links", i, "between"), f"there is no switch {end!r}; {_among(end, switches)}"
        if link.between[0] == link.between[1]:
            yield ("links", i, "between"), "a link joins two different switches"
    network = ipaddress.ip_network(topology.network)
    for i, host in enumerate(topology.hosts):
        where: Place = ("hosts", i)
        if (host.switch is None) == (host.behind is None):
            yield where, f"host {host.name} needs either switch: or behind:, not both and not none"
        elif host.switch is not None and host.switch not in switches:
            yield (*where, "switch"), f"there is no switch {host.switch!r}; {_among(host.switch, switches)}"
        elif host.behind is not None:
            yield from _behind(topology, host, where)
        if host.ipv4 == "dhcp":
            if not any(s.program == "dnsmasq" for h in topology.hosts for s in h.services):
                yield (*where, "ipv4"), "no host runs the program dnsmasq, so nobody gives addresses by DHCP"
        elif host.switch and ipaddress.ip_address(host.ipv4) not in network:
            yield (*where, "ipv4"), f"{host.ipv4} is not in network {topology.network}"
        for j, service in enumerate(host.services):
            yield from _service_problems(host, service, (*where, "services", j))


def _doubles(topology: Topology) -> Iterator[tuple[Place, str]]:
    places: list[tuple[str, object, Place]] = []
    for i, switch in enumerate(topology.switches):
        places += [
            ("name", switch.name, ("switches", i, "name")),
            ("dpid", switch.dpid, ("switches", i, "dpid")),
        ]
    for i, host in enumerate(topology.hosts):
        places += [("name", host.name, ("hosts", i, "name")), ("mac", host.mac, ("hosts", i, "mac"))]
        if host.ipv4 != "dhcp":
            places.append(("ipv4", host.ipv4, ("hosts", i, "ipv4")))
        for j, service in enumerate(host.services):
            where: Place = ("hosts", i, "services", j)
            places.append(("service name", service.name, (*where, "name")))
            if service.program == "knowledge_agent" and "number" in service.options:
                places.append(("agent number", service.options["number"], (*where, "options", "number")))
    seen: set[tuple[str, object]] = set()
    for what, value, place in places:
        if (what, value) in seen:
            yield place, f"{what} {value} is there twice; each needs one of its own"
        seen.add((what, value))


def _behind(topology: Topology, host: Host, where: Place) -> Iterator[tuple[Place, str]]:
    router = topology.router
    if router is None or router.name != host.behind:
        yield (*where, "behind"), f"{host.behind} is no host with the role router"
    elif topology.internet is None:
        yield (*where, "behind"), "the topology needs internet: with a network for it, such as 203.0.113.0/24"
    elif host.ipv4 == "dhcp" or ipaddress.ip_address(host.ipv4) not in ipaddress.ip_network(
        topology.internet
    ):
        yield (*where, "ipv4"), f"a host behind the router needs an address in {topology.internet}"
    elif host.ipv4 == topology.gateway:
        yield (*where, "ipv4"), f"{host.ipv4} is the router's own address there"
    elif len(topology.outside) > 1 and topology.outside[0] is not host:
        yield (*where, "behind"), "one host can be behind the router; give it more services or names instead"


def _service_problems(host: Host, service: Service, where: Place) -> Iterator[tuple[Place, str]]:
    yield from _program_problems(service.program, service.options, where)
    for version, described in service.versions.items():
        place = (*where, "versions", version)
        if version == "1":
            yield place, 'version "1" is the service itself; call other versions "2" and so on'
        yield from _program_problems(described.program, described.options, place)
    program = PROGRAMS.get(service.program)
    has_agent = any(s.program == "knowledge_agent" for s in host.services)
    if program and program.needs is Needs.AGENT and not has_agent:
        yield (
            where,
            f"service {service.name} needs a service with program knowledge_agent on host {host.name}",
        )


def _program_problems(name: str, options: dict[str, Any], where: Place) -> Iterator[tuple[Place, str]]:
    program = PROGRAMS.get(name)
    if program is None:
        yield (*where, "program"), f"there is no program {name!r}; {_among(name, sorted(PROGRAMS))}"
        return
    try:
        options_of(name, options)
    except ValidationError as failure:
        for error in failure.errors(include_url=False):
            place = (*where, "options", *error["loc"])
            if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
                known = [f.name for f in dataclasses.fields(program.options)]
                yield place, f"is no option of program {name}; {_among(str(error['loc'][-1]), known)}"
            elif error["type"] in ("missing", "missing_argument"):
                yield (*where, "options"), f"program {name} needs option {error['loc'][-1]}"
            else:
                yield place, error["msg"]


def options_of(program: str, options: dict[str, Any]) -> Options:
    """The options of a program with its defaults filled in; raises pydantic's ValidationError."""
    return TypeAdapter(PROGRAMS[program].options).validate_json(json.dumps(options, default=str))


def find(name: str) -> Path:
    """The file that `name` means: a path, or the name of one of the laboratory's own topologies.

    Raises ConfigError naming those that there are.
    """
    own = sorted(p.name for p in HERE.glob("*.yaml"))
    for path in (Path(name), HERE / name, HERE / f"{name}.yaml"):
        if path.is_file():
            return path
    raise ConfigError(f"{name}: no such topology; give a file, or one of: {', '.join(own)}")


def read(name: str) -> Topology:
    """The topology in the file that `name` means; raises ConfigError."""
    path = find(name)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}; correct its name or its rights"
        ) from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text ({error.reason}); save it as UTF-8") from None
    return parse(text, str(path))


def parse(text: str, name: str) -> Topology:
    """The topology that `text` describes; raises ConfigError naming `name`, line and remedy."""
    return load(Topology, text, name)


__all__ = [
    "Address",
    "ConfigError",
    "Host",
    "Link",
    "Service",
    "Switch",
    "Topology",
    "Version",
    "parse",
    "read",
]
