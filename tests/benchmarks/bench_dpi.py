"""How fast captures are read and messages found, beside what others make of the same frames in the same run.

./lab bench dpi. Rates are of processor time on one core; ratios count, as machines differ.
"""

import io
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from struct import pack

import dpkt
import pytest
from os_ken.lib.packet.packet import Packet as OsKenPacket
from scapy.layers.l2 import Ether

from controller.captures.dissection import Dissection
from controller.captures.reader import Captured, frames
from controller.dpi.message import Operation
from controller.inspector.judgement.inspection import Inspection
from controller.model.relationship import Endpoint
from controller.verdicts import SetGrant, VerdictTable
from tests.benchmarks.record import Recorder
from tests.unit.captures.reference import CAPTURES
from tests.unit.inspector.judgement.frames import ACK, PSH, SYN, coap, tcp, udp
from tests.unit.inspector.judgement.site import BATTERY, DIRECTORY, WASHER, B, W, access, main, service

pytestmark = pytest.mark.benchmark

MESSAGES = 20_000
SETTLED = Endpoint("tcp", 9999)
BIG = "modbus_tcp/zeek_zeek__testing__btest__Traces__modbus__modbusBig.pcap"
TSHARK = (
    "-Y modbus&&tcp.dstport==502 -T fields -e frame.number -e mbtcp.unit_id -e modbus.func_code "
    "-e modbus.reference_num"
)
OPENFLOW = pack("!H", 6653)  # os_ken never comes back from segments to or from this port


def processor_time(work: Callable[[], object], rounds: int = 3) -> float:
    """The best of some rounds, in seconds."""
    best = float("inf")
    for _ in range(rounds):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


# ---------------------------------------------------------------- traffic


def big() -> list[Captured]:
    path = CAPTURES / BIG
    if not path.exists():
        pytest.skip(f"no captures in {CAPTURES}")
    return list(frames(io.BytesIO(path.read_bytes()).read))


def captured(raws: Sequence[bytes]) -> list[Captured]:
    return [Captured(n, n * 10_000, 1, raw, len(raw)) for n, raw in enumerate(raws, 1)]


def connection(port: int, payloads: Sequence[bytes], hello: bytes = b"") -> list[bytes]:
    """What a client sends: an opening, then one segment for each payload."""
    found, seq = [tcp(W, B, 40000, port, SYN, 999)], 1000
    for payload in (hello, *payloads) if hello else payloads:
        found.append(tcp(W, B, 40000, port, PSH | ACK, seq, 1, payload))
        seq = (seq + len(payload)) & 0xFFFFFFFF
    return found


def modbus() -> list[bytes]:
    pdus = [bytes((3, 0, n % 50, 0, 10)) for n in range(MESSAGES)]
    return connection(502, [pack("!HHHB", n & 0xFFFF, 0, 6, 1) + pdu for n, pdu in enumerate(pdus)])


def mqtt() -> list[bytes]:
    hello = b"\x10\x10\0\4MQTT\4\2\0\x3c\0\4lamp"
    topics = [f"home/room{n % 40}/temperature".encode() for n in range(MESSAGES)]
    bodies = [pack("!H", len(topic)) + topic + b"21.5" for topic in topics]
    return connection(1883, [bytes((0x30, len(body))) + body for body in bodies], hello)


def http() -> list[bytes]:
    head = "Host: battery\r\nUser-Agent: control/1.0\r\nAccept: */*\r\n\r\n"
    return connection(
        80, [f"GET /api/state/{n % 40}?fresh=1 HTTP/1.1\r\n{head}".encode() for n in range(MESSAGES)]
    )


def coap_requests() -> list[bytes]:
    return [udp(W, B, 40000 + n % 16, 5683, coap("GET", f"/room{n % 40}/light")) for n in range(MESSAGES)]


# ---------------------------------------------------------------- messages a second, on one core


@pytest.mark.parametrize("made", [modbus, mqtt, coap_requests, http], ids=lambda made: made.__name__)
def test_messages_per_second(record: Recorder, made: Callable[[], list[bytes]]) -> None:
    given = captured(made())

    def dissect() -> int:
        dissection, found = Dissection(), 0
        for each in given:
            said = dissection.frame(each)
            found += 0 if said is None else len(said.messages)
        return found

    found = dissect()
    assert found >= MESSAGES
    record(f"{made.__name__}: frame to message", found / processor_time(dissect), "messages/s")


