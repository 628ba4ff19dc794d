"""The firewall: events in, effects out. This is the whole behaviour of Graphwall, without any I/O.

`handle` decides; the shell (app.py) carries the effects out, strictly in order, and feeds back what
came of them. Time is a parameter. Knows nothing of sockets, threads, files or clocks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

from controller.config import Config
from controller.events import (
    CARRIED,
    Answer,
    Applied,
    Block,
    ConnectionSettled,
    Decide,
    Done,
    Effect,
    Event,
    FlowCounters,
    FlowGone,
    FlowsRead,
    Forget,
    Import,
    InspectorCounters,
    InspectorDown,
    InspectorUp,
    Learn,
    LeaseSeen,
    MeterChanged,
    Move,
    NameSeen,
    NotStored,
    Observed,
    PacketIn,
    Pause,
    Persist,
    PortChanged,
    Record,
    RefusalWanted,
    Refused,
    Rename,
    Report,
    SameAs,
    SendFlows,
    ServeSwitches,
    ServiceAnnounced,
    SwitchDown,
    SwitchUp,
    Tick,
    Undo,
    UpdateTable,
    Verify,
)
from controller.firewall.checks import Checks
from controller.firewall.decisions import Decisions
from controller.firewall.enforcement import Dirty, Enforcement
from controller.firewall.fabric import Fabric
from controller.firewall.hosts import Hosts, Silence
from controller.firewall.learning import Learner
from controller.firewall.outcome import Before, Outcome
from controller.firewall.state import State, switch_of
from controller.firewall.views import build_view
from controller.flows.compile import (
    Pair,
    Policy,
    compile_connection,
    compile_flood,
    compile_refusal,
    compile_silence,
    family,
)
from controller.flows.flow import Flow, Table
from controller.model.relationship import DeviceId, Treatment
from controller.model.service import Binding, Device, Place
from controller.view import SiteView
from controller.words import visible

_VISIBLE = (SwitchUp, SwitchDown, PortChanged, InspectorUp, InspectorDown)  # changes beside the model's
SAVE_EVERY = 0.5  # seconds between two saves of what was learnt
PROVE_EVERY = 10.0  # seconds between two comparisons of what is asked for with the whole model
SAY_AGAIN = 60.0  # seconds between two log lines about the same flood
LINKS_WITHIN = 2.0  # seconds that a reconnecting switch may wait for its links to be found again


@dataclass(slots=True)
class Enforced:
    """What a decision has to wait for before it is in force, and when it was."""

    version: int
    tickets: Mapping[int, int]
    since: float
    at: float | None = None


class Firewall:
    """The state of the site and its rules.

    `saved` is what the store holds; `secret` signs LLDP and must be the same after a restart.
    """

    def __init__(self, config: Config, saved: Record | None, secret: bytes) -> None:
        self._config = config
        self._state = State(config, saved)
        self._fabric = Fabric(secret, {s.dpid: s.trunks for s in config.switches if s.trunks is not None})
        self._enforcement = Enforcement()
        self._checks = Checks(self._state, self._fabric, self._enforcement)
        self._learner = Learner(self._state)
        self._hosts = Hosts(self._state, self._fabric)
        self._decisions = Decisions(self._state, self._learner)
        self._policies: dict[int, Policy] = {}
        self._way_out: tuple[DeviceId, str | None, Binding | None] | None = None  # as flows know it
        self._waiting: dict[int, tuple[SwitchUp, float]] = {}
        self._missed: dict[int, set[Pair]] = {}  # what has changed for a switch while it was away
        self._enforced: dict[int, Enforced] = {}
        self._unsettled: set[int] = set()  # the decisions that are not in force yet
        self._inspects: int | None = None  # the process that has inspected last
        self._unstored: tuple[int, Before, Persist, int] | None = None
        self._flow_counters: dict[int, Mapping[int, tuple[int, int]]] = {}
        self._inspector = False
        self._inspected = False  # there has been an inspector
        self._applied = 0
        self._changed_at: dict[Pair, int] = {}  # versions of the table that are not applied yet
        self._whole_at = 0
        self._flooded_at: dict[DeviceId, float] = {}
        self._interfaces: tuple[tuple[int, str, str], ...] = ()
        self._save_at = 0.0
        self._prove_at = 0.0
        self._configured = False

    @property
    def config(self) -> Config:
        return self._config

    def handle(self, event: Event, now: float) -> Sequence[Effect]:
        """What has to be done after an event at `now` (seconds since the epoch)."""
        if not self._configured:
            self._configured = True
            self._hosts.configure(now)
        match event:
            case Decide() | Undo() | Learn() | Rename() | Move() | Block() | Pause() | SameAs() | Import():
                lines = self._state.unsaved_lines
                return self._command(self._decisions.carry_out(event, now), lines, now)
            case NotStored():
                return self._not_stored(event, now)
            case Forget():
                return self._forget(event, now)
            case Verify():
                return self._verify(event, now)
        if isinstance(event, _VISIBLE):
            self._state.revision += 1
        effects: list[Effect] = list(self._happened(event, now))
        effects += self._enforce()
        self._settle(now)
        used_up = isinstance(event, Observed) and event.consumed  # it must not come back with a restart
        due = now >= self._save_at or now < self._save_at - 10 * SAVE_EVERY
        if self._state.has_unsaved and (due or used_up):
            self._save_at = now + SAVE_EVERY
            effects.append(Persist(self._state.unsaved()))
        return effects

    def stop(self, now: float) -> Sequence[Effect]:  # noqa: ARG002  # as handle and view are told the time
        """The last effects: save what is not saved yet. The switches keep their flows."""
        return [Persist(self._state.unsaved())] if self._state.has_unsaved else []

    def view(self, now: float) -> SiteView:
        """The site as it is, for other threads to read."""
        return build_view(
            self._state,
            self._fabric,
            self._enforcement,
            self._learner,
            {name: (done.at is not None, None if done.at is None else done.at - done.since)
             for name, done in self._enforced.items()},
            self._flow_counters,
            self._inspector,
            now,
        )  # fmt: skip

    # Events

    def _happened(self, event: Event, now: float) -> Sequence[Effect]:
        state = self._state
        match event:
            case Tick():
                return self._tick(now)
            case SwitchUp():
                return self._switch_up(event, now)
            case SwitchDown():
                self._fabric.switch_down(event.switch)
                self._enforcement.disconnect(event.switch)
                self._policies.pop(event.switch, None)
                self._waiting.pop(event.switch, None)
                self._missed.setdefault(event.switch, set())
                return [Report("warning", f"switch {event.switch} is gone; it goes on by the flows it has")]
            case PortChanged():
                if self._fabric.port_changed(event.switch, event.port, event.gone, now):
                    self._layout_changed()
            case PacketIn():
                return self._packet_in(event, now)
            case Done():
                self._enforcement.confirm(event.switch, event.ticket)
            case Refused():
                return self._refused(event, now)
            case FlowGone():
                self._enforcement.ended(event.switch, event.flow)
            case FlowsRead():
                return self._checks.read(event, now)
            case MeterChanged():
                return self._checks.meter_changed(event, now)
            case FlowCounters():
                self._flow_counters[event.switch] = event.counters
            case Observed():
                self._learner.observed(event, now)
            case ConnectionSettled():
                return self._settled(event, now)
            case RefusalWanted():
                return self._refusal(event, now)
            case NameSeen():
                self._learner.named(event, now)
            case LeaseSeen():
                self._hosts.lease(event, now)
            case ServiceAnnounced():
                self._learner.announced(event, now)
            case InspectorUp():
                self._inspector = self._inspected = True
                self._applied, self._whole_at = 0, state.version
                self._changed_at.clear()
                state.deltas.clear()
                self._interfaces = self._fabric.interfaces()
                another = event.process != self._inspects
                self._inspects = event.process
                return [
                    *(self._enforcement.carry_nothing() if another else ()),
                    ServeSwitches(self._interfaces),
                    UpdateTable(state.version, tuple(state.table.deltas()), whole=True),
                ]
            case Applied():
                self._applied = max(self._applied, event.version)
                self._changed_at = {p: v for p, v in self._changed_at.items() if v > self._applied}
            case InspectorDown():
                self._inspector, self._applied = False, 0
                return [
                    Report(
                        "warning", "the inspector is gone; what must be judged is dropped until it is back"
                    )
                ]
            case InspectorCounters():
                for name, count in event.counters.items():
                    state.counters[f"inspector {name}"] = count
            case (
                Decide()
                | Undo()
                | Learn()
                | Rename()
                | Move()
                | Block()
                | Pause()
                | SameAs()
                | Import()
                | NotStored()
                | Forget()
                | Verify()
            ):
                raise AssertionError("commands are handled before")
            case _:
                assert_never(event)
        return []

    def _tick(self, now: float) -> Sequence[Effect]:
        self._learner.tick(now)
        self._decisions.tick(now)
        changed, frames = self._fabric.tick(now)
        effects: list[Effect] = [*frames, *self._checks.tick(now)]
        if changed:
            self._layout_changed()
        for switch, (event, until) in list(self._waiting.items()):
            if now >= until or not self._unknown_trunks(event):
                del self._waiting[switch]
                effects.append(self._connect(event, now))
        return effects

    # Switches

    def _switch_up(self, event: SwitchUp, now: float) -> Sequence[Effect]:
        self._fabric.switch_up(event.switch, event.ports, now)
        self._hosts.configure(now)
        self._layout_changed()
        effects: list[Effect] = []
        if self._unknown_trunks(event):
            # It goes on by its old flows while LLDP finds out again what its trunks lead to.
            self._waiting[event.switch] = (event, now + LINKS_WITHIN)
            self._missed.setdefault(event.switch, set())
            self._enforcement.expect(event.switch)
        else:
            effects.append(self._connect(event, now))
        _, frames = self._fabric.tick(now)
        return [*effects, *frames]

    def _unknown_trunks(self, event: SwitchUp) -> bool:
        ports = self._fabric.layout(event.switch)
        used = {
            flow.match.in_port
            for flow in event.flows
            if flow.table is Table.ADMISSION and flow.match.eth_src is None and flow.actions
        }
        return bool(used - {None, ports.inspection, ports.copy} - ports.trunks)

    def _connect(self, event: SwitchUp, now: float) -> SendFlows:
        policy = self._policy(event.switch)
        missed = self._missed.pop(event.switch, set())

        def lasting(pair: Pair) -> bool:
            return pair not in missed and self._state.lasting(pair, now)

        self._state.dirty.switches.discard(event.switch)  # all of it is compiled here
        return self._enforcement.connect(policy, event.flows, lasting)

    def _layout_changed(self) -> None:
        """Ports, links or switches have changed: every policy is made anew."""
        for device in list(self._state.site.devices.values()):
            binding = device.binding
            if binding is not None and (binding.switch, binding.port) in self._fabric.topology.trunks:
                self._state.put_device(replace(device, binding=None))
        self._policies.clear()
        self._state.dirty.switches |= set(self._fabric.switches)

    def _policy(self, switch: int) -> Policy:
        policy = self._policies.get(switch)
        if policy is None:
            policy = self._make_policy(switch)
            self._policies[switch] = policy
        return policy

    def _make_policy(self, switch: int) -> Policy:
        site = self._state.site
        towards: dict[DeviceId, int] = {}
        attached: set[DeviceId] = set()
        for device in site.devices.values():
            self._locate(device, switch, towards, attached)
        return Policy(
            ports=self._fabric.layout(switch),
            devices=site.devices,
            towards=towards,
            attached=attached,
            pairs=self._state.pairs,
            networks=self._config.networks,
            router=site.router,
            listening=self._state.listening,
            shared=site.shared,
        )

    def _locate(
        self, device: Device, switch: int, towards: dict[DeviceId, int], attached: set[DeviceId]
    ) -> None:
        towards.pop(device.id, None)
        attached.discard(device.id)
        if switch_of(self._state.site, device) == switch:
            attached.add(device.id)
        if device.binding is None:
            return
        if device.binding.switch == switch:
            towards[device.id] = device.binding.port
        else:
            port = self._fabric.topology.port_towards(switch, device.binding.switch)
            if port is not None:
                towards[device.id] = port

    def _packet_in(self, event: PacketIn, now: float) -> Sequence[Effect]:
        if event.frame[12:14] == b"\x88\xcc":
            before = self._fabric.topology.links
            if self._fabric.lldp_seen(event.switch, event.port, event.frame, now):
                self._layout_changed()
            for link in sorted(self._fabric.topology.links - before):
                one, other = (f"port {port} of switch {switch}" for switch, port in link.ends())
                text = f"{one} leads to {other}: what comes in there was judged on the other side"
                self._state.note("link", text, now)
            return []
        results = self._hosts.packet_in(event, now)
        effects = self._enforce()  # before the frame is sent through the tables again
        for result in results:
            if not isinstance(result, Silence):
                effects.append(result)
                continue
            flow = compile_silence(result.port, result.mac, result.waits is not None)
            owner = result.waits or f"port {result.port}"
            sent = self._enforcement.temporary(result.switch, flow, owner)
            effects += [sent] if sent else []
        return effects

    def _refused(self, event: Refused, now: float) -> Sequence[Effect]:
        self._state.counters["flows refused by a switch"] += 1
        self._checks.refused(event, now)
        origin = self._enforcement.origin(event.cookie) if event.cookie is not None else None
        text = f"switch {event.switch} refused the flow of {origin or 'an unknown origin'}: {event.error}"
        self._state.note("refused", text, now, subject=origin or "")
        return [Report("error", text)]

    # Short-lived flows

    def _ends(self, client_address: str, server_address: str) -> tuple[Device, Device] | None:
        site, table = self._state.site, self._state.table
        client, server = table.device_at(client_address), table.device_at(server_address)
        if client is None or server is None or client not in site.devices or server not in site.devices:
            return None
        return site.devices[client], site.devices[server]

    def _settled(self, event: ConnectionSettled, now: float) -> Sequence[Effect]:
        ends = self._ends(event.client_address, event.server_address)
        if ends is None:
            return []
        client, server = ends
        switch = switch_of(self._state.site, client)
        pair = next(
            (
                pair
                for pair, chosen in self._state.pairs_of(client.id, server.id)
                if pair.endpoint.transport == "tcp"
                and pair.endpoint.port == event.server_port
                and chosen != "drop"
            ),
            None,
        )
        if switch is None or pair is None or not server.addresses >= {event.server_address}:
            return []
        if self._state.paused(pair) and not self._state.lasting(pair, now):
            return []  # a pause ends by the clock, also when nobody is there to withdraw a flow
        if self._applied < max(self._whole_at, self._changed_at.get(pair, 0)):
            return []  # said before the inspector knew what has changed since
        flow = compile_connection(
            client,
            server,
            (event.client_address, event.server_address),
            (event.client_port, event.server_port),
            max(1, int(self._config.connection_idle)),
            CARRIED,
        )
        sent = self._enforcement.temporary(switch, flow, pair)
        return [sent] if sent else []

    def _refusal(self, event: RefusalWanted, now: float) -> Sequence[Effect]:
        effects = list(self._flood(event, now)) if event.flood else []
        ends = self._ends(event.client_address, event.server_address)
        if ends is None:
            return effects
        client, server = ends
        switch = switch_of(self._state.site, client)
        pair = Pair(client.id, server.id, event.endpoint)
        allowed = any(r.status.allows for r in self._state.site.between_devices(client.id, server.id))
        watched = self._state.pairs.get(pair) is Treatment.WATCH
        if switch is None or (allowed and not watched and not event.flood):  # what is allowed would go along
            return effects
        seconds = max(1, int(self._config.refusal))
        # What is watched and not allowed as a whole is read before it is forwarded, for a while.
        instead = self._policy(switch).ports.inspect if allowed and watched and not event.flood else ()
        flow = compile_refusal(client, server, event.endpoint, family(event.client_address), seconds, instead)
        sent = self._enforcement.temporary(switch, flow, pair) if flow else None
        return [*effects, sent] if sent else effects

    def _flood(self, event: RefusalWanted, now: float) -> Iterator[Effect]:
        """A device that floods waits with all that it was not allowed before, so that no other has to."""
        site = self._state.site
        client = site.devices.get(self._state.table.device_at(event.client_address) or DeviceId(""))
        switch = switch_of(site, client) if client is not None else None
        if client is None or switch is None or client.place is not Place.SITE:
            return
        flow = compile_flood(client)
        sent = self._enforcement.temporary(switch, flow, Pair(client.id, client.id, event.endpoint))
        if sent is None:
            return
        yield sent
        if not 0 <= now - self._flooded_at.get(client.id, -SAY_AGAIN) < SAY_AGAIN:
            self._flooded_at[client.id] = now
            text = f"{visible(client.name)} floods with what is denied; nothing new of it is looked at now"
            self._state.note("flood", text, now, subject=client.id)
            yield Report("warning", text)

    # Commands

    def _command(self, outcome: Outcome, lines: int, now: float) -> Sequence[Effect]:
        """What a command leads to; `lines` of the log were unsaved before it."""
        answer = outcome.answer
        if outcome.before is None:
            return [answer]
        enforce = self._enforce()
        if outcome.decision is not None:
            self._enforced[outcome.decision.id] = Enforced(
                self._state.version if self._inspected else 0, self._enforcement.asked(), now
            )
            self._unsettled.add(outcome.decision.id)
            self._settle(now)
        record = self._state.unsaved()
        if outcome.decision is not None:
            record = replace(record, decisions=(outcome.decision,))
        persist = Persist(record, answer.token)
        self._unstored = (answer.token, outcome.before, persist, lines)
        # A crash between two steps must leave traffic blocked.
        return [*enforce, persist, answer] if outcome.restricts else [persist, *enforce, answer]

    def _not_stored(self, event: NotStored, now: float) -> Sequence[Effect]:
        if self._unstored is None or self._unstored[0] != event.token:
            return []
        _, before, persist, lines = self._unstored
        self._unstored = None
        self._decisions.take_back(before)
        self._state.save_again(persist.record)
        self._state.save_lines_again(persist.record.audit[:lines])
        self._state.unsay(persist.record.audit[lines:])
        if before.made is not None:
            self._enforced.pop(before.made, None)
            self._unsettled.discard(before.made)
        answer = Answer(
            event.token,
            code="not stored",
            message=f"the decision could not be stored, so nothing was changed: {event.error}",
            remedy="free some space or mend the state folder, then decide again",
        )
        self._state.note("not stored", answer.message, now)
        return [*self._enforce(), answer, Report("error", answer.message)]

    def _forget(self, event: Forget, now: float) -> Sequence[Effect]:
        """What nobody knows any more is denied, so that a store that fails may do its part later."""
        device = self._state.site.devices.get(event.device)
        if device is None or device.place is not Place.SITE:
            text = f"no device here has the id {visible(event.device)}"
            return [Answer(event.token, code="not found", message=text, remedy="see 'graphwall devices'")]
        if any(device.mac == known.mac for known in self._config.devices):
            text = f"{visible(device.name)} is described in site.yaml"
            return [Answer(event.token, code="not allowed", message=text, remedy="take it out there first")]
        for number in self._state.forget(device.id):
            self._enforced.pop(number, None)
            self._unsettled.discard(number)
        self._policies.clear()
        self._state.dirty.switches |= set(self._fabric.switches)
        text = f"{visible(device.name)} ({device.mac}) is forgotten"
        self._state.note("forgotten", text, now, by=event.by, subject=device.id)
        return [*self._enforce(), Persist(self._state.unsaved()), Answer(event.token)]

    def _verify(self, event: Verify, now: float) -> Sequence[Effect]:
        """What is asked for is made from the whole model again, and then compared with what is there."""
        if not self._prove_at - PROVE_EVERY <= now < self._prove_at:
            self._prove_at = now + PROVE_EVERY
            self._policies.clear()
            self._state.dirty.switches |= set(self._fabric.switches)
        return [*self._enforce(), *self._checks.verify(event, now)]

    # Carrying out what has changed

    def _enforce(self) -> list[Effect]:
        """The effects that bring switches and inspector up to the model."""
        state = self._state
        effects: list[Effect] = []
        if state.deltas:
            state.version += 1
            if self._inspector:
                effects.append(UpdateTable(state.version, tuple(state.deltas)))
            state.deltas.clear()
        if self._applied < state.version:
            self._changed_at.update(dict.fromkeys(state.dirty.pairs, state.version))
        if self._inspector and self._interfaces != self._fabric.interfaces():
            self._interfaces = self._fabric.interfaces()
            effects.append(ServeSwitches(self._interfaces))
        dirty, state.dirty = state.dirty, Dirty()
        if not dirty:
            return effects
        for missed in self._missed.values():
            missed.update(dirty.pairs)
        router = state.site.devices[state.site.router] if state.site.router is not None else None
        way_out = None if router is None else (router.id, router.mac, router.binding)
        if way_out != self._way_out:  # all that is outside is behind it
            self._way_out = way_out
            self._policies.clear()
            dirty.switches |= set(self._fabric.switches)
        for switch in self._fabric.switches:
            if not self._fabric.connected(switch) or switch in self._waiting:
                continue
            policy = self._policy(switch)
            for name in dirty.devices:
                self._locate(
                    state.site.devices[name],
                    switch,
                    policy.towards,  # type: ignore[arg-type]
                    policy.attached,  # type: ignore[arg-type]
                )
            sent = self._enforcement.refresh(policy, dirty)
            if sent is not None:
                effects.append(sent)
        return effects

    def _settle(self, now: float) -> None:
        """Note which decisions have come into force."""
        for name in list(self._unsettled):
            done = self._enforced[name]
            if self._applied >= done.version and self._enforcement.in_force(done.tickets):
                done.at = now
                self._state.revision += 1
                self._unsettled.discard(name)

    # For those who prove things

    def wanted(self, switch: int) -> tuple[Flow, ...]:
        """The flows that a switch should hold, without those with a timeout."""
        return self._enforcement.wanted(switch)
