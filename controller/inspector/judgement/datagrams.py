"""UDP and ICMP: requests are judged, answers pass if there was a request that was allowed.

Knows nothing of TCP or of sockets. An ICMP error passes when it quotes something that was allowed.
"""

from struct import Struct
from typing import Final

from controller.dpi.datagrams import DatagramTable
from controller.dpi.frame import ICMP, IPV4, TCP, UDP, Headers, ip_text
from controller.dpi.message import Malformed, Message, Operation
from controller.dpi.refusal import prohibited
from controller.dpi.registry import UNKNOWN
from controller.inspector.judgement.conversations import (
    DISCOVERY,
    ONCE,
    Carried,
    Conversation,
    Conversations,
    Key,
)
from controller.inspector.judgement.judge import Context, Hearing, Judge
from controller.inspector.judgement.outcome import NOTHING, Outcome
from controller.model.relationship import Reason
from controller.verdicts import GROUP

ANYBODY: Final = ""  # instead of an address in the key of a conversation with a group

_HELLOS: Final = frozenset({"dtls", "quic"})  # that nothing can be read behind
_LONG_HEADER: Final = (
    b"\x80"  # the first byte of a packet that might open QUIC in an unknown version; or more
)

_ECHO: Final = Message("icmp", "Echo Request", Operation.LOOKUP, "")
_ECHO_REQUEST: Final = {ICMP: 8, 58: 128}
_ECHO_REPLY: Final = {ICMP: 0, 58: 129}
_ERRORS: Final = {ICMP: frozenset({3, 11, 12}), 58: frozenset({1, 2, 3, 4})}  # RFC 792; RFC 4443
_IDENTIFIER: Final = Struct("!H")
_PORTS: Final = Struct("!HH")


def quoted(raw: bytes, headers: Headers) -> tuple[int, str, int, str, int] | None:
    """The packet that an ICMP error quotes: protocol, source, its port, destination, its port.

    For an echo both ports are its identifier. None when too little of it is quoted.
    """
    at, end = headers.transport_offset + 8, headers.payload_end
    if headers.ethertype == IPV4:
        if end - at < 28 or raw[at] >> 4 != 4:
            return None
        protocol, source, destination = raw[at + 9], raw[at + 12 : at + 16], raw[at + 16 : at + 20]
        inner = at + (raw[at] & 15) * 4
    else:
        if end - at < 48 or raw[at] >> 4 != 6:
            return None
        protocol, source, destination = raw[at + 6], raw[at + 8 : at + 24], raw[at + 24 : at + 40]
        inner = at + 40
    if end - inner < 8:
        return None
    if protocol in (UDP, TCP):
        source_port, destination_port = _PORTS.unpack_from(raw, inner)
    else:
        (source_port,) = (destination_port,) = _IDENTIFIER.unpack_from(raw, inner + 4)
    return protocol, ip_text(source), source_port, ip_text(destination), destination_port


