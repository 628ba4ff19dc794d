"""`graphwall selftest`: shows on a live site that the allowed passes, the new is asked, the denied blocked.

Two synthetic hosts are plugged into a bridge and talk, and the running controller is asked by its API
what it makes of that. Afterwards ports, hosts and all that was learnt of them are gone.
"""

import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

from controller.commands import attach
from controller.commands.client import Client, ClientError, segment
from controller.commands.selftest_hosts import Conversation, Host, NoAddressError, addresses
from controller.config import Config

T = TypeVar("T")
PATIENCE = 20.0  # seconds for what takes the controller a moment
NAMES = ("Self-test A", "Self-test B")
ALLOWED, ASKED = ("GET", "/self-test"), ("PUT", "/self-test")


class SelfTestError(Exception):
    """It cannot be done here. The message says why and what to do."""


class Failed(Exception):
    """A check has failed; the message says what was seen instead."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the result."""

    name: str
    passed: bool
    detail: str = ""


Say = Callable[[Check], object]


def _until(condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
    """The first true value; raises Failed with what has not happened."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > end:
            raise Failed(f"{what} within {seconds:g} s")
        time.sleep(0.1)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Cleaning up is not to be cut short by a second Ctrl-C."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(client: Client, config: Config, bridge: str, say: Say) -> bool:
    """Do all of it, and say each check as it is done; whether all have passed. Raises SelfTestError.

    Also after Ctrl-C nothing is left behind.
    """
    known = _prepared(client, bridge)
    try:
        pair = addresses(config.networks, known)
    except NoAddressError as error:
        raise SelfTestError(str(error)) from None
    token = secrets.token_hex(3)
    hosts = tuple(Host(bridge, f"gws{token}{letter}", one) for letter, one in zip("ab", pair, strict=True))
    terminated = signal.signal(signal.SIGTERM, _interrupt)
    test = _Test(client, hosts[0], hosts[1], say)
    try:
        passed = test.run()
    except attach.AttachError as error:
        raise SelfTestError(str(error)) from error
    finally:
        with _uninterrupted():
            test.clean_up()
        signal.signal(signal.SIGTERM, terminated)
    try:
        test.look_for_traces()
    except Failed as failure:
        say(Check("Nothing of the two hosts is left in the model", passed=False, detail=str(failure)))
        return False
    say(Check("Nothing of the two hosts is left in the model", passed=True))
    return passed


def _prepared(client: Client, bridge: str) -> set[str]:
    """All known addresses; raises SelfTestError unless controller, inspector and bridge are ready."""
    try:
        found = next((one for one in attach.attachments() if one.bridge == bridge), None)
    except attach.AttachError as error:
        raise SelfTestError(str(error)) from error
    if found is None:
        raise SelfTestError(f"{bridge} is not attached: graphwall attach {bridge}")
    switches = client.get("switches")["switches"]
    switch = next((one for one in switches if one["switch"] == found.switch and one["connected"]), None)
    if switch is None:
        raise SelfTestError(f"{bridge} is not connected to this controller: see graphwall status")
    if not switch["inspected"] or not client.get("status")["inspector"]:
        raise SelfTestError("there is no inspector, so nothing new can pass: see graphwall status")
    devices = client.get("devices")["devices"]
    return {a for device in devices for a in (device["mac"], *device["addresses"]) if a}


class _Test:
    """The checks, one after the other."""

    def __init__(self, client: Client, asker: Host, server: Host, say: Say) -> None:
        self._client = client
        self._hosts = (asker, server)
        self._say = say
        self._ids: list[str] = []
        self._conversation: Conversation | None = None

    def run(self) -> bool:
        """Up to the first check that fails."""
        for check in (self._introduce, self._learn, self._allowed, self._asked, self._denied):
            name = check.__doc__ or ""
            try:
                detail = check()
            except (Failed, ClientError) as failure:
                self._say(Check(name, passed=False, detail=str(failure)))
                return False
            self._say(Check(name, passed=True, detail=detail))
        return True

    def clean_up(self) -> None:
        """Ports and hosts first, so that they cannot come back."""
        if self._conversation is not None:
            self._conversation.close()
        for host in self._hosts:
            host.unplug()
        with suppress(ClientError):
            self._forget()

    def look_for_traces(self) -> None:
        """Raises Failed when something of the hosts is still known; what was on its way is forgotten, too."""

        def clean() -> bool:
            self._forget()
            return not self._mine()

        try:
            _until(clean, "they were not forgotten", 10.0)
            graph, decisions = self._client.get("graph"), self._client.get("decisions")
        except ClientError as error:
            raise Failed(str(error)) from None
        text = f"{graph} {self._client.get('requests')} {decisions} {self._client.get('pairs')}"
        left = next(
            (word for word in (*self._ids, *(h.address.mac for h in self._hosts)) if word in text), None
        )
        if left is not None:
            raise Failed(f"{left} is still mentioned; forget it with: graphwall forget DEVICE")

    def _mine(self) -> list[Any]:
        """The hosts as the controller knows them, in their order."""
        devices = {device["mac"]: device for device in self._client.get("devices")["devices"]}
        return [devices[h.address.mac] for h in self._hosts if h.address.mac in devices]

    def _forget(self) -> None:
        for device in self._mine():
            self._client.post(f"devices/{segment(device['id'])}/forget", {})

    # ------------------------------------------------------------ the checks; their first line is shown

    def _introduce(self) -> str:
        """Two new devices are noticed and let in as the site has it"""
        for host in self._hosts:
            host.plug()

        def noticed() -> list[Any]:
            for host in self._hosts:
                host.announce()
            found = self._mine()
            return found if len(found) == 2 else []

        devices = _until(noticed, "the controller did not notice them")
        self._ids = [device["id"] for device in devices]
        for device, name in zip(devices, NAMES, strict=True):
            if device["admission"] == "new":
                cards = self._client.get("requests")["requests"]
                card = next(c for c in cards if c["kind"] == "admission" and c["client"] == device["id"])
                self._client.post(f"requests/{segment(card['id'])}/approve", {"wait": 2.0, "confirmed": True})
            self._client.post(f"devices/{segment(device['id'])}/rename", {"name": name})

        def addressed() -> bool:
            noticed()
            return all(
                host.address.ip in d["addresses"] for host, d in zip(self._hosts, self._mine(), strict=True)
            )

        _until(addressed, "their addresses were not taken (see bindings: in site.yaml)")
        automatic = all(device["admission"] != "new" for device in devices)
        return "automatically" if automatic else "both waited for the manager's word"

    def _learn(self) -> str:
        """While they learn, what they do passes and becomes the model"""
        self._conversation = Conversation(*self._hosts)
        _until(lambda: self._passes(*ALLOWED), "their conversation did not get through")
        _until(lambda: self._edges("learned"), "it was not learnt")
        for service in self._client.get("services")["services"]:
            if service["service"]["device"] in self._ids and service["service"]["learning"]:
                path = f"services/{segment(service['service']['id'])}/learn"
                self._client.post(path, {"action": "end"})
        _until(self._inspected, "the end of their learning did not come into force")
        return "learning was ended"

    def _allowed(self) -> str:
        """An allowed conversation passes"""
        began = time.monotonic()
        _until(lambda: self._passes(*ALLOWED), "it did not pass", 5.0)
        return f"{' '.join(ALLOWED)} answered in {(time.monotonic() - began) * 1000:.0f} ms"

    def _asked(self) -> str:
        """A new operation is held back, and put before the manager"""
        if self._passes(*ASKED):
            raise Failed("it passed")
        card = _until(self._card, "nobody was asked")
        return str(card["sentence"])

    def _denied(self) -> str:
        """A denied one stays blocked without another question, and what is allowed goes on"""
        card = _until(self._card, "nobody was asked")
        self._client.post(f"requests/{segment(card['id'])}/deny", {"wait": 2.0})
        _until(lambda: self._edges("denied"), "the denial was not noted")
        if self._passes(*ASKED):
            raise Failed("it passed")
        if self._card():
            raise Failed("it was asked about again")
        _until(lambda: self._passes(*ALLOWED), "what is allowed does not pass any more", 5.0)
        return ""

    # ------------------------------------------------------------ what they look at

    def _passes(self, method: str, path: str) -> bool:
        assert self._conversation is not None
        return self._conversation.ask(method, path)

    def _edges(self, status: str) -> list[Any]:
        edges = self._client.get("graph")["relationships"]
        return [
            edge
            for edge in edges
            if edge["client_device"] == self._ids[0] and edge["relationship"]["status"] == status
        ]

    def _inspected(self) -> bool:
        pairs = [pair for pair in self._client.get("pairs")["pairs"] if pair["client"] == self._ids[0]]
        return any(pair["in_force"] and pair["treatment"] == "inspect" for pair in pairs)

    def _card(self) -> Any:
        cards = self._client.get("requests")["requests"]
        return next((card for card in cards if card["client"].startswith(f"{self._ids[0]}/")), None)
