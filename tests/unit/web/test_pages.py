"""The static page: open to all, cached by its content, and allowed to load nothing from elsewhere."""

from collections.abc import Iterator

import httpx
import pytest

from controller.web.api import create_app
from controller.web.members import Members
from controller.web.server import serve
from tests.unit.web.fake_site import TOKEN, FakeAccounts, FakeSite, home

FILES = {
    "index.html": "<!doctype html>",
    "app.js": "export {};",
    "manifest.webmanifest": "{}",
    "service-worker.js": "// nothing",
    "icons/icon.svg": "<svg/>",
}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("files")
    for name, text in FILES.items():
        (folder / "page" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "page" / name).write_text(text)
    (folder / "secret").write_text("secret")
    site = FakeSite(home())
    app = create_app(site, site, Members(FakeAccounts(), TOKEN), folder / "page")
    running = serve(app, "127.0.0.1", 0)
    with httpx.Client(base_url=running.url) as made:
        yield made
    running.stop()


@pytest.mark.parametrize(
    ("address", "name", "kind"),
    [
        ("/", "index.html", "text/html"),
        ("/page/app.js", "app.js", "text/javascript"),
        ("/manifest.webmanifest", "manifest.webmanifest", "application/manifest+json"),
        ("/service-worker.js", "service-worker.js", "text/javascript"),
        ("/icons/icon.svg", "icons/icon.svg", "image/svg+xml"),
    ],
)
def test_each_file_is_served_to_anybody_and_asked_for_again(
    browser: httpx.Client, address: str, name: str, kind: str
) -> None:
    answer = browser.get(address)
    assert (answer.status_code, answer.text) == (200, FILES[name])
    assert answer.headers["content-type"].startswith(kind)
    assert answer.headers["cache-control"] == "no-cache"
    again = browser.get(address, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.text) == (304, "")


def test_the_page_may_load_only_from_where_it_came(browser: httpx.Client) -> None:
    headers = browser.get("/").headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    "address", ["/page/../secret", "/page/%2e%2e/secret", "/page/..%2fsecret", "/icons/../../secret"]
)
def test_nothing_beside_the_page_is_served(browser: httpx.Client, address: str) -> None:
    answer = browser.get(address)
    assert answer.status_code in (401, 404)
    assert answer.text != "secret"


def test_what_is_not_there_is_not_found(browser: httpx.Client) -> None:
    assert browser.get("/page/nothing.js").status_code == 404
    assert browser.post("/").status_code in (401, 405)
