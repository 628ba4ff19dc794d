"""What is fuzzed: every dissector, and what stands around them, as functions of bytes.

A target raises only what is a mistake. How its bytes are found is not known here, nor is it how long
they are tried.
"""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from controller.captures.dissection import Dissection
from controller.captures.link import ethernet
from controller.captures.reader import Captured, CaptureError, DamagedError, frames
from controller.dpi.frame import parse
from controller.dpi.message import Malformed
from controller.dpi.registry import PROTOCOLS, Protocol, open_stream
from controller.replay import accesslog

CORPUS = Path(__file__).parents[1] / "corpus"
SLOWEST = 0.010  # seconds of processor time for one frame
TRIES = 4  # a frame is slow if it is so each time
SEGMENT = 1460  # bytes
LONGEST = 8 * SEGMENT

Step = Callable[[], object]
Target = Callable[[bytes], Iterator[Step]]  # the steps, each of which is what one frame leads to


class SlowError(Exception):
    """One frame takes longer than SLOWEST."""


def check(target: Target, data: bytes) -> None:
    """Run a target; raises what is a mistake, SlowError among it."""
    slowest = _slowest(target, data)
    for _ in range(TRIES - 1):
        if slowest <= SLOWEST:
            return
        slowest = min(slowest, _slowest(target, data))
    if slowest > SLOWEST:
        raise SlowError(f"one frame takes {slowest * 1000:.1f} ms")


def _slowest(target: Target, data: bytes) -> float:
    slowest = 0.0
    with suppress(Malformed):
        for step in target(data):
            started = time.thread_time()
            try:
                step()
            finally:
                slowest = max(slowest, time.thread_time() - started)
    return slowest


def _segments(data: bytes) -> Iterator[bytes]:
    """A stream as it may be cut: the first byte says how."""
    size = min(data[0] * 6 + 1, SEGMENT) if data else 1
    size = max(size, min(len(data), LONGEST) // 256)
    for at in range(1, min(len(data), LONGEST), size):
        yield data[at : at + size]


def _stream(protocol: Protocol, resumed: bool) -> Target:
    port = min(protocol.ports, default=9999)

    def target(data: bytes) -> Iterator[Step]:
        if resumed:
            assert protocol.resumes is not None
            stream = protocol.resumes()
        else:
            assert protocol.opens is not None
            recognise = protocol.recognise
            for known in (port, 9999):
                yield lambda known=known: recognise and recognise(data[1:SEGMENT], known)  # type: ignore[misc]
            stream = protocol.opens(lambda: open_stream(port))
        for segment in _segments(data):
            yield lambda segment=segment: stream.feed(segment)  # type: ignore[misc]  # a lambda's default

    return target


def _datagram(protocol: Protocol) -> Target:
    usual = min(protocol.ports, default=9999)

    def target(data: bytes) -> Iterator[Step]:
        read = protocol.datagram
        assert read is not None
        for source, destination in ((40000, usual), (usual, 40000), (usual, usual)):
            yield (
                lambda source=source, destination=destination: _try(  # type: ignore[misc]  # the same
                    lambda: read(data[:SEGMENT], source, destination)
                )
            )

    return target


def _try(step: Step) -> None:
    with suppress(Malformed):
        step()


def _frame(data: bytes) -> Iterator[Step]:
    yield lambda: _try(lambda: parse(data))
    yield lambda: _try(lambda: parse(data, captured=True))
    for link in (0, 101, 113, 276):
        yield lambda link=link: ethernet(link, data)  # type: ignore[misc]  # the same


def _frames(data: bytes) -> Iterator[Step]:
    """Several frames one after another: their lengths are in the data."""
    dissection, at, number = Dissection(), 0, 0
    while at + 2 <= len(data) and number < 64:
        size = (data[at] << 8 | data[at + 1]) % (SEGMENT + 100)
        raw = data[at + 2 : at + 2 + size]
        at, number = at + 2 + size, number + 1
        frame = Captured(number, number * 10**8, 1, raw, len(raw))
        yield lambda frame=frame: dissection.frame(frame)  # type: ignore[misc]  # the same


def _capture(data: bytes) -> Iterator[Step]:
    try:
        found = frames(io.BytesIO(data).read)
    except CaptureError:
        return

    def read() -> None:
        with suppress(CaptureError, DamagedError):
            next(found, None)

    for _ in range(64):
        yield read


def _access_log(data: bytes) -> Iterator[Step]:
    text = io.StringIO(",".join(accesslog.COLUMNS) + "\n" + data.decode("utf-8", "replace"))

    def read() -> None:
        with suppress(CaptureError):
            list(accesslog.lines(text))

    yield read


def targets() -> dict[str, Target]:
    """All targets by name."""
    found: dict[str, Target] = {
        "frame": _frame, "frames": _frames, "capture": _capture, "accesslog": _access_log
    }  # fmt: skip
    for protocol in PROTOCOLS:
        name = protocol.name if f"{protocol.name}-stream" not in found else f"{protocol.name}2"
        if protocol.opens:
            found[f"{name}-stream"] = _stream(protocol, resumed=False)
        if protocol.resumes:
            found[f"{name}-resumed"] = _stream(protocol, resumed=True)
        if protocol.datagram:
            found[f"{name}-datagram"] = _datagram(protocol)
    return found


if __name__ == "__main__":
    print(*targets())
