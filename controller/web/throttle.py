"""How long somebody who guessed wrong has to wait before the next guess.

Pure but for its memory; knows nothing of what is guessed.
"""

from collections import OrderedDict
from collections.abc import Mapping

LONGEST = 900.0  # s
FORGOTTEN = 3600.0  # s after the last failure
KEYS_AT_MOST = 1000


class Throttle:
    """Failures by key, such as an address or a name. Each key may fail some times for free."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()  # how many, and when the last

    def wait(self, keys: Mapping[str, int], now: float) -> float:
        """Seconds until a guess is looked at again; 0: now. `keys`: with the failures that are free."""
        return max((self._left(key, free, now) for key, free in keys.items()), default=0.0)

    def _left(self, key: str, free: int, now: float) -> float:
        count, at = self._failures.get(key, (0, 0.0))
        if count < free or now - at > FORGOTTEN:
            return 0.0
        return max(0.0, at + min(2.0 ** min(count - free, 20), LONGEST) - now)

    def failed(self, keys: Mapping[str, int], now: float) -> None:
        for key in keys:
            count, at = self._failures.pop(key, (0, 0.0))
            self._failures[key] = (1 if now - at > FORGOTTEN else count + 1, now)
        while len(self._failures) > KEYS_AT_MOST:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        self._failures.pop(key, None)
