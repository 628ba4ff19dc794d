"""Ports and links: what becomes an edge port, what a trunk, and when it ends."""

import pytest

from controller.dpi import lldp
from controller.events import PortInfo
from controller.firewall.fabric import (
    EDGE_AFTER,
    LINK_LOST_AFTER,
    LLDP_EVERY,
    LOCAL_PORT,
    Fabric,
)

SECRET = b"secret"
MAC = "02:ff:00:00:00:00"


def port(number: int, name: str = "", up: bool = True) -> PortInfo:
    return PortInfo(number, name or f"e{number}", MAC, up)


class Network:
    """Switches with cables, and a clock. Every LLDP frame arrives where its cable leads."""

    def __init__(self, *switches: int, cables: dict[tuple[int, int], tuple[int, int]] | None = None) -> None:
        self.fabric = Fabric(SECRET)
        self.now = 100.0
        self.cables = {**(cables or {}), **{end: start for start, end in (cables or {}).items()}}
        for switch in switches:
            self.fabric.switch_up(switch, tuple(map(port, (1, 2, 3))), self.now)

    def passes(self, seconds: float) -> bool:
        """Time in steps of ticks; whether the layout has changed."""
        changed = False
        for _ in range(round(seconds / 0.2)):
            self.now += 0.2
            new, frames = self.fabric.tick(self.now)
            changed |= new
            for sent in frames:
                assert sent.port is not None
                end = self.cables.get((sent.switch, sent.port))
                if end is not None:
                    changed |= self.fabric.lldp_seen(*end, sent.frame, self.now)
        return changed


@pytest.fixture
def pair() -> Network:
    network = Network(1, 2, cables={(1, 3): (2, 3)})
    network.passes(2.0)
    return network


# Edge ports


def test_port_is_no_edge_port_before_lldp_could_have_come() -> None:
    network = Network(1)
    assert not network.fabric.is_edge(1, 1)
    network.passes(EDGE_AFTER + 0.2)
    assert network.fabric.is_edge(1, 1)
    assert network.fabric.layout(1).flood == {1, 2, 3}


def test_inspection_copy_and_local_port_are_no_edge_ports() -> None:
    fabric = Fabric(SECRET)
    ports = (port(1), port(8, "s1-gwi"), port(9, "s1-gwc"), port(LOCAL_PORT, "s1"))
    fabric.switch_up(1, ports, 0.0)
    fabric.tick(EDGE_AFTER)
    layout = fabric.layout(1)
    assert (layout.inspection, layout.copy, layout.flood) == (8, 9, {1})
    assert fabric.interfaces() == ((1, "s1-gwi0", "s1-gwc0"),)
    assert LOCAL_PORT not in fabric.ports(1)
    _, frames = fabric.tick(EDGE_AFTER + 2 * LLDP_EVERY)
    assert {frame.port for frame in frames} == {1}


def test_switch_without_a_copy_port_is_not_served_by_the_inspector() -> None:
    fabric = Fabric(SECRET)
    fabric.switch_up(1, (port(8, "s1-gwi"),), 0.0)
    assert fabric.interfaces() == ()


def test_port_that_goes_down_is_no_edge_port_until_it_was_up_for_a_while(pair: Network) -> None:
    pair.fabric.port_changed(1, port(1, up=False), gone=False, now=pair.now)
    assert not pair.fabric.is_edge(1, 1)
    pair.fabric.port_changed(1, port(1), gone=False, now=pair.now)
    assert not pair.fabric.is_edge(1, 1)
    pair.passes(EDGE_AFTER + 0.2)
    assert pair.fabric.is_edge(1, 1)


def test_port_that_is_gone_is_forgotten(pair: Network) -> None:
    assert pair.fabric.port_changed(1, port(1), gone=True, now=pair.now)
    assert not pair.fabric.port_is_up(1, 1)
    assert 1 not in pair.fabric.ports(1)
    assert not pair.fabric.port_changed(7, port(1), gone=False, now=pair.now)  # of a switch nobody knows


def test_port_is_found_by_its_name(pair: Network) -> None:
    assert pair.fabric.port_named(1, "e2") == 2
    assert pair.fabric.port_named(1, "e9") is None
    assert pair.fabric.port_named(9, "e2") is None


# Links


def test_cable_between_two_switches_is_a_trunk_at_both_ends(pair: Network) -> None:
    assert pair.fabric.layout(1).trunks == pair.fabric.layout(2).trunks == {3}
    assert not pair.fabric.is_edge(1, 3)
    assert pair.fabric.topology.port_towards(1, 2) == 3
    assert pair.fabric.links_of(1) == ((3, 2, 3),)
    assert pair.fabric.layout(1).flood == {1, 2, 3}  # the tree leads over it


