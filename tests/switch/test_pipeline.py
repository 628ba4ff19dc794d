"""What flows.lookup says a switch would do is what Open vSwitch does (ofproto/trace), rule by rule."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from controller.flows.compile import Pair, Policy, SwitchPorts, compile_flows
from controller.flows.flow import (
    CONTROLLER_PORT,
    COOKIE_MARK,
    NO_MAC,
    Action,
    Commit,
    Flow,
    Goto,
    Match,
    Output,
    Packet,
    SetRegister,
    Table,
    Track,
    lookup,
)
from controller.model.relationship import DeviceId, Endpoint, Treatment
from controller.model.service import Admission, Binding, Device, Place
from controller.switches import openflow, reading
from tests.switch.conftest import Channel, trace, traced
from tests.unit.flow_strategies import ARP, ICMP, ICMPV6, IPV4, IPV6, LLDP, TCP, UDP

pytestmark = pytest.mark.root
PORTS = 4

# Few values, so that flows and packets meet
ports = st.integers(1, PORTS)
macs = st.sampled_from(("02:00:00:00:00:01", "02:00:00:00:00:02", "01:00:5e:00:00:fb", "ff:ff:ff:ff:ff:ff"))
addresses = {
    IPV4: st.sampled_from(("10.0.0.1", "10.0.0.2", "10.128.0.1", "0.0.0.0")),  # no listener
    IPV6: st.sampled_from(("fe80::1", "fe80::2", "2001:db8::1", "::")),
}
networks = {
    IPV4: st.sampled_from(("10.0.0.0/9", "10.0.0.0/30", "128.0.0.0/1")),
    IPV6: st.sampled_from(("fe80::/10", "2000::/3", "fe80::/127")),
}
addresses[ARP], networks[ARP] = addresses[IPV4], networks[IPV4]
tcp_ports = st.sampled_from((53, 80, 443))
icmp_types = st.sampled_from((0, 8, 135, 136))
flags = st.sampled_from((0x02, 0x10, 0x12, 0x14, 0x00))


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    eth_type = draw(st.sampled_from((IPV4, ARP, IPV6, LLDP, 0x1234)))
    header: dict[str, object] = {}
    if eth_type in addresses:
        header |= {"ip_src": draw(addresses[eth_type]), "ip_dst": draw(addresses[eth_type])}
    if eth_type == ARP:
        header["told_mac"] = draw(macs)
    if eth_type in (IPV4, IPV6):
        icmp = ICMP if eth_type == IPV4 else ICMPV6
        header["ip_proto"] = protocol = draw(st.sampled_from((TCP, UDP, icmp, 2)))
        if protocol in (TCP, UDP):
            header |= {"src_port": draw(tcp_ports), "dst_port": draw(tcp_ports)}
        if protocol == TCP:
            header["tcp_flags"] = draw(flags)
        if protocol == icmp:
            header["icmp_type"] = kind = draw(icmp_types)
            if protocol == ICMPV6 and kind in (135, 136):
                header |= {"nd_target": draw(addresses[IPV6]), "told_mac": draw(st.none() | macs)}
    return Packet(
        in_port=draw(ports),
        eth_src=draw(macs),
        eth_dst=draw(macs),
        eth_type=eth_type,
        tagged=draw(st.booleans()),
        answer=draw(st.booleans()),
        **header,  # type: ignore[arg-type]
    )


@st.composite
def matches(draw: st.DrawFn, packet: Packet) -> Match:
    """A match that often meets `packet`."""

    def maybe(value: object, likely: int = 1) -> object:
        return value if draw(st.integers(0, 3)) < likely else None

    eth_type = packet.eth_type if draw(st.booleans()) else None
    fields: dict[str, object] = {}
    if eth_type in addresses:
        for side in ("ip_src", "ip_dst"):
            fields[side] = maybe(draw(addresses[eth_type] | networks[eth_type]))
    if eth_type in (IPV4, IPV6) and draw(st.booleans()):
        fields["ip_proto"] = packet.ip_proto
        if packet.ip_proto in (TCP, UDP):
            fields |= {"src_port": maybe(draw(tcp_ports)), "dst_port": maybe(draw(tcp_ports))}
        if packet.ip_proto == TCP:
            fields["tcp_flags"] = maybe(draw(st.sampled_from(((0x10, 0x10), (0x02, 0x12), (0x00, 0x04)))))
        if packet.icmp_type is not None:
            fields["icmp_type"] = maybe(draw(icmp_types))
        if packet.nd_target is not None and draw(st.booleans()):
            fields |= {"icmp_type": draw(st.sampled_from((135, 136))), "nd_target": draw(addresses[IPV6])}
            fields["told_mac"] = maybe(draw(macs | st.just(NO_MAC)))
    if eth_type == ARP:
        fields["told_mac"] = maybe(draw(macs))
    group = draw(st.integers(0, 3)) == 0
    return Match(
        in_port=maybe(draw(ports)),  # type: ignore[arg-type]
        vlan=maybe(draw(st.booleans())),  # type: ignore[arg-type]
        eth_src=maybe(draw(macs)),  # type: ignore[arg-type]
        eth_dst=None if group else maybe(draw(macs)),  # type: ignore[arg-type]
        eth_dst_group=group,
        eth_type=eth_type,
        source=maybe(draw(st.integers(0, 2))),  # type: ignore[arg-type]
        destination=maybe(draw(st.integers(0, 2))),  # type: ignore[arg-type]
        tracked=maybe(draw(st.booleans())),  # type: ignore[arg-type]
        **fields,  # type: ignore[arg-type]
    )


@st.composite
def tables(draw: st.DrawFn) -> tuple[Packet, list[Flow]]:
    """A packet, and flows of which no two in one table have the same priority."""
    packet = draw(packets())
    flows = []
    outputs = st.builds(Output, ports | st.just(CONTROLLER_PORT))
    registers = st.builds(SetRegister, st.sampled_from((0, 1)), st.integers(0, 2))
    for table in Table:
        for priority in range(draw(st.integers(1, 3))):
            match = draw(matches(packet)) if priority else Match()
            actions: list[Action] = draw(st.lists(outputs | registers, max_size=2))
            if match.eth_type in (IPV4, IPV6):
                if draw(st.booleans()):
                    actions.append(Commit())
                if match.tracked is False and draw(st.booleans()):
                    actions.append(Track(table))
            later = [t for t in Table if t > table]
            if later and not (actions and isinstance(actions[-1], Track)) and draw(st.integers(0, 3)):
                actions.append(Goto(later[0] if draw(st.booleans()) else draw(st.sampled_from(later))))
            flows.append(Flow(table, priority, match, tuple(actions), COOKIE_MARK | len(flows)))
    return packet, flows


@pytest.fixture
def bridge(make_bridge: Callable[..., str]) -> str:
    return make_bridge(ports=PORTS)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(case=tables())
def test_lookup_and_the_switch_agree_on_any_flows(
    bridge: str, channel: Callable[[str], Channel], case: tuple[Packet, list[Flow]]
) -> None:
    packet, flows = case
    wanted = lookup(flows, packet)
    assume(len(wanted.ports) + wanted.committed > 0 or packet.in_port == 1)  # most should go somewhere
    switch = channel(bridge)
    switch.install(*flows, metered=False)
    try:
        assert traced(bridge, packet) == (wanted.ports, wanted.committed)
    finally:
        switch.remove(*flows)
        switch.close()


# ------------------------------------------------------------------ a compiled site


def device(name: str, number: int, port: int, *roles: str) -> Device:
    return Device(
        DeviceId(name), number, Place.SITE, name, mac=f"02:00:00:00:00:{number:02x}",
        addresses=frozenset({f"10.0.0.{number}", f"fe80::{number}"}), binding=Binding(1, port),
        admission=Admission.ADMITTED, roles=frozenset(roles),
    )  # fmt: skip


LOCK, BATTERY, WASHER = device("lock", 1, 1), device("battery", 2, 2), device("washer", 3, 3)
INSPECTION, COPY = 4, 5
POLICY = Policy(
    ports=SwitchPorts(1, INSPECTION, COPY, frozenset(), frozenset({1, 2, 3})),
    devices={d.id: d for d in (LOCK, BATTERY, WASHER)},
    towards={LOCK.id: 1, BATTERY.id: 2, WASHER.id: 3},
    attached={LOCK.id, BATTERY.id, WASHER.id},
    pairs={
        Pair(WASHER.id, BATTERY.id, Endpoint("tcp", 80)): Treatment.FORWARD,
        Pair(WASHER.id, LOCK.id, Endpoint("tcp", 80)): Treatment.DROP,
        Pair(BATTERY.id, LOCK.id, Endpoint("udp", 5683)): Treatment.WATCH,
        Pair(LOCK.id, BATTERY.id, Endpoint("udp", 5683)): Treatment.INSPECT,
        Pair(LOCK.id, BATTERY.id, Endpoint("icmp", 0)): Treatment.FORWARD,
    },
    networks=("10.0.0.0/8", "fe80::/10"),
)
FLOWS = [flow for flows in compile_flows(POLICY).values() for flow in flows]


def test_a_compiled_site_is_accepted_and_read_back_equal(
    make_bridge: Callable[..., str], channel: Callable[[str], Channel]
) -> None:
    switch = channel(make_bridge())
    assert switch.meters() == []
    switch.install(*FLOWS)
    assert set(switch.flows()) == set(FLOWS)
    assert len(switch.flows()) == len(FLOWS)


def test_a_compiled_site_comes_back_in_the_bytes_that_it_was_told(
    make_bridge: Callable[..., str], channel: Callable[[str], Channel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the controller need not parse what it has told a switch itself."""
    reading.install()
    switch, reader = channel(make_bridge()), reading.Reader()
    assert switch.meters() == []
    switch.install(*FLOWS)
    for flow in FLOWS:
        reader.told(flow, openflow.encode_flow(flow, openflow.ADD, 0))
    parsed: list[object] = []
    monkeypatch.setattr(reader, "_decoded", parsed.append)
    for reply in switch.talk(openflow.encode_flows_request(switch.xid())):
        reader.take(reply.body)
    assert set(reader.end().flows.values()) == set(FLOWS)
    assert parsed == []


