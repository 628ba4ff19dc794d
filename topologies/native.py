"""The programs that are not ours: broker, DHCP and DNS server, DHCP client. Their configuration as text.

Knows what they should do in a topology, not how processes are started.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from topologies.schema import Host, Topology
from topologies.services.programs import Dnsmasq, Mosquitto, Options

LAN, WAN = "lan0", "wan0"  # interfaces inside a host; the router has both


@dataclass(frozen=True, slots=True)
class Command:
    """How to run a program: its arguments, the files it needs, and the port that it listens on when ready."""

    arguments: Sequence[str]
    files: dict[Path, str]
    port: int


def mosquitto(options: Mosquitto, directory: Path) -> Command:
    """An MQTT broker that lets everybody in."""
    file = directory / "mosquitto.conf"
    lines = [
        f"listener {options.port} 0.0.0.0",
        "allow_anonymous true",
        "persistence false",
        "user root",
        "log_dest stdout",
    ]
    return Command(["mosquitto", "-c", str(file)], {file: "\n".join(lines) + "\n"}, options.port)


def dnsmasq(options: Dnsmasq, host: Host, topology: Topology, directory: Path) -> Command:
    """DHCP with host names that become DNS names, and the names of hosts behind the router."""
    lines = [
        "keep-in-foreground",
        "user=root",
        "no-resolv",
        "no-hosts",
        "no-ping",  # it would only delay
        "bind-interfaces",
        f"interface={LAN}",
        "except-interface=lo",
        f"domain={options.domain}",
        f"local=/{options.domain}/",
        "expand-hosts",
        "dhcp-authoritative",
        f"dhcp-range={options.first},{options.last},{options.lease}",
        f"dhcp-option=option:router,{host.ipv4}",
        f"dhcp-option=option:dns-server,{host.ipv4}",
        f"dhcp-option=option:domain-search,{options.domain}",
        f"dhcp-leasefile={directory / 'dnsmasq.leases'}",
        f"pid-file={directory / 'dnsmasq.pid'}",
        "log-facility=-",
        "log-dhcp",
    ]
    if "ntp" in host.roles:
        lines.append(f"dhcp-option=option:ntp-server,{host.ipv4}")
    leased = int(ipaddress.IPv4Address(options.first))
    for other in topology.hosts:
        if other.ipv4 == "dhcp":  # the same address every time, whoever asks first
            lines.append(f"dhcp-host={other.mac},{ipaddress.IPv4Address(leased)}")
            leased += 1
        elif other.switch:
            lines.append(f"host-record={other.name}.{options.domain},{other.name},{other.ipv4}")
        lines += [f"address=/{name}/{other.ipv4}" for name in other.names]
    file = directory / "dnsmasq.conf"
    return Command(["dnsmasq", f"--conf-file={file}"], {file: "\n".join(lines) + "\n"}, 53)


def command(options: Options, host: Host, topology: Topology, directory: Path) -> Command:
    """How to run the program that these options are for."""
    match options:
        case Mosquitto():
            return mosquitto(options, directory)
        case Dnsmasq():
            return dnsmasq(options, host, topology, directory)
        case _:
            raise TypeError(f"{type(options).__name__} is no native program")


LEASE_SCRIPT = """#!/bin/sh
# What udhcpc calls with the lease: address, default route and name servers of this host only.
case "$1" in
deconfig)
    ip link set "$interface" up
    ip -4 address flush dev "$interface" ;;
bound|renew)
    ip -4 address replace "$ip/${mask:-24}" dev "$interface"
    for gateway in $router; do ip route replace default via "$gateway"; break; done
    {
        [ -z "${search:-$domain}" ] || echo "search ${search:-$domain}"
        for server in $dns; do echo "nameserver $server"; done
        echo "options timeout:1 attempts:3"
    } > /etc/resolv.conf ;;
esac
"""


def udhcpc(host: Host, script: Path) -> list[str]:
    """A DHCP client that says the host's name and vendor, and tries until it has an address."""
    return [
        *("busybox", "udhcpc", "-f", "-i", LAN, "-s", str(script), "-t", "4", "-T", "1", "-A", "1"),
        *("-x", f"hostname:{host.name}", "-V", host.vendor or "graphwall-lab", "-O", "search"),
    ]


def hosts_file(topology: Topology) -> str:
    """/etc/hosts of every host: itself, and in a network without DNS all static addresses."""
    lines = ["127.0.0.1 localhost", "::1 localhost"]
    if not any("dns" in h.roles for h in topology.hosts):
        lines += [f"{h.ipv4} {h.name}" for h in topology.hosts if h.switch and h.ipv4 != "dhcp"]
    return "\n".join(lines) + "\n"
