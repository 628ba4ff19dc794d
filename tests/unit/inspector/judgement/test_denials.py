"""Repeats of a denied message are answered by the switch, and the sender is not told for ever."""

from controller.events import RefusalWanted
from controller.inspector.judgement import denials
from controller.inspector.judgement.denials import ANSWERED, FLOOD, FLOOD_WISHES, TOLERATED, Denials
from controller.model.relationship import Endpoint

COAP = Endpoint("udp", 5683)
WISH = RefusalWanted("10.0.0.1", "10.0.0.2", COAP)


def _wishes(held: Denials, count: int, now: float) -> list[RefusalWanted]:
    noted = [held.note("10.0.0.1", "10.0.0.2", COAP, now)[1] for _ in range(count)]
    return [wish for wish in noted if wish is not None]


def test_twenty_denials_in_a_second_ask_for_nothing_and_one_more_for_a_drop_flow() -> None:
    held = Denials()
    assert _wishes(held, TOLERATED, 100.0) == []
    assert _wishes(held, 1, 100.5) == [WISH]


def test_a_drop_flow_is_wished_for_at_most_once_a_second() -> None:
    held = Denials()
    assert _wishes(held, 400, 100.0) == [WISH]
    assert _wishes(held, 100, 100.9) == []
    assert _wishes(held, 100, 101.0) == [WISH]


def test_slow_denials_never_ask_for_a_drop_flow() -> None:
    held = Denials()
    assert [wish for second in range(100) for wish in _wishes(held, 10, 100.0 + second)] == []


def test_a_cut_asks_at_once() -> None:
    assert Denials().note("10.0.0.1", "10.0.0.2", COAP, 100.0, at_once=True)[1] == WISH


def test_the_sender_is_told_a_few_times_a_second() -> None:
    held = Denials()
    told = [held.note("10.0.0.1", "10.0.0.2", COAP, 100.0)[0] for _ in range(100)]
    assert told.count(True) == ANSWERED
    assert held.note("10.0.0.1", "10.0.0.2", COAP, 101.0)[0]


def test_a_scan_of_many_ports_costs_bounded_memory() -> None:
    held = Denials()
    for port in range(65536):
        held.note("10.0.0.1", "10.0.0.2", Endpoint("tcp", port), 100.0)
    assert len(held._windows) <= denials.AT_MOST


def _asked_everywhere(held: Denials, count: int, now: float) -> list[RefusalWanted]:
    noted = [held.note("10.0.0.1", "10.0.0.2", Endpoint("udp", port), now)[1] for port in range(count)]
    return [wish for wish in noted if wish is not None]


def test_flood_of_ever_other_requests_is_told_as_one() -> None:
    held = Denials()
    assert not _asked_everywhere(held, FLOOD, 100.0)
    wishes = _asked_everywhere(held, 50_000, 100.5)
    assert len(wishes) == FLOOD_WISHES
    assert all(wish.flood for wish in wishes)


def test_flood_of_one_client_says_nothing_of_another() -> None:
    held = Denials()
    _asked_everywhere(held, 50_000, 100.0)
    assert held.note("10.0.0.9", "10.0.0.2", COAP, 100.0) == (True, None)


def test_as_many_denials_over_a_long_time_are_no_flood() -> None:
    held = Denials()
    assert not [wish for second in range(100) for wish in _asked_everywhere(held, FLOOD, 100.0 + second)]
