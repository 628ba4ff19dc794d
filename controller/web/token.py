"""Secrets in files that only the owner can read: made once, then the same after every restart."""

import os
import secrets
from pathlib import Path

FILE = "api-token"  # in the state folder; what programs on this machine show
BYTES = 32


def secret(file: Path) -> str:
    """The secret in `file` (hexadecimal, 256 bit); made if there is none, or others could read it.

    Raises OSError.
    """
    try:
        found = file.read_text("ascii", "replace").strip()
        if len(found) == 2 * BYTES and not file.stat().st_mode & 0o077:
            return found
    except FileNotFoundError:
        pass
    made = secrets.token_hex(BYTES)
    partial = file.with_name(f"{file.name}.partial")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "w") as out:
        out.write(f"{made}\n")
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)
    return made
