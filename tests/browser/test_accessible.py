"""For everybody: no violation that axe-core knows of, all of it by keyboard, and calm for who wants calm."""

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import DESK, PHONE, Served, Visits, show
from tests.browser.household import NEWCOMER, READ, vsl
from tests.browser.test_bringing_back import bring
from tests.browser.test_map import settle, until_drawn
from tests.browser.test_requests import SNOOP, UNLOCK, outcome

AXE = Path(__file__).parents[2] / "controller/web/page/node_modules/axe-core/axe.min.js"
PLACES = ("", "map", "table", "devices", "device/washer", "history", "learning", "people", "more", "wall")


def violations(page: Page) -> list[str]:
    """What axe-core objects to, in a world of its own, as the page's policy lets no other script run."""
    session = page.context.new_cdp_session(page)
    frame = session.send("Page.getFrameTree")["frameTree"]["frame"]["id"]
    world = session.send("Page.createIsolatedWorld", {"frameId": frame})["executionContextId"]

    def run(expression: str) -> Any:
        answer = session.send(
            "Runtime.evaluate",
            {"expression": expression, "contextId": world, "awaitPromise": True, "returnByValue": True},
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    run(AXE.read_text(encoding="utf-8"))
    found = run("axe.run(document, {resultTypes: ['violations']}).then((result) => result.violations)")
    session.detach()
    return [
        f"{one['id']}: {one['help']}: {[node['html'][:200] for node in one['nodes'][:4]]}"
        f" {[node.get('failureSummary', '')[:300] for node in one['nodes'][:2]]}"
        for one in found
    ]


@pytest.fixture
def busy(cottage: Served) -> Served:
    """A household where everything that can be shown is there."""
    home = cottage.home
    home.plug(NEWCOMER, 2, 13)
    for talk in (UNLOCK, SNOOP, *(vsl("tablet", "battery", READ, f"/a/b/{thing}") for thing in "cd")):
        home.say(talk)
    return cottage


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_axe_finds_nothing_on_any_page(
    visits: Visits, busy: Served, scheme: str, size: dict[str, int]
) -> None:
    page = visits.sign_in(busy, size=size, color_scheme=scheme, reduced_motion="reduce")
    found: dict[str, list[str]] = {}
    for place in PLACES:
        show(page, place)
        found[place] = violations(page)
    page.goto(f"{busy.url}/#/")
    page.locator("button.allow").first.click()
    found["second tap"] = violations(page)
    page.get_by_text("Details").first.click()
    page.get_by_role("button", name="Why is this blocked?").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("blocked")
    found["why"] = violations(page)
    assert {place: said for place, said in found.items() if said} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_at_the_door(visits: Visits, cottage: Served, scheme: str) -> None:
    page = visits.page(color_scheme=scheme)
    page.goto(cottage.url)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert violations(page) == []
    page.goto("about:blank")
    page.goto(cottage.link("Anna"))
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible()
    assert violations(page) == []


FOCUSED = "(document.activeElement.ariaLabel ?? '') + ' ' + document.activeElement.innerText"
WIDE = """() => [...document.querySelectorAll("body *:not(.unseen)")]
  .filter((element) => element.checkVisibility() && !element.closest("thead, #graph"))
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
  .map((element) => element.outerHTML.slice(0, 120))"""
SMALL = """() => [...document.querySelectorAll("button, select, summary, nav a, label:has(input)")]
  .filter((element) => element.checkVisibility())
  .map((element) => [element.outerHTML.slice(0, 90), element.getBoundingClientRect()])
  .filter(([, box]) => box.height < 43.5 || box.width < 43.5)
  .map(([html, box]) => `${html} ${box.width}x${box.height}`)"""


def tab_to(page: Page, words: str) -> None:
    """Press Tab until what has the focus says this."""
    for _ in range(60):
        page.keyboard.press("Tab")
        said = page.evaluate(
            "(document.activeElement.ariaLabel ?? '') + ' ' + document.activeElement.innerText"
        )
        if re.search(words, said):
            return
    raise AssertionError(f"Tab never came to {words}")


def test_a_request_is_answered_and_taken_back_by_keyboard_alone(visits: Visits, cottage: Served) -> None:
    page = visits.sign_in(cottage, size=DESK)
    cottage.home.say(SNOOP)
    expect(page.locator("article.card")).to_be_visible()
    tab_to(page, "Keep blocked")
    page.keyboard.press("Enter")
    expect(outcome(page, "Kitchen tablet may not read")).to_contain_text("in force")
    tab_to(page, "Undo")
    page.keyboard.press("Enter")
    expect(page.locator("article.card:not(.outcome)")).to_be_visible()
    assert len(cottage.home.snapshot().requests) == 1


def test_every_place_is_reached_by_keyboard(visits: Visits, cottage: Served) -> None:
    page = visits.sign_in(cottage, size=DESK)
    for place in ("Map", "Devices", "History", "Learning", "People", "More"):
        tab_to(page, f"^ *{place}")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_contain_text(place)
        assert page.evaluate("document.activeElement.id") == "main"


def test_targets_are_large_enough_for_a_thumb(visits: Visits, busy: Served) -> None:
    page = visits.sign_in(busy)
    for place in ("", "devices", "device/washer", "history", "learning", "people", "more"):
        show(page, place)
        small = page.evaluate(SMALL)
        assert small == [], place


def test_nothing_is_wider_than_a_phone(visits: Visits, busy: Served) -> None:
    page = visits.sign_in(busy)
    for place in PLACES:
        show(page, place)
        assert page.evaluate(WIDE) == [], place
        page.evaluate("scrollBy(1000, 0)")
        assert page.evaluate("scrollX") == 0, place


def test_a_message_covers_no_button_for_good(phone: Page, cottage: Served) -> None:
    phone.goto(f"{cottage.url}/#/more")
    bring(phone, "no model")
    expect(phone.locator(".toast")).to_be_visible()
    phone.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    phone.get_by_role("button", name="Sign out").click(trial=True, timeout=5_000)  # the message stays for ten


def test_the_theme_can_be_chosen_and_stays(visits: Visits, cottage: Served) -> None:
    page = visits.sign_in(cottage, color_scheme="light")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    page.goto(f"{cottage.url}/#/more")
    light = page.evaluate(background)
    page.get_by_label("Dark").check()
    dark = page.evaluate(background)
    assert dark != light
    page.reload()
    expect(page.get_by_label("Dark")).to_be_checked()
    assert page.evaluate(background) == dark


def test_who_wants_calm_sees_no_dots(visits: Visits, cottage: Served) -> None:
    page = visits.sign_in(cottage, size=DESK, reduced_motion="reduce")
    page.goto(f"{cottage.url}/#/map")
    settle(page)
    page.evaluate("() => { document.querySelector('.pulses').getContext = () => { throw Error('a dot'); }; }")
    cottage.home.say(SNOOP)
    until_drawn(page, "cy.edges('[tone = \"ask\"]').length === 1")
