"""A tablet on the kitchen wall: shows the camera's picture and the weather, over plain HTTP."""

import asyncio
import json

from topologies.services.http import client, fetch
from topologies.services.programs import Tablet
from topologies.services.runtime import Runtime


async def main(run: Runtime, options: Tablet) -> None:
    """Show until cancelled."""
    pictures = 0
    async with client(run, "KitchenBoard/2.7") as session:

        async def put(url: str, body: dict[str, object]) -> int:
            async with session.put(url, json=body) as response:
                run.log("sent", operation="PUT", url=url, status=response.status)
                return response.status

        run.commands["put"] = put
        while True:
            picture = await fetch(run, session, f"http://{options.camera}/snapshot.jpg")
            pictures += picture is not None
            weather = await fetch(run, session, f"http://{options.weather}/forecast")
            run.show(pictures=pictures, weather=json.loads(weather)["weather"] if weather else None)
            if picture:
                run.ready()
            await asyncio.sleep(options.interval if picture else 1.0)
