import shutil
import subprocess
from collections import Counter
from ipaddress import ip_address
from pathlib import Path
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dns import DNS, DNSQR, DNSRR
from zeroconf import DNSOutgoing, DNSPointer, DNSQuestion, DNSService

from controller.dpi import dns
from controller.dpi.dissector import Datagram
from controller.dpi.message import Malformed, Message, Operation

CAPTURES = Path(__file__).parents[4] / "shared" / "captures"
QUERY = bytes.fromhex("1234 0100 0001 0000 0000 0000 03575757 076578616d706c65 03636f6d 00 0001 0001")
EXAMPLE = bytes.fromhex("076578616d706c6503636f6d00")


def only(raw: bytes, src: int = 40000, dst: int = 53) -> Message:
    read = dns.datagram(raw, src, dst)
    assert read is not None
    assert not read.answer
    (message,) = read.messages
    return message


def header(flags: int, *counts: int) -> bytes:
    return b"\0\7" + b"".join(n.to_bytes(2, "big") for n in (flags, *counts))


def asking(name: bytes) -> bytes:
    return header(0, 1, 0, 0, 0) + name + b"\0\1\0\1"


@pytest.mark.parametrize(("port", "protocol"), [(53, "dns"), (5353, "mdns"), (5355, "llmnr")])
def test_a_query_is_a_lookup(port: int, protocol: str) -> None:
    assert only(QUERY, dst=port) == Message(protocol, "query", Operation.LOOKUP, "www.example.com A")


def test_one_message_per_question() -> None:
    raw = header(0, 2, 0, 0, 0) + EXAMPLE + b"\0\x1c\0\1" + b"\1a\xc0\x0c" + b"\xff\0\0\3"
    read = dns.datagram(raw, 5353, 5353)
    assert read is not None
    assert [m.resource for m in read.messages] == ["example.com AAAA", "a.example.com TYPE65280"]
    assert read.messages[1].detail == {"class": 3}


def test_asking_for_a_unicast_answer_is_no_other_class() -> None:
    assert only(header(0, 1, 0, 0, 0) + EXAMPLE + b"\0\1\x80\1", dst=5353).detail == {}


@pytest.mark.parametrize(
    ("label", "text"),
    [
        (b"A-b_C", "a-b_c"),
        (b"v1.0", "v1\\.0"),
        (b"a\\", "a\\\\"),
        (b"\xff", "\\xff"),
        ("KÜche 1".encode(), "kÜche 1"),  # only ASCII has two cases, RFC 6762 section 16
    ],
)
def test_labels_stay_unambiguous(label: bytes, text: str) -> None:
    assert only(asking(bytes([len(label)]) + label + b"\5local\0")).resource == f"{text}.local A"


def test_the_root() -> None:
    assert only(asking(b"\0")).resource == ". A"


def test_a_query_without_question_is_still_a_message() -> None:
    assert only(header(0, 0, 0, 0, 0)) == Message("dns", "query", Operation.LOOKUP, "")


def test_update_and_notify() -> None:
    update = (
        header(0x2800, 1, 0, 1, 0) + EXAMPLE + b"\0\6\0\1" + b"\1h\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\0\0\1"
    )
    assert only(update) == Message("dns", "update", Operation.WRITE, "h.example.com A")
    notify = header(0x2400, 1, 0, 0, 0) + EXAMPLE + b"\0\6\0\1"
    assert only(notify) == Message("dns", "notify", Operation.NOTIFY, "example.com SOA")


RESPONSE = (
    header(0x8180, 1, 3, 0, 0)
    + b"\3WWW" + EXAMPLE + b"\0\1\0\1"  # the name is at 12, example.com at 16
    + b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\4\1w\xc0\x10"  # www CNAME w, 60 seconds; w at 45
    + b"\xc0\x2d\0\1\0\1\0\0\1\0\0\4\x0a\0\0\1"  # w A 10.0.0.1, 256 seconds
    + b"\1x\xc0\x10\0\1\0\1\0\0\1\0\0\4\x0a\0\0\2"  # x A: nobody asked
)  # fmt: skip


def test_a_response_is_an_answer() -> None:
    assert dns.datagram(RESPONSE, 53, 40000) == Datagram((), answer=True)
    assert dns.datagram(RESPONSE, 5355, 40000) == Datagram((), answer=True)


def test_addresses_belong_to_the_name_asked_for() -> None:
    assert dns.answers(RESPONSE) == (("www.example.com", "10.0.0.1", 60),)


def test_aliases_in_a_circle_end() -> None:
    raw = header(0x8180, 1, 1, 0, 0) + EXAMPLE + b"\0\1\0\1" + b"\xc0\x0c\0\5\0\1\0\0\0\x3c\0\2\xc0\x0c"
    assert dns.answers(raw) == ()


def test_neither_queries_nor_errors_have_answers() -> None:
    assert dns.answers(QUERY) == ()
    assert dns.answers(b"\0\7\x81\x83" + RESPONSE[4:]) == ()
    assert dns.announcements(QUERY) == ()


