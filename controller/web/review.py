"""Rates what a service has learnt: which of it a person should look at when its learning phase is over.

Pure. Knows nothing of HTTP but the refusal of a question about a service that does not exist.
"""

from controller.model.relationship import ServiceId, Status
from controller.model.service import Place
from controller.view import RelationshipView, SiteView
from controller.web.site import ApiError
from controller.web.values import Deserving, Review
from controller.words import visible

_RISKS = ("opens", "changes", "reads")


def review(site: SiteView, name: ServiceId) -> Review:
    """What is there to say about a service's learning phase. Raises ApiError."""
    view = site.services.get(name)
    if view is None:
        raise ApiError(
            404, "not found", f"there is no service {visible(name)}", "see 'graphwall services' for the ids"
        )
    learnt = [
        edge
        for edge in site.relationships.values()
        if edge.relationship.status is Status.LEARNED
        and name in (edge.relationship.access.client, edge.relationship.access.server)
    ]
    found = (
        Deserving(edge.id, edge.sentence.replace(" wants to ", " may ", 1), edge.risk, why)
        for edge in learnt
        if (why := _why(site, edge))
    )
    worth = sorted(found, key=lambda one: _RISKS.index(one.risk))
    ended = None if view.service.learning else view.service.graduated
    return Review(site.version, view.service.learning, len(learnt), tuple(worth), ended)


def _why(site: SiteView, edge: RelationshipView) -> str:
    """Why a learnt relationship deserves a look; "" when it does not."""
    relationship = edge.relationship
    client, server = site.devices[edge.client_device], site.devices[edge.server_device]
    if client.place is Place.REMOTE:
        return "Somebody outside asks for it."
    if edge.risk == "opens":
        return "It can open or endanger something."
    if server.place is Place.REMOTE and server.id.removeprefix("@") in server.addresses:
        return "It goes to an address outside that has no name."
    if edge.risk == "changes" and relationship.allowed <= 1:
        return "It changes something, and was seen only once."
    return ""
