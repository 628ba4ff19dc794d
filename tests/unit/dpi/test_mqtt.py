import struct
from typing import Any

import pytest

from controller.dpi.message import Malformed, Message, Operation
from controller.dpi.registry import open_stream


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(data)) + data


def packet(first: int, body: bytes) -> bytes:
    length, size = b"", len(body)
    while True:
        size, digit = divmod(size, 128)
        length += bytes([digit | (0x80 if size else 0)])
        if not size:
            return bytes([first]) + length + body


def connect(
    version: int = 4, client: str = "lamp", flags: int = 2, rest: bytes = b"", name: str = "MQTT"
) -> bytes:
    properties = b"\0" if version & 0x7F == 5 else b""
    return packet(0x10, text(name) + bytes([version, flags, 0, 60]) + properties + text(client) + rest)


def publish(topic: str | bytes, payload: bytes = b"on", first: int = 0x30, middle: bytes = b"") -> bytes:
    return packet(first, text(topic) + middle + payload)


def messages(data: bytes, port: int = 1883) -> list[Message]:
    found = list(open_stream(port).feed(data).messages)
    stream = open_stream(port)
    assert [m for index in range(len(data)) for m in stream.feed(data[index : index + 1]).messages] == found
    return found


def said(data: bytes) -> list[tuple[str, Operation, str, str | None]]:
    return [(m.verb, m.operation, m.resource, m.identity) for m in messages(data)]


@pytest.mark.parametrize(
    ("data", "version"),
    [(connect(3, name="MQIsdp"), "3.1"), (connect(4), "3.1.1"), (connect(5), "5"), (connect(0x84), "3.1.1")],
)
def test_connect_of_every_version(data: bytes, version: str) -> None:
    (message,) = messages(data, 9999)
    assert (message.protocol, message.verb, message.operation) == ("mqtt", "CONNECT", Operation.CONNECT)
    assert (message.resource, message.identity, message.detail["version"]) == ("", "lamp", version)


def test_client_id_is_remembered() -> None:
    assert said(connect(client="lamp") + publish("home/1")) == [
        ("CONNECT", Operation.CONNECT, "", "lamp"),
        ("PUBLISH", Operation.PUBLISH, "home/1", "lamp"),
    ]
    assert said(connect(client=""))[0][3] is None


def test_will_is_a_message_of_its_own() -> None:
    rest = text("home/lamp/gone") + text(b"\0\1") + text("user") + text(b"secret")
    found = messages(connect(flags=0xEE, rest=rest))
    assert [(m.verb, m.resource) for m in found] == [("CONNECT", ""), ("PUBLISH", "home/lamp/gone")]
    assert found[0].detail["user_name"] == "user"
    assert found[1].detail == {"will": True, "qos": 1, "retain": True}
    assert "secret" not in repr(found)


def test_one_message_for_each_filter() -> None:
    subscribe = packet(0x82, b"\0\1" + text("a/+/b") + b"\1" + text("$share/g/c/#") + b"\0")
    unsubscribe = packet(0xA2, b"\0\2" + text("a/+/b") + text("#"))
    assert [
        (verb, operation, resource)
        for verb, operation, resource, _ in said(connect() + subscribe + unsubscribe)
    ][1:] == [
        ("SUBSCRIBE", Operation.SUBSCRIBE, "a/+/b"),
        ("SUBSCRIBE", Operation.SUBSCRIBE, "c/#"),
        ("UNSUBSCRIBE", Operation.UNSUBSCRIBE, "a/+/b"),
        ("UNSUBSCRIBE", Operation.UNSUBSCRIBE, "#"),
    ]


def test_shared_subscription_is_one_to_the_filter_that_is_shared() -> None:
    for version in (4, 5):
        properties = b"\0" if version == 5 else b""
        wanted = text("$share/g/c/#")
        subscribe = packet(0x82, b"\0\1" + properties + wanted + b"\1")
        unsubscribe = packet(0xA2, b"\0\2" + properties + wanted)
        _, first, second = messages(connect(version) + subscribe + unsubscribe)
        assert (first.resource, first.detail) == ("c/#", {"qos": 1, "share": "g"})
        assert (second.resource, second.detail) == ("c/#", {"share": "g"})


@pytest.mark.parametrize(
    "wanted", ["$share/", "$share/g", "$share/g/", "$share//a", "$share/+/a", "$share/#"]
)
def test_shared_subscription_without_name_or_filter_is_malformed(wanted: str) -> None:
    with pytest.raises(Malformed):
        messages(connect() + packet(0x82, b"\0\1" + text(wanted) + b"\1"))


