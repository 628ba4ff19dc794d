"""What became of a command, and how it is refused.

Knows nothing of what commands there are.
"""

from dataclasses import dataclass

from controller.events import Answer, Decision
from controller.model.relationship import Access, Relationship
from controller.model.service import Device, Service
from controller.words import visible


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a command. `restricts`: it must be in the switch before it is stored."""

    answer: Answer
    restricts: bool = False
    decision: Decision | None = None
    before: "Before | None" = None


@dataclass(frozen=True, slots=True)
class Before:
    """What a command has changed, as it was: to be put back when the store refuses it."""

    relationships: tuple[tuple[Access, Relationship | None], ...] = ()
    devices: tuple[Device, ...] = ()
    services: tuple[Service, ...] = ()
    decision: Decision | None = None
    made: int | None = None


def refuse(token: int, code: str, message: str, remedy: str) -> Outcome:
    return Outcome(Answer(token, code=code, message=message, remedy=remedy))


def confirm(token: int) -> Outcome:
    return refuse(
        token,
        "confirm",
        "this could open or endanger something",
        "look again who asks, and answer once more with 'confirmed'",
    )


def not_allowed(token: int, what: str) -> Outcome:
    return refuse(token, "not allowed", f"only a manager decides {what}", "ask a manager to do it")


def unknown(token: int, what: str, name: str) -> Outcome:
    return refuse(token, "not found", f"there is no {what} {visible(name)}", "see 'graphwall services'")
