import struct

import pytest

from controller.dpi import frame
from controller.dpi.frame import Headers, parse
from controller.dpi.message import Malformed
from tests.unit.dpi.frames import (
    CLIENT,
    CLIENT_6,
    SERVER,
    SERVER_6,
    checksum,
    ethernet,
    ipv4,
    ipv6,
    tcp,
    udp,
    udp_segment,
)

VLAN_5 = bytes.fromhex("8100 2005")
QINQ = bytes.fromhex("88a8 0007 8100 0005")


def test_udp() -> None:
    raw = udp(b"hello", 1234, 5683)
    headers = parse(raw)
    assert (headers.src_mac, headers.dst_mac) == ("02:00:00:00:00:01", "02:00:00:00:00:02")
    assert (headers.src_ip, headers.src_port) == (CLIENT, 1234)
    assert (headers.dst_ip, headers.dst_port) == (SERVER, 5683)
    assert (headers.protocol, headers.ttl, headers.vlan, headers.fragment) == (17, 64, None, False)
    assert raw[headers.payload_offset : headers.payload_end] == b"hello"


def test_tcp() -> None:
    raw = tcp(77, b"hello", 0x18, ack=99)
    headers = parse(raw)
    assert (headers.src_port, headers.dst_port, headers.tcp_flags) == (40000, 80, 0x18)
    assert (headers.seq, headers.ack, headers.window) == (77, 99, 65535)
    assert raw[headers.payload_offset : headers.payload_end] == b"hello"


def test_ethernet_padding_is_no_payload() -> None:
    raw = tcp(1, b"", 0x10) + bytes(6)
    assert len(raw) == 60
    headers = parse(raw)
    assert headers.payload_offset == headers.payload_end == 54


def test_bytes_behind_the_udp_length_are_no_payload() -> None:
    raw = ethernet(ipv4(17, udp_segment(b"hello, world", length=13)))
    headers = parse(raw)
    assert raw[headers.payload_offset : headers.payload_end] == b"hello"


@pytest.mark.parametrize(("tags", "vlan"), [(VLAN_5, 5), (QINQ, 7)])
def test_tags_are_read_and_kept(tags: bytes, vlan: int) -> None:
    headers = parse(ethernet(ipv4(17, udp_segment(b"x")), tags=tags))
    assert (headers.vlan, headers.tags, headers.ethertype, headers.dst_port) == (vlan, tags, 0x0800, 5683)


@pytest.mark.parametrize(("tags", "vlan"), [(b"\x81\0\xe0\0", None), (b"\x81\0\xe0\0" + VLAN_5, 5)])
def test_priority_tag_is_no_vlan(tags: bytes, vlan: int | None) -> None:
    """A host takes such a frame for one without the tag, so both belong to the same connection."""
    headers = parse(ethernet(ipv4(17, udp_segment(b"x")), tags=tags))
    assert (headers.vlan, headers.tags) == (vlan, tags)


def test_three_tags_are_malformed() -> None:
    with pytest.raises(Malformed):
        parse(ethernet(ipv4(17, udp_segment(b"x")), tags=VLAN_5 * 3))


def test_ipv4_options_are_skipped() -> None:
    raw = ethernet(ipv4(17, udp_segment(b"x"), options=8))
    headers = parse(raw)
    assert (headers.dst_port, raw[headers.payload_offset : headers.payload_end]) == (5683, b"x")


def with_options(options: str) -> bytes:
    raw = bytearray(ipv4(17, udp_segment(b"x"), options=len(bytes.fromhex(options))))
    raw[20 : 20 + len(bytes.fromhex(options))] = bytes.fromhex(options)
    raw[10:12] = b"\0\0"
    raw[10:12] = checksum(bytes(raw[: (raw[0] & 15) * 4])).to_bytes(2, "big")
    return ethernet(bytes(raw))


