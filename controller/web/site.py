"""What the web needs from the rest of the controller; the real ones are in app.py and store.py.

Knows nothing of HTTP but the status that an error is worth.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from controller.events import Answer, AuditEntry, Command
from controller.people import Everybody, PeopleChange
from controller.view import SiteView


class Site(Protocol):
    """The running firewall, to be used from any thread."""

    def snapshot(self) -> SiteView:
        """The site as it is now. May have to wait for it; raises TimeoutError in the end."""

    def call(self, command: Command) -> Answer:
        """Carry out a command and wait for its answer; the command's token is replaced.

        Raises TimeoutError when the firewall does not answer.
        """

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback` on some thread after each change; returns what ends that."""


class Line(Protocol):
    """One line of the log with its number."""

    @property
    def number(self) -> int: ...

    @property
    def entry(self) -> AuditEntry: ...


class History(Protocol):
    """The whole log."""

    def audit(self, limit: int, before: int | None) -> Sequence[Line]:
        """At most `limit` lines, newest first; `before`: only those with smaller numbers."""


class Accounts(Protocol):
    """Where people, their sessions and programs are kept."""

    def load(self) -> Everybody: ...

    def write(self, change: PeopleChange) -> None:
        """Keep all of a change, or raise NotKeptError."""


class ApiError(Exception):
    """A request that cannot be fulfilled, as the caller is told: what is wrong, and what to do."""

    def __init__(self, status: int, code: str, message: str, remedy: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.remedy = remedy
