"""A battery: charges, stays full for a while, and starts again; its VSL node `chargeLevel` follows."""

import asyncio

from topologies.services.programs import Battery
from topologies.services.runtime import Runtime
from topologies.services.vsl import Agent, live

FULL, LOW = 100, 40  # percent


async def main(run: Runtime, options: Battery) -> None:
    """Charge and discharge until cancelled; goes on with the charge it had, also on another host."""
    level = int(str(run.previous.get("level", options.level)))

    async def charge(to: int) -> int:
        """Somebody charges or discharges the battery at once."""
        nonlocal level
        level = max(0, min(FULL, to))
        run.show(level=level)
        return level

    async def work(agent: Agent) -> None:
        nonlocal level
        while True:
            await agent.set(f"{agent.address}/chargeLevel", str(level))
            run.show(level=level, address=agent.address)
            run.ready()
            await asyncio.sleep(options.hold if level >= FULL else options.interval)
            level = LOW if level >= FULL else min(FULL, level + options.step)

    run.commands["charge"] = charge
    await live(run, "/energy/battery", __file__, work)
