from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi.dissector import Datagram
from controller.dpi.knx import PORT, KnxStream, datagram, recognise
from controller.dpi.message import Malformed
from controller.dpi.registry import open_stream
from tests.unit.dpi.captures import crafted, needs_tshark, tshark
from tests.unit.dpi.frames import udp

Said = tuple[str, str, str]
HPAI: Final = "08 01 c0a8c80c c3b4"


def knx(service: int, body: str) -> bytes:
    raw = bytes.fromhex(body)
    return b"\x06\x10" + service.to_bytes(2, "big") + (6 + len(raw)).to_bytes(2, "big") + raw


def telegram(tpdu: str, code: int = 0x11, target: str = "0b05", group: bool = True) -> str:
    """cEMI from 1.1.4"""
    size = len(bytes.fromhex(tpdu)) - 1
    return f"{code:02x} 00 bc {'e0' if group else '60'} 1104 {target} {size:02x} {tpdu}"


def tunnelled(cemi: str) -> bytes:
    return knx(0x0420, f"04 15 00 00 {cemi}")


def routed(tpdu: str, **more: int) -> bytes:
    return knx(0x0530, telegram(tpdu, 0x29, **more))  # type: ignore[arg-type]


WRITE: Final = "00 81"
CONNECT: Final = knx(0x0205, f"{HPAI} {HPAI} 04 04 02 00")  # 3/8/4, 5.2.1
APPLICATION: Final[tuple[tuple[str, bool, Said], ...]] = (
    ("00 00", True, ("GroupValueRead", "read", "1/3/5")),
    ("00 41", True, ("GroupValueResponse", "notify", "1/3/5")),
    (WRITE, True, ("GroupValueWrite", "write", "1/3/5")),
    ("00 80 0c1a", True, ("GroupValueWrite", "write", "1/3/5")),
    ("00 c0 1105", True, ("IndividualAddressWrite", "write", "1/3/5")),
    ("01 00", True, ("IndividualAddressRead", "read", "1/3/5")),
    ("42 04 0116", False, ("MemoryRead", "read", "0.11.5 memory 278-281")),
    ("42 82 0116 0102", False, ("MemoryWrite", "write", "0.11.5 memory 278-279")),
    ("43 00", False, ("DeviceDescriptorRead", "read", "0.11.5")),
    ("03 80", False, ("Restart", "execute", "0.11.5")),
    ("03 81 0100", False, ("Restart", "execute", "0.11.5")),
    ("43 d5 00 38 1001", False, ("PropertyValueRead", "read", "0.11.5 object 0 property 56")),
    ("43 d7 00 38 1001 03", False, ("PropertyValueWrite", "write", "0.11.5 object 0 property 56")),
    ("43 d1 00 ffffffff", False, ("AuthorizeRequest", "connect", "0.11.5")),
    ("02 c2 01 0116 00", False, ("UserMemoryWrite", "write", "0.11.5")),
    ("03 f1 00", True, ("SecureService", "execute", "1/3/5")),
    ("02 ff", False, ("Service 0x2FF", "execute", "0.11.5")),
    ("80", False, ("T_Connect", "connect", "0.11.5")),
    ("81", False, ("T_Disconnect", "connect", "0.11.5")),
    ("c2", False, ("T_ACK", "connect", "0.11.5")),
)


def said(raw: bytes) -> list[Said]:
    found = datagram(raw, 50000, PORT)
    assert found is not None
    assert not found.answer
    assert all(message.protocol == "knx" for message in found.messages)
    return [(m.verb, m.operation.value, m.resource) for m in found.messages]


@pytest.mark.parametrize(("tpdu", "group", "expected"), APPLICATION)
def test_what_is_asked_of_the_bus(tpdu: str, group: bool, expected: Said) -> None:
    assert said(tunnelled(telegram(tpdu, group=group))) == [expected]
    assert said(routed(tpdu, group=group)) == [expected]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (knx(0x0201, HPAI), ("SEARCH_REQUEST", "lookup", "")),
        (knx(0x0203, HPAI), ("DESCRIPTION_REQUEST", "lookup", "")),
        (CONNECT, ("CONNECT_REQUEST", "connect", "tunnel")),
        (knx(0x0205, f"{HPAI} {HPAI} 02 03"), ("CONNECT_REQUEST", "connect", "device management")),
        (knx(0x0205, f"{HPAI} {HPAI} 02 99"), ("CONNECT_REQUEST", "connect", "connection type 153")),
        (knx(0x0207, f"15 00 {HPAI}"), ("CONNECTIONSTATE_REQUEST", "connect", "")),
        (knx(0x0209, f"15 00 {HPAI}"), ("DISCONNECT_REQUEST", "connect", "")),
        (
            knx(0x0310, "04 15 00 00 fc 000b 01 34 1001"),
            ("M_PropRead", "read", "object 11 instance 1 property 52"),
        ),
        (
            knx(0x0310, "04 15 00 00 f6 000b 01 34 1001 0001"),
            ("M_PropWrite", "write", "object 11 instance 1 property 52"),
        ),
        (knx(0x0310, "04 15 00 00 f1"), ("M_Reset", "execute", "")),
        (knx(0x0424, "04 15 00 00 08 00 01"), ("TUNNELLING_FEATURE_SET", "write", "feature 8")),
        (knx(0x0531, "04 00 0005"), ("ROUTING_LOST_MESSAGE", "notify", "")),
        (knx(0x0951, HPAI + "00" * 32), ("SESSION_REQUEST", "connect", "")),
    ],
)
def test_services(raw: bytes, expected: Said) -> None:
    assert said(raw) == [expected]


