"""OpenFlow 1.3 messages of this site: flows to bytes and back, and what a switch says in our words.

Knows nothing of connections, threads, the model or time. What goes out is bytes; what comes in are
os-ken's parsed messages. Flow changes are packed here rather than by os-ken's classes, which take 250 µs
for a flow (ten thousand relationships must be back in a restarted switch within two seconds); a test
holds the two encodings against each other. The rest is rare and left to os-ken.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, assert_never

from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto import ofproto_v1_3_parser as parser
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from controller.events import PortInfo
from controller.flows.flow import (
    CONNTRACK_ZONE,
    CONTROLLER_PORT,
    COOKIE_MARK,
    COOKIE_MASK,
    DESTINATION_REGISTER,
    PACKET_IN_METER,
    PACKET_IN_RATE,
    SOURCE_REGISTER,
    Action,
    Change,
    Commit,
    Flow,
    Goto,
    Match,
    Output,
    SetRegister,
    Table,
    Track,
    is_ours,
)

VERSION: int = ofp.OFP_VERSION
ADD: int = ofp.OFPFC_ADD
DELETE_STRICT: int = ofp.OFPFC_DELETE_STRICT

IPV4, ARP, IPV6, LLDP = 0x0800, 0x0806, 0x86DD, 0x88CC
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136

# Packet-ins per second that a switch may send, by meter. Link discovery has meters of its own, or a
# device that floods would take the links down with it; LLDP on a known trunk is held by another
# one than LLDP on any port. The last is on whatever the others leave out.
LLDP_METER = PACKET_IN_METER + 1
TRUNK_LLDP_METER = PACKET_IN_METER + 2
PACKET_IN_LIMIT: int = ofp.OFPM_CONTROLLER
METERS: Mapping[int, int] = {
    PACKET_IN_METER: PACKET_IN_RATE,
    LLDP_METER: 100,
    TRUNK_LLDP_METER: 100,
    PACKET_IN_LIMIT: 1000,
}

_PROTOCOL = ProtocolDesc(version=VERSION)
_NICIRA = 0x00002320
_NO_BUFFER = 0xFFFFFFFF
_NO_CUT = 0xFFFF  # send the whole frame in a packet-in (OpenFlow 1.3.5, section 7.2.5)
_TRACKED = {False: (0x00, 0x20), True: (0x2A, 0x2A)}  # -trk; +trk+est+rpl (ovs-fields(7), ct_state)
_GROUP_BIT = "01:00:00:00:00:00"
_TAG_PRESENT = 0x1000


class EncodingError(ValueError):
    """This flow cannot be said in OpenFlow; a bug of whoever made it."""


# ------------------------------------------------------------------ matches


def _header(oxm_class: int, field: int, length: int, masked: bool = False) -> bytes:
    """The four bytes before a value (OpenFlow 1.3.5, section 7.2.3.2)."""
    return struct.pack("!HBB", oxm_class, field << 1 | masked, length * 2 if masked else length)


def _both(oxm_class: int, field: int, length: int) -> tuple[bytes, bytes]:
    return _header(oxm_class, field, length), _header(oxm_class, field, length, masked=True)


_BASIC, _NXM = 0x8000, 0x0001
_IN_PORT, _ = _both(_BASIC, 0, 4)
_ETH_DST, _ETH_DST_MASKED = _both(_BASIC, 3, 6)
_ETH_SRC, _ = _both(_BASIC, 4, 6)
_ETH_TYPE, _ = _both(_BASIC, 5, 2)
_VLAN, _VLAN_MASKED = _both(_BASIC, 6, 2)
_IP_PROTO, _ = _both(_BASIC, 10, 1)
# (source, destination) by ethertype; the length of an address follows from it
_ADDRESSES = {
    IPV4: (_both(_BASIC, 11, 4), _both(_BASIC, 12, 4)),
    ARP: (_both(_BASIC, 22, 4), _both(_BASIC, 23, 4)),
    IPV6: (_both(_BASIC, 26, 16), _both(_BASIC, 27, 16)),
}
_PORTS = {
    TCP: (_header(_BASIC, 13, 2), _header(_BASIC, 14, 2)),
    UDP: (_header(_BASIC, 15, 2), _header(_BASIC, 16, 2)),
}
_ICMP_TYPE = {ICMP: _header(_BASIC, 19, 1), ICMPV6: _header(_BASIC, 29, 1)}
_ND_TARGET, _ = _both(_BASIC, 31, 16)
# The sender's own hardware address as it states it, by ethertype or ICMPv6 type: ARP, and the options
# of a neighbour solicitation and of an advertisement
_TOLD_MAC = {
    ARP: _header(_BASIC, 24, 6),
    NEIGHBOUR_SOLICITATION: _header(_BASIC, 32, 6),
    NEIGHBOUR_ADVERTISEMENT: _header(_BASIC, 33, 6),
}
# An ONF experimenter field (EXT-109): its length counts the four bytes of the experimenter
_TCP_FLAGS_MASKED = struct.pack("!HBBI", 0xFFFF, 42 << 1 | 1, 8, 0x4F4E4600)
_TCP_FLAGS_ALL = 0x0FFF
_REGISTERS = {number: _header(_NXM, number, 4) for number in (SOURCE_REGISTER, DESTINATION_REGISTER)}
_CT_STATE_MASKED = _header(_NXM, 105, 4, masked=True)


@lru_cache(maxsize=65536)
def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


@lru_cache(maxsize=65536)
def _address(eth_type: int, side: int, text: str) -> bytes:
    plain, masked = _ADDRESSES[eth_type][side]
    if (":" in text) != (eth_type == IPV6):
        raise EncodingError(f"{text}: an address of the other family than the eth_type {eth_type:#x}")
    if "/" not in text:
        return plain + ip_address(text).packed
    network = ip_network(text)
    if network.prefixlen in (0, network.max_prefixlen):
        raise EncodingError(
            f"{text}: a switch gives this back as another match; leave it out or write the address"
        )
    return masked + network.network_address.packed + network.netmask.packed


def _encode_match(match: Match) -> bytes:
    """The OXM list of a match, with every field behind those that it requires.

    In the order of Open vSwitch, so that it gives a flow back in the bytes that it was told (reading.py).
    """
    parts: list[bytes] = []
    add = parts.append
    if match.in_port is not None:
        add(_IN_PORT + match.in_port.to_bytes(4))
    if match.eth_src is not None:
        add(_ETH_SRC + _mac(match.eth_src))
    if match.eth_dst is not None:
        if match.eth_dst_group:
            raise EncodingError("eth_dst and eth_dst_group are one field; set one of them")
        add(_ETH_DST + _mac(match.eth_dst))
    elif match.eth_dst_group:
        add(_ETH_DST_MASKED + _mac(_GROUP_BIT) * 2)
    if match.eth_type is not None:
        add(_ETH_TYPE + match.eth_type.to_bytes(2))
    if match.vlan is False:
        add(_VLAN + b"\0\0")
    elif match.vlan:
        add(_VLAN_MASKED + _TAG_PRESENT.to_bytes(2) * 2)
    try:
        for side, address in enumerate((match.ip_src, match.ip_dst)):
            if address is not None:
                add(_address(match.eth_type or 0, side, address))
        if match.ip_proto is not None:
            add(_IP_PROTO + match.ip_proto.to_bytes(1))
        for side, port in enumerate((match.src_port, match.dst_port)):
            if port is not None:
                add(_PORTS[match.ip_proto or 0][side] + port.to_bytes(2))
        if match.icmp_type is not None:
            add(_ICMP_TYPE[match.ip_proto or 0] + match.icmp_type.to_bytes(1))
    except KeyError:
        raise EncodingError(
            f"{match}: addresses need eth_type IP or ARP; ports and types need their ip_proto"
        ) from None
    if match.nd_target is not None:
        add(_ND_TARGET + IPv6Address(match.nd_target).packed)
    if match.told_mac is not None:
        states = ARP if match.eth_type == ARP else match.icmp_type if match.ip_proto == ICMPV6 else None
        if states not in _TOLD_MAC:
            raise EncodingError(f"{match}: told_mac needs ARP, or a neighbour solicitation or advertisement")
        add(_TOLD_MAC[states] + _mac(match.told_mac))
    if match.tcp_flags is not None:
        value, mask = match.tcp_flags
        if value & ~mask or mask & ~_TCP_FLAGS_ALL or not mask:
            raise EncodingError(
                f"tcp_flags {match.tcp_flags}: the value must lie in the mask, the mask in twelve bits"
            )
        add(_TCP_FLAGS_MASKED + struct.pack("!HH", value, mask))
    if match.source is not None:
        add(_REGISTERS[SOURCE_REGISTER] + match.source.to_bytes(4))
    if match.destination is not None:
        add(_REGISTERS[DESTINATION_REGISTER] + match.destination.to_bytes(4))
    if match.tracked is not None:
        add(_CT_STATE_MASKED + struct.pack("!II", *_TRACKED[match.tracked]))
    return b"".join(parts)


def _plain(value: Any) -> str:
    """An address of os-ken's as text, a masked one in CIDR form."""
    if isinstance(value, tuple):
        return str(ip_network("/".join(value)))
    return str(ip_address(value))


