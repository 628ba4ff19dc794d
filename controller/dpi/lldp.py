"""Frames that say which port of which switch they left by, and that only this controller can make.

Knows nothing of links, topology or the times at which frames are sent. Format: IEEE 802.1AB, clauses 7 and 8.
"""

from hmac import compare_digest, digest
from struct import Struct

_DESTINATION = bytes.fromhex("0180c200000e")  # nearest bridge (7.1): no bridge passes it on
_SOURCE = b"\x06GW\x00\x00\x00"  # locally administered
_OWN = b"\x06GW\x01"  # organisation (8.6.1.3) and its subtype, likewise of our own choice
_SECONDS = 120

# Ethernet; chassis id and port id, both locally assigned (8.5.2, 8.5.3); time to live (8.5.4);
# organisation-specific with an HMAC-SHA256 (8.6); end (8.5.1). A TLV begins with type << 9 | length.
_FRAME = Struct("!6s6sH HBQ HBI HH H4s32s H")


def encode(switch: int, port: int, secret: bytes) -> bytes:
    """The whole Ethernet frame for `port` (32 bits) of the switch with datapath id `switch` (64 bits).

    Its 76 bytes need no padding to Ethernet's 60.
    """
    proof = digest(secret, b"graphwall lldp" + switch.to_bytes(8, "big") + port.to_bytes(4, "big"), "sha256")
    return _FRAME.pack(
        _DESTINATION, _SOURCE, 0x88CC,
        1 << 9 | 9, 7, switch,
        2 << 9 | 5, 7, port,
        3 << 9 | 2, _SECONDS,
        127 << 9 | 36, _OWN, proof,
        0,
    )  # fmt: skip


def decode(raw: bytes, secret: bytes) -> tuple[int, int] | None:
    """Switch and port that `encode` was called with; None if the frame was not made so with this secret."""
    if len(raw) < _FRAME.size:
        return None
    fields = _FRAME.unpack_from(raw)
    switch, port = fields[5], fields[8]
    if not compare_digest(raw[: _FRAME.size], encode(switch, port, secret)):
        return None
    return switch, port