def test_details() -> None:
    for raw, detail in ((CONNECT, {"layer": "link layer"}), (routed(WRITE), {"source": "1.1.4"})):
        found = datagram(raw, 50000, PORT)
        assert found is not None
        assert found.messages[0].detail == detail


@pytest.mark.parametrize("service", [0x0202, 0x0204, 0x0206, 0x0208, 0x020A, 0x0311, 0x0421, 0x0952])
def test_answers_ask_for_nothing(service: int) -> None:
    assert datagram(knx(service, "00 00"), PORT, 50000) == Datagram((), answer=True)


def test_what_the_bus_tells_a_client_answers_its_connection() -> None:
    for code in (0x29, 0x2E):
        found = datagram(tunnelled(telegram(WRITE, code)), PORT, 50000)
        assert found is not None
        assert found.answer
        assert [(m.verb, m.operation, m.resource) for m in found.messages] == [
            ("GroupValueWrite", "notify", "1/3/5")
        ]
    assert datagram(knx(0x0310, "04 15 00 00 fb 000b 01 34 1001 00"), PORT, 50000) == Datagram(
        (), answer=True
    )


def test_what_is_encrypted_is_opaque() -> None:
    raw = knx(0x0950, "00" * 40)
    found = datagram(raw, 50000, PORT)
    assert found is not None
    assert found.messages[0].opaque
    fed = open_stream(3672).feed(raw + b"rest")
    assert fed.settled
    assert fed.released == len(raw) + 4


BROKEN: Final = (
    b"",
    b"\x06\x10",
    CONNECT[:-1],
    CONNECT + b"\0",
    b"\x06\x20" + CONNECT[2:],
    knx(0x9999, ""),
    knx(0x0205, "00"),
    knx(0x0205, f"{HPAI} {HPAI} 09 04 02"),
    knx(0x0205, f"{HPAI} {HPAI} 00 04"),
    knx(0x0420, "05 15 00 00" + telegram(WRITE)),
    tunnelled("99"),
    tunnelled(telegram(WRITE) + "00"),
    tunnelled(telegram(WRITE)[:-2]),
    tunnelled(telegram("00")),
    tunnelled("11 00 bc e0 1104 0b05 ff" + "00" * 256),
    tunnelled(telegram("43 d5 00", group=False)),
    tunnelled(telegram("42 04 01", group=False)),
)


@pytest.mark.parametrize("raw", BROKEN)
def test_broken_messages_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="knx"):
        datagram(raw, 50000, PORT)
    assert datagram(raw, 50000, 5000) is None


def test_recognised_by_content_on_other_ports() -> None:
    assert datagram(CONNECT, 50000, 5000) == datagram(CONNECT, 50000, PORT)
    for prefix, expected in (
        (b"", None),
        (b"\x06", None),
        (CONNECT[:5], None),
        (CONNECT, True),
        (b"\x06\x10\x99\x99\0\x10", False),
        (b"\x06\x10\x02\x05\xff\xff", False),
        (b"GET", False),
    ):
        assert recognise(prefix, 80) is expected


def test_several_messages_over_tcp_cut_anywhere() -> None:
    raw = CONNECT + tunnelled(telegram(WRITE)) + tunnelled(telegram("00 00"))
    whole = KnxStream().feed(raw)
    assert [m.verb for m in whole.messages] == ["CONNECT_REQUEST", "GroupValueWrite", "GroupValueRead"]
    for cut in range(len(raw) + 1):
        stream = KnxStream()
        first, second = stream.feed(raw[:cut]), stream.feed(raw[cut:])
        assert first.messages + second.messages == whole.messages
        assert second.released == len(raw)
    with pytest.raises(Malformed, match="knx"):
        KnxStream().feed(b"\x06\x10\x02\x05\xff\xff")


STREAMS: Final = ((PORT, CONNECT + tunnelled(telegram(WRITE))),)
DATAGRAMS: Final = (
    (PORT, CONNECT),
    (PORT, tunnelled(telegram("43 d7 00 38 1001 03", group=False))),
    (PORT, routed(WRITE)),
)


@given(st.sampled_from([0x0205, 0x0310, 0x0420, 0x0422, 0x0530]), st.binary(max_size=60))
def test_any_bytes_are_read_or_malformed(service: int, body: bytes) -> None:
    try:
        assert datagram(knx(service, body.hex()), 50000, PORT)
    except Malformed:
        return


@needs_tshark
def test_agrees_with_tshark(tmp_path: Path) -> None:
    """The bus addresses and services of telegrams, which tshark shortens the names of."""
    raws = [routed(tpdu, group=group) for tpdu, group, _ in APPLICATION]
    path = crafted(tmp_path / "knx.pcap", *[udp(raw, 40000, PORT) for raw in raws])
    theirs = {number: info for number, ((info,),) in tshark(path, "cemi", "_ws.col.Info")}
    assert len(theirs) == len(raws)
    short = {
        "GroupValue": "GroupValue",
        "IndividualAddress": "IndAddr",
        "Memory": "Mem",
        "PropertyValue": "PropValue",
    }
    compared: Counter[str] = Counter()
    for number, (_, _, (verb, _, resource)) in enumerate(APPLICATION, 1):
        address = resource.split()[0]
        assert address in theirs[number], theirs[number]
        for ours, shown in short.items():
            if verb.startswith(ours):
                assert verb.replace(ours, shown).removesuffix("onse").lower() in theirs[number].lower()
                compared[ours] += 1
    assert compared.keys() == short.keys()
