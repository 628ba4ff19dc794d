"""What is asked of each switch, and what is known to be in force there.

Keeps the compiled flows by origin, turns what has changed into the smallest change, and follows each
change by its ticket until the switch has confirmed it. Knows nothing of why a flow is wanted.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from controller.events import SendFlows
from controller.firewall.ledger import Difference, Ledger, repair
from controller.flows.compile import (
    TCP,
    Pair,
    Policy,
    compile_binding,
    compile_device,
    compile_flows,
    compile_pair,
    compile_role,
)
from controller.flows.flow import Change, Flow, Key, Strange, cookie_of, difference
from controller.model.relationship import DeviceId, Endpoint
from controller.model.service import Place


@dataclass(slots=True)
class Dirty:
    """What has to be compiled again."""

    devices: set[DeviceId] = field(default_factory=set)
    pairs: set[Pair] = field(default_factory=set)
    switches: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.devices or self.pairs or self.switches)


TEMPORARY_AT_MOST = 500  # short-lived flows of one owner; further connections stay inspected

Owner = Pair | str  # what a short-lived flow is withdrawn with: a pair, a device that waits, or a port


class _Temporary:
    """The flows with a timeout that one switch holds, by key and by what they belong to."""

    def __init__(self) -> None:
        self._flows: dict[Key, tuple[Flow, Owner]] = {}
        self._of: defaultdict[Owner, dict[Key, None]] = defaultdict(dict)

    def add(self, flow: Flow, owner: Owner) -> bool:
        """False when it is there already, or its owner has too many."""
        if flow.key in self._flows or len(self._of[owner]) >= TEMPORARY_AT_MOST:
            return False
        self._flows[flow.key] = (flow, owner)
        self._of[owner][flow.key] = None
        return True

    def remove(self, key: Key) -> Flow | None:
        found = self._flows.pop(key, None)
        if found is None:
            return None
        flow, owner = found
        del self._of[owner][key]
        if not self._of[owner]:
            del self._of[owner]
        return flow

    def of(self, owner: Owner) -> tuple[Key, ...]:
        return tuple(self._of.get(owner, ()))

    def by_owner(self) -> dict[Owner, tuple[Flow, ...]]:
        return {owner: tuple(self._flows[key][0] for key in keys) for owner, keys in self._of.items()}

    def __iter__(self) -> Iterator[Flow]:
        return (flow for flow, _ in self._flows.values())

    def __len__(self) -> int:
        return len(self._flows)


@dataclass(frozen=True, slots=True)
class FlowsOfPairs:
    """The flows of pairs at one moment, those with a timeout among them, by switch."""

    _lasting: Mapping[int, Mapping[str, tuple[Flow, ...]]]
    _temporary: Mapping[int, Mapping[Owner, tuple[Flow, ...]]]

    def of(self, pair: Pair) -> Iterator[tuple[int, Flow]]:
        origin = pair.origin
        for switch, lasting in self._lasting.items():
            for flow in (*lasting.get(origin, ()), *self._temporary.get(switch, {}).get(pair, ())):
                yield switch, flow


class Enforcement:
    """The flows of every switch: wanted, sent, confirmed."""

    def __init__(self) -> None:
        self._wanted: dict[int, dict[str, tuple[Flow, ...]]] = {}
        self._temporary: defaultdict[int, _Temporary] = defaultdict(_Temporary)
        self._ledgers: dict[int, Ledger] = {}
        self._origins: dict[int, str] = {}
        self._sent: dict[int, int] = {}  # last ticket by switch
        self._confirmed: dict[int, int] = {}
        self._next_ticket = 1

    def connect(
        self, policy: Policy, installed: Iterable[Flow], lasting: Callable[[Pair], bool]
    ) -> SendFlows:
        """A switch is back with `installed` flows: make them what is wanted, touching no others.

        A settled connection goes on at line rate if its pair is `lasting`: nothing that could use
        it is denied or asked about.
        """
        switch = policy.ports.switch
        self._forget(self._wanted.get(switch, ()), switch)
        self._wanted[switch] = compile_flows(policy)
        for origin, flows in self._wanted[switch].items():
            self._note(origin, flows)
        numbers = {d.number: d.id for d in policy.devices.values()}
        installed = tuple(installed)
        self._ledgers[switch] = Ledger(installed)
        old = []
        self._temporary[switch] = kept = _Temporary()
        for flow in installed:
            pair = self._pair_of(flow, numbers) if flow.idle_timeout else None
            if pair is None or not lasting(pair) or not kept.add(flow, pair):
                old.append(flow)
            else:
                self._note(f"{pair.origin} (for a short time)", (flow,))
        wanted = (flow for flows in self._wanted[switch].values() for flow in flows)
        return self._send(switch, difference(old, wanted))

    @staticmethod
    def _pair_of(flow: Flow, numbers: Mapping[int, DeviceId]) -> Pair | None:
        """The pair that a settled connection belongs to (compile_connection)."""
        match = flow.match
        client, server = numbers.get(match.source or 0), numbers.get(match.destination or 0)
        if client is None or server is None or match.ip_proto != TCP or match.dst_port is None:
            return None
        return Pair(client, server, Endpoint("tcp", match.dst_port))

    def expect(self, switch: int) -> None:
        """A switch that is not connected, or not ready: nothing is in force there until it has confirmed."""
        self._sent[switch] = self._next_ticket
        self._next_ticket += 1

    def disconnect(self, switch: int) -> None:
        """A switch is gone; it goes on by the flows it has, which nobody can change."""
        self._forget(self._wanted.pop(switch, ()), switch)
        self._ledgers.pop(switch, None)
        for flow in self._temporary.pop(switch, ()):
            self._origins.pop(flow.cookie, None)
        self.expect(switch)

    def refresh(self, policy: Policy, dirty: Dirty) -> SendFlows | None:
        """Compile what is dirty on one switch again, and send what differs; None if nothing does."""
        switch = policy.ports.switch
        wanted = self._wanted.get(switch)
        if wanted is None:
            return None
        if switch in dirty.switches:
            fresh = compile_flows(policy)
            stale = {origin: () for origin in wanted if origin not in fresh}
            fresh.update(stale)
        else:
            fresh = dict(self._compile(policy, dirty))
        delete: list[Flow] = []
        add: list[Flow] = []
        gone = []
        for origin, flows in fresh.items():
            change = difference(wanted.get(origin, ()), flows)
            delete += change.delete
            add += change.add
            if flows:
                wanted[origin] = flows
                self._note(origin, flows)
            elif wanted.pop(origin, None) is not None:
                gone.append(origin)
        self._forget(gone, switch)
        delete += self._withdraw(switch, (*dirty.pairs, *dirty.devices))
        # A key that moved from one origin to another must not be deleted after all.
        keys = {flow.key for flow in add}
        change = Change(tuple(f for f in delete if f.key not in keys), tuple(add))
        return self._send(switch, change) if change else None

    def _withdraw(self, switch: int, owners: Iterable[Owner]) -> Iterator[Flow]:
        held = self._temporary[switch]
        for owner in owners:
            for key in held.of(owner):
                flow = held.remove(key)
                if flow is not None:
                    self._origins.pop(flow.cookie, None)
                    yield flow

    def _compile(self, policy: Policy, dirty: Dirty) -> Iterable[tuple[str, tuple[Flow, ...]]]:
        for name in dirty.devices:
            device = policy.devices.get(name)
            if device is None:
                continue
            yield f"device {name}", compile_device(policy, device)
            if device.place is Place.SITE:
                yield f"binding {name}", compile_binding(policy, device)
                yield f"role {name}", compile_role(policy, device)
        for pair in dirty.pairs:
            chosen = policy.pairs.get(pair)
            yield pair.origin, () if chosen is None else compile_pair(policy, pair, chosen)

    def temporary(self, switch: int, flow: Flow, owner: Owner) -> SendFlows | None:
        """Install a flow with a timeout; it is withdrawn early when its owner changes."""
        if switch not in self._wanted or not self._temporary[switch].add(flow, owner):
            return None
        origin = owner.origin if isinstance(owner, Pair) else f"silence of {owner}"
        self._note(f"{origin} (for a short time)", (flow,))
        return self._send(switch, Change(add=(flow,)))

    def carry_nothing(self) -> Iterator[SendFlows]:
        """Withdraw the flows of settled connections: whoever inspects now knows nothing of them."""
        for switch in self._ledgers:
            gone = tuple(flow for flow in self._temporary[switch] if flow.idle_timeout)
            for flow in gone:
                self._lapse(switch, flow.key)
            if gone:
                yield self._send(switch, Change(delete=gone))

    def ended(self, switch: int, flow: Flow) -> None:
        """A flow's timeout is over."""
        if switch in self._ledgers:
            self._ledgers[switch].ended(flow.key)
        self._lapse(switch, flow.key)

    def _lapse(self, switch: int, key: Key) -> None:
        mine = self._temporary[switch].remove(key)
        if mine is not None:
            self._origins.pop(mine.cookie, None)

    def _note(self, origin: str, flows: Iterable[Flow]) -> None:
        for flow in flows:
            self._origins[flow.cookie] = origin

    def _forget(self, origins: Iterable[str], switch: int) -> None:
        """Origins that a switch has no flows of any more, unless another one has."""
        others = [wanted for other, wanted in self._wanted.items() if other != switch]
        for origin in origins:
            if not any(origin in wanted for wanted in others):
                self._origins.pop(cookie_of(origin), None)

    def _send(self, switch: int, change: Change) -> SendFlows:
        ticket = self._next_ticket
        self._next_ticket += 1
        self._sent[switch] = ticket
        self._ledgers[switch].told(change, ticket)
        return SendFlows(switch, change, ticket)

    # Is it there?

    def serves(self, switch: int) -> bool:
        """Whether the switch is connected and was told what it should hold."""
        return switch in self._ledgers

    def compare(
        self, switch: int, reading: Mapping[bytes, Flow | Strange], ticket: int
    ) -> tuple[Difference, ...]:
        """How a reading, begun when all up to `ticket` was carried out, differs from what is asked for.

        A flow with a timeout may end at any moment, so its absence is none.
        """
        ledger = self._ledgers.get(switch)
        if ledger is None:
            return ()
        differing = []
        for found in ledger.compare(reading, ticket):
            wanted = found.wanted
            if found.found is None and wanted is not None and (wanted.idle_timeout or wanted.hard_timeout):
                self.ended(switch, wanted)
            else:
                differing.append(found)
        return tuple(differing)

    def repair(self, switch: int, differences: Iterable[Difference]) -> SendFlows:
        """Make the switch hold what is asked for."""
        return self._send(switch, repair(differences, self._ledgers[switch].wanted.values()))

    def numbers(self, switch: int) -> tuple[int, int]:
        """How many flows a switch should hold, and how many it was last read to hold."""
        ledger = self._ledgers.get(switch)
        return (0, 0) if ledger is None else (len(ledger.wanted), ledger.read)

    # What is in force?

    def confirm(self, switch: int, ticket: int) -> None:
        self._confirmed[switch] = max(ticket, self._confirmed.get(switch, 0))

    def asked(self) -> Mapping[int, int]:
        """What each switch must have confirmed for all to be in force, as tickets."""
        return dict(self._sent)

    def in_force(self, tickets: Mapping[int, int]) -> bool:
        """Whether these tickets, or later ones, are confirmed."""
        return all(self._confirmed.get(switch, 0) >= ticket for switch, ticket in tickets.items())

    def origin(self, cookie: int) -> str | None:
        """What a cookie stands for, e.g. "pair washing lock tcp-8082"."""
        return self._origins.get(cookie)

    def wanted(self, switch: int) -> tuple[Flow, ...]:
        """All flows that a switch should hold for ever."""
        return tuple(flow for flows in self._wanted.get(switch, {}).values() for flow in flows)

    def of_pairs(self) -> "FlowsOfPairs":
        """The flows of all pairs as they are now, to keep."""
        held = {switch: held.by_owner() for switch, held in self._temporary.items()}
        return FlowsOfPairs({switch: flows.copy() for switch, flows in self._wanted.items()}, held)

    def count(self, switch: int) -> int:
        return sum(map(len, self._wanted.get(switch, {}).values())) + len(self._temporary.get(switch, ()))
