"""A small program for hosts of a laboratory: probes every millisecond, and tells what was lost.

probe.py echo PORT                    answer every datagram
probe.py send ADDRESS PORT COUNT      one datagram a millisecond; says ready; prints JSON at its end
probe.py serve PORT                   HTTP server that knows every path
probe.py get ADDRESS PORT PATH …      GET each path once, on connections of their own
probe.py hold ADDRESS PORT SECONDS    one HTTP connection, a request every 20 ms; prints JSON
probe.py often ADDRESS PORT SECONDS   GET /known on a new connection every 20 ms; prints JSON
probe.py flood FRAME AT RATE SECONDS [WIDTH]
                                      this frame (hex) again and again, with other bytes AT; prints JSON
probe.py drink PORT                   read all that comes on TCP connections
probe.py pour ADDRESS PORT SECONDS    as much as goes over one TCP connection; prints JSON
"""

import contextlib
import http.client
import http.server
import json
import select
import socket
import sys
import time
from typing import ClassVar

WARM = 200  # probes sent before it says that it is ready
LINGER = 1.0  # seconds to wait for the last answers
SO_RCVBUFFORCE = 33  # socket(7)


def roomy(probe: socket.socket) -> None:
    """What waits for a process that the machine has no time for is not lost."""
    probe.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 * 1024 * 1024)


