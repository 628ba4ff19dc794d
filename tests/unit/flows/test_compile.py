"""What each origin needs in the tables, by what becomes of packets."""

from dataclasses import replace

import pytest

from controller.flows.compile import (
    ACK,
    ARP,
    ICMPV6,
    IPV4,
    IPV6,
    LLDP,
    NEIGHBOUR_ADVERTISEMENT,
    ROUTER_ADVERTISEMENT,
    TCP,
    UDP,
    Pair,
    Policy,
    SwitchPorts,
    compile_connection,
    compile_flows,
    compile_refusal,
)
from controller.flows.flow import CONTROLLER_PORT, Fate, Flow, Packet, Table, cookie_of, lookup
from controller.model.relationship import DeviceId, Endpoint, Treatment
from controller.model.service import Admission, Binding, Device, Place

INSPECTION, COPY, TRUNK = 8, 9, 7
WEB, COAP = Endpoint("tcp", 80), Endpoint("udp", 5683)
SYN = 0x02


def device(name: str, number: int, **more: object) -> Device:
    made = Device(
        DeviceId(name), number, Place.SITE, name, f"02:00:00:00:00:0{number}",
        frozenset({f"10.0.0.{number}", f"fe80::{number}"}), Binding(1, number), Admission.ADMITTED,
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


A, B, C = device("a", 1), device("b", 2), device("c", 3)
AB = Pair(A.id, B.id, WEB)


def policy(
    *devices: Device, pairs: dict[Pair, Treatment] | None = None, inspected: bool = True, **more: object
) -> Policy:
    known = {d.id: d for d in devices or (A, B, C)}
    made = Policy(
        ports=SwitchPorts(1, INSPECTION if inspected else None, COPY if inspected else None,
                          frozenset({TRUNK}), frozenset({1, 2, 3, TRUNK})),
        devices=known,
        towards={d.id: d.binding.port for d in known.values() if d.binding},
        attached={d.id for d in known.values() if d.binding},
        pairs=pairs or {},
        networks=("10.0.0.0/8", "fe80::/10"),
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def flows(made: Policy) -> list[Flow]:
    return [flow for origin in compile_flows(made).values() for flow in origin]


def packet(sender: Device, to: Device, **more: object) -> Packet:
    assert sender.binding is not None
    assert sender.mac is not None
    assert to.mac is not None
    made = Packet(
        sender.binding.port, sender.mac, to.mac, IPV4, ip_proto=TCP, ip_src=f"10.0.0.{sender.number}",
        ip_dst=f"10.0.0.{to.number}", src_port=40000, dst_port=80, tcp_flags=SYN,
    )  # fmt: skip
    return replace(made, **more)  # type: ignore[arg-type]


def sent(made: Policy, one: Packet) -> Fate:
    return lookup(flows(made), one)


# Treatments of one pair


@pytest.mark.parametrize(
    ("chosen", "ports"),
    [
        (None, (INSPECTION,)),
        (Treatment.INSPECT, (INSPECTION,)),
        (Treatment.DROP, ()),
        (Treatment.FORWARD, (2,)),
        (Treatment.WATCH, (COPY, 2)),
    ],
)
def test_treatment_decides_on_the_request(chosen: Treatment | None, ports: tuple[int, ...]) -> None:
    made = policy(pairs={AB: chosen} if chosen else {})
    assert sent(made, packet(A, B)).ports == ports
    v6 = packet(A, B, eth_type=IPV6, ip_src="fe80::1", ip_dst="fe80::2")
    assert sent(made, v6).ports == ports


@pytest.mark.parametrize("chosen", [Treatment.INSPECT, Treatment.FORWARD, Treatment.WATCH])
def test_answers_go_at_line_rate_and_no_question_passes_as_one(chosen: Treatment) -> None:
    made = policy(pairs={AB: chosen})
    back = packet(B, A, src_port=80, dst_port=40000)
    assert sent(made, replace(back, tcp_flags=ACK[0])).ports == (1,)
    assert sent(made, back).ports == ()  # a handshake from the server's port
    assert sent(made, replace(back, src_port=81, tcp_flags=ACK[0])).ports == (INSPECTION,)


def test_answers_over_udp_are_told_by_what_was_asked() -> None:
    pair = Pair(A.id, B.id, COAP)
    made = policy(pairs={pair: Treatment.FORWARD})
    ask = packet(A, B, ip_proto=UDP, dst_port=5683, tcp_flags=None)
    assert sent(made, ask).committed
    back = packet(B, A, ip_proto=UDP, src_port=5683, dst_port=40000, tcp_flags=None)
    assert sent(made, replace(back, answer=True)).ports == (1,)
    assert sent(made, back).ports == (INSPECTION,)


def test_treatment_holds_for_its_client_and_not_for_others_or_other_ports() -> None:
    made = policy(pairs={AB: Treatment.FORWARD})
    assert sent(made, packet(C, B)).ports == (INSPECTION,)
    assert sent(made, packet(B, A)).ports == (INSPECTION,)
    assert sent(made, packet(A, B, dst_port=81)).ports == (INSPECTION,)


def test_without_an_inspection_port_what_must_be_judged_is_dropped() -> None:
    made = policy(pairs={AB: Treatment.INSPECT, Pair(A.id, C.id, WEB): Treatment.FORWARD}, inspected=False)
    assert sent(made, packet(A, B)).ports == ()
    assert sent(made, packet(A, C)).ports == (3,)
    assert sent(made, packet(B, C)).ports == ()


def test_what_comes_back_from_inspection_is_forwarded_also_to_where_it_came_from() -> None:
    made = policy()
    assert sent(made, packet(A, B, in_port=INSPECTION)).ports == (2,)
    assert sent(made, packet(A, B, in_port=TRUNK)).ports == (2,)  # judged where it entered
    assert sent(made, packet(A, B, in_port=COPY)).ports == ()  # nothing comes from there


# Who may send


@pytest.mark.parametrize(
    "forged",
    [
        {"in_port": 2},
        {"eth_src": B.mac},
        {"ip_src": "10.0.0.2"},
        {"tagged": True},
        {"eth_type": 0x88B5, "ip_proto": None, "ip_src": None, "ip_dst": None},
    ],
)
def test_forged_frame_goes_no_further_than_to_the_controller(forged: dict[str, object]) -> None:
    made = policy(pairs={AB: Treatment.FORWARD})
    assert set(sent(made, packet(A, B, **forged)).ports) <= {CONTROLLER_PORT}


def test_packet_for_one_device_in_a_frame_for_another_is_dropped() -> None:
    made = policy(pairs={Pair(A.id, C.id, WEB): Treatment.FORWARD})
    assert sent(made, packet(A, B, ip_dst="10.0.0.3")).ports == ()


@pytest.mark.parametrize("admission", [Admission.BLOCKED, Admission.NEW])
def test_device_that_is_not_admitted_reaches_nobody_and_is_reached_by_nobody(admission: Admission) -> None:
    out = replace(A, admission=admission)
    made = policy(out, B, pairs={AB: Treatment.FORWARD, Pair(B.id, A.id, WEB): Treatment.FORWARD})
    for one in (packet(A, B), packet(A, B, eth_type=ARP, ip_proto=None, tcp_flags=None)):
        assert set(sent(made, one).ports) <= {CONTROLLER_PORT}
    assert 1 not in sent(made, packet(B, A)).ports


def test_blocked_device_is_not_even_heard_by_the_controller() -> None:
    made = policy(replace(A, admission=Admission.BLOCKED), B)
    for port in (1, 3):
        assert sent(made, packet(A, B, in_port=port)).ports == ()


def test_device_speaks_for_its_own_addresses_only() -> None:
    made = policy()
    asks = Packet(
        1, str(A.mac), "ff:ff:ff:ff:ff:ff", ARP, ip_src="10.0.0.1", ip_dst="10.0.0.2", told_mac=A.mac
    )
    assert sent(made, asks).ports == (2, 3, TRUNK)
    for forged in ({"ip_src": "10.0.0.2"}, {"told_mac": B.mac}):
        assert set(sent(made, replace(asks, **forged)).ports) <= {CONTROLLER_PORT}  # type: ignore[arg-type]
    tells = Packet(1, str(A.mac), "33:33:00:00:00:01", IPV6, ip_proto=ICMPV6, ip_src="fe80::1",
                   ip_dst="ff02::1", icmp_type=NEIGHBOUR_ADVERTISEMENT, nd_target="fe80::1",
                   told_mac=A.mac)  # fmt: skip
    assert sent(made, tells).ports == (2, 3, TRUNK)
    assert sent(made, replace(tells, nd_target="fe80::2")).ports == ()


def test_lldp_goes_to_the_controller_only_wherever_it_comes_from() -> None:
    for port in (1, TRUNK):
        assert sent(policy(), Packet(port, str(A.mac), "01:80:c2:00:00:0e", LLDP)).ports == (CONTROLLER_PORT,)


# Infrastructure

OFFER = Packet(2, str(B.mac), "ff:ff:ff:ff:ff:ff", IPV4, ip_proto=UDP, ip_src="10.0.0.2",
               ip_dst="255.255.255.255", src_port=67, dst_port=68)  # fmt: skip
ADVERTISES = Packet(2, str(B.mac), "33:33:00:00:00:01", IPV6, ip_proto=ICMPV6, ip_src="fe80::2",
                    ip_dst="ff02::1", icmp_type=ROUTER_ADVERTISEMENT)  # fmt: skip


@pytest.mark.parametrize(("role", "frame"), [("dhcp", OFFER), ("router", ADVERTISES)])
def test_only_who_has_the_role_answers_as_a_server_of_it(role: str, frame: Packet) -> None:
    assert sent(policy(), frame).ports == ()
    assert 1 in sent(policy(A, replace(B, roles=frozenset({role})), C), frame).ports
    blocked = replace(B, roles=frozenset({role}), admission=Admission.BLOCKED)
    assert sent(policy(A, blocked, C), frame).ports == ()


def test_name_server_is_asked_by_all_without_a_question_to_the_manager() -> None:
    made = policy(A, replace(B, roles=frozenset({"dns"})), C)
    ask = packet(A, B, ip_proto=UDP, dst_port=53, tcp_flags=None)
    assert sent(made, ask).ports == (COPY, 2)
    assert sent(made, replace(ask, dst_port=54)).ports == (INSPECTION,)


def test_discovery_goes_to_all_and_is_copied() -> None:
    ask = Packet(1, str(A.mac), "01:00:5e:00:00:fb", IPV4, ip_proto=UDP, ip_src="10.0.0.1",
                 ip_dst="224.0.0.251", src_port=5353, dst_port=5353)  # fmt: skip
    assert sent(policy(), ask).ports == (COPY, 2, 3, TRUNK)
    assert sent(policy(), replace(ask, dst_port=5354)).ports == (INSPECTION,)


def test_router_brings_addresses_from_outside_and_never_from_inside() -> None:
    made = policy(A, replace(B, roles=frozenset({"router"})), C)
    outside = packet(B, A, ip_src="203.0.113.7")
    assert sent(made, outside).ports == (INSPECTION,)
    assert sent(made, replace(outside, ip_src="10.0.0.99")).ports == (CONTROLLER_PORT,)


# Several switches


def test_pair_of_devices_elsewhere_leaves_no_flows_here() -> None:
    made = policy(pairs={AB: Treatment.FORWARD}, attached={C.id})
    assert compile_flows(made)[AB.origin] == ()
    assert compile_flows(made)[f"binding {A.id}"] == ()


def test_device_behind_a_trunk_is_reached_over_it() -> None:
    made = policy(pairs={AB: Treatment.FORWARD}, attached={A.id}, towards={A.id: 1, B.id: TRUNK})
    assert sent(made, packet(A, B)).ports == (TRUNK,)


# Size and origin


def test_flows_grow_with_devices_and_pairs_and_not_with_their_product() -> None:
    def count(number: int) -> int:
        devices = [
            Device(DeviceId(f"d{n}"), n, Place.SITE, "d", f"02:00:00:00:{n:02x}:01",
                   frozenset({f"10.0.1.{n}"}), Binding(1, 1), Admission.ADMITTED)
            for n in range(1, number + 1)
        ]  # fmt: skip
        return len(flows(policy(*devices)))

    assert count(40) - count(20) == count(60) - count(40)


def test_cookie_of_every_flow_is_that_of_its_origin_and_keys_are_unique() -> None:
    made = compile_flows(policy(pairs={AB: Treatment.INSPECT, Pair(B.id, A.id, COAP): Treatment.FORWARD}))
    for origin, of in made.items():
        assert {flow.cookie for flow in of} <= {cookie_of(origin)}
    everything = [flow.key for of in made.values() for flow in of]
    assert len(everything) == len(set(everything))


# For a short time


def test_settled_connection_goes_by_itself_and_no_other_does() -> None:
    made = policy(pairs={AB: Treatment.INSPECT})
    settled = compile_connection(A, B, ("10.0.0.1", "10.0.0.2"), (40000, 80), 30, 60)
    assert settled.idle_timeout == 30
    goes = packet(A, B, tcp_flags=ACK[0])
    assert lookup([*flows(made), settled], goes).ports == (2,)
    for other in ({"src_port": 40001}, {"tcp_flags": SYN}, {"dst_port": 81}):
        assert lookup([*flows(made), settled], replace(goes, **other)).ports == (INSPECTION,)  # type: ignore[arg-type]


def test_refusal_drops_repeats_and_ends_by_itself() -> None:
    refusal = compile_refusal(A, B, WEB, IPV4, 5)
    assert refusal is not None
    assert (refusal.hard_timeout, refusal.table) == (5, Table.VERDICT)
    assert lookup([*flows(policy()), refusal], packet(A, B)).ports == ()
    assert lookup([*flows(policy()), refusal], packet(C, B)).ports == (INSPECTION,)
    assert compile_refusal(A, B, Endpoint("icmp", 0), IPV4, 5) is None


def test_broadcast_that_was_inspected_goes_to_all_but_its_sender() -> None:
    hears = packet(A, B, eth_dst="ff:ff:ff:ff:ff:ff", in_port=INSPECTION)
    assert sent(policy(), hears).ports == (2, 3, TRUNK)
    behind = policy(attached={B.id, C.id}, towards={A.id: TRUNK, B.id: 2, C.id: 3})
    assert sent(behind, replace(hears, in_port=TRUNK)).ports == (1, 2, 3)


def test_datagram_from_and_to_the_port_of_a_service_is_read_though_it_may_be_an_answer() -> None:
    made = policy(pairs={Pair(A.id, B.id, COAP): Treatment.INSPECT})
    back = packet(B, A, ip_proto=UDP, src_port=5683, dst_port=5683, tcp_flags=None, answer=True)
    assert sent(made, back).ports == (INSPECTION,)
    web = policy(pairs={AB: Treatment.INSPECT})  # over TCP the flags tell
    assert sent(web, packet(B, A, src_port=80, dst_port=80, tcp_flags=ACK[0])).ports == (1,)
