"""The protocol that README.md adds in a few lines does what it says there."""

import re
from pathlib import Path
from typing import Any

import pytest

from controller.dpi.message import Malformed, Operation


@pytest.fixture
def blinds(root: Path) -> dict[str, Any]:
    (code,) = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    assert sum(bool(line) for line in code.splitlines()) <= 20
    made: dict[str, Any] = {}
    exec(code, made)  # our own text
    return made


def test_it_reads_its_messages_and_refuses_what_is_none(blinds: dict[str, Any]) -> None:
    read, port = blinds["datagram"], blinds["PORT"]
    (message,) = read(b"MOVE kitchen 40", 50000, port).messages
    assert (message.verb, message.operation, message.resource) == ("MOVE", Operation.WRITE, "kitchen")
    assert read(b"OK", port, 50000).answer
    assert read(b"MOVE kitchen 40", 50000, 53) is None
    for payload in (b"", b"MOVE", b"\xff\xff x"):
        with pytest.raises(Malformed, match="offset 0"):
            read(payload, 50000, port)
