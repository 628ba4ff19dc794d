"""Messages to rulings: the verdict table's answers, remembered until the table changes.

Knows nothing of frames, connections or sockets. Everything that is remembered here could be asked
of the table again at any time; the answers would be the same.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from controller.dpi.message import Message, Operation, printable
from controller.events import FromInspector
from controller.inspector.judgement.conversations import Carried
from controller.inspector.judgement.denials import Denials
from controller.inspector.judgement.observations import Ends, Observations, Sighting, Tally
from controller.model.relationship import ANY, Access, DeviceId, Endpoint, Reason, Verdict
from controller.model.resource import shorten
from controller.verdicts import GROUP, Delta, SetGrant, VerdictTable, remote, slug

RULINGS_AT_MOST: Final = 20_000  # remembered at a time
CONTEXTS_AT_MOST: Final = 5_000
LONGEST_VERB: Final = 40
_NAMING: Final = frozenset({"tls", "dtls", "quic"})  # whose resource is the name that the client wants


def _server_name(message: Message) -> str | None:
    """The name that the client has for the server, when it says one."""
    name = message.resource if message.protocol in _NAMING else message.detail.get("host")
    if not isinstance(name, str):
        return None
    host, colon, port = name.lower().rpartition(":")
    return (host if colon and port.isdecimal() else name.lower()).rstrip(".")


class Ruling:
    """The verdict on one kind of message between two ends, and the tally that counts it."""

    __slots__ = ("allow", "once", "sighting", "tally", "until")

    def __init__(self, sighting: Sighting, tally: Tally, grant: SetGrant | None) -> None:
        self.sighting = sighting
        self.tally = tally
        self.allow = sighting.verdict.allow
        self.once = grant if grant is not None and grant.allow and grant.once else None
        self.until = grant.until if grant is not None else None


class Context:
    """Who is behind two addresses, and what was ruled between them since the table last changed.

    `unknown`: nobody is known to hold one of the addresses, so nothing passes and nothing can be
    said about it in words of the site. `forged`: the frame went to more ears than its address says.
    """

    __slots__ = ("ends", "epoch", "forged", "opening", "rulings", "unknown")

    def __init__(self, ends: Ends, unknown: bool, forged: bool, epoch: int) -> None:
        self.ends = ends
        self.epoch = epoch  # the Judge's, when this was found out
        self.unknown = unknown
        self.forged = forged
        self.opening: Verdict | None = None
        self.rulings: dict[tuple[str | None, ...], Ruling] = {}


class Hearing(NamedTuple):
    """What became of the messages of one frame.

    `tell`: the sender of a denied message should be told, once more.
    """

    allowed: bool
    events: Sequence[FromInspector] = ()
    tell: bool = False


ALLOWED: Final = Hearing(True)


class Judge:
    """Judges by one table, fast. Every change of the table goes through `apply` or `replace`."""

    def __init__(self, table: VerdictTable) -> None:
        self.version = 0  # of what is remembered here; grows with every change of the table
        self.reveal_intent = True
        self.observations = Observations()
        self.counters: Counter[str] = Counter()
        self._table = table
        self._denials = Denials()
        self._contexts: dict[tuple[str, str, str, int, bool], Context] = {}
        self._remembered = 0
        self._epoch = 0

    def apply(self, deltas: Iterable[Delta]) -> None:
        for delta in deltas:
            self._table.apply(delta)
        self._changed()

    def replace(self, table: VerdictTable) -> None:
        self._table = table
        self._changed()

    def _changed(self) -> None:
        self.version += 1
        self._forget()

    def _forget(self) -> None:
        for context in self._contexts.values():  # connections may hold some of them
            context.rulings.clear()
        self._epoch += 1
        self._contexts.clear()
        self._remembered = 0

    # Who is it?

    def context(self, client: str, server: str, transport: str, port: int, group: bool) -> Context:
        """Who is behind these addresses; `group`: the frame's destination has the group bit."""
        key = (client, server, transport, port, group)
        context = self._contexts.get(key)
        if context is None:
            if len(self._contexts) >= CONTEXTS_AT_MOST:
                self._forget()
            context = self._contexts[key] = self._resolve(client, server, Endpoint(transport, port), group)
        return context

    def _resolve(self, client: str, server: str, endpoint: Endpoint, group: bool) -> Context:
        asking, asked = self._table.device_at(client), self._table.device_at(server)
        forged = False
        if group and asked != GROUP:
            # A directed broadcast (10.0.0.255) is held by nobody. What somebody holds was sent to all
            # ears on purpose, so that it is judged as one device's and heard by another.
            forged = asked is not None
            asked = GROUP
        unknown = asking is None or asked is None or asking == GROUP
        ends = Ends(asking or remote(client), asked or remote(server), client, server, endpoint)
        return Context(ends, unknown, forged, self._epoch)

    def current(self, context: Context) -> Context:
        """The same context as it is by the table of now."""
        if context.epoch == self._epoch:
            return context
        ends = context.ends
        endpoint = ends.endpoint
        return self.context(
            ends.client_address, ends.server_address, endpoint.transport, endpoint.port, False
        )

    def device_at(self, address: str) -> DeviceId | None:
        """The device that holds an address, as the table says."""
        return self._table.device_at(address)

    # May it?

    def hear(
        self, context: Context, messages: Sequence[Message], carried: Carried, now: float, forwarded: bool
    ) -> Hearing:
        """Judge all messages of a frame; it may pass if every one of them may.

        What is allowed is added to `carried`. `forwarded`: the frame has passed already, so that it
        is only reported, and a violation asks for a drop flow at once.
        """
        self.counters["messages"] += len(messages)
        if context.unknown:
            return self._refuse(context, now, (), forwarded)
        if len(messages) == 1:  # nearly always
            ruling = self.rule(context, messages[0], now)
            if ruling.allow and ruling.once is None:
                sighting = ruling.sighting
                if sighting.access not in carried.accesses:
                    carried.add(sighting.access, sighting.ends, ruling.until)
                report = self.observations.note(ruling.tally, sighting, now)
                return ALLOWED if report is None else Hearing(True, (report,))
        return self._hear(context, messages, carried, now, forwarded)

    def _hear(
        self, context: Context, messages: Sequence[Message], carried: Carried, now: float, forwarded: bool
    ) -> Hearing:
        rulings: list[Ruling] = []
        for message in messages:
            ruling = self.rule(context, message, now)
            if ruling.once is not None:  # at once, so that the next message needs a grant of its own
                self.apply((replace(ruling.once, allow=None, over=True),))
            rulings.append(ruling)
        denied = [ruling for ruling in rulings if not ruling.allow]
        if denied and not forwarded:  # what did not pass has used nothing up
            if used := [ruling.once for ruling in rulings if ruling.once is not None]:
                self.apply(used)
            return self._refuse(context, now, denied, forwarded)
        reports: list[FromInspector] = []
        for ruling in rulings:
            if ruling.allow:
                sighting = ruling.sighting
                once = ruling.once is not None
                if not once:
                    carried.add(sighting.access, sighting.ends, ruling.until)
                report = self.observations.note(ruling.tally, sighting, now, consumed=once)
                if report is not None:
                    reports.append(report)
        if not denied:
            return Hearing(True, reports)
        hearing = self._refuse(context, now, denied, forwarded)
        return hearing._replace(events=(*reports, *hearing.events))

    def _refuse(self, context: Context, now: float, rulings: Sequence[Ruling], forwarded: bool) -> Hearing:
        self.counters["refused"] += max(1, len(rulings))
        reports = (self.observations.note(ruling.tally, ruling.sighting, now) for ruling in rulings)
        events: list[FromInspector] = [report for report in reports if report is not None]
        ends = context.ends
        tell, wish = self._denials.note(
            ends.client_address, ends.server_address, ends.endpoint, now, at_once=forwarded
        )
        if wish is not None:
            events.append(wish)
        return Hearing(False, events, tell)

    def deny(self, context: Context, verb: str, reason: Reason, now: float, forwarded: bool) -> Hearing:
        """A denial of something in which no message could be read (a handshake, a malformed frame)."""
        if context.unknown:
            return self._refuse(context, now, (), forwarded)
        ends = context.ends
        message = Message(ends.endpoint.transport, verb, Operation.CONNECT, "")
        access = self._table.access(ends.client, ends.server, ends.endpoint, message)
        sighting = Sighting(ends, access, Verdict(False, reason), verb)
        ruling = Ruling(sighting, self.observations.tally(sighting), None)
        return self._refuse(context, now, (ruling,), forwarded)

    def count_denial(self, context: Context, now: float) -> Hearing:
        """A denial that says nothing about what anybody wants, so that it is not reported."""
        return self._refuse(context, now, (), forwarded=False)

    def rule(self, context: Context, message: Message, now: float) -> Ruling:
        """May this message pass between these ends?"""
        key = (
            message.protocol,
            message.verb,
            message.operation,
            message.resource,
            message.identity,
            message.service,
            _server_name(message) if context.ends.server.startswith("@") else None,
        )
        ruling = context.rulings.get(key)
        if ruling is None:
            ruling = self._rule(context, message, now)
            if ruling.once is None and ruling.until is None:
                if self._remembered >= RULINGS_AT_MOST:
                    self._forget()
                    context.rulings.clear()
                self._remembered += 1
                context.rulings[key] = ruling
        return ruling

    def _rule(self, context: Context, message: Message, now: float) -> Ruling:
        message = _printable(message)
        ends, table = context.ends, self._table
        if ends.server.startswith("@") and (name := _server_name(message)):
            named = table.device_at(ends.server_address, slug(name))
            ends = replace(ends, server=named or ends.server)
        access = table.access(ends.client, ends.server, ends.endpoint, message)
        if context.forged:
            verdict, grant = Verdict(False, Reason.SPOOFED), None
        else:
            verdict = table.judge(ends.client, ends.server, access, now)
            known = verdict.reason in (Reason.KNOWN, Reason.DENIED)
            grant = table.grant(access, now) if known else None
            if verdict.reason is Reason.PAUSED:
                grant = SetGrant(access, True, table.pause(ends.client, ends.server, now))
        sighting = Sighting(
            ends=ends,
            access=access,
            verdict=verdict,
            verb=shorten(message.verb, LONGEST_VERB),
            identity=shorten(message.identity) if message.identity else None,
            service=shorten(message.service) if message.service else None,
        )
        return Ruling(sighting, self.observations.tally(sighting), grant)

    def opening(self, context: Context, now: float) -> Verdict:
        """May a conversation be opened, so that its first request can be read?

        Of an address outside that several names share, any may be meant until the client says which.
        """
        if context.opening is not None:
            return context.opening
        if context.unknown:
            return Verdict(False, Reason.NEW_DEVICE)
        if context.forged:
            return Verdict(False, Reason.SPOOFED)
        table, timed = self._table, False
        verdict = Verdict(False, Reason.NEW_DEVICE)
        for ends in self._possible(context):
            verdict = table.judge_opening(ends.client, ends.server, ends.endpoint, self.reveal_intent, now)
            grant = table.grant(self._whole(ends), now)
            timed = timed or (grant is not None and grant.until is not None)
            timed = timed or table.pause(ends.client, ends.server, now) is not None
            if verdict.allow:
                break
        if not timed:
            context.opening = verdict
        return verdict

    def granted_as_a_whole(self, context: Context, now: float) -> bool:
        """Whether all that could come is allowed, whatever it says, so that nothing has to be read."""
        if context.unknown or context.forged:
            return False
        return all(
            self._table.as_a_whole(ends.client, ends.server, ends.endpoint, now)
            for ends in self._possible(context)
        )

    def _possible(self, context: Context) -> Sequence[Ends]:
        ends = context.ends
        names = self._table.names_of(ends.server_address)
        if len(names) < 2:
            return (ends,)
        return [replace(ends, server=name) for name in names]

    def _whole(self, ends: Ends) -> Access:
        client = self._table.client_service(ends.client, None)
        server = self._table.server_service(ends.server, ends.endpoint, None)
        return Access(client, server, ANY, ANY, ANY)

    def still(self, carried: Carried, now: float) -> bool:
        """Whether all that an open conversation was allowed is allowed by the table as it is now."""
        if carried.version == self.version and now < carried.until:
            return True
        until = float("inf")
        for access, ends in carried.accesses.items():
            for device, address in ((ends.client, ends.client_address), (ends.server, ends.server_address)):
                if not device.startswith("@") and self._table.device_at(address) != device:
                    return False
            verdict = self._table.judge(ends.client, ends.server, access, now)
            if not verdict.allow:
                return False
            grant = self._table.grant(access, now) if verdict.reason is Reason.KNOWN else None
            if grant is not None and grant.until is not None:
                until = min(until, grant.until)
            if verdict.reason is Reason.PAUSED:
                until = min(until, self._table.pause(ends.client, ends.server, now) or now)
        carried.version, carried.until = self.version, until
        return True


def _printable(message: Message) -> Message:
    """The message with its texts as UTF-8 can carry them."""
    texts = (message.resource, message.verb, message.identity or "", message.service or "")
    if all(text.isascii() for text in texts):
        return message
    resource, verb, identity, service = map(printable, texts)
    return replace(message, resource=resource, verb=verb, identity=identity or None, service=service or None)
