"""Cards: what is grouped, how it is called, and that an answer finds what was on the card."""

from dataclasses import replace

import pytest

from controller.events import Block
from controller.firewall.requests import (
    SCAN_AT,
    STILL_TRYING,
    admission_id,
    find,
    relationship_id,
    requests,
    scan_id,
    talk_id,
)
from controller.model.relationship import DeviceId, Reason, ServiceId, Status
from tests.unit.firewall.script import LOCK, STRANGER, WASHER, Script, access, arp

MAIN = ServiceId("washer/main")


@pytest.fixture
def script() -> Script:
    return Script(learnt=True)


def ask(script: Script, resource: str, server: str = "lock/tcp-80", **more: str) -> None:
    script.now += 1.0
    script.see(access("read", resource, server=server, **more), Reason.NEW_RESOURCE)


def scan(script: Script, ports: int = SCAN_AT + 1, device: str = "spare") -> None:
    for number in range(ports):
        script.now += 1.0
        said = access("connect", "", server=f"{device}/tcp-{1000 + number}", protocol="unknown")
        script.see(said, Reason.NEW_PARTNER)


# Grouping


def test_what_one_service_asks_of_another_is_one_card_with_the_oldest_question_first(script: Script) -> None:
    for resource in ("/a", "/b"):
        ask(script, resource)
    (card,) = script.cards
    assert card.sentence == "Washing machine wants to do 2 new things with Front door: read"
    assert card.questions == (
        "Washing machine wants to read /a of Front door",
        "Washing machine wants to read /b of Front door",
    )
    assert card.relationships == tuple(relationship_id(access("read", r)) for r in ("/a", "/b"))
    assert (card.first_seen, card.last_seen, card.attempts) == (script.now - 1.0, script.now, 2)


def test_other_clients_and_other_servers_have_cards_of_their_own(script: Script) -> None:
    ask(script, "/a")
    ask(script, "/a", server="spare/tcp-80")
    ask(script, "/a", client="washer/app")
    assert len({card.id for card in script.cards}) == len(script.cards) == 3


def test_what_opens_something_is_a_card_of_its_own(script: Script) -> None:
    ask(script, "/a")
    for resource in ("/isOpen", "/code"):
        script.see(access("write", resource), Reason.NEW_OPERATION)
    assert sorted(card.risk for card in script.cards) == ["opens", "opens", "reads"]
    assert all(card.sensitive == (card.risk == "opens") for card in script.cards)


def test_risk_of_a_card_is_that_of_its_worst_question(script: Script) -> None:
    ask(script, "/a", server="spare/tcp-80")
    script.see(access("write", "/a", server="spare/tcp-80"), Reason.NEW_OPERATION)
    (card,) = script.cards
    assert card.risk == "changes"


@pytest.mark.parametrize("status", [s for s in Status if s is not Status.PENDING])
def test_only_what_is_pending_is_asked(script: Script, status: Status) -> None:
    ask(script, "/a")
    found = script.relationship(access("read", "/a"))
    assert found is not None
    script.state.put(replace(found, status=status))
    assert script.cards == ()


def test_card_tells_whether_somebody_is_still_trying(script: Script) -> None:
    ask(script, "/a")
    assert script.cards[0].still_trying
    script.now += STILL_TRYING
    assert not script.cards[0].still_trying


# Scans


def test_client_that_tries_many_ports_of_one_device_is_one_card_that_says_scan(script: Script) -> None:
    scan(script, SCAN_AT)
    assert len(script.cards) == SCAN_AT
    scan(script, 20)
    (card,) = script.cards
    assert card.sentence == "Washing machine tries 20 services of Spare node: this looks like a scan"
    assert "searching for something" in card.explanation
    assert len(card.relationships) == 20


def test_client_that_tries_many_devices_is_one_card_that_names_some(script: Script) -> None:
    for server in ("lock", "spare", "@203.0.113.7"):
        scan(script, 2, server)
    (card,) = script.cards
    assert card.sentence == (
        "Washing machine tries 6 services of Front door, Spare node, 203.0.113.7: this looks like a scan"
    )


def test_scan_does_not_swallow_what_opens_a_door(script: Script) -> None:
    scan(script, 10)
    script.see(access("write", "/isOpen"), Reason.NEW_OPERATION)
    assert [card.risk for card in script.cards].count("opens") == 1
    assert len(script.cards) == 2


def test_many_questions_to_one_service_are_no_scan(script: Script) -> None:
    for letter in "abcdefgh":
        ask(script, f"/{letter}")
    (card,) = script.cards
    assert "scan" not in card.sentence


# Ids


def test_id_stays_while_a_card_grows_and_after_its_first_question_is_answered(script: Script) -> None:
    ask(script, "/a")
    first = script.cards[0].id
    ask(script, "/b")
    assert [card.id for card in script.cards] == [first]
    script.decide(relationship_id(access("read", "/a")), approve=True)
    assert [card.id for card in script.cards] == [first]
    assert first == talk_id(MAIN, ServiceId("lock/tcp-80"))


