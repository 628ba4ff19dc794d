"""A door lock: opens and closes when its VSL node `isOpen` is set. Its visible state is the real door."""

import asyncio
from collections.abc import Mapping
from typing import Any

from topologies.services.programs import DoorLock
from topologies.services.runtime import Runtime
from topologies.services.vsl import Agent, live


async def main(run: Runtime, options: DoorLock) -> None:
    """Turn the bolt as the node says, until cancelled."""
    opened = bool(run.previous.get("open", options.open))

    async def told(_address: str, node: Mapping[str, Any]) -> None:
        nonlocal opened
        opened = node.get("value") == "1"
        run.log("opened" if opened else "closed", by=node.get("by", ""))
        run.show(open=opened)

    async def close() -> bool:
        """A resident closes the door by hand."""
        if agent:
            await agent.set(f"{agent.address}/isOpen", "0")
        return agent is not None

    agent: Agent | None = None

    async def work(found: Agent) -> None:
        nonlocal agent
        agent = found
        await found.set(f"{found.address}/isOpen", "1" if opened else "0")
        await found.subscribe(f"{found.address}/isOpen", told)
        run.ready()
        await asyncio.Event().wait()

    run.commands["close"] = close
    run.show(open=opened)
    await live(run, "/security/door-lock", __file__, work)
