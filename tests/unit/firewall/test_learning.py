"""What is learnt by itself, what is asked, how much at most, and when learning ends."""

from dataclasses import replace

import pytest

from controller.config import parse
from controller.events import NameSeen, Scope, ServiceAnnounced
from controller.firewall.learning import (
    ENDPOINTS_PER_SERVICE,
    PENDING_PER_DEVICE,
    SERVICES_PER_DEVICE,
)
from controller.model.relationship import DeviceId, Endpoint, Reason, ServiceId, Status
from controller.model.resource import COUNTER_AT
from controller.model.service import Device, Service
from controller.verdicts import outside, remote
from tests.unit.firewall.script import LOCK, WASHER, WEB, Script, access

MAIN, SERVER = ServiceId("washer/main"), ServiceId("lock/tcp-80")
CLOUD = "203.0.113.7"
DNS = "10.0.0.53"


@pytest.fixture
def young() -> Script:
    return Script()


@pytest.fixture
def old() -> Script:
    return Script(learnt=True)


def service(script: Script, name: str) -> Service:
    return script.state.site.services[ServiceId(name)]


# Relationships


def test_what_is_seen_while_learning_is_learnt_with_both_its_services(young: Script) -> None:
    young.see(access(), count=3)
    found = young.relationship(access())
    assert found is not None
    assert (found.status, found.allowed, found.refused) == (Status.LEARNED, 3, 0)
    assert service(young, MAIN).learning
    assert service(young, SERVER).endpoints == {WEB}
    assert young.state.table.judge(WASHER, LOCK, access(), young.now).reason is Reason.KNOWN


def test_what_is_new_afterwards_is_asked_and_counted(old: Script) -> None:
    for _ in range(3):
        old.see(access("write", "/door"), Reason.NEW_OPERATION, count=2)
    found = old.relationship(access("write", "/door"))
    assert found is not None
    assert (found.status, found.reason, found.refused) == (Status.PENDING, Reason.NEW_OPERATION, 6)


@pytest.mark.parametrize(
    "reason", [Reason.SPOOFED, Reason.MALFORMED, Reason.QUARANTINED, Reason.AMBIGUOUS, Reason.OVERLOAD]
)
def test_what_is_denied_for_its_form_is_counted_and_not_asked(old: Script, reason: Reason) -> None:
    old.see(access("write", "/door"), reason, count=4)
    assert old.status(access("write", "/door")) is None
    assert old.state.counters[f"refused: {reason.value}"] == 4


def test_denied_attempts_do_not_change_a_denial(old: Script) -> None:
    said = access("write", "/door")
    old.see(said, Reason.NEW_OPERATION)
    old.decide(old.cards[0].id, approve=False)
    old.see(said, Reason.DENIED)
    old.see(said, Reason.NEW_OPERATION)  # judged before all had heard
    assert old.status(said) is Status.DENIED


def test_what_a_wide_permission_allows_is_counted_there(old: Script) -> None:
    old.see(access("read", "/a"), Reason.NEW_RESOURCE)
    old.decide(old.cards[0].id, approve=True, scope=Scope.SERVICE)
    old.see(access("read", "/b"), Reason.KNOWN, count=7)
    assert old.status(access("read", "/b")) is None
    wide = old.relationship(access("*", "*"))
    assert wide is not None
    assert wide.allowed == 7


def test_message_of_devices_that_nobody_knows_is_counted_only(old: Script) -> None:
    old.see(access(client="ghost/main"), Reason.NEW_PARTNER)
    assert old.state.counters["observations of unknown devices"] == 1
    assert DeviceId("ghost") not in old.state.site.devices


def test_denied_attempt_does_not_make_a_service_known_to_be_there(old: Script) -> None:
    old.see(access("connect", "", server="lock/tcp-22", protocol="unknown"), Reason.NEW_PARTNER)
    assert service(old, "lock/tcp-22").endpoints == frozenset()
    assert not old.state.table.judge_opening(WASHER, LOCK, Endpoint("tcp", 22), True, old.now).allow


# Counters (resource.py, rule 3)


