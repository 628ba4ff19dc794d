"""The page with 500 services and 2,000 relationships: until it is seen, until a change is, frames, a flood.

None is asserted. ./lab bench page
"""

import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright

from controller.dpi.message import Message, Operation
from controller.people import Role
from controller.web.api import create_app
from controller.web.guard import COOKIE
from controller.web.members import LOCAL, Asker, Members
from controller.web.server import serve
from tests.benchmarks.record import Recorder
from tests.browser.conftest import CHROMIUM, DESK, FLAGS, PHONE
from tests.browser.household import READ, Household, Talk, settled
from tests.unit.web.fake_site import TOKEN, FakeAccounts

pytestmark = [pytest.mark.benchmark, pytest.mark.browser]

DEVICES, RELATIONSHIPS = 250, 2000  # each device has two services
CHANGES_PER_SECOND, SECONDS = 200, 10
CHANGED = 15  # times

DRAWN = "document.getElementById('graph')?._cyreg?.cy"


def talk(client: int, server: int, word: str) -> Talk:
    message = Message("http", "GET", READ, f"/{word}", identity=f"app-{client}")
    return Talk(f"d{client}", f"d{server}", 80, message)


def ask(client: int, server: int, word: str) -> Talk:
    return Talk(f"d{client}", f"d{server}", 80, Message("http", "POST", Operation.EXECUTE, f"/{word}"))


@pytest.fixture(scope="module")
def large() -> Iterator[tuple[Household, list[Talk]]]:
    chance = random.Random(1)  # the same site each time
    kinds = ("lamp", "camera", "thermostat", "door lock", "washing machine", "window sensor")
    devices = [(f"d{n}", f"Device {n}", kinds[n % len(kinds)], "Maker", 1 + n % 2) for n in range(DEVICES)]
    habits = [talk(n, (n + 1) % DEVICES, "state") for n in range(DEVICES)]
    while len(habits) < RELATIONSHIPS:
        client, server = chance.sample(range(DEVICES), 2)
        habits.append(talk(client, server, chance.choice(("state", "level", "alarm", "name", "log"))))
    home = settled(devices, habits)
    for number in range(40):
        home.say(
            Talk(f"d{number}", f"d{number + 99}", 80, Message("http", "POST", Operation.EXECUTE, "/reset"))
        )
    yield home, habits
    home.end()


Opener = Callable[[str, dict[str, int]], Page]


@pytest.fixture(scope="module")
def sign_in(large: tuple[Household, list[Talk]]) -> Iterator[Opener]:
    """Opens a browser of somebody new who is signed in."""
    home, _ = large
    members = Members(FakeAccounts(), TOKEN)
    server = serve(create_app(home, home, members), "127.0.0.1", 0)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)

        def opened(name: str, size: dict[str, int]) -> Page:
            _, secret = members.invite(Asker(Role.MANAGER, LOCAL), name, Role.MANAGER, 1.0, None)
            _, cookie = members.join(secret, name, "desk", "127.0.0.1")
            made = browser.new_context(viewport=size).new_page()
            made.context.add_cookies([{"name": COOKIE, "value": cookie, "url": server.url}])
            made.goto(server.url)
            return made

        yield opened
        browser.close()
    server.stop()


@pytest.fixture(scope="module")
def page(sign_in: Opener) -> Page:
    return sign_in("Anna", DESK)


def base(page: Page) -> str:
    return page.url.partition("#")[0]


def test_until_something_useful_is_seen(page: Page, record: Recorder) -> None:
    home_page = base(page)
    for place, sign in (("", ".card"), ("table", "tbody tr"), ("map", "#graph[data-ready]")):
        times = []
        for _ in range(5):
            target = f"{home_page}#/{place}"
            page.goto("about:blank")
            began = time.monotonic()
            page.goto(target)
            page.wait_for_selector(sign)
            times.append(time.monotonic() - began)
        record.runs(f"first useful paint of #/{place}", times, "s", at_most=1.5)


