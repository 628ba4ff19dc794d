"""Findings count messages as the inspector reports them, and know nothing else."""

from controller.events import AuditEntry, NameSeen, Observed
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, ServiceId
from controller.replay.findings import Findings, entry, observation

SEEN = Observed(
    DeviceId("a"), DeviceId("b"), "10.0.0.1", "10.0.0.2", Endpoint("tcp", 80),
    Access(ServiceId("a/main"), ServiceId("b/tcp-80"), "http", "write", "/x"), "PUT", None, None,
    allowed=False, reason=Reason.NEW_PARTNER, time=5.0, count=3,
)  # fmt: skip


def test_messages_are_counted_by_what_they_violate() -> None:
    findings = Findings()
    findings.hear(SEEN)
    findings.hear(SEEN)
    findings.hear(NameSeen("x", "203.0.113.1", 5))
    assert findings.denied == {"new partner": 6}
    assert findings.allowed == {}


def test_only_reports_of_messages_are_lines_of_the_stream() -> None:
    said = observation(SEEN, {"file": "a.pcap", "frame": 7})
    assert said is not None
    assert (said["frame"], said["verb"], said["count"], said["endpoint"]) == (7, "PUT", 3, "tcp-80")
    assert observation(NameSeen("x", "203.0.113.1", 5), {}) is None


def test_lines_of_the_log_keep_their_kind() -> None:
    assert entry(AuditEntry(1.0, "learnt", "", "A may read B", "r1"), {"frame": 2}) == {
        "kind": "learnt", "frame": 2, "time": 1.0, "subject": "r1", "text": "A may read B"
    }  # fmt: skip
