from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.dpi.bacnet import datagram
from controller.dpi.bacnet_names import OBJECTS, PROPERTIES
from controller.dpi.dissector import Datagram
from controller.dpi.message import Malformed, Operation
from tests.unit.dpi.captures import CAPTURES, messages, needs_captures, shown, trees

PORT: Final = 47808
ROUTED: Final = "01 24 000d 01 3d ff"  # to station 61 of network 13, an answer is expected
Said = list[tuple[str, str, str]]


def link(body: str, function: int = 0x0A) -> bytes:
    raw = bytes.fromhex(body)
    return bytes([0x81, function]) + (4 + len(raw)).to_bytes(2, "big") + raw


def confirmed(service: int, parameters: str, header: str = "01 04") -> bytes:
    return link(f"{header} 00 05 01 {service:02x} {parameters}")


def unconfirmed(service: int, parameters: str, header: str = "01 00") -> bytes:
    return link(f"{header} 10 {service:02x} {parameters}", 0x0B)


def said(raw: bytes) -> Said:
    found = datagram(raw, PORT, PORT)
    assert found is not None
    assert not found.answer
    assert all(message.protocol == "bacnet" for message in found.messages)
    return [(m.verb, m.operation.value, m.resource) for m in found.messages]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [  # most parameters are the examples of annex F
        (confirmed(0, "0901 1c00000002 2903"), [("AcknowledgeAlarm", "execute", "analog-input 2")]),
        (
            confirmed(1, "0912 1c02000004 2c0000000a 3900 4e 0955 2e 4442820000 2f 096f 2e 820400 2f 4f"),
            [("ConfirmedCOVNotification", "notify", "analog-input 10")],
        ),
        (confirmed(3, ""), [("GetAlarmSummary", "read", "")]),
        (confirmed(5, "0912 1c0000000a 2901 3900"), [("SubscribeCOV", "subscribe", "analog-input 10")]),
        (confirmed(5, "0912 1c0000000a"), [("SubscribeCOV", "unsubscribe", "analog-input 10")]),
        (confirmed(6, "c402800001 0e 3100 211b 0f"), [("AtomicReadFile", "read", "file 1")]),
        (confirmed(7, "c402800001 0e 3100 63686973 0f"), [("AtomicWriteFile", "write", "file 1")]),
        (
            confirmed(8, "0c02c00003 1935 3e 0e 0c00000009 1955 0f 3f"),
            [("AddListElement", "write", "group 3 list-of-group-members")],
        ),
        (confirmed(10, "0e 090a 0f 1e 094d 2e 7503005431 2f 1f"), [("CreateObject", "write", "file")]),
        (confirmed(10, "0e 1c02800005 0f"), [("CreateObject", "write", "file 5")]),
        (confirmed(11, "c402c00006"), [("DeleteObject", "delete", "group 6")]),
        (confirmed(12, "0c00000005 1955"), [("ReadProperty", "read", "analog-input 5 present-value")]),
        (confirmed(12, "0c02000061 194c 2900"), [("ReadProperty", "read", "device 97 object-list[0]")]),
        (
            confirmed(12, "0c20400005 1a0200"),
            [("ReadProperty", "read", "object-type-129 5 property-512")],
        ),
        (
            confirmed(14, "0c00000010 1e 0955 0967 1f 0c00000021 1e 0957 1908 1f"),
            [
                ("ReadPropertyMultiple", "read", "analog-input 16 present-value"),
                ("ReadPropertyMultiple", "read", "analog-input 16 reliability"),
                ("ReadPropertyMultiple", "read", "analog-input 33 priority-array[8]"),
            ],
        ),
        (
            confirmed(15, "0c00800001 1955 3e 4443340000 3f 4908"),
            [("WriteProperty", "write", "analog-value 1 present-value")],
        ),
        (
            confirmed(16, "0c00800005 1e 0955 2e 4442860000 2f 0955 2e 4442860000 2f 3908 1f"),
            [("WritePropertyMultiple", "write", "analog-value 5 present-value")] * 2,
        ),
        (
            confirmed(17, "0905 1901 2d08 0023656762646621"),
            [("DeviceCommunicationControl", "execute", "disable")],
        ),
        (confirmed(18, "0919 1908 2e"), [("ConfirmedPrivateTransfer", "execute", "vendor 25 service 8")]),
        (confirmed(20, "0901 1d09004162436445666748"), [("ReinitializeDevice", "execute", "warmstart")]),
        (confirmed(20, "0909"), [("ReinitializeDevice", "execute", "state 9")]),
        (confirmed(26, "0c05000001 1983 7e 3e 3f 7f"), [("ReadRange", "read", "trend-log 1 log-buffer")]),
        (
            confirmed(27, "0912 1c004d444c 2904 3c05400001"),
            [("LifeSafetyOperation", "execute", "life-safety-point 1")],
        ),
        (
            confirmed(28, "0912 1c0000000a 2901 393c 4e 0955 4f 5c3f800000"),
            [("SubscribeCOVProperty", "subscribe", "analog-input 10 present-value")],
        ),
        (
            confirmed(28, "0912 1c0000000a 4e 0955 4f"),
            [("SubscribeCOVProperty", "unsubscribe", "analog-input 10 present-value")],
        ),
        (
            confirmed(30, "0912 1901 293c 4e 0c0000000a 1e 0e 0955 0f 1c3f800000 2901 0e 0967 0f 2901 1f 4f"),
            [
                ("SubscribeCOVPropertyMultiple", "subscribe", "analog-input 10 present-value"),
                ("SubscribeCOVPropertyMultiple", "subscribe", "analog-input 10 reliability"),
            ],
        ),
        (
            confirmed(31, "0912 1c02000004 2905 4e 0c0000000a 1e 0955 2e 4442820000 2f 1f 4f"),
            [("ConfirmedCOVNotificationMultiple", "notify", "analog-input 10")],
        ),
        (confirmed(99, "0100"), [("Confirmed Service 99", "execute", "")]),
        (
            confirmed(12, "0c00000005 1955", ROUTED),
            [("ReadProperty", "read", "network 13 station 61 analog-input 5 present-value")],
        ),
        (
            confirmed(12, "0c00000005 1955", "01 2c 000d 06 0a00000ABAC0 0002 01 05 ff"),
            [("ReadProperty", "read", "network 13 station 0a00000abac0 analog-input 5 present-value")],
        ),
        (unconfirmed(0, "c402000001 2201e0 9101 2163"), [("I-Am", "announce", "device 1")]),
        (
            unconfirmed(1, "c402000008 c400000003 7507004f4154656d70"),
            [("I-Have", "announce", "analog-input 3")],
        ),
        (unconfirmed(7, "3d07004f4154656d70"), [("Who-Has", "lookup", '"OATemp"')]),
        (unconfirmed(7, "0900 1a3fff 2c00000003"), [("Who-Has", "lookup", "analog-input 3")]),
        (unconfirmed(8, ""), [("Who-Is", "lookup", "")]),
        (unconfirmed(8, "0903 1903", "01 20 ffff 00 ff"), [("Who-Is", "lookup", "device 3")]),
        (unconfirmed(8, "0901 1a0fff"), [("Who-Is", "lookup", "device 1-4095")]),
        (unconfirmed(6, "a45c0b1103 b4111e0000"), [("TimeSynchronization", "write", "")]),
        (unconfirmed(10, "0a04d2 1908 2e 0a010c 1c00000000 2f"), [("WriteGroup", "write", "group 1234")]),
        (unconfirmed(200, ""), [("Unconfirmed Service 200", "execute", "")]),
        (link("01 80 00 0005"), [("Who-Is-Router-To-Network", "lookup", "network 5")]),
        (link("01 80 00"), [("Who-Is-Router-To-Network", "lookup", "")]),
        (link("01 80 12"), [("What-Is-Network-Number", "lookup", "")]),
        (link("01 80 90 0102"), [("Network Message 144", "execute", "")]),
        (link("0a000005bac0 01 00 10 08", 0x04), [("Who-Is", "lookup", "")]),
        (link("01 00 10 08", 0x09), [("Who-Is", "lookup", "")]),
        (link("0a000005bac0 ffffff00", 0x01), [("Write-Broadcast-Distribution-Table", "write", "")]),
        (link("", 0x02), [("Read-Broadcast-Distribution-Table", "read", "")]),
        (link("003c", 0x05), [("Register-Foreign-Device", "register", "")]),
        (link("0a000005bac0", 0x08), [("Delete-Foreign-Device-Table-Entry", "delete", "10.0.0.5:47808")]),
        (link("00112233", 0x0C), [("Secure-BVLL", "connect", "")]),
    ],
)  # fmt: skip
def test_services(raw: bytes, expected: Said) -> None:
    assert said(raw) == expected


