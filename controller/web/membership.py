"""The JSON of everything about people: who is signed in, who is invited, which programs have a token.

Knows nothing of how secrets are kept.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from controller.people import Role
from controller.web.password import LONGEST, SHORTEST
from controller.web.values import Body

Text = Annotated[str, Field(max_length=200)]

# ---------------------------------------------------------------- what is answered


@dataclass(frozen=True, slots=True)
class PersonShown:
    id: str
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class May:
    answer_harmless: bool
    answer_sensitive: bool
    manage_people: bool


@dataclass(frozen=True, slots=True)
class OwnSession:
    """Who is signed in here; `id` and `person.id` are empty for a program."""

    id: str
    person: PersonShown
    device_label: str
    created: float | None
    has_password: bool
    may: May


@dataclass(frozen=True, slots=True)
class OnePerson:
    id: str
    name: str
    role: Role
    created: float
    has_password: bool
    devices: int  # on which the person is signed in


@dataclass(frozen=True, slots=True)
class People:
    people: tuple[OnePerson, ...]


@dataclass(frozen=True, slots=True)
class OneSession:
    id: str
    person: PersonShown
    device_label: str
    created: float
    last_seen: float
    here: bool  # the one that asks


@dataclass(frozen=True, slots=True)
class Sessions:
    sessions: tuple[OneSession, ...]


@dataclass(frozen=True, slots=True)
class OneInvitation:
    id: str
    name: str
    role: Role
    by: str
    created: float
    expires: float


@dataclass(frozen=True, slots=True)
class Invitations:
    invitations: tuple[OneInvitation, ...]


@dataclass(frozen=True, slots=True)
class Invited:
    """The link is shown this once; `qr_svg` is the same as a picture."""

    id: str
    url: str
    expires: float
    qr_svg: str


@dataclass(frozen=True, slots=True)
class OneToken:
    id: str
    name: str
    role: Role
    by: str
    created: float


@dataclass(frozen=True, slots=True)
class Tokens:
    tokens: tuple[OneToken, ...]


@dataclass(frozen=True, slots=True)
class NewToken:
    """The token is shown this once."""

    id: str
    token: str


@dataclass(frozen=True, slots=True)
class Done:
    done: bool = True


# ---------------------------------------------------------------- what is asked for


class SigningIn(Body):
    """Either the secret of an invitation, or name and password."""

    secret: Text | None = None
    name: Text = ""
    password: Text | None = None
    device_label: Text = ""


class Inviting(Body):
    """`person`: the id of somebody who is here already, to sign in one more device."""

    name: Text = ""
    role: Role = Role.RESIDENT
    hours: Annotated[float, Field(gt=0, le=168)] = 48.0
    person: str | None = None


class ChangingPerson(Body):
    name: Text | None = None
    role: Role | None = None


class SettingPassword(Body):
    password: Annotated[str, Field(min_length=SHORTEST, max_length=LONGEST)]


class AddingToken(Body):
    name: Text
    role: Role = Role.VIEWER
