"""UDP and ICMP as scripts of conversations: requests are judged, answers need an allowed request."""

from dataclasses import replace

import pytest

from controller.dpi.datagrams import DatagramTable
from controller.dpi.dissector import Datagram
from controller.dpi.frame import parse
from controller.dpi.message import Operation
from controller.dpi.registry import dissect_datagram
from controller.events import RefusalWanted
from controller.inspector.judgement.conversations import IDLE
from controller.model.relationship import ANY, Endpoint, Reason
from controller.verdicts import GROUP, SetAddress, SetDevice, SetGrant, SetService, VerdictTable
from tests.unit.dpi.hellos import HELLO as QUIC
from tests.unit.dpi.hellos import quic, quic_initial
from tests.unit.inspector.judgement.frames import (
    COAP_ACK,
    coap,
    coap_answer,
    echo,
    icmp,
    ip,
    udp,
    unreachable,
)
from tests.unit.inspector.judgement.site import (
    BATTERY,
    DIRECTORY,
    HOSTS,
    LOCK,
    WASHER,
    B,
    L,
    Site,
    W,
    access,
    main,
    service,
)

READ = access("coap", Operation.READ, "/charge")
WRITE = access("coap", Operation.WRITE, "/charge")
PING = access("icmp", Operation.LOOKUP, "", endpoint="icmp-0")
COAP = Endpoint("udp", 5683)


def ask(
    method: str = "GET", path: str = "/charge", client: str = W, server: str = B, port: int = 40000
) -> bytes:
    return udp(client, server, port, 5683, coap(method, path))


def answer(client: str = W, server: str = B, port: int = 40000, payload: bytes = b"") -> bytes:
    return udp(server, client, 5683, port, payload or coap_answer())


def test_an_allowed_request_passes_and_so_does_its_answer() -> None:
    site = Site(SetGrant(READ, True))
    assert site.passes(ask())
    assert site.passes(answer())
    (seen,) = site.seen()
    assert (seen.access, seen.allowed, seen.verb, seen.endpoint) == (READ, True, "GET", COAP)
    assert (seen.client_address, seen.server_address) == (W, B)


def test_another_operation_is_denied_by_name_and_its_answer_too() -> None:
    site = Site(SetGrant(READ, True), main(WASHER))
    assert site.dropped(ask("PUT"))
    assert site.dropped(answer())
    (seen,) = [s for s in site.seen() if s.access.protocol == "coap"]
    assert (seen.allowed, seen.reason, seen.access) == (False, Reason.NEW_OPERATION, WRITE)


def test_a_denied_sender_is_told_by_icmp_and_not_for_ever() -> None:
    site = Site()
    told = [site.frame(ask()).send for _ in range(100)]
    assert len([send for send in told if send]) == 5
    (notice,) = told[0]
    assert notice[:6] == ask()[6:12]
    assert (notice[34], notice[35]) == (3, 13)  # administratively prohibited


def test_a_flood_of_denied_messages_asks_for_a_drop_flow() -> None:
    site = Site()
    for _ in range(100):
        site.frame(ask())
    assert site.said(RefusalWanted) == [RefusalWanted(W, B, COAP)]


def test_an_answer_to_nothing_is_denied() -> None:
    site = Site(SetGrant(READ, True))
    assert site.dropped(answer())
    (seen,) = site.seen()
    assert seen.reason is Reason.NOT_ASKED


def test_an_answer_comes_too_late() -> None:
    site = Site(SetGrant(READ, True))
    site.frame(ask())
    site.now += IDLE
    assert site.dropped(answer())


def test_an_answer_from_somebody_else_is_denied() -> None:
    site = Site(SetGrant(READ, True))
    site.frame(ask())
    assert site.dropped(answer(server=L))
    assert site.dropped(answer(port=40001))


def test_a_server_that_was_asked_may_not_ask_back() -> None:
    """Both use port 5683, as CoAP nodes do: the reverse of a conversation is no way around the verdict."""
    site = Site(SetGrant(READ, True))
    assert site.passes(ask(port=5683))
    assert site.passes(udp(B, W, 5683, 5683, coap_answer()))
    assert site.dropped(udp(B, W, 5683, 5683, coap("PUT", "/door")))
    assert site.passes(udp(B, W, 5683, 5683, coap_answer()))


