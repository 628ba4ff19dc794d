"""What the switch should do: flows as pure values, compiled from the model, looked up and compared.

Knows nothing of OpenFlow messages (openflow.py writes those), of requests or of names. The five
tables, the priorities, the registers and the cookies are declared here, once, as data.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from hashlib import blake2b
from ipaddress import ip_address, ip_network
from typing import assert_never


class Table(IntEnum):
    """The switch's tables in the order that a frame takes them."""

    ADMISSION = 0  # who may send
    SOURCE = 1  # which device sent it -> register CLIENT_REGISTER
    DESTINATION = 2  # which device is meant -> register SERVER_REGISTER
    VERDICT = 3  # allow, drop, inspect or watch
    FORWARDING = 4  # MAC address -> port


class Priority(IntEnum):
    """Within one table the higher number wins."""

    DEFAULT = 0
    FLOOD = 50  # what a device that floods sends beyond what it was ever allowed, for a short time
    CLASS = 100  # whole kinds of traffic (trunks, groups)
    HOST = 200  # one device
    ANSWER = 300  # answers to what a treatment lets through
    LISTENING = 305  # what may be a request although it could pass for an answer
    PAIR = 310  # one treatment: above answers, so that no request passes as one
    TEMPLATE = 400  # infrastructure
    GUARD = 500  # what no template may pass (forged answers of infrastructure servers)
    CONNECTION = 600  # one connection, for a short time
    QUARANTINE = 700


# Pseudo ports, resolved by openflow.py.
CONTROLLER_PORT = 0xFFFFFFFD
IN_PORT = 0xFFFFFFF8

SOURCE_REGISTER = 0  # number of the sending device; 0: none that we know
DESTINATION_REGISTER = 1  # number of the device that is meant; 0: none that we know
GROUP_NUMBER = 0xFFFFFFFF  # what DESTINATION_REGISTER holds for broadcast and multicast

NO_MAC = "00:00:00:00:00:00"
CONNTRACK_ZONE = 0x6757
PACKET_IN_METER = 1  # holds packet-ins to a rate that the controller can bear
PACKET_IN_RATE = 200  # packets per second


@dataclass(frozen=True, slots=True)
class Match:
    """Which packets; None means any. Addresses are text, networks CIDR, masks (value, mask).

    `vlan` False: only frames without an 802.1Q tag. `eth_dst_group` True: the group bit is set.
    `told_mac`: the hardware address of its own that a sender states in ARP, or in a neighbour
    solicitation or advertisement (by icmp_type); NO_MAC where neighbour discovery states none.
    `tracked`: None not asked; False not yet through connection tracking; True an answer of an
    established conversation (+trk +est +rpl).
    """

    in_port: int | None = None
    vlan: bool | None = None
    eth_src: str | None = None
    eth_dst: str | None = None
    eth_dst_group: bool = False
    eth_type: int | None = None
    ip_proto: int | None = None
    ip_src: str | None = None  # IPv4 or IPv6 by eth_type; with eth_type ARP the sender's address
    ip_dst: str | None = None  # with eth_type ARP the target's address
    src_port: int | None = None
    dst_port: int | None = None
    icmp_type: int | None = None
    nd_target: str | None = None
    told_mac: str | None = None
    tcp_flags: tuple[int, int] | None = None
    source: int | None = None  # SOURCE_REGISTER
    destination: int | None = None  # DESTINATION_REGISTER
    tracked: bool | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """Send a copy out of a port; CONTROLLER_PORT makes a packet-in (held by PACKET_IN_METER)."""

    port: int


@dataclass(frozen=True, slots=True)
class SetRegister:
    register: int
    value: int


@dataclass(frozen=True, slots=True)
class Commit:
    """Remember this conversation in connection tracking, so that its answers can be told."""


@dataclass(frozen=True, slots=True)
class Track:
    """Send through connection tracking and back into `table`; must be the last action."""

    table: Table


@dataclass(frozen=True, slots=True)
class Goto:
    """Continue in a later table; must be the last action."""

    table: Table


Action = Output | SetRegister | Commit | Track | Goto


Key = tuple[int, int, Match]  # table, priority, match


@dataclass(frozen=True, slots=True)
class Flow:
    """One flow of one switch. No actions: drop. Timeouts are seconds, 0 means for ever."""

    table: Table
    priority: int
    match: Match
    actions: tuple[Action, ...]
    cookie: int
    idle_timeout: int = 0
    hard_timeout: int = 0

    @property
    def key(self) -> Key:
        """What makes two flows the same flow to a switch (OpenFlow 1.3.5, section 6.4)."""
        return (self.table, self.priority, self.match)


COOKIE_MARK = 0x67 << 56  # the top byte of every cookie that is ours
COOKIE_MASK = 0xFF << 56


def is_ours(cookie: int) -> bool:
    return cookie & COOKIE_MASK == COOKIE_MARK


def cookie_of(origin: str) -> int:
    """The cookie that names `origin`, e.g. "pair 12 3 tcp 80" or "binding 02:…:01 10.0.0.1"."""
    return COOKIE_MARK | int.from_bytes(blake2b(origin.encode(), digest_size=7).digest())


