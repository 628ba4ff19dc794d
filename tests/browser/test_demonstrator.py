"""Scenarios 1 and 2 of the paper, answered on a phone: real services, switch, inspector and controller."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect
from rich.console import Console

from tests.browser import pictures
from tests.browser.conftest import DESK, PHONE, Visits, show
from tests.browser.test_map import until_drawn
from topologies import marks, schema
from topologies.demo.report import Report
from topologies.demo.scenarios import BOLT, CONTROL, LATER, LOCK, WASHER
from topologies.demo.stage import Stage
from topologies.waiting import WaitedError, until

pytestmark = [pytest.mark.root, pytest.mark.mininet, pytest.mark.slow, pytest.mark.timeout(240)]

PLACES = ("", "map", "table", "devices", "history", "learning", "people", "more", "wall")
LATER_SERVICE = "storage-2"
PATIENCE = 40_000  # ms for what devices do at their own pace


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """The smart home before Graphwall, after its devices have learnt what they do."""
    report = Report(Console(file=io.StringIO()))
    topology = schema.read("smart_home")
    with Stage(topology, report, firewall=True, prefix=marks.free_prefix()) as made:
        made.laboratory.wait_ready(60.0)

        def over() -> bool:
            status = made.guarded.get("status")
            return bool(status["learning_services"] == 0 and status["relationships"].get("learned", 0) > 10)

        until(over, "learning ends", 120.0, 0.5)
        yield made


@pytest.fixture
def anna(visits: Visits, stage: Stage) -> Page:
    """Anna's phone, signed in by a link that the command line has made."""
    return sign_in(visits, stage, "Anna", reduced_motion="reduce")  # so that no picture is half-way


@pytest.fixture
def screens(root: Path) -> Path:
    """Pictures for looking at, and those of the README."""
    return root / ".lab" / "screens"


def sign_in(
    visits: Visits, stage: Stage, name: str, size: dict[str, int] | None = None, **options: object
) -> Page:
    known = [person["name"] for person in stage.guarded.get("people")["people"]]
    name = next(one for one in (name, *(f"{name} {n}" for n in range(2, 20))) if one not in known)
    made = stage.guarded.post("people/invitations", {"name": name, "role": "manager"})
    page = visits.page(size, **options)
    page.goto(made["url"])
    page.get_by_label("This device").fill("phone")
    page.get_by_role("button", name="Sign in on this device").click()
    expect(page.get_by_role("navigation")).to_be_visible()
    return page


def card(page: Page, *words: str) -> Locator:
    found = page.locator("article.card:not(.outcome)")
    for word in words:
        found = found.filter(has_text=word)
    return found.first


def level(stage: Stage) -> object:
    """The charge level of the later battery, as the washing machine has read it."""
    batteries: dict[str, dict[str, Any]] = stage.shows(CONTROL)("batteries") or {}
    read = (found["level"] for name, found in batteries.items() if LATER_SERVICE in name and "level" in found)
    return next(read, None)


def comes(condition: Callable[[], object], seconds: float) -> bool:
    """Whether it becomes true in time."""
    try:
        until(condition, "it", seconds, 0.2)
    except WaitedError:
        return False
    return True


def test_scenario_1_a_new_battery_is_let_in_named_and_used(stage: Stage, anna: Page) -> None:
    battery, washer = stage.human(LATER), stage.human(WASHER)
    stage.laboratory.join(LATER)
    asked = card(anna, "wants to join")
    expect(asked).to_be_visible(timeout=PATIENCE)
    asked.get_by_role("button", name="Let it join").click()
    expect(anna.locator("article.outcome").filter(has_text="may join")).to_contain_text("in force")
    name_it(anna, stage, battery)
    works = False
    while not works:
        wants = card(anna, f"{washer} wants to", battery)
        expect(wants).to_be_visible(timeout=PATIENCE)
        assert level(stage) is None
        number = wants.get_attribute("data-request")
        wants.locator("button.allow").click()
        expect(anna.locator(f"article.outcome[data-request='{number}']")).to_contain_text("may")
        works = comes(lambda: level(stage) is not None, 8.0)
    expect(anna.get_by_text("It works now").first).to_be_visible(timeout=PATIENCE)