def test_id_of_a_scan_stays_while_it_goes_on(script: Script) -> None:
    scan(script, 6)
    first = script.cards[0].id
    scan(script, 12)
    assert [card.id for card in script.cards] == [first] == [scan_id(MAIN)]


def test_id_is_the_same_after_a_restart(script: Script) -> None:
    ask(script, "/a")
    before = [card.id for card in script.cards]
    script.wait(2)
    script.start()
    assert [card.id for card in script.cards] == before


def test_id_of_a_card_that_became_part_of_a_scan_stands_for_what_was_on_it(script: Script) -> None:
    scan(script, 2)
    shown = script.cards[0]
    scan(script, 10)
    found = find(script.state.site, shown.id)
    assert found is not None
    assert tuple(relationship_id(r.access) for r in found.relationships) == shown.relationships
    assert script.decide(shown.id, approve=True).code is None
    assert (
        script.status(access("connect", "", server="spare/tcp-1000", protocol="unknown")) is Status.APPROVED
    )
    assert script.status(access("connect", "", server="spare/tcp-1001", protocol="unknown")) is Status.PENDING


def test_answer_with_the_questions_that_were_shown_leaves_those_that_came_since(script: Script) -> None:
    ask(script, "/a")
    shown = script.cards[0]
    ask(script, "/b")
    script.decide(shown.id, approve=True, only=shown.relationships)
    assert script.status(access("read", "/a")) is Status.APPROVED
    assert script.status(access("read", "/b")) is Status.PENDING


def test_beginning_of_an_id_is_enough_where_it_is_not_ambiguous(script: Script) -> None:
    ask(script, "/a")
    site = script.state.site
    (request,) = requests(site)
    found = find(site, request.id[:6])
    assert found is not None
    assert found.relationships == request.relationships
    assert find(site, "") is None
    assert find(site, "no such id") is None


def test_beginning_that_fits_several_is_refused_with_their_ids(script: Script) -> None:
    for number in range(40):
        ask(script, f"/{chr(97 + number % 26)}{number}", server="lock/tcp-80")
    ids = [relationship_id(r.access) for r in script.state.site.graph]
    start = next(c for c in "0123456789abcdef" if sum(i.startswith(c) for i in ids) > 1)
    with pytest.raises(ValueError, match=f"{start} could be "):
        find(script.state.site, start)
    assert script.decide(start, approve=True).code == "ambiguous"


# Admission


def test_new_device_says_at_which_port_it_is_and_who_else_is_there() -> None:
    script = Script()
    script.plug()
    script.frame(arp("02:00:00:00:00:01", "10.0.0.1"), port=3)
    script.frame(arp(STRANGER, "10.0.0.99"), port=3)
    (card,) = script.cards
    assert card.id == admission_id(DeviceId(STRANGER.replace(":", "-")))
    assert (card.kind, card.verb, card.reason) == ("admission", "join", "new device")
    assert card.explanation == (
        "This device is new here. It is plugged in at socket 3 of hall, where Washing machine is, too."
    )


def test_new_device_that_is_alone_at_its_port_says_the_port_only() -> None:
    script = Script()
    script.plug(switch=7)
    script.frame(arp(STRANGER, "10.0.0.99"), port=2, switch=7)
    assert script.cards[0].explanation == "This device is new here. It is plugged in at socket 2 of switch 7."


def test_blocked_device_asks_for_nothing(script: Script) -> None:
    script.command(Block(0, WASHER, True, "me"))
    assert script.cards == ()


# Explanations


def test_program_never_seen_is_quoted_and_its_namesake_named(script: Script) -> None:
    script.see(access("read", "/x", client="spare/app", server="lock/tcp-80"), Reason.NEW_SERVICE)
    script.see(access("read", "/x", client="washer/app"), Reason.NEW_SERVICE)
    said = {card.client: card.explanation for card in script.cards}
    assert said["washer/app"] == (
        'It calls itself "app", a name never seen on this device before. '
        "A program of Spare node has that name."
    )


def test_card_says_the_property_that_is_violated(script: Script) -> None:
    ask(script, "/a")
    (card,) = script.cards
    assert (card.reason, card.explanation) == (
        "new resource", "It did the same before, but never with this."
    )  # fmt: skip
    assert (card.client_name, card.server_name, card.server_kind) == (
        "Washing machine", "Front door", "door lock"
    )  # fmt: skip
    assert (card.verb, card.resource) == ("read", "/a")
    assert LOCK in card.server


def test_kind_on_a_card_is_the_services_own_where_it_has_one(script: Script) -> None:
    server = script.state.site.services[ServiceId("lock/tcp-80")]
    script.state.put_service(replace(server, kind="door opener"))
    ask(script, "/a")
    assert script.cards[0].server_kind == "door opener"
