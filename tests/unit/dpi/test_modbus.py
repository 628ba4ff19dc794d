import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU
from pymodbus.pdu.bit_message import ReadCoilsRequest, WriteMultipleCoilsRequest, WriteSingleCoilRequest
from pymodbus.pdu.diag_message import ReturnQueryDataRequest
from pymodbus.pdu.file_message import (
    FileRecord,
    ReadFifoQueueRequest,
    ReadFileRecordRequest,
    WriteFileRecordRequest,
)
from pymodbus.pdu.mei_message import ReadDeviceInformationRequest
from pymodbus.pdu.other_message import (
    GetCommEventCounterRequest,
    GetCommEventLogRequest,
    ReadExceptionStatusRequest,
    ReportDeviceIdRequest,
)
from pymodbus.pdu.pdu import ModbusPDU
from pymodbus.pdu.register_message import (
    MaskWriteRegisterRequest,
    ReadHoldingRegistersRequest,
    ReadInputRegistersRequest,
    ReadWriteMultipleRegistersRequest,
    WriteMultipleRegistersRequest,
    WriteSingleRegisterRequest,
)

from controller.dpi.message import Malformed, Message, Operation
from controller.dpi.modbus import ModbusStream

CAPTURES = Path(__file__).parents[4] / "shared" / "captures" / "modbus_tcp"
READ, WRITE, EXECUTE = Operation.READ, Operation.WRITE, Operation.EXECUTE


def adu(pdu: str, unit: int = 1) -> bytes:
    raw = bytes.fromhex(pdu)
    return bytes.fromhex("00070000") + (len(raw) + 1).to_bytes(2, "big") + bytes([unit]) + raw


def said(raw: bytes) -> list[tuple[str, Operation, str]]:
    fed = ModbusStream().feed(raw)
    assert fed.released == len(raw)
    assert not fed.settled
    return [(m.verb, m.operation, m.resource) for m in fed.messages]


@pytest.mark.parametrize(
    ("pdu", "expected"),
    [
        ("01 0010 0010", ("Read Coils", READ, "coils 16-31")),
        ("02 0000 0001", ("Read Discrete Inputs", READ, "discrete inputs 0-0")),
        ("03 006b 0003", ("Read Holding Registers", READ, "holding registers 107-109")),
        ("04 ffff 0001", ("Read Input Registers", READ, "input registers 65535-65535")),
        ("05 00ac ff00", ("Write Single Coil", WRITE, "coils 172-172")),
        ("06 0001 0003", ("Write Single Register", WRITE, "holding registers 1-1")),
        ("07", ("Read Exception Status", READ, "exception status")),
        ("08 0004 0000", ("Diagnostics", EXECUTE, "diagnostics 4")),
        ("08 0000 a537 1234", ("Diagnostics", EXECUTE, "diagnostics 0")),
        ("0b", ("Get Comm Event Counter", READ, "comm event counter")),
        ("0c", ("Get Comm Event Log", READ, "comm event log")),
        ("0f 0013 000a 02 cd01", ("Write Multiple Coils", WRITE, "coils 19-28")),
        ("10 0001 0002 04 000a0102", ("Write Multiple Registers", WRITE, "holding registers 1-2")),
        ("11", ("Report Server ID", READ, "server id")),
        ("14 07 06 0004 0001 0002", ("Read File Record", READ, "file 4 records 1-2")),
        ("15 0d 06 0004 0007 0003 06af04be100d", ("Write File Record", WRITE, "file 4 records 7-9")),
        ("16 0004 00f2 0025", ("Mask Write Register", WRITE, "holding registers 4-4")),
        ("18 04de", ("Read FIFO Queue", READ, "fifo queue 1246")),
        ("2b 0e 01 00", ("Read Device Identification", READ, "device identification")),
        ("2b 0d 0102", ("CANopen General Reference", EXECUTE, "encapsulated interface 13")),
        ("2b 63", ("Encapsulated Interface Transport", EXECUTE, "encapsulated interface 99")),
    ],
)
def test_public_functions(pdu: str, expected: tuple[str, Operation, str]) -> None:
    verb, operation, resource = expected
    assert said(adu(pdu)) == [(verb, operation, f"unit 1 {resource}")]
    (message,) = ModbusStream().feed(adu(pdu)).messages
    assert message.detail == {"function": int(pdu[:2], 16)}
    assert message.protocol == "modbus"


