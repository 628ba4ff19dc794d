from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi.dissector import Datagram
from controller.dpi.message import Malformed
from controller.dpi.ntp import PORT, datagram
from tests.unit.dpi.captures import CAPTURES, compare, crafted, needs_captures, needs_tshark, ours, tshark
from tests.unit.dpi.frames import udp


def message(first: int, more: bytes = b"", sent: bytes = b"\xe8\1\2\3\4\5\6\7") -> bytes:
    return bytes([first]) + bytes(39) + sent + more


CLIENT: Final = message(0x23)
MODES: Final = {1: "symmetric active", 3: "client", 5: "broadcast"}


def said(raw: bytes) -> tuple[str, str, str]:
    found = datagram(raw, 40000, PORT)
    assert found is not None
    assert not found.answer
    (one,) = found.messages
    assert one.protocol == "ntp"
    return one.verb, one.operation, one.resource


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (CLIENT, ("client", "read", "")),
        (message(0x1B, bytes(20)), ("client", "read", "")),  # with a digest
        (message(0x19), ("symmetric active", "read", "")),
        (message(0x25), ("broadcast", "announce", "")),
        (bytes.fromhex("16 02 0001 0000 0000 0000 0000"), ("read variables", "read", "")),
        (bytes.fromhex("16 03 0001 0000 0007 0000 0000"), ("write variables", "write", "association 7")),
        (bytes.fromhex("16 08 0001 0000 0000 0000 0000"), ("configure", "write", "")),
        (bytes.fromhex("16 1e 0001 0000 0000 0000 0000"), ("control 30", "execute", "")),
        (bytes.fromhex("17 00 03 2a 0000 0000"), ("private request 42", "execute", "")),  # monlist
    ],
)
def test_requests(raw: bytes, expected: tuple[str, str, str]) -> None:
    assert said(raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        message(0x24),
        message(0x22),
        bytes.fromhex("16 82 0001 0000 0000 0000 0000"),
        bytes.fromhex("97 00 03 2a 00000000"),
    ],
)
def test_answers_ask_for_nothing(raw: bytes) -> None:
    assert datagram(raw, PORT, 40000) == Datagram((), answer=True)


@pytest.mark.parametrize(
    "raw",
    [
        b"", CLIENT[:47], CLIENT + b"x", message(0x20), message(0x03), message(0x3B),
        bytes.fromhex("16 02 0001"), bytes.fromhex("17 00 03"),
    ],
)  # fmt: skip
def test_broken_messages_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="ntp"):
        datagram(raw, 40000, PORT)


def test_on_other_ports_only_a_client_that_says_nothing_but_when() -> None:
    assert datagram(CLIENT, 40000, 1123) == datagram(CLIENT, 40000, PORT)
    for raw in (
        message(0x23, sent=bytes(8)),
        CLIENT[:8] + b"\1" + CLIENT[9:],
        message(0x24),
        CLIENT + bytes(20),
    ):
        assert datagram(raw, 40000, 1123) is None


DATAGRAMS: Final = ((PORT, CLIENT), (PORT, bytes.fromhex("16 03 0001 0000 0007 0000 0000")), (1123, CLIENT))


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_malformed(raw: bytes) -> None:
    try:
        assert datagram(raw, 40000, PORT) is not None
    except Malformed:
        return


def seen_by_tshark(path: Path) -> Counter[tuple[int, str, str]]:
    return Counter(
        (number, MODES[int(modes[0])], "")
        for number, (modes,) in tshark(path, "ntp && !icmp", "ntp.flags.mode")
        if int(modes[0]) in MODES
    )


@needs_captures
def test_agrees_with_tshark() -> None:
    (path,) = CAPTURES.glob("dns/*NTP_sync.pcap")
    compare(ours(path, "ntp"), seen_by_tshark(path), set())


@needs_tshark
def test_agrees_with_tshark_on_all_modes(tmp_path: Path) -> None:
    raws = [message(first) for first in (0x19, 0x1B, 0x23, 0x24, 0x25)]
    path = crafted(tmp_path / "ntp.pcap", *[udp(raw, 40000, PORT) for raw in raws])
    compare(ours(path, "ntp"), seen_by_tshark(path), set())
