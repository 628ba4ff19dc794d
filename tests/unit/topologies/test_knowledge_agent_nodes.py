import pytest

from topologies.services.vsl import CBOR, JSON, VslError, decode, encode, identity, service_of
from topologies.services.vsl_nodes import Store, Subscriber

DOOR = "/agent1/lock/isOpen"


@pytest.fixture
def store() -> Store:
    made = Store("agent1")
    assert made.register("lock", "/security/door-lock") == "/agent1/lock"
    made.register("storage", "/energy/battery")
    return made


def refusal(code: int) -> "pytest.RaisesExc[VslError]":
    return pytest.raises(VslError, check=lambda error: error.code == code)


def test_value_that_was_set_is_got(store: Store) -> None:
    assert store.set(DOOR, "1", "somebody")
    assert store.get(DOOR) == {"value": "1"}


def test_scope_and_depth_choose_what_is_shown(store: Store) -> None:
    shown = store.get("/agent1/lock", "COMPLETE", depth=1)
    assert shown["types"] == ["/security/door-lock"]
    assert shown["children"]["isOpen"]["access"] == "rw"
    assert "children" not in store.get("/agent1/lock")


def test_read_only_node_is_written_by_its_service_alone(store: Store) -> None:
    level = "/agent1/storage/chargeLevel"
    store.set(level, "50", "storage")
    with refusal(403):
        store.set(level, "0", "washing-control")
    assert store.get(level)["value"] == "50"


def test_unknown_nodes_and_models_are_404(store: Store) -> None:
    for ask in (
        lambda: store.get("/agent1/nobody"),
        lambda: store.set("/agent1/nobody", "1", "lock"),
        lambda: store.register("ghost", "/no/such"),
        lambda: store.subscribe("/agent1/nobody", Subscriber("c")),
    ):
        with refusal(404):
            ask()


def test_locked_subtree_is_written_at_commit_and_by_the_locker_alone(store: Store) -> None:
    store.lock("/agent1/lock", "owner")
    with refusal(403):
        store.set(DOOR, "1", "other")
    assert not store.set(DOOR, "1", "owner")
    assert store.get(DOOR)["value"] == "0"
    with refusal(403):
        store.release("/agent1/lock", "other", commit=True)
    assert store.release("/agent1/lock", "owner", commit=True) == {DOOR: "1"}
    assert store.get(DOOR)["value"] == "1"


def test_rollback_forgets_what_was_written(store: Store) -> None:
    store.lock("/agent1/lock", "owner")
    store.set(DOOR, "1", "owner")
    assert store.release("/agent1/lock", "owner", commit=False) == {}
    assert store.get(DOOR)["value"] == "0"


def test_subtree_is_locked_once(store: Store) -> None:
    store.lock(DOOR, "one")
    with refusal(403):
        store.lock("/agent1/lock", "two")


def test_unregistered_service_has_no_nodes(store: Store) -> None:
    store.unregister("lock")
    with refusal(404):
        store.get(DOOR)
    assert "lock" not in store.services


@pytest.mark.parametrize("kind", [JSON, CBOR])
def test_bodies_survive_both_encodings(kind: str) -> None:
    body = {"operation": "SUBSCRIBE", "callbackId": "x"}
    assert decode(encode(body, kind), kind) == body


@pytest.mark.parametrize(
    ("data", "kind", "code"),
    [(b"{", JSON, 400), (b"[]", JSON, 400), (b"\xff", CBOR, 400), (b"<a/>", "text/xml", 415)],
)
def test_bodies_that_cannot_be_read_are_refused(data: bytes, kind: str, code: int) -> None:
    with refusal(code):
        decode(data, kind)


def test_identity_names_the_calling_service() -> None:
    assert service_of(identity("washing-control")) == "washing-control"


@pytest.mark.parametrize(
    "header", [None, "", "VSL", "VSL !!", "Basic eyJhIjoxfQ==", "VSL eyJhIjoxfQ==", "VSL MQ=="]
)
def test_request_without_identity_is_forbidden(header: str | None) -> None:
    with refusal(403):
        service_of(header)
