"""The page in Debian's Chromium, before a household without a network."""

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from controller.people import Role
from controller.web.guard import COOKIE
from controller.web.members import LOCAL, Asker, Members
from controller.web.server import Server, serve
from tests.browser.household import Household, rose_cottage
from tests.unit.web.fake_site import TOKEN, FakeAccounts, create_app

CHROMIUM = "/usr/bin/chromium"
# As root, and without what it would look up by itself in the background.
FLAGS = (
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-first-run",
)
PHONE, DESK = {"width": 360, "height": 640}, {"width": 1440, "height": 900}
# What the browser itself says about answers that the page deals with.
EXPECTED = ("Failed to load resource", "net::ERR_", "Service Worker registration blocked by Playwright")

expect.set_options(timeout=30_000)  # ms; beside them switches are tried on the same machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=FLAGS)
        yield browser
        browser.close()


def show(page: Page, place: str) -> None:
    """Go to a place of the page, and wait until that place is drawn with all that it asks for."""
    name = place.partition("/")[0] or "requests"
    page.goto(f"{page.url.partition('#')[0]}#/{place}")
    drawn = re.compile("on-wall" if name == "wall" else rf"at-{name}$")
    expect(page.locator("#shell")).to_have_class(drawn)
    expect(page.locator("[aria-busy=true]")).to_have_count(0)


@dataclass
class Served:
    """A household with its page: `url`, and links to sign in by."""

    home: Household
    members: Members
    server: Server

    @property
    def url(self) -> str:
        return self.server.url

    def link(self, name: str, role: Role = Role.MANAGER) -> str:
        _, secret = self.members.invite(Asker(Role.MANAGER, LOCAL), name, role, 1.0, None)
        return f"{self.url}/#join={secret}"

    def stop(self) -> None:
        self.server.stop()

    def start_again(self) -> None:
        """The same household, people and port."""
        self.server = serve(create_app(self.home, self.home, self.members), "127.0.0.1", self.server.port)


@pytest.fixture
def serve_home() -> Iterator[Callable[[Household], Served]]:
    running: list[Served] = []

    def start(home: Household) -> Served:
        members = Members(FakeAccounts(), TOKEN)
        served = Served(home, members, serve(create_app(home, home, members), "127.0.0.1", 0))
        running.append(served)
        return served

    yield start
    for served in running:
        served.stop()
        served.home.end()


@pytest.fixture
def cottage(serve_home: Callable[[Household], Served]) -> Served:
    return serve_home(rose_cottage())


@dataclass
class Visits:
    """Opens browsers for people, and remembers what went wrong in any of them."""

    browser: Browser
    problems: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    open: list[Page] = field(default_factory=list)

    def page(self, size: dict[str, int] | None = None, **options: object) -> Page:
        context = self.browser.new_context(viewport=size or PHONE, **options)
        page = context.new_page()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        self.open.append(page)
        return page

    def sign_in(
        self, served: Served, name: str = "Anna", role: Role = Role.MANAGER, **options: object
    ) -> Page:
        """A browser of somebody who is signed in already."""
        page = self.page(**options)
        secret = served.link(name, role).rpartition("=")[2]
        _, cookie = served.members.join(secret, name, "phone", "127.0.0.1")
        page.context.add_cookies([{"name": COOKIE, "value": cookie, "url": served.url}])
        page.goto(served.url)
        expect(page.get_by_role("navigation")).to_be_visible()
        return page

    def _said(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not any(word in message.text for word in EXPECTED):
            self.problems.append(message.text)


@pytest.fixture
def visits(chromium: Browser) -> Iterator[Visits]:
    """No test may leave an error in a console, nor ask any host but the controller."""
    made = Visits(chromium)
    yield made
    problems = [*made.problems]  # before closing breaks off what is still loading
    for page in made.open:
        page.context.close()
    assert problems == []
    assert [url for url in made.asked if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))] == []


@pytest.fixture
def phone(visits: Visits, cottage: Served) -> Page:
    """Anna's phone, signed in."""
    return visits.sign_in(cottage)


@pytest.fixture
def talking() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Keeps calling something every now and then until the test ends."""
    ended = threading.Event()
    threads: list[threading.Thread] = []

    def start(speak: Callable[[], object]) -> None:
        def run() -> None:
            while not ended.wait(0.2):
                speak()

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()

    yield start
    ended.set()
    for thread in threads:
        thread.join()
