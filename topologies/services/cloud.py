"""The vendors' clouds in the simulated internet: HTTPS and plain HTTP."""

import asyncio
import ssl

from aiohttp import web

from topologies.services.http import serving
from topologies.services.programs import Cloud
from topologies.services.runtime import Runtime, certificate_file


async def main(run: Runtime, options: Cloud) -> None:
    """Serve until cancelled."""
    routes = web.RouteTableDef()

    @routes.get("/latest")
    async def latest(_request: web.Request) -> web.Response:
        return web.json_response({"version": options.version})

    @routes.get("/forecast")
    async def forecast(_request: web.Request) -> web.Response:
        return web.json_response({"weather": "sunny", "degrees": 23})

    @routes.post("/report")
    async def report(request: web.Request) -> web.Response:
        return web.json_response({"received": len(await request.read())})

    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(certificate_file(run.spec.directory))
    async with serving(run, routes, {443: tls, 80: None}):
        run.ready()
        await asyncio.Event().wait()
