"""Where switches connect: os-ken's OpenFlow handler, with a listener and connections that can be ended.

Under the native hub, os-ken's own wait for ever: its listener in accept(), its sending thread for work
after the connection has ended, so that the end of a connection is never told. Knows nothing of flows,
events or the firewall.
"""

import contextlib
import logging
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from os_ken.base.app_manager import OSKenApp  # must come before os_ken.controller
from os_ken.controller import controller, ofp_handler
from os_ken.lib import hub

log = logging.getLogger(__name__)

T = TypeVar("T")
W = TypeVar("W", "TlsWire", "Connection")

ECHO_EVERY = 0.5  # seconds
ECHOES_MISSED = 10  # then the switch is taken for dead
HANDSHAKE_WITHIN = 5.0  # seconds, for TLS
CONNECTIONS_AT_MOST = 256
REPEAT_AFTER = 300.0  # seconds until the same complaint about the same host is logged again
END_WITHIN = 0.8  # seconds
FLUSH_WITHIN = 0.2  # seconds for what is still to be sent at the end


class Wire:
    """The socket of a connection, as os-ken uses one; close() also ends what another thread waits for."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def setsockopt(self, level: int, name: int, value: int) -> None:
        self._socket.setsockopt(level, name, value)

    def settimeout(self, seconds: float) -> None:
        self._socket.settimeout(seconds)

    def recv(self, length: int) -> bytes:
        return self._socket.recv(length)

    def sendall(self, data: bytes) -> None:
        self._socket.sendall(data)

    def shutdown(self, how: int) -> None:
        self._socket.shutdown(how)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class TlsWire(Wire):
    """The same with TLS. OpenSSL must not read and write one connection at the same time."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, server_side: bool) -> None:
        self._tls = context.wrap_socket(sock, server_side=server_side, do_handshake_on_connect=False)
        super().__init__(self._tls)
        self._lock = threading.Lock()
        self._timeout = 5.0
        self._tls.setblocking(False)

    def handshake(self, seconds: float) -> None:
        """Raises OSError, of which ssl.SSLError is one."""
        self._patiently(self._tls.do_handshake, monotonic() + seconds)

    def _patiently(self, step: Callable[[], T], deadline: float) -> T:
        """Try until TLS neither wants to read nor to write first."""
        while True:
            with self._lock:
                try:
                    return step()
                except ssl.SSLWantReadError:
                    ready = select.POLLIN
                except ssl.SSLWantWriteError:
                    ready = select.POLLOUT
            handle = self._socket.fileno()
            if handle < 0:
                raise OSError("the connection has been closed")
            poll = select.poll()
            poll.register(handle, ready)
            if not poll.poll(max(0, (deadline - monotonic()) * 1000)):
                raise TimeoutError("the other side does not answer")

    def settimeout(self, seconds: float) -> None:
        self._timeout = seconds

    def recv(self, length: int) -> bytes:
        try:
            return self._patiently(partial(self._tls.recv, length), monotonic() + self._timeout)
        except ssl.SSLError as error:  # os-ken would try again, for ever
            log.debug("TLS: %s", error)
            return b""

    def sendall(self, data: bytes) -> None:
        deadline = monotonic() + self._timeout
        left = memoryview(data)
        while left:
            left = left[self._patiently(partial(self._tls.send, left), deadline) :]

    def shutdown(self, how: int) -> None:
        # Not SSLSocket's, which forgets that there was TLS and goes on in clear
        socket.socket.shutdown(self._socket, how)


class Connection(controller.Datapath):  # type: ignore[misc]  # os-ken has no types
    """A connection that tells its end at once, to its own threads and to the application."""

    def __init__(self, wire: Wire, address: Any) -> None:
        self._over = threading.Event()
        super().__init__(wire, address)

    def _recv_loop(self) -> None:
        try:
            super()._recv_loop()
        finally:
            self._over.set()
            self.socket.close()
            self.send(b"", close_socket=True)  # wakes the sending thread

    def _echo_request_loop(self) -> None:
        while not self._over.wait(ECHO_EVERY):
            if len(self.unreplied_echo_requests) >= ECHOES_MISSED:
                log.warning("the switch at %s does not answer; hanging up", self.address[0])
                self.close()
                return
            request = self.ofproto_parser.OFPEchoRequest(self)
            self.unreplied_echo_requests.append(self.set_xid(request))
            self.send_msg(request)

    def close(self) -> None:
        super().close()
        self.socket.close()

    def flushed(self) -> bool:
        waiting = self.send_q
        return waiting is None or waiting.empty()


