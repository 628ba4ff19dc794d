"""The page: files of the package that are the same for everybody, and tell nothing of the site.

Knows nothing of what is in them.
"""

from pathlib import Path

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "page" / "static"
_FRESH = {"Cache-Control": "no-cache"}  # kept, but asked for again: a new version shows at once
_AT_THE_TOP = {
    "/": ("index.html", "text/html"),
    "/manifest.webmanifest": ("manifest.webmanifest", "application/manifest+json"),
    "/service-worker.js": ("service-worker.js", "text/javascript"),
}


class _Files(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        answer = await super().get_response(path, scope)
        answer.headers.update(_FRESH)
        return answer


def add_pages(app: FastAPI, folder: Path) -> None:
    """Serve the page's files below /page, and at the top what browsers look for there."""

    async def top(request: Request) -> Response:
        name, media_type = _AT_THE_TOP[request.url.path]
        path = folder / name
        if not path.is_file():
            raise HTTPException(404)
        found = FileResponse(path, media_type=media_type, headers=_FRESH, stat_result=path.stat())
        if request.headers.get("if-none-match") == found.headers["etag"]:
            return Response(status_code=304, headers={"ETag": found.headers["etag"], **_FRESH})
        return found

    for address in _AT_THE_TOP:
        app.router.routes.append(Route(address, top, methods=["GET"]))
    for name in ("page", "icons"):
        inside = folder if name == "page" else folder / name
        app.router.routes.append(Mount(f"/{name}", _Files(directory=inside, check_dir=False)))
