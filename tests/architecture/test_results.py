"""What README says of speed is what benchmarks have found, and nothing that was typed."""

from pathlib import Path

from tests.benchmarks.record import load
from tests.benchmarks.report import TABLE, short, whole


def test_readme_shows_the_results_that_are_kept(root: Path) -> None:
    assert short(load()) in (root / "README.md").read_text(encoding="utf-8"), "run ./lab bench, or its report"


def test_table_of_all_results_is_of_those_that_are_kept() -> None:
    assert TABLE.read_text(encoding="utf-8") == whole(load())
