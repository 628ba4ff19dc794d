"""Graph and model as files, and an edited model back.

Knows the formats' names and media types; what is in them is made elsewhere.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from controller.config import ConfigError
from controller.view import SiteView
from controller.web import document, export
from controller.web.asking import AManager
from controller.web.commanding import Carrier
from controller.web.document import Change
from controller.web.looking import looking_at
from controller.web.reading import shown
from controller.web.site import ApiError, Site

YAML = "application/yaml"


class Format(StrEnum):
    GRAPHML = "graphml"
    JSON = "json"
    DOT = "dot"
    SVG = "svg"
    PNG = "png"


@dataclass(frozen=True, slots=True)
class Preview:
    """What an import would change; the fingerprint is what the import itself has to show."""

    version: int
    changes: tuple[Change, ...]
    fingerprint: str


def _svg(view: SiteView) -> str:
    from controller.web import picture  # noqa: PLC0415  # loads numpy, which most never need

    return picture.svg(picture.draw(view))


def _png(view: SiteView) -> bytes:
    from controller.web import picture  # noqa: PLC0415  # loads numpy, which most never need

    return picture.png(picture.draw(view))


_FORMATS: dict[Format, tuple[str, Callable[[SiteView], str | bytes]]] = {
    Format.GRAPHML: ("application/xml", export.graphml),
    Format.JSON: ("application/json", export.node_link),
    Format.DOT: ("text/vnd.graphviz", export.dot),
    Format.SVG: ("image/svg+xml", _svg),
    Format.PNG: ("image/png", _png),
}


def _file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


def exporting(site: Site, carry_out: Carrier) -> APIRouter:
    """The routes below /api/v1."""
    router = APIRouter(tags=["files"])
    look = looking_at(site)
    a_file: dict[int | str, Any] = {
        200: {"content": {kind: {} for kind, _ in _FORMATS.values()}, "description": "the file"}
    }

    @router.get("/export/graph", response_class=Response, responses=a_file)
    def graph(
        view: Annotated[SiteView, Depends(look)], format: Annotated[Format, Query()] = Format.JSON
    ) -> Response:
        """The communication graph for other programs, or as a picture."""
        kind, make = _FORMATS[format]
        return Response(make(view), media_type=kind, headers=_file(f"graphwall-graph.{format.value}"))

    @router.get(
        "/export/model",
        response_class=Response,
        responses={200: {"content": {YAML: {}}, "description": "the file"}},
    )
    def model(view: Annotated[SiteView, Depends(look)]) -> Response:
        """The model as YAML, to be kept, edited and imported."""
        return Response(document.write(view), media_type=YAML, headers=_file("graphwall-model.yaml"))

    @router.get(
        "/export/grafana",
        response_class=Response,
        responses={200: {"content": {"application/json": {}}, "description": "the file"}},
    )
    def grafana() -> Response:
        """A dashboard for Grafana, made from the metrics of /metrics."""
        return Response(dashboard(), media_type="application/json", headers=_file("graphwall-grafana.json"))

    @router.post(
        "/import/model",
        response_model=Preview,
        openapi_extra={"requestBody": {"content": {YAML: {"schema": {"type": "string"}}}, "required": True}},
    )
    async def import_model(
        request: Request,
        asker: AManager,
        preview: Annotated[bool, Query(description="only say what would change")] = False,
        fingerprint: Annotated[str | None, Query(description="of the preview")] = None,
    ) -> Response:
        """Make the model what a document says: with `preview` only say how; else show its fingerprint."""
        try:
            text = (await request.body()).decode("utf-8")
            view = await run_in_threadpool(site.snapshot)
            wanted = await run_in_threadpool(document.read, text)
            command = document.difference(view, wanted, asker.by)
        except UnicodeDecodeError:
            raise ApiError(422, "not understood", "the model is not UTF-8 text", "save it as UTF-8") from None
        except ConfigError as error:
            raise ApiError(422, "not understood", str(error), "correct it and try again") from None
        found = document.fingerprint(command)
        if preview:
            return shown(Preview(view.version, document.changes(view, command), found))
        if fingerprint != found:
            raise ApiError(
                409,
                "changed",
                "this is not what the preview has shown" if fingerprint else "nobody has looked at a preview",
                "ask with preview=1, look at the changes, and import with their fingerprint",
            )
        return await carry_out(command)

    return router


def dashboard() -> str:
    """The dashboard for Grafana, as it is in the package."""
    return files("controller.web").joinpath("grafana.json").read_text("utf-8")