def test_a_client_may_acknowledge_a_separate_answer() -> None:
    site = Site(SetGrant(READ, True))
    assert site.dropped(udp(W, B, 40000, 5683, COAP_ACK))
    site.frame(ask())
    assert site.passes(answer(payload=coap_answer(kind=0)))
    assert site.passes(udp(W, B, 40000, 5683, COAP_ACK))


DISGUISED = bytes.fromhex(  # PUT /lock/open with an Observe of four bytes, as many servers take it;
    "4803 8180 0001000000000000"  # and a response of DNS to one question
    "10 5400000000 546c6f636b 046f70656e ff 00 0001 0001"
)


@pytest.mark.parametrize("port", [5683, 61616])
def test_a_request_that_looks_like_the_answer_of_another_protocol_does_not_pass(port: int) -> None:
    assert dissect_datagram(DISGUISED, 40000, port) == Datagram((), answer=True, protocol="dns")
    site = Site()
    site.allow(access("coap", Operation.READ, "/charge", endpoint=f"udp-{port}"))
    assert site.passes(udp(W, B, 40000, port, coap("GET", "/charge")))
    assert site.dropped(udp(W, B, 40000, port, DISGUISED))
    assert site.passes(udp(W, B, 40000, port, COAP_ACK))


def test_unreadable_datagrams_are_one_relationship_and_answers_pass() -> None:
    site = Site()
    site.allow(access("unknown", Operation.CONNECT, "", endpoint="udp-9999"))
    assert site.passes(udp(W, B, 40000, 9999, b"\xde\xad"))
    assert site.passes(udp(B, W, 9999, 40000, b"\xbe\xef"))
    assert site.dropped(udp(B, W, 9999, 40001, b"\xbe\xef"))


def test_malformed_requests_are_denied_and_said_to_be() -> None:
    site = Site(SetGrant(access(ANY, ANY, ANY), True))
    assert site.dropped(udp(W, B, 40000, 5683, b"\xff\xff"))
    (seen,) = site.seen()
    assert (seen.reason, seen.access.protocol, seen.verb) == (Reason.MALFORMED, "udp", "malformed")


def test_a_withdrawn_grant_ends_the_conversation_too() -> None:
    site = Site(SetGrant(READ, True))
    site.frame(ask())
    site.withdraw(READ)
    assert site.dropped(answer())
    assert site.dropped(ask())


def test_a_grant_that_runs_out_ends_the_conversation_too() -> None:
    site = Site(SetGrant(READ, True, until=1010.0))
    assert site.passes(ask())
    site.now = 1009.0
    assert site.passes(answer())
    site.now = 1010.0
    assert site.dropped(answer())
    assert site.dropped(ask())


def test_an_unrelated_change_of_the_table_ends_nothing() -> None:
    site = Site(SetGrant(READ, True))
    site.frame(ask())
    site.allow(access("coap", Operation.READ, "/door", server=LOCK))
    assert site.passes(answer())


def test_a_grant_for_one_message_is_used_up_by_it_and_its_answer_passes() -> None:
    site = Site(SetGrant(READ, True, once=True))
    assert site.passes(ask())
    assert site.passes(answer())
    assert site.dropped(ask())
    allowed, denied = sorted(site.seen(), key=lambda seen: seen.allowed, reverse=True)
    assert (allowed.allowed, allowed.consumed, denied.allowed) == (True, True, False)


def test_an_address_that_moves_to_another_device_takes_no_conversation_along() -> None:
    site = Site(SetGrant(READ, True))
    site.frame(ask())
    site.update(SetAddress(B, (LOCK,)))
    assert site.dropped(answer())


def test_while_both_ends_learn_everything_passes() -> None:
    site = Site(main(WASHER, learning=True), service(BATTERY, COAP, learning=True))
    assert site.passes(ask("PUT"))
    assert site.passes(answer())
    (seen,) = site.seen()
    assert (seen.allowed, seen.reason) == (True, Reason.LEARNING)


