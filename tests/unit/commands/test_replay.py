"""`graphwall replay`: a recording becomes a summary, a stream, and a model that `run` goes on with."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from controller import cli
from controller.commands.replay import Phase, phase
from controller.config import Config
from controller.events import SwitchUp
from controller.firewall.firewall import Firewall
from controller.store.store import FILE, Store
from tests.unit.replay.recording import BEGIN, capture, day, http, request
from tests.unit.replay.test_accesslog import HEADER, row

Json = dict[str, Any]


@pytest.fixture
def normal(tmp_path: Path) -> Path:
    file = tmp_path / "normal.pcap"
    file.write_bytes(capture(day(40)))
    return file


@pytest.fixture
def attack(tmp_path: Path) -> Path:
    """Recorded on another day, which was earlier."""
    file = tmp_path / "attack.pcap"
    file.write_bytes(capture(sorted(day(5) + http(2.5, request("PUT", "/open"), own=50000)), BEGIN - 86400))
    return file


def replayed(capsys: pytest.CaptureFixture[str], *given: object) -> list[Json]:
    assert cli.main(["replay", "--json", *map(str, given)]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_summary_tells_what_was_learnt_asked_and_denied(
    normal: Path, attack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["replay", str(normal), str(attack), "--learn", "40s"]) == 0
    out = capsys.readouterr().out
    assert "91 messages: 90 allowed, 1 denied" in out
    assert "may read /state of" in out
    assert "Would have been asked" in out
    assert "wants to change /open of" in out
    assert "1  new operation" in out


def test_the_stream_names_file_and_frame_and_ends_with_the_summary(
    normal: Path, attack: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    *events, summary = replayed(capsys, normal, attack, "--learn", "40s")
    assert summary["kind"] == "summary"
    assert summary["denied"] == {"new operation": 1}
    denied = [e for e in events if e["kind"] == "messages" and not e["allowed"]]
    assert [(e["file"], e["verb"], e["resource"], e["count"]) for e in denied] == [
        (str(attack), "PUT", "/open", 1)
    ]
    assert isinstance(denied[0]["frame"], int)
    assert sum(e["count"] for e in events if e["kind"] == "messages") == 91
    assert {e["kind"] for e in events} >= {"messages", "device", "learnt", "asked"}


def test_a_saved_model_is_a_state_folder_that_a_controller_goes_on_with(
    normal: Path, attack: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "state"
    *_, summary = replayed(capsys, normal, "--learn", "100%", "--save-model", folder)
    assert [r["status"] for r in summary["relationships"]] == ["learned", "learned"]
    store = Store(folder / FILE)
    saved = store.load()
    store.close()
    firewall = Firewall(Config(), saved, b"secret")
    firewall.handle(SwitchUp(7, ()), BEGIN)
    view = firewall.view(BEGIN)
    assert len(view.relationships) == 2
    assert not any(found.service.learning for found in view.services.values())
    *_, summary = replayed(capsys, attack, "--model", folder)
    assert summary["denied"] == {"new operation": 1}
    assert summary["messages"]["allowed"] == 10
    assert cli.main(["replay", str(normal), "--save-model", str(folder)]) == cli.WRONG
    assert "there is a model in" in capsys.readouterr().err


def test_how_a_controller_goes_on_with_a_saved_model_is_said(
    normal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "state"
    assert cli.main(["replay", str(normal), "--save-model", str(folder)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.endswith(f"graphwall run --config site.yaml --state {folder}")


def test_access_logs_are_replayed_and_their_labels_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "log.csv"
    text = "".join(row(when=str(1519899600000 + n * 1000)) for n in range(50))
    bad = row("write", when="1519899700000").replace("normal", "anomalous(wrongSetUp)")
    log.write_text(HEADER + text + bad)
    *_, summary = replayed(capsys, log, "--learn", "30")
    assert summary["accesses"] == 51
    assert summary["labelled"] == {
        "anomalous(wrongSetUp)": {"allowed": 0, "denied": 1},
        "normal": {"allowed": 20, "denied": 0},
    }


def test_the_site_is_what_site_yaml_says(
    normal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(
        "site: Cottage\nadmission: ask\nlearning: {minimum: 5s, quiet: 10s, maximum: 20s}\n"
        "switches: [{name: hall, dpid: 5}]\n"
        "devices:\n"
        "  - {id: lamp, name: Lamp, mac: 02:00:00:00:00:02, switch: hall, port: 4}\n"
        "  - {id: wall, name: Wall switch, mac: 02:00:00:00:00:01}\n"
    )
    *_, summary = replayed(capsys, normal, "--site", site)
    assert summary["site"] == "Cottage"
    assert [r["sentence"] for r in summary["relationships"]] == ["Wall switch wants to read /light of Lamp"]
    assert sorted(r["reason"] for r in summary["requests"]) == ["new device", "new device"]


def test_a_file_that_is_cut_is_replayed_up_to_there(normal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    normal.write_bytes(normal.read_bytes()[:-9])
    assert cli.main(["replay", str(normal)]) == 1
    said = capsys.readouterr()
    assert "allowed" in said.out
    assert "the file ends inside frame" in " ".join(said.err.split())


@pytest.mark.parametrize("content", [b"", b"hello", capture([])])
def test_what_holds_no_traffic_is_one_clear_line(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "odd"
    file.write_bytes(content)
    assert cli.main(["replay", str(file)]) == cli.WRONG
    (line,) = capsys.readouterr().err.splitlines()
    assert str(file) in line


def test_there_is_no_model_where_there_is_none(
    normal: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["replay", str(normal), "--model", str(tmp_path)]) == cli.WRONG
    assert "there is no model in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("600", Phase(seconds=600.0)),
        ("1.5h", Phase(seconds=5400.0)),
        ("30%", Phase(share=0.3)),
        ("100%", Phase(share=1.0)),
    ],
)
def test_a_phase_is_a_time_or_a_share(text: str, wanted: Phase) -> None:
    assert phase(text) == wanted


@pytest.mark.parametrize("text", ["", "101%", "soon", "-5", "5%%"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="30%"):
        phase(text)
