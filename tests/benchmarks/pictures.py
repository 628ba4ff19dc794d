"""Results as pictures (SVG). Knows nothing of tables."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from matplotlib import pyplot as plt  # after the choice of what draws
from matplotlib.ticker import FuncFormatter

from tests.benchmarks.record import FILE, Result

PLOTS = FILE.with_name("plots")
PICTURES = Path(__file__).parents[2] / ".readme"
PAPER_DELAY, GOAL = 6.0, 0.08  # ms
INK, GOOD, PALE, BAD = "#24292f", "#1a7f37", "#8c959f", "#bf3989"


def curves(results: Iterable[Result], part: str) -> dict[str, list[Result]]:
    """The results of a part that make curves, by name, in the order of x."""
    found: dict[str, list[Result]] = {}
    for result in results:
        if result.part == part and result.curve and result.x is not None:
            found.setdefault(result.curve, []).append(result)
    return {name: sorted(line, key=lambda r: r.x or 0) for name, line in found.items()}


def _plain(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(visible=True, color="#d0d7de", linewidth=0.6)
    axis.set_axisbelow(True)


def _numbers(value: float, _: object) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"


def added(results: Sequence[Result]) -> Any:
    """What each way adds to a round trip, on a logarithmic scale."""
    named = {result.name: result for result in results}
    ways = ("watch", "inspect", "packet-in")
    colours = (PALE, GOOD, BAD)
    kinds = ("CoAP request", "HTTP request", "MQTT publish", "Modbus write")
    figure, axis = plt.subplots(figsize=(7.2, 2.9), layout="constrained")
    for place, (way, colour) in enumerate(zip(ways, colours, strict=True)):
        for kind, name in enumerate(kinds):
            ends = [named.get(f"{name}, {way}: added round-trip time, p{part}") for part in (50, 99)]
            if None in ends:
                continue
            values = [max(end.value, 0.001) for end in ends if end is not None]
            at = kind + (place - 1) * 0.22
            axis.bar(at, values[0], 0.2, color=colour, label=way if kind == 0 else None)
            axis.plot([at, at], values, color=INK, linewidth=1)
            axis.plot([at], values[1:], marker="_", color=INK, label="p99" if kind == place == 0 else None)
    beside = axis.get_yaxis_transform()
    for at, what, colour in ((PAPER_DELAY, "the paper", INK), (GOAL, "goal, p50", GOOD)):
        axis.axhline(at, color=colour, linestyle="--", linewidth=1)
        axis.text(1.005, at, what, color=colour, fontsize=8, va="center", transform=beside)
    axis.set_yscale("log")
    axis.set_ylim(0.001, 12)
    axis.yaxis.set_major_formatter(FuncFormatter(_numbers))
    axis.set_xticks(range(len(kinds)), kinds)
    axis.set_ylabel("added to a round trip, ms")
    axis.legend(fontsize=8, ncols=4, frameon=False, loc="lower left", bbox_to_anchor=(0, 1))
    _plain(axis)
    return figure


Drawn = tuple[str, str, Sequence[str]]  # title, unit, curves


def panels(results: Sequence[Result], part: str, x: str, drawn: Sequence[Drawn]) -> Any:
    """Curves of a part over x, a panel for each title."""
    found = curves(results, part)
    figure, axes = plt.subplots(1, len(drawn), figsize=(3.0 * len(drawn), 2.6), layout="constrained")
    for axis, (title, unit, names) in zip(axes if len(drawn) > 1 else [axes], drawn, strict=True):
        for name, colour in zip(names, (GOOD, BAD, PALE, INK, "#0969da", "#9a6700"), strict=False):
            line = found.get(name, [])
            values = [point.figure for point in line]
            axis.plot([p.x for p in line], values, marker="o", markersize=3, color=colour, label=name)
        axis.set_xscale("log")
        axis.xaxis.set_major_formatter(FuncFormatter(_numbers))
        axis.set_ylim(bottom=min([0.0, *(p.figure for name in names for p in found.get(name, []))]))
        axis.set_title(title, fontsize=9)
        axis.set_ylabel(unit, fontsize=8)
        axis.set_xlabel(x, fontsize=8)
        axis.tick_params(labelsize=7)
        if len(names) > 1:
            axis.legend(fontsize=7, frameon=False)
        _plain(axis)
    return figure


SCALE: Sequence[Drawn] = (
    ("controller's memory", "MB", ("memory",)),
    ("controller at rest", "% of one core", ("at rest",)),
    ("one more device: heard to in force", "ms", ("one more p50", "one more p99")),
)
FORWARD: Sequence[Drawn] = (
    ("throughput on an allowed pair", "x plain switch",
     ("UDP, 64 B frames", "UDP, 1518 B frames", "TCP, 142 B frames", "TCP, 1518 B frames")),
    ("added round-trip time", "µs", ("added p50", "added p99")),
)  # fmt: skip
SWITCH: Sequence[Drawn] = (
    ("flows in the switch", "flows", ("flows",)),
    ("until all flows are in the switch", "s", ("start", "empty", "kept")),
)
GROWTH: Sequence[Drawn] = (
    ("graph in memory", "MB", ("graph in memory",)),
    ("load and compile", "s", ("loaded", "compiled")),
    ("one change", "ms", ("one change",)),
)
DECISIONS: Sequence[Drawn] = (("decision to in force", "ms", ("in force p50", "in force p99")),)


def pictures(results: Sequence[Result]) -> dict[Path, Callable[[], Any]]:
    relationships = "relationships"
    return {
        PICTURES / "latency.svg": lambda: added(results),
        PICTURES / "growth.svg": lambda: panels(results, "scale", "devices", SCALE),
        PLOTS / "forward.svg": lambda: panels(results, "forward", relationships, FORWARD),
        PLOTS / "switch.svg": lambda: panels(results, "switch", relationships, SWITCH),
        PLOTS / "growth.svg": lambda: panels(results, "growth", relationships, GROWTH),
        PLOTS / "decisions.svg": lambda: panels(results, "decisions", relationships, DECISIONS),
    }


def draw(results: Sequence[Result]) -> None:
    """The same results give the same bytes."""
    plt.rcParams.update({"svg.hashsalt": "graphwall", "font.size": 9, "text.color": INK})
    PLOTS.mkdir(exist_ok=True)
    for path, make in pictures(results).items():
        figure = make()
        figure.savefig(path, metadata={"Date": None}, facecolor="white")
        plt.close(figure)
