"""The real controller with 10 to 10,000 devices: CPU, memory, latency. Its switches are OpenFlow clients.

./lab bench scale
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from time import perf_counter

import pytest

from controller.model.service import Binding
from tests.benchmarks import grown
from tests.benchmarks.openflow_client import Switch
from tests.benchmarks.record import Recorder, centile
from tests.benchmarks.rig import processor_time, resident
from topologies.demo.firewall import Firewall
from topologies.demo.stage import free_port

pytestmark = [pytest.mark.root, pytest.mark.benchmark, pytest.mark.timeout(600)]

SIZES = (10, 100, 1_000, 3_000, 10_000)
RELATIONSHIPS_EACH = 2
DEVICES_PER_SWITCH, PORTS, FIRST_PORT = 2_500, 48, 10  # devices behind access points, say
NEWCOMERS = 60
AT_REST = 6.0  # s
PATIENCE = 120.0  # s


def place(number: int) -> Binding:
    return Binding(1 + number // DEVICES_PER_SWITCH, FIRST_PORT + number % PORTS)


def frame(number: int) -> tuple[bytes, bytes]:
    """Its MAC address, and the ARP request by which a newcomer is first heard."""
    mac = bytes((2, 0, 1)) + number.to_bytes(3)
    address = bytes((10, 99)) + number.to_bytes(2)
    arp = b"\0\1\x08\0\6\4\0\1" + mac + address + bytes(6) + bytes((10, 99, 255, 1))
    return mac, b"\xff" * 6 + mac + b"\x08\x06" + arp


@contextlib.asynccontextmanager
async def connected(count: int, port: int) -> AsyncIterator[list[Switch]]:
    names = [(FIRST_PORT + n, f"e{n}") for n in range(PORTS)]
    switches = [Switch(dpid, [*names, (2, "x-gwi"), (3, "x-gwc")]) for dpid in range(1, count + 1)]
    try:
        for switch in switches:
            await switch.connect(port)
        yield switches
    finally:
        for switch in switches:
            await switch.close()


async def quiet(switches: list[Switch]) -> None:
    """Wait until no more changes come."""
    before, end = -1, perf_counter() + PATIENCE
    while perf_counter() < end:
        changes = sum(switch.changes for switch in switches)
        if changes == before and all(switch.in_force_at for switch in switches):
            return
        before = changes
        await asyncio.sleep(1.0)
    raise TimeoutError("the controller goes on changing flows")


async def join(switch: Switch, number: int) -> float:
    """Seconds from the first frame of a newcomer until its flows are in force."""
    mac, data = frame(number)
    there = asyncio.Event()
    switch.awaited[mac] = there.set
    began = perf_counter()
    switch.packet_in(FIRST_PORT + number % PORTS, data)
    await asyncio.wait_for(there.wait(), PATIENCE)
    return perf_counter() - began


async def measure(firewall: Firewall, devices: int, record: Recorder) -> None:
    process = min(firewall.processes())
    count = 1 + (devices - 1) // DEVICES_PER_SWITCH
    note = f"{count} switches, {devices * RELATIONSHIPS_EACH:,} relationships"
    began, spent = perf_counter(), processor_time(process)
    async with connected(count, firewall.openflow_port) as switches:
        await quiet(switches)
        flows = sum(len(switch.flows) for switch in switches)
        enforcing = max(switch.in_force_at for switch in switches) - began
        spent = processor_time(process) - spent
        of = f"{devices:,} devices"
        common: dict[str, object] = {"x": devices, "note": f"{note}, {flows:,} flows"}
        record(
            f"{of}: all switches connected to all flows in force", enforcing, "s", curve="enforcing", **common
        )
        record(f"{of}: processor time for that", spent, "s", curve="processor time to enforce", **common)
        await asyncio.sleep(AT_REST)  # all flows are read once
        before, at = processor_time(process), perf_counter()
        await asyncio.sleep(AT_REST)
        share = (processor_time(process) - before) / (perf_counter() - at) * 100
        record(f"{of}: controller at rest, of one core", share, "%", curve="at rest", **common)
        record(f"{of}: controller's memory", resident(process), "MB", curve="memory", **common)
        before = processor_time(process)
        times = [await join(switches[n % count], n) * 1000 for n in range(NEWCOMERS)]
        spent = (processor_time(process) - before) / NEWCOMERS * 1000
        for part in (50, 99):
            record(
                f"{of}: one more is heard to its flows in force, p{part}", centile(times, part), "ms",
                runs=NEWCOMERS, curve=f"one more p{part}", **common,
            )  # fmt: skip
        record(f"{of}: processor time for one more", spent, "ms", curve="processor time", **common)


@pytest.mark.parametrize("devices", SIZES)
def test_devices_behind_openflow_connections(devices: int, tmp_path: Path, record: Recorder) -> None:
    switches = 1 + (devices - 1) // DEVICES_PER_SWITCH
    site = {
        "admission": "automatic",
        "networks": [grown.NETWORK],
        "devices_at_most": 20_000,
        "switches": [{"name": f"s{n}", "dpid": n} for n in range(1, switches + 1)],
    }
    firewall = Firewall(tmp_path, site, "")
    services = devices * grown.SERVICES_EACH
    saved = grown.site(services, devices * RELATIONSHIPS_EACH, place=place)
    grown.keep(firewall.state, saved)
    firewall.configure(free_port(), free_port())
    firewall.start()
    try:
        asyncio.run(measure(firewall, devices, record))
    finally:
        firewall.stop()
