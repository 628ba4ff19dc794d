"""The application in this process, with switches on real sockets: what it hears, sends and survives."""

import logging
import os
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from os_ken import cfg
from os_ken.base.app_manager import AppManager
from os_ken.lib import hub
from os_ken.ofproto import ofproto_v1_3 as ofp

from controller import launch
from controller.app import GraphwallApp
from controller.config import Config, OpenFlow
from controller.events import (
    Answer,
    Done,
    Effect,
    Event,
    FlowCounters,
    FlowGone,
    FlowsRead,
    PacketIn,
    PortChanged,
    ReadFlows,
    Refused,
    SendFlows,
    SendFrame,
    SwitchDown,
    SwitchUp,
    Undo,
)
from controller.flows.flow import (
    COOKIE_MARK,
    Change,
    Flow,
    Goto,
    Match,
    Output,
    Strange,
    Table,
    cookie_of,
)
from controller.switches import gate, openflow, session
from tests.unit.fake_firewall import FakeFirewall, FakeStore
from tests.unit.fake_switch import FakeSwitch, message, stats_bytes, wait_for

LAMP = Flow(
    Table.VERDICT,
    300,
    Match(eth_type=0x0800, ip_proto=6, source=3, destination=7, dst_port=80),
    (Goto(Table.FORWARDING),),
    cookie_of("pair lamp hub tcp-80"),
)
HUB = replace(LAMP, match=replace(LAMP.match, source=4), cookie=cookie_of("pair hub lamp tcp-80"))
FLOW_MOD = ofp.OFPT_FLOW_MOD
IDLE = 4  # threads: the application's, its keeper's, os-ken's handler's, and one that accepts
EACH = 4  # more for a switch: reading, sending, echo, and its session's writer


class Site:
    """A running controller with a fake firewall, and the switches that connect to it."""

    def __init__(self, config: Config | None = None) -> None:
        self.firewall = FakeFirewall()
        self.store = FakeStore()
        self.running = launch.start(
            config or Config(openflow=OpenFlow(port=0)), self.firewall, self.store, None
        )
        self.app = self.running.app
        self.switches: list[FakeSwitch] = []

    def connect(self, dpid: int = 1, *, up: bool = True, **how: Any) -> FakeSwitch:
        before = len(self.of(SwitchUp))
        switch = FakeSwitch(self.running.port, dpid, **how)
        self.switches.append(switch)
        if up:
            wait_for(lambda: len(self.of(SwitchUp)) > before)
        return switch

    def of(self, kind: type) -> list[Any]:
        return self.firewall.of(kind)

    def wait(self, kind: type, seconds: float = 5.0) -> Any:
        return wait_for(lambda: self.of(kind), seconds)[0]

    def do(self, *effects: Effect) -> None:
        """Let the firewall want this, and wait until it has been carried out."""

        def decide(event: Event) -> Sequence[Effect]:
            return [*effects, Answer(event.token)] if isinstance(event, Undo) else []

        self.firewall.decide = decide
        self.app.call(Undo(0, 1, "test"))

    def close(self) -> None:
        self.running.stop()
        for switch in self.switches:
            switch.close()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


def ours() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if isinstance(t, hub.HubThread)]


# ------------------------------------------------------------------ connecting


def test_a_switch_is_set_up_before_the_firewall_hears_of_it(site: Site) -> None:
    switch = site.connect(dpid=0xABC)
    up = site.wait(SwitchUp)
    assert (up.switch, up.flows) == (0xABC, ())
    assert [(port.number, port.name, port.up) for port in up.ports] == [
        (1, "s1-eth1", True),
        (2, "s1-gwi", True),
    ]
    (config,) = switch.of(ofp.OFPT_SET_CONFIG)
    assert struct.unpack_from("!HH", config, 8) == (ofp.OFPC_FRAG_DROP, 0xFFFF)
    meters = {struct.unpack_from("!I", data, 12)[0] for data in switch.of(ofp.OFPT_METER_MOD)}
    assert meters == set(openflow.METERS)
    assert site.of(SwitchDown) == []


def test_fragments_pass_when_the_site_allows_them() -> None:
    site = Site(Config(openflow=OpenFlow(port=0), fragments="allow"))
    try:
        (config,) = site.connect().of(ofp.OFPT_SET_CONFIG)
        assert struct.unpack_from("!H", config, 8) == (ofp.OFPC_FRAG_NORMAL,)
    finally:
        site.close()


