"""In the middle of a long, allowed conversation something else is asked for."""

import contextlib
import socket
from collections.abc import Callable

import pytest

from tests.attacks.ground import (
    COAP,
    HTTP,
    IPV4,
    MODBUS,
    MQTT,
    Ground,
    coap_request,
    fresh,
    http_request,
    modbus_request,
    mqtt_connect,
    mqtt_publish,
    mqtt_subscribe,
)

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.attacks, pytest.mark.timeout(120)]


def talk(connection: socket.socket, *said: bytes) -> None:
    """Say each, and wait for an answer to it; whoever hangs up is done."""
    with contextlib.suppress(OSError):
        for words in said:
            connection.sendall(words)
            if not connection.recv(4096):
                return


def long_talk(ground: Ground, port: int, allowed: list[bytes], attack: bytes) -> Callable[[], None]:
    def act() -> None:
        with ground.attacker.tcp(IPV4["server"], port) as connection:
            for words in allowed:
                connection.sendall(words)
                assert connection.recv(4096), "the allowed part works"
            connection.settimeout(0.2)
            talk(connection, attack, attack)

    return act


PING = b"\xc0\0"
HELLO = [mqtt_connect("sensor"), *[mqtt_publish("garden/heat", b"21") + PING] * 20]


@pytest.mark.parametrize(
    ("name", "attack"),
    [
        ("MQTT: publish to another topic", lambda t: mqtt_publish("door/open", t)),
        (
            "MQTT: another topic behind an allowed one",
            lambda t: mqtt_publish("garden/heat", b"1") + mqtt_publish("door/open", t),
        ),
        (
            "MQTT: subscribe to everything",
            lambda t: mqtt_subscribe("#" + "") + mqtt_publish("x" + t.decode(), b""),
        ),
        (
            "MQTT: connect again under another name",
            lambda t: mqtt_connect("cockpit") + mqtt_publish("door/open", t),
        ),
        ("MQTT: longest length of a packet", lambda t: b"\x30\x89\x80\x80\x00" + b"\0\x09door/open" + t),
    ],
)
def test_mqtt_operation_change_arrives_nowhere(
    ground: Ground, name: str, attack: Callable[[bytes], bytes]
) -> None:
    token = fresh()
    ground.judged(name, long_talk(ground, MQTT, HELLO, attack(token)), token, what="after 20 publications")


@pytest.mark.parametrize(
    ("name", "attack"),
    [
        ("HTTP: another path", lambda t: http_request(f"/{t}")),
        (
            "HTTP: another method",
            lambda t: http_request("/known", "Content-Length: 0", f"X: {t}", method="DELETE"),
        ),
        (
            "HTTP: upgrade to another protocol",
            lambda t: (
                http_request("/known", "Connection: Upgrade", "Upgrade: h2c", f"X: {t}")
                + http_request(f"/{t}")
            ),
        ),
        ("HTTP: pipelined behind an allowed one", lambda t: http_request("/known") + http_request(f"/{t}")),
        ("HTTP: proxy request", lambda t: http_request(f"http://10.66.0.3/{t}")),
        ("HTTP: CONNECT", lambda t: http_request(f"{t}:443", method="CONNECT")),
        ("HTTP: path with dots", lambda t: http_request(f"/known/../{t}")),
        ("HTTP: path encoded", lambda t: http_request(f"/known%2f..%2f{t}")),
    ],
)
def test_http_operation_change_arrives_nowhere(
    ground: Ground, name: str, attack: Callable[[str], bytes]
) -> None:
    token = fresh()
    act = long_talk(ground, HTTP, [http_request("/known")] * 20, attack(token.decode()))
    ground.judged(name, act, token, what="after 20 GET")


@pytest.mark.parametrize(
    ("name", "attack"),
    [
        ("Modbus: write a coil", modbus_request(5, 0, 0xFF00)),
        ("Modbus: write a register", modbus_request(6, 0, 0x4D4D)),
        ("Modbus: write behind an allowed read", modbus_request(3, 0, 1) + modbus_request(6, 0, 0x4D4D)),
        ("Modbus: read what was not learnt", modbus_request(3, 8, 1)),
        ("Modbus: an unknown function", modbus_request(0x5A, 0, 1)),
    ],
)
def test_modbus_operation_change_arrives_nowhere(ground: Ground, name: str, attack: bytes) -> None:
    allowed = [modbus_request(3, 0, 1)] * 20
    ground.judged(name, long_talk(ground, MODBUS, allowed, attack), attack[-5:], what="after 20 reads")