def name_it(page: Page, stage: Stage, name: str) -> None:
    """Call the newest device by its name, where it has not got there by itself."""
    mac = stage.topology.host(LATER).mac
    found = next(device for device in stage.guarded.get("devices")["devices"] if device["mac"] == mac)
    if found["name"] != name:
        page.goto(f"{page.url.partition('#')[0]}#/device/{found['id']}")
        page.get_by_role("button", name=f"Rename {found['name']}").click()
        page.get_by_role("textbox", name="Name").fill(name)
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(name)
        page.goto(f"{page.url.partition('#')[0]}#/")


def test_scenario_2_an_update_that_opens_the_door_stays_blocked(
    stage: Stage, anna: Page, visits: Visits, screens: Path
) -> None:
    washer, lock = stage.human(WASHER), stage.human(LOCK)
    ben = sign_in(visits, stage, "Ben")
    desk = sign_in(visits, stage, "Chris", DESK)
    desk.goto(f"{desk.url.partition('#')[0]}#/map")
    assert stage.shows(BOLT)("open") is False
    stage.laboratory.services.update(CONTROL, "2")
    wants = card(anna, f"{washer} wants to lock or unlock", lock)
    expect(wants).to_be_visible(timeout=PATIENCE)
    expect(wants).to_contain_text("Opens a door")
    story = [anna.screenshot()]
    until_drawn(desk, "cy.edges('[tone = \"ask\"]').nonempty()")
    expect(card(ben, f"{washer} wants to lock or unlock", lock)).to_be_visible()
    wants.get_by_role("button", name="Keep blocked").click()
    done = anna.locator("article.outcome").filter(has_text=f"{washer} may not lock or unlock {lock}")
    expect(done).to_contain_text("Stays blocked, in force")
    story.append(anna.screenshot())
    expect(ben.locator("article.outcome").filter(has_text="may not lock or unlock")).to_contain_text("Anna")
    until_drawn(desk, "cy.edges('[tone = \"no\"]').nonempty()")
    anna.get_by_role("navigation").get_by_role("link", name="History").click()
    entry = anna.locator("li.entry").filter(has_text=f"{washer} may not lock or unlock {lock}")
    entry.get_by_role("button", name="Why?").click()
    expect(anna.get_by_role("dialog")).to_contain_text("is dropped by the switch")
    pictures.save(screens / "readme" / "phone.png", *story, anna.screenshot())
    tries = int((stage.shows(CONTROL)("attack") or {}).get("tries", 0))
    comes(lambda: int((stage.shows(CONTROL)("attack") or {}).get("tries", 0)) > tries, 6.0)
    assert stage.shows(BOLT)("open") is False


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["360x640", "1440x900"])
def test_every_page_is_photographed(
    stage: Stage, visits: Visits, size: dict[str, int], screens: Path
) -> None:
    page = sign_in(visits, stage, "Dora", size)
    washer = next(d for d in stage.guarded.get("devices")["devices"] if d["name"] == stage.human(WASHER))
    for place in (*PLACES, f"device/{washer['id']}"):
        show(page, place)
        if place in ("map", "wall") and page.locator("#graph").count():
            until_drawn(page, "cy.nodes().length > 5 && localStorage.getItem('graphwall-places:site:device')")
        name = place.partition("/")[0] or "requests"
        picture = page.screenshot(path=screens / f"{name}-{size['width']}x{size['height']}.png")
        if name == "map" and size == DESK:
            pictures.save(screens / "readme" / "map.png", picture)
    assert len(list(screens.glob(f"*-{size['width']}x{size['height']}.png"))) >= 10
