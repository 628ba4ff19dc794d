"""A window sensor on MQTT 3.1.1: publishes open or closed, retained, with a last will."""

import asyncio

from paho.mqtt.enums import MQTTProtocolVersion

from topologies.services.mqtt import connection
from topologies.services.programs import WindowSensor
from topologies.services.runtime import Runtime


async def main(run: Runtime, options: WindowSensor) -> None:
    """Tell of the window until cancelled; somebody opens and closes it all the time."""
    async with connection(
        run, options.broker, version=MQTTProtocolVersion.MQTTv311, will=options.topic
    ) as broker:
        opened = False
        while True:
            value = "open" if opened else "closed"
            await broker.publish(options.topic, value, retain=True)
            run.show(window=value)
            run.ready()
            await asyncio.sleep(options.interval)
            opened = not opened
