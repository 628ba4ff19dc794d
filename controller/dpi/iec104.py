"""IEC 60870-5-104: which points of a station a control centre reads or commands.

Knows nothing of connections and of what the points are. Follows IEC 60870-5-104:2006 (the section numbers
below) for the connection and IEC 60870-5-101:2003 for what is inside.
"""

from collections.abc import Mapping
from typing import ClassVar

from controller.dpi.cursor import Cursor
from controller.dpi.framed import FramedStream
from controller.dpi.message import Malformed, Message, Operation

PORT = 2404
_NAME = "iec104"
_START = 0x68
_SMALLEST, _LARGEST = 4, 253  # 5.1: bytes behind the length
_DEACTIVATION, _SELECT = 8, 0x80
_READ, _WRITE, _NOTIFY = Operation.READ, Operation.WRITE, Operation.NOTIFY
_EXECUTE, _CONNECT = Operation.EXECUTE, Operation.CONNECT

# 5.3: the third kind of control field
_UNNUMBERED: Mapping[int, str] = {
    0x07: "STARTDT act",
    0x0B: "STARTDT con",
    0x13: "STOPDT act",
    0x23: "STOPDT con",
    0x43: "TESTFR act",
    0x83: "TESTFR con",
}

# -101, 7.2.1 and 7.3; -104, section 8: type -> name, bytes of one element (None: they say so themselves)
_TYPES: Mapping[int, tuple[str, int | None]] = {
    1: ("M_SP_NA_1", 1), 2: ("M_SP_TA_1", 4), 3: ("M_DP_NA_1", 1), 4: ("M_DP_TA_1", 4), 5: ("M_ST_NA_1", 2),
    6: ("M_ST_TA_1", 5), 7: ("M_BO_NA_1", 5), 8: ("M_BO_TA_1", 8), 9: ("M_ME_NA_1", 3), 10: ("M_ME_TA_1", 6),
    11: ("M_ME_NB_1", 3), 12: ("M_ME_TB_1", 6), 13: ("M_ME_NC_1", 5), 14: ("M_ME_TC_1", 8),
    15: ("M_IT_NA_1", 5), 16: ("M_IT_TA_1", 8), 20: ("M_PS_NA_1", 5), 21: ("M_ME_ND_1", 2),
    30: ("M_SP_TB_1", 8), 31: ("M_DP_TB_1", 8), 32: ("M_ST_TB_1", 9), 33: ("M_BO_TB_1", 12),
    34: ("M_ME_TD_1", 10), 35: ("M_ME_TE_1", 10), 36: ("M_ME_TF_1", 12), 37: ("M_IT_TB_1", 12),
    38: ("M_EP_TD_1", 10), 39: ("M_EP_TE_1", 11), 40: ("M_EP_TF_1", 11), 45: ("C_SC_NA_1", 1),
    46: ("C_DC_NA_1", 1), 47: ("C_RC_NA_1", 1), 48: ("C_SE_NA_1", 3), 49: ("C_SE_NB_1", 3),
    50: ("C_SE_NC_1", 5), 51: ("C_BO_NA_1", 4), 58: ("C_SC_TA_1", 8), 59: ("C_DC_TA_1", 8),
    60: ("C_RC_TA_1", 8), 61: ("C_SE_TA_1", 10), 62: ("C_SE_TB_1", 10), 63: ("C_SE_TC_1", 12),
    64: ("C_BO_TA_1", 11), 70: ("M_EI_NA_1", 1), 100: ("C_IC_NA_1", 1), 101: ("C_CI_NA_1", 1),
    102: ("C_RD_NA_1", 0), 103: ("C_CS_NA_1", 7), 105: ("C_RP_NA_1", 1), 107: ("C_TS_TA_1", 9),
    110: ("P_ME_NA_1", 3), 111: ("P_ME_NB_1", 3), 112: ("P_ME_NC_1", 5), 113: ("P_AC_NA_1", 1),
    120: ("F_FR_NA_1", 6), 121: ("F_SR_NA_1", 7), 122: ("F_SC_NA_1", 4), 123: ("F_LS_NA_1", 5),
    124: ("F_AF_NA_1", 4), 125: ("F_SG_NA_1", None), 126: ("F_DR_TA_1", 13), 127: ("F_SC_NB_1", 16),
}  # fmt: skip
_SELECTABLE = frozenset({45, 46, 47, 48, 49, 50, 58, 59, 60, 61, 62, 63})
_QUALIFIED_AT: Mapping[int, int] = {
    45: 0,
    46: 0,
    47: 0,
    48: 2,
    49: 2,
    50: 4,
    58: 0,
    59: 0,
    60: 0,
    61: 2,
    62: 2,
    63: 4,
}


