"""Sites of any size, made up: devices with two services each, and who talks to whom."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from controller.config import parse
from controller.dpi.message import Operation
from controller.events import PortInfo, Record, SwitchUp
from controller.firewall.firewall import Firewall
from controller.flows.flow import Flow
from controller.model.relationship import (
    Access,
    DeviceId,
    Endpoint,
    Reason,
    Relationship,
    ServiceId,
    Status,
)
from controller.model.service import MAIN, Admission, Binding, Device, Place, Service
from controller.store.store import FILE, Store

SWITCH, PORT = 1, 1
HTTP = Endpoint("tcp", 80)
SERVICES_EACH = 2
BEGAN = 1_700_000_000.0
NETWORK = "10.0.0.0/8"


def _device(number: int, binding: Binding) -> Device:
    low = number + 1
    address = f"10.{low >> 16 & 255}.{low >> 8 & 255}.{low & 255}"
    return Device(
        DeviceId(f"device-{number}"),
        number + 1,
        Place.SITE,
        f"Device {number}",
        mac=f"02:00:00:{low >> 16 & 255:02x}:{low >> 8 & 255:02x}:{low & 255:02x}",
        addresses=frozenset({address}),
        binding=binding,
        admission=Admission.ADMITTED,
        first_seen=BEGAN,
        last_seen=BEGAN + number / 7,
    )


def site(
    services: int,
    relationships: int,
    pending: int = 0,
    port: int = PORT,
    place: Callable[[int], Binding] | None = None,
) -> Record:
    """So many services on half as many devices, and as many relationships, all different.

    The devices are behind one port, or where `place` puts them by their number.

    All are learnt, but for the last ones, which wait for an answer.
    """
    devices = tuple(
        _device(number, Binding(SWITCH, port) if place is None else place(number))
        for number in range(services // SERVICES_EACH)
    )
    known = tuple(
        Service(
            ServiceId(f"{device.id}/{own}"),
            device.id,
            own,
            f"{device.name} {own}",
            endpoints=endpoints,
            first_seen=BEGAN,
            last_seen=BEGAN,
            graduated=BEGAN + 60,
        )
        for device in devices
        for own, endpoints in ((MAIN, frozenset[Endpoint]()), (str(HTTP), frozenset({HTTP})))
    )
    many = len(devices)

    def edge(number: int) -> Relationship:
        asking, lap = number % many, number // many
        asked = (asking + 1 + lap % (many - 1)) % many
        access = Access(
            ServiceId(f"device-{asking}/{MAIN}"),
            ServiceId(f"device-{asked}/{HTTP}"),
            "http",
            Operation.READ,
            f"/things/{lap // (many - 1)}/value",
        )
        seen = BEGAN + number / 3
        status = Status.PENDING if number >= relationships - pending else Status.LEARNED
        return Relationship(
            access, status, Reason.LEARNING, HTTP, "GET", seen, seen + 0.5, allowed=300 + number
        )

    return Record(devices, known, tuple(edge(number) for number in range(relationships)))


def keep(folder: Path, record: Record) -> None:
    """Write it to the store in a state folder that nobody uses."""
    store = Store(folder / FILE)
    store.write(record)
    store.close()


def numbered(device: Device, number: int) -> Device:
    """The same device by another number, as two of a site must not share one."""
    return replace(device, number=number)


def switch_up() -> SwitchUp:
    """The switch that all of them are on, without any flow of ours."""
    names = {PORT: "devices", 2: "s1-gwi0", 3: "s1-gwc0"}
    ports = tuple(PortInfo(n, name, f"02:ff:00:00:00:0{n}", up=True) for n, name in names.items())
    return SwitchUp(SWITCH, ports)


def compiled(record: Record) -> tuple[Flow, ...]:
    """The flows of that switch for a site."""
    firewall = Firewall(parse(f"networks: [{NETWORK}]\nbindings: static\n", "site.yaml"), record, b"secret")
    firewall.handle(switch_up(), BEGAN + 1_000_000)
    return firewall.wanted(SWITCH)
