"""Names, leases and announcements, read from copies of infrastructure traffic.

That traffic is let through by the switch's templates and never judged here. Knows nothing of sockets.
Who may answer as a DHCP server is the switch's to say; who may be believed about names, the firewall's.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from controller.dpi import dhcp, dhcpv6, dns
from controller.dpi.frame import ICMPV6, TCP, UDP, Headers
from controller.dpi.message import Malformed
from controller.events import FromInspector, LeaseSeen, NameSeen, ServiceAnnounced
from controller.inspector.judgement.conversations import Carried, Conversations
from controller.inspector.judgement.datagrams import DatagramJudge
from controller.inspector.judgement.judge import Judge
from controller.model.relationship import Endpoint
from controller.model.resource import shorten
from controller.verdicts import GROUP

DNS, DHCP_SERVER, DHCP_CLIENT, NTP, SSDP, MDNS, LLMNR = 53, 67, 68, 123, 1900, 5353, 5355
DHCPV6: Final = frozenset({dhcpv6.CLIENT_PORT, dhcpv6.SERVER_PORT})
SERVED: Final = {  # ports that the templates are about
    UDP: DHCPV6 | {DNS, DHCP_SERVER, DHCP_CLIENT, NTP, SSDP, MDNS, LLMNR},
    TCP: frozenset({DNS}),
}
ANSWERING: Final = frozenset({DNS, NTP})  # their answers are copied too
DISCOVERED: Final = frozenset({SSDP, MDNS, LLMNR})  # asked of a group, answered to the asker alone
ECHO: Final = frozenset({128, 129})  # ICMPv6 that is judged like any other
NEWS_PER_SECOND: Final = 200
SAY_AGAIN: Final = 30.0  # seconds after which the same is news again
REMEMBERED: Final = 10_000


class Infrastructure:
    """Tells news once, and not faster than the controller can bear."""

    def __init__(self, judge: Judge, datagrams: DatagramJudge) -> None:
        self._judge = judge
        self._datagrams = datagrams
        self._asked = Conversations()
        self._told: dict[FromInspector, float] = {}
        self._second = float("-inf")
        self._budget = 0

    def concerns(self, headers: Headers, now: float) -> bool:
        """Whether the copy of a frame is of traffic that a template lets through.

        By the port that is asked; that a device asks *from* such a port is no way around the judge.
        """
        protocol, asked = headers.protocol, headers.dst_port
        if protocol == ICMPV6:
            return headers.kind not in ECHO
        if protocol not in SERVED:
            return False
        key = (asked or 0, headers.src_ip or "", headers.src_port or 0)
        if asked not in SERVED[protocol] or self._is_watched(headers):
            return self._asked.get(headers.dst_ip or "", key, now) is not None
        if asked in ANSWERING:
            key = (headers.src_port or 0, headers.dst_ip or "", asked or 0)
            self._asked.open(headers.src_ip or "", key, Carried(0), now)
        elif asked in DISCOVERED:
            self._datagrams.expect(headers.src_ip or "", headers.src_port or 0, asked, now)
        return True

    def _is_watched(self, headers: Headers) -> bool:
        """Whether a copy is of a watched pair: no template lets discovery pass to one device alone."""
        server = self._judge.device_at(headers.dst_ip or "")
        return headers.dst_port in DISCOVERED and server is not None and server != GROUP

    def learn(self, raw: bytes, headers: Headers, now: float) -> tuple[FromInspector, ...]:
        """What a copy tells that was not told yet."""
        if headers.protocol != UDP:
            return ()
        payload = raw[headers.payload_offset : headers.payload_end]
        try:
            return tuple(self._news(self._said(payload, headers), now))
        except Malformed:
            self._judge.counters["malformed"] += 1
            return ()

    def _said(self, payload: bytes, headers: Headers) -> Iterable[FromInspector]:
        match headers.src_port, headers.dst_port:
            case (67, 68) | (68, 67):
                return self._lease(payload, headers)
            case (dhcpv6.CLIENT_PORT, dhcpv6.SERVER_PORT):
                return self._introduced(payload, headers)
            case (5353, _):
                return self._announced(payload, headers)
            case (53, _):
                return self._names(payload, headers)
        return ()

    def _lease(self, payload: bytes, headers: Headers) -> Iterator[FromInspector]:
        lease = dhcp.lease(payload)
        if lease is None:
            return
        if headers.src_port == DHCP_CLIENT and lease.mac != headers.src_mac:
            self._judge.counters["leases for others"] += 1
            return
        assigned = lease.assigned if headers.src_port == DHCP_SERVER else None
        host, vendor = lease.host_name, lease.vendor_class
        yield LeaseSeen(lease.mac, assigned, host and shorten(host), vendor and shorten(vendor))

    def _introduced(self, payload: bytes, headers: Headers) -> Iterator[FromInspector]:
        """What a client of DHCPv6 calls itself; its addresses are learnt from neighbour discovery."""
        told = dhcpv6.read(payload)
        host, vendor = told.host_name, told.vendor_class
        if host is not None or vendor is not None:
            yield LeaseSeen(headers.src_mac, None, host and shorten(host), vendor and shorten(vendor))

    def _announced(self, payload: bytes, headers: Headers) -> Iterator[FromInspector]:
        device = self._judge.device_at(headers.src_ip or "")
        if device is None or device == GROUP or device.startswith("@"):
            return
        for found in dns.announcements(payload):
            transport = "udp" if "._udp" in f".{found.type}" else "tcp"
            endpoint = Endpoint(transport, found.port)
            yield ServiceAnnounced(device, endpoint, shorten(found.name), shorten(found.type))

    def _names(self, payload: bytes, headers: Headers) -> Iterator[FromInspector]:
        for name, address, ttl in dns.answers(payload):
            yield NameSeen(shorten(name, 255), address, ttl, headers.src_ip or "")

    def _news(self, said: Iterable[FromInspector], now: float) -> Iterator[FromInspector]:
        if not 0 <= now - self._second < 1.0:
            self._second, self._budget = now, NEWS_PER_SECOND
        for event in said:
            news = replace(event, ttl=0) if isinstance(event, NameSeen) else event
            if 0 <= now - self._told.get(news, float("-inf")) < SAY_AGAIN:
                continue
            if self._budget <= 0:
                self._judge.counters["news left out"] += 1
                continue
            self._budget -= 1
            if len(self._told) >= REMEMBERED:
                self._told.clear()
            self._told[news] = now
            yield event

    def sweep(self, now: float) -> None:
        """Forget queries that nobody will answer."""
        self._asked.sweep(now)
