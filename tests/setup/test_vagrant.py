"""The virtual machine's description is one that Vagrant accepts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.mark.timeout(120)
def test_vagrantfile_is_valid(root: Path, tmp_path: Path) -> None:
    vagrant = shutil.which("vagrant")
    if vagrant is None:
        pytest.skip("needs vagrant: apt-get install vagrant")
    shutil.copy(root / "Vagrantfile", tmp_path)
    home = {"VAGRANT_HOME": str(tmp_path / "home"), "VAGRANT_CHECKPOINT_DISABLE": "1"}
    command = [vagrant, "validate", "--ignore-provider"]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ | home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