def test_numbers_become_a_counter_once_enough_of_them_were_learnt(young: Script) -> None:
    for number in range(COUNTER_AT - 1):
        young.see(access("read", f"/room/{number}"))
    assert young.status(access("read", "/room/{number}")) is None
    young.see(access("read", f"/room/{COUNTER_AT}"), count=5)
    found = young.relationship(access("read", "/room/{number}"))
    assert found is not None
    assert found.allowed == COUNTER_AT - 1 + 5
    assert young.status(access("read", "/room/0")) is None
    assert young.state.table.judge(WASHER, LOCK, access("read", "/room/9"), young.now).reason is Reason.KNOWN


def test_numbers_of_different_operations_are_different_counters(young: Script) -> None:
    for number, operation in enumerate(("read", "write", "delete")):
        young.see(access(operation, f"/room/{number}"))
    assert young.status(access("read", "/room/{number}")) is None


def test_numbers_that_are_asked_about_never_become_a_counter(old: Script) -> None:
    for number in range(COUNTER_AT + 2):
        old.see(access("read", f"/door/{number}"), Reason.NEW_RESOURCE)
    assert old.status(access("read", "/door/{number}")) is None
    assert old.status(access("read", "/door/0")) is Status.PENDING


# Limits


def test_flood_of_questions_is_bounded_and_counted(old: Script) -> None:
    for number in range(PENDING_PER_DEVICE + 20):
        old.see(access("read", f"/x{number}"), Reason.NEW_RESOURCE)
    assert sum(1 for _ in old.state.site.waiting()) == PENDING_PER_DEVICE
    assert old.state.counters["questions beyond the limit"] == 20


def test_device_that_renames_itself_again_and_again_has_a_limited_number_of_services(old: Script) -> None:
    for number in range(SERVICES_PER_DEVICE + 10):
        old.see(access(client=f"washer/n{number}"), Reason.NEW_SERVICE)
    assert len(old.state.site.services_on(WASHER)) == SERVICES_PER_DEVICE
    assert old.state.counters["services beyond the limit"] > 0


def test_service_has_a_limited_number_of_endpoints(young: Script) -> None:
    for port in range(ENDPOINTS_PER_SERVICE + 5):
        young.see(access(), endpoint=Endpoint("tcp", 1000 + port))
    assert len(service(young, SERVER).endpoints) == ENDPOINTS_PER_SERVICE


# The end of learning (minimum 10 s, quiet 5 s, maximum 60 s)


def test_learning_ends_after_the_minimum_when_nothing_new_comes(young: Script) -> None:
    young.see(access())
    young.wait(9)
    assert service(young, MAIN).learning
    young.wait(1)
    assert not service(young, MAIN).learning


def test_what_is_new_prolongs_learning_and_what_is_known_does_not(young: Script) -> None:
    young.see(access())
    young.wait(9)
    young.see(access("read", "/new"))
    young.wait(3)
    young.see(access())
    young.wait(1)
    assert service(young, MAIN).learning
    young.wait(1)
    assert not service(young, MAIN).learning


def test_learning_ends_at_the_maximum_whatever_comes(young: Script) -> None:
    for number in range(59):
        young.see(access("read", f"/n-{number}x"))
        young.wait(1)
    assert service(young, MAIN).learning
    young.wait(1)
    assert not service(young, MAIN).learning


def test_first_graduation_ends_the_youth_of_a_device(young: Script) -> None:
    young.see(access())
    young.wait(10)
    assert not young.state.site.devices[WASHER].young
    young.see(access(client="washer/late"), Reason.NEW_SERVICE)
    assert not service(young, "washer/late").learning


def test_progress_is_shown_and_never_goes_beyond_its_ends(young: Script) -> None:
    young.see(access())
    view = young.firewall.view(young.now).services[MAIN].learning
    assert view is not None
    assert (view.progress, view.ends_at_latest) == (0.0, young.now + 60)
    young.wait(5)
    young.see(access("read", "/b"))
    view = young.firewall.view(young.now).services[MAIN].learning
    assert view is not None
    assert 0.0 < view.progress <= 1.0


def test_learning_goes_on_where_it_was_after_a_restart(young: Script) -> None:
    young.see(access())
    young.wait(6)
    young.start()
    young.wait(3)
    assert service(young, MAIN).learning
    young.wait(1)
    assert not service(young, MAIN).learning


