import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP
from scapy.layers.inet import UDP
from scapy.utils import PcapReader

from controller.dpi import dhcp
from controller.dpi.message import Malformed, Operation

CAPTURES = Path(__file__).parents[4] / "shared" / "captures" / "dhcp"
MAC = bytes.fromhex("020000000001")
COOKIE = bytes.fromhex("63825363")


def message(
    op: int, options: bytes, *, ciaddr: str = "00000000", yiaddr: str = "00000000", sname: bytes = b"",
    file: bytes = b"", hlen: int = 6,
) -> bytes:  # fmt: skip
    return (
        bytes([op, 1, hlen, 0])
        + bytes.fromhex("deadbeef 0000 0000" + ciaddr + yiaddr + "00000000 00000000")
        + MAC.ljust(16, b"\0")
        + sname.ljust(64, b"\0")
        + file.ljust(128, b"\0")
        + COOKIE
        + options
    )


DISCOVER = message(1, bytes.fromhex("350101 3204c0a80109 0c036c6564 3c0461636d65 370401030f06 ff"))
ACK = message(2, bytes.fromhex("350105 3604c0a80101 3304000e1000 ff") + bytes(20), yiaddr="c0a80109")


def test_discover_is_a_lookup_of_the_address_wanted() -> None:
    read = dhcp.datagram(DISCOVER, 68, 67)
    assert read is not None
    assert not read.answer
    (found,) = read.messages
    assert (found.protocol, found.verb, found.operation) == ("dhcp", "DISCOVER", Operation.LOOKUP)
    assert (found.resource, found.identity) == ("192.168.1.9", "led")
    assert dhcp.lease(DISCOVER) == dhcp.Lease(
        "02:00:00:00:00:01", "DISCOVER", None, "led", "acme", "192.168.1.9", None
    )


def test_ack_announces_the_address_given() -> None:
    read = dhcp.datagram(ACK, 67, 68)
    assert read is not None
    assert read.answer
    (found,) = read.messages
    assert (found.verb, found.operation, found.resource) == ("ACK", Operation.ANNOUNCE, "192.168.1.9")
    assert found.identity is None
    assert dhcp.lease(ACK) == dhcp.Lease(
        "02:00:00:00:00:01", "ACK", "192.168.1.9", None, None, None, "192.168.1.1"
    )


def test_an_offer_assigns_nothing_yet() -> None:
    lease = dhcp.lease(message(2, b"\x35\1\2\xff", yiaddr="c0a80109"))
    assert lease is not None
    assert lease.assigned is None


def test_a_renewal_requests_the_address_in_use() -> None:
    read = dhcp.datagram(message(1, b"\x35\1\3\xff", ciaddr="0a000007"), 68, 67)
    assert read is not None
    assert read.messages[0].resource == "10.0.0.7"


def test_force_renew_answers_nobody() -> None:
    read = dhcp.datagram(message(2, b"\x35\1\x09\xff"), 67, 68)
    assert read is not None
    assert not read.answer
    assert read.messages[0].operation is Operation.ANNOUNCE


def test_options_go_on_in_file_and_sname() -> None:
    raw = message(1, b"\x35\1\1\x34\1\3\xff", file=b"\x0c\2le\xff", sname=b"\x0c\1d\xff")
    lease = dhcp.lease(raw)
    assert lease is not None
    assert lease.host_name == "led"


@pytest.mark.parametrize(
    "name", [b"\xff\xfe", b"a\0", "küche".encode(), b"\x1b[2J"], ids=["bytes", "zero", "utf8", "escape"]
)
def test_host_name_may_be_any_bytes(name: bytes) -> None:
    lease = dhcp.lease(message(1, b"\x35\1\1\x0c" + bytes([len(name)]) + name + b"\xff"))
    assert lease is not None
    assert lease.host_name == name.rstrip(b"\0").decode(errors="backslashreplace")


def test_another_port_needs_the_magic_cookie() -> None:
    assert dhcp.datagram(b"hello", 4011, 5000) is None
    assert dhcp.datagram(DISCOVER, 4011, 5000) is not None


