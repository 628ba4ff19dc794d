"""Messages to rulings: the verdict table's answers, remembered until the table changes.

Knows nothing of frames, connections or sockets. Everything that is remembered here could be asked
of the table again at any time; the answers would be the same.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from controller.dpi.message import Message, Operation
from controller.judgement.observations import Ends, Observations, Sighting, Tally
from controller.model.relationship import ANY, Access, Endpoint, Reason, Verdict
from controller.model.resource import shorten
from controller.verdicts import GROUP, Delta, SetGrant, VerdictTable, remote, slug

RULINGS_AT_MOST: Final = 20_000  # remembered at a time
CONTEXTS_AT_MOST: Final = 5_000
LONGEST_VERB: Final = 40
_NAMING: Final = frozenset({"tls", "dtls", "quic"})  # whose resource is the name that the client wants


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

    __slots__ = ("ends", "forged", "opening", "rulings", "unknown")

    def __init__(self, ends: Ends, unknown: bool, forged: bool) -> None:
        self.ends = ends
        self.unknown = unknown
        self.forged = forged
        self.opening: Verdict | None = None
        self.rulings: dict[tuple[str, str, str, str, str | None, str | None], Ruling] = {}


class Judge:
    """Judges by one table, fast. Every change of the table goes through `apply` or `replace`."""

    def __init__(self, table: VerdictTable, observations: Observations) -> None:
        self.version = 0  # of what is remembered here; grows with every change of the table
        self._table = table
        self._observations = observations
        self._contexts: dict[tuple[str, str, str, int, bool], Context] = {}
        self._remembered = 0

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
        self._contexts.clear()
        self._remembered = 0

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
        return Context(ends, unknown, forged)

    def rule(self, context: Context, message: Message, now: float) -> Ruling:
        """May this message pass between these ends?"""
        key = (
            message.protocol,
            message.verb,
            message.operation,
            message.resource,
            message.identity,
            message.service,
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
        if ends.server.startswith("@") and message.protocol in _NAMING and message.resource:
            named = table.device_at(ends.server_address, slug(message.resource.rstrip(".").lower()))
            ends = replace(ends, server=named or ends.server)
        access = table.access(ends.client, ends.server, ends.endpoint, message)
        if context.forged:
            verdict, grant = Verdict(False, Reason.SPOOFED), None
        else:
            verdict = table.judge(ends.client, ends.server, access, now)
            known = verdict.reason in (Reason.KNOWN, Reason.DENIED)
            grant = table.grant(access, now) if known else None
        sighting = Sighting(
            ends=ends,
            access=access,
            verdict=verdict,
            verb=shorten(message.verb, LONGEST_VERB),
            identity=shorten(message.identity) if message.identity else None,
            service=shorten(message.service) if message.service else None,
        )
        return Ruling(sighting, self._observations.tally(sighting), grant)

    def opening(self, context: Context, reveal_intent: bool, now: float) -> Verdict:
        """May a conversation be opened, so that its first request can be read?"""
        if context.opening is not None:
            return context.opening
        ends = context.ends
        if context.unknown:
            return Verdict(False, Reason.NEW_DEVICE)
        if context.forged:
            return Verdict(False, Reason.SPOOFED)
        verdict = self._table.judge_opening(ends.client, ends.server, ends.endpoint, reveal_intent, now)
        grant = self._table.grant(self._whole(ends), now)
        if grant is None or grant.until is None:
            context.opening = verdict
        return verdict

    def granted_as_a_whole(self, context: Context, now: float) -> bool:
        """Whether everything between the two main services is allowed, so that nothing has to be read."""
        if context.unknown or context.forged:
            return False
        ends = context.ends
        access = self._whole(ends)
        grant = self._table.grant(access, now)
        return (
            grant is not None
            and not grant.once
            and self._table.judge(ends.client, ends.server, access, now) == Verdict(True, Reason.KNOWN)
        )

    def _whole(self, ends: Ends) -> Access:
        client = self._table.client_service(ends.client, None)
        server = self._table.server_service(ends.server, ends.endpoint, None)
        return Access(client, server, ANY, ANY, ANY)

    def still(self, ends: Ends, access: Access, now: float) -> bool:
        """Whether what was allowed between these ends is allowed by the table as it is now."""
        for device, address in ((ends.client, ends.client_address), (ends.server, ends.server_address)):
            if not device.startswith("@") and self._table.device_at(address) != device:
                return False
        return self._table.judge(ends.client, ends.server, access, now).allow

    def without_message(self, context: Context, verb: str, reason: Reason) -> Ruling:
        """A denial of something in which no message could be read (a handshake, a malformed frame)."""
        ends = context.ends
        message = Message(ends.endpoint.transport, verb, Operation.CONNECT, "")
        access = self._table.access(ends.client, ends.server, ends.endpoint, message)
        sighting = Sighting(ends, access, Verdict(False, reason), verb)
        return Ruling(sighting, self._observations.tally(sighting), None)

    def use_up(self, grant: SetGrant) -> None:
        """A grant for one message has been used: it counts no more, whatever the controller says when."""
        self.apply((replace(grant, allow=None),))


def _printable(message: Message) -> Message:
    """The message with its texts as UTF-8 can carry them; bytes that are no text become `\\udcff`."""
    texts = (message.resource, message.verb, message.identity or "", message.service or "")
    if all(text.isascii() for text in texts):
        return message
    resource, verb, identity, service = (text.encode("utf-8", "backslashreplace").decode() for text in texts)
    return replace(message, resource=resource, verb=verb, identity=identity or None, service=service or None)
