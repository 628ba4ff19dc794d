"""What is shipped: the product, with its page, and nothing of the laboratory or the tests."""

import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    (path,) = folder.glob("graphwall-*.whl")
    with zipfile.ZipFile(path) as opened:
        yield opened


def metadata(wheel: zipfile.ZipFile, name: str) -> str:
    (path,) = (path for path in wheel.namelist() if path.endswith(f".dist-info/{name}"))
    return wheel.read(path).decode()


def test_only_the_product_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"controller"}


def test_every_file_of_the_product_is_in_the_wheel(wheel: zipfile.ZipFile, root: Path) -> None:
    listed = subprocess.run(
        ["git", "-c", f"safe.directory={root}", "ls-files", "controller"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    wanted = {name for name in listed.stdout.split() if (root / name).exists()}
    assert wanted <= set(wheel.namelist())


def test_the_wheel_installs_the_command_and_needs_no_laboratory(wheel: zipfile.ZipFile) -> None:
    assert "graphwall = controller.__main__:main" in metadata(wheel, "entry_points.txt")
    needed = Parser().parsestr(metadata(wheel, "METADATA")).get_all("Requires-Dist", [])
    always = {line.split(">")[0].split("=")[0].strip() for line in needed if "extra ==" not in line}
    assert "os-ken" in always
    assert not always & {"mininet", "aiocoap", "aiohttp", "paho-mqtt", "pymodbus", "zeroconf", "scapy"}


def test_the_wheel_carries_the_licence(wheel: zipfile.ZipFile) -> None:
    assert "License-Expression: Apache-2.0" in metadata(wheel, "METADATA")
    assert "Version 2.0, January 2004" in metadata(wheel, "licenses/LICENSE")


def test_the_wheel_carries_the_browser_code_that_the_page_loads(wheel: zipfile.ZipFile) -> None:
    page = "controller/web/page/static/"
    vendor = {name for name in wheel.namelist() if name.startswith(f"{page}vendor/")}
    for name in ("cytoscape.min.js", "cytoscape-fcose.js", "lit-html/lit-html.js", "LICENSE-cytoscape.txt"):
        assert f"{page}vendor/{name}" in vendor
    assert not any("node_modules" in name or "axe" in name for name in wheel.namelist())
