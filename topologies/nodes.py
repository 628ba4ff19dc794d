"""Mininet's hosts and switches as a laboratory needs them. The only module that bends Mininet."""

import os
from collections.abc import Sequence
from typing import Any

from mininet.node import Host as MininetHost
from mininet.node import OVSSwitch

from topologies.marks import BRIDGE_KEY, MARK


class Controller:
    """What Mininet's OVSSwitch asks of a controller; ours is not Mininet's to start or to probe."""

    name, protocol = "c0", "tcp"

    def __init__(self, host: str, port: int) -> None:
        self._host, self.port = host, port

    def IP(self) -> str:  # noqa: N802  Mininet's name
        return f"[{self._host}]" if ":" in self._host else self._host


class _Marked:
    """A Mininet node whose processes carry the laboratory's mark."""

    mark: str

    def __init__(self, name: str, *, mark: str, **params: Any) -> None:
        self.mark = mark
        super().__init__(name, **params)  # type: ignore[call-arg]  # Mininet's Node takes them

    def _popen(self, command: Sequence[str], **params: Any) -> Any:
        params.setdefault("env", {**os.environ, MARK: self.mark})
        return super()._popen(command, **params)  # type: ignore[misc]  # Mininet's Node has it


class MarkedHost(_Marked, MininetHost):  # type: ignore[misc]  # Mininet has no types
    pass


class MarkedSwitch(_Marked, OVSSwitch):  # type: ignore[misc]  # Mininet has no types
    """An Open vSwitch bridge; `loops` makes one without a controller find a spanning tree (RSTP)."""

    def __init__(self, name: str, *, loops: bool, **params: Any) -> None:
        super().__init__(name, **params)
        self._loops = loops

    @classmethod
    def isOldOVS(cls) -> bool:  # noqa: N802  Mininet's name
        """Older than 1.10 of 2013: no. Mininet's own answer needs what Python 3.12 has no more."""
        return False

    def bridgeOpts(self) -> str:  # noqa: N802  Mininet's name
        options = f" external_ids:{BRIDGE_KEY}={self.mark}"
        if self._loops and self.failMode == "standalone":
            options += " rstp_enable=true other_config:rstp-forward-delay=4"
        return str(super().bridgeOpts()) + options
