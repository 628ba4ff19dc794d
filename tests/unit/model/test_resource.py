"""The generalisation rule by examples: what becomes a placeholder, and what stays a name."""

import pytest

from controller.model.resource import LONGEST, generalise, shorten, widen

UUID = "123e4567-e89b-12d3-a456-426614174000"


@pytest.mark.parametrize(
    ("resource", "general"),
    [
        ("/camera/12345/still", "/camera/{number}/still"),
        ("/camera/1234/still", "/camera/1234/still"),  # may be a door
        (f"/session/{UUID}", "/session/{uuid}"),
        (f"/session/{UUID.upper()}", "/session/{uuid}"),
        (f"/session/x{UUID}", f"/session/x{UUID}"),  # a whole part only
        ("/f/0123456789ab", "/f/{hex}"),
        ("/f/0123456789a", "/f/0123456789a"),  # eleven digits
        ("/f/abcdefabcdef", "/f/abcdefabcdef"),  # without a decimal digit it may be a word
        ("/f/123456789012", "/f/{number}"),  # digits alone are a number
        ("/12345/12345", "/{number}/{number}"),
        ("12345", "{number}"),
        ("/a//b/", "/a//b/"),
        ("", ""),
        ("/v1.12345", "/v1.12345"),
        ("/１２３４５", "/１２３４５"),  # noqa: RUF001  # not the digits of any protocol
    ],
)
def test_part_of_a_path_that_nobody_types_becomes_a_placeholder(resource: str, general: str) -> None:
    assert generalise("http", resource) == general


@pytest.mark.parametrize("protocol", ["http", "coap", "vsl", "mqtt", "websocket", "rtsp"])
def test_protocols_with_paths_are_generalised(protocol: str) -> None:
    assert generalise(protocol, "a/b/12345").endswith("/{number}")


@pytest.mark.parametrize(
    ("protocol", "resource"),
    [("modbus", "unit 1 coils 16-31"), ("dns", "12345.example A"), ("modbus", "12345"), ("tls", "a/12345")],
)
def test_resources_without_parts_are_left_as_they_are(protocol: str, resource: str) -> None:
    assert generalise(protocol, resource) == resource
    assert widen(protocol, resource) == resource


def test_where_a_vsl_service_runs_is_no_part_of_what_is_asked_for() -> None:
    assert generalise("vsl", "/agent1/light1/isOn") == generalise("vsl", "/agent2/light1/isOn")
    assert generalise("vsl", "/agent1/light1/isOn") == "/{agent}/light1/isOn"
    assert generalise("vsl", "/agent1/light1/isOn") != generalise("vsl", "/agent1/light2/isOn")


def test_vsl_agent_itself_keeps_its_name() -> None:
    assert generalise("vsl", "/agent1") == "/agent1"


@pytest.mark.parametrize("resource", ["/a/12345/b", f"/{UUID}", "/x" * 500, "/agent1/a/b"])
def test_generalising_twice_changes_nothing_more(resource: str) -> None:
    once = generalise("vsl", resource)
    assert generalise("vsl", once) == once


def test_short_numbers_stay_until_they_are_widened() -> None:
    assert generalise("mqtt", "home/3/temperature") == "home/3/temperature"
    assert widen("mqtt", "home/3/temperature") == "home/{number}/temperature"
    assert widen("mqtt", "home/floor3/temperature") == "home/floor3/temperature"


def test_widening_and_generalising_agree_on_the_placeholder() -> None:
    assert widen("http", "/door/1") == generalise("http", "/door/12345")


def test_longest_resource_is_kept_whole_and_longer_ones_never_equal_each_other() -> None:
    assert shorten("a" * LONGEST) == "a" * LONGEST
    one, other = (shorten("a" * LONGEST + end) for end in "bc")
    assert len(one) == len(other) == LONGEST
    assert one != other


def test_long_resource_that_differs_in_the_middle_only_is_another_one() -> None:
    start = "/a" * LONGEST
    assert generalise("http", f"{start}/x/end") != generalise("http", f"{start}/y/end")


def test_resource_with_lone_surrogates_is_shortened_too() -> None:
    assert len(generalise("http", "/\udc80" * LONGEST)) == LONGEST


def test_hostile_length_costs_no_generalising() -> None:
    endless = "/12345" * 10_000
    assert generalise("http", endless) == shorten(endless)
