"""Two synthetic hosts for the self-test: network namespaces with a port each on a bridge.

Their sockets are used from this process. Knows nothing of the firewall. Needs root.
"""

import contextlib
import ctypes
import os
import secrets
import socket
import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, ip_network
from pathlib import Path

from controller.commands.attach import AttachError, checked, execute

LINK_LOCAL = IPv4Network("169.254.0.0/16")
PORT = 8080
WITHIN = 2.0  # seconds for one step of a conversation
_CLONE_NEWNET = 0x40000000
_MAC_BEGIN = "02:67:77"  # locally administered (IEEE 802, section 8.2), so that no manufacturer gives it out
_INSIDE = "eth0"


class NoAddressError(Exception):
    """There are no addresses for the hosts. The message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Address:
    mac: str
    ip: str
    prefix: int


def addresses(networks: Sequence[str], taken: Collection[str]) -> tuple[Address, Address]:
    """Addresses for both that collide with nobody's.

    Random locally administered MAC addresses. Random link-local addresses (RFC 3927), which nobody is
    given, where the site counts those as inside; else the highest of its first IPv4 network. None
    of `taken`, which are the addresses of all known devices.
    """
    inside = [n for n in map(ip_network, networks) if isinstance(n, IPv4Network)]
    if any(LINK_LOCAL.subnet_of(network) for network in inside):
        network = LINK_LOCAL
        free: Iterator[IPv4Address] = iter(
            lambda: network[256 + secrets.randbelow(0xFE00)], None
        )  # section 2.1
    elif inside:
        network = inside[0]
        highest = network.num_addresses - 2
        free = (network[at] for at in range(highest, max(0, highest - 1000), -1))
    else:
        raise NoAddressError("the site has no IPv4 network: add 169.254.0.0/16 to networks in site.yaml")
    found: list[Address] = []
    while len(found) < 2:
        ip = next(free, None)
        if ip is None:
            raise NoAddressError(f"{network} is full: add 169.254.0.0/16 to networks in site.yaml")
        mac = f"{_MAC_BEGIN}:{secrets.token_bytes(3).hex(':')}"
        if {mac, str(ip)}.isdisjoint({*taken, *(one.mac for one in found), *(one.ip for one in found)}):
            found.append(Address(mac, str(ip), network.prefixlen))
    return found[0], found[1]


def _run(*command: str) -> None:
    """Raises AttachError."""
    checked(execute, command)


class Host:
    """A namespace with one interface, which is a port of the bridge."""

    def __init__(self, bridge: str, name: str, address: Address) -> None:
        self.address = address
        self.name = name
        self._bridge = bridge

    def plug(self) -> None:
        """Raises AttachError."""
        namespace, port, address = self.name, self.name, self.address
        _run("ip", "netns", "add", namespace)
        _run("ip", "link", "add", port, "type", "veth", "peer", "name", _INSIDE, "netns", namespace)
        quiet = Path("/proc/sys/net/ipv6/conf", port, "disable_ipv6")
        if quiet.exists():
            quiet.write_text("1")
            enter = ("ip", "netns", "exec", namespace)
            _run(*enter, "sysctl", "-qw", f"net.ipv6.conf.{_INSIDE}.disable_ipv6=1")
        _run("ip", "netns", "exec", namespace, "ethtool", "-K", _INSIDE, "tx", "off")
        inside = ("ip", "-n", namespace)
        _run(*inside, "link", "set", _INSIDE, "address", address.mac, "up")
        _run(*inside, "address", "add", f"{address.ip}/{address.prefix}", "dev", _INSIDE)
        _run("ip", "link", "set", port, "up")
        _run("ovs-vsctl", "--timeout=10", "add-port", self._bridge, port)

    def unplug(self) -> None:
        """Whatever of it is there goes."""
        for command in (
            ("ovs-vsctl", "--timeout=10", "--if-exists", "del-port", self._bridge, self.name),
            ("ip", "netns", "delete", self.name),
            ("ip", "link", "delete", self.name),  # one whose namespace was never made
        ):
            with contextlib.suppress(AttachError):
                _run(*command)

    def socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket inside. A namespace is entered by a thread, and the thread ends at once."""
        made: list[socket.socket] = []
        failed: list[OSError] = []

        def enter() -> None:
            try:
                with Path("/run/netns", self.name).open("rb") as handle:
                    libc = ctypes.CDLL(None, use_errno=True)
                    if libc.setns(handle.fileno(), _CLONE_NEWNET) != 0:
                        number = ctypes.get_errno()
                        raise OSError(number, os.strerror(number))
                made.append(socket.socket(family, kind, protocol))
            except OSError as error:
                failed.append(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if failed:
            raise failed[0]
        return made[0]

    def announce(self) -> None:
        """Say where it is: an ARP announcement (RFC 5227, section 2.3)."""
        mac, ip = bytes.fromhex(self.address.mac.replace(":", "")), IPv4Address(self.address.ip).packed
        head = b"\xff" * 6 + mac + bytes.fromhex("0806 0001080006040001")
        with self.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
            out.bind((_INSIDE, 0))
            out.send(head + mac + ip + bytes(6) + ip + bytes(18))


class Conversation:
    """HTTP from one host to a server on the other, which answers whatever reaches it."""

    def __init__(self, client: Host, server: Host) -> None:
        self._client = client
        self._address = (server.address.ip, PORT)
        self._listener = server.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listener.bind(self._address)
        self._listener.listen(16)
        self._listener.settimeout(WITHIN)

    def close(self) -> None:
        self._listener.close()

    def ask(self, method: str, path: str) -> bool:
        """Whether the request reaches the server and the answer comes back."""
        head = f"{method} {path} HTTP/1.1\r\nHost: b\r\nUser-Agent: self-test\r\nContent-Length: 0\r\n\r\n"
        with self._client.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(WITHIN)
            try:
                client.connect(self._address)
                client.sendall(head.encode())
                with self._accept(client.getsockname()[1]) as server:
                    heard = b""
                    while not heard.endswith(b"\r\n\r\n"):
                        more = server.recv(1000)
                        if not more:
                            return False
                        heard += more
                    server.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
                return client.recv(1000).startswith(b"HTTP/1.1 204")
            except OSError:  # a reset, or nothing within the time
                return False

    def _accept(self, port: int) -> socket.socket:
        """The connection from this port; those that were denied before it are closed."""
        while True:
            server, (_, from_port) = self._listener.accept()
            if from_port == port:
                server.settimeout(WITHIN)
                return server
            server.close()