class DatagramJudge:
    """Carries the conversations of UDP and of echo requests."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._table = DatagramTable()
        self._udp = Conversations()
        self._echoes = Conversations()

    def udp(self, raw: bytes, headers: Headers, observed: bool, now: float) -> Outcome:
        """One UDP datagram."""
        judge = self._judge
        source, destination = headers.src_ip or "", headers.dst_ip or ""
        source_port, destination_port = headers.src_port or 0, headers.dst_port or 0
        context = judge.context(source, destination, "udp", destination_port, raw[0] & 1 == 1)
        if context.forged:
            hearing = judge.deny(context, "datagram", Reason.SPOOFED, now, observed)
            return Outcome((), tuple(hearing.events))
        try:
            datagram, frames = self._table.frame(raw, headers, now)
        except Malformed:
            hearing = judge.deny(context, "malformed", Reason.MALFORMED, now, observed)
            return self._denied(raw, headers, hearing)
        if not frames:
            return NOTHING  # it waits for the rest of what is said
        messages = datagram.messages
        if datagram.answer or not messages or messages[0].protocol == UNKNOWN:
            surely = datagram.answer
            if self._answers(self._udp, destination, destination_port, source, source_port, now, surely):
                judge.counters["answers"] += 1
                return NOTHING if observed else Outcome((raw,))
            key = (source_port, destination, destination_port)
            goes_on = self._open(self._udp, source, key, now)
            # In no other protocol: what this server takes for a request may look like another's answer.
            if goes_on is not None and (
                goes_on.protocol == datagram.protocol or _behind_hello(goes_on, raw, headers)
            ):
                self._udp.used(source, key, goes_on, now)
                judge.counters["answers"] += 1  # the client's own acknowledgement
                return NOTHING if observed else Outcome((raw,))
        if datagram.answer or not messages:
            hearing = judge.deny(context, "answer", Reason.NOT_ASKED, now, observed)
            return Outcome((), tuple(hearing.events))
        key = (source_port, ANYBODY if context.ends.server == GROUP else destination, destination_port)
        return self._request(self._udp, frames, headers, context, messages, key, observed, now)

    def _request(
        self,
        conversations: Conversations,
        frames: tuple[bytes, ...],
        headers: Headers,
        context: Context,
        messages: tuple[Message, ...],
        key: Key,
        observed: bool,
        now: float,
    ) -> Outcome:
        judge = self._judge
        client = context.ends.client_address
        conversation = conversations.get(client, key, now)
        if conversation is not None and not judge.still(conversation.carried, now):
            conversations.close(client, key)
            conversation = None
        if (
            conversation is not None
            and messages[0].protocol not in _HELLOS
            and _behind_hello(conversation, frames[-1], headers)
        ):
            conversations.used(client, key, conversation, now)  # looks like it by chance
            return Outcome(() if observed else frames)
        carried = Carried(judge.version) if conversation is None else conversation.carried
        hearing = judge.hear(context, messages, carried, now, observed)
        if not hearing.allowed:
            return self._denied(frames[-1], headers, hearing)
        if conversation is None:
            conversation = conversations.open(client, key, carried, now)
            if not carried.accesses:  # allowed once: nothing in the table stands for its answers
                conversation.ends_at = now + ONCE
        else:
            conversations.used(client, key, conversation, now)
        conversation.protocol = messages[0].protocol
        conversation.opaque = conversation.opaque or conversation.protocol in _HELLOS
        return Outcome(() if observed else frames, tuple(hearing.events))

    def _denied(self, raw: bytes, headers: Headers, hearing: Hearing) -> Outcome:
        """Drop it; its sender is told, unless it spoke to a group (RFC 1122, section 3.2.2)."""
        told = hearing.tell and not raw[0] & 1
        return Outcome((prohibited(raw, headers),) if told else (), tuple(hearing.events))

    def _answers(
        self,
        conversations: Conversations,
        asker: str,
        asker_port: int,
        source: str,
        port: int,
        now: float,
        surely: bool = False,
    ) -> bool:
        """Whether something from `source` and `port` answers what was asked there.

        `surely`: it is an answer by its content.
        """
        key = (asker_port, source, port)
        conversation = self._open(conversations, asker, key, now)
        if conversation is None:
            key = (asker_port, ANYBODY, port)
            conversation = self._open(conversations, asker, key, now)
            if conversation is None or (conversation.discovery and not surely):
                return False
            context = self._judge.context(asker, source, "udp", port, False)
            if context.unknown or context.ends.server.startswith("@"):
                return False  # a group is on the site
        conversations.used(asker, key, conversation, now)
        return True

    def expect(self, asker: str, asker_port: int, port: int, now: float) -> None:
        """The switch has let somebody look for devices by a template: they may answer for a while."""
        key = (asker_port, ANYBODY, port)
        if self._udp.get(asker, key, now) is None:
            looking = self._udp.open(asker, key, Carried(self._judge.version), now)
            looking.discovery = True
            looking.ends_at = now + DISCOVERY

    def _goes_on(self, client: str, client_port: int, server: str, port: int, now: float) -> bool:
        return self._open(self._udp, client, (client_port, server, port), now) is not None

    def _open(self, conversations: Conversations, asker: str, key: Key, now: float) -> Conversation | None:
        conversation = conversations.get(asker, key, now)
        if conversation is not None and not self._judge.still(conversation.carried, now):
            conversations.close(asker, key)
            return None
        return conversation

    def icmp(self, raw: bytes, headers: Headers, observed: bool, now: float) -> Outcome:
        """One ICMP or ICMPv6 message that is not an error."""
        judge = self._judge
        source, destination, protocol = headers.src_ip or "", headers.dst_ip or "", headers.protocol or 0
        at, kind = headers.transport_offset + 4, headers.kind
        context = judge.context(source, destination, "icmp", 0, raw[0] & 1 == 1)
        if context.forged:
            hearing = judge.deny(context, f"Type {kind}", Reason.SPOOFED, now, observed)
            return Outcome((), tuple(hearing.events))
        if headers.code == 0 and headers.payload_end - at >= 4:
            (identifier,) = _IDENTIFIER.unpack_from(raw, at)
            if kind == _ECHO_REQUEST[protocol]:
                key = (identifier, ANYBODY if context.ends.server == GROUP else destination, 0)
                return self._request(self._echoes, (raw,), headers, context, (_ECHO,), key, observed, now)
            if kind == _ECHO_REPLY[protocol]:
                if self._answers(self._echoes, destination, identifier, source, 0, now):
                    judge.counters["answers"] += 1
                    return NOTHING if observed else Outcome((raw,))
                hearing = judge.deny(context, "Echo Reply", Reason.NOT_ASKED, now, observed)
                return Outcome((), tuple(hearing.events))
        hearing = judge.deny(context, f"Type {kind}", Reason.NEW_OPERATION, now, observed)
        return Outcome((), tuple(hearing.events))

    def knows(
        self, protocol: int, source: str, source_port: int, destination: str, port: int, now: float
    ) -> bool:
        """Whether a packet that an ICMP error quotes was part of a conversation that is open."""
        if protocol == UDP:
            return self._goes_on(source, source_port, destination, port, now) or self._answers(
                self._udp, destination, port, source, source_port, now
            )
        if protocol in _ECHO_REQUEST:
            return self._open(self._echoes, source, (source_port, destination, 0), now) is not None
        return False

    def sweep(self, now: float) -> None:
        """Forget what was silent for long."""
        self._table.sweep(now)
        self._udp.sweep(now)
        self._echoes.sweep(now)

    def __len__(self) -> int:
        return len(self._udp) + len(self._echoes)


def _behind_hello(conversation: Conversation, raw: bytes, headers: Headers) -> bool:
    """Whether a datagram, whatever it looks like, comes behind a hello that was allowed."""
    at = headers.payload_offset
    return conversation.opaque and raw[at : at + 1] < _LONG_HEADER


def is_error(headers: Headers) -> bool:
    """Whether this is an ICMP or ICMPv6 error message."""
    return headers.kind in _ERRORS.get(headers.protocol or 0, ())
