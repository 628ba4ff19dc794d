"""What the reference, tshark, reads in all captures: one run over many of them at a time.

Its start costs more than its reading, so captures are put together, as long as no two of them have a
conversation in common, and the numbers of frames are counted back.
"""

import hashlib
import io
import struct
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from controller.captures.dissection import Dissection, Said
from controller.captures.link import ethernet
from controller.captures.reader import Captured, frames
from controller.dpi.frame import parse
from controller.dpi.message import Malformed

CAPTURES = Path(__file__).parents[4] / "shared" / "captures"
OPTIONS = ("http.desegment_body:FALSE", "tcp.check_checksum:FALSE", "ip.defragment:FALSE")
_MANY = "\x01"  # between the values of one field

Row = Mapping[str, Sequence[str]]  # values by field
Place = tuple[str, int]  # name of a capture, number of a frame in it


@dataclass
class _Batch:
    """Captures that one run reads: file name and frames of each."""

    talks: set[object] = field(default_factory=set)
    captures: list[tuple[str, list[Captured]]] = field(default_factory=list)


@cache
def captures() -> dict[str, list[Captured]]:
    """All captures by name, each once, whatever folders it is in."""
    found: dict[str, list[Captured]] = {}
    known: set[bytes] = set()
    for path in sorted(CAPTURES.glob("*/*.pcap*")):
        data = path.read_bytes()
        if (mark := hashlib.sha256(data).digest()) not in known:
            known.add(mark)
            found[f"{path.parent.name}/{path.name}"] = list(frames(io.BytesIO(data).read))
    return found


def _talks(seen: Sequence[Captured]) -> set[object]:
    found: set[object] = set()
    for captured in seen:
        raw = ethernet(captured.link, captured.data)
        if raw is None:
            continue
        try:
            headers = parse(raw, captured=True)
        except Malformed:
            continue
        ends = frozenset({(headers.src_ip, headers.src_port), (headers.dst_ip, headers.dst_port)})
        found.add((headers.protocol, ends))
    return found


@cache
def _batches() -> list[_Batch]:
    batches: list[_Batch] = []
    for name, seen in captures().items():
        talks = _talks(seen)
        batch = next((b for b in batches if not b.talks & talks), None)
        if batch is None:
            batches.append(batch := _Batch())
        batch.talks |= talks
        batch.captures.append((name, seen))
    return batches


@cache
def said() -> dict[Place, Said]:
    """What our own dissection finds, by capture and frame."""
    found: dict[Place, Said] = {}
    for name, seen in captures().items():
        dissection = Dissection()
        for captured in seen:
            if (messages := dissection.frame(captured)) is not None:
                found[name, captured.number] = messages
    return found


def _written(batch: _Batch, path: Path) -> list[Place]:
    """Put a batch into one file; where each of its frames came from."""
    places: list[Place] = []
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 0, 1))
        for name, seen in batch.captures:
            for captured in seen:
                raw = ethernet(captured.link, captured.data)
                if raw is None:
                    continue
                places.append((name, captured.number))
                cut = max(0, captured.length - len(captured.data))
                seconds, part = divmod(captured.time, 10**9)
                head = struct.pack("<IIII", seconds & 0xFFFFFFFF, part, len(raw), len(raw) + cut)
                file.write(head + raw)
    return places


def rows(wanted: str, fields: Sequence[str]) -> Iterator[tuple[Place, Row]]:
    """What tshark finds with a display filter, by capture and frame."""
    for batch in _batches():
        with TemporaryDirectory() as folder:
            path = Path(folder) / "batch.pcap"
            places = _written(batch, path)
            command = ["tshark", "-r", str(path), "-Y", wanted, "-T", "fields"]
            command += ["-E", "occurrence=a", "-E", f"aggregator={_MANY}", "-e", "frame.number"]
            for option in OPTIONS:
                command += ["-o", option]
            for each in fields:
                command += ["-e", each]
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
            assert done.returncode == 0, done.stderr
        for line in done.stdout.splitlines():
            number, *values = line.split("\t")
            yield (
                places[int(number) - 1],
                {
                    each: value.split(_MANY) if value else []
                    for each, value in zip(fields, values, strict=True)
                },
            )
