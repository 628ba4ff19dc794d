"""What fuzzing has found is tried again: nothing but Malformed, and no frame takes longer than it may."""

from pathlib import Path

import pytest

from tests.fuzz.targets import CORPUS, Target, check, targets
from tests.unit.dpi.examples import DATAGRAMS, OPAQUE, STREAMS

TARGETS = targets()
KEPT = sorted(CORPUS.glob("*/*"))


def test_every_folder_of_the_corpus_is_of_a_target() -> None:
    assert {file.parent.name for file in KEPT} <= set(TARGETS)
    assert len(KEPT) > 100


@pytest.mark.parametrize("name", TARGETS)
def test_what_was_found_before_does_no_harm(name: str) -> None:
    for file in (CORPUS / name).glob("*"):
        check(TARGETS[name], file.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_valid_for_one_protocol_does_no_harm_to_another(name: str) -> None:
    target: Target = TARGETS[name]
    for _, data in (*STREAMS, *OPAQUE, *DATAGRAMS):
        check(target, data)
        check(target, b"\x05" + data)


def test_the_corpus_is_small() -> None:
    assert sum(Path(file).stat().st_size for file in KEPT) < 600_000
