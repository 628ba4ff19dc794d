"""Law 3: in any interleaving of messages, decisions, learning, expiries, moves, restarts and failures,
nothing that is denied or pending is delivered once all have heard of it; and no acknowledged decision is
ever lost.

Law 4 on the way: the tables of firewall and inspector say what the graph says.
"""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from controller.events import Block, Decide, Duration, Edit, Import, Learn, Move, Pause, SameAs, Scope, Undo
from controller.model.relationship import DeviceId, Status
from controller.model.service import Admission
from controller.verdicts import VerdictTable
from tests.properties.simulated import (
    HOSTS,
    SENDINGS,
    Laboratory,
    Sending,
)

PLACES = [(dpid, port) for dpid in (1, 2) for port in (1, 2, 3, 4)]


class Site(RuleBasedStateMachine):
    """Drives a Laboratory; `open` are the connections that have carried something."""

    @initialize(learnt=st.booleans())
    def begin(self, learnt: bool) -> None:
        self.lab = Laboratory()
        self.open: list[Sending] = []
        self.acknowledged: dict[int, bool] = {}  # decision -> undone
        self.lab.settle()
        if learnt:  # a site that has been at work for a while
            for sending in SENDINGS[::4]:
                self.lab.send(sending)
                self.lab.all_hear()
            self.lab.tick(30.0)
            self.lab.settle()

    # Traffic

    def _sent(self, sending: Sending, delivered: bool) -> None:
        assert not delivered or sending in self.lab.passes, (
            f"delivered although it was not allowed: {sending}"
        )
        if delivered and sending.endpoint.transport == "tcp" and sending not in self.open:
            self.open.append(sending)

    @rule(sending=st.sampled_from(SENDINGS))
    def send(self, sending: Sending) -> None:
        self._sent(sending, self.lab.send(sending))

    @rule(sending=st.sampled_from(SENDINGS))
    def send_and_hear(self, sending: Sending) -> None:
        self._sent(sending, self.lab.send(sending))
        self.lab.all_hear()

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        sending = data.draw(st.sampled_from(self.open))
        self._sent(sending, self.lab.go_on(sending))

    @rule(name=st.sampled_from(sorted(HOSTS)))
    def speak(self, name: str) -> None:
        self.lab.speak(name)

    @rule(name=st.sampled_from(sorted(HOSTS)), place=st.sampled_from(PLACES))
    def replug(self, name: str, place: tuple[int, int]) -> None:
        self.lab.replug(name, place)

    @rule(name=st.sampled_from(["cloud.example", "evil.example"]))
    def look_up(self, name: str) -> None:
        self.lab.name(name)

    # People

    def _acknowledge(self, command: Any, crash_after: int | None) -> None:
        before = self._decided()
        answer = self.lab.command(command, crash_after)
        if crash_after is not None:
            self._crash(before)
        if answer is None or answer.code is not None:
            return
        if isinstance(command, Undo):
            self.acknowledged[command.decision] = True
        elif isinstance(command, Decide | Import | SameAs):
            assert answer.decision is not None
            self.acknowledged[answer.decision] = False

    crashes = st.sampled_from([None] * 5 + [0, 1, 2])

    @rule(
        data=st.data(),
        approve=st.booleans(),
        scope=st.sampled_from(Scope),
        duration=st.sampled_from([Duration.ALWAYS, Duration.ALWAYS, Duration.ONCE, Duration.HOUR]),
        crash=crashes,
    )
    def decide(
        self, data: st.DataObject, approve: bool, scope: Scope, duration: Duration, crash: int | None
    ) -> None:
        view = self.lab.firewall.view(self.lab.now)
        again = [r.id for r in view.relationships.values() if r.relationship.status is not Status.PENDING]
        known = sorted([r.id for r in view.requests] * 3 + again)
        if known:
            chosen = data.draw(st.sampled_from(known))
            if any(r.id == chosen and r.kind == "admission" for r in view.requests):
                duration = Duration.ALWAYS
            self._acknowledge(Decide(0, chosen, approve, "me", scope, duration), crash)

    @precondition(lambda self: self.acknowledged)
    @rule(data=st.data(), crash=crashes)
    def undo(self, data: st.DataObject, crash: int | None) -> None:
        self._acknowledge(Undo(0, data.draw(st.sampled_from(sorted(self.acknowledged))), "me"), crash)

    @rule(data=st.data(), start=st.booleans(), crash=crashes)
    def learn(self, data: st.DataObject, start: bool, crash: int | None) -> None:
        services = sorted(self.lab.firewall._state.site.services)
        if services:
            self._acknowledge(Learn(0, data.draw(st.sampled_from(services)), start, "me"), crash)

    @rule(name=st.sampled_from(sorted(HOSTS)), blocked=st.booleans(), crash=crashes)
    def block(self, name: str, blocked: bool, crash: int | None) -> None:
        self._acknowledge(Block(0, DeviceId(name), blocked, "me"), crash)

    @rule(name=st.sampled_from(sorted(HOSTS)), seconds=st.sampled_from([0.0, 10.0, 600.0]), crash=crashes)
    def pause(self, name: str, seconds: float, crash: int | None) -> None:
        self._acknowledge(Pause(0, DeviceId(name), seconds, "me"), crash)

    @rule(
        data=st.data(),
        after=st.sampled_from([None, Status.LEARNED, Status.APPROVED, Status.DENIED]),
        crash=crashes,
    )
    def bring_in(self, data: st.DataObject, after: Status | None, crash: int | None) -> None:
        edges = sorted(self.lab.firewall._state.site.graph, key=lambda r: str(r.access))
        if edges:
            chosen = data.draw(st.sampled_from(edges))
            edit = Edit(chosen.access, chosen.status, after, chosen.endpoint)
            self._acknowledge(Import(0, (edit,), (), (), "me"), crash)

    @rule(data=st.data(), model=st.sampled_from(sorted(HOSTS)), crash=crashes)
    def join_like(self, data: st.DataObject, model: str, crash: int | None) -> None:
        waiting = [r.id for r in self.lab.firewall.view(self.lab.now).requests if r.kind == "admission"]
        if waiting:
            command = SameAs(0, data.draw(st.sampled_from(waiting)), DeviceId(model), "me")
            self._acknowledge(command, crash)

    @rule(data=st.data(), to=st.sampled_from(sorted(HOSTS)), crash=crashes)
    def move(self, data: st.DataObject, to: str, crash: int | None) -> None:
        services = sorted(s for s in self.lab.firewall._state.site.services if not s.startswith("@"))
        if services:
            self._acknowledge(Move(0, data.draw(st.sampled_from(services)), DeviceId(to), "me"), crash)

    # What goes wrong, and time

    @rule(seconds=st.sampled_from([0.2, 3.0, 12.0, 70.0, 3700.0]))
    def wait(self, seconds: float) -> None:
        self.lab.tick(seconds)

    @rule(dpid=st.sampled_from([1, 2]))
    def switch_hears(self, dpid: int) -> None:
        self.lab.switch_hears(dpid)

    @rule()
    def inspector_hears(self) -> None:
        self.lab.inspector_hears()

    @rule()
    def inspector_tells(self) -> None:
        self.lab.inspector_tells()

    @rule(dpid=st.sampled_from([1, 2]))
    def lose_a_switch(self, dpid: int) -> None:
        self.lab.disconnect(dpid)

    @rule(dpid=st.sampled_from([1, 2]))
    def find_a_switch(self, dpid: int) -> None:
        self.lab.connect(dpid)

    @rule(dpid=st.sampled_from([1, 2]))
    def restart_a_switch(self, dpid: int) -> None:
        self.lab.disconnect(dpid)
        self.lab.switches[dpid].flows.clear()
        self.lab.switches[dpid].remembered.clear()
        self.lab.connect(dpid)

    @rule(restarted=st.booleans())
    def connect_inspector(self, restarted: bool) -> None:
        self.lab.connect_inspector(restarted)

    @rule(full=st.booleans())
    def fill_the_disk(self, full: bool) -> None:
        self.lab.disk.full = full

    @rule()
    def crash(self) -> None:
        self._crash(self._decided())

    def _crash(self, before: dict[object, tuple[int, Status]]) -> None:
        """The controller is killed in the midst of a command, before which this was decided.

        What the command has changed may be stored already, or not yet: nobody was told that it was done.
        """
        changed = self._decided()
        self.lab.crash()
        after = self._decided()
        for access in before.keys() | changed.keys():
            if not self.lab.failed_ever:
                may_be = (before.get(access), changed.get(access))
                assert after.get(access) in may_be, (access, may_be, after.get(access))
        self._remembers()

    def _decided(self) -> dict[object, tuple[int, Status]]:
        """What acknowledged decisions have made of relationships, as it is now."""
        found: dict[object, tuple[int, Status]] = {}
        for r in self.lab.firewall._state.site.graph:
            if r.decision in self.acknowledged and not self.acknowledged[r.decision]:
                over = r.until is not None and r.until <= self.lab.now
                # Asked again since it expired: that is no decision, and may be told again.
                over = over or r.status is Status.PENDING
                found[r.access] = (r.decision, Status.EXPIRED if over else r.status)
        return found

    def _remembers(self) -> None:
        made = self.lab.firewall._state.decisions
        for decision, undone in self.acknowledged.items():
            assert decision in made, f"decision {decision} was acknowledged, and is lost"
            assert not undone or made[decision].undone_at is not None, f"the undo of {decision} is lost"

    # What must be so

    @rule()
    def settle(self) -> None:
        lab = self.lab
        lab.disk.full = False
        lab.settle()
        site, table = lab.firewall._state.site, lab.firewall._state.table
        theirs = lab.inspector.table
        assert theirs is not None
        copy = VerdictTable(table.deltas())
        for question, access in lab.accesses():
            said = {
                which: (
                    t.access(question.client, question.server, question.endpoint, question.message),
                    t.judge(question.client, question.server, access, lab.now),
                )
                for which, t in (("firewall", table), ("copy", copy), ("inspector", theirs))
            }
            assert len(set(said.values())) == 1, (question, said)
            (mine, verdict), *_ = said.values()
            assert mine == access
            graph = lab.graph
            if not graph.as_a_whole(question):
                assert verdict.allow == graph.allows(question, lab.now), (question, verdict)
        for dpid in lab.switches:
            assert lab.lasting(dpid) == lab.wanted(dpid)
            assert not lab.switches[dpid].coming
        assert all(d.in_force for d in lab.firewall.view(lab.now).decisions)
        for sending in SENDINGS:
            once = any(r.once for r in site.graph)
            delivered = lab.send(sending)
            self._sent(sending, delivered)
            reached = {sending.client, "gateway" if "." in sending.server else sending.server}
            bound = all(self._is_bound(name) for name in reached)
            opens = sending.endpoint.transport == "udp" or sending.port == 40000
            if sending in lab.passes and opens and bound and not once:
                assert delivered, f"allowed, but not delivered: {sending}"
        lab.all_hear()

    def _is_bound(self, name: str) -> bool:
        device = self.lab.firewall._state.site.devices.get(DeviceId(name))
        if device is None or device.admission is not Admission.ADMITTED:
            return False
        if device.binding is None or HOSTS[name][1] not in device.addresses:
            return False
        return (device.binding.switch, device.binding.port) == self.lab.plugs[name]


TestLaw3 = Site.TestCase
TestLaw3.settings = settings(
    max_examples=max(20, settings().max_examples // 4),
    stateful_step_count=30,
    deadline=None,
)
