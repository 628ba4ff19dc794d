"""A programmable logic controller on Modbus/TCP that drives a machine.

Coil 0: motor; holding register 0: wanted speed; input registers 0 to 2: speed, temperature, pieces made.
"""

import asyncio

from pymodbus import ModbusDeviceIdentification
from pymodbus.pdu import ModbusPDU
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from topologies.services.modbus import DEVICE, PORT
from topologies.services.programs import Plc
from topologies.services.runtime import Runtime

READ_COILS, READ_HOLDING, READ_INPUT = 1, 3, 4
WRITES = {
    5: "Write Single Coil",
    6: "Write Single Register",
    15: "Write Multiple Coils",
    16: "Write Multiple Registers",
}
COLD, HOT_AT_FULL_SPEED = 20, 60  # degrees
WORD = 1 << 16


async def main(run: Runtime, options: Plc) -> None:
    """Drive the machine until cancelled."""

    def seen(sending: bool, pdu: ModbusPDU) -> ModbusPDU:
        if not sending and pdu.function_code in WRITES:
            written = [int(v) for v in (*pdu.bits, *pdu.registers)]
            run.log("served", operation=WRITES[pdu.function_code], address=pdu.address, values=written)
        return pdu

    identity = ModbusDeviceIdentification(  # type: ignore[no-untyped-call]  # pymodbus leaves it open
        info_name={"VendorName": "Stellwerk", "ProductCode": "SW-7", "MajorMinorRevision": "2.4"}
    )
    blocks = (
        [SimData(0, values=[True] + [False] * 15, datatype=DataType.BITS)],
        [SimData(0, values=[False] * 16, datatype=DataType.BITS)],
        [SimData(0, values=[options.speed] + [0] * 15, datatype=DataType.REGISTERS)],
        [SimData(0, values=[0] * 16, datatype=DataType.REGISTERS)],
    )
    device = SimDevice(DEVICE, simdata=blocks, identity=identity)
    server = ModbusTcpServer(device, address=("", PORT), identity=identity, trace_pdu=seen)
    await server.serve_forever(background=True)
    speed = pieces = 0
    try:
        run.ready()
        while True:
            motor = bool((await server.async_getValues(DEVICE, READ_COILS, 0, 1))[0])
            wanted = int((await server.async_getValues(DEVICE, READ_HOLDING, 0, 1))[0])
            goal = wanted if motor else 0
            speed += max(-20, min(20, goal - speed))
            pieces = (pieces + speed // 10) % WORD
            temperature = COLD + HOT_AT_FULL_SPEED * speed // 100
            await server.async_setValues(DEVICE, READ_INPUT, 0, [speed, temperature % WORD, pieces])
            run.show(motor=motor, wanted=wanted, speed=speed, temperature=temperature)
            await asyncio.sleep(options.interval)
    finally:
        await server.shutdown()  # type: ignore[no-untyped-call]  # as above