def test_no_lease_without_ethernet() -> None:
    assert dhcp.lease(message(1, b"\x35\1\1\xff", hlen=8)) is None


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        DISCOVER[:239],
        DISCOVER[:236] + b"BOOT" + DISCOVER[240:],
        message(1, b"\xff"),
        message(1, b"\x35\2\1\1\xff"),
        message(1, b"\x35\1\1\x35\1\3\xff"),  # two types: their parts are joined
        message(1, b"\x35\1\5\xff"),  # a client does not send ACK
        message(2, b"\x35\1\1\xff"),
        message(3, b"\x35\1\1\xff"),
        message(1, b"\x35\1\x63\xff"),
        message(1, b"\x35\1\1\x0c\x09led"),
        message(1, b"\x35\1\1\x0c"),
        message(1, b"\x35\1\1\x32\3abc\xff"),
        message(1, b"\x35\1\1\x34\1\4\xff"),
        message(1, b"\x35\1\1\xff", hlen=17),
    ],
)
def test_broken_messages_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="dhcp"):
        dhcp.datagram(raw, 68, 67)
    with pytest.raises(Malformed, match="dhcp"):
        dhcp.lease(raw)


@given(st.sampled_from(["discover", "request", "offer", "ack"]), st.text("ab-", min_size=1), st.data())
def test_reads_what_scapy_writes(kind: str, name: str, data: st.DataObject) -> None:
    server = kind in ("offer", "ack")
    address = "10.1.2." + str(data.draw(st.integers(1, 254)))
    options: list[object] = [("message-type", kind), ("hostname", name)]
    if not server:
        options.append(("requested_addr", address))
    raw = bytes(
        BOOTP(op=2 if server else 1, chaddr=MAC, yiaddr=address if server else "0.0.0.0")
        / DHCP(options=[*options, "end"])
    )
    read = dhcp.datagram(raw, 67 if server else 68, 68 if server else 67)
    assert read is not None
    (found,) = read.messages
    assert (found.verb, found.resource, found.identity) == (kind.upper(), address, name)
    assert read.answer is server


@given(st.one_of(st.binary(max_size=400), st.binary(max_size=200).map(lambda rest: message(1, rest))))
def test_any_bytes_are_read_or_malformed(raw: bytes) -> None:
    try:
        dhcp.datagram(raw, 68, 67)
        dhcp.lease(raw)
    except Malformed:
        return


@pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures in {CAPTURES}")
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("name", ["dhcp", "dhcp_inform", "dhcp_time_and_nameserver", "dhcp_flood"])
def test_agrees_with_tshark(name: str) -> None:
    (path,) = CAPTURES.glob(f"*__{name}.pcap")
    said = subprocess.run(
        ["tshark", "-r", path, "-Y", "dhcp.option.dhcp", "-T", "fields", "-e", "dhcp.option.dhcp", "-e",
         "dhcp.ip.your", "-e", "dhcp.option.requested_ip_address", "-e", "dhcp.option.hostname"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    expected: Counter[tuple[str, str, str, str]] = Counter()
    for line in said.splitlines():
        kind, yours, requested, host = line.split("\t")
        expected[dhcp._TYPES[int(kind)][0], yours, requested, host] += 1
    found: Counter[tuple[str, str, str, str]] = Counter()
    with PcapReader(str(path)) as reader:
        frames = list(reader)
    for frame in frames:
        if UDP not in frame or not {frame[UDP].sport, frame[UDP].dport} & {67, 68}:
            continue
        raw = bytes(frame[UDP].payload)
        read = dhcp._read(raw)
        lease = read.lease
        ciaddr = raw[12:16] != bytes(4) and lease.requested == ".".join(map(str, raw[12:16]))
        found[
            lease.message_type,
            read.offered or "0.0.0.0",
            "" if ciaddr else lease.requested or "",
            lease.host_name or "",
        ] += 1
    assert found == expected
    assert found


def test_how_a_client_shows_what_it_is() -> None:
    mud = b"https://x.y/lamp.json"
    options = b"\x35\1\1\x37\4\1\3\x0f\6" + bytes([161, len(mud)]) + mud + b"\xff"
    read = dhcp.datagram(message(1, options), 68, 67)
    assert read is not None
    assert read.messages[0].detail == {
        "mac": "02:00:00:00:00:01",
        "mud_url": "https://x.y/lamp.json",
        "parameters": [1, 3, 15, 6],
    }
