"""Switches, their ports, and the links between them: what is an edge port, what is a trunk.

Knows nothing of devices' addresses, services or flows. LLDP frames are signed, so that no device
can make its port a trunk (IEEE 802.1AB has no such protection).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from controller.dpi import lldp
from controller.events import PortInfo, SendFrame
from controller.firewall.topology import Link, Topology
from controller.flows.compile import SwitchPorts

INSPECTION_SUFFIX = "-gwi"
COPY_SUFFIX = "-gwc"
LLDP_EVERY = 1.0  # seconds between the rounds
LINK_LOST_AFTER = 3.5  # seconds without LLDP, if it was sent meanwhile
ROUNDS_LOST = 3  # rounds of LLDP that were sent in vain
EDGE_AFTER = 1.2  # seconds that a port is up before a silent one counts as an edge port
LOCAL_PORT = 0xFFFFFFFE

_announced = lru_cache(maxsize=4096)(lldp.encode)  # the same in every round


@dataclass(slots=True)
class _Switch:
    connected: bool = False
    ports: dict[int, PortInfo] = field(default_factory=dict)
    up_since: dict[int, float] = field(default_factory=dict)


class Fabric:
    """The network of switches at this moment.

    `trunks`: by switch, the ports (numbers or names) that may lead to other switches; any where a
    switch is not listed.
    """

    def __init__(self, secret: bytes, trunks: Mapping[int, tuple[int | str, ...]] | None = None) -> None:
        self._secret = secret
        self._may_be_trunk = trunks or {}
        self._switches: dict[int, _Switch] = {}
        self._seen: dict[Link, tuple[float, int]] = {}  # when, and after how many rounds
        self._rounds = 0
        self._edges: frozenset[tuple[int, int]] = frozenset()
        self._layouts: dict[int, SwitchPorts] = {}
        self._next_round = 0.0
        self.topology = Topology()

    def __contains__(self, switch: int) -> bool:
        return self.connected(switch)

    @property
    def switches(self) -> tuple[int, ...]:
        return tuple(self._switches)

    def connected(self, switch: int) -> bool:
        return switch in self._switches and self._switches[switch].connected

    def ports(self, switch: int) -> dict[int, PortInfo]:
        return self._switches[switch].ports

    def port_is_up(self, switch: int, port: int) -> bool:
        known = self._switches.get(switch)
        return known is not None and port in known.ports and known.ports[port].up

    def port_named(self, switch: int, name: str) -> int | None:
        known = self._switches.get(switch)
        return next((p.number for p in known.ports.values() if p.name == name), None) if known else None

    def _special(self, switch: int, suffix: str) -> int | None:
        ports = self._switches[switch].ports.values()
        return next((p.number for p in ports if p.name.endswith(suffix)), None)

    def interfaces(self) -> tuple[tuple[int, str, str], ...]:
        """(switch, inspection interface, copy interface) on the inspector's side."""
        found = []
        for switch, known in self._switches.items():
            names = [p.name for p in known.ports.values()]
            inspect = next((n for n in names if n.endswith(INSPECTION_SUFFIX)), None)
            copy = next((n for n in names if n.endswith(COPY_SUFFIX)), None)
            if inspect and copy:
                found.append((switch, f"{inspect}0", f"{copy}0"))
        return tuple(found)

    def is_edge(self, switch: int, port: int) -> bool:
        """Whether devices may be attached at this port."""
        return (switch, port) in self._edges

    def layout(self, switch: int) -> SwitchPorts:
        """The ports of a switch by what they are for."""
        return self._layouts[switch]

    def _layout(self, switch: int) -> SwitchPorts:
        trunks = frozenset(port for at, port in self.topology.trunks if at == switch)
        edges = frozenset(port for at, port in self._edges if at == switch)
        return SwitchPorts(
            switch=switch,
            inspection=self._special(switch, INSPECTION_SUFFIX),
            copy=self._special(switch, COPY_SUFFIX),
            trunks=trunks,
            flood=edges | self.topology.tree_ports(switch),
        )

    def links_of(self, switch: int) -> tuple[tuple[int, int, int], ...]:
        """(port, other switch, its port) of every cable of a switch."""
        found = []
        for link in sorted(self.topology.links):
            for (at, port), (other, other_port) in (link.ends(), link.ends()[::-1]):
                if at == switch:
                    found.append((port, other, other_port))
        return tuple(found)

    # What happens; each returns whether the layout of the network has changed.

    def switch_up(self, switch: int, ports: tuple[PortInfo, ...], now: float) -> bool:
        known = self._switches.setdefault(switch, _Switch())
        known.connected = True
        known.ports = {p.number: p for p in ports if p.number != LOCAL_PORT}
        known.up_since = {p.number: known.up_since.get(p.number, now) for p in ports if p.up}
        self._next_round = now
        self._drop_links(switch, lambda port: not self.port_is_up(switch, port))
        self._rebuild(now)
        return True

    def _drop_links(self, switch: int, dead: Callable[[int], bool]) -> None:
        for link in list(self._seen):
            if any(at == switch and dead(port) for at, port in link.ends()):
                del self._seen[link]

    def switch_down(self, switch: int) -> None:
        """The connection is gone; the switch itself may go on by its flows."""
        if switch in self._switches:
            self._switches[switch].connected = False

    def port_changed(self, switch: int, port: PortInfo, gone: bool, now: float) -> bool:
        known = self._switches.get(switch)
        if known is None or port.number == LOCAL_PORT:
            return False
        if gone:
            known.ports.pop(port.number, None)
        else:
            known.ports[port.number] = port
        if gone or not port.up:
            known.up_since.pop(port.number, None)
            self._drop_links(switch, lambda number: number == port.number)
        else:
            known.up_since.setdefault(port.number, now)
            self._next_round = now
        return self._rebuild(now)

    def lldp_seen(self, switch: int, port: int, frame: bytes, now: float) -> bool:
        """An LLDP frame came in; one that is not ours, or not signed by us, says nothing.

        Nor does one of the same switch: a cable between two of its ports is no way to anywhere, but a
        device that holds both could make itself a trunk.
        """
        origin = lldp.decode(frame, self._secret)
        if origin is None or origin[0] not in self._switches or origin[0] == switch:
            return False
        if not self.port_is_up(switch, port) or not self.port_is_up(*origin):
            return False
        if not all(self._trunk_allowed(*end) for end in (origin, (switch, port))):
            return False
        self._seen[Link.between(*origin, switch, port)] = (now, self._rounds)
        return self._rebuild(now)

    def _trunk_allowed(self, switch: int, port: int) -> bool:
        allowed = self._may_be_trunk.get(switch)
        return allowed is None or port in allowed or self._switches[switch].ports[port].name in allowed

    def tick(self, now: float) -> tuple[bool, tuple[SendFrame, ...]]:
        """(whether the layout has changed, LLDP frames that are due)."""
        frames: tuple[SendFrame, ...] = ()
        if now >= self._next_round or now < self._next_round - 2 * LLDP_EVERY:  # the clock was set back
            self._next_round = now + LLDP_EVERY
            self._rounds += 1
            frames = tuple(self._lldp_frames())
        for link, (seen, rounds) in list(self._seen.items()):
            silent = now - seen > LINK_LOST_AFTER and self._rounds - rounds > ROUNDS_LOST
            if silent and all(self.connected(at) for at, _ in link.ends()):
                del self._seen[link]
        return self._rebuild(now), frames

    def _lldp_frames(self) -> Iterator[SendFrame]:
        for switch, known in self._switches.items():
            if known.connected:
                for port in known.ports.values():
                    if port.up and not port.name.endswith((INSPECTION_SUFFIX, COPY_SUFFIX)):
                        yield SendFrame(switch, _announced(switch, port.number, self._secret), port.number)

    def _rebuild(self, now: float) -> bool:
        links = self.topology.links
        if frozenset(self._seen) != links or len(self._switches) != len(self.topology.switches):
            self.topology = Topology(self._switches, self._seen)
        self._edges = frozenset(
            (switch, number)
            for switch, known in self._switches.items()
            for number, since in known.up_since.items()
            if (now - since >= EDGE_AFTER or (switch, number) in self._edges)
            and (switch, number) not in self.topology.trunks
            and number in known.ports
            and not known.ports[number].name.endswith((INSPECTION_SUFFIX, COPY_SUFFIX))
        )
        layouts = {switch: self._layout(switch) for switch in self._switches}
        changed = layouts != self._layouts or links != self.topology.links
        self._layouts = layouts
        return changed
