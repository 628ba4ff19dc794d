from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi.amqp import AmqpStream, recognise
from controller.dpi.message import Malformed
from controller.dpi.registry import open_stream
from tests.unit.dpi.captures import crafted, messages, needs_tshark, tshark
from tests.unit.dpi.frames import tcp

PROTOCOL: Final = b"AMQP\0\0\x09\x01"


def frame(kind: int, payload: bytes, channel: int = 1) -> bytes:
    return bytes([kind]) + channel.to_bytes(2, "big") + len(payload).to_bytes(4, "big") + payload + b"\xce"


def method(cls: int, number: int, body: bytes = b"", channel: int = 1) -> bytes:
    return frame(1, cls.to_bytes(2, "big") + number.to_bytes(2, "big") + body, channel)


def name(*names: str) -> bytes:
    return b"".join(bytes([len(text.encode())]) + text.encode() for text in names)


TICKET, TABLE, NO_BITS = b"\0\0", b"\0\0\0\0", b"\0"
START: Final = method(
    10, 11, TABLE + name("PLAIN") + (b"\0\0\0\x0d" + b"\0sensor\0secret"[:13]) + name("en_US"), channel=0
)
LOGIN: Final = b"\0amy\0pw"
START_AMY: Final = method(
    10, 11, TABLE + name("PLAIN") + len(LOGIN).to_bytes(4, "big") + LOGIN + name("en_US"), channel=0
)
OPEN: Final = method(10, 40, name("/plant", "") + NO_BITS, channel=0)
CONTENT: Final = frame(2, b"\0\x3c\0\0" + (3).to_bytes(8, "big") + b"\0\0") + frame(3, b"abc")
PUBLISH: Final = method(60, 40, TICKET + name("logs", "pump.1") + NO_BITS)
CALLS: Final[tuple[tuple[bytes, tuple[str, str, str]], ...]] = (
    (method(10, 31, bytes(8), 0), ("connection.tune-ok", "connect", "")),
    (OPEN, ("connection.open", "connect", "/plant")),
    (method(20, 10, name("")), ("channel.open", "connect", "")),
    (
        method(40, 10, TICKET + name("logs", "topic") + NO_BITS + TABLE),
        ("exchange.declare", "register", "exchange logs"),
    ),
    (
        method(40, 10, TICKET + name("logs", "topic") + b"\1" + TABLE),
        ("exchange.declare", "lookup", "exchange logs"),
    ),
    (method(40, 20, TICKET + name("logs") + NO_BITS), ("exchange.delete", "delete", "exchange logs")),
    (
        method(40, 30, TICKET + name("all", "logs", "#") + NO_BITS + TABLE),
        ("exchange.bind", "subscribe", "exchange logs key #"),
    ),
    (method(50, 10, TICKET + name("work") + NO_BITS + TABLE), ("queue.declare", "register", "queue work")),
    (method(50, 10, TICKET + name("work") + b"\1" + TABLE), ("queue.declare", "lookup", "queue work")),
    (method(50, 10, TICKET + name("") + b"\4" + TABLE), ("queue.declare", "register", "queue (own)")),
    (
        method(50, 20, TICKET + name("work", "logs", "pump.*") + NO_BITS + TABLE),
        ("queue.bind", "subscribe", "exchange logs key pump.*"),
    ),
    (
        method(50, 50, TICKET + name("work", "logs", "pump.*") + TABLE),
        ("queue.unbind", "unsubscribe", "exchange logs key pump.*"),
    ),
    (method(50, 30, TICKET + name("work") + NO_BITS), ("queue.purge", "delete", "queue work")),
    (method(50, 40, TICKET + name("work") + NO_BITS), ("queue.delete", "delete", "queue work")),
    (method(60, 10, bytes(7)), ("basic.qos", "connect", "")),
    (
        method(60, 20, TICKET + name("work", "c1") + NO_BITS + TABLE),
        ("basic.consume", "subscribe", "queue work"),
    ),
    (PUBLISH, ("basic.publish", "publish", "exchange logs key pump.1")),
    (
        method(60, 40, TICKET + name("", "work") + NO_BITS),
        ("basic.publish", "publish", "queue work"),
    ),
    (
        method(60, 40, TICKET + name("a key b", "c") + NO_BITS),
        ("basic.publish", "publish", "exchange a\\x20key b key c"),
    ),
    (method(60, 70, TICKET + name("work") + NO_BITS), ("basic.get", "read", "queue work")),
    (method(60, 80, bytes(9)), ("basic.ack", "connect", "")),
    (method(85, 10, NO_BITS), ("confirm.select", "connect", "")),
    (method(90, 20), ("tx.commit", "commit", "")),
    (method(90, 30), ("tx.rollback", "rollback", "")),
    (method(10, 50, b"\0\xc8" + name("bye") + bytes(4), 0), ("connection.close", "connect", "")),
)


def said(raw: bytes) -> list[tuple[str, str, str]]:
    fed = AmqpStream().feed(PROTOCOL + raw)
    assert fed.released == len(PROTOCOL + raw)
    assert all(message.protocol == "amqp" for message in fed.messages)
    first, *others = [(m.verb, m.operation.value, m.resource) for m in fed.messages]
    assert first == ("protocol header", "connect", "")
    return others


