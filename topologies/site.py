"""The site.yaml that fits a topology: what the owner of such a site would tell the firewall beforehand."""

from typing import Any

import yaml

from topologies.network import Network
from topologies.schema import Host, Topology


def description(topology: Topology, network: Network, *, devices: bool) -> dict[str, Any]:
    """The site as plain data: its name, switches, networks, infrastructure; with `devices`, all devices."""
    listed = [h for h in topology.hosts if h.switch and (h.roles or (devices and h.joins == "now"))]
    return {
        "site": topology.name,
        "switches": [{"name": s.name, "dpid": s.dpid} for s in topology.switches],
        "networks": [topology.network, "fe80::/10", "fc00::/7"],
        "devices": [_device(host, network) for host in listed],
    }


def _device(host: Host, network: Network) -> dict[str, Any]:
    found: dict[str, Any] = {"id": host.name, "name": host.human or host.name, "mac": host.mac}
    found |= {key: value for key, value in (("kind", host.kind), ("vendor", host.vendor)) if value}
    found |= {"switch": host.switch, "port": network.port_of(host)}
    addresses = [host.ipv4] if host.ipv4 != "dhcp" else []
    addresses += [host.ipv6.partition("/")[0]] if host.ipv6 else []
    if addresses:
        found["addresses"] = addresses
    if host.roles:
        found["roles"] = list(host.roles)
    return found


def text(topology: Topology, network: Network, *, devices: bool) -> str:
    """The same as YAML."""
    return yaml.safe_dump(
        description(topology, network, devices=devices), sort_keys=False, allow_unicode=True, width=110
    )
