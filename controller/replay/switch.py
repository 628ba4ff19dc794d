"""A switch in memory: what its flows do with a packet, with their timeouts and connection tracking.

Knows nothing of why the flows are there. The meaning of flows is that of flows/flow.py; this is an
index over them, so that a long recording does not take as long as it took.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from controller.flows.flow import (
    DESTINATION_REGISTER,
    SOURCE_REGISTER,
    Change,
    Fate,
    Flow,
    Key,
    Match,
    Packet,
    SetRegister,
    lookup,
)

FATES_AT_MOST: Final = 65536  # remembered at a time
TRACKED_AT_MOST: Final = 65536  # conversations
TRACKED_FOR: Final = 180.0  # seconds
_TCP: Final = 6

Talk = tuple[int | None, str | None, int | None, str | None, int | None]
Bucket = tuple[object, ...]


@dataclass(slots=True)
class _Temporary:
    """A flow with a timeout: when it came, and when it was last used."""

    flow: Flow
    since: float
    used: float

    def over(self, now: float) -> bool:
        flow = self.flow
        hard = bool(flow.hard_timeout) and now >= self.since + flow.hard_timeout
        return hard or (bool(flow.idle_timeout) and now >= self.used + flow.idle_timeout)


def _bucket(match: Match) -> Bucket:
    """Where a flow is found by a packet that may meet it; by what tells packets apart best."""
    if match.eth_src is not None:
        return "from", match.eth_src
    if match.eth_dst is not None:
        return "to", match.eth_dst
    if match.source is not None or match.destination is not None:
        return "between", match.source, match.destination
    return ()


class Switch:
    """Flows in, fates out."""

    def __init__(self) -> None:
        self.flows: dict[Key, Flow] = {}
        self._buckets: dict[Bucket, dict[Key, Flow]] = {}
        self._temporary: dict[Key, _Temporary] = {}
        self._ports: Counter[int] = Counter()  # that flows ask for
        self._flags = 0  # of TCP that flows ask for
        self._fates: dict[Packet, Fate] = {}
        self._tracked: dict[Talk, float] = {}

    def apply(self, change: Change, now: float) -> None:
        """Carry a change out."""
        for flow in change.delete:
            self._remove(flow.key)
        for flow in change.add:
            self._remove(flow.key)
            self._add(flow, now)
        self._fates.clear()

    def _add(self, flow: Flow, now: float) -> None:
        key, match = flow.key, flow.match
        self.flows[key] = flow
        self._buckets.setdefault(_bucket(match), {})[key] = flow
        self._ports.update(port for port in (match.src_port, match.dst_port) if port is not None)
        if match.tcp_flags is not None:
            self._flags |= match.tcp_flags[1]
        if flow.idle_timeout or flow.hard_timeout:
            self._temporary[key] = _Temporary(flow, now, now)

    def _remove(self, key: Key) -> Flow | None:
        flow = self.flows.pop(key, None)
        if flow is None:
            return None
        self._temporary.pop(key, None)
        bucket = _bucket(flow.match)
        del self._buckets[bucket][key]
        if not self._buckets[bucket]:
            del self._buckets[bucket]
        for port in (flow.match.src_port, flow.match.dst_port):
            if port is not None:
                self._ports[port] -= 1
                if not self._ports[port]:
                    del self._ports[port]
        return flow

    def ended(self, now: float) -> tuple[Flow, ...]:
        """Take out the flows whose time is over, and give them back."""
        over = [key for key, temporary in self._temporary.items() if temporary.over(now)]
        gone = tuple(flow for key in over if (flow := self._remove(key)) is not None)
        if gone:
            self._fates.clear()
        return gone

    def fate(self, packet: Packet, now: float) -> Fate:
        """What becomes of a packet; its `answer` is filled in from the conversations so far."""
        talk: Talk | None = None
        answer = False
        if packet.ip_proto != _TCP and packet.dst_port is not None:
            talk = (packet.ip_proto, packet.ip_src, packet.src_port, packet.ip_dst, packet.dst_port)
            answer = self._continues(
                (packet.ip_proto, packet.ip_dst, packet.dst_port, packet.ip_src, packet.src_port), now
            )
        ports, flags = self._ports, packet.tcp_flags
        alike = Packet(
            packet.in_port,
            packet.eth_src,
            packet.eth_dst,
            packet.eth_type,
            packet.tagged,
            packet.ip_proto,
            packet.ip_src,
            packet.ip_dst,
            packet.src_port if packet.src_port in ports else None,
            packet.dst_port if packet.dst_port in ports else None,
            packet.icmp_type,
            packet.nd_target,
            packet.told_mac,
            None if flags is None else flags & self._flags,
            answer,
        )
        fate = self._fates.get(alike)
        if fate is None:
            if len(self._fates) >= FATES_AT_MOST:
                self._fates.clear()
            fate = self._fates[alike] = lookup(self._candidates(alike), alike)
        for flow in fate.flows:
            if flow.idle_timeout and (temporary := self._temporary.get(flow.key)) is not None:
                temporary.used = now
        if fate.committed and talk is not None and not answer:
            self._track(talk, now)
        return fate

    def _continues(self, talk: Talk, now: float) -> bool:
        last = self._tracked.get(talk)
        if last is None or now >= last + TRACKED_FOR:
            return False
        self._tracked[talk] = now
        return True

    def _track(self, talk: Talk, now: float) -> None:
        if len(self._tracked) >= TRACKED_AT_MOST:
            self._tracked = {t: at for t, at in self._tracked.items() if now < at + TRACKED_FOR}
            if len(self._tracked) >= TRACKED_AT_MOST:
                self._tracked.clear()
        self._tracked[talk] = now

    def _candidates(self, packet: Packet) -> Iterator[Flow]:
        """All flows that the packet can meet, and some that it does not."""
        found: list[Flow] = []
        for bucket in ((), ("from", packet.eth_src), ("to", packet.eth_dst)):
            found.extend(self._buckets.get(bucket, {}).values())
        numbers: dict[int, set[int | None]] = {SOURCE_REGISTER: {None, 0}, DESTINATION_REGISTER: {None, 0}}
        for flow in found:
            for action in flow.actions:
                if isinstance(action, SetRegister):
                    numbers[action.register].add(action.value)
        yield from found
        for source in numbers[SOURCE_REGISTER]:
            for destination in numbers[DESTINATION_REGISTER]:
                yield from self._buckets.get(("between", source, destination), {}).values()
