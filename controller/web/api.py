"""The application: routes, errors and authentication put together.

Knows nothing of sockets and threads; server.py runs it.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import APIKeyCookie, HTTPBearer
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware

from controller.people import NotKeptError
from controller.web.changes import Changes
from controller.web.commanding import carrier, commanding
from controller.web.exporting import exporting
from controller.web.guard import COOKIE, Guard, problem
from controller.web.looking import NotModifiedError
from controller.web.members import Members
from controller.web.pages import FOLDER, add_pages
from controller.web.password import BusyError
from controller.web.reading import plain, reading
from controller.web.signing import signing
from controller.web.site import ApiError, History, Site
from controller.web.values import Problem

log = logging.getLogger(__name__)

_LIST = "every address is listed in /api/v1/openapi.json"


def _version() -> str:
    try:
        return version("graphwall")
    except PackageNotFoundError:
        return "0"


def create_app(site: Site, history: History, members: Members, page: Path = FOLDER) -> FastAPI:
    """The page and the API for a running site. `app.state.changes.close()` ends its event streams."""
    changes = Changes(site)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        changes.open()
        yield
        changes.close()

    app = FastAPI(
        title="Graphwall",
        version=_version(),
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        responses={
            "default": {"model": Problem, "description": "Every error has this form."},
        },
    )
    app.state.changes = changes
    app.state.url = None  # how others reach it, as far as is known
    carry_out = carrier(site, changes)
    signed_in = [  # for OpenAPI; the Guard is who looks
        Depends(HTTPBearer(auto_error=False)),
        Depends(APIKeyCookie(name=COOKIE, auto_error=False)),
    ]
    app.include_router(commanding(carry_out), prefix="/api/v1", dependencies=signed_in)
    app.include_router(exporting(site, carry_out), prefix="/api/v1", dependencies=signed_in)
    app.include_router(reading(site, history, changes, members), prefix="/api/v1", dependencies=signed_in)
    app.include_router(signing(members, changes), prefix="/api/v1", dependencies=signed_in)
    app.include_router(plain(site))
    add_pages(app, page)
    _answer_errors(app)
    app.add_middleware(Guard, members=members)
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=6)
    return app


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> Response:
        return problem(error.status, error.code, error.message, error.remedy)

    @app.exception_handler(NotModifiedError)
    async def seen(_: Request, __: NotModifiedError) -> Response:
        return Response(status_code=304)

    @app.exception_handler(NotKeptError)
    async def not_kept(_: Request, error: NotKeptError) -> Response:
        return problem(
            503, "not stored", f"this could not be stored, so nothing was changed: {error}", "free some space"
        )

    @app.exception_handler(BusyError)
    async def busy(_: Request, __: BusyError) -> Response:
        return problem(429, "too many attempts", "others are signing in", "try again in a moment")

    @app.exception_handler(TimeoutError)
    async def silent(_: Request, __: TimeoutError) -> Response:
        return problem(
            504, "no answer", "the controller did not answer in time", "see its log; then try again"
        )

    @app.exception_handler(RequestValidationError)
    async def misunderstood(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        return problem(422, "not understood", f"{where}: {first['msg']}", _LIST)

    @app.exception_handler(HTTPException)
    async def wrong(_: Request, error: HTTPException) -> Response:
        answer = problem(error.status_code, str(error.detail).lower(), str(error.detail), _LIST)
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem(
            500, "internal error", "this went wrong inside the controller", "see its log; please report"
        )
