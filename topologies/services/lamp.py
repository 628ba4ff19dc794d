"""A lamp on CoAP (RFC 7252): the resource /light is read, written and observed."""

import asyncio

import aiocoap  # type: ignore[import-untyped]  # aiocoap has no types
from aiocoap import resource

from topologies.services.programs import Lamp
from topologies.services.runtime import Runtime


class Light(resource.ObservableResource):  # type: ignore[misc]  # as above
    """1 when the lamp shines, 0 when not."""

    def __init__(self, run: Runtime, *, on: bool) -> None:
        super().__init__()
        self._run, self._on = run, on
        run.show(on=on)

    def _said(self) -> bytes:
        return b"1" if self._on else b"0"

    async def render_get(self, request: aiocoap.Message) -> aiocoap.Message:
        self._run.log("served", operation="GET", path="/light", remote=request.remote.hostinfo)
        return aiocoap.Message(payload=self._said())

    async def render_put(self, request: aiocoap.Message) -> aiocoap.Message:
        if request.payload not in (b"0", b"1"):
            return aiocoap.Message(code=aiocoap.BAD_REQUEST, payload=b"0 or 1")
        self._on = request.payload == b"1"
        self._run.log("served", operation="PUT", path="/light", on=self._on, remote=request.remote.hostinfo)
        self._run.show(on=self._on)
        self.updated_state()
        return aiocoap.Message(code=aiocoap.CHANGED)


async def main(run: Runtime, options: Lamp) -> None:
    """Serve until cancelled."""
    site = resource.Site()
    site.add_resource([".well-known", "core"], resource.WKCResource(site.get_resources_as_linkheader))
    site.add_resource(["light"], Light(run, on=bool(run.previous.get("on", options.on))))
    context = await aiocoap.Context.create_server_context(site, bind=("::", None), transports=["udp6"])
    try:
        run.ready()
        await asyncio.Event().wait()
    finally:
        await context.shutdown()
