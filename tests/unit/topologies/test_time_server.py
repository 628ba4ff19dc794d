import struct

import pytest

from topologies.services.time_server import SECONDS_1900_TO_1970, answer


def test_answer_carries_the_time_and_the_clients_own_stamp() -> None:
    request = bytes([0x23]) + bytes(39) + b"whenever"
    said = answer(request, 1_000_000.5)
    assert said is not None
    assert len(said) == 48
    assert said[0] == 0x24  # version 4, server
    assert said[24:32] == b"whenever"
    assert struct.unpack("!II", said[40:48]) == (1_000_000 + SECONDS_1900_TO_1970, 2**31)


@pytest.mark.parametrize("request_", [b"", bytes(48), bytes([0x23]) * 47, bytes([0x24]) + bytes(47)])
def test_what_is_no_request_is_not_answered(request_: bytes) -> None:
    assert answer(request_, 0.0) is None