def test_the_flows_that_a_switch_still_holds_are_read(site: Site) -> None:
    site.connect(entries=(stats_bytes(LAMP), stats_bytes(HUB)))
    assert site.wait(SwitchUp).flows == (LAMP, HUB)


def test_flows_of_others_in_our_tables_are_told_but_are_not_ours(site: Site) -> None:
    elsewhere = bytearray(stats_bytes(HUB, cookie=5))
    elsewhere[2] = 77  # the table
    site.connect(entries=(stats_bytes(LAMP), stats_bytes(HUB, cookie=5), bytes(elsewhere)))
    assert site.wait(SwitchUp).flows == (LAMP,)
    assert set(site.wait(FlowsRead).flows.values()) == {LAMP, replace(HUB, cookie=5)}


def test_a_flow_with_our_mark_that_we_cannot_read_is_told_as_strange(site: Site) -> None:
    strange = bytearray(stats_bytes(replace(LAMP, actions=(Goto(Table.FORWARDING),))))
    strange[-4] = 200  # to a table that there is not
    site.connect(entries=(bytes(strange), stats_bytes(HUB)))
    assert site.wait(SwitchUp).flows == (HUB,)
    found = next(f for f in site.wait(FlowsRead).flows.values() if isinstance(f, Strange))
    assert (found.table, found.cookie, found.key) == (Table.VERDICT, LAMP.cookie, LAMP.key)


def test_what_has_no_words_here_is_purged_by_its_cookie(site: Site) -> None:
    switch = site.connect()
    site.do(SendFlows(1, Change(add=(LAMP,), purge=((Table.VERDICT, 5),))))
    purge, _ = wait_for(lambda: switch.of(FLOW_MOD)[1:] and switch.of(FLOW_MOD))
    cookie, mask, table, command = struct.unpack_from("!QQBB", purge, 8)
    assert (cookie, mask, table, command) == (5, 2**64 - 1, Table.VERDICT, ofp.OFPFC_DELETE)


def test_a_reading_that_is_asked_for_comes_at_once_and_says_what_it_shows(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "READ_EVERY", 60.0)
    site.connect(entries=(stats_bytes(LAMP),))
    site.do(SendFlows(1, Change(add=(LAMP,)), ticket=7))
    site.wait(Done)
    site.do(ReadFlows(1, 3))
    read = wait_for(lambda: [e for e in site.of(FlowsRead) if e.number == 3])[0]
    assert (read.switch, read.ticket, tuple(read.flows.values())) == (1, 7, (LAMP,))


def test_many_flows_are_read_in_parts_and_told_as_one_reading(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "READ_EVERY", 0.05)
    monkeypatch.setattr(session, "PART", 3)
    flows = [replace(LAMP, priority=100 + n, cookie=cookie_of(f"pair {n}")) for n in range(20)]
    switch = site.connect(entries=tuple(map(stats_bytes, flows)))
    wait_for(lambda: len(site.of(FlowsRead)) > 2)
    asked = [data for data in switch.of(ofp.OFPT_MULTIPART_REQUEST) if data[8:10] == b"\0\1"]
    parts = {struct.unpack_from("!QQ", data, 32) for data in asked[1:9]}
    assert parts == {(part, 7) for part in range(8)}
    assert all(set(read.flows.values()) == set(flows) for read in site.of(FlowsRead))


