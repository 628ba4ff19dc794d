"""TCP as scripts of conversations: openings and messages are judged, what is denied ends with resets."""

import pytest

from controller.dpi.message import Operation
from controller.dpi.stream import Limits
from controller.dpi.tls import TlsStream
from controller.events import ConnectionSettled, RefusalWanted
from controller.inspector.judgement import connections
from controller.inspector.judgement.outcome import Outcome
from controller.model.relationship import ANY, Access, DeviceId, Endpoint, Reason, ServiceId
from controller.verdicts import SetAddress, SetDevice, SetGrant, SetService
from tests.unit.dpi.examples import CONNECT, PREFACE, PUBLISH, http2, websocket
from tests.unit.inspector.judgement.frames import ACK, FIN, PSH, RST, SYN, mac, tcp, unreachable
from tests.unit.inspector.judgement.site import BATTERY, LOCK, WASHER, B, L, Site, W, access, main, service

HTTP = Endpoint("tcp", 80)
READ = access("http", Operation.READ, "/charge", endpoint=HTTP)
WRITE = access("http", Operation.WRITE, "/charge", endpoint=HTTP)
UNREADABLE = access("unknown", Operation.CONNECT, "", endpoint="tcp-9999")
WHOLE = access(ANY, ANY, ANY, endpoint=HTTP)
GET = b"GET /charge HTTP/1.1\r\nHost: battery\r\n\r\n"
PUT = b"PUT /charge HTTP/1.1\r\nHost: battery\r\nContent-Length: 2\r\n\r\n80"
NOISE = bytes(range(128, 256)) * 3


class Talk:
    """One TCP connection through the inspector; sequence numbers as two real ends would use them."""

    def __init__(
        self, site: Site, port: int = 80, client: str = W, server: str = B, own_port: int = 40000
    ) -> None:
        self.site = site
        self.ends = (client, server)
        self.ports = (own_port, port)
        self.seq, self.ack = 1000, 5000

    def client(self, flags: int, payload: bytes = b"", seq: int | None = None) -> bytes:
        at = self.seq if seq is None else seq
        return tcp(*self.ends, *self.ports, flags, at, self.ack if flags & ACK else 0, payload)

    def server(self, flags: int, payload: bytes = b"") -> bytes:
        (client, server), (own_port, port) = self.ends, self.ports
        return tcp(server, client, port, own_port, flags, self.ack, self.seq, payload)

    def syn(self, observed: bool = False) -> Outcome:
        outcome = self.site.frame(self.client(SYN), observed)
        self.seq += 1
        return outcome

    def open(self, observed: bool = False) -> "Talk":
        """The handshake; it has to pass."""
        syn = self.client(SYN)
        assert self.syn(observed).send == (() if observed else (syn,))
        if not observed:
            assert self.site.passes(self.server(SYN | ACK))
        self.ack += 1
        self.site.frame(self.client(ACK), observed)
        return self

    def say(self, payload: bytes, observed: bool = False) -> Outcome:
        """One segment of the client's."""
        outcome = self.site.frame(self.client(PSH | ACK, payload), observed)
        self.seq += len(payload)
        return outcome

    def answers(self, payload: bytes) -> bool:
        passed = self.site.passes(self.server(PSH | ACK, payload))
        self.ack += len(payload)
        return passed


def resets(outcome: Outcome) -> list[bytes]:
    """The MAC addresses that get a reset; nothing else may come out."""
    for frame in outcome.send:
        assert frame[47] & RST, "only resets come out"
        assert len(frame) == 54, "without data"
    return [frame[:6] for frame in outcome.send]


BOTH = [mac(W), mac(B)]


def known(*grants: Access, **settings: bool) -> Site:
    return Site(service(BATTERY, HTTP), main(WASHER), *(SetGrant(each, True) for each in grants), **settings)


