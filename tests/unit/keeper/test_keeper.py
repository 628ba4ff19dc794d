"""One thread owns the firewall; nothing that others do loses a command or stops it."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from controller.events import (
    Answer,
    AuditEntry,
    Effect,
    Event,
    NotStored,
    PacketIn,
    Persist,
    Record,
    Report,
    SendFlows,
    SwitchDown,
    Tick,
    Undo,
    UpdateTable,
)
from controller.flows.flow import Change
from controller.keeper.keeper import Keeper, StoppingError
from tests.unit.fake_firewall import FakeFirewall, FakeHands, FakeStore
from tests.unit.fake_switch import wait_for

COMMAND = Undo(0, 7, "owner")


def entry(text: str) -> Record:
    return Record(audit=(AuditEntry(0.0, "test", "", text),))


class Bench:
    """A keeper with fakes around it."""

    def __init__(self) -> None:
        self.firewall = FakeFirewall()
        self.hands = FakeHands()
        self.store = FakeStore()
        self.told: list[object] = []
        self.keeper = Keeper(self.firewall, self.hands, self.store, self, time.time)

    def send(self, message: object) -> None:
        self.hands.log.append(message)

    def decide(self, by: Callable[[Event], Sequence[Effect]]) -> None:
        self.firewall.decide = by


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    made.keeper.start()
    yield made
    made.keeper.stop()
    assert not made.keeper._thread.is_alive()


def answering(*before: Effect) -> Callable[[Event], Sequence[Effect]]:
    """A firewall that answers every command, behind some other effects."""

    def decide(event: Event) -> Sequence[Effect]:
        match event:
            case Undo(token=token):
                return [*before, Answer(token, decision=1)]
            case NotStored(token=token, error=error):
                return [Answer(token, code="not stored", message=error)]
        return []

    return decide


def test_effects_are_carried_out_in_order(bench: Bench) -> None:
    flows, table = SendFlows(1, Change(), 4), UpdateTable(1, ())
    bench.decide(answering(table, flows, Persist(entry("first"), 1), flows))
    assert bench.keeper.call(COMMAND).decision == 1
    assert bench.hands.log == [table, flows, flows]
    assert bench.store.records == [entry("first")]


def test_every_call_gets_its_own_answer(bench: Bench) -> None:
    bench.decide(
        lambda event: [Answer(event.token, decision=event.decision)] if isinstance(event, Undo) else []
    )
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: bench.keeper.call(Undo(0, n, "owner")).decision, range(300)))
    assert answers == list(range(300))
    assert len(bench.firewall.threads) == 1


def test_what_is_not_stored_does_not_happen(bench: Bench) -> None:
    flows = SendFlows(1, Change(), 4)

    def decide(event: Event) -> Sequence[Effect]:
        match event:
            case Undo(token=token):
                return [Persist(entry("decided"), token), flows, Answer(token, decision=1)]
            case NotStored(token=token, error=error):
                return [Answer(token, code="not stored", message=error)]
        return []

    bench.decide(decide)
    bench.store.error = OSError("disk full")
    answer = bench.keeper.call(COMMAND)
    assert (answer.code, answer.message) == ("not stored", "disk full")
    assert bench.hands.log == []
    bench.store.error = None
    assert bench.keeper.call(COMMAND).decision == 1
    assert bench.store.records == [entry("decided")], "the refused decision must not be stored later"


def test_what_was_learnt_is_stored_later_and_holds_nothing_up(bench: Bench) -> None:
    flows = SendFlows(1, Change(), 4)
    bench.decide(
        lambda event: [Persist(entry(str(event.switch))), flows] if isinstance(event, SwitchDown) else []
    )
    bench.store.error = OSError("disk full")
    for switch in (1, 2):
        bench.keeper.post(SwitchDown(switch))
    wait_for(lambda: bench.hands.log == [flows, flows])
    bench.store.error = None
    (record,) = wait_for(lambda: bench.store.records)
    assert [line.text for line in record.audit] == ["1", "2"]


def test_what_waits_for_the_store_goes_before_a_newer_decision(bench: Bench) -> None:
    def decide(event: Event) -> Sequence[Effect]:
        match event:
            case SwitchDown():
                return [Persist(entry("learnt"))]
            case Undo(token=token):
                return [Persist(entry("decided"), token), Answer(token, decision=1)]
            case NotStored(token=token, error=error):
                return [Answer(token, code="not stored", message=error)]
        return []

    bench.decide(decide)
    bench.store.error = OSError("disk full")
    bench.keeper.post(SwitchDown(1))
    assert bench.keeper.call(COMMAND).code == "not stored"
    bench.store.error = None
    assert bench.keeper.call(COMMAND).decision == 1
    assert [line.text for record in bench.store.records for line in record.audit] == ["learnt", "decided"]


def test_a_mistake_in_the_firewall_ends_neither_the_thread_nor_the_wait(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def decide(event: Event) -> Sequence[Effect]:
        if isinstance(event, SwitchDown | Undo):
            raise ZeroDivisionError("a bug")
        return []

    bench.decide(decide)
    bench.keeper.post(SwitchDown(1))
    assert bench.keeper.call(COMMAND).code == "internal error"
    bench.decide(answering())
    assert bench.keeper.call(COMMAND).decision == 1
    assert bench.keeper.counters["mistakes"] == 2
    assert "a bug" in caplog.text


def test_a_mistake_in_carrying_out_one_effect_does_not_keep_the_next_back(bench: Bench) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    bench.hands.send_flows = fail  # type: ignore[method-assign]
    bench.decide(answering(SendFlows(1, Change())))
    assert bench.keeper.call(COMMAND).decision == 1
    assert bench.keeper.counters["mistakes"] == 1


def test_a_decision_overtakes_a_flood_which_is_cut_off(bench: Bench) -> None:
    gate = threading.Event()

    def decide(event: Event) -> Sequence[Effect]:
        gate.wait(5)
        return answering()(event)

    bench.decide(decide)
    for _ in range(5000):
        bench.keeper.post(PacketIn(1, 1, b"flood"))
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(bench.keeper.call, COMMAND)
        wait_for(lambda: bench.keeper._answers)
        gate.set()
        assert future.result(5).decision == 1
    wait_for(lambda: bench.keeper.counters["waiting"] == 0)
    assert [type(event) for event in bench.firewall.events].index(Undo) <= 1  # one was being handled
    assert bench.keeper.counters["dropped PacketIn"] >= 3900


def test_posting_does_not_wait_for_a_busy_firewall(bench: Bench) -> None:
    gate = threading.Event()

    def decide(_: Event) -> Sequence[Effect]:
        gate.wait(60)
        return []

    bench.decide(decide)
    try:
        for number in range(20_000):
            bench.keeper.post(SwitchDown(number))
        assert len(bench.firewall.events) <= 1, "it is still at the first"
    finally:
        gate.set()
    wait_for(lambda: len(bench.firewall.events) == 20_000)
    assert [event.switch for event in bench.firewall.of(SwitchDown)] == list(range(20_000))  # type: ignore[attr-defined]


def test_a_call_without_an_answer_is_told_so(bench: Bench) -> None:
    with pytest.raises(TimeoutError, match=r"no answer within 0.05 s"):
        bench.keeper.call(COMMAND, timeout=0.05)
    assert not bench.keeper._answers


def test_the_owner_cannot_wait_for_itself(bench: Bench) -> None:
    seen: list[Exception] = []

    def decide(event: Event) -> Sequence[Effect]:
        if isinstance(event, SwitchDown):
            for ask in (lambda: bench.keeper.call(COMMAND), bench.keeper.snapshot):
                try:
                    ask()
                except RuntimeError as error:
                    seen.append(error)
        return []

    bench.decide(decide)
    bench.keeper.post(SwitchDown(1))
    wait_for(lambda: len(seen) == 2)


def test_many_readers_cost_one_view(bench: Bench) -> None:
    with ThreadPoolExecutor(32) as pool:
        list(pool.map(lambda _: bench.keeper.snapshot(), range(2000)))
    assert bench.firewall.views < 100


def test_a_view_is_never_older_than_the_last_answer(bench: Bench) -> None:
    bench.decide(answering())
    for count in range(1, 50):
        bench.keeper.call(COMMAND)
        assert bench.keeper.snapshot().version == count


def test_a_view_that_fails_is_told_to_who_asked(bench: Bench) -> None:
    def fail(_: float) -> None:
        raise ZeroDivisionError

    bench.firewall.view = fail  # type: ignore[method-assign,assignment]
    with pytest.raises(ZeroDivisionError):
        bench.keeper.snapshot()
    bench.decide(answering())
    assert bench.keeper.call(COMMAND).decision == 1
    del bench.firewall.view
    assert bench.keeper.snapshot()


def test_subscribers_hear_of_changes_but_not_of_time(bench: Bench) -> None:
    heard: list[int] = []
    unsubscribe = bench.keeper.subscribe(lambda: heard.append(1))
    bench.keeper.subscribe(lambda: 1 / 0)  # one that fails disturbs nobody
    wait_for(lambda: bench.firewall.ticks > 2)
    assert not heard
    for number in range(200):
        bench.keeper.post(SwitchDown(number))
    wait_for(lambda: heard)
    time.sleep(0.15)
    assert len(heard) <= 5
    unsubscribe()
    heard.clear()
    bench.keeper.post(SwitchDown(1))
    time.sleep(0.15)
    assert not heard


def test_time_is_told_about_five_times_a_second(bench: Bench) -> None:
    time.sleep(1.1)
    assert 4 <= bench.firewall.ticks <= 7
    assert bench.hands.ticks == pytest.approx(bench.firewall.ticks, abs=1)


def test_time_is_told_during_a_flood_too(bench: Bench) -> None:
    end = time.monotonic() + 1.1
    while time.monotonic() < end:
        bench.keeper.post(PacketIn(1, 1, b"flood"))
    assert bench.firewall.ticks >= 4


def test_reports_are_logged(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.decide(lambda event: [Report("warning", "100 % sure")] if isinstance(event, SwitchDown) else [])
    bench.keeper.post(SwitchDown(1))
    wait_for(lambda: "100 % sure" in caplog.text)


def test_stopping_handles_what_waits_saves_and_answers_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.keeper.keeper.DRAIN", 30.0)
    bench = Bench()
    bench.firewall.last = [Persist(entry("last"))]
    gate = threading.Event()

    def decide(event: Event) -> Sequence[Effect]:
        gate.wait(5)
        return answering()(event) if isinstance(event, Undo | Tick) else []

    bench.decide(decide)
    bench.keeper.start()
    for _ in range(10):
        bench.keeper.post(PacketIn(1, 1, b"waits"))
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(bench.keeper.call, COMMAND)
        wait_for(lambda: bench.keeper._answers)
        threading.Timer(0.05, gate.set).start()
        bench.keeper.stop(timeout=60.0)
        assert future.result(10).decision == 1
    assert len(bench.firewall.of(PacketIn)) == 10
    assert bench.store.records == [entry("last")]
    with pytest.raises(StoppingError):
        bench.keeper.call(COMMAND)
    assert bench.keeper.snapshot()
    bench.keeper.post(replace(COMMAND))
    bench.keeper.stop()


def test_stopping_leaves_no_caller_waiting() -> None:
    bench = Bench()
    bench.keeper.start()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(bench.keeper.call, COMMAND)  # the firewall never answers it
        wait_for(lambda: bench.keeper._answers)
        bench.keeper.stop()
        with pytest.raises(StoppingError):
            future.result(1)
