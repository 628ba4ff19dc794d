"""Whether the switches hold what the model asks for: each reading is compared, and put right at once.

What somebody has added, changed or removed by hand is told with the relationship concerned. Knows
nothing of how flows are read or sent.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from controller.events import (
    Answer,
    Effect,
    FlowDifference,
    FlowsRead,
    MeterChanged,
    ReadFlows,
    Refused,
    Report,
    SwitchCheck,
    Verify,
)
from controller.firewall.enforcement import Enforcement
from controller.firewall.fabric import Fabric
from controller.firewall.ledger import Difference
from controller.firewall.requests import relationship_id
from controller.firewall.state import State
from controller.flows.compile import Pair
from controller.flows.flow import Flow, Strange
from controller.flows.notation import actions_text, match_text
from controller.model.graph import on_endpoint
from controller.model.relationship import DeviceId
from controller.words import visible

REPAIRED = "flows repaired"  # the counter
ANSWER_WITHIN = 8.0  # seconds for a switch to be read
REFUSED_FOR = 60.0  # seconds until a flow that the switch has refused is sent again
SAID_FOR = 60.0  # seconds until the same difference is put in the log again
SAID_AT_MOST = 20  # lines of the log for one reading
TOLD_AT_MOST = 100  # sentences of one check
LONGEST = 400  # characters of a sentence

_WORDS = {
    "switch": "the switch as a whole",
    "device": "the place of {}",
    "binding": "the addresses of {}",
    "role": "the roles of {}",
}


@dataclass(slots=True)
class _Question:
    """A Verify that waits for readings with this number, at the latest until `until`."""

    number: int
    until: float
    waiting: set[int]
    checks: dict[int, SwitchCheck] = field(default_factory=dict)


class Checks:
    """Compares what is read with what is asked for."""

    def __init__(self, state: State, fabric: Fabric, enforcement: Enforcement) -> None:
        self._state = state
        self._fabric = fabric
        self._enforcement = enforcement
        self._names = {s.dpid: s.name for s in state.config.switches}
        self._number = 0
        self._questions: dict[int, _Question] = {}  # by token
        self._repaired: Counter[int] = Counter()  # by switch
        self._refused: dict[tuple[int, int], float] = {}  # (switch, cookie) -> until when it is left
        self._said: dict[tuple[int, Difference], float] = {}
        state.counters[REPAIRED] += 0  # there from the beginning

    def verify(self, event: Verify, now: float) -> Sequence[Effect]:
        """Ask for readings; the answer comes with the last of them."""
        connected = {switch for switch in self._fabric.switches if self._fabric.connected(switch)}
        self._number += 1
        question = _Question(self._number, now + ANSWER_WITHIN, set(connected))
        for switch in self._fabric.switches:
            question.checks[switch] = SwitchCheck(switch, self._name(switch), read=False)
        self._questions[event.token] = question
        return [*(ReadFlows(switch, self._number) for switch in connected), *self._answers(now)]

    def tick(self, now: float) -> Sequence[Effect]:
        """Answer those who have waited too long."""
        return self._answers(now)

    def refused(self, event: Refused, now: float) -> None:
        """A switch does not take the flows with this cookie."""
        self._refused = {key: until for key, until in self._refused.items() if now < until}
        if event.cookie is not None:
            self._refused[event.switch, event.cookie] = now + REFUSED_FOR

    def meter_changed(self, event: MeterChanged, now: float) -> Sequence[Effect]:
        """Say that a limit was put right."""
        self._state.counters["meters repaired"] += 1
        text = (
            f"{self._name(event.switch)}: the limit {event.meter:#x} on what the switch tells the controller "
            "was changed. It was put right."
        )
        self._state.note("repaired", text, now)
        return [Report("warning", text)]

    def read(self, event: FlowsRead, now: float) -> Sequence[Effect]:
        """Compare a reading, put right what differs, and answer those who wait for it."""
        switch = event.switch
        if not self._enforcement.serves(switch):
            return []
        differences = self._enforcement.compare(switch, event.flows, event.ticket)
        asked = [q for q in self._questions.values() if switch in q.waiting and event.number >= q.number]
        effects: list[Effect] = []
        sentences: Sequence[FlowDifference] = ()
        if differences:
            sentences = tuple(_Teller(self._state, self._enforcement).tell(differences[:TOLD_AT_MOST]))
            effects += self._put_right(switch, differences, sentences, now)
        if asked:
            expected, found = self._enforcement.numbers(switch)
            check = SwitchCheck(
                switch, self._name(switch), read=True, expected=expected, found=found,
                repaired=self._repaired[switch], differing=len(differences), differences=tuple(sentences),
            )  # fmt: skip
            for question in asked:
                question.checks[switch] = check
                question.waiting.discard(switch)
            effects += self._answers(now)
        return effects

    def _name(self, switch: int) -> str:
        return self._names.get(switch, f"switch {switch}")

    def _put_right(
        self,
        switch: int,
        differences: Sequence[Difference],
        sentences: Sequence[FlowDifference],
        now: float,
    ) -> Iterator[Effect]:
        cured = [d for d in differences if d.found or now >= self._refused.get((switch, d.cookie), now)]
        if not cured:
            return
        yield self._enforcement.repair(switch, cured)
        self._repaired[switch] += len(cured)
        self._state.counters[REPAIRED] += len(cured)
        self._said = {key: until for key, until in self._said.items() if now < until}
        said = 0
        for difference, told in zip(differences, sentences, strict=False):
            if said == SAID_AT_MOST:
                break
            if difference in cured and (switch, difference) not in self._said:
                said += 1
                self._said[switch, difference] = now + SAID_FOR
                text = f"{self._name(switch)}: {told.sentence}. It was put right."
                self._state.note("repaired", text, now, subject=told.origin)
                yield Report("warning", text)
        if said and len(cured) > said:
            text = f"{self._name(switch)}: {len(cured) - said} more flows were put right."
            self._state.note("repaired", text, now)
            yield Report("warning", text)

    def _answers(self, now: float) -> list[Effect]:
        answers: list[Effect] = []
        for token, question in list(self._questions.items()):
            if not question.waiting or now >= question.until:
                del self._questions[token]
                answers.append(Answer(token, checks=tuple(question.checks.values())))
        return answers


class _Teller:
    """Says what differs, and whom it concerns."""

    def __init__(self, state: State, enforcement: Enforcement) -> None:
        self._state = state
        self._enforcement = enforcement
        self._devices = {device.number: device.id for device in state.site.devices.values()}
        self._pairs: Mapping[str, Pair] = {pair.origin: pair for pair in state.pairs}

    def tell(self, differences: Iterable[Difference]) -> Iterator[FlowDifference]:
        for difference in differences:
            wanted, found = difference.wanted, difference.found
            origin = self._enforcement.origin(difference.cookie) or ""
            whom, relationships = self._concerned(origin, wanted or found)
            kind: Literal["missing", "changed", "added"]
            if wanted is None:
                kind, sentence = "added", f"a flow that nobody asked for, {_text(found)}"
            elif found is None:
                kind, sentence = "missing", f"a flow is missing, {_text(wanted)}"
            else:
                kind, sentence = "changed", f"a flow was changed, {_text(found)} instead of {_text(wanted)}"
            whole = visible(f"{whom}: {sentence}" if whom else sentence, LONGEST)
            yield FlowDifference(kind, whole, origin, difference.cookie, relationships)

    def _concerned(self, origin: str, flow: Flow | Strange | None) -> tuple[str, tuple[str, ...]]:
        """In words, and the ids of the relationships."""
        site = self._state.site
        pair = self._pairs.get(origin.removesuffix(" (for a short time)"))
        if pair is not None:
            between = site.between_devices(pair.client, pair.server)
            ids = tuple(relationship_id(r.access) for r in between if on_endpoint(r, pair.endpoint))
            return f"{self._named(pair.client)} to {self._named(pair.server)} at {pair.endpoint}", ids
        kind, _, of = origin.partition(" ")
        if kind in _WORDS:
            return _WORDS[kind].format(self._named(DeviceId(of))), ()
        match = None if flow is None else flow.match
        if match is None:
            return "", ()
        client = None if match.source is None else self._devices.get(match.source)
        server = None if match.destination is None else self._devices.get(match.destination)
        if client is None or server is None:
            sender = None if match.eth_src is None else site.by_mac(match.eth_src)
            return ("" if sender is None else self._named(sender.id)), ()
        ids = tuple(relationship_id(r.access) for r in site.between_devices(client, server))
        return f"{self._named(client)} to {self._named(server)}", ids

    def _named(self, device: DeviceId) -> str:
        known = self._state.site.devices.get(device)
        return visible(device if known is None else known.name)


def _text(flow: Flow | Strange | None) -> str:
    """What a flow matches and does, such as "table 0 priority 5 in_port=1: output:2"."""
    assert flow is not None
    where = f"table {int(flow.table)} priority {flow.priority}"
    if isinstance(flow, Strange):
        return f"{where} {flow.text}"
    return f"{where} {match_text(flow.match)}: {actions_text(flow.actions)}"
