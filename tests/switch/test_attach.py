"""A bridge of Open vSwitch is prepared once, found again, and given back as it was."""

import json
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from controller import launch
from controller.commands import attach
from controller.config import Config, OpenFlow
from controller.events import SwitchUp
from controller.firewall.fabric import COPY_SUFFIX, INSPECTION_SUFFIX
from controller.flows.flow import COOKIE_MARK, Flow, Goto, Match, Table
from controller.switches import openflow
from tests.switch.conftest import Channel, command
from tests.unit.fake_firewall import FakeFirewall
from tests.unit.fake_switch import wait_for

pytestmark = pytest.mark.root
NOWHERE = "tcp:127.0.0.1:1"


@pytest.fixture
def bridge(make_bridge: Callable[..., str]) -> Iterator[str]:
    name = make_bridge()
    yield name
    attach.detach(name)


def state(bridge: str) -> dict[str, object]:
    """All that attach may touch, as Open vSwitch and the kernel have it."""
    columns = "fail_mode,protocols,other_config,external_ids"
    said = json.loads(command("ovs-vsctl", "--format=json", f"--columns={columns}", "list", "Bridge", bridge))
    return {
        "bridge": dict(zip(said["headings"], said["data"][0], strict=True)),
        "controllers": command("ovs-vsctl", "get-controller", bridge),
        "ports": sorted(command("ovs-vsctl", "list-ports", bridge).split()),
        "links": sorted(link.name for link in Path("/sys/class/net").glob(f"{bridge}-*")),
        "fragments": command("ovs-ofctl", "-O", "OpenFlow13", "get-frags", bridge),
    }


def get(bridge: str, column: str) -> str:
    return command("ovs-vsctl", "get", "Bridge", bridge, column).strip()


def test_a_bridge_is_prepared(bridge: str) -> None:
    changes = attach.attach(bridge, NOWHERE)
    assert len(changes) == 6
    assert all(change.startswith(f"{bridge}: ") for change in changes)
    assert get(bridge, "fail_mode") == "secure"
    assert command("ovs-vsctl", "get", "Controller", bridge, "max_backoff").strip() == "1000"
    assert get(bridge, "protocols") == "[OpenFlow13]"
    assert get(bridge, "other_config:disable-in-band") == '"true"'
    assert command("ovs-vsctl", "get-controller", bridge).split() == [NOWHERE]
    ports = command("ovs-vsctl", "list-ports", bridge).split()
    assert sorted(ports) == [f"{bridge}{COPY_SUFFIX}", f"{bridge}{INSPECTION_SUFFIX}"]
    assert command("ovs-vsctl", "get", "Port", f"{bridge}-gwi", "external_ids:graphwall").strip() == "inspect"
    assert command("ovs-vsctl", "get", "Port", f"{bridge}-gwc", "external_ids:graphwall").strip() == "copy"


def test_doing_it_again_changes_nothing(bridge: str) -> None:
    attach.attach(bridge, NOWHERE)
    before = state(bridge)
    assert attach.attach(bridge, NOWHERE) == ()
    assert state(bridge) == before


def test_what_others_changed_since_is_put_right(bridge: str) -> None:
    attach.attach(bridge, NOWHERE)
    before = state(bridge)
    command("ovs-vsctl", "set-fail-mode", bridge, "standalone")
    command("ovs-vsctl", "del-port", f"{bridge}-gwc")
    command("ip", "link", "delete", f"{bridge}-gwi")
    assert len(attach.attach(bridge, NOWHERE)) == 3
    assert state(bridge) == before


@pytest.mark.parametrize(
    "before",
    [
        (),
        ("fail_mode=standalone", "protocols=OpenFlow10,OpenFlow13"),
        ("fail_mode=secure", "other_config:disable-in-band=false", "external_ids:of=others"),
    ],
)
def test_it_is_given_back_as_it_was(make_bridge: Callable[..., str], before: tuple[str, ...]) -> None:
    bridge = make_bridge()
    if before:
        command("ovs-vsctl", "set", "Bridge", bridge, *before)
        command("ovs-vsctl", "set-controller", bridge, "tcp:127.0.0.1:2", "tcp:127.0.0.1:3")
    was = state(bridge)
    attach.attach(bridge, NOWHERE)
    attach.attach(bridge, "tcp:127.0.0.1:4")  # must not be taken for what was there before
    assert state(bridge) != was
    assert len(attach.detach(bridge)) == 3
    assert state(bridge) == was
    assert attach.detach(bridge) == ()


def test_a_bridge_without_a_controller_forwards_again(
    make_bridge: Callable[..., str], channel: Callable[[str], Channel]
) -> None:
    bridge = make_bridge()
    attach.attach(bridge, NOWHERE)
    switch = channel(bridge)
    switch.meters()
    switch.errors(openflow.encode_config(drop_fragments=True, xid=switch.xid()))
    switch.install(Flow(Table.VERDICT, 300, Match(), (Goto(Table.FORWARDING),), COOKIE_MARK | 1))
    attach.detach(bridge)
    assert channel(bridge).flows() == []
    flows = command("ovs-ofctl", "dump-flows", bridge)
    assert flows.count("cookie=") == 1
    assert "priority=0 actions=NORMAL" in flows
    assert "meter" not in command("ovs-ofctl", "-O", "OpenFlow13", "dump-meters", bridge).partition("\n")[2]
    assert command("ovs-ofctl", "get-frags", bridge).strip() == "normal"