def echo(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        roomy(server)
        server.bind(("0.0.0.0", port))
        print("ready", flush=True)
        while True:
            data, peer = server.recvfrom(2048)
            server.sendto(data, peer)


def send(address: str, port: int, count: int) -> None:
    sent, answered, told = [0.0] * count, [0.0] * count, False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        roomy(client)
        client.connect((address, port))
        begin, number = time.perf_counter(), 0
        end = begin + count / 1000 + LINGER
        while time.perf_counter() < end:
            due = begin + number / 1000
            if number == WARM and not told:
                told = True
                print("ready", flush=True)
            if number < count and time.perf_counter() >= due:
                sent[number] = time.perf_counter()
                with contextlib.suppress(ConnectionError):  # an ICMP error of an earlier probe
                    client.send(b"probe-%08d" % number)
                number += 1
                continue
            wait = due - time.perf_counter() if number < count else 0.01
            if select.select([client], [], [], max(wait, 0.0))[0]:
                try:
                    data = client.recv(2048)
                except ConnectionError:
                    continue
                answered[int(data[6:14])] = time.perf_counter()
            elif number >= count and all(answered):
                break
    lost = [n for n in range(count) if not answered[n]]
    gap = longest = 0
    for n in range(count):
        gap = 0 if answered[n] else gap + 1
        longest = max(longest, gap)
    times = sorted(a - s for a, s in zip(answered, sent, strict=True) if a)
    print(
        json.dumps(
            {
                "sent": count,
                "lost": len(lost),
                "first_lost": lost[:5],
                "longest_gap": longest / 1000,
                "p50": times[len(times) // 2] if times else None,
                "p99": times[len(times) * 99 // 100] if times else None,
            }
        ),
        flush=True,
    )


def coap(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        roomy(server)
        server.bind(("0.0.0.0", port))
        print("ready", flush=True)
        while True:
            data, peer = server.recvfrom(2048)
            server.sendto(bytes((0x61, 0x45)) + data[2:5] + b"\xff1", peer)  # ACK, 2.05 Content


def rtt(address: str, port: int, count: int) -> None:
    times = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((address, port))
        client.settimeout(1.0)
        for number in range(count):
            request = bytes((0x41, 0x01)) + number.to_bytes(2) + b"t\xb5light"  # CON, GET /light
            begin = time.perf_counter()
            client.send(request)
            try:
                client.recv(2048)
            except (TimeoutError, ConnectionError):
                continue
            times.append(time.perf_counter() - begin)
    times.sort()
    print(
        json.dumps(
            {
                "sent": count,
                "answered": len(times),
                "p50": times[len(times) // 2] if times else None,
                "p99": times[len(times) * 99 // 100] if times else None,
            }
        ),
        flush=True,
    )


class _Any(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    served: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.served.append(self.path)
        print(self.path, flush=True)
        body = b"yes"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Both(http.server.ThreadingHTTPServer):
    """For IPv6 and IPv4 alike."""

    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()


def serve(port: int) -> None:
    server = _Both(("::", port), _Any)
    server.daemon_threads = True
    print("ready", flush=True)
    server.serve_forever()


def get(address: str, port: int, paths: list[str]) -> None:
    for path in paths:
        connection = http.client.HTTPConnection(address, port, timeout=3)
        try:
            connection.request("GET", path, headers={"User-Agent": "prober/1"})
            print(connection.getresponse().status, flush=True)
        except OSError as error:
            print(type(error).__name__, flush=True)
        finally:
            connection.close()


def hold(address: str, port: int, seconds: float) -> None:
    connection = http.client.HTTPConnection(address, port, timeout=5)
    connection.connect()
    print("ready", flush=True)
    local = connection.sock.getsockname()
    served, error = 0, ""
    end = time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            connection.request("GET", "/known", headers={"User-Agent": "prober/1"})
            connection.getresponse().read()
            if connection.sock is None or connection.sock.getsockname() != local:
                error = "the connection was replaced"
                break
            served += 1
            time.sleep(0.02)
    except OSError as failed:
        error = repr(failed)
    print(json.dumps({"served": served, "error": error}), flush=True)


def often(address: str, port: int, seconds: float) -> None:
    times, failed = [], 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.perf_counter()
        connection = http.client.HTTPConnection(address, port, timeout=2)
        try:
            connection.request("GET", "/known", headers={"User-Agent": "sensor/1"})
            connection.getresponse().read()
            times.append(time.perf_counter() - begin)
        except OSError:
            failed += 1
        finally:
            connection.close()
        time.sleep(0.02)
    times.sort()
    p50, p99 = (times[len(times) * part // 100] if times else None for part in (50, 99))
    print(json.dumps({"answered": len(times), "failed": failed, "p50": p50, "p99": p99}), flush=True)


def flood(frame: bytearray, at: int, rate: int, seconds: float, width: int = 4) -> None:
    """The bytes that change (four, or `width`) go through all numbers in a mixed order."""
    numbers = 256**width - 1
    sent = dropped = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as card:
        card.bind(("lan0", 0))
        print("ready", flush=True)
        begin = time.perf_counter()
        while (passed := time.perf_counter() - begin) < seconds:
            for _ in range(min(int(passed * rate) - sent, 512)):
                frame[at : at + width] = (sent * 0x9E3779B1 & numbers).to_bytes(width)
                try:
                    card.send(frame)
                except OSError:  # the queue is full
                    dropped += 1
                sent += 1
            time.sleep(0.0005)
    print(json.dumps({"sent": sent - dropped, "seconds": passed}), flush=True)


def drink(port: int) -> None:
    with socket.create_server(("0.0.0.0", port)) as server:
        print("ready", flush=True)
        while True:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                while connection.recv(1 << 20):
                    pass


def pour(address: str, port: int, seconds: float) -> None:
    data, sent = bytes(1 << 16), 0
    with socket.create_connection((address, port), timeout=5) as connection:
        begin = time.perf_counter()
        while (passed := time.perf_counter() - begin) < seconds:
            sent += connection.send(data)
    print(json.dumps({"bytes": sent, "seconds": passed}), flush=True)


def main(words: list[str]) -> None:
    match words:
        case ["echo", port]:
            echo(int(port))
        case ["send", address, port, count]:
            send(address, int(port), int(count))
        case ["coap", port]:
            coap(int(port))
        case ["rtt", address, port, count]:
            rtt(address, int(port), int(count))
        case ["serve", port]:
            serve(int(port))
        case ["get", address, port, *paths]:
            get(address, int(port), paths)
        case ["hold", address, port, seconds]:
            hold(address, int(port), float(seconds))
        case ["often", address, port, seconds]:
            often(address, int(port), float(seconds))
        case ["flood", frame, at, rate, seconds, *width]:
            flood(bytearray.fromhex(frame), int(at), int(rate), float(seconds), *map(int, width))
        case ["drink", port]:
            drink(int(port))
        case ["pour", address, port, seconds]:
            pour(address, int(port), float(seconds))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
