"""Who may look and decide: people, their signed-in devices, invitations, and programs with a token. Pure.

Knows nothing of HTTP, passwords' hashes or SQLite. A secret is never part of these values: only what
it can be recognised by.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from controller.events import AuditEntry

PersonId = NewType("PersonId", str)

LONGEST = 60  # characters of a name or the label of a device


class Role(StrEnum):
    """What somebody may do; each may also do what the one before may."""

    VIEWER = "viewer"  # looks
    RESIDENT = "resident"  # answers what can do no harm
    MANAGER = "manager"  # answers everything, and decides on devices and people

    def includes(self, other: "Role") -> bool:
        ranks = list(Role)
        return ranks.index(self) >= ranks.index(other)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may sign in. `password` is a salted hash; without it links are the only way in."""

    id: PersonId
    name: str
    role: Role
    created: float  # all times: seconds since the epoch
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """A device on which a person is signed in. `digest`: of the secret in its cookie."""

    id: str
    person: PersonId
    digest: str
    device: str  # what the person calls the device
    created: float
    last_seen: float
    expires: float


@dataclass(frozen=True, slots=True)
class Invitation:
    """A link that signs in one device, once. `person`: one who is here already and gets another device."""

    id: str
    digest: str
    name: str  # "": whoever comes says it
    role: Role
    by: str
    created: float
    expires: float
    person: PersonId | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """A program with a token of its own."""

    id: str
    name: str
    role: Role
    digest: str
    by: str
    created: float


@dataclass(frozen=True, slots=True)
class Everybody:
    """All that is kept about people and programs."""

    people: tuple[Person, ...] = ()
    sessions: tuple[Session, ...] = ()
    invitations: tuple[Invitation, ...] = ()
    programs: tuple[Program, ...] = ()


Kept = Person | Session | Invitation | Program


@dataclass(frozen=True, slots=True)
class PeopleChange:
    """What one transaction writes: values replace what has the same id; sessions go with their person."""

    put: tuple[Kept, ...] = ()
    gone: tuple[Kept, ...] = ()
    audit: tuple[AuditEntry, ...] = ()


class NotKeptError(Exception):
    """The store refused a change; nothing was changed. The message says why and what to do."""
