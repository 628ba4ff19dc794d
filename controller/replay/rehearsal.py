"""The firewall and the inspection, around a switch in memory, in the time of a recording.

Carries out the firewall's effects as the running system does: flows reach the switch, the table reaches
the inspection, and both say so at once. Knows nothing of files, or of how what came of it is shown.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import ip_address
from struct import Struct
from typing import Final, NamedTuple

from controller.captures.dissection import asks
from controller.captures.link import NOBODY
from controller.config import Config, DeviceConfig, Learning, SwitchConfig
from controller.dpi.craft import checksum
from controller.dpi.frame import ICMP, ICMPV6, IPV4, IPV6, TCP, Headers, parse
from controller.dpi.message import Malformed, Message
from controller.events import (
    Applied,
    AuditEntry,
    Done,
    Event,
    FlowGone,
    FromInspector,
    InspectorUp,
    PacketIn,
    Persist,
    PortInfo,
    Record,
    SendFlows,
    SendFrame,
    SwitchUp,
    Tick,
    UpdateTable,
)
from controller.firewall.firewall import Firewall
from controller.flows.flow import CONTROLLER_PORT, Packet
from controller.inspector.judgement.conversations import Carried
from controller.inspector.judgement.inspection import Inspection
from controller.inspector.judgement.judge import Judge
from controller.replay.survey import NOWHERE, hardware, is_group, receiver, sender
from controller.replay.switch import Switch
from controller.verdicts import SetNetworks, VerdictTable
from controller.view import SiteView

SWITCH: Final = 1  # datapath id of the switch in memory
INSPECTION, COPY = 1, 2  # its ports; hosts have those from FIRST on
FIRST: Final = 3
EVER: Final = 1e10  # seconds that learning takes when somebody else ends it
_BEFORE: Final = 2.0  # seconds that ports are up before the first frame, so that hosts are looked for there
_PORT_MAC: Final = "02:67:00:00:00:00"
_ETHERTYPE: Final = Struct("!H")

Hear = Callable[[FromInspector, float], None]
Note = Callable[[AuditEntry], None]


class _Ends(NamedTuple):
    """Who sends a frame and who gets it, as the switch is to see it."""

    source: str
    destination: str
    port: int
    link: bytes  # the two hardware addresses as a frame begins with them
    same: bool  # the frame has them already


class Rehearsal:
    """Frames or accesses in, in the order of time; `view` shows what the site would look like.

    `hosts` are the hardware addresses that will appear, `relays` those that pass on other hosts' frames.
    `hear` is told what the inspector reports, `note` each line of the log.
    """

    def __init__(
        self,
        config: Config,
        saved: Record,
        begin: float,
        hear: Hear,
        note: Note,
        hosts: Iterable[str] = (),
        relays: frozenset[str] = frozenset(),
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.now = begin
        self._hear = hear
        self._note = note
        self._ports: Mapping[str, int] = {mac: n for n, mac in enumerate(sorted(hosts), FIRST)}
        self._relays = relays
        self._ends: dict[tuple[str, str | None, str, str | None], _Ends] = {}
        self._introduced: set[tuple[str, str]] = set()
        self._introducing = False
        self._table = VerdictTable([SetNetworks(config.networks)])  # to ask what is inside
        self._switch = Switch()
        self._inspection = Inspection(None, config.reveal_intent, recorded=asks)
        self._judge: Judge | None = None  # of accesses that were recorded without frames
        self._kept = Kept(saved)
        self._start(config)

    def _start(self, config: Config) -> None:
        """A controller with what was kept; switch and inspection connect to it."""
        config = _in_memory(config)
        self._config = config
        self._firewall = Firewall(config, self._kept.record(), b"replay")
        numbers = {INSPECTION: "s-gwi", COPY: "s-gwc"} | {n: f"p{n}" for n in self._ports.values()}
        ports = tuple(PortInfo(n, name, _PORT_MAC, up=True) for n, name in numbers.items())
        now, self.now = self.now, self.now - _BEFORE
        self._happens(SwitchUp(SWITCH, ports, tuple(self._switch.flows.values())))
        self._happens(InspectorUp(1))
        self.now = now
        self._happens(Tick())

    # Time

    def tick(self, now: float) -> None:
        """Time has come to `now`; it never goes back."""
        self.now = max(self.now, now)
        for flow in self._switch.ended(self.now):
            self._happens(FlowGone(SWITCH, flow))
        self._happens(Tick())
        for event in self._inspection.tick(self.now).events:
            self._told(event)
        if self._judge is not None:
            for event in self._judge.observations.due(self.now):
                self._told(event)

    def learnt(self, config: Config) -> None:
        """All learning ends here: the controller starts again with what it has learnt."""
        self._finish()
        self._kept.graduate()
        self._start(config)

    def end(self) -> None:
        """Nothing more will come: what waits to be reported is."""
        for _ in range(2):
            self.tick(self.now + 1.0)
        self._finish()

    def _finish(self) -> None:
        for effect in self._firewall.stop(self.now):
            if isinstance(effect, Persist):
                self._keep(effect.record)

    def view(self) -> SiteView:
        """The site as it is."""
        return self._firewall.view(self.now)

    def record(self) -> Record:
        """What a controller would have stored; devices may turn up at any port of any switch."""
        found = self._kept.record()
        return replace(found, devices=tuple(replace(d, binding=None) for d in found.devices))

    @property
    def judged(self) -> Counter[str]:
        """The inspection's counters."""
        return self._inspection.counters

    # The controller

    def _happens(self, event: Event) -> None:
        for effect in self._firewall.handle(event, self.now):
            match effect:
                case SendFlows():
                    self._switch.apply(effect.change, self.now)
                    self._happens(Done(SWITCH, effect.ticket))
                case UpdateTable():
                    self._update(effect)
                    self._happens(Applied(effect.version))
                case SendFrame(_, frame, None, in_port) if in_port is not None and not self._introducing:
                    self._again(frame, in_port)
                case Persist():
                    self._keep(effect.record)

    def _update(self, update: UpdateTable) -> None:
        if update.whole:
            self._inspection.replace(VerdictTable(update.deltas))
            if self._judge is not None:
                self._judge.replace(VerdictTable(update.deltas))
        else:
            self._inspection.update(update.deltas)
            if self._judge is not None:
                self._judge.apply(update.deltas)

    def _keep(self, record: Record) -> None:
        self._kept.put(record)
        for entry in record.audit:
            self._note(entry)

    def _told(self, event: FromInspector) -> None:
        self._hear(event, self.now)
        self._happens(event)

    # Frames

    def frame(self, raw: bytes, now: float) -> None:
        """One frame as it was recorded, from Ethernet on."""
        self.now = max(self.now, now)
        self.counters["frames"] += 1
        try:
            headers = parse(raw)
        except Malformed:
            found = _mended(raw)
            if found is None:
                self.counters["malformed frames"] += 1
                return
            raw, headers = found
        ends = self._who(headers)
        if headers.tags:  # a device at its own port does not see them
            raw = raw[:12] + raw[headers.ip_offset - 2 :]
            headers = parse(raw)
        if not ends.same:
            raw = ends.link + raw[12:]
            headers = headers._replace(src_mac=ends.source, dst_mac=ends.destination)
        if headers.fragment and self._config.fragments == "drop":
            self.counters["fragments"] += 1
            return
        self._through(raw, headers, ends.port)

    def _again(self, raw: bytes, in_port: int) -> None:
        try:
            headers = parse(raw)
        except Malformed:
            return
        self._through(raw, headers, in_port)

    def _through(self, raw: bytes, headers: Headers, in_port: int) -> None:
        """The way of a frame through the switch."""
        protocol = headers.protocol
        packet = Packet(
            in_port,
            headers.src_mac,
            headers.dst_mac,
            headers.ethertype,
            False,
            protocol,
            headers.src_ip,
            headers.dst_ip,
            headers.src_port,
            headers.dst_port,
            headers.kind if protocol in (ICMP, ICMPV6) else None,
            headers.target,
            headers.told_mac,
            headers.tcp_flags if protocol == TCP else None,
        )
        ports = self._switch.fate(packet, self.now).ports
        if not ports:
            self.counters["dropped by a flow"] += 1
        for port in ports:
            if port == CONTROLLER_PORT:
                self._happens(PacketIn(SWITCH, in_port, raw))
            elif port in (INSPECTION, COPY):
                outcome = self._inspection.frame(raw, port == COPY, self.now)
                if protocol != TCP and raw in outcome.send:  # it goes on, and may be answered
                    self._switch.fate(replace(packet, in_port=INSPECTION), self.now)
                for event in outcome.events:
                    self._told(event)

    # Hosts

    def _who(self, headers: Headers) -> _Ends:
        key = (headers.src_mac, headers.src_ip, headers.dst_mac, headers.dst_ip)
        known = self._ends.get(key)
        if known is None:
            if len(self._ends) > 100_000:
                self._ends.clear()
            known = self._ends[key] = self._meet(headers)
        return known

    def _meet(self, headers: Headers) -> _Ends:
        """Both ends of a frame; a host that the switch has not met is introduced to it."""
        source = self._host(sender(headers), headers.src_ip, headers.src_mac)
        to_all = int(headers.dst_mac[:2], 16) & 1
        destination = headers.dst_mac
        if not to_all:
            destination = self._host(receiver(headers), headers.dst_ip, headers.dst_mac)
        link = bytes.fromhex(f"{destination}{source}".replace(":", ""))
        same = (source, destination) == (headers.src_mac, headers.dst_mac)
        return _Ends(source, destination, self._ports.get(source, FIRST), link, same)

    def _host(self, mac: str, address: str | None, written: str) -> str:
        if address is None or address in NOWHERE or is_group(address):
            return written
        inside = self._table.inside(address)
        name = hardware(mac, address, inside, self._relays)
        known = (name, address if inside else "")
        if name != NOBODY and known not in self._introduced and name in self._ports:
            self._introduced.add(known)
            self._introducing = True
            self._happens(PacketIn(SWITCH, self._ports[name], _hello(name, address)))
            self._introducing = False
        return name

    # Accesses that were recorded without frames

    def access(self, client: str, server: str, port: int, message: Message, now: float) -> bool:
        """One message between two addresses, judged without a frame of it; whether it would have passed."""
        self.now = max(self.now, now)
        if self._judge is None:
            self._judge = Judge(VerdictTable())
            self._happens(InspectorUp(1))
        context = self._judge.context(client, server, "tcp", port, False)
        carried = Carried(self._judge.version)
        hearing = self._judge.hear(context, (message,), carried, self.now, forwarded=False)
        for event in hearing.events:
            self._told(event)
        return hearing.allowed


