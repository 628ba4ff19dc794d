from contextlib import suppress
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi import ssdp
from controller.dpi.dissector import Datagram
from controller.dpi.message import Malformed, Message, Operation

SEARCH = (
    b'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 1\r\n'
    b"ST: urn:dial-multiscreen-org:service:dial:1\r\nUSER-AGENT: Linux/5.4 UPnP/2.0 Remote/1.2\r\n\r\n"
)
NOTIFY = (
    b"NOTIFY * HTTP/1.1 \r\nHOST:239.255.255.250:1900\r\nCACHE-CONTROL:max-age=1800\r\n"
    b"LOCATION:http://192.168.1.8/d.xml\r\nNT:upnp:rootdevice\r\nNTS:ssdp:alive\r\n"
    b"SERVER:Linux/2.6, UPnP/1.0, Portable SDK for UPnP devices/1.6.6\r\nUSN:uuid:1::upnp:rootdevice\r\n\r\n"
)
FOUND = (
    b"HTTP/1.1 200 OK\r\nEXT:\r\nSERVER:UPnP/1.0 BLR-TX4S/1.0\r\nST: upnp:rootdevice\r\nUSN: uuid:1\r\n\r\n"
)


def test_search_is_a_lookup() -> None:
    assert ssdp.datagram(SEARCH, 40000, 1900) == Datagram(
        (Message("ssdp", "M-SEARCH", Operation.LOOKUP, "urn:dial-multiscreen-org:service:dial:1", "Remote"),)
    )


def test_notify_is_an_announcement() -> None:
    detail = {"nts": "ssdp:alive", "usn": "uuid:1::upnp:rootdevice", "location": "http://192.168.1.8/d.xml"}
    maker = "Portable SDK for UPnP devices"
    assert ssdp.datagram(NOTIFY, 1900, 1900) == Datagram(
        (Message("ssdp", "NOTIFY", Operation.ANNOUNCE, "upnp:rootdevice", maker, detail=detail),)
    )


@pytest.mark.parametrize("ports", [(1900, 40000), (50000, 40000)])
def test_response_is_an_answer_also_from_another_port(ports: tuple[int, int]) -> None:
    assert ssdp.datagram(FOUND, *ports) == Datagram(
        (
            Message(
                "ssdp",
                "response",
                Operation.ANNOUNCE,
                "upnp:rootdevice",
                "BLR-TX4S",
                detail={"usn": "uuid:1"},
            ),
        ),
        answer=True,
    )


@pytest.mark.parametrize(
    ("agent", "product"),
    [
        (b"Google Chrome/63.0.3239.84 Windows", "Google Chrome"),
        (b"Microsoft-WinCE/6.00 UPnP/1.0 UPnP-Device-Host/1.0", "UPnP-Device-Host"),
        (b"gssdp/1.0", "gssdp"),
        (b"\xff/1", "\\xff"),
        (b"", None),
    ],
)
def test_identity_is_the_product(agent: bytes, product: str | None) -> None:
    read = ssdp.datagram(
        b"M-SEARCH * HTTP/1.1\r\nST: ssdp:all\r\nUser-Agent: " + agent + b"\r\n\r\n", 9, 1900
    )
    assert read is not None
    assert read.messages[0].identity == product


def test_lines_may_end_in_lf_and_the_last_be_missing() -> None:
    read = ssdp.datagram(b"M-SEARCH * HTTP/1.1\nST:ssdp:all", 9, 1900)
    assert read is not None
    assert read.messages[0].resource == "ssdp:all"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"M-SEARCH / HTTP/1.1\r\nST: a\r\n\r\n",
        b"M-SEARCH * HTTP/1.1",
        b"M-SEARCH * HTTP/1.1\r\n\r\n",
        b"M-SEARCH * HTTP/1.1\r\nNT: a\r\n\r\n",
        b"M-SEARCH * HTTP/1.1\r\nST: \r\n\r\n",
        b"M-SEARCH * HTTP/1.1\r\nST: a\r\nst: b\r\n\r\n",
        b"M-SEARCH * HTTP/1.1\r\nST: a\r\n b\r\n\r\n",
        b"M-SEARCH * HTTP/1.1\r\nST: a\rNT: b\r\n\r\n",
        b"M-SEARCH * HTTP/1.1\r\nST a\r\n\r\n",
        b"M-SEARCH * HTTP/1.1 x\r\nST: a\r\n\r\n",
        b"NOTIFY * HTTP/1.1\r\nST: a\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nST: a\r\n\r\n",
        b"M-SEARCH * HTTP/1.1\r\nST: a\r\n" + b"".join(b"X%d: 1\r\n" % i for i in range(70)) + b"\r\n",
    ],
)
def test_broken_messages_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="ssdp"):
        ssdp.datagram(raw, 40000, 1900)


def test_on_another_port_only_by_its_first_line() -> None:
    assert ssdp.datagram(b"hello", 40000, 40001) is None
    assert ssdp.datagram(SEARCH, 40000, 40001) is not None


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200" + b" " * 60000,
        b"M-SEARCH * HTTP/1.1" + b" \t" * 30000,
        b"M-SEARCH * HTTP/1.1\r\nST:" + b" " * 60000 + b"\0\r\n",
        b"M-SEARCH * HTTP/1.1\r\nST: a\r\nUSER-AGENT: " + b"UPnP/1" * 10000 + b"\r\n",
        b"M-SEARCH * HTTP/1.1\r\nST: a\r\nUSER-AGENT: " + b"UPnP/1 /" * 8000 + b"\r\n",
    ],
)
def test_no_text_takes_long(raw: bytes) -> None:
    started = process_time()
    with suppress(Malformed):
        ssdp.datagram(raw, 40000, 1900)
    assert process_time() - started < 0.2


@given(
    st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda rest: SEARCH[:21] + b"ST:" + rest))
)
def test_any_bytes_are_read_or_malformed(raw: bytes) -> None:
    try:
        ssdp.datagram(raw, 40000, 1900)
        ssdp.datagram(raw, 40000, 40001)
    except Malformed:
        return
