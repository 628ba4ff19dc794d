"""A historian: records the input registers of all PLCs."""

from topologies.services.modbus import Plc, connections, poll
from topologies.services.programs import Historian
from topologies.services.runtime import Runtime


async def _read(plc: Plc) -> list[int]:
    return list(await plc.inputs(0, 3))


async def main(run: Runtime, options: Historian) -> None:
    """Record until cancelled."""
    async with connections(run, options.plcs) as plcs:
        await poll(run, plcs, options.interval, _read)