@pytest.mark.parametrize("options", ["83070400000000 00", "01 89070400000000", "94040000 83030400"])
def test_ipv4_source_routes_are_malformed(options: str) -> None:
    """As routing headers are in IPv6: they lead to another host than the one that is judged."""
    with pytest.raises(Malformed, match="source route"):
        parse(with_options(options))


@pytest.mark.parametrize("options", ["94040000", "01010101", "00838383", "94000000", "07030401", "01010107"])
def test_other_ipv4_options_are_skipped(options: str) -> None:
    assert parse(with_options(options)).dst_port == 5683


def test_ipv6_udp() -> None:
    raw = ethernet(ipv6(17, udp_segment(b"x")), 0x86DD) + bytes(9)
    headers = parse(raw)
    assert (headers.src_ip, headers.dst_ip, headers.protocol) == (CLIENT_6, SERVER_6, 17)
    assert raw[headers.payload_offset : headers.payload_end] == b"x"


@pytest.mark.parametrize(
    ("first", "extensions"),
    [
        (0, bytes([60, 0, *bytes(6)]) + bytes([17, 1, *bytes(14)])),  # hop-by-hop, destination options
        (43, bytes([17, 0, 4, 0, 0, 0, 0, 0])),  # routing, no segments left
        (51, bytes([17, 1, *bytes(10)])),  # authentication, in words of 4 bytes
        (44, bytes([17, 0, 0, 0, 1, 2, 3, 4])),  # atomic fragment: the whole datagram
    ],
)
def test_ipv6_extension_headers_are_walked(first: int, extensions: bytes) -> None:
    raw = ethernet(ipv6(first, extensions + udp_segment(b"x")), 0x86DD)
    headers = parse(raw)
    assert (headers.protocol, headers.dst_port, headers.fragment) == (17, 5683, False)
    assert raw[headers.payload_offset : headers.payload_end] == b"x"


@pytest.mark.parametrize(
    ("first", "extensions"),
    [
        (60, bytes([0, 0, *bytes(6)]) + bytes([17, 0, *bytes(6)])),  # hop-by-hop is not first
        (43, bytes([17, 0, 0, 1, 0, 0, 0, 0])),  # leads on to another host
        (60, bytes([17, 200, *bytes(6)])),  # longer than the packet
        (60, bytes([60, 0, *bytes(6)]) * 9),  # too many
    ],
)
def test_ipv6_extension_headers_that_no_host_takes_are_malformed(first: int, extensions: bytes) -> None:
    with pytest.raises(Malformed):
        parse(ethernet(ipv6(first, extensions + udp_segment(b"x")), 0x86DD))


def test_fragments_say_that_they_are() -> None:
    first = parse(ethernet(ipv4(17, udp_segment(b"x" * 32, length=100), fragment=0x2000)))
    assert (first.fragment, first.dst_port) == (True, 5683)
    later = parse(ethernet(ipv4(17, b"x" * 32, fragment=4)))
    assert (later.fragment, later.dst_port) == (True, None)
    six = parse(ethernet(ipv6(44, bytes([17, 0, 0, 9, 1, 2, 3, 4]) + b"x" * 32), 0x86DD))
    assert (six.fragment, six.protocol, six.dst_port) == (True, 17, None)


def test_wrong_ipv4_checksum_is_malformed() -> None:
    with pytest.raises(Malformed, match="checksum"):
        parse(ethernet(ipv4(17, udp_segment(b"x"), checksum=1)))


