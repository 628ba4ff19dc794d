"""One connected switch, from the first greeting to the end: sets it up, writes to it, hears what it says.

Knows nothing of the model; posts events, and is told what to send. The switch's messages are heard on
os-ken's thread, orders come from the owner of the firewall, and a thread of its own writes, so that a
switch that does not read holds up nobody else.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from os_ken.lib import hub
from os_ken.ofproto import ofproto_v1_3 as ofp

from controller.events import (
    Done,
    Event,
    FlowCounters,
    FlowGone,
    PacketIn,
    PortChanged,
    PortInfo,
    Refused,
    SendFlows,
    SendFrame,
    SwitchDown,
    SwitchUp,
)
from controller.flows.flow import Flow
from controller.switches import openflow

log = logging.getLogger(__name__)

SET_UP_WITHIN = 10.0  # seconds
BATCH = 65536  # bytes handed to os-ken at a time
FRAMES_WAITING = 1000  # packet-outs; above, they are dropped
COUNTERS_EVERY = 2.0  # seconds
COUNTERS_SHARE = 20  # reading the counters takes at most one such part of the time
COUNTERS_OVERDUE = 60.0  # seconds
MANY_FLOWS, COUNTERS_OF_MANY_EVERY = 20_000, 10.0

_TIMED_OUT = (ofp.OFPRR_IDLE_TIMEOUT, ofp.OFPRR_HARD_TIMEOUT)

Job = SendFlows | SendFrame | Callable[[], Iterator[bytes]]


class Session:
    """A connection with a switch. `datapath` is os-ken's; `switch` its OpenFlow datapath id."""

    def __init__(self, datapath: Any, post: Callable[[Event], None], drop_fragments: bool) -> None:
        self.switch: int = datapath.id
        self._datapath = datapath
        self._post = post
        self._drop_fragments = drop_fragments
        self._jobs = hub.Queue()
        self._writer: Any = None
        self._xids = _numbers()  # of the writer's thread only
        self._ended = False
        self.up = False
        self._since = monotonic()
        # set-up
        self._metered = True
        self._meters: dict[int, int] = {}  # xid -> meter
        self._ports: dict[int, PortInfo] = {}
        self._flows: list[Flow] = []
        self._strange: set[tuple[int, int]] = set()  # (table, cookie) of what bears our mark, but is not ours
        self._foreign = 0
        self._set_up_xid = 0
        # changes on their way: first xid, xid of the barrier, ticket
        self._changes: deque[tuple[int, int, int]] = deque()
        # counters
        self._poll_xid = 0
        self._polled_at = 0.0
        self._poll_at = 0.0
        self._counters: dict[int, tuple[int, int]] = {}
        self._counted = 0
        self.dropped_frames = 0

    def __str__(self) -> str:
        host = self._datapath.address[0] if self._datapath.address else "?"
        return f"switch {self.switch:#x} ({host})"

    # ------------------------------------------------------------ orders, from any thread

    def open(self) -> None:
        """Begin: SwitchUp is posted when the switch is set up and has told its ports and flows."""
        self._writer = hub.spawn(self._write)
        self._jobs.put(self._set_up)

    def send_flows(self, effect: SendFlows) -> None:
        self._jobs.put(effect)

    def send_frame(self, effect: SendFrame) -> None:
        if self._jobs.qsize() < FRAMES_WAITING:
            self._jobs.put(effect)
        else:
            self.dropped_frames += 1

    def tick(self) -> None:
        """To be called a few times a second."""
        now = monotonic()
        if not self.up:
            if now > self._since + SET_UP_WITHIN:
                self._since = now
                log.warning("%s does not answer within %g s; hanging up", self, SET_UP_WITHIN)
                self.hang_up()
        elif now >= self._poll_at:
            self._poll_at = now + COUNTERS_OVERDUE
            self._jobs.put(self._ask_counters)

    def hang_up(self) -> None:
        """End the connection; the switch will connect again."""
        self._datapath.close()

    @property
    def writing(self) -> bool:
        """Whether the writer's thread is still there."""
        return isinstance(self._writer, threading.Thread) and self._writer.is_alive()

    def close(self, deadline: float | None = None) -> None:
        """The connection has ended, or is to end; until `deadline`, wait for what is still to be written."""
        if not self._ended:
            self._ended = True
            self._jobs.put(None)
            if self.up:
                self.up = False
                self._post(SwitchDown(self.switch))
        if deadline is not None and isinstance(self._writer, threading.Thread):
            self._writer.join(max(0.0, deadline - monotonic()))

    # ------------------------------------------------------------ the writer's thread

    def _write(self) -> None:
        while True:
            job: Job | None = self._jobs.get()
            if job is None:
                return
            try:
                self._send(self._messages(job))
            except Exception:
                log.exception("%s: a mistake in writing to it; what was not written is not allowed", self)

    def _send(self, messages: Iterator[bytes]) -> None:
        batch = bytearray()
        for message in messages:
            batch += message
            if len(batch) >= BATCH:
                self._datapath.send(bytes(batch))
                batch.clear()
        if batch:
            self._datapath.send(bytes(batch))

    def _messages(self, job: Job) -> Iterator[bytes]:
        match job:
            case SendFlows(change=change, ticket=ticket):
                first = next(self._xids)

                def refused(flow: Flow, error: str) -> None:
                    self._post(Refused(self.switch, ticket, flow.cookie, error))

                messages = list(openflow.encode_change(change, self._xids, refused, self._metered))
                barrier = next(self._xids)
                self._changes.append((first, barrier, ticket))  # before the reply can come
                yield from messages
                yield openflow.encode_barrier(barrier)
            case SendFrame():
                yield openflow.encode_frame(job.frame, job.port, job.in_port, next(self._xids))
            case _:
                yield from job()

    def _set_up(self) -> Iterator[bytes]:
        yield openflow.encode_config(self._drop_fragments, next(self._xids))
        for meter in openflow.METERS:
            xid = next(self._xids)
            self._meters[xid] = meter
            yield openflow.encode_meter(meter, xid)
        yield openflow.encode_ports_request(next(self._xids))
        self._set_up_xid = next(self._xids)
        yield openflow.encode_flows_request(self._set_up_xid, ours=False)

    def _replace_meter(self, meter: int) -> Iterator[bytes]:
        xid = next(self._xids)
        self._meters[xid] = meter
        yield openflow.encode_meter(meter, xid, replace=True)

    def _purge(self, table: int, cookie: int) -> Iterator[bytes]:
        yield openflow.encode_purge(table, cookie, next(self._xids))

    def _ask_counters(self) -> Iterator[bytes]:
        self._poll_xid = next(self._xids)
        self._polled_at = monotonic()
        self._counters, self._counted = {}, 0
        yield openflow.encode_flows_request(self._poll_xid, ours=True)

    # ------------------------------------------------------------ what the switch says, on os-ken's thread

    def ports_reply(self, message: Any) -> None:
        if not self.up:
            self._ports |= {port.port_no: openflow.decode_port(port) for port in message.body}

    def port_status(self, message: Any) -> None:
        port = openflow.decode_port(message.desc)
        gone = message.reason == ofp.OFPPR_DELETE
        if self.up:
            self._post(PortChanged(self.switch, port, gone))
        elif gone:
            self._ports.pop(port.number, None)
        else:
            self._ports[port.number] = port

    def flows_reply(self, message: Any) -> None:
        last = not message.flags & ofp.OFPMPF_REPLY_MORE
        if message.xid == self._set_up_xid and not self.up:
            for entry in message.body:
                self._found(entry)
            if last:
                self._greeted()
        elif message.xid == self._poll_xid:
            for entry in message.body:
                packets, octets = self._counters.get(entry.cookie, (0, 0))
                self._counters[entry.cookie] = (packets + entry.packet_count, octets + entry.byte_count)
            self._counted += len(message.body)
            if last:
                self._count()

    def _found(self, entry: Any) -> None:
        if not openflow.is_ours(entry.cookie):
            self._foreign += 1
            return
        try:
            self._flows.append(openflow.decode_flow(entry))
        except ValueError as error:
            log.warning("%s holds a flow that this version did not make; it is deleted: %s", self, error)
            self._strange.add((entry.table_id, entry.cookie))

    def _greeted(self) -> None:
        for table, cookie in self._strange:
            self._jobs.put(lambda table=table, cookie=cookie: self._purge(table, cookie))
        flows = tuple(f for f in self._flows if (f.table, f.cookie) not in self._strange)
        if self._foreign:
            log.warning(
                "%s holds %d flows that are not Graphwall's and may let traffic past it; to be rid of them: "
                "ovs-ofctl -O OpenFlow13 del-flows BRIDGE cookie=0/-1",
                self,
                self._foreign,
            )
        log.info("%s is connected: %d ports, %d flows", self, len(self._ports), len(flows))
        self.up = True
        self._poll_at = monotonic() + COUNTERS_EVERY
        self._post(SwitchUp(self.switch, tuple(self._ports.values()), flows))
        self._flows, self._ports = [], {}

    def _count(self) -> None:
        self._poll_xid = 0
        now = monotonic()
        pause = max(COUNTERS_EVERY, COUNTERS_SHARE * (now - self._polled_at))
        if self._counted > MANY_FLOWS:
            pause = max(pause, COUNTERS_OF_MANY_EVERY)
        self._poll_at = now + pause
        self._post(FlowCounters(self.switch, self._counters))

    def barrier_reply(self, message: Any) -> None:
        while self._changes:
            _, barrier, ticket = self._changes[0]
            if barrier != message.xid:
                return
            self._changes.popleft()
            self._post(Done(self.switch, ticket))
            return

    def error(self, message: Any) -> None:
        meter = self._meters.pop(message.xid, None)
        if meter is not None:
            self._meter_refused(meter, message)
            return
        text, cookie = openflow.decode_error(message)
        ticket = next((t for first, last, t in self._changes if first <= message.xid <= last), None)
        if ticket is None and cookie is None:
            log.warning("%s refuses a message of ours: %s", self, text)
        else:
            self._post(Refused(self.switch, ticket, cookie, text))

    def _meter_refused(self, meter: int, message: Any) -> None:
        exists = (ofp.OFPET_METER_MOD_FAILED, ofp.OFPMMFC_METER_EXISTS)
        if (message.type, getattr(message, "code", None)) == exists:
            self._jobs.put(lambda: self._replace_meter(meter))
            return
        if meter != openflow.PACKET_IN_LIMIT and self._metered:
            self._metered = False
            text, _ = openflow.decode_error(message)
            log.warning(
                "%s has no meters (%s): a flood of unknown senders is held back in the controller only",
                self,
                text,
            )

    def packet_in(self, message: Any) -> None:
        if self.up and openflow.is_ours(message.cookie):
            self._post(PacketIn(self.switch, message.match["in_port"], bytes(message.data)))

    def flow_removed(self, message: Any) -> None:
        if self.up and message.reason in _TIMED_OUT and openflow.is_ours(message.cookie):
            self._post(FlowGone(self.switch, openflow.decode_flow(message)))


def _numbers() -> Iterator[int]:
    while True:
        yield from range(1, 1 << 32)