@pytest.mark.parametrize("kind", ["acknowledgement", "answer of a server", "rest of a settled connection"])
def test_frames_that_need_no_judging(record: Recorder, kind: str) -> None:
    """What the inspector spends on a frame that says nothing."""
    granted = SetGrant(access("unknown", Operation.CONNECT, "", endpoint="tcp-9999"), True)
    table = VerdictTable((*DIRECTORY, main(WASHER), service(BATTERY, SETTLED), granted))
    inspection = Inspection(table)
    opening = connection(9999, [bytes(range(128, 256)) * 3])
    for raw in opening:
        inspection.frame(raw, False, 1000.0)
    seq = 1000 + 384
    raw = {
        "acknowledgement": tcp(W, B, 40000, 9999, ACK, seq, 1),
        "answer of a server": tcp(B, W, 9999, 40000, PSH | ACK, 1, seq, bytes(1000)),
        "rest of a settled connection": tcp(W, B, 40000, 9999, PSH | ACK, seq, 1, bytes(1000)),
    }[kind]
    count = 20_000

    def carry() -> None:
        for _ in range(count):
            inspection.frame(raw, False, 1000.0)

    carry()
    record(f"no judging: {kind}", processor_time(carry) / count * 1e6, "µs/frame")


# ---------------------------------------------------------------- beside others


def test_frames_per_second_beside_other_parsers(record: Recorder) -> None:
    """The same frames of one capture; the others read no more than headers, or no requests."""
    seen = big()
    raws = [each.data for each in seen]

    def ours() -> None:
        dissection = Dissection()
        for each in seen:
            dissection.frame(each)

    def by_dpkt() -> None:
        for raw in raws:
            dpkt.ethernet.Ethernet(raw)

    def by_scapy() -> None:
        for raw in raws[:2000]:
            Ether(raw)

    def by_os_ken() -> None:
        for raw in raws[:4000]:
            if OPENFLOW not in (raw[34:36], raw[36:38]):
                OsKenPacket(raw)

    ours()
    rate = len(raws) / processor_time(ours)
    others = {
        "dpkt, which reads headers only": len(raws) / processor_time(by_dpkt),
        "scapy": 2000 / processor_time(by_scapy, 1),
        "os_ken": 4000 / processor_time(by_os_ken, 1),
    }
    for name, other in others.items():
        record(f"modbusBig.pcap in memory, beside {name}", rate, "frames/s", against=name, baseline=other,
               ratio=rate / other)  # fmt: skip


def whole_process(command: Sequence[str]) -> tuple[float, float]:
    """Seconds on the clock and of processor time for one run, the best of three."""
    best = float("inf"), float("inf")
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.monotonic()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        clock = time.monotonic() - start
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        best = min(best[0], clock), min(best[1], used)
    return best


@pytest.mark.parametrize("times", [1, 10])
def test_whole_processes_beside_tshark(record: Recorder, times: int, tmp_path: Path) -> None:
    """`graphwall dissect --json` and tshark, each from its start to its end."""
    seen = big()
    path = tmp_path / "big.pcap"
    data = (CAPTURES / BIG).read_bytes()
    path.write_bytes(data[:24] + data[24:] * times)
    command = [sys.executable, "-m", "controller", "dissect", "--json", str(path)]
    theirs = ["tshark", "-r", str(path), *TSHARK.split()]
    clock, used = whole_process(command)
    clock_theirs, used_theirs = whole_process(theirs)
    name = f"whole process, {times} x modbusBig.pcap"
    for what, mine, other in (("clock", clock, clock_theirs), ("processor", used, used_theirs)):
        record(f"{name}, {what}", mine, "s", against="tshark", baseline=other, ratio=mine / other,
               note=f"{times * len(seen) / used:,.0f} frames/s of processor time")  # fmt: skip


def test_reading_captures_beside_dpkt(record: Recorder) -> None:
    data = (CAPTURES / BIG).read_bytes() if (CAPTURES / BIG).exists() else pytest.skip("no captures")

    def ours() -> int:
        return sum(1 for _ in frames(io.BytesIO(data).read))

    def theirs() -> int:
        return sum(1 for _ in dpkt.pcap.UniversalReader(io.BytesIO(data)))

    count = ours()
    mine, other = count / processor_time(ours), count / processor_time(theirs)
    record("reader alone", mine, "frames/s", against="dpkt", baseline=other, ratio=mine / other)
