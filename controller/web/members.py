"""Who is signed in, and who may be: sessions, invitations, people and programs, from any thread.

Holds all of it in memory and writes each change through before it counts. Knows nothing of HTTP; of
secrets it keeps only digests.
"""

import hashlib
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from controller.events import AuditEntry
from controller.people import (
    LONGEST,
    Everybody,
    Invitation,
    Kept,
    NotKeptError,
    PeopleChange,
    Person,
    PersonId,
    Program,
    Role,
    Session,
)
from controller.web import password
from controller.web.site import Accounts, ApiError
from controller.web.throttle import Throttle
from controller.words import visible

log = logging.getLogger(__name__)

LOCAL = "local command line"  # who shows the token of the state folder
HOUR = 3600.0
SESSION_LASTS = 90 * 24 * HOUR  # s after it was last used
SEEN_EVERY = 6 * HOUR  # s between two notes of that
FIRST_LINK_LASTS = 24 * HOUR
LONGEST_LINK = 7 * 24.0  # hours
PEOPLE, SESSIONS_EACH, INVITATIONS, PROGRAMS = 100, 20, 50, 50  # at most
FREE_BY_ADDRESS, FREE_BY_NAME, FREE_IN_ALL = 10, 5, 60  # wrong guesses before one has to wait


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks for something: a person on a device, or a program (then both are None)."""

    role: Role
    by: str
    person: Person | None = None
    session: Session | None = None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def _refused(status: int, code: str, message: str, remedy: str) -> ApiError:
    return ApiError(status, code, message, remedy)


def _unknown(what: str, id: str) -> ApiError:
    return _refused(404, "not found", f"there is no {what} {visible(id)}", "read the list again")


def _named(text: str) -> str:
    name = visible(" ".join(text.split()), LONGEST)
    if not name:
        raise _refused(422, "empty name", "a name has at least one character", "give one")
    return name


class Members:
    """Everybody who may ask. `token`: the one in the state folder, for commands on this machine."""

    def __init__(self, accounts: Accounts, token: str, clock: Callable[[], float] = time.time) -> None:
        self._accounts = accounts
        self._token = token.encode()
        self._clock = clock
        self._lock = threading.Lock()
        self._throttle = Throttle()
        found: Everybody = accounts.load()
        self._people = {person.id: person for person in found.people}
        self._sessions = {session.id: session for session in found.sessions}
        self._invitations = {one.id: one for one in found.invitations}
        self._programs = {program.id: program for program in found.programs}
        self._by_cookie = {session.digest: session.id for session in found.sessions}
        self._by_token = {program.digest: program.id for program in found.programs}

    # ------------------------------------------------------------ who is it?

    def with_token(self, shown: str) -> Asker | None:
        if hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), self._token):
            return Asker(Role.MANAGER, LOCAL)
        program = self._programs.get(self._by_token.get(_digest(shown), ""))
        return None if program is None else Asker(program.role, f"{program.name} (program)")

    def with_cookie(self, shown: str) -> Asker | None:
        session = self._sessions.get(self._by_cookie.get(_digest(shown), ""))
        if session is None or session.expires <= self._clock():
            return None
        person = self._people.get(session.person)
        if person is None:
            return None
        return Asker(person.role, f"{person.name} ({session.device})", person, session)

    def newest(self, asker: Asker) -> Asker | None:
        """The same asker as of now; None when he may not ask any more."""
        if asker.session is None:
            if asker.by == LOCAL:
                return asker
            known = any(f"{program.name} (program)" == asker.by for program in self._programs.values())
            return asker if known else None
        session = self._sessions.get(asker.session.id)
        person = self._people.get(asker.session.person)
        if session is None or person is None or session.expires <= self._clock():
            return None
        return Asker(person.role, asker.by, person, session)

    def seen_long_ago(self, asker: Asker) -> bool:
        """Whether it is time to note that a session is still in use."""
        return asker.session is not None and self._clock() - asker.session.last_seen > SEEN_EVERY

    def note_seen(self, asker: Asker) -> None:
        with self._lock:
            session = None if asker.session is None else self._sessions.get(asker.session.id)
            if session is not None:
                now = self._clock()
                seen = replace(session, last_seen=now, expires=now + SESSION_LASTS)
                try:
                    self._keep(put=(seen,))
                except NotKeptError as error:  # who is signed in must be able to look, above all now
                    log.warning("it could not be noted that a session is in use: %s", error)
                    self._sessions[seen.id] = seen

    # ------------------------------------------------------------ coming in

    def first_link(self) -> str | None:
        """The secret that makes its finder the first manager; None when there is one already."""
        with self._lock:
            if any(person.role is Role.MANAGER for person in self._people.values()):
                return None
            now = self._clock()
            stale = tuple(one for one in self._invitations.values() if one.by == LOCAL and one.name == "")
            secret, made = self._invitation("", Role.MANAGER, LOCAL, now + FIRST_LINK_LASTS, None)
            self._keep((made,), stale)
            return secret

    def join(self, secret: str, name: str, device: str, address: str) -> tuple[Asker, str]:
        """Redeem an invitation; the new session and the secret for its cookie."""
        keys = {f"address {address}": FREE_BY_ADDRESS}
        with self._lock:
            now = self._clock()
            self._not_too_often(keys, now)
            digest = _digest(secret)
            found = next((one for one in self._invitations.values() if one.digest == digest), None)
            if found is None or found.expires <= now:
                self._throttle.failed(keys, now)
                text = f"a link that is not valid, from {visible(address)}"
                self._keep(audit=(AuditEntry(now, "sign-in failed", "", text),))
                raise _refused(
                    403,
                    "link not valid",
                    "this link was used, is too old, or was taken back",
                    "ask a manager for a new one, or use: graphwall people invite NAME",
                )
            person = None if found.person is None else self._people.get(found.person)
            if person is None:
                chosen = _named(name or found.name)
                self._name_is_free(chosen)
                person = Person(PersonId(_new_id()), chosen, found.role, now)
            return self._sign_in(person, device, now, (found,), "by a link")

    def sign_in(self, name: str, shown: str, device: str, address: str) -> tuple[Asker, str]:
        """Sign in with a password; the new session and the secret for its cookie."""
        keys = {
            f"address {address}": FREE_BY_ADDRESS,
            f"name {name.casefold()[:LONGEST]}": FREE_BY_NAME,
            "all": FREE_IN_ALL,
        }
        with self._lock:
            self._not_too_often(keys, self._clock())
            self._throttle.failed(keys, self._clock())  # so that guesses at the same time count, too
            person = self._called(name)
        right = password.fits(None if person is None else person.password, shown)
        with self._lock:
            now = self._clock()
            person = self._called(name)
            if not right or person is None:
                text = f"a wrong name or password for {visible(name)}, from {visible(address)}"
                self._keep(audit=(AuditEntry(now, "sign-in failed", "", text),))
                raise _refused(
                    403,
                    "wrong password",
                    "this name and password do not fit",
                    "try again, or ask a manager for a link",
                )
            for key in keys:
                self._throttle.succeeded(key)
            return self._sign_in(person, device, now, (), "by password")

    def _not_too_often(self, keys: dict[str, int], now: float) -> None:
        wait = self._throttle.wait(keys, now)
        if wait > 0:
            seconds = int(wait) + 1
            raise _refused(
                429,
                "too many attempts",
                "too many wrong attempts",
                f"try again in {seconds} s",
            )

    def _sign_in(
        self, person: Person, device: str, now: float, used: tuple[Kept, ...], how: str
    ) -> tuple[Asker, str]:
        label = visible(" ".join(device.split()), LONGEST) or "a device"
        secret = secrets.token_urlsafe(32)
        session = Session(_new_id(), person.id, _digest(secret), label, now, now, now + SESSION_LASTS)
        mine = sorted(
            (one for one in self._sessions.values() if one.person == person.id), key=lambda s: s.last_seen
        )
        asker = Asker(person.role, f"{person.name} ({label})", person, session)
        over = tuple(one for one in self._sessions.values() if one.expires <= now and one not in mine)
        put: tuple[Kept, ...] = (session,) if person.id in self._people else (person, session)
        line = AuditEntry(
            now, "sign-in", asker.by, f"{person.name} has signed in {how} on {label}", person.id
        )
        self._keep(put, (*used, *over, *mine[: max(0, len(mine) - SESSIONS_EACH + 1)]), (line,))
        return asker, secret

    def sign_out(self, asker: Asker) -> None:
        if asker.session is not None:
            self.end_session(asker, asker.session.id)

    # ------------------------------------------------------------ people

    def people(self) -> tuple[Person, ...]:
        return tuple(self._people.values())

    def sessions(self) -> tuple[Session, ...]:
        now = self._clock()
        return tuple(session for session in self._sessions.values() if session.expires > now)

    def invitations(self) -> tuple[Invitation, ...]:
        now = self._clock()
        return tuple(one for one in self._invitations.values() if one.expires > now)

    def programs(self) -> tuple[Program, ...]:
        return tuple(self._programs.values())

    def invite(
        self, asker: Asker, name: str, role: Role, hours: float, person: str | None
    ) -> tuple[Invitation, str]:
        """A link for somebody new, or for another device of `person`; with its secret."""
        with self._lock:
            now = self._clock()
            known = None
            if person is not None:
                known = self._people.get(PersonId(person))
                if known is None:
                    raise _unknown("person", person)
                name, role = known.name, known.role
            else:
                name = _named(name) if name.strip() else ""
                if name:
                    self._name_is_free(name)
            stale = tuple(one for one in self._invitations.values() if one.expires <= now)
            if len(self._invitations) - len(stale) >= INVITATIONS:
                raise _refused(409, "too many", f"{INVITATIONS} invitations are open", "take some back")
            secret, made = self._invitation(
                name,
                role,
                asker.by,
                now + min(hours, LONGEST_LINK) * HOUR,
                None if known is None else known.id,
            )
            text = f"{name or 'somebody'} is invited as {role}"
            self._keep((made,), stale, (AuditEntry(now, "people", asker.by, text, made.id),))
            return made, secret

    @staticmethod
    def _invitation(
        name: str, role: Role, by: str, expires: float, person: PersonId | None
    ) -> tuple[str, Invitation]:
        secret = secrets.token_urlsafe(24)
        created = time.time()
        return secret, Invitation(_new_id(), _digest(secret), name, role, by, created, expires, person)

    def withdraw(self, asker: Asker, id: str) -> None:
        with self._lock:
            found = self._invitations.get(id)
            if found is None:
                raise _unknown("invitation", id)
            line = AuditEntry(self._clock(), "people", asker.by, "an invitation was taken back", id)
            self._keep(gone=(found,), audit=(line,))

    def change(self, asker: Asker, id: str, name: str | None, role: Role | None) -> Person:
        with self._lock:
            old = self._person(id)
            new = old
            if name is not None and _named(name) != old.name:
                self._name_is_free(_named(name), but=old)
                new = replace(new, name=_named(name))
            if role is not None and role is not old.role:
                self._not_the_last_manager(old)
                new = replace(new, role=role)
            if new != old:
                text = f"{old.name} is now {new.name}, {new.role}"
                self._keep((new,), audit=(AuditEntry(self._clock(), "people", asker.by, text, id),))
            return new

    def remove(self, asker: Asker, id: str) -> None:
        """Somebody may not sign in any more; all his sessions end."""
        with self._lock:
            old = self._person(id)
            self._not_the_last_manager(old)
            mine = tuple(s for s in self._sessions.values() if s.person == old.id)
            links = tuple(one for one in self._invitations.values() if one.person == old.id)
            text = f"{old.name} may not sign in any more"
            line = AuditEntry(self._clock(), "people", asker.by, text, id)
            self._keep(gone=(*mine, *links, old), audit=(line,))

    def end_session(self, asker: Asker, id: str) -> None:
        with self._lock:
            session = self._sessions.get(id)
            if session is None:
                raise _unknown("session", id)
            text = f"{self._people[session.person].name} is signed out on {session.device}"
            line = AuditEntry(self._clock(), "sign-out", asker.by, text, session.person)
            self._keep(gone=(session,), audit=(line,))

    def set_password(self, asker: Asker, chosen: str) -> None:
        if asker.person is None:
            raise _refused(409, "not possible", "a program has no password", "sign in as a person")
        kept = password.hashed(chosen)
        with self._lock:
            text = f"{asker.person.name} has set a password"
            line = AuditEntry(self._clock(), "people", asker.by, text, asker.person.id)
            self._keep((replace(self._person(asker.person.id), password=kept),), audit=(line,))

    def add_program(self, asker: Asker, name: str, role: Role) -> tuple[Program, str]:
        with self._lock:
            name = _named(name)
            if any(program.name.casefold() == name.casefold() for program in self._programs.values()):
                raise _refused(409, "name taken", f"there is a program {name}", "choose another name")
            if len(self._programs) >= PROGRAMS:
                raise _refused(409, "too many", f"there are {PROGRAMS} tokens", "remove some")
            secret = secrets.token_urlsafe(32)
            now = self._clock()
            made = Program(_new_id(), name, role, _digest(secret), asker.by, now)
            line = AuditEntry(now, "people", asker.by, f"the program {name} may ask as {role}", made.id)
            self._keep((made,), audit=(line,))
            return made, secret

    def remove_program(self, asker: Asker, id: str) -> None:
        with self._lock:
            program = self._programs.get(id)
            if program is None:
                raise _unknown("token", id)
            text = f"the program {program.name} may not ask any more"
            self._keep(gone=(program,), audit=(AuditEntry(self._clock(), "people", asker.by, text, id),))

    # ------------------------------------------------------------ rules; the lock is held

    def _person(self, id: str) -> Person:
        person = self._people.get(PersonId(id))
        if person is None:
            raise _unknown("person", id)
        return person

    def _called(self, name: str) -> Person | None:
        folded = name.strip().casefold()
        return next((one for one in self._people.values() if one.name.casefold() == folded), None)

    def _name_is_free(self, name: str, but: Person | None = None) -> None:
        holder = self._called(name)
        if holder is not None and holder != but:
            raise _refused(409, "name taken", f"somebody is called {name} already", "choose another name")
        if but is None and len(self._people) >= PEOPLE:
            raise _refused(409, "too many", f"there are {PEOPLE} people", "remove some")

    def _not_the_last_manager(self, person: Person) -> None:
        managers = [one for one in self._people.values() if one.role is Role.MANAGER]
        if managers == [person]:
            raise _refused(
                409, "last manager", f"{person.name} is the only manager", "make somebody else one first"
            )

    def _keep(
        self, put: tuple[Kept, ...] = (), gone: tuple[Kept, ...] = (), audit: tuple[AuditEntry, ...] = ()
    ) -> None:
        """Write first; only what is kept counts. Raises NotKeptError."""
        self._accounts.write(PeopleChange(put, gone, audit))
        for value in gone:
            match value:
                case Person():
                    self._people.pop(value.id, None)
                case Session():
                    self._sessions.pop(value.id, None)
                    self._by_cookie.pop(value.digest, None)
                case Invitation():
                    self._invitations.pop(value.id, None)
                case Program():
                    self._programs.pop(value.id, None)
                    self._by_token.pop(value.digest, None)
        for value in put:
            match value:
                case Person():
                    self._people[value.id] = value
                case Session():
                    self._sessions[value.id] = value
                    self._by_cookie[value.digest] = value.id
                case Invitation():
                    self._invitations[value.id] = value
                case Program():
                    self._programs[value.id] = value
                    self._by_token[value.digest] = value.id


def _new_id() -> str:
    return secrets.token_hex(5)
