"""Sentences that a resident reads: plain, short, and safe against names from the network."""

import pytest

from controller.dpi.message import Operation
from controller.model.relationship import (
    ANY,
    Access,
    DeviceId,
    Endpoint,
    Reason,
    Relationship,
    ServiceId,
    Status,
)
from controller.model.service import Device, Place, Service
from controller.words import (
    LONGEST_NAME,
    action,
    explanation,
    group_sentence,
    risk,
    sentence,
    thing,
    visible,
    who,
)


def device(name: str, kind: str = "") -> Device:
    return Device(DeviceId(name.lower().replace(" ", "-")), 1, Place.SITE, name, kind=kind)


WASHER, DOOR, LAMP = device("Washing machine"), device("Front door", "door lock"), device("Lamp")


def access(operation: str, resource: str = "/state", protocol: str = "http") -> Access:
    return Access(ServiceId("a/main"), ServiceId("b/tcp-80"), protocol, operation, resource)


def asked(operation: str, resource: str = "/state") -> Relationship:
    return Relationship(access(operation, resource), Status.PENDING, Reason.NEW_PARTNER, Endpoint("tcp", 80),
                        "GET", 0.0, 0.0)  # fmt: skip


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (access("read"), "Washing machine wants to read /state of Lamp"),
        (access("write", "/on"), "Washing machine wants to change /on of Lamp"),
        (access("subscribe", "home/t", "mqtt"), "Washing machine wants to follow home/t at Lamp"),
        (access("lookup", "x.example A", "dns"), "Washing machine wants to look up x.example A at Lamp"),
        (access("connect", "mail.example", "tls"), "Washing machine wants to connect to Lamp"),
        (access(ANY, ANY), "Washing machine wants to do anything with Lamp"),
        (access("read", ""), "Washing machine wants to read Lamp"),
        (access("write", "/{agent}/light1/isOn", "vsl"), "Washing machine wants to change isOn of Lamp"),
        (access("frobnicate"), "Washing machine wants to frobnicate /state of Lamp"),
    ],
)
def test_question_is_a_sentence_in_plain_words(said: Access, text: str) -> None:
    assert sentence(said, WASHER, LAMP) == text


@pytest.mark.parametrize("operation", Operation)
def test_every_operation_has_a_word_of_its_own(operation: Operation) -> None:
    verb, _ = action(access(operation, "/x"), LAMP)
    assert verb
    assert len({action(access(o, "/x"), LAMP)[0] for o in Operation}) == len(Operation)


def test_opening_a_lock_is_called_what_it_is() -> None:
    assert sentence(access("write", "/isOpen"), WASHER, DOOR) == (
        "Washing machine wants to lock or unlock Front door"
    )
    assert "lock or unlock" not in sentence(access("read", "/isOpen"), WASHER, DOOR)
    assert "lock or unlock" not in sentence(access("write", "/isOpen"), WASHER, LAMP)


@pytest.mark.parametrize(
    ("operation", "server", "expected"),
    [
        ("read", LAMP, "reads"),
        ("subscribe", DOOR, "reads"),
        ("write", LAMP, "changes"),
        ("publish", LAMP, "changes"),
        (ANY, LAMP, "changes"),
        ("write", DOOR, "opens"),
        ("execute", device("Kitchen Oven"), "opens"),
        ("delete", device("x", "alarm"), "opens"),
        (ANY, DOOR, "opens"),
    ],
)
def test_risk_is_what_a_wrong_answer_could_do(operation: str, server: Device, expected: str) -> None:
    assert risk(access(operation), server) == expected


# Names from the network


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Küche 1", "Küche 1"),
        ("a\nb", "a<U+000A>b"),
        ("\x1b[31mred", "<U+001B>[31mred"),
        ("evil\u202egnp", "evil<U+202E>gnp"),  # reverses what follows
        ("zero\u200bwidth", "zero<U+200B>width"),
        ("no\u00a0break", "no<U+00A0>break"),
        ("half\ud800", "half<U+D800>"),
        ("", ""),
    ],
)
def test_what_cannot_be_seen_is_made_visible(name: str, shown: str) -> None:
    assert visible(name) == shown


def test_name_is_shortened_after_it_was_made_visible() -> None:
    assert visible("a" * LONGEST_NAME) == "a" * LONGEST_NAME
    assert visible("a" * 1000) == "a" * (LONGEST_NAME - 1) + "…"
    assert len(visible("\n" * 1000)) == LONGEST_NAME


def test_hostile_names_stay_within_their_sentence() -> None:
    text = sentence(access("read", "/a\r\nb" * 200), device("x\ny" * 200), device("\u202e" * 99))
    assert text.isprintable()
    assert len(text) < 4 * LONGEST_NAME


def test_resource_is_as_short_as_it_stays_clear() -> None:
    assert thing(access("read", "/{agent}/light1/room/isOn", "vsl")) == "room/isOn"
    assert thing(access("read", "/{agent}", "vsl")) == "/{agent}"
    assert thing(access("read", ANY)) == ""


def test_service_is_called_by_its_device_and_its_own_name_where_it_differs() -> None:
    service = Service(ServiceId("lamp/x"), LAMP.id, "x", "Dimmer")
    assert who(service, LAMP) == "Lamp (Dimmer)"
    assert who(Service(ServiceId("lamp/main"), LAMP.id, "main", "Lamp"), LAMP) == "Lamp"
    assert who(Service(ServiceId("lamp/main"), LAMP.id, "main", ""), LAMP) == "Lamp"


# Several questions at once


def test_questions_to_one_device_are_counted_and_their_verbs_named_once() -> None:
    said = group_sentence(WASHER, [asked("read", "/a"), asked("read", "/b"), asked("write")], [LAMP])
    assert said == "Washing machine wants to do 3 new things with Lamp: change, read"


def test_questions_to_many_devices_name_three_of_them() -> None:
    servers = [device(f"D{n}") for n in range(5)]
    said = group_sentence(WASHER, [asked("read")] * 6, servers)
    assert said == "Washing machine wants to do 6 new things with D0, D1, D2 and 2 more"


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained_by_a_sentence(reason: Reason) -> None:
    said = explanation(reason)
    assert said.endswith(".")
    assert said[0].isupper()