# Names outside


@pytest.fixture
def resolving() -> Script:
    made = Script()
    made.config = parse(
        "devices:\n  - {id: washer, mac: 02:00:00:00:00:01, addresses: [10.0.0.1]}\n"
        "  - {id: router, mac: 02:00:00:00:00:53, addresses: [10.0.0.53], roles: [dns, router]}",
        "site.yaml",
    )
    made.start()
    made.wait(1)
    return made


def names(script: Script, address: str = CLOUD) -> tuple[DeviceId, ...]:
    return script.state.table.names_of(address)


def test_name_server_of_the_site_is_believed_and_nobody_else(resolving: Script) -> None:
    resolving.tell(NameSeen("evil.example", CLOUD, 60, server="10.0.0.1"))
    resolving.tell(NameSeen("evil.example", CLOUD, 60, server="198.51.100.1"))
    assert names(resolving) == ()
    assert resolving.state.counters["names told by strangers"] == 2
    resolving.tell(NameSeen("cloud.example", CLOUD, 60, server=DNS))
    assert names(resolving) == (outside("cloud.example"),)


@pytest.mark.parametrize("address", ["10.0.0.1", "224.0.0.1", "not an address", ""])
def test_name_server_cannot_name_what_is_inside_or_nothing(resolving: Script, address: str) -> None:
    resolving.tell(NameSeen("evil.example", address, 60, server=DNS))
    assert resolving.state.table.names_of(address) in ((), (WASHER,))


def test_address_that_is_allowed_without_a_name_does_not_change_hands_by_one(resolving: Script) -> None:
    said = access("connect", "", server=f"{remote(CLOUD)}/tcp-443", protocol="tls")
    resolving.see(said, server_address=CLOUD)
    resolving.tell(NameSeen("evil.example", CLOUD, 60, server=DNS))
    assert names(resolving) == (remote(CLOUD), outside("evil.example"))


# Announcements by DNS-SD


def announce(script: Script, name: str, device: str = "lock", port: int = 80) -> None:
    script.tell(ServiceAnnounced(DeviceId(device), Endpoint("tcp", port), name, "_http._tcp"))


def test_announced_service_is_known_by_its_name_and_allows_nothing(old: Script) -> None:
    announce(old, "Bolt", port=8080)
    assert service(old, "lock/tcp-8080").name == "Bolt"
    said = access(server="lock/tcp-8080")
    assert not old.state.table.judge(WASHER, LOCK, said, old.now).allow
    assert old.state.table.judge_opening(WASHER, LOCK, Endpoint("tcp", 8080), True, old.now).allow


def test_announcement_does_not_rename_what_the_manager_has_named(old: Script) -> None:
    old.state.put_service(replace(service(old, SERVER), name="Mine", named_by_manager=True))
    announce(old, "Yours")
    assert service(old, SERVER).name == "Mine"


def test_unknown_device_announces_nothing(old: Script) -> None:
    known: dict[DeviceId, Device] = dict(old.state.site.devices)
    announce(old, "Ghost", device="ghost")
    assert dict(old.state.site.devices) == known


# Endpoints


def test_relationship_is_where_its_server_listens_now(old: Script) -> None:
    """It is seen elsewhere, too; only when the service has left the old place it is another pair's."""
    old.see(access(), Reason.KNOWN, endpoint=Endpoint("tcp", 8080))
    found = old.relationship(access())
    assert found is not None
    assert found.endpoint == WEB
    old.state.put_service(replace(service(old, SERVER), endpoints=frozenset()))
    old.see(access(), Reason.KNOWN, endpoint=Endpoint("tcp", 8080))
    found = old.relationship(access())
    assert found is not None
    assert found.endpoint == Endpoint("tcp", 8080)


def test_graduation_is_told_with_its_reason(young: Script) -> None:
    young.see(access())
    young.wait(10)
    lines = [line.text for line in young.state.log if line.event == "graduated"]
    assert len(lines) == 2
    assert all("nothing new has come for a while; 1 relationships known" in line for line in lines)
