"""A device that floods waits, for a while, with everything that it was not allowed before."""

from controller.config import parse
from controller.dpi.message import Operation
from controller.events import InspectorUp, Observed, PortInfo, RefusalWanted, SendFlows, SwitchUp, Tick
from controller.firewall.firewall import Firewall
from controller.flows.flow import Flow, Output, Priority
from controller.model.relationship import Access, DeviceId, Endpoint, Reason, ServiceId, Treatment

SITE = """
switches: [{name: s1, dpid: 1}]
devices:
  - {id: washer, mac: 02:00:00:00:00:01, addresses: [10.0.0.1], switch: s1, port: 1}
  - {id: lock, mac: 02:00:00:00:00:02, addresses: [10.0.0.2], switch: s1, port: 2}
"""


def connected(site: str = SITE) -> Firewall:
    firewall = Firewall(parse(site, "site.yaml"), None, b"secret")
    firewall.handle(InspectorUp(1), 1000.0)
    names = {1: "port1", 2: "port2", 3: "s1-gwi", 4: "s1-gwc"}
    ports = tuple(PortInfo(number, name, f"02:00:00:00:01:0{number}", True) for number, name in names.items())
    firewall.handle(SwitchUp(1, ports, ()), 1000.0)
    firewall.handle(Tick(), 1002.0)
    return firewall


def added(firewall: Firewall, event: RefusalWanted) -> list[Flow]:
    effects = firewall.handle(event, 1003.0)
    return [flow for effect in effects if isinstance(effect, SendFlows) for flow in effect.change.add]


def test_flood_is_dropped_below_everything_that_was_decided() -> None:
    flows = added(connected(), RefusalWanted("10.0.0.1", "10.0.0.2", Endpoint("udp", 7), flood=True))
    everything = next(flow for flow in flows if flow.match.destination is None)
    assert everything.priority < Priority.CLASS
    assert not everything.actions
    assert 0 < everything.idle_timeout < everything.hard_timeout


def test_flood_to_addresses_of_nobody_is_dropped_too() -> None:
    flows = added(connected(), RefusalWanted("10.0.0.1", "10.0.0.99", Endpoint("udp", 7), flood=True))
    assert [flow.priority for flow in flows] == [Priority.FLOOD]


def test_repeats_of_one_denial_are_no_flood() -> None:
    flows = added(connected(), RefusalWanted("10.0.0.1", "10.0.0.2", Endpoint("udp", 7)))
    assert [flow.match.dst_port for flow in flows] == [7]


def test_watched_pair_is_read_for_a_while_after_a_denial_and_keeps_what_is_allowed() -> None:
    watch = "learning: {minimum: 1s, quiet: 1s, maximum: 5s}\nwatch: [{client: washer, server: lock}]\n"
    firewall, coap = connected(SITE + watch), Endpoint("udp", 5683)
    access = Access(ServiceId("washer/main"), ServiceId("lock/udp-5683"), "coap", Operation.READ, "/state")
    firewall.handle(
        Observed(
            DeviceId("washer"), DeviceId("lock"), "10.0.0.1", "10.0.0.2", coap, access, "GET", None, None,
            True, Reason.LEARNING, 1002.0,
        ),
        1002.0,
    )  # fmt: skip
    firewall.handle(Tick(), 1030.0)
    (pair,) = firewall.view(1030.0).pairs
    assert pair.treatment is Treatment.WATCH
    (flow,) = added(firewall, RefusalWanted("10.0.0.1", "10.0.0.2", coap))
    assert flow.actions == (Output(3),)
    assert flow.hard_timeout
    assert flow.priority > Priority.PAIR
