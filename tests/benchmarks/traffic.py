"""A program on a host: it serves, or measures what it is told to, one JSON object per line in and out.

traffic.py serve     servers of all kinds (PORTS), and counters
traffic.py measure   a client; see the functions whose names are the words of `do`

Standard library only; clients stay alive between runs, so that a run may be short.
"""

import contextlib
import ctypes
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Nothing that the dissectors know is said on the first three.
PORTS = {"echo": 9000, "sink": 9001, "drain": 9002, "http": 8000, "mqtt": 1883, "modbus": 502, "coap": 5683}
LAN = "lan0"
BATCH = 64  # datagrams per system call
PAUSE = 1.0  # seconds to wait for an answer
SO_RCVBUFFORCE = 33
ROOM = 8 * 1024 * 1024

HTTP_REQUEST = b"GET /light HTTP/1.1\r\nHost: server\r\nUser-Agent: client/1.0\r\nAccept: */*\r\n\r\n"
HTTP_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
HTTP_UPLOAD = HTTP_REQUEST.replace(b"GET", b"PUT").replace(b"Accept: */*", b"Content-Length: 99999999999")
HTTP_FORBIDDEN = b"DELETE /light HTTP/1.1\r\nHost: server\r\nUser-Agent: client/1.0\r\n\r\n"
MQTT_CONNECT = b"\x10\x12\0\4MQTT\4\2\0\x3c\0\6client"
MQTT_PUBLISH = b"\x32\x12\0\x0ahome/light\0\x01" + b"21.5"
MODBUS_WRITE = struct.pack("!HHHBBHH", 1, 0, 6, 1, 5, 7, 0xFF00)

# What is said first on a connection and again and again on it; both are answered.
SAID = {
    "http": (b"", HTTP_REQUEST),
    "mqtt": (MQTT_CONNECT, MQTT_PUBLISH),
    "modbus": (b"", MODBUS_WRITE),
    "echo": (b"", b"probe-" + bytes(range(20))),
}


def coap(number: int, method: int = 1) -> bytes:
    """CON, GET (or another method) /light."""
    return bytes((0x41, method)) + (number & 0xFFFF).to_bytes(2) + b"t\xb5light"


def coap_answer(request: bytes) -> bytes:
    return bytes((0x61, 0x45)) + request[2:5] + b"\xff1"


# ---------------------------------------------------------------- serving


def _datagrams(port: int, answer: Callable[[bytes], bytes]) -> None:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, ROOM)
    server.bind(("0.0.0.0", port))
    ARRIVED[port] = arrived = []
    while True:
        data, peer = server.recvfrom(2048)
        if NOTING[0]:
            arrived.append((time.monotonic(), data))
        with contextlib.suppress(OSError):
            server.sendto(answer(data), peer)


ARRIVED: dict[int, list[tuple[float, bytes]]] = {}
NOTING = [False]


