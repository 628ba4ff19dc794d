"""A camera: HTTP server with snapshots and a setting; asks its vendor's cloud for newer firmware."""

import asyncio
import json

from aiohttp import web

from topologies.services.http import client, fetch, serving
from topologies.services.programs import Camera
from topologies.services.runtime import Runtime

JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000") + bytes(4000) + bytes.fromhex("ffd9")


async def main(run: Runtime, options: Camera) -> None:
    """Serve and ask until cancelled."""
    routes = web.RouteTableDef()
    pictures = 0

    @routes.get("/snapshot.jpg")
    async def snapshot(_request: web.Request) -> web.Response:
        nonlocal pictures
        pictures += 1
        run.show(pictures=pictures)
        return web.Response(body=JPEG, content_type="image/jpeg")

    @routes.put("/settings")
    async def settings(request: web.Request) -> web.Response:
        run.show(settings=await request.json())
        return web.Response(status=204)

    async with serving(run, routes, {80: None}), client(run, "OcularisCam/4.1") as session:
        run.ready()
        while True:
            found = await fetch(run, session, f"https://{options.cloud}/latest")
            if found:
                run.show(firmware=json.loads(found)["version"])
            await asyncio.sleep(options.interval if found else min(options.interval, 2.0))
