"""Real networks in Mininet on Open vSwitch. Each has a prefix of its own, so that none meets another."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from topologies import marks, schema
from topologies.laboratory import Laboratory, Setting


@pytest.fixture(scope="session")
def without_firewall() -> Callable[[str], contextlib.AbstractContextManager[Laboratory]]:
    """Starts a topology on plain switches, and waits until its services are ready."""

    @contextlib.contextmanager
    def start(topology: str) -> Iterator[Laboratory]:
        setting = Setting(firewall=False, prefix=marks.free_prefix())
        with Laboratory(schema.read(topology), setting) as laboratory:
            laboratory.wait_ready(30)
            yield laboratory

    return start