@pytest.mark.parametrize("exists", [True, False])
def test_meters_that_are_there_are_replaced_and_those_refused_are_done_without(
    site: Site, exists: bool, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(kind: int, data: bytes) -> tuple[int, int] | None:
        if kind != ofp.OFPT_METER_MOD:
            return None
        if exists:
            (command,) = struct.unpack_from("!H", data, 8)
            new = command == ofp.OFPMC_ADD
            return (ofp.OFPET_METER_MOD_FAILED, ofp.OFPMMFC_METER_EXISTS) if new else None
        return (ofp.OFPET_BAD_REQUEST, ofp.OFPBRC_BAD_TYPE)

    switch = site.connect(refuse=refuse)
    tells = replace(LAMP, actions=(Output(openflow.CONTROLLER_PORT),))
    site.do(SendFlows(1, Change(add=(tells,))))
    (flow_mod,) = wait_for(lambda: switch.of(FLOW_MOD))
    if exists:
        assert len(switch.of(ofp.OFPT_METER_MOD)) == 2 * len(openflow.METERS)
        assert flow_mod == openflow.encode_flow(tells, openflow.ADD, struct.unpack_from("!I", flow_mod, 4)[0])
    else:
        assert "has no meters (bad request: bad type)" in caplog.text
        assert caplog.text.count("has no meters") == 1
        assert flow_mod[8:] == openflow.encode_flow(tells, openflow.ADD, 0, metered=False)[8:]
    assert site.of(Refused) == []


def test_a_switch_that_does_not_answer_at_set_up_is_hung_up_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "SET_UP_WITHIN", 0.3)
    answered = 0

    def refuse(kind: int, _: bytes) -> None:
        """os-ken's own request for the ports is answered, those after it are not."""
        nonlocal answered
        if kind == ofp.OFPT_MULTIPART_REQUEST:
            answered += 1
            if answered > 1:
                switch.silent = (ofp.OFPT_MULTIPART_REQUEST,)

    switch = FakeSwitch(site.running.port, refuse=refuse)
    site.switches.append(switch)
    wait_for(lambda: switch.closed)
    assert site.of(SwitchUp) == []
    assert site.of(SwitchDown) == []


# ------------------------------------------------------------------ orders


def test_a_change_is_sent_in_order_and_confirmed(site: Site) -> None:
    switch = site.connect()
    site.do(SendFlows(1, Change(delete=(HUB,), add=(LAMP,)), ticket=42))
    assert site.wait(Done) == Done(1, 42)
    kinds = [kind for kind, _ in switch.heard if kind in (FLOW_MOD, ofp.OFPT_BARRIER_REQUEST)]
    assert kinds == [FLOW_MOD, FLOW_MOD, ofp.OFPT_BARRIER_REQUEST]
    deleted, added = switch.of(FLOW_MOD)
    assert deleted[8:] == openflow.encode_flow(HUB, openflow.DELETE_STRICT, 0)[8:]
    assert added[8:] == openflow.encode_flow(LAMP, openflow.ADD, 0)[8:]


def test_many_changes_are_confirmed_one_by_one(site: Site) -> None:
    site.connect()
    site.do(*(SendFlows(1, Change(add=(LAMP,)), ticket=n) for n in range(300)))
    wait_for(lambda: len(site.of(Done)) == 300)
    assert [done.ticket for done in site.of(Done)] == list(range(300))


def test_a_refused_flow_is_traced_to_its_change_and_origin(site: Site) -> None:
    def refuse(kind: int, data: bytes) -> tuple[int, int] | None:
        if kind == FLOW_MOD and struct.unpack_from("!Q", data, 8) == (HUB.cookie,):
            return (ofp.OFPET_FLOW_MOD_FAILED, ofp.OFPFMFC_TABLE_FULL)
        return None

    site.connect(refuse=refuse)
    site.do(
        SendFlows(1, Change(add=(LAMP,)), ticket=1), SendFlows(1, Change(add=(LAMP, HUB, LAMP)), ticket=2)
    )
    refused = site.wait(Refused)
    assert refused == Refused(1, 2, HUB.cookie, "flow mod failed: table full")
    wait_for(lambda: len(site.of(Done)) == 2)


def test_a_flow_that_cannot_be_said_is_reported_and_the_rest_is_sent(site: Site) -> None:
    switch = site.connect()
    bad = replace(HUB, match=Match(ip_src="10.0.0.1"))
    site.do(SendFlows(1, Change(add=(bad, LAMP)), ticket=9))
    refused = site.wait(Refused)
    assert (refused.ticket, refused.cookie) == (9, HUB.cookie)
    assert site.wait(Done) == Done(1, 9)
    assert len(switch.of(FLOW_MOD)) == 1


