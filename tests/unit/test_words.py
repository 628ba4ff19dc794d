"""Names from the network are shown as text that can be seen, and is never long."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi.message import Operation
from controller.model.relationship import Access, DeviceId, ServiceId
from controller.model.service import Device, Place
from controller.words import LONGEST_NAME, sentence, visible


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Front door", "Front door"),
        ("Küche", "Küche"),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),  # text: whoever shows it shows it as text
        ("a\u202eb", "a<U+202E>b"),  # the rest would read from right to left
        ("a\u2066b\u2069", "a<U+2066>b<U+2069>"),
        ("a\u200bb", "a<U+200B>b"),  # no width
        ("a\u00a0b", "a<U+00A0>b"),
        ("a\x00b\x1b[31m\r\n", "a<U+0000>b<U+001B>[31m<U+000D><U+000A>"),
        ("a\ud800", "a<U+D800>"),
        ("\u3164", "<U+3164>"),  # a letter that is empty
        ("e\u0301\u0301\u0301", "e\u0301\u0301<U+0301>"),  # heaps of accents
        ("\U000e0041", "<U+E0041>"),  # tags
    ],
)
def test_what_cannot_be_seen_is_made_visible(name: str, shown: str) -> None:
    assert visible(name) == shown


def test_64_kilobytes_are_cut() -> None:
    assert visible("n" * 65536) == "n" * (LONGEST_NAME - 1) + "…"


@given(st.text())
def test_nothing_that_moves_or_hides_other_text_is_left(name: str) -> None:
    shown = visible(name)
    assert len(shown) <= LONGEST_NAME
    assert not any(unicodedata.category(c)[0] == "C" for c in shown)
    assert not any(unicodedata.bidirectional(c) in ("RLO", "LRO", "RLE", "LRE", "RLI", "LRI") for c in shown)


def test_a_name_cannot_bring_its_own_verb_into_a_sentence() -> None:
    liar = Device(DeviceId("tv"), 1, Place.SITE, "TV wants to read Clock")
    door = Device(DeviceId("door"), 2, Place.SITE, "Front door", kind="door lock")
    access = Access(ServiceId("tv/main"), ServiceId("door/main"), "vsl", Operation.WRITE, "/a/lock/isOpen")
    asked = sentence(access, liar, door).split(" wants to ")
    assert asked == ["TV “wants to” read Clock", "lock or unlock Front door"]