@st.composite
def frames(draw: st.DrawFn) -> Packet:
    """Frames of the site, mostly honest."""
    sender, receiver = draw(st.permutations((LOCK, BATTERY, WASHER)))[:2]
    six = draw(st.booleans())
    address = {d.id: next(a for a in sorted(d.addresses) if (":" in a) == six) for d in (sender, receiver)}
    assert sender.mac is not None
    assert receiver.mac is not None
    assert sender.binding is not None
    protocol = draw(st.sampled_from((TCP, UDP, ICMPV6 if six else ICMP)))
    source, destination = draw(st.permutations((80 if protocol == TCP else 5683, 40000)))
    icmp = protocol in (ICMP, ICMPV6)
    echo = draw(st.sampled_from((128, 129, 134) if six else (0, 8)))
    return Packet(
        in_port=draw(st.just(sender.binding.port) | st.integers(1, INSPECTION)),
        eth_src=sender.mac,
        eth_dst=draw(st.just(receiver.mac) | st.just("ff:ff:ff:ff:ff:ff")),
        eth_type=IPV6 if six else IPV4,
        tagged=draw(st.integers(0, 9)) == 0,
        ip_proto=protocol,
        ip_src=draw(st.just(address[sender.id]) | st.just(address[receiver.id])),
        ip_dst=address[receiver.id],
        src_port=None if icmp else source,
        dst_port=None if icmp else destination,
        icmp_type=echo if icmp else None,
        tcp_flags=draw(flags) if protocol == TCP else None,
        answer=draw(st.booleans()),
    )


