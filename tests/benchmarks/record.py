"""What benchmarks have found, as values in results.json. report.py makes tables and plots of it."""

import datetime as dt
import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

FILE = Path(__file__).with_name("results.json")


@dataclass(frozen=True, slots=True)
class Result:
    """One figure. `low` and `high`: half of the runs lie between them (quartiles).

    `against` says what `baseline` (in the same unit) is of; `ratio` is value to baseline, the median of
    alternating runs where there were some. The goal is for `judged`, the value or the ratio.
    `curve` and `x`: the line and the place on it, where the figure is one of several that make a curve.
    """

    part: str
    name: str
    value: float
    unit: str
    low: float | None = None
    high: float | None = None
    runs: int = 1
    against: str = ""
    baseline: float | None = None
    ratio: float | None = None
    judged: str = "value"
    at_most: float | None = None
    at_least: float | None = None
    curve: str = ""
    x: float | None = None
    note: str = ""
    date: str = ""
    machine: str = ""
    command: str = ""

    @property
    def figure(self) -> float:
        """What is held against the goal."""
        return self.ratio if self.judged == "ratio" and self.ratio is not None else self.value

    @property
    def met(self) -> bool | None:
        """None without a goal."""
        if self.at_most is None and self.at_least is None:
            return None
        return (self.at_most is None or self.figure <= self.at_most) and (
            self.at_least is None or self.figure >= self.at_least
        )

    @property
    def goal(self) -> str:
        unit = "x" if self.judged == "ratio" else self.unit
        bounds = (("≤", self.at_most), ("≥", self.at_least))
        return ", ".join(f"{sign} {said(bound)} {unit}" for sign, bound in bounds if bound is not None)


def said(value: float) -> str:
    """Three digits that count, and no more zeros than needed."""
    if value and abs(value) < 100:
        digits = 2 if abs(value) >= 1 else 3
        return f"{value:.{digits}g}" if abs(value) < 1 else f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return f"{value:,.0f}"


def machine() -> str:
    """What it was measured on, in words."""
    cpu = platform.processor() or platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            cpu = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    cores = len(os.sched_getaffinity(0))
    system = f"Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}"
    return f"{cores} cores of {cpu}, {memory:.0f} GB, {system}"


def load(file: Path = FILE) -> tuple[Result, ...]:
    if not file.exists():
        return ()
    names = {each.name for each in fields(Result)}
    found = json.loads(file.read_text(encoding="utf-8"))["results"]
    return tuple(Result(**{name: value for name, value in row.items() if name in names}) for row in found)


def save(results: Iterable[Result], file: Path = FILE) -> None:
    """In one step: whoever reads it meanwhile finds all or what was there before."""
    rows = [
        {name: value for name, value in asdict(result).items() if value not in (None, "")}
        for result in sorted(results, key=lambda result: result.part)
    ]
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps({"results": rows}, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    partial.replace(file)


class Recorder:
    """Keeps the results of one part, and says each as it comes."""

    def __init__(self, part: str) -> None:
        self.part = part

    def forget(self) -> None:
        """What the part found before is measured anew."""
        save(result for result in load() if result.part != self.part)

    def __call__(self, name: str, value: float, unit: str, **more: object) -> Result:
        result = replace(
            Result(self.part, name, value, unit, **more),  # type: ignore[arg-type]
            date=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d"),
            machine=machine(),
            command=f"sudo ./lab bench {self.part}",
        )
        others = [one for one in load() if (one.part, one.name) != (self.part, name)]
        save((*others, _rounded(result)))
        print(f"  {line(result)}", flush=True)
        return result

    def runs(self, name: str, values: Sequence[float], unit: str, **more: object) -> Result:
        """The median of some runs, with its quartiles."""
        low, middle, high = quartiles(values)
        return self(name, middle, unit, low=low, high=high, runs=len(values), **more)

    def added(
        self, name: str, values: Sequence[float], bases: Sequence[float], unit: str, **more: object
    ) -> Result:
        """What alternating runs add to those of a baseline."""
        differences = [value - base for value, base in zip(values, bases, strict=True)]
        low, middle, high = quartiles(differences)
        base = statistics.median(bases)
        ratio = statistics.median(v / b for v, b in zip(values, bases, strict=True))
        return self(
            name, middle, unit, low=low, high=high, runs=len(values), baseline=base, ratio=ratio, **more
        )

    def ratio(
        self, name: str, values: Sequence[float], bases: Sequence[float], unit: str, **more: object
    ) -> Result:
        """Alternating runs as a ratio to those of a baseline; `low` and `high` are of the ratio."""
        low, middle, high = quartiles([v / b for v, b in zip(values, bases, strict=True)])
        return self(
            name, statistics.median(values), unit, low=low, high=high, runs=len(values),
            baseline=statistics.median(bases), ratio=middle, judged="ratio", **more,
        )  # fmt: skip


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def centile(values: Sequence[float], part: int) -> float:
    """The smallest value that so many of a hundred do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * part // 100)]


def _rounded(result: Result) -> Result:
    """Five digits that count: more is noise."""
    numbers = {
        each.name: float(f"{value:.5g}")
        for each in fields(result)
        if isinstance(value := getattr(result, each.name), float)
    }
    return replace(result, **numbers)  # type: ignore[arg-type]


def line(result: Result) -> str:
    """A result as one line of text."""
    text = f"{result.name}: {said(result.value)} {result.unit}"
    if result.ratio is not None:
        text += f", {result.ratio:.3f} x {result.against or 'the plain switch'}"
        if result.baseline is not None:
            text += f" ({said(result.baseline)} {result.unit})"
    if result.low is not None and result.high is not None:
        text += f" [{said(result.low)} to {said(result.high)}, {result.runs} runs]"
    if result.met is not None:
        text += f"; goal {result.goal}: {'met' if result.met else 'MISSED'}"
    return text + (f" ({result.note})" if result.note else "")
