"""The inspector's loop with interfaces and a controller made of socket pairs: no root, no clock."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from controller.dpi.message import Operation
from controller.events import (
    Applied,
    InspectorCounters,
    InspectorUp,
    Observed,
    UpdateTable,
)
from controller.inspector import link
from controller.inspector.process import FRAMES_PER_TURN, CannotStart, Inspector, listen
from controller.inspector.tap import TapGone
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, ServiceId
from controller.verdicts import Delta, SetAddress, SetDevice, SetGrant, SetNetworks
from tests.unit.inspector.judgement.frames import coap, udp

WASHER, BATTERY = DeviceId("washer"), DeviceId("battery")
SITE: tuple[Delta, ...] = (
    SetNetworks(("10.0.0.0/8",)),
    SetDevice(WASHER),
    SetDevice(BATTERY),
    SetAddress("10.0.0.1", (WASHER,)),
    SetAddress("10.0.0.2", (BATTERY,)),
)
GRANT = SetGrant(
    Access(ServiceId("washer/main"), ServiceId("battery/udp-5683"), "coap", Operation.READ, "/charge"), True
)
ASK = udp("10.0.0.1", "10.0.0.2", 40000, 5683, coap("GET", "/charge"))
PORTS = link.Ports((link.SwitchPorts(1, "br0-gwi0", "br0-gwc0"),))


class PairTap:
    """A Tap whose interface is one end of a socket pair; the test holds the other end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.unfinished = 0
        self.gone = False
        self.mine, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.mine.setblocking(False)
        self.far.setblocking(False)

    def fileno(self) -> int:
        return self.mine.fileno()

    def receive(self) -> bytes | None:
        if self.gone:
            raise TapGone(f"{self.name}: Network is down")
        with suppress(BlockingIOError):
            return self.mine.recv(70000)
        return None

    def send(self, frame: bytes) -> bool:
        self.mine.send(frame)
        return True

    def check(self) -> None:
        if self.gone:
            raise TapGone(f"{self.name}: Network is down")

    def same(self) -> bool:
        return not self.gone

    def close(self) -> None:
        self.mine.close()

    def passed(self) -> list[bytes]:
        """What the inspector has sent out of this interface."""
        frames = []
        with suppress(BlockingIOError):
            while True:
                frames.append(self.far.recv(70000))
        return frames


class World:
    """An inspector, its interfaces, and the time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = 1000.0
        self.taps: dict[str, PairTap] = {}
        self.ends: list[socket.socket] = []  # of ours
        self.missing: set[str] = set()
        listener, self._lock = listen(path)
        self.inspector = Inspector(listener, self._open, lambda: self.now, lambda: self.now)

    def _open(self, name: str) -> PairTap:
        if name in self.missing:
            raise OSError("No such device")
        self.taps[name] = PairTap(name)
        self.ends.append(self.taps[name].far)
        return self.taps[name]

    def turns(self, count: int = 12) -> None:
        for _ in range(count):
            self.inspector.turn(0)

    def call(self, hello: bool = True) -> "Controller":
        controller = Controller(self)
        if hello:
            controller.say(link.Hello(link.VERSION, 1))
        return controller

    def ready(self, *deltas: Delta) -> "Controller":
        """A controller that has given the interfaces and a table."""
        controller = self.call()
        controller.say(PORTS)
        controller.table(1, (*SITE, *deltas), whole=True)
        controller.heard()
        return controller

    def ask(self, frame: bytes = ASK, interface: str = "br0-gwi0") -> list[bytes]:
        """Give a frame to an interface; what comes out of the inspection interface."""
        self.taps[interface].far.send(frame)
        self.turns()
        return self.taps["br0-gwi0"].passed()

    def end(self) -> None:
        self.inspector.stop()
        self.inspector.run()
        os.close(self._lock)
        for end in self.ends:
            end.close()


class Controller:
    """The controller's end of the line."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        world.ends.append(self.socket)
        self.socket.connect(str(world.path))
        self.socket.setblocking(False)
        self.decoder = link.controller_decoder()
        world.turns()

    def say(self, message: link.ToInspector) -> None:
        self.socket.setblocking(True)
        self.socket.sendall(link.to_inspector(message))
        self.socket.setblocking(False)
        self.world.turns()

    def table(self, version: int, deltas: tuple[Delta, ...], whole: bool = False) -> None:
        for part in link.parts(UpdateTable(version, deltas, whole)):
            self.say(part)

    def heard(self) -> list[link.ToController]:
        """Everything that the inspector has said since the last call."""
        self.world.turns()
        messages: list[link.ToController] = []
        with suppress(BlockingIOError):
            while data := self.socket.recv(1 << 20):
                self.decoder.feed(data)
        while (message := self.decoder.next()) is not None:
            messages.append(message)
        return messages

    def observed(self) -> list[Observed]:
        return [message for message in self.heard() if isinstance(message, Observed)]

    @property
    def hung_up(self) -> bool:
        self.world.turns()
        try:
            while self.socket.recv(1 << 20):
                pass
        except BlockingIOError:
            return False
        return True


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "inspector.sock")
    yield made
    made.end()


