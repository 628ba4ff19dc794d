"""The model taken along as a file, edited, and brought back after a look at what it would change."""

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from controller.people import Role
from tests.browser.conftest import Served, Visits
from tests.browser.test_requests import SNOOP


def saved(page: Page, link: str) -> Path:
    with page.expect_download() as download:
        page.get_by_role("link", name=link).click()
    return Path(download.value.path())


def bring(page: Page, text: str) -> None:
    page.get_by_label("Bring a model back").set_input_files(
        {"name": "edited.yaml", "mimeType": "application/yaml", "buffer": text.encode()}
    )


def test_an_edited_model_is_brought_back_after_a_look(phone: Page, cottage: Served) -> None:
    cottage.home.say(SNOOP)
    phone.goto(f"{cottage.url}/#/more")
    model = saved(phone, "Save the model").read_text(encoding="utf-8")
    bring(phone, model)
    sheet = phone.get_by_role("dialog")
    expect(sheet).to_contain_text("Nothing: the site is already as the file says")
    sheet.get_by_role("button", name="Done").click()
    edited = model.replace("name: Kitchen tablet", "name: Tablet of the kitchen", 1)
    bring(phone, edited)
    expect(sheet).to_contain_text("Kitchen tablet is called Tablet of the kitchen")
    assert "Kitchen tablet" in {device.name for device in cottage.home.snapshot().devices.values()}
    sheet.get_by_role("button", name=re.compile("Make 1 change")).click()
    expect(phone.locator(".toast")).to_contain_text("1 change is carried out")
    assert "Tablet of the kitchen" in {device.name for device in cottage.home.snapshot().devices.values()}


def test_a_file_that_is_no_model_says_what_is_wrong(phone: Page, cottage: Served) -> None:
    phone.goto(f"{cottage.url}/#/more")
    bring(phone, "devices: [")
    expect(phone.locator(".toast")).to_contain_text("line 2")
    expect(phone.get_by_role("dialog")).to_be_hidden()


def test_the_map_is_taken_along_as_each_kind_of_file(phone: Page, cottage: Served) -> None:
    phone.goto(f"{cottage.url}/#/more")
    beginnings = {
        "Picture, SVG": b"<svg",
        "Picture, PNG": b"\x89PNG",
        "GraphML": b"<graphml",
        "Graphviz": b"digraph",
        "JSON": b"{",
    }
    for name, begins in beginnings.items():
        assert begins in saved(phone, name).read_bytes()[:200], name


def test_only_a_manager_brings_a_model_back(visits: Visits, cottage: Served) -> None:
    page = visits.sign_in(cottage, "Chris", Role.RESIDENT)
    page.goto(f"{cottage.url}/#/more")
    expect(page.get_by_role("link", name="Save the model")).to_be_visible()
    expect(page.get_by_label("Bring a model back")).to_have_count(0)
