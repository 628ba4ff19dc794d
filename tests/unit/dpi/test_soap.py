from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi.message import Malformed, Message, Operation
from controller.dpi.registry import open_stream
from tests.unit.dpi.captures import crafted, needs_tshark, ours, tshark
from tests.unit.dpi.frames import tcp

SWITCH: Final = "urn:schemas-upnp-org:service:SwitchPower:1"
SOAP_11: Final = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12: Final = "http://www.w3.org/2003/05/soap-envelope"


def envelope(content: str, version: str = SOAP_11, start: str = '<?xml version="1.0"?>') -> bytes:
    return f'{start}<s:Envelope xmlns:s="{version}"><s:Body>{content}</s:Body></s:Envelope>'.encode()


def action(name: str = "SetTarget", namespace: str = SWITCH) -> str:
    return f'<u:{name} xmlns:u="{namespace}"><newTargetValue>1</newTargetValue></u:{name}>'


def post(body: bytes, *fields: str, method: str = "POST") -> bytes:
    head = (f"{method} /upnp/control/switch?x=1 HTTP/1.1", "Host: lamp:8080", "User-Agent: hub/1.0", *fields)
    return "\r\n".join((*head, f"Content-Length: {len(body)}", "", "")).encode() + body


def said(raw: bytes) -> Message:
    fed = open_stream(8080).feed(raw)
    assert fed.released == len(raw)
    (message,) = fed.messages
    return message


SET: Final = post(
    envelope(action()), f'SOAPACTION: "{SWITCH}#SetTarget"', 'Content-Type: text/xml; charset="utf-8"'
)


def test_an_action_of_upnp() -> None:
    found = said(SET)
    assert (found.protocol, found.verb, found.operation) == ("soap", "SetTarget", Operation.EXECUTE)
    assert (found.resource, found.identity) == (SWITCH, "hub")
    assert found.detail == {"host": "lamp:8080", "query": "x=1", "path": "/upnp/control/switch"}


@pytest.mark.parametrize(
    ("raw", "verb", "resource"),
    [
        (
            post(envelope(action()), f"01-SOAPACTION: {SWITCH}#SetTarget", method="M-POST"),
            "SetTarget",
            SWITCH,
        ),
        (post(envelope(action()), 'SOAPACTION: ""'), "SetTarget", SWITCH),
        (
            post(envelope(action("Add", "http://x.org/")), 'SOAPAction: "http://x.org/ICalc/Add"'),
            "Add",
            "http://x.org/ICalc/Add",
        ),
        (
            post(
                envelope('<GetSystemDateAndTime xmlns="http://www.onvif.org/ver10/device/wsdl"/>', SOAP_12),
                "Content-Type: application/soap+xml; charset=utf-8",
            ),
            "GetSystemDateAndTime",
            "http://www.onvif.org/ver10/device/wsdl",
        ),
        (
            post(envelope(action(), SOAP_12), 'Content-Type: application/soap+xml; Action="urn:other"; q=1'),
            "SetTarget",
            "urn:other",
        ),
        (post(envelope("<x/>"), "SOAPACTION: "), "x", ""),
        (post(envelope(action()).decode().encode("utf-8-sig"), 'SOAPACTION: ""'), "SetTarget", SWITCH),
        (post(envelope(action("x", "a\\b")), 'SOAPACTION: ""'), "x", "a\\\\b"),
    ],
)
def test_other_forms(raw: bytes, verb: str, resource: str) -> None:
    found = said(raw)
    assert (found.protocol, found.verb, found.resource) == ("soap", verb, resource)


@pytest.mark.parametrize(
    "raw",
    [
        post(envelope(action("GetStatus")), f'SOAPACTION: "{SWITCH}#SetTarget"'),
        post(envelope(action(namespace="urn:other")), f'SOAPACTION: "{SWITCH}#SetTarget"'),
        post(envelope(action()), f"SOAPACTION: {SWITCH}#SetTarget", f"01-SOAPACTION: {SWITCH}#GetStatus"),
        post(envelope(action()), "SOAPACTION: urn:a", "Content-Type: application/soap+xml; action=urn:b"),
        post(envelope(action()), "Content-Type: application/soap+xml;action=urn:a;action=urn:b"),
        post(envelope(action() + action("GetStatus")), 'SOAPACTION: ""'),
        post(envelope("no action"), 'SOAPACTION: ""'),
        post(envelope(f"{action()}</s:Body><s:Body>{action('GetStatus')}"), 'SOAPACTION: ""'),
        post(envelope(action(), "urn:no-envelope"), 'SOAPACTION: ""'),
        post(envelope(action())[:-3], 'SOAPACTION: ""'),
        post(envelope(action(), start='<!DOCTYPE a [<!ENTITY b "c">]>'), 'SOAPACTION: ""'),
        post(envelope("<a>" * 80 + "</a>" * 80), 'SOAPACTION: ""'),
        post(envelope("<x>" + "<a/>" * 5000 + "</x>"), 'SOAPACTION: ""'),
        post(envelope(action()), 'SOAPACTION: ""', "Content-Encoding: gzip"),
        post(envelope(action(), start='<?xml version="1.0" encoding="x-none"?>'), 'SOAPACTION: ""'),
        post(envelope(action("x", "a&#10;b")), 'SOAPACTION: ""'),
        post(envelope(action("x" * 300)), 'SOAPACTION: ""'),
        post(b"{}", 'SOAPACTION: ""'),
        post(b"", 'SOAPACTION: ""'),
    ],
)
def test_what_services_could_read_differently_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="soap"):
        open_stream(8080).feed(raw)


def test_other_posts_stay_http() -> None:
    assert said(post(envelope(action()), "Content-Type: text/xml")).protocol == "http"
    assert said(post(b"", "SOAPACTION: x", method="GET")).protocol == "http"


STREAMS: Final = ((8080, SET * 2),)


@given(st.binary(max_size=60), st.integers(0, 200))
def test_any_body_is_read_or_malformed(junk: bytes, at: int) -> None:
    whole = envelope(action())
    try:
        said(post(whole[:at] + junk + whole[at:], 'SOAPACTION: ""'))
    except Malformed:
        return


@needs_tshark
def test_agrees_with_tshark(tmp_path: Path) -> None:
    path = crafted(tmp_path / "soap.pcap", tcp(1, flags=2, port=8080), tcp(2, SET, port=8080))
    ((number, (actions, tags)),) = tshark(path, "http.request", "http.request.line", "xml.tag")
    (line,) = [line for line in actions if line.startswith("SOAPACTION")]
    service, _, verb = line.partition('"')[2].partition('"')[0].partition("#")
    assert dict(ours(path, "soap")) == {(number, verb, service): 1}
    assert any(verb in tag for tag in tags)
