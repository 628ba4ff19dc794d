"""A topology's switches, hosts and links in Mininet on Open vSwitch.

Knows nothing of services. Interface names are global on a machine, so a switch `s1` is the bridge
`<prefix>s1` and its port 3 the interface `<prefix>s1-3`; inside a host the interface is `lan0` (and
`wan0` on the router, towards the host behind it).
"""

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

from mininet.link import Link as MininetLink
from mininet.net import Mininet

from topologies import native
from topologies.marks import MARK, LabError
from topologies.native import LAN, WAN
from topologies.nodes import Controller, MarkedHost, MarkedSwitch
from topologies.schema import Host, Topology


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where switches connect to."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises LabError when it is not HOST:PORT."""
        host, _, port = text.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            raise LabError(f"controller {text!r}: give it as 127.0.0.1:6653, or none")
        return cls(host.strip("[]"), int(port))


class Network:
    """The network of one laboratory: `start` it once, then `join`, `leave` and so on, `stop` at the end."""

    def __init__(
        self,
        topology: Topology,
        *,
        prefix: str,
        mark: str,
        directory: Path,
        controller: Endpoint | None,
        secure: bool,
        datapath: str,
    ) -> None:
        self.topology, self.prefix, self.mark, self.directory = topology, prefix, mark, directory
        self.controller, self.secure, self.datapath = controller, secure, datapath
        self._net: Any = None
        self._clients: dict[str, subprocess.Popen[bytes]] = {}  # DHCP clients

    # Names

    def bridge(self, switch: str) -> str:
        return f"{self.prefix}{switch}"

    def interface(self, switch: str, port: int) -> str:
        return f"{self.prefix}{switch}-{port}"

    def port_of(self, host: Host) -> str:
        """The switch-side interface of a host on a switch."""
        return self.interface(host.switch or "", self.topology.port(host.name))

    def interfaces(self) -> list[str]:
        """Every interface that the laboratory can make outside of namespaces."""
        found = [self.bridge(s.name) for s in self.topology.switches]
        for i, link in enumerate(self.topology.links):
            found += [self.interface(end, self.topology.trunk_port(i, end)) for end in link.between]
        found += [f"{self.bridge(s.name)}-gw{port}" for s in self.topology.switches for port in "ic"]
        return found + [self.port_of(h) for h in self.topology.hosts if h.switch]

    # Building

    def start(self, switches_are_there: Callable[[], object] = lambda: None) -> None:
        """Build and start everything but the hosts that join later."""
        (self.directory / "lease.sh").write_text(native.LEASE_SCRIPT, encoding="utf-8")
        (self.directory / "lease.sh").chmod(0o755)
        self._net = Mininet(
            topo=None, build=False, controller=None, link=MininetLink, host=MarkedHost, switch=MarkedSwitch
        )
        for switch in self.topology.switches:
            self._net.addSwitch(
                self.bridge(switch.name),
                dpid=f"{switch.dpid:016x}",
                mark=self.mark,
                loops=len(self.topology.links) >= len(self.topology.switches),
                failMode="secure" if self.secure else "standalone",
                datapath=self.datapath,
                protocols="OpenFlow13",
            )
        for i, link in enumerate(self.topology.links):
            self._trunk(i, *link.between)
        now = sorted((h for h in self.topology.hosts if h.joins == "now"), key=lambda h: h.behind is not None)
        for host in now:
            self._add(host)
        self._net.build()
        controllers = [Controller(self.controller.host, self.controller.port)] if self.controller else []
        for switch in self._net.switches:
            switch.start(controllers)
        switches_are_there()
        for host in now:
            self._configure(host)

    def _trunk(self, index: int, one: str, other: str) -> None:
        port1, port2 = self.topology.trunk_port(index, one), self.topology.trunk_port(index, other)
        self._net.addLink(
            self._net[self.bridge(one)],
            self._net[self.bridge(other)],
            port1=port1,
            port2=port2,
            intfName1=self.interface(one, port1),
            intfName2=self.interface(other, port2),
        )

    def _add(self, host: Host) -> None:
        node = self._net.addHost(host.name, mark=self.mark, ip=None)
        if host.switch:
            self._net.addLink(
                node,
                self._net[self.bridge(host.switch)],
                port1=0,
                port2=self.topology.port(host.name),
                intfName1=LAN,
                intfName2=self.port_of(host),
                addr1=host.mac,
            )
        else:
            self._net.addLink(
                node, self._net[host.behind], port1=0, port2=1, intfName1=LAN, intfName2=WAN, addr1=host.mac
            )

    def _configure(self, host: Host) -> None:
        """Give the host its own name resolution and addresses, and switch checksum offload off.

        Userspace datapaths hand on frames as they are, also those whose checksum the card was to write.
        """
        files = self.directory / "hosts" / host.name
        files.mkdir(parents=True, exist_ok=True)
        (files / "resolv.conf").write_text("", encoding="utf-8")
        (files / "hosts").write_text(native.hosts_file(self.topology), encoding="utf-8")
        (files / "nsswitch.conf").write_text("hosts: files dns\n", encoding="utf-8")
        lines = [
            "set -e",
            "ip link set lo up",
            f"ip link set {LAN} up",
            f"ethtool -K {LAN} tx off >/dev/null",
        ]
        for file in ("resolv.conf", "hosts", "nsswitch.conf"):
            target = Path("/etc", file).resolve()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch(exist_ok=True)  # a mount needs something to be mounted on
            lines.append(f"mount --bind {files / file} {target}")
        if host.ipv6:
            lines.append(f"ip -6 address add {host.ipv6} dev {LAN} nodad")
        gateway = self.topology.gateway if host.behind else self._inside_gateway(host)
        if host.ipv4 != "dhcp":
            lines.append(f"ip -4 address add {host.ipv4}/{self.topology.length_at(host)} dev {LAN}")
            if gateway:
                lines.append(f"ip -4 route add default via {gateway}")
        if "router" in host.roles and self.topology.outside:
            length = self.topology.length_at(self.topology.outside[0])
            lines += [
                f"ip link set {WAN} up",
                f"ethtool -K {WAN} tx off >/dev/null",
                f"ip -4 address add {self.topology.gateway}/{length} dev {WAN}",
                "echo 1 > /proc/sys/net/ipv4/ip_forward",
            ]
        asked = self.run(host.name, ["sh", "-c", "\n".join(lines)])
        if asked.returncode:
            raise LabError(f"host {host.name} could not be configured: {asked.stderr.strip()}")
        if host.ipv4 == "dhcp":
            command = native.udhcpc(host, self.directory / "lease.sh")
            with (self.directory / "log" / f"{host.name}.dhcp.log").open("ab") as log:
                self._clients[host.name] = self.popen(host.name, command, stdout=log, stderr=log)

    def _inside_gateway(self, host: Host) -> str | None:
        router = self.topology.router
        return router.ipv4 if router and self.topology.outside and router.name != host.name else None

    # While it runs

    def joined(self, host: str) -> bool:
        """Whether the host is on the network now."""
        return self._net is not None and host in self._net

    def join(self, name: str) -> None:
        """Connect a host that joins later, or one that left."""
        host = self.topology.host(name)
        if self.joined(name):
            raise LabError(f"host {name} has joined already")
        self._add(host)
        if host.switch:
            port = self.port_of(host)
            request = ["--", "set", "Interface", port, f"ofport_request={self.topology.port(name)}"]
            self._vsctl("--may-exist", "add-port", self.bridge(host.switch), port, *request)
            self._ip("link", "set", port, "up")
        self._configure(host)

    def leave(self, name: str) -> None:
        """Disconnect a host, and forget it; its processes must have ended before."""
        host = self.topology.host(name)
        if not self.joined(name):
            raise LabError(f"host {name} has not joined")
        self._end_clients([name])
        if host.switch:
            self._vsctl("--if-exists", "del-port", self.bridge(host.switch), self.port_of(host))
        self._net.delHost(self._net[name])
        self._net.links = [k for k in self._net.links if name not in (k.intf1.node.name, k.intf2.node.name)]

    def set_trunk(self, one: str, other: str, *, up: bool) -> None:
        """Cut or mend the link between two switches; raises LabError when there is none."""
        for i, link in enumerate(self.topology.links):
            if set(link.between) == {one, other}:
                for end in link.between:
                    port = self.interface(end, self.topology.trunk_port(i, end))
                    self._ip("link", "set", port, "up" if up else "down")
                return
        links = ", ".join("-".join(link.between) for link in self.topology.links)
        raise LabError(f"no link between {one} and {other}; there are: {links or 'none'}")

    def pid(self, host: str) -> int:
        """A process that holds the host's namespaces (for mnexec -a and nsenter)."""
        self.topology.host(host)  # the better error
        if not self.joined(host):
            raise LabError(f"host {host} has not joined yet")
        return int(self._net[host].pid)

    def _environment(self) -> dict[str, str]:
        path = os.environ.get("PATH", os.defpath)
        return {"PATH": f"{path}:/usr/sbin:/sbin", "LANG": "C.UTF-8", MARK: self.mark}

    def popen(
        self,
        host: str,
        command: Sequence[str],
        *,
        stdout: IO[bytes],
        stderr: IO[bytes],
        environment: dict[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start a process on a host, in a session of its own. Its standard input closes when we end."""
        return subprocess.Popen(
            ["mnexec", "-a", str(self.pid(host)), *command],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            env={**self._environment(), **(environment or {})},
            start_new_session=True,
        )

    def run(
        self, host: str, command: Sequence[str], timeout: float = 30.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host to its end."""
        return subprocess.run(
            ["mnexec", "-a", str(self.pid(host)), *command],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
        )

    def address(self, host: str) -> str | None:
        """The host's IPv4 address, None while it has none."""
        asked = self.run(host, ["ip", "-json", "-4", "address", "show", "dev", LAN])
        for interface in json.loads(asked.stdout or "[]"):
            for info in interface.get("addr_info", []):
                return str(info["local"])
        return None

    @staticmethod
    def _vsctl(*arguments: str) -> None:
        asked = subprocess.run(
            ["ovs-vsctl", "--timeout=5", *arguments], capture_output=True, text=True, check=False
        )
        if asked.returncode:
            raise LabError(f"ovs-vsctl {' '.join(arguments)}: {asked.stderr.strip()}")

    @staticmethod
    def _ip(*arguments: str) -> None:
        asked = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
        if asked.returncode:
            raise LabError(f"ip {' '.join(arguments)}: {asked.stderr.strip()}")

    def _end_clients(self, hosts: Iterable[str]) -> None:
        """End the DHCP clients of these hosts."""
        clients = [self._clients.pop(host) for host in tuple(hosts) if host in self._clients]
        for client in clients:
            client.terminate()
        for client in clients:
            client.communicate()

    def stop(self) -> None:
        """Take everything down."""
        self._end_clients(self._clients)
        if self._net is not None:
            self._net.stop()
            self._net = None
