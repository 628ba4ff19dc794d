"""Access logs of the VSL's monitor: one line for each access, in CSV with 13 columns.

Knows nothing of who may do what. Each agent of the VSL is a device that serves its nodes at port
8080 + N; what a line says is the message that such a request would have been. Hostile input.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from controller.captures.reader import CaptureError
from controller.config import DeviceConfig
from controller.dpi.message import Message, Operation

COLUMNS: Final = (
    "sourceID",
    "sourceAddress",
    "sourceType",
    "sourceLocation",
    "destinationServiceAddress",
    "destinationServiceType",
    "destinationLocation",
    "accessedNodeAddress",
    "accessedNodeType",
    "operation",
    "value",
    "timestamp",
    "normality",
)
LONGEST_LINE: Final = 65536  # characters
AGENTS_AT_MOST: Final = 4000
_PLAIN: Final = re.compile(r"agent[0-9]{1,6}")  # a name that does for an id as it is
NETWORK: Final = "198.18.0.0/15"  # for tests of networks (RFC 2544), so that it is nobody's
# What the monitor calls an operation, in lower case and without what parts its words
_OPERATIONS: Final = {
    "read": ("get", Operation.READ),
    "write": ("set", Operation.WRITE),
    "subscribe": ("subscribe", Operation.SUBSCRIBE),
    "unsubscribe": ("unsubscribe", Operation.UNSUBSCRIBE),
    "notifycallback": ("notify", Operation.NOTIFY),
    "registervirtualnode": ("register_virtual_node", Operation.REGISTER),
    "unregistervirtualnode": ("unregister_virtual_node", Operation.UNREGISTER),
    "locksubtree": ("lock_subtree", Operation.LOCK),
    "commitsubtree": ("commit_subtree", Operation.COMMIT),
    "rollbacksubtree": ("rollback_subtree", Operation.ROLLBACK),
    "registerservice": ("register_service", Operation.REGISTER),
}


class Line(NamedTuple):
    """One access: `time` in seconds since the epoch; `normality` as somebody has labelled it."""

    number: int
    time: float
    client: str  # agent
    server: str  # agent
    message: Message
    kind: str  # of the calling service
    normality: str


def is_access_log(first: str) -> bool:
    """Whether a file that begins with this line is one."""
    return tuple(first.strip().lstrip("\ufeff").split(",")) == COLUMNS


def lines(text: Iterable[str]) -> Iterator[Line | str]:
    """The accesses of a log with its header; for a line that is none, what is wrong with it."""
    try:
        rows = csv.reader((line[:LONGEST_LINE] for line in text), strict=True)
        if tuple(next(rows, ())) != COLUMNS:
            raise CaptureError(f"the first line does not name the columns {', '.join(COLUMNS)}")
        for row in rows:
            if row:
                yield _line(row, rows.line_num)
    except csv.Error as error:
        raise CaptureError(f"this is no CSV: {error}") from None


def _line(row: list[str], number: int) -> Line | str:
    if len(row) != len(COLUMNS):
        return f"line {number} has {len(row)} columns instead of {len(COLUMNS)}"
    told = dict(zip(COLUMNS, row, strict=True))
    try:
        time = float(told["timestamp"]) / 1000
    except ValueError:
        return f"line {number} has no time"
    client, _ = _place(told["sourceAddress"])
    server, service = _place(told["destinationServiceAddress"])
    if not client or not server or not 0 <= time < 1e11:
        return f"line {number} does not say who, whom or when"
    word = told["operation"].lower().replace("_", "").replace(" ", "")
    verb, operation = _OPERATIONS.get(word, (told["operation"], Operation.EXECUTE))
    message = Message(
        "vsl", verb, operation, told["accessedNodeAddress"], told["sourceID"] or None, service or None
    )
    return Line(number, time, client, server, message, told["sourceType"].strip("/"), told["normality"])


@lru_cache(maxsize=4096)
def _place(address: str) -> tuple[str, str]:
    """Agent and service of a VSL address."""
    parts = [part for part in address.split("/") if part]
    return (parts[0] if parts else ""), (parts[1] if len(parts) > 1 else "")


class Agents:
    """The agents of a log as devices of a site, by a number of their own."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def see(self, line: Line) -> bool:
        """Whether both agents of a line have a place; not beyond AGENTS_AT_MOST."""
        for agent in (line.client, line.server):
            if agent not in self._numbers:
                if len(self._numbers) >= AGENTS_AT_MOST:
                    return False
                self._numbers[agent] = len(self._numbers) + 1
        return True

    def address(self, agent: str) -> str:
        number = self._numbers[agent]
        return f"198.18.{number >> 8}.{number & 255}"

    def port(self, agent: str) -> int:
        """Where an agent is asked: 8080 + N for `agentN`."""
        number = agent.removeprefix("agent")
        return 8080 + int(number) if number.isascii() and number.isdigit() and len(number) < 5 else 8080

    def devices(self) -> tuple[DeviceConfig, ...]:
        """A description of each for the site."""
        return tuple(
            DeviceConfig(
                id=agent if _PLAIN.fullmatch(agent) else f"vsl-{number}",
                name=agent[:80],
                mac=f"02:76:00:00:{number >> 8:02x}:{number & 255:02x}",
                kind="knowledge agent",
                addresses=(self.address(agent),),
            )
            for agent, number in self._numbers.items()
        )
