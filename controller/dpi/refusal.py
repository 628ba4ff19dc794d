"""The frames that end a conversation quickly and cleanly, instead of letting its ends wait.

Knows nothing of why it was denied.
"""

from controller.dpi import craft
from controller.dpi.frame import ACK, FIN, IPV6, RST, SYN, Headers
from controller.dpi.stream import Connection

_UNREACHABLE, _ADMINISTRATIVELY = 3, 13  # RFC 1812, section 5.2.7.1
_UNREACHABLE_6, _ADMINISTRATIVELY_6 = 1, 1  # RFC 4443, section 3.1
_QUOTED = 576 - 20 - 8  # RFC 1812, section 4.3.2.3
_QUOTED_6 = 1280 - 40 - 8  # RFC 4443, section 2.4 (c)


def resets(headers: Headers, connection: Connection | None) -> tuple[bytes, bytes]:
    """RST segments to the client and to the server, in this order (RFC 9293, section 3.5.2).

    `headers` are those of the client's last frame; what it was to release was not sent. With
    `connection` they are right too when the client has sent more than the server was given.
    """
    flags = headers.tcp_flags
    size = headers.payload_end - headers.payload_offset + bool(flags & SYN) + bool(flags & FIN)
    acknowledged = headers.seq + size
    expected = headers.seq
    if connection is not None:
        expected = connection.server_expected
    to_client = craft.tcp(
        headers, back=True, seq=headers.ack if flags & ACK else 0, ack=acknowledged, flags=RST | ACK
    )
    to_server = craft.tcp(headers, back=False, seq=expected, ack=headers.ack, flags=RST | (flags & ACK))
    return to_client, to_server


def prohibited(raw: bytes, headers: Headers) -> bytes:
    """ICMP "administratively prohibited" to the sender of a datagram, quoting it.

    Not for datagrams to a group or to everybody: nobody may answer those (RFC 1122, section 3.2.2).
    """
    datagram = raw[headers.ip_offset : headers.payload_end]
    if headers.ethertype == IPV6:
        return craft.icmp_error(headers, _UNREACHABLE_6, _ADMINISTRATIVELY_6, datagram[:_QUOTED_6])
    return craft.icmp_error(headers, _UNREACHABLE, _ADMINISTRATIVELY, datagram[:_QUOTED])
