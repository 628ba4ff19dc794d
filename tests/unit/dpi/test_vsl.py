import base64
import json
from collections.abc import Callable

import cbor2
import pytest

from controller.dpi.cbor import text_fields
from controller.dpi.message import Malformed, Message, Operation
from controller.dpi.registry import open_stream

JSON, CBOR = "application/json", "application/cbor"


def auth(identity: object) -> str:
    return "Authorization: VSL " + base64.b64encode(json.dumps(identity).encode()).decode() + "\r\n"


WASHING = auth({"serviceId": "washingmachine", "isKA": False})


def request(line: str, fields: str = "", body: bytes = b"", kind: str = JSON) -> bytes:
    head = f"{line} HTTP/1.1\r\nHost: 10.0.0.2:8081\r\n{fields}"
    if body:
        head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


def only(data: bytes) -> Message:
    (message,) = open_stream(8081).feed(data).messages
    return message


def said(data: bytes) -> tuple[str, str, Operation, str, str | None, str | None]:
    m = only(data)
    return m.protocol, m.verb, m.operation, m.resource, m.identity, m.service


def test_get() -> None:
    assert said(request("GET /vsl/agent1/light1/isOn?scope=VALUE", WASHING)) == (
        "vsl", "get", Operation.READ, "/agent1/light1/isOn", "washingmachine", "light1",
    )  # fmt: skip


def test_set() -> None:
    message = only(request("PUT /vsl/agent1/light1/isOn", WASHING, b'{"value":"1"}'))
    assert (message.verb, message.operation) == ("set", Operation.WRITE)


@pytest.mark.parametrize(("kind", "encode"), [(JSON, lambda b: json.dumps(b).encode()), (CBOR, cbor2.dumps)])
@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("SUBSCRIBE", Operation.SUBSCRIBE),
        ("UNSUBSCRIBE", Operation.UNSUBSCRIBE),
        ("NOTIFY", Operation.NOTIFY),
        ("LOCK_SUBTREE", Operation.LOCK),
        ("COMMIT_SUBTREE", Operation.COMMIT),
        ("ROLLBACK_SUBTREE", Operation.ROLLBACK),
        ("REGISTER_VIRTUAL_NODE", Operation.REGISTER),
        ("UNREGISTER_VIRTUAL_NODE", Operation.UNREGISTER),
        ("SOMETHING_NEW", Operation.EXECUTE),
    ],
)
def test_operation_stands_in_the_body(
    kind: str, encode: Callable[[object], bytes], operation: str, expected: Operation
) -> None:
    body = encode({"callbackId": "7f", "n": [1, {"x": None}], "operation": operation})
    message = only(request("POST /vsl/agent1/light1", WASHING, body, kind))
    assert (message.verb, message.operation) == (operation.lower(), expected)
    assert (message.resource, message.service) == ("/agent1/light1", "light1")


def test_nothing_is_released_before_the_body_is_there() -> None:
    data = request("POST /vsl/agent1/light1", WASHING, b'{"operation":"SUBSCRIBE"}')
    stream = open_stream(8081)
    before = stream.feed(data[:-1])
    assert (before.messages, before.released) == ((), 0)
    after = stream.feed(data[-1:])
    assert (len(after.messages), after.released) == (1, len(data))


def test_chunked_body_is_read_too() -> None:
    head = request("POST /vsl/agent1/light1", WASHING + "Transfer-Encoding: chunked\r\n")
    body = b'{"operation":"LOCK_SUBTREE"}'
    data = head + b"5\r\n" + body[:5] + b"\r\n%x\r\n" % len(body[5:]) + body[5:] + b"\r\n0\r\n\r\n"
    assert said(data)[1:3] == ("lock_subtree", Operation.LOCK)


@pytest.mark.parametrize(
    ("identity", "name"),
    [
        ({"serviceId": "a", "name": "b"}, "a"),
        ({"name": "b", "id": "c"}, "b"),
        ({"id": "c"}, "c"),
        ({"serviceId": 5}, None),
        ({}, None),
    ],
)
def test_caller_is_in_the_authorization(identity: object, name: str | None) -> None:
    assert only(request("GET /vsl/agent1/light1", auth(identity))).identity == name


def test_without_authorization_nobody_is_named() -> None:
    assert only(request("GET /vsl/agent1/light1")).identity is None
    assert only(request("GET /vsl/agent1/light1", "Authorization: Bearer x\r\n")).identity is None


def test_registration_of_services() -> None:
    body = json.dumps({"modelId": "/appliance/washing-machine", "modelHash": "1", "binaryHash": "2"}).encode()
    assert said(request("POST /service/register", WASHING, body))[:4] == (
        "vsl", "register_service", Operation.REGISTER, "/appliance/washing-machine",
    )  # fmt: skip
    assert said(request("POST /service/unregister", WASHING))[1:3] == (
        "unregister_service",
        Operation.UNREGISTER,
    )


