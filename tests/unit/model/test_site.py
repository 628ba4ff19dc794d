"""The site's indexes always say what a look at everything would say."""

from dataclasses import replace

from controller.model.relationship import Access, DeviceId, Endpoint, Reason, Relationship, ServiceId, Status
from controller.model.service import Binding, Device, Place, Service
from controller.model.site import Site

LAMP, LOCK = DeviceId("lamp"), DeviceId("lock")
MAIN, WEB = ServiceId("lamp/main"), ServiceId("lock/tcp-80")


def device(name: str, number: int = 1, place: Place = Place.SITE, **more: object) -> Device:
    return replace(Device(DeviceId(name), number, place, name), **more)  # type: ignore[arg-type]


def service(name: str, on: DeviceId, learning: bool = False) -> Service:
    return Service(ServiceId(name), on, name.split("/")[1], name, learning=learning)


def edge(resource: str = "/x", status: Status = Status.PENDING, **more: object) -> Relationship:
    access = Access(MAIN, WEB, "http", "read", resource)
    made = Relationship(access, status, Reason.NEW_PARTNER, Endpoint("tcp", 80), "GET", 1.0, 1.0)
    return replace(made, **more)  # type: ignore[arg-type]


def site() -> Site:
    return Site(
        (device("lamp", 1, mac="m1", addresses=frozenset({"10.0.0.1"})), device("lock", 2, mac="m2")),
        (service("lamp/main", LAMP), service("lock/tcp-80", LOCK)),
    )


# Devices


def test_device_is_found_by_its_newest_mac_and_addresses_only() -> None:
    made = site()
    made.put_device(replace(made.devices[LAMP], mac="m9", addresses=frozenset({"10.0.0.9"})))
    assert made.by_mac("m1") is None
    assert made.by_address("10.0.0.1") is None
    assert made.by_mac("m9") == made.by_address("10.0.0.9") == made.devices[LAMP]


def test_what_changes_hands_stays_with_the_new_holder_when_the_old_one_changes() -> None:
    made = site()
    made.put_device(replace(made.devices[LOCK], mac="m1", addresses=frozenset({"10.0.0.1"})))
    made.put_device(replace(made.devices[LAMP], mac="m7", addresses=frozenset()))
    assert made.by_mac("m1") == made.by_address("10.0.0.1") == made.devices[LOCK]


def test_numbers_are_never_given_twice() -> None:
    made = site()
    assert made.next_number() == 3
    made.put_device(device("far", 41))
    made.put_device(device("near", 5))
    assert made.next_number() == 42


def test_router_is_one_that_is_attached() -> None:
    made = site()
    made.put_device(replace(made.devices[LAMP], roles=frozenset({"router"})))
    assert made.router is None
    made.put_device(replace(made.devices[LAMP], roles=frozenset({"router"}), binding=Binding(1, 1)))
    assert made.router == LAMP
    made.put_device(replace(made.devices[LAMP], roles=frozenset(), binding=Binding(1, 1)))
    assert made.router is None


def test_address_outside_that_two_names_have_tells_neither() -> None:
    made, shared = site(), frozenset({"203.0.113.7"})
    a, b = (device(name, 9, Place.REMOTE, addresses=shared) for name in ("@a", "@b"))
    assert made.put_device(a) == set()
    assert made.put_device(b) == {a.id, b.id}
    assert made.shared == shared
    assert made.put_device(replace(b, addresses=frozenset())) == {a.id, b.id}
    assert made.shared == set()


def test_only_devices_on_the_site_have_a_model_that_can_say_no() -> None:
    assert {p for p in Place if site().asks_nothing(device("x", place=p))} == {Place.REMOTE, Place.GROUP}


# Services


def test_service_that_moves_lives_on_one_device() -> None:
    made = site()
    made.put_service(service("lock/tcp-80", LAMP))
    assert made.services_on(LOCK) == frozenset()
    assert made.services_on(LAMP) == {MAIN, WEB}
    assert made.device_of(WEB).id == LAMP
    assert made.services_on(DeviceId("nobody")) == frozenset()


def test_services_that_learn_are_known() -> None:
    made = site()
    made.put_service(service("lamp/main", LAMP, learning=True))
    assert made.learning == {MAIN}
    made.put_service(service("lamp/main", LAMP))
    assert made.learning == set()


# Relationships


def test_questions_wait_in_the_order_they_were_first_asked() -> None:
    made = site()
    for resource in ("/b", "/a"):
        made.put(edge(resource))
    made.put(edge("/b", last_seen=9.0))
    assert [r.access.resource for r in made.waiting()] == ["/b", "/a"]
    made.put(edge("/b", Status.APPROVED))
    made.put(edge("/b"))
    assert [r.access.resource for r in made.waiting()] == ["/a", "/b"]


def test_questions_are_counted_by_who_asks() -> None:
    made = site()
    outside = replace(edge(), access=Access(ServiceId("@a/main"), WEB, "http", "read", "/"))
    for question in (edge("/a"), edge("/a"), edge("/b"), outside):
        made.put(question)
    assert (made.asked_by[MAIN], made.asked_from_outside) == (2, 1)
    made.put(edge("/a", Status.DENIED))
    made.remove(edge("/b").access)
    made.remove(edge("/never").access)
    made.remove(outside.access)
    assert (dict(made.asked_by), made.asked_from_outside) == ({}, 0)
    assert list(made.waiting()) == []


def test_what_ends_by_itself_is_known_until_it_has_ended() -> None:
    made = site()
    made.put(edge(status=Status.APPROVED, until=9.0))
    assert made.timed == {edge().access}
    made.put(edge(status=Status.EXPIRED, until=9.0))
    assert made.timed == set()


def test_relationships_of_two_devices_follow_their_services() -> None:
    made = site()
    made.put(edge())
    assert list(made.between_devices(LAMP, LOCK)) == [edge()]
    assert list(made.between_devices(LOCK, LAMP)) == []
    made.put_device(device("spare", 3))
    made.put_service(service("lock/tcp-80", DeviceId("spare")))
    assert list(made.between_devices(LAMP, LOCK)) == []
    assert list(made.between_devices(LAMP, DeviceId("spare"))) == [edge()]


def test_site_made_anew_of_its_parts_is_the_same() -> None:
    made = site()
    for relationship in (edge("/b", first_seen=5.0), edge("/a", first_seen=3.0)):
        made.put(relationship)
    again = Site(made.devices.values(), made.services.values(), made.graph)
    assert [r.access.resource for r in again.waiting()] == ["/a", "/b"]
    assert (again.asked_by, again.next_number()) == (made.asked_by, made.next_number())
