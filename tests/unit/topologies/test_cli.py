import os
from pathlib import Path

import pytest

from topologies import cli, machine, marks, schema
from topologies.laboratory import Laboratory, Setting
from topologies.marks import LabError
from topologies.network import Endpoint


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(marks, "RUN_DIRECTORY", tmp_path)
    return tmp_path


def test_check_names_line_and_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text("name: Wrong\nnetwork: 10.0.0.0/24\nswitches: []\nhosts: []\n")
    assert cli.main(["check", str(file)]) == 2
    assert f"{file}, line 3: switches" in capsys.readouterr().err


def test_asking_without_a_laboratory_says_how_to_start_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ctl", "status"]) == 2
    assert "start one with: python -m topologies run" in capsys.readouterr().err


def test_unknown_question_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["ctl", "dance"]) == 2
    assert "ctl knows no 'dance'; it knows: status" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["6653", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:99999", ":6653"])
def test_controller_that_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(LabError, match=r"give it as 127\.0\.0\.1:6653, or none"):
        Endpoint.parse(text)


def test_controller_may_have_an_ipv6_address() -> None:
    assert Endpoint.parse("[::1]:6653") == Endpoint("::1", 6653)


@pytest.mark.parametrize("prefix", ["", "-", "gateway-", "gw", "g/-"])
def test_prefix_that_makes_bad_names_is_refused(prefix: str) -> None:
    with pytest.raises(LabError, match="give one to three letters or digits and a hyphen"):
        Setting(prefix=prefix)


def test_somebody_who_is_not_root_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(LabError, match="needs root: run it with sudo"):
        Laboratory(schema.read("paper")).start()


def test_machine_that_makes_no_namespace_is_named_before_anything_waits_for_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    scripts = {"mnexec": "echo 'remount: Invalid argument' >&2; exit 1", "ovs-vsctl": "true"}
    for tool, script in scripts.items():
        (tmp_path / tool).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(machine, "_has", lambda _: True)
    with pytest.raises(LabError, match=r"no network namespace \(remount: Invalid argument\): a container"):
        machine.check_machine(schema.read("paper"))


@pytest.mark.parametrize("words", [["demo", "--scenario", "nope"], ["dance"], []])
def test_wrong_arguments_are_told_in_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("graphwall demo: " if words[:1] == ["demo"] else "python -m topologies: ")


def test_missing_commands_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(machine, "_has", lambda tool: tool not in ("mosquitto", "dnsmasq", "ovs-vsctl"))
    with pytest.raises(LabError, match="apt-get install dnsmasq-base mosquitto openvswitch-switch"):
        machine.check_machine(schema.read("smart_home"))
