"""The Virtual State Layer of DS2OS as a service speaks it to the knowledge agent on its own node.

Also what agents and services share: node models, bodies in JSON and CBOR, the identity header, errors.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import cbor2

from topologies.services.runtime import Backoff, Runtime

JSON, CBOR = "application/json", "application/cbor"
CALLBACK_PROTOCOL = "v1.vsl.ds2os.org"
PORT_BASE = 8080  # agentN listens on 8080 + N
TIMEOUT = aiohttp.ClientTimeout(total=4.0)


class VslError(Exception):
    """What the VSL answers instead of a node: `code` as in HTTP, and the kind of failure."""

    def __init__(self, code: int, message: str, kind: str = "VslException") -> None:
        super().__init__(f"{code} {message}")
        self.code, self.message, self.kind = code, message, kind

    def body(self) -> dict[str, object]:
        return {"code": self.code, "message": self.message, "type": self.kind}


@dataclass(frozen=True, slots=True)
class NodeModel:
    """One node of a service: its type, its first value, and what others may do (`r` or `rw`)."""

    type: str
    value: str
    access: str


# The model repository: model id -> the service's nodes.
MODELS: Mapping[str, Mapping[str, NodeModel]] = MappingProxyType(
    {
        "/security/door-lock": {"isOpen": NodeModel("/basic/boolean", "0", "rw")},
        "/energy/battery": {"chargeLevel": NodeModel("/basic/number", "0", "r")},
        "/appliance/washing-machine": {
            "isRunning": NodeModel("/basic/boolean", "0", "r"),
            "program": NodeModel("/basic/text", "cotton", "rw"),
        },
    }
)


def encode(body: Mapping[str, object], content_type: str) -> bytes:
    return cbor2.dumps(dict(body)) if content_type == CBOR else json.dumps(body).encode()


def decode(data: bytes, content_type: str) -> dict[str, Any]:
    """Raises VslError 415 for what is neither JSON nor CBOR, 400 for what is broken."""
    try:
        match content_type.partition(";")[0].strip():
            case "application/cbor":
                found = cbor2.loads(data)
            case "application/json":
                found = json.loads(data)
            case other:
                raise VslError(415, f"{other} is neither {JSON} nor {CBOR}", "UnsupportedMediaType")
    except (ValueError, cbor2.CBORDecodeError) as error:
        raise VslError(400, f"the body cannot be read: {error}", "BadRequest") from None
    if not isinstance(found, dict):
        raise VslError(400, "the body is not an object", "BadRequest")
    return found


def identity(service: str) -> str:
    """The value of the Authorization header that names the calling service."""
    return "VSL " + base64.b64encode(json.dumps({"serviceId": service}).encode()).decode()


def service_of(header: str | None) -> str:
    """The calling service in an Authorization header; raises VslError 403 when there is none."""
    try:
        scheme, _, text = (header or "").partition(" ")
        found = json.loads(base64.b64decode(text, validate=True))["serviceId"] if scheme == "VSL" else None
    except (ValueError, KeyError, TypeError):
        found = None
    if not isinstance(found, str):
        raise VslError(403, "the request does not say which service it comes from", "Forbidden")
    return found


def digest_of(program: str) -> str:
    """The SHA-256 of a program's file, as a service tells its agent at registration."""
    return hashlib.sha256(Path(program).read_bytes()).hexdigest()


Callback = Callable[[str, Mapping[str, Any]], Awaitable[None]]


class Agent:
    """The knowledge agent on this node, for one registered service. `address` is the service's own."""

    def __init__(self, run: Runtime, http: aiohttp.ClientSession, address: str) -> None:
        self._run, self._http = run, http
        self.address = address
        self._callbacks: dict[str, Callback] = {}

    async def get(self, address: str) -> Mapping[str, Any]:
        """The node at `address`; raises VslError."""
        return await _ask(self._http, "GET", f"/vsl{address}")

    async def value(self, address: str) -> str:
        """The value of the node at `address`; raises VslError."""
        return str((await self.get(address)).get("value", ""))

    async def set(self, address: str, value: str) -> None:
        """Write the node at `address`; raises VslError."""
        await _ask(self._http, "PUT", f"/vsl{address}", {"value": value})

    async def search(self, kind: str) -> list[str]:
        """The addresses of the services of a model id, on all agents that are known."""
        found = await _ask(self._http, "GET", f"/vsl/search/type{kind}")
        return [a for a in str(found.get("value", "")).split("//") if a]

    async def subscribe(self, address: str, callback: Callback) -> None:
        """Call `callback(address, node)` whenever the node changes; raises VslError."""
        number = str(uuid.uuid4())
        self._callbacks[number] = callback
        await _ask(self._http, "POST", f"/vsl{address}", {"operation": "SUBSCRIBE", "callbackId": number})

    async def serve_callbacks(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        """Hand on what the agent calls back with, until the agent is gone."""
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                break
            told = json.loads(message.data)
            callback = self._callbacks.get(told["callbackId"])
            await socket.send_json({"callbackId": told["callbackId"], "serial": told["serial"]})
            if callback:
                await callback(told["address"], told.get("node", {}))


async def _ask(
    http: aiohttp.ClientSession, method: str, path: str, body: Mapping[str, object] | None = None
) -> dict[str, Any]:
    try:
        async with http.request(method, path, json=body) as response:
            data = await response.read()
            found = decode(data, response.content_type) if data else {}
    except (aiohttp.ClientError, TimeoutError) as error:
        raise VslError(503, f"no answer: {type(error).__name__} {error}", "AgentUnreachable") from None
    if response.status >= 400:
        raise VslError(response.status, str(found.get("message", "")), str(found.get("type", "")))
    return found


@contextlib.asynccontextmanager
async def _registered(
    run: Runtime, model: str, program: str
) -> AsyncIterator[tuple[Agent, asyncio.Task[None]]]:
    """Register at the agent of this node, and unregister at the end. The task ends when the agent is gone."""
    async with contextlib.AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                f"http://127.0.0.1:{run.spec.agent}",
                timeout=TIMEOUT,
                headers={"Authorization": identity(run.spec.service), "Accept": JSON},
            )
        )
        text = digest_of(program)
        body = {"modelId": model, "modelHash": hashlib.sha256(model.encode()).hexdigest(), "binaryHash": text}
        address = str((await _ask(http, "POST", "/service/register", body))["value"])
        agent = Agent(run, http, address)
        socket = await stack.enter_async_context(http.ws_connect("/callbacks", protocols=[CALLBACK_PROTOCOL]))
        task = asyncio.create_task(agent.serve_callbacks(socket))
        try:
            yield agent, task
        finally:
            task.cancel()
            with contextlib.suppress(VslError):
                await _ask(http, "POST", "/service/unregister")


async def live(run: Runtime, model: str, program: str, work: Callable[[Agent], Awaitable[None]]) -> None:
    """Do `work` as a service of `model`, again whenever the agent came back; `program` is its file."""
    backoff = Backoff()
    while True:
        try:
            async with _registered(run, model, program) as (agent, callbacks):
                run.log("registered", address=agent.address)
                backoff.reset()
                task = asyncio.ensure_future(work(agent))
                try:
                    await asyncio.wait({task, callbacks}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
        except (VslError, aiohttp.ClientError, TimeoutError, OSError) as error:
            run.log("unregistered", error=str(error))
        await backoff.pause()
