"""The inspector process between two real hosts: Open vSwitch, veth pairs, network namespaces, sockets.

The switch's few flows are written by hand here; those of the product have tests of their own.
"""

import ctypes
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from controller.dpi.message import Operation
from controller.events import Applied, InspectorUp, Observed, UpdateTable
from controller.inspector import link
from controller.model.relationship import Endpoint
from controller.verdicts import Delta, SetGrant
from tests.switch.conftest import command
from tests.unit.inspector.judgement.frames import coap, coap_answer, udp
from tests.unit.inspector.judgement.site import BATTERY, DIRECTORY, WASHER, B, W, access, main, service

pytestmark = pytest.mark.root

COAP, HTTP = Endpoint("udp", 5683), Endpoint("tcp", 80)
READ = access("coap", Operation.READ, "/charge")
GET = SetGrant(access("http", Operation.READ, "/charge", endpoint=HTTP), True)
KNOWN: tuple[Delta, ...] = (*DIRECTORY, main(WASHER), service(BATTERY, COAP), service(BATTERY, HTTP))
NEW_NETWORK = 0x40000000  # CLONE_NEWNET
LIBC = ctypes.CDLL(None, use_errno=True)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """In this thread, sockets are made in another network namespace."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if LIBC.setns(there, NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "setns")
        yield
    finally:
        LIBC.setns(home, NEW_NETWORK)
        os.close(home)
        os.close(there)


class Hosts:
    """Two hosts at a switch whose requests go through the inspection port, answers straight."""

    def __init__(self, bridge: str) -> None:
        self.bridge = bridge
        self.names = (f"{bridge}-a", f"{bridge}-b")
        self.inspection, self.copy = f"{bridge}-3p", f"{bridge}-4p"
        self.sockets: list[socket.socket] = []
        for number, (name, address) in enumerate(zip(self.names, (W, B), strict=True), 1):
            end = f"{bridge}-{number}p"
            command("ip", "netns", "add", name)
            command("ethtool", "-K", end, "tx", "off")
            command("ip", "link", "set", end, "netns", name)
            command("ip", "-n", name, "link", "set", end, "address", f"02:00:00:00:00:0{number}", "up")
            command("ip", "-n", name, "address", "add", f"{address}/24", "dev", end)
        self.flows(
            "in_port=1,ip,actions=3", "in_port=2,ip,actions=1", "in_port=1,arp,actions=2",
            "in_port=2,arp,actions=1", "in_port=3,dl_dst=02:00:00:00:00:01,actions=1",
            "in_port=3,dl_dst=02:00:00:00:00:02,actions=2",
        )  # fmt: skip

    def flows(self, *flows: str) -> None:
        command("ovs-ofctl", "del-flows", self.bridge)
        for flow in flows:
            command("ovs-ofctl", "add-flow", self.bridge, flow)

    def socket(self, host: int, kind: socket.SocketKind, family: int = socket.AF_INET) -> socket.socket:
        with inside(self.names[host]):
            made = socket.socket(family, kind)
        made.settimeout(3)
        self.sockets.append(made)
        return made

    def close(self) -> None:
        for each in self.sockets:
            each.close()
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


class Controller:
    """The other end of the line."""

    def __init__(self, path: Path) -> None:
        self._decoder = link.controller_decoder()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(0.2)
        for _ in range(100):
            with suppress(OSError):
                self._socket.connect(str(path))
                break
            time.sleep(0.05)
        self._version = 0
        self.say(link.Hello(link.VERSION, os.getpid()))
        self.hear(InspectorUp)

    def say(self, message: link.ToInspector) -> None:
        self._socket.sendall(link.to_inspector(message))

    def hear(self, kind: type[link.M]) -> link.M:
        """The next message of a kind, within three seconds."""
        end = time.monotonic() + 3
        while time.monotonic() < end:
            while (message := self._decoder.next()) is not None:
                if isinstance(message, kind):
                    return message
            with suppress(TimeoutError):
                self._decoder.feed(self._socket.recv(65536))
        raise AssertionError(f"the inspector has not said {kind.__name__}")

    def table(self, *deltas: Delta, whole: bool = False) -> None:
        """Tell, and wait until it counts."""
        self._version += 1
        for part in link.parts(UpdateTable(self._version, deltas, whole)):
            self.say(part)
        while self.hear(Applied).version != self._version:
            pass

    def serve(self, hosts: Hosts, *deltas: Delta) -> None:
        self.say(link.Ports((link.SwitchPorts(1, hosts.inspection, hosts.copy),)))
        self.table(*KNOWN, *deltas, whole=True)

    def close(self) -> None:
        self._socket.close()


class Process:
    """The inspector as the product starts it."""

    def __init__(self, folder: Path, *wrapper: str) -> None:
        self.path = folder / "inspector.sock"
        arguments = [*wrapper, sys.executable, "-m", "controller.inspector", "--socket", str(self.path)]
        self.log = (folder / "inspector.log").open("ab")
        self.popen = subprocess.Popen(arguments, stdout=self.log, stderr=self.log)

    def end(self) -> None:
        self.popen.kill()
        self.popen.wait()
        self.log.close()


@pytest.fixture(scope="module", autouse=True)
def _sweep_namespaces() -> None:
    """Namespaces of test runs that were killed; their bridges are gone already."""
    for namespace in Path("/run/netns").glob("gt??????-[ab]"):
        if not Path("/sys/class/net", namespace.name[:-2]).exists():
            command("ip", "netns", "delete", namespace.name)


@pytest.fixture
def hosts(make_bridge: Callable[..., str]) -> Iterator[Hosts]:
    made = Hosts(make_bridge(ports=4))
    yield made
    made.close()


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Process]:
    started = Process(tmp_path)
    yield started
    started.end()


@pytest.fixture
def controller(process: Process) -> Iterator[Controller]:
    connected = Controller(process.path)
    yield connected
    connected.close()


class CoapServer(threading.Thread):
    """Answers every datagram, and keeps what it got."""

    def __init__(self, hosts: Hosts) -> None:
        super().__init__(daemon=True)
        self.got: list[bytes] = []
        self._socket = hosts.socket(1, socket.SOCK_DGRAM)
        self._socket.bind((B, 5683))
        self._socket.settimeout(0.1)
        self._ended = False
        self.start()

    def run(self) -> None:
        while not self._ended:
            with suppress(TimeoutError):
                data, asker = self._socket.recvfrom(2048)
                self.got.append(data)
                self._socket.sendto(coap_answer(), asker)

    def stop(self) -> None:
        self._ended = True
        self.join()


@pytest.fixture
def server(hosts: Hosts) -> Iterator[CoapServer]:
    started = CoapServer(hosts)
    yield started
    started.stop()


def ask(hosts: Hosts, method: str = "GET", seconds: float = 3.0) -> bytes | None:
    """The answer to a CoAP request; None when none comes."""
    client = hosts.socket(0, socket.SOCK_DGRAM)
    client.settimeout(seconds)
    client.connect((B, 5683))
    client.send(coap(method, "/charge"))
    try:
        return client.recv(2048)
    except (TimeoutError, OSError):
        return None
    finally:
        client.close()


def was_reset(end: socket.socket) -> bool:
    """Whether a connection ends with a reset, whatever came before."""
    try:
        while end.recv(2048):
            pass
    except ConnectionResetError:
        return True
    return False


def answered_within(hosts: Hosts, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if ask(hosts, seconds=0.2):
            return True
    return False


def test_an_allowed_request_passes_and_another_operation_does_not(
    hosts: Hosts, controller: Controller, server: CoapServer
) -> None:
    controller.serve(hosts, SetGrant(READ, True))
    assert ask(hosts) == coap_answer()
    seen = controller.hear(Observed)
    assert (seen.allowed, seen.access) == (True, READ)
    assert ask(hosts, "PUT", 1.0) is None
    assert server.got == [coap("GET", "/charge")]


def test_a_denied_sender_learns_it_at_once(hosts: Hosts, controller: Controller, server: CoapServer) -> None:
    controller.serve(hosts)
    client = hosts.socket(0, socket.SOCK_DGRAM)
    client.connect((B, 5683))
    client.send(coap("GET", "/charge"))
    start = time.monotonic()
    with pytest.raises(OSError, match="host") as failure:
        client.recv(2048)
    assert failure.value.errno == errno.EHOSTUNREACH
    assert time.monotonic() - start < 1
    assert server.got == []


def test_an_approval_counts_from_its_acknowledgement_on(
    hosts: Hosts, controller: Controller, server: CoapServer
) -> None:
    controller.serve(hosts)
    assert ask(hosts, seconds=0.5) is None
    controller.table(SetGrant(READ, True))
    assert ask(hosts) == coap_answer()
    controller.table(SetGrant(READ, False))
    assert ask(hosts, seconds=0.5) is None
    assert len(server.got) == 1


def test_a_denied_http_request_is_reset_and_never_read(hosts: Hosts, controller: Controller) -> None:
    controller.serve(hosts, GET)
    listener = hosts.socket(1, socket.SOCK_STREAM)
    listener.bind((B, 80))
    listener.listen()
    client = hosts.socket(0, socket.SOCK_STREAM)
    client.connect((B, 80))
    serving, _ = listener.accept()
    serving.settimeout(3)
    hosts.sockets.append(serving)
    client.sendall(b"GET /charge HTTP/1.1\r\nHost: battery\r\n\r\n")
    assert serving.recv(2048).startswith(b"GET /charge")
    serving.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n21")
    assert client.recv(2048).endswith(b"21")
    client.sendall(b"PUT /charge HTTP/1.1\r\nHost: battery\r\nContent-Length: 2\r\n\r\n99")
    for end in (client, serving):
        with pytest.raises(ConnectionResetError):
            assert end.recv(2048) is None, "not a byte of it"


def test_much_data_passes_as_it_was_sent(hosts: Hosts, controller: Controller) -> None:
    """Segments of full size, through the windows and retransmissions of two real kernels."""
    upload = access("http", Operation.WRITE, "/charge", endpoint=HTTP)
    controller.serve(hosts, SetGrant(upload, True))
    listener = hosts.socket(1, socket.SOCK_STREAM)
    listener.bind((B, 80))
    listener.listen()
    client = hosts.socket(0, socket.SOCK_STREAM)
    client.connect((B, 80))
    serving, _ = listener.accept()
    serving.settimeout(10)
    hosts.sockets.append(serving)
    body = os.urandom(1_000_000)
    head = b"PUT /charge HTTP/1.1\r\nHost: battery\r\nContent-Length: %d\r\n\r\n" % len(body)
    client.settimeout(30)
    sending = threading.Thread(target=client.sendall, args=(head + body,))
    sending.start()
    got = b""
    while len(got) < len(head) + len(body):
        got += serving.recv(1 << 20)
    sending.join()
    assert got == head + body


def test_a_frame_with_a_vlan_tag_stays_as_it_is(hosts: Hosts, controller: Controller) -> None:
    controller.serve(hosts, SetGrant(READ, True))
    hosts.flows("in_port=1,actions=3", "in_port=3,dl_dst=02:00:00:00:00:02,actions=2")
    bare = udp(W, B, 40000, 5683, coap("GET", "/charge"))
    tagged = bare[:12] + b"\x81\x00\x00\x2a" + bare[12:]
    sender = hosts.socket(0, socket.SOCK_RAW, socket.AF_PACKET)
    receiver = hosts.socket(1, socket.SOCK_RAW, socket.AF_PACKET)
    with inside(hosts.names[0]):
        sender.bind((f"{hosts.bridge}-1p", 0))
    with inside(hosts.names[1]):
        receiver.bind((f"{hosts.bridge}-2p", 3))
    receiver.setsockopt(263, 8, 1)  # PACKET_AUXDATA: our kernel takes the tag off once more
    sender.send(tagged)
    frame, ancillary, _, _ = receiver.recvmsg(2048, 64)
    assert frame == bare
    (_, _, data) = ancillary[0]
    assert int.from_bytes(data[16:18], sys.byteorder) == 0x2A
    assert int.from_bytes(data[18:20], sys.byteorder) == 0x8100


def test_a_violation_on_a_watched_connection_cuts_it(hosts: Hosts, controller: Controller) -> None:
    controller.serve(hosts, GET)
    hosts.flows(
        "in_port=1,ip,actions=4,2", "in_port=2,ip,actions=1", "in_port=1,arp,actions=2",
        "in_port=2,arp,actions=1", "in_port=3,dl_dst=02:00:00:00:00:01,actions=1",
        "in_port=3,dl_dst=02:00:00:00:00:02,actions=2",
    )  # fmt: skip
    listener = hosts.socket(1, socket.SOCK_STREAM)
    listener.bind((B, 80))
    listener.listen()
    client = hosts.socket(0, socket.SOCK_STREAM)
    client.connect((B, 80))
    serving, _ = listener.accept()
    serving.settimeout(3)
    hosts.sockets.append(serving)
    client.sendall(b"GET /charge HTTP/1.1\r\nHost: battery\r\n\r\n")
    assert serving.recv(2048).startswith(b"GET")
    client.sendall(b"DELETE /charge HTTP/1.1\r\nHost: battery\r\n\r\n")
    assert was_reset(client)
    assert was_reset(serving)


@pytest.mark.usefixtures("server")
def test_it_goes_on_without_a_controller_and_tells_the_next_one(
    hosts: Hosts, process: Process, controller: Controller
) -> None:
    controller.serve(hosts, SetGrant(READ, True))
    controller.close()
    assert [ask(hosts) for _ in range(3)] == [coap_answer()] * 3
    assert ask(hosts, "PUT", 0.5) is None
    following = Controller(process.path)
    counted = 0
    while counted < 3:
        seen = following.hear(Observed)
        counted += seen.count if seen.allowed else 0
    following.close()


@pytest.mark.usefixtures("server")
def test_an_interface_that_goes_down_and_comes_back_is_served_again(
    hosts: Hosts, controller: Controller
) -> None:
    controller.serve(hosts, SetGrant(READ, True))
    assert ask(hosts)
    command("ip", "link", "set", hosts.inspection, "down")
    assert ask(hosts, seconds=0.5) is None
    command("ip", "link", "set", hosts.inspection, "up")
    assert answered_within(hosts, 2)


@pytest.mark.usefixtures("server")
def test_an_interface_that_is_made_anew_is_served_again(hosts: Hosts, controller: Controller) -> None:
    controller.serve(hosts, SetGrant(READ, True))
    assert ask(hosts)
    port = f"{hosts.bridge}-3"
    command("ovs-vsctl", "del-port", hosts.bridge, port)
    command("ip", "link", "delete", port)
    time.sleep(0.5)
    command("ip", "link", "add", port, "type", "veth", "peer", "name", hosts.inspection)
    command("ip", "link", "set", port, "up")
    command("ip", "link", "set", hosts.inspection, "up")
    request = ["--", "set", "Interface", port, "ofport_request=3"]
    command("ovs-vsctl", "add-port", hosts.bridge, port, *request)
    assert answered_within(hosts, 3)


@pytest.mark.usefixtures("server")
def test_an_inspector_that_was_killed_is_followed_by_another(
    hosts: Hosts, tmp_path: Path, process: Process, controller: Controller
) -> None:
    controller.serve(hosts, SetGrant(READ, True))
    process.end()
    assert ask(hosts, seconds=0.3) is None, "nothing passes unjudged"
    again = Process(tmp_path)
    try:
        following = Controller(again.path)
        following.serve(hosts, SetGrant(READ, True))
        assert answered_within(hosts, 2)
        following.close()
    finally:
        again.end()


@pytest.mark.parametrize("way", ["stop", "signal"])
def test_it_ends_when_told_to_and_leaves_no_socket(
    way: str, process: Process, controller: Controller
) -> None:
    if way == "stop":
        controller.say(link.Stop())
    else:
        process.popen.send_signal(signal.SIGTERM)
    assert process.popen.wait(2) == 0
    assert not process.path.exists()


@pytest.mark.usefixtures("controller")
def test_a_second_one_on_the_same_socket_says_why_it_cannot_start(tmp_path: Path, process: Process) -> None:
    second = Process(tmp_path)
    assert second.popen.wait(10) == 2
    second.end()
    assert "another inspector serves this socket" in (tmp_path / "inspector.log").read_text()
    assert process.popen.poll() is None


NET_RAW_ONLY = (
    "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all,+net_raw",
    "--ambient-caps=-all,+net_raw", "--bounding-set=-all,+net_raw", "--no-new-privs",
)  # fmt: skip


@pytest.mark.usefixtures("server")
def test_it_needs_the_right_to_raw_sockets_and_nothing_else(hosts: Hosts) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("needs the command setpriv (util-linux)")
    probe = [*NET_RAW_ONLY, sys.executable, "-c", "import controller.inspector.process"]
    if subprocess.run(probe, check=False, capture_output=True).returncode:
        pytest.skip("this checkout cannot be read by the user nobody")
    folder = Path(tempfile.mkdtemp(prefix="graphwall-test-"))
    folder.chmod(0o777)
    process = Process(folder, *NET_RAW_ONLY)
    try:
        controller = Controller(process.path)
        controller.serve(hosts, SetGrant(READ, True))
        assert ask(hosts) == coap_answer()
        controller.close()
    finally:
        process.end()
        shutil.rmtree(folder)
