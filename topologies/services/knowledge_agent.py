"""A knowledge agent (KA) of the VSL: keeps the nodes of its services, forwards to other agents, calls back.

Services reach it over loopback, other agents over the network; they find each other by DNS-SD
(`_vsl._tcp`), whose TXT record says which services of which model an agent has. Virtual nodes and streams
are answered with 501. It is the middleware of the paper, so it lets any service do what a node's access
mode allows: keeping services apart is the firewall's work.
"""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import ifaddr
from aiohttp import web
from zeroconf import IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from topologies.services.programs import KnowledgeAgent
from topologies.services.runtime import Runtime
from topologies.services.vsl import (
    CALLBACK_PROTOCOL,
    CBOR,
    JSON,
    MODELS,
    PORT_BASE,
    TIMEOUT,
    VslError,
    decode,
    encode,
    identity,
    service_of,
)

DNS_SD_TYPE = "_vsl._tcp.local."
ANNOUNCE_EVERY = 10.0  # seconds
ANNOUNCE_APART = (
    1.2  # seconds: what is announced within one second adds to what was said before (RFC 6762, 10.2)
)
LOOPBACK = "127.0.0.1"


@dataclass(slots=True)
class Node:
    type: str
    value: str
    access: str
    version: int = 0
    timestamp: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who is told of changes: a local service (`agent` empty), or a service of another agent."""

    callback: str
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another agent."""

    name: str
    address: str
    port: int
    services: Mapping[str, str]  # service -> model id


@dataclass(slots=True)
class Lock:
    """A subtree that one service may write, and what it wrote but did not commit yet."""

    service: str
    staged: dict[str, str] = field(default_factory=dict)


def _split(address: str) -> list[str]:
    return [part for part in address.split("/") if part]


def _not_found(address: str) -> VslError:
    return VslError(404, f"there is no node {address}", "NodeNotExisting")


class Store:
    """The nodes of this agent's services. Pure state: no network."""

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self.services: dict[str, str] = {}
        self._nodes: dict[str, Node] = {}
        self._locks: dict[str, Lock] = {}
        self.subscribers: dict[str, list[Subscriber]] = {}

    def register(self, service: str, model: str) -> str:
        """The address of the service, whose nodes are now there; raises VslError for an unknown model."""
        if model not in MODELS:
            raise VslError(404, f"there is no model {model}", "ModelNotExisting")
        address = f"/{self.agent}/{service}"
        self.services[service] = model
        self._nodes[address] = Node(model, "", "r")
        for name, node in MODELS[model].items():
            self._nodes[f"{address}/{name}"] = Node(node.type, node.value, node.access)
        return address

    def unregister(self, service: str) -> None:
        self.services.pop(service, None)
        address = f"/{self.agent}/{service}"
        for gone in [a for a in self._nodes if a == address or a.startswith(f"{address}/")]:
            del self._nodes[gone]
            self.subscribers.pop(gone, None)

    def get(self, address: str, scope: str = "VALUE", depth: int = 0) -> dict[str, Any]:
        """The node as the VSL shows it; raises VslError 404."""
        node = self._nodes.get(address)
        if node is None:
            raise _not_found(address)
        shown: dict[str, Any] = {}
        if scope in ("VALUE", "COMPLETE"):
            shown["value"] = node.value
        if scope in ("METADATA", "COMPLETE"):
            shown |= {"types": [node.type], "version": node.version, "access": node.access}
            shown["timestamp"] = int(node.timestamp)
        if depth > 0:
            below = [
                a for a in self._nodes if a.startswith(f"{address}/") and "/" not in a[len(address) + 1 :]
            ]
            shown["children"] = {a.rpartition("/")[2]: self.get(a, scope, depth - 1) for a in below}
        return shown

    def set(self, address: str, value: str, service: str) -> bool:
        """Write a node; False when it waits for a commit. Raises VslError 403 or 404."""
        node = self._nodes.get(address)
        if node is None:
            raise _not_found(address)
        if _split(address)[1] != service and node.access != "rw":
            raise VslError(403, f"{service} may not write {address}", "NoPermission")
        for root, lock in self._locks.items():
            if address == root or address.startswith(f"{root}/"):
                if lock.service != service:
                    raise VslError(403, f"{address} is locked by {lock.service}", "SubtreeLocked")
                lock.staged[address] = value
                return False
        self._write(node, value)
        return True

    @staticmethod
    def _write(node: Node, value: str) -> None:
        node.value, node.version, node.timestamp = value, node.version + 1, time.time()

    def lock(self, address: str, service: str) -> None:
        """Raises VslError when the subtree is not there or locked."""
        self.get(address)
        for root in self._locks:
            if f"{root}/".startswith(f"{address}/") or f"{address}/".startswith(f"{root}/"):
                raise VslError(403, f"{root} is locked", "SubtreeLocked")
        self._locks[address] = Lock(service)

    def release(self, address: str, service: str, *, commit: bool) -> dict[str, str]:
        """End a lock; returns what was written by it. Raises VslError when it is not `service`'s."""
        lock = self._locks.get(address)
        if lock is None or lock.service != service:
            raise VslError(403, f"{service} has not locked {address}", "SubtreeNotLocked")
        del self._locks[address]
        if not commit:
            return {}
        for node, value in lock.staged.items():
            self._write(self._nodes[node], value)
        return lock.staged

    def subscribe(self, address: str, subscriber: Subscriber) -> None:
        self.get(address)
        self.subscribers.setdefault(address, []).append(subscriber)

    def unsubscribe(self, address: str, callback: str) -> None:
        self.subscribers[address] = [s for s in self.subscribers.get(address, []) if s.callback != callback]


