"""Sockets in the hosts of a laboratory: an attacker's hands and a victim's eyes, without a program there."""

import contextlib
import ctypes
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

from scapy.packet import Packet

from topologies.native import LAN

T = TypeVar("T")

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_NETWORK = 0x40000000  # CLONE_NEWNET
EVERYTHING = 0x0003  # ETH_P_ALL
BUFFER = 64 * 1024 * 1024  # bytes
RECEIVE_BUFFER_FORCE = 33  # SO_RCVBUFFORCE, which Python's socket module does not name


def inside(process: int, make: Callable[[], T]) -> T:
    """What `make` makes in the network namespace of a process. A socket stays there for its life."""
    made: list[T] = []
    failed: list[Exception] = []

    def enter() -> None:
        try:
            with Path(f"/proc/{process}/ns/net").open("rb") as there:  # a thread of its own
                if LIBC.setns(there.fileno(), NEW_NETWORK):
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(make())
        except (OSError, ValueError) as error:  # raised again where it is waited for
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


class Frame(NamedTuple):
    at: float  # time.monotonic()
    raw: bytes


class Wire:
    """One host's network card: sends any bytes, and keeps every frame that arrives."""

    def __init__(self, process: int) -> None:
        self.process = process
        self.frames: list[Frame] = []
        self._socket = inside(process, self._open)
        self._ends = False
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    @staticmethod
    def _open() -> socket.socket:
        made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERYTHING))
        made.setsockopt(socket.SOL_SOCKET, RECEIVE_BUFFER_FORCE, BUFFER)
        made.bind((LAN, EVERYTHING))
        made.settimeout(0.2)
        return made

    def _listen(self) -> None:
        while not self._ends:
            with contextlib.suppress(TimeoutError):
                raw, whence = self._socket.recvfrom(65536)
                if whence[2] != socket.PACKET_OUTGOING:
                    self.frames.append(Frame(time.monotonic(), raw))

    def send(self, *frames: Packet | bytes) -> None:
        for frame in frames:
            self._socket.send(frame if isinstance(frame, bytes) else bytes(frame))

    def await_bytes(self, token: bytes, begin: int = 0, timeout: float = 5.0) -> bool:
        """Whether a frame after the first `begin` holds these bytes, in time."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if any(token in frame.raw for frame in self.frames[begin:]):
                return True
            time.sleep(0.005)
        return False

    def tcp(self, address: str, port: int, timeout: float = 3.0, own_port: int = 0) -> socket.socket:
        """A connection from this host; raises OSError."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        made = inside(self.process, lambda: socket.socket(family, socket.SOCK_STREAM))
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made.settimeout(timeout)
            if own_port:
                made.bind(("", own_port))
            made.connect((address, port))
        except BaseException:
            made.close()
            raise
        return made

    def udp(self, own_port: int = 0, family: int = socket.AF_INET, timeout: float = 3.0) -> socket.socket:
        made = inside(self.process, lambda: socket.socket(family, socket.SOCK_DGRAM))
        made.settimeout(timeout)
        if own_port:
            made.bind(("", own_port))
        return made

    def listening(self, port: int) -> socket.socket:
        """A socket that takes connections and says nothing."""
        return inside(self.process, lambda: socket.create_server(("", port)))

    def close(self) -> None:
        self._ends = True
        self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def closing_all(*sockets: socket.socket) -> Iterator[None]:
    try:
        yield
    finally:
        for one in sockets:
            one.close()


def descriptors(process: int) -> int:
    """How many files a process has open."""
    return sum(1 for _ in Path(f"/proc/{process}/fd").iterdir())


def memory(process: int) -> int:
    """Bytes that a process has in memory (VmRSS, proc(5))."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024
