"""Where devices are and who they may be: first use, static and DHCP bindings, moves, and spoofers."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from controller.config import parse
from controller.events import Effect, LeaseSeen, PortChanged, PortInfo, Report, SendFlows, SendFrame
from controller.firewall.hosts import (
    NEW_PER_PORT,
    REPLACE_EVERY,
    SAY_AGAIN,
    SEND_AGAIN,
    SWITCHES_BACK,
)
from controller.flows.flow import CONTROLLER_PORT, Packet, lookup
from controller.model.relationship import DeviceId
from controller.model.service import Admission, Binding, Device
from tests.unit.dpi.test_dhcp import DISCOVER
from tests.unit.firewall.script import (
    LOCK,
    MACS,
    STRANGER,
    WASHER,
    Script,
    arp,
    datagram,
)

STRANGE = DeviceId(STRANGER.replace(":", "-"))
MAC = MACS[WASHER]


def script(more: str = "", switch: bool = True) -> Script:
    made = Script(more)
    if switch:
        made.plug()
    return made


@pytest.fixture
def home() -> Script:
    """Washer and lock have spoken at ports 1 and 2."""
    made = script()
    made.frame(arp(MAC, "10.0.0.1"), port=1)
    made.frame(arp(MACS[LOCK], "10.0.0.2"), port=2)
    return made


def device(made: Script, name: DeviceId = WASHER) -> Device:
    return made.state.site.devices[name]


def told(effects: Sequence[Effect]) -> str:
    return " ".join(effect.text for effect in effects if isinstance(effect, Report))


def sent_on(effects: Sequence[Effect]) -> bool:
    return any(isinstance(effect, SendFrame) for effect in effects)


def passes(made: Script, port: int, mac: str, address: str) -> bool:
    """Whether the switch's ADMISSION table takes a datagram of this sender any further."""
    packet = Packet(
        port, mac, MACS[LOCK], 0x0800, ip_proto=17, ip_src=address, ip_dst="10.0.0.2", src_port=9, dst_port=9
    )
    return 8 in lookup(made.firewall.wanted(1), packet).ports  # to the inspection port


# First use


def test_first_frame_of_a_known_device_tells_its_port_and_is_sent_on_after_its_flows(home: Script) -> None:
    assert device(home).binding == Binding(1, 1)
    made = script()
    effects = made.frame(arp(MAC, "10.0.0.1"))
    order = [type(e) for e in effects if isinstance(e, SendFlows | SendFrame)]
    assert order == [SendFlows, SendFrame]


def test_switch_takes_a_device_by_port_mac_and_address_together(home: Script) -> None:
    assert passes(home, 1, MAC, "10.0.0.1")
    assert not passes(home, 2, MAC, "10.0.0.1")  # its frames from another port
    assert not passes(home, 1, STRANGER, "10.0.0.1")  # its address with another MAC address
    assert not passes(home, 1, MAC, "10.0.0.3")  # another address with its MAC address


def test_stranger_waits_for_the_manager_and_nothing_of_it_is_sent_on() -> None:
    made = script()
    effects = made.frame(arp(STRANGER, "10.0.0.99"))
    assert device(made, STRANGE).admission is Admission.NEW
    assert device(made, STRANGE).addresses == {"10.0.0.99"}
    assert not sent_on(effects)
    assert not passes(made, 1, STRANGER, "10.0.0.99")


def test_site_that_admits_by_itself_lets_a_stranger_learn_at_once() -> None:
    made = script("admission: automatic\n")
    assert sent_on(made.frame(arp(STRANGER, "10.0.0.99")))
    assert device(made, STRANGE).young
    assert passes(made, 1, STRANGER, "10.0.0.99")


@pytest.mark.parametrize(
    "frame",
    [
        arp("03:00:00:00:00:01", "10.0.0.98"),  # a group's address as a sender's
        arp("00:00:00:00:00:00", "10.0.0.98"),
        arp(STRANGER, "10.0.0.98")[:12] + b"\x81\x00\x00\x01" + arp(STRANGER, "10.0.0.98")[12:],
        arp(STRANGER, "10.0.0.98")[:20],
        b"",
    ],
)
def test_frame_that_no_honest_device_sends_makes_nobody_known(frame: bytes) -> None:
    made = script()
    known = set(made.state.site.devices)
    made.frame(frame)
    assert set(made.state.site.devices) == known


