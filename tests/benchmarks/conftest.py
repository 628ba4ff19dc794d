"""The recorder of each benchmark's results."""

import pytest

from tests.benchmarks.record import Recorder

PREFIX = "bench_"


@pytest.fixture(scope="module")
def record(request: pytest.FixtureRequest) -> Recorder:
    """Keeps what a part finds; a part that is measured as a whole forgets what it found before."""
    recorder = Recorder(request.path.stem.removeprefix(PREFIX))
    if not (request.config.option.keyword or any("::" in word for word in request.config.args)):
        recorder.forget()
    print()
    return recorder