@pytest.mark.parametrize(
    "raw",
    [
        link("01 00 20 05 0f"),  # SimpleACK
        link("01 00 30 01 0c 0c00000005 1955 3e 4442 9a70a4 3f"),
        link("01 00 40 01 02 04"),
        link("01 00 50 01 0c 9101 911f"),
        link("01 00 60 01 09"),
        link("01 00 70 01 04"),
        link("01 80 03 01 0005"),
        link("01 80 07 00"),
        link("0000", 0x00),
        link("", 0x03),
    ],
)
def test_answers_ask_for_nothing(raw: bytes) -> None:
    assert datagram(raw, PORT, PORT) == Datagram((), answer=True)


def test_what_is_said_beside_the_resource() -> None:
    for raw, detail in (
        (confirmed(15, "0c00800001 1955 3e 4443340000 3f 4908"), {"priority": 8}),
        (confirmed(5, "0912 1c0000000a"), {"process": 18, "cancelled": True}),
        (unconfirmed(7, "0901 1a0fff 3d0300 4142"), {"devices": "1-4095"}),
        (unconfirmed(1, "c402000008 c400000003 7503004142"), {"device": "device 8", "name": "AB"}),
        (
            unconfirmed(2, "0912 1c02000004 2c0000000a 3900 4e 0955 2e 4442820000 2f 4f"),
            {"process": 18, "device": "device 4"},
        ),
    ):
        found = datagram(raw, PORT, PORT)
        assert found is not None
        assert found.messages[0].detail == detail


