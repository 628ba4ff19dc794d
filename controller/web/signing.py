"""Coming and going: sessions, invitations, people, and programs with a token.

Knows nothing of how secrets are kept; members.py does.
"""

import io
from collections.abc import Mapping

import segno
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from controller.people import Invitation, Person, PersonId, Program, Role, Session
from controller.web.asking import AManager, AnAsker, not_allowed
from controller.web.changes import Changes
from controller.web.guard import COOKIE
from controller.web.members import Asker, Members
from controller.web.membership import (
    AddingToken,
    ChangingPerson,
    Done,
    Invitations,
    Invited,
    Inviting,
    May,
    NewToken,
    OneInvitation,
    OnePerson,
    OneSession,
    OneToken,
    OwnSession,
    People,
    PersonShown,
    Sessions,
    SettingPassword,
    SigningIn,
    Tokens,
)
from controller.web.site import ApiError
from controller.web.values import to_json

COOKIE_LASTS = 400 * 24 * 3600  # s, the most that browsers allow; the session itself ends earlier


def _shown(value: object, status: int = 200) -> Response:
    return Response(to_json(value), status, media_type="application/json")


def _person(person: Person) -> PersonShown:
    return PersonShown(person.id, person.name, person.role)


def _own(asker: Asker) -> OwnSession:
    may = May(
        asker.role.includes(Role.RESIDENT),
        asker.role.includes(Role.MANAGER),
        asker.role.includes(Role.MANAGER),
    )
    if asker.session is None or asker.person is None:
        return OwnSession("", PersonShown("", asker.by, asker.role), "", None, False, may)
    session = asker.session
    has_password = asker.person.password is not None
    return OwnSession(session.id, _person(asker.person), session.device, session.created, has_password, may)


def _address(request: Request) -> str:
    return request.client.host if request.client is not None else ""


def link(base: str, secret: str) -> str:
    """The address that signs in whoever opens it; the secret after # is never sent by itself."""
    return f"{base}/#join={secret}"


def _base(request: Request, asker: Asker) -> str:
    """How others reach this controller: as the person who invites does, else as it says itself."""
    if asker.session is None and (said := getattr(request.app.state, "url", None)):
        return str(said)
    return str(request.base_url).rstrip("/")


# ---------------------------------------------------------------- routes


