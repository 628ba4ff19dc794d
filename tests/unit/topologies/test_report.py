"""What the demonstrator prints, without a laboratory."""

import io
import threading
from typing import Any, Self

import pytest
from rich.console import Console

from topologies.demo import play
from topologies.demo.report import Report

LINK = "http://127.0.0.1:41275/#join=" + "x" * 60


@pytest.fixture
def report() -> Report:
    return Report(Console(file=io.StringIO(), width=60))


def lines(report: Report) -> list[str]:
    assert isinstance(report.console.file, io.StringIO)
    return [line.rstrip() for line in report.console.file.getvalue().splitlines()]


def test_what_does_not_fit_goes_on_below_its_own_beginning(report: Report) -> None:
    report.said("Washing machine wants to read chargeLevel of Battery. These two have never talked.")
    first, second = lines(report)
    begins = first.index("Washing")
    assert second[:begins].strip() == ""
    assert second[begins] != " "


def test_what_is_to_be_copied_is_never_broken(report: Report) -> None:
    report.copied("Its page", LINK)
    assert f"  {LINK}" in lines(report)


def test_one_broken_promise_breaks_the_whole_and_is_named(report: Report) -> None:
    report.promise("It works", True)
    assert report.kept
    report.promise("The door is closed", False)
    report.summary()
    assert not report.kept
    assert "Promises: 1 of 2 kept" in lines(report)
    assert "Broken: The door is closed" in lines(report)


class Empty:
    """A stage without a firewall, on which nothing has to be built."""

    firewall = None

    def __init__(self, _topology: object, report: Report, _firewall: bool, _prefix: str) -> None:
        self.report = report

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.report.step("Taking everything down")


@pytest.mark.parametrize("kept", [True, False])
def test_who_keeps_it_running_has_seen_the_summary(
    report: Report, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    def wait(_event: threading.Event) -> None:
        assert f"Promises: {int(kept)} of 1 kept" in lines(report)
        raise play._Ended

    def part(stage: Any) -> None:
        stage.report.promise("It works", kept)

    monkeypatch.setattr(play, "Stage", Empty)
    monkeypatch.setattr(play, "Report", lambda: report)
    monkeypatch.setattr(play, "check_machine", lambda _: None)
    monkeypatch.setattr(play, "SCENARIOS", {"all": (part,)})
    monkeypatch.setattr(play.signal, "signal", lambda *_: None)
    monkeypatch.setattr(threading.Event, "wait", wait)
    assert play.demonstrate("paper", "all", firewall=False, keep=True, prefix="gw-") is kept
    assert sum("Promises:" in line for line in lines(report)) == 1
