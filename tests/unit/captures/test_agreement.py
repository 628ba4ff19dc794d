"""Every message of every protocol in every capture: what `dissect` says is what tshark says.

Each difference that there is stands here, with why ours is right or does no harm. Captures that are
malformed on purpose are listed too: in those nothing may be found that tshark does not find.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch

import pytest

from controller.dpi.message import Message
from tests.unit.captures.reference import CAPTURES, Place, Row, captures, rows, said

pytestmark = [
    pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures in {CAPTURES}"),
    pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed"),
    pytest.mark.timeout(240),
]

Found = Counter[tuple[Place, str, str]]  # capture and frame, verb, resource
AGREE = 0.999  # of the messages in well-formed captures

# ---------------------------------------------------------------- what tshark says

FIELDS = (
    "http.request.method", "http.request.uri", "mqtt.msgtype", "mqtt.topic", "mbtcp.unit_id",
    "modbus.func_code", "modbus.reference_num", "modbus.bit_cnt", "modbus.word_cnt",
    "modbus.read_reference_num", "modbus.read_word_cnt", "modbus.write_reference_num",
    "modbus.write_word_cnt", "dns.qry.name", "dns.qry.type", "dns.flags.response", "dns.flags.opcode",
    "dhcp.option.dhcp", "dhcpv6.msgtype", "tls.handshake.type", "tls.handshake.extensions_server_name",
    "dtls.handshake.type", "dtls.handshake.extensions_server_name", "dtls.handshake.length",
    "dtls.handshake.fragment_offset", "dtls.handshake.fragment_length", "frame.protocols",
    "tcp.dstport", "tcp.analysis.retransmission", "tcp.analysis.out_of_order",
)  # fmt: skip
WANTED = (
    "http.request || ssdp || mqtt || modbus || dns || mdns || llmnr || dhcp || dhcpv6 || "
    "tls.handshake.type == 1 || dtls.handshake.type == 1"
)
MQTT = {
    1: "CONNECT", 3: "PUBLISH", 4: "PUBACK", 5: "PUBREC", 6: "PUBREL", 7: "PUBCOMP", 8: "SUBSCRIBE",
    10: "UNSUBSCRIBE", 12: "PINGREQ", 14: "DISCONNECT", 15: "AUTH",
}  # fmt: skip
MODBUS = {  # function -> space, and the field with how many of it are meant (one, without)
    1: ("coils", "bit_cnt"), 2: ("discrete inputs", "bit_cnt"), 3: ("holding registers", "word_cnt"),
    4: ("input registers", "word_cnt"), 5: ("coils", ""), 6: ("holding registers", ""),
    15: ("coils", "bit_cnt"), 16: ("holding registers", "word_cnt"), 22: ("holding registers", ""),
}  # fmt: skip
DHCP = dict(enumerate(["-", "DISCOVER", "OFFER", "REQUEST", "DECLINE", "ACK", "NAK", "RELEASE", "INFORM"]))
DHCPV6 = dict(
    enumerate(
        [
            "-",
            "SOLICIT",
            "ADVERTISE",
            "REQUEST",
            "CONFIRM",
            "RENEW",
            "REBIND",
            "REPLY",
            "RELEASE",
            "DECLINE",
            "RECONFIGURE",
            "INFORMATION-REQUEST",
            "RELAY-FORW",
            "RELAY-REPL",
            "LEASEQUERY",
        ]
    )
)
TYPES = {
    1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 10: "NULL", 11: "WKS", 12: "PTR", 13: "HINFO", 15: "MX",
    16: "TXT", 28: "AAAA", 29: "LOC", 33: "SRV", 35: "NAPTR", 43: "DS", 44: "SSHFP", 46: "RRSIG",
    47: "NSEC", 48: "DNSKEY", 50: "NSEC3", 51: "NSEC3PARAM", 64: "SVCB", 65: "HTTPS", 99: "SPF",
    249: "TKEY", 255: "ANY", 257: "CAA",
}  # fmt: skip

Says = Callable[[Row], Iterator[tuple[str, str]]]


def _http(row: Row) -> Iterator[tuple[str, str]]:
    if row["tcp.dstport"]:
        for method, target in zip(row["http.request.method"], row["http.request.uri"], strict=True):
            yield method, target.partition("?")[0]


def _ssdp(row: Row) -> Iterator[tuple[str, str]]:
    if "ssdp" in row["frame.protocols"][0]:
        yield from ((method, "") for method in row["http.request.method"])


def _mqtt(row: Row) -> Iterator[tuple[str, str]]:
    topics = list(row["mqtt.topic"])
    if row["tcp.dstport"] == ["1883"]:
        for kind in map(int, row["mqtt.msgtype"]):
            yield MQTT[kind], topics.pop(0) if kind in (3, 8, 10) else ""
            # Several filters are in no packet but the last of a frame, in these captures.
            yield from ((MQTT[kind], topic) for topic in (topics if kind in (8, 10) else ()))


def _modbus(row: Row) -> Iterator[tuple[str, str]]:
    again = row["tcp.analysis.retransmission"] or row["tcp.analysis.out_of_order"]
    if row["tcp.dstport"] != ["502"] or again:
        return
    numbers = {field: iter(values) for field, values in row.items() if field.startswith("modbus.")}

    def some(space: str, first: str, count: str) -> str:
        at = int(next(numbers[f"modbus.{first}"], -1))
        return f"{space} {at}-{at + int(next(numbers[f'modbus.{count}'], 0) if count else 1) - 1}"

    for function, unit in zip(row["modbus.func_code"], row["mbtcp.unit_id"], strict=True):
        if function == "23":
            yield (
                function,
                f"unit {unit} {some('holding registers', 'write_reference_num', 'write_word_cnt')}",
            )
            yield function, f"unit {unit} {some('holding registers', 'read_reference_num', 'read_word_cnt')}"
        elif (known := MODBUS.get(int(function))) is not None:
            yield function, f"unit {unit} {some(known[0], 'reference_num', known[1])}"
        else:
            yield function, f"unit {unit}"


def _dns(row: Row) -> Iterator[tuple[str, str]]:
    layers = row["frame.protocols"][0]
    if (
        row["dns.flags.response"] in (["0"], ["False"])
        and row["dns.flags.opcode"] == ["0"]
        and "icmp" not in layers
    ):
        for name, kind in zip(row["dns.qry.name"], map(int, row["dns.qry.type"]), strict=True):
            plain = "." if name == "<Root>" else name.lower()
            yield "query", f"{plain} {TYPES.get(kind, f'TYPE{kind}')}"


def _dhcp(row: Row) -> Iterator[tuple[str, str]]:
    yield from ((DHCP[int(kind)], "") for kind in row["dhcp.option.dhcp"])


def _dhcpv6(row: Row) -> Iterator[tuple[str, str]]:
    yield from ((DHCPV6[int(kind)], "") for kind in row["dhcpv6.msgtype"][:1])  # a relayed one is inside


def _tls(row: Row) -> Iterator[tuple[str, str]]:
    if "1" in row["tls.handshake.type"] and "quic" not in row["frame.protocols"][0]:
        yield "ClientHello", "".join(row["tls.handshake.extensions_server_name"])


def _quic(row: Row) -> Iterator[tuple[str, str]]:
    if "1" in row["tls.handshake.type"] and "quic" in row["frame.protocols"][0]:
        yield "ClientHello", "".join(row["tls.handshake.extensions_server_name"])


def _dtls(row: Row) -> Iterator[tuple[str, str]]:
    if "1" in row["dtls.handshake.type"]:
        length, at, size = (
            int(row[f"dtls.handshake.{name}"][0]) for name in ("length", "fragment_offset", "fragment_length")
        )
        if at + size == length:  # the last part
            yield "ClientHello", "".join(row["dtls.handshake.extensions_server_name"])


# ---------------------------------------------------------------- what we say, in as many words


def _bare(message: Message) -> tuple[str, str]:
    return message.verb, message.resource


def _only_verb(message: Message) -> tuple[str, str]:
    return message.verb, ""


def _by_function(message: Message) -> tuple[str, str]:
    function = message.detail["function"]
    plain = function not in MODBUS and function != 23
    return str(function), " ".join(message.resource.split()[:2]) if plain else message.resource


def _lower(message: Message) -> tuple[str, str]:
    name, _, kind = message.resource.rpartition(" ")
    return message.verb, f"{name.lower()} {kind}"


Frames = int | tuple[int, ...]
Differences = Mapping[tuple[str, Frames], str]


class Protocol:
    """How the messages of one protocol are put beside tshark's, and the differences that there are.

    `theirs` and `ours`: messages that only tshark, or only we, find: (pattern of the capture, frames) to
    why. It is right (we are), malformed (the traffic is) or harmless. `left_out`: verbs that are not
    compared.
    """

    def __init__(
        self,
        names: str,
        says: Says,
        words: Callable[[Message], tuple[str, str]],
        theirs: Differences,
        ours: Differences,
        at_least: int,
        left_out: Sequence[str] = (),
    ) -> None:
        self.names, self.says, self.words = names.split(), says, words
        self.expected = (theirs, ours)
        self.at_least, self.left_out = at_least, left_out


MALFORMED = "malformed: on purpose; nothing is said rather than guessed"
PROTOCOLS = {
    "http": Protocol("http soap vsl", _http, _bare, {
        ("*__connect-with-smtp.pcap", 4): "malformed: 'CONNECT host:25 / HTTP/1.0' is no request line",
        ("*__content-length-in-request-body.pcap", 15): "right: tshark takes an answer's text for a request",
        ("*__smuggle-http-request.pcap", 17): "right: tshark takes an answer's text for a request",
        ("*__http-11-request-then-cruft.pcap", 6): "malformed: lines end with LF only (RFC 9112, 2.2)",
        ("*__http-empty-useragent.pcap", 9): "malformed: lines end with LF only (RFC 9112, 2.2)",
        ("*__zero-length-bodies-with-drops.pcap", 19): "malformed: frames are missing; nothing is guessed",
        ("*__modbus-and-non-modbus-p502.pcap", 65): "right: the connection was reset before",
        ("*__arkime_synthetic.pcap", (180, 191, 213)): "harmless: SOAP without an action is refused",
        ("*__arkime_synthetic.pcap", 202): "right: the SOAP action, where tshark has the method",
    }, {
        ("*__arkime_synthetic.pcap", 202): "right: the SOAP action, where tshark has the method",
        ("*__query-method*.pcap", 4): "right: QUERY is younger than tshark",
        ("*__http__websocket.pcap", 11): "right: a request inside a WebSocket",
        ("*__fragmented-http-reply.pcap", 11): "right: a request inside a WebSocket",
    }, 1100),
    "ssdp": Protocol("ssdp", _ssdp, _only_verb, {}, {}, 20, left_out=["response"]),
    "mqtt": Protocol("mqtt", _mqtt, _bare, {
        ("*__mqtt_big.pcap", 23): "harmless: tshark waits for the payload, we for the topic",
        ("*__mqtt_big.pcap", 46): "harmless: tshark waits for the payload, we for the topic",
    }, {
        ("*__mqtt_big.pcap", 4): "right: the will, of which tshark makes no message",
        ("*__mqtt_big.pcap", (15, 38)): "right: the topic is there before its payload",
        ("*__arkime_synthetic.pcap", 607): "right: the will, of which tshark makes no message",
        ("*__mqtt_synthetic.pcap", 15): "right: the will, of which tshark makes no message",
    }, 40),
    "modbus": Protocol("modbus", _modbus, _by_function, {
        ("*__arkime_synthetic.pcap", 874): "right: port 502 has opened this connection",
        ("*__modbus.pcap", (32, 34)): "malformed: function 43/14 with a byte too many",
        ("*__modbus.pcap", 124): "malformed: function 0, which there is none of",
        ("*__modbus.pcap", (129, 132, 134, 136, 163, 165, 182)): "malformed: nothing is asked for",
        ("*__modbus.pcap", (140, 153, 155, 168, 175, 178, 180, 184)): "malformed: its length is wrong",
        ("*__MODBUS-TestDataPart1.pcap", (32, 34)): "malformed: function 43/14 with a byte too many",
        ("*__MODBUS-TestDataPart2.pcap", 6): "malformed: function 0, which there is none of",
        ("*__MODBUS-TestDataPart2.pcap", (11, 14, 16, 18, 45, 47, 64)): "malformed: nothing is asked for",
        ("*__MODBUS-TestDataPart2.pcap", (22, 35, 37, 50, 57, 60, 62, 66)): "malformed: its length is wrong",
        ("*__modbus_example.pcap", (64, 68)): "malformed: records of no file",
        ("*__4SICS-GeekLounge-151022-min.pcap", 1): "malformed: function 23 whose byte count does not fit",
        ("*__fuzz-72.pcap", (11, 16, 17, 18, 20, 24, 29, 31)): "malformed: behind what is missing or wrong",
    }, {}, 6800),
    "dns": Protocol("dns mdns llmnr", _dns, _lower, {
        ("*__dns-invalid-names.pcap", 2): MALFORMED,
        ("*__vector-max-size-crash.pcap", 1): MALFORMED,
        ("*__arkime_synthetic.pcap", 622): "harmless: in a tunnel (Geneve), which passes whole or not",
        ("*__geneve-vxlan-dns-truncated.pcap", 1): "malformed: cut short when captured",
    }, {}, 550, left_out=["announce", "response", "notify", "update"]),
    "dhcp": Protocol("dhcp", _dhcp, _only_verb, {
    }, {}, 550),
    "dhcpv6": Protocol("dhcpv6", _dhcpv6, _only_verb, {}, {}, 10),
    "tls": Protocol("tls", _tls, _bare, {}, {
        ("*__wstunnel-https.pcap", 8): "right: TLS inside a WebSocket",
    }, 10, left_out=["Certificate"]),
    "dtls": Protocol("dtls", _dtls, _bare, {}, {}, 10),
    "quic": Protocol("quic", _quic, _bare, {}, {
        ("*__quicdoq.pcap", 1): "right: tshark takes this port for DTLS",
    }, 1),
}  # fmt: skip


@pytest.fixture(scope="module")
def reference() -> list[tuple[Place, Row]]:
    return list(rows(WANTED, FIELDS))


def _ours(protocol: Protocol) -> Found:
    found: Found = Counter()
    for place, frame in said().items():
        for message in frame.messages:
            if message.protocol in protocol.names and message.verb not in protocol.left_out:
                found[place, *protocol.words(message)] += 1
    return found


def _frames(given: Frames) -> tuple[int, ...]:
    return given if isinstance(given, tuple) else (given,)


def _reason(expected: Differences, place: Place) -> tuple[str, Frames] | None:
    name, frame = place
    return next((key for key in expected if fnmatch(name, key[0]) and frame in _frames(key[1])), None)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_is_said_is_what_tshark_says(name: str, reference: list[tuple[Place, Row]]) -> None:
    protocol = PROTOCOLS[name]
    theirs: Found = Counter((place, *each) for place, row in reference for each in protocol.says(row))
    ours = _ours(protocol)
    assert theirs.total() >= protocol.at_least
    strange = []
    for expected, more in zip(protocol.expected, (theirs - ours, ours - theirs), strict=True):
        met = {(_reason(expected, place), place[1]) for place, _, _ in more}
        strange += [place for place in more if _reason(expected, place[0]) is None]
        listed = {(key, frame) for key in expected for frame in _frames(key[1])}
        assert listed <= met, "some listed differences are no longer there"
    assert strange == []


def test_nearly_all_messages_of_well_formed_captures_agree(reference: list[tuple[Place, Row]]) -> None:
    same = different = 0
    for protocol in PROTOCOLS.values():
        theirs: Found = Counter((place, *each) for place, row in reference for each in protocol.says(row))
        ours = _ours(protocol)
        for expected, more in zip(protocol.expected, (theirs - ours, ours - theirs), strict=True):
            for place, *_ in more.elements():
                key = _reason(expected, place)
                different += key is None or expected[key].startswith("harmless")
        same += (theirs & ours).total()
    assert same / (same + different) >= AGREE, f"{same} messages are the same, {different} differ"


def test_every_capture_is_read_to_its_end() -> None:
    assert len(captures()) > 200
    assert len({name for name, _ in said()}) > 180
