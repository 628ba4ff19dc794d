"""An engineering station: reads what the PLCs are; writes coils and registers on command."""

from topologies.services.modbus import Plc, connections, offer_writes, poll
from topologies.services.programs import EngineeringStation
from topologies.services.runtime import Runtime


async def _read(plc: Plc) -> dict[str, str]:
    return await plc.identification()


async def main(run: Runtime, options: EngineeringStation) -> None:
    """Look and write until cancelled."""
    async with connections(run, options.plcs) as plcs:
        offer_writes(run, plcs)
        await poll(run, plcs, options.interval, _read)
