"""Devices on a phone: names that stick, protection that can be paused, learning that can be seen."""

import re

from playwright.sync_api import Page, expect

from tests.browser.conftest import Served
from tests.browser.household import NEWCOMER, READ, Talk, vsl
from tests.browser.test_requests import SNOOP, card, outcome


def test_every_device_is_listed_with_what_it_is(phone: Page) -> None:
    phone.get_by_role("navigation").get_by_role("link", name="Devices").click()
    washer = phone.get_by_role("link", name=re.compile("Washing machine"))
    expect(washer).to_contain_text("Lavanda · washing machine")
    phone.get_by_placeholder("Name, kind or address").fill("lock")
    expect(phone.get_by_role("link", name=re.compile("Front door lock"))).to_be_visible()
    expect(washer).to_have_count(0)


def test_a_corrected_name_is_everywhere_and_stays(phone: Page, cottage: Served) -> None:
    cottage.home.plug(NEWCOMER, 2, 13)
    phone.get_by_role("navigation").get_by_role("link", name="Devices").click()
    phone.get_by_role("link", name=re.compile("New device")).click()
    expect(phone.locator(".head")).to_contain_text("a guess")
    phone.get_by_role("button", name=re.compile("Rename New device")).click()
    phone.get_by_role("textbox", name="Name").fill("Battery in the cellar")
    phone.get_by_role("button", name="Save").click()
    expect(phone.get_by_role("heading", level=1)).to_contain_text("Battery in the cellar")
    expect(phone.locator(".head")).not_to_contain_text("a guess")
    phone.get_by_role("navigation").get_by_role("link", name="Requests").click()
    expect(card(phone, "Battery in the cellar")).to_be_visible()
    phone.reload()
    expect(card(phone, "Battery in the cellar")).to_be_visible()


def test_paused_protection_is_in_sight_until_it_is_back(phone: Page, cottage: Served) -> None:
    phone.goto(f"{cottage.url}/#/device/tablet")
    phone.get_by_role("button", name="Pause protection").click()
    phone.get_by_role("button", name="For 1 hour").click()
    banner = phone.locator(".banner").filter(has_text="Kitchen tablet is not protected")
    for place in ("", "map", "devices", "history", "learning", "people", "more"):
        phone.goto(f"{cottage.url}/#/{place}")
        expect(banner).to_contain_text(re.compile("(60|59) minutes"))
    assert cottage.home.say(SNOOP)
    banner.get_by_role("button", name="Protect again").click()
    expect(banner).to_have_count(0)
    assert not cottage.home.say(SNOOP)


def test_a_device_can_be_kept_out_and_let_in(phone: Page, cottage: Served) -> None:
    usual = Talk("tablet", "camera", 80, vsl("tablet", "camera", READ, "/").message)
    phone.goto(f"{cottage.url}/#/device/tablet")
    phone.get_by_role("button", name="Keep it out").click()
    phone.get_by_role("dialog").get_by_role("button", name="Keep out").click()
    expect(phone.locator(".head")).to_contain_text("Kept out")
    assert not cottage.home.say(usual)
    phone.get_by_role("button", name="Let it in").click()
    expect(phone.locator(".head")).not_to_contain_text("Kept out")


def test_a_device_shows_what_it_may_and_may_not_do_and_why(phone: Page, cottage: Served) -> None:
    cottage.home.say(SNOOP)
    card(phone, "Kitchen tablet").get_by_role("button", name="Keep blocked").click()
    expect(outcome(phone, "Kitchen tablet")).to_contain_text("in force")
    phone.goto(f"{cottage.url}/#/device/tablet")
    blocked = phone.locator("li.entry.no").filter(has_text="Kitchen tablet may not read /light of Hall lamp")
    expect(blocked).to_contain_text("Blocked")
    expect(phone.locator("li.entry.ok")).to_contain_text("may read /snapshot.jpg of Garden camera")
    blocked.get_by_role("button", name="Why?").click()
    expect(phone.get_by_role("dialog")).to_contain_text("Blocked by Anna (phone)")


def test_learning_can_be_seen_started_again_and_ended(phone: Page, cottage: Served) -> None:
    phone.goto(f"{cottage.url}/#/device/tablet")
    program = phone.locator("li.program").first
    program.get_by_role("button", name="Learn again").click()
    expect(program).to_contain_text(re.compile(r"Learning: \d %"))
    expect(program).to_contain_text("At most 7 days more")
    phone.goto(f"{cottage.url}/#/")
    expect(phone.get_by_text("1 program is still learning")).to_be_visible()
    phone.get_by_role("link", name=re.compile("still learning")).click()
    expect(phone.get_by_role("progressbar", name=re.compile("Learning of"))).to_be_visible()
    phone.get_by_role("button", name="End now").click()
    expect(phone.get_by_text("Nothing is learning")).to_be_visible()


def test_after_learning_one_is_shown_what_deserves_a_look(phone: Page) -> None:
    phone.get_by_role("link", name=re.compile("programs have finished learning")).click()
    review = phone.get_by_role("region", name="What was learnt")
    expect(review).to_contain_text(re.compile(r"\d+ relationships learnt, \d+ deserve"))
    expect(review).to_contain_text("Anna's phone may lock or unlock Front door lock")
    expect(review).to_contain_text("Opens a door")
    review.get_by_role("button", name="I have looked").click()
    expect(review).to_have_count(0)
    phone.get_by_role("navigation").get_by_role("link", name="Requests").click()
    expect(phone.get_by_role("link", name=re.compile("finished learning"))).to_have_count(0)