def test_filters_and_properties_of_one_packet_are_bounded() -> None:
    with pytest.raises(Malformed, match="filters"):
        open_stream(1883).feed(connect() + packet(0x82, b"\0\1" + (text("a") + b"\0") * 600))
    many = b"\x26\0\0\0\0" * 300
    with pytest.raises(Malformed, match="properties"):
        open_stream(1883).feed(connect(5) + packet(0xE0, b"\0" + b"\xdc\x0b" + many))


def test_publish_of_version_5_without_properties_at_all_is_malformed() -> None:
    """Also when the byte behind it could be taken for their length."""
    for rest in (b"", b"\0\0"):
        with pytest.raises(Malformed):
            open_stream(1883).feed(connect(5) + packet(0x30, text("a")) + rest)


def test_many_topics_cost_no_memory() -> None:
    stream = open_stream(1883)
    stream.feed(connect())
    for number in range(1000):
        stream.feed(publish(f"a/{number}"))
    assert stream.reserved <= 64 * 1024


def test_other_packets_only_keep_the_connection() -> None:
    data = connect() + b"".join(
        packet(first, body)
        for first, body in [
            (0x40, b"\0\1"),
            (0x50, b"\0\1"),
            (0x62, b"\0\1"),
            (0x70, b"\0\1"),
            (0xC0, b""),
            (0xE0, b""),
        ]
    )
    assert [m.verb for m in messages(data)][1:] == [
        "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "PINGREQ", "DISCONNECT",
    ]  # fmt: skip
    assert {(m.operation, m.resource) for m in messages(data)} == {(Operation.CONNECT, "")}


def test_version_5_properties_and_topic_aliases() -> None:
    body = b"\x23\0\7" + b"\x26" + text("k") + text("v") + b"\x0b\x80\x01" + b"\x01\1"
    named = publish("home/1", middle=bytes([len(body)]) + body)
    aliased = publish("", middle=b"\3\x23\0\7")
    renamed = publish("home/2", middle=b"\3\x23\0\7")
    found = messages(connect(5) + named + aliased + renamed + aliased)
    assert [m.resource for m in found][1:] == ["home/1", "home/1", "home/2", "home/2"]
    subscribe = packet(0x82, b"\0\1" + b"\2\x0b\5" + text("x") + b"\x2e")
    auth = packet(0xF0, b"\x18" + b"\0")
    disconnect = packet(0xE0, b"\x04\0")
    assert [m.verb for m in messages(connect(5) + subscribe + auth + disconnect)][1:] == [
        "SUBSCRIBE", "AUTH", "DISCONNECT",
    ]  # fmt: skip


def test_payload_of_a_publish_passes_through() -> None:
    start = connect()
    data = publish("big", b"x" * 300_000)
    stream = open_stream(1883)
    stream.feed(start)
    fed = stream.feed(data[:20])
    assert ([m.resource for m in fed.messages], fed.released) == (["big"], len(start) + 20)
    assert stream.feed(data[20:200_000]).released == len(start) + 200_000
    ping = stream.feed(data[200_000:] + b"\xc0\0\xc0")
    assert ([m.verb for m in ping.messages], ping.released) == (["PINGREQ"], len(start + data) + 2)


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\xff\xff\xff\xff\x01",  # remaining length of 5 bytes
        connect(),  # twice
        publish("a/+"),
        publish("a/#"),
        publish(""),
        publish(b"\xff"),
        publish("a\0b"),
        publish("a", first=0x36),  # QoS 3
        publish("a", b"", first=0x32, middle=b"\0\0"),  # packet identifier 0
        packet(0x32, text("a")),  # QoS 1 without an identifier
        packet(0x30, b"\0"),
        packet(0x30, b"\0\x09abc"),
        packet(0x82, b"\0\1"),  # no filter
        packet(0x82, b"\0\0" + text("a") + b"\0"),
        packet(0x80, b"\0\1" + text("a") + b"\0"),  # reserved flags
        packet(0x82, b"\0\1" + text("a") + b"\3"),
        packet(0x82, b"\0\1" + text("a") + b"\4"),
        packet(0x82, b"\0\1" + text("a#") + b"\0"),
        packet(0x82, b"\0\1" + text("#/a") + b"\0"),
        packet(0x82, b"\0\1" + text("a+/b") + b"\0"),
        packet(0x82, b"\0\1" + text("") + b"\0"),
        packet(0xA2, b"\0\1"),
        packet(0xC0, b"x"),
        packet(0xC1, b""),
        packet(0x60, b"\0\1"),
        packet(0x20, b"\0\0"),  # CONNACK from a client
        packet(0xF0, b""),  # AUTH before version 5
        packet(0x00, b""),
        packet(0x82, b"\0\1" + (text("a" * 60000) + b"\0") * 3),
    ],
)
def test_broken_packets_are_malformed(data: bytes) -> None:
    stream = open_stream(1883)
    stream.feed(connect())
    with pytest.raises(Malformed, match="mqtt"):
        stream.feed(data)


