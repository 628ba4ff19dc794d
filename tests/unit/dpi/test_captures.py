"""Real traffic, from frames to messages, against what tshark reads in it: (frame, verb, resource)."""

from collections import Counter

import pytest

from tests.unit.dpi.captures import CAPTURES, Row, compare, needs_tshark, ours, tshark

pytestmark = [
    pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures in {CAPTURES}"),
    needs_tshark,
]


@pytest.mark.parametrize(
    ("name", "only_theirs"),
    [
        ("http/*1000-requests-one-dropped-response.pcap.gz", set()),
        ("http/*__pipelined-requests.pcap", set()),
        ("http/*__docker-http-upgrade.pcap", set()),
        ("http/*__http-desync-request-response-5.pcap", set()),
        ("http/*__http-non-printable-characters.pcap", set()),
        ("http/*__percent-end-of-line.pcap", set()),
        ("http/*__get_nosyn.pcap", {1}),  # nobody knows where in the stream this begins
        ("http/*__smuggle-http-request.pcap", {17}),  # tshark takes a response's text for a request
        ("http/*__connect-with-smtp.pcap", {4}),  # "CONNECT host:25 / HTTP/1.0" is no request line
        ("http/*__http-11-request-then-cruft.pcap", {6}),  # ends its lines with LF only
        ("http/*__zero-length-bodies-with-drops.pcap", {19, 24, 30, 38}),  # behind a gap: lost, not guessed
        ("websocket/*__wstunnel-ssh.pcap", set()),
        ("http_json_rest/*__post.pcap", set()),
    ],
)
def test_http_agrees_with_tshark(name: str, only_theirs: set[int]) -> None:
    (path,) = CAPTURES.glob(name)
    theirs: Counter[Row] = Counter()
    for number, (methods, targets) in tshark(
        path, "tcp && http.request", "http.request.method", "http.request.uri"
    ):
        theirs.update(
            (number, method, target.partition("?")[0])
            for method, target in zip(methods, targets, strict=True)
        )
    compare(ours(path, "http vsl"), theirs, only_theirs)


MQTT = {
    1: "CONNECT",
    3: "PUBLISH",
    4: "PUBACK",
    6: "PUBREL",
    8: "SUBSCRIBE",
    10: "UNSUBSCRIBE",
    12: "PINGREQ",
    14: "DISCONNECT",
}


@pytest.mark.parametrize("name", ["zeek_zeek__testing__btest__Traces__mqtt", "*__arkime_synthetic"])
def test_mqtt_agrees_with_tshark(name: str) -> None:
    (path,) = CAPTURES.glob(f"mqtt/{name}.pcap")
    theirs: Counter[Row] = Counter()
    topics: list[str]
    for number, (kinds, topics) in tshark(path, "mqtt && tcp.dstport == 1883", "mqtt.msgtype", "mqtt.topic"):
        for kind in map(int, kinds):
            theirs[number, MQTT[kind], topics.pop(0) if kind in (3, 8, 10) else ""] += 1
    mine = ours(path, "mqtt")
    if "arkime" in name:
        mine -= Counter({(607, "PUBLISH", "devices/status"): 1})  # the will, of which tshark makes no message
    compare(mine, theirs, set())


def test_large_publishes_are_judged_when_their_topic_is_there() -> None:
    """A frame earlier than tshark, which waits for the payload."""
    (path,) = CAPTURES.glob("mqtt/*__mqtt_big.pcap")
    mine = Counter((verb, resource) for _, verb, resource in ours(path, "mqtt").elements())
    theirs: Counter[tuple[str, str]] = Counter()
    for _, (kinds, topics) in tshark(path, "mqtt && tcp.dstport == 1883", "mqtt.msgtype", "mqtt.topic"):
        for kind in map(int, kinds):
            for topic in topics or [""]:  # in this capture each frame has one packet
                theirs[MQTT[kind], topic] += 1
    assert theirs - mine == Counter()
    assert (mine - theirs).total() == 1  # the will


def test_modbus_agrees_with_tshark_on_a_long_connection() -> None:
    (path,) = CAPTURES.glob("modbus_tcp/*__modbusBig.pcap")
    # In this capture tcp.analysis knows which segments were repeated.
    rows = tshark(
        path,
        "modbus && tcp.dstport == 502 && !tcp.analysis.retransmission && !tcp.analysis.out_of_order",
        "mbtcp.unit_id",
        "modbus.func_code",
        "modbus.reference_num",
    )
    theirs = Counter((number, units[0], first[0]) for number, (units, _, first) in rows)
    mine = Counter(
        (number, resource.split()[1], resource.rpartition(" ")[2].partition("-")[0])
        for number, _, resource in ours(path, "modbus").elements()
    )
    assert len(theirs) > 2000
    assert mine == theirs


@pytest.mark.parametrize("name", ["ssdp/*melsoft_UDP_unclean_1.pcap", "ssdp/*beckoffiplinktc3.pcapng"])
def test_ssdp_agrees_with_tshark(name: str) -> None:
    (path,) = CAPTURES.glob(name)
    theirs = Counter(
        (number, methods[0]) for number, (methods,) in tshark(path, "ssdp", "http.request.method")
    )
    assert Counter((number, verb) for number, verb, _ in ours(path, "ssdp").elements()) == theirs


@pytest.mark.parametrize("name", ["mdns/*Profinet_Failed.pcap", "mdns/*addroute1.pcapng"])
def test_names_agree_with_tshark(name: str) -> None:
    (path,) = CAPTURES.glob(name)
    wanted = "(dns || mdns || llmnr) && dns.flags.response == 0 && !icmp"
    theirs: Counter[tuple[int, str]] = Counter()
    for number, (names,) in tshark(path, wanted, "dns.qry.name"):
        theirs.update((number, asked.lower()) for asked in names)
    mine = Counter(
        (number, resource.rpartition(" ")[0].lower())
        for number, verb, resource in ours(path, "dns mdns llmnr").elements()
        if verb == "query"
    )
    assert mine == theirs
