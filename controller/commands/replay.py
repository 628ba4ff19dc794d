"""`graphwall replay FILE...`: what Graphwall would have learnt, asked, allowed and denied.

Reads files and prints; what is decided on the way is the firewall's and the inspector's.
"""

import argparse
import json
import re
import sqlite3
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from controller.captures.link import ethernet, name
from controller.captures.reader import CaptureError, DamagedError, frames
from controller.commands.display import plain
from controller.commands.dissect import PROGRESS_EVERY, opened, progress
from controller.config import Config, seconds
from controller.dpi.frame import parse
from controller.dpi.message import Malformed
from controller.events import AuditEntry, FromInspector, Record
from controller.replay import accesslog
from controller.replay.findings import Findings, entry, observation
from controller.replay.rehearsal import Rehearsal, learning
from controller.replay.survey import Description, Survey, site_of
from controller.store.store import FILE, Store, StoreError, back_up

TICK: Final = 0.2  # seconds of the recording, at least
TICKS_AT_MOST: Final = 50_000  # in the whole of it
INCOMPLETE: Final = 1  # exit code: not all could be read
_NS: Final = 1e9

Json = dict[str, Any]


class ReplayError(Exception):
    """It cannot be replayed. The message says what, where and what to do."""


EXPECTED = (ReplayError, CaptureError)


@dataclass(frozen=True, slots=True)
class Phase:
    """How much of a recording teaches: seconds, or a share of the whole."""

    seconds: float | None = None
    share: float | None = None

    def ends(self, begin: float, end: float) -> float:
        return begin + (self.seconds if self.seconds is not None else (end - begin) * (self.share or 0.0))


def phase(text: str) -> Phase:
    """`30%`, `600` or `10m`."""
    if re.fullmatch(r"\d{1,3}(\.\d+)?%", text):
        share = float(text[:-1]) / 100
        if share <= 1:
            return Phase(share=share)
    try:
        return Phase(seconds=float(text) if re.fullmatch(r"\d+(\.\d+)?", text) else seconds(text))
    except ValueError:
        message = "it is a time such as 600 or 10m, or a part of the recording such as 30%"
        raise argparse.ArgumentTypeError(message) from None


@dataclass(slots=True)
class _Source:
    """One file: when it begins and ends by its own clock, and how much is added to come behind the others."""

    path: Path
    log: bool
    begin: float = 0.0
    end: float = 0.0
    added: float = 0.0
    problem: str | None = None