@pytest.mark.parametrize(("raw", "expected"), CALLS)
def test_methods(raw: bytes, expected: tuple[str, str, str]) -> None:
    assert said(raw) == [expected]


def test_who_has_logged_in_says_the_rest() -> None:
    _, start, opened = AmqpStream().feed(PROTOCOL + START_AMY + OPEN).messages
    assert (start.verb, start.identity, start.detail) == (
        "connection.start-ok",
        "amy",
        {"mechanism": "PLAIN"},
    )
    assert opened.identity == "amy"


def test_no_name_means_the_queue_that_was_declared_last() -> None:
    declare = method(50, 10, TICKET + name("work") + NO_BITS + TABLE)
    consume = method(60, 20, TICKET + name("", "c1") + NO_BITS + TABLE)
    cancel = method(60, 30, name("c1") + NO_BITS)
    assert [resource for _, _, resource in said(declare + consume + cancel + cancel)] == [
        "queue work", "queue work", "queue work", "consumer c1",
    ]  # fmt: skip
    other = method(60, 20, TICKET + name("", "c1") + NO_BITS + TABLE, channel=2)
    assert said(declare + other)[1] == ("basic.consume", "subscribe", "queue (own)")


def test_content_and_heartbeats_pass() -> None:
    assert len(said(PUBLISH + CONTENT + frame(8, b"", 0) + PUBLISH + CONTENT)) == 2


def test_followed_from_the_middle_on() -> None:
    fed = open_stream(5672, resumed=True).feed(PUBLISH + CONTENT)
    assert [m.resource for m in fed.messages] == ["exchange logs key pump.1"]


WHOLE: Final = PROTOCOL + START_AMY + OPEN + b"".join(raw for raw, _ in CALLS) + PUBLISH + CONTENT
STREAMS: Final = ((5672, WHOLE),)


def test_split_anywhere() -> None:
    whole = AmqpStream().feed(WHOLE)
    for cut in range(len(WHOLE) + 1):
        stream = AmqpStream()
        first, second = stream.feed(WHOLE[:cut]), stream.feed(WHOLE[cut:])
        assert first.messages + second.messages == whole.messages
        assert first.released <= cut
        assert second.released == len(WHOLE)


@pytest.mark.parametrize(
    "raw",
    [
        b"AMQP\0\1\0\0",
        PROTOCOL + PROTOCOL,
        PROTOCOL + frame(4, b""),
        PROTOCOL + b"\1\0\1\xff\0\0\0",
        PROTOCOL + PUBLISH[:-1] + b"\0",
        PROTOCOL + method(60, 60),
        PROTOCOL + method(10, 10),
        PROTOCOL + frame(1, b"\0\x3c"),
        PROTOCOL + method(60, 40, TICKET + name("logs")),
        PROTOCOL + method(60, 40, TICKET + name("logs", "x") + NO_BITS + b"\0"),
        PROTOCOL + method(40, 10, TICKET + name("logs", "topic") + NO_BITS + b"\0\0\0\5"),
        PROTOCOL + START[:-1] + b"\0",
        PROTOCOL + PUBLISH + frame(2, b"\0\x3c\0\0" + bytes(8) + b"\x20\0\0\0\0\x0e\2CCA\0\0\0\6S\0\0\0\1x"),
        PROTOCOL + PUBLISH + frame(2, b"\0\x3c\0\0" + bytes(8) + b"\x20\0\0\0\0\x0f\3BCCA\0\0\0\6S\0\0\0\1x"),
        PROTOCOL + b"".join(method(50, 10, TICKET + name("q") + NO_BITS + TABLE, n) for n in range(1025)),
    ],
)
def test_broken_frames_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="amqp"):
        AmqpStream().feed(raw)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [(b"", None), (b"AMQ", None), (PROTOCOL, True), (b"AMQP\0\1\0\0", False), (b"GET", False)],
)
def test_recognised_by_its_protocol_header(prefix: bytes, expected: bool | None) -> None:
    assert recognise(prefix, 80) is expected


@given(st.sampled_from([10, 40, 50, 60]), st.sampled_from([10, 11, 20, 30, 40, 50]), st.binary(max_size=40))
def test_any_arguments_are_read_or_malformed(cls: int, number: int, body: bytes) -> None:
    try:
        said(method(cls, number, body))
    except Malformed:
        return


@needs_tshark
def test_agrees_with_tshark(tmp_path: Path) -> None:
    """One frame a method: its class and number, and its exchange, key and queue."""
    raws = [PROTOCOL, START_AMY, *[raw for raw, _ in CALLS]]
    frames, seq = [tcp(1, flags=2, port=5672)], 2
    for raw in raws:
        frames.append(tcp(seq, raw, port=5672))
        seq += len(raw)
    path = crafted(tmp_path / "amqp.pcap", *frames)
    mine = {number: message for number, message in messages(path) if message.protocol == "amqp"}
    assert mine.pop(2).verb == "protocol header"  # which tshark does not show
    compared: Counter[str] = Counter()
    for number, (infos, types) in tshark(path, "amqp", "_ws.col.Info", "amqp.type"):
        message = mine.pop(number)
        assert types == ["1"]
        assert message.verb.replace("-", "").lower() in infos[0].replace("-", "").replace(" ", "").lower()
        compared[message.verb] += 1
    assert not mine
    assert compared.total() == len(raws) - 1
