"""An SNTP server (RFC 4330): tells the time of the machine."""

import asyncio
import struct
import time
from typing import cast

from topologies.services.programs import TimeServer
from topologies.services.runtime import Runtime

PORT = 123
SECONDS_1900_TO_1970 = 2208988800
SERVER_MODE, CLIENT_MODE = 4, 3


def _stamp(now: float) -> bytes:
    return struct.pack("!II", int(now) + SECONDS_1900_TO_1970, int(now % 1 * 2**32))


def answer(request: bytes, now: float) -> bytes | None:
    """The answer to a client's request of 48 bytes or more; None for anything else (RFC 4330, section 5)."""
    if len(request) < 48 or request[0] & 0x07 != CLIENT_MODE:
        return None
    version = request[0] & 0x38
    head = struct.pack("!BBbbII4s", version | SERVER_MODE, 1, request[2], -20, 0, 0, b"LOCL")
    return head + _stamp(now) + request[40:48] + _stamp(now) + _stamp(now)


class _Server(asyncio.DatagramProtocol):
    def __init__(self, run: Runtime) -> None:
        self._run = run

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)  # what a datagram endpoint makes

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        said = answer(data, time.time())
        if said:
            self._transport.sendto(said, addr)
            self._run.log("served", operation="time", remote=addr[0])


async def main(run: Runtime, _options: TimeServer) -> None:
    """Serve until cancelled."""
    loop = asyncio.get_running_loop()
    transport, _protocol = await loop.create_datagram_endpoint(
        lambda: _Server(run), local_addr=("0.0.0.0", PORT)
    )
    try:
        run.ready()
        await asyncio.Event().wait()
    finally:
        transport.close()
