"""People and programs are kept as they were, all of a change or nothing, and go with what they belong to."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controller.events import AuditEntry
from controller.people import (
    Everybody,
    Invitation,
    NotKeptError,
    PeopleChange,
    Person,
    PersonId,
    Program,
    Role,
    Session,
)
from controller.store.accounts import Accounts
from controller.store.store import Store

ADA = Person(PersonId("p1"), "Ada \ud800\x00", Role.MANAGER, 1.0, "$argon2id$...")
BO = Person(PersonId("p2"), "Bo", Role.VIEWER, 2.0)
PHONE = Session("s1", ADA.id, "d1", "phone \\", 1.0, 2.0, 3.0)
LAPTOP = Session("s2", BO.id, "d2", "laptop", 1.5, 2.0, 3.0)
LINK = Invitation("i1", "d3", "Cy", Role.RESIDENT, "Ada (phone)", 1.0, 9.0)
OWN = Invitation("i2", "d4", "Bo", Role.VIEWER, "Bo (laptop)", 2.0, 9.0, BO.id)
GRAFANA = Program("t1", "Grafana", Role.VIEWER, "d5", "Ada (phone)", 1.0)
ALL = Everybody((ADA, BO), (PHONE, LAPTOP), (LINK, OWN), (GRAFANA,))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "graphwall.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    made = Store(path)
    yield made
    made.close()


def put(store: Store) -> Accounts:
    accounts = Accounts(store)
    accounts.write(PeopleChange((ADA, BO, PHONE, LAPTOP, LINK, OWN, GRAFANA)))
    return accounts


def test_everybody_is_back_after_a_restart(path: Path) -> None:
    first = Store(path)
    put(first)
    first.close()
    second = Store(path)
    assert Accounts(second).load() == ALL
    second.close()


def test_what_has_the_same_id_is_replaced(store: Store) -> None:
    accounts = put(store)
    accounts.write(PeopleChange((replace(BO, role=Role.MANAGER), replace(LAPTOP, last_seen=9.0))))
    found = accounts.load()
    assert found.people == (ADA, replace(BO, role=Role.MANAGER))
    assert found.sessions == (PHONE, replace(LAPTOP, last_seen=9.0))


def test_sessions_and_links_go_with_their_person(store: Store) -> None:
    accounts = put(store)
    accounts.write(PeopleChange(gone=(BO,)))
    assert accounts.load() == Everybody((ADA,), (PHONE,), (LINK,), (GRAFANA,))


def test_a_change_is_kept_with_its_line_in_the_log_or_not_at_all(store: Store) -> None:
    accounts = put(store)
    line = AuditEntry(5.0, "people", "Ada (phone)", "somebody came", "p3")
    stranger = Session("s9", PersonId("nobody"), "d9", "phone", 1.0, 1.0, 1.0)
    with pytest.raises(NotKeptError, match="FOREIGN KEY"):
        accounts.write(PeopleChange((stranger,), (GRAFANA,), (line,)))
    assert accounts.load() == ALL
    assert store.audit() == ()
    accounts.write(PeopleChange((), (GRAFANA,), (line,)))
    assert [found.entry for found in store.audit()] == [line]
