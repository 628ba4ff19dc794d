"""What reading each message costs: against the same switch with NORMAL, against a controller that holds each
message by packet-in, and against the 6 ms of the paper. ./lab bench inspect
"""

import statistics
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import pytest

from tests.benchmarks.record import Recorder, centile
from tests.benchmarks.rig import (
    HOSTS,
    SERVER,
    WATCHED,
    Pair,
    behind_graphwall,
    flows_for_a_while,
    held,
    inspector_process,
    pair,
    plain,
    processor_time,
    settled,
    teach,
)
from tests.benchmarks.traffic import PORTS
from tests.scenarios.guarded import treatment
from topologies.demo.stage import Stage
from topologies.waiting import until

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.benchmark, pytest.mark.timeout(600)]

KINDS = {
    "coap": "CoAP request", "http": "HTTP request", "mqtt": "MQTT publish", "modbus": "Modbus write",
}  # fmt: skip
EXCHANGES, ROUNDS = 300, 15
HELD_EXCHANGES = 100
NEW, ROUNDS_OF_NEW = 30, 15
PAPER = 6.0  # ms added to every message
OFFERED = 60_000  # messages a second, more than can be read
CUTTING, TAIL = 25.0, 0.25  # s of all cuts; of what follows one forbidden message
SPACING = 0.0002  # s between messages that are not allowed

BOUNDS = {"p50": 0.08, "p99": 0.3}  # ms


class Scene:
    """The pairs that are compared."""

    def __init__(self, stage: Stage, bare: Pair, held: Pair, inspected: Pair, watched: Pair) -> None:
        self.stage, self.bare, self.held = stage, bare, held
        self.inspected, self.watched = inspected, watched


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder: Path = tmp_path_factory.mktemp("inspect")
    site = {"watch": [{"client": "watched", "server": "server"}], "refusal": "200ms"}
    with ExitStack() as stack:
        bare, slow = stack.enter_context(plain()), stack.enter_context(held())
        stage = stack.enter_context(behind_graphwall(folder, HOSTS + WATCHED, site))
        inspected = stack.enter_context(pair(stage.laboratory.network))
        watched = stack.enter_context(pair(stage.laboratory.network, "watched", inspected.server))
        for made in (inspected, watched):
            teach(made, tuple(KINDS), bulk=False)
        settled(stage)
        for client, chosen in (("client", "inspect"), ("watched", "watch")):
            for kind in KINDS:
                until(
                    lambda c=client, k=kind, t=chosen: treatment(stage, c, "server", PORTS[k]) == t,
                    f"{kind} of {client}: {chosen}", 30.0, 0.3,
                )  # fmt: skip
        yield Scene(stage, bare, slow, inspected, watched)


def milliseconds(made: Pair, kind: str, count: int, do: str = "rtt") -> list[float]:
    times = [seconds * 1000 for seconds in made.client(do, kind=kind, address=SERVER, count=count)]
    assert len(times) >= count * 0.99, f"{kind}: {len(times)} of {count} were answered"
    return times


