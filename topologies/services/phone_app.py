"""A resident's phone: shows what the home's things publish by MQTT, and sets the temperature now and then."""

import asyncio

from paho.mqtt.enums import MQTTProtocolVersion

from topologies.services.mqtt import Broker, connection
from topologies.services.programs import PhoneApp
from topologies.services.runtime import Runtime

WISHES = (21.0, 20.0, 22.0)  # degrees


async def main(run: Runtime, options: PhoneApp) -> None:
    """Show and wish until cancelled."""
    readings: dict[str, str] = {}

    async def show(broker: Broker) -> None:
        while True:
            topic, value = await broker.messages.get()
            readings[topic] = value
            run.show(readings=dict(readings))
            run.ready()

    async with connection(run, options.broker, version=MQTTProtocolVersion.MQTTv311) as broker:
        broker.subscribe(options.topics)

        async def publish(topic: str, value: str) -> None:
            await broker.publish(topic, value)

        run.commands["publish"] = publish
        showing = asyncio.create_task(show(broker))
        try:
            while True:
                for wish in WISHES:
                    await broker.publish(options.target, wish)
                    await asyncio.sleep(options.interval)
        finally:
            showing.cancel()
