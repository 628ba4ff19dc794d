"""Services that are executed are told apart by their names, in what is learnt and in what is judged."""

import pytest

from controller.dpi.message import Message, Operation
from controller.model.relationship import DeviceId, Endpoint
from controller.model.resource import LONGEST, asked
from controller.verdicts import VerdictTable

PLC = Endpoint("tcp", 44818)


def resource(message: Message) -> str:
    return VerdictTable().access(DeviceId("panel"), DeviceId("plc"), PLC, message).resource


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (Message("cip", "Stop", Operation.EXECUTE, "class 0x8E instance 1"), "Stop class 0x8E instance 1"),
        (Message("cip", "Start", Operation.EXECUTE, "class 0x8E instance 1"), "Start class 0x8E instance 1"),
        (Message("soap", "SetTarget", Operation.EXECUTE, "urn:x:Switch:1"), "SetTarget urn:x:Switch:1"),
        (Message("modbus", "Function 90", Operation.EXECUTE, "unit 1"), "Function 90 unit 1"),
        (Message("ntp", "private request 42", Operation.EXECUTE, ""), "private request 42"),
        (Message("http", "POST", Operation.EXECUTE, "/door/123456"), "/door/{number}"),
        (Message("http", "PURGE", Operation.EXECUTE, "/a"), "PURGE /a"),
        (Message("coap", "POST", Operation.EXECUTE, "/door"), "/door"),
        (Message("cip", "Get_Attribute_List", Operation.READ, "Identity"), "Identity"),
    ],
)
def test_what_executes_is_known_by_its_name(message: Message, expected: str) -> None:
    assert resource(message) == expected


def test_a_name_of_any_length_is_kept_short_and_unlike_others() -> None:
    found = {asked("soap", "x" * size, "execute", "urn:y") for size in (300, 301, 302)}
    assert len(found) == 3
    assert max(map(len, found)) <= LONGEST


@pytest.mark.parametrize(
    ("protocol", "resource"),
    [
        ("opcua", "ns=2;s=Pump1.Speed"),
        ("opcua", "AccessLevel of ns=2;g=72962b91-fa75-4ae6-8d28-b404dc7daf63"),
        ("opcua", "ns=4;i=123456"),
        ("bacnet", "analog-input 100012 present-value"),
        ("cip", "route 1/0 Program:Main.Array[100000]"),
        ("s7", "DB100.DBX12345.0 BYTE 4"),
        ("iec104", "station 37133 point 10010"),
        ("dnp3", "station 65519 g12v1 point 34463"),
        ("knx", "1/3/5"),
        ("amqp", "exchange logs key device.123456"),
    ],
)
def test_numbers_that_name_a_thing_stay(protocol: str, resource: str) -> None:
    assert asked(protocol, "Read", "read", resource) == resource