def test_a_request_in_segments_is_on_no_object_that_one_can_be_sure_of() -> None:
    whole = "0c00800001 1955 3e 4443340000 3f"
    for flags, segment in (("0c", 0), ("08", 1)):
        found = datagram(link(f"01 04 {flags} 75 01 {segment:02x} 04 10 {whole}"), PORT, PORT)
        assert found is not None
        (message,) = found.messages
        assert (message.verb, message.operation, message.resource) == (
            "WritePropertyMultiple", Operation.WRITE, "(in segments)",
        )  # fmt: skip
        assert message.detail == {"segment": segment, "more": flags == "0c"}


@pytest.mark.parametrize(
    "raw",
    [
        b"\x81",
        b"\x81\x0a",
        link("01 00 10 08")[:-1],
        link("01 00 10 08") + b"\0",
        link("", 0x0D),
        confirmed(14, "0c00000010 1e" + "0955" * 800 + "1f"),
        link("02 00 10 08"),
        link("01 50 10 08"),
        link("01 20 000d 07 01 ff"),
        link("01 00"),
        link("01 00 80"),
        confirmed(12, "0c00000005"),
        confirmed(12, "0c000005 1955"),
        confirmed(12, "1c00000005 1955"),
        confirmed(12, "0c00000005 18"),
        confirmed(12, "0c00000005 1955 0f"),
        confirmed(12, "0c00000005 1955 0e"),
        confirmed(14, "0c00000010 1e 0955"),
        confirmed(14, "0c00000010 1e 0955 2f"),
        confirmed(15, "0c00800001 1955 4443340000"),
        confirmed(15, "0c00800001 1955 3e 4443340000 4f"),
        confirmed(15, "0c00800001 1955 3e" + "0e" * 30),
        confirmed(10, "0e 090a"),
        confirmed(6, "c60000 0001"),
        unconfirmed(8, "0903"),
        unconfirmed(8, "0903 1903 2903"),
    ],
)
def test_broken_messages_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="bacnet"):
        datagram(raw, PORT, PORT)


def test_on_other_ports_only_what_is_surely_bacnet() -> None:
    assert datagram(unconfirmed(8, ""), 47809, 50000) == datagram(unconfirmed(8, ""), PORT, PORT)
    assert datagram(unconfirmed(8, "0903"), 47809, 50000) is None
    assert datagram(link("003c", 0x05), 47809, 50000) is None
    assert datagram(b"", 47809, 50000) is None


def test_a_client_may_happen_to_ask_from_that_port() -> None:
    for raw in (b"", b"\x82" + link("01 00 10 08")[1:], b"something else"):
        assert datagram(raw, PORT, 9999) is None
        assert datagram(raw, 9999, PORT) is None


def test_names_stand_at_their_numbers() -> None:
    assert (OBJECTS[8], OBJECTS[64], PROPERTIES[85], PROPERTIES[511]) == (
        "device", "color-temperature", "present-value", "issuer-certificate-files",
    )  # fmt: skip
    assert len(set(PROPERTIES)) == len(PROPERTIES) - PROPERTIES.count("-") + 1


