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
    FlowsRead,
    MeterChanged,
    PacketIn,
    PortChanged,
    PortInfo,
    Refused,
    SendFlows,
    SendFrame,
    SwitchDown,
    SwitchUp,
)
from controller.flows.flow import Flow, is_ours
from controller.switches import openflow
from controller.switches.reading import Reader

log = logging.getLogger(__name__)

SET_UP_WITHIN = 10.0  # seconds
BATCH = 65536  # bytes handed to os-ken at a time
FRAMES_WAITING = 1000  # packet-outs; above, they are dropped
READ_EVERY = 1.0  # seconds; what somebody has changed by hand is repaired by the next reading
READ_SHARE = 5  # reading takes at most one such part of the time
READ_OVERDUE = 60.0  # seconds
PART, PARTS_AT_MOST = 1_000, 64  # flows that are read at a time, while changes wait, and in how many parts
MANY_FLOWS, READ_MANY_EVERY = 50_000, 10.0
COUNTERS_EVERY = 2.0  # seconds

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
        # changes on their way: first xid, xid of the barrier, ticket
        self._changes: deque[tuple[int, int, int]] = deque()
        self._confirmed = 0  # the last ticket
        # reading the flows
        self._reader = Reader()
        self._read_xid = 0  # of the reply that is awaited
        self._reading_xid = 0  # of the reply that has begun
        self._part, self._parts = 0, 1  # that is awaited, of so many
        self._read_after = 0  # all up to this ticket had been carried out when it was asked for
        self._read_began = self._read_took = 0.0
        self._read_at = 0.0
        self._reading_number = self._wanted_number = 0
        self._counters_at = 0.0
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

    def read_flows(self, number: int) -> None:
        """Read the flows as soon as possible; the FlowsRead of a reading that began then bears the number."""
        self._wanted_number = number
        if self.up and not self._read_xid:
            self._jobs.put(self._ask_flows)

    def tick(self) -> None:
        """To be called a few times a second."""
        now = monotonic()
        if not self.up:
            if now > self._since + SET_UP_WITHIN:
                self._since = now
                log.warning("%s does not answer within %g s; hanging up", self, SET_UP_WITHIN)
                self.hang_up()
        elif now >= self._read_at:
            self._read_at = now + READ_OVERDUE
            self._jobs.put(self._ask_flows)

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

                added = self._reader.told
                messages = list(openflow.encode_change(change, self._xids, refused, self._metered, added))
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
        yield from self._ask_flows()

    def _put_meter(self, meter: int, replace: bool) -> Iterator[bytes]:
        xid = next(self._xids)
        self._meters[xid] = meter
        yield openflow.encode_meter(meter, xid, replace)

    def _ask_flows(self) -> Iterator[bytes]:
        self._read_began = monotonic()
        self._read_after, self._reading_number = self._confirmed, self._wanted_number
        if self.up and self._metered:  # first, as flows go with their meter
            yield openflow.encode_meters_request(next(self._xids))
        self._part = 0
        yield from self._ask_part()

    def _ask_part(self) -> Iterator[bytes]:
        self._read_xid = next(self._xids)
        yield openflow.encode_flows_request(self._read_xid, self._part, self._parts)

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

    def meters_reply(self, message: Any) -> None:
        for meter, exists in openflow.wrong_meters(message.body):
            self._jobs.put(lambda meter=meter, exists=exists: self._put_meter(meter, exists))
            self._post(MeterChanged(self.switch, meter))

    def flows_reply(self, message: Any) -> None:
        if message.xid != self._read_xid:
            return
        if self._reading_xid != message.xid:  # the first part
            self._reading_xid = message.xid
            if self._part == 0:
                self._reader.metered = self._metered
                self._reader.begin()
        self._reader.take(message.body)
        if message.flags & ofp.OFPMPF_REPLY_MORE:
            return
        self._part += 1
        if self._part < self._parts:
            self._jobs.put(self._ask_part)
        else:
            self._read()

    def _read(self) -> None:
        """The whole reply is there."""
        reading = self._reader.end()
        self._read_xid = 0
        self._parts = min(PARTS_AT_MOST, 1 << (reading.number // PART).bit_length())
        now = monotonic()
        if not self.up:
            flows = tuple(f for f in reading.flows.values() if isinstance(f, Flow) and is_ours(f.cookie))
            log.info("%s is connected: %d ports, %d flows", self, len(self._ports), len(flows))
            self.up = True
            self._post(SwitchUp(self.switch, tuple(self._ports.values()), flows))
            self._ports = {}
            self._counters_at = now + COUNTERS_EVERY
        self._post(FlowsRead(self.switch, reading.flows, self._read_after, self._reading_number))
        if now >= self._counters_at:
            self._counters_at = now + COUNTERS_EVERY
            self._post(FlowCounters(self.switch, reading.counters))
        took, self._read_took = self._read_took, now - self._read_began
        # A reading with much that is new takes long, but the next one does not
        pause = max(READ_EVERY, READ_SHARE * min(took, self._read_took))
        if reading.number > MANY_FLOWS:
            pause = max(pause, READ_MANY_EVERY)
        self._read_at = now + pause
        if self._wanted_number > self._reading_number:
            self._jobs.put(self._ask_flows)

    def barrier_reply(self, message: Any) -> None:
        while self._changes:
            _, barrier, ticket = self._changes[0]
            if barrier != message.xid:
                return
            _, _, self._confirmed = self._changes.popleft()
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
            self._jobs.put(lambda: self._put_meter(meter, replace=True))
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
        if self.up and is_ours(message.cookie):
            self._post(PacketIn(self.switch, message.match["in_port"], bytes(message.data)))

    def flow_removed(self, message: Any) -> None:
        if self.up and message.reason in _TIMED_OUT and is_ours(message.cookie):
            self._post(FlowGone(self.switch, openflow.decode_flow(message)))


def _numbers() -> Iterator[int]:
    while True:
        yield from range(1, 1 << 32)
