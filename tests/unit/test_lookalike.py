"""Names that look the same have the same skeleton; names that do not, have not."""

import pytest

from controller.lookalike import skeleton


@pytest.mark.parametrize(
    "fake",
    [
        "Fr\u03bfnt door",  # Greek omicron
        "Fr\u043ent d\u043e\u043er",  # Cyrillic
        "Fr0nt d00r",
        "FRONT DOOR",
        "Front-door",
        "Front  door",
        "Frönt dóor",
        "Front door",
        "\U0001d405ront door",  # mathematical bold
    ],
)
def test_what_looks_like_another_name_has_its_skeleton(fake: str) -> None:
    assert skeleton(fake) == skeleton("Front door")


@pytest.mark.parametrize(
    ("one", "other"),
    [("lock", "Iock"), ("lock", "1ock"), ("lock", "|ock"), ("modem", "rnodem"), ("Oven", "0ven")],
)
def test_letters_that_are_mixed_up_are_the_same(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Front door", "Back door"),
        ("lamp 1", "lamp 2"),
        ("battery", "buttery"),
        ("temp", "tempo"),
        ("a", "b"),
    ],
)
def test_other_names_stay_apart(one: str, other: str) -> None:
    assert skeleton(one) != skeleton(other)


@pytest.mark.parametrize("name", ["", "…", "\u202e", "\x00", " - "])
def test_a_name_without_letters_looks_like_nothing(name: str) -> None:
    assert skeleton(name) == ""


def test_a_very_long_name_takes_no_longer() -> None:
    assert len(skeleton("\u0430" * 65536)) == 200
