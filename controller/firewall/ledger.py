"""What one switch should hold by all that it was told, and what it was read to hold.

Each reading is compared, but only where something may differ: what has changed in the switch since the
reading before, and what it was told since. What is still on its way proves nothing and is left for
the next reading. Knows nothing of why a flow is wanted.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from controller.flows.flow import Change, Flow, Key, Place, Strange, Table


@dataclass(frozen=True, slots=True)
class Difference:
    """A flow that is not as it should be.

    `wanted` None: nobody asked for it; `found` None: it is not there.
    """

    wanted: Flow | None
    found: Flow | Strange | None

    @property
    def cookie(self) -> int:
        """Of the flow that should be there, or else of the one that is."""
        flow = self.wanted or self.found
        assert flow is not None
        return flow.cookie


def repair(differences: Iterable[Difference], wanted: Iterable[Flow]) -> Change:
    """The change that makes an end of differences in a switch that should hold all of `wanted`."""
    delete: list[Flow] = []
    add: list[Flow] = []
    purge: dict[Place, None] = {}
    for difference in differences:
        match difference:
            case Difference(wanted=Flow() as flow):
                add.append(flow)
            case Difference(found=Flow() as flow):
                delete.append(flow)
            case Difference(found=Strange(table=table, match=None, cookie=cookie)):
                purge[table, cookie] = None
            case Difference(found=Strange(match=match) as strange) if match is not None:
                delete.append(Flow(Table(strange.table), strange.priority, match, (), strange.cookie))
    if purge:
        add += [flow for flow in wanted if (flow.table, flow.cookie) in purge and flow not in add]
    return Change(tuple(delete), tuple(add), tuple(purge))


class Ledger:
    """One switch. `installed`: the flows that it is known to hold at the beginning."""

    def __init__(self, installed: Iterable[Flow]) -> None:
        self._wanted: dict[Key, Flow] = {flow.key: flow for flow in installed}
        self._found: dict[Key, Flow | Strange] = {}
        self._unsayable: dict[bytes, Strange] = {}  # what has no key
        self._reading: Mapping[bytes, Flow | Strange] = {}
        self._moving: deque[tuple[int, frozenset[Key]]] = deque()  # by ticket
        self._ended: set[Key] = set()  # of themselves, since the last reading
        self._suspects: set[Key] = set(self._wanted)  # to be compared with the next reading

    @property
    def wanted(self) -> Mapping[Key, Flow]:
        """All flows that should be there, those with a timeout included."""
        return self._wanted

    @property
    def read(self) -> int:
        """How many flows the last reading has found."""
        return len(self._found) + len(self._unsayable)

    def told(self, change: Change, ticket: int) -> None:
        """This was sent; it is carried out when the ticket is confirmed."""
        for flow in change.delete:
            self._wanted.pop(flow.key, None)
        for flow in change.add:
            self._wanted[flow.key] = flow
        self._moving.append((ticket, frozenset(flow.key for flow in (*change.delete, *change.add))))

    def ended(self, key: Key) -> None:
        """A flow's timeout is over; a reading on its way may still show it."""
        if self._wanted.pop(key, None) is not None:
            self._ended.add(key)

    def compare(self, reading: Mapping[bytes, Flow | Strange], ticket: int) -> tuple[Difference, ...]:
        """The differences in a reading that shows all that was told up to `ticket`."""
        self._take_in(reading)
        while self._moving and self._moving[0][0] <= ticket:
            self._suspects |= self._moving.popleft()[1]
        unsure = self._ended.union(*(keys for _, keys in self._moving))
        waiting = (self._suspects & unsure) | self._ended
        self._ended = set()
        differences = tuple(self._differing(self._suspects - unsure))
        self._suspects = waiting | {key for key, _ in differences}
        strange = (Difference(None, flow) for flow in self._unsayable.values())
        return (*(difference for _, difference in differences), *strange)

    def _take_in(self, reading: Mapping[bytes, Flow | Strange]) -> None:
        before = self._reading
        if reading is before:
            return
        self._reading = reading
        for what in before.keys() - reading.keys():
            key = before[what].key
            if key is None:
                del self._unsayable[what]
            else:
                self._found.pop(key, None)
                self._suspects.add(key)
        for what in reading.keys() - before.keys():
            flow = reading[what]
            key = flow.key
            if isinstance(flow, Strange) and key is None:
                self._unsayable[what] = flow
            elif key is not None:
                self._found[key] = flow
                self._suspects.add(key)
        if len(self._found) + len(self._unsayable) != len(reading):
            # A flow that got another cookie between two parts of the reading was in both.
            self._found = {flow.key: flow for flow in reading.values() if flow.key is not None}

    def _differing(self, keys: Iterable[Key]) -> Iterator[tuple[Key, Difference]]:
        for key in keys:
            wanted, found = self._wanted.get(key), self._found.get(key)
            if wanted != found:
                yield key, Difference(wanted, found)
