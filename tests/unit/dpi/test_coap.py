from pathlib import Path

import aiocoap
import pytest
from aiocoap.numbers.codes import Code
from aiocoap.transports.tcp import _serialize
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi import coap
from controller.dpi.dissector import Datagram
from controller.dpi.message import Malformed, Message, Operation
from tests.unit.dpi.captures import crafted, messages, needs_tshark, tshark
from tests.unit.dpi.frames import ACK, SYN, tcp, udp


def only(raw: str | bytes) -> Message:
    read = coap.datagram(bytes.fromhex(raw) if isinstance(raw, str) else raw, 40000, 5683)
    assert read is not None
    assert not read.answer
    (message,) = read.messages
    return message


def test_get() -> None:
    # CON, no token, GET, id 1234, Uri-Path "light", Uri-Path "1", Uri-Query "a=b", Uri-Query "c"
    message = only("40011234 b56c69676874 0131 43613d62 0163")
    assert message == Message(
        "coap", "GET", Operation.READ, "/light/1", detail={"token_length": 0, "query": "a=b&c"}
    )


@pytest.mark.parametrize(
    ("code", "verb", "operation"),
    [
        (1, "GET", Operation.READ),
        (2, "POST", Operation.EXECUTE),
        (3, "PUT", Operation.WRITE),
        (4, "DELETE", Operation.DELETE),
        (5, "FETCH", Operation.READ),
        (6, "PATCH", Operation.WRITE),
        (7, "iPATCH", Operation.WRITE),
        (30, "0.30", Operation.EXECUTE),
    ],
)
def test_methods(code: int, verb: str, operation: Operation) -> None:
    message = only(bytes([0x51, code, 0, 1, 0xAA]) + b"\xb1x\xffpayload")
    assert (message.verb, message.operation, message.resource) == (verb, operation, "/x")
    assert message.detail == {"token_length": 1}


@pytest.mark.parametrize(
    ("options", "operation"),
    [
        ("60 51 78", Operation.SUBSCRIBE),
        ("61 00 51 78", Operation.SUBSCRIBE),
        ("61 01 51 78", Operation.UNSUBSCRIBE),
        ("61 02 51 78", Operation.READ),
        ("61 01 01 00 51 78", Operation.UNSUBSCRIBE),  # the second one counts for nothing
    ],
)
@pytest.mark.parametrize("code", ["01", "05"])
def test_observe(code: str, options: str, operation: Operation) -> None:
    assert only(f"40 {code} 0001" + options).operation is operation


def test_blocks_are_told_as_rfc_7959_writes_them() -> None:
    # Uri-Path "x", Block1 of one byte, Block2 of two, then Block1 with three
    assert only("40 03 0001 b178 d103 1a").detail["block1"] == "1/1/64"
    assert only("40 01 0001 b178 c2 0106").detail["block2"] == "16/0/1024"
    assert only("40 01 0001 b178 c0").detail["block2"] == "0/0/16"
    with pytest.raises(Malformed):
        only("40 01 0001 b178 c4 00000000")


def test_put_with_observe_is_still_a_write() -> None:
    assert only("40 03 0001 60 51 78").operation is Operation.WRITE


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ([], "/"),
        ([b"a", b"b"], "/a/b"),
        ([b"a/b"], "/a%2Fb"),
        ([b"a%2Fb"], "/a%252Fb"),
        ([b"", b"a"], "//a"),
        ([b"\xff"], "/\\xff"),
        ([b"\\xff"], "/%5Cxff"),
        ([b"\xff/"], "/\\xff%2F"),
        ([b"\n"], "/%0A"),
        (["küche".encode()], "/küche"),
        (["kü/che".encode()], "/kü%2Fche"),
    ],
)
def test_paths_stay_unambiguous(parts: list[bytes], path: str) -> None:
    raw = b"\x40\1\0\1"
    for index, part in enumerate(parts):
        raw += bytes([(0 if index else 0xB0) | len(part)]) + part
    assert only(raw).resource == path


def test_what_a_proxy_shall_fetch_is_the_resource() -> None:
    uri = b"coap://h/x"
    assert only(b"\x40\1\0\1" + b"\xb1a" + b"\xda\x0b" + uri).resource == "coap://h/x"
    assert only(b"\x40\1\0\1" + b"\x31h" + b"\x81a" + b"\xd4\x0fhttp").resource == "http://h/a"


@pytest.mark.parametrize("raw", ["60000001", "70000001", "60451234ff31", "5245000112 34c0", "6084 0001"])
def test_responses_and_empty_acknowledgements_are_answers(raw: str) -> None:
    assert coap.datagram(bytes.fromhex(raw), 5683, 40000) == Datagram((), answer=True)


