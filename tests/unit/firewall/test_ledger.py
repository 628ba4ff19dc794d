"""What a switch was told and what it was read to hold: differences are found, and only true ones."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from controller.firewall.ledger import Difference, Ledger, repair
from controller.flows.flow import Change, Flow, Goto, Match, Output, Strange, Table, cookie_of

A, B, C = (
    Flow(Table.VERDICT, 300, Match(source=n), (Goto(Table.FORWARDING),), cookie_of(f"pair {n}"))
    for n in (1, 2, 3)
)
UNSAYABLE = Strange(0, 5, None, 99, "tunnel 7")


def reading(*flows: Flow | Strange) -> dict[bytes, Flow | Strange]:
    return {repr(flow).encode(): flow for flow in flows}


def test_what_is_as_it_was_told_differs_in_nothing() -> None:
    ledger = Ledger([A])
    ledger.told(Change(add=(B,)), 1)
    assert ledger.compare(reading(A, B), 1) == ()
    ledger.told(Change(delete=(A,)), 2)
    assert ledger.compare(reading(B), 2) == ()


def test_missing_changed_and_added_flows_are_found() -> None:
    ledger = Ledger([A, B])
    assert ledger.compare(reading(A, B), 0) == ()
    changed = replace(B, actions=(Output(4),))
    assert set(ledger.compare(reading(changed, C), 0)) == {
        Difference(A, None),
        Difference(B, changed),
        Difference(None, C),
    }


def test_a_difference_is_told_until_it_is_gone() -> None:
    ledger = Ledger([A])
    for _ in range(3):
        assert ledger.compare(reading(), 0) == (Difference(A, None),)
    assert ledger.compare(reading(A), 0) == ()


def test_what_is_on_its_way_proves_nothing_until_it_is_confirmed() -> None:
    ledger = Ledger([A])
    ledger.told(Change(delete=(A,), add=(B,)), 7)
    assert ledger.compare(reading(A), 6) == ()
    assert set(ledger.compare(reading(A), 7)) == {Difference(None, A), Difference(B, None)}


def test_a_flow_that_a_reading_in_parts_shows_before_and_after_its_change_is_there_once() -> None:
    after = replace(A, cookie=cookie_of("pair 4"))
    ledger = Ledger([A, B])
    assert ledger.compare(reading(A, B), 0) == ()
    ledger.told(Change(add=(after,)), 1)
    assert ledger.compare(reading(A, after, B), 0) == ()
    assert ledger.compare(reading(after, B), 1) == ()
    assert ledger.compare(reading(B), 1) == (Difference(after, None),)


def test_a_flow_that_has_just_ended_may_still_be_shown_once() -> None:
    short = replace(A, hard_timeout=5)
    ledger = Ledger([])
    ledger.told(Change(add=(short,)), 1)
    assert ledger.compare(reading(short), 1) == ()
    ledger.ended(short.key)
    assert ledger.compare(reading(short), 1) == ()
    assert ledger.compare(reading(short), 1) == (Difference(None, short),)


def test_what_has_no_words_is_told_as_long_as_it_is_there() -> None:
    ledger = Ledger([])
    for _ in range(2):
        assert ledger.compare(reading(UNSAYABLE), 0) == (Difference(None, UNSAYABLE),)
    assert ledger.compare(reading(), 0) == ()


def test_a_flow_replaced_under_a_foreign_cookie_is_put_back_in_one_step() -> None:
    foreign = replace(A, cookie=5)
    assert repair([Difference(A, foreign)], [A]) == Change(add=(A,))
    assert repair([Difference(None, foreign)], []) == Change(delete=(foreign,))


def test_a_strange_flow_is_deleted_by_its_match_or_else_by_its_cookie() -> None:
    readable = Strange(3, 7, A.match, 5, "")
    assert repair([Difference(None, readable)], [A]).delete == (Flow(Table.VERDICT, 7, A.match, (), 5),)
    assert repair([Difference(A, readable)], [A]) == Change(add=(A,))
    assert repair([Difference(None, UNSAYABLE)], [A]) == Change(purge=((0, 99),))


def test_what_a_purge_takes_along_is_sent_again() -> None:
    under_our_cookie = Strange(A.table, 5, None, A.cookie, "")
    change = repair([Difference(None, under_our_cookie)], [A, B])
    assert change == Change(add=(A,), purge=((A.table, A.cookie),))


FLOWS = st.builds(
    Flow,
    st.sampled_from(Table),
    st.integers(0, 1),
    st.builds(Match, source=st.integers(0, 2)),
    st.sampled_from([(), (Output(1),)]),
    st.sampled_from([5, cookie_of("pair")]),
)


@given(st.lists(FLOWS), st.lists(st.one_of(FLOWS, st.just(UNSAYABLE)), unique_by=lambda f: f.key or f))
def test_a_repaired_switch_holds_what_it_should(told: list[Flow], there: list[Flow | Strange]) -> None:
    ledger = Ledger([])
    ledger.told(Change(add=tuple(told)), 1)
    differences = ledger.compare(reading(*there), 1)
    change = repair(differences, ledger.wanted.values())
    holds = {f.key: f for f in there if isinstance(f, Flow) and (f.table, f.cookie) not in change.purge}
    for flow in change.delete:
        holds.pop(flow.key)
    holds.update({flow.key: flow for flow in change.add})
    assert holds == dict(ledger.wanted)
    ledger.told(change, 2)
    assert ledger.compare(reading(*holds.values()), 2) == ()
