"""One look at the site for one request: as the asker may see it, and only if it has changed.

Knows nothing of what is made of the view.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from fastapi import Request

from controller.people import Role
from controller.view import SiteView
from controller.web.asking import the_asker
from controller.web.members import Asker
from controller.web.site import ApiError, Site
from controller.words import visible

T = TypeVar("T")

FRESH_FOR = 15.0  # s that counters and "still trying" may lag behind for who asks only for changes


class NotModifiedError(Exception):
    """The asker has this already."""


def for_asker(view: SiteView, asker: Asker) -> SiteView:
    """The site with each request marked as this asker may answer it."""
    manager = asker.role.includes(Role.MANAGER)
    resident = asker.role.includes(Role.RESIDENT)
    requests = tuple(
        replace(one, may_answer=manager or (resident and not one.sensitive and one.kind != "admission"))
        for one in view.requests
    )
    return replace(view, requests=requests)


def looking_at(site: Site) -> Callable[[Request], SiteView]:
    """A dependency that looks at the site; it raises NotModifiedError for who has seen the same."""
    start = secrets.token_hex(4)  # versions count from the start of the controller

    def look(request: Request) -> SiteView:
        asker = the_asker(request)
        view = site.snapshot()
        tag = f'W/"{start}-{view.version}-{asker.role}-{int(view.time // FRESH_FOR)}"'
        request.state.etag = tag
        if tag in request.headers.get("if-none-match", ""):
            raise NotModifiedError
        return for_asker(view, asker)

    return look


def page(
    items: Sequence[T], id_of: Callable[[T], str], limit: int | None, after: str | None
) -> tuple[tuple[T, ...], str | None]:
    """At most `limit` items after the one with the id `after`, and the id to go on from. Raises ApiError."""
    first = 0
    if after is not None:
        found = next((at for at, item in enumerate(items) if id_of(item) == after), None)
        if found is None:
            raise ApiError(
                404,
                "not found",
                f"there is nothing with the id {visible(after)}",
                "begin again without 'after'",
            )
        first = found + 1
    last = len(items) if limit is None else min(first + limit, len(items))
    return tuple(items[first:last]), id_of(items[last - 1]) if first < last < len(items) else None
