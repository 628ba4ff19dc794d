"""Random flows in the whole vocabulary of flows.py, as the compiler may make them and a switch takes them."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import TypeVar

from hypothesis import strategies as st

from controller.flows.flow import (
    CONTROLLER_PORT,
    COOKIE_MARK,
    IN_PORT,
    Action,
    Commit,
    Flow,
    Goto,
    Match,
    Output,
    SetRegister,
    Table,
    Track,
)

IPV4, ARP, IPV6, LLDP = 0x0800, 0x0806, 0x86DD, 0x88CC
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58

numbers = st.integers(0, 0xFFFFFFFF)
ports = st.integers(1, 0xFEFF)
macs = st.binary(min_size=6, max_size=6).map(lambda raw: raw.hex(":"))
ipv4 = st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n)))
ipv6 = st.integers(0, 2**128 - 1).map(lambda n: str(IPv6Address(n)))
ipv4_networks = st.builds(
    lambda n, p: str(IPv4Network((n, p), strict=False)), st.integers(0, 2**32 - 1), st.integers(1, 31)
)
ipv6_networks = st.builds(
    lambda n, p: str(IPv6Network((n, p), strict=False)), st.integers(0, 2**128 - 1), st.integers(1, 127)
)
tcp_flags = st.integers(1, 0xFFF).flatmap(
    lambda mask: st.integers(0, 0xFFF).map(lambda value: (value & mask, mask))
)

T = TypeVar("T")


def maybe(strategy: st.SearchStrategy[T]) -> st.SearchStrategy[T | None]:
    return st.none() | strategy


@st.composite
def matches(draw: st.DrawFn) -> Match:
    eth_type = draw(maybe(st.sampled_from((IPV4, ARP, IPV6, LLDP))))
    group = draw(st.booleans())
    address = {IPV4: ipv4 | ipv4_networks, ARP: ipv4 | ipv4_networks, IPV6: ipv6 | ipv6_networks}.get(
        eth_type or 0
    )
    ip_proto = src_port = dst_port = icmp_type = nd_target = told_mac = flags = None
    if eth_type in (IPV4, IPV6):
        ip_proto = draw(maybe(st.sampled_from((TCP, UDP, 2, ICMP if eth_type == IPV4 else ICMPV6))))
    if ip_proto in (TCP, UDP):
        src_port, dst_port = draw(maybe(st.integers(0, 65535))), draw(maybe(st.integers(0, 65535)))
    if ip_proto == TCP:
        flags = draw(maybe(tcp_flags))
    if ip_proto in (ICMP, ICMPV6):
        icmp_type = draw(maybe(st.integers(0, 255)))
    if ip_proto == ICMPV6 and draw(st.booleans()):
        icmp_type, nd_target = draw(st.sampled_from((135, 136))), draw(ipv6)
        told_mac = draw(maybe(macs))
    if eth_type == ARP:
        told_mac = draw(maybe(macs))
    return Match(
        in_port=draw(maybe(ports)),
        vlan=draw(maybe(st.booleans())),
        eth_src=draw(maybe(macs)),
        eth_dst=None if group else draw(maybe(macs)),
        eth_dst_group=group,
        eth_type=eth_type,
        ip_proto=ip_proto,
        ip_src=draw(maybe(address)) if address is not None else None,
        ip_dst=draw(maybe(address)) if address is not None else None,
        src_port=src_port,
        dst_port=dst_port,
        icmp_type=icmp_type,
        nd_target=nd_target,
        told_mac=told_mac,
        tcp_flags=flags,
        source=draw(maybe(numbers)),
        destination=draw(maybe(numbers)),
        tracked=draw(maybe(st.booleans())),
    )


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    match = draw(matches())
    table = draw(st.sampled_from(Table))
    outputs = st.builds(Output, ports | st.sampled_from((CONTROLLER_PORT, IN_PORT)))
    registers = st.builds(SetRegister, st.sampled_from((0, 1)), numbers)
    actions: list[Action] = draw(st.lists(outputs | registers, max_size=4))
    if match.eth_type in (IPV4, IPV6):  # connection tracking needs them
        if draw(st.booleans()):
            actions.append(Commit())
        if draw(st.booleans()):
            actions.append(Track(draw(st.sampled_from(Table))))
    later = [t for t in Table if t > table]
    if later and not (actions and isinstance(actions[-1], Track)) and draw(st.booleans()):
        actions.append(Goto(draw(st.sampled_from(later))))
    return Flow(
        table=table,
        priority=draw(st.integers(0, 0xFFFF)),
        match=match,
        actions=tuple(actions),
        cookie=COOKIE_MARK | draw(st.integers(0, 2**56 - 1)),
        idle_timeout=draw(st.just(0) | st.integers(0, 0xFFFF)),
        hard_timeout=draw(st.just(0) | st.integers(0, 0xFFFF)),
    )
