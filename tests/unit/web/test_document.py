"""The model as a document: it comes back as it was, says what would change, and refuses what does not fit."""

from dataclasses import replace

import httpx
import pytest
import yaml

from controller.config import ConfigError
from controller.events import Answer, Import
from controller.model.relationship import DeviceId, Status
from controller.view import SiteView
from controller.web import document
from controller.web.document import difference, fingerprint, read, write
from tests.unit.web.fake_site import FakeSite, home

HOSTILE = "<b>\u202e\x00 'quoted' \\ #: - *x &y é"
ONE = "client: a/b, server: c/d, at: tcp-1, protocol: x, operation: read, status: learned"
READING = "washer/control → battery/tcp-80: read /state"
IMPORT = "/api/v1/import/model"


def changed(site: SiteView, text: str) -> list[tuple[str, str]]:
    return [(one.kind, one.sentence) for one in document.changes(site, difference(site, read(text), "Ada"))]


@pytest.mark.parametrize("hostile", ["", HOSTILE])
def test_what_was_written_changes_nothing(hostile: str) -> None:
    site = home(hostile)
    text = write(site)
    text.encode()
    assert changed(site, text) == []
    assert all(c.isprintable() or c == "\n" for c in text)
    assert yaml.safe_load(text)["graphwall"] == 1


def test_the_same_site_gives_the_same_text_and_waiting_questions_are_not_in_it() -> None:
    text = write(home())
    assert text == write(replace(home(), version=99, time=5000.0))
    assert "learned" in text
    assert "pending" not in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("name: Lock", "name: Front door", [("device", "Lock is called Front door")]),
        (
            "kind: door lock",
            "kind: door lock\n    admission: blocked",
            [("device", "Lock is blocked")],
        ),
        (
            "status: learned",
            "status: denied",
            [("deny", f"{READING} is denied (was learned)")],
        ),
        (
            "resource: /state",
            "resource: /all",
            [
                ("allow", "washer/control → battery/tcp-80: read /all is allowed"),
                (
                    "forget",
                    f"{READING} is forgotten, and asked about again (was learned)",
                ),
            ],
        ),
        (
            "name: control of washer",
            "name: brain",
            [("service", "washer/control is called brain")],
        ),
    ],
)
def test_each_edit_is_said_in_a_sentence(old: str, new: str, said: list[tuple[str, str]]) -> None:
    text = write(home())
    assert text.count(old) == 1
    assert changed(home(), text.replace(old, new)) == said


def test_a_question_can_be_answered_in_the_file() -> None:
    site = home()
    text = write(site).replace(
        "relationships:\n",
        "relationships:\n- {client: washer/control, server: lock/tcp-80, at: tcp-80, protocol: http,"
        " operation: write, resource: /state, status: approved}\n",
    )
    (edit,) = difference(site, read(text), "Ada").relationships
    assert (edit.before, edit.after) == (Status.PENDING, Status.APPROVED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "graphwall: Field required"),
        ("graphwall: 2", "line 1: graphwall: Input should be 1"),
        ("graphwall: 1\nrelations: []", "line 2: relations: is not a key here; known keys: graphwall, site"),
        ("graphwall: 1\ndevices: {a: {name: A, mac: nonsense}}", "a MAC address looks like"),
        ("graphwall: 1\nservices: {a: {name: A}}", "the id of a service looks like device/service"),
        ("graphwall: 1\nservices: {a/b: {name: A, listens: [tcp-99999]}}", "an endpoint looks like tcp-80"),
        ("graphwall: 1\nsite: [", "not YAML that can be used"),
        ("graphwall: 1\nsite: &a [x]\ndevices: *a", "line 3: aliases"),
        ("graphwall: 1\nsite: !!python/object:os.system x", "not YAML that can be used"),
        (
            "graphwall: 1\nrelationships:\n- {" + ONE.replace("read", "hop") + "}",
            "line 3: relationships.0.operation: is no operation",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as failed:
        read(text)
    assert message in str(failed.value)


def test_the_same_relationship_twice_is_refused() -> None:
    one = "{" + ONE + "}"
    with pytest.raises(ConfigError, match="listed twice"):
        difference(home(), read(f"graphwall: 1\nrelationships: [{one}, {one}]"), "Ada")


def test_the_fingerprint_stands_for_the_changes_and_nothing_else() -> None:
    site, text = home(), write(home())
    same = fingerprint(difference(site, read(text), "Ada"))
    assert same == fingerprint(difference(replace(site, version=77), read(text), "Bo"))
    assert same != fingerprint(difference(site, read(text.replace("name: Lock", "name: Door")), "Ada"))


# ---------------------------------------------------------------- over the API


def test_an_import_is_looked_at_first_and_then_made(client: httpx.Client, site: FakeSite) -> None:
    text = client.get("/api/v1/export/model").text.replace("name: Lock", "name: Front door")
    headers = {"Content-Type": "application/yaml"}
    seen = client.post(IMPORT, params={"preview": 1}, content=text, headers=headers).json()
    assert seen["changes"] == [{"kind": "device", "sentence": "Lock is called Front door"}]
    assert site.commands == []
    assert client.post(IMPORT, content=text, headers=headers).json()["code"] == "changed"
    wrong = client.post(IMPORT, params={"fingerprint": "0"}, content=text, headers=headers)
    assert (wrong.status_code, wrong.json()["code"]) == (409, "changed")
    params = {"fingerprint": seen["fingerprint"]}
    assert client.post(IMPORT, params=params, content=text, headers=headers).status_code == 200
    (command,) = site.commands
    assert isinstance(command, Import)
    assert [(device.id, device.name) for device in command.devices] == [(DeviceId("lock"), "Front door")]


def test_what_changes_between_the_look_and_the_import_is_noticed(
    client: httpx.Client, site: FakeSite
) -> None:
    text = client.get("/api/v1/export/model").text.replace("name: Lock", "name: Front door")
    seen = client.post(IMPORT, params={"preview": 1}, content=text).json()
    site.change(relationships={})
    answer = client.post(IMPORT, params={"fingerprint": seen["fingerprint"]}, content=text)
    assert (answer.status_code, answer.json()["code"]) == (409, "changed")
    site.begin(home())
    site.answer = Answer(0, code="changed", message="so it is", remedy="again")
    answer = client.post(IMPORT, params={"fingerprint": seen["fingerprint"]}, content=text)
    assert (answer.status_code, answer.json()["code"]) == (409, "changed")


@pytest.mark.parametrize("body", [b"\xff", b"{", b"graphwall: 3"])
def test_what_is_no_model_is_refused(client: httpx.Client, body: bytes) -> None:
    answer = client.post(IMPORT, params={"preview": 1}, content=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "not understood")


def test_a_large_model_is_taken(client: httpx.Client) -> None:
    one = "- {" + ONE + ", resource: r%d}"
    text = "graphwall: 1\nrelationships:\n" + "\n".join(one % n for n in range(1500))
    assert len(text) > 100_000
    answer = client.post(IMPORT, params={"preview": 1}, content=text)
    assert answer.status_code == 200
    assert sum(change["kind"] == "allow" for change in answer.json()["changes"]) == 1500
