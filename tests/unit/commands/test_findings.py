"""The account of a replay is short, and plain whatever the names in it are."""

from rich.console import Console

from controller.commands.findings import SHOWN, summary


def shown(**more: object) -> str:
    answer = {
        "begin": 0.0, "end": 60.0, "frames": 5, "accesses": 0, "learnt_until": None,
        "messages": {"allowed": 2, "denied": 1}, "denied": {"new partner": 1}, "labelled": {},
        "not_judged": {"fragments": 4}, "devices": [], "services": [], "relationships": [], "requests": [],
        **more,
    }  # fmt: skip
    console = Console(width=100, markup=False, highlight=False)
    with console.capture() as captured:
        console.print(summary(answer))
    return captured.get()


def test_it_tells_the_numbers() -> None:
    out = shown()
    assert "5 frames, 3 messages: 2 allowed, 1 denied" in out
    assert "1  new partner" in out
    assert "4  fragments" in out


def test_names_from_the_network_are_made_visible() -> None:
    request = {"sentence": "\x1b[31mEvil wants to open", "reason": "new partner", "questions": []}
    out = shown(requests=[request])
    assert "\x1b" not in out
    assert "<U+001B>[31mEvil" in out


def test_long_lists_are_cut_and_say_so() -> None:
    many = [{"sentence": f"A wants to read {n}", "status": "learned", "allowed": 1} for n in range(SHOWN + 7)]
    out = shown(relationships=many)
    assert "A may read 39" in out
    assert "A may read 40" not in out
    assert "and 7 more" in out
