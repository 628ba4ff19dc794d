"""Plays a demonstration from curtain up to curtain down."""

import contextlib
import signal
import threading
import types
from collections.abc import Mapping, Sequence
from typing import Any

from topologies import schema
from topologies.demo.firewall import Firewall
from topologies.demo.report import Report
from topologies.demo.scenarios import SCENARIOS, learning
from topologies.demo.stage import Stage
from topologies.machine import check_machine
from topologies.waiting import WaitedError, until


class _Ended(Exception):
    """Somebody has asked for an orderly end."""


def demonstrate(topology: str, scenario: str, firewall: bool, keep: bool, prefix: str) -> bool:
    """Play `scenario` on `topology`; whether every promise was kept. Raises LabError."""
    described = schema.read(topology)
    missing = [
        h for h in ("washing-machine", "battery", "battery-2", "door-lock") if h not in described.host_names
    ]
    if missing:
        raise schema.ConfigError(
            f"{topology}: the scenarios need {', '.join(missing)}; use paper, smart_home, or one like them"
        )

    check_machine(described)

    def end(_number: int, _frame: types.FrameType | None) -> None:
        raise _Ended

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)
    report = Report()
    state = "on" if firewall else "OFF"
    report.chapter("Graphwall demonstration", f"{described.name}: {described.description} Firewall {state}.")
    stage = Stage(described, report, firewall, prefix)
    try:
        with stage:
            _play(stage, scenario, keep)
    except _Ended:
        if not report.played:
            report.step("Ended before its time")
            return False
    return report.kept


def _counted(firewall: Firewall) -> Sequence[Mapping[str, Any]]:
    """What the switch does, once its counters have been read for the newest pair, too."""
    pairs: Sequence[Mapping[str, Any]] = []

    def counted() -> bool:
        nonlocal pairs
        pairs = firewall.get("pairs")["pairs"]
        return all(pair["packets"] for pair in pairs)

    with contextlib.suppress(WaitedError):
        until(counted, "every pair has been used", 5.0, 0.2)
    return pairs


def _play(stage: Stage, scenario: str, keep: bool) -> None:
    report = stage.report
    try:
        for part in SCENARIOS[scenario]:
            part(stage)
            if part is learning and not report.kept:
                report.step("Nothing else makes sense after that")
                break
    except WaitedError as error:
        report.promise("The laboratory works", False, str(error))
    if stage.firewall is not None:
        report.pairs(_counted(stage.firewall), stage.names())
    report.played = True
    report.summary()
    if keep:
        report.step("Still running; end it with Ctrl-C.")
        if stage.firewall is not None:
            invited = stage.firewall.post("people/invitations", {"role": "manager"})
            report.copied("Its page, for one device", invited["url"])
            report.copied("Ask it", f"graphwall --config {stage.firewall.config} status")
        threading.Event().wait()
