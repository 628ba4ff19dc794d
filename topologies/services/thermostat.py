"""A thermostat on MQTT 5: publishes the temperature, and heats or cools towards the target it is told."""

import asyncio

from paho.mqtt.enums import MQTTProtocolVersion

from topologies.services.mqtt import Broker, connection
from topologies.services.programs import Thermostat
from topologies.services.runtime import Runtime

STEP = 0.2  # degrees a reading


async def main(run: Runtime, options: Thermostat) -> None:
    """Regulate until cancelled."""
    temperature, target = 19.0, 21.0

    async def listen(broker: Broker) -> None:
        nonlocal target
        while True:
            _topic, value = await broker.messages.get()
            try:
                target = float(value)
            except ValueError:
                run.log("ignored", value=value)
            run.show(target=target)

    async with connection(run, options.broker, version=MQTTProtocolVersion.MQTTv5) as broker:
        broker.subscribe(f"{options.topic}/target")
        listening = asyncio.create_task(listen(broker))
        try:
            while True:
                await broker.publish(f"{options.topic}/temperature", round(temperature, 1))
                run.show(temperature=round(temperature, 1), target=target)
                run.ready()
                await asyncio.sleep(options.interval)
                temperature += max(-STEP, min(STEP, target - temperature))
        finally:
            listening.cancel()