def test_ping() -> None:
    assert only("40000001") == Message("coap", "ping", Operation.LOOKUP, "")


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "400112",
        "00010001",  # version 0
        "49010001 010203040506070809",  # token of nine bytes
        "42010001 01",  # token cut short
        "40000001 00",  # empty, but not
        "41000001 00",
        "50000001",  # non-confirmable and empty
        "60010001",  # request in an acknowledgement
        "70450001",  # response in a reset
        "40200001",  # class 1
        "40e00001",  # class 7: signalling, only over TCP
        "40010001 ff",  # payload marker without payload
        "40010001 b5 61",  # option longer than the message
        "40010001 f0",
        "40010001 0f",
        "40010001 d0",
        "40010001 e000",
        "40010001 0d",
        "40010001 0e00",
        "40010001 6400000000",  # Observe of four bytes
        "40010001 b12e",  # "."
        "40010001 b22e2e",  # ".."
        "40010001 be0000" + "61" * 269,  # Uri-Path of more than 255 bytes
        "40010001 3161 0162",  # Uri-Host, Proxy-Uri and Proxy-Scheme twice: servers take one or the other
        "40010001 d11661 0162",
        "40010001 d11a61 0162",
    ],
)
def test_broken_messages_are_malformed(raw: str) -> None:
    with pytest.raises(Malformed, match="coap"):
        coap.datagram(bytes.fromhex(raw), 40000, 5683)
    assert coap.datagram(bytes.fromhex(raw), 40000, 40001) is None


@pytest.mark.parametrize("raw", ["40010001 b178", "60000001", "40000001", "61450001aa ff31"])
def test_on_another_port_by_content(raw: str) -> None:
    data = bytes.fromhex(raw)
    assert coap.datagram(data, 40000, 61616) == coap.datagram(data, 40000, 5683)


@pytest.mark.parametrize(
    "raw",
    [
        "40010001",  # "/": too short to be sure
        "40080001 b178",  # no such method
        "40010001 b1ff",
        "40010001 b178 d180 00",  # no such option
        "60450001 ff31",  # a response without token
        "614a0001aa ff31",  # no such response
        "80010001 b178",
    ],
)
def test_on_another_port_in_doubt_it_is_something_else(raw: str) -> None:
    assert coap.datagram(bytes.fromhex(raw), 40000, 61616) is None


METHODS = [Code.GET, Code.POST, Code.PUT, Code.DELETE, Code.FETCH, Code.PATCH, Code.iPATCH]
NAME = st.text("abcé /%?&ü.0", min_size=1, max_size=40).filter(lambda name: name not in (".", ".."))


@given(
    st.sampled_from(METHODS), st.lists(NAME, max_size=5), st.lists(NAME, max_size=3),
    st.sampled_from([None, 0, 1]), st.binary(max_size=8), st.binary(max_size=20),
)  # fmt: skip
def test_reads_what_aiocoap_writes(
    code: Code, path: list[str], query: list[str], observe: int | None, token: bytes, payload: bytes
) -> None:
    written = aiocoap.Message(code=code, payload=payload, _mid=7, _mtype=aiocoap.CON, _token=token)
    written.opt.uri_path = tuple(path)
    written.opt.uri_query = tuple(query)
    if observe is not None:
        written.opt.observe = observe
    message = only(written.encode())
    assert message.verb == ("iPATCH" if code is Code.iPATCH else code.name)
    escaped = [part.replace("%", "%25").replace("/", "%2F") for part in path]
    assert message.resource == "/" + "/".join(escaped)
    assert message.detail.get("query", "") == "&".join(query)
    assert message.detail["token_length"] == len(token)
    if code in (Code.GET, Code.FETCH) and observe is not None:
        assert message.operation is (Operation.UNSUBSCRIBE if observe else Operation.SUBSCRIBE)


@needs_tshark
def test_agrees_with_tshark(tmp_path: Path) -> None:
    """Every method over UDP and over TCP, with tokens, blocks and bodies of many sizes."""
    hello = bytes.fromhex("30e1 220480")  # capabilities
    frames = [tcp(0, b"", SYN, ack=0, port=5683), tcp(4999, b"", SYN | ACK, ack=1, port=5683, back=True)]
    frames.append(tcp(1, hello, port=5683))
    seq = 1 + len(hello)
    for number, code in enumerate(METHODS):
        asked = aiocoap.Message(code=code, payload=b"x" * number, _token=b"t" * number)
        asked.opt.uri_path, asked.opt.uri_query = ("lamp", "x" * 14 * number), ("a=b", "c" * 270)
        asked.opt.observe, asked.opt.block2 = number % 2, (number * 16, False, number)
        over_tcp = _serialize(asked)
        frames.append(tcp(seq, over_tcp, port=5683))
        seq += len(over_tcp)
        asked.mtype, asked.mid = aiocoap.CON, number
        frames.append(udp(asked.encode(), 40000, 5683))
    path = crafted(tmp_path / "coap.pcap", *frames)
    fields = ("coap.code", "coap.opt.uri_path_recon", "coap.opt.block_number")
    theirs = [
        (number, METHODS[int(code) - 1].name, resource, block)
        for number, ((code,), (resource,), (block,)) in tshark(path, "coap.code < 32", *fields)
    ]
    mine = [
        (number, m.verb, m.resource.rstrip("/"), str(m.detail["block2"]).split("/")[0])
        for number, m in messages(path)
        if m.verb != "CSM"
    ]
    assert len(theirs) == 2 * len(METHODS)
    assert mine == [(n, verb, resource.rstrip("/"), block) for n, verb, resource, block in theirs]


@given(st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda rest: b"\x41\1\0\1t" + rest)))
def test_any_bytes_are_read_or_malformed(raw: bytes) -> None:
    coap.datagram(raw, 40000, 40001)
    try:
        coap.datagram(raw, 40000, 5683)
    except Malformed:
        return
