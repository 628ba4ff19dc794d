from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp6 import (
    DUID_EN,
    DUID_LL,
    DHCP6_Advertise,
    DHCP6_Confirm,
    DHCP6_Decline,
    DHCP6_InfoRequest,
    DHCP6_Rebind,
    DHCP6_RelayForward,
    DHCP6_Release,
    DHCP6_Renew,
    DHCP6_Reply,
    DHCP6_Request,
    DHCP6_Solicit,
    DHCP6OptClientFQDN,
    DHCP6OptClientId,
    DHCP6OptIA_NA,
    DHCP6OptIA_PD,
    DHCP6OptIAAddress,
    DHCP6OptIAPrefix,
    DHCP6OptOptReq,
    DHCP6OptVendorClass,
)
from scapy.layers.dhcp6 import VENDOR_CLASS_DATA as CLASS_DATA
from scapy.packet import Packet

from controller.dpi.dhcpv6 import CLIENT_PORT, SERVER_PORT, datagram, read
from controller.dpi.message import Malformed
from tests.unit.dpi.captures import (
    CAPTURES,
    compare,
    crafted,
    needs_captures,
    needs_tshark,
    ours,
    tshark,
)
from tests.unit.dpi.frames import udp

MUD: Final = b"\0\x70\0\x10https://x.y/z/ab"
ASKED: Final = DHCP6OptIA_NA(iaid=7, ianaopts=[DHCP6OptIAAddress(addr="2001:db8::5")])
CLIENT: Final = DHCP6OptClientId(duid=DUID_LL(lladdr="02:00:00:00:00:01"))
INTRODUCED: Final = (
    CLIENT
    / DHCP6OptOptReq(reqopts=[23, 24, 39])
    / DHCP6OptVendorClass(enterprisenum=99, vcdata=[CLASS_DATA(data=b"lamp"), CLASS_DATA(data=b"v2")])
    / DHCP6OptClientFQDN(fqdn="kitchen.home.")
)
SOLICIT: Final = bytes(DHCP6_Solicit(trid=1) / INTRODUCED) + MUD
MESSAGES: Final[tuple[tuple[Packet, tuple[str, str, str]], ...]] = (
    (DHCP6_Solicit() / CLIENT, ("SOLICIT", "lookup", "")),
    (DHCP6_Advertise() / CLIENT / ASKED, ("ADVERTISE", "announce", "2001:db8::5")),
    (DHCP6_Request() / CLIENT / ASKED, ("REQUEST", "lookup", "2001:db8::5")),
    (DHCP6_Confirm() / ASKED, ("CONFIRM", "lookup", "2001:db8::5")),
    (DHCP6_Renew() / ASKED, ("RENEW", "lookup", "2001:db8::5")),
    (DHCP6_Rebind() / ASKED, ("REBIND", "lookup", "2001:db8::5")),
    (DHCP6_Reply() / ASKED / ASKED, ("REPLY", "announce", "2001:db8::5 2001:db8::5")),
    (DHCP6_Release() / ASKED, ("RELEASE", "lookup", "2001:db8::5")),
    (DHCP6_Decline() / ASKED, ("DECLINE", "lookup", "2001:db8::5")),
    (DHCP6_InfoRequest(), ("INFORMATION-REQUEST", "lookup", "")),
    (
        DHCP6_Request() / DHCP6OptIA_PD(iapdopt=[DHCP6OptIAPrefix(prefix="2001:db8:1::", plen=56)]),
        ("REQUEST", "lookup", "2001:db8:1::/56"),
    ),
    (DHCP6_RelayForward(linkaddr="2001:db8::1") / CLIENT, ("RELAY-FORW", "lookup", "")),
)


@pytest.mark.parametrize(("packet", "expected"), MESSAGES)
def test_messages(packet: Packet, expected: tuple[str, str, str]) -> None:
    found = datagram(bytes(packet), CLIENT_PORT, SERVER_PORT)
    assert found is not None
    assert found.answer == (expected[1] == "announce")
    (one,) = found.messages
    assert (one.protocol, one.verb, one.operation, one.resource) == ("dhcpv6", *expected)