def test_flows_of_others_survive(make_bridge: Callable[..., str]) -> None:
    bridge = make_bridge()
    command("ovs-vsctl", "set-controller", bridge, "tcp:127.0.0.1:2")
    command("ovs-vsctl", "set-fail-mode", bridge, "secure")
    command("ovs-ofctl", "add-flow", bridge, "cookie=5,priority=9,actions=drop")
    attach.attach(bridge, NOWHERE)
    attach.detach(bridge)
    assert "cookie=0x5" in command("ovs-ofctl", "dump-flows", bridge)


def test_without_inspection_there_are_no_ports(bridge: str) -> None:
    attach.attach(bridge, NOWHERE, inspect=False)
    assert command("ovs-vsctl", "list-ports", bridge) == ""
    (found,) = [a for a in attach.attachments() if a.bridge == bridge]
    assert (found.inspection, found.copy) == ("", "")


def test_attached_bridges_are_found_with_what_is_wrong_with_them(bridge: str) -> None:
    assert bridge not in [a.bridge for a in attach.attachments()]
    attach.attach(bridge, NOWHERE)
    (found,) = [a for a in attach.attachments() if a.bridge == bridge]
    assert found.switch == int(get(bridge, "datapath_id").strip('"'), 16)
    assert (found.inspection, found.copy) == (f"{bridge}-gwi0", f"{bridge}-gwc0")
    assert found.faults == ()
    command("ovs-vsctl", "set-fail-mode", bridge, "standalone", "--", "del-controller", bridge)
    (found,) = [a for a in attach.attachments() if a.bridge == bridge]
    assert len(found.faults) == 2
    assert all(fault.endswith(f"graphwall attach {bridge}") for fault in found.faults)


def test_a_long_name_gets_short_ports(make_bridge: Callable[..., str]) -> None:
    short = make_bridge()
    bridge = f"{short}-longer"
    command("ovs-vsctl", "add-br", bridge, "--", "set", "Bridge", bridge, "datapath_type=netdev")
    try:
        attach.attach(bridge, NOWHERE)
        ports = command("ovs-vsctl", "list-ports", bridge).split()
        assert set(ports) == {attach.inspection_port(bridge), attach.copy_port(bridge)}
        attach.detach(bridge)
    finally:
        command("ovs-vsctl", "del-br", bridge)


def test_a_name_that_is_no_bridge_is_refused(bridge: str) -> None:
    with pytest.raises(attach.AttachError, match=rf"no bridge {bridge}x \(there are .*{bridge}"):
        attach.attach(f"{bridge}x")


def raw(interface: str) -> socket.socket:
    opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    opened.bind((interface, 0))
    opened.settimeout(0.5)
    return opened


def test_the_ports_carry_frames_as_they_are_and_nothing_of_their_own(
    bridge: str, channel: Callable[[str], Channel]
) -> None:
    """Also those longer than Ethernet's 1500 bytes."""
    attach.attach(bridge, NOWHERE)
    switch = channel(bridge)
    number = {port.name: port.number for port in map(openflow.decode_port, ports_of(switch))}
    with raw(f"{bridge}-gwi0") as inspector, raw(f"{bridge}-gwc0") as copies:
        time.sleep(1.5)  # for what the kernel would say on its own
        frame = bytes.fromhex("020000000001 020000000002 1234") + bytes(8000)
        switch.talk(openflow.encode_frame(frame, number[f"{bridge}-gwi"], None, switch.xid()))
        assert inspector.recv(20_000) == frame
        for quiet in (inspector, copies):
            with pytest.raises(TimeoutError):
                quiet.recv(20_000)


def ports_of(switch: Channel) -> list[object]:
    return [port for reply in switch.talk(openflow.encode_ports_request(switch.xid())) for port in reply.body]


def test_the_switch_connects_to_the_controller_and_again_within_two_seconds(bridge: str) -> None:
    firewall = FakeFirewall()
    running = launch.start(Config(openflow=OpenFlow(port=0)), firewall, None, None)
    port = running.port
    attach.attach(bridge, f"tcp:127.0.0.1:{port}")
    wait_for(lambda: firewall.of(SwitchUp))
    running.stop()
    time.sleep(5)  # long enough for Open vSwitch to wait longer and longer, if it may
    firewall = FakeFirewall()
    running = launch.start(Config(openflow=OpenFlow(port=port)), firewall, None, None)
    try:
        wait_for(lambda: firewall.of(SwitchUp), 2.5)
        up = firewall.of(SwitchUp)[0]
        assert isinstance(up, SwitchUp)
        assert up.switch == struct.unpack("!Q", bytes.fromhex(get(bridge, "datapath_id").strip('"')))[0]
    finally:
        running.stop()
