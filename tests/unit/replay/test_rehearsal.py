"""Recorded traffic through the firewall and the inspection as they are: learnt, asked, allowed and denied."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress

from controller.config import Config
from controller.dpi.frame import parse
from controller.dpi.message import Malformed, Message, Operation
from controller.events import FromInspector, Observed, Record
from controller.model.relationship import Status
from controller.replay.rehearsal import Rehearsal, learning
from controller.replay.survey import Survey, site_of
from tests.unit.replay.recording import (
    BEGIN,
    LOCK,
    WASHER,
    Frames,
    day,
    http,
    lamp,
    request,
)


class Heard:
    """A rehearsal of some frames, and what was reported."""

    def __init__(self, frames: Frames, saved: Record | None = None, learn: float | None = None) -> None:
        self.events: list[Observed] = []
        survey = Survey(Config().networks)
        for _, raw in frames:
            with suppress(Malformed):
                survey.see(parse(raw, captured=True), raw)
        described = survey.described()
        config = site_of(described)
        asking = config.model_copy(update={"admission": "ask"})
        first = learning(config) if learn is not None else asking
        self.rehearsal = Rehearsal(
            first, saved or Record(), BEGIN, self.hear, lambda _: None, described.hosts, described.relays
        )
        self.ticked = BEGIN
        for at, raw in sorted(frames):
            if learn is not None and at >= learn:
                learn = None
                self.rehearsal.learnt(asking)
            if BEGIN + at >= self.ticked:
                self.rehearsal.tick(BEGIN + at)
                self.ticked = BEGIN + at + 0.2
            self.rehearsal.frame(raw, BEGIN + at)
        if learn is not None:
            self.rehearsal.learnt(asking)
        self.rehearsal.end()

    def hear(self, event: FromInspector, _: float) -> None:
        if isinstance(event, Observed):
            self.events.append(event)

    def messages(self) -> Counter[tuple[str, str, bool, str]]:
        counted: Counter[tuple[str, str, bool, str]] = Counter()
        for e in self.events:
            counted[e.verb, e.access.resource, e.allowed, e.reason.value] += e.count
        return counted

    def status(self) -> dict[tuple[str, str], Status]:
        view = self.rehearsal.view()
        return {(r.relationship.verb, r.relationship.access.resource): r.relationship.status
                for r in view.relationships.values()}  # fmt: skip


def total(counted: Counter[tuple[str, str, bool, str]], verb: str, resource: str, allowed: bool) -> int:
    return sum(n for (v, r, a, _), n in counted.items() if (v, r, a) == (verb, resource, allowed))


def test_everything_is_learnt_while_all_learn() -> None:
    heard = Heard(day(20), learn=1000)
    assert heard.status() == {("GET", "/light"): Status.LEARNED, ("GET", "/state"): Status.LEARNED}
    assert total(heard.messages(), "GET", "/light", True) == 20
    assert total(heard.messages(), "GET", "/state", True) == 20


def test_after_learning_the_known_is_allowed_and_the_new_is_denied_and_asked_about() -> None:
    attack = http(60.5, request("PUT", "/open"), own=50000)
    heard = Heard(sorted(day(100) + attack), learn=50)
    assert total(heard.messages(), "GET", "/state", True) == 100
    assert heard.messages()["PUT", "/open", False, "new operation"] == 1
    assert heard.status()["PUT", "/open"] is Status.PENDING
    (asked,) = heard.rehearsal.view().requests
    assert asked.reason == "new operation"


def test_what_follows_a_denied_message_on_its_connection_is_judged_as_well() -> None:
    """In the recording it went on; somebody who was cut off connects anew."""
    attack = http(60.5, request("PUT", "/open"), request("GET", "/state"), request("PUT", "/open"), own=50000)
    heard = Heard(sorted(day(100) + attack), learn=50)
    assert total(heard.messages(), "GET", "/state", True) == 101
    assert heard.messages()["PUT", "/open", False, "new operation"] == 2


def test_somebody_new_after_learning_waits_to_be_admitted() -> None:
    heard = Heard(sorted(day(100) + lamp(70, client="10.0.0.77")), learn=50)
    (asked,) = heard.rehearsal.view().requests
    assert (asked.kind, asked.reason) == ("admission", "new device")
    assert total(heard.messages(), "GET", "/light", True) == 100


def test_a_model_that_was_kept_goes_on_and_knows_no_ports() -> None:
    record = Heard(day(20), learn=1000).rehearsal.record()
    assert all(device.binding is None for device in record.devices)
    again = Heard(sorted(day(20) + lamp(5, "PUT", "/light")), saved=record)
    assert again.messages()["PUT", "/light", False, "new operation"] == 1
    assert total(again.messages(), "GET", "/state", True) == 20


def test_the_middle_of_a_connection_will_do() -> None:
    talk = http(1, *[request("GET", "/state")] * 5)[6:]
    assert total(Heard(talk, learn=1000).messages(), "GET", "/state", True) > 2


def test_a_gap_costs_what_is_in_it_and_the_message_behind_it() -> None:
    talk = http(1, *[request("GET", "/state")] * 9, step=2.0)
    del talk[7]
    assert total(Heard(talk, learn=1000).messages(), "GET", "/state", True) == 7


def test_tags_and_missing_checksums_are_no_hindrance() -> None:
    def bent(raw: bytes) -> bytes:
        return raw[:12] + b"\x81\0\0\5" + raw[12:24] + b"\0\0" + raw[26:]

    heard = Heard([(at, bent(raw)) for at, raw in day(10)], learn=1000)
    assert total(heard.messages(), "GET", "/light", True) == 10
    assert total(heard.messages(), "GET", "/state", True) == 10


def test_frames_of_any_bytes_do_no_harm() -> None:
    frames: Sequence[tuple[float, bytes]] = [(n / 10, bytes([n]) * n) for n in range(120)] + day(20)
    heard = Heard(sorted(frames), learn=1000)
    assert total(heard.messages(), "GET", "/light", True) == 20


def test_accesses_without_frames_are_judged_by_the_same_table() -> None:
    heard = Heard(day(20), learn=10)
    read = Message("http", "GET", Operation.READ, "/state")
    write = Message("http", "PUT", Operation.WRITE, "/state")
    assert heard.rehearsal.access(WASHER, LOCK, 80, read, BEGIN + 30)
    assert not heard.rehearsal.access(WASHER, LOCK, 80, write, BEGIN + 31)
    heard.rehearsal.end()
    assert heard.status()["PUT", "/state"] is Status.PENDING
