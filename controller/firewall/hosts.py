"""Where devices are and who may join: frames from unknown sources, leases, and moves.

The first frame of a device tells its port, MAC address and address; from then on the switch admits
that binding only. A second device that claims what is bound already is a spoofer, and is told of.
Knows nothing of services, relationships or flows.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from ipaddress import ip_address

from controller.config import Config, DeviceConfig
from controller.dpi import dhcp, frame
from controller.dpi.message import Malformed
from controller.events import LeaseSeen, PacketIn, Report, SendFrame
from controller.firewall.fabric import Fabric
from controller.firewall.state import State
from controller.flows.compile import family
from controller.model.relationship import DeviceId, Reason
from controller.model.service import Admission, Binding, Certainty, Device, Place
from controller.words import visible

SAY_AGAIN = 60.0  # seconds between two log lines on the same offence
SAID_AT_MOST = 1000  # offences that are told apart
NEW_PER_PORT = 32  # devices that wait for the site manager at one port
SWITCHES_BACK = 60.0  # seconds after a start in which a switch may still connect with its devices
REPLACE_EVERY = 10.0  # seconds between two addresses that a device gives up for a new one
SEND_AGAIN = 1.0  # seconds in which one frame is sent through the tables once
SENT_AT_MOST = 256
NOWHERE = ("0.0.0.0", "::")  # noqa: S104  # what sends from here has no address yet


@dataclass(frozen=True, slots=True)
class Silence:
    """Frames from there tell nothing: the switch should not ask about them again for a while.

    So that a flood of them does not take the place of honest newcomers. `mac` None: of anybody who is not
    known at this port. `waits`: the device that waits to be admitted, if it is one.
    """

    switch: int
    port: int
    mac: str | None = None
    waits: DeviceId | None = None


class Hosts:
    """Learns devices into the state."""

    def __init__(self, state: State, fabric: Fabric) -> None:
        self._state = state
        self._fabric = fabric
        self._said: dict[tuple[str, str], float] = {}
        self._configured: Mapping[str, DeviceConfig] = {d.mac: d for d in state.config.devices}
        self._learnt_at: dict[
            tuple[DeviceId, str], float
        ] = {}  # when a device was first heard from an address
        self._replaced_at: dict[DeviceId, float] = {}
        self._sent: OrderedDict[bytes, float] = OrderedDict()
        self._started: float | None = None

    @property
    def _config(self) -> Config:
        return self._state.config

    # site.yaml

    def configure(self, now: float) -> None:
        """Put what site.yaml says of devices into the model; it wins over what was learnt."""
        site = self._state.site
        if self._started is None:
            self._started = now
        for wanted in self._config.devices:
            for address in wanted.addresses:
                holder = site.by_address(address)
                if holder is not None and holder.mac != wanted.mac and holder.id != wanted.id:
                    self._state.put_device(replace(holder, addresses=holder.addresses - {address}))
            old = site.by_mac(wanted.mac) or site.devices.get(DeviceId(wanted.id))
            device = self._described(old or self._fresh(DeviceId(wanted.id), wanted.mac, now), wanted)
            if device != old:
                self._state.put_device(device)
        for device in list(site.devices.values()):
            if device.roles and device.mac not in self._configured:  # roles are given by site.yaml only
                self._state.put_device(replace(device, roles=frozenset()))

    def _described(self, device: Device, wanted: DeviceConfig) -> Device:
        binding = device.binding if device.mac == wanted.mac else None
        switch = next((s.dpid for s in self._config.switches if s.name == wanted.switch), None)
        port = wanted.port
        if switch is not None and isinstance(port, str):
            port = self._fabric.port_named(switch, port)
        if switch is not None and isinstance(port, int):
            binding = Binding(switch, port)
        young = device.young
        admission = device.admission
        if wanted.admitted and admission is Admission.NEW:
            admission, young = Admission.ADMITTED, True
        return replace(
            device,
            name=device.name if device.named_by_manager else (wanted.name or wanted.id),
            certainty=Certainty.GIVEN,
            mac=wanted.mac,
            kind=wanted.kind or device.kind,
            vendor=wanted.vendor or device.vendor,
            roles=frozenset(wanted.roles),
            addresses=device.addresses | frozenset(wanted.addresses),
            binding=binding,
            admission=admission,
            young=young,
        )

    def _fresh(self, name: DeviceId, mac: str, now: float) -> Device:
        automatic = self._config.admission == "automatic"
        return Device(
            id=name,
            number=self._state.site.next_number(),
            place=Place.SITE,
            name=_unnamed(mac),
            mac=mac,
            admission=Admission.ADMITTED if automatic else Admission.NEW,
            young=automatic,
            first_seen=now,
            last_seen=now,
        )

    # Frames that a switch could not place

    def packet_in(self, event: PacketIn, now: float) -> tuple[Report | SendFrame | Silence, ...]:
        """A frame whose source is not bound where it came in."""
        try:
            headers = frame.parse(event.frame)
        except Malformed:
            self._state.counters["malformed packet-ins"] += 1
            return ()
        mac = headers.src_mac
        if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00" or headers.tags:
            return ()
        if not self._fabric.is_edge(event.switch, event.port):
            return ()
        here = Binding(event.switch, event.port)
        device = before = self._state.site.by_mac(mac)
        if device is None:
            refusal = self._no_room(here)
            if refusal is not None:
                said = self._say("too many devices", f"{event.switch} {event.port}", refusal, now)
                return (*said, Silence(event.switch, event.port))
            device = replace(self._fresh(DeviceId(mac.replace(":", "-")), mac, now), binding=here)
            self._state.put_device(device)
            self._state.note("device", f"{device.name} has appeared ({mac})", now, subject=device.id)
        elif device.binding != here:
            if not self._may_move(device, now):
                return self._spoofed(mac, event, f"{visible(device.name)} is at another port", now)
            device = replace(device, binding=here)
            self._state.put_device(device)
            self._state.note("device", f"{visible(device.name)} is at a new port", now, subject=device.id)
        if headers.told_mac not in (None, mac):
            return self._spoofed(mac, event, f"it says that it is {headers.told_mac}", now)
        device = self._called(device, _host_name(event.frame, headers), now)
        address = headers.src_ip if headers.src_ip not in (None, *NOWHERE) else None
        if address is not None and self._comes_through(device, address):
            address = None
        if address is not None and address not in device.addresses:
            refusal = self._may_hold(device, address)
            if refusal is not None:
                return self._spoofed(mac, event, refusal, now)
            device = self._hold(device, address, now)
        if device.admission is not Admission.ADMITTED:
            return self._waits(device, before, event)
        useless = device == before if address is None else address not in device.addresses
        if useless:  # nothing was learnt: it would only come back
            self._state.counters["frames of no use"] += 1
            return (Silence(event.switch, event.port, mac),)
        return self._send_on(event, now)

    def _waits(self, device: Device, before: Device | None, event: PacketIn) -> tuple[Silence, ...]:
        """A device that waits for the site manager has said something; what it says again is not heard."""
        if before is None or replace(before, last_seen=0.0) != replace(device, last_seen=0.0):
            return ()
        self._state.counters["frames of no use"] += 1
        return (Silence(event.switch, event.port, device.mac, device.id),)

    def _no_room(self, here: Binding) -> str | None:
        devices = self._state.site.devices
        if len(devices) >= self._config.devices_at_most:
            return f"there are {self._config.devices_at_most} already"
        waiting = sum(d.binding == here and d.admission is Admission.NEW for d in devices.values())
        if waiting >= NEW_PER_PORT:
            return f"{waiting} wait for your answer at port {here.port} of switch {here.switch} already"
        return None

    def _may_move(self, device: Device, now: float) -> bool:
        """A device may turn up elsewhere once its old port is dead, unless site.yaml ties it down."""
        wanted = self._configured.get(device.mac or "")
        if wanted is not None and wanted.port is not None:
            return False
        old = device.binding
        if old is None:
            return True
        if old.switch not in self._fabric.switches:  # after a start: it may only not be back yet
            return self._started is not None and now - self._started > SWITCHES_BACK
        return not self._fabric.port_is_up(old.switch, old.port) or not self._fabric.is_edge(
            old.switch, old.port
        )

    def _comes_through(self, device: Device, address: str) -> bool:
        """Whether a packet is from outside and a router has brought it."""
        return "router" in device.roles and not self._state.table.inside(address)

    def _may_hold(self, device: Device, address: str) -> str | None:
        """Why a device may not use an address; None if it may."""
        holder = self._state.site.by_address(address)
        if holder is not None and holder.id != device.id and holder.place is Place.SITE:
            waits = holder.admission is not Admission.ADMITTED and not self._tied(holder, address)
            if not waits or device.admission is not Admission.ADMITTED:
                return f"{address} is held by {visible(holder.name)}"
        if not self._state.table.inside(address):
            return f"{address} is no address of this site"
        if self._config.bindings == "static":
            return f"{address} is not in site.yaml, and bindings are static"
        if self._config.bindings == "dhcp" and not ip_address(address).is_link_local:
            return f"{address} was not given out by DHCP"
        return None

    def _tied(self, device: Device, address: str) -> bool:
        wanted = self._configured.get(device.mac or "")
        return wanted is not None and address in wanted.addresses

    def _hold(self, device: Device, address: str, now: float) -> Device:
        """The device with one more address, which whoever held it before gives up.

        A device that has as many as it may gives up the one it was first heard from (IPv6 privacy
        addresses change every day); if it does so too often, the new one is not taken.
        """
        holder = self._state.site.by_address(address)
        if holder is not None and holder.id != device.id and holder.place is Place.SITE:
            self._state.put_device(replace(holder, addresses=holder.addresses - {address}))
        addresses = device.addresses
        if len(addresses) >= self._config.addresses_per_device:
            given_up = self._replaceable(device, address)
            if given_up is None or now - self._replaced_at.get(device.id, float("-inf")) < REPLACE_EVERY:
                self._state.counters["addresses beyond the limit"] += 1
                return device
            self._replaced_at[device.id] = now
            self._learnt_at.pop((device.id, given_up), None)
            addresses -= {given_up}
        self._learnt_at[device.id, address] = now
        device = replace(device, addresses=addresses | {address}, last_seen=now)
        self._state.put_device(device)
        return device

    def _replaceable(self, device: Device, address: str) -> str | None:
        alike = [a for a in device.addresses if family(a) == family(address) and not self._tied(device, a)]
        return min(
            alike,
            key=lambda a: (ip_address(a).is_link_local, self._learnt_at.get((device.id, a), 0.0), a),
            default=None,
        )

    def _called(self, device: Device, name: str | None, now: float) -> Device:
        """The device by what it calls itself, until the site manager has admitted it by a name.

        Afterwards it could take the name of another to be taken for it.
        """
        settled = device.admission is not Admission.NEW and device.name != _unnamed(device.mac or "")
        if name and not settled and not device.named_by_manager and device.mac not in self._configured:
            taken = {d.name.casefold() for d in self._state.site.devices.values() if d.id != device.id}
            if name.casefold() in taken:
                name = f"{name} ({(device.mac or '')[-5:]})"
            if name != device.name:
                device = replace(device, name=name, certainty=Certainty.ANNOUNCED)
                self._state.put_device(device)
        if device.admission is Admission.NEW and now - device.last_seen > 1.0:
            device = replace(device, last_seen=now)
            self._state.put_device(device)
        return device

    def _send_on(self, event: PacketIn, now: float) -> tuple[SendFrame, ...]:
        """Through the tables again, which know the device now; never one frame again and again."""
        key = blake2b(event.frame, digest_size=8, key=b"%d %d" % (event.switch, event.port)).digest()
        if 0 <= now - self._sent.get(key, -SEND_AGAIN) < SEND_AGAIN:
            return ()
        self._sent[key] = now
        self._sent.move_to_end(key)
        if len(self._sent) > SENT_AT_MOST:
            self._sent.popitem(last=False)
        return (SendFrame(event.switch, event.frame, None, event.port),)

    def _spoofed(self, mac: str, event: PacketIn, why: str, now: float) -> tuple[Report | Silence, ...]:
        self._state.counters["spoofed frames"] += 1
        text = f"a frame from {mac} at port {event.port} of switch {event.switch} was dropped: {why}"
        return (*self._say(Reason.SPOOFED.value, mac, text, now), Silence(event.switch, event.port, mac))

    def _say(self, what: str, about: str, text: str, now: float) -> tuple[Report, ...]:
        """Say something, but not again and again; in a flood of offences not each of them."""
        last = self._said.get((what, about))
        if last is not None and 0 <= now - last < SAY_AGAIN:
            return ()
        if len(self._said) >= SAID_AT_MOST:
            self._said = {key: at for key, at in self._said.items() if 0 <= now - at < SAY_AGAIN}
            if len(self._said) >= SAID_AT_MOST:
                return ()
        self._said[what, about] = now
        self._state.note(what, text, now)
        return (Report("warning", f"{what}: {text}"),)

    # Leases

    def lease(self, event: LeaseSeen, now: float) -> None:
        """The DHCP server has said who has which address, and the client how it is called."""
        device = self._state.site.by_mac(event.mac)
        if device is None:
            return
        device = self._called(device, visible(event.host_name) if event.host_name else None, now)
        if event.vendor_class and not device.vendor:
            device = replace(device, vendor=visible(event.vendor_class, 40))
            self._state.put_device(device)
        address = event.assigned
        if address is None or address in device.addresses or self._config.bindings == "static":
            return
        holder = self._state.site.by_address(address)
        if self._state.table.inside(address) and not (holder is not None and self._tied(holder, address)):
            # The server gives an address to another only when the lease of the first is over.
            self._hold(device, address, now)


def _unnamed(mac: str) -> str:
    return f"New device {mac[-5:].replace(':', '')}"


def _host_name(raw: bytes, headers: frame.Headers) -> str | None:
    """What a DHCP client calls itself, if this is a DHCP request."""
    if (headers.src_port, headers.dst_port) != (68, 67):
        return None
    try:
        lease = dhcp.lease(raw[headers.payload_offset : headers.payload_end])
    except Malformed:
        return None
    return visible(lease.host_name) if lease is not None and lease.host_name else None