class Kept:
    """What outlives the controller: records, the newest of each thing."""

    def __init__(self, saved: Record) -> None:
        self._devices = {d.id: replace(d, binding=None) for d in saved.devices}
        self._services = {s.id: s for s in saved.services}
        self._relationships = {r.access: r for r in saved.relationships}
        self._decisions = {d.id: d for d in saved.decisions}
        self._audit: list[AuditEntry] = []

    def put(self, record: Record) -> None:
        for access in record.forgotten:
            self._relationships.pop(access, None)
        gone = record.forgotten_devices
        self._devices = {name: d for name, d in self._devices.items() if name not in gone}
        self._services = {name: s for name, s in self._services.items() if s.device not in gone}
        for number in record.forgotten_decisions:
            self._decisions.pop(number, None)
        self._devices.update((d.id, d) for d in record.devices)
        self._services.update((s.id, s) for s in record.services)
        self._relationships.update((r.access, r) for r in record.relationships)
        self._decisions.update((d.id, d) for d in record.decisions)
        self._audit.extend(record.audit)

    def graduate(self) -> None:
        """Nothing and nobody is learning any more."""
        self._devices = {name: replace(d, young=False) for name, d in self._devices.items()}
        self._services = {name: replace(s, learning=False) for name, s in self._services.items()}

    def record(self) -> Record:
        return Record(
            tuple(self._devices.values()),
            tuple(self._services.values()),
            tuple(self._relationships.values()),
            (),
            tuple(self._decisions.values()),
            tuple(self._audit),
        )