def test_a_quarantined_device_neither_asks_nor_answers() -> None:
    site = Site(SetGrant(READ, True))
    site.frame(ask())
    site.update(SetDevice(BATTERY, blocked=True))
    assert site.dropped(answer())
    assert site.dropped(ask())
    assert Reason.QUARANTINED in {seen.reason for seen in site.seen()}


def test_an_address_that_nobody_holds_gets_nothing_and_is_no_card() -> None:
    site = Site(SetDevice(WASHER, young=True))
    assert site.dropped(ask(server="10.9.9.9"))
    assert site.dropped(ask(client="10.9.9.9"))
    assert site.seen() == []


def test_two_outside_ends_are_not_let_through() -> None:
    site = Site()
    assert site.dropped(udp("203.0.113.1", "203.0.113.2", 40000, 5683, coap("GET", "/charge")))


def test_an_answer_to_a_group_request_may_come_from_any_device_of_the_site() -> None:
    group = "224.0.1.187"
    site = Site()
    site.allow(access("coap", Operation.READ, "/charge", server=GROUP))
    request = udp(W, group, 40000, 5683, coap("GET", "/charge"))
    assert site.passes(request)
    assert site.passes(answer(server=B))
    assert site.passes(answer(server=L))
    assert site.dropped(answer(server="203.0.113.7"))
    assert site.dropped(answer(server="10.9.9.9"))
    assert site.dropped(answer(client=L, server=B))


def test_a_frame_to_all_ears_that_is_addressed_to_one_device_is_forged() -> None:
    site = Site(SetGrant(READ, True))
    assert site.dropped(udp(W, B, 40000, 5683, coap("GET", "/charge"), to=b"\xff" * 6))
    (seen,) = site.seen()
    assert seen.reason is Reason.SPOOFED


def test_a_directed_broadcast_is_a_group() -> None:
    site = Site()
    site.allow(access("coap", Operation.READ, "/charge", server=GROUP))
    assert site.passes(udp(W, "10.255.255.255", 40000, 5683, coap("GET", "/charge"), to=b"\xff" * 6))


def test_groups_are_never_told_of_a_denial() -> None:
    site = Site()
    assert site.frame(udp(W, "224.0.1.187", 40000, 5683, coap("GET", "/charge"))).send == ()


@pytest.mark.parametrize("family", [0, 1])
def test_echo_is_a_request_and_its_reply_an_answer(family: int) -> None:
    mine, theirs = HOSTS[WASHER][family], HOSTS[BATTERY][family]
    site = Site()
    assert site.dropped(echo(mine, theirs, 7))
    site.allow(PING)
    assert site.dropped(echo(theirs, mine, 7, reply=True))
    assert site.passes(echo(mine, theirs, 7))
    assert site.passes(echo(theirs, mine, 7, reply=True))
    assert site.dropped(echo(theirs, mine, 8, reply=True))
    assert site.dropped(echo(theirs, mine, 7))


@pytest.mark.parametrize("family", [0, 1])
def test_an_icmp_error_passes_when_it_quotes_what_was_allowed(family: int) -> None:
    mine, theirs, other = (addresses[family] for addresses in HOSTS.values())
    site = Site(SetGrant(READ, True))
    request = ask(client=mine, server=theirs)
    assert site.dropped(unreachable(theirs, request))
    assert site.passes(request)
    assert site.passes(unreachable(theirs, request))
    assert site.dropped(unreachable(other, request)), "only the end that it is about may tell"
    assert site.dropped(unreachable(theirs, ask(client=mine, server=theirs, port=40001)))


def test_an_icmp_error_that_quotes_an_answer_passes() -> None:
    site = Site(SetGrant(READ, True))
    site.frame(ask())
    assert site.passes(unreachable(W, answer()))


def test_an_icmp_error_that_quotes_too_little_is_dropped() -> None:
    site = Site(SetGrant(READ, True))
    site.frame(ask())
    assert site.dropped(icmp(B, W, 3, 3, bytes(4) + ask()[14:36]))


