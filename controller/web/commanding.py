"""What can be done: every route that changes something.

Each makes one command, has the site carry it out, and says what became of it. The clock for "until
tonight" is here.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from datetime import time as time_of_day

from fastapi import APIRouter, Response
from starlette.concurrency import run_in_threadpool

from controller.events import Answer, Block, Command, Decide, Learn, Move, Rename, Undo
from controller.model.relationship import DeviceId, ServiceId
from controller.view import DecisionView, SiteView
from controller.web.changes import Changes
from controller.web.reading import shown
from controller.web.site import Refusal, Site
from controller.web.values import Answering, Blocking, Carried, LearnAction, Moving, Naming, Undoing

LOCAL = "local command line"  # who shows the token of the state folder

_STATUS = {"not found": 404, "ambiguous": 409, "already so": 409, "not stored": 503}


def tonight(now: float) -> float:
    """The next midnight of this machine's time zone."""
    tomorrow = datetime.fromtimestamp(now).date() + timedelta(days=1)
    return datetime.combine(tomorrow, time_of_day.min).timestamp()


def _made(view: SiteView, decision: int | None) -> DecisionView | None:
    return next((one for one in view.decisions if one.decision.id == decision), None)


def _seen(decision: int, undone: bool) -> Callable[[SiteView], bool]:
    """Whether a view shows a decision (or the undoing of it) in force."""

    def test(view: SiteView) -> bool:
        made = _made(view, decision)
        return made is not None and made.in_force and (made.decision.undone_at is not None) == undone

    return test


def commanding(site: Site, changes: Changes, clock: Callable[[], float] = time.time) -> APIRouter:
    """The routes below /api/v1."""
    router = APIRouter(tags=["commands"])

    async def carry_out(command: Command, wait: float = 0.0) -> Response:
        try:
            answer: Answer = await run_in_threadpool(site.call, command)
        except TimeoutError:
            raise Refusal(
                504, "no answer", "the controller did not answer in time", "see its log; then try again"
            ) from None
        if answer.code is not None:
            raise Refusal(_STATUS.get(answer.code, 400), answer.code, answer.message, answer.remedy)
        view = site.snapshot()
        if answer.decision is None:
            return shown(Carried(view.version, None, "", None, None, None))
        view = await changes.wait_until(_seen(answer.decision, isinstance(command, Undo)), wait)
        made = _made(view, answer.decision)
        if made is None:  # so old that the view does not show it
            return shown(Carried(view.version, answer.decision, "", False, None, None))
        decision = made.decision
        return shown(
            Carried(view.version, decision.id, decision.sentence, made.in_force, made.latency, decision.until)
        )

    async def decide(id: str, approve: bool, body: Answering | None) -> Response:
        body = body or Answering()
        command = Decide(
            token=0,
            request=id,
            approve=approve,
            by=LOCAL,
            scope=body.scope,
            duration=body.duration,
            tonight=tonight(clock()),
            only=body.only,
        )
        return await carry_out(command, body.wait)

    @router.post("/requests/{id}/approve", response_model=Carried)
    async def approve(id: str, body: Answering | None = None) -> Response:
        """Allow what a request asks for."""
        return await decide(id, True, body)

    @router.post("/requests/{id}/deny", response_model=Carried)
    async def deny(id: str, body: Answering | None = None) -> Response:
        """Keep what a request asks for blocked."""
        return await decide(id, False, body)

    @router.post("/decisions/{id}/undo", response_model=Carried)
    async def undo(id: int, body: Undoing | None = None) -> Response:
        """Take a decision back."""
        return await carry_out(Undo(0, id, LOCAL), body.wait if body else 0.0)

    @router.post("/services/{id:path}/learn", response_model=Carried)
    async def learn(id: str, body: LearnAction) -> Response:
        """Start a service's learning phase again, or end it now."""
        return await carry_out(Learn(0, ServiceId(id), body.action == "start", LOCAL))

    @router.post("/services/{id:path}/move", response_model=Carried)
    async def move(id: str, body: Moving) -> Response:
        """A service lives on another device now; its model goes along."""
        return await carry_out(Move(0, ServiceId(id), DeviceId(body.device), LOCAL))

    @router.post("/services/{id:path}/rename", response_model=Carried)
    @router.post("/devices/{id:path}/rename", response_model=Carried)
    async def rename(id: str, body: Naming) -> Response:
        """Give a service or device a name that sticks."""
        return await carry_out(Rename(0, id, body.name, LOCAL))

    @router.post("/devices/{id:path}/block", response_model=Carried)
    async def block(id: str, body: Blocking | None = None) -> Response:
        """Quarantine a device, or with `blocked: false` admit it again."""
        return await carry_out(Block(0, DeviceId(id), body.blocked if body else True, LOCAL))

    return router
