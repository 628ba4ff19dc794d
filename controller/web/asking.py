"""Who asks, for the routes: as the Guard has recognised, and whether the role is enough.

Knows nothing of cookies and tokens.
"""

from typing import Annotated

from fastapi import Depends, Request

from controller.people import Role
from controller.web.members import Asker
from controller.web.site import ApiError


def the_asker(request: Request) -> Asker:
    """Whom the Guard has recognised."""
    found = request.state.asker
    assert isinstance(found, Asker)
    return found


def at_least(role: Role) -> object:
    """A dependency: the asker, refused unless the role includes this one."""

    def look(request: Request) -> Asker:
        asker = the_asker(request)
        if not asker.role.includes(role):
            raise not_allowed(role)
        return asker

    return Depends(look)


def not_allowed(role: Role) -> ApiError:
    return ApiError(403, "not allowed", f"this needs a {role}", f"ask a {role} to do it")


AnAsker = Annotated[Asker, Depends(the_asker)]
AResident = Annotated[Asker, at_least(Role.RESIDENT)]
AManager = Annotated[Asker, at_least(Role.MANAGER)]
