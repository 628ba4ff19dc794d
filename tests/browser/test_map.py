"""The live map and its twin, the table, before a site that changes."""

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from controller.dpi.message import Message
from tests.browser.conftest import DESK, Served, Visits
from tests.browser.household import NEWCOMER, READ, WRITE, Talk, vsl
from tests.browser.test_requests import SNOOP, UNLOCK

# What Cytoscape has drawn, by way of what it leaves on its container.
DRAWN = """() => {
  const cy = document.getElementById("graph")._cyreg.cy;
  return {
    vertices: Object.fromEntries(cy.nodes().map((n) => [n.id(), {...n.data(), ...n.position()}])),
    edges: Object.fromEntries(cy.edges().map((e) => [e.id(), {
      ...e.data(), line: e.style("line-style"), arrow: e.style("target-arrow-shape"),
      width: parseFloat(e.style("width")),
    }])),
  };
}"""


def drawn(page: Page) -> Any:
    return page.evaluate(DRAWN)


def places(page: Page) -> dict[str, tuple[int, int]]:
    vertices = drawn(page)["vertices"].items()
    return {name: (round(vertex["x"]), round(vertex["y"])) for name, vertex in vertices}


def until_drawn(page: Page, test: str) -> None:
    """Wait until something holds of the drawing `cy`."""
    cy = "document.getElementById('graph')?._cyreg?.cy"
    page.wait_for_function(f"() => {{ const cy = {cy}; return cy && ({test}); }}")


def settle(page: Page) -> None:
    """Wait until everything has a place that will be kept."""
    until_drawn(page, "cy.nodes().length > 5 && localStorage.getItem('graphwall-places:site:device')")


@pytest.fixture
def desk(visits: Visits, cottage: Served) -> Page:
    page = visits.sign_in(cottage, size=DESK)
    page.goto(f"{cottage.url}/#/map")
    settle(page)
    return page


def test_what_waits_and_what_is_blocked_differ_in_more_than_colour(desk: Page, cottage: Served) -> None:
    cottage.home.say(UNLOCK)
    until_drawn(desk, "cy.edges('[tone = \"ask\"]').length === 1")
    edges = drawn(desk)["edges"]
    (waits,) = [edge for edge in edges.values() if edge["tone"] == "ask"]
    assert (waits["line"], waits["chips"]) == ("dashed", "? change")
    assert {edge["line"] for edge in edges.values() if edge["tone"] == "ok" and not edge["mediated"]} == {
        "solid"
    }
    request = cottage.home.snapshot().requests[0].id
    desk.request.post(f"{cottage.url}/api/v1/requests/{request}/deny", data={}, headers={"X-Graphwall": "1"})
    until_drawn(desk, "cy.edges('[tone = \"no\"]').length === 1")
    (blocked,) = [edge for edge in drawn(desk)["edges"].values() if edge["tone"] == "no"]
    assert (blocked["arrow"], blocked["chips"]) == ("tee", "✕ change")
    assert blocked["width"] > waits["width"]


def test_a_new_vertex_moves_no_other(desk: Page, cottage: Served) -> None:
    before = places(desk)
    cottage.home.plug(NEWCOMER, 2, 13)
    until_drawn(desk, f"cy.nodes().length === {len(before) + 1}")
    after = places(desk)
    assert {name: after[name] for name in before} == before


def test_places_are_kept_over_a_reload(desk: Page) -> None:
    before = places(desk)
    desk.reload()
    settle(desk)
    assert places(desk) == before


def test_publishers_and_subscribers_meet_at_the_topic(desk: Page) -> None:
    edges = {(e["source"], e["target"]) for e in drawn(desk)["edges"].values() if e["mediated"]}
    assert ("d:window", "t:home/kitchen/window") in edges
    assert {("t:home/kitchen/window", "d:phone"), ("t:home/kitchen/window", "d:thermostat")} <= edges


def test_infrastructure_is_hidden_until_it_is_asked_for(desk: Page) -> None:
    assert "d:hub" not in drawn(desk)["vertices"]
    desk.get_by_label("Infrastructure").check()
    until_drawn(desk, "cy.getElementById('d:hub').nonempty()")


def test_the_site_folds_into_switches_and_unfolds_into_programs(desk: Page) -> None:
    desk.get_by_label("Level").select_option("Switches")
    until_drawn(desk, "cy.getElementById('w:1').nonempty() && cy.getElementById('w:2').nonempty()")
    assert set(drawn(desk)["vertices"]) >= {"w:1", "w:2"}
    desk.get_by_label("Level").select_option("Programs")
    until_drawn(desk, "cy.getElementById('s:washer/washing-control').nonempty()")
    assert drawn(desk)["vertices"]["s:washer/washing-control"]["parent"] == "d:washer"


def test_each_switch_has_its_own_view(desk: Page) -> None:
    desk.get_by_label("Part of the site").select_option("Switch hall")
    until_drawn(desk, "cy.getElementById('d:lamp').empty() && cy.getElementById('d:washer').nonempty()")
    desk.get_by_label("Part of the site").select_option("Switch cellar")
    until_drawn(desk, "cy.getElementById('d:lamp').nonempty() && cy.getElementById('d:battery').empty()")


