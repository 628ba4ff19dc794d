"""What the demonstrator shows: each step, what happened, and whether each promise was kept."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_MARGIN = 9  # columns, for the time or a mark
_COLOURS = {"forward": "green", "watch": "cyan", "inspect": "yellow", "drop": "red"}


@dataclass(slots=True)
class Report:
    """Prints as it goes, and remembers which promises were broken."""

    console: Console = field(default_factory=Console)
    began: float = field(default_factory=time.monotonic)
    promises: list[tuple[str, bool, str]] = field(default_factory=list)
    played: bool = False  # to the end

    def chapter(self, title: str, text: str) -> None:
        self.console.print()
        self.console.print(
            Panel(Text(text), title=Text(title, style="bold"), title_align="left", expand=True)
        )

    def step(self, text: str) -> None:
        """What is being done."""
        self._line(Text(f"{time.monotonic() - self.began:6.1f} s", style="dim"), Text(text))

    def said(self, text: str) -> None:
        """What Graphwall tells the site manager."""
        self._line(Text("»", style="bold blue"), Text(text, style="italic"))

    def promise(self, text: str, kept: bool, detail: str = "") -> None:
        """A promise of Graphwall, and whether it was kept."""
        self.promises.append((text, kept, detail))
        mark = Text("✔", style="bold green") if kept else Text("✘", style="bold red")
        self._line(mark, Text.assemble(text, (f"  {detail}" if detail else "", "dim")))

    def copied(self, what: str, text: str) -> None:
        """Something to be copied: on a line of its own, which is not broken."""
        self.step(f"{what}:")
        self.console.print(Text(f"  {text}"), soft_wrap=True)

    def _line(self, mark: Text, text: Text) -> None:
        """One entry; what does not fit into a line goes on below its own beginning."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=_MARGIN, justify="right")
        grid.add_column(overflow="fold")
        grid.add_row(mark, text)
        self.console.print(grid)

    @property
    def kept(self) -> bool:
        """Whether every promise was kept so far."""
        return all(kept for _text, kept, _detail in self.promises)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        made = Table(title=title, title_justify="left", title_style="bold", header_style="dim")
        for column in columns:
            made.add_column(column, overflow="fold")
        for row in rows:
            made.add_row(*(Text(cell, style=_COLOURS.get(cell, "")) for cell in row))
        self.console.print(made)

    def pairs(self, pairs: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> None:
        """The treatments, as the switch carries them out."""
        rows = [
            (
                names.get(p["client"], p["client"]),
                names.get(p["server"], p["server"]),
                f"{p['endpoint']['transport']} {p['endpoint']['port']}",
                p["treatment"],
                str(p["packets"]),
            )
            for p in pairs
        ]
        self.table(
            "What the switch does", ("Client", "Server", "Where", "Treatment", "Packets"), sorted(rows)
        )

    def summary(self) -> None:
        """All promises in one table, and the broken ones again."""
        broken = [text for text, kept, _detail in self.promises if not kept]
        self.console.print()
        self.table(
            f"Promises: {len(self.promises) - len(broken)} of {len(self.promises)} kept",
            ("", "Promise", "Seen"),
            (("✔" if kept else "✘", text, detail) for text, kept, detail in self.promises),
        )
        if broken:
            self.console.print(Text("Broken: " + "; ".join(broken), style="bold red"))