@pytest.mark.parametrize(
    ("name", "method", "path"),
    [
        ("CoAP: write", 3, b"light"),
        ("CoAP: delete", 4, b"light"),
        ("CoAP: another resource", 1, b"door"),
        ("CoAP: read everything", 1, b""),
    ],
)
def test_coap_operation_change_arrives_nowhere(ground: Ground, name: str, method: int, path: bytes) -> None:
    token = fresh()[:8]

    def act() -> None:
        with ground.attacker.udp() as asking:
            for _ in range(20):
                asking.sendto(coap_request(1, b"light", fresh()[:8]), (IPV4["server"], COAP))
                assert asking.recv(1000)
            asking.sendto(coap_request(method, path, token), (IPV4["server"], COAP))

    ground.judged(name, act, token, what="after 20 reads")


def inner(token: str) -> str:
    return http_request(f"/{token}").decode()


def lines(*said: str) -> bytes:
    """A request as nobody should write it."""
    return "".join(said).encode()


CHUNKED = "Transfer-Encoding: chunked"
SMUGGLED: dict[str, Callable[[str], bytes]] = {
    "Content-Length twice": lambda t: http_request(
        "/known", "Content-Length: 0", f"Content-Length: {len(inner(t))}", body=inner(t)
    ),
    "Content-Length and chunked": lambda t: http_request(
        "/known", "Content-Length: 4", CHUNKED, body="0\r\n\r\n" + inner(t)
    ),
    "chunked twice": lambda t: http_request(
        "/known", CHUNKED, "Transfer-Encoding: identity", body="0\r\n\r\n" + inner(t)
    ),
    "chunked, oddly written": lambda t: http_request(
        "/known", "Transfer-Encoding : chunked", body="0\r\n\r\n" + inner(t)
    ),
    "chunked with a tab": lambda t: http_request(
        "/known", "Transfer-Encoding:\tchunked, x", body="0\r\n\r\n" + inner(t)
    ),
    "body of a GET": lambda t: http_request("/known", f"Content-Length: {len(inner(t))}", body=inner(t)),
    "chunked body of a GET": lambda t: http_request(
        "/known", CHUNKED, body=f"{len(inner(t)):x}\r\n{inner(t)}\r\n0\r\n\r\n"
    ),
    "plus sign in the length": lambda t: http_request(
        "/known", f"Content-Length: +{len(inner(t))}", body=inner(t)
    ),
    "folded header": lambda t: http_request(
        "/known", "X: a", f" Content-Length: {len(inner(t))}", body=inner(t)
    ),
    "bare line feeds": lambda t: lines(
        "GET /known HTTP/1.1\nHost: a\nUser-Agent: sensor/1\n\n", f"GET /{t} HTTP/1.1\n\n"
    ),
    "carriage return inside a header": lambda t: http_request("/known", f"X: a\rGET /{t} HTTP/1.1"),
    "null byte in a header": lambda t: http_request("/known", f"X: \0{t}"),
    "HTTP/0.9 behind": lambda t: http_request("/known") + lines(f"GET /{t}\r\n"),
    "spaces in the request line": lambda t: lines(
        f"GET /known /{t} HTTP/1.1\r\n", "Host: a\r\nUser-Agent: sensor/1\r\n\r\n"
    ),
    "lower-case method": lambda t: http_request(f"/{t}", method="get"),
    "a tab in the request line": lambda t: lines(f"GET\t/{t} HTTP/1.1\r\n", "Host: a\r\n\r\n"),
}


@pytest.mark.parametrize("name", SMUGGLED)
def test_smuggled_request_arrives_nowhere(ground: Ground, name: str) -> None:
    token = fresh()
    act = long_talk(ground, HTTP, [http_request("/known")], SMUGGLED[name](token.decode()))
    ground.judged(f"smuggling: {name}", act, token, what="one request")
