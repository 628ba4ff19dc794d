"""What is reported to the controller: each access at once, then counted, bounded under any flood."""

from dataclasses import replace

from controller.dpi.message import Operation
from controller.events import (
    ConnectionSettled,
    InspectorCounters,
    LeaseSeen,
    NameSeen,
    Observed,
    RefusalWanted,
    ServiceAnnounced,
)
from controller.inspector.judgement import observations
from controller.inspector.judgement.observations import (
    INTERVAL,
    MANY,
    PER_CLIENT,
    Ends,
    Observations,
    Sighting,
    Undelivered,
)
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, ServiceId, Verdict

ENDS = Ends(DeviceId("washer"), DeviceId("battery"), "10.0.0.1", "10.0.0.2", Endpoint("tcp", 80))
KNOWN, NEW = Verdict(True, Reason.KNOWN), Verdict(False, Reason.NEW_OPERATION)


def _sighting(resource: str, verdict: Verdict = KNOWN, verb: str = "GET", client: str = "washer") -> Sighting:
    access = Access(
        ServiceId(f"{client}/main"), ServiceId("battery/tcp-80"), "http", Operation.READ, resource
    )
    return Sighting(replace(ENDS, client=DeviceId(client)), access, verdict, verb)


def _note(seen: Observations, sighting: Sighting, now: float) -> Observed | None:
    return seen.note(seen.tally(sighting), sighting, now)


def test_the_first_message_of_an_access_is_reported_at_once() -> None:
    report = _note(Observations(), _sighting("/charge"), 100.0)
    assert report is not None
    assert (report.client, report.access.resource, report.count, report.time) == (
        "washer",
        "/charge",
        1,
        100.0,
    )


def test_repeats_are_counted_and_reported_once_an_interval_with_the_newest_verb() -> None:
    seen = Observations()
    _note(seen, _sighting("/charge"), 100.0)
    seen.due(100.0)
    for number in range(50):
        assert _note(seen, _sighting("/charge", verb=f"GET{number}"), 100.1) is None
    assert seen.due(100.2) == ()
    (report,) = seen.due(100.0 + INTERVAL)
    assert (report.count, report.verb, report.time) == (50, "GET49", 100.1)
    assert seen.due(101.0) == ()


def test_another_verdict_on_the_same_access_is_reported_at_once() -> None:
    seen = Observations()
    assert _note(seen, _sighting("/charge"), 100.0)
    assert _note(seen, _sighting("/charge", NEW), 100.01)


def test_slow_messages_are_each_reported_at_once() -> None:
    seen = Observations()
    assert all(_note(seen, _sighting("/charge"), 100.0 + second) for second in range(5))


def test_a_flood_of_different_resources_becomes_one_summary() -> None:
    seen = Observations()
    reports: list[Observed] = []
    total = PER_CLIENT + 5000
    for number in range(total):
        now = 100.0 + number / 20000
        report = _note(seen, _sighting(f"/{number}", NEW), now)
        reports += [*([report] if report else []), *seen.due(now)]
    for round_ in range(100):
        reports += seen.due(110.0 + round_)
    assert len(seen) <= PER_CLIENT + 1
    summaries = {r.access for r in reports if r.access.resource == MANY}
    assert len(summaries) == 1
    assert sum(r.count for r in reports) == total


def test_a_flood_by_one_client_does_not_hide_another() -> None:
    seen = Observations()
    for number in range(PER_CLIENT + 10):
        _note(seen, _sighting(f"/{number}", NEW), 100.0)
    seen.due(101.0)
    report = _note(seen, _sighting("/charge", client="dryer"), 101.1)
    assert report is not None
    assert report.access.resource == "/charge"


def test_reports_per_interval_are_bounded() -> None:
    seen = Observations()
    at_once = [_note(seen, _sighting(f"/{number}"), 100.0) for number in range(5000)]
    assert sum(report is not None for report in at_once) == observations.REPORTS_PER_INTERVAL
    assert len(seen.due(100.0)) == observations.REPORTS_PER_INTERVAL


def test_what_was_silent_for_long_is_forgotten() -> None:
    seen = Observations()
    _note(seen, _sighting("/charge"), 100.0)
    seen.due(100.0)
    seen.due(100.0 + observations.FORGET_AFTER + 1)
    assert len(seen) == 0


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    seen = Observations()
    _note(seen, _sighting("/charge"), 5000.0)
    seen.due(5000.0)
    assert _note(seen, _sighting("/charge"), 100.0) or seen.due(100.0)


def _observed(resource: str, count: int = 1, consumed: bool = False, time: float = 1.0) -> Observed:
    sighting = _sighting(resource)
    return Observed(
        **{name: getattr(ENDS, name) for name in Ends.__slots__},
        access=sighting.access,
        verb="GET",
        identity=None,
        service=None,
        allowed=True,
        reason=Reason.KNOWN,
        time=time,
        count=count,
        consumed=consumed,
    )


def test_the_undelivered_merges_observations_of_one_access() -> None:
    undelivered = Undelivered()
    undelivered.add(_observed("/a", 2, consumed=True, time=1.0))
    undelivered.add(_observed("/b"))
    undelivered.add(_observed("/a", 3, time=9.0))
    assert list(undelivered.take()) == [_observed("/a", 5, consumed=True, time=9.0), _observed("/b")]
    assert len(undelivered) == 0


def test_the_undelivered_keeps_names_and_the_newest_counters_and_drops_wishes_for_flows() -> None:
    undelivered = Undelivered()
    name = NameSeen("battery.example", "203.0.113.7", 60)
    lease = LeaseSeen("02:00:00:00:00:01", "10.0.0.1", None, None)
    service = ServiceAnnounced(ENDS.client, ENDS.endpoint, "Washer", "_http._tcp")
    undelivered.add(InspectorCounters({"messages": 1}))
    for event in (name, lease, service, name):
        undelivered.add(event)
    undelivered.add(ConnectionSettled("10.0.0.1", 1, "10.0.0.2", 443))
    undelivered.add(RefusalWanted("10.0.0.1", "10.0.0.2", ENDS.endpoint))
    undelivered.add(InspectorCounters({"messages": 2}))
    assert list(undelivered.take()) == [InspectorCounters({"messages": 2}), name, lease, service]


def test_the_undelivered_is_bounded_and_counts_what_it_summed_up() -> None:
    undelivered = Undelivered()
    total = PER_CLIENT + 500
    for number in range(total):
        undelivered.add(_observed(f"/{number}"))
    assert len(undelivered) == PER_CLIENT + 1
    taken = [event for event in undelivered.take() if isinstance(event, Observed)]
    assert sum(event.count for event in taken) == total
    assert taken[-1].access.resource == MANY


def test_what_is_not_taken_from_the_undelivered_stays() -> None:
    undelivered = Undelivered()
    for number in range(3):
        undelivered.add(_observed(f"/{number}"))
    assert next(iter(undelivered.take())) == _observed("/0")
    assert len(undelivered) == 2