class Gate(ofp_handler.OFPHandler):  # type: ignore[misc]  # os-ken has no types
    """os-ken's OpenFlow handler on a socket that listens already, with TLS if there is a context."""

    def __init__(
        self, *arguments: Any, listener: socket.socket, tls: ssl.SSLContext | None, **others: Any
    ) -> None:
        super().__init__(*arguments, **others)
        self._listener = listener
        self._tls = tls
        self._accepting: Any = None
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []  # of connections; the accepting thread's alone
        self._open: set[TlsWire | Connection] = set()
        self._ended = False
        self._told: dict[tuple[str, str], float] = {}

    def start(self) -> None:
        OSKenApp.start(self)  # and not OFPHandler's, which would listen itself
        self._accepting = hub.spawn(self._accept)

    def end(self) -> None:
        """No more listening, no more connections, no more threads of either."""
        deadline = monotonic() + END_WITHIN
        with self._lock:
            self._ended = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # ends accept()
        self._listener.close()
        if self._accepting is not None:
            self._accepting.join(END_WITHIN)
        with self._lock:
            still = list(self._open)
        connections = [c for c in still if isinstance(c, Connection)]
        flush_until = monotonic() + FLUSH_WITHIN
        while monotonic() < flush_until and not all(c.flushed() for c in connections):
            hub.sleep(0.005)
        for connection in still:
            connection.close()
        for thread in self._threads:
            thread.join(max(0.0, deadline - monotonic()))
        left = sum(thread.is_alive() for thread in self._threads)
        if left:
            log.error("%d connections of switches have not ended", left)

    def _accept(self) -> None:
        while not self._ended:
            try:
                sock, address = self._listener.accept()
            except OSError as error:
                if not self._ended:
                    self._complain("", "no connection can be accepted: %s", error)
                    hub.sleep(0.2)
                continue
            host = address[0]
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            if len(self._threads) < CONNECTIONS_AT_MOST:
                self._threads.append(hub.spawn(self._serve, sock, address))
            else:
                sock.close()
                self._complain(host, "a connection of %s is refused: there are %d", host, CONNECTIONS_AT_MOST)

    def _serve(self, sock: socket.socket, address: Any) -> None:
        try:
            self._talk(sock, address)
        except Exception as error:  # noqa: BLE001  # whatever os-ken's parser makes of what came in
            name = type(error).__name__
            self._complain(address[0], "the connection with %s ends: %s %s", address[0], name, error)

    @contextlib.contextmanager
    def _opened(self, connection: W) -> Iterator[W]:
        """While it is open, end() can close it."""
        with self._lock:
            self._open.add(connection)
            ended = self._ended
        try:
            if ended:
                connection.close()
            yield connection
        finally:
            connection.close()
            with self._lock:
                self._open.discard(connection)

    def _talk(self, sock: socket.socket, address: Any) -> None:
        if self._tls is None:
            with self._opened(Connection(Wire(sock), address)) as connection:
                connection.serve()
            return
        with self._opened(TlsWire(sock, self._tls, server_side=True)) as wire:
            try:
                wire.handshake(HANDSHAKE_WITHIN)
            except OSError as error:  # SSLError is one
                self._complain(
                    address[0],
                    "the switch at %s is refused: no TLS with a certificate of our CA (%s); on the switch: "
                    "ovs-vsctl set-ssl KEY CERTIFICATE CA, and a controller target ssl:…",
                    address[0],
                    getattr(error, "reason", None) or error,
                )
                return
            with self._opened(Connection(wire, address)) as connection:
                connection.serve()

    def _hello_failed(self, datapath: Any, error_desc: str) -> None:
        log.debug("%s: %s", datapath.address, error_desc)
        self._complain(
            datapath.address[0],
            "the switch at %s is refused: it does not speak OpenFlow 1.3; on the switch: "
            "ovs-vsctl set bridge BRIDGE protocols=OpenFlow13, or: graphwall attach BRIDGE",
            datapath.address[0],
        )
        refusal = datapath.ofproto_parser.OFPErrorMsg(
            datapath,
            datapath.ofproto.OFPET_HELLO_FAILED,
            datapath.ofproto.OFPHFC_INCOMPATIBLE,
            b"OpenFlow 1.3 is needed",
        )
        datapath.send_msg(refusal, close_socket=True)

    def _complain(self, host: str, text: str, *arguments: object) -> None:
        """Log a warning, but not again and again while a switch tries again and again."""
        now = monotonic()
        with self._lock:
            if len(self._told) > 1000:
                self._told.clear()
            before = self._told.get((host, text))
            if before is not None and now - before < REPEAT_AFTER:
                return
            self._told[host, text] = now
        log.warning(text, *arguments)
