"""Writes records to the store, and keeps what nobody waits for until a failing store works again.

Knows nothing of what the records mean, of threads or of the firewall.
"""

import logging
from collections.abc import Callable
from time import monotonic
from typing import Protocol, TypeVar

from controller.events import Record

log = logging.getLogger(__name__)

V = TypeVar("V")

RETRY = 1.0  # seconds between two tries
AUDIT_KEPT = 10_000  # lines of the log that wait at most


class Store(Protocol):
    """Where records are kept."""

    def write(self, record: Record) -> object:
        """In one transaction; any exception means that nothing was stored."""


class Backlog:
    """A store that may fail for a while. Without a store nothing outlives the process."""

    def __init__(self, store: Store | None, clock: Callable[[], float] = monotonic) -> None:
        self._store = store
        self._clock = clock
        self._kept: Record | None = None
        self._retry_at = 0.0

    def write(self, record: Record, keep: bool) -> str | None:
        """Store the record behind all that is kept; the error, if it fails.

        `keep`: on failure try again later. Else the record is as if it had never been.
        """
        if self._store is None:
            return None
        whole = record if self._kept is None else merged(self._kept, record)
        try:
            self._store.write(whole)
        except Exception as error:  # noqa: BLE001  # a store of any kind; what it says goes to the caller
            said = str(error) or type(error).__name__
            if self._kept is None:
                log.error("the state could not be stored: %s", said)  # noqa: TRY400  # a full disk is no bug
            self._retry_at = self._clock() + RETRY
            if keep:
                self._kept = whole
            return said
        if self._kept is not None:
            self._kept = None
            log.warning("the state can be stored again, and what was learnt meanwhile has been")
        return None

    def retry(self, now: bool = False) -> str | None:
        """Try to store what is kept when it is time for it, or at once; the error, if it fails."""
        if self._kept is None or not (now or self._clock() >= self._retry_at):
            return None
        return self.write(Record(), keep=True)


def merged(older: Record, newer: Record) -> Record:
    """One record that leaves the store as the two would, one after the other.

    The log is cut to its newest AUDIT_KEPT lines.
    """
    gone = set(newer.forgotten)
    still = tuple(r for r in older.relationships if r.access not in gone)
    lost, void = set(newer.forgotten_devices), set(newer.forgotten_decisions)
    devices = tuple(device for device in older.devices if device.id not in lost)
    services = tuple(service for service in older.services if service.device not in lost)
    decisions = tuple(decision for decision in older.decisions if decision.id not in void)
    return Record(
        devices=_latest(devices + newer.devices, lambda device: device.id),
        services=_latest(services + newer.services, lambda service: service.id),
        relationships=_latest(still + newer.relationships, lambda relationship: relationship.access),
        forgotten=_latest(older.forgotten + newer.forgotten, lambda access: access),
        forgotten_devices=_latest(older.forgotten_devices + newer.forgotten_devices, lambda device: device),
        forgotten_decisions=_latest(older.forgotten_decisions + newer.forgotten_decisions, lambda one: one),
        decisions=_latest(decisions + newer.decisions, lambda decision: decision.id),
        audit=(older.audit + newer.audit)[-AUDIT_KEPT:],
    )


def _latest(values: tuple[V, ...], key: Callable[[V], object]) -> tuple[V, ...]:
    return tuple({key(value): value for value in values}.values())
