"""The API as it is served, before a site that exists only for these tests."""

from collections.abc import Iterator

import httpx
import pytest

from controller.web.server import Server, serve
from tests.unit.web.fake_site import TOKEN, FakeSite, app_of, home


@pytest.fixture(scope="session")
def served() -> Iterator[tuple[FakeSite, Server]]:
    """The real application on a real socket."""
    site = FakeSite(home())
    running = serve(app_of(site), "127.0.0.1", 0)
    yield site, running
    running.stop()


@pytest.fixture
def site(served: tuple[FakeSite, Server]) -> FakeSite:
    served[0].begin(home())
    return served[0]


@pytest.fixture
def server(served: tuple[FakeSite, Server], site: FakeSite) -> Server:  # noqa: ARG001  # begins anew
    return served[1]


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=5) as made:
        yield made