def _operation(kind: int) -> Operation:
    """What a type is for, by the direction it is for."""
    if kind < 45 or kind == 70:
        return _NOTIFY
    if kind in (100, 101, 102, 122, 127):
        return _READ
    if kind in (105, 107):
        return _EXECUTE if kind == 105 else _CONNECT
    return _WRITE


def _elements(
    cursor: Cursor, kind: int, size: int | None, number: int, sequence: bool
) -> list[tuple[int, bytes]]:
    """-101, 7.2.2: addresses with an element each, or one address from which the elements go on."""
    if not sequence:
        found = []
        for _ in range(number):
            point = cursor.little(3)
            found.append((point, cursor.take(cursor.left if size is None else size)))
        return found
    first = cursor.little(3)
    if size is None or kind >= 45:
        raise cursor.wrong(f"a sequence of type {kind}")
    return [(first + place, cursor.take(size)) for place in range(number)]


def _told(cursor: Cursor) -> list[Message]:
    """-101, 7.1: the data unit of the application."""
    kind, qualifier, cause = cursor.byte(), cursor.byte(), cursor.byte()
    cursor.skip(1)  # who of the centre
    station = cursor.little(2)
    known = _TYPES.get(kind)
    if known is None:  # reserved, or private
        resource = f"station {station}"
        return [Message(_NAME, f"Type {kind}", _EXECUTE, resource, None, None, False, {"type": kind})]
    verb, size = known
    elements = _elements(cursor, kind, size, qualifier & 0x7F, bool(qualifier & 0x80))
    cursor.done()
    operation = _operation(kind)
    messages = []
    for point, element in elements:
        detail: dict[str, object] = {"type": kind, "cause": cause & 0x3F}
        if kind in _SELECTABLE and element[_QUALIFIED_AT[kind]] & _SELECT:
            detail["select"] = True
        if cause & 0x3F == _DEACTIVATION:
            detail["deactivation"] = True
        resource = f"station {station} point {point}" if point else f"station {station}"
        messages.append(Message(_NAME, verb, operation, resource, None, None, False, detail))
    return messages or [Message(_NAME, verb, operation, f"station {station}", detail={"type": kind})]


class Iec104Stream(FramedStream):
    """Reads what one client sends."""

    HEADER: ClassVar[int] = 2

    def size(self, header: bytes) -> int:
        if header[0] != _START or not _SMALLEST <= header[1] <= _LARGEST:
            raise Malformed(f"iec104: header {header.hex()}")
        return 2 + header[1]

    def read(self, data: bytes, messages: list[Message]) -> bool:
        control = data[2]
        if not control & 1:  # 5.1: numbered, with data
            messages += _told(Cursor(_NAME, data, 6))
            return True
        if len(data) != 6:
            raise Malformed(f"iec104: {len(data)} bytes without data")
        if control & 3 == 3:
            verb = _UNNUMBERED.get(control)
            if verb is None or any(data[3:]):
                raise Malformed(f"iec104: control field {data[2:].hex()}")
            messages.append(Message(_NAME, verb, _CONNECT, ""))
        return True


def recognise(prefix: bytes, server_port: int) -> bool | None:
    """By its first frame, on any port: a client begins with one that starts or tests the transfer."""
    if prefix[:1] != bytes([_START])[: len(prefix)]:
        return False
    if server_port == PORT:
        return True if len(prefix) >= 3 else None
    beginnings = [bytes((_START, 4, control, 0, 0, 0)) for control in (0x07, 0x43)]
    if not any(start.startswith(prefix[:6]) for start in beginnings):
        return False
    return True if len(prefix) >= 6 else None
