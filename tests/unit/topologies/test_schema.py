from pathlib import Path

import pytest

from controller import config
from topologies import schema, site
from topologies.network import Network
from topologies.schema import ConfigError, Topology

OWN = ("paper", "smart_home", "factory")

SMALL = """\
name: Small
network: 10.0.0.0/24
switches:
  - {name: s1, dpid: 1}
  - {name: s2, dpid: 2}
links:
  - between: [s1, s2]
hosts:
  - name: lock
    switch: s1
    mac: 02:00:00:00:00:01
    ipv4: 10.0.0.1
    services:
      - {name: agent1, program: knowledge_agent, options: {number: 1}}
      - {name: door, program: door_lock}
  - name: battery
    switch: s2
    mac: 02:00:00:00:00:02
    ipv4: 10.0.0.2
    services:
      - {name: agent2, program: knowledge_agent, options: {number: 2}}
      - {name: storage, program: battery, versions: {"2": {program: battery, options: {step: 1}}}}
"""


def small() -> Topology:
    return schema.parse(SMALL, "small.yaml")


def test_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / "picture.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        schema.read(str(file))


@pytest.mark.parametrize("name", OWN)
def test_own_topologies_are_valid(name: str) -> None:
    assert schema.read(name).hosts


@pytest.mark.parametrize(
    ("before", "after", "line", "said"),
    [
        ("    switch: s2", "    swich: s2", 17, "swich: is not a key here"),
        ("    switch: s2", "    switch: s3", 17, "there is no switch 's3'; there are: s1, s2"),
        ("between: [s1, s2]", "between: [s1, s9]", 7, "there is no switch 's9'"),
        ("between: [s1, s2]", "between: [s1, s1]", 7, "two different switches"),
        ("10.0.0.2", "10.0.0.1", 19, "ipv4 10.0.0.1 is there twice"),
        ("10.0.0.2", "10.9.0.2", 19, "10.9.0.2 is not in network 10.0.0.0/24"),
        ("10.0.0.2", "10.0.0.300", 19, "'10.0.0.300' is neither an IPv4 address nor the word dhcp"),
        ("ipv4: 10.0.0.2", "ipv4: dhcp", 19, "no host runs the program dnsmasq"),
        ("02:00:00:00:00:02", "02:00:00:00:00:01", 18, "mac 02:00:00:00:00:01 is there twice"),
        ("02:00:00:00:00:02", "02:00:00:00:02", 18, "a MAC address looks like"),
        ("dpid: 2", "dpid: 1", 5, "dpid 1 is there twice"),
        ("dpid: 2", 'dpid: "2"', 5, "dpid: Input should be a valid integer"),
        ("program: door_lock", "program: door_loc", 15, "did you mean 'door_lock'?"),
        ("number: 2", "number: 1", 21, "agent number 1 is there twice"),
        (
            "number: 2",
            "nmber: 2",
            21,
            "nmber: is no option of program knowledge_agent; did you mean 'number'?",
        ),
        ("options: {number: 2}", "options: {}", 21, "program knowledge_agent needs option number"),
        ("step: 1", "step: soon", 22, "step: Input should be a valid integer"),
        ('"2": {program', '"1": {program', 22, 'version "1" is the service itself'),
        (
            "      - {name: agent2, program: knowledge_agent, options: {number: 2}}\n",
            "",
            21,
            "needs a service",
        ),
        ("name: storage", "name: door", 22, "service name door is there twice"),
        ("    switch: s2\n", "", 16, "host battery needs either switch: or behind:"),
        ("    switch: s2", "    behind: lock", 17, "lock is no host with the role router"),
        ("    ipv4: 10.0.0.2", "    ipv4: 10.0.0.2\n    ipv6: fd00::2", 20, "with its prefix length"),
    ],
)
def test_error_names_file_line_and_remedy(before: str, after: str, line: int, said: str) -> None:
    assert before in SMALL
    with pytest.raises(ConfigError) as refused:
        schema.parse(SMALL.replace(before, after, 1), "small.yaml")
    matching = [text for text in str(refused.value).splitlines() if said in text]
    assert matching, str(refused.value)
    assert matching[0].startswith(f"small.yaml, line {line}: ")


def test_all_errors_are_told_at_once() -> None:
    wrong = SMALL.replace("switch: s2", "switch: s3").replace("door_lock", "door_loc")
    with pytest.raises(ConfigError) as refused:
        schema.parse(wrong, "small.yaml")
    assert len(str(refused.value).splitlines()) == 2


def test_unknown_topology_lists_those_that_there_are() -> None:
    with pytest.raises(ConfigError, match=r"factory\.yaml, paper\.yaml, smart_home\.yaml"):
        schema.read("palace")


def test_file_of_ones_own_is_read(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(SMALL)
    assert schema.read(str(file)).name == "Small"


def test_ports_are_counted_from_the_trunks() -> None:
    topology = small()
    assert topology.trunk_port(0, "s1") == 1
    assert topology.trunk_port(0, "s2") == 1
    assert topology.port("lock") == 2
    assert topology.port("battery") == 2


def test_ring_has_two_trunk_ports_on_each_switch() -> None:
    topology = schema.read("factory")
    ports = {
        (end, topology.trunk_port(i, end)) for i, link in enumerate(topology.links) for end in link.between
    }
    assert ports == {(switch, port) for switch in ("s1", "s2", "s3") for port in (1, 2)}


def test_options_have_their_defaults() -> None:
    battery = small().host("battery").services[1]
    second = battery.version("2")
    assert second is not None
    assert schema.options_of(second.program, second.options).step == 1  # type: ignore[attr-defined]
    assert battery.version("3") is None


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("devices", [False, True])
def test_site_of_a_topology_is_one_that_the_firewall_takes(name: str, devices: bool, tmp_path: Path) -> None:
    topology = schema.read(name)
    network = Network(
        topology,
        prefix="gw-",
        mark="",
        directory=tmp_path,
        controller=None,
        secure=True,
        datapath="user",
    )
    found = config.parse(site.text(topology, network, devices=devices), "site.yaml")
    assert [s.dpid for s in found.switches] == [s.dpid for s in topology.switches]
    listed = {d.id for d in found.devices}
    assert listed == {
        h.name for h in topology.hosts if h.switch and (h.roles or (devices and h.joins == "now"))
    }


@pytest.mark.parametrize("name", OWN)
def test_interface_names_are_short_and_unique(name: str, tmp_path: Path) -> None:
    network = Network(
        schema.read(name),
        prefix="xyz-",
        mark="",
        directory=tmp_path,
        controller=None,
        secure=True,
        datapath="user",
    )
    names = network.interfaces()
    assert len(names) == len(set(names))
    assert all(len(n) <= 15 for n in names)
