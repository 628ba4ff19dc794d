"""Protection is paused for one device and a while: visibly, within bounds, and never against a denial."""

from dataclasses import replace

import pytest

from controller.config import parse
from controller.events import (
    Answer,
    ConnectionSettled,
    Decide,
    InspectorUp,
    Observed,
    Pause,
    Persist,
    Record,
    Tick,
    UpdateTable,
)
from controller.firewall.firewall import Firewall
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, ServiceId, Status
from controller.model.service import Device
from controller.verdicts import VerdictTable

SITE = """
learning: {minimum: 0s, quiet: 0s, maximum: 0s}
devices:
  - {id: washer, name: Washing machine, mac: 02:00:00:00:00:01, addresses: [10.0.0.1]}
  - {id: battery, name: Battery, mac: 02:00:00:00:00:02, addresses: [10.0.0.2]}
  - {id: stranger, mac: 02:00:00:00:00:03, admitted: false}
"""
WASHER, BATTERY = DeviceId("washer"), DeviceId("battery")
WEB = Endpoint("tcp", 80)
READ = Access(ServiceId("washer/main"), ServiceId("battery/tcp-80"), "http", "read", "/charge")
WRITE = replace(READ, operation="write")
HOUR = 3600.0


class Site:
    """A firewall, what it has told the inspector, and what it has stored."""

    def __init__(self, saved: Record | None = None, now: float = 1000.0) -> None:
        self.firewall = Firewall(parse(SITE, "site.yaml"), saved, b"secret")
        self.now = now
        self.inspector = VerdictTable()
        self.devices: dict[DeviceId, Device] = {}
        self.do(InspectorUp(1))
        self.wait(1)

    def do(self, event: object) -> Answer | None:
        found = None
        for effect in self.firewall.handle(event, self.now):  # type: ignore[arg-type]
            match effect:
                case UpdateTable(_, deltas, _):
                    for delta in deltas:
                        self.inspector.apply(delta)
                case Persist(record):
                    self.devices |= {device.id: device for device in record.devices}
                case Answer():
                    found = effect
        return found

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.do(Tick())

    def pause(self, seconds: float, device: str = "washer") -> Answer:
        answer = self.do(Pause(1, DeviceId(device), seconds, "Ada (phone)"))
        assert answer is not None
        return answer

    def allows(self, access: Access) -> bool:
        return self.inspector.judge(WASHER, BATTERY, access, self.now).allow

    def ask(self, access: Access) -> None:
        """Somebody tries, and the inspector does as its table says."""
        verdict = self.inspector.judge(WASHER, BATTERY, access, self.now)
        self.do(
            Observed(
                WASHER, BATTERY, "10.0.0.1", "10.0.0.2", WEB, access, "GET", None, None,
                verdict.allow, verdict.reason, self.now,
            )
        )  # fmt: skip

    def status(self, access: Access) -> Status | None:
        found = self.firewall.view(self.now).relationships.values()
        return next((v.relationship.status for v in found if v.relationship.access == access), None)

    def until(self) -> float | None:
        return self.firewall.view(self.now).devices[WASHER].paused_until


@pytest.fixture
def site() -> Site:
    made = Site()
    made.do(Tick())
    for name in (WASHER, BATTERY):  # nothing learns any more
        device = made.firewall._state.site.devices[name]
        made.firewall._state.put_device(replace(device, young=False))
    made.do(Tick())
    return made


def test_what_was_not_known_passes_until_the_pause_is_over(site: Site) -> None:
    assert not site.allows(READ)
    assert site.pause(HOUR).code is None
    assert site.allows(READ)
    assert site.until() == site.now + HOUR
    site.wait(HOUR - 1)
    assert site.allows(READ)
    site.wait(1)
    assert not site.allows(READ)
    assert site.until() is None
    assert "the pause is over" in site.firewall.view(site.now).log[-1].text


def test_the_inspector_ends_it_by_the_clock_even_when_nobody_tells_it(site: Site) -> None:
    site.pause(HOUR)
    site.now += HOUR
    assert not site.allows(READ)


def test_what_was_denied_stays_denied(site: Site) -> None:
    site.ask(WRITE)
    request = site.firewall.view(site.now).requests[-1]
    site.do(Decide(2, request.id, False, "Ada"))
    site.pause(HOUR)
    assert site.inspector.judge(WASHER, BATTERY, WRITE, site.now).reason is Reason.DENIED
    assert site.allows(READ)


def test_nothing_is_learnt_in_a_pause_and_a_question_stays_open(site: Site) -> None:
    site.ask(WRITE)
    assert site.status(WRITE) is Status.PENDING
    site.pause(HOUR)
    site.ask(WRITE)
    site.ask(READ)
    assert site.status(WRITE) is Status.PENDING
    assert site.status(READ) is None
    assert site.firewall.view(site.now).counters["let through while protection was paused"] == 1


def test_it_holds_for_what_others_ask_of_the_device_too(site: Site) -> None:
    site.pause(HOUR, "battery")
    assert site.allows(READ)


def test_it_is_ended_by_hand(site: Site) -> None:
    site.pause(HOUR)
    assert site.pause(0).code is None
    assert not site.allows(READ)
    assert site.pause(0).code == "already so"


@pytest.mark.parametrize(
    ("seconds", "device", "code"),
    [
        (24 * HOUR + 1, "washer", "not possible"),
        (-1, "washer", "not possible"),
        (float("nan"), "washer", "not possible"),
        (HOUR, "nobody", "not found"),
        (HOUR, "stranger", "not possible"),
    ],
)
def test_it_has_bounds(site: Site, seconds: float, device: str, code: str) -> None:
    assert site.pause(seconds, device).code == code


def test_it_survives_a_restart_and_ends_in_time(site: Site) -> None:
    site.pause(HOUR)
    record = Record(devices=tuple(replace(d, young=False) for d in site.devices.values()))
    again = Site(record, site.now)
    assert again.allows(READ)
    late = Site(record, site.now + HOUR)
    assert not late.allows(READ)
    assert late.until() is None


def test_a_connection_gets_no_flow_that_could_outlive_it(site: Site) -> None:
    site.ask(WRITE)
    site.pause(HOUR)
    assert site.firewall.handle(ConnectionSettled("10.0.0.1", 40000, "10.0.0.2", 80), site.now) == []


def test_who_paused_it_is_in_the_log(site: Site) -> None:
    site.pause(HOUR)
    line = site.firewall.view(site.now).log[-1]
    assert (line.event, line.by, line.subject) == ("pause", "Ada (phone)", "washer")
    assert line.text == "the protection of Washing machine is paused for 60 minutes"