@dataclass(slots=True)
class Replay:
    """One run of the command."""

    files: Sequence[Path]
    config: Config | None
    phase: Phase | None
    as_objects: bool
    saved: Record = field(default_factory=Record)

    _findings: Findings = field(default_factory=Findings)
    _where: Json = field(default_factory=dict)
    _accesses: int = 0

    # First pass

    def _survey(self) -> tuple[list[_Source], Description, accesslog.Agents]:
        networks = self.config.networks if self.config is not None else Config().networks
        survey, agents, found = Survey(networks), accesslog.Agents(), []
        behind = float("-inf")
        for path in self.files:
            source = _Source(path, _is_log(path))
            (self._survey_log if source.log else self._survey_capture)(source, agents, survey)
            if source.begin < behind:  # a file follows the one that is named before it
                source.added = behind - source.begin
            behind = source.end + source.added
            found.append(source)
        return found, survey.described(), agents

    def _survey_log(self, source: _Source, agents: accesslog.Agents, _: Survey) -> None:
        times = [at.time for at in _accesses(source) if agents.see(at)]
        if not times:
            raise ReplayError(f"{source.path}: there is no access in it")
        source.begin, source.end = min(times), max(times)

    def _survey_capture(self, source: _Source, _: accesslog.Agents, survey: Survey) -> None:
        first = last = None
        for _number, now, raw in _frames(source):
            last = now if last is None else max(now, last)
            first = now if first is None else first
            if raw is None:
                continue
            try:
                survey.see(parse(raw, captured=True), raw)
            except Malformed:
                continue
        if first is None or last is None:
            raise ReplayError(f"{source.path}: {source.problem or 'there is no frame in it'}")
        source.begin, source.end = first, max(first, last)

    # Second pass

    def run(self) -> tuple[Json, Record, int]:
        """The summary, what a controller would have stored, and the exit code."""
        sources, described, agents = self._survey()
        config = self._site(described, agents, logs=any(source.log for source in sources))
        begin, end = sources[0].begin, sources[-1].end + sources[-1].added
        first = learning(config) if self.phase is not None else config
        rehearsal = Rehearsal(
            first, self.saved, begin, self._hear, self._note, described.hosts, described.relays
        )
        graduation = None if self.phase is None else self.phase.ends(begin, end)
        clock = _Clock(
            rehearsal, begin, max(TICK, (end - begin) / TICKS_AT_MOST), graduation, self._later(config)
        )
        result, unread = 0, 0
        for source in sources:
            self._where = {"file": str(source.path)}
            if source.log:
                self._play_log(source, rehearsal, clock, agents)
            else:
                unread += self._play_capture(source, rehearsal, clock)
            if source.problem is not None:
                _complain(source)
                result = INCOMPLETE
        clock.end()
        rehearsal.end()
        unjudged = {
            "frames that cannot be read": unread,
            "malformed frames": rehearsal.counters["malformed frames"],
            "fragments": rehearsal.counters["fragments"],
            "frames dropped in the switch": rehearsal.counters["dropped by a flow"],
            "segments in the middle of connections": rehearsal.judged["in the middle of a connection"]
            + rehearsal.judged["unknown connections"],
            "frames of hosts beyond the limit": described.unlisted,
        }
        summary = self._findings.summary(rehearsal.view(), unjudged)
        summary["accesses"] = self._accesses
        summary["frames"], summary["begin"], summary["end"] = rehearsal.counters["frames"], begin, end
        summary["learnt_until"] = graduation
        return summary, rehearsal.record(), result

    def _site(self, described: Description, agents: accesslog.Agents, logs: bool) -> Config:
        """The site: its owner's description, or one that follows from the recording."""
        config = self.config
        if config is None:
            ask = self.saved.devices and self.phase is None
            config = site_of(described).model_copy(update={"admission": "ask" if ask else "automatic"})
        if not logs:
            return config
        networks, devices = (*config.networks, accesslog.NETWORK), (*config.devices, *agents.devices())
        return config.model_copy(update={"networks": networks, "devices": devices})

    def _later(self, config: Config) -> Config:
        """The site once all that was to be learnt is: who is new is asked about."""
        return config if self.config is not None else config.model_copy(update={"admission": "ask"})

    def _play_capture(self, source: _Source, rehearsal: Rehearsal, clock: "_Clock") -> int:
        unread = 0
        for number, now, raw in _frames(source):
            self._where["frame"] = number
            clock.at(now + source.added)
            if raw is None:
                unread += 1
            else:
                rehearsal.frame(raw, now + source.added)
        return unread

    def _play_log(
        self, source: _Source, rehearsal: Rehearsal, clock: "_Clock", agents: accesslog.Agents
    ) -> None:
        for access in _accesses(source):
            if not agents.see(access):
                continue
            self._where["line"] = access.number
            self._accesses += 1
            now = access.time + source.added
            clock.at(now)
            allowed = rehearsal.access(
                agents.address(access.client),
                agents.address(access.server),
                agents.port(access.server),
                access.message,
                now,
            )
            if clock.graduated:
                self._findings.labelled[access.normality, allowed] += 1

    # What happens meanwhile

    def _hear(self, event: FromInspector, _: float) -> None:
        self._findings.hear(event)
        if self.as_objects and (said := observation(event, self._where)) is not None:
            _say(said)

    def _note(self, audited: AuditEntry) -> None:
        if self.as_objects:
            _say(entry(audited, self._where))


