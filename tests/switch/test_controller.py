"""The running controller and Open vSwitch itself: what is asked for happens, what happens is told."""

import datetime as dt
import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller import launch
from controller.commands import attach, certificates
from controller.config import Config, OpenFlow
from controller.events import (
    Answer,
    Done,
    Effect,
    Event,
    FlowCounters,
    FlowGone,
    PacketIn,
    PortChanged,
    Refused,
    SendFlows,
    SendFrame,
    SwitchDown,
    SwitchUp,
    Undo,
)
from controller.flows.flow import (
    CONTROLLER_PORT,
    PACKET_IN_RATE,
    Change,
    Flow,
    Goto,
    Match,
    Output,
    Table,
    cookie_of,
    difference,
)
from tests.switch.conftest import Channel, command
from tests.unit.fake_firewall import FakeFirewall
from tests.unit.fake_switch import wait_for

pytestmark = pytest.mark.root

LAMP = Flow(
    Table.VERDICT,
    300,
    Match(eth_type=0x0800, ip_proto=6, source=3, destination=7, dst_port=80),
    (Goto(Table.FORWARDING),),
    cookie_of("pair lamp hub tcp-80"),
)
TELLS = Flow(Table.ADMISSION, 100, Match(eth_type=0x0800), (Output(CONTROLLER_PORT),), cookie_of("switch"))
LINKS = Flow(Table.ADMISSION, 500, Match(eth_type=0x88CC), (Output(CONTROLLER_PORT),), cookie_of("links"))


class Site:
    """A controller with a fake firewall, and a bridge with two ports that is attached to it."""

    def __init__(self, bridge: str, openflow: OpenFlow, scheme: str = "tcp") -> None:
        self.bridge = bridge
        self.firewall = FakeFirewall()
        self.running = launch.start(Config(openflow=openflow), self.firewall, None, None)
        self.target = f"{scheme}:127.0.0.1:{self.running.port}"
        attach.attach(bridge, self.target, inspect=False)

    def of(self, kind: type) -> list[Any]:
        return self.firewall.of(kind)

    def wait(self, kind: type, seconds: float = 10.0) -> Any:
        return wait_for(lambda: self.of(kind), seconds)[0]

    @property
    def switch(self) -> int:
        return int(self.wait(SwitchUp).switch)

    def do(self, *effects: Effect) -> None:
        def decide(event: Event) -> Sequence[Effect]:
            return [*effects, Answer(event.token)] if isinstance(event, Undo) else []

        self.firewall.decide = decide
        self.running.app.call(Undo(0, 1, "test"))

    def change(self, ticket: int = 1, delete: tuple[Flow, ...] = (), add: tuple[Flow, ...] = ()) -> None:
        """Send a change, and wait until the switch has carried it out."""
        self.do(SendFlows(self.switch, Change(delete, add), ticket))
        wait_for(lambda: ticket in [done.ticket for done in self.of(Done)], 30)

    def close(self) -> None:
        self.running.stop()
        attach.detach(self.bridge)


@pytest.fixture
def site(make_bridge: Callable[..., str]) -> Iterator[Site]:
    made = Site(make_bridge(ports=2), OpenFlow(port=0))
    yield made
    made.close()


def raw(site: Site, port: int) -> socket.socket:
    """The host's end of a port."""
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    opened.bind((f"{site.bridge}-{port}p", 0))
    opened.settimeout(2)
    return opened


def frame(eth_type: int, content: bytes = b"") -> bytes:
    head = bytes.fromhex("020000000001 020000000002") + eth_type.to_bytes(2)
    return head + content + bytes(46 - len(content) if len(content) < 46 else 0)


IP = frame(0x0800, bytes.fromhex("4500001c000000004011 0000 0a000001 0a000002 1633 1633 0008 0000"))


def test_a_change_is_confirmed_when_the_switch_has_it(site: Site, channel: Callable[[str], Channel]) -> None:
    site.change(1, add=(LAMP, TELLS))
    assert set(channel(site.bridge).flows()) == {LAMP, TELLS}
    site.change(2, delete=(LAMP,), add=(replace(TELLS, cookie=LAMP.cookie),))
    assert channel(site.bridge).flows() == [replace(TELLS, cookie=LAMP.cookie)]


