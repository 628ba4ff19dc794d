"""The programs that a topology can place on its hosts, with their options.

Knows no protocol library, so that a program starts quickly and a topology is checked without any of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, Literal


@dataclass(frozen=True, slots=True)
class Options:
    """What a program can be told; unknown keys and wrong types are refused when the topology is read."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, slots=True)
class KnowledgeAgent(Options):
    """`number` N makes it agentN on port 8080 + N; `encoding` is how it speaks to other agents."""

    number: int
    encoding: Literal["cbor", "json"] = "cbor"


@dataclass(frozen=True, slots=True)
class DoorLock(Options):
    open: bool = False


@dataclass(frozen=True, slots=True)
class Battery(Options):
    """Charge in percent, rising `step` every `interval` seconds; once full it stays so for `hold` seconds."""

    level: int = 0
    step: int = 5
    interval: float = 1.0
    hold: float = 10.0


@dataclass(frozen=True, slots=True)
class WashingMachine(Options):
    """Starts when a battery is full. `mode` read: asks every `interval` seconds; subscribe: is told."""

    interval: float = 1.0
    duration: float = 5.0
    mode: Literal["read", "subscribe"] = "read"


@dataclass(frozen=True, slots=True)
class MaliciousWashingMachine(WashingMachine):
    """As the real one, but `delay` seconds after its start it opens every door that it finds."""

    delay: float = 1.0
    pause: float = 2.0


@dataclass(frozen=True, slots=True)
class Mosquitto(Options):
    port: int = 1883


@dataclass(frozen=True, slots=True)
class Dnsmasq(Options):
    """DHCP from `first` to `last`, and DNS for `domain` and for the names behind the gateway."""

    first: str
    last: str
    domain: str = "home.arpa"
    lease: str = "1h"


@dataclass(frozen=True, slots=True)
class Thermostat(Options):
    """MQTT 5: publishes `topic`/temperature and is told `topic`/target."""

    broker: str
    topic: str
    interval: float = 1.0


@dataclass(frozen=True, slots=True)
class WindowSensor(Options):
    """MQTT 3.1.1: publishes open or closed on `topic`, retained, with a last will."""

    broker: str
    topic: str
    interval: float = 2.0


@dataclass(frozen=True, slots=True)
class PhoneApp(Options):
    """MQTT: shows what comes on `topics`; sets `target` now and then."""

    broker: str
    topics: str = "home/#"
    target: str = "home/living-room/thermostat/target"
    interval: float = 5.0


@dataclass(frozen=True, slots=True)
class Lamp(Options):
    on: bool = False


@dataclass(frozen=True, slots=True)
class WallSwitch(Options):
    """CoAP: switches `lamp` every `interval` seconds, as a person would."""

    lamp: str
    interval: float = 3.0


@dataclass(frozen=True, slots=True)
class Camera(Options):
    """HTTP server with snapshots; asks `cloud` (HTTPS) for newer firmware every `interval` seconds."""

    cloud: str
    interval: float = 10.0


@dataclass(frozen=True, slots=True)
class Tablet(Options):
    """HTTP client: fetches the snapshot of `camera`; reads the weather at `weather` (plain HTTP)."""

    camera: str
    weather: str
    interval: float = 3.0


@dataclass(frozen=True, slots=True)
class Cloud(Options):
    """HTTPS and HTTP server of the simulated internet."""

    version: str = "1.0.3"


@dataclass(frozen=True, slots=True)
class TimeServer(Options):
    """SNTP (RFC 4330), port 123."""


@dataclass(frozen=True, slots=True)
class Plc(Options):
    """Modbus/TCP server (port 502) that drives a conveyor.

    Coil 0: motor. Holding register 0: wanted speed. Input registers 0, 1, 2: speed, temperature, pieces.
    """

    speed: int = 40
    interval: float = 0.5


@dataclass(frozen=True, slots=True)
class Hmi(Options):
    """Modbus client: shows the registers of all `plcs`, and starts motors and sets speeds on command."""

    plcs: list[str] = field(default_factory=list)
    interval: float = 1.0


@dataclass(frozen=True, slots=True)
class Historian(Options):
    """Modbus client: records the input registers of all `plcs`."""

    plcs: list[str] = field(default_factory=list)
    interval: float = 2.0


@dataclass(frozen=True, slots=True)
class EngineeringStation(Options):
    """Modbus client: reads the identification of all `plcs`; writes coils and registers on command."""

    plcs: list[str] = field(default_factory=list)
    interval: float = 5.0


class Needs(StrEnum):
    """What must be on a host for a program to work there."""

    NOTHING = "nothing"
    AGENT = "a knowledge agent"


@dataclass(frozen=True, slots=True)
class Program:
    """`command`: empty for the Python module of the same name in this package, else a Debian command."""

    options: type[Options]
    needs: Needs = Needs.NOTHING
    command: str = ""


PROGRAMS: Mapping[str, Program] = MappingProxyType(
    {
        "knowledge_agent": Program(KnowledgeAgent),
        "door_lock": Program(DoorLock, Needs.AGENT),
        "battery": Program(Battery, Needs.AGENT),
        "washing_machine": Program(WashingMachine, Needs.AGENT),
        "malicious_washing_machine": Program(MaliciousWashingMachine, Needs.AGENT),
        "mosquitto": Program(Mosquitto, command="mosquitto"),
        "dnsmasq": Program(Dnsmasq, command="dnsmasq"),
        "thermostat": Program(Thermostat),
        "window_sensor": Program(WindowSensor),
        "phone_app": Program(PhoneApp),
        "lamp": Program(Lamp),
        "wall_switch": Program(WallSwitch),
        "camera": Program(Camera),
        "tablet": Program(Tablet),
        "cloud": Program(Cloud),
        "time_server": Program(TimeServer),
        "plc": Program(Plc),
        "hmi": Program(Hmi),
        "historian": Program(Historian),
        "engineering_station": Program(EngineeringStation),
    }
)


@dataclass(frozen=True, slots=True)
class Spec:
    """What a starting program is told, as JSON. `agent` is the port of its host's knowledge agent, or 0."""

    service: str
    host: str
    version: str
    directory: str  # of the laboratory: log/, state/, command/ and certificates are below
    agent: int
    options: Mapping[str, object]