def test_search_and_handshake() -> None:
    search = said(request("GET /vsl/search/type/energy/battery", WASHING))
    assert search == (
        "vsl",
        "search",
        Operation.LOOKUP,
        "/search/type/energy/battery",
        "washingmachine",
        None,
    )
    handshake = said(request("POST /ka/handshake", "", b'{"kaInfo":[],"newGroupKey":""}'))
    assert handshake[:3] == ("vsl", "handshake", Operation.CONNECT)


def test_callbacks() -> None:
    fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: v1.vsl.ds2os.org\r\n"
    assert said(request("GET /callbacks", WASHING + fields))[:4] == (
        "vsl", "callbacks", Operation.CONNECT, "/callbacks",
    )  # fmt: skip


@pytest.mark.parametrize(
    "path",
    [
        "/vsl/agent1/light1/../lock1/isOn",
        "/vsl/agent1/light1/%2e%2e/lock1/isOn",
        "/vsl/agent1%2Flock1/light1/isOn",
        "/vsl/agent1/light1%2f..%2flock1/isOn",
        "/vsl/agent1/light1%252F..%252Flock1/isOn",
        "/vsl//agent1/light1/isOn",
        "/vsl/agent1//light1/isOn",
        "/vsl/agent1/light1;x/isOn",
        "/vsl/agent1/light1\\isOn",
    ],
)
def test_address_that_names_one_service_here_and_another_there_is_malformed(path: str) -> None:
    with pytest.raises(Malformed):
        only(request(f"GET {path}", WASHING))


def test_disguised_prefix_is_vsl_too() -> None:
    assert said(request("GET /%76sl/agent1/%6cock/isOpen"))[3:] == ("/agent1/lock/isOpen", None, "lock")


def test_other_paths_are_plain_http() -> None:
    assert only(request("GET /index.html")).protocol == "http"
    assert only(request("POST /service/registers")).protocol == "http"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"{", JSON),
        (b"[]", JSON),
        (b"{}", JSON),
        (b'{"operation":7}', JSON),
        (b'{"operation":"LOCK_SUBTREE","operation":"NOTIFY"}', JSON),
        (b"[" * 60000, JSON),
        (b'{"a":' * 20000, JSON),
        (b'{"operation":"' + b"1" * 66000 + b'"}', JSON),
        ('{"operation":"NOTIFY"}'.encode("utf-16"), JSON),
        (b"\xa1", CBOR),
        (b"\xa2\x61a\x61b\x61a\x61c", CBOR),
        (cbor2.dumps({"operation": "NOTIFY"}) + b"\0", CBOR),
        (cbor2.dumps({"operation": "NOTIFY", b"operation": "LOCK_SUBTREE"}), CBOR),
        (cbor2.dumps({"operation": "NOTIFY", cbor2.CBORTag(55799, "operation"): "LOCK_SUBTREE"}), CBOR),
        (cbor2.dumps(["operation"]), CBOR),
        (b"\xbb" + b"\xff" * 8, CBOR),
        (b"\xa1\x61a" + b"\x9f" * 1000, CBOR),
        (cbor2.dumps({"operation": "NOTIFY"}), JSON),
    ],
)
def test_bodies_that_cannot_be_read_are_malformed(body: bytes, kind: str) -> None:
    with pytest.raises(Malformed):
        open_stream(8081).feed(request("POST /vsl/agent1/light1", WASHING, body, kind))


@pytest.mark.parametrize(
    "value", ["!", base64.b64encode(b"x").decode(), base64.b64encode(b"[]").decode(), ""]
)
def test_identity_that_cannot_be_read_is_malformed(value: str) -> None:
    with pytest.raises(Malformed):
        open_stream(8081).feed(request("GET /vsl/agent1/light1", f"Authorization: VSL {value}x\r\n"))


def test_compressed_body_is_malformed() -> None:
    data = request("POST /vsl/agent1/light1", "Content-Encoding: gzip\r\n", b'{"operation":"NOTIFY"}')
    with pytest.raises(Malformed):
        open_stream(8081).feed(data)


def test_other_forms_of_a_body_leave_the_operation_unknown() -> None:
    message = only(request("POST /vsl/agent1/light1", "", b"\x0a\x03abc", "application/x-protobuf-vsl"))
    assert (message.verb, message.operation) == ("post", Operation.EXECUTE)


def test_cbor_of_every_kind_is_walked() -> None:
    value = {"a": 1.5, "b": [1, -1, None, True, b"x" * 300, 2**70], "c": {"d": {}}, "e": "text"}
    assert text_fields(cbor2.dumps(value)) == {"a": None, "b": None, "c": None, "e": "text"}
    indefinite = bytes.fromhex("bf 6161 7f 6162 6163 ff 6164 9f 01 ff 6165 5f 4101 ff ff")
    assert text_fields(indefinite) == {"a": "bc", "d": None, "e": None}


def test_bodies_of_many_items_are_malformed() -> None:
    body = cbor2.dumps({"operation": "NOTIFY", "rest": [0] * 5000})
    with pytest.raises(Malformed, match="items"):
        open_stream(8081).feed(request("POST /vsl/agent1/a", body=body, kind=CBOR))