def test_function_23_writes_and_reads() -> None:
    assert said(adu("17 0003 0006 000e 0003 06 00ff00ff00ff", unit=9)) == [
        ("Read/Write Multiple Registers", WRITE, "unit 9 holding registers 14-16"),
        ("Read/Write Multiple Registers", READ, "unit 9 holding registers 3-8"),
    ]


@pytest.mark.parametrize("function", [9, 65, 72, 90, 100, 110, 127])
def test_other_functions_are_executed_by_the_unit(function: int) -> None:
    assert said(adu(f"{function:02x} 01020304")) == [(f"Function {function}", EXECUTE, "unit 1")]


def test_groups_of_a_file_request_are_messages() -> None:
    assert [m[2] for m in said(adu("14 0e 06 0004 0001 0002 06 0003 0009 0002"))] == [
        "unit 1 file 4 records 1-2", "unit 1 file 3 records 9-10",
    ]  # fmt: skip


THREE = adu("01 0010 0010") + adu("10 0001 0002 04 000a0102") + adu("17 0003 0006 000e 0001 02 00ff")


def test_several_requests_in_one_segment() -> None:
    assert len(said(THREE)) == 4


def test_split_anywhere() -> None:
    whole = ModbusStream().feed(THREE)
    ends = {0, 12, 12 + 17, len(THREE)}
    for cut in range(len(THREE) + 1):
        stream = ModbusStream()
        first, second = stream.feed(THREE[:cut]), stream.feed(THREE[cut:])
        assert first.messages + second.messages == whole.messages
        assert first.released == max(end for end in ends if end <= cut)
        assert second.released == len(THREE)
    stream = ModbusStream()
    single: tuple[Message, ...] = ()
    for byte in THREE:
        single += stream.feed(bytes([byte])).messages
    assert single == whole.messages


@pytest.mark.parametrize(
    "raw",
    [
        bytes.fromhex("0001 0001 0006 01 0100000001"),  # protocol id
        bytes.fromhex("0001 0000 0001 01"),  # length
        bytes.fromhex("0001 0000 00ff 01"),
        b"GET / HTTP/1.1\r\n",
        adu("00"),
        adu("81 01"),
        adu("01 0010 0010 00"),
        adu("01 0010 00"),
        adu("01 0010 0000"),
        adu("01 ffff 0002"),
        adu("05 0010"),
        adu("06 0010 0000 00"),
        adu("07 00"),
        adu("08 00"),
        adu("08 0000 0000 00"),
        adu("0f 0013 000a 02 cd"),
        adu("0f 0013 000a 01 cd"),
        adu("0f 0013"),
        adu("10 0001 0002 02 000a"),
        adu("10 0001 0002 04 000a010203"),
        adu("14 00"),
        adu("14 07 05 0004 0001 0002"),
        adu("14 06 06 0004 0001 00"),
        adu("14"),
        adu("15 09 06 0004 0007 0003 06af"),
        adu("16 0004 00f2"),
        adu("17 0003 0006 000e 0003 06 00ff00ff00"),
        adu("17 0003 0006"),
        adu("18 04"),
        adu("2b"),
        adu("2b 0e 01"),
    ],
)
def test_broken_requests_are_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed, match="modbus"):
        ModbusStream().feed(raw)


@pytest.mark.parametrize(
    ("raw", "port", "expected"),
    [
        (b"", 502, None),
        (adu("5a 00"), 502, True),
        (adu("5a 00"), 1502, False),  # not sure enough
        (adu("03 0000 0001"), 1502, True),
        (adu("2b 0e 01 00"), 1502, True),
        (adu("03 0000 0001")[:-1], 1502, None),
        (adu("03 0000 0001")[:7], 1502, None),
        (adu("03 0000 0001 00"), 1502, False),
        (adu("83 01"), 502, False),
        (b"\x16\x03\x01\x02\x00\x01", 502, False),
        (b"\x16\x03\0\0\x02\x00\x01", 502, False),
        (b"GET", 502, False),
    ],
)
def test_recognised_by_header_and_first_request(raw: bytes, port: int, expected: bool | None) -> None:
    assert ModbusStream.recognise(raw, port) is expected


ADDRESS = st.integers(0, 60000)


