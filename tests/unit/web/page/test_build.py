"""Browser code by others: exactly what the lock file says, from nowhere in particular, fetched once."""

import json
import shutil
from pathlib import Path

import pytest

from controller.web.page import build

PAGE = Path(build.__file__).parent


def test_every_package_is_locked_by_its_hash_and_names_no_registry() -> None:
    lock = json.loads((PAGE / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert {f"node_modules/{package}" for package, _, _ in build.FILES} <= set(packages)
    for entry in packages.values():
        assert entry["integrity"].startswith("sha512-")
        assert "resolved" not in entry


def test_what_is_there_already_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(PAGE, tmp_path / "page", ignore=shutil.ignore_patterns("node_modules"))
    monkeypatch.setattr(build, "_npm", lambda: ["/nonexistent/npm"])
    build.bring(tmp_path / "page")
    (tmp_path / "page/package-lock.json").write_text("{}", encoding="utf-8")
    with pytest.raises(FileNotFoundError):
        build.bring(tmp_path / "page")


def test_a_build_that_cannot_fetch_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(PAGE, tmp_path / "page", ignore=shutil.ignore_patterns("node_modules", "vendor"))
    monkeypatch.setattr(build, "_npm", lambda: ["sh", "-c", "echo no network >&2; exit 1", "npm"])
    with pytest.raises(RuntimeError, match="browser code could not be fetched:\nno network"):
        build.bring(tmp_path / "page")
