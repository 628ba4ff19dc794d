"""A device that floods waits, for a while, with everything that it was not allowed before."""

from controller.config import parse
from controller.events import InspectorUp, PortInfo, RefusalWanted, SendFlows, SwitchUp, Tick
from controller.firewall.firewall import Firewall
from controller.flows.flow import Flow, Priority
from controller.model.relationship import Endpoint

SITE = """
switches: [{name: s1, dpid: 1}]
devices:
  - {id: washer, mac: 02:00:00:00:00:01, addresses: [10.0.0.1], switch: s1, port: 1}
  - {id: lock, mac: 02:00:00:00:00:02, addresses: [10.0.0.2], switch: s1, port: 2}
"""


def connected() -> Firewall:
    firewall = Firewall(parse(SITE, "site.yaml"), None, b"secret")
    firewall.handle(InspectorUp(1), 1000.0)
    ports = tuple(PortInfo(number, f"port{number}", f"02:00:00:00:01:0{number}", True) for number in (1, 2))
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
    assert everything.hard_timeout


def test_flood_to_addresses_of_nobody_is_dropped_too() -> None:
    flows = added(connected(), RefusalWanted("10.0.0.1", "10.0.0.99", Endpoint("udp", 7), flood=True))
    assert [flow.priority for flow in flows] == [Priority.FLOOD]


def test_repeats_of_one_denial_are_no_flood() -> None:
    flows = added(connected(), RefusalWanted("10.0.0.1", "10.0.0.2", Endpoint("udp", 7)))
    assert [flow.match.dst_port for flow in flows] == [7]