def _connections(port: int, serve: Callable[[socket.socket], None]) -> None:
    server = socket.create_server(("0.0.0.0", port), backlog=64)

    def one(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with connection, contextlib.suppress(OSError):
            serve(connection)

    while True:
        connection, _ = server.accept()
        threading.Thread(target=one, args=(connection,), daemon=True).start()


def _sink(connection: socket.socket) -> None:
    """Takes all, then says how much it was."""
    room, total = bytearray(1 << 20), 0
    while count := connection.recv_into(room):
        total += count
    connection.sendall(b"%d\n" % total)


def _http(connection: socket.socket) -> None:
    """Answers each request; what follows the headers of a PUT is taken until the end, and counted."""
    unread = b""
    while data := connection.recv(1 << 16):
        unread += data
        if unread.startswith(b"PUT"):
            total, room = len(unread.partition(b"\r\n\r\n")[2]), bytearray(1 << 20)
            while count := connection.recv_into(room):
                total += count
            connection.sendall(b"%d\n" % total)
            return
        while b"\r\n\r\n" in unread:
            head, _, unread = unread.partition(b"\r\n\r\n")
            if NOTING[0]:
                ARRIVED.setdefault(PORTS["http"], []).append((time.monotonic(), head))
            connection.sendall(HTTP_ANSWER)


def _mqtt(connection: socket.socket) -> None:
    while data := connection.recv(4096):
        connection.sendall(b"\x20\2\0\0" if data[0] == 0x10 else b"\x40\2\0\x01")


def _modbus(connection: socket.socket) -> None:
    while data := connection.recv(4096):
        connection.sendall(data)


def _drain(port: int) -> socket.socket:
    """Datagrams to this port are dropped without a word: they are counted at the network card."""
    kept = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    kept.bind(("0.0.0.0", port))
    return kept


def received() -> int:
    """Frames that have come to this host."""
    for line in Path("/proc/self/net/dev").read_text(encoding="ascii").splitlines():
        name, _, rest = line.partition(":")
        if name.strip() == LAN:
            return int(rest.split()[1])
    raise OSError(f"no interface {LAN}")


def serve() -> None:
    kept = _drain(PORTS["drain"])
    work: tuple[tuple[Callable[..., None], int, Any], ...] = (
        (_datagrams, PORTS["echo"], lambda data: data),
        (_datagrams, PORTS["coap"], coap_answer),
        (_connections, PORTS["echo"], _modbus),
        (_connections, PORTS["sink"], _sink),
        (_connections, PORTS["http"], _http),
        (_connections, PORTS["mqtt"], _mqtt),
        (_connections, PORTS["modbus"], _modbus),
    )
    for target, port, how in work:
        threading.Thread(target=target, args=(port, how), daemon=True).start()
    attend({"received": received, "note": note, "noted": noted})
    kept.close()


def note() -> None:
    """Keep what comes from now on."""
    for arrived in ARRIVED.values():
        arrived.clear()
    NOTING[0] = True


def noted(port: int) -> list[tuple[float, str]]:
    """When and what has come to a port since; no more is kept."""
    NOTING[0] = False
    return [(at, data.hex()) for at, data in ARRIVED.get(port, [])]


# ---------------------------------------------------------------- measuring


def rtt(kind: str, address: str, count: int) -> list[float]:
    """Seconds of each of `count` exchanges on one conversation, one after the other."""
    if kind in ("coap", "datagram"):
        return _datagram_rtt(kind, address, count)
    with _connected(kind, address) as connection:
        message = SAID[kind][1]
        return [_exchange(connection, message) for _ in range(count)]


def _exchange(connection: socket.socket, message: bytes) -> float:
    begin = time.perf_counter()
    connection.sendall(message)
    if not connection.recv(2048):
        raise ConnectionError("the server hung up")
    return time.perf_counter() - begin


def _connected(kind: str, address: str) -> socket.socket:
    connection = socket.create_connection((address, PORTS[kind]), timeout=PAUSE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    hello, _ = SAID[kind]
    if hello:
        connection.sendall(hello)
        connection.recv(100)
    return connection


def _datagram_rtt(kind: str, address: str, count: int) -> list[float]:
    times = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(PAUSE)
        client.connect((address, PORTS["coap" if kind == "coap" else "echo"]))
        for number in range(count):
            request = coap(number) if kind == "coap" else SAID["echo"][1]
            begin = time.perf_counter()
            client.send(request)
            try:
                client.recv(2048)
            except (TimeoutError, ConnectionError):
                continue
            times.append(time.perf_counter() - begin)
    return times


def first(kind: str, address: str, count: int) -> list[float]:
    """Seconds from nothing to the answer to the first message of a new conversation, each time anew."""
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        if kind in ("coap", "datagram"):
            spent = _datagram_rtt(kind, address, 1)
            if not spent:
                continue
        else:
            with socket.create_connection((address, PORTS[kind]), timeout=PAUSE) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                hello, message = SAID[kind]
                connection.sendall(hello or message)
                if not connection.recv(2048):
                    continue
                times.append(time.perf_counter() - begin)
                continue
        times.append(time.perf_counter() - begin)
    return times


def tcp(address: str, size: int, seconds: float, port: str = "sink") -> float:
    """Bits a second that arrived over one connection. `size`: the longest segment; 0: the usual one."""
    data = bytes(1 << 16)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
        if size:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, size)
        connection.settimeout(10)
        connection.connect((address, PORTS[port]))
        if port == "http":
            connection.sendall(HTTP_UPLOAD)
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        total = int(connection.makefile().readline())
        return total * 8 / (time.perf_counter() - begin)


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Header(ctypes.Structure):
    """struct msghdr of sendmsg(2)."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vector", ctypes.POINTER(_Vector)),
        ("vectors", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Message(ctypes.Structure):
    """struct mmsghdr of sendmmsg(2)."""

    _fields_ = (("header", _Header), ("sent", ctypes.c_uint))


LIBC = ctypes.CDLL(None, use_errno=True)


def _batch(payloads: list[bytes]) -> Any:
    """What sendmmsg(2) takes, with all that it points to."""
    buffers = [ctypes.create_string_buffer(payload, len(payload)) for payload in payloads]
    vectors = [_Vector(ctypes.addressof(buffer), len(buffer)) for buffer in buffers]
    messages = (_Message * len(payloads))()
    for message, vector in zip(messages, vectors, strict=True):
        message.header.vector, message.header.vectors = ctypes.pointer(vector), 1
    return messages, buffers, vectors


def udp(address: str, size: int, seconds: float, port: str = "drain", rate: float = 0.0) -> dict[str, float]:
    """As many datagrams as go, or `rate` a second; `size`: bytes of payload. The other end counts."""
    payloads = [bytes(size)] * BATCH
    if port == "coap":
        payloads = [coap(number) for number in range(BATCH)]
    messages, *kept = _batch(payloads)
    sent = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((address, PORTS[port]))
        begin = time.perf_counter()
        while (passed := time.perf_counter() - begin) < seconds:
            if rate and sent > passed * rate:
                time.sleep(0.0002)
                continue
            sent += max(0, LIBC.sendmmsg(client.fileno(), messages, BATCH, 0))
    return {"sent": sent, "seconds": passed, "kept": len(kept)}


def cut(address: str, kind: str, allowed: int, spacing: float, tail: float) -> float:
    """Some allowed messages, then some that are not until they are cut off or `tail` seconds are over."""
    port = PORTS[kind]
    sort = socket.SOCK_DGRAM if kind == "coap" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, sort) as client:
        client.settimeout(PAUSE)
        client.connect((address, port))
        if sort == socket.SOCK_STREAM:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        for number in range(allowed):
            client.send(coap(number) if kind == "coap" else HTTP_REQUEST)
            client.recv(2048)
        client.setblocking(False)
        begin = now = time.monotonic()
        number = 0
        while now < begin + tail:
            try:
                client.send(coap(number, 4) if kind == "coap" else HTTP_FORBIDDEN)
            except BlockingIOError:
                pass
            except OSError:  # of datagrams only: an ICMP error
                if sort == socket.SOCK_STREAM:
                    return time.monotonic() - begin
            number += 1
            while (now := time.monotonic()) < begin + number * spacing:
                pass
    return now - begin


# ---------------------------------------------------------------- orders


def attend(words: dict[str, Callable[..., Any]]) -> None:
    print(json.dumps("ready"), flush=True)
    for order in sys.stdin:
        what = json.loads(order)
        try:
            said: Any = {"result": words[what.pop("do")](**what)}
        except Exception as error:  # noqa: BLE001  # told to whoever has ordered it
            said = {"error": repr(error)}
        print(json.dumps(said), flush=True)


def main(words: list[str]) -> None:
    match words:
        case ["serve"]:
            serve()
        case ["measure"]:
            attend({"rtt": rtt, "first": first, "tcp": tcp, "udp": udp, "cut": cut})
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
