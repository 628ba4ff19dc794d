"""The line between controller and inspector: everything that can be said arrives as it was said."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi.message import Operation
from controller.events import (
    ConnectionSettled,
    InspectorCounters,
    InspectorUp,
    LeaseSeen,
    NameSeen,
    Observed,
    RefusalWanted,
    ServiceAnnounced,
    UpdateTable,
)
from controller.inspector import link
from controller.model.relationship import ANY, Access, DeviceId, Endpoint, Reason, ServiceId
from controller.verdicts import (
    Delta,
    SetAddress,
    SetDevice,
    SetGrant,
    SetNetworks,
    SetService,
    VerdictTable,
)

WASHER, BATTERY = DeviceId("washer"), DeviceId("battery")
ACCESS = Access(ServiceId("washer/main"), ServiceId("battery/tcp-80"), "http", Operation.READ, "/charge")
DELTAS: tuple[Delta, ...] = (
    SetNetworks(("10.0.0.0/8", "fe80::/10")),
    SetDevice(WASHER, young=True),
    SetDevice(DeviceId("@internet"), asks_nothing=True),
    SetDevice(BATTERY, gone=True),
    SetAddress("10.0.0.1", (WASHER,)),
    SetAddress("10.0.0.9", ()),
    SetService(ServiceId("battery/tcp-80"), BATTERY, "tcp-80", True, (Endpoint("tcp", 80),)),
    SetGrant(ACCESS, True, until=12.5, once=True),
    SetGrant(Access(ACCESS.client, ACCESS.server, ANY, ANY, ANY), None),
)
EVENTS: tuple[link.ToController, ...] = (
    link.Hello(link.VERSION, 17),
    InspectorUp(17),
    Observed(
        client=WASHER,
        server=DeviceId("@203.0.113.7"),
        client_address="10.0.0.1",
        server_address="203.0.113.7",
        endpoint=Endpoint("tcp", 80),
        access=ACCESS,
        verb="GET",
        identity="waschmaschine ü",
        service=None,
        allowed=False,
        reason=Reason.NEW_PARTNER,
        time=1.25,
        count=3,
        consumed=True,
    ),
    ConnectionSettled("10.0.0.1", 40000, "10.0.0.2", 443),
    RefusalWanted("10.0.0.1", "10.0.0.2", Endpoint("udp", 5683)),
    NameSeen("battery.example", "203.0.113.7", 60),
    LeaseSeen("02:00:00:00:00:01", "10.0.0.1", "washer", None),
    ServiceAnnounced(WASHER, Endpoint("tcp", 80), "Washer", "_http._tcp"),
    InspectorCounters({"messages": 3}),
)


def _greeted(decoder: link.Decoder[link.M], hello: bytes) -> link.Decoder[link.M]:
    decoder.feed(hello)
    decoder.next()
    return decoder


def _for_inspector() -> link.Decoder[link.ToInspector]:
    return _greeted(link.inspector_decoder(), link.to_inspector(link.Hello(link.VERSION, 1)))


def test_every_message_to_the_inspector_arrives_as_it_was_sent() -> None:
    said: tuple[link.ToInspector, ...] = (
        link.Ports((link.SwitchPorts(1, "s1-gwi0", "s1-gwc0"),)),
        link.Settings(reveal_intent=False),
        link.TablePart(3, DELTAS, whole=True, last=True),
        link.Ping(),
        link.Stop(),
    )
    decoder = _for_inspector()
    for message in said:
        decoder.feed(link.to_inspector(message))
        assert decoder.next() == message
    assert decoder.next() is None


def test_every_message_to_the_controller_arrives_as_it_was_sent() -> None:
    decoder = link.controller_decoder()
    for message in (*EVENTS, link.Pong()):
        decoder.feed(link.to_controller(message))
        assert decoder.next() == message


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30))
def test_messages_survive_being_cut_anywhere(cuts: list[int]) -> None:
    data = b"".join(link.to_controller(message) for message in EVENTS)
    decoder = link.controller_decoder()
    got: list[link.ToController] = []
    while data:
        size = cuts[len(got) % len(cuts)]
        decoder.feed(data[:size])
        data = data[size:]
        while (message := decoder.next()) is not None:
            got.append(message)
    assert tuple(got) == EVENTS


@given(st.binary(max_size=200))
def test_garbage_raises_link_error_and_nothing_else(data: bytes) -> None:
    decoder = link.inspector_decoder()
    decoder.feed(data)
    with suppress(link.LinkError):
        assert decoder.next() is None


def test_another_version_is_refused_with_a_remedy() -> None:
    decoder = link.controller_decoder()
    decoder.feed(link.to_controller(link.Hello(link.VERSION + 1, 4711)))
    with pytest.raises(
        link.LinkError, match=rf"process 4711 speaks version {link.VERSION + 1}.*restart both"
    ):
        decoder.next()


def test_the_first_message_has_to_be_a_hello() -> None:
    decoder = link.controller_decoder()
    decoder.feed(link.to_controller(InspectorUp(1)))
    with pytest.raises(link.LinkError, match="hello"):
        decoder.next()


def test_a_message_that_is_too_long_is_refused_before_it_is_read() -> None:
    decoder = link.inspector_decoder()
    decoder.feed((link.LARGEST + 1).to_bytes(4))
    with pytest.raises(link.LinkError, match="at most"):
        decoder.next()


def test_what_cannot_be_said_is_a_link_error() -> None:
    with pytest.raises(link.LinkError):
        link.to_controller(NameSeen("\udc80", "203.0.113.7", 60))
    with pytest.raises(link.LinkError):
        link.to_controller(NameSeen("n" * link.LARGEST, "203.0.113.7", 60))


def test_an_error_does_not_repeat_what_was_observed() -> None:
    decoder = _for_inspector()
    body = b'{"kind":"settings","reveal_intent":"door code 1234"}'
    decoder.feed(len(body).to_bytes(4) + body)
    with pytest.raises(link.LinkError) as failure:
        decoder.next()
    assert "1234" not in str(failure.value)


def _grants(count: int) -> tuple[SetGrant, ...]:
    return tuple(
        SetGrant(
            Access(ServiceId(f"d{i % 40}/main"), ServiceId("b/tcp-80"), "http", Operation.READ, f"/{i}"), True
        )
        for i in range(count)
    )


@pytest.mark.parametrize("count", [0, 1, link.DELTAS_PER_PART, link.DELTAS_PER_PART + 1, 3000])
def test_a_table_in_parts_is_the_same_table(count: int) -> None:
    update = UpdateTable(5, _grants(count), whole=True)
    decoder, table, ends = _for_inspector(), VerdictTable(), []
    for part in link.parts(update):
        decoder.feed(link.to_inspector(part))
        got = decoder.next()
        assert isinstance(got, link.TablePart)
        assert (got.version, got.whole) == (5, True)
        ends.append(got.last)
        for delta in got.deltas:
            table.apply(delta)
    assert ends == [False] * (len(ends) - 1) + [True]
    assert tuple(table.deltas())[1:] == update.deltas