def test_after_a_restart_the_flows_are_found_and_nothing_is_left_to_do(site: Site) -> None:
    wanted = (LAMP, TELLS, LINKS)
    site.change(1, add=wanted)
    site.running.stop()
    port = int(site.target.rpartition(":")[2])
    site.firewall = FakeFirewall()
    site.running = launch.start(Config(openflow=OpenFlow(port=port)), site.firewall, None, None)
    assert not difference(site.wait(SwitchUp).flows, wanted)


def test_the_meters_of_a_controller_before_are_no_obstacle(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    test_after_a_restart_the_flows_are_found_and_nothing_is_left_to_do(site)
    time.sleep(0.3)
    assert "meter" not in caplog.text
    assert "refuses" not in caplog.text


def test_a_flow_that_open_vswitch_refuses_is_traced(site: Site) -> None:
    bad = replace(LAMP, match=Match(eth_type=0x0800, tcp_flags=(0x10, 0x10)))
    site.change(5, add=(bad, TELLS))
    assert site.wait(Refused) == Refused(site.switch, 5, LAMP.cookie, "bad match: bad prereq")


@pytest.mark.timeout(120)
def test_ten_thousand_relationships_are_taken_in_one_change_on_one_connection(site: Site) -> None:
    answers = replace(LAMP, priority=310, match=replace(LAMP.match, dst_port=None, src_port=80))
    many = tuple(
        replace(flow, match=replace(flow.match, source=n)) for n in range(10_000) for flow in (LAMP, answers)
    )
    switch = site.switch
    site.change(1, add=many)
    assert site.of(Refused) == []
    assert site.of(SwitchDown) == []
    wait_for(lambda: any(len(e.counters) == 1 for e in site.of(FlowCounters)), 30)
    assert site.switch == switch


def test_frames_of_unknown_senders_are_told_but_not_more_than_can_be_borne(site: Site) -> None:
    site.change(1, add=(TELLS, LINKS))
    seconds, links_sent = 2.0, 0
    with raw(site, 1) as device:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(100):  # in bursts that the port's own queue can hold
                device.send(IP)
            device.send(frame(0x88CC))
            links_sent += 1
            time.sleep(0.04)
        time.sleep(1)
    told = [e for e in site.of(PacketIn) if e.frame[12:14] == b"\x08\x00"]
    links = [e for e in site.of(PacketIn) if e.frame[12:14] == b"\x88\xcc"]
    assert told[0] == PacketIn(site.switch, 1, IP)
    assert PACKET_IN_RATE / 2 < len(told) < 2 * PACKET_IN_RATE * seconds
    assert len(links) > 0.9 * links_sent, "a flood must not take the links down with it"


def test_frames_are_sent_out(site: Site) -> None:
    site.change(1, add=(Flow(Table.ADMISSION, 1, Match(in_port=1), (Output(2),), LAMP.cookie),))
    with raw(site, 2) as device:
        site.do(SendFrame(site.switch, frame(0x1234, b"by a port"), 2))
        assert device.recv(2000)[14:23] == b"by a port"
        site.do(SendFrame(site.switch, frame(0x1234, b"by the tables"), None, in_port=1))
        assert device.recv(2000)[14:27] == b"by the tables"


def test_ports_are_told_by_name_and_when_they_change(site: Site) -> None:
    names = {port.name: port.up for port in site.wait(SwitchUp).ports}
    assert names[f"{site.bridge}-1"]
    command("ip", "link", "set", f"{site.bridge}-1p", "down")
    wait_for(lambda: [e for e in site.of(PortChanged) if e.port.number == 1 and not e.port.up])
    command("ovs-vsctl", "del-port", f"{site.bridge}-2")
    wait_for(lambda: [e for e in site.of(PortChanged) if e.port.number == 2 and e.gone])


def test_the_end_of_a_flow_is_told(site: Site) -> None:
    short = replace(LAMP, hard_timeout=1)
    site.change(1, add=(short,))
    assert site.wait(FlowGone) == FlowGone(site.switch, replace(short, actions=()))


def test_what_is_counted_is_told(site: Site) -> None:
    forwards = Flow(Table.ADMISSION, 1, Match(in_port=1), (Output(2),), LAMP.cookie)
    site.change(1, add=(forwards,))
    with raw(site, 1) as device:
        for _ in range(25):
            device.send(IP)
    wait_for(
        lambda: any(e.counters.get(LAMP.cookie) == (25, 25 * len(IP)) for e in site.of(FlowCounters)), 10
    )


def test_a_switch_that_hangs_up_is_noticed_and_comes_back(site: Site) -> None:
    site.change(1, add=(LAMP,))
    command("ovs-vsctl", "del-controller", site.bridge, "--", "set-controller", site.bridge, site.target)
    command("ovs-vsctl", "set", "Bridge", site.bridge, "other-config:datapath-id=00000000000000ab")
    wait_for(lambda: [e for e in site.of(SwitchUp) if e.switch == 0xAB], 10)
    assert site.of(SwitchDown)


def test_a_bridge_with_openflow_1_0_only_is_told_of(
    make_bridge: Callable[..., str], site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    other = make_bridge()
    command(
        "ovs-vsctl",
        "set",
        "Bridge",
        other,
        "protocols=OpenFlow10",
        "--",
        "set-controller",
        other,
        site.target,
    )
    time.sleep(4)
    lines = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert "does not speak OpenFlow 1.3; on the switch: ovs-vsctl set bridge" in lines[0]
    command("ovs-vsctl", "set", "Bridge", other, "protocols=OpenFlow13")
    wait_for(lambda: len(site.of(SwitchUp)) == 2, 12)


@pytest.fixture
def pki(tmp_path: Path) -> Iterator[Path]:
    """A CA and two certificates of it; the switch's is given to Open vSwitch, which has one for all."""
    if "Private key" in command("ovs-vsctl", "get-ssl"):
        pytest.skip("Open vSwitch has a certificate already (ovs-vsctl get-ssl)")

    certificates.make(tmp_path, ["switch"], dt.datetime.now(dt.UTC))
    files = (str(tmp_path / name) for name in ("switch.key", "switch.pem", "ca.pem"))
    command("ovs-vsctl", "set-ssl", *files)
    yield tmp_path
    command("ovs-vsctl", "del-ssl")


def test_open_vswitch_connects_by_tls(make_bridge: Callable[..., str], pki: Path) -> None:
    files = {"key": "controller.key", "certificate": "controller.pem", "ca": "ca.pem"}
    openflow = OpenFlow(tls_port=0, **{key: str(pki / name) for key, name in files.items()})
    site = Site(make_bridge(ports=2), openflow, "ssl")
    try:
        many = tuple(replace(LAMP, match=replace(LAMP.match, source=n)) for n in range(5000))
        site.change(1, add=many)
        assert site.of(Refused) == []
    finally:
        site.close()


def test_open_vswitch_with_a_certificate_of_another_ca_is_refused_until_it_has_ours(
    make_bridge: Callable[..., str], pki: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = pki / "other"
    certificates.make(other, ["switch"], dt.datetime.now(dt.UTC))
    ours = str(pki / "ca.pem")
    command("ovs-vsctl", "set-ssl", str(other / "switch.key"), str(other / "switch.pem"), ours)
    files = {"key": "controller.key", "certificate": "controller.pem", "ca": "ca.pem"}
    openflow = OpenFlow(tls_port=0, **{key: str(pki / name) for key, name in files.items()})
    site = Site(make_bridge(ports=2), openflow, "ssl")
    try:
        wait_for(lambda: "is refused: no TLS with a certificate of our CA" in caplog.text, 20)
        assert site.of(SwitchUp) == []
        command("ovs-vsctl", "set-ssl", str(pki / "switch.key"), str(pki / "switch.pem"), ours)
        assert site.wait(SwitchUp, 20)
    finally:
        site.close()
