"""The same packet behind every kind of link says the same."""

import struct

import pytest

from controller.captures.link import NOBODY, name
from controller.captures.link import ethernet as as_ethernet
from controller.dpi.frame import parse
from tests.unit.captures.capture_files import MAC_A, MAC_B, ethernet, ipv4, ipv6

SLL = struct.pack("!HHH6sHH", 0, 1, 6, MAC_A, 0, 0x0800)
SLL_NO_MAC = struct.pack("!HHH8sH", 4, 65534, 0, b"\xff" * 8, 0x0800)
SLL2 = struct.pack("!HHIHBB8s", 0x0800, 0, 3, 1, 0, 6, MAC_A + b"\0\0")
WITH_MAC = "02:00:00:00:00:01"


@pytest.mark.parametrize(
    ("link", "data", "mac"),
    [
        (1, ethernet(), WITH_MAC),
        (1, MAC_B + MAC_A + b"\x81\0\0\7" + b"\x08\0" + ipv4(), WITH_MAC),
        (113, SLL + ipv4(), WITH_MAC),
        (113, SLL_NO_MAC + ipv4(), NOBODY),
        (276, SLL2 + ipv4(), WITH_MAC),
        (101, ipv4(), NOBODY),
        (12, ipv4(), NOBODY),
        (228, ipv4(), NOBODY),
        (0, b"\2\0\0\0" + ipv4(), NOBODY),
        (108, b"\0\0\0\2" + ipv4(), NOBODY),
    ],
)
def test_ipv4_is_read_behind_each_link(link: int, data: bytes, mac: str) -> None:
    raw = as_ethernet(link, data)
    assert raw is not None
    headers = parse(raw, captured=True)
    assert (headers.src_ip, headers.dst_port, headers.src_mac) == ("10.0.0.1", 53, mac)


@pytest.mark.parametrize(
    ("link", "data"),
    [
        (101, ipv6()),
        (229, ipv6()),
        (0, b"\x1e\0\0\0" + ipv6()),
        (0, b"\0\0\0\x18" + ipv6()),
        (113, SLL[:-2] + b"\x86\xdd" + ipv6()),
    ],
)
def test_ipv6_is_read_behind_each_link(link: int, data: bytes) -> None:
    raw = as_ethernet(link, data)
    assert raw is not None
    assert parse(raw, captured=True).src_ip == "fe80::1"


@pytest.mark.parametrize("link", [0, 12, 101, 108, 113, 228, 229, 276])
def test_frames_cut_anywhere_are_still_some_frame(link: int) -> None:
    data = SLL2 + ipv4()
    for cut in range(len(data)):
        assert isinstance(as_ethernet(link, data[:cut]), bytes)


def test_links_that_are_not_read_are_named() -> None:
    assert as_ethernet(127, b"") is None
    assert name(127) == "Wi-Fi (link type 127)"
    assert name(9999) == "link type 9999"
