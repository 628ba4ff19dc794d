"""The verdict table: who is behind an address, and what is allowed between services."""

import pytest

from controller.dpi.message import Message, Operation
from controller.model.relationship import ANY, Access, DeviceId, Endpoint, Reason, ServiceId, Verdict
from controller.verdicts import (
    GROUP,
    NAMES_PER_ADDRESS,
    Delta,
    SetAddress,
    SetDevice,
    SetGrant,
    SetNetworks,
    SetService,
    VerdictTable,
    outside,
    remote,
    slug,
)

WASHER, LOCK = DeviceId("washer"), DeviceId("lock")
W, L, CLOUD = "10.0.0.1", "10.0.0.2", "203.0.113.7"
HTTP, MDNS = Endpoint("tcp", 80), Endpoint("udp", 5353)
MAIN, WEB = ServiceId("washer/main"), ServiceId("lock/tcp-80")
NOW = 1000.0
SITE: tuple[Delta, ...] = (
    SetNetworks(("10.0.0.0/8", "fe80::/10")),
    SetDevice(WASHER),
    SetDevice(LOCK),
    SetAddress(W, (WASHER,)),
    SetAddress(L, (LOCK,)),
)
KNOWN = (SetService(MAIN, WASHER, "main", False), SetService(WEB, LOCK, "tcp-80", False, (HTTP,)))
LEARNING = (SetService(MAIN, WASHER, "main", True), SetService(WEB, LOCK, "tcp-80", True, (HTTP,)))


def table(*more: Delta) -> VerdictTable:
    return VerdictTable((*SITE, *more))


def access(operation: str = "read", resource: str = "/state", protocol: str = "http") -> Access:
    return Access(MAIN, WEB, protocol, operation, resource)


def grant(allow: bool | None, said: Access | None = None, **more: object) -> SetGrant:
    return SetGrant(said or access(), allow, **more)  # type: ignore[arg-type]


def judged(made: VerdictTable, said: Access | None = None, now: float = NOW) -> Verdict:
    return made.judge(WASHER, LOCK, said or access(), now)


ALLOWED, REFUSED = Verdict(True, Reason.KNOWN), Verdict(False, Reason.DENIED)

# Who is it?


@pytest.mark.parametrize(
    ("address", "device"),
    [
        (W, WASHER),
        ("10.9.9.9", None),  # inside, and nobody was seen to hold it
        (CLOUD, remote(CLOUD)),
        ("224.0.0.251", GROUP),
        ("255.255.255.255", GROUP),
        ("ff02::fb", GROUP),
        ("fe80::9", None),
        ("2001:db8::1", remote("2001:db8::1")),
    ],
)
def test_address_tells_the_device(address: str, device: DeviceId | None) -> None:
    assert table().device_at(address) == device


def test_address_that_is_given_up_is_nobodys() -> None:
    made = table(SetAddress(W, ()))
    assert made.device_at(W) is None
    assert made.addresses_of(WASHER) == frozenset()


def test_address_that_changes_hands_is_the_new_holders_alone() -> None:
    made = table(SetAddress(W, (LOCK,)))
    assert made.device_at(W) == LOCK
    assert made.addresses_of(LOCK) == {W, L}
    assert made.addresses_of(WASHER) == frozenset()


def test_name_in_a_hello_chooses_among_known_names_and_adds_none() -> None:
    a, b = outside("a.example"), outside("b.example")
    made = table(SetAddress(CLOUD, (a, b)))
    assert made.device_at(CLOUD) == a
    assert made.device_at(CLOUD, "b.example") == b
    assert made.device_at(CLOUD, "c.example") == a


def test_message_belongs_to_the_service_that_says_its_name() -> None:
    message = Message("http", "GET", Operation.READ, "/session/12345", identity="app")
    assert table().access(WASHER, LOCK, HTTP, message) == Access(
        ServiceId("washer/app"), WEB, "http", Operation.READ, "/session/{number}"
    )


def test_service_that_calls_itself_main_is_not_the_main_service() -> None:
    assert table().client_service(WASHER, "main") != MAIN
    assert table().client_service(WASHER, None) == table().client_service(WASHER, "") == MAIN


def test_name_of_a_service_is_harmless_and_never_that_of_another() -> None:
    names = ["a b", "a-b", "a/b", "A-b", "ä", "ö", "x" * 60, "x" * 61, ".", "", "main"]
    slugs = {slug(name) for name in names}
    assert len(slugs) == len(names)
    assert all(s and "/" not in s and len(s) <= 60 for s in slugs)


def test_moved_service_is_known_where_it_lives_now_and_a_stranger_where_it_was() -> None:
    made = table(*KNOWN, SetService(WEB, WASHER, "tcp-80", False))
    assert made.server_service(WASHER, HTTP, None) == WEB
    assert made.server_service(LOCK, HTTP, None) == ServiceId("lock/tcp-80~left")


@pytest.mark.parametrize("name", ["203.0.113.7", "group", "::1"])
def test_name_outside_cannot_pass_for_an_address_or_the_group(name: str) -> None:
    assert outside(name) not in (remote(name), GROUP)