def test_mdns_announcement_as_zeroconf_writes_it() -> None:
    out = DNSOutgoing(0x8400)
    kind = "_http._tcp.local."
    out.add_answer_at_time(DNSPointer(kind, 12, 1, 4500, "Kitchen v1.0." + kind), 0)
    out.add_additional_answer(DNSService("Kitchen." + kind, 33, 0x8001, 120, 0, 0, 8080, "Box.local."))
    out.add_additional_answer(DNSService("Gone." + kind, 33, 0x8001, 0, 0, 0, 8080, "Box.local."))
    (raw,) = out.packets()
    read = dns.datagram(raw, 5353, 5353)
    assert read is not None
    assert not read.answer
    (message,) = read.messages
    assert (message.protocol, message.verb, message.operation) == ("mdns", "response", Operation.ANNOUNCE)
    assert message.resource == "_http._tcp.local PTR"
    assert dns.announcements(raw) == (dns.Announcement("Kitchen", "_http._tcp.local", 8080, "box.local"),)
    legacy = dns.datagram(raw, 5353, 40000)
    assert legacy is not None
    assert legacy.answer


def test_mdns_query_as_zeroconf_writes_it() -> None:
    out = DNSOutgoing(0)
    out.add_question(DNSQuestion("_hap._tcp.local.", 12, 1))
    out.add_question(DNSQuestion("a._hap._tcp.local.", 33, 0x8001))
    read = dns.datagram(out.packets()[0], 5353, 5353)
    assert read is not None
    assert [m.resource for m in read.messages] == ["_hap._tcp.local PTR", "a._hap._tcp.local SRV"]


def test_the_receivers_port_says_what_a_request_is() -> None:
    assert only(QUERY, 5353, 53).protocol == "dns"
    assert only(QUERY, 53, 5353).protocol == "mdns"


BROKEN = [
    b"",
    QUERY[:11],
    QUERY[:-1],
    QUERY + b"\0",
    header(0, 1, 0, 0, 0),
    asking(b"\xc0\x0c"),  # to itself
    asking(b"\1a\xc0\x0c"),
    asking(b"\xc0\x20"),  # forward
    asking(b"\xc0\0"),  # into the header
    asking(b"\x40"),
    asking(b"\x80a\0"),
    asking(b"\x3fa\0"),
    asking((b"\x3f" + b"a" * 63) * 4 + b"\0"),  # 257 bytes
    header(0, 0, 1, 0, 0) + b"\0\0\1\0\1\0\0\0\0\0\4\1\2\3",
    header(0, 0, 1, 0, 0) + b"\0\0\1\0\1",
]


@pytest.mark.parametrize("raw", BROKEN)
def test_broken_messages_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="dns"):
        dns.datagram(raw, 40000, 53)
    assert dns.datagram(raw, 40000, 40001) is None


def test_wrong_data_is_malformed_for_those_who_read_it() -> None:
    raw = header(0x8180, 0, 1, 0, 0) + b"\1a\0\0\1\0\1\0\0\0\0\0\3abc"
    with pytest.raises(Malformed):
        dns.answers(raw)
    raw = header(0x8400, 0, 1, 0, 0) + b"\1a\2_x\0\0\x21\0\1\0\0\0\1\0\6abcdef"
    with pytest.raises(Malformed):
        dns.announcements(raw)
    with pytest.raises(Malformed):
        dns.datagram(header(0x2400, 0, 0, 0, 0), 5353, 5353)


def test_names_made_of_pointers_cost_no_more_than_they_are_long() -> None:
    raw = header(0x8000, 1, 1300, 0, 0) + b"\1a\0\0\1\0\1"
    target = 12
    for _ in range(1300):  # each name is a pointer to the one before
        pointer = (0xC000 | target).to_bytes(2, "big")
        target = len(raw)
        raw += pointer + b"\0\x63\0\1\0\0\0\0\0\0"
    started = process_time()
    assert dns.datagram(raw, 53, 40000) == Datagram((), answer=True)
    assert process_time() - started < 0.1


def test_on_another_port_by_content() -> None:
    assert only(QUERY, dst=5300).protocol == "dns"
    assert dns.datagram(RESPONSE, 5300, 40000) == Datagram((), answer=True)
    assert dns.datagram(QUERY + b"\0", 40000, 5300) is None
    assert dns.datagram(b"\x16\xfe\xfd" + bytes(40), 40000, 5300) is None


def framed(*messages: bytes) -> bytes:
    return b"".join(len(message).to_bytes(2, "big") + message for message in messages)


def test_requests_over_tcp_split_anywhere() -> None:
    raw = framed(QUERY, asking(EXAMPLE))
    ends = [0, 2 + len(QUERY), len(raw)]
    for cut in range(len(raw) + 1):
        stream = dns.DnsStream()
        first, second = stream.feed(raw[:cut]), stream.feed(raw[cut:])
        assert [m.resource for m in first.messages + second.messages] == [
            "www.example.com A",
            "example.com A",
        ]
        assert first.released == max(end for end in ends if end <= cut)
        assert second.released == len(raw)