def test_the_view_of_what_needs_somebody_fades_the_rest(desk: Page, cottage: Served) -> None:
    cottage.home.say(SNOOP)
    desk.get_by_label("How much").select_option("What needs me")
    until_drawn(desk, "cy.edges('[tone = \"ask\"]').length === 1 && cy.getElementById('d:window').empty()")
    vertices = drawn(desk)["vertices"]
    assert [vertices["d:tablet"]["faded"], vertices["d:camera"]["faded"]] == [0, 1]
    assert "d:washer" not in vertices


def test_when_nothing_needs_somebody_the_page_says_so(desk: Page) -> None:
    desk.get_by_label("How much").select_option("What needs me")
    expect(desk.get_by_role("heading", name="Nothing needs you")).to_be_visible()
    desk.get_by_role("button", name="Show everything").click()
    until_drawn(desk, "cy.nodes().length > 5")


def test_messages_just_seen_run_along_their_edges(desk: Page, cottage: Served) -> None:
    desk.evaluate("""() => {
      window.dots = 0;
      const arc = CanvasRenderingContext2D.prototype.arc;
      CanvasRenderingContext2D.prototype.arc = function (...all) {
        if (this.canvas.className === "pulses") window.dots += 1;
        return arc.apply(this, all);
      };
    }""")
    cottage.home.say(Talk("wall-switch", "lamp", 5683, Message("coap", "PUT", WRITE, "/light")))
    desk.wait_for_function("() => window.dots > 0")


def test_an_edge_tells_everything_about_itself(desk: Page) -> None:
    desk.evaluate("""() => {
      const cy = document.getElementById("graph")._cyreg.cy;
      cy.edges("[source = 'd:wall-switch']")[0].emit("tap");
    }""")
    panel = desk.get_by_role("complementary", name="Details")
    said = "Hall wall switch may change /light of Hall lamp"
    for words in (said, "PUT", "coap", "tcp 5683", "nobody: it was learnt", "inspect"):
        expect(panel).to_contain_text(words)
    panel.get_by_role("button", name="Flows that carry it").click()
    expect(panel.get_by_role("heading", name="Flows that carry it")).to_be_visible()
    desk.keyboard.press("Escape")
    expect(panel).to_have_count(0)


def test_several_on_one_edge_that_are_blocked_do_not_read_as_allowed(desk: Page, cottage: Served) -> None:
    for what in ("level", "owner"):
        cottage.home.say(vsl("tablet", "battery", READ, f"/agent2/storage/{what}"))
    until_drawn(desk, 'cy.edges(\'[tone = "ask"]\').some((edge) => edge.data("chips").endsWith("2"))')
    request = cottage.home.snapshot().requests[0].id
    desk.request.post(f"{cottage.url}/api/v1/requests/{request}/deny", data={}, headers={"X-Graphwall": "1"})
    until_drawn(desk, "cy.edges('[tone = \"no\"]').length === 1")
    desk.evaluate("""() => {
      document.getElementById("graph")._cyreg.cy.edges("[tone = 'no']")[0].emit("tap");
    }""")
    panel = desk.get_by_role("complementary", name="Details")
    for what in ("level", "owner"):
        expect(panel).to_contain_text(f"Kitchen tablet may not read {what} of Battery")


def test_the_table_says_the_same_and_can_be_sorted_and_filtered(desk: Page, cottage: Served) -> None:
    cottage.home.say(SNOOP)
    desk.get_by_role("button", name="Table").click()
    rows = desk.locator("tbody tr")
    expect(rows.first).to_contain_text("Waits")
    desk.get_by_role("button", name="From").click()
    expect(desk.get_by_role("columnheader", name="From")).to_have_attribute("aria-sort", "ascending")
    expect(rows.first).to_contain_text("Anna's phone")
    desk.get_by_role("group", name="States").get_by_role("button", name="Allowed").click()
    expect(rows).to_have_count(1)
    desk.get_by_label("Search devices").fill("nobody is called so")
    expect(desk.get_by_role("heading", name="Nothing fits")).to_be_visible()


def test_on_a_phone_the_table_comes_first(phone: Page) -> None:
    phone.get_by_role("navigation").get_by_role("link", name="Map").click()
    expect(phone.get_by_role("table")).to_be_visible()
    phone.get_by_role("button", name="Map").click()
    settle(phone)


def test_the_wall_shows_the_map_and_changes_nothing(visits: Visits, cottage: Served) -> None:
    cottage.home.say(vsl("tablet", "battery", WRITE, "/agent2/storage/level"))
    page = visits.sign_in(cottage, size=DESK)
    page.goto(f"{cottage.url}/#/wall")
    settle(page)
    expect(page.locator(".wall")).to_contain_text("1 request waits")
    assert page.locator("button, input, select").count() == 0
    assert page.evaluate("document.getElementById('graph')._cyreg.cy.autoungrabify()")
    expect(page.get_by_role("link", name=re.compile("Leave"))).to_have_attribute("href", "#/more")
