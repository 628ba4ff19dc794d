"""An interface as the inspector sees it: frames come whole, in order, as they were sent."""

import os
import select
import socket
import struct
from collections.abc import Iterator

import pytest

from controller.inspector.tap import LONGEST, SLOT, SLOTS, PacketTap, TapGone
from tests.switch.conftest import command

pytestmark = pytest.mark.root

HERE, THERE = (f"gwtap{os.getpid()}{end}" for end in "ab")
MACS = bytes.fromhex("02000000000a02000000000b")


@pytest.fixture
def wire() -> Iterator[socket.socket]:
    """The far end of a cable whose near end is HERE."""
    command("ip", "link", "add", HERE, "type", "veth", "peer", "name", THERE)
    try:
        for end in (HERE, THERE):
            command("sysctl", "-qw", f"net.ipv6.conf.{end}.disable_ipv6=1")
            command("ip", "link", "set", end, "mtu", "9000", "up")
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as far:
            far.bind((THERE, 0))
            far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024 * 1024)
            yield far
    finally:
        command("ip", "link", "delete", HERE)


@pytest.fixture
def tap(wire: socket.socket) -> Iterator[PacketTap]:
    assert wire
    tap = PacketTap(HERE)
    yield tap
    tap.close()


def frame(number: int, size: int = 60, ethertype: bytes = b"\x88\xb5") -> bytes:
    return MACS + ethertype + struct.pack("!I", number) + bytes(size - 18)


def heard(tap: PacketTap, count: int) -> list[bytes]:
    """`count` frames, or as many as come within three seconds."""
    found: list[bytes] = []
    while len(found) < count and select.select([tap], [], [], 3)[0]:
        while (raw := tap.receive()) is not None:
            found.append(raw)
    return found


def test_frames_come_whole_and_in_order_also_when_they_are_longer_than_a_slot(
    tap: PacketTap, wire: socket.socket
) -> None:
    sizes = [60, 61, 1514, SLOT - 82, SLOT - 40, SLOT, 9014, 60, 4000, 64]
    sent = [frame(number, size) for number, size in enumerate(sizes)]
    for raw in sent:
        wire.send(raw)
    assert heard(tap, len(sent)) == sent
    assert tap.receive() is None


def test_the_ring_goes_round(tap: PacketTap, wire: socket.socket) -> None:
    for turn in range(3):
        sent = [frame(turn * SLOTS + number) for number in range(SLOTS // 2 + 1)]
        for raw in sent:
            wire.send(raw)
        assert heard(tap, len(sent)) == sent


def test_what_there_is_no_room_for_is_lost_and_the_rest_is_not(tap: PacketTap, wire: socket.socket) -> None:
    for number in range(SLOTS + 100):
        wire.send(frame(number))
    found = heard(tap, SLOTS)
    assert found == [frame(number) for number in range(SLOTS)]
    wire.send(frame(7))
    assert heard(tap, 1) == [frame(7)]


def test_a_tag_that_the_kernel_took_off_is_put_back(tap: PacketTap, wire: socket.socket) -> None:
    tagged = frame(1, 64, b"\x81\x00\x00\x05\x88\xb5")
    twice = frame(2, 64, b"\x88\xa8\x00\x07\x81\x00\x00\x05\x88\xb5")
    for raw in (tagged, twice, long := frame(3, 5000, b"\x81\x00\x20\x05\x88\xb5")):
        wire.send(raw)
    assert heard(tap, 3) == [tagged, twice, long]


def test_its_own_frames_are_not_heard(tap: PacketTap, wire: socket.socket) -> None:
    assert tap.send(frame(1))
    wire.send(frame(2))
    assert heard(tap, 1) == [frame(2)]


def test_a_frame_that_is_too_long_to_send_is_dropped(tap: PacketTap) -> None:
    assert not tap.send(frame(1, LONGEST + 10_000))


def test_an_interface_that_goes_down_says_so(tap: PacketTap) -> None:
    tap.check()
    command("ip", "link", "set", HERE, "down")
    with pytest.raises(TapGone, match=HERE):
        tap.check()
    with pytest.raises(TapGone, match=HERE):
        tap.send(frame(1))
