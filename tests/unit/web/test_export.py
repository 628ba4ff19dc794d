"""The graph as files: each can be read by the program that it is for, whatever names are in it."""

import io
import json
import re
import shutil
import subprocess
from xml.etree import ElementTree as ET

import httpx
import networkx as nx
import pytest
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from controller.view import SiteView
from controller.web import export, metrics, picture
from controller.web.exporting import dashboard
from tests.unit.web.fake_site import home

HOSTILE = '<script>alert(1)</script>&"]]>\u202e\x00\ud800\\\n"; rm [label=<b>]' + "n" * 70000


@pytest.fixture(params=["", HOSTILE], ids=["plain", "hostile"])
def site(request: pytest.FixtureRequest) -> SiteView:
    return home(request.param)


def test_graphml_is_read_again(site: SiteView) -> None:
    found = nx.parse_graphml(export.graphml(site), force_multigraph=True)
    assert len(found) == len(site.services)
    assert {key for _, _, key in found.edges(keys=True)} == set(site.relationships)
    assert {data["status"] for _, _, data in found.edges(data=True)} == {"learned", "pending"}


def test_node_link_json_is_read_again(site: SiteView) -> None:
    found = nx.node_link_graph(json.loads(export.node_link(site)), edges="links")
    assert found.nodes["washer/control"]["device"] == "washer"
    assert {key for _, _, key in found.edges(keys=True)} == set(site.relationships)


def test_dot_has_each_service_and_relationship_once(site: SiteView) -> None:
    text = export.dot(site)
    assert text.count(" -> ") == len(site.relationships)
    assert len(re.findall(r"^\t\ts\d+ \[", text, re.MULTILINE)) == len(site.services)
    assert "<b>" not in text.replace("=<b>]", "")  # no label is HTML
    if shutil.which("dot"):
        subprocess.run(["dot", "-Tplain"], input=text.encode(), check=True, capture_output=True)


def test_svg_is_one_picture_without_style_or_script(site: SiteView) -> None:
    root = ET.fromstring(picture.svg(picture.draw(site)))
    tags = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert tags == {"svg", "title", "rect", "text", "g", "line", "polygon", "circle"}
    assert not any(
        name in ("style", "href") or name.startswith("on") for e in root.iter() for name in e.attrib
    )
    assert len(root.findall("{http://www.w3.org/2000/svg}circle")) == len(site.services)


def test_png_is_a_picture_of_the_same_size(site: SiteView) -> None:
    drawn = picture.draw(site)
    image = Image.open(io.BytesIO(picture.png(drawn)))
    assert (image.format, image.size) == ("PNG", (drawn.size, drawn.size + picture.FOOT))
    assert image.getcolors(1 << 20)


def test_the_same_graph_gives_the_same_picture() -> None:
    assert picture.svg(picture.draw(home())) == picture.svg(picture.draw(home()))


def test_each_format_has_its_media_type(client: httpx.Client) -> None:
    wanted = {
        "graphml": "application/xml",
        "json": "application/json",
        "dot": "text/vnd.graphviz",
        "svg": "image/svg+xml",
        "png": "image/png",
    }
    for name, kind in wanted.items():
        answer = client.get("/api/v1/export/graph", params={"format": name})
        assert answer.status_code == 200
        assert answer.headers["content-type"].split(";")[0] == kind
        assert answer.headers["content-disposition"] == f'attachment; filename="graphwall-graph.{name}"'
    assert client.get("/api/v1/export/graph", params={"format": "docx"}).status_code == 422


# ---------------------------------------------------------------- metrics


@pytest.mark.parametrize("hostile", ["", HOSTILE])
def test_metrics_are_read_by_the_library_and_have_help(hostile: str) -> None:
    found = list(text_string_to_metric_families(metrics.render(home(hostile)).decode()))
    assert all(family.documentation.endswith(".") for family in found)
    assert len({family.name for family in found}) == len(found)
    assert all(family.name.startswith("graphwall_") for family in found)


def test_the_dashboard_asks_only_for_metrics_that_exist() -> None:
    known = {
        sample.name
        for family in text_string_to_metric_families(metrics.render(home()).decode())
        for sample in family.samples
    } | {"graphwall_decision_latency_max_seconds"}  # there is one as soon as something was decided
    board = json.loads(dashboard())
    queries = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked = {name for query in queries for name in re.findall(r"graphwall_\w+", query)}
    assert asked
    assert asked <= known | {"graphwall_inspector_events_total"}
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
