"""One network interface as a source and sink of whole Ethernet frames (AF_PACKET, packet(7)).

Frames come through a ring of memory that is shared with the kernel (TPACKET_V2), so that taking one
costs no system call. Knows nothing of what is in a frame. Needs CAP_NET_RAW.
"""

import errno
import mmap
import socket
import struct
from contextlib import suppress
from typing import Final, Protocol

_ETH_P_ALL: Final = 0x0003
_SOL_PACKET: Final = 263
_ADD_MEMBERSHIP, _RX_RING, _COPY_THRESHOLD, _VERSION, _QDISC_BYPASS, _IGNORE_OUTGOING = 1, 5, 7, 10, 20, 23
_PROMISCUOUS: Final = 1
_PACKET_OUTGOING: Final = 4
_SO_RCVBUFFORCE: Final = 33
_TPACKET_V2: Final = 1
# tp_status of a slot; 0: the kernel's
_OURS, _LONGER_IN_QUEUE = 1 << 0, 1 << 1
_CHECKSUM_NOT_READY, _VLAN_VALID, _VLAN_TPID_VALID = 1 << 3, 1 << 4, 1 << 6
_SLOT: Final = struct.Struct("=IIIHHIIHH4x10xB")  # struct tpacket2_hdr, then sockaddr_ll to its sll_pkttype
_KERNELS: Final = bytes(4)
_TAG: Final = struct.Struct("!HH")
_MACS: Final = 12  # bytes before the VLAN tag

SLOT: Final = 2048  # bytes; what is longer, with its header of some 80 bytes, comes through the queue
SLOTS: Final = 4096
_BLOCK: Final = 64 * 1024  # bytes that the kernel allocates in one piece
RECEIVE_BUFFER: Final = 16 * 1024 * 1024  # bytes of long frames; the kernel gives what it allows
LONGEST: Final = 65535 + 18  # bytes of a frame, with a VLAN tag


class TapGone(Exception):
    """The interface has vanished or is down; open it anew later."""


class Tap(Protocol):
    """What the inspector needs of an interface."""

    name: str
    unfinished: int  # frames whose checksum the sender had left to hardware

    def fileno(self) -> int: ...
    def receive(self) -> bytes | None:
        """The next frame exactly as it was sent; None when there is none."""

    def send(self, frame: bytes) -> bool:
        """Whether the frame could be sent. Raises TapGone."""

    def check(self) -> None:
        """To be called when the file descriptor reports an error. Raises TapGone."""

    def same(self) -> bool:
        """Whether the interface of this name is still the one that was opened."""

    def close(self) -> None: ...


class PacketTap:
    """A Tap at a real interface. Raises OSError when it cannot be opened."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.unfinished = 0
        self._slot = 0  # offset in the ring of the slot that is filled next
        # Without a protocol until it is bound: else it would hear all interfaces for a moment.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, 0)
        try:
            self._index = socket.if_nametoindex(name)
            self._prepare()
            self._ring = mmap.mmap(self._socket.fileno(), SLOT * SLOTS)
            self._socket.bind((name, _ETH_P_ALL))
        except OSError:
            self._socket.close()
            raise

    def _prepare(self) -> None:
        raw = self._socket
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
        raw.setsockopt(_SOL_PACKET, _VERSION, _TPACKET_V2)
        raw.setsockopt(_SOL_PACKET, _COPY_THRESHOLD, 1)
        raw.setsockopt(
            _SOL_PACKET, _RX_RING, struct.pack("=IIII", _BLOCK, SLOT * SLOTS // _BLOCK, SLOT, SLOTS)
        )

    def fileno(self) -> int:
        return self._socket.fileno()

    def receive(self) -> bytes | None:
        """The next frame exactly as it was sent; None when there is none.

        A tag that the kernel has taken off is put back. What is longer than LONGEST is left out.
        """
        ring = self._ring
        while True:
            at = self._slot
            status, length, kept, start, _, _, _, tci, tpid, kind = _SLOT.unpack_from(ring, at)
            if not status & _OURS:
                return None
            frame: bytes | None = ring[at + start : at + start + kept]
            ring[at : at + 4] = _KERNELS
            self._slot = (at + SLOT) % (SLOT * SLOTS)
            if status & _LONGER_IN_QUEUE:
                frame = self._queued()
            elif kept < length:  # and there was no room in the queue
                continue
            if frame is None or kind == _PACKET_OUTGOING:
                continue
            if status & _VLAN_VALID:
                tpid = tpid if status & _VLAN_TPID_VALID else 0x8100
                frame = frame[:_MACS] + _TAG.pack(tpid, tci) + frame[_MACS:]
            if status & _CHECKSUM_NOT_READY:
                self.unfinished += 1
            return frame

    def _queued(self) -> bytes | None:
        """A frame that was too long for its slot."""
        try:
            frame = self._socket.recv(LONGEST + 1)
        except OSError:
            return None
        return frame if len(frame) <= LONGEST else None

    def send(self, frame: bytes) -> bool:
        """Whether the frame could be sent; too long or no room: dropped. Raises TapGone."""
        try:
            self._socket.send(frame)
        except OSError as error:
            if error.errno in (errno.ENETDOWN, errno.ENXIO, errno.ENODEV):
                raise TapGone(f"{self.name}: {error.strerror}") from None
            return False
        return True

    def check(self) -> None:
        """To be called when the file descriptor reports an error. Raises TapGone."""
        error = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise TapGone(f"{self.name}: {errno.errorcode.get(error, error)}")

    def same(self) -> bool:
        """Whether the interface of this name is still the one that was opened."""
        try:
            return socket.if_nametoindex(self.name) == self._index
        except OSError:
            return False

    def close(self) -> None:
        self._ring.close()
        self._socket.close()
