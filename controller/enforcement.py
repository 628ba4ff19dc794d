"""What is asked of each switch, and what is known to be in force there.

Keeps the compiled flows by origin, turns what has changed into the smallest change, and follows each
change by its ticket until the switch has confirmed it. Knows nothing of why a flow is wanted.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from controller.compile import (
    Pair,
    Policy,
    compile_binding,
    compile_device,
    compile_flows,
    compile_pair,
    compile_role,
)
from controller.events import SendFlows
from controller.flows import Change, Flow, difference
from controller.model.relationship import DeviceId
from controller.model.service import Place


@dataclass(slots=True)
class Dirty:
    """What has to be compiled again."""

    devices: set[DeviceId] = field(default_factory=set)
    pairs: set[Pair] = field(default_factory=set)
    switches: set[int] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.devices or self.pairs or self.switches)


class Enforcement:
    """The flows of every switch: wanted, sent, confirmed."""

    def __init__(self) -> None:
        self._wanted: dict[int, dict[str, tuple[Flow, ...]]] = {}
        self._temporary: defaultdict[int, dict[Flow, Pair]] = defaultdict(dict)
        self._origins: dict[int, str] = {}
        self._sent: dict[int, int] = {}  # last ticket by switch
        self._confirmed: dict[int, int] = {}
        self._next_ticket = 1

    def connect(self, policy: Policy, installed: Iterable[Flow]) -> SendFlows:
        """A switch is back with `installed` flows: make them what is wanted, touching no others."""
        switch = policy.ports.switch
        self._wanted[switch] = compile_flows(policy)
        for origin, flows in self._wanted[switch].items():
            self._note(origin, flows)
        numbers = {d.number: d.id for d in policy.devices.values()}
        alive = {
            (pair.client, pair.server): pair for pair, chosen in policy.pairs.items() if chosen != "drop"
        }
        kept, old = {}, []
        for flow in installed:
            if not flow.idle_timeout:
                old.append(flow)
                continue
            ends = (numbers.get(flow.match.source or 0), numbers.get(flow.match.destination or 0))
            pair = alive.get(ends) if ends[0] and ends[1] else None  # type: ignore[arg-type]
            if pair is None:
                old.append(flow)
            else:  # a settled connection goes on at line rate
                kept[flow] = pair
        self._temporary[switch] = kept
        wanted = (flow for flows in self._wanted[switch].values() for flow in flows)
        return self._send(switch, difference(old, wanted))

    def disconnect(self, switch: int) -> None:
        self._wanted.pop(switch, None)
        self._temporary.pop(switch, None)
        self._sent.pop(switch, None)
        self._confirmed.pop(switch, None)

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
        for origin, flows in fresh.items():
            change = difference(wanted.get(origin, ()), flows)
            delete += change.delete
            add += change.add
            if flows:
                wanted[origin] = flows
                self._note(origin, flows)
            else:
                wanted.pop(origin, None)
        for flow, pair in list(self._temporary[switch].items()):
            if pair in dirty.pairs:
                del self._temporary[switch][flow]
                delete.append(flow)
        # A key that moved from one origin to another must not be deleted after all.
        keys = {flow.key for flow in add}
        change = Change(tuple(f for f in delete if f.key not in keys), tuple(add))
        return self._send(switch, change) if change else None

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

    def temporary(self, switch: int, flow: Flow, pair: Pair) -> SendFlows | None:
        """Install a flow with a timeout; it is withdrawn early when its pair changes."""
        if switch not in self._wanted or flow in self._temporary[switch]:
            return None
        self._temporary[switch][flow] = pair
        self._note(f"{pair.origin} (for a short time)", (flow,))
        return self._send(switch, Change(add=(flow,)))

    def ended(self, switch: int, flow: Flow) -> None:
        """A flow's timeout is over."""
        for mine in [f for f in self._temporary[switch] if f.key == flow.key]:
            del self._temporary[switch][mine]

    def _note(self, origin: str, flows: Iterable[Flow]) -> None:
        for flow in flows:
            self._origins[flow.cookie] = origin

    def _send(self, switch: int, change: Change) -> SendFlows:
        ticket = self._next_ticket
        self._next_ticket += 1
        self._sent[switch] = ticket
        return SendFlows(switch, change, ticket)

    # What is in force?

    def confirm(self, switch: int, ticket: int) -> None:
        self._confirmed[switch] = max(ticket, self._confirmed.get(switch, 0))

    def asked(self) -> Mapping[int, int]:
        """The newest ticket of each connected switch: what must be confirmed for all to be in force."""
        return dict(self._sent)

    def in_force(self, tickets: Mapping[int, int]) -> bool:
        """Whether these tickets are confirmed; a switch that has gone does not count."""
        return all(self._confirmed.get(s, 0) >= t for s, t in tickets.items() if s in self._sent)

    def origin(self, cookie: int) -> str | None:
        """What a cookie stands for, e.g. "pair washing lock tcp-8082"."""
        return self._origins.get(cookie)

    def wanted(self, switch: int) -> tuple[Flow, ...]:
        """All flows that a switch should hold for ever."""
        return tuple(flow for flows in self._wanted.get(switch, {}).values() for flow in flows)

    def count(self, switch: int) -> int:
        return sum(map(len, self._wanted.get(switch, {}).values())) + len(self._temporary.get(switch, ()))
