"""results.json as tables: results.md, and the part of README.md between its marks; pictures.py draws.

python -m tests.benchmarks.report; ./lab bench does so at its end.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tests.benchmarks import pictures
from tests.benchmarks.record import FILE, Result, load, said

ROOT = Path(__file__).parents[2]
TABLE = FILE.with_name("results.md")
README = ROOT / "README.md"
BEGIN, END = "<!-- results: made by ./lab bench -->", "<!-- end of results -->"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of README's table: a question, and the names of results that answer it, in a text."""

    what: str
    text: str  # {0}, {1} … are the results
    names: tuple[str, ...]


def _both(name: str) -> tuple[str, str]:
    return f"{name}, p50", f"{name}, p99"


_MANY, _INSPECT = "10,000 relationships", "inspect: added round-trip time"
_HOME = "communication graph of smart_home.yaml"
ROWS = (
    Row("Allowed pair (`forward`): throughput of TCP, and of UDP with the smallest frames",
        "{0:r} and {1:r} of the plain switch",
        (f"TCP, 1518 B frames, with {_MANY}", f"UDP, 64 B frames, with {_MANY}")),
    Row("… added to a round trip, p50 and p99", "{0:v}, {1:v}",
        (f"added round-trip time, p50, with {_MANY}", f"added round-trip time, p99, with {_MANY}")),
    Row("Inspected CoAP request: added, p50 and p99", "{0:v}, {1:v}", _both(f"CoAP request, {_INSPECT}")),
    Row("Inspected HTTP request", "{0:v}, {1:v}", _both(f"HTTP request, {_INSPECT}")),
    Row("Inspected MQTT publish", "{0:v}, {1:v}", _both(f"MQTT publish, {_INSPECT}")),
    Row("Inspected Modbus write", "{0:v}, {1:v}", _both(f"Modbus write, {_INSPECT}")),
    Row("A CoAP request held by packet-in (os-ken) instead; the paper adds 6 ms", "{0:v}, {1:v}",
        _both("CoAP request, packet-in: added round-trip time")),
    Row("First request of a new TCP connection, inspected: added, p50", "{0:v}",
        ("first HTTP request, inspect: added until answered, p50",)),
    Row("Inspected messages a second, of the inspector's processor time", "{0:v}",
        ("inspected CoAP messages per second of the inspector's processor time",)),
    Row("`watch`: cut off after a message that is not allowed, p99 (CoAP, HTTP)", "{0:v}, {1:v}",
        ("CoAP request, watch: cut off after, p99", "HTTP request, watch: cut off after, p99")),
    Row("Decision to in force, p99, with 100, 10,000 and 100,000 relationships", "{0:v}, {1:v}, {2:v}",
        ("decision to in force, p99, 100 relationships", f"decision to in force, p99, {_MANY}",
         "decision to in force, p99, 100,000 relationships")),
    Row("New device: from the manager's answer until it may talk, p99", "{0:v}",
        ("new device: from the answer until it may talk, p99",)),
    Row("Switch comes back without flows, 10,000 relationships: until all are there", "{0:v}",
        (f"{_MANY}: switch comes back empty, until all flows are there",)),
    Row("Graph of the demonstrator's home, in memory and stored (the paper: 34 KB)", "{0:v}, {1:v}",
        (f"{_HOME} in memory", f"{_HOME} stored")),
    Row("100,000 relationships: graph in memory; loaded; compiled; one change",
        "{0:v}; {1:v}; {2:v}; {3:v}",
        ("communication graph, 10,000 services, 100,000 relationships",
         "100,000 relationships: loaded from the store", "100,000 relationships: compiled into flows",
         "100,000 relationships: one change, from decision to its flows")),
    Row("10,000 devices on 4 switches: controller's memory; at rest, of one core", "{0:v}; {1:v}",
        ("10,000 devices: controller's memory", "10,000 devices: controller at rest, of one core")),
)  # fmt: skip


class Shown:
    """A result in a text: {:v} the value, {:r} the ratio; in bold with its goal where it falls short."""

    def __init__(self, result: Result | None) -> None:
        self.result = result

    def __format__(self, how: str) -> str:
        result = self.result
        if result is None:
            return "not measured"
        text = f"{result.ratio:.2f} x" if how == "r" and result.ratio is not None else _value(result)
        return f"**{text}** (goal {result.goal})" if result.met is False else text