def test_wrong_tcp_checksum_is_left_to_the_receiver() -> None:
    assert parse(tcp(1, b"x", wrong_checksum=True)).dst_port == 80


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        bytes(13),
        ethernet(b""),
        ethernet(ipv4(17, udp_segment(b"x"), total=19)),
        ethernet(ipv4(17, udp_segment(b"x"), total=200)),
        ethernet(ipv4(17, b"1234567")),
        ethernet(ipv4(17, udp_segment(b"x", length=7))),
        ethernet(ipv4(17, udp_segment(b"x", length=10))),
        ethernet(ipv4(6, bytes(19))),
        ethernet(ipv4(6, bytes(12) + b"\x40" + bytes(7))),  # data offset 4 words
        ethernet(ipv4(6, bytes(12) + b"\x60" + bytes(7))),  # data offset beyond the end
        ethernet(ipv6(17, b"1234567"), 0x86DD),
        ethernet(ipv6(6, bytes(20)), 0x86DD),
        ethernet(ipv6(17, udp_segment(b"x"))[:-1], 0x86DD),
        ethernet(bytes([0x50, *bytes(40)]), 0x86DD),
        ethernet(ipv4(1, bytes(7))),
        ethernet(b"", 0x8100),
        ethernet(bytes(27), 0x0806),
        ethernet(bytes(28), 0x0806),
    ],
)
def test_what_a_kernel_drops_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse(raw)


def test_arp_tells_who_claims_which_address() -> None:
    arp = bytes.fromhex("0001 0800 06 04 0002 02000000000a 0a000001 020000000002 0a000002")
    headers = parse(ethernet(arp, 0x0806) + bytes(18))
    assert (headers.src_ip, headers.dst_ip, headers.kind) == (CLIENT, SERVER, 2)
    assert headers.told_mac == "02:00:00:00:00:0a"
    assert headers.protocol is None


def test_neighbour_discovery_tells_target_and_sender() -> None:
    target = bytes.fromhex("fe80000000000000 0000000000000007")
    solicitation = bytes([135, 0, 0, 0, *bytes(4)]) + target + bytes.fromhex("0101 02000000000b")
    headers = parse(ethernet(ipv6(58, solicitation), 0x86DD))
    assert (headers.kind, headers.target, headers.told_mac) == (135, "fe80::7", "02:00:00:00:00:0b")
    advertisement = bytes([136, 0, 0, 0, *bytes(4)]) + target + bytes.fromhex("0201 02000000000c")
    headers = parse(ethernet(ipv6(58, advertisement), 0x86DD))
    assert (headers.kind, headers.target, headers.told_mac) == (136, "fe80::7", "02:00:00:00:00:0c")
    with pytest.raises(Malformed):
        parse(ethernet(ipv6(58, solicitation[:-8] + b"\1\0" + bytes(6)), 0x86DD))


def test_icmp_tells_its_type() -> None:
    headers = parse(ethernet(ipv4(1, bytes([3, 13, *bytes(6)]))))
    assert (headers.kind, headers.code) == (3, 13)


def test_other_ethertypes_are_left_alone() -> None:
    headers = parse(ethernet(b"lldp", 0x88CC))
    assert (headers.ethertype, headers.src_ip) == (0x88CC, None)


def test_addresses_are_written_as_everywhere() -> None:
    assert frame.ip_text(bytes(15) + b"\1") == "::1"
    assert frame.ip_text(b"\x0a\0\0\1") == "10.0.0.1"
    assert frame.mac_text(b"\x0a\xbc\0\0\0\1") == "0a:bc:00:00:00:01"


def test_both_ways_of_reading_agree() -> None:
    """IPv4 without tags and options is read by a shorter way."""
    for inner in (tcp(5, b"abc")[14:], udp(b"abc")[14:]):
        short, long = parse(ethernet(inner)), parse(ethernet(inner, tags=VLAN_5))
        moved = {"payload_offset", "payload_end", "ip_offset", "transport_offset"}
        for name, one, other in zip(Headers._fields, short, long, strict=True):
            if name in moved:
                assert struct.pack("!q", other - one) == struct.pack("!q", 4)
            elif name not in {"vlan", "tags"}:
                assert one == other


def test_captured_by_the_sender_the_checksum_says_nothing() -> None:
    for options in (0, 4):
        raw = ethernet(ipv4(17, udp_segment(b"x"), checksum=0, options=options))
        assert parse(raw, captured=True).dst_port == 5683
