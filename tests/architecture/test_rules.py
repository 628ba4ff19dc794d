"""The rules that tools check: style, types, and which module may import which."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

TOOLS = Path(sysconfig.get_path("scripts"))


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["ruff", "check"], id="ruff finds nothing"),
        pytest.param(["ruff", "format", "--check", "--diff"], id="files are formatted"),
        pytest.param(["lint-imports", "--no-logo"], id="imports go down"),
        pytest.param(["mypy", "--no-color-output"], id="types fit", marks=pytest.mark.timeout(240)),
    ],
)
def test_rule_is_kept(command: list[str], root: Path) -> None:
    program, *arguments = command
    done = subprocess.run(
        [TOOLS / program, *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stdout}{done.stderr}", pytrace=False)


def test_no_module_of_the_product_needs_what_only_the_laboratory_installs(root: Path) -> None:
    """Beside the import rule: the product's modules, imported without the laboratory's packages."""
    modules = [
        ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((root / "controller").rglob("*.py"))
        if path.name != "__main__.py"
    ]
    program = (
        "import sys, importlib\n"
        "for name in ('mininet', 'aiocoap', 'aiohttp', 'paho', 'pymodbus', 'zeroconf', 'scapy',\n"
        "             'topologies'):\n"
        "    sys.modules[name] = None\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
