"""Valid streams and datagrams of every protocol, to be cut, damaged and repeated: (server port, bytes)."""

import json
from importlib import import_module
from importlib.util import find_spec
from typing import Final

import cbor2

from controller.dpi.registry import PROTOCOLS
from tests.unit.dpi.hellos import HELLO, quic_initial


def mqtt(first: int, body: bytes) -> bytes:
    return bytes([first, len(body)]) + body


def http(line: str, *fields: str, body: bytes = b"") -> bytes:
    length = (f"Content-Length: {len(body)}",) if body else ()
    return "\r\n".join((f"{line} HTTP/1.1", *fields, *length, "", "")).encode() + body


def modbus(transaction: int, pdu: str) -> bytes:
    data = bytes.fromhex(pdu)
    return transaction.to_bytes(2, "big") + b"\0\0" + (len(data) + 1).to_bytes(2, "big") + b"\1" + data


def websocket(payload: bytes, first: int = 0x82, key: bytes = b"abcd") -> bytes:
    """A frame of a client (RFC 6455, section 5.2)."""
    size = len(payload)
    wide = 0 if size < 126 else 2 if size < 65536 else 8
    length = (
        bytes([0x80 | size]) if not wide else (b"\xfe" if wide == 2 else b"\xff") + size.to_bytes(wide, "big")
    )
    return bytes([first]) + length + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def http2(kind: int, stream: int, payload: bytes, flags: int = 0) -> bytes:
    """A frame (RFC 9113, section 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def tls(extensions: str) -> bytes:
    more = bytes.fromhex(extensions)
    hello = b"\3\3" + b"r" * 32 + b"\0" + bytes.fromhex("0004 1301 1302 0100")
    hello += len(more).to_bytes(2, "big") + more
    handshake = b"\1" + len(hello).to_bytes(3, "big") + hello
    return b"\x16\3\1" + len(handshake).to_bytes(2, "big") + handshake


CONNECT: Final = mqtt(0x10, b"\0\4MQTT\4\2\0\x3c\0\4lamp")
CONNECT_5: Final = mqtt(0x10, b"\0\4MQTT\5\6\0\x3c\0\0\4lamp\0\0\4gone\0\1x")
PUBLISH: Final = mqtt(0x30, b"\0\3a/bxyz")
SUBSCRIBE: Final = mqtt(0x82, b"\0\1\0\3a/+\1\0\1#\0")
ALIASES: Final = mqtt(0x32, b"\0\3a/b\0\1\3\x23\0\7xyz") + mqtt(0x30, b"\0\0\3\x23\0\7z")
CHUNKED: Final = (
    http("POST /d", "Transfer-Encoding: chunked") + b"3\r\n{ }\r\nA;x=y\r\n{123456789\r\n0\r\nX: y\r\n\r\n"
)
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2(4, 0, b"")
# GET http x /ab, all literal but what the static table has; then the same by reference to the table
BLOCK: Final = b"\x82\x86\x41\1x\x44\3/ab\x40\4some\5field"
QUERY: Final = bytes.fromhex("1234 0100 0001 0000 0000 0000 03777777 076578616d706c65 03636f6d 00 0001 0001")
VSL: Final = "Authorization: VSL eyJzZXJ2aWNlSWQiOiJ4In0="


def beside(name: str) -> tuple[tuple[int, bytes], ...]:
    """The examples that stand in the unit tests of the protocols."""
    tests = [f"tests.unit.dpi.test_{protocol.name}" for protocol in PROTOCOLS]
    modules = [import_module(test) for test in tests if find_spec(test)]
    return tuple(example for module in modules for example in getattr(module, name, ()))


STREAMS: Final[tuple[tuple[int, bytes], ...]] = (
    (80, http("GET /a?b=c", "Host: x", "User-Agent: curl/8") * 2),
    (80, http("PUT /b", body=b'{"a": 12}') + http("HEAD /c") + http("PUT /on", body=b"on")),
    (80, CHUNKED + http("GET /e") + b"\r\n" + http("DELETE /f", "Host: y")),
    (80, http("CONNECT h:1") + CONNECT + PUBLISH),
    (80, http("GET /g", "Upgrade: h2c", "Connection: Upgrade") + http("GET /h")),
    (
        80,
        http("GET /ws", "Upgrade: websocket", "Connection: Upgrade")
        + websocket(CONNECT)
        + websocket(PUBLISH[:4], 2)
        + websocket(b"?", 0x89)
        + websocket(PUBLISH[4:], 0x80),
    ),
    (80, http("GET /g", "Upgrade: h2c", "Connection: Upgrade") + PREFACE + http2(1, 3, BLOCK, 5)),
    (
        80,
        PREFACE
        + http2(1, 1, b"\2" + BLOCK[:7] + b"xx", 8)
        + http2(9, 1, BLOCK[7:], 4)
        + http2(0, 1, b"body", 1)
        + http2(8, 0, b"\0\0\1\0")
        + http2(1, 3, b"\x82\x86\xbf\xbe", 5),
    ),
    (
        5683,
        bytes.fromhex("30e1 220480 00e2 6301 aabbcc b3666f6f 0162 0000")
        + bytes.fromhex("d0 02 03 b178 ff 6f6e6f6e6f6e6f6e6f6e6f6e 2145 7f ff76 00e4"),
    ),
    (8081, http("POST /vsl/agent1/light1", VSL, body=json.dumps({"operation": "NOTIFY"}).encode()) * 2),
    (
        8081,
        http(
            "POST /vsl/agent1/light1",
            "Content-Type: application/cbor",
            body=cbor2.dumps({"operation": "LOCK_SUBTREE", "depth": [1, {"a": None}]}),
        )
        + http("GET /vsl/agent1/light1/isOn", VSL),
    ),
    (1883, CONNECT + PUBLISH + SUBSCRIBE + mqtt(0xC0, b"") + PUBLISH),
    (1883, CONNECT_5 + ALIASES + mqtt(0xE0, b"")),
    (502, modbus(1, "01 0010 0010") + modbus(2, "06 0001 ffff") + modbus(3, "0f 0000 000a 02 ff03")),
    (502, modbus(1, "17 0000 0002 0004 0001 02 0001") + modbus(2, "2b 0e 01 00")),
    (53, len(QUERY).to_bytes(2, "big") + QUERY),
    *beside("STREAMS"),
)
OPAQUE: Final[tuple[tuple[int, bytes], ...]] = (
    (80, http("GET /ws", "Upgrade: websocket", "Connection: Upgrade") + websocket(b"{}")),
    (80, http("CONNECT h:1") + b"\0\0\0\0\0\0\0\0\0\0\0\0"),
    (
        8883,
        tls(
            "0000 000b 0009 00 0006 612e74657374"  # the name a.test
            "0010 0005 0003 02 6832"
            "002b 0003 02 0304"
            "000d 0004 0002 0403"
        )
        + b"\x14\3\3\0\1\1",
    ),
    (9999, b"\xffunknown"),
    *beside("OPAQUE"),
)
DATAGRAMS: Final[tuple[tuple[int, bytes], ...]] = (
    (4433, quic_initial([(0, HELLO)])),
    (5683, bytes.fromhex("4401 1234 01020304 b3666f6f 03626172 43613d62")),
    (5683, bytes.fromhex("5003 1234 60 55 6c69676874 ff 31")),
    (
        5684,
        bytes.fromhex("16 fefd 0000 000000000000 003e 01 000032 0000 000000 000032 fefd")
        + b"r" * 32
        + bytes.fromhex("00 00 0004 c0a8c0ac 0100 0004 00170000"),
    ),
    (53, QUERY),
    (
        5353,
        bytes.fromhex(
            "0000 8400 0000 0001 0000 0001 055f68747470 045f746370 056c6f63616c 00 000c 0001 00000078 0007"
            "0468616c6c c00c c028 0021 8001 00000078 0008 0000 0000 1f90 c00c"
        ),
    ),
    (
        67,
        b"\1\1\6\0"
        + bytes(24)
        + b"\2\0\0\0\0\1"
        + bytes(202)
        + bytes.fromhex("63825363 350101 0c03616263 3c0378797a 32040a000005 ff"),
    ),
    (1900, b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: x\r\nST: ssdp:all\r\n\r\n"),
    (1900, b"NOTIFY * HTTP/1.1\r\nNT: upnp:rootdevice\r\nNTS: ssdp:alive\r\nUSN: uuid:1\r\n\r\n"),
    *beside("DATAGRAMS"),
)
