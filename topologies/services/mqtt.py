"""An MQTT client as the services use it: paho-mqtt behind a few awaitable words."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from topologies.services.runtime import Runtime

PORT = 1883
KEEPALIVE = 15  # seconds


class Broker:
    """A connection that comes back by itself: `messages` arrive, `connected` is set while it stands."""

    def __init__(self, run: Runtime, client: paho.Client) -> None:
        self._run, self._client = run, client
        self._loop = asyncio.get_running_loop()
        self._filters: list[str] = []
        self.messages: asyncio.Queue[tuple[str, str]] = asyncio.Queue(maxsize=1000)
        self.connected = asyncio.Event()
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message

    def _on_connect(
        self, _client: paho.Client, _data: object, _flags: object, reason: Any, *_more: object
    ) -> None:
        self._loop.call_soon_threadsafe(self._connected, str(reason))

    def _connected(self, reason: str) -> None:
        self._run.log("connected", reason=reason)
        for wanted in self._filters:
            self._client.subscribe(wanted, qos=1)
        self.connected.set()

    def _on_disconnect(self, _client: paho.Client, _data: object, *more: object) -> None:
        self._loop.call_soon_threadsafe(self._disconnected, str(more[1]) if len(more) > 1 else "")

    def _disconnected(self, reason: str) -> None:
        self._run.log("disconnected", reason=reason)
        self.connected.clear()

    def _on_message(self, _client: paho.Client, _data: object, message: paho.MQTTMessage) -> None:
        item = (message.topic, message.payload.decode(errors="replace"))
        self._loop.call_soon_threadsafe(self._arrived, item)

    def _arrived(self, item: tuple[str, str]) -> None:
        self._run.log("got", operation="publish", topic=item[0], value=item[1])
        with contextlib.suppress(asyncio.QueueFull):
            self.messages.put_nowait(item)

    def subscribe(self, wanted: str) -> None:
        """Subscribe now and after every reconnection."""
        self._filters.append(wanted)
        if self.connected.is_set():
            self._client.subscribe(wanted, qos=1)

    async def publish(self, topic: str, value: object, *, retain: bool = False) -> None:
        """Publish with QoS 1 once the connection stands."""
        await self.connected.wait()
        self._client.publish(topic, str(value), qos=1, retain=retain)
        self._run.log("sent", operation="publish", topic=topic, value=value)


@contextlib.asynccontextmanager
async def connection(
    run: Runtime, broker: str, *, version: MQTTProtocolVersion, will: str = ""
) -> AsyncIterator[Broker]:
    """A connection to `broker` as client id `host/service`; `will` is the topic of a last will."""
    client = paho.Client(
        CallbackAPIVersion.VERSION2, client_id=f"{run.spec.host}-{run.spec.service}", protocol=version
    )
    if will:
        client.will_set(will, json.dumps("unreachable"), qos=1, retain=True)
    client.reconnect_delay_set(1, 4)
    client.connect_async(broker, PORT, keepalive=KEEPALIVE)
    connected = Broker(run, client)
    client.loop_start()
    try:
        yield connected
    finally:
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)
