"""A temporary bridge of Open vSwitch for each test, a plain OpenFlow channel to it, and its own tracer."""

import contextlib
import json
import os
import re
import secrets
import socket
import struct
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from os_ken.ofproto import ofproto_parser
from os_ken.ofproto import ofproto_v1_3 as ofp
from os_ken.ofproto.ofproto_protocol import ProtocolDesc

from controller.flows.flow import CONTROLLER_PORT, Change, Flow, Packet, is_ours
from controller.switches import openflow

RUN = Path("/var/run/openvswitch")
OWNER = "graphwall-test"  # external_ids key of our bridges: the process that made them


def command(*arguments: str) -> str:
    return subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=30).stdout


@pytest.fixture(scope="session", autouse=True)
def _sweep() -> None:
    """Bridges of test runs that were killed."""
    if os.geteuid() != 0 or not any(RUN.glob("ovs-vswitchd.*.ctl")):
        return
    said = json.loads(command("ovs-vsctl", "--format=json", "--columns=name,external_ids", "list", "Bridge"))
    for name, ids in said["data"]:
        owner = dict(ids[1]).get(OWNER)
        if owner and not Path("/proc", owner).exists():
            remove_bridge(name)


def remove_bridge(name: str) -> None:
    command("ovs-vsctl", "--if-exists", "del-br", name)
    for link in Path("/sys/class/net").glob(f"{name}-*"):
        with contextlib.suppress(subprocess.CalledProcessError):  # the other end of one that is gone already
            command("ip", "link", "delete", link.name)


@pytest.fixture
def make_bridge() -> Iterator[Callable[..., str]]:
    """make_bridge(ports=2): a bridge with veth ports numbered from 1, named <bridge>-1, <bridge>-1p."""
    made: list[str] = []

    def make(ports: int = 0) -> str:
        name = f"gt{secrets.token_hex(3)}"
        made.append(name)
        command(
            "ovs-vsctl", "add-br", name, "--", "set", "Bridge", name, "datapath_type=netdev",
            f"external_ids:{OWNER}={os.getpid()}",
        )  # fmt: skip
        for number in range(1, ports + 1):
            port = f"{name}-{number}"
            command("ip", "link", "add", port, "type", "veth", "peer", "name", f"{port}p")
            for end in (port, f"{port}p"):
                ipv6 = Path("/proc/sys/net/ipv6/conf", end, "disable_ipv6")
                if ipv6.exists():
                    ipv6.write_text("1")
                command("ip", "link", "set", end, "up")
            command(
                "ovs-vsctl",
                "add-port",
                name,
                port,
                "--",
                "set",
                "Interface",
                port,
                f"ofport_request={number}",
            )
        return name

    yield make
    for name in made:
        remove_bridge(name)


@dataclass(frozen=True, slots=True)
class SwitchError:
    text: str
    cookie: int | None
    xid: int


def _unencodable(flow: Flow, error: str) -> None:
    raise AssertionError(f"{flow}: {error}")


class Channel:
    """OpenFlow 1.3 with a bridge over its management socket: bytes out, os-ken's messages in."""

    def __init__(self, bridge: str) -> None:
        self._protocol = ProtocolDesc(version=ofp.OFP_VERSION)
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(10)
        self._socket.connect(str(RUN / f"{bridge}.mgmt"))
        self._xid = 0x1000
        self._socket.sendall(struct.pack("!BBHI", ofp.OFP_VERSION, ofp.OFPT_HELLO, 8, 1))

    def close(self) -> None:
        self._socket.close()

    def xid(self) -> int:
        self._xid += 1
        return self._xid

    def _read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            more = self._socket.recv(length - len(data))
            if not more:
                raise ConnectionError("the switch hung up")
            data += more
        return data

    def talk(self, *messages: bytes) -> list[Any]:
        """Send, and everything that is said up to the reply to a barrier."""
        end = self.xid()
        self._socket.sendall(b"".join(messages) + openflow.encode_barrier(end))
        heard = []
        while True:
            head = self._read(8)
            version, kind, length, xid = struct.unpack("!BBHI", head)
            data = head + self._read(length - 8)
            if kind == ofp.OFPT_BARRIER_REPLY and xid == end:
                return heard
            if kind == ofp.OFPT_ECHO_REQUEST:
                self._socket.sendall(
                    struct.pack("!BBHI", version, ofp.OFPT_ECHO_REPLY, length, xid) + data[8:]
                )
            elif kind != ofp.OFPT_HELLO:
                heard.append(ofproto_parser.msg(self._protocol, version, kind, length, xid, bytearray(data)))

    def errors(self, *messages: bytes) -> list[SwitchError]:
        said = [m for m in self.talk(*messages) if m.msg_type == ofp.OFPT_ERROR]
        return [SwitchError(*openflow.decode_error(m), m.xid) for m in said]

    def install(self, *flows: Flow, metered: bool = True) -> None:
        """Add flows; fails with the switch's own words when it refuses one."""
        xids = iter(self.xid, 0)
        refused = self.errors(*openflow.encode_change(Change(add=flows), xids, _unencodable, metered))
        assert not refused, refused

    def remove(self, *flows: Flow) -> None:
        refused = self.errors(*openflow.encode_change(Change(delete=flows), iter(self.xid, 0), _unencodable))
        assert not refused, refused

    def meters(self) -> list[SwitchError]:
        return self.errors(*(openflow.encode_meter(meter, self.xid()) for meter in openflow.METERS))

    def flows(self) -> list[Flow]:
        """Our flows, as the switch gives them back."""
        replies = self.talk(openflow.encode_flows_request(self.xid()))
        return [
            openflow.decode_flow(entry) for reply in replies for entry in reply.body if is_ours(entry.cookie)
        ]