def test_other_icmp_is_denied() -> None:
    site = Site(SetGrant(access(ANY, ANY, ANY, endpoint="icmp-0"), True))
    redirect = icmp(W, B, 5, 1, bytes(4) + ask()[14:])
    assert site.dropped(redirect)
    assert site.dropped(icmp(W, B, 13, 0, bytes(16)))


def test_fragments_and_other_protocols_are_dropped_and_counted() -> None:
    site = Site(SetGrant(access(ANY, ANY, ANY), True))
    assert site.frame(ip(W, B, 17, ask()[34:], fragment=0x2000)).send == ()
    assert site.frame(ip(W, B, 47, b"\0" * 40)).send == ()
    assert site.frame(b"\xff" * 12 + b"\x08\x06" + bytes(46)).send == ()
    assert site.frame(b"\x01").send == ()
    counters = site.inspection.counters
    assert (counters["fragments"], counters["other protocols"], counters["malformed"]) == (1, 1, 2)


def test_a_copy_is_only_reported_and_a_violation_asks_for_a_drop_flow_at_once() -> None:
    site = Site(SetGrant(READ, True))
    assert site.frame(ask(), observed=True).send == ()
    outcome = site.frame(ask("PUT"), observed=True)
    assert RefusalWanted(W, B, COAP) in outcome.events
    assert ask("PUT") not in outcome.send


def test_text_that_is_no_text_is_reported_all_the_same() -> None:
    site = Site()
    site.frame(udp(W, B, 40000, 5683, coap("GET", "/\xfcml\xe4ut")))
    (seen,) = site.seen()
    assert seen.access.resource == "/\xfcml\xe4ut"


def test_a_service_in_the_directory_is_found_by_its_endpoint() -> None:
    moved = SetService(READ.server, LOCK, "udp-5683", False, (COAP,))
    site = Site(moved, SetGrant(READ, True))
    assert site.passes(ask(server=L))
    assert site.dropped(ask(server=B))


def hello(*datagrams: bytes) -> SetGrant:
    """Allows the hello that is in these datagrams."""
    table = DatagramTable()
    *_, heard = (table.frame(raw, parse(raw), 0.0) for raw in map(quic_frame, datagrams))
    (message,) = heard.datagram.messages
    return SetGrant(VerdictTable(DIRECTORY).access(WASHER, BATTERY, QUIC_PORT, message), True)


QUIC_PORT = Endpoint("udp", 4433)


def quic_frame(payload: bytes) -> bytes:
    return udp(W, B, 40000, 4433, payload)


def test_what_follows_an_allowed_hello_passes_unread() -> None:
    site = Site(hello(quic()), main(WASHER), service(BATTERY, QUIC_PORT))
    later = [quic_frame(b"\x41" + bytes(range(200))), quic_frame(coap("PUT", "/charge"))]
    assert not any(site.passes(raw) for raw in later)
    assert site.passes(quic_frame(quic()))
    assert all(site.passes(raw) for raw in later)
    assert site.passes(udp(B, W, 4433, 40000, b"\x41" + bytes(100)))
    assert not site.passes(quic_frame(quic("door.example")))  # another hello is judged
    assert not site.passes(quic_frame(b"\xc0\xff\0\0\x1d\0\0" + bytes(1200)))  # and one of an older version
    for _ in range(5):
        site.now += IDLE / 2
        assert site.passes(later[0])  # though its answers are not seen here
    site.now += 10 * IDLE
    assert site.passes(later[0])
    site.now += 40 * IDLE
    assert not site.passes(later[0])


def test_hello_in_two_datagrams_passes_as_a_whole_or_not_at_all() -> None:
    first, second = (quic_initial([piece], n) for n, piece in enumerate(((0, QUIC[:60]), (60, QUIC[60:]))))
    for allow in (True, False):
        grant = replace(hello(first, second), allow=allow)
        site = Site(grant, main(WASHER), service(BATTERY, QUIC_PORT))
        assert not site.passes(quic_frame(second))
        sent = site.frame(quic_frame(first)).send
        assert (sent == (quic_frame(second), quic_frame(first))) is allow