def test_an_allowed_request_passes_and_its_answer_too() -> None:
    talk = Talk(known(READ)).open()
    assert talk.say(GET).send == (talk.client(PSH | ACK, GET, talk.seq - len(GET)),)
    assert talk.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n21")
    (seen,) = talk.site.seen()
    assert (seen.access, seen.allowed, seen.verb, seen.endpoint) == (READ, True, "GET", HTTP)


def test_a_handshake_to_a_known_service_passes_so_that_the_request_is_known() -> None:
    talk = Talk(known()).open()
    assert resets(talk.say(PUT)) == BOTH
    (seen,) = talk.site.seen()
    assert (seen.access, seen.allowed, seen.reason) == (WRITE, False, Reason.NEW_PARTNER)


def test_a_handshake_to_no_known_service_is_denied_at_once() -> None:
    talk = Talk(known(), port=23)
    assert resets(talk.syn()) == [mac(W)], "the server has heard nothing yet"
    (seen,) = talk.site.seen()
    assert (seen.allowed, seen.verb) == (False, "SYN")
    assert seen.access == access("tcp", Operation.CONNECT, "", endpoint="tcp-23")


def test_where_intent_is_not_revealed_an_unknown_pair_is_denied_at_the_handshake() -> None:
    talk = Talk(known(reveal_intent=False))
    assert resets(talk.syn()) == [mac(W)]


def test_that_setting_can_be_changed_while_it_runs() -> None:
    site = known()
    Talk(site).open()
    site.inspection.set(reveal_intent=False)
    assert resets(Talk(site, own_port=40001).syn()) == [mac(W)]