def test_what_a_client_calls_itself() -> None:
    found = datagram(SOLICIT, CLIENT_PORT, SERVER_PORT)
    assert found is not None
    (one,) = found.messages
    assert one.identity == "kitchen.home"
    assert one.detail == {
        "duid": "00030001020000000001",
        "mac": "02:00:00:00:00:01",
        "vendor_class": "lamp v2",
        "mud_url": "https://x.y/z/ab",
        "parameters": [23, 24, 39],
    }


def test_a_server_that_reconfigures_was_not_asked() -> None:
    found = datagram(b"\x0a\0\0\1", SERVER_PORT, CLIENT_PORT)
    assert found is not None
    assert not found.answer
    assert [(m.verb, m.operation.value) for m in found.messages] == [("RECONFIGURE", "announce")]


def test_only_a_duid_made_from_an_address_has_one() -> None:
    told = read(bytes(DHCP6_Solicit() / DHCP6OptClientId(duid=DUID_EN(id=b"12345678"))))
    assert (told.mac, told.duid is not None, told.vendor_class) == (None, True, None)
    assert read(b"\1\0\0\1\0\x10\0\4\0\0\0\x2a").vendor_class == "enterprise 42"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\0\0\0\1",
        b"\x63\0\0\1",
        b"\1\0\0",
        SOLICIT[:-1],
        SOLICIT + SOLICIT[4:],
        b"\1\0\0\1\0\1",
        b"\1\0\0\1\0\3\0\4\0\0\0\1",
        b"\1\0\0\1\0\3\0\x14" + bytes(12) + b"\0\5\0\4" + bytes(4),
        b"\1\0\0\1\0\6\0\3\0\1\2",
        b"\1\0\0\1\0\x27\0\3\0\x40a",
        b"\1\0\0\1\0\x27\0\4\0\1a\2",
        b"\1\0\0\1\0\x10\0\6\0\0\0\1\0\5",
        b"\x0c" + bytes(20),
    ],
)
def test_broken_messages_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="dhcpv6"):
        datagram(raw, CLIENT_PORT, SERVER_PORT)


def test_on_other_ports_it_cannot_be_told_from_others() -> None:
    assert datagram(SOLICIT, 40000, 5000) is None


DATAGRAMS: Final = (
    (SERVER_PORT, SOLICIT),
    (SERVER_PORT, bytes(MESSAGES[2][0])),
    (SERVER_PORT, bytes(MESSAGES[10][0])),
)


@given(st.integers(0, 16), st.binary(max_size=80))
def test_any_options_are_read_or_malformed(kind: int, options: bytes) -> None:
    try:
        assert datagram(bytes([kind, 0, 0, 1]) + options, CLIENT_PORT, SERVER_PORT)
    except Malformed:
        return


NAMES: Final = {11: "INFORMATION-REQUEST", 12: "RELAY-FORW"} | dict(
    enumerate(
        ["SOLICIT", "ADVERTISE", "REQUEST", "CONFIRM", "RENEW", "REBIND", "REPLY", "RELEASE", "DECLINE"], 1
    )
)


def compared(path: Path) -> None:
    fields = ("dhcpv6.msgtype", "dhcpv6.iaaddr.ip", "dhcpv6.iaprefix.pref_addr", "dhcpv6.iaprefix.pref_len")
    theirs: Counter[tuple[int, str, str]] = Counter()
    for number, (kinds, addresses, prefixes, lengths) in tshark(path, "dhcpv6", *fields):
        networks = [f"{prefix}/{length}" for prefix, length in zip(prefixes, lengths, strict=True)]
        theirs[number, NAMES[int(kinds[0])], " ".join(addresses + networks)] += 1
    compare(ours(path, "dhcpv6"), theirs, set())


@needs_captures
def test_agrees_with_tshark() -> None:
    compared(CAPTURES / "dhcp" / "arkime_arkime__tests__pcap__wireshark-dhcpv6.pcap")


@needs_tshark
def test_agrees_with_tshark_on_all_types(tmp_path: Path) -> None:
    raws = [bytes(packet) for packet, _ in MESSAGES] + [SOLICIT]
    compared(crafted(tmp_path / "dhcpv6.pcap", *[udp(raw, CLIENT_PORT, SERVER_PORT) for raw in raws]))