@pytest.mark.parametrize("raw", [framed(RESPONSE), framed(QUERY + b"\0"), framed(b"abc")])
def test_broken_streams_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="dns"):
        dns.DnsStream().feed(raw)


@pytest.mark.parametrize(
    ("raw", "port", "expected"),
    [
        (b"", 53, None),
        (framed(QUERY)[:10], 53, None),
        (framed(QUERY)[:14], 53, True),
        (framed(QUERY)[:14], 5300, None),
        (framed(QUERY), 5300, True),
        (framed(RESPONSE), 53, False),
        (b"GET / HTTP/1.1\r\n\r\n", 5300, False),
        (b"\0\3abcdefghijklmn", 53, False),
    ],
)
def test_recognised_by_header(raw: bytes, port: int, expected: bool | None) -> None:
    assert dns.DnsStream.recognise(raw, port) is expected


NAME = st.lists(st.text("abcXYZ019-_", min_size=1, max_size=20), min_size=1, max_size=6).map(".".join)


@given(st.lists(NAME, min_size=1, max_size=4), st.sampled_from(["A", "AAAA", "SRV", "TXT", "PTR"]))
def test_reads_what_scapy_writes(names: list[str], kind: str) -> None:
    raw = bytes(DNS(qd=[DNSQR(qname=name, qtype=kind) for name in names]))
    read = dns.datagram(raw, 40000, 53)
    assert read is not None
    assert [m.resource for m in read.messages] == [f"{name.lower()} {kind}" for name in names]


@given(NAME, st.lists(st.ip_addresses(), min_size=1, max_size=4), st.integers(0, 2**31 - 1))
def test_addresses_that_scapy_writes(name: str, addresses: list[object], ttl: int) -> None:
    texts = [str(address) for address in addresses]
    raw = bytes(
        DNS(
            qr=1,
            qd=DNSQR(qname=name),
            an=[
                DNSRR(rrname=name, type="AAAA" if ":" in text else "A", ttl=ttl, rdata=text) for text in texts
            ],
        )
    )
    assert dns.answers(raw) == tuple((name.lower(), str(ip_address(text)), ttl) for text in texts)


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(lambda rest: RESPONSE[:40] + rest)))
def test_any_bytes_are_read_or_malformed(raw: bytes) -> None:
    dns.datagram(raw, 40000, 40001)
    dns.DnsStream.recognise(raw, 40001)
    for read in (dns.answers, dns.announcements, dns.DnsStream().feed):
        try:
            read(raw)
            dns.datagram(raw, 5353, 5353)
        except Malformed:
            continue


@pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures in {CAPTURES}")
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize(
    "name",
    ["dns53", "dns__hinfo", "dns-svcb", "dns-https", "dns__dynamic-update", "dns__naptr",
     "dns__long-connection", "dns_original_case", "dnssec__nsec3", "dns__mdns", "dns__mdns-no-assoc"],
)  # fmt: skip
def test_agrees_with_tshark(name: str) -> None:
    (path,) = CAPTURES.glob(f"*dns/*__Traces__{name}.pcap")
    printed = subprocess.run(
        ["tshark", "-r", path, "-Y", "udp && (dns || mdns || llmnr) && !icmp", "-T", "fields", "-E",
         "separator=;", "-E", "aggregator=|", *[
             word for field in ("udp.srcport", "udp.dstport", "udp.payload", "dns.flags.response",
                                "dns.flags.opcode", "dns.count.answers", "dns.qry.name", "dns.qry.type",
                                "dns.resp.name", "dns.resp.type", "dns.a")
             for word in ("-e", field)
         ]],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    seen = 0
    for line in printed.splitlines():
        src, dst, payload, response, opcode, count, names, types, owners, kinds, addresses = line.split(";")
        read = dns.datagram(bytes.fromhex(payload), int(src), int(dst))
        assert read is not None
        seen += 1
        if int(opcode) == 5:
            continue
        if response in ("0", "False"):
            wanted = list(zip(names.split("|"), types.split("|"), strict=True))
        elif "5353" in (src, dst):
            wanted = list(zip(owners.split("|"), kinds.split("|"), strict=False))[: int(count)]
        else:
            assert read.answer
            found = {address for _, address, _ in dns.answers(bytes.fromhex(payload))}
            assert found <= set(addresses.split("|")) or ":" in str(found)
            continue
        expected = Counter(
            f"{owner.lower().replace('<root>', '.')} {dns._TYPES.get(int(kind), kind)}"
            for owner, kind in wanted
            if owner
        )
        assert Counter(message.resource for message in read.messages if message.resource) == expected
    assert seen


def test_netbios_names_are_not_dns() -> None:
    name = b"\x20FHEPFCELFDFEEBFEEJEPEOCACACACAAA\0"
    query = bytes.fromhex("1234 0110 0001 0000 0000 0000") + name + bytes.fromhex("0020 0001")
    assert dns.datagram(query, 137, 137) is None
