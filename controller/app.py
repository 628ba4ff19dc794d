"""The os-ken application: what switches say becomes events, what the firewall wants done reaches them.

Knows how OpenFlow connections come and go, and nothing of the model. Loads under `graphwall run` with
its parts injected (launch.py), and under os-ken's own manager without.
"""

import functools
import logging
import os
import time
from collections.abc import Callable
from time import monotonic
from typing import Any, cast

from os_ken.base.app_manager import OSKenApp  # must come before os_ken.controller
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, DEAD_DISPATCHER, MAIN_DISPATCHER, set_ev_cls

from controller.config import Config
from controller.events import Answer, Command, Event, ReadFlows, SendFlows, SendFrame
from controller.firewall.firewall import Firewall
from controller.keeper.backlog import Store
from controller.keeper.keeper import ANSWER_WITHIN, Core, Inspector, Keeper
from controller.switches import openflow, reading
from controller.switches.session import Session
from controller.view import SiteView

log = logging.getLogger(__name__)

WRITE_WITHIN = 0.3  # seconds at the end for what switches are still to be sent

Handler = Callable[[Any, Any], None]


def handles(event: type, states: object) -> Callable[[Handler], Handler]:
    """Register a method for an event of os-ken, behind the guard.

    os-ken's native hub ends an application's only thread, without a word, at any exception of a handler.
    """

    def register(method: Handler) -> Handler:
        @functools.wraps(method)
        def guarded(app: "GraphwallApp", ev: Any) -> None:
            try:
                method(app, ev)
            except Exception:
                log.exception("a mistake in hearing %s; the traffic concerned stays denied", event.__name__)
                app.mistakes += 1

        return cast("Handler", set_ev_cls(event, states)(guarded))

    return register


class GraphwallApp(OSKenApp):
    """The application. Its parts are passed by AppManager.instantiate_apps().

    `clock` gives seconds since the epoch. Without `store` nothing outlives the process.
    """

    OFP_VERSIONS = (openflow.VERSION,)

    def __init__(
        self,
        *arguments: Any,
        firewall: Core | None = None,
        store: Store | None = None,
        inspector: Inspector | None = None,
        clock: Callable[[], float] = time.time,
        drop_fragments: bool = True,
        **others: Any,
    ) -> None:
        super().__init__(*arguments, **others)
        if firewall is None:
            log.warning(
                "started without site.yaml, store and inspector: nothing is kept, and what must be judged is "
                "dropped; to have them, use: graphwall run --config site.yaml"
            )
            firewall = Firewall(Config(), None, os.urandom(32))
        reading.install()
        self.mistakes = 0
        self._finishing = False
        self._drop_fragments = drop_fragments
        self._sessions: dict[Any, Session] = {}  # by os-ken's datapath
        self._switches: dict[int, Session] = {}  # the newest of each
        self._ended: list[Session] = []  # whose writers may not have noticed yet
        self.keeper = Keeper(firewall, self, store, inspector, clock)

    def start(self) -> None:
        super().start()
        self.keeper.start()

    def finish(self) -> None:
        """Save, and write what is still to be written; nothing is heard any more. May be called twice."""
        self._finishing = True
        self.keeper.stop()
        deadline = monotonic() + WRITE_WITHIN
        for session in (*self._sessions.values(), *self._ended):
            session.close(deadline)

    def stop(self) -> None:
        self.finish()
        super().stop()

    # ------------------------------------------------------------ for other threads, see keeper.py

    def post(self, event: Event) -> None:
        self.keeper.post(event)

    def call(self, command: Command, timeout: float = ANSWER_WITHIN) -> Answer:
        return self.keeper.call(command, timeout)

    def snapshot(self) -> SiteView:
        return self.keeper.snapshot()

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        return self.keeper.subscribe(callback)

    # ------------------------------------------------------------ the keeper's hands

    def send_flows(self, effect: SendFlows) -> None:
        """A switch that is not connected is told what it lacks when it connects."""
        session = self._switches.get(effect.switch)
        if session is not None:
            session.send_flows(effect)

    def read_flows(self, effect: ReadFlows) -> None:
        session = self._switches.get(effect.switch)
        if session is not None:
            session.read_flows(effect.number)

    def send_frame(self, effect: SendFrame) -> None:
        session = self._switches.get(effect.switch)
        if session is not None:
            session.send_frame(effect)

    def tick(self) -> None:
        for session in list(self._switches.values()):
            session.tick()

    # ------------------------------------------------------------ what os-ken tells

    @handles(ofp_event.EventOFPStateChange, [MAIN_DISPATCHER, DEAD_DISPATCHER])
    def _state_changed(self, ev: Any) -> None:
        if ev.state == MAIN_DISPATCHER:
            self._connected(ev.datapath)
        else:
            self._disconnected(ev.datapath)

    def _connected(self, datapath: Any) -> None:
        if self._finishing:
            return
        session = Session(datapath, self.keeper.post, self._drop_fragments)
        older = self._switches.get(session.switch)
        if older is not None:
            log.warning("%s has connected again before its last connection ended", session)
            older.close()
            older.hang_up()
        self._sessions[datapath] = self._switches[session.switch] = session
        session.open()

    def _disconnected(self, datapath: Any) -> None:
        session = self._sessions.pop(datapath, None)
        if session is None:  # it never got as far as telling its id
            return
        if self._switches.get(session.switch) is session:
            del self._switches[session.switch]
            if not self._finishing:
                log.warning("%s has disconnected; it goes on by the flows that it has", session)
        session.close()
        self._ended = [s for s in self._ended if s.writing] + [session]

    def _session(self, ev: Any) -> Session | None:
        return self._sessions.get(ev.msg.datapath)

    @handles(ofp_event.EventOFPPortDescStatsReply, MAIN_DISPATCHER)
    def _ports_reply(self, ev: Any) -> None:
        if session := self._session(ev):
            session.ports_reply(ev.msg)

    @handles(ofp_event.EventOFPMeterConfigStatsReply, MAIN_DISPATCHER)
    def _meters_reply(self, ev: Any) -> None:
        if session := self._session(ev):
            session.meters_reply(ev.msg)

    @handles(ofp_event.EventOFPFlowStatsReply, MAIN_DISPATCHER)
    def _flows_reply(self, ev: Any) -> None:
        if session := self._session(ev):
            session.flows_reply(ev.msg)

    @handles(ofp_event.EventOFPBarrierReply, MAIN_DISPATCHER)
    def _barrier_reply(self, ev: Any) -> None:
        if session := self._session(ev):
            session.barrier_reply(ev.msg)

    @handles(ofp_event.EventOFPErrorMsg, [CONFIG_DISPATCHER, MAIN_DISPATCHER])
    def _error(self, ev: Any) -> None:
        if session := self._session(ev):
            session.error(ev.msg)

    @handles(ofp_event.EventOFPPortStatus, MAIN_DISPATCHER)
    def _port_status(self, ev: Any) -> None:
        if session := self._session(ev):
            session.port_status(ev.msg)

    @handles(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def _packet_in(self, ev: Any) -> None:
        if session := self._session(ev):
            session.packet_in(ev.msg)

    @handles(ofp_event.EventOFPFlowRemoved, MAIN_DISPATCHER)
    def _flow_removed(self, ev: Any) -> None:
        if session := self._session(ev):
            session.flow_removed(ev.msg)
