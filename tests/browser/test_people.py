"""Signing in and inviting others: by a link or its code, or with a password."""

import re

from playwright.sync_api import expect

from controller.people import Role
from tests.browser.conftest import Served, Visits, show
from tests.browser.household import READ, vsl


def test_the_link_of_an_invitation_signs_in_and_leaves_no_trace(visits: Visits, cottage: Served) -> None:
    page = visits.page()
    page.goto(cottage.link("Anna"))
    expect(page.get_by_role("heading", name="Welcome")).to_be_visible()
    assert page.url == f"{cottage.url}/"
    page.get_by_label("This device").fill("Anna's phone")
    page.get_by_role("button", name="Sign in on this device").click()
    expect(page.get_by_role("heading", name="Requests")).to_be_visible()
    assert page.evaluate("document.cookie") == ""
    page.goto(f"{cottage.url}/#/more")
    expect(page.locator("#main")).to_contain_text("Anna, manager, on Anna's phone")


def test_a_link_works_once(visits: Visits, cottage: Served) -> None:
    link = cottage.link("Anna")
    for attempt in ("first", "second"):
        page = visits.page()
        page.goto(link)
        page.get_by_role("button", name="Sign in on this device").click()
        if attempt == "second":
            expect(page.get_by_role("alert")).to_contain_text("this link was used")
        else:
            expect(page.get_by_role("navigation")).to_be_visible()


def test_without_a_session_nothing_of_the_site_is_shown(visits: Visits, cottage: Served) -> None:
    page = visits.page()
    page.goto(f"{cottage.url}/#/devices")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert "Rose cottage" not in page.content()


def test_a_manager_invites_and_the_invited_signs_in(visits: Visits, cottage: Served) -> None:
    manager = visits.sign_in(cottage)
    manager.goto(f"{cottage.url}/#/people")
    manager.get_by_role("button", name="Invite somebody").click()
    manager.get_by_label("Name").fill("Ben")
    manager.get_by_role("button", name="Make a link").click()
    picture = manager.get_by_alt_text("The link of the invitation as a QR code")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 100
    link = manager.locator("dialog .link").inner_text()
    other = visits.page()
    other.goto(link)
    other.get_by_role("button", name="Sign in on this device").click()
    expect(other.get_by_role("navigation")).to_be_visible()
    manager.get_by_role("button", name="Done").click()
    manager.reload()
    expect(manager.locator("li.person").filter(has_text="Ben")).to_contain_text("answers what is harmless")


def test_a_password_signs_in_without_a_link(visits: Visits, cottage: Served) -> None:
    page = visits.sign_in(cottage)
    page.goto(f"{cottage.url}/#/more")
    page.get_by_role("button", name="Set a password").click()
    page.get_by_label(re.compile("At least")).fill("correct horse battery")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".toast")).to_contain_text("name and this password")
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Your name").fill("Anna")
    page.get_by_label("Password").fill("wrong horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("do not fit")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("navigation")).to_be_visible()


def test_who_is_signed_out_by_a_manager_sees_nothing_more(visits: Visits, cottage: Served) -> None:
    manager = visits.sign_in(cottage)
    other = visits.sign_in(cottage, "Ben", Role.RESIDENT)
    manager.goto(f"{cottage.url}/#/people")
    manager.locator("li.person").filter(has_text="Ben").get_by_role("button", name="Sign out").click()
    manager.get_by_role("dialog").get_by_role("button", name="Sign out").click()
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()


def test_nobody_sees_a_button_that_would_be_refused(visits: Visits, cottage: Served) -> None:
    cottage.home.say(vsl("camera", "battery", READ, "/agent2/storage/level"))
    cottage.home.say(vsl("phone", "battery", READ, "/agent2/storage/level"))
    denied = next(one.id for one in cottage.home.snapshot().requests if one.client.startswith("phone"))
    anna = visits.sign_in(cottage).request
    for path, said in ((f"requests/{denied}/deny", {}), ("devices/tablet/pause", {"seconds": 600})):
        assert anna.post(f"{cottage.url}/api/v1/{path}", data=said, headers={"X-Graphwall": "1"}).ok
    answers = {"Allow", "Keep blocked", "Undo", "Rename"}
    manages = {"Pause protection", "Keep it out", "Learn again", "Protect again", "Invite", "New token"}
    for role, hidden in ((Role.VIEWER, answers | manages), (Role.RESIDENT, manages), (Role.MANAGER, set())):
        page = visits.sign_in(cottage, role.value, role)
        seen = ""
        for place in ("", "devices", "device/washer", "history", "learning", "people", "more"):
            show(page, place)
            expect(page.locator(".banner")).to_contain_text("Kitchen tablet is not protected")
            if place == "history":
                expect(page.locator("li.entry")).to_have_count(1)
            buttons = page.get_by_role("button").all()
            seen += "|".join(f"{one.get_attribute('aria-label')} {one.inner_text()}" for one in buttons)
        assert {word for word in answers | manages if word not in seen} == hidden, role


def test_one_more_device_of_ones_own_is_signed_in_with_the_same_rights(
    visits: Visits, cottage: Served
) -> None:
    ben = visits.sign_in(cottage, "Ben", Role.RESIDENT)
    ben.goto(f"{cottage.url}/#/people")
    ben.get_by_role("button", name="Sign in another device").click()
    link = ben.locator("dialog .link").inner_text()
    tablet = visits.page()
    tablet.goto(link)
    tablet.get_by_label("This device").fill("tablet")
    tablet.get_by_role("button", name="Sign in on this device").click()
    tablet.goto(f"{cottage.url}/#/more")
    expect(tablet.locator("#main")).to_contain_text("Ben, resident, on tablet")


def test_another_role_counts_on_a_page_that_is_open(visits: Visits, cottage: Served) -> None:
    anna = visits.sign_in(cottage)
    ben = visits.sign_in(cottage, "Ben", Role.RESIDENT)
    show(ben, "device/washer")
    expect(ben.get_by_role("button", name="Rename Washing machine")).to_be_visible()
    for role, renames, pauses in (("viewer", 0, 0), ("manager", 1, 1)):
        show(anna, "people")
        anna.get_by_label("Role of Ben").select_option(role)
        expect(ben.get_by_role("button", name="Rename Washing machine")).to_have_count(renames)
        expect(ben.get_by_role("button", name="Pause protection")).to_have_count(pauses)