def signing(members: Members, changes: Changes) -> APIRouter:
    """The routes below /api/v1."""
    router = APIRouter(tags=["people"])

    @router.post("/session", response_model=OwnSession, status_code=201)
    async def sign_in(request: Request, body: SigningIn) -> Response:
        """Sign this device in, by the secret of a link or by name and password; answers with a cookie."""
        device, address = body.device_label, _address(request)
        if body.secret is not None:
            asker, secret = await run_in_threadpool(members.join, body.secret, body.name, device, address)
        elif body.password is not None:
            asker, secret = await run_in_threadpool(
                members.sign_in, body.name, body.password, device, address
            )
        else:
            raise ApiError(422, "incomplete", "a secret or a password is needed", "open the link again")
        answer = _shown(_own(asker), 201)
        secure = request.url.scheme == "https"
        answer.set_cookie(
            COOKIE, secret, max_age=COOKIE_LASTS, path="/", secure=secure, httponly=True, samesite="strict"
        )
        return answer

    @router.get("/session", response_model=OwnSession)
    async def session(asker: AnAsker) -> Response:
        """Who is signed in here, and what he may do."""
        return _shown(_own(asker))

    @router.delete("/session", response_model=Done)
    async def sign_out(asker: AnAsker) -> Response:
        """Sign this device out."""
        await run_in_threadpool(members.sign_out, asker)
        changes.ring()
        answer = _shown(Done())
        answer.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
        return answer

    @router.put("/session/password", response_model=Done)
    async def set_password(asker: AnAsker, body: SettingPassword) -> Response:
        """Set the password of the person who is signed in here."""
        await run_in_threadpool(members.set_password, asker, body.password)
        return _shown(Done())

    @router.get("/people", response_model=People)
    async def people(_: AnAsker) -> Response:
        """Everybody who may sign in."""
        devices = [one.person for one in members.sessions()]
        return _shown(
            People(
                tuple(
                    OnePerson(
                        one.id,
                        one.name,
                        one.role,
                        one.created,
                        one.password is not None,
                        devices.count(one.id),
                    )
                    for one in members.people()
                )
            )
        )

    @router.post("/people/invitations", response_model=Invited, status_code=201)
    async def invite(request: Request, asker: AnAsker, body: Inviting) -> Response:
        """A link that signs in one device of somebody; one's own devices need no manager."""
        own = asker.person is not None and body.person == asker.person.id
        if not own and not asker.role.includes(Role.MANAGER):
            raise not_allowed(Role.MANAGER)
        made, secret = await run_in_threadpool(
            members.invite, asker, body.name, body.role, body.hours, body.person
        )
        url = link(_base(request, asker), secret)
        drawn = io.BytesIO()
        segno.make(url, error="m").save(drawn, kind="svg", xmldecl=False, nl=False, scale=4, light="white")
        picture = drawn.getvalue().decode()
        return _shown(Invited(made.id, url, made.expires, picture), 201)

    @router.patch("/people/{id}", response_model=PersonShown)
    async def change(asker: AManager, id: str, body: ChangingPerson) -> Response:
        """Give somebody another name or role."""
        person = await run_in_threadpool(members.change, asker, id, body.name, body.role)
        changes.ring()
        return _shown(_person(person))

    @router.delete("/people/{id}", response_model=Done)
    async def remove(asker: AManager, id: str) -> Response:
        """Somebody may not sign in any more."""
        await run_in_threadpool(members.remove, asker, id)
        changes.ring()
        return _shown(Done())

    @router.get("/sessions", response_model=Sessions)
    async def sessions(asker: AnAsker) -> Response:
        """Where people are signed in: for a manager everywhere, for others their own devices."""
        names = {person.id: _person(person) for person in members.people()}
        return _shown(Sessions(tuple(_session(one, names, asker) for one in members.sessions()
                                     if _mine(one, asker) or asker.role.includes(Role.MANAGER))))  # fmt: skip

    @router.delete("/sessions/{id}", response_model=Done)
    async def end_session(asker: AnAsker, id: str) -> Response:
        """Sign a device out; one's own, or as a manager any."""
        own = any(one.id == id and _mine(one, asker) for one in members.sessions())
        if not own and not asker.role.includes(Role.MANAGER):
            raise not_allowed(Role.MANAGER)
        await run_in_threadpool(members.end_session, asker, id)
        changes.ring()
        return _shown(Done())

    @router.get("/invitations", response_model=Invitations)
    async def invitations(_: AManager) -> Response:
        """The links that were not used yet."""
        return _shown(Invitations(tuple(map(_invitation, members.invitations()))))

    @router.delete("/invitations/{id}", response_model=Done)
    async def withdraw(asker: AManager, id: str) -> Response:
        """Take a link back."""
        await run_in_threadpool(members.withdraw, asker, id)
        return _shown(Done())

    @router.get("/tokens", response_model=Tokens)
    async def tokens(_: AManager) -> Response:
        """The programs that have a token."""
        return _shown(Tokens(tuple(map(_token, members.programs()))))

    @router.post("/tokens", response_model=NewToken, status_code=201)
    async def add_token(asker: AManager, body: AddingToken) -> Response:
        """A token for a program, shown this once."""
        made, secret = await run_in_threadpool(members.add_program, asker, body.name, body.role)
        return _shown(NewToken(made.id, secret), 201)

    @router.delete("/tokens/{id}", response_model=Done)
    async def remove_token(asker: AManager, id: str) -> Response:
        """A program may not ask any more."""
        await run_in_threadpool(members.remove_program, asker, id)
        changes.ring()
        return _shown(Done())

    return router


def _mine(session: Session, asker: Asker) -> bool:
    return asker.person is not None and session.person == asker.person.id


def _session(session: Session, names: Mapping[PersonId, PersonShown], asker: Asker) -> OneSession:
    here = asker.session is not None and asker.session.id == session.id
    person = names[session.person]
    return OneSession(session.id, person, session.device, session.created, session.last_seen, here)


def _invitation(one: Invitation) -> OneInvitation:
    return OneInvitation(one.id, one.name, one.role, one.by, one.created, one.expires)


def _token(program: Program) -> OneToken:
    return OneToken(program.id, program.name, program.role, program.by, program.created)
