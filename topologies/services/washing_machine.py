"""The washing machine's control service: starts the machine when a battery is full."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

from topologies.services.programs import WashingMachine
from topologies.services.runtime import Runtime
from topologies.services.vsl import Agent, VslError, live

FULL = 100  # percent


class Control:
    """Watches every battery that the VSL knows, and washes with the first that is full."""

    def __init__(self, run: Runtime, options: WashingMachine) -> None:
        self._run, self._options = run, options
        self._batteries: dict[str, dict[str, object]] = {}
        self._running = False
        self._washes = 0

    async def work(self, agent: Agent) -> None:
        """Look for batteries and watch each of them, until cancelled."""
        self._batteries, watched = {}, dict[str, asyncio.Task[None]]()
        await self._turn(agent, on=False)
        self._run.ready()
        try:
            while True:
                found = await agent.search("/energy/battery")
                for address in set(watched) - set(found):
                    watched.pop(address).cancel()
                    self._batteries.pop(address, None)
                    self._run.log("lost", battery=address)
                for address in set(found) - set(watched):
                    self._run.log("found", battery=address)
                    watched[address] = asyncio.create_task(self._watch(agent, address))
                self._run.show(batteries=dict(self._batteries))
                await asyncio.sleep(self._options.interval)
        finally:
            for task in watched.values():
                task.cancel()

    async def _watch(self, agent: Agent, address: str) -> None:
        node, subscribed = f"{address}/chargeLevel", False

        async def told(_address: str, content: Mapping[str, Any]) -> None:
            await self._level(agent, address, str(content.get("value", "0")))

        while True:
            try:
                if not subscribed:
                    if self._options.mode == "subscribe":
                        await agent.subscribe(node, told)
                        subscribed = True
                        self._run.log("subscribed", node=node)
                    await self._level(agent, address, await agent.value(node))
            except VslError as error:
                self._battery(address, error=str(error))
                self._run.log("refused", operation="get", node=node, error=str(error))
            await asyncio.sleep(self._options.interval)

    def _battery(self, address: str, **what: object) -> None:
        if self._batteries.get(address) != what:
            self._batteries[address] = what
            self._run.show(batteries={a: dict(b) for a, b in self._batteries.items()})

    async def _level(self, agent: Agent, address: str, value: str) -> None:
        self._run.log("got", operation="get", node=f"{address}/chargeLevel", value=value)
        self._battery(address, level=float(value))
        if float(value) >= FULL and not self._running:
            await self._wash(agent, address)

    async def _wash(self, agent: Agent, battery: str) -> None:
        self._washes += 1
        await self._turn(agent, on=True)
        self._run.log("washing", battery=battery, duration=self._options.duration)

        async def finish() -> None:
            await asyncio.sleep(self._options.duration)
            with contextlib.suppress(VslError):  # the agent is gone; `live` begins anew
                await self._turn(agent, on=False)

        self._finish = asyncio.create_task(finish())

    async def _turn(self, agent: Agent, *, on: bool) -> None:
        self._running = on
        await agent.set(f"{agent.address}/isRunning", "1" if on else "0")
        self._run.show(running=on, washes=self._washes, address=agent.address)


async def main(run: Runtime, options: WashingMachine) -> None:
    """Control the machine until cancelled."""
    await live(run, "/appliance/washing-machine", __file__, Control(run, options).work)
