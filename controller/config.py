"""site.yaml as a frozen, checked value; errors name file, line and remedy.

Knows nothing of files, OpenFlow or the lab: it is given text and gives a Config.
"""

import ipaddress
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

M = TypeVar("M", bound=BaseModel)


class ConfigError(Exception):
    """The site description cannot be used. The message says what, where and what to do."""


_INTEGER = "tag:yaml.org,2002:int"
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")


def seconds(value: object) -> float:
    """Seconds of a duration such as "90 s", "5m" or "1.5 h".

    Raises ValueError with an example when it is not one.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    found = _DURATION.fullmatch(str(value).strip())
    if not found:
        raise ValueError("a duration looks like 30s, 5m, 2h or 7d")
    return float(found[1]) * _UNITS[found[2]]


def _mac(value: str) -> str:
    text = value.lower().replace("-", ":")
    if not re.fullmatch(r"([0-9a-f]{2}:){5}[0-9a-f]{2}", text):
        raise ValueError("a MAC address looks like 02:00:00:00:00:01")
    if int(text[:2], 16) & 1:
        raise ValueError("this MAC address is one of a group; a device's own has an even second digit")
    return text


def _address(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _network(value: str) -> str:
    return str(ipaddress.ip_network(value))


def _identifier(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", value):
        raise ValueError("an id has lower-case letters, digits and hyphens only")
    return value


Duration = Annotated[float, BeforeValidator(seconds), Field(ge=0)]
MacAddress = Annotated[str, AfterValidator(_mac)]
Address = Annotated[str, AfterValidator(_address)]
Network = Annotated[str, AfterValidator(_network)]
Identifier = Annotated[str, AfterValidator(_identifier)]
Port = Annotated[int, Field(ge=0, le=65535)]  # 0: any free port
Role = Literal["dhcp", "dns", "router", "ntp"]


_PLACE = "place"


def _at(message: str, *place: int | str) -> PydanticCustomError:
    """What a check of the whole has found wrong at one place of it."""
    return PydanticCustomError("value_error", "{message}", {"message": message, _PLACE: place})


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)


class OpenFlow(_Section):
    """Where switches connect to; TLS is on when key, certificate and CA are given."""

    listen: Address = "127.0.0.1"
    port: Port = 6653
    tls_port: Port = 6654
    key: str | None = None
    certificate: str | None = None
    ca: str | None = None

    @model_validator(mode="after")
    def _all_or_none(self) -> "OpenFlow":
        given = [self.key, self.certificate, self.ca]
        if any(given) and not all(given):
            raise ValueError("TLS needs all of key, certificate and ca")
        return self


class Api(_Section):
    """Where the page and the API listen.

    Beyond this machine they are served with TLS: with the certificate given here, or one made at first
    start. `url`: how others reach them, where that differs from `listen` (behind a proxy).
    """

    listen: Address = "127.0.0.1"
    port: Port = 8080
    certificate: str | None = None
    key: str | None = None
    url: Annotated[str, Field(pattern=r"^https?://[^/\s]+$")] | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> "Api":
        if (self.certificate is None) != (self.key is None):
            raise ValueError("TLS needs both certificate and key")
        return self


class Learning(_Section):
    """How long a service's learning phase lasts, in seconds."""

    minimum: Duration = 600.0
    quiet: Duration = 3600.0
    maximum: Duration = 604800.0

    @model_validator(mode="after")
    def _ordered(self) -> "Learning":
        if self.minimum > self.maximum:
            raise ValueError("learning.minimum is longer than learning.maximum")
        return self


class DeviceConfig(_Section):
    """A device that is known before it speaks: its name, and where it may speak from."""

    id: Identifier
    name: str = Field(default="", max_length=80)
    mac: MacAddress
    kind: str = Field(default="", max_length=40)
    vendor: str = Field(default="", max_length=40)
    switch: str | None = None
    port: int | str | None = None  # OpenFlow port number or interface name
    addresses: tuple[Address, ...] = ()
    roles: tuple[Role, ...] = ()
    admitted: bool = True


class SwitchConfig(_Section):
    """A switch by its OpenFlow datapath id.

    `trunks`: port numbers or interface names that may lead to other switches, found by LLDP. Left
    out, any port may. Naming them keeps two devices that relay LLDP to each other from passing for
    switches.
    """

    name: Identifier
    dpid: Annotated[int, Field(ge=1, lt=2**64)]
    trunks: tuple[int | str, ...] | None = None


class PairConfig(_Section):
    """Two devices whose traffic is watched (never delayed) instead of inspected."""

    client: Identifier
    server: Identifier