def _value(result: Result) -> str:
    value, unit = result.value, result.unit
    if unit == "ms" and abs(value) < 1:
        value, unit = value * 1000, "µs"
    return f"{said(float(f'{value:.2g}' if unit == 'µs' else f'{value:.3g}'))} {unit}"


# ---------------------------------------------------------------- tables


def whole(results: Sequence[Result]) -> str:
    """Every result, part by part."""
    lines = [
        "# Results of the benchmarks",
        "",
        f"Made by `sudo ./lab bench`; the values are in `{FILE.name}`.",
        "",
    ]
    for part, found in groupby(sorted(results, key=lambda r: r.part), key=lambda r: r.part):
        rows = list(found)
        lines += [f"## {part}", "", f"{rows[-1].date}, {rows[-1].machine}: `{rows[-1].command}`", ""]
        lines += ["| what | value | against | half of the runs | goal | |", "|---|---:|---|---|---|---|"]
        lines += [_line(row) for row in rows] + [""]
    return "\n".join(lines)


def _line(row: Result) -> str:
    against = ""
    if row.ratio is not None and row.baseline is not None:
        against = f"{row.ratio:.3f} x {row.against or 'plain switch'} ({said(row.baseline)} {row.unit})"
    spread = ""
    if row.low is not None and row.high is not None:
        digits = "{:.3f} to {:.3f} x" if row.judged == "ratio" else None
        spread = digits.format(row.low, row.high) if digits else f"{said(row.low)} to {said(row.high)}"
    met = {None: "", True: "met", False: "**missed**"}[row.met]
    runs = f" ({row.runs})" if row.runs > 1 else ""
    cells = (row.name, f"{said(row.value)} {row.unit}", against, spread + runs, f"{row.goal} {met}", row.note)
    return "| " + " | ".join(cell.strip().replace("|", "/") for cell in cells) + " |"


def short(results: Sequence[Result]) -> str:
    """What README shows."""
    named = {result.name: result for result in results}
    rows, used = [], []
    for row in ROWS:
        found = [named.get(name) for name in row.names]
        if any(found):
            rows.append(f"| {row.what} | {row.text.format(*map(Shown, found))} |")
            used += [result for result in found if result is not None]
    if not used:
        return "Not measured yet: `sudo ./lab bench`."
    missed = sum(result.met is False for result in results)
    judged = sum(result.met is not None for result in results)
    dates = sorted({result.date for result in used})
    when = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    fits = f"Of {judged} figures with a goal {judged - missed} meet it"
    table = "\n".join(rows)
    return f"""Measured {when} on {used[0].machine}, in Mininet on Open vSwitch
with its userspace datapath. Another machine gives other numbers. "Added" is to the same switch with
`NORMAL`, in alternating runs of which the median counts. {fits};
what falls short is bold.

| with 10,000 relationships, unless said otherwise | |
|---|---|
{table}

Made by `sudo ./lab bench` (20 minutes; `sudo ./lab bench inspect` measures one part):
[all figures, with spread and goals](tests/benchmarks/results.md).

![Added to a round trip by watching, inspecting, packet-in, and in the paper](.readme/latency.svg)

![The controller with 10 to 10,000 devices: memory, processor time, latency](.readme/growth.svg)"""


def put_into_readme(text: str, readme: Path = README) -> None:
    """Between the marks; a README without them is left alone."""
    before = readme.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
    after = pattern.sub(lambda _: f"{BEGIN}\n{text}\n{END}", before)
    if after != before:
        readme.write_text(after, encoding="utf-8")


def main() -> None:
    results = load()
    TABLE.write_text(whole(results), encoding="utf-8")
    pictures.draw(results)
    put_into_readme(short(results))
    missed = [result for result in results if result.met is False]
    print(f"{len(results)} results in {TABLE.relative_to(ROOT)}; {len(missed)} fall short of their goals")
    for result in missed:
        print(f"  {result.part}: {result.name}: {said(result.figure)}, goal {result.goal}")


if __name__ == "__main__":
    main()
