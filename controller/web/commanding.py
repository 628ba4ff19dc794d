"""What can be done: every route that changes something.

Each makes one command, has the site carry it out, and says what became of it. The clock for "until
tonight" is here.
"""

import time
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from controller.events import Answer, Block, Command, Decide, Forget, Learn, Move, Pause, Rename, SameAs, Undo
from controller.model.relationship import DeviceId, ServiceId
from controller.people import Role
from controller.view import DecisionView, SiteView
from controller.web.asking import AManager, AResident
from controller.web.changes import Changes
from controller.web.members import Asker
from controller.web.reading import shown
from controller.web.site import ApiError, Site
from controller.web.values import (
    Answering,
    Blocking,
    Carried,
    LearnAction,
    Likening,
    Moving,
    Naming,
    Pausing,
    Undoing,
)

_STATUS = {
    "not found": 404,
    "ambiguous": 409,
    "already so": 409,
    "confirm": 409,
    "not allowed": 403,
    "changed": 409,
    "not stored": 503,
}


def tonight(now: float) -> float:
    """The next midnight of this machine's time zone."""
    today = time.localtime(now)
    return time.mktime((today.tm_year, today.tm_mon, today.tm_mday + 1, 0, 0, 0, 0, 0, -1))


def _made(view: SiteView, decision: int | None) -> DecisionView | None:
    return next((one for one in view.decisions if one.decision.id == decision), None)


def _seen(decision: int, undone: bool) -> Callable[[SiteView], bool]:
    """Whether a view shows a decision (or the undoing of it) in force."""

    def test(view: SiteView) -> bool:
        made = _made(view, decision)
        return made is not None and made.in_force and (made.decision.undone_at is not None) == undone

    return test


Carrier = Callable[..., Awaitable[Response]]  # carry_out(command, wait=0.0)


def carrier(site: Site, changes: Changes) -> Carrier:
    """What has the site carry out a command, and says what became of it."""

    async def carry_out(command: Command, wait: float = 0.0) -> Response:
        answer: Answer = await run_in_threadpool(site.call, command)
        if answer.code is not None:
            raise ApiError(_STATUS.get(answer.code, 400), answer.code, answer.message, answer.remedy)
        if answer.decision is None:
            view = await run_in_threadpool(site.snapshot)
            return shown(Carried(view.version, None, "", None, None, None))
        view = await changes.wait_until(_seen(answer.decision, isinstance(command, Undo)), wait)
        made = _made(view, answer.decision)
        if made is None:  # so old that the view does not show it
            return shown(Carried(view.version, answer.decision, "", False, None, None))
        decision = made.decision
        return shown(
            Carried(view.version, decision.id, decision.sentence, made.in_force, made.latency, decision.until)
        )

    return carry_out


def commanding(carry_out: Carrier, clock: Callable[[], float] = time.time) -> APIRouter:
    """The routes below /api/v1."""
    router = APIRouter(tags=["commands"])

    async def decide(asker: Asker, request: str, approve: bool, body: Answering | None) -> Response:
        body = body or Answering()
        command = Decide(
            token=0,
            request=request,
            approve=approve,
            by=asker.by,
            scope=body.scope,
            duration=body.duration,
            tonight=tonight(clock()),
            only=body.only,
            manager=asker.role.includes(Role.MANAGER),
            confirmed=body.confirmed or asker.session is None,  # a program has no second tap
        )
        return await carry_out(command, body.wait)

    @router.post("/requests/{request}/approve", response_model=Carried)
    async def approve(asker: AResident, request: str, body: Answering | None = None) -> Response:
        """Allow what a request asks for."""
        return await decide(asker, request, True, body)

    @router.post("/requests/{request}/deny", response_model=Carried)
    async def deny(asker: AResident, request: str, body: Answering | None = None) -> Response:
        """Keep what a request asks for blocked."""
        return await decide(asker, request, False, body)

    @router.post("/requests/{request}/same-as", response_model=Carried)
    async def same_as(asker: AManager, request: str, body: Likening) -> Response:
        """Let a new device join, with the same permissions as one of its kind; it learns nothing itself."""
        confirmed = body.confirmed or asker.session is None
        return await carry_out(SameAs(0, request, DeviceId(body.device), asker.by, confirmed), body.wait)

    @router.post("/decisions/{decision}/undo", response_model=Carried)
    async def undo(asker: AResident, decision: int, body: Undoing | None = None) -> Response:
        """Take a decision back."""
        command = Undo(0, decision, asker.by, asker.role.includes(Role.MANAGER))
        return await carry_out(command, body.wait if body else 0.0)

    @router.post("/services/{name:path}/learn", response_model=Carried)
    async def learn(asker: AManager, name: str, body: LearnAction) -> Response:
        """Start a service's learning phase again, or end it now."""
        return await carry_out(Learn(0, ServiceId(name), body.action == "start", asker.by))

    @router.post("/services/{name:path}/move", response_model=Carried)
    async def move(asker: AManager, name: str, body: Moving) -> Response:
        """A service lives on another device now; its model goes along."""
        return await carry_out(Move(0, ServiceId(name), DeviceId(body.device), asker.by))

    @router.post("/services/{name:path}/rename", response_model=Carried)
    @router.post("/services/{name:path}/name", response_model=Carried)
    @router.post("/devices/{name:path}/rename", response_model=Carried)
    @router.post("/devices/{name:path}/name", response_model=Carried)
    async def rename(asker: AResident, name: str, body: Naming) -> Response:
        """Give a service or device a name that sticks."""
        return await carry_out(Rename(0, name, body.name, asker.by))

    @router.post("/devices/{name:path}/pause", response_model=Carried)
    async def pause(asker: AManager, name: str, body: Pausing) -> Response:
        """Let everything of a device pass for a while that nobody has denied; 0 seconds end that."""
        return await carry_out(Pause(0, DeviceId(name), body.seconds, asker.by))

    @router.post("/devices/{name:path}/block", response_model=Carried)
    async def block(asker: AManager, name: str, body: Blocking | None = None) -> Response:
        """Quarantine a device, or with `blocked: false` admit it again."""
        return await carry_out(Block(0, DeviceId(name), body.blocked if body else True, asker.by))

    @router.post("/devices/{name:path}/forget", response_model=Carried)
    async def forget(asker: AManager, name: str) -> Response:
        """Take a device out of the model, with all that is known of it; the log stays."""
        return await carry_out(Forget(0, DeviceId(name), asker.by))

    return router