class Config(_Section):
    """Everything the owner can choose. Every key has a safe default."""

    site: str = Field(default="My site", max_length=80)
    state: str = "/var/lib/graphwall"
    openflow: OpenFlow = OpenFlow()
    api: Api = Api()
    switches: tuple[SwitchConfig, ...] = ()
    devices: tuple[DeviceConfig, ...] = ()
    networks: tuple[Network, ...] = (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",  # of those who found no DHCP server
        "fe80::/10",
        "fc00::/7",
    )
    admission: Literal["ask", "automatic"] = "ask"
    bindings: Literal["static", "dhcp", "first use"] = "first use"
    learning: Learning = Learning()
    reveal_intent: bool = True
    fragments: Literal["drop", "allow"] = "drop"
    watch: tuple[PairConfig, ...] = ()
    addresses_per_device: Annotated[int, Field(ge=1, le=64)] = 16
    devices_at_most: Annotated[int, Field(ge=1, le=100000)] = 4096
    connection_idle: Duration = 30.0  # a per-connection forward flow that idles so long is removed
    refusal: Duration = 5.0  # how long a drop flow answers repeats of a denied message

    @model_validator(mode="after")
    def _references(self) -> "Config":
        lists: tuple[tuple[str, str, str, list[object]], ...] = (
            ("devices", "device", "id", [d.id for d in self.devices]),
            ("devices", "device", "mac", [d.mac for d in self.devices]),
            ("switches", "switch", "name", [s.name for s in self.switches]),
            ("switches", "switch", "dpid", [s.dpid for s in self.switches]),
        )
        for section, one, key, names in lists:
            for i, name in enumerate(names):
                if name in names[:i]:
                    said = f"{one} {key} {name} is there twice; each needs one of its own"
                    raise _at(said, section, i, key)
        holders: dict[str, str] = {}
        known = {s.name for s in self.switches}
        for i, device in enumerate(self.devices):
            for j, address in enumerate(device.addresses):
                if (holder := holders.setdefault(address, device.id)) != device.id:
                    said = f"address {address} is given to {holder} and to {device.id}"
                    raise _at(said, "devices", i, "addresses", j)
            if device.switch is not None and device.switch not in known:
                said = f"device {device.id} is on switch {device.switch}, which switches: does not list"
                raise _at(said, "devices", i, "switch")
        ids = {d.id for d in self.devices}
        for i, pair in enumerate(self.watch):
            for key, end in (("client", pair.client), ("server", pair.server)):
                if end not in ids:
                    raise _at(f"watch names device {end}, which devices: does not list", "watch", i, key)
        return self


class _Loader(yaml.SafeLoader):
    """YAML 1.1 without two of its surprises.

    Of a key that is there twice the last would win; a MAC address of decimal digits alone would be a
    number of base sixty.
    """

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML's own name and kind
        first: [(tag, known) for tag, known in resolvers if tag != _INTEGER]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value} is there twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    _INTEGER,
    re.compile(r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)


def _line_of(node: yaml.Node | None, path: Sequence[int | str]) -> int:
    """The 1-based line of the deepest part of `path` that the text has."""
    line = 1
    for step in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(step)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _remedy(error: Any, fields: Sequence[str]) -> str:
    if error["type"] == "extra_forbidden":
        return f"is not a key here; known keys: {', '.join(fields)}"
    return str(error["msg"]).removeprefix("Value error, ")


def _fields_at(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """The keys that are allowed where `path` points into."""
    current: type[BaseModel] = model
    for step in path:
        field = current.model_fields.get(str(step))
        if field is None:
            continue
        inner = [field.annotation, *getattr(field.annotation, "__args__", ())]
        current = next((t for t in inner if isinstance(t, type) and issubclass(t, BaseModel)), current)
    return list(current.model_fields)


def load(model: type[M], text: str, name: str, loader: Any = _Loader) -> M:
    """`text` (YAML) checked against `model`.

    Raises ConfigError naming `name`, the line, and what to do. Used for site.yaml, for topologies and
    for models alike. `loader`: of PyYAML, one that makes plain values only.
    """
    try:
        data = yaml.load(text, loader)  # noqa: S506  # as said: plain values only
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else 1
        raise ConfigError(
            f"{name}, line {line}: not YAML that can be used: {getattr(error, 'problem', None) or error}"
        ) from None
    except (ValueError, RecursionError) as error:  # a date that does not exist; brackets without end
        raise ConfigError(f"{name}: not YAML that can be used: {error}") from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{name}, line 1: expected keys and values, such as 'site: My home'")
    try:
        return model.model_validate(data)
    except ValidationError as failure:
        node = yaml.compose(text, Loader=loader)
        lines = []
        for found in failure.errors(include_url=False):
            place = found.get("ctx", {}).get(_PLACE, found["loc"])
            path = [step for step in place if not str(step).startswith("function-")]
            where = ".".join(str(step) for step in path) or "the whole"
            fields = _fields_at(model, path[:-1])
            lines.append(f"{name}, line {_line_of(node, path)}: {where}: {_remedy(found, fields)}")
        raise ConfigError("\n".join(lines)) from None


def parse(text: str, name: str) -> Config:
    """The Config that `text` describes; raises ConfigError."""
    return load(Config, text, name)