def test_a_controller_is_greeted_and_asked_for_the_whole_table(world: World) -> None:
    heard = world.call().heard()
    assert heard[:2] == [link.Hello(link.VERSION, os.getpid()), InspectorUp(os.getpid())]


def test_the_table_is_acknowledged_when_its_last_part_counts(world: World) -> None:
    controller = world.call()
    parts = list(
        link.parts(UpdateTable(7, tuple(SetAddress(f"10.0.9.{i % 250}", (WASHER,)) for i in range(1200))))
    )
    assert len(parts) == 3
    for part in parts[:-1]:
        controller.say(part)
    assert not [m for m in controller.heard() if isinstance(m, Applied)]
    controller.say(parts[-1])
    assert [m for m in controller.heard() if isinstance(m, Applied)] == [Applied(7)]


def test_nothing_passes_before_there_is_a_table(world: World) -> None:
    controller = world.call()
    controller.say(PORTS)
    assert world.ask() == []
    assert controller.observed() == []


def test_an_allowed_message_passes_and_is_reported(world: World) -> None:
    controller = world.ready(GRANT)
    assert world.ask() == [ASK]
    (seen,) = controller.observed()
    assert (seen.allowed, seen.access, seen.verb) == (True, GRANT.access, "GET")


def test_a_message_that_nobody_has_allowed_does_not_pass_and_is_reported(world: World) -> None:
    controller = world.ready()
    assert ASK not in world.ask()
    (seen,) = controller.observed()
    assert not seen.allowed


def test_a_delta_counts_from_its_acknowledgement_on(world: World) -> None:
    controller = world.ready()
    controller.table(2, (GRANT,))
    assert Applied(2) in controller.heard()
    assert world.ask() == [ASK]
    controller.table(3, (SetGrant(GRANT.access, None),))
    assert ASK not in world.ask()


def test_copies_are_observed_and_never_sent_again(world: World) -> None:
    controller = world.ready(GRANT)
    assert world.ask(interface="br0-gwc0") == []
    assert world.taps["br0-gwc0"].passed() == []
    assert controller.observed()


def test_without_a_controller_it_goes_on_and_tells_the_next_one(world: World) -> None:
    world.ready(GRANT).socket.close()
    world.turns()
    for _ in range(5):
        assert world.ask() == [ASK]
        world.now += 0.5
    heard = world.call().observed()
    assert sum(seen.count for seen in heard) == 5


def test_a_grant_that_was_used_up_meanwhile_is_told_before_a_table_is_asked_for(world: World) -> None:
    world.ready(SetGrant(GRANT.access, True, once=True)).socket.close()
    world.turns()
    assert world.ask() == [ASK]
    _, used, up = world.call().heard()[:3]
    assert isinstance(used, Observed)
    assert used.consumed
    assert up == InspectorUp(os.getpid())


def test_the_newest_controller_wins(world: World) -> None:
    old = world.ready(GRANT)
    new = world.call()
    assert old.hung_up
    world.ask()
    assert new.observed()


def test_whoever_does_not_say_hello_displaces_nobody(world: World) -> None:
    controller = world.ready(GRANT)
    strangers = [world.call(hello=False) for _ in range(10)]
    world.ask()
    assert controller.observed()
    assert sum(not stranger.hung_up for stranger in strangers) <= 4