@pytest.mark.parametrize(("port", "switch"), [(8, 1), (9, 1), (77, 1), (1, 2)])
def test_frame_from_where_no_device_can_be_makes_nobody_known(port: int, switch: int) -> None:
    made = script()
    made.frame(arp(STRANGER, "10.0.0.98"), port=port, switch=switch)
    assert STRANGE not in made.state.site.devices


def test_device_without_an_address_yet_is_placed_and_holds_none() -> None:
    made = script()
    made.frame(arp(STRANGER, "0.0.0.0"))
    assert device(made, STRANGE).addresses == frozenset()


def test_same_frame_is_sent_through_the_tables_once_in_a_while() -> None:
    made = script()
    frame = arp(MAC, "10.0.0.1")
    assert sent_on(made.frame(frame))
    made.state.put_device(replace(device(made), addresses=frozenset()))
    assert not sent_on(made.frame(frame))
    made.state.put_device(replace(device(made), addresses=frozenset()))
    made.now += SEND_AGAIN
    assert sent_on(made.frame(frame))


# Spoofers


def test_mac_address_of_a_device_at_another_port_is_spoofed(home: Script) -> None:
    effects = home.frame(arp(MAC, "10.0.0.1"), port=3)
    assert "Washing machine is at another port" in told(effects)
    assert device(home).binding == Binding(1, 1)
    assert home.state.counters["spoofed frames"] == 1
    assert not sent_on(effects)


def test_address_of_another_device_is_spoofed(home: Script) -> None:
    assert "10.0.0.2 is held by Front door" in told(home.frame(arp(MAC, "10.0.0.2")))
    assert device(home).addresses == {"10.0.0.1"}
    assert device(home, LOCK).addresses == {"10.0.0.2"}


def test_who_says_another_hardware_address_than_it_sends_from_is_spoofed(home: Script) -> None:
    assert "it says that it is" in told(home.frame(arp(MAC, "10.0.0.77", told=MACS[LOCK])))
    assert device(home).addresses == {"10.0.0.1"}


def test_address_from_outside_is_held_by_nobody_but_comes_through_a_router(home: Script) -> None:
    assert "no address of this site" in told(home.frame(datagram(MAC, "203.0.113.7")))
    home.state.put_device(replace(device(home), roles=frozenset({"router"})))
    assert told(home.frame(datagram(MAC, "203.0.113.7"))) == ""
    assert device(home).addresses == {"10.0.0.1"}


def test_offence_is_told_once_in_a_while_and_counted_each_time(home: Script) -> None:
    said = [told(home.frame(arp(MAC, "10.0.0.1"), port=3)) for _ in range(5)]
    assert [bool(text) for text in said] == [True, False, False, False, False]
    assert home.state.counters["spoofed frames"] == 5
    home.now += SAY_AGAIN
    assert told(home.frame(arp(MAC, "10.0.0.1"), port=3))


def test_stranger_cannot_take_an_address_that_is_held_and_the_admitted_can_take_one_that_waits() -> None:
    made = script()
    made.frame(arp(STRANGER, "10.0.0.50"), port=3)
    made.frame(arp(MAC, "10.0.0.1"))
    assert "held by" in told(made.frame(arp(STRANGER, "10.0.0.1"), port=3))
    made.frame(arp(MAC, "10.0.0.50"))  # who waits cannot reserve an address against those who belong
    assert device(made).addresses == {"10.0.0.1", "10.0.0.50"}
    assert device(made, STRANGE).addresses == frozenset()


def test_one_port_cannot_fill_the_site_with_strangers() -> None:
    made = script()
    for number in range(NEW_PER_PORT + 5):
        made.frame(arp(f"02:00:00:00:01:{number:02x}", f"10.0.1.{number}"))
    waiting = [d for d in made.state.site.devices.values() if d.admission is Admission.NEW and d.binding]
    assert len(waiting) == NEW_PER_PORT
    made.frame(arp(STRANGER, "10.0.0.99"), port=2)
    assert STRANGE in made.state.site.devices  # other ports have room


def test_site_has_room_for_a_limited_number_of_devices() -> None:
    made = script("devices_at_most: 5\n")
    assert "there are 5 already" in told([*made.frame(arp(STRANGER, "10.0.0.99")),
                                          *made.frame(arp("02:00:00:00:00:98", "10.0.0.98"))])  # fmt: skip


