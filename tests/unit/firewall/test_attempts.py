"""What was only attempted is asked about, and changes nothing else."""

from controller.config import parse
from controller.events import Observed
from controller.firewall.firewall import Firewall
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, ServiceId

SITE = """
devices:
  - {id: washer, mac: 02:00:00:00:00:01, addresses: [10.0.0.1]}
  - {id: lock, mac: 02:00:00:00:00:02, addresses: [10.0.0.2]}
"""
TELNET = Endpoint("tcp", 23)


def attempt(reason: Reason) -> Observed:
    access = Access(ServiceId("washer/main"), ServiceId("lock/tcp-23"), "tcp", "connect", "")
    return Observed(
        DeviceId("washer"), DeviceId("lock"), "10.0.0.1", "10.0.0.2", TELNET, access,
        "SYN", None, None, reason is Reason.LEARNING, reason, 1000.0,
    )  # fmt: skip


def endpoints(firewall: Firewall) -> frozenset[Endpoint]:
    return firewall.view(1000.0).services[ServiceId("lock/tcp-23")].service.endpoints


def test_denied_attempt_makes_no_port_one_that_is_known_to_be_served() -> None:
    """Else the second handshake would pass as one to a known service."""
    firewall = Firewall(parse(SITE, "site.yaml"), None, b"secret")
    firewall.handle(attempt(Reason.NEW_SERVICE), 1000.0)
    assert not endpoints(firewall)


def test_what_was_learnt_is_known_to_be_served() -> None:
    firewall = Firewall(parse(SITE, "site.yaml"), None, b"secret")
    firewall.handle(attempt(Reason.LEARNING), 1000.0)
    assert endpoints(firewall) == {TELNET}
