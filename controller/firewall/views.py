"""Makes the SiteView: the model, the flows and the counters as one picture for people.

Reads, and changes nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from controller.firewall.enforcement import Enforcement
from controller.firewall.fabric import Fabric
from controller.firewall.impostors import Impostors
from controller.firewall.learning import Learner
from controller.firewall.requests import card, relationship_id, requests
from controller.firewall.state import State, enforcer
from controller.flows.compile import Pair
from controller.flows.flow import cookie_of
from controller.model.relationship import Relationship, ServiceId, Treatment
from controller.model.service import Device
from controller.view import (
    DecisionView,
    FlowView,
    LaterMapping,
    LaterSequence,
    PairView,
    RelationshipView,
    ServiceView,
    SiteView,
    SwitchView,
)
from controller.words import infrastructure, risk, sentence


def build_view(
    state: State,
    fabric: Fabric,
    enforcement: Enforcement,
    learner: Learner,
    enforced: Mapping[int, tuple[bool, float | None]],
    counters: Mapping[int, Mapping[int, tuple[int, int]]],
    inspector: bool,
    now: float,
) -> SiteView:
    """The site at `now`. `counters`: packets and bytes by switch and cookie."""
    site = state.site
    decisions = []
    for made in state.decisions.values():
        in_force, latency = enforced.get(made.id, (True, None))
        current = (site.graph.get(access) for access in made.accesses)
        covers = sum(r.allowed for r in current if r is not None and r.decision == made.id)
        decisions.append(DecisionView(made, in_force, latency, covers))
    impostors = Impostors(site)
    names = {s.dpid: s.name for s in state.config.switches}
    many = _Many(state, enforcement, learner, counters)
    return SiteView(
        version=state.revision,
        time=now,
        site=state.config.site,
        inspector=inspector,
        devices=many.devices,
        services=LaterMapping(many.service_views),
        relationships=LaterMapping(many.relationship_views),
        requests=tuple(
            replace(card(request, site, names, now), warning=impostors.warning(request))
            for request in requests(site)
        ),
        decisions=tuple(decisions),
        pairs=LaterSequence(many.pair_views),
        switches=tuple(
            SwitchView(
                switch=switch,
                name=names.get(switch, f"switch {switch}"),
                connected=fabric.connected(switch),
                ports={number: port.name for number, port in fabric.ports(switch).items()},
                flows=enforcement.count(switch),
                links=fabric.links_of(switch),
                inspected=fabric.layout(switch).inspection is not None,
            )
            for switch in fabric.switches
        ),
        log=tuple(state.log),
        counters=dict(state.counters),
    )


class _Many:
    """What there may be thousands of, as it was at one moment; what people see of it is made later."""

    def __init__(
        self,
        state: State,
        enforcement: Enforcement,
        learner: Learner,
        counters: Mapping[int, Mapping[int, tuple[int, int]]],
    ) -> None:
        site = state.site
        self.devices = site.devices.copy()
        self._services = site.services.copy()
        self._relationships = site.relationships()
        self._pairs = state.pairs.copy()
        self._decisions = state.decisions.copy()
        self._router = site.router
        self._flows = enforcement.of_pairs()
        self._confirmed = enforcement.in_force(enforcement.asked())
        self._progress = learner.progress  # goes by the service that it is given
        self._counters = dict(counters)  # of each switch: a value, replaced as a whole

    def _device_of(self, service: ServiceId) -> Device:
        return self.devices[self._services[service].device]

    def _by_cookie(self) -> Mapping[int, tuple[int, int]]:
        found: defaultdict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for per_switch in self._counters.values():
            for cookie, (packets, size) in per_switch.items():
                before = found[cookie]
                found[cookie] = before[0] + packets, before[1] + size
        return found

    def service_views(self) -> Mapping[ServiceId, ServiceView]:
        ends: Counter[ServiceId] = Counter()
        for access in self._relationships:
            ends.update({access.client, access.server})
        return {
            service.id: ServiceView(
                service,
                self.devices[service.device],
                self._progress(service),
                ends[service.id],
                infrastructure(self.devices[service.device], service),
            )
            for service in self._services.values()
        }

    def relationship_views(self) -> Mapping[str, RelationshipView]:
        by_cookie = self._by_cookie()
        views = (self._relationship_view(each, by_cookie) for each in self._relationships.values())
        return {view.id: view for view in views}

    def _relationship_view(
        self, relationship: Relationship, by_cookie: Mapping[int, tuple[int, int]]
    ) -> RelationshipView:
        access = relationship.access
        client, server = self._device_of(access.client), self._device_of(access.server)
        pair = Pair(client.id, server.id, relationship.endpoint)
        packets, size = by_cookie[cookie_of(pair.origin)]
        switches = {enforcer(self.devices, self._router, device) for device in (client, server)}
        decision = self._decisions.get(relationship.decision) if relationship.decision is not None else None
        return RelationshipView(
            id=relationship_id(access),
            relationship=relationship,
            sentence=sentence(access, client, server),
            treatment=self._pairs.get(pair, Treatment.INSPECT),
            client_device=client.id,
            server_device=server.id,
            switches=tuple(sorted(s for s in switches if s is not None)),
            packets=packets,
            bytes=size,
            risk=risk(access, server),
            decided_by=decision.by if decision is not None else "",
        )

    def pair_views(self) -> Sequence[PairView]:
        by_cookie = self._by_cookie()
        return tuple(self._pair_view(pair, by_cookie) for pair in self._pairs)

    def _pair_view(self, pair: Pair, by_cookie: Mapping[int, tuple[int, int]]) -> PairView:
        cookie = cookie_of(pair.origin)
        flows = tuple(
            FlowView(switch, flow, *self._counters.get(switch, {}).get(flow.cookie, (0, 0)))
            for switch, flow in self._flows.of(pair)
        )
        packets, size = by_cookie[cookie]
        return PairView(
            client=pair.client,
            server=pair.server,
            endpoint=pair.endpoint,
            treatment=self._pairs[pair],
            in_force=self._confirmed,
            cookie=cookie,
            packets=packets,
            bytes=size,
            flows=flows,
        )
