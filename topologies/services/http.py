"""HTTP as the services use it: a server on a port, and requests that are logged."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from aiohttp import web

from topologies.services.runtime import Runtime, certificate_file

TIMEOUT = aiohttp.ClientTimeout(total=5.0)


@contextlib.asynccontextmanager
async def serving(
    run: Runtime, routes: web.RouteTableDef, ports: dict[int, ssl.SSLContext | None]
) -> AsyncIterator[None]:
    """Serve `routes` on all `ports`, each with or without TLS; every request is logged."""

    @web.middleware
    async def logged(request: web.Request, handler: Any) -> web.StreamResponse:
        response: web.StreamResponse = await handler(request)
        run.log(
            "served",
            operation=request.method,
            path=request.path,
            host=request.host,
            remote=request.remote,
            agent=request.headers.get("User-Agent", ""),
            status=response.status,
        )
        return response

    app = web.Application(middlewares=[logged])
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    for port, tls in ports.items():
        await web.TCPSite(runner, None, port, ssl_context=tls).start()
    try:
        yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def client(run: Runtime, agent: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client that calls itself `agent` and trusts the simulated internet's certificate."""
    file = certificate_file(run.spec.directory)
    trust = ssl.create_default_context(cafile=str(file) if file.exists() else None)
    connector = aiohttp.TCPConnector(ssl=trust, use_dns_cache=False)
    async with aiohttp.ClientSession(
        connector=connector, timeout=TIMEOUT, headers={"User-Agent": agent}
    ) as session:
        yield session


async def fetch(run: Runtime, session: aiohttp.ClientSession, url: str) -> bytes | None:
    """The body at `url`, or None when it could not be had."""
    try:
        async with session.get(url) as response:
            body = await response.read()
            run.log("sent", operation="GET", url=url, status=response.status, size=len(body))
            return body if response.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        run.log("refused", operation="GET", url=url, error=repr(error))
        return None