def learning(config: Config) -> Config:
    """The same site while everything that comes is learnt, until somebody ends it."""
    ever = Learning(minimum=EVER, quiet=EVER, maximum=EVER)
    return config.model_copy(update={"learning": ever, "admission": "automatic"})


def _in_memory(config: Config) -> Config:
    """The same site at the switch in memory, where nothing is known of ports."""
    anywhere: tuple[DeviceConfig, ...] = tuple(
        d.model_copy(update={"switch": None, "port": None}) for d in config.devices
    )
    switches = (SwitchConfig(name="capture", dpid=SWITCH, trunks=()),)
    return config.model_copy(update={"devices": anywhere, "switches": switches})


def _mended(raw: bytes) -> tuple[bytes, Headers] | None:
    """A frame that was recorded before its sender's network card had put in the IPv4 checksum."""
    try:
        headers = parse(raw, captured=True)
    except Malformed:
        return None
    at, end = headers.ip_offset, headers.transport_offset
    made = bytearray(raw)
    made[at + 10 : at + 12] = b"\0\0"
    made[at + 10 : at + 12] = _ETHERTYPE.pack(checksum(bytes(made[at:end])))
    return bytes(made), headers


def _hello(mac: str, address: str) -> bytes:
    """The shortest packet from a host: one without a payload."""
    hardware_address = bytes.fromhex(mac.replace(":", ""))
    ip = ip_address(address)
    link = b"\x02\x67\0\0\0\0" + hardware_address
    if ip.version == 6:
        return link + _ETHERTYPE.pack(IPV6) + b"\x60\0\0\0\0\0\x3b\x40" + ip.packed + ip.packed
    bare = b"\x45\0\0\x14\0\0\0\0\x40\xfe\0\0" + ip.packed + ip.packed
    return link + _ETHERTYPE.pack(IPV4) + bare[:10] + _ETHERTYPE.pack(checksum(bare)) + bare[12:]
