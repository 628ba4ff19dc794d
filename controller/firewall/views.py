"""Makes the SiteView: the model, the flows and the counters as one picture for people.

Reads, and changes nothing.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

from controller.firewall.enforcement import Enforcement
from controller.firewall.fabric import Fabric
from controller.firewall.impostors import Impostors
from controller.firewall.learning import Learner
from controller.firewall.requests import card, relationship_id, requests
from controller.firewall.state import State, switch_of
from controller.flows.compile import Pair
from controller.flows.flow import cookie_of
from controller.model.relationship import Relationship, Treatment
from controller.view import (
    DecisionView,
    FlowView,
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
    by_cookie: defaultdict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for per_switch in counters.values():
        for cookie, (packets, size) in per_switch.items():
            by_cookie[cookie] = (by_cookie[cookie][0] + packets, by_cookie[cookie][1] + size)

    def relationship_view(relationship: Relationship) -> RelationshipView:
        access = relationship.access
        client, server = site.device_of(access.client), site.device_of(access.server)
        pair = Pair(client.id, server.id, relationship.endpoint)
        packets, size = by_cookie[cookie_of(pair.origin)]
        switches = {switch_of(site, client), switch_of(site, server)} - {None}
        return RelationshipView(
            id=relationship_id(access),
            relationship=relationship,
            sentence=sentence(access, client, server),
            treatment=state.pairs.get(pair, Treatment.INSPECT),
            client_device=client.id,
            server_device=server.id,
            switches=tuple(sorted(s for s in switches if s is not None)),
            packets=packets,
            bytes=size,
            risk=risk(access, server),
            decided_by=state.decisions[number].by
            if (number := relationship.decision) in state.decisions
            else "",
        )

    decisions = []
    for made in state.decisions.values():
        in_force, latency = enforced.get(made.id, (True, None))
        current = (site.graph.get(access) for access in made.accesses)
        covers = sum(r.allowed for r in current if r is not None and r.decision == made.id)
        decisions.append(DecisionView(made, in_force, latency, covers))
    impostors = Impostors(site)
    confirmed = enforcement.in_force(enforcement.asked())
    names = {s.dpid: s.name for s in state.config.switches}
    return SiteView(
        version=state.revision,
        time=now,
        site=state.config.site,
        inspector=inspector,
        devices=dict(site.devices),
        services={
            s.id: ServiceView(
                s,
                site.devices[s.device],
                learner.progress(s),
                sum(1 for _ in site.graph.of(s.id)),
                infrastructure(site.devices[s.device], s),
            )
            for s in site.services.values()
        },
        relationships={view.id: view for view in map(relationship_view, site.graph)},
        requests=tuple(
            replace(card(request, site, names, now), warning=impostors.warning(request))
            for request in requests(site)
        ),
        decisions=tuple(decisions),
        pairs=tuple(
            PairView(
                pair.client, pair.server, pair.endpoint, chosen, confirmed,
                cookie_of(pair.origin), *by_cookie[cookie_of(pair.origin)],
                tuple(
                    FlowView(switch, flow, *counters.get(switch, {}).get(flow.cookie, (0, 0)))
                    for switch, flow in enforcement.of_pair(pair)
                ),
            )
            for pair, chosen in state.pairs.items()
        ),
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
    )  # fmt: skip
