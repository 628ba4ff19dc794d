"""Who asked whom over UDP and ICMP, so that an answer can be told from a request.

Also what an open conversation was allowed, so that it ends when that is taken back. Knows nothing of
frames, tables or verdicts. Bounded for each asking address and in total.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from controller.inspector.judgement.observations import Ends
from controller.model.relationship import Access

IDLE: Final = 120.0  # seconds after which an answer is an answer to nothing
OPAQUE_IDLE: Final = 3600.0  # the same behind a hello: sensors keep a session of DTLS for long
DISCOVERY: Final = 30.0  # seconds that devices may answer to whoever looks for them
ONCE: Final = 60.0  # seconds that a request which was allowed once may be answered
PER_ASKER: Final = 4096  # conversations of one address; its oldest gives way
AT_MOST: Final = 65536
ACCESSES: Final = 64  # of one conversation that are kept in mind


class Carried:
    """What an open conversation was allowed.

    `version` is the Judge's when it was last checked; `until` when the first of the grants ends.
    """

    __slots__ = ("accesses", "until", "version")

    def __init__(self, version: int) -> None:
        self.version = version
        self.until = float("inf")
        self.accesses: dict[Access, Ends] = {}

    def add(self, access: Access, ends: Ends, until: float | None) -> None:
        """Keep in mind that this was allowed (until a time)."""
        if access not in self.accesses and len(self.accesses) < ACCESSES:
            self.accesses[access] = ends
        if until is not None and until < self.until:
            self.until = until


class Conversation:
    """One address and port asking another.

    `ends_at`: when it ends at the latest. `discovery`: nobody has judged the request, since the switch
    lets it through by a template; only what is an answer by its content belongs to it. `opaque`: it has
    begun with a hello behind which nothing can be read. `protocol`: of its last request.
    """

    __slots__ = ("carried", "discovery", "ends_at", "last", "opaque", "protocol")

    def __init__(self, carried: Carried, now: float) -> None:
        self.carried = carried
        self.last = now
        self.ends_at = float("inf")
        self.discovery = False
        self.opaque = False
        self.protocol = ""


Key = tuple[int, str, int]  # own port (or ICMP identifier), the other's address, the other's port


class Conversations:
    """All of one transport, by the address that asks."""

    def __init__(self) -> None:
        self._by_asker: dict[str, OrderedDict[Key, Conversation]] = {}
        self._count = 0

    def get(self, asker: str, key: Key, now: float) -> Conversation | None:
        """The conversation that is open, if there is one."""
        mine = self._by_asker.get(asker)
        conversation = mine.get(key) if mine is not None else None
        if conversation is None:
            return None
        idle = OPAQUE_IDLE if conversation.opaque else IDLE
        if not -idle < now - conversation.last < idle or now >= conversation.ends_at:
            self.close(asker, key)
            return None
        return conversation

    def used(self, asker: str, key: Key, conversation: Conversation, now: float) -> None:
        """It goes on."""
        conversation.last = now
        self._by_asker[asker].move_to_end(key)

    def open(self, asker: str, key: Key, carried: Carried, now: float) -> Conversation:
        """A new one; where there is no room the oldest of the address with most gives way."""
        self.close(asker, key)
        mine = self._by_asker.setdefault(asker, OrderedDict())
        if len(mine) >= PER_ASKER:
            mine.popitem(last=False)
            self._count -= 1
        elif self._count >= AT_MOST:
            self._make_room(now)
            mine = self._by_asker.setdefault(asker, OrderedDict())
        conversation = mine[key] = Conversation(carried, now)
        self._count += 1
        return conversation

    def close(self, asker: str, key: Key) -> None:
        mine = self._by_asker.get(asker)
        if mine is not None and mine.pop(key, None) is not None:
            self._count -= 1
            if not mine:
                del self._by_asker[asker]

    def _make_room(self, now: float) -> None:
        self.sweep(now)
        if self._count >= AT_MOST:
            asker = max(self._by_asker, key=lambda a: len(self._by_asker[a]))
            for key in self._oldest(asker, 1 + len(self._by_asker[asker]) // 8):
                self.close(asker, key)

    def _oldest(self, asker: str, count: int) -> list[Key]:
        keys: Iterator[Key] = iter(self._by_asker[asker])
        return [key for _, key in zip(range(count), keys, strict=False)]

    def sweep(self, now: float) -> None:
        """Forget those that have been silent for long; to be called now and then."""
        for asker in list(self._by_asker):
            mine = self._by_asker[asker]
            while mine:
                key, conversation = next(iter(mine.items()))
                idle = OPAQUE_IDLE if conversation.opaque else IDLE
                if -idle < now - conversation.last < idle:
                    break
                del mine[key]
                self._count -= 1
            if not mine:
                del self._by_asker[asker]

    def __len__(self) -> int:
        return self._count
