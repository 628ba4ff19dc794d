"""Uvicorn in a thread of its own, on a socket that is bound before anything else happens.

Knows nothing of what it serves, but that its event streams have to be ended first.
"""

import os
import socket
import threading
from contextlib import suppress
from ipaddress import ip_address

import uvicorn
from fastapi import FastAPI

from controller.web.certificate import Certificate

STOP_WITHIN = 1  # s that requests in progress may still take
START_WITHIN = 10.0  # s


class ServeError(Exception):
    """The API cannot be served. The message says what, where and what to do."""


class Server:
    """A running server; `port` is the real one also when any free port was asked for."""

    def __init__(self, app: FastAPI, listening: socket.socket, tls: Certificate | None) -> None:
        self.host, self.port = listening.getsockname()[:2]
        self._app = app
        self._socket = listening
        self.tls = tls
        self.local = ip_address(self.host).is_loopback
        self._uvicorn = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="h11",
                ws="none",
                lifespan="on",
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                limit_concurrency=200,
                timeout_graceful_shutdown=STOP_WITHIN,
                ssl_certfile=None if tls is None else tls.certificate,
                ssl_keyfile=None if tls is None else tls.key,
            )
        )
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)

    @property
    def scheme(self) -> str:
        return "http" if self.tls is None else "https"

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def url_here(self) -> str:
        """The address for programs on this machine."""
        here = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host)  # noqa: S104  # compared
        return self.url if here is None else f"{self.scheme}://{here}:{self.port}"

    def _run(self) -> None:
        with suppress(SystemExit):  # uvicorn's way of saying that the application did not start
            self._uvicorn.run(sockets=[self._socket])

    def start(self) -> None:
        self._thread.start()
        waited = 0.0
        while not self._uvicorn.started and self._thread.is_alive() and waited < START_WITHIN:
            self._thread.join(0.01)
            waited += 0.01
        if not self._uvicorn.started:
            raise ServeError(f"the API at {self.url} did not start; see the log above")

    def stop(self) -> None:
        """End event streams, then the server. Returns within STOP_WITHIN and a little."""
        self._app.state.changes.close()
        self._uvicorn.should_exit = True
        self._thread.join(STOP_WITHIN + 0.5)
        self._socket.close()


def serve(app: FastAPI, host: str, port: int, tls: Certificate | None = None) -> Server:
    """A server that already answers at `host` and `port` (0: any free one). Raises ServeError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ServeError(
            f"the API cannot listen on {host} port {port}: {os.strerror(error.errno or 0)}; "
            "stop the program that does, or set another 'api: {listen: …, port: …}' in site.yaml"
        ) from error
    server = Server(app, listening, tls)
    server.start()
    return server