@pytest.fixture
def channel() -> Iterator[Callable[[str], Channel]]:
    """channel(bridge): a Channel that is closed when the test ends."""
    opened: list[Channel] = []

    def connect(bridge: str) -> Channel:
        opened.append(Channel(bridge))
        return opened[-1]

    yield connect
    for one in opened:
        one.close()


# ------------------------------------------------------------------ what Open vSwitch would do


def _datapath_ports(bridge: str) -> dict[int, int]:
    """OpenFlow port by datapath port."""
    found: dict[int, int] = {}
    inside = False
    for line in command("ovs-appctl", "dpif/show").splitlines():
        if line.startswith("    "):
            port = re.match(r"    \S+ (\d+)/(\d+):", line)
            if inside and port:
                found[int(port[2])] = int(port[1])
        else:
            inside = line.strip() == f"{bridge}:"
    return found


def _parted(actions: str) -> Iterator[str]:
    """The actions of a list whose elements may hold commas in brackets."""
    depth = begin = 0
    for place, letter in enumerate(actions):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            yield actions[begin:place]
            begin = place + 1
    yield actions[begin:]


def trace(bridge: str, in_port: int, *, answer: bool = False, **fields: object) -> list[str]:
    """The final actions of a packet: "output:2" (OpenFlow numbers), "controller", "commit", in order.

    `fields` in ovs-fields(7)' words: dl_src="02:…", dl_type=0x0800, nw_proto=6, tcp_dst=80.
    `answer`: connection tracking calls it an answer of an established conversation, else a new one.
    """
    flow = ",".join([f"in_port={in_port}", *(f"{name}={value}" for name, value in fields.items())])
    state = "trk,est,rpl" if answer else "trk,new"
    said = command("ovs-appctl", "ofproto/trace", bridge, flow, *(["--ct-next", state] * 3))
    number = _datapath_ports(bridge)
    found: list[str] = []
    for line in re.findall(r"^Datapath actions: (.*)$", said, re.MULTILINE):
        for action in _parted(line):
            if action.isdigit():
                found.append(f"output:{number[int(action)]}")
            elif "controller(" in action:  # within sample(…meter…) when it is metered
                found.append("controller")
            elif action.startswith("ct(commit"):
                found.append("commit")
            elif not action.startswith(("drop", "ct(", "recirc(", "meter(")):
                found.append(action)
    return found


def packet_fields(packet: Packet) -> dict[str, object]:
    """A packet of flows.py in ovs-fields(7)' words."""
    six = packet.eth_type == 0x86DD
    sender, target = {0x86DD: ("ipv6_src", "ipv6_dst"), 0x0806: ("arp_spa", "arp_tpa")}.get(
        packet.eth_type, ("nw_src", "nw_dst")
    )
    transport = "tcp" if packet.ip_proto == 6 else "udp"
    fields: dict[str, object | None] = {
        "dl_src": packet.eth_src,
        "dl_dst": packet.eth_dst,
        "dl_type": f"{packet.eth_type:#06x}",
        "dl_vlan": 5 if packet.tagged else None,
        "nw_proto": packet.ip_proto,
        sender: packet.ip_src,
        target: packet.ip_dst,
        f"{transport}_src": packet.src_port,  # tp_src would be TCP always
        f"{transport}_dst": packet.dst_port,
        "icmpv6_type" if six else "icmp_type": packet.icmp_type,
        "nd_target": packet.nd_target,
        {135: "nd_sll", 136: "nd_tll"}.get(packet.icmp_type or 0, "arp_sha"): packet.told_mac,
        "tcp_flags": None if packet.tcp_flags is None else f"{packet.tcp_flags:#x}",
    }
    return {name: value for name, value in fields.items() if value is not None}


def traced(bridge: str, packet: Packet) -> tuple[tuple[int, ...], bool]:
    """What Open vSwitch does with a packet, in the terms of flows.Fate: ports, and committed or not."""
    actions = trace(bridge, packet.in_port, answer=packet.answer, **packet_fields(packet))
    ports = tuple(
        CONTROLLER_PORT if action == "controller" else int(action.removeprefix("output:"))
        for action in actions
        if action != "commit"
    )
    return ports, "commit" in actions