@pytest.mark.parametrize(
    "data",
    [
        connect(6),
        connect(4, name="MQIsdp"),
        connect(3),
        connect(flags=1),
        connect(flags=0x08),
        connect(flags=0x1C, rest=text("t") + text(b"")),
        connect(rest=b"x"),
        packet(0x10, text("MQTT")),
    ],
)
def test_broken_connects_are_malformed(data: bytes) -> None:
    with pytest.raises(Malformed, match="mqtt"):
        open_stream(1883).feed(data)


@pytest.mark.parametrize(
    "data",
    [
        publish("", middle=b"\3\x23\0\7"),  # alias that stands for nothing
        publish("a", middle=b"\3\x23\0\0"),
        publish("a", middle=b"\6\x23\0\1\x23\0\1"),
        publish("a", middle=b"\1\x7f"),
        publish("a", b"", middle=b"\5\x23\0"),
        publish("a", b"", middle=b"\xff\xff\xff\xff\x01"),
    ],
)
def test_broken_properties_are_malformed(data: bytes) -> None:
    stream = open_stream(1883)
    stream.feed(connect(5))
    with pytest.raises(Malformed, match="mqtt"):
        stream.feed(data)


def test_aliases_are_bounded() -> None:
    stream = open_stream(1883)
    stream.feed(connect(5))
    stream.feed(publish("x" * 60000, middle=b"\3\x23\0\1"))
    stream.feed(publish("y" * 60000, middle=b"\3\x23\0\1"))
    with pytest.raises(Malformed, match="aliases"):
        stream.feed(publish("x" * 6000, middle=b"\3\x23\0\2"))


def test_publish_before_connect_is_unknown_but_read_when_resumed() -> None:
    (message,) = open_stream(1883).feed(publish("home/1")).messages
    assert message.protocol == "unknown"
    (message,) = open_stream(1883, resumed=True).feed(publish("home/1")).messages
    assert (message.verb, message.resource, message.identity) == ("PUBLISH", "home/1", None)


def test_connection_that_is_resumed_at_its_connect_is_read_as_any() -> None:
    (message,) = open_stream(1883, resumed=True).feed(connect(5)).messages
    assert (message.identity, message.detail["version"]) == ("lamp", "5")


def test_packets_of_paho_are_read() -> None:
    client_module: Any = pytest.importorskip("paho.mqtt.client")

    class Capture:
        def __init__(self) -> None:
            self.sent = bytearray()

        def send(self, data: bytes) -> int:
            self.sent += data
            return len(data)

        def close(self) -> None:
            pass

    for protocol in (client_module.MQTTv31, client_module.MQTTv311, client_module.MQTTv5):
        client = client_module.Client(
            client_module.CallbackAPIVersion.VERSION2, client_id="washer", protocol=protocol
        )
        client.will_set("home/washer/gone", b"1", qos=1, retain=True)
        client.username_pw_set("user", "secret")
        client._sock = capture = Capture()
        client._send_connect(60)
        client._send_subscribe(
            False, [("home/+/temp", 1)] if protocol != client_module.MQTTv5 else _options()
        )
        client._send_publish(7, b"home/washer", b"on", qos=1)
        client._send_unsubscribe(False, [b"home/+/temp"])
        client._send_pingreq()
        client._send_disconnect()
        while client._out_packet:
            client._packet_write()
            if client._sock is None:
                break
        found = messages(bytes(capture.sent))
        assert [(m.verb, m.resource, m.identity) for m in found] == [
            ("CONNECT", "", "washer"),
            ("PUBLISH", "home/washer/gone", "washer"),
            ("SUBSCRIBE", "home/+/temp", "washer"),
            ("PUBLISH", "home/washer", "washer"),
            ("UNSUBSCRIBE", "home/+/temp", "washer"),
            ("PINGREQ", "", "washer"),
            ("DISCONNECT", "", "washer"),
        ]


def _options() -> list[Any]:
    from paho.mqtt.subscribeoptions import SubscribeOptions  # noqa: PLC0415 - only where paho is there

    return [("home/+/temp", SubscribeOptions(qos=1))]
