import json
import zlib
from collections.abc import Iterator
from itertools import pairwise

import cbor2
import pytest

from controller.dpi.dissector import Fed
from controller.dpi.message import Malformed, Message, Operation
from controller.dpi.registry import open_stream
from tests.unit.dpi.examples import CONNECT, PUBLISH, SUBSCRIBE, websocket

KEY = b"\x12\x34\x56\x78"
TEXT, BINARY, REST, CLOSE, PING = 1, 2, 0, 8, 9
DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
MQTT = "Sec-WebSocket-Protocol: mqtt\r\n"
VSL = "Sec-WebSocket-Protocol: v1.vsl.ds2os.org\r\n"


def frame(payload: bytes, opcode: int = BINARY, fin: bool = True, bits: int = 0, key: bytes = KEY) -> bytes:
    return websocket(payload, opcode | fin << 7 | bits, key)


def upgrade(path: str = "/ws", more: str = "") -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUser-Agent: panel/1\r\n"
        f"Connection: Upgrade\r\nUpgrade: websocket\r\n{more}\r\n"
    ).encode()


def fed(data: bytes, head: bytes) -> Iterator[Fed]:
    """In one piece, in two pieces cut anywhere, and byte by byte: what the last piece gives, all messages."""
    for cuts in ([], *([at] for at in range(1, len(data))), range(1, len(data))):
        stream = open_stream(80)
        stream.feed(head)
        messages: tuple[Message, ...] = ()
        last = Fed((), 0)
        for start, end in pairwise([0, *cuts, len(data)]):
            last = stream.feed(data[start:end])
            messages += last.messages
        yield last._replace(messages=messages, released=last.released - len(head))


def said(data: bytes, head: bytes) -> list[tuple[str, str, Operation, str]]:
    """What is said, checked to be the same however it is cut, and all of it released."""
    first, *others = fed(data, head)
    assert all(other == first for other in others)
    assert first.released == len(data)
    return [(m.protocol, m.verb, m.operation, m.resource) for m in first.messages]


MQTT_SAYS = [
    ("mqtt", "CONNECT", Operation.CONNECT, ""),
    ("mqtt", "PUBLISH", Operation.PUBLISH, "a/b"),
    ("mqtt", "SUBSCRIBE", Operation.SUBSCRIBE, "a/+"),
    ("mqtt", "SUBSCRIBE", Operation.SUBSCRIBE, "#"),
]


def test_mqtt_inside_is_read() -> None:
    assert said(frame(CONNECT) + frame(PUBLISH) + frame(SUBSCRIBE), upgrade(more=MQTT)) == MQTT_SAYS


def test_mqtt_need_not_keep_to_frames_or_messages() -> None:
    stream = CONNECT + PUBLISH + SUBSCRIBE
    data = frame(stream[:3], fin=False) + frame(b"hi", PING) + frame(stream[3:20], REST) + frame(b"")
    assert said(data + frame(stream[20:]), upgrade(more=MQTT)) == MQTT_SAYS


def test_what_is_inside_is_known_by_content_not_by_the_name_it_gives_itself() -> None:
    assert said(frame(CONNECT), upgrade()) == MQTT_SAYS[:1]
    assert said(frame(b"GET /a HTTP/1.1\r\n\r\n"), upgrade()) == [("http", "GET", Operation.READ, "/a")]


def test_half_a_message_inside_is_not_released() -> None:
    head = upgrade(more=MQTT)
    stream = open_stream(80)
    stream.feed(head)
    stream.feed(frame(CONNECT))
    at = len(head + frame(CONNECT))
    assert stream.feed(frame(PUBLISH[:4]) + frame(b"", PING)).released == at
    assert stream.feed(frame(PUBLISH[4:])).released > at


def test_what_nobody_reads_is_one_opaque_message() -> None:
    stream = open_stream(80)
    stream.feed(upgrade("/shell"))
    found = stream.feed(frame(b"\xff\xfe", BINARY))
    detail = {"host": "x", "upgrade": "websocket"}
    assert found.messages == (
        Message("websocket", "data", Operation.CONNECT, "/shell", "panel", None, True, detail),
    )
    assert found.settled


