"""How often somebody is denied, so that a flood is answered by the switch and not by the inspector.

Knows nothing of frames or verdicts.
"""

from typing import Final

from controller.events import RefusalWanted
from controller.model.relationship import Endpoint

WINDOW: Final = 1.0  # seconds in which repeats are counted
TOLERATED: Final = 20  # denials in a window; one more asks for a drop flow
ANSWERED: Final = 5  # denials in a window that the sender is told of
FLOOD: Final = 500  # denials of one client in a window, whatever it asks and whom
FLOOD_WISHES: Final = 10  # for one client in a window
CLIENTS_AT_MOST: Final = 4096
AT_MOST: Final = 8192  # pairs that are counted at a time


class Denials:
    """Counts denials for each client address, server address and endpoint."""

    def __init__(self) -> None:
        self._windows: dict[tuple[str, str, Endpoint], list[float]] = {}  # start, count, last wish
        self._clients: dict[str, list[float]] = {}  # start, count, wishes

    def note(
        self, client: str, server: str, endpoint: Endpoint, now: float, at_once: bool = False
    ) -> tuple[bool, RefusalWanted | None]:
        """Count one denial.

        Returns whether the sender should be told, and a wish for a drop flow when one is due: at most
        one a second, and a few more in a flood; `at_once` does not wait for repeats.
        """
        floods = self._floods(client, now)
        key = (client, server, endpoint)
        window = self._windows.get(key)
        if window is None:
            if len(self._windows) >= AT_MOST:
                self._make_room(now)
            window = self._windows[key] = [now, 0, float("-inf")]
        elif not 0 <= now - window[0] < WINDOW:
            window[0], window[1] = now, 0
        window[1] += 1
        wish = None
        if floods:
            wish = RefusalWanted(client, server, endpoint, flood=True)
        elif (at_once or window[1] > TOLERATED) and not 0 <= now - window[2] < WINDOW:
            window[2] = now
            wish = RefusalWanted(client, server, endpoint)
        return window[1] <= ANSWERED, wish

    def _floods(self, client: str, now: float) -> bool:
        """Count for the client alone; whether to say that it floods."""
        mine = self._clients.get(client)
        if mine is None:
            if len(self._clients) >= CLIENTS_AT_MOST:
                self._clients.clear()
            mine = self._clients[client] = [now, 0, 0]
        elif not 0 <= now - mine[0] < WINDOW:
            mine[:] = now, 0, 0
        mine[1] += 1
        if mine[1] <= FLOOD or mine[2] >= FLOOD_WISHES:
            return False
        mine[2] += 1
        return True

    def _make_room(self, now: float) -> None:
        recent = {key: window for key, window in self._windows.items() if 0 <= now - window[0] < WINDOW}
        self._windows = recent if len(recent) < AT_MOST // 2 else {}
