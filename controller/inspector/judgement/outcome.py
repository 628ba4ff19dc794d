"""What is to be done after a frame. Knows nothing of how it came about."""

from typing import Final, NamedTuple

from controller.events import FromInspector


class Outcome(NamedTuple):
    """Frames to send out of the switch's inspection port, in order, and events for the controller."""

    send: tuple[bytes, ...] = ()
    events: tuple[FromInspector, ...] = ()


NOTHING: Final = Outcome()
