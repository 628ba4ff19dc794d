"""The addresses of synthetic hosts: nobody's, and inside the site."""

from ipaddress import ip_address

import pytest

from controller.commands.selftest_hosts import NoAddressError, addresses
from controller.config import Config


def test_they_are_link_local_and_locally_administered() -> None:
    for _ in range(200):
        one, other = addresses(Config().networks, ())
        assert len({one.mac, other.mac, one.ip, other.ip}) == 4
        for host in (one, other):
            first = int(host.mac[:2], 16)
            assert first & 0x02
            assert not first & 0x01
            assert ip_address("169.254.1.0") <= ip_address(host.ip) <= ip_address("169.254.254.255")
            assert host.prefix == 16


def test_without_link_local_addresses_they_are_the_highest_that_nobody_has() -> None:
    one, other = addresses(("fe80::/10", "10.9.0.0/24"), {"10.9.0.254", "10.9.0.252"})
    assert (one.ip, other.ip, one.prefix) == ("10.9.0.253", "10.9.0.251", 24)


@pytest.mark.parametrize("networks", [(), ("fe80::/10",), ("10.0.0.4/31",), ("10.0.0.4/32",)])
def test_a_site_without_room_is_refused(networks: tuple[str, ...]) -> None:
    with pytest.raises(NoAddressError, match=r"add 169\.254\.0\.0/16"):
        addresses(networks, ())
