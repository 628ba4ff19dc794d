"""Where devices are and who may join: frames from unknown sources, leases, and moves.

The first frame of a device tells its port, MAC address and address; from then on the switch admits
that binding only. A second device that claims what is bound already is a spoofer, and is told of.
Knows nothing of services, relationships or flows.
"""

from dataclasses import replace
from ipaddress import ip_address

from controller.config import Config, DeviceConfig
from controller.dpi import dhcp, frame
from controller.dpi.message import Malformed
from controller.events import LeaseSeen, PacketIn, Report, SendFrame
from controller.fabric import Fabric
from controller.model.relationship import DeviceId, Reason
from controller.model.service import Admission, Binding, Device, Place
from controller.state import State
from controller.words import visible

SAY_AGAIN = 60.0  # seconds between two log lines on the same offence


class Hosts:
    """Learns devices into the state."""

    def __init__(self, state: State, fabric: Fabric) -> None:
        self._state = state
        self._fabric = fabric
        self._said: dict[tuple[str, str], float] = {}
        self._configured = {d.mac: d for d in state.config.devices}

    @property
    def _config(self) -> Config:
        return self._state.config

    def configure(self, now: float) -> None:
        """Put what site.yaml says of devices into the model; it wins over what was learnt."""
        for wanted in self._config.devices:
            old = self._state.site.by_mac(wanted.mac)
            self._state.put_device(
                self._described(old or self._fresh(DeviceId(wanted.id), wanted.mac, now), wanted)
            )

    def _described(self, device: Device, wanted: DeviceConfig) -> Device:
        binding = device.binding
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
            name=f"New device {mac[-5:].replace(':', '')}",
            mac=mac,
            admission=Admission.ADMITTED if automatic else Admission.NEW,
            young=automatic,
            first_seen=now,
            last_seen=now,
        )

    def packet_in(self, event: PacketIn, now: float) -> tuple[Report | SendFrame, ...]:
        """A frame whose source is not bound where it came in."""
        try:
            headers = frame.parse(event.frame)
        except Malformed:
            self._state.counters["malformed packet-ins"] += 1
            return ()
        mac = headers.src_mac
        if int(mac[:2], 16) & 1 or mac == "00:00:00:00:00:00" or headers.vlan is not None:
            return ()
        if not self._fabric.is_edge(event.switch, event.port):
            return ()
        here = Binding(event.switch, event.port)
        address = headers.src_ip if headers.src_ip not in (None, "0.0.0.0", "::") else None
        device = self._state.site.by_mac(mac)
        if device is None:
            if len(self._state.site.devices) >= self._config.devices_at_most:
                return self._say(
                    "too many devices", mac, f"there are {self._config.devices_at_most} already", now
                )
            device = replace(self._fresh(DeviceId(mac.replace(":", "-")), mac, now), binding=here)
            self._state.put_device(device)
            self._state.note("device", f"{device.name} has appeared ({mac})", now, subject=device.id)
        elif device.binding != here:
            if not self._may_move(device, here):
                return self._spoofed(mac, event, f"{visible(device.name)} is at another port", now)
            device = replace(device, binding=here)
            self._state.put_device(device)
            self._state.note("device", f"{visible(device.name)} is at a new port", now, subject=device.id)
        name = _host_name(event.frame, headers)
        if name and not device.named_by_manager and mac not in self._configured and device.name != name:
            device = replace(device, name=name)
            self._state.put_device(device)
        if address is not None and address not in device.addresses:
            refusal = self._may_hold(device, address)
            if refusal is not None:
                return self._spoofed(mac, event, refusal, now)
            device = replace(device, addresses=device.addresses | {address}, last_seen=now)
            self._state.put_device(device)
        if device.admission is not Admission.ADMITTED:
            return ()
        return (SendFrame(event.switch, event.frame, None, event.port),)

    def _may_move(self, device: Device, here: Binding) -> bool:
        """A device may turn up elsewhere once its old port is dead, unless site.yaml ties it down."""
        wanted = self._configured.get(device.mac or "")
        if device.binding is None:
            return wanted is None or wanted.port is None
        if wanted is not None and wanted.port is not None:
            return False
        old = device.binding
        return not self._fabric.port_is_up(old.switch, old.port) or not self._fabric.is_edge(
            old.switch, old.port
        )

    def _may_hold(self, device: Device, address: str) -> str | None:
        """Why a device may not use an address; None if it may."""
        holder = self._state.site.by_address(address)
        if holder is not None and holder.id != device.id and holder.place is Place.SITE:
            return f"{address} is held by {visible(holder.name)}"
        if not self._state.table.inside(address):
            return f"{address} is no address of this site"
        if self._config.bindings == "static":
            return f"{address} is not in site.yaml, and bindings are static"
        if self._config.bindings == "dhcp" and not ip_address(address).is_link_local:
            return f"{address} was not given out by DHCP"
        if len(device.addresses) >= self._config.addresses_per_device:
            return f"it has {len(device.addresses)} addresses already"
        return None

    def _spoofed(self, mac: str, event: PacketIn, why: str, now: float) -> tuple[Report, ...]:
        self._state.counters["spoofed frames"] += 1
        text = f"a frame from {mac} at port {event.port} of switch {event.switch} was dropped: {why}"
        return self._say(Reason.SPOOFED.value, mac, text, now)

    def _say(self, what: str, mac: str, text: str, now: float) -> tuple[Report, ...]:
        last = self._said.get((what, mac))
        if last is not None and now - last < SAY_AGAIN:
            return ()
        if len(self._said) > 1000:
            self._said.clear()
        self._said[what, mac] = now
        self._state.note(what, text, now)
        return (Report("warning", f"{what}: {text}"),)

    def lease(self, event: LeaseSeen, now: float) -> None:
        """The DHCP server has said who has which address, and the client how it is called."""
        device = self._state.site.by_mac(event.mac)
        if device is None:
            return
        changed = device
        if event.host_name and not device.named_by_manager and device.mac not in self._configured:
            changed = replace(changed, name=visible(event.host_name))
        if event.vendor_class and not device.vendor:
            changed = replace(changed, vendor=visible(event.vendor_class))
        if event.assigned and event.assigned not in device.addresses:
            holder = self._state.site.by_address(event.assigned)
            if holder is not None and self._config.bindings != "static":
                # The server gives an address to another only when the lease of the first is over.
                self._state.put_device(replace(holder, addresses=holder.addresses - {event.assigned}))
            if self._config.bindings != "static":
                changed = replace(changed, addresses=changed.addresses | {event.assigned})
        if changed != device:
            self._state.put_device(replace(changed, last_seen=now))


def _host_name(raw: bytes, headers: frame.Headers) -> str | None:
    """What a DHCP client calls itself, if this is a DHCP request."""
    if (headers.src_port, headers.dst_port) != (68, 67):
        return None
    try:
        lease = dhcp.lease(raw[headers.payload_offset : headers.payload_end])
    except Malformed:
        return None
    return visible(lease.host_name) if lease is not None and lease.host_name else None
