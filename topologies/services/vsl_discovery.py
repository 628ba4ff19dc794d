"""How knowledge agents find each other: DNS-SD (`_vsl._tcp`), whose TXT record lists an agent's services.

Knows nothing of nodes or of HTTP.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import ifaddr
from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

DNS_SD_TYPE = "_vsl._tcp.local."
ANNOUNCE_EVERY = 10.0  # seconds
ANNOUNCE_APART = (
    1.2  # seconds: what is announced within one second adds to what was said before (RFC 6762, 10.2)
)


@dataclass(frozen=True, slots=True)
class Peer:
    """Another agent."""

    name: str
    address: str
    port: int
    services: Mapping[str, str]  # service -> model id


async def own_address() -> str:
    """The IPv4 address of this node, as soon as it has one."""
    while True:
        for adapter in ifaddr.get_adapters():
            for ip in adapter.ips:
                if isinstance(ip.ip, str) and not ip.ip.startswith("127."):
                    return ip.ip
        await asyncio.sleep(0.1)


class Discovery:
    """Says by DNS-SD that this agent is there, and hears of the others."""

    def __init__(self, name: str, port: int, host: str, tell: Callable[[Mapping[str, Peer]], None]) -> None:
        self._name, self._port, self._host, self._tell = name, port, host, tell
        self.peers: dict[str, Peer] = {}
        self._services: Mapping[str, str] = {}
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    def offer(self, services: Mapping[str, str]) -> None:
        """Announce these services (service -> model id) from now on."""
        self._services = dict(services)
        self._changed.set()

    def _info(self, address: str) -> AsyncServiceInfo:
        return AsyncServiceInfo(
            DNS_SD_TYPE,
            f"{self._name}.{DNS_SD_TYPE}",
            addresses=[socket.inet_aton(address)],
            port=self._port,
            properties=dict(self._services),
            server=f"{self._host}.local.",
        )

    def _heard(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        agent = name.removesuffix(f".{service_type}")
        if state_change is ServiceStateChange.Removed:
            if self.peers.pop(agent, None):
                self._tell(self.peers)
            return
        task = asyncio.ensure_future(self._resolve(zeroconf, name, agent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _resolve(self, zeroconf: Zeroconf, name: str, agent: str) -> None:
        info = AsyncServiceInfo(DNS_SD_TYPE, name)
        if not await info.async_request(zeroconf, 3000):
            return
        addresses = info.parsed_addresses(IPVersion.V4Only)
        if agent == self._name or not addresses or not info.port:
            return
        services = {k: v for k, v in info.decoded_properties.items() if v is not None}
        peer = Peer(agent, addresses[0], info.port, services)
        if self.peers.get(agent) != peer:
            self.peers[agent] = peer
            self._tell(self.peers)

    async def _changes(self, within: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):  # wait_for of Python 3.11 can swallow a cancellation
                await self._changed.wait()
        self._changed.clear()

    async def work(self, address: str) -> None:
        """Announce and listen until cancelled, with a fresh announcement whenever the services change."""
        await self._changes(ANNOUNCE_APART)  # most services come right after their agent
        aio = AsyncZeroconf(interfaces=[address], ip_version=IPVersion.V4Only)
        try:
            await aio.async_register_service(self._info(address), cooperating_responders=True)
            AsyncServiceBrowser(aio.zeroconf, DNS_SD_TYPE, handlers=[self._heard])
            while True:
                await asyncio.sleep(ANNOUNCE_APART)
                await self._changes(ANNOUNCE_EVERY)
                await aio.async_update_service(self._info(address))
        finally:
            await aio.async_unregister_all_services()
            await aio.async_close()
