import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.lldp import (
    LLDPDU,
    LLDPDUChassisID,
    LLDPDUEndOfLLDPDU,
    LLDPDUGenericOrganisationSpecific,
    LLDPDUPortID,
    LLDPDUTimeToLive,
)
from scapy.layers.l2 import Ether

from controller.dpi import lldp

SECRET = b"s" * 32


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.binary(max_size=80))
def test_what_was_encoded_is_decoded(switch: int, port: int, secret: bytes) -> None:
    assert lldp.decode(lldp.encode(switch, port, secret), secret) == (switch, port)


def test_the_frame_byte_for_byte() -> None:
    frame = lldp.encode(0x0102030405060708, 0x11, SECRET)
    proof = hmac.new(
        SECRET, b"graphwall lldp" + bytes.fromhex("0102030405060708 00000011"), hashlib.sha256
    ).digest()
    assert frame == (
        bytes.fromhex("0180c200000e 064757000000 88cc 0209 07 0102030405060708 0405 07 00000011 0602 0078")
        + bytes.fromhex("fe24 064757 01")
        + proof
        + b"\0\0"
    )
    assert len(frame) >= 60


def test_scapy_reads_the_same_frame() -> None:
    frame = Ether(lldp.encode(7, 3, SECRET))
    assert frame.dst == "01:80:c2:00:00:0e"
    assert frame.type == 0x88CC
    assert int(frame.src[:2], 16) & 3 == 2  # locally administered, not a group
    assert frame.haslayer(LLDPDU)
    assert frame[LLDPDUChassisID].id == (7).to_bytes(8, "big")
    assert frame[LLDPDUPortID].id == (3).to_bytes(4, "big")
    assert frame[LLDPDUTimeToLive].ttl == 120
    assert len(frame[LLDPDUGenericOrganisationSpecific].data) == 32
    assert frame.haslayer(LLDPDUEndOfLLDPDU)


def test_padding_behind_it_does_no_harm() -> None:
    assert lldp.decode(lldp.encode(1, 2, SECRET) + bytes(20), SECRET) == (1, 2)


def test_another_secret_is_a_forgery() -> None:
    assert lldp.decode(lldp.encode(1, 2, b"other"), SECRET) is None


def test_no_bit_can_be_changed() -> None:
    frame = lldp.encode(1, 2, SECRET)
    for bit in range(len(frame) * 8):
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        assert lldp.decode(bytes(changed), SECRET) is None, bit


def test_no_prefix_is_accepted() -> None:
    frame = lldp.encode(1, 2, SECRET)
    assert all(lldp.decode(frame[:size], SECRET) is None for size in range(len(frame)))


@given(st.binary(max_size=300))
def test_any_bytes_are_not_ours(raw: bytes) -> None:
    assert lldp.decode(raw, SECRET) is None
