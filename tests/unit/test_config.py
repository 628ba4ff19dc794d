"""site.yaml: what is left out is safe, and every error names file, line, key and remedy."""

import pytest
from pydantic import ValidationError

from controller.config import Config, ConfigError, parse, seconds

MAC = "02:00:00:00:00:01"


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        parse(text, "home.yaml")
    return str(error.value)


# What is accepted


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "{}"])
def test_empty_file_is_the_default_site(text: str) -> None:
    assert parse(text, "home.yaml") == Config()


def test_defaults_deny_and_stay_on_this_machine() -> None:
    config = Config()
    assert (config.admission, config.fragments, config.bindings) == ("ask", "drop", "first use")
    assert config.openflow.listen == config.api.listen == "127.0.0.1"
    assert config.reveal_intent


def test_config_cannot_be_changed_by_those_who_read_it() -> None:
    with pytest.raises(ValidationError):
        Config().site = "Another"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("30s", 30),
        ("5m", 300),
        ("1.5 h", 5400),
        ("7d", 604800),
        ("250 ms", 0.25),
        ("0s", 0),
        (90, 90),
        (0.5, 0.5),
    ],
)
def test_durations_are_seconds(text: object, wanted: float) -> None:
    assert seconds(text) == wanted


@pytest.mark.parametrize("text", ["", "5", "m", "5 weeks", "-5s", "5 s m", "1e3s", True, None, [5]])
def test_what_is_no_duration_is_refused_with_an_example(text: object) -> None:
    with pytest.raises(ValueError, match="looks like 30s, 5m, 2h or 7d"):
        seconds(text)


def test_addresses_are_kept_in_one_spelling() -> None:
    text = "devices: [{id: a, mac: 02-AB-00-00-00-01, addresses: ['FE80:0::1', 10.0.0.1]}]"
    (device,) = parse(text, "home.yaml").devices
    assert device.mac == "02:ab:00:00:00:01"
    assert device.addresses == ("fe80::1", "10.0.0.1")


def test_trunks_left_out_and_trunks_named_none_differ() -> None:
    left_out, none = parse(
        "switches: [{name: a, dpid: 1}, {name: b, dpid: 2, trunks: []}]", "home.yaml"
    ).switches
    assert left_out.trunks is None
    assert none.trunks == ()


# What is refused, and how


@pytest.mark.parametrize(
    ("text", "line", "where", "remedy"),
    [
        ("site: Home\ntypo: 1", 2, "typo", "is not a key here; known keys: site, state, openflow"),
        ("learning:\n  quite: 5s", 2, "learning.quite", "known keys: minimum, quiet, maximum"),
        ("devices:\n  - {id: a, mac: 02:00:00:00:00:09}\n  - id: b\n    mac: 02:00:00:00:00:02\n    mack: x",
         5,
         "devices.1.mack", "known keys: id, name, mac"),
        ("devices:\n  - id: a", 2, "devices.0.mac", "Field required"),
        ("devices:\n  - id: a\n    mac: 1234", 3, "devices.0.mac", "should be a valid string"),
        ("devices:\n  - id: a\n    mac: zz:00:00:00:00:01", 3, "devices.0.mac", "looks like 02:00:00"),
        (f"devices:\n  - mac: {MAC}\n    id: Ä", 3, "devices.0.id", "lower-case letters, digits and hyphens"),
        (f"devices:\n  - mac: {MAC}\n    id: a\n    addresses:\n      - 10.0.0.300", 5,
         "devices.0.addresses.0", "10.0.0.300"),
        (f"devices:\n  - mac: {MAC}\n    id: a\n    roles: [boss]", 4, "devices.0.roles.0", "'dhcp'"),
        ("networks:\n  - 10.0.0.1/8", 2, "networks.0", "host bits set"),
        ("learning:\n  quiet: soon", 2, "learning.quiet", "looks like 30s, 5m, 2h or 7d"),
        ("learning:\n  quiet: -5", 2, "learning.quiet", "greater than or equal to 0"),
        ("learning:\n  minimum: 2h\n  maximum: 1h", 1, "learning", "minimum is longer than learning.maximum"),
        ("openflow:\n  port: 65536", 2, "openflow.port", "65535"),
        ("openflow:\n  key: k.pem", 1, "openflow", "all of key, certificate and ca"),
        ("api:\n  key: k.pem", 1, "api", "both certificate and key"),
        ("api:\n  url: graphwall.local", 2, "api.url", "https?://"),
        ("admission: yes please", 1, "admission", "'ask' or 'automatic'"),
        ("switches:\n  - name: a\n    dpid: 0", 3, "switches.0.dpid", "greater than or equal to 1"),
        ("switches:\n  - name: a\n    dpid: 18446744073709551616", 3, "switches.0.dpid", "less than"),
        ("addresses_per_device: 0", 1, "addresses_per_device", "greater than or equal to 1"),
        ("devices_at_most: 0", 1, "devices_at_most", "greater than or equal to 1"),
    ],
)  # fmt: skip
def test_error_names_file_line_key_and_remedy(text: str, line: int, where: str, remedy: str) -> None:
    said = refused(text)
    assert said.startswith(f"home.yaml, line {line}: {where}: ")
    assert remedy in said


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (f"devices: [{{id: a, mac: {MAC}}}, {{id: a, mac: 02:00:00:00:00:02}}]",
         "device id a is there twice"),
        (f"devices: [{{id: a, mac: {MAC}}}, {{id: b, mac: 02-00-00-00-00-01}}]",
         f"device mac {MAC} is there twice"),
        ("switches: [{name: a, dpid: 1}, {name: a, dpid: 2}]", "switch name a is there twice"),
        ("switches: [{name: a, dpid: 1}, {name: b, dpid: 1}]", "switch dpid 1 is there twice"),
        (f"devices: [{{id: a, mac: {MAC}, switch: attic}}]",
         "device a is on switch attic, which switches: does not list"),
        (f"devices: [{{id: a, mac: {MAC}}}]\nwatch: [{{client: a, server: b}}]", "watch names device b"),
        (f"devices: [{{id: a, mac: {MAC}}}]\nwatch: [{{client: c, server: a}}]", "watch names device c"),
    ],
)  # fmt: skip
def test_sections_that_contradict_each_other_are_refused(text: str, remedy: str) -> None:
    said = refused(text)
    assert said.startswith("home.yaml, line ")
    assert remedy in said


