"""Passwords as Argon2id hashes (RFC 9106), checked one at a time.

A check takes some 60 MB and a good part of a second on a small machine: more than one at once would be
a way to stop the controller.
"""

import threading
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

SHORTEST = 10  # characters
LONGEST = 200
WAIT = 3.0  # s for those who check before

_one_at_a_time = threading.Lock()


class BusyError(Exception):
    """Others are signing in; nothing was checked."""


@cache
def _hasher() -> PasswordHasher:
    return PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)


@cache
def _nobody() -> str:
    """The hash that a password of somebody unknown is compared with, so that it takes as long."""
    return _hasher().hash("nobody")


def hashed(password: str) -> str:
    """A salted hash of `password`. Raises BusyError."""
    if not _one_at_a_time.acquire(timeout=WAIT):
        raise BusyError
    try:
        return _hasher().hash(password.encode("utf-8", "surrogatepass"))
    finally:
        _one_at_a_time.release()


def fits(kept: str | None, password: str) -> bool:
    """Whether `password` is the one of the hash `kept`. Raises BusyError."""
    if not _one_at_a_time.acquire(timeout=WAIT):
        raise BusyError
    try:
        _hasher().verify(kept or _nobody(), password.encode("utf-8", "surrogatepass"))
    except (VerificationError, InvalidHashError):
        return False
    finally:
        _one_at_a_time.release()
    return kept is not None
