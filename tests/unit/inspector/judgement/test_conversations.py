"""Answers are told from requests, and no flood of conversations costs more than its bound."""

from controller.inspector.judgement import conversations
from controller.inspector.judgement.conversations import IDLE, PER_ASKER, Carried, Conversations

KEY = (40000, "10.0.0.2", 5683)


def test_a_conversation_is_open_until_it_was_silent_for_long() -> None:
    held = Conversations()
    held.open("10.0.0.1", KEY, Carried(0), 100.0)
    assert held.get("10.0.0.1", KEY, 100.0 + IDLE - 1)
    assert held.get("10.0.0.2", KEY, 100.0) is None
    assert held.get("10.0.0.1", KEY, 100.0 + IDLE) is None
    assert len(held) == 0


def test_use_keeps_a_conversation_open() -> None:
    held = Conversations()
    opened = held.open("10.0.0.1", KEY, Carried(0), 100.0)
    held.used("10.0.0.1", KEY, opened, 200.0)
    assert held.get("10.0.0.1", KEY, 200.0 + IDLE - 1) is opened


def test_one_asker_loses_its_own_oldest_only() -> None:
    held = Conversations()
    held.open("10.0.0.9", KEY, Carried(0), 100.0)
    for port in range(PER_ASKER + 100):
        held.open("10.0.0.1", (port, "10.0.0.2", 53), Carried(0), 100.0)
    assert len(held) == PER_ASKER + 1
    assert held.get("10.0.0.9", KEY, 100.0)
    assert held.get("10.0.0.1", (0, "10.0.0.2", 53), 100.0) is None
    assert held.get("10.0.0.1", (PER_ASKER + 99, "10.0.0.2", 53), 100.0)


def test_all_askers_together_are_bounded() -> None:
    held = Conversations()
    for asker in range(20):
        for port in range(PER_ASKER):
            held.open(f"10.0.0.{asker}", (port, "10.0.1.1", 53), Carried(0), 100.0)
    assert len(held) <= conversations.AT_MOST


def test_sweeping_forgets_the_silent_ones() -> None:
    held = Conversations()
    held.open("10.0.0.1", KEY, Carried(0), 100.0)
    held.open("10.0.0.2", KEY, Carried(0), 200.0)
    held.sweep(100.0 + IDLE)
    assert len(held) == 1