def test_what_contradicts_something_earlier_is_named_by_its_own_line() -> None:
    first = f"  - {{id: a, mac: {MAC}, addresses: [10.0.0.9]}}"
    second = "  - {id: b, mac: 02:00:00:00:00:02, addresses: [10.0.0.9]}"
    text = f"devices:\n{first}\n{second}\n"
    assert (
        refused(text) == "home.yaml, line 3: devices.1.addresses.0: address 10.0.0.9 is given to a and to b"
    )
    assert refused(text.replace("id: b", "id: a")).startswith(
        "home.yaml, line 3: devices.1.id: device id a is"
    )
    watched = "watch:\n  - client: a\n    server: nobody\n"
    assert refused(f"devices:\n{first}\n{watched}").startswith(
        "home.yaml, line 5: watch.0.server: watch names"
    )


def test_every_error_is_told_at_once() -> None:
    said = refused("typo: 1\nlearning:\n  quiet: soon\n").splitlines()
    assert {line.split(": ")[1] for line in said} == {"learning.quiet", "typo"}


@pytest.mark.parametrize(
    ("text", "line"), [("site: [", 1), ("a: 1\nb: 'x\n", 3), ("site: Home\n\tstate: x", 2), ("a: b: c", 1)]
)
def test_what_is_not_yaml_is_refused_with_its_line(text: str, line: int) -> None:
    assert refused(text).startswith(f"home.yaml, line {line}: not YAML that can be used: ")


@pytest.mark.parametrize("text", ["site: 2026-02-31", "[" * 3000, "a: 0x", "a: 1__:99"])
def test_yaml_that_cannot_be_read_is_an_error_of_the_file_and_not_of_ours(text: str) -> None:
    assert refused(text).startswith("home.yaml")


@pytest.mark.parametrize("text", ["- a\n- b", "just words", "42"])
def test_what_has_no_keys_is_refused_with_an_example(text: str) -> None:
    assert refused(text) == "home.yaml, line 1: expected keys and values, such as 'site: My home'"


def test_key_that_is_given_twice_is_refused_with_its_line() -> None:
    said = refused("admission: ask\nlearning:\n  quiet: 5s\n  quiet: 6s")
    assert said == "home.yaml, line 4: not YAML that can be used: the key quiet is there twice"
    assert "line 2" in refused("admission: ask\nadmission: automatic")


def test_two_devices_cannot_be_given_the_same_address() -> None:
    text = f"""
devices:
  - {{id: a, mac: {MAC}, addresses: [10.0.0.1]}}
  - {{id: b, mac: 02:00:00:00:00:02, addresses: [10.0.0.1]}}
"""
    assert "address 10.0.0.1 is given to a and to b" in refused(text)


def test_mac_address_of_a_group_is_no_devices() -> None:
    assert "one of a group" in refused("devices: [{id: a, mac: '01:00:5e:00:00:01'}]")


def test_mac_address_of_decimal_digits_alone_is_no_number_of_base_sixty() -> None:
    (device,) = parse("devices:\n  - {id: a, mac: 10:20:30:40:50:59}", "home.yaml").devices
    assert device.mac == "10:20:30:40:50:59"


@pytest.mark.parametrize(("text", "dpid"), [("17", 17), ("0x11", 17), ("1_7", 17), ("'17'", 17)])
def test_numbers_are_read_as_yaml_writes_them(text: str, dpid: int) -> None:
    assert parse(f"switches: [{{name: a, dpid: {text}}}]", "home.yaml").switches[0].dpid == dpid
