"""Which known device a new one is like, and the model that it would get from it.

A device is like another when both are of the same kind, or of the same maker by MAC address and by what
their DHCP clients say. That is a hint for people: it decides nothing.
"""

from collections.abc import Iterator
from dataclasses import replace

from controller.model.relationship import DeviceId, Reason, Relationship, ServiceId, Status
from controller.model.service import MAIN, Admission, Device, Place, Service
from controller.model.site import Site

_OURS = 2  # this bit of a MAC address's first byte: it names no maker (IEEE 802, "locally administered")
COPIED = frozenset({Status.LEARNED, Status.APPROVED, Status.DENIED})


def like(site: Site, newcomer: Device) -> Device | None:
    """The admitted device that a new one is most like and that has a model; None when there is none."""
    fitting = [
        device
        for device in site.devices.values()
        if device.place is Place.SITE
        and device.admission is Admission.ADMITTED
        and device.id != newcomer.id
        and not device.roles
        and alike(device, newcomer)
    ]
    fitting.sort(key=lambda device: device.first_seen)
    return next((device for device in fitting if any(map(lasting, relationships_of(site, device.id)))), None)


def alike(one: Device, other: Device) -> bool:
    if one.kind and other.kind:
        return one.kind.casefold() == other.kind.casefold()
    maker = _maker(one)
    return maker is not None and maker == _maker(other) and one.vendor == other.vendor


def _maker(device: Device) -> str | None:
    """The first half of a MAC address, which the maker has bought; None when it was made up."""
    if device.mac is None or int(device.mac[:2], 16) & _OURS:
        return None
    return device.mac[:8]


def relationships_of(site: Site, device: DeviceId) -> Iterator[Relationship]:
    """Every relationship that a service on a device is an end of, once."""
    mine = site.services_on(device)
    for service in mine:
        for relationship in site.graph.of(service):
            if relationship.access.client == service or relationship.access.client not in mine:
                yield relationship


def lasting(relationship: Relationship) -> bool:
    """Whether a relationship was learnt or decided for good."""
    return relationship.status in COPIED and relationship.until is None and not relationship.once


def copied(
    site: Site, model: DeviceId, newcomer: Device, decision: int, now: float
) -> tuple[tuple[Service, ...], tuple[Relationship, ...]]:
    """The services and relationships that a new device gets from one of its kind by a decision."""
    services: dict[ServiceId, Service] = {}
    for name in sorted(site.services_on(model)):
        old = site.services[name]
        mine = ServiceId(f"{newcomer.id}/{old.own_name}")
        services[name] = replace(
            site.services.get(mine) or old,
            id=mine,
            device=newcomer.id,
            name=newcomer.name if old.own_name == MAIN else old.name,
            endpoints=old.endpoints,
            learning=False,
            named_by_manager=False,
            first_seen=now,
            last_seen=now,
        )

    def mine_of(end: ServiceId) -> ServiceId:
        return services[end].id if end in services else end

    edges = []
    for relationship in relationships_of(site, model):
        if not lasting(relationship):
            continue
        access = relationship.access
        denied = relationship.status is Status.DENIED
        edges.append(
            Relationship(
                access=replace(access, client=mine_of(access.client), server=mine_of(access.server)),
                status=Status.DENIED if denied else Status.APPROVED,
                reason=Reason.DENIED if denied else Reason.KNOWN,
                endpoint=relationship.endpoint,
                verb=relationship.verb,
                first_seen=now,
                last_seen=now,
                decision=decision,
            )
        )
    return tuple(services.values()), tuple(edges)