def test_a_denied_request_ends_the_connection_for_good() -> None:
    talk = Talk(known(READ)).open()
    assert talk.say(GET).send
    assert resets(talk.say(PUT)) == BOTH
    assert all(frame[47] & RST for frame in talk.say(GET).send)
    assert not talk.answers(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert [seen.reason for seen in talk.site.seen() if not seen.allowed] == [Reason.NEW_OPERATION]


def test_the_reset_to_the_server_is_where_it_expects_it() -> None:
    talk = Talk(known(READ)).open()
    expected = talk.seq
    (_, to_server) = talk.say(PUT).send
    assert int.from_bytes(to_server[38:42]) == expected


def test_one_denied_message_in_a_segment_takes_the_whole_segment_along() -> None:
    talk = Talk(known(READ)).open()
    assert resets(talk.say(GET + PUT)) == BOTH
    assert [(seen.access, seen.allowed) for seen in talk.site.seen()] == [(WRITE, False)]


def test_a_request_in_pieces_is_held_until_it_can_be_judged() -> None:
    talk = Talk(known(READ)).open()
    pieces = [GET[:9], GET[9:20], GET[20:]]
    frames = [talk.client(PSH | ACK, piece, talk.seq + GET.index(piece)) for piece in pieces]
    first, second, last = (talk.say(piece).send for piece in pieces)
    assert not set(frames) & {*first, *second}
    assert last == tuple(frames)


def test_a_denied_request_in_pieces_is_never_let_go() -> None:
    talk = Talk(known(READ)).open()
    pieces = [PUT[:4], PUT[4:22], PUT[22:]]
    sent = [frame for piece in pieces for frame in talk.say(piece).send]
    assert not any(piece in frame for piece in pieces for frame in sent)


def test_malformed_streams_are_cut_and_said_to_be() -> None:
    talk = Talk(known(WHOLE)).open()
    cut = talk.say(b"GET /charge HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nab")
    assert resets(cut) == BOTH
    (seen,) = talk.site.seen()
    assert (seen.reason, seen.verb, seen.access.protocol) == (Reason.MALFORMED, "malformed", "tcp")


def test_a_retransmission_with_other_bytes_is_cut() -> None:
    talk = Talk(known(READ)).open()
    talk.say(GET)
    talk.seq -= len(GET)
    assert resets(talk.say(GET.replace(b"GET", b"PUT"))) == BOTH
    assert Reason.AMBIGUOUS in {seen.reason for seen in talk.site.seen()}


def test_a_retransmission_of_a_message_that_was_allowed_once_passes() -> None:
    talk = Talk(Site(service(BATTERY, HTTP), SetGrant(READ, True, once=True))).open()
    assert talk.say(GET).send
    talk.seq -= len(GET)
    assert talk.say(GET).send
    assert talk.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert resets(talk.say(GET)) == BOTH


def test_two_messages_in_one_segment_need_two_grants_for_one_message() -> None:
    talk = Talk(Site(service(BATTERY, HTTP), SetGrant(READ, True, once=True))).open()
    assert resets(talk.say(GET + GET)) == BOTH
    again = Talk(talk.site, own_port=40001).open()
    assert again.say(GET).send, "what did not pass has used nothing up"


def test_a_withdrawn_grant_ends_the_connections_that_it_carried() -> None:
    talk = Talk(known(READ)).open()
    talk.say(GET)
    talk.site.withdraw(READ)
    assert resets(talk.site.frame(talk.client(ACK))) == BOTH


def test_a_withdrawn_grant_is_noticed_at_the_server_s_next_frame_too() -> None:
    talk = Talk(known(READ)).open()
    talk.say(GET)
    talk.site.withdraw(READ)
    assert not talk.answers(b"HTTP/1.1 200 OK\r\n\r\n")


def test_a_withdrawn_grant_leaves_other_connections_alone() -> None:
    site = known(READ, WRITE)
    reading, writing = Talk(site).open(), Talk(site, own_port=40001).open()
    reading.say(GET)
    writing.say(PUT)
    site.withdraw(READ)
    assert writing.say(PUT).send
    assert resets(reading.say(GET)) == BOTH


def test_a_quarantined_client_is_cut() -> None:
    talk = Talk(known(READ)).open()
    talk.say(GET)
    talk.site.update(SetDevice(WASHER, blocked=True))
    assert resets(talk.say(GET)) == BOTH


def test_a_connection_does_not_follow_an_address_to_another_device() -> None:
    talk = Talk(known(READ)).open()
    talk.site.update(SetAddress(B, (LOCK,)))
    assert resets(talk.say(GET)) == BOTH
    assert talk.site.seen()[0].server == LOCK


def test_a_settled_connection_is_told_once_and_goes_on_passing() -> None:
    talk = Talk(Site(service(BATTERY, Endpoint("tcp", 9999)), SetGrant(UNREADABLE, True)), port=9999).open()
    for _ in range(5):
        assert talk.say(NOISE).send
    assert talk.site.said(ConnectionSettled) == [ConnectionSettled(W, 40000, B, 9999)]


def test_a_settled_connection_whose_frames_still_come_is_told_again_later() -> None:
    talk = Talk(Site(service(BATTERY, Endpoint("tcp", 9999)), SetGrant(UNREADABLE, True)), port=9999).open()
    talk.say(NOISE)
    talk.site.said(ConnectionSettled)
    talk.site.now += connections.TELL_AGAIN
    talk.say(NOISE)
    assert talk.site.said(ConnectionSettled)
    talk.site.now += 0.1
    talk.site.inspection.controller_connected(talk.site.now)
    talk.say(NOISE)
    assert talk.site.said(ConnectionSettled)


def test_no_other_connection_opens_between_ends_that_the_switch_may_still_carry() -> None:
    site = Site(service(BATTERY, Endpoint("tcp", 9999)), SetGrant(UNREADABLE, True))
    talk = Talk(site, port=9999).open()
    talk.say(NOISE)
    assert site.said(ConnectionSettled)
    talk.site.frame(talk.client(RST))
    assert resets(Talk(site, port=9999).syn()) == BOTH[:1]
    assert resets(Talk(site, port=9999).syn(observed=True)) == BOTH
    Talk(site, port=9999, own_port=40001).open()
    site.now += connections.KEPT_SHUT
    assert Talk(site, port=9999).syn().send


@pytest.mark.parametrize("jump", [86400.0, -86400.0])
def test_a_clock_that_was_set_ends_no_connection(jump: float) -> None:
    talk = Talk(known(READ)).open()
    assert talk.say(GET).send
    talk.site.now += jump
    talk.site.inspection.clock_was_set(talk.site.now)
    talk.site.inspection.tick(talk.site.now)
    assert talk.answers(b"HTTP/1.1 204 No Content\r\n\r\n")
    assert talk.say(GET).send


def test_a_settled_connection_is_cut_when_its_grant_is_withdrawn() -> None:
    talk = Talk(Site(service(BATTERY, Endpoint("tcp", 9999)), SetGrant(UNREADABLE, True)), port=9999).open()
    talk.say(NOISE)
    talk.site.withdraw(UNREADABLE)
    assert resets(talk.say(NOISE)) == BOTH


def test_a_settled_connection_is_cut_when_its_grant_runs_out() -> None:
    site = Site(service(BATTERY, Endpoint("tcp", 9999)), SetGrant(UNREADABLE, True, until=1010.0))
    talk = Talk(site, port=9999).open()
    talk.say(NOISE)
    site.now = 1010.0
    assert resets(talk.say(NOISE)) == BOTH


def test_a_denied_unreadable_connection_is_never_settled() -> None:
    talk = Talk(Site(service(BATTERY, Endpoint("tcp", 9999))), port=9999).open()
    assert resets(talk.say(NOISE)) == BOTH
    assert talk.site.said(ConnectionSettled) == []


def test_a_connection_whose_beginning_was_not_seen_begins_anew() -> None:
    talk = Talk(known(READ))
    assert resets(talk.say(GET)) == BOTH
    assert talk.site.seen() == [], "nobody has asked for anything"
    assert Talk(talk.site).open().say(GET).send


def test_where_nothing_is_read_it_goes_on_from_the_middle() -> None:
    talk = Talk(known(WHOLE))
    assert talk.say(GET).send
    assert talk.answers(b"HTTP/1.1 200 OK\r\n\r\n")


def test_a_stray_reset_is_not_answered() -> None:
    talk = Talk(known(READ))
    assert talk.site.frame(talk.client(RST)).send == ()


def test_an_answer_without_a_connection_does_not_pass() -> None:
    talk = Talk(known(READ))
    assert not talk.answers(GET)
    assert not talk.site.passes(talk.server(SYN | ACK))


def test_the_server_of_a_connection_may_not_open_one_back() -> None:
    site = known(READ)
    Talk(site).open()
    back = Talk(site, port=40000, client=B, server=W, own_port=80)
    assert resets(back.syn()) == [mac(B)]


def test_repeated_denials_ask_for_a_drop_flow() -> None:
    site = known()
    for port in range(40000, 40030):
        Talk(site, own_port=port).open().say(PUT)
    assert site.said(RefusalWanted) == [RefusalWanted(W, B, HTTP)]


def test_a_syn_flood_is_told_a_few_times_only() -> None:
    site = known()
    told = [Talk(site, port=23, own_port=port).syn().send for port in range(40000, 40100)]
    assert sum(bool(send) for send in told) == 5


def test_a_watched_connection_is_reported_and_nothing_is_sent() -> None:
    talk = Talk(known(READ)).open(observed=True)
    assert talk.say(GET, observed=True).send == ()
    assert [seen.access for seen in talk.site.seen()] == [READ]


def test_a_violation_on_a_watched_connection_cuts_it() -> None:
    talk = Talk(known(READ)).open(observed=True)
    outcome = talk.say(PUT, observed=True)
    assert resets(outcome) == BOTH
    assert int.from_bytes(outcome.send[1][38:42]) == talk.seq, "the server has read the message already"
    assert RefusalWanted(W, B, HTTP) in outcome.events


def test_a_watched_handshake_to_an_unknown_service_is_cut() -> None:
    outcome = Talk(known(), port=23).syn(observed=True)
    assert resets(outcome) == BOTH
    assert RefusalWanted(W, B, Endpoint("tcp", 23)) in outcome.events


def test_a_watched_connection_that_cannot_be_followed_is_cut() -> None:
    talk = Talk(known(READ)).open(observed=True)
    far = [talk.client(PSH | ACK, b"x" * 1000, talk.seq + 5000 + 1000 * n) for n in range(1100)]
    cuts = [outcome for frame in far if (outcome := talk.site.frame(frame, observed=True)).send]
    assert resets(cuts[0]) == BOTH


def test_while_both_ends_learn_everything_passes_and_is_reported() -> None:
    site = Site(SetDevice(WASHER, young=True), SetDevice(BATTERY, young=True))
    talk = Talk(site, port=8080).open()
    assert talk.say(PUT).send
    (seen,) = site.seen()
    assert (seen.reason, seen.access.operation) == (Reason.LEARNING, Operation.WRITE)


def test_learning_that_ends_without_a_grant_ends_the_connection() -> None:
    site = Site(SetDevice(WASHER, young=True), SetDevice(BATTERY, young=True))
    talk = Talk(site, port=8080).open()
    talk.say(PUT)
    site.update(main(WASHER))
    assert resets(talk.say(PUT)) == BOTH


def test_an_icmp_error_about_a_connection_passes() -> None:
    talk = Talk(known(READ)).open()
    assert talk.site.passes(unreachable(B, talk.client(PSH | ACK, GET)))
    assert not talk.site.passes(unreachable(L, talk.client(PSH | ACK, GET)))


def test_an_internet_destination_is_judged_by_the_name_of_its_hello() -> None:
    """Two names share an address; only one of them is allowed."""
    cloud = "203.0.113.7"
    names = (DeviceId("@cdn.example"), DeviceId("@battery.example"))
    site = Site(SetAddress(cloud, names), main(WASHER))
    hello = _client_hello(b"battery.example")
    (message,) = TlsStream().feed(hello).messages
    client = ServiceId(f"washer/{message.identity}")
    site.update(SetService(client, WASHER, f"{message.identity}", False))
    site.allow(Access(client, ServiceId("@battery.example/tcp-443"), ANY, ANY, ANY))
    outcome = Talk(site, port=443, server=cloud).open().say(hello)
    assert hello in b"".join(outcome.send)
    outcome = Talk(site, port=443, server=cloud, own_port=40001).open().say(_client_hello(b"cdn.example"))
    assert hello not in b"".join(outcome.send)


def _client_hello(name: bytes) -> bytes:
    """TLS 1.2 with nothing but a server name (RFC 5246, section 7.4.1.2; RFC 6066, section 3)."""
    sni = b"\0" + len(name).to_bytes(2) + name
    sni = len(sni).to_bytes(2) + sni
    extensions = b"\0\0" + len(sni).to_bytes(2) + sni
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0" + len(extensions).to_bytes(2) + extensions
    message = b"\1" + len(body).to_bytes(3) + body
    return b"\x16\3\1" + len(message).to_bytes(2) + message


@pytest.mark.parametrize("flags", [FIN | ACK, ACK])
def test_the_end_of_a_connection_passes(flags: int) -> None:
    talk = Talk(known(READ)).open()
    talk.say(GET)
    assert talk.site.passes(talk.client(flags))


def test_a_service_that_moves_is_found_at_its_new_place() -> None:
    site = known(READ)
    site.update(SetService(READ.server, LOCK, "tcp-80", False, (HTTP,)))
    assert Talk(site, server=L).open().say(GET).send
    assert resets(Talk(site).syn()) == [mac(W)]


def test_a_flood_of_connections_costs_bounded_memory() -> None:
    site = known(READ)
    inspection = site.inspection
    inspection._connections = connections.ConnectionJudge(inspection._judge, Limits(connections=50))
    for port in range(1000, 3000):
        Talk(site, own_port=port).open()
    assert len(inspection._connections) <= 100
    site.now += 5
    inspection.tick(site.now)
    assert len(inspection._connections) <= 50


def test_what_was_allowed_before_a_watched_violation_is_reported_too() -> None:
    """The switch has forwarded both; the grant for one message is used up."""
    talk = Talk(Site(service(BATTERY, HTTP), SetGrant(READ, True, once=True))).open(observed=True)
    assert resets(talk.say(GET + PUT, observed=True)) == BOTH
    reports = {seen.access: (seen.allowed, seen.consumed) for seen in talk.site.seen()}
    assert reports == {READ: (True, True), WRITE: (False, False)}
    again = Talk(talk.site, own_port=40001).open(observed=True)
    assert resets(again.say(GET, observed=True)) == BOTH


def test_a_partner_elsewhere_on_the_device_opens_no_other_port_of_it() -> None:
    talk = Talk(known(READ), port=23)
    assert resets(talk.syn()) == [mac(W)]


def test_a_scan_without_acknowledgement_is_answered_by_nobody() -> None:
    talk = Talk(known(READ))
    for flags in (FIN, 0, FIN | PSH, PSH):
        assert not talk.site.frame(talk.client(flags)).send


def test_a_stray_segment_is_told_to_the_receiver_only_where_a_connection_could_be() -> None:
    assert resets(Talk(known(READ)).say(GET)) == BOTH
    assert resets(Talk(known(READ), port=23).say(GET)) == [mac(W)]


def test_a_stray_answer_is_told_to_its_client() -> None:
    talk = Talk(known(READ))
    assert resets(talk.site.frame(talk.server(PSH | ACK, b"more"))) == [mac(B), mac(W)]


def as_lamp(operation: Operation, resource: str) -> Access:
    """What the service `lamp` of the washer does by MQTT on port 80."""
    return Access(ServiceId(f"{WASHER}/lamp"), ServiceId(f"{BATTERY}/tcp-80"), "mqtt", operation, resource)


def test_mqtt_inside_a_websocket_is_judged_message_by_message() -> None:
    upgrade = b"GET /charge HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    site = known(READ, as_lamp(Operation.CONNECT, ""), as_lamp(Operation.PUBLISH, "a/b"))
    talk = Talk(site).open()
    for payload in (upgrade, websocket(CONNECT), websocket(PUBLISH[:3], 2) + websocket(PUBLISH[3:], 0x80)):
        raw = talk.client(PSH | ACK, payload)
        assert talk.say(payload).send == (raw,)
    assert resets(talk.say(websocket(PUBLISH.replace(b"a/b", b"a/c")))) == BOTH


def test_what_nobody_reads_in_a_websocket_needs_a_grant_of_its_own() -> None:
    upgrade = b"GET /charge HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    opaque = access("websocket", Operation.CONNECT, "/charge", endpoint=HTTP)
    for grants, passes in ((known(READ), False), (known(READ, opaque), True)):
        talk = Talk(grants).open()
        talk.say(upgrade)
        frame = websocket(NOISE)
        raw = talk.client(PSH | ACK, frame)
        assert (raw in talk.say(frame).send) is passes


def test_requests_of_http_2_are_judged_stream_by_stream() -> None:
    first = PREFACE + http2(1, 1, b"\x82\x86\x44\x07/charge", 5)
    second = http2(1, 3, b"\x82\x86\x44\x05/door", 5)
    talk = Talk(known(READ)).open()
    raw = talk.client(PSH | ACK, first)
    assert talk.say(first).send == (raw,)
    assert resets(talk.say(second)) == BOTH


def test_tunnel_whose_content_nobody_reads_is_denied_unless_it_is_allowed() -> None:
    connect = b"CONNECT host:22 HTTP/1.1\r\nHost: host:22\r\n\r\n"
    opening = access("http", Operation.CONNECT, "host:22", endpoint=HTTP)
    unread = access("unknown", Operation.CONNECT, "", endpoint=HTTP)
    for site, passes in ((known(opening), False), (known(opening, unread), True)):
        talk = Talk(site).open()
        assert talk.say(connect).send
        raw = talk.client(PSH | ACK, NOISE)
        assert (raw in talk.say(NOISE).send) is passes