@pytest.mark.parametrize("kind", KINDS)
def test_message_on_a_conversation(scene: Scene, record: Recorder, kind: str) -> None:
    pairs = {"plain": scene.bare, "inspect": scene.inspected, "watch": scene.watched, "packet-in": scene.held}
    found: dict[str, list[list[float]]] = {name: [] for name in pairs}
    for _ in range(ROUNDS):
        for name, made in pairs.items():
            count = HELD_EXCHANGES if name == "packet-in" else EXCHANGES
            found[name].append(milliseconds(made, kind, count))
    for name in ("inspect", "watch", "packet-in"):
        for part in (50, 99):
            values = [centile(times, part) for times in found[name]]
            bases = [centile(times, part) for times in found["plain"]]
            bound = BOUNDS[f"p{part}"] if name == "inspect" else None
            record.added(
                f"{KINDS[kind]}, {name}: added round-trip time, p{part}", values, bases, "ms", at_most=bound,
                curve=f"{name} p{part}",
            )  # fmt: skip
    middle = {name: statistics.median(centile(t, 50) for t in times) for name, times in found.items()}
    ours, theirs = (middle[name] - middle["plain"] for name in ("inspect", "packet-in"))
    record(
        f"{KINDS[kind]}: what packet-in adds, in times of what inspection adds", theirs / ours, "x",
        note=f"the paper's {PAPER:g} ms are {PAPER / ours:.0f} times",
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["coap", "http"])
def test_first_message_of_a_new_conversation(scene: Scene, record: Recorder, kind: str) -> None:
    pairs = {"plain": scene.bare, "inspect": scene.inspected, "watch": scene.watched}
    found: dict[str, list[list[float]]] = {name: [] for name in pairs}
    for _ in range(ROUNDS_OF_NEW):
        for name, made in pairs.items():
            found[name].append(milliseconds(made, kind, NEW, "first"))
    what = "with its TCP handshake" if kind == "http" else "a new UDP conversation"
    for name in ("inspect", "watch"):
        for part in (50, 99):
            values, bases = (
                [centile(times, min(part, 95)) for times in found[side]] for side in (name, "plain")
            )
            record.added(
                f"first {KINDS[kind]}, {name}: added until answered, p{min(part, 95)}", values, bases, "ms",
                note=what,
            )  # fmt: skip


def test_inspected_messages_per_second(scene: Scene, record: Recorder) -> None:
    process = inspector_process(scene.stage)
    rates, per_core = [], []
    for _ in range(10):
        before = processor_time(process)
        rate = scene.inspected.delivered(0, 1.0, "coap", OFFERED)
        spent = processor_time(process) - before
        rates.append(rate)
        per_core.append(rate / max(spent, 0.01))
    record.runs("inspected CoAP messages delivered, the machine shared with sender, switch and receiver",
                rates, "messages/s")  # fmt: skip
    record.runs("inspected CoAP messages per second of the inspector's processor time", per_core,
                "messages/s", at_least=15_000)  # fmt: skip


def test_bulk_over_a_connection_whose_request_is_read(scene: Scene, record: Recorder) -> None:
    how = {"address": SERVER, "size": 0, "seconds": 0.3, "port": "http"}
    pairs = {"plain": scene.bare, "inspect": scene.inspected, "watch": scene.watched}
    found: dict[str, list[float]] = {name: [] for name in pairs}
    for _ in range(10):
        for name, made in pairs.items():
            found[name].append(made.client("tcp", **how) / 1e6)
    for name in ("inspect", "watch"):
        record.ratio(f"HTTP PUT of a large file, {name}", found[name], found["plain"], "Mbit/s")


@pytest.mark.parametrize("kind", ["coap", "http"])
def test_watched_conversation_is_cut(scene: Scene, record: Recorder, kind: str) -> None:
    """From the arrival of the first message that is not allowed to that of the last of its sender's."""
    server, client = scene.watched.server, scene.watched.client
    forbidden = b"DELETE" if kind == "http" else bytes((0x41, 4))
    times, through = [], []
    end = monotonic() + CUTTING
    while monotonic() < end:
        until(lambda: not flows_for_a_while(scene.stage), "the pair is watched again", 10.0, 0.05)
        server("note")
        client("cut", address=SERVER, kind=kind, allowed=2, spacing=SPACING, tail=TAIL)
        arrived = [(at, bytes.fromhex(data)) for at, data in server("noted", port=PORTS[kind])]
        passed = [at for at, data in arrived if data.startswith(forbidden)]
        assert passed, "a first message gets through"
        assert passed[-1] - passed[0] < TAIL * 0.8, "it was not cut off"
        times.append((passed[-1] - passed[0]) * 1000)
        through.append(len(passed))
    note = f"a message every {SPACING * 1000:g} ms: {statistics.median(through):.0f} got through"
    record.runs(f"{KINDS[kind]}, watch: cut off after, p50", times, "ms", note=note)
    record(f"{KINDS[kind]}, watch: cut off after, p99", centile(times, 99), "ms", at_most=5.0,
           runs=len(times), note=f"at most {max(through)} got through")  # fmt: skip
