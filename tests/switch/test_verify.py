"""What somebody changes in Open vSwitch by hand is told and put right, and nobody else notices."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import pytest

from controller import launch
from controller.commands import attach
from controller.config import parse
from controller.events import Observed, SwitchCheck, Verify
from controller.firewall.firewall import Firewall
from controller.flows.flow import cookie_of
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, ServiceId
from tests.switch.conftest import command
from tests.unit.fake_switch import wait_for

pytestmark = pytest.mark.root

SITE = """
openflow: {port: 0}
switches: [{name: hall, dpid: 0x67e57}]
devices:
  - {id: washer, name: Washing machine, mac: 02:00:00:00:00:01, addresses: [10.0.0.1], switch: hall, port: 1}
  - {id: lock, name: Front door, mac: 02:00:00:00:00:02, addresses: [10.0.0.2], switch: hall, port: 2}
"""


class Home:
    """A controller with a real firewall and its switch, where the washer talks to the door at two ports."""

    def __init__(self, bridge: str, site: str = SITE) -> None:
        self.bridge = bridge
        config = parse(site, "site.yaml")
        self.running = launch.start(config, Firewall(config, None, b"secret"), None, None)
        command("ovs-vsctl", "set", "Bridge", bridge, "other-config:datapath-id=0000000000067e57")
        attach.attach(bridge, f"tcp:127.0.0.1:{self.running.port}", inspect=False)
        wait_for(lambda: (checks := self.verify()) and checks[0].read, 20)
        wait_for(lambda: "actions=output:1,output:2" in self.flows())  # both are known to be edge ports

    def learn(self, port: int, client: str = "washer", server: str = "lock") -> None:
        access = Access(ServiceId(f"{client}/main"), ServiceId(f"{server}/tcp-{port}"), "*", "*", "*")
        addresses = {"washer": "10.0.0.1", "lock": "10.0.0.2"}
        self.running.app.post(
            Observed(
                DeviceId(client), DeviceId(server), addresses[client], addresses[server],
                Endpoint("tcp", port), access, "GET", None, None, True, Reason.LEARNING, time.time(),
            )
        )  # fmt: skip

    def verify(self) -> tuple[SwitchCheck, ...]:
        return self.running.app.call(Verify(0)).checks

    def counted(self) -> int:
        return self.running.app.snapshot().counters["flows repaired"]

    def log(self) -> list[str]:
        return [line.text for line in self.running.app.snapshot().log if line.event == "repaired"]

    def by_hand(self, word: str, flow: str, *options: str) -> None:
        command("ovs-ofctl", "-O", "OpenFlow13", *options, word, self.bridge, flow)

    def flows(self) -> str:
        return command("ovs-ofctl", "-O", "OpenFlow13", "dump-flows", self.bridge)

    def meters(self) -> str:
        lines = command("ovs-ofctl", "-O", "OpenFlow13", "dump-meters", self.bridge).splitlines()
        return "\n".join(sorted(" ".join(lines[1:]).split("meter=")))

    def equal(self) -> bool:
        checks = self.verify()
        return bool(checks) and all(c.read and not c.differing and c.expected == c.found for c in checks)

    def close(self) -> None:
        self.running.stop()
        attach.detach(self.bridge)


@pytest.fixture
def home(make_bridge: Callable[..., str]) -> Iterator[Home]:
    made = Home(make_bridge(ports=2))
    yield made
    made.close()


def cookie(port: int) -> str:
    return f"{cookie_of(f'pair washer lock tcp-{port}'):#x}/-1"


def syn(port: int, number: int) -> bytes:
    """A frame of the washer to the door; `number` is its TCP sequence number."""
    ip = bytes.fromhex("45000028000040004006 0000 0a000001 0a000002")
    tcp = struct.pack("!HHIIHHHH", 40000, port, number, 0, 0x5002, 8192, 0, 0)
    return bytes.fromhex("020000000002 020000000001 0800") + ip + tcp + bytes(6)


class Traffic:
    """Frames of the washer to the door's port 80, 200 in a second, and which of them arrive."""

    def __init__(self, bridge: str) -> None:
        self._ends = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) for _ in range(2)]
        for number, end in enumerate(self._ends, 1):
            end.bind((f"{bridge}-{number}p", 0))
            end.settimeout(0.2)
        self._ended = threading.Event()
        self.sent = 0
        self.arrived: set[int] = set()
        self._threads = [threading.Thread(target=t) for t in (self._send, self._receive)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        for end in self._ends:
            end.close()

    def _send(self) -> None:
        while not self._ended.wait(0.005):
            self._ends[0].send(syn(80, self.sent))
            self.sent += 1

    def _receive(self) -> None:
        silent = 0
        while not self._ended.is_set() or silent < 2:
            try:
                frame = self._ends[1].recv(2000)
            except TimeoutError:
                silent += 1
                continue
            if frame[:6] == b"\x02\0\0\0\0\x02" and frame[36:38] == b"\0\x50":
                self.arrived.add(int.from_bytes(frame[38:42]))


def test_what_is_changed_by_hand_is_told_and_put_right_and_an_allowed_pair_loses_nothing(home: Home) -> None:
    home.learn(80)
    home.learn(443)
    wait_for(lambda: cookie_flows(home, 443) and cookie_flows(home, 80))
    assert home.equal()
    before = home.flows()
    with Traffic(home.bridge) as traffic:
        wait_for(lambda: len(traffic.arrived) > 20)
        first = min(traffic.arrived)

        home.by_hand("del-flows", f"table=3,cookie={cookie(443)}")
        wait_for(lambda: home.counted() == before.count(cookie(443)[:-3]) > 0)
        assert "Washing machine to Front door at tcp-443: a flow is missing" in home.log()[0]

        home.by_hand("mod-flows", f"table=3,cookie={cookie(443)},actions=drop")
        wait_for(lambda: any("tcp-443: a flow was changed" in line for line in home.log()))

        home.by_hand("add-flow", "table=0,priority=40000,in_port=2,actions=output:1")
        home.by_hand("add-flow", "table=0,priority=7,tcp,tp_src=9,actions=set_queue:3,NORMAL")
        home.by_hand("add-flow", "table=0,priority=8,tun_id=5,actions=drop")
        wait_for(lambda: sum("nobody asked for" in line for line in home.log()) == 3)
        wait_for(home.equal)
        wait_for(lambda: traffic.sent > 200)
    assert len(traffic.arrived) == traffic.sent - first, "frames of the other pair were lost"
    assert stripped(home.flows()) == stripped(before)


def cookie_flows(home: Home, port: int) -> int:
    return home.flows().count(cookie(port)[:-3])


def stripped(dump: str) -> set[str]:
    """The lines of dump-flows, less age and counters."""
    kept = []
    for line in dump.splitlines()[1:]:
        words = line.replace(", ", " ").split()
        kept.append(" ".join(w for w in words if not w.startswith(("duration=", "n_packets=", "n_bytes="))))
    return set(kept)


def test_a_question_shows_what_was_changed_just_before_it(home: Home) -> None:
    home.learn(80)
    wait_for(lambda: cookie_flows(home, 80))
    assert home.equal()
    seen: list[Any] = []

    def shown() -> bool:
        """A regular reading may have come first."""
        home.by_hand("add-flow", "table=3,priority=999,tcp,reg0=1,tp_dst=23,actions=goto_table:4")
        (check,) = home.verify()
        seen.extend(check.differences)
        return bool(check.differing)

    wait_for(shown)
    assert seen[0].kind == "added"
    assert "table 3 priority 999" in seen[0].sentence
    wait_for(home.equal)


def test_a_limit_that_somebody_lifts_is_set_again_with_the_flows_that_it_held(home: Home) -> None:
    before = (stripped(home.flows()), home.meters())
    assert "\n1 pktps" in before[1]
    home.by_hand("del-meter", "meter=1")
    wait_for(lambda: any("the limit 0x1 on what" in line for line in home.log()))
    home.by_hand("mod-meter", "meter=2,pktps,burst,stats,bands=type=drop,rate=999999,burst_size=1")
    wait_for(lambda: any("the limit 0x2 on what" in line for line in home.log()))
    wait_for(lambda: (stripped(home.flows()), home.meters()) == before)
    wait_for(home.equal)
