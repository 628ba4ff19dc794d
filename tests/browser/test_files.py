"""What the page is made of: our own files, nothing from elsewhere, and little of it."""

import gzip
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import DESK, Served, Visits
from tests.browser.test_map import settle

STATIC = Path(__file__).parents[2] / "controller/web/page/static"
KINDS = (".js", ".html", ".css")
OURS = sorted(path for path in STATIC.rglob("*") if path.suffix in KINDS and "vendor" not in path.parts)
SINKS = (
    "innerHTML",
    "outerHTML",
    "insertAdjacentHTML",
    "document.write",
    "eval(",
    "new Function",
    "unsafeHTML",
)
LARGEST = 300_000  # bytes, compressed: the whole page with the map


def test_everything_that_the_map_loads_is_small_and_our_own(visits: Visits, cottage: Served) -> None:
    page = visits.sign_in(cottage, size=DESK)
    page.goto(f"{cottage.url}/#/map")
    settle(page)
    files = {url.partition("#")[0] for url in visits.asked if "/api/" not in url and "data:" not in url}
    sizes = {}
    for url in files:
        name = url.removeprefix(cottage.url).removeprefix("/page").lstrip("/") or "index.html"
        if (path := STATIC / name).is_file():
            sizes[name] = len(gzip.compress(path.read_bytes(), 6))
    assert {"index.html", "main.js", "vendor/cytoscape.min.js", "layout-worker.js"} <= set(sizes)
    assert (
        sum(sizes.values()) + len(gzip.compress((STATIC / "vendor/cytoscape-fcose.js").read_bytes()))
        < LARGEST
    )


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_no_text_can_become_html_or_script(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for sink in SINKS:
        assert sink not in text
    assert not re.search(r"\son[a-z]+=", text)
    assert not re.search(r"https?://(?!www\.w3\.org/)", text)


def test_every_module_that_is_imported_is_there() -> None:
    for path in OURS:
        for name in re.findall(r'from "(\.[^"]+)"', path.read_text(encoding="utf-8")):
            assert (path.parent / name).is_file(), f"{path.name}: {name}"


def test_a_script_from_outside_does_not_run(visits: Visits, cottage: Served) -> None:
    page = visits.page()
    page.goto(cottage.url)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    refused = page.evaluate("""() => new Promise((resolve) => {
      document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
      const script = document.createElement("script");
      try {
        script.textContent = "window.ran = true";
        document.head.append(script);
      } catch {
        resolve("refused at once");
      }
    })""")
    assert refused
    assert page.evaluate("window.ran") is None
    visits.problems.clear()  # the browser has told of the violation


def test_the_page_can_be_installed(visits: Visits, cottage: Served) -> None:
    page = visits.page()
    page.goto(cottage.url)
    manifest = page.request.get(f"{cottage.url}/manifest.webmanifest").json()
    assert manifest["display"] == "standalone"
    for icon in manifest["icons"]:
        answer = page.request.get(f"{cottage.url}{icon['src']}")
        assert (answer.status, answer.headers["content-type"]) == (200, icon["type"])
    scope = page.evaluate("navigator.serviceWorker.ready.then((worker) => worker.scope)")
    assert scope == f"{cottage.url}/"
