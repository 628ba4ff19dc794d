"""All protocols that are understood, and which of them some bytes are: by content, by port when in doubt.

Knows nothing of frames, connections, services or verdicts. To add a protocol, write its file and
put one line into PROTOCOLS.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from controller.dpi import (
    amqp,
    bacnet,
    coap,
    coap_tcp,
    dhcp,
    dhcpv6,
    dnp3,
    dns,
    dtls,
    enip,
    http1,
    http2,
    iec104,
    knx,
    modbus,
    mqtt,
    ntp,
    opcua,
    quic,
    rtsp,
    s7,
    soap,
    ssdp,
    tls,
    vsl,
)
from controller.dpi.assembly import put_together
from controller.dpi.dissector import Datagram, Fed, StreamDissector, Undecided
from controller.dpi.message import Malformed, Message, Operation

__all__ = ["PROTOCOLS", "UNKNOWN", "Datagram", "Fed", "Protocol", "Stream", "dissect_datagram", "open_stream"]

UNKNOWN = "unknown"
_UNDECIDED_AT_MOST = 16384  # bytes that may be looked at before a stream counts as unknown
_INSIDE_AT_MOST = 3  # protocols that carry each other; what is deeper inside is unknown

_UNKNOWN_DATAGRAM = Datagram((Message(UNKNOWN, "datagram", Operation.CONNECT, "", opaque=True),))
_UNKNOWN_STREAM = (Message(UNKNOWN, "data", Operation.CONNECT, "", opaque=True),)


@dataclass(frozen=True, slots=True)
class Protocol:
    """One protocol: its usual ports, and how its datagrams or its streams are read.

    `datagram(payload, source port, destination port)` gives None for what is not its own and raises
    Malformed for what claims to be. `recognise(prefix, server port)` says whether a stream is its
    own (None: too few bytes), then `opens` makes its dissector, and is given what makes one for that
    which it may carry inside; `resumes` makes one for a stream
    that is followed from its middle on, if the protocol can be read so.
    """

    name: str
    ports: frozenset[int] = frozenset()
    datagram: Callable[[bytes, int, int], Datagram | None] | None = None
    recognise: Callable[[bytes, int], bool | None] | None = None
    opens: Callable[[Callable[[], Undecided]], StreamDissector] | None = None
    resumes: Callable[[], StreamDissector] | None = None


_ON_HTTP = (vsl.Vsl(), soap.Soap())
_ON_WEBSOCKET = MappingProxyType({vsl.CALLBACK_PROTOCOL: vsl.callbacks})

PROTOCOLS: tuple[Protocol, ...] = (
    Protocol("tls", recognise=tls.TlsStream.recognise, opens=lambda _: tls.TlsStream()),
    Protocol("dtls", datagram=dtls.datagram),
    Protocol("quic", datagram=quic.datagram),
    Protocol(  # and websocket inside, and vsl and soap on top
        "http",
        recognise=http1.recognise,
        opens=lambda inside: http1.HttpStream(inside, _ON_HTTP, _ON_WEBSOCKET),
    ),
    Protocol("http", recognise=http2.recognise, opens=lambda _: http2.Http2Stream(_ON_HTTP)),
    Protocol(
        "mqtt",
        frozenset({mqtt.PORT}),
        recognise=mqtt.recognise,
        opens=lambda _: mqtt.MqttStream(),
        resumes=lambda: mqtt.MqttStream(resumed=True),
    ),
    Protocol(
        "modbus",
        frozenset({modbus.PORT}),
        recognise=modbus.ModbusStream.recognise,
        opens=lambda _: modbus.ModbusStream(),
        resumes=modbus.ModbusStream,
    ),
    Protocol(
        "dns",  # and mdns, llmnr
        frozenset({dns.PORT, 5353, 5355}),
        dns.datagram,
        recognise=dns.DnsStream.recognise,
        opens=lambda _: dns.DnsStream(),
        resumes=dns.DnsStream,
    ),
    Protocol(
        "coap",
        frozenset({coap.PORT}),
        coap.datagram,
        recognise=coap_tcp.recognise,
        opens=lambda _: coap_tcp.CoapStream(),
    ),
    Protocol(
        "opcua",
        frozenset({opcua.PORT}),
        recognise=opcua.recognise,
        opens=lambda _: opcua.OpcUaStream(),
        resumes=lambda: opcua.OpcUaStream(resumed=True),
    ),
    Protocol(
        "knx",
        frozenset({knx.PORT}),
        knx.datagram,
        recognise=knx.recognise,
        opens=lambda _: knx.KnxStream(),
        resumes=knx.KnxStream,
    ),
    Protocol("rtsp", frozenset({rtsp.PORT}), recognise=rtsp.recognise, opens=lambda _: rtsp.RtspStream()),
    Protocol(
        "amqp",
        frozenset({amqp.PORT}),
        recognise=amqp.recognise,
        opens=lambda _: amqp.AmqpStream(),
        resumes=lambda: amqp.AmqpStream(resumed=True),
    ),
    Protocol(
        "iec104",
        frozenset({iec104.PORT}),
        recognise=iec104.recognise,
        opens=lambda _: iec104.Iec104Stream(),
        resumes=iec104.Iec104Stream,
    ),
    Protocol(
        "s7",
        frozenset({s7.PORT}),
        recognise=s7.recognise,
        opens=lambda _: s7.S7Stream(),
        resumes=s7.S7Stream,
    ),
    Protocol(
        "dnp3",
        frozenset({dnp3.PORT}),
        recognise=dnp3.recognise,
        opens=lambda _: dnp3.Dnp3Stream(),
        resumes=dnp3.Dnp3Stream,
    ),
    Protocol("bacnet", frozenset({bacnet.PORT}), bacnet.datagram),
    Protocol(
        "enip",  # and cip inside
        frozenset({enip.PORT, enip.IO_PORT}),
        enip.datagram,
        recognise=enip.recognise,
        opens=lambda _: enip.EnipStream(),
        resumes=enip.EnipStream,
    ),
    Protocol("dhcp", frozenset({67, 68}), dhcp.datagram),
    Protocol("dhcpv6", frozenset({dhcpv6.CLIENT_PORT, dhcpv6.SERVER_PORT}), dhcpv6.datagram),
    Protocol("ntp", frozenset({ntp.PORT}), ntp.datagram),
    Protocol("ssdp", frozenset({ssdp.PORT}), ssdp.datagram),
)

_DATAGRAMS = tuple((p.name, p.datagram) for p in PROTOCOLS if p.datagram)
_STREAMS = tuple((p, p.recognise, p.opens) for p in PROTOCOLS if p.recognise and p.opens)
_STREAMS_BY_PORT = MappingProxyType(  # the usual ones of a port are asked first
    {
        port: tuple(sorted(_STREAMS, key=lambda stream: port not in stream[0].ports))
        for protocol, _, _ in _STREAMS
        for port in protocol.ports
    }
)
_BY_PORT: Mapping[int, tuple[str, Callable[[bytes, int, int], Datagram | None]]] = MappingProxyType(
    {port: (p.name, p.datagram) for p in PROTOCOLS if p.datagram for port in p.ports}
)


def dissect_datagram(payload: bytes, src_port: int, dst_port: int) -> Datagram:
    """What one UDP datagram says.

    What no protocol recognises is one message of protocol "unknown". Raises Malformed for what is
    on a protocol's usual port and is neither that protocol nor surely another.
    """
    found = _dissected(payload, src_port, dst_port)
    return found if found.part is None else put_together(found.part)


def _dissected(payload: bytes, src_port: int, dst_port: int) -> Datagram:
    usual = _BY_PORT.get(dst_port) or _BY_PORT.get(src_port)
    broken: Malformed | None = None
    if usual is not None:
        try:
            found = usual[1](payload, src_port, dst_port)
        except Malformed as error:
            broken = error
        else:
            if found is not None:
                return found if found.messages else found._replace(protocol=usual[0])
    for name, candidate in _DATAGRAMS:
        if usual is not None and name == usual[0]:
            continue
        try:
            found = candidate(payload, src_port, dst_port)
        except Malformed as error:
            broken = broken or error
        else:
            if found is not None:
                return found if found.messages else found._replace(protocol=name)
    if broken is not None:
        raise broken
    return _UNKNOWN_DATAGRAM


class Stream:
    """What one client sends over TCP, in order. Once it has raised Malformed it is not used again."""

    __slots__ = ("_depth", "_fed", "_found", "_port", "_released", "_resumed", "_seen", "_settled")

    def __init__(self, server_port: int, resumed: bool = False, depth: int = 0) -> None:
        self._port = server_port
        self._depth = depth  # how many others it is carried in
        self._resumed = resumed
        self._seen = b""  # what did not suffice to recognise a protocol
        self._found: StreamDissector | None = None
        self._fed = 0
        self._released = 0
        self._settled = False

    def feed(self, data: bytes) -> Fed:
        """The next bytes of the stream. Raises Malformed."""
        self._fed += len(data)
        if self._settled:
            return Fed((), self._fed, settled=True)
        if self._found is None:
            self._seen += data
            data = self._seen
            self._found, self._settled = self._recognise()
            if self._found is None:
                return self._unknown() if self._settled else Fed((), 0)
            self._seen = b""
        fed = self._found.feed(data)
        _, self._released, self._settled = fed
        if self._settled:
            self._found = None
        return fed

    @property
    def reserved(self) -> int:
        """Bytes that its dissector keeps beside what it has not reported yet, roughly."""
        return getattr(self._found, "reserved", 0)

    def decide(self) -> Fed:
        """Nothing more comes that could tell which protocol this is."""
        if self._found is not None or self._settled:
            return Fed((), self._released, self._settled)
        self._settled = True
        return self._unknown()

    def end(self) -> Fed:
        """No more will come. Raises Malformed for the beginning of a message; too little is unknown."""
        if self._settled or self._released == self._fed:
            return Fed((), self._fed, settled=True)
        if self._found is not None:
            raise Malformed(f"the stream ended inside the message at offset {self._released}")
        self._settled = True
        return self._unknown()

    def close(self) -> None:
        """It will not be used again: keep nothing."""
        self._settled, self._found, self._seen = True, None, b""

    def _unknown(self) -> Fed:
        self._seen = b""
        return Fed(_UNKNOWN_STREAM, self._fed, settled=True)

    def _recognise(self) -> tuple[StreamDissector | None, bool]:
        """The dissector for what was seen so far; without one, whether nobody will ever know it."""
        if self._depth > _INSIDE_AT_MOST:
            return None, True
        seen, port = self._seen, self._port
        for protocol, recognise, opens in _STREAMS_BY_PORT.get(port, _STREAMS):
            answer = recognise(seen, port)
            if answer:
                return opens(partial(Stream, port, depth=self._depth + 1)), False
            if answer is None and len(seen) <= _UNDECIDED_AT_MOST:
                return None, False  # so that it is the same one however the stream is cut
            if answer is False and self._resumed and protocol.resumes and port in protocol.ports:
                return protocol.resumes(), False
        return None, True


def open_stream(server_port: int, resumed: bool = False) -> Stream:
    """A dissector for what a client sends to `server_port` over TCP.

    `resumed`: the bytes that it is fed do not begin with the connection's first.
    """
    return Stream(server_port, resumed)