@pytest.mark.parametrize("said", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\2{}", b"\xff" * 64])
def test_garbage_on_the_line_closes_that_line_only(world: World, said: bytes) -> None:
    controller = world.ready(GRANT)
    stranger = world.call(hello=False)
    stranger.socket.send(said)
    assert stranger.hung_up
    assert world.ask() == [ASK]
    assert controller.observed()


def test_an_update_that_was_cut_off_changes_nothing(world: World) -> None:
    controller = world.ready(GRANT)
    withdrawals = (SetGrant(GRANT.access, None),) * 600
    controller.say(next(link.parts(UpdateTable(2, withdrawals))))
    controller.socket.close()
    world.turns()
    assert world.ask() == [ASK]


def test_an_interface_that_is_not_there_yet_is_opened_later(world: World) -> None:
    world.missing = {"br0-gwi0"}
    world.ready(GRANT)
    assert "br0-gwi0" not in world.taps
    world.missing = set()
    world.inspector._next_retry = 0.0
    world.turns()
    assert world.ask() == [ASK]


def test_an_interface_that_vanishes_is_opened_anew(world: World) -> None:
    world.ready(GRANT)
    before = world.taps["br0-gwi0"]
    before.gone = True
    before.far.send(ASK)
    world.turns()
    world.inspector._next_retry = 0.0
    world.turns()
    assert world.taps["br0-gwi0"] is not before
    assert world.ask() == [ASK]


def test_an_interface_that_was_replaced_unnoticed_is_opened_anew(world: World) -> None:
    world.ready(GRANT)
    before = world.taps["br0-gwi0"]
    before.gone = True
    world.inspector._next_retry = 0.0
    world.turns()
    assert world.taps["br0-gwi0"] is not before


def test_a_switch_that_a_controller_does_not_know_yet_is_served_on(world: World) -> None:
    controller = world.ready(GRANT)
    controller.say(link.Ports(()))
    assert world.ask(ASK) == [ASK]


def test_interfaces_that_a_switch_has_no_longer_are_let_go(world: World) -> None:
    controller = world.ready(GRANT)
    controller.say(link.Ports((link.SwitchPorts(1, "br1-gwi0", "br1-gwc0"),)))
    assert world.taps["br0-gwi0"].mine.fileno() == -1
    assert world.taps["br0-gwc0"].mine.fileno() == -1
    assert world.taps["br1-gwi0"].mine.fileno() != -1


def test_a_bug_costs_one_frame_and_is_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    controller = world.ready(GRANT)
    inspection = world.inspector._inspection
    with monkeypatch.context() as patched:
        patched.setattr(inspection, "frame", lambda *_: 1 // 0)
        assert world.ask() == []
    assert world.ask() == [ASK]
    world.inspector._next_counters = 0.0
    (counters,) = [m for m in controller.heard() if isinstance(m, InspectorCounters)][-1:]
    assert counters.counters["errors"] == 1


def test_counters_are_told_when_they_have_changed_only(world: World) -> None:
    controller = world.ready(GRANT)
    world.ask()
    world.inspector._next_counters = 0.0
    assert [m for m in controller.heard() if isinstance(m, InspectorCounters)]
    world.inspector._next_counters = 0.0
    assert not [m for m in controller.heard() if isinstance(m, InspectorCounters)]


def test_a_flood_of_frames_does_not_keep_the_controller_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = world.ready()
    tap = world.taps["br0-gwi0"]
    monkeypatch.setattr(tap, "receive", lambda: ASK)
    tap.far.send(ASK)  # readable for ever
    served: list[bytes] = []

    def send(frame: bytes) -> bool:
        served.append(frame)
        return True

    monkeypatch.setattr(tap, "send", send)
    parts = list(link.parts(UpdateTable(2, (GRANT,))))
    controller.socket.sendall(link.to_inspector(parts[0]))
    world.turns(3)
    assert served.count(ASK) <= 3 * FRAMES_PER_TURN
    assert served[-1] == ASK


def test_a_controller_that_does_not_read_costs_bounded_memory(world: World) -> None:
    controller = world.ready(GRANT)
    for _ in range(20000):
        world.inspector._tell([_sighting()])
        world.inspector.turn(0)
    line = world.inspector._controller
    assert line is not None
    assert len(line._unsent) < 2_000_000
    assert sum(seen.count for seen in _everything(controller)) == 20000


def _sighting() -> Observed:
    return Observed(
        client=WASHER,
        server=BATTERY,
        client_address="10.0.0.1",
        server_address="10.0.0.2",
        endpoint=Endpoint("udp", 5683),
        access=GRANT.access,
        verb="GET",
        identity=None,
        service=None,
        allowed=True,
        reason=Reason.KNOWN,
        time=1.0,
    )


def _everything(controller: Controller) -> list[Observed]:
    seen = controller.observed()
    while more := controller.observed():
        seen += more
    return seen


def test_who_asks_whether_the_loop_turns_is_answered(world: World) -> None:
    controller = world.ready()
    controller.say(link.Ping())
    assert link.Pong() in controller.heard()


def test_stop_ends_the_loop(world: World) -> None:
    world.ready().say(link.Stop())
    world.inspector.run()  # returns


def test_the_socket_is_for_its_owner_only(world: World) -> None:
    assert stat.S_IMODE(world.path.stat().st_mode) == 0o600


def test_a_second_inspector_on_the_same_socket_is_refused(world: World) -> None:
    with pytest.raises(CannotStart, match="another inspector"):
        listen(world.path)
    assert world.call().heard()


def test_a_socket_that_was_left_behind_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "inspector.sock"
    listener, lock = listen(path)
    listener.close()
    os.close(lock)
    assert path.exists()
    listener, lock = listen(path)
    listener.close()
    os.close(lock)


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(CannotStart, match="not a socket"):
        listen(path)
    assert path.read_text() == "mine"


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"create .*missing"):
        listen(tmp_path / "missing" / "inspector.sock")


def test_a_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="too long"):
        listen(tmp_path / ("x" * 120))
