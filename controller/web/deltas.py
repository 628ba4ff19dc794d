"""The communication graph as what has changed since it was told last: what the live map is drawn from.

Pure. Knows nothing of who listens.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from controller.model.relationship import DeviceId, ServiceId
from controller.model.service import Device
from controller.view import RelationshipView, ServiceView, SiteView

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Gone:
    """The ids of what is not there any more."""

    devices: tuple[DeviceId, ...] = ()
    services: tuple[ServiceId, ...] = ()
    relationships: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GraphDelta:
    """What leads from one graph to the next. `whole`: forget what you have, this is all of it."""

    version: int
    site: str
    whole: bool
    devices: tuple[Device, ...]
    services: tuple[ServiceView, ...]
    relationships: tuple[RelationshipView, ...]
    gone: Gone


def _fresh(old: Mapping[K, V], new: Mapping[K, V]) -> tuple[V, ...]:
    return tuple(value for key, value in new.items() if old.get(key) != value)


def _lost(old: Mapping[K, V], new: Mapping[K, V]) -> tuple[K, ...]:
    return tuple(key for key in old if key not in new)


def graph_delta(old: SiteView | None, new: SiteView) -> GraphDelta | None:
    """From `old` (None: nothing was told yet) to `new`; None when the graph is the same."""
    if old is None:
        devices, services = tuple(new.devices.values()), tuple(new.services.values())
        relationships = tuple(new.relationships.values())
        return GraphDelta(new.version, new.site, True, devices, services, relationships, Gone())
    delta = GraphDelta(
        new.version,
        new.site,
        False,
        _fresh(old.devices, new.devices),
        _fresh(old.services, new.services),
        _fresh(old.relationships, new.relationships),
        Gone(
            _lost(old.devices, new.devices),
            _lost(old.services, new.services),
            _lost(old.relationships, new.relationships),
        ),
    )
    same = not (delta.devices or delta.services or delta.relationships) and delta.gone == Gone()
    return None if same else delta
