"""The application: routes, errors and authentication put together.

Knows nothing of sockets and threads; server.py runs it.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version

from fastapi import Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from controller.web.changes import Changes
from controller.web.commanding import commanding
from controller.web.guard import Guard, problem
from controller.web.reading import plain, reading
from controller.web.site import ApiError, History, Site
from controller.web.values import Problem

log = logging.getLogger(__name__)

_LIST = "every address is listed in /api/v1/openapi.json"


def _version() -> str:
    try:
        return version("graphwall")
    except PackageNotFoundError:
        return "0"


def create_app(site: Site, history: History, token: str) -> FastAPI:
    """The API for a running site. `app.state.changes.close()` ends its event streams."""
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
    signed_in = [Depends(HTTPBearer(auto_error=False))]  # for OpenAPI; the Guard is who looks
    app.include_router(commanding(site, changes), prefix="/api/v1", dependencies=signed_in)
    app.include_router(reading(site, history, changes), prefix="/api/v1", dependencies=signed_in)
    app.include_router(plain(site))
    _answer_errors(app)
    app.add_middleware(Guard, token=token)
    return app


def _answer_errors(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def refused(_: Request, error: ApiError) -> Response:
        return problem(error.status, error.code, error.message, error.remedy)

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