@dataclass(frozen=True, slots=True)
class Strange:
    """A flow in a switch that this version could not have made; `text`: what can be said of it.

    `match` is None where it has no words here.
    """

    table: int
    priority: int
    match: Match | None
    cookie: int
    text: str

    @property
    def key(self) -> Key | None:
        return None if self.match is None else (self.table, self.priority, self.match)


Place = tuple[int, int]  # table, cookie


@dataclass(frozen=True, slots=True)
class Change:
    """What to send to one switch: deletions first, then additions, closed by a barrier.

    An addition whose key exists replaces that flow in one step, so that no packet falls between.
    `purge`: where whatever is there goes first, because its matches have no words here.
    """

    delete: tuple[Flow, ...] = ()
    add: tuple[Flow, ...] = ()
    purge: tuple[Place, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.delete or self.add or self.purge)


def difference(installed: Iterable[Flow], wanted: Iterable[Flow]) -> Change:
    """The change that makes `installed` equal to `wanted`; what is the same is not touched."""
    before = {flow.key: flow for flow in installed}
    after = {flow.key: flow for flow in wanted}
    return Change(
        delete=tuple(flow for key, flow in before.items() if key not in after),
        add=tuple(flow for key, flow in after.items() if before.get(key) != flow),
    )


# ------------------------------------------------------------------ what a switch would do


@dataclass(frozen=True, slots=True)
class Packet:
    """The header fields of one frame, as a switch reads them; None where a frame has no such field.

    `answer`: connection tracking would call it an answer of an established conversation.
    """

    in_port: int
    eth_src: str
    eth_dst: str
    eth_type: int
    tagged: bool = False
    ip_proto: int | None = None
    ip_src: str | None = None
    ip_dst: str | None = None
    src_port: int | None = None
    dst_port: int | None = None
    icmp_type: int | None = None
    nd_target: str | None = None
    told_mac: str | None = None
    tcp_flags: int | None = None
    answer: bool = False


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a packet: the ports it left by, in order, and the flows that it met."""

    ports: tuple[int, ...]
    flows: tuple[Flow, ...]
    committed: bool = False


_MISS = 64  # more flows than any way through five tables has: a loop


@lru_cache(maxsize=65536)
def _inside(address: str, wanted: str) -> bool:
    if "/" not in wanted:
        return ip_address(address) == ip_address(wanted)
    return ip_address(address) in ip_network(wanted)


def _meets(match: Match, packet: Packet, registers: Mapping[int, int], tracked: bool) -> bool:
    for want_value, have_value in (
        (match.in_port, packet.in_port),
        (match.eth_src, packet.eth_src),
        (match.eth_dst, packet.eth_dst),
        (match.eth_type, packet.eth_type),
        (match.ip_proto, packet.ip_proto),
        (match.src_port, packet.src_port),
        (match.dst_port, packet.dst_port),
        (match.icmp_type, packet.icmp_type),
        (match.told_mac, packet.told_mac or NO_MAC),
    ):
        if want_value is not None and want_value != have_value:
            return False
    if match.vlan is not None and packet.tagged != match.vlan:
        return False
    if match.eth_dst_group and not int(packet.eth_dst[:2], 16) & 1:
        return False
    for have, want in (
        (packet.ip_src, match.ip_src),
        (packet.ip_dst, match.ip_dst),
        (packet.nd_target, match.nd_target),
    ):
        if want is not None and (have is None or not _inside(have, want)):
            return False
    if match.tcp_flags is not None:
        value, mask = match.tcp_flags
        if packet.tcp_flags is None or packet.tcp_flags & mask != value:
            return False
    for register, number in ((SOURCE_REGISTER, match.source), (DESTINATION_REGISTER, match.destination)):
        if number is not None and registers.get(register, 0) != number:
            return False
    if match.tracked is None:
        return True
    return (tracked and packet.answer) if match.tracked else not tracked


def lookup(flows: Iterable[Flow], packet: Packet) -> Fate:
    """The way of a packet through the tables, as OpenFlow 1.3.5 section 5 has it.

    A frame never leaves by the port that it came in by (section 5.8.1 of the specification: that
    needs IN_PORT).
    """
    by_table: dict[Table, list[Flow]] = {table: [] for table in Table}
    for flow in flows:
        by_table[flow.table].append(flow)
    for ordered in by_table.values():
        ordered.sort(key=lambda flow: -flow.priority)
    registers: dict[int, int] = {}
    ports: list[int] = []
    met: list[Flow] = []
    tracked = committed = False
    table: Table | None = Table.ADMISSION
    while table is not None:
        hit = next((f for f in by_table[table] if _meets(f.match, packet, registers, tracked)), None)
        table = None
        if hit is None:
            break
        met.append(hit)
        if len(met) > _MISS:
            raise ValueError("these flows send a packet round in a circle")
        for action in hit.actions:
            match action:
                case Output(port):
                    if port != packet.in_port:
                        ports.append(port)
                case SetRegister(register, value):
                    registers[register] = value
                case Commit():
                    committed = True
                case Track(target):
                    tracked, table = True, target
                case Goto(target):
                    table = target
                case _:
                    assert_never(action)
    return Fate(tuple(ports), tuple(met), committed)
