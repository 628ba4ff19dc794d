"""Requests on a phone: read as a sentence, answered, undone, and never lost."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from controller.dpi.message import Message, Operation
from controller.people import Role
from controller.words import visible
from tests.browser.conftest import Served, Visits
from tests.browser.household import NEWCOMER, READ, WRITE, Talk, settled, vsl

UNLOCK = vsl("washer", "door-lock", WRITE, "/agent1/lock/isOpen", "washing-control")
SNOOP = Talk("tablet", "lamp", 5683, Message("coap", "GET", READ, "/light"))


def card(page: Page, words: str) -> Locator:
    return page.locator("article.card:not(.outcome)").filter(has_text=words)


def outcome(page: Page, words: str) -> Locator:
    return page.locator("article.outcome").filter(has_text=words)


def test_with_nothing_to_answer_the_page_says_so(phone: Page) -> None:
    expect(phone.get_by_role("heading", name="Nothing waits for you")).to_be_visible()


def test_a_request_is_a_sentence_without_addresses(phone: Page, cottage: Served) -> None:
    cottage.home.say(UNLOCK)
    asked = card(phone, "Washing machine")
    expect(asked.get_by_role("heading")).to_have_text(
        "Washing machine wants to lock or unlock Front door lock"
    )
    expect(asked).to_contain_text("Opens a door")
    expect(asked).to_contain_text("Blocked for now")
    for technical in ("02:00:00", "10.0.0.", "tcp"):
        assert technical not in asked.inner_text()
    asked.get_by_text("Details").click()
    for technical in ("02:00:00:00:00:05", "10.0.0.6", "tcp 5683", "eth5", "hall"):
        expect(asked.locator("details")).to_contain_text(technical)


def test_both_answers_are_in_sight_on_a_small_phone(phone: Page, cottage: Served) -> None:
    cottage.home.say(UNLOCK)
    asked = card(phone, "Washing machine")
    for button in (asked.get_by_role("button", name="Keep blocked"), asked.locator("button.allow")):
        expect(button).to_be_in_viewport(ratio=0.9)


def test_what_opens_a_door_needs_a_second_tap_and_is_allowed_once(phone: Page, cottage: Served) -> None:
    cottage.home.say(UNLOCK)
    card(phone, "Washing machine").locator("button.allow").click()
    expect(phone.get_by_text("Are you sure?")).to_be_visible()
    assert cottage.home.snapshot().decisions == ()
    phone.get_by_role("button", name="Yes, allow once").click()
    expect(outcome(phone, "Washing machine may lock or unlock Front door lock")).to_be_visible()
    assert [view.decision.duration for view in cottage.home.snapshot().decisions] == ["once"]
    assert [cottage.home.say(UNLOCK), cottage.home.say(UNLOCK)] == [True, False]


def test_going_back_from_the_second_tap_decides_nothing(phone: Page, cottage: Served) -> None:
    cottage.home.say(UNLOCK)
    card(phone, "Washing machine").locator("button.allow").click()
    phone.get_by_role("button", name="Go back").click()
    expect(card(phone, "Washing machine").get_by_role("button", name="Keep blocked")).to_be_visible()
    assert cottage.home.snapshot().decisions == ()


def test_after_allowing_the_page_tells_when_it_works(phone: Page, cottage: Served) -> None:
    cottage.home.say(SNOOP)
    card(phone, "Kitchen tablet").locator("button.allow").click()
    done = outcome(phone, "Kitchen tablet may read /light of Hall lamp")
    expect(done).to_contain_text("in force")
    expect(done).to_contain_text("Waiting for the device to try again")
    assert cottage.home.say(SNOOP)
    expect(done).to_contain_text("It works now: 1 message")
    assert cottage.home.say(SNOOP)
    expect(done).to_contain_text("It works now: 2 messages")


def test_what_is_kept_blocked_stays_blocked(phone: Page, cottage: Served) -> None:
    cottage.home.say(SNOOP)
    card(phone, "Kitchen tablet").get_by_role("button", name="Keep blocked").click()
    expect(outcome(phone, "Kitchen tablet may not read /light of Hall lamp")).to_contain_text(
        "Stays blocked, in force"
    )
    assert not cottage.home.say(SNOOP)
    expect(card(phone, "Kitchen tablet")).to_have_count(0)


def test_the_toast_takes_an_answer_back(phone: Page, cottage: Served) -> None:
    cottage.home.say(SNOOP)
    card(phone, "Kitchen tablet").locator("button.allow").click()
    phone.locator(".toast").get_by_role("button", name="Undo").click()
    expect(card(phone, "Kitchen tablet")).to_be_visible()
    assert not cottage.home.say(SNOOP)


def test_the_history_says_who_decided_and_takes_it_back_later(phone: Page, cottage: Served) -> None:
    cottage.home.say(SNOOP)
    card(phone, "Kitchen tablet").locator("button.allow").click()
    expect(outcome(phone, "Kitchen tablet")).to_contain_text("in force")
    phone.reload()
    phone.get_by_role("navigation").get_by_role("link", name="History").click()
    entry = phone.locator("li.entry").filter(has_text="Kitchen tablet may read /light of Hall lamp")
    expect(entry).to_contain_text("Anna (phone)")
    entry.get_by_role("button", name="Undo").click()
    expect(entry).to_contain_text("Taken back")
    assert not cottage.home.say(SNOOP)


def test_a_request_that_is_no_longer_tried_stays_and_says_so(phone: Page, cottage: Served) -> None:
    cottage.home.say(SNOOP)
    expect(card(phone, "Kitchen tablet")).to_be_visible()
    cottage.home.pass_days(0.01)
    expect(card(phone, "Kitchen tablet")).to_contain_text("No longer trying")
    expect(card(phone, "Kitchen tablet").get_by_role("button", name="Keep blocked")).to_be_enabled()


@pytest.fixture
def four_questions(cottage: Served) -> list[Talk]:
    asked = [
        vsl("tablet", "battery", READ, f"/agent2/storage/{what}")
        for what in ("level", "owner", "type", "age")
    ]
    for talk in asked:
        cottage.home.say(talk)
    return asked


def test_what_belongs_together_is_one_card(phone: Page, four_questions: list[Talk]) -> None:
    asked = card(phone, "Kitchen tablet")
    expect(asked).to_have_count(1)
    expect(asked.get_by_role("checkbox")).to_have_count(len(four_questions))


def test_only_what_is_ticked_is_answered(phone: Page, cottage: Served, four_questions: list[Talk]) -> None:
    asked = card(phone, "Kitchen tablet")
    asked.get_by_label("read owner of Battery").uncheck()
    expect(asked.locator("button.allow")).to_contain_text("Allow 3 of 4 always")
    asked.locator("button.allow").click()
    expect(asked.get_by_role("heading")).to_have_text("Kitchen tablet wants to read owner of Battery")
    assert [cottage.home.say(talk) for talk in four_questions] == [True, False, True, True]


def test_scope_and_duration_are_said_in_the_button(phone: Page, cottage: Served) -> None:
    cottage.home.say(SNOOP)
    asked = card(phone, "Kitchen tablet")
    asked.get_by_label("1 hour").check()
    expect(asked.locator("button.allow")).to_contain_text("Allow for one hour")
    asked.get_by_text("Details").click()
    asked.get_by_label("An answer is about").select_option("all that it asks there")
    expect(asked.locator("button.allow")).to_contain_text("all that it asks there")
    asked.locator("button.allow").click()
    expect(outcome(phone, "Kitchen tablet")).to_contain_text("in force")
    (made,) = cottage.home.snapshot().decisions
    assert (made.decision.duration, made.decision.scope) == ("hour", "service")


def test_a_new_device_waits_until_a_manager_lets_it_join(phone: Page, cottage: Served) -> None:
    cottage.home.plug(NEWCOMER, 2, 13)
    asked = card(phone, "wants to join")
    expect(asked).to_contain_text("Nothing that it sends passes")
    asked.get_by_role("button", name="Let it join").click()
    expect(outcome(phone, "may join")).to_contain_text("in force")
    devices = cottage.home.snapshot().devices.values()
    assert [d.admission for d in devices if d.mac == cottage.home.macs[NEWCOMER]] == ["admitted"]


def test_two_phones_see_each_others_decisions(visits: Visits, phone: Page, cottage: Served) -> None:
    other = visits.sign_in(cottage, "Ben")
    cottage.home.say(SNOOP)
    expect(card(other, "Kitchen tablet")).to_be_visible()
    card(phone, "Kitchen tablet").get_by_role("button", name="Keep blocked").click()
    expect(outcome(other, "Kitchen tablet may not read")).to_contain_text("Anna (phone)")
    expect(card(other, "Kitchen tablet")).to_have_count(0)


@pytest.mark.parametrize(
    ("role", "talk", "said"),
    [
        (Role.VIEWER, SNOOP, "You can look, but not answer"),
        (Role.RESIDENT, UNLOCK, "Only a manager can allow this"),
    ],
)
def test_who_may_not_answer_is_told_so(
    visits: Visits, cottage: Served, role: Role, talk: Talk, said: str
) -> None:
    page = visits.sign_in(cottage, "Chris", role)
    cottage.home.say(talk)
    asked = page.locator("article.card")
    expect(asked).to_contain_text(said)
    expect(asked.get_by_role("button", name="Keep blocked")).to_have_count(0)


def test_why_tells_the_rule_the_switch_and_who_decided(phone: Page, cottage: Served) -> None:
    cottage.home.say(SNOOP)
    card(phone, "Kitchen tablet").get_by_role("button", name="Keep blocked").click()
    expect(outcome(phone, "Kitchen tablet")).to_contain_text("in force")
    phone.get_by_role("navigation").get_by_role("link", name="History").click()
    phone.get_by_role("button", name="Why?").click()
    sheet = phone.get_by_role("dialog")
    expect(sheet).to_contain_text("It is blocked")
    expect(sheet).to_contain_text("Blocked by Anna (phone)")
    expect(sheet).to_contain_text("flow cookie 0x")
    phone.keyboard.press("Escape")
    expect(sheet).to_be_hidden()


def test_what_hides_or_reorders_text_is_written_out_as_the_controller_does(phone: Page) -> None:
    names = [
        "Küche",
        "a\u202eb",
        "a\u00a0b",
        "\u3164",
        "\u115fa",
        "e" + "\u0301" * 5,
        "\U000e0041",
        "a\x00b",
        "n" * 70,
    ]
    shown = phone.evaluate(
        "(names) => import('/page/safe.js').then(({visible}) => names.map((one) => visible(one)))", names
    )
    assert shown == [visible(name) for name in names]


def test_a_name_cannot_tell_the_button_another_question(
    visits: Visits, serve_home: Callable[..., Served]
) -> None:
    devices = (("tv", "TV wants to read Clock", "tv", "Evil", 1), ("good", "Good", "battery", "Nice", 1))
    usual = Talk("tv", "good", 80, Message("http", "GET", READ, "/usual"))
    served = serve_home(settled(devices, [usual] * 3))
    page = visits.sign_in(served)
    served.home.say(Talk("tv", "good", 80, Message("http", "DELETE", Operation.DELETE, "/everything")))
    expect(page.locator("button.allow small")).to_contain_text("delete /everything of Good")
    page.get_by_role("button", name="Keep blocked").click()
    expect(page.locator("article.outcome")).to_contain_text("may not delete /everything of Good")


HOSTILE = "<img src=x onerror=alert(1)>\u202eevil\u0007"


def test_names_from_the_network_are_text_and_hide_nothing(
    visits: Visits, serve_home: Callable[..., Served]
) -> None:
    devices = (("bad", "Bad", "lamp", "Evil", 1), ("good", "Good", "battery", "Nice", 1))
    usual = Talk("bad", "good", 80, Message("http", "GET", READ, "/usual"))
    served = serve_home(settled(devices, [usual] * 3))
    dialogs: list[str] = []
    page = visits.sign_in(served)
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    served.home.say(
        Talk("bad", "good", 80, Message("http", "POST", Operation.EXECUTE, f"/{HOSTILE}", identity=HOSTILE))
    )
    expect(page.locator("article.card")).to_contain_text("<U+202E>")
    for place in ("table", "map/", "device/bad", "learning", "history"):
        page.goto(f"{served.url}/#/{place}")
        expect(page.locator("#main")).not_to_be_empty()
        assert page.locator("#main img").count() == 0
        assert "\u202e" not in page.locator("#main").inner_text()
    assert dialogs == []