def test_frames_go_out_by_a_port_or_through_the_tables(site: Site) -> None:
    switch = site.connect()
    site.do(SendFrame(1, b"by a port", 3), SendFrame(1, b"through the tables", None, in_port=2))
    direct, again = wait_for(lambda: switch.of(ofp.OFPT_PACKET_OUT)[1:] and switch.of(ofp.OFPT_PACKET_OUT))
    assert struct.unpack_from("!I", direct, 12) == (ofp.OFPP_CONTROLLER,)
    assert struct.unpack_from("!I", direct, 28) == (3,)
    assert direct.endswith(b"by a port")
    assert struct.unpack_from("!I", again, 12) == (2,)
    assert struct.unpack_from("!I", again, 28) == (ofp.OFPP_TABLE,)
    assert again.endswith(b"through the tables")


def test_what_is_for_a_switch_that_is_not_there_is_dropped(site: Site) -> None:
    site.connect(dpid=1)
    site.do(
        SendFlows(2, Change(add=(LAMP,)), ticket=1), SendFrame(2, b"x", 1), SendFlows(1, Change(), ticket=5)
    )
    assert site.wait(Done) == Done(1, 5)


# ------------------------------------------------------------------ what switches say


def test_ports_that_change_are_told(site: Site) -> None:
    switch = site.connect()
    switch.port_status(ofp.OFPPR_ADD, 7, "s1-eth7")
    switch.port_status(ofp.OFPPR_MODIFY, 7, "s1-eth7", ofp.OFPPS_LINK_DOWN)
    switch.port_status(ofp.OFPPR_DELETE, 7, "s1-eth7")
    wait_for(lambda: len(site.of(PortChanged)) == 3)
    assert [(e.port.number, e.port.up, e.gone) for e in site.of(PortChanged)] == [
        (7, True, False),
        (7, False, False),
        (7, True, True),
    ]


def test_frames_that_a_flow_of_ours_sent_up_are_told(site: Site) -> None:
    switch = site.connect()
    switch.packet_in(4, b"of another's flow", 5)
    switch.packet_in(4, b"of ours", COOKIE_MARK | 5)
    assert site.wait(PacketIn) == PacketIn(1, 4, b"of ours")


def test_flows_that_ended_by_themselves_are_told(site: Site) -> None:
    switch = site.connect()
    short = replace(LAMP, idle_timeout=30)
    switch.flow_removed(short, ofp.OFPRR_DELETE)
    switch.flow_removed(short, ofp.OFPRR_IDLE_TIMEOUT)
    assert site.wait(FlowGone) == FlowGone(1, replace(short, actions=()))
    assert len(site.of(FlowGone)) == 1


def test_counters_are_added_up_by_cookie(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "COUNTERS_EVERY", 0.05)
    monkeypatch.setattr(session, "READ_EVERY", 0.05)
    twin = replace(LAMP, match=replace(LAMP.match, eth_type=0x86DD))
    site.connect(entries=(stats_bytes(LAMP, 2, 200), stats_bytes(twin, 3, 30), stats_bytes(HUB, 1, 1)))
    wait_for(lambda: len(site.of(FlowCounters)) > 1)
    assert site.of(FlowCounters)[1].counters == {LAMP.cookie: (5, 230), HUB.cookie: (1, 1)}


# ------------------------------------------------------------------ what goes wrong


