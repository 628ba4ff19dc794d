"""One network interface as a source and sink of whole Ethernet frames (AF_PACKET, packet(7)).

Knows nothing of what is in a frame. Needs CAP_NET_RAW.
"""

import errno
import socket
import struct
from contextlib import suppress
from typing import Final, Protocol

_ETH_P_ALL: Final = 0x0003
_SOL_PACKET: Final = 263
_ADD_MEMBERSHIP, _AUXDATA, _QDISC_BYPASS, _IGNORE_OUTGOING = 1, 8, 20, 23
_PROMISCUOUS: Final = 1
_PACKET_OUTGOING: Final = 4
_SO_RCVBUFFORCE: Final = 33
_CHECKSUM_NOT_READY, _VLAN_VALID, _VLAN_TPID_VALID = 1 << 3, 1 << 4, 1 << 6
_AUX: Final = struct.Struct("=IIIHHHH")  # status, len, snaplen, mac, net, VLAN TCI, VLAN TPID
_TAG: Final = struct.Struct("!HH")
_MACS: Final = 12  # bytes before the VLAN tag

RECEIVE_BUFFER: Final = 16 * 1024 * 1024  # bytes; the kernel gives what it allows
LONGEST: Final = 65535 + 18  # bytes of a frame, with a VLAN tag


class TapGone(Exception):
    """The interface has vanished or is down; open it anew later."""


class Tap(Protocol):
    """What the inspector needs of an interface."""

    name: str
    unfinished: int  # frames whose checksum the sender had left to hardware

    def fileno(self) -> int: ...
    def receive(self) -> bytes | None:
        """The next frame exactly as it was sent; None when there is none. Raises TapGone."""

    def send(self, frame: bytes) -> bool:
        """Whether the frame could be sent. Raises TapGone."""

    def same(self) -> bool:
        """Whether the interface of this name is still the one that was opened."""

    def close(self) -> None: ...


class PacketTap:
    """A Tap at a real interface. Raises OSError when it cannot be opened."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.unfinished = 0
        self._buffer = memoryview(bytearray(LONGEST))
        # Without a protocol until it is bound: else it would hear all interfaces for a moment.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            self._index = socket.if_nametoindex(name)
            self._prepare()
            self._socket.bind((name, _ETH_P_ALL))
        except OSError:
            self._socket.close()
            raise

    def _prepare(self) -> None:
        raw = self._socket
        raw.setsockopt(_SOL_PACKET, _AUXDATA, 1)
        promiscuous = struct.pack("iHH8s", self._index, _PROMISCUOUS, 0, b"")
        raw.setsockopt(_SOL_PACKET, _ADD_MEMBERSHIP, promiscuous)
        with suppress(OSError):  # before Linux 4.20; `receive` looks at the packet type as well
            raw.setsockopt(_SOL_PACKET, _IGNORE_OUTGOING, 1)
        with suppress(OSError):
            raw.setsockopt(_SOL_PACKET, _QDISC_BYPASS, 1)
        try:
            raw.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except OSError:  # needs CAP_NET_ADMIN, which is not asked for
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> bytes | None:
        """The next frame exactly as it was sent; None when there is none. Raises TapGone.

        A tag that the kernel has taken off is put back. What is longer than LONGEST is left out.
        """
        while True:
            try:
                size, ancillary, flags, address = self._socket.recvmsg_into((self._buffer,), 64)
            except BlockingIOError:
                return None
            except OSError as error:
                raise TapGone(f"{self.name}: {error.strerror}") from None
            if address[2] == _PACKET_OUTGOING or flags & socket.MSG_TRUNC:
                continue
            frame = bytes(self._buffer[:size])
            for _, kind, data in ancillary:
                if kind == _AUXDATA:
                    status, _, _, _, _, tci, tpid = _AUX.unpack_from(data)
                    if status & _VLAN_VALID:
                        tpid = tpid if status & _VLAN_TPID_VALID else 0x8100
                        frame = frame[:_MACS] + _TAG.pack(tpid, tci) + frame[_MACS:]
                    if status & _CHECKSUM_NOT_READY:
                        self.unfinished += 1
            return frame

    def send(self, frame: bytes) -> bool:
        """Whether the frame could be sent; too long or no room: dropped. Raises TapGone."""
        try:
            self._socket.send(frame)
        except OSError as error:
            if error.errno in (errno.ENETDOWN, errno.ENXIO, errno.ENODEV):
                raise TapGone(f"{self.name}: {error.strerror}") from None
            return False
        return True

    def same(self) -> bool:
        """Whether the interface of this name is still the one that was opened."""
        try:
            return socket.if_nametoindex(self.name) == self._index
        except OSError:
            return False

    def close(self) -> None:
        self._socket.close()
