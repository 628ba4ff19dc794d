"""An operator's panel: reads motors, wanted speeds and values of all PLCs; writes on command."""

from topologies.services.modbus import Plc, connections, offer_writes, poll
from topologies.services.programs import Hmi
from topologies.services.runtime import Runtime


async def _read(plc: Plc) -> dict[str, object]:
    speed, temperature, pieces = await plc.inputs(0, 3)
    return {
        "motor": (await plc.coils(0, 1))[0],
        "wanted": (await plc.holding(0, 1))[0],
        "speed": speed,
        "temperature": temperature,
        "pieces": pieces,
    }


async def main(run: Runtime, options: Hmi) -> None:
    """Show until cancelled."""
    async with connections(run, options.plcs) as plcs:
        offer_writes(run, plcs)
        await poll(run, plcs, options.interval, _read)