# Floods


def asks_the_controller(made: Script, frame: bytes, port: int, mac: str, address: str) -> bool:
    """Whether a frame gets to the controller, which is told of it if so."""
    held = [*made.firewall.wanted(1), *made.for_a_while]
    packet = Packet(port, mac, "ff:ff:ff:ff:ff:ff", 0x0806, ip_src=address, ip_dst="10.0.0.254", told_mac=mac)
    if CONTROLLER_PORT not in lookup(held, packet).ports:
        return False
    made.frame(frame, port=port)
    return True


def flood(made: Script, mac: str, address: str, port: int, frames: int = 20) -> int:
    return sum(asks_the_controller(made, arp(mac, address), port, mac, address) for _ in range(frames))


def test_flood_of_a_spoofer_stays_in_the_switch_and_others_at_its_port_are_heard(home: Script) -> None:
    assert flood(home, MAC, "10.0.0.1", port=3) == 1
    assert flood(home, STRANGER, "10.0.0.99", port=3, frames=1) == 1
    assert passes(home, 1, MAC, "10.0.0.1")


def test_flood_from_a_devices_own_port_does_not_stop_what_it_may_send(home: Script) -> None:
    assert flood(home, MAC, "10.0.0.2", port=1) == 1
    packet = Packet(1, MAC, MACS[LOCK], 0x0800, ip_proto=17, ip_src="10.0.0.1", ip_dst="10.0.0.2",
                    src_port=9, dst_port=9)  # fmt: skip
    assert 8 in lookup([*home.firewall.wanted(1), *home.for_a_while], packet).ports


def test_flood_of_invented_devices_stays_in_the_switch_once_the_port_is_full(home: Script) -> None:
    def invented(numbers: range) -> int:
        macs = (f"02:00:00:00:{n // 256 + 1:02x}:{n % 256:02x}" for n in numbers)
        return sum(flood(home, mac, "10.0.0.99", port=3, frames=1) for mac in macs)

    assert invented(range(NEW_PER_PORT)) == NEW_PER_PORT
    assert invented(range(NEW_PER_PORT, NEW_PER_PORT + 50)) == 1
    assert flood(home, STRANGER, "10.0.0.98", port=4, frames=1) == 1


def test_device_that_waits_is_heard_when_it_has_something_new_to_say_and_is_free_once_admitted(
    home: Script,
) -> None:
    assert flood(home, STRANGER, "10.0.0.99", port=3) == 2  # its address, and that it has no more to say
    home.wait(1)
    home.decide(home.cards[-1].id, approve=True)
    assert home.for_a_while == ()  # withdrawn at once
    assert passes(home, 3, STRANGER, "10.0.0.99")


# Bindings


def test_static_bindings_take_no_address_that_is_not_in_site_yaml() -> None:
    made = script("bindings: static\n")
    assert "bindings are static" in told(made.frame(arp(MAC, "10.0.0.77")))
    made.tell(LeaseSeen(MAC, "10.0.0.78", None, None))
    assert device(made).addresses == {"10.0.0.1"}


def test_dhcp_bindings_take_what_the_server_gave_out_and_link_local_addresses() -> None:
    made = script("bindings: dhcp\n")
    assert "was not given out by DHCP" in told(made.frame(arp(MAC, "10.0.0.77")))
    made.tell(LeaseSeen(MAC, "10.0.0.77", None, None))
    made.frame(datagram(MAC, "fe80::1"))
    assert device(made).addresses == {"10.0.0.1", "10.0.0.77", "fe80::1"}


def test_lease_takes_an_address_from_its_last_holder_but_not_from_site_yaml(home: Script) -> None:
    home.frame(arp(MAC, "10.0.0.77"))
    home.tell(LeaseSeen(MACS[LOCK], "10.0.0.77", None, None))
    home.tell(LeaseSeen(MACS[LOCK], "10.0.0.1", None, None))
    home.tell(LeaseSeen(MACS[LOCK], "203.0.113.7", None, None))
    home.tell(LeaseSeen("02:00:00:00:00:aa", "10.0.0.78", None, None))  # of nobody
    assert device(home).addresses == {"10.0.0.1"}
    assert device(home, LOCK).addresses == {"10.0.0.2", "10.0.0.77"}