@pytest.mark.parametrize("method", ["packet_in", "port_status", "barrier_reply", "error", "flow_removed"])
def test_a_mistake_in_a_handler_does_not_end_the_thread(
    site: Site, method: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    switch = site.connect()

    def fail(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(session.Session, method, fail)
        switch.packet_in(4, b"one", COOKIE_MARK)
        switch.port_status(ofp.OFPPR_ADD, 7, "s1-eth7")
        switch.send(message(ofp.OFPT_BARRIER_REPLY, xid=5))
        switch.send(message(ofp.OFPT_ERROR, struct.pack("!HH", 1, 1) + bytes(64), xid=5))
        switch.flow_removed(LAMP, ofp.OFPRR_IDLE_TIMEOUT)
        wait_for(lambda: site.app.mistakes == 1)
    assert "a bug" in caplog.text
    caplog.clear()
    switch.packet_in(4, b"two", COOKIE_MARK)
    wait_for(lambda: PacketIn(1, 4, b"two") in site.of(PacketIn))


@pytest.mark.parametrize("what", ["connected", "disconnected"])
def test_a_mistake_in_connecting_does_not_end_the_thread(
    site: Site, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(type(site.app), f"_{what}", lambda *_: 1 / 0)
        switch = site.connect(up=what == "disconnected")
        if what == "disconnected":
            switch.close()
        wait_for(lambda: site.app.mistakes == 1)
    site.connect(dpid=2)


def test_a_switch_that_goes_is_noticed_by_that_and_not_by_its_silence(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "ECHO_EVERY", 60.0)
    switch = site.connect()
    switch.close()
    assert site.wait(SwitchDown) == SwitchDown(1)
    wait_for(lambda: len(ours()) == IDLE)


def test_a_switch_that_does_not_answer_echoes_is_hung_up_on(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "ECHO_EVERY", 0.05)
    switch = site.connect()
    time.sleep(1)
    assert site.of(SwitchDown) == [], "one that answers stays"
    switch.silent = (ofp.OFPT_ECHO_REQUEST,)
    site.wait(SwitchDown)
    wait_for(lambda: switch.closed)


def test_a_switch_that_does_not_read_holds_up_nobody(site: Site) -> None:
    stuck = site.connect(dpid=1)
    release = threading.Event()
    stuck.refuse = lambda *_: release.wait(30) and None
    site.connect(dpid=2)
    many = tuple(replace(LAMP, match=replace(LAMP.match, source=n)) for n in range(30_000))
    begin = time.monotonic()
    site.do(SendFlows(1, Change(add=many), 1), SendFlows(1, Change(add=many), 2), SendFlows(2, Change(), 3))
    assert site.wait(Done) == Done(2, 3)
    assert time.monotonic() - begin < 2
    release.set()


def test_the_newer_of_two_connections_counts(site: Site) -> None:
    first = site.connect(dpid=5)
    second = site.connect(dpid=5)
    assert [type(e) for e in site.firewall.events if isinstance(e, SwitchUp | SwitchDown)] == [
        SwitchUp,
        SwitchDown,
        SwitchUp,
    ]
    wait_for(lambda: first.closed)
    site.do(SendFlows(5, Change(add=(LAMP,)), 3))
    wait_for(lambda: second.of(FLOW_MOD))
    time.sleep(0.2)
    assert len(site.of(SwitchDown)) == 1


def test_a_switch_with_openflow_1_0_only_is_told_of_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        switch = site.connect(up=False, version=1)
        wait_for(lambda switch=switch: switch.closed)
        (error,) = switch.of(ofp.OFPT_ERROR)
        assert struct.unpack_from("!H", error, 8) == (ofp.OFPET_HELLO_FAILED,)
    (line,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert line == (
        "the switch at 127.0.0.1 is refused: it does not speak OpenFlow 1.3; on the switch: "
        "ovs-vsctl set bridge BRIDGE protocols=OpenFlow13, or: graphwall attach BRIDGE"
    )


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        os.urandom(3000),
        b"\x04\x00\x00\x02abcd" * 50,
        message(ofp.OFPT_MULTIPART_REPLY, b"\xff\xff"),
        message(ofp.OFPT_FEATURES_REPLY, b"\x01"),
        b"\x04",
    ],
    ids=["HTTP", "noise", "the same header again and again", "cut reply", "cut features", "one byte"],
)
def test_whoever_speaks_something_else_disturbs_nobody(site: Site, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", site.running.port)) as other:
        with suppress(OSError):
            other.sendall(message(ofp.OFPT_HELLO) + data)
        site.connect()
    site.switches[0].close()
    wait_for(lambda: len(ours()) == IDLE)


def test_garbage_from_a_connected_switch_ends_its_connection_only(site: Site) -> None:
    bad, good = site.connect(dpid=1), site.connect(dpid=2)
    bad.send(b"\x09" + message(ofp.OFPT_HELLO)[1:])
    assert site.wait(SwitchDown) == SwitchDown(1)
    good.packet_in(4, b"still here", COOKIE_MARK)
    assert site.wait(PacketIn).switch == 2


def test_connections_have_an_end(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "CONNECTIONS_AT_MOST", 3)
    for dpid in (1, 2, 3):
        site.connect(dpid)
    fourth = site.connect(4, up=False)
    wait_for(lambda: fourth.closed)
    site.switches[0].close()
    site.wait(SwitchDown)
    wait_for(lambda: len(ours()) == IDLE + 2 * EACH)
    site.connect(5)


# ------------------------------------------------------------------ starting and stopping


@pytest.mark.parametrize("switches", [0, 3])
def test_stopping_leaves_nothing(switches: int) -> None:
    for _ in range(2):
        site = Site()
        connected = [site.connect(dpid) for dpid in range(1, switches + 1)]
        port = site.running.port
        begin = time.monotonic()
        site.running.stop()
        assert time.monotonic() - begin < 1
        assert ours() == []
        for switch in connected:
            wait_for(lambda switch=switch: switch.closed)
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port))
        site.close()


def test_stopping_does_not_wait_for_a_switch_that_does_not_read() -> None:
    site = Site()
    stuck = site.connect()
    release = threading.Event()
    stuck.refuse = lambda *_: release.wait(30) and None
    many = tuple(replace(LAMP, match=replace(LAMP.match, source=n)) for n in range(60_000))
    site.do(SendFlows(1, Change(add=many)))
    time.sleep(0.3)
    begin = time.monotonic()
    site.running.stop()
    assert time.monotonic() - begin < 1.5
    wait_for(lambda: ours() == [])
    release.set()
    site.close()


def test_stopping_does_not_wait_for_a_connection_that_says_nothing() -> None:
    site = Site()
    with socket.create_connection(("127.0.0.1", site.running.port)):
        wait_for(lambda: len(ours()) > IDLE)
        begin = time.monotonic()
        site.close()
        assert time.monotonic() - begin < 1
        assert ours() == []


def test_what_was_decided_before_the_end_is_still_sent() -> None:
    site = Site()
    switch = site.connect()
    many = tuple(replace(LAMP, match=replace(LAMP.match, source=n)) for n in range(2000))
    site.do(SendFlows(1, Change(add=many)))
    site.running.stop()
    wait_for(lambda: switch.closed)
    assert len(switch.of(FLOW_MOD)) == 2000
    site.close()


def test_os_kens_own_options_say_where_it_listens() -> None:
    site = Site()
    assert cfg.CONF.ofp_listen_host == "127.0.0.1"
    assert cfg.CONF.ofp_tcp_listen_port == site.running.port
    site.close()
    assert cfg.CONF.ofp_tcp_listen_port is None


def test_ipv6_is_listened_on_too() -> None:
    if not Path("/proc/net/if_inet6").exists() or "lo" not in Path("/proc/net/if_inet6").read_text():
        pytest.skip("no IPv6 here")
    running = launch.start(Config(openflow=OpenFlow(listen="::1", port=0)), FakeFirewall(), None, None)
    try:
        socket.create_connection(("::1", running.port)).close()
    finally:
        running.stop()


# ------------------------------------------------------------------ what cannot be started


def refusal(**keys: Any) -> str:
    with pytest.raises(launch.LaunchError) as caught:
        launch.start(Config(openflow=OpenFlow(**keys)), FakeFirewall(), None, None)
    assert ours() == []
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_only_this_machine_is_listened_to_unless_told_otherwise() -> None:
    running = launch.start(Config(openflow=OpenFlow(port=0)), FakeFirewall(), None, None)
    try:
        socket.create_connection(("127.0.0.1", running.port), 5).close()
        with pytest.raises(ConnectionRefusedError):  # as from any other address
            socket.create_connection(("127.0.0.2", running.port), 5)
    finally:
        running.stop()


def test_a_port_in_use_is_said_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        text = refusal(port=port)
    assert text.startswith(f"port {port} on 127.0.0.1 is in use")
    assert "openflow.port in site.yaml" in text


def test_an_address_of_another_machine_is_said_so() -> None:
    text = refusal(listen="192.0.2.1")
    assert text == "192.0.2.1 is no address of this machine: set openflow.listen in site.yaml"


# ------------------------------------------------------------------ TLS


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, certificates of it for controller and switch, and one that signed itself."""
    folder = tmp_path_factory.mktemp("pki")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    usage = (
        "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
    )  # Python 3.13 insists on it (RFC 5280, 4.2.1.3)
    openssl(*new, "-x509", *usage, "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem")
    (folder / "leaf").write_text("authorityKeyIdentifier=keyid\nsubjectKeyIdentifier=hash\n")
    openssl(*new, "-x509", "-subj", "/CN=stranger", "-keyout", "stranger.key", "-out", "stranger.pem")
    for name in ("controller", "switch"):
        openssl(*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-extfile", "leaf", "-days", "2", "-out", f"{name}.pem")  # fmt: skip
    return folder


def with_tls(pki: Path, **keys: Any) -> OpenFlow:
    files = {"key": "controller.key", "certificate": "controller.pem", "ca": "ca.pem", **keys}
    return OpenFlow(tls_port=0, **{name: str(pki / file) for name, file in files.items()})


def client(pki: Path, name: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=pki / "ca.pem")
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_STRICT  # as from Python 3.13 on
    if name is not None:
        context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    return context


def test_a_switch_with_a_certificate_connects_by_tls(pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "ECHO_EVERY", 60.0)  # that it goes is noticed without asking
    site = Site(Config(openflow=with_tls(pki)))
    try:
        switch = site.connect(tls=client(pki, "switch"))
        assert cfg.CONF.ofp_ssl_listen_port == site.running.port
        assert cfg.CONF.ofp_tcp_listen_port is None
        many = tuple(replace(LAMP, match=replace(LAMP.match, source=n)) for n in range(5000))
        for ticket in range(3):
            site.do(SendFlows(1, Change(add=many), ticket))
            for _ in range(200):
                switch.packet_in(4, b"x" * 1400, COOKIE_MARK)
        wait_for(lambda: len(site.of(Done)) == 3, 20)
        wait_for(lambda: len(site.of(PacketIn)) == 600, 20)
        assert len(switch.of(FLOW_MOD)) == 15_000
        switch.close()
        site.wait(SwitchDown)
        site.connect(tls=client(pki, "switch"))
        begin = time.monotonic()
        site.running.stop()
        assert time.monotonic() - begin < 1
        assert ours() == []
    finally:
        site.close()


@pytest.mark.parametrize("who", [None, "stranger", "plain"])
def test_a_switch_without_a_certificate_of_the_ca_is_refused(
    pki: Path, who: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(Config(openflow=with_tls(pki)))
    try:
        with suppress(OSError):
            switch = site.connect(up=False, tls=None if who == "plain" else client(pki, who))
            wait_for(lambda: switch.closed)
        wait_for(lambda: "is refused: no TLS with a certificate of our CA" in caplog.text)
        assert site.firewall.events == []
        site.connect(tls=client(pki, "switch"))
    finally:
        site.close()


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ({"key": "none.key"}, r"none.key does not exist: correct openflow.key in site.yaml"),
        ({"ca": "none.pem"}, r"none.pem does not exist: correct openflow.ca in site.yaml"),
        (
            {"key": "ca.key"},
            r"are no certificate with its key, in PEM \(.*\): correct openflow.certificate and",
        ),
        ({"certificate": "ca.key"}, r"are no certificate with its key, in PEM"),
        ({"ca": "ca.key"}, r"ca.key is no CA certificate in PEM \(.*\): correct openflow.ca in site.yaml"),
    ],
)
def test_bad_tls_files_are_named(pki: Path, keys: dict[str, str], text: str) -> None:
    with pytest.raises(launch.LaunchError, match=text):
        launch.start(Config(openflow=with_tls(pki, **keys)), FakeFirewall(), None, None)
    assert ours() == []


def test_an_encrypted_key_does_not_ask_the_terminal(pki: Path) -> None:
    subprocess.run(
        ["openssl", "ec", "-in", "controller.key", "-aes128", "-passout", "pass:x", "-out", "locked.key"],
        cwd=pki, check=True, capture_output=True,
    )  # fmt: skip
    with pytest.raises(launch.LaunchError, match="the key is encrypted"):
        launch.start(Config(openflow=with_tls(pki, key="locked.key")), FakeFirewall(), None, None)


# ------------------------------------------------------------------ without injected parts


def test_without_its_parts_it_makes_do_and_says_what_is_missing(caplog: pytest.LogCaptureFixture) -> None:
    app = GraphwallApp()
    (warning,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert "site.yaml, store and inspector" in warning
    assert "graphwall run" in warning
    app.start()
    try:
        assert app.snapshot().switches == ()
    finally:
        app.stop()


def test_the_application_is_the_first_that_os_ken_finds_in_the_module() -> None:
    assert AppManager().load_app("controller.app").__name__ == "GraphwallApp"
