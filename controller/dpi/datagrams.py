"""Datagrams, and the few messages that are spread over several: the hellos of DTLS and QUIC.

Knows nothing of services and verdicts. A hello that is not whole is held until its rest has come.
"""

from collections import Counter, OrderedDict
from typing import NamedTuple

from controller.dpi.assembly import Assembly
from controller.dpi.dissector import Datagram, Part
from controller.dpi.frame import Headers
from controller.dpi.message import Malformed
from controller.dpi.registry import dissect_datagram

_FRAMES_AT_MOST = 64  # of one message
_OPEN_AT_MOST = 1024  # messages
_OF_ONE_AT_MOST = 32  # of them, from one address
_PATIENCE = 10.0  # seconds

_SAYS_NOTHING = Datagram(())

_Key = tuple[str, int, str, int]


class Heard(NamedTuple):
    """What a frame leads to: what was said, and the frames that said it, which belong together.

    Without frames the datagram waits for the rest of its message.
    """

    datagram: Datagram
    frames: tuple[bytes, ...]


class DatagramTable:
    """Reads datagrams. What waits is bounded, for each sender and in total; what gives way is gone."""

    def __init__(self) -> None:
        self._open: OrderedDict[_Key, Assembly] = OrderedDict()  # oldest first
        self._of: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._open)

    def frame(self, raw: bytes, headers: Headers, now: float) -> Heard:
        """One UDP frame. Raises Malformed."""
        source_port, port = headers.src_port or 0, headers.dst_port or 0
        payload = raw[headers.payload_offset : headers.payload_end]
        datagram = dissect_datagram(payload, source_port, port)
        if datagram.part is None and not self._open:
            return Heard(datagram, (raw,))
        key = (headers.src_ip or "", source_port, headers.dst_ip or "", port)
        if datagram.part is not None:
            return self._part(key, raw, datagram.part, now)
        if key in self._open and not (datagram.messages or datagram.answer):
            return Heard(datagram, ())  # it comes again
        return Heard(datagram, (raw,))

    def _part(self, key: _Key, raw: bytes, part: Part, now: float) -> Heard:
        assembly = self._open.get(key)
        if assembly is None or assembly.which != part.which or now - assembly.since > _PATIENCE:
            assembly = self._begin(key, part.which, now)
        try:
            for piece in part.pieces:
                assembly.add(*piece)
            if len(assembly.frames) >= _FRAMES_AT_MOST:
                raise Malformed(f"a message over more than {_FRAMES_AT_MOST} datagrams")
            if raw not in assembly.frames:
                assembly.frames.append(raw)
            whole = assembly.whole()
            if whole is None:
                return Heard(_SAYS_NOTHING, ())
            message = part.read(whole)
        except Malformed:
            self._forget(key)
            raise
        self._forget(key)
        return Heard(Datagram((message,)), tuple(assembly.frames))

    def _begin(self, key: _Key, which: bytes, now: float) -> Assembly:
        self._forget(key)
        if self._of[key[0]] >= _OF_ONE_AT_MOST:
            self._forget(next(other for other in self._open if other[0] == key[0]))
        elif len(self._open) >= _OPEN_AT_MOST:
            self._forget(next(iter(self._open)))
        assembly = self._open[key] = Assembly(which, now)
        self._of[key[0]] += 1
        return assembly

    def _forget(self, key: _Key) -> None:
        if self._open.pop(key, None) is not None:
            self._of[key[0]] -= 1
            if not self._of[key[0]]:
                del self._of[key[0]]

    def sweep(self, now: float) -> None:
        """Forget what was never completed."""
        for key in [
            key for key, assembly in self._open.items() if not 0 <= now - assembly.since <= _PATIENCE
        ]:
            self._forget(key)
