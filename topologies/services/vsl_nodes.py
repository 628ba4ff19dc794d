"""The nodes that a knowledge agent keeps: values, access, locks, subscribers. Knows no network."""

import time
from dataclasses import dataclass, field
from typing import Any

from topologies.services.vsl import MODELS, VslError


@dataclass(slots=True)
class Node:
    type: str
    value: str
    access: str
    version: int = 0
    timestamp: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who is told of changes: a local service (`agent` empty), or a service of another agent."""

    callback: str
    agent: str = ""


@dataclass(slots=True)
class Lock:
    """A subtree that one service may write, and what it wrote but did not commit yet."""

    service: str
    staged: dict[str, str] = field(default_factory=dict)


def split(address: str) -> list[str]:
    return [part for part in address.split("/") if part]


def not_found(address: str) -> VslError:
    return VslError(404, f"there is no node {address}", "NodeNotExisting")


class Store:
    """The nodes of this agent's services. Pure state: no network."""

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self.services: dict[str, str] = {}
        self._nodes: dict[str, Node] = {}
        self._locks: dict[str, Lock] = {}
        self.subscribers: dict[str, list[Subscriber]] = {}

    def register(self, service: str, model: str) -> str:
        """The address of the service, whose nodes are now there; raises VslError for an unknown model."""
        if model not in MODELS:
            raise VslError(404, f"there is no model {model}", "ModelNotExisting")
        address = f"/{self.agent}/{service}"
        self.services[service] = model
        self._nodes[address] = Node(model, "", "r")
        for name, node in MODELS[model].items():
            self._nodes[f"{address}/{name}"] = Node(node.type, node.value, node.access)
        return address

    def unregister(self, service: str) -> None:
        self.services.pop(service, None)
        address = f"/{self.agent}/{service}"
        for gone in [a for a in self._nodes if a == address or a.startswith(f"{address}/")]:
            del self._nodes[gone]
            self.subscribers.pop(gone, None)

    def get(self, address: str, scope: str = "VALUE", depth: int = 0) -> dict[str, Any]:
        """The node as the VSL shows it; raises VslError 404."""
        node = self._nodes.get(address)
        if node is None:
            raise not_found(address)
        shown: dict[str, Any] = {}
        if scope in ("VALUE", "COMPLETE"):
            shown["value"] = node.value
        if scope in ("METADATA", "COMPLETE"):
            shown |= {"types": [node.type], "version": node.version, "access": node.access}
            shown["timestamp"] = int(node.timestamp)
        if depth > 0:
            below = [
                a for a in self._nodes if a.startswith(f"{address}/") and "/" not in a[len(address) + 1 :]
            ]
            shown["children"] = {a.rpartition("/")[2]: self.get(a, scope, depth - 1) for a in below}
        return shown

    def set(self, address: str, value: str, service: str) -> bool:
        """Write a node; False when it waits for a commit. Raises VslError 403 or 404."""
        node = self._nodes.get(address)
        if node is None:
            raise not_found(address)
        if split(address)[1] != service and node.access != "rw":
            raise VslError(403, f"{service} may not write {address}", "NoPermission")
        for root, lock in self._locks.items():
            if address == root or address.startswith(f"{root}/"):
                if lock.service != service:
                    raise VslError(403, f"{address} is locked by {lock.service}", "SubtreeLocked")
                lock.staged[address] = value
                return False
        self._write(node, value)
        return True

    @staticmethod
    def _write(node: Node, value: str) -> None:
        node.value, node.version, node.timestamp = value, node.version + 1, time.time()

    def lock(self, address: str, service: str) -> None:
        """Raises VslError when the subtree is not there or locked."""
        self.get(address)
        for root in self._locks:
            if f"{root}/".startswith(f"{address}/") or f"{address}/".startswith(f"{root}/"):
                raise VslError(403, f"{root} is locked", "SubtreeLocked")
        self._locks[address] = Lock(service)

    def release(self, address: str, service: str, *, commit: bool) -> dict[str, str]:
        """End a lock; returns what was written by it. Raises VslError when it is not `service`'s."""
        lock = self._locks.get(address)
        if lock is None or lock.service != service:
            raise VslError(403, f"{service} has not locked {address}", "SubtreeNotLocked")
        del self._locks[address]
        if not commit:
            return {}
        for node, value in lock.staged.items():
            self._write(self._nodes[node], value)
        return lock.staged

    def subscribe(self, address: str, subscriber: Subscriber) -> None:
        self.get(address)
        self.subscribers.setdefault(address, []).append(subscriber)

    def unsubscribe(self, address: str, callback: str) -> None:
        self.subscribers[address] = [s for s in self.subscribers.get(address, []) if s.callback != callback]
