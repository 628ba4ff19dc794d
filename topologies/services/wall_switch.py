"""A wall switch on CoAP: asks the lamp how it is, and switches it, as a person would by pressing."""

import asyncio

import aiocoap  # type: ignore[import-untyped]  # aiocoap has no types
from aiocoap.error import Error  # type: ignore[import-untyped]

from topologies.services.programs import WallSwitch
from topologies.services.runtime import Backoff, Runtime

PATIENCE = 5.0  # seconds for an answer


async def main(run: Runtime, options: WallSwitch) -> None:
    """Switch until cancelled."""
    context = await aiocoap.Context.create_client_context(transports=["udp6"])
    uri = f"coap://{options.lamp}/light"

    async def ask(code: aiocoap.Code, payload: bytes = b"") -> str:
        request = aiocoap.Message(code=code, uri=uri, payload=payload)
        async with asyncio.timeout(PATIENCE):
            answer = await context.request(request).response
        run.log("sent", operation=str(code), uri=uri, value=payload.decode(), answer=str(answer.code))
        return str(answer.payload.decode())

    async def press() -> str:
        """Switch the lamp over; returns what it is then."""
        wanted = "0" if await ask(aiocoap.GET) == "1" else "1"
        await ask(aiocoap.PUT, wanted.encode())
        run.show(lamp=wanted)
        return wanted

    run.commands["press"] = press
    backoff = Backoff()
    try:
        while True:
            try:
                await press()
            except (Error, OSError, TimeoutError) as error:
                run.log("refused", uri=uri, error=repr(error))
                await backoff.pause()
                continue
            backoff.reset()
            run.ready()
            await asyncio.sleep(options.interval)
    finally:
        await context.shutdown()
