"""Real traffic: frames of capture files, what the product reads in them, what tshark reads in them."""

import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from controller.captures import reader
from controller.captures.link import ethernet
from controller.dpi.frame import TCP, UDP, parse
from controller.dpi.message import Malformed, Message
from controller.dpi.registry import PROTOCOLS, dissect_datagram
from controller.dpi.stream import ConnectionTable

CAPTURES = Path(__file__).parents[4] / "shared" / "captures"
USUAL = frozenset(port for protocol in PROTOCOLS for port in protocol.ports)
Row = tuple[int, str, str]

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


def needs_captures(test: Callable[..., None]) -> Callable[..., None]:
    missing = pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures in {CAPTURES}")
    return needs_tshark(missing(test))


def frames(path: Path) -> list[bytes]:
    """As Ethernet would have carried them; empty where the link is not read."""
    with path.open("rb") as file:
        return [ethernet(captured.link, captured.data) or b"" for captured in reader.frames(file.read)]


def messages(path: Path, malformed: list[int] | None = None) -> Iterator[tuple[int, Message]]:
    """Frame number and message, in order; numbers of frames that were refused go into `malformed`."""
    table = ConnectionTable()
    for number, raw in enumerate(frames(path), 1):
        try:
            headers = parse(raw, captured=True)
            if headers.protocol == TCP:
                resume = headers.dst_port in USUAL
                _, step = table.frame(raw, headers, float(number), observed=True, resume=resume)
                found = step.messages
                if step.refuse is not None and malformed is not None:
                    malformed.append(number)
            elif headers.protocol == UDP and not headers.fragment:
                payload = raw[headers.payload_offset : headers.payload_end]
                found = dissect_datagram(payload, headers.src_port or 0, headers.dst_port or 0).messages
            else:
                continue
        except Malformed:
            if malformed is not None:
                malformed.append(number)
            continue
        for message in found:
            yield number, message


def ours(path: Path, protocols: str, malformed: list[int] | None = None) -> Counter[Row]:
    wanted = protocols.split()
    return Counter(
        (number, m.verb, m.resource) for number, m in messages(path, malformed) if m.protocol in wanted
    )


def tshark(path: Path, wanted: str, *fields: str) -> Iterator[tuple[int, list[list[str]]]]:
    """Frame numbers, and of each field all its values."""
    command = ["tshark", "-r", str(path), "-Y", wanted, "-o", "http.desegment_body:FALSE", "-T", "fields"]
    command += ["-E", "occurrence=a", "-E", "aggregator=\x01", "-e", "frame.number"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    for line in done.stdout.splitlines():
        number, *values = line.split("\t")
        yield int(number), [value.split("\x01") if value else [] for value in values]


def trees(path: Path, wanted: str, protocol: str, *options: str) -> Iterator[tuple[int, ET.Element]]:
    """Frame number and everything that tshark says about each message of a protocol."""
    command = ["tshark", "-r", str(path), "-Y", wanted, "-T", "pdml", *options]
    done = subprocess.run(command, capture_output=True, check=False)
    for packet in ET.fromstring(done.stdout).iter("packet"):
        number = packet.find("proto[@name='geninfo']/field[@name='num']")
        assert number is not None
        for found in packet.findall(f"proto[@name='{protocol}']"):
            yield int(number.get("show", "")), found


def shown(tree: ET.Element, name: str) -> list[str]:
    """All values of a field, in order."""
    return [field.get("show", "") for field in tree.iter("field") if field.get("name") == name]


def compare(mine: Counter[Row], theirs: Counter[Row], only_theirs: set[int]) -> None:
    assert theirs
    assert mine - theirs == Counter()
    assert {frame for frame, _, _ in theirs - mine} == only_theirs


def crafted(path: Path, *raw: bytes) -> Path:
    """A capture of these Ethernet frames, for tshark to read."""
    records = [struct.pack("<IIII", at, 0, len(frame), len(frame)) + frame for at, frame in enumerate(raw)]
    head = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    path.write_bytes(head + b"".join(records))
    return path
