"""Modbus/TCP clients as the services use them: a connection to each PLC that comes back by itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from topologies.services.runtime import Backoff, Runtime

PORT = 502
DEVICE = 1  # the unit id of every PLC
TIMEOUT = 3.0  # seconds


class RefusedError(Exception):
    """The PLC answered with an exception, or not at all."""


class Plc:
    """One PLC as a client sees it."""

    def __init__(self, run: Runtime, name: str) -> None:
        self._run, self.name = run, name
        self._client = AsyncModbusTcpClient(name, port=PORT, timeout=TIMEOUT, retries=0, reconnect_delay=0)
        self._lock = asyncio.Lock()

    async def ask(self, what: str, call: Callable[[AsyncModbusTcpClient], Awaitable[ModbusPDU]]) -> ModbusPDU:
        """Do `call` on a standing connection; raises RefusedError."""
        async with self._lock:
            try:
                if not self._client.connected and not await self._client.connect():
                    raise RefusedError(f"{self.name} takes no connection")
                answer = await call(self._client)
            except (ModbusException, OSError, TimeoutError) as error:
                self._client.close()
                raise RefusedError(f"{self.name}: {error}") from None
        if answer.isError():
            raise RefusedError(f"{self.name}: {answer}")
        self._run.log("sent", operation=what, plc=self.name)
        return answer

    async def holding(self, address: int, count: int) -> Sequence[int]:
        what = "Read Holding Registers"
        answer = await self.ask(
            what, lambda c: c.read_holding_registers(address, count=count, device_id=DEVICE)
        )
        return answer.registers

    async def inputs(self, address: int, count: int) -> Sequence[int]:
        what = "Read Input Registers"
        answer = await self.ask(
            what, lambda c: c.read_input_registers(address, count=count, device_id=DEVICE)
        )
        return answer.registers

    async def coils(self, address: int, count: int) -> Sequence[bool]:
        answer = await self.ask("Read Coils", lambda c: c.read_coils(address, count=count, device_id=DEVICE))
        return answer.bits[:count]

    async def write_coil(self, address: int, value: bool) -> None:
        await self.ask("Write Single Coil", lambda c: c.write_coil(address, value, device_id=DEVICE))

    async def write_register(self, address: int, value: int) -> None:
        await self.ask("Write Single Register", lambda c: c.write_register(address, value, device_id=DEVICE))

    async def write_registers(self, address: int, values: Sequence[int]) -> None:
        what = "Write Multiple Registers"
        await self.ask(what, lambda c: c.write_registers(address, list(values), device_id=DEVICE))

    async def identification(self) -> dict[str, str]:
        answer = await self.ask(
            "Read Device Identification", lambda c: c.read_device_information(device_id=DEVICE)
        )
        found: Mapping[int, bytes] = getattr(answer, "information", {})
        return {str(k): v.decode(errors="replace") for k, v in found.items()}

    def close(self) -> None:
        self._client.close()


@contextlib.asynccontextmanager
async def connections(run: Runtime, names: Sequence[str]) -> AsyncIterator[dict[str, Plc]]:
    """Connections to the PLCs of these names."""
    plcs = {name: Plc(run, name) for name in names}
    try:
        yield plcs
    finally:
        for plc in plcs.values():
            plc.close()


def offer_writes(run: Runtime, plcs: Mapping[str, Plc]) -> None:
    """Let `plcs` be written on command."""

    async def coil(plc: str, address: int, value: bool) -> None:
        await plcs[plc].write_coil(address, value)

    async def register(plc: str, address: int, value: int) -> None:
        await plcs[plc].write_register(address, value)

    async def registers(plc: str, address: int, values: list[int]) -> None:
        await plcs[plc].write_registers(address, values)

    run.commands.update(coil=coil, register=register, registers=registers)


async def poll(
    run: Runtime, plcs: Mapping[str, Plc], interval: float, read: Callable[[Plc], Awaitable[object]]
) -> None:
    """Read every PLC every `interval` seconds, each on its own, until cancelled; shows what was read."""
    readings: dict[str, object] = {}

    async def follow(plc: Plc) -> None:
        backoff = Backoff()
        while True:
            try:
                readings[plc.name] = await read(plc)
            except RefusedError as error:
                readings[plc.name] = str(error)
                run.log("refused", plc=plc.name, error=str(error))
                run.show(readings=dict(readings))
                await backoff.pause()
                continue
            backoff.reset()
            run.show(readings=dict(readings))
            run.ready()
            await asyncio.sleep(interval)

    async with asyncio.TaskGroup() as group:
        for plc in plcs.values():
            group.create_task(follow(plc))
