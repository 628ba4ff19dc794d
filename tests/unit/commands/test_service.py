"""The units that systemd runs Graphwall by: who they run as, what they may do, and when they are refused."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from controller import cli
from controller.commands import service
from controller.commands.service import CONTROLLER, INSPECTOR, Installation, ServiceError
from controller.config import parse

FILE = Path("/etc/graphwall/site.yaml")
PLAIN = Installation(
    "graphwall", FILE, parse("", "site.yaml"), Path("/var/lib/graphwall"), Path("/opt/graphwall/bin/python")
)


def settings(unit: str) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_the_controller_has_no_capability_and_the_inspector_one() -> None:
    units = PLAIN.units()
    rights = {
        name: (settings(unit)["CapabilityBoundingSet"], settings(unit)["AmbientCapabilities"])
        for name, unit in units.items()
    }
    assert rights == {CONTROLLER: ([""], [""]), INSPECTOR: (["CAP_NET_RAW"], ["CAP_NET_RAW"])}


def test_neither_runs_as_root_and_the_inspector_is_not_the_controllers_user() -> None:
    controller, inspector = (settings(unit) for unit in PLAIN.units().values())
    assert (controller["User"], controller["Group"]) == (["graphwall"], ["graphwall"])
    assert (inspector["DynamicUser"], inspector["Group"]) == (["yes"], ["graphwall"])
    assert "User" not in inspector


def test_both_are_shut_in() -> None:
    for unit in PLAIN.units().values():
        found = settings(unit)
        assert found["NoNewPrivileges"] == ["yes"]
        assert found["ProtectSystem"] == ["strict"]
        assert found["ProtectHome"] == ["yes"]
        assert found["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]
    families = [settings(unit)["RestrictAddressFamilies"] for unit in PLAIN.units().values()]
    assert families == [["AF_UNIX AF_INET AF_INET6"], ["AF_UNIX AF_PACKET"]]


def test_controller_and_inspector_agree_on_their_socket() -> None:
    controller, inspector = (settings(unit) for unit in PLAIN.units().values())
    assert controller["ExecStart"][0].endswith(f"run --inspector {service.SOCKET}")
    assert inspector["ExecStart"][0].endswith(f"--group --socket {service.SOCKET}")
    assert inspector["RuntimeDirectory"] == [service.SOCKET.parent.name]


def test_only_the_state_folder_can_be_written() -> None:
    assert settings(PLAIN.units()[CONTROLLER])["StateDirectory"] == ["graphwall"]
    elsewhere = replace(PLAIN, state=Path("/srv/gw")).units()[CONTROLLER]
    assert settings(elsewhere)["ReadWritePaths"] == ["/srv/gw"]
    assert "StateDirectory" not in settings(elsewhere)


def test_a_port_that_is_only_for_root_is_the_only_reason_for_a_capability() -> None:
    web = replace(PLAIN, config=parse("api: {port: 443}", "site.yaml")).units()
    assert settings(web[CONTROLLER])["AmbientCapabilities"] == ["CAP_NET_BIND_SERVICE"]
    assert settings(web[INSPECTOR])["AmbientCapabilities"] == ["CAP_NET_RAW"]


def test_names_and_places_are_no_way_to_other_settings() -> None:
    site = parse('site: "100%\\nUser=root\\\\"', "site.yaml")
    odd = replace(PLAIN, config=site, config_file=Path('/etc/my "site"/$HOME/50%.yaml'))
    found = settings(odd.units()[CONTROLLER])
    assert found["User"] == ["graphwall"]
    assert found["Description"] == ["Graphwall, the firewall of 100%%User=root"]
    assert r'--config "/etc/my \"site\"/$$HOME/50%%.yaml" run' in found["ExecStart"][0]
    with pytest.raises(ServiceError, match="cannot be written into a unit"):
        replace(PLAIN, config_file=Path("/etc/a\nUser=root")).units()


@pytest.mark.parametrize("user", ["root", "", "a b", "x\ny", "-u"])
def test_a_user_with_rights_or_without_a_proper_name_is_refused(user: str) -> None:
    with pytest.raises(ServiceError, match="no name for a user without rights"):
        replace(PLAIN, user=user).units()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_them(tmp_path: Path) -> None:
    here = replace(PLAIN, python=service.this_python())
    for name, text in here.units().items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_print_shows_both_and_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "UNITS", tmp_path)
    file = tmp_path / "site.yaml"
    file.write_text("site: Rose cottage\n")
    assert cli.main(["install-service", "--print", "--user", "gw", "--config", str(file)]) == 0
    said = capsys.readouterr().out
    assert f"# {tmp_path / CONTROLLER}\n" in said
    assert "the firewall of Rose cottage" in said
    assert "User=gw\n" in said
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="installing needs root")
class TestInstalling:
    """Into a folder of the test's, for a user who exists."""

    @pytest.fixture
    def here(self, tmp_path: Path) -> Installation:
        file = tmp_path / "site.yaml"
        file.write_text("")
        return replace(PLAIN, user="daemon", config_file=file, python=Path("/usr/bin/env"))

    @pytest.fixture(autouse=True)
    def _readable(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(service.controller, "__file__", "/usr/bin/env")
        monkeypatch.setattr(service, "_run", lambda *_: None)
        (tmp_path / "units").mkdir()

    def test_units_are_written_and_written_anew(self, here: Installation, tmp_path: Path) -> None:
        for _ in range(2):
            said = list(service.install(here, tmp_path / "units"))
            assert said[-1].endswith(f"systemctl enable --now {INSPECTOR} {CONTROLLER}")
        assert {f.name: f.read_text() for f in (tmp_path / "units").iterdir()} == here.units()

    def test_what_somebody_else_has_written_stays(self, here: Installation, tmp_path: Path) -> None:
        (tmp_path / "units" / CONTROLLER).write_text("[Unit]\n")
        with pytest.raises(ServiceError, match="made by somebody else"):
            list(service.install(here, tmp_path / "units"))
        assert [f.name for f in (tmp_path / "units").iterdir()] == [CONTROLLER]

    def test_a_program_that_the_user_cannot_read_is_refused(self, here: Installation, tmp_path: Path) -> None:
        closed = tmp_path / "closed"
        closed.mkdir(mode=0o700)
        (closed / "python").touch()
        with pytest.raises(ServiceError, match="is closed to others"):
            list(service.install(replace(here, python=closed / "python"), tmp_path / "units"))

    def test_a_state_folder_elsewhere_is_made_the_users(self, here: Installation, tmp_path: Path) -> None:
        state = tmp_path / "state"
        list(service.install(replace(here, state=state), tmp_path / "units"))
        assert (state.stat().st_uid, state.stat().st_mode & 0o777) == (1, 0o700)
