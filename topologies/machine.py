"""What this machine has for a laboratory, and what it lacks."""

import os
import subprocess
from pathlib import Path

from topologies.marks import LabError
from topologies.schema import Topology

TOOLS = {  # what a network needs, and the Debian package that has it
    "ovs-vsctl": "openvswitch-switch",
    "mnexec": "mininet",
    "ip": "iproute2",
    "ethtool": "ethtool",
    "ifconfig": "net-tools",
}


def datapath_here() -> str:
    """`kernel` where the kernel has the openvswitch module, else `user` (the slower userspace datapath)."""
    if Path("/sys/module/openvswitch").exists():
        return "kernel"
    found = (
        subprocess.run(["modprobe", "openvswitch"], capture_output=True, check=False)
        if _has("modprobe")
        else None
    )
    return "kernel" if found and found.returncode == 0 else "user"


def _has(tool: str) -> bool:
    return any(Path(d, tool).exists() for d in (*os.get_exec_path(), "/usr/sbin", "/sbin"))


def check_machine(topology: Topology) -> None:
    """Raises LabError naming what the machine lacks for this topology, and how to get it."""
    if os.geteuid() != 0:
        raise LabError("a laboratory makes network namespaces, which needs root: run it with sudo")
    needed = dict(TOOLS)
    if any(h.ipv4 == "dhcp" for h in topology.hosts):
        needed["busybox"] = "busybox"
    if topology.outside:
        needed["openssl"] = "openssl"
    programs = {s.program for h in topology.hosts for s in h.services}
    needed |= {
        tool: package
        for tool, package in {"mosquitto": "mosquitto", "dnsmasq": "dnsmasq-base"}.items()
        if tool in programs
    }
    missing = {tool: package for tool, package in needed.items() if not _has(tool)}
    if missing:
        packages = " ".join(sorted(set(missing.values())))
        raise LabError(
            f"commands not found: {', '.join(missing)}; install them with: apt-get install {packages}"
        )
    asked = subprocess.run(["ovs-vsctl", "--timeout=5", "show"], capture_output=True, text=True, check=False)
    if asked.returncode:
        reason = asked.stderr.strip().splitlines()
        raise LabError(
            f"Open vSwitch does not answer ({reason[-1] if reason else 'no reason given'}); "
            "start it with: service openvswitch-switch start"
        )
    made = subprocess.run(["mnexec", "-n", "true"], capture_output=True, text=True, check=False)
    if made.returncode:  # Mininet would wait for its hosts for ever
        raise LabError(
            f"this machine makes no network namespace ({made.stderr.strip() or 'no reason given'}): "
            "a container needs the capability SYS_ADMIN, and a chroot will not do, since mnexec leaves it"
        )
