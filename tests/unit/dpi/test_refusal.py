import struct
from ipaddress import ip_address

import pytest

from controller.dpi.connection import Connection, Limits
from controller.dpi.frame import Headers, parse
from controller.dpi.refusal import prohibited, resets
from tests.unit.dpi.frames import (
    ACK,
    CLIENT,
    CLIENT_6,
    PSH,
    RST,
    SERVER,
    SERVER_6,
    SYN,
    checksum,
    ethernet,
    ipv6,
    tcp,
    udp,
    udp_segment,
)  # fmt: skip

GET = b"GET /a HTTP/1.1\r\n\r\n"


def check(raw: bytes) -> Headers:
    """Parses a frame, and holds its checksums against the definition."""
    headers = parse(raw)
    body = raw[headers.transport_offset : headers.payload_end]
    if headers.ethertype == 0x0800:
        assert checksum(raw[headers.ip_offset : headers.transport_offset]) == 0
    addresses = ip_address(headers.src_ip or "").packed + ip_address(headers.dst_ip or "").packed
    pseudo = addresses + struct.pack("!II", len(body), headers.protocol)
    assert checksum(body if headers.protocol == 1 else pseudo + body) == 0
    return headers


@pytest.mark.parametrize("six", [False, True])
def test_both_ends_are_reset_where_they_are(six: bool) -> None:
    client, server = (CLIENT_6, SERVER_6) if six else (CLIENT, SERVER)
    raw = tcp(1000, GET, six=six, ack=7000)
    to_client, to_server = (check(frame) for frame in resets(parse(raw), None))
    assert (to_client.src_ip, to_client.dst_ip) == (server, client)
    assert (to_client.src_port, to_client.dst_port) == (80, 40000)
    assert (to_client.src_mac, to_client.dst_mac) == ("02:00:00:00:00:02", "02:00:00:00:00:01")
    assert (to_client.seq, to_client.ack, to_client.tcp_flags) == (7000, 1000 + len(GET), RST | ACK)
    assert (to_server.src_ip, to_server.src_port, to_server.dst_port) == (client, 40000, 80)
    assert (to_server.src_mac, to_server.dst_mac) == ("02:00:00:00:00:01", "02:00:00:00:00:02")
    assert (to_server.seq, to_server.tcp_flags & RST) == (1000, RST)


def test_server_is_reset_before_the_frames_that_were_held_back() -> None:
    syn, first, rest = tcp(999, b"", SYN, ack=0), tcp(1000, GET[:5]), tcp(1005, GET[5:])
    connection = Connection((None, CLIENT, 40000, SERVER, 80), Limits(), parse(syn))
    connection.client_frame(first, parse(first), 0.0)
    connection.client_frame(rest, parse(rest), 0.0)  # and the message is denied
    to_client, to_server = resets(parse(rest), connection)
    assert parse(to_server).seq == 1000
    assert parse(to_client).ack == 1000 + len(GET)


def test_refused_syn_is_answered_as_a_closed_port_would() -> None:
    """RFC 9293, section 3.10.7.1: sequence number zero, and the SYN acknowledged."""
    to_client, _ = resets(parse(tcp(999, b"", SYN, ack=0)), None)
    headers = check(to_client)
    assert (headers.seq, headers.ack, headers.tcp_flags) == (0, 1000, RST | ACK)


def test_vlan_tags_are_kept() -> None:
    tags = bytes.fromhex("88a8 0007 8100 2005")
    raw = ethernet(tcp(1000, GET, ACK | PSH)[14:], tags=tags)
    for frame in (*resets(parse(raw), None), prohibited(raw, parse(raw))):
        assert frame[12:20] == tags


def test_prohibited_quotes_the_datagram() -> None:
    raw = udp(b"x" * 100) + bytes(7)
    headers = check(answer := prohibited(raw, parse(raw)))
    assert (headers.src_ip, headers.dst_ip, headers.kind, headers.code) == (SERVER, CLIENT, 3, 13)
    assert answer[headers.transport_offset + 8 : headers.payload_end] == raw[14:-7]


def test_prohibited_of_ipv6() -> None:
    raw = ethernet(ipv6(17, udp_segment(b"x" * 1300)), 0x86DD)
    headers = check(answer := prohibited(raw, parse(raw)))
    assert (headers.protocol, headers.kind, headers.code) == (58, 1, 1)
    assert headers.payload_end - headers.ip_offset == 1280
    assert raw[14:].startswith(answer[headers.transport_offset + 8 : headers.payload_end])


def test_long_datagrams_are_quoted_in_part() -> None:
    raw = udp(b"x" * 1400)
    headers = check(prohibited(raw, parse(raw)))
    assert headers.payload_end - headers.ip_offset == 576
