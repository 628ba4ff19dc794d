"""What one message costs the inspector, without sockets. ./lab bench inspector"""

import gc
from collections.abc import Callable, Iterable
from time import process_time

import pytest

from controller.dpi.message import Operation
from controller.events import UpdateTable
from controller.inspector import link
from controller.inspector.judgement.inspection import Inspection
from controller.model.relationship import Access, Endpoint, ServiceId
from controller.verdicts import SetGrant, VerdictTable
from tests.benchmarks.record import Recorder
from tests.unit.inspector.judgement.frames import ACK, PSH, SYN, coap, tcp, udp
from tests.unit.inspector.judgement.site import BATTERY, DIRECTORY, WASHER, B, W, access, main, service

pytestmark = pytest.mark.benchmark

MESSAGES = 50_000
GRANTS = 100_000
HTTP = Endpoint("tcp", 80)


def inspection(*deltas: SetGrant) -> Inspection:
    known = (main(WASHER), service(BATTERY, HTTP), service(BATTERY, Endpoint("udp", 5683)))
    return Inspection(VerdictTable((*DIRECTORY, *known, *deltas)))


def measure(
    record: Recorder, name: str, serve: Callable[[bytes, float], object], frames: Iterable[bytes]
) -> None:
    """The best of three rounds of processor time."""
    given = list(frames)
    best, now = float("inf"), 1000.0
    for _ in range(3):
        start = process_time()
        for raw in given:
            now += 0.00005
            serve(raw, now)
        best = min(best, process_time() - start)
    tell(record, name, best / len(given))


def tell(record: Recorder, name: str, each: float) -> None:
    record(name, each * 1e6, "µs/message", note=f"{1 / each:,.0f} messages/s of one core")


def coap_requests(paths: int) -> list[bytes]:
    return [
        udp(W, B, 40000 + number % 16, 5683, coap("GET", f"/sensors/{number % paths}/temp"))
        for number in range(MESSAGES)
    ]


def test_coap_requests_that_are_allowed(record: Recorder) -> None:
    granted = SetGrant(access("coap", Operation.READ, "*"), True)
    served = inspection(granted)
    passed = 0

    def serve(raw: bytes, now: float) -> None:
        nonlocal passed
        outcome = served.frame(raw, False, now)
        passed += bool(outcome.send)
        if not passed & 1023:
            served.tick(now)

    measure(record, "CoAP request, allowed, 8 resources", serve, coap_requests(8))
    measure(record, "CoAP request, allowed, 5,000 resources", serve, coap_requests(5000))
    assert passed == 6 * MESSAGES


def test_coap_requests_that_are_denied(record: Recorder) -> None:
    served = inspection()

    def serve(raw: bytes, now: float) -> None:
        served.frame(raw, False, now)

    frames = [udp(W, B, 40000, 5683, coap("PUT", f"/door/{n % 8}")) for n in range(MESSAGES)]
    measure(record, "CoAP request, denied, 8 resources", serve, frames)
    frames = [udp(W, B, 40000, 5683, coap("PUT", f"/door/{n}")) for n in range(MESSAGES)]
    measure(record, "CoAP request, denied, all different", serve, frames)


def test_http_requests_on_one_connection(record: Recorder) -> None:
    text = b"GET /charge HTTP/1.1\r\nHost: battery\r\nUser-Agent: washer/1.0\r\nAccept: */*\r\n\r\n"
    granted = SetGrant(
        Access(ServiceId("washer/washer"), ServiceId("battery/tcp-80"), "http", Operation.READ, "/charge"),
        True,
    )
    served = inspection(granted)
    served.frame(tcp(W, B, 40000, 80, SYN, 999), False, 1000.0)
    served.frame(tcp(W, B, 40000, 80, ACK, 1000, 1), False, 1000.0)
    frames = [tcp(W, B, 40000, 80, ACK | PSH, 1000 + n * len(text), 1, text) for n in range(MESSAGES)]
    start = process_time()
    sent = sum(len(served.frame(raw, False, 1000.0 + n / 20000).send) for n, raw in enumerate(frames))
    each = (process_time() - start) / MESSAGES
    assert sent == MESSAGES
    tell(record, "HTTP request, one segment each, one connection", each)


def test_a_whole_table(record: Recorder) -> None:
    grants = tuple(
        SetGrant(
            Access(
                ServiceId(f"device-{n // 100}/main"),
                ServiceId(f"device-{n % 1000}/tcp-80"),
                "http",
                Operation.WRITE,
                f"/rooms/{n}/isOn",
            ),
            True,
        )
        for n in range(GRANTS)
    )
    gc.collect()
    gc.disable()  # as the inspector does
    start = process_time()
    said = [link.to_inspector(part) for part in link.parts(UpdateTable(1, grants, whole=True))]
    told = process_time()
    decoder = link.inspector_decoder()
    decoder.feed(link.to_inspector(link.Hello(link.VERSION, 1)))
    decoder.next()
    table, slowest = VerdictTable(), 0.0
    for data in said:
        before = process_time()
        decoder.feed(data)
        part = decoder.next()
        assert isinstance(part, link.TablePart)
        for delta in part.deltas:
            table.apply(delta)
        slowest = max(slowest, process_time() - before)
    end = process_time()
    gc.enable()
    size = sum(map(len, said)) / 1e6
    of = f"table of {GRANTS:,} grants"
    record(f"{of}: said", told - start, "s", note=f"{size:.0f} MB, processor time")
    record(f"{of}: taken in", end - told, "s", note="processor time")
    record(f"{of}: longest turn in which no frame is served", slowest * 1000, "ms")