def test_compressed_messages_are_read() -> None:
    deflate = zlib.compressobj(wbits=-15)

    def squeezed(data: bytes) -> bytes:
        return (deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH)).removesuffix(b"\0\0\xff\xff")

    first, second = squeezed(CONNECT), squeezed(PUBLISH + SUBSCRIBE)
    data = frame(first, bits=0x40) + frame(second[:5], fin=False, bits=0x40) + frame(second[5:], REST)
    assert said(data, upgrade(more=MQTT + DEFLATE)) == MQTT_SAYS


def test_callbacks_of_vsl_are_acknowledged() -> None:
    acknowledgement = {"callbackId": "7f", "serial": 3}
    expected = [("vsl", "callback", Operation.CONNECT, "/callbacks")]
    head = upgrade("/callbacks", VSL)
    assert said(frame(json.dumps(acknowledgement).encode(), TEXT), head) == expected
    assert said(frame(cbor2.dumps(acknowledgement)), head) == expected
    two = frame(cbor2.dumps(acknowledgement), fin=False) + frame(b"", REST)
    assert said(two, head) == expected


def test_callback_that_invokes_something_says_where() -> None:
    body = {"callbackId": "7f", "serial": 3, "address": "/agent2/light1/isOn", "invoke": "NOTIFY"}
    stream = open_stream(8081)
    stream.feed(upgrade("/callbacks", VSL))
    (message,) = stream.feed(frame(json.dumps(body).encode(), TEXT)).messages
    assert (message.verb, message.operation) == ("notify", Operation.NOTIFY)
    assert (message.resource, message.service) == ("/agent2/light1/isOn", "light1")


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"invoke": 1}', b'{"invoke": "NOTIFY"}', b"x" * 70000, b"\xa1"]
)
def test_callback_that_cannot_be_read_is_malformed(body: bytes) -> None:
    stream = open_stream(8081)
    stream.feed(upgrade("/callbacks", VSL))
    with pytest.raises(Malformed):
        stream.feed(frame(body, TEXT))


@pytest.mark.parametrize(
    "data",
    [
        b"\x82\x01a",  # not masked
        frame(b"x", bits=0x40),
        frame(b"x", bits=0x20),
        frame(b"x", 3),
        frame(b"x", 11),
        frame(b"x", PING, fin=False),
        frame(b"x" * 126, PING),
        frame(b"x", REST),
        frame(CONNECT[:3], fin=False) + frame(b"x", BINARY),
        b"\x82\xfe\0\5" + KEY,  # 5 in two bytes
        b"\x82\xff\0\0\0\0\0\0\1\0" + KEY,
        b"\x82\xff\xff\0\0\0\0\1\0\0" + KEY,
        frame(CONNECT) + frame(b"\x30\3\0\1+"),  # wrong in the protocol inside
    ],
)
def test_broken_frames_are_malformed(data: bytes) -> None:
    stream = open_stream(80)
    stream.feed(upgrade(more=MQTT))
    with pytest.raises(Malformed):
        stream.feed(data)


@pytest.mark.parametrize(
    "payload",
    [b"\xff\xff", zlib.compress(b"x" * 3_000_000, wbits=-15)[:-1], zlib.compress(b"x", wbits=-15)],
    ids=["no deflate", "becomes too much", "ends for good"],
)
def test_compressed_data_that_no_server_should_expand_is_malformed(payload: bytes) -> None:
    stream = open_stream(80)
    stream.feed(upgrade(more=MQTT + DEFLATE))
    with pytest.raises(Malformed, match="compressed"):
        stream.feed(frame(payload, bits=0x40))


def test_tiny_frames_are_not_kept_without_end() -> None:
    stream = open_stream(80)
    stream.feed(upgrade(more=MQTT))
    stream.feed(frame(CONNECT) + frame(b"\x82\xff\xff\1"))
    with pytest.raises(Malformed, match="spread"):
        stream.feed(frame(b"x") * 5000)


def test_protocols_that_carry_each_other_end_at_the_third() -> None:
    data = upgrade()
    for _ in range(6):
        data = upgrade() + frame(data)
    found = open_stream(80).feed(data)
    assert [m.protocol for m in found.messages] == ["http"] * 4 + ["websocket"]
    assert found.settled
