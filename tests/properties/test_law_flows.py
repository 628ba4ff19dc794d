"""Law 1: for every model and header, what the flows do is what the model says.

And whatever sequence of changes led to a model, its flows are the same, and the changes that were
sent one by one have made exactly them.
"""

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.firewall.enforcement import Dirty, Enforcement
from controller.flows.compile import Policy, compile_flows
from controller.flows.flow import Change, Flow, lookup
from controller.model.relationship import DeviceId
from controller.model.service import Admission, Device, Place
from tests.properties.flow_meaning import Meaning
from tests.properties.policies import INSIDE, OUTSIDE, Site, bindings, packets, pairs, sites, treatments


@settings(max_examples=2 * settings().max_examples)
@given(st.data())
def test_what_the_flows_do_is_what_the_model_says(data: st.DataObject) -> None:
    site = data.draw(sites())
    flows = [flow for part in compile_flows(site.policy()).values() for flow in part]
    meaning = Meaning(site)
    for _ in range(10):
        packet = data.draw(packets(site))
        fate = lookup(flows, packet)
        assert tuple(sorted(fate.ports)) == meaning.of(packet), (packet, fate.flows)
        remembered = meaning.remembers(packet, meaning.of(packet))
        assert remembered in (None, fate.committed), (packet, fate.flows)
        # Of two flows of one priority that a packet meets, a switch may take either.
        assert lookup(flows[::-1], packet).ports == fate.ports, (packet, fate.flows)


@given(sites())
def test_no_two_origins_want_the_same_flow(site: Site) -> None:
    flows = [flow for part in compile_flows(site.policy()).values() for flow in part]
    assert len({flow.key for flow in flows}) == len(flows)


class Switch:
    """A switch's table, which changes are applied to as OpenFlow 1.3.5 section 6.4 has it."""

    def __init__(self) -> None:
        self.flows: dict[object, Flow] = {}

    def apply(self, change: Change) -> None:
        for flow in change.delete:
            assert flow.key in self.flows, f"{flow} was deleted, and is not there"
            del self.flows[flow.key]
        for flow in change.add:
            self.flows[flow.key] = flow


def wanted(policy: Policy) -> dict[object, Flow]:
    return {flow.key: flow for flows in compile_flows(policy).values() for flow in flows}


CHANGES = ("pair", "pair", "unpair", "admission", "addresses", "binding", "name", "ports", "listening")


@st.composite
def changes(draw: st.DrawFn, site: Site) -> Dirty:
    """Change something, and say what has to be compiled again, as state.py does."""
    dirty = Dirty()
    names = [d.id for d in site.devices.values() if d.place is Place.SITE]
    match draw(st.sampled_from(CHANGES)):
        case "pair":
            pair = draw(pairs(site))
            site.pairs[pair] = draw(treatments)
            dirty.pairs.add(pair)
        case "unpair" if site.pairs:
            pair = draw(st.sampled_from(sorted(site.pairs, key=str)))
            del site.pairs[pair]
            dirty.pairs.add(pair)
        case "admission":
            old = site.devices[draw(st.sampled_from(names))]
            put(site, replace(old, admission=draw(st.sampled_from(Admission))), dirty)
        case "addresses":
            old = site.devices[draw(st.sampled_from(names))]
            taken = {a for d in site.devices.values() if d.id != old.id for a in d.addresses}
            free = [address for address in INSIDE if address not in taken]
            held = draw(st.frozensets(st.sampled_from(free), max_size=3)) if free else frozenset()
            put(site, replace(old, addresses=held), dirty)
        case "name":
            remotes = [d for d in site.devices.values() if d.place is Place.REMOTE]
            if remotes:
                old = draw(st.sampled_from(remotes))
                held = draw(st.frozensets(st.sampled_from(OUTSIDE), max_size=2))
                put(site, replace(old, addresses=held), dirty)
        case "binding":
            old = site.devices[draw(st.sampled_from(names))]
            put(site, replace(old, binding=draw(st.none() | bindings)), dirty)
        case "ports":
            site.inspected, site.copied, site.trunk = (draw(st.booleans()) for _ in range(3))
            dirty.switches.add(1)
        case "listening":
            name = draw(st.sampled_from(names))
            site.listening.setdefault(name, set()).add(draw(st.sampled_from([5683, 49152])))
            dirty.devices.add(name)
    return dirty


def put(site: Site, device: Device, dirty: Dirty) -> None:
    old = site.devices[device.id]
    shared = set(site.shared)
    site.devices[device.id] = device
    site.share()
    dirty.devices.add(device.id)
    dirty.devices |= holders(site, shared ^ site.shared)
    if (families(old), old.binding) != (families(device), device.binding):
        dirty.pairs |= {pair for pair in site.pairs if device.id in (pair.client, pair.server)}
    if "router" in device.roles:
        dirty.switches.add(1)


def holders(site: Site, addresses: Iterable[str]) -> set[DeviceId]:
    return {d.id for d in site.devices.values() if d.place is Place.REMOTE and d.addresses & set(addresses)}


def families(device: Device) -> set[bool]:
    return {":" in address for address in device.addresses}


@given(st.data())
def test_changes_one_by_one_make_what_compiling_anew_makes(data: st.DataObject) -> None:
    site = data.draw(sites())
    switch, enforcement = Switch(), Enforcement()
    switch.apply(enforcement.connect(site.policy(), (), lambda _: True).change)
    for _ in range(data.draw(st.integers(1, 8))):
        dirty = data.draw(changes(site))
        sent = enforcement.refresh(site.policy(), dirty)
        if sent is not None:
            assert sent.change
            switch.apply(sent.change)
        assert switch.flows == wanted(site.policy())
        assert set(enforcement.wanted(1)) == set(switch.flows.values())


@given(st.data())
def test_whatever_a_switch_holds_when_it_connects_it_ends_with_what_is_wanted(data: st.DataObject) -> None:
    before, now = data.draw(sites()), data.draw(sites())
    switch, enforcement = Switch(), Enforcement()
    switch.flows = wanted(before.policy())
    change = enforcement.connect(now.policy(), tuple(switch.flows.values()), lambda _: True).change
    after = wanted(now.policy())
    same = {key for key, flow in switch.flows.items() if after.get(key) == flow}
    assert not same & {flow.key for flow in (*change.delete, *change.add)}
    switch.apply(change)
    assert switch.flows == after


@given(st.data())
def test_every_flow_says_by_its_cookie_where_it_came_from(data: st.DataObject) -> None:
    site = data.draw(sites())
    enforcement = Enforcement()
    enforcement.connect(site.policy(), (), lambda _: True)
    for origin, flows in compile_flows(site.policy()).items():
        assert {enforcement.origin(flow.cookie) for flow in flows} <= {origin}