class Agent:
    """The agent on the network: what HTTP requests do to the store, and who else is there."""

    def __init__(self, run: Runtime, options: KnowledgeAgent, http: aiohttp.ClientSession) -> None:
        self._run, self._http = run, http
        self.name = f"agent{options.number}"
        self.port = PORT_BASE + options.number
        self.store = Store(self.name)
        self._type = CBOR if options.encoding == "cbor" else JSON
        self._sockets: dict[str, web.WebSocketResponse] = {}
        self._callbacks: dict[str, str] = {}  # callback id -> local service
        self._serial = 0
        self.peers: dict[str, Peer] = {}
        self.changed = asyncio.Event()  # its services, which DNS-SD tells

    # HTTP

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self._answer_errors])
        app.add_routes(
            [
                web.post("/service/register", self._register),
                web.post("/service/unregister", self._unregister),
                web.get("/vsl/search/type/{type:.+}", self._search),
                web.get("/vsl/{address:.+}", self._get),
                web.put("/vsl/{address:.+}", self._set),
                web.post("/vsl/{address:.+}", self._operate),
                web.get("/callbacks", self._open_callbacks),
            ]
        )
        return app

    def _reply(self, request: web.Request, body: Mapping[str, object], status: int = 200) -> web.Response:
        kind = CBOR if CBOR in request.headers.get("Accept", "") else JSON
        return web.Response(body=encode(body, kind), content_type=kind, status=status)

    @web.middleware
    async def _answer_errors(self, request: web.Request, handler: Any) -> web.StreamResponse:
        try:
            response: web.StreamResponse = await handler(request)
        except VslError as error:
            return self._reply(request, error.body(), error.code)
        except web.HTTPException as error:
            return self._reply(request, VslError(error.status, error.reason).body(), error.status)
        return response

    @staticmethod
    def _is_local(request: web.Request) -> bool:
        return request.remote == LOOPBACK

    def _local_service(self, request: web.Request) -> str:
        if not self._is_local(request):
            raise VslError(403, "services register at the agent of their own node", "Forbidden")
        return service_of(request.headers.get("Authorization"))

    async def _register(self, request: web.Request) -> web.Response:
        service = self._local_service(request)
        body = decode(await request.read(), request.content_type)
        address = self.store.register(service, str(body.get("modelId")))
        self._run.log(
            "registered", registered=service, model=body.get("modelId"), binary=body.get("binaryHash")
        )
        self.changed.set()
        return self._reply(request, {"value": address})

    async def _unregister(self, request: web.Request) -> web.Response:
        service = self._local_service(request)
        self.store.unregister(service)
        self._run.log("unregistered", registered=service)
        self.changed.set()
        return web.Response(status=204)

    async def _search(self, request: web.Request) -> web.Response:
        model = "/" + request.match_info["type"]
        known = {self.name: self.store.services, **{p.name: p.services for p in self.peers.values()}}
        found = [
            f"/{a}/{s}" for a, services in sorted(known.items()) for s, m in services.items() if m == model
        ]
        return self._reply(request, {"value": "//".join(found)})

    async def _get(self, request: web.Request) -> web.Response:
        address, service = self._subject(request)
        if self._is_elsewhere(address):
            query = f"?{request.query_string}" if request.query_string else ""
            return self._reply(request, await self._forward(request, service, address + query))
        try:
            depth = int(request.query.get("depth", "0"))
        except ValueError:
            raise VslError(400, "depth is a number", "BadRequest") from None
        node = self.store.get(address, request.query.get("scope", "VALUE").upper(), depth)
        self._served(request, "get", service, address)
        return self._reply(request, node)

    async def _set(self, request: web.Request) -> web.Response:
        address, service = self._subject(request)
        body = decode(await request.read(), request.content_type)
        if self._is_elsewhere(address):
            await self._forward(request, service, address, body)
        else:
            value = str(body.get("value", ""))
            written = self.store.set(address, value, service)
            self._served(request, "set", service, address, value=value)
            if written:
                await self._notify(address, service)
        return web.Response(status=204)

    async def _operate(self, request: web.Request) -> web.Response:
        address, service = self._subject(request)
        body = decode(await request.read(), request.content_type)
        operation, callback = str(body.get("operation", "")), str(body.get("callbackId", ""))
        if operation == "NOTIFY":
            await self._call_back(callback, address, body.get("node", {}))
            return web.Response(status=204)
        if operation == "SUBSCRIBE" and self._is_local(request):
            self._callbacks[callback] = service
        if self._is_elsewhere(address):
            await self._forward(request, service, address, body)
            return web.Response(status=204)
        match operation:
            case "SUBSCRIBE":
                agent = "" if self._is_local(request) else self._peer_at(request.remote).name
                self.store.subscribe(address, Subscriber(callback, agent))
            case "UNSUBSCRIBE":
                self.store.unsubscribe(address, callback)
            case "LOCK_SUBTREE":
                self.store.lock(address, service)
            case "COMMIT_SUBTREE" | "ROLLBACK_SUBTREE":
                for node in self.store.release(address, service, commit=operation.startswith("COMMIT")):
                    await self._notify(node, service)
            case _:
                raise VslError(501, f"this agent has no operation {operation!r}", "NotImplemented")
        self._served(request, operation.lower(), service, address)
        return web.Response(status=204)

    async def _open_callbacks(self, request: web.Request) -> web.WebSocketResponse:
        service = self._local_service(request)
        opened = web.WebSocketResponse(protocols=[CALLBACK_PROTOCOL])
        await opened.prepare(request)
        self._sockets[service] = opened
        async for _answer in opened:
            pass
        if self._sockets.get(service) is opened:
            del self._sockets[service]
            self.store.unregister(service)  # it is gone without a word
            self.changed.set()
        return opened

    def _subject(self, request: web.Request) -> tuple[str, str]:
        return "/" + request.match_info["address"].rstrip("/"), service_of(
            request.headers.get("Authorization")
        )

    def _served(
        self, request: web.Request, operation: str, service: str, address: str, **more: object
    ) -> None:
        if not self._is_local(request):
            self._run.log(
                "served", operation=operation, by=service, node=address, remote=request.remote, **more
            )

    # Other agents

    def _is_elsewhere(self, address: str) -> bool:
        return _split(address)[0] != self.name

    def _peer_at(self, address: str | None) -> Peer:
        found = next((p for p in self.peers.values() if p.address == address), None)
        if found is None:
            raise VslError(404, f"no agent at {address} is known", "AgentUnknown")
        return found

    async def _forward(
        self, request: web.Request, service: str, address: str, body: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        if not self._is_local(request):
            raise _not_found(address)
        peer = self.peers.get(_split(address)[0])
        if peer is None:
            raise VslError(404, f"agent {_split(address)[0]} is not known", "AgentUnknown")
        return await self._send(peer, request.method, service, address, body)

    async def _send(
        self, peer: Peer, method: str, service: str, address: str, body: Mapping[str, object] | None
    ) -> dict[str, Any]:
        headers = {"Authorization": identity(service), "Accept": self._type}
        if body is not None:
            headers["Content-Type"] = self._type
        url = f"http://{peer.address}:{peer.port}/vsl{address}"
        data = encode(body, self._type) if body is not None else None
        try:
            async with self._http.request(method, url, data=data, headers=headers) as response:
                content = await response.read()
                found = decode(content, response.content_type) if content else {}
        except (aiohttp.ClientError, TimeoutError) as error:
            self._run.log("unanswered", operation=method, by=service, node=address, error=repr(error))
            raise VslError(503, f"{peer.name} does not answer: {error!r}", "AgentUnreachable") from None
        self._run.log("forwarded", operation=method, by=service, node=address, status=response.status)
        if response.status >= 400:
            raise VslError(response.status, str(found.get("message", "")), str(found.get("type", "")))
        return found

    async def _notify(self, address: str, by: str) -> None:
        node = self.store.get(address) | {"by": by}
        for place in (address, address.rpartition("/")[0]):
            for subscriber in tuple(self.store.subscribers.get(place, [])):
                if not subscriber.agent:
                    await self._call_back(subscriber.callback, address, node)
                elif peer := self.peers.get(subscriber.agent):
                    body = {"operation": "NOTIFY", "callbackId": subscriber.callback, "node": node}
                    owner = _split(address)[1]
                    try:
                        await self._send(peer, "POST", owner, address, body)
                    except VslError as error:
                        if error.code == 404:  # the subscriber is no more
                            self.store.unsubscribe(place, subscriber.callback)

    async def _call_back(self, callback: str, address: str, node: object) -> None:
        opened = self._sockets.get(self._callbacks.get(callback, ""))
        if opened is None:
            raise VslError(404, f"nobody waits for callback {callback}", "CallbackUnknown")
        self._serial += 1
        told = {
            "callbackId": callback,
            "serial": self._serial,
            "address": address,
            "invoke": "NOTIFY",
            "node": node,
        }
        with contextlib.suppress(ConnectionError):
            await opened.send_json(told)

    def met(self, peer: Peer) -> None:
        """Another agent is there, or has other services than before."""
        if peer.name != self.name and self.peers.get(peer.name) != peer:
            self.peers[peer.name] = peer
            self._show_peers()

    def left(self, name: str) -> None:
        if self.peers.pop(name, None):
            self._show_peers()

    def _show_peers(self) -> None:
        self._run.show(peers={p.name: [p.address, dict(p.services)] for p in self.peers.values()})


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

    def __init__(self, agent: Agent, host: str) -> None:
        self._agent, self._host = agent, host
        self._tasks: set[asyncio.Task[None]] = set()

    def _info(self, address: str) -> AsyncServiceInfo:
        return AsyncServiceInfo(
            DNS_SD_TYPE,
            f"{self._agent.name}.{DNS_SD_TYPE}",
            addresses=[socket.inet_aton(address)],
            port=self._agent.port,
            properties=dict(self._agent.store.services),
            server=f"{self._host}.local.",
        )

    def _heard(
        self, zeroconf: Zeroconf, service_type: str, name: str, state_change: ServiceStateChange
    ) -> None:
        agent = name.removesuffix(f".{service_type}")
        if state_change is ServiceStateChange.Removed:
            self._agent.left(agent)
            return
        task = asyncio.ensure_future(self._resolve(zeroconf, name, agent))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _resolve(self, zeroconf: Zeroconf, name: str, agent: str) -> None:
        info = AsyncServiceInfo(DNS_SD_TYPE, name)
        if not await info.async_request(zeroconf, 3000):
            return
        addresses = info.parsed_addresses(IPVersion.V4Only)
        if addresses and info.port:
            services = {k: v for k, v in info.decoded_properties.items() if v is not None}
            self._agent.met(Peer(agent, addresses[0], info.port, services))

    async def _changes(self, timeout: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._agent.changed.wait(), timeout)
        self._agent.changed.clear()

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


@contextlib.asynccontextmanager
async def listening(agent: Agent) -> AsyncIterator[None]:
    """The agent's HTTP server."""
    runner = web.AppRunner(agent.application(), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", agent.port, reuse_address=True).start()
    try:
        yield
    finally:
        await runner.cleanup()


async def main(run: Runtime, options: KnowledgeAgent) -> None:
    """Be an agent until cancelled."""
    headers = {"User-Agent": "DS2OS-KA/1.0"}
    async with aiohttp.ClientSession(timeout=TIMEOUT, headers=headers) as http:
        agent = Agent(run, options, http)
        async with listening(agent):
            address = await own_address()
            run.show(address=address, peers={})
            run.ready()
            await Discovery(agent, run.spec.host).work(address)
