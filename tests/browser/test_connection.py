"""A line that breaks is said, and what happened meanwhile is caught up with."""

from playwright.sync_api import Page, expect

from tests.browser.conftest import DESK, Served, Visits
from tests.browser.test_requests import SNOOP, card, outcome


def test_a_lost_connection_is_said_and_comes_back_with_what_was_missed(phone: Page, cottage: Served) -> None:
    expect(phone.locator(".status")).to_have_text("Protected")
    cottage.stop()
    banner = phone.get_by_role("alert").filter(has_text="No connection to the controller")
    expect(banner).to_be_visible()
    cottage.home.say(SNOOP)
    cottage.start_again()
    expect(card(phone, "Kitchen tablet")).to_be_visible()
    expect(banner).to_have_count(0)


def test_what_others_answered_while_the_line_was_broken_is_told(
    visits: Visits, phone: Page, cottage: Served
) -> None:
    other = visits.sign_in(cottage, "Ben")
    cottage.home.say(SNOOP)
    expect(card(other, "Kitchen tablet")).to_be_visible()
    other.context.set_offline(True)
    card(phone, "Kitchen tablet").get_by_role("button", name="Keep blocked").click()
    expect(outcome(phone, "Kitchen tablet")).to_contain_text("in force")
    other.context.set_offline(False)
    expect(outcome(other, "Kitchen tablet may not read")).to_contain_text("Anna (phone)")


def test_an_answer_that_cannot_be_sent_changes_nothing_and_says_so(phone: Page, cottage: Served) -> None:
    cottage.home.say(SNOOP)
    expect(card(phone, "Kitchen tablet")).to_be_visible()
    cottage.stop()
    card(phone, "Kitchen tablet").locator("button.allow").click()
    expect(phone.locator(".toast")).to_contain_text("Nothing was changed")
    expect(card(phone, "Kitchen tablet").locator("button.allow")).to_be_visible()
    assert cottage.home.snapshot().decisions == ()
    cottage.start_again()
    expect(phone.locator(".status")).to_have_text("Protected")


def test_the_page_opens_without_the_controller_and_says_so(phone: Page, cottage: Served) -> None:
    phone.evaluate("navigator.serviceWorker.ready")
    phone.reload()
    expect(phone.locator(".status")).to_have_text("Protected")
    cottage.stop()
    phone.reload()
    expect(phone.get_by_role("heading", name="No connection")).to_be_visible()
    cottage.start_again()


def test_a_map_that_could_not_be_loaded_says_so_and_tries_again(visits: Visits, cottage: Served) -> None:
    page = visits.sign_in(cottage, size=DESK, service_workers="block")  # what it asks for is not seen here
    said = []
    page.route("**/cytoscape.min.js", lambda route: route.continue_() if said else route.abort())
    page.goto(f"{cottage.url}/#/map")
    expect(page.locator("#graph.late")).to_be_visible()
    said.append(True)
    expect(page.locator("#graph[data-ready]")).to_be_visible()
    expect(page.locator("#graph.late")).to_have_count(0)