DATAGRAMS: Final = (
    (PORT, confirmed(14, "0c00000010 1e 0955 0967 1f 0c00000021 1e 0957 1908 1f")),
    (PORT, confirmed(16, "0c00800005 1e 0955 2e 4442860000 2f 0955 2e 4442860000 2f 3908 1f", ROUTED)),
    (PORT, confirmed(30, "0912 1901 293c 3905 4e 0c0000000a 1e 0e 0955 0f 1c3f800000 2901 1f 4f")),
    (PORT, unconfirmed(0, "c402000001 2201e0 9101 2163")),
    (PORT, unconfirmed(7, "3d07004f4154656d70")),
)


@given(st.integers(0, 40), st.binary(max_size=60))
def test_any_parameters_are_read_or_malformed(service: int, parameters: bytes) -> None:
    for raw in (confirmed(service, parameters.hex()), unconfirmed(service, parameters.hex())):
        try:
            assert datagram(raw, PORT, PORT)
        except Malformed:
            continue


ON_PROPERTIES: Final = {8, 9, 12, 14, 15, 16, 26, 28, 30}  # confirmed services
ON_OBJECTS: Final = {0, 1, 2, 5, 6, 7, 11, 19, 27, 31}
ENOUGH: Final = 800  # frames of a capture: the longest goes on with the same
WITH_DEVICE: Final = {1, 2, 31}  # before the object stands who says so


def objects(tree_shows: list[tuple[str, str]]) -> list[str]:
    """Objects with their properties, by number, in the order in which they come."""
    found: list[str] = []
    for name, value in tree_shows:
        match name:
            case "bacapp.objectType":
                found.append(value)
            case "bacapp.instance_number" if found and " " not in found[-1]:
                found[-1] += f" {value}"
            case "bacapp.property_identifier" if found:
                found.append(f"{' '.join(found[-1].split()[:2])} {value}")
    return found


@needs_captures
@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("bacnet_test", 0),
        ("bacnet-stack-services", 5),  # another network version; without an application message
        ("bacnet_error_reject_abort", 1),  # an opening tag where the closing one should be
        ("bacnet_example", 240),  # the length in the header is not that of the datagram
        ("bacnet_segmented_data", 0),
    ],
)
def test_agrees_with_tshark(name: str, refused: int) -> None:
    (path,) = CAPTURES.glob(f"bacnet/*__{name}.pcap")
    malformed: list[int] = []
    mine: dict[int, tuple[str, list[str]]] = {}
    for number, message in messages(path, malformed):
        if message.protocol == "bacnet" and number <= ENOUGH:
            mine.setdefault(number, (message.verb, []))[1].append(message.resource)
    assert len(malformed) == refused, malformed
    compared = 0
    asked = f"udp && bacapp.type < 2 && !_ws.malformed && frame.number <= {ENOUGH}"
    for number, tree in trees(path, asked, "bacapp"):
        if number in malformed:
            continue
        compared += 1
        services = shown(tree, "bacapp.confirmed_service") + shown(tree, "bacapp.unconfirmed_service")
        (shown_name,) = [
            f.get("showname", "").split(": ")[1].split(" ")[0] for f in tree.iter("field")
            if f.get("name") in ("bacapp.confirmed_service", "bacapp.unconfirmed_service")
        ]  # fmt: skip
        verb, resources = mine.pop(number)
        assert verb.lower().replace("vt-", "vt") == shown_name.lower()
        if not shown(tree, "bacapp.confirmed_service"):
            continue
        service = int(services[0])
        walked = [(field.get("name", ""), field.get("show", "")) for field in tree.iter("field")]
        theirs = objects(walked)
        if service in ON_PROPERTIES:
            theirs = [text for text in theirs if text.count(" ") == 2]
        elif service in ON_OBJECTS:
            theirs = theirs[1:2] if service in WITH_DEVICE else theirs[:1]
        else:
            continue
        assert [numbers(resource) for resource in resources] == theirs, number
    left = {verb for verb, _ in mine.values()}
    assert compared
    assert not any(verb in VERBS for verb in left), left


VERBS: Final = {"ReadProperty", "WriteProperty", "Who-Is", "I-Am"}


def numbers(resource: str) -> str:
    """A resource with numbers instead of names."""
    words = resource.partition("[")[0].split()
    if words[0] == "network":
        words = words[4:]
    words[0] = str(OBJECTS.index(words[0]))
    if len(words) == 3:
        words[2] = str(PROPERTIES.index(words[2]))
    return " ".join(words)