def test_lldp_with_another_signature_makes_no_trunk(pair: Network) -> None:
    assert not pair.fabric.lldp_seen(1, 1, lldp.encode(2, 1, b"guess"), pair.now)
    assert pair.fabric.layout(1).trunks == {3}


@pytest.mark.parametrize("end", [(1, 2), (9, 1), (2, 9)])
def test_lldp_of_the_same_switch_an_unknown_one_or_an_unknown_port_makes_no_trunk(
    pair: Network, end: tuple[int, int]
) -> None:
    assert not pair.fabric.lldp_seen(1, 1, lldp.encode(*end, SECRET), pair.now)
    assert pair.fabric.layout(1).trunks == {3}


def test_port_that_is_down_is_no_end_of_a_link(pair: Network) -> None:
    pair.fabric.port_changed(2, port(1, up=False), gone=False, now=pair.now)
    assert not pair.fabric.lldp_seen(1, 1, lldp.encode(2, 1, SECRET), pair.now)


@pytest.mark.parametrize("named", [(3,), ("e3",)])
def test_only_ports_that_site_yaml_names_become_trunks(named: tuple[int | str, ...]) -> None:
    fabric = Fabric(SECRET, {1: named})
    for switch in (1, 2):
        fabric.switch_up(switch, (port(1), port(3)), 0.0)
    assert not fabric.lldp_seen(2, 1, lldp.encode(1, 1, SECRET), 0.1)
    assert not fabric.lldp_seen(1, 1, lldp.encode(2, 1, SECRET), 0.1)
    assert fabric.lldp_seen(2, 1, lldp.encode(1, 3, SECRET), 0.1)
    assert fabric.layout(1).trunks == {3}


def test_link_ends_with_its_port(pair: Network) -> None:
    assert pair.fabric.port_changed(1, port(3, up=False), gone=False, now=pair.now)
    assert pair.fabric.layout(2).trunks == frozenset()
    assert pair.fabric.topology.port_towards(1, 2) is None


def test_link_that_is_silent_ends(pair: Network) -> None:
    pair.cables.clear()
    assert pair.passes(LINK_LOST_AFTER + 2 * LLDP_EVERY)
    assert pair.fabric.layout(1).trunks == frozenset()


def test_controller_that_did_not_send_does_not_take_silence_for_a_cut(pair: Network) -> None:
    pair.now += 100 * LINK_LOST_AFTER  # it was stopped, not the cable
    pair.fabric.tick(pair.now)
    assert pair.fabric.layout(1).trunks == {3}


def test_link_to_a_switch_that_has_lost_the_controller_stays(pair: Network) -> None:
    pair.fabric.switch_down(2)
    pair.cables.clear()
    pair.passes(3 * LINK_LOST_AFTER)
    assert pair.fabric.layout(1).trunks == {3}
    assert pair.fabric.topology.port_towards(1, 2) == 3


def test_lldp_goes_on_when_the_clock_is_set_back(pair: Network) -> None:
    pair.now -= 3600.0
    _, frames = pair.fabric.tick(pair.now)
    assert frames


def test_ring_floods_over_a_tree_and_goes_the_other_way_when_a_link_fails() -> None:
    ring = Network(1, 2, 3, cables={(1, 1): (2, 2), (2, 1): (3, 2), (3, 1): (1, 2)})
    ring.passes(2.0)
    ways = [ring.fabric.layout(s).trunks & ring.fabric.layout(s).flood for s in (1, 2, 3)]
    assert sum(map(len, ways)) == 4  # two of three links
    assert ring.fabric.topology.port_towards(1, 2) == 1
    assert ring.fabric.port_changed(1, port(1, up=False), gone=False, now=ring.now)
    assert ring.fabric.topology.port_towards(1, 2) == 2
    assert ring.fabric.layout(1).flood & {1, 2} == {2}


def test_switch_that_comes_back_keeps_its_edge_ports_and_links(pair: Network) -> None:
    pair.fabric.switch_down(1)
    assert not pair.fabric.connected(1)
    assert 1 not in pair.fabric
    pair.fabric.switch_up(1, tuple(map(port, (1, 2, 3))), pair.now)
    assert pair.fabric.is_edge(1, 1)
    assert pair.fabric.layout(1).trunks == {3}


def test_switch_that_comes_back_without_a_port_has_lost_its_link(pair: Network) -> None:
    pair.fabric.switch_up(1, (port(1),), pair.now)
    assert pair.fabric.layout(2).trunks == frozenset()
