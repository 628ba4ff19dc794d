"""`graphwall dissect` prints one line a message, and says what it could not read."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from controller import cli
from controller.commands import dissect
from tests.unit.captures.capture_files import ethernet, ipv4, pcap

Ran = tuple[int, str, str]  # exit code, standard output, standard error
Run = Callable[..., Ran]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "some.pcap"
    path.write_bytes(pcap([ethernet(), b"\xff" * 60, ethernet()]))
    return path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def ran(*given: str) -> Ran:
        code = dissect.main(given)
        said = capsys.readouterr()
        return code, said.out, said.err

    return ran


def named(name: bytes) -> bytes:
    """A CoAP request for a resource of this name: the shortest way for any bytes into a message."""
    return ethernet(ipv4(b"\x40\1\0\1" + bytes([0xB0 + len(name)]) + name, 5683))


def test_each_message_is_one_object_in_one_line(file: Path, run: Run) -> None:
    code, out, err = run(str(file), "--json")
    assert (code, err) == (0, "")
    first, second = map(json.loads, out.splitlines())
    assert first == {
        "frame": 1,
        "time": 1_700_000_000.123456,
        "client": {"mac": "02:00:00:00:00:01", "ip": "10.0.0.1", "port": 40000},
        "server": {"mac": "02:00:00:00:00:02", "ip": "10.0.0.2", "port": 53},
        "protocol": "dns",
        "verb": "query",
        "operation": "lookup",
        "resource": "www.test A",
        "identity": None,
        "detail": first["detail"],
    }
    assert list(first) == [
        "frame",
        "time",
        "client",
        "server",
        "protocol",
        "verb",
        "operation",
        "resource",
        "identity",
        "detail",
    ]
    assert '"time":1700000000.123456000,' in out
    assert second["frame"] == 3


def test_people_get_lines_without_control_characters(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "hostile.pcap"
    path.write_bytes(pcap([named(b"\x1b[31m\n\r"), named("\u202eevil".encode()), named(b"\xff")]))
    code, out, err = run(str(path))
    assert (code, err) == (0, "")
    assert len(out.splitlines()) == 3
    assert all(line.isprintable() for line in out.split("\n"))
    assert "/%1B[31m%0A%0D" in out
    assert "<U+202E>evil" in out
    code, out, _ = run(str(path), "--json")
    assert out.isascii()
    assert [json.loads(line)["frame"] for line in out.splitlines()] == [1, 2, 3]


@pytest.mark.parametrize("given", [[], ["--json"]])
def test_a_file_that_is_cut_gives_all_before_and_a_warning_with_the_frame(
    file: Path, given: list[str], run: Run
) -> None:
    file.write_bytes(file.read_bytes()[:-3])
    code, out, err = run(str(file), *given)
    assert code == dissect.INCOMPLETE
    assert len(out.splitlines()) == 1
    assert "the file ends inside frame 3; what stands before it was read" in err


def test_what_cannot_be_read_is_one_line_about_what_and_why(tmp_path: Path, run: Run) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    for path, what in ((text, "no capture"), (tmp_path, "folder"), (tmp_path / "gone", "no such file")):
        code, out, err = run(str(path))
        assert (code, out) == (dissect.WRONG, "")
        assert what in err
        assert len(err.splitlines()) == 1


def test_frames_of_links_that_are_not_read_are_counted(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "radio.pcap"
    path.write_bytes(pcap([b"abc", b"abc"], link=127))
    code, out, err = run(str(path))
    assert (code, out) == (0, "")
    assert "2 frames of Wi-Fi (link type 127): not read" in err


def test_the_command_line_knows_it_with_and_without_the_other_commands(file: Path) -> None:
    expected = subprocess.run(
        [sys.executable, "-m", "controller", "dissect", str(file)], capture_output=True, text=True, check=True
    )
    assert len(expected.stdout.splitlines()) == 2
    assert cli.main(["dissect", str(file)]) == 0


def test_standard_input_will_do_and_a_reader_that_has_enough_is_no_error(file: Path) -> None:
    command = (
        f"cat {file} | {sys.executable} -m controller dissect - --json | head -n 1; echo ${{PIPESTATUS[*]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    *lines, codes = done.stdout.splitlines()
    assert len(lines) == 1
    assert (codes, done.stderr) == ("0 0 0", "")


def test_a_terminal_gets_colours_and_the_same_words(file: Path) -> None:
    leader, follower = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    environment.pop("NO_COLOR", None)
    command = [sys.executable, "-m", "controller", "dissect", str(file)]
    done = subprocess.run(command, stdout=follower, env=environment, check=False)
    os.close(follower)
    shown = os.read(leader, 65536).decode()
    os.close(leader)
    assert done.returncode == 0
    assert "dns query www.test A" in shown
    assert "\x1b[" in shown


def test_it_needs_nothing_that_only_the_controller_has(file: Path) -> None:
    """Not os-ken, nor what makes a start slow."""
    program = (
        "import sys; from controller.commands import dissect; "
        f"dissect.main([{str(file)!r}]); "
        "print({'os_ken', 'pydantic', 'networkx', 'fastapi', 'rich', 'yaml'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("words", [[], ["a.pcap", "--nope"]])
def test_wrong_arguments_are_told_in_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        dissect.main(words)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("graphwall: ")
    assert said.endswith("see: graphwall dissect --help\n")