@given(ADDRESS, st.integers(1, 123), ADDRESS, st.integers(1, 100), st.integers(0, 247))
def test_reads_what_pymodbus_writes(first: int, count: int, other: int, size: int, unit: int) -> None:
    framer = FramerSocket(DecodePDU(True))
    values, last, bits = [7] * size, first + count - 1, [True] * count
    cases: list[tuple[ModbusPDU, list[str]]] = [
        (ReadCoilsRequest(address=first, count=count), [f"coils {first}-{last}"]),
        (ReadHoldingRegistersRequest(address=first, count=count), [f"holding registers {first}-{last}"]),
        (ReadInputRegistersRequest(address=first, count=count), [f"input registers {first}-{last}"]),
        (WriteSingleCoilRequest(address=first, bits=[True]), [f"coils {first}-{first}"]),
        (WriteSingleRegisterRequest(address=first, registers=[3]), [f"holding registers {first}-{first}"]),
        (WriteMultipleCoilsRequest(first, bits), [f"coils {first}-{last}"]),
        (
            WriteMultipleRegistersRequest(address=other, registers=values),
            [f"holding registers {other}-{other + size - 1}"],
        ),
        (MaskWriteRegisterRequest(address=first), [f"holding registers {first}-{first}"]),
        (
            ReadWriteMultipleRegistersRequest(first, count, other, values),
            [f"holding registers {other}-{other + size - 1}", f"holding registers {first}-{last}"],
        ),
        (ReadFifoQueueRequest(first), [f"fifo queue {first}"]),
        (
            ReadFileRecordRequest([FileRecord(file_number=3, record_number=first % 9999, record_length=4)]),
            [f"file 3 records {first % 9999}-{first % 9999 + 1}"],
        ),
        (
            WriteFileRecordRequest([FileRecord(file_number=3, record_number=5, record_data=b"abcd")]),
            ["file 3 records 5-6"],
        ),
        (ReadDeviceInformationRequest(1, 0), ["device identification"]),
        (ReadExceptionStatusRequest(), ["exception status"]),
        (GetCommEventCounterRequest(), ["comm event counter"]),
        (GetCommEventLogRequest(), ["comm event log"]),
        (ReportDeviceIdRequest(), ["server id"]),
        (ReturnQueryDataRequest(b"\1\2"), ["diagnostics 0"]),
    ]
    for request, resources in cases:
        request.dev_id, request.transaction_id = unit, first
        raw = framer.buildFrame(request)
        assert [m[2] for m in said(raw)] == [f"unit {unit} {resource}" for resource in resources]
        assert ModbusStream.recognise(raw, 1502) is True


@given(
    st.lists(
        st.one_of(st.binary(max_size=40), st.binary(max_size=30).map(lambda b: adu(b.hex() or "07"))),
        max_size=5,
    )
)
def test_any_bytes_are_read_or_malformed(parts: list[bytes]) -> None:
    stream, size = ModbusStream(), 0
    for part in parts:
        ModbusStream.recognise(part, 1502)
        size += len(part)
        try:
            assert stream.feed(part).released <= size
        except Malformed:
            return


@pytest.mark.skipif(not CAPTURES.is_dir(), reason=f"no captures in {CAPTURES}")
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize(
    ("name", "refused"),
    [
        ("modbus_test", 0),
        ("modbus_test_2", 0),
        ("MODBUS-TestDataPart1", 2),  # 43/14 with a byte too many
        ("modbusSmall", 0),
        ("modbus_example", 2),  # file requests without a group
    ],
)
def test_agrees_with_tshark(name: str, refused: int) -> None:
    (path,) = CAPTURES.glob(f"*__{name}.pcap")
    printed = subprocess.run(
        ["tshark", "-r", path, "-Y", "tcp.dstport == 502 && modbus && !tcp.analysis.retransmission",
         "-T", "fields", "-E", "occurrence=a", "-e", "tcp.payload", "-e", "modbus.func_code",
         "-e", "mbtcp.unit_id"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    expected: Counter[tuple[int, str]] = Counter()
    found: Counter[tuple[int, str]] = Counter()
    broken: list[str] = []
    for line in printed.splitlines():
        payload, functions, units = line.split("\t")
        try:
            fed = ModbusStream().feed(bytes.fromhex(payload))
        except Malformed:
            broken.append(payload)
            continue
        expected.update(zip(map(int, functions.split(",")), units.split(","), strict=True))
        for message in fed.messages:
            function = message.detail["function"]
            assert isinstance(function, int)
            if function == 23 and message.operation is READ:
                continue
            found[function, message.resource.split()[1]] += 1
    assert found == expected
    assert len(broken) == refused, broken
