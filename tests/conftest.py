"""What all tests share: why one cannot run here, where the captures are, and the order of the kinds."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).parents[1]

# Cheap and telling first. What is not named comes last, in pytest's own order.
ORDER = (
    "architecture", "unit", "properties", "switch", "setup",
    "scenarios", "attacks", "faults", "browser", "benchmarks",
)  # fmt: skip

LONGEST_NAME = 200  # bytes or characters of an example that its test may be called by

Fate = tuple[str, str, str]  # of an attack or a fault: its name, what was done, what became of it
FATE = "fate"  # the property of a test's report

# What a developer's shell may have set and a bare machine has not must not decide whether a test passes.
for variable in ("PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH"):
    os.environ.pop(variable, None)

# Deadlines measure the machine. The same commit must give the same answer in continuous integration;
# `./lab fuzz properties` looks further.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.register_profile("fuzz", deadline=None, max_examples=20_000)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@cache
def _lacks_for_switch() -> str | None:
    if os.geteuid() != 0:
        return "needs root: sudo ./lab test"
    for command in ("ovs-vsctl", "ovs-appctl", "ip", "ethtool"):
        if shutil.which(command) is None:
            return f"needs the command {command}: sudo ./lab setup"
    try:
        subprocess.run(["ovs-vsctl", "--timeout=5", "show"], check=True, capture_output=True)
        subprocess.run(["ovs-appctl", "--timeout=5", "version"], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        return "needs a running Open vSwitch: sudo ./lab setup"
    return None


@cache
def _lacks_for_mininet() -> str | None:
    if shutil.which("mnexec") is None:
        return "needs the command mnexec: sudo ./lab setup"
    return _lacks_for_switch()


@cache
def _lacks_for_browser() -> str | None:
    if shutil.which("chromium") is None:
        return "needs Chromium: apt-get install chromium"
    return None


LACKS = {"root": _lacks_for_switch, "mininet": _lacks_for_mininet, "browser": _lacks_for_browser}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, lacks in LACKS.items():
        if item.get_closest_marker(marker) and (reason := lacks()):
            pytest.skip(reason)
    if "PYTEST_XDIST_WORKER" in os.environ:
        # What computes beside them must not take the time of switches and of probes every millisecond.
        waits = item.get_closest_marker("xdist_group") is not None
        assert waits == item.nodeid.endswith("@machine"), "two processes share the machine: --dist=loadgroup"
        computes = not waits and item.get_closest_marker("browser") is None
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, 0, 15 if computes else 0)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads which group a test belongs to
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def kind(item: pytest.Item) -> str:
        return item.path.relative_to(ROOT / "tests").parts[0]

    items.sort(key=lambda item: ORDER.index(kind(item)) if kind(item) in ORDER else len(ORDER))
    # With two processes, one has all that needs the machine for itself (switches, laboratories, the
    # set-up), one after the other; the other one computes and drives browsers meanwhile.
    for item in items:
        if kind(item) == "setup" or any(item.get_closest_marker(name) for name in ("root", "mininet")):
            item.add_marker(pytest.mark.xdist_group("machine"))


def pytest_make_parametrize_id(val: object) -> str | None:
    """A long example is no name for a test."""
    return f"{len(val)} long" if isinstance(val, bytes | str) and len(val) > LONGEST_NAME else None


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_captures() -> Path:
    """Real traffic, one folder per protocol. It is large, so it lies beside the checkout."""
    captures = ROOT.parent / "shared" / "captures"
    if not captures.is_dir():
        pytest.skip("no captures in ../shared/captures")
    return captures


@pytest.fixture(scope="session")
def fates() -> list[Fate]:
    """What becomes of attacks and faults, for the table at the end."""
    return []


@pytest.fixture
def tell_fates(fates: list[Fate], record_property: Callable[[str, object], None]) -> Iterator[None]:
    """Puts what a test has added to `fates` into its report, which finds its way between processes."""
    before = len(fates)
    yield
    for row in fates[before:]:
        record_property(FATE, row)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = (report for reports in terminalreporter.stats.values() for report in reports)
    rows = [
        value
        for report in reports
        if getattr(report, "when", None) == "teardown"
        for name, value in report.user_properties
        if name == FATE
    ]
    if not rows:
        return
    terminalreporter.section("attacks and faults, and their fate")
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, what, fate in rows:
        terminalreporter.write_line(f"{name:<{widths[0]}}  {what:<{widths[1]}}  {fate}")
