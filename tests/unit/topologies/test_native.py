from pathlib import Path

from topologies import native, schema
from topologies.services.programs import Dnsmasq, Mosquitto


def dnsmasq_lines() -> list[str]:
    topology = schema.read("smart_home")
    options = Dnsmasq(first="192.168.77.100", last="192.168.77.199")
    command = native.command(options, topology.host("router"), topology, Path("/lab"))
    (text,) = command.files.values()
    return text.splitlines()


def test_every_dhcp_host_gets_the_same_address_every_time() -> None:
    reserved = [line for line in dnsmasq_lines() if line.startswith("dhcp-host=")]
    addresses = [line.rpartition(",")[2] for line in reserved]
    assert addresses[0] == "192.168.77.100"
    assert len(set(addresses)) == len(addresses) == 12


def test_names_behind_the_router_are_answered() -> None:
    assert "address=/firmware.ocularis.example/203.0.113.10" in dnsmasq_lines()


def test_dns_asks_nobody_outside() -> None:
    assert {"no-resolv", "no-hosts"} <= set(dnsmasq_lines())


def test_broker_is_ready_on_its_port() -> None:
    topology = schema.read("smart_home")
    command = native.command(Mosquitto(port=2000), topology.host("home-hub"), topology, Path("/lab"))
    assert command.port == 2000
    assert "listener 2000 0.0.0.0" in next(iter(command.files.values()))


def test_static_network_without_dns_knows_its_hosts_by_file() -> None:
    assert "10.20.0.11 plc-1" in native.hosts_file(schema.read("factory")).splitlines()


def test_network_with_dns_has_no_names_in_files() -> None:
    assert "router" not in native.hosts_file(schema.read("smart_home"))
