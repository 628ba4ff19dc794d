"""Paths and trees of some networks: a line, a ring, parallel cables, two islands."""

from itertools import permutations

import pytest

from controller.firewall.topology import Link, Topology

RING = (Link.between(1, 2, 2, 1), Link.between(2, 2, 3, 1), Link.between(3, 2, 1, 1))


def test_link_is_the_same_seen_from_either_end() -> None:
    assert Link.between(2, 1, 1, 7) == Link.between(1, 7, 2, 1) == Link(1, 7, 2, 1)
    assert Link(1, 7, 2, 1).ends() == ((1, 7), (2, 1))


def test_no_network_at_all_leads_nowhere() -> None:
    empty = Topology()
    assert empty.port_towards(1, 2) is None
    assert empty.tree_ports(1) == frozenset()


def test_line_leads_through_the_switch_in_the_middle() -> None:
    line = Topology((1, 2, 3), RING[:2])
    assert (line.port_towards(1, 3), line.port_towards(2, 3), line.port_towards(3, 1)) == (2, 2, 1)
    assert line.port_towards(1, 1) is None


def test_islands_do_not_lead_to_each_other() -> None:
    islands = Topology((1, 2, 3), RING[:1])
    assert islands.port_towards(1, 3) is None
    assert islands.tree_ports(3) == frozenset()


def test_ring_takes_the_short_way_in_both_directions() -> None:
    ring = Topology((1, 2, 3), RING)
    assert {(a, b): ring.port_towards(a, b) for a, b in permutations((1, 2, 3), 2)} == {
        (1, 2): 2, (1, 3): 1, (2, 1): 1, (2, 3): 2, (3, 1): 2, (3, 2): 1,
    }  # fmt: skip


def test_broadcasts_in_a_ring_reach_every_switch_once() -> None:
    ring = Topology((1, 2, 3), RING)
    carrying = [link for link in RING if all(port in ring.tree_ports(at) for at, port in link.ends())]
    assert len(carrying) == 2
    assert sum(len(ring.tree_ports(switch)) for switch in (1, 2, 3)) == 4


@pytest.mark.parametrize("lost", RING)
def test_any_one_link_of_a_ring_may_fail(lost: Link) -> None:
    left = Topology((1, 2, 3), set(RING) - {lost})
    for switch, target in permutations((1, 2, 3), 2):
        port = left.port_towards(switch, target)
        assert port is not None
        assert (switch, port) not in lost.ends()
        assert port in left.tree_ports(switch)


def test_of_parallel_cables_the_lowest_port_is_used_and_all_are_trunks() -> None:
    double = Topology((1, 2), (Link(1, 5, 2, 6), Link(1, 3, 2, 9)))
    assert (double.port_towards(1, 2), double.port_towards(2, 1)) == (3, 9)
    assert double.tree_ports(1) == {3}
    assert double.trunks == {(1, 3), (1, 5), (2, 6), (2, 9)}


def test_paths_depend_on_the_links_alone_and_not_on_their_order() -> None:
    square = (*RING[:2], Link.between(3, 2, 4, 1), Link.between(4, 2, 1, 1))
    found = set()
    for links in permutations(square):
        for switches in ((1, 2, 3, 4), (4, 3, 2, 1)):
            made = Topology(switches, links)
            found.add((*(made.port_towards(a, b) for a, b in permutations((1, 2, 3, 4), 2)),
                       *(made.tree_ports(s) for s in (1, 2, 3, 4))))  # fmt: skip
    assert len(found) == 1