@pytest.fixture
def site(make_bridge: Callable[..., str], channel: Callable[[str], Channel]) -> str:
    name = make_bridge(ports=5)
    switch = channel(name)
    assert switch.meters() == []
    switch.install(*FLOWS)
    return name


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(packet=frames())
def test_lookup_and_the_switch_agree_on_a_compiled_site(site: str, packet: Packet) -> None:
    wanted = lookup(FLOWS, packet)
    assert traced(site, packet) == (wanted.ports, wanted.committed)


def test_the_tracer_reads_what_the_switch_would_do(site: str) -> None:
    ask = {"dl_src": WASHER.mac, "dl_dst": BATTERY.mac, "dl_type": "0x0800", "nw_proto": 6}
    to_battery = {
        "nw_src": "10.0.0.3",
        "nw_dst": "10.0.0.2",
        "tcp_src": 40000,
        "tcp_dst": 80,
        "tcp_flags": "0x002",
    }
    assert trace(site, 3, **ask, **to_battery) == ["output:2"]
    assert trace(site, 2, **ask, **to_battery) == ["controller"], "a spoofed sender"
    coap = {"dl_type": "0x0800", "nw_proto": 17, "nw_src": "10.0.0.2", "nw_dst": "10.0.0.1"}
    macs_of = {"dl_src": BATTERY.mac, "dl_dst": LOCK.mac}
    watched = trace(site, 2, **macs_of, **coap, udp_src=40000, udp_dst=5683)
    assert watched == ["commit", f"output:{COPY}", "output:1"]
    back = {"dl_src": LOCK.mac, "dl_dst": BATTERY.mac, "dl_type": "0x0800", "nw_proto": 17,
            "nw_src": "10.0.0.1", "nw_dst": "10.0.0.2", "udp_src": 5683, "udp_dst": 40000}  # fmt: skip
    assert trace(site, 1, **back, answer=True) == ["output:2"]
    assert trace(site, 1, **back) == [f"output:{INSPECTION}"], "it was not asked"
