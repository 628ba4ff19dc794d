"""The site that all attacks are on, and the table of what became of them."""

from collections.abc import Iterator

import pytest

from tests.attacks.ground import Ground
from tests.attacks.ground import ground as make_ground


@pytest.fixture(autouse=True)
def _tell(tell_fates: None) -> None:
    pass


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory, fates: list[tuple[str, str, str]]) -> Iterator[Ground]:
    with make_ground(tmp_path_factory.mktemp("site"), fates) as made:
        yield made