def test_until_a_change_is_drawn(page: Page, large: tuple[Household, list[Talk]], record: Recorder) -> None:
    home, _ = large
    page.goto(f"{base(page)}#/map")
    page.wait_for_function(f"() => {DRAWN}?.nodes().length > 20")
    page.evaluate("""() => {
      window.drawn = [];
      const source = EventSource.prototype;
      const listen = source.addEventListener;
      window.told = 0;
      source.addEventListener = function (name, heard) {
        return listen.call(this, name, (event) => {
          if (name === "graph") window.told = performance.now();
          heard(event);
        });
      };
    }""")
    page.context.set_offline(True)  # the line is opened again, with the watch on it
    page.context.set_offline(False)
    page.wait_for_function("() => window.told > 0", timeout=20_000)
    times: list[float] = []
    for number in range(CHANGED):
        time.sleep(0.6)  # a change by itself: joined repaints are another thing
        page.evaluate(f"""() => {{
          const cy = {DRAWN};
          const before = cy.edges().length;
          window.took = null;
          const look = () => {{
            if (cy.edges().length === before) return setTimeout(look, 1);
            requestAnimationFrame(() => {{ window.took = performance.now() - window.told; }});
          }};
          look();
        }}""")
        home.say(
            Talk(f"d{number + 60}", f"d{number + 180}", 80, Message("http", "POST", Operation.EXECUTE, "/go"))
        )
        page.wait_for_function("() => window.took !== null")
        times.append(page.evaluate("window.took"))
    record.runs("until a change is drawn", times, "ms", at_most=100.0, note=f"at most {max(times):.0f} ms")


def test_until_another_phone_shows_a_decision(page: Page, sign_in: Opener, record: Recorder) -> None:
    page.goto(f"{base(page)}#/")
    other = sign_in("Ben", PHONE)
    times = []
    for _ in range(7):
        asked = page.locator("article.card:not(.outcome)").first
        number = asked.get_attribute("data-request")
        other.wait_for_selector(f"article.card[data-request='{number}']:not(.outcome)")
        began = time.monotonic()
        asked.locator("button.keep").click()
        other.wait_for_selector(f"article.outcome[data-request='{number}']")
        times.append(time.monotonic() - began)
    other.context.close()
    record.runs("until another phone shows a decision", times, "s", at_most=1.0)


FRAMES = """(milliseconds) => new Promise((resolve) => {
  const cy = CY;
  const began = performance.now();
  let frames = 0, last = began, longest = 0;
  const frame = (at) => {
    frames += 1;
    longest = Math.max(longest, at - last);
    last = at;
    cy.panBy({ x: frames % 40 < 20 ? 6 : -6, y: frames % 60 < 30 ? 3 : -3 });
    if (at - began < milliseconds) requestAnimationFrame(frame);
    else resolve([frames * 1000 / (at - began), longest]);
  };
  requestAnimationFrame(frame);
})""".replace("CY", DRAWN)


@pytest.mark.parametrize("much", ["What needs me", "Everything"])
def test_frames_while_panning(page: Page, much: str, record: Recorder) -> None:
    page.goto(f"{base(page)}#/map")
    page.get_by_label("How much").select_option(much)
    page.wait_for_function(f"() => {DRAWN}?.nodes().length > 20")
    time.sleep(3.0)  # the layout has come
    shown = page.evaluate(f"() => [{DRAWN}.nodes().length, {DRAWN}.edges().length]")
    rate, longest = page.evaluate(FRAMES, 4000)
    vertices, edges = shown
    note = f"{vertices} vertices, {edges} edges; the longest frame took {longest:.0f} ms"
    record(f"panning {much!r}", rate, "frames/s", at_least=30.0, note=note)


def test_a_flood_of_changes_does_not_freeze_it(
    page: Page, large: tuple[Household, list[Talk]], record: Recorder
) -> None:
    home, habits = large
    page.goto(f"{base(page)}#/map")
    page.get_by_label("How much").select_option("What needs me")
    page.wait_for_function(f"() => {DRAWN}?.nodes().length > 20")
    ended = threading.Event()

    def flood() -> None:
        chance = random.Random(2)
        while not ended.is_set():
            home.say(chance.choice(habits))
            time.sleep(1 / CHANGES_PER_SECOND)

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    measured: Any = page.evaluate(
        """(seconds) => new Promise((resolve) => {
          const gaps = [];
          let last = performance.now();
          const timer = setInterval(() => {
            gaps.push(performance.now() - last);
            last = performance.now();
          }, 20);
          setTimeout(() => {
            clearInterval(timer);
            resolve([Math.max(...gaps), gaps.length]);
          }, seconds * 1000);
        })""",
        SECONDS,
    )
    began = time.monotonic()
    page.get_by_label("Search devices").fill("Device 1")
    answered = time.monotonic() - began
    ended.set()
    thread.join()
    flood_is = f"{CHANGES_PER_SECOND} changes/s for {SECONDS} s"
    record(f"{flood_is}: longest stop", measured[0], "ms", note=f"{measured[1]} of {SECONDS * 50} ticks")
    record(f"{flood_is}: until a key press is answered", answered * 1000, "ms")
