"""A knowledge agent (KA) of the VSL: keeps the nodes of its services, forwards to other agents, calls back.

Services reach it over loopback, other agents over the network. Virtual nodes and streams are answered with
501. It is the middleware of the paper, so it lets any service do what a node's access mode allows: keeping
services apart is the firewall's work.
"""

import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
from aiohttp import web

from topologies.services.programs import KnowledgeAgent
from topologies.services.runtime import Runtime
from topologies.services.vsl import (
    CALLBACK_PROTOCOL,
    CBOR,
    JSON,
    PORT_BASE,
    TIMEOUT,
    VslError,
    decode,
    encode,
    identity,
    service_of,
)
from topologies.services.vsl_discovery import Discovery, Peer, own_address
from topologies.services.vsl_nodes import Store, Subscriber, not_found, split

LOOPBACK = "127.0.0.1"


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
        self.discovery = Discovery(self.name, self.port, run.spec.host, self._show_peers)

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
        self.discovery.offer(self.store.services)
        return self._reply(request, {"value": address})

    async def _unregister(self, request: web.Request) -> web.Response:
        service = self._local_service(request)
        self.store.unregister(service)
        self._run.log("unregistered", registered=service)
        self.discovery.offer(self.store.services)
        return web.Response(status=204)

    async def _search(self, request: web.Request) -> web.Response:
        model = "/" + request.match_info["type"]
        known = {
            self.name: self.store.services,
            **{p.name: p.services for p in self.discovery.peers.values()},
        }
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
            self.discovery.offer(self.store.services)
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
        return split(address)[0] != self.name

    def _peer_at(self, address: str | None) -> Peer:
        found = next((p for p in self.discovery.peers.values() if p.address == address), None)
        if found is None:
            raise VslError(404, f"no agent at {address} is known", "AgentUnknown")
        return found

    async def _forward(
        self, request: web.Request, service: str, address: str, body: Mapping[str, object] | None = None
    ) -> dict[str, Any]:
        if not self._is_local(request):
            raise not_found(address)
        peer = self.discovery.peers.get(split(address)[0])
        if peer is None:
            raise VslError(404, f"agent {split(address)[0]} is not known", "AgentUnknown")
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
                elif peer := self.discovery.peers.get(subscriber.agent):
                    body = {"operation": "NOTIFY", "callbackId": subscriber.callback, "node": node}
                    owner = split(address)[1]
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

    def _show_peers(self, peers: Mapping[str, Peer]) -> None:
        self._run.show(peers={p.name: [p.address, dict(p.services)] for p in peers.values()})


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
            await agent.discovery.work(address)
