"""Coming and going over real HTTP: links, cookies, roles, passwords and tokens."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from controller.events import Decide
from controller.people import Role
from controller.web.guard import COOKIE
from controller.web.members import SEEN_EVERY, SESSIONS_EACH, Asker, Members
from controller.web.server import Server, serve
from tests.unit.web.fake_site import TOKEN, FakeAccounts, FakeSite, app_with, home

OURS = {"X-Graphwall": "1"}
API = "/api/v1"


class House:
    """A site, its people, and browsers that ask."""

    def __init__(self) -> None:
        self.site = FakeSite(home())
        self.members = Members(FakeAccounts(), TOKEN)
        self.server: Server = serve(app_with(self.site, self.members), "127.0.0.1", 0)
        self._open: list[httpx.Client] = []

    def begin(self) -> None:
        """Nobody was ever here; the server is the same, as it takes a while to start."""
        self.site.begin(home())
        self.accounts = FakeAccounts()
        self.now = 1000.0
        vars(self.members).update(vars(Members(self.accounts, TOKEN, lambda: self.now)))

    def browser(self) -> httpx.Client:
        made = httpx.Client(base_url=self.server.url + API, headers=OURS, timeout=10)
        self._open.append(made)
        return made

    def joined(self, secret: str, name: str = "", label: str = "phone") -> httpx.Client:
        browser = self.browser()
        body = {"secret": secret, "name": name, "device_label": label}
        answer = browser.post("/session", json=body)
        assert answer.status_code == 201, answer.text
        return browser

    def manager(self, name: str = "Ada") -> httpx.Client:
        secret = self.members.first_link()
        assert secret is not None
        return self.joined(secret, name)

    def invited(self, manager: httpx.Client, name: str, role: str) -> httpx.Client:
        answer = manager.post("/people/invitations", json={"name": name, "role": role})
        assert answer.status_code == 201, answer.text
        return self.joined(answer.json()["url"].split("#join=")[1])

    def end(self) -> None:
        while self._open:
            self._open.pop().close()


@pytest.fixture(scope="module")
def built() -> Iterator[House]:
    made = House()
    yield made
    made.server.stop()


@pytest.fixture
def house(built: House) -> Iterator[House]:
    built.begin()
    yield built
    built.end()


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def session(browser: httpx.Client) -> dict[str, Any]:
    answer = browser.get("/session")
    assert answer.status_code == 200
    return dict(answer.json())


# ---------------------------------------------------------------- links


def test_the_first_link_makes_its_finder_the_manager_and_works_once(house: House) -> None:
    secret = house.members.first_link()
    assert secret is not None
    found = session(house.joined(secret, "Ada", "Ada's phone"))
    assert (found["person"]["name"], found["person"]["role"]) == ("Ada", "manager")
    assert found["device_label"] == "Ada's phone"
    assert found["may"] == {"answer_harmless": True, "answer_sensitive": True, "manage_people": True}
    again = house.browser().post("/session", json={"secret": secret, "name": "Eve", "device_label": "x"})
    assert code(again) == (403, "link not valid")
    assert house.members.first_link() is None


def test_a_new_first_link_makes_the_one_before_worthless(house: House) -> None:
    old, new = house.members.first_link(), house.members.first_link()
    assert old is not None
    assert new is not None
    answer = house.browser().post("/session", json={"secret": old, "name": "Ada", "device_label": "x"})
    assert code(answer) == (403, "link not valid")
    house.joined(new, "Ada")


def test_a_link_ends(house: House) -> None:
    manager = house.manager()
    made = manager.post("/people/invitations", json={"name": "Bo", "role": "resident", "hours": 1}).json()
    assert made["expires"] == house.now + 3600
    house.now += 3601
    answer = house.browser().post("/session", json={"secret": made["url"].split("#join=")[1]})
    assert code(answer) == (403, "link not valid")


def test_a_link_that_was_taken_back_signs_nobody_in(house: House) -> None:
    manager = house.manager()
    made = manager.post("/people/invitations", json={"name": "Bo", "role": "viewer"}).json()
    assert [one["id"] for one in manager.get("/invitations").json()["invitations"]] == [made["id"]]
    assert manager.delete(f"/invitations/{made['id']}").status_code == 200
    answer = house.browser().post("/session", json={"secret": made["url"].split("#join=")[1]})
    assert code(answer) == (403, "link not valid")


def test_an_invitation_is_a_link_and_the_same_link_as_a_picture(house: House) -> None:
    made = house.manager().post("/people/invitations", json={"name": "Bo", "role": "viewer"}).json()
    assert made["url"].startswith(f"{house.server.url}/#join=")
    assert made["qr_svg"].startswith("<svg")
    assert made["url"].split("#join=")[1] not in str(house.accounts.changes)


def test_a_link_for_oneself_signs_in_one_more_device_of_the_same_person(house: House) -> None:
    manager = house.manager()
    resident = house.invited(manager, "Bo", "resident")
    me = session(resident)["person"]["id"]
    made = resident.post("/people/invitations", json={"person": me})
    laptop = house.joined(made.json()["url"].split("#join=")[1], label="laptop")
    assert session(laptop)["person"] == session(resident)["person"]
    other = session(manager)["person"]["id"]
    assert code(resident.post("/people/invitations", json={"person": other})) == (403, "not allowed")
    assert code(resident.post("/people/invitations", json={"name": "Eve", "role": "viewer"})) == (
        403,
        "not allowed",
    )


def test_nobody_may_have_the_name_of_another(house: House) -> None:
    manager = house.manager("Ada")
    answer = manager.post("/people/invitations", json={"name": " ADA ", "role": "viewer"})
    assert code(answer) == (409, "name taken")


# ---------------------------------------------------------------- cookies


def test_the_cookie_is_for_this_page_only(house: House) -> None:
    secret = house.members.first_link()
    answer = house.browser().post("/session", json={"secret": secret, "name": "Ada", "device_label": "x"})
    cookie = answer.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/"))
    assert "secure" not in cookie  # there is no TLS here


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Graphwall": ""},
        {"X-Graphwall": "1", "Origin": "http://evil.example"},
        {"X-Graphwall": "1", "Origin": "null"},
        {"X-Graphwall": "1", "Sec-Fetch-Site": "cross-site"},
        {"X-Graphwall": "1", "Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_command_from_another_site_is_refused(house: House, headers: dict[str, str]) -> None:
    manager = house.manager()
    answer = manager.post("/requests/bbbb222222/deny", headers=headers)
    assert code(answer) == (403, "wrong origin")
    assert house.site.commands == []
    signing = house.browser().post("/session", json={"secret": "x"}, headers=headers)
    assert code(signing) == (403, "wrong origin")


def test_a_command_of_our_own_page_carries_person_and_device(house: House) -> None:
    manager = house.manager("Ada")
    headers = {"Origin": house.server.url, "Sec-Fetch-Site": "same-origin"}
    assert manager.post("/requests/bbbb222222/deny", headers=headers).status_code == 200
    (command,) = house.site.commands
    assert isinstance(command, Decide)
    assert (command.by, command.manager, command.confirmed) == ("Ada (phone)", True, False)


def test_after_signing_out_the_cookie_is_worth_nothing(house: House) -> None:
    manager = house.manager()
    cookie = dict(manager.cookies)
    assert manager.delete("/session").status_code == 200
    answer = httpx.get(f"{house.server.url}{API}/session", cookies=cookie)
    assert code(answer) == (401, "not signed in")


@pytest.mark.parametrize("other", ['ui={"dark":true}', "a=b c", 'x=[1,"2"]', "a b=1"])
def test_cookies_of_other_programs_on_the_same_host_sign_nobody_out(house: House, other: str) -> None:
    kept = house.manager().cookies[COOKIE]
    headers = {"Cookie": f"{other}; {COOKIE}={kept}"}
    assert httpx.get(f"{house.server.url}{API}/session", headers=headers).status_code == 200


def test_a_session_that_is_not_used_ends_and_one_that_is_goes_on(house: House) -> None:
    manager = house.manager()
    for _ in range(3):
        house.now += 60 * 24 * 3600
        session(manager)
    house.now += 91 * 24 * 3600
    assert code(manager.get("/session")) == (401, "not signed in")


def test_a_person_has_so_many_sessions_and_the_oldest_goes_first(house: House) -> None:
    first = house.manager()
    me = session(first)["person"]["id"]
    newest = first
    for _ in range(SESSIONS_EACH):
        house.now += 1
        made = newest.post("/people/invitations", json={"person": me}).json()
        newest = house.joined(made["url"].split("#join=")[1])
    assert code(first.get("/session")) == (401, "not signed in")
    assert len(newest.get("/sessions").json()["sessions"]) == SESSIONS_EACH


# ---------------------------------------------------------------- roles


COMMANDS = (
    ("POST", "/requests/bbbb222222/deny", {}, "resident"),
    ("POST", "/decisions/1/undo", {}, "resident"),
    ("POST", "/devices/lock/rename", {"name": "Door"}, "resident"),
    ("POST", "/devices/lock/name", {"name": "Door"}, "resident"),
    ("POST", "/devices/lock/block", {}, "manager"),
    ("POST", "/devices/lock/pause", {"seconds": 60}, "manager"),
    ("POST", "/requests/bbbb222222/same-as", {"device": "lock"}, "manager"),
    ("POST", "/services/lock/tcp-80/learn", {"action": "start"}, "manager"),
    ("POST", "/services/lock/tcp-80/move", {"device": "washer"}, "manager"),
    ("POST", "/tokens", {"name": "x", "role": "manager"}, "manager"),
    ("GET", "/tokens", None, "manager"),
    ("GET", "/invitations", None, "manager"),
    ("GET", "/people", None, "viewer"),
    ("GET", "/sessions", None, "viewer"),
    ("GET", "/graph", None, "viewer"),
)


@pytest.mark.parametrize(("method", "path", "body", "needed"), COMMANDS)
def test_each_role_may_do_what_it_is_for_and_no_more(
    house: House, method: str, path: str, body: object, needed: str
) -> None:
    manager = house.manager()
    ranks = ["viewer", "resident", "manager"]
    for role in ranks:
        browser = manager if role == "manager" else house.invited(manager, role, role)
        answer = browser.request(method, path, json=body)
        if ranks.index(role) >= ranks.index(needed):
            assert answer.status_code in (200, 201), answer.text
        else:
            assert code(answer) == (403, "not allowed")


def test_each_is_told_what_he_may_answer(house: House) -> None:
    manager = house.manager()
    resident = house.invited(manager, "Bo", "resident")
    asked = house.site.snapshot().requests[0]
    house.site.change(requests=(asked, *_variants(asked)))
    told = {
        who: [one["may_answer"] for one in browser.get("/requests").json()["requests"]]
        for who, browser in (("manager", manager), ("resident", resident))
    }
    assert told == {"manager": [True, True, True], "resident": [True, False, False]}


def _variants(asked: Any) -> tuple[Any, ...]:
    return replace(asked, id="cccc333333", sensitive=True), replace(asked, id="dddd444444", kind="admission")


def test_a_lower_role_counts_at_once(house: House) -> None:
    manager = house.manager()
    resident = house.invited(manager, "Bo", "resident")
    me = session(resident)["person"]["id"]
    with resident.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        assert manager.patch(f"/people/{me}", json={"role": "viewer"}).status_code == 200
        list(lines)  # ends by itself, so that the page asks again what it may do
    assert code(resident.post("/requests/bbbb222222/deny")) == (403, "not allowed")
    assert session(resident)["person"]["role"] == "viewer"


def test_who_is_removed_is_signed_out_everywhere_and_his_events_end(house: House) -> None:
    manager = house.manager()
    resident = house.invited(manager, "Bo", "resident")
    me = session(resident)["person"]["id"]
    with resident.stream("GET", "/events") as stream:
        lines = stream.iter_lines()
        next(lines)
        assert manager.delete(f"/people/{me}").status_code == 200
        list(lines)  # ends by itself
    assert code(resident.get("/session")) == (401, "not signed in")


def test_the_last_manager_stays(house: House) -> None:
    manager = house.manager()
    me = session(manager)["person"]["id"]
    assert code(manager.delete(f"/people/{me}")) == (409, "last manager")
    assert code(manager.patch(f"/people/{me}", json={"role": "viewer"})) == (409, "last manager")


def test_a_device_is_signed_out_by_its_person_or_a_manager(house: House) -> None:
    manager = house.manager()
    one, other = house.invited(manager, "Bo", "resident"), house.invited(manager, "Cy", "resident")
    mine = session(one)["id"]
    assert code(other.delete(f"/sessions/{mine}")) == (403, "not allowed")
    assert [found["id"] for found in one.get("/sessions").json()["sessions"]] == [mine]
    assert manager.delete(f"/sessions/{mine}").status_code == 200
    assert code(one.get("/session")) == (401, "not signed in")


# ---------------------------------------------------------------- passwords


def test_a_password_signs_in_and_is_kept_as_a_hash(house: House) -> None:
    manager = house.manager("Ada")
    assert manager.put("/session/password", json={"password": "correct horse"}).status_code == 200
    assert session(manager)["has_password"]
    browser = house.browser()
    body = {"name": "ada", "password": "correct horse", "device_label": "laptop"}
    assert browser.post("/session", json=body).status_code == 201
    assert session(browser)["person"]["name"] == "Ada"
    assert "correct horse" not in str(house.accounts.changes)
    assert "$argon2id$" in str(house.accounts.changes)


def test_guessing_becomes_slow(house: House) -> None:
    manager = house.manager("Ada")
    manager.put("/session/password", json={"password": "correct horse"})
    browser = house.browser()
    wrong = {"name": "Ada", "password": "wrong horse", "device_label": "x"}
    right = wrong | {"password": "correct horse"}
    assert [code(browser.post("/session", json=wrong))[0] for _ in range(6)] == [403] * 5 + [429]
    assert code(browser.post("/session", json=right)) == (429, "too many attempts")
    house.now += 2
    assert browser.post("/session", json=right).status_code == 201


@pytest.mark.parametrize("name", ["Ada", "Nobody"])
def test_who_has_no_password_is_refused_like_anybody(house: House, name: str) -> None:
    house.manager("Ada")
    body = {"name": name, "password": "", "device_label": "x"}
    assert code(house.browser().post("/session", json=body)) == (403, "wrong password")


def test_a_short_password_is_refused(house: House) -> None:
    assert house.manager().put("/session/password", json={"password": "short"}).status_code == 422


# ---------------------------------------------------------------- programs


def test_a_token_is_shown_once_and_has_its_role(house: House) -> None:
    manager = house.manager()
    made = manager.post("/tokens", json={"name": "Grafana", "role": "viewer"}).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert httpx.get(f"{house.server.url}/metrics", headers=headers).status_code == 200
    answer = httpx.post(f"{house.server.url}{API}/requests/bbbb/deny", headers=headers)
    assert code(answer) == (403, "not allowed")
    assert made["token"] not in manager.get("/tokens").text + str(house.accounts.changes)
    assert manager.delete(f"/tokens/{made['id']}").status_code == 200
    assert httpx.get(f"{house.server.url}/metrics", headers=headers).status_code == 401


def test_a_program_signs_its_decisions_and_needs_no_second_word(house: House) -> None:
    made = house.manager().post("/tokens", json={"name": "Script", "role": "manager"}).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert httpx.post(f"{house.server.url}{API}/requests/bbbb/approve", headers=headers).status_code == 200
    (command,) = house.site.commands
    assert isinstance(command, Decide)
    assert (command.by, command.manager, command.confirmed) == ("Script (program)", True, True)


# ---------------------------------------------------------------- the log and the store


def test_what_happens_to_people_is_in_the_log(house: House) -> None:
    manager = house.manager("Ada")
    resident = house.invited(manager, "Bo", "resident")
    resident.delete("/session")
    house.browser().post("/session", json={"secret": "wrong"})
    lines = [
        (entry.event, entry.by, entry.text) for change in house.accounts.changes for entry in change.audit
    ]
    assert lines == [
        ("sign-in", "Ada (phone)", "Ada has signed in by a link on phone"),
        ("people", "Ada (phone)", "Bo is invited as resident"),
        ("sign-in", "Bo (phone)", "Bo has signed in by a link on phone"),
        ("sign-out", "Bo (phone)", "Bo is signed out on phone"),
        ("sign-in failed", "", "a link that is not valid, from 127.0.0.1"),
    ]


def test_what_cannot_be_stored_does_not_happen(house: House) -> None:
    manager = house.manager()
    house.accounts.broken = True
    answer = manager.post("/people/invitations", json={"name": "Bo", "role": "viewer"})
    assert code(answer) == (503, "not stored")
    assert manager.get("/invitations").json()["invitations"] == []


def test_a_full_disk_keeps_nobody_from_looking(house: House) -> None:
    manager = house.manager()
    house.accounts.broken = True
    house.now += SEEN_EVERY + 1
    assert manager.get("/requests").status_code == 200


def test_sessions_that_are_over_are_forgotten_when_somebody_comes(house: House) -> None:
    manager = house.manager()
    made = manager.post("/people/invitations", json={"name": "Bo", "role": "viewer", "hours": 168}).json()
    visitor = house.invited(manager, "Cy", "viewer")
    gone = session(visitor)["id"]
    house.now += 91 * 24 * 3600
    link = house.members.invite(Asker(Role.MANAGER, "x"), "Di", Role.VIEWER, 1, None)[1]
    house.joined(link)
    assert any(one.id == gone for change in house.accounts.changes for one in change.gone)
    assert made["id"] not in [one.id for one in house.members.invitations()]


@pytest.mark.parametrize("hostile", ["<script>", "a\u202eb", "x\x00y", "n" * 200])
def test_a_hostile_name_is_text_that_can_be_seen(house: House, hostile: str) -> None:
    made = house.manager(hostile)
    name = session(made)["person"]["name"]
    assert "\u202e" not in name
    assert "\x00" not in name
    assert len(name) <= 60