def _cidr(value: Any) -> str:
    """As _plain, for IPv6, whose masks ipaddress does not take as addresses."""
    if not isinstance(value, tuple):
        return str(ip_address(value))
    prefix = int(ip_address(value[1])).bit_count()
    return str(ip_network((value[0], prefix)))


def _exact(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a part of an address only: {value}")  # noqa: TRY004  # as for all other values
    return value


def _flags(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, _TCP_FLAGS_ALL)


def _tracked(value: Any) -> bool:
    return next(said for said, pair in _TRACKED.items() if pair == value)


def _vlan(value: Any) -> bool:
    if value == 0:
        return False
    if value == (_TAG_PRESENT, _TAG_PRESENT):
        return True
    raise ValueError(f"vlan_vid {value}")


# os-ken's name of a field -> ours, and how its value is read
_FIELDS: Mapping[str, tuple[str, Any]] = {
    "in_port": ("in_port", int),
    "eth_dst": ("eth_dst", _exact),
    "eth_src": ("eth_src", _exact),
    "eth_type": ("eth_type", int),
    "vlan_vid": ("vlan", _vlan),
    "ip_proto": ("ip_proto", int),
    "ipv4_src": ("ip_src", _plain),
    "ipv4_dst": ("ip_dst", _plain),
    "arp_spa": ("ip_src", _plain),
    "arp_tpa": ("ip_dst", _plain),
    "ipv6_src": ("ip_src", _cidr),
    "ipv6_dst": ("ip_dst", _cidr),
    "tcp_src": ("src_port", int),
    "tcp_dst": ("dst_port", int),
    "udp_src": ("src_port", int),
    "udp_dst": ("dst_port", int),
    "icmpv4_type": ("icmp_type", int),
    "icmpv6_type": ("icmp_type", int),
    "ipv6_nd_target": ("nd_target", _cidr),
    "arp_sha": ("told_mac", str),
    "ipv6_nd_sll": ("told_mac", str),
    "ipv6_nd_tll": ("told_mac", str),
    "tcp_flags": ("tcp_flags", _flags),
    "reg0": ("source", int),
    "reg1": ("destination", int),
    "ct_state": ("tracked", _tracked),
}


def decode_match(match: Any) -> Match:
    """The Match in an OFPMatch. Raises ValueError when it has no words here."""
    try:
        return _decode_match(match)
    except (KeyError, StopIteration, TypeError) as error:
        raise ValueError(f"not a match of ours: {match}") from error


def _decode_match(match: Any) -> Match:
    fields: dict[str, Any] = {}
    for name, value in match.items():
        if name == "eth_dst" and value == (_GROUP_BIT, _GROUP_BIT):
            fields["eth_dst_group"] = True
            continue
        ours, read = _FIELDS[name]
        fields[ours] = read(value)
    return Match(**fields)


# ------------------------------------------------------------------ actions


def _conntrack(flags: int, recirculate: int) -> bytes:
    """ct(): track and go on in table `recirculate`, or remember (ovs-actions(7))."""
    return struct.pack(
        "!HHIHHIHB3xH",
        ofp.OFPAT_EXPERIMENTER, 24, _NICIRA, 35, flags, 0, CONNTRACK_ZONE, recirculate, 0,
    )  # fmt: skip


_CT_COMMIT, _NO_TABLE = 1, 255
_COMMIT = _conntrack(_CT_COMMIT, _NO_TABLE)


def _encode_action(action: Output | SetRegister | Commit | Track) -> bytes:
    match action:
        case Output(port):
            return struct.pack("!HHIH6x", ofp.OFPAT_OUTPUT, 16, port, _NO_CUT)
        case SetRegister(register, value):
            return struct.pack("!HH4sI4x", ofp.OFPAT_SET_FIELD, 16, _REGISTERS[register], value)
        case Commit():
            return _COMMIT
        case Track(table):
            return _conntrack(0, table)
        case _:
            assert_never(action)


def _meter_of(flow: Flow) -> int | None:
    """The meter for a flow that only tells the controller.

    A meter instruction drops the packet itself when the rate is passed, so it must not be on flows that
    do anything else with it; those are held by PACKET_IN_LIMIT.
    """
    if flow.actions != (Output(CONTROLLER_PORT),):
        return None
    if flow.match.eth_type == LLDP:
        return LLDP_METER if flow.match.in_port is None else TRUNK_LLDP_METER
    return PACKET_IN_METER


def _encode_instructions(flow: Flow, metered: bool) -> bytes:
    parts: list[bytes] = []
    meter = _meter_of(flow) if metered else None
    if meter is not None:
        parts.append(struct.pack("!HHI", ofp.OFPIT_METER, 8, meter))
    actions, goto = flow.actions, b""
    if actions and isinstance(actions[-1], Goto):
        if actions[-1].table <= flow.table:
            raise EncodingError(f"{flow}: Goto leads to a later table only")
        goto = struct.pack("!HHB3x", ofp.OFPIT_GOTO_TABLE, 8, actions[-1].table)
        actions = actions[:-1]
    applied: list[bytes] = []
    for place, action in enumerate(actions, start=1):
        if isinstance(action, Goto) or (isinstance(action, Track) and (goto or place < len(actions))):
            raise EncodingError(f"{flow}: {type(action).__name__} must be the last action")
        applied.append(_encode_action(action))
    if applied:
        data = b"".join(applied)
        parts.append(struct.pack("!HH4x", ofp.OFPIT_APPLY_ACTIONS, 8 + len(data)) + data)
    return b"".join(parts) + goto


def _decode_actions(instructions: Iterable[Any]) -> tuple[Action, ...]:
    actions: list[Action] = []
    for instruction in instructions:
        match instruction:
            case parser.OFPInstructionGotoTable():
                actions.append(Goto(Table(instruction.table_id)))
            case parser.OFPInstructionMeter():
                pass  # follows from the flow, see _meter_of
            case parser.OFPInstructionActions(type=ofp.OFPIT_APPLY_ACTIONS):
                actions.extend(_decode_action(action) for action in instruction.actions)
            case _:
                raise ValueError(f"instruction {instruction}")
    return tuple(actions)


def _decode_action(action: Any) -> Action:
    match action:
        case parser.OFPActionOutput():
            return Output(action.port)
        case parser.OFPActionSetField(key=("reg0" | "reg1") as name):
            return SetRegister(SOURCE_REGISTER if name == "reg0" else DESTINATION_REGISTER, action.value)
        case parser.NXActionCT(zone_src="", zone_ofs_nbits=zone, alg=0, actions=[]) if zone == CONNTRACK_ZONE:
            if (action.flags, action.recirc_table) == (_CT_COMMIT, _NO_TABLE):
                return Commit()
            if action.flags == 0 and action.recirc_table != _NO_TABLE:
                return Track(Table(action.recirc_table))
    raise ValueError(f"action {action}")


# ------------------------------------------------------------------ flows

_WHOLE = (1 << 64) - 1  # a mask
_FLOW_MOD = struct.Struct("!BBHIQQBBHHHIIIHxxHH")  # up to and with the header of the match


def encode_flow(flow: Flow, command: int, xid: int, metered: bool = True) -> bytes:
    """One OFPFlowMod. `command` is ADD, which replaces a flow of the same key, or DELETE_STRICT.

    `metered` False for switches without meters. Flows with a timeout report their end (decode_flow).
    Raises EncodingError.
    """
    oxm = _encode_match(flow.match)
    instructions = _encode_instructions(flow, metered) if command == ADD else b""
    padding = -(4 + len(oxm)) % 8
    length = _FLOW_MOD.size + len(oxm) + padding + len(instructions)
    if command == ADD:
        cookie, mask = flow.cookie, 0
    elif is_ours(flow.cookie):  # whatever its cookie is by now
        cookie, mask = COOKIE_MARK, COOKIE_MASK
    else:
        cookie, mask = flow.cookie, _WHOLE
    told = command == ADD and (flow.idle_timeout or flow.hard_timeout)
    return b"".join((
        _FLOW_MOD.pack(
            VERSION, ofp.OFPT_FLOW_MOD, length, xid,
            cookie, mask, flow.table, command, flow.idle_timeout, flow.hard_timeout, flow.priority,
            _NO_BUFFER, ofp.OFPP_ANY, ofp.OFPG_ANY, ofp.OFPFF_SEND_FLOW_REM if told else 0,
            ofp.OFPMT_OXM, 4 + len(oxm),
        ),
        oxm, bytes(padding), instructions,
    ))  # fmt: skip


def encode_change(
    change: Change,
    xids: Iterator[int],
    refused: Callable[[Flow, str], object],
    metered: bool = True,
    added: Callable[[Flow, bytes], object] = lambda *_: None,
) -> Iterator[bytes]:
    """The messages of a change: deletions, then additions. The barrier is the caller's.

    A flow that cannot be encoded is left out and told to `refused`, with the reason; the others that are
    added are told to `added`, with their message.
    """
    for table, cookie in change.purge:
        yield _encode_purge(table, cookie, next(xids))
    for command, flows in ((DELETE_STRICT, change.delete), (ADD, change.add)):
        for flow in flows:
            try:
                message = encode_flow(flow, command, next(xids), metered)
            except (EncodingError, struct.error, OverflowError, ValueError) as error:
                refused(flow, str(error))
                continue
            if command == ADD:
                added(flow, message)
            yield message


def decode_flow(said: Any) -> Flow:
    """The Flow in an entry of OFPFlowStatsReply, in an OFPFlowMod or in an OFPFlowRemoved.

    The latter has no actions. Raises ValueError when it is nothing that encode_flow could have made.
    """
    try:
        return Flow(
            table=Table(said.table_id),
            priority=said.priority,
            match=decode_match(said.match),
            actions=_decode_actions(getattr(said, "instructions", None) or ()),
            cookie=said.cookie,
            idle_timeout=said.idle_timeout,
            hard_timeout=said.hard_timeout,
        )
    except (KeyError, StopIteration, TypeError) as error:
        raise ValueError(f"not a flow of ours: {said}") from error


def rightly_metered(said: Any, flow: Flow, metered: bool) -> bool:
    """Whether the meters in an entry of OFPFlowStatsReply are those that encode_flow gives this flow."""
    meter = _meter_of(flow) if metered else None
    found = [i.meter_id for i in said.instructions if isinstance(i, parser.OFPInstructionMeter)]
    return found == ([] if meter is None else [meter])


# ------------------------------------------------------------------ other messages


def _message(message: Any, xid: int) -> bytes:
    message.set_xid(xid)
    message.serialize()
    return bytes(message.buf)


def encode_barrier(xid: int) -> bytes:
    return struct.pack("!BBHI", VERSION, ofp.OFPT_BARRIER_REQUEST, 8, xid)


def encode_frame(frame: bytes, port: int | None, in_port: int | None, xid: int) -> bytes:
    """A packet-out by `port`; None: through the tables as if it had come in by `in_port`."""
    out = parser.OFPActionOutput(ofp.OFPP_TABLE if port is None else port, 0)
    came = ofp.OFPP_CONTROLLER if in_port is None else in_port
    return _message(parser.OFPPacketOut(_PROTOCOL, _NO_BUFFER, came, [out], frame), xid)


def encode_config(drop_fragments: bool, xid: int) -> bytes:
    flags = ofp.OFPC_FRAG_DROP if drop_fragments else ofp.OFPC_FRAG_NORMAL
    return _message(parser.OFPSetConfig(_PROTOCOL, flags, _NO_CUT), xid)


def encode_meter(meter: int, xid: int, replace: bool = False) -> bytes:
    """One of METERS, as a new one or in place of what the switch still has under its number."""
    rate = METERS[meter]
    command = ofp.OFPMC_MODIFY if replace else ofp.OFPMC_ADD
    flags = ofp.OFPMF_PKTPS | ofp.OFPMF_BURST | ofp.OFPMF_STATS
    bands = [parser.OFPMeterBandDrop(rate, rate)]
    return _message(parser.OFPMeterMod(_PROTOCOL, command, flags, meter, bands), xid)


def encode_meters_request(xid: int) -> bytes:
    return _message(parser.OFPMeterConfigStatsRequest(_PROTOCOL, 0, ofp.OFPM_ALL), xid)


def wrong_meters(said: Iterable[Any]) -> Iterator[tuple[int, bool]]:
    """Those of METERS that are not as they should be by OFPMeterConfigStatsReply, and whether they exist."""
    found = {one.meter_id: one for one in said}
    for meter, rate in METERS.items():
        one = found.get(meter)
        bands = () if one is None else tuple((band.type, getattr(band, "rate", 0)) for band in one.bands)
        if one is None or bands != ((ofp.OFPMBT_DROP, rate),) or not one.flags & ofp.OFPMF_PKTPS:
            yield meter, one is not None


def encode_ports_request(xid: int) -> bytes:
    return _message(parser.OFPPortDescStatsRequest(_PROTOCOL, 0), xid)


def encode_flows_request(xid: int, part: int = 0, parts: int = 1) -> bytes:
    """Ask for all flows of the switch, whosoever they are, or for one of `parts` (a power of two) of them.

    The lowest bits of its cookie say which part a flow is in.
    """
    request = parser.OFPFlowStatsRequest(
        _PROTOCOL, 0, ofp.OFPTT_ALL, ofp.OFPP_ANY, ofp.OFPG_ANY, part, parts - 1, parser.OFPMatch()
    )
    return _message(request, xid)


def _encode_purge(table: int, cookie: int, xid: int) -> bytes:
    """Delete whatever a table holds under a cookie."""
    return _message(
        parser.OFPFlowMod(
            _PROTOCOL, cookie=cookie, cookie_mask=_WHOLE, table_id=table, command=ofp.OFPFC_DELETE,
            out_port=ofp.OFPP_ANY, out_group=ofp.OFPG_ANY,
        ),
        xid,
    )  # fmt: skip


def decode_port(port: Any) -> PortInfo:
    """The PortInfo in an OFPPort."""
    down = port.config & ofp.OFPPC_PORT_DOWN or port.state & ofp.OFPPS_LINK_DOWN
    return PortInfo(port.port_no, port.name.decode("utf-8", "replace"), port.hw_addr, not down)


def _words(constant: str) -> str:
    """The readable part of a name of os-ken's.

    >>> _words("OFPBMC_BAD_PREREQ(9)")
    'bad prereq'
    """
    return constant.split("(", maxsplit=1)[0].partition("_")[2].replace("_", " ").lower() or constant


def decode_error(error: Any) -> tuple[str, int | None]:
    """What an OFPErrorMsg says, and the cookie of the flow that it is about."""
    if error.type == ofp.OFPET_EXPERIMENTER:
        text = f"refused by an extension: experimenter {error.experimenter:#x}, type {error.exp_type}"
    else:
        kind = _words(ofp.ofp_error_type_to_str(error.type))
        text = f"{kind}: {_words(ofp.ofp_error_code_to_str(error.type, error.code))}"
    data = bytes(error.data or b"")
    if len(data) >= 16 and data[1] == ofp.OFPT_FLOW_MOD:
        return text, int.from_bytes(data[8:16])
    return text, None
