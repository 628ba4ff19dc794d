"""What the demonstrator shows: each step, what happened, and whether each promise was kept."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

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
        self.console.print(Text.assemble((f"{time.monotonic() - self.began:6.1f} s  ", "dim"), text))

    def said(self, text: str) -> None:
        """What Graphwall tells the site manager."""
        self.console.print(Text.assemble("          ", ("» ", "bold blue"), (text, "italic")))

    def promise(self, text: str, kept: bool, detail: str = "") -> None:
        """A promise of Graphwall, and whether it was kept."""
        self.promises.append((text, kept, detail))
        mark = ("✔ ", "bold green") if kept else ("✘ ", "bold red")
        self.console.print(Text.assemble("          ", mark, text, (f"  {detail}" if detail else "", "dim")))

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

    def end(self) -> bool:
        """The summary; whether every promise was kept."""
        broken = [text for text, kept, _detail in self.promises if not kept]
        self.console.print()
        self.table(
            f"Promises: {len(self.promises) - len(broken)} of {len(self.promises)} kept",
            ("", "Promise", "Seen"),
            (("✔" if kept else "✘", text, detail) for text, kept, detail in self.promises),
        )
        if broken:
            self.console.print(Text("Broken: " + "; ".join(broken), style="bold red"))
        return self.kept