def test_port_in_site_yaml_ties_a_device_down() -> None:
    text = """
switches: [{name: hall, dpid: 1}]
devices: [{id: pump, mac: 02:00:00:00:00:07, switch: hall, port: e3}]
"""
    made = Script()
    made.config = parse(text, "site.yaml")
    made.start()
    made.plug()
    pump = DeviceId("pump")
    assert device(made, pump).binding == Binding(1, 3)  # by the interface's name, before it speaks
    made.tell(PortChanged(1, PortInfo(3, "e3", "02:ff:00:00:00:00", False)))
    assert "at another port" in told(made.frame(arp("02:00:00:00:00:07", "10.0.0.7"), port=2))


def test_device_gives_up_the_address_that_it_was_first_heard_from_but_not_all_at_once() -> None:
    made = script("addresses_per_device: 3\n")
    for number in (70, 71):
        made.now += 1
        made.frame(arp(MAC, f"10.0.0.{number}"))
    made.now += REPLACE_EVERY
    made.frame(arp(MAC, "10.0.0.72"))
    assert device(made).addresses == {"10.0.0.1", "10.0.0.71", "10.0.0.72"}  # that of site.yaml stays
    made.frame(arp(MAC, "10.0.0.73"))
    assert "10.0.0.73" not in device(made).addresses
    assert made.state.counters["addresses beyond the limit"] == 1
    made.now += REPLACE_EVERY
    made.frame(arp(MAC, "10.0.0.73"))
    assert device(made).addresses == {"10.0.0.1", "10.0.0.72", "10.0.0.73"}


# Moves


def test_device_may_turn_up_elsewhere_once_its_port_is_dead(home: Script) -> None:
    home.tell(PortChanged(1, PortInfo(1, "e1", "02:ff:00:00:00:00", False)))
    home.frame(arp(MAC, "10.0.0.1"), port=3)
    assert device(home).binding == Binding(1, 3)
    assert passes(home, 3, MAC, "10.0.0.1")
    assert not passes(home, 1, MAC, "10.0.0.1")


def test_switch_that_may_only_not_be_back_yet_keeps_its_devices_after_a_restart(home: Script) -> None:
    home.wait(1)
    home.start()
    home.plug(switch=2)
    assert "at another port" in told(home.frame(arp(MAC, "10.0.0.1"), switch=2))
    home.now += SWITCHES_BACK
    home.frame(arp(MAC, "10.0.0.1"), switch=2)
    assert device(home).binding == Binding(2, 1)


# Names and site.yaml


def test_name_of_a_newcomer_is_what_its_dhcp_client_says_until_it_is_admitted() -> None:
    made = script()
    made.frame(datagram(STRANGER, "0.0.0.0", DISCOVER, (68, 67)))
    assert device(made, STRANGE).name == "led"
    made.decide(made.cards[0].id, approve=True)
    made.tell(LeaseSeen(STRANGER, None, "Front door", None))
    assert device(made, STRANGE).name == "led"


def test_newcomer_cannot_take_the_name_of_another_device() -> None:
    made = script()
    made.frame(arp(STRANGER, "10.0.0.99"))
    made.tell(LeaseSeen(STRANGER, None, "front DOOR", "maker"))
    assert device(made, STRANGE).name == "front DOOR (00:99)"
    assert device(made, STRANGE).vendor == "maker"


def test_site_yaml_takes_its_addresses_back_from_whoever_has_learnt_them(home: Script) -> None:
    home.frame(arp(MAC, "10.0.0.9"))
    home.wait(1)
    text = "devices:\n  - {id: new, mac: 02:00:00:00:00:0a, addresses: [10.0.0.9]}"
    home.config = parse(text, "site.yaml")
    home.start()
    home.wait(1)
    assert device(home).addresses == {"10.0.0.1"}
    assert device(home, DeviceId("new")).addresses == {"10.0.0.9"}


def test_role_ends_with_its_line_in_site_yaml() -> None:
    made = Script()
    made.state.put_device(replace(device(made), roles=frozenset({"router"})))
    made.wait(1)
    made.config = parse("site: Home", "site.yaml")
    made.start()
    made.wait(1)
    assert device(made).roles == frozenset()