class _Clock:
    """Ticks in the time of the recording, and ends the learning when it is time."""

    def __init__(
        self, rehearsal: Rehearsal, begin: float, step: float, graduation: float | None, later: Config
    ) -> None:
        self._rehearsal = rehearsal
        self._step = step
        self._next = begin
        self._graduation = graduation
        self._later = later
        self.graduated = graduation is None

    def at(self, now: float) -> None:
        if not self.graduated and self._graduation is not None and now >= self._graduation:
            self.graduated = True
            self._rehearsal.tick(self._graduation)
            self._rehearsal.learnt(self._later)
        if now >= self._next:
            self._next = now + self._step
            self._rehearsal.tick(now)

    def end(self) -> None:
        """All of the recording has been learnt, if there was anything to learn from."""
        if not self.graduated:
            self.graduated = True
            self._rehearsal.learnt(self._later)


# ---------------------------------------------------------------- files


def _is_log(path: Path) -> bool:
    if str(path) == "-":
        raise CaptureError("standard input cannot be replayed, as it is read twice; name a file")
    with _named(path), opened(path) as source:
        first = source.readline(4096)
    return accesslog.is_access_log(first.decode("utf-8", "replace"))


def _frames(source: _Source) -> Iterator[tuple[int, float, bytes | None]]:
    """Number, time and Ethernet frame (None: of a link that is not read) of each frame."""
    problem = None
    with _named(source.path), opened(source.path) as file, progress(source.path, file) as advance:
        try:
            for captured in frames(file.read):
                if not captured.number % PROGRESS_EVERY:
                    advance()
                raw = ethernet(captured.link, captured.data)
                if raw is None:
                    problem = f"frames of {name(captured.link)} are not read"
                yield captured.number, captured.time / _NS, raw
        except DamagedError as error:
            problem = f"{error}; what stands before it was read"
    source.problem = problem


def _accesses(source: _Source) -> Iterator[accesslog.Line]:
    """The accesses of a log; lines that are none are counted as its problem."""
    wrong, first = 0, ""
    with _named(source.path), source.path.open(encoding="utf-8", errors="replace", newline="") as file:
        for found in accesslog.lines(file):
            if isinstance(found, str):
                wrong, first = wrong + 1, first or found
            else:
                yield found
    source.problem = f"{wrong} lines were left out: {first}, for one" if wrong else None


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What goes wrong with a file says with which."""
    try:
        yield
    except CaptureError as error:
        raise ReplayError(f"{path}: {error}") from None


def _say(what: Json) -> None:
    sys.stdout.write(json.dumps(what) + "\n")


def _complain(source: _Source) -> None:
    sys.stdout.flush()
    Console(stderr=True).print(plain(f"graphwall: {source.path}: {source.problem}"))


# ---------------------------------------------------------------- models


def model(path: Path) -> Record:
    """What a state folder (or its database) holds; the original is only read. Raises ReplayError."""
    file = path / FILE if path.is_dir() else path
    if not file.exists():
        raise ReplayError(f"there is no model in {path}; name a state folder, or what --save-model has made")
    try:
        with tempfile.TemporaryDirectory(prefix="graphwall-") as folder:
            copy = Path(folder) / FILE
            back_up(file, copy)
            store = Store(copy)
            try:
                return store.load()
            finally:
                store.close()
    except (StoreError, sqlite3.Error, OSError) as error:
        raise ReplayError(f"the model in {path} cannot be read: {error}") from None


def save(record: Record, folder: Path) -> None:
    """Make a state folder of a model, for `graphwall run --state`. Raises ReplayError."""
    try:
        store = Store(folder / FILE)
        try:
            store.write(record)
        finally:
            store.close()
    except StoreError as error:
        raise ReplayError(str(error)) from None


def may_save(folder: Path) -> None:
    """Refuse before the work begins what could not be saved afterwards. Raises ReplayError."""
    if (folder / FILE).exists():
        raise ReplayError(f"there is a model in {folder} already; name another folder")
