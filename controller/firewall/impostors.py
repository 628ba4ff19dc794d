"""Warns of an asker whose name looks like that of another device or program here.

A hint for people: it decides nothing. Internet destinations are left out, as their names are not chosen
to be taken for a device of the site.
"""

from collections import defaultdict
from collections.abc import Iterator

from controller.firewall.requests import Request
from controller.lookalike import skeleton
from controller.model.relationship import DeviceId
from controller.model.service import MAIN, Device, Place, Service
from controller.model.site import Site
from controller.words import visible


class Impostors:
    """Knows the names of a site at one moment; they are gathered when the first is asked for."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._known: dict[str, dict[str, DeviceId]] | None = None  # by skeleton: names, and whose they are

    def warning(self, request: Request) -> str:
        """A sentence about whom the asker could be taken for; "" when there is nobody."""
        for name, device in self._names_of(request):
            for other, holder in self._index().get(skeleton(name), {}).items():
                if holder != device.id and other.casefold() != name.casefold():
                    return (
                        f'It is called "{visible(name)}": that looks like {visible(other)}, '
                        "but is written with other letters."
                    )
        return ""

    def _names_of(self, request: Request) -> Iterator[tuple[str, Device]]:
        if request.device is not None:
            yield request.device.name, request.device
            return
        service = self._site.services[request.relationships[0].access.client]
        device = self._site.devices[service.device]
        if _speaks(service):
            yield service.name, device
        if device.place is Place.SITE:
            yield device.name, device

    def _index(self) -> dict[str, dict[str, DeviceId]]:
        if self._known is None:
            known: defaultdict[str, dict[str, DeviceId]] = defaultdict(dict)
            for device in self._site.devices.values():
                if device.place is Place.SITE:
                    known[skeleton(device.name)].setdefault(device.name, device.id)
            for service in self._site.services.values():
                if _speaks(service) and self._site.devices[service.device].place is Place.SITE:
                    known[skeleton(service.name)].setdefault(service.name, service.device)
            known.pop("", None)
            self._known = dict(known)
        return self._known


def _speaks(service: Service) -> bool:
    """Whether a service has a name that it, or people, have given it."""
    return service.own_name != MAIN and not any(service.own_name == str(e) for e in service.endpoints)