def test_names_outside_are_the_same_in_any_case_and_with_a_final_dot() -> None:
    assert outside("Cloud.Example.") == outside("cloud.example") == "@cloud.example"


# May it?


def test_what_nobody_knows_is_denied() -> None:
    assert judged(table()) == Verdict(False, Reason.NEW_SERVICE)
    assert judged(table(*KNOWN)) == Verdict(False, Reason.NEW_PARTNER)


def test_reason_is_the_first_property_that_is_violated() -> None:
    made = table(*KNOWN, grant(True))
    assert judged(made) == ALLOWED
    assert judged(made, access(resource="/other")).reason is Reason.NEW_RESOURCE
    assert judged(made, access("write")).reason is Reason.NEW_OPERATION
    assert judged(made, access(protocol="coap")).reason is Reason.NEW_OPERATION


def test_grant_that_is_taken_back_leaves_nothing() -> None:
    made = table(*KNOWN, grant(True), grant(None))
    assert judged(made).reason is Reason.NEW_PARTNER
    assert list(made.deltas()) == list(table(*KNOWN).deltas())


@pytest.mark.parametrize("device", [WASHER, LOCK])
def test_quarantined_end_stops_everything(device: DeviceId) -> None:
    assert judged(table(*KNOWN, grant(True), SetDevice(device, blocked=True))) == (
        Verdict(False, Reason.QUARANTINED)
    )


@pytest.mark.parametrize("device", [WASHER, LOCK])
def test_device_that_the_site_does_not_know_gets_nothing(device: DeviceId) -> None:
    assert judged(table(*KNOWN, grant(True), SetDevice(device, gone=True))) == (
        Verdict(False, Reason.NEW_DEVICE)
    )


def test_nobody_outside_uses_the_site_to_reach_somebody_outside() -> None:
    made = table(SetGrant(Access(ServiceId("@a/main"), ServiceId("@b/tcp-80"), ANY, ANY, ANY), True))
    assert not made.judge(DeviceId("@a"), DeviceId("@b"), access(), NOW).allow


def test_discovery_is_templated_for_its_own_port_only() -> None:
    query = Access(MAIN, ServiceId("lock/udp-5353"), "mdns", "lookup", "x")
    assert judged(table(), query) == Verdict(True, Reason.TEMPLATE)
    elsewhere = Access(MAIN, ServiceId("lock/udp-5354"), "mdns", "lookup", "x")
    assert not judged(table(), elsewhere).allow


@pytest.mark.parametrize(
    "wide",
    [
        access(resource=ANY),
        access(ANY, ANY),
        access(ANY, ANY, ANY),
        access(resource="/state/{number}"),
    ],
)
def test_decision_holds_for_what_is_narrower(wide: Access) -> None:
    narrow = access(resource="/state/1")
    assert judged(table(*KNOWN, grant(True, wide)), narrow) == ALLOWED
    assert judged(table(*KNOWN, grant(False, wide)), narrow) == REFUSED


def test_more_specific_decision_wins_whichever_came_first() -> None:
    wide = access(ANY, ANY, ANY)
    for deltas in ((grant(False), grant(True, wide)), (grant(True, wide), grant(False))):
        assert judged(table(*KNOWN, *deltas)) == REFUSED
        assert judged(table(*KNOWN, *deltas), access("write")) == ALLOWED


# Time


def test_decision_counts_until_its_time_is_over() -> None:
    made = table(*KNOWN, grant(True, until=NOW))
    assert judged(made, now=NOW - 0.001) == ALLOWED
    assert not judged(made, now=NOW).allow


def test_narrow_decision_that_is_over_gives_way_to_a_wider_one() -> None:
    wide = grant(True, access(ANY, ANY))
    assert judged(table(*KNOWN, grant(False, until=NOW), wide)) == ALLOWED
    assert judged(table(*KNOWN, grant(None, over=True), wide)) == ALLOWED


@pytest.mark.parametrize("over", [grant(None, over=True), grant(True, until=NOW), grant(False, until=NOW)])
def test_decision_that_is_over_is_not_learnt_instead(over: SetGrant) -> None:
    """Who allowed something for an hour has not allowed that it is learnt for ever afterwards."""
    made = table(*LEARNING, over)
    assert not judged(made).allow
    assert judged(made, access("write")) == Verdict(True, Reason.LEARNING)


def test_wide_decision_that_is_over_holds_back_all_that_it_covered() -> None:
    made = table(*LEARNING, grant(None, access(ANY, ANY), over=True))
    assert not judged(made).allow
    assert judged(made, access(protocol="coap")) == Verdict(True, Reason.LEARNING)


# Learning


def test_both_ends_must_be_learning() -> None:
    assert judged(table(*LEARNING)) == Verdict(True, Reason.LEARNING)
    assert not judged(table(LEARNING[0], KNOWN[1])).allow
    assert not judged(table(KNOWN[0], LEARNING[1])).allow


def test_denied_while_learning_stays_denied() -> None:
    assert judged(table(*LEARNING, grant(False))) == REFUSED


def test_new_service_learns_on_a_young_device_only() -> None:
    assert judged(table(SetDevice(WASHER, young=True), SetDevice(LOCK, young=True))).allow
    assert not judged(table(SetDevice(WASHER, young=True))).allow
    known = SetService(MAIN, WASHER, "main", False)  # graduated, though others are still to come
    assert not judged(table(SetDevice(WASHER, young=True), SetDevice(LOCK, young=True), known)).allow


def test_service_that_has_moved_does_not_learn_where_it_was() -> None:
    assert not judged(table(LEARNING[0], SetService(WEB, WASHER, "tcp-80", True))).allow


def test_internet_has_no_model_that_could_say_no() -> None:
    out = Access(MAIN, ServiceId(f"{remote(CLOUD)}/tcp-443"), "tls", "connect", "")
    assert table(LEARNING[0]).judge(WASHER, remote(CLOUD), out, NOW) == Verdict(True, Reason.LEARNING)
    assert not table(KNOWN[0]).judge(WASHER, remote(CLOUD), out, NOW).allow


# Handshakes


def opened(made: VerdictTable, reveal: bool = True, endpoint: Endpoint = HTTP) -> Verdict:
    return made.judge_opening(WASHER, LOCK, endpoint, reveal, NOW)


def test_handshake_to_a_known_service_may_pass_so_that_the_request_can_be_read() -> None:
    assert opened(table(*KNOWN)).allow
    assert not opened(table(*KNOWN), reveal=False).allow
    assert not opened(table(*KNOWN), endpoint=Endpoint("tcp", 22)).allow
    assert not opened(table()).allow


def test_handshake_that_something_allowed_needs_passes_without_revealing() -> None:
    assert opened(table(*KNOWN, grant(True)), reveal=False).allow


@pytest.mark.parametrize("device", [WASHER, LOCK])
def test_handshake_of_a_quarantined_device_does_not_pass(device: DeviceId) -> None:
    assert not opened(table(*KNOWN, grant(True), SetDevice(device, blocked=True))).allow


def test_denial_of_one_service_does_not_close_the_door_to_others_of_its_device() -> None:
    app = ServiceId("washer/app")
    denied = grant(False, access(ANY, ANY, ANY))
    other = SetGrant(Access(app, WEB, "http", "read", "/state"), True)
    assert not opened(table(*KNOWN, denied)).allow
    assert opened(table(*KNOWN, denied, SetService(app, WASHER, "app", False), other)).allow


def test_denial_of_everything_closes_the_door_while_learning_too() -> None:
    assert not opened(table(*LEARNING, grant(False, access(ANY, ANY, ANY)))).allow
    assert opened(table(*LEARNING)).allow


# Whole pairs


def test_pair_as_a_whole_needs_a_lasting_grant_for_all_services_and_no_denial() -> None:
    whole = grant(True, access(ANY, ANY, ANY))
    assert table(*KNOWN, whole).as_a_whole(WASHER, LOCK, HTTP, NOW)
    for spoiled in (
        (),
        (whole, grant(False)),
        (grant(True, access(ANY, ANY, ANY), once=True),),
        (grant(True, access(ANY, ANY, ANY), until=NOW),),
        (whole, SetDevice(LOCK, blocked=True)),
        (whole, SetService(ServiceId("washer/app"), WASHER, "app", False)),
        (whole, SetService(ServiceId("lock/tcp-80~left"), LOCK, "other", False, (HTTP,))),
    ):
        assert not table(*KNOWN, *spoiled).as_a_whole(WASHER, LOCK, HTTP, NOW)


# Names outside


def test_names_of_an_address_outside_add_up_to_a_limit() -> None:
    made = table()
    for number in range(NAMES_PER_ADDRESS + 3):
        delta = made.named(CLOUD, f"n{number}.example")
        if delta is not None:
            made.apply(delta)
    assert len(made.names_of(CLOUD)) == NAMES_PER_ADDRESS
    assert made.named(CLOUD, "n0.example") is None


@pytest.mark.parametrize("address", [W, "10.9.9.9", "224.0.0.251", "fe80::1", "ff02::fb"])
def test_no_name_outside_is_given_to_an_address_of_the_site_or_a_group(address: str) -> None:
    assert table().named(address, "evil.example") is None


def test_address_that_something_relies_on_keeps_itself_as_its_first_name() -> None:
    delta = table().named(CLOUD, "evil.example", keep_nameless=True)
    assert delta == SetAddress(CLOUD, (remote(CLOUD), outside("evil.example")))


# Copies


def test_copy_made_of_the_deltas_says_the_same() -> None:
    made = table(
        *KNOWN, grant(True), grant(None, access("write"), over=True), SetService(WEB, WASHER, "tcp-80", True)
    )
    copy = VerdictTable(made.deltas())
    assert list(copy.deltas()) == list(made.deltas())
    for said in (access(), access("write"), access("write", "/x")):
        assert judged(copy, said) == judged(made, said)


def test_endpoint_that_a_service_has_left_is_no_door_any_more() -> None:
    left = SetService(WEB, LOCK, "tcp-80", False)
    assert opened(table(*KNOWN)).allow
    assert not opened(table(*KNOWN, left)).allow
