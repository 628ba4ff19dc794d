"""What is played. Each scenario drives the laboratory, asks the firewall, and checks its promises.

A check looks at the real thing (the door, what the lock's agent received, the switch's flows), never at
what a part says of itself alone.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from topologies import waiting
from topologies.demo.stage import Stage
from topologies.marks import LabError

PATIENCE = 30.0  # seconds for what must happen
CALM = 6.0  # seconds in which what is forbidden gets its chances
ASKS_AT_MOST = 12  # cards until something works

WASHER, BATTERY, LATER, LOCK = "washing-machine", "battery", "battery-2", "door-lock"
CONTROL, STORAGE, STORAGE_LATER, BOLT = "washing-control", "storage", "storage-2", "lock"


def learning(stage: Stage) -> None:
    """Everything is new, and nobody is asked: the services learn until nothing new comes."""
    report = stage.report
    report.chapter(
        "Learning", "Each service is watched from its first message until nothing new comes any more."
    )
    stage.laboratory.wait_ready(60.0)
    report.step("All services do their work")
    washed = _until(
        lambda: _number(stage.shows(CONTROL)("washes")) > 0, "the washing machine starts", PATIENCE
    )
    report.promise("The washing machine starts when the battery is full", washed)
    firewall = stage.firewall
    if firewall is None:
        return

    def graduated() -> bool:
        status = firewall.get("status")
        return bool(status["learning_services"] == 0 and status["relationships"].get("learned", 0) > 0)

    report.step("Waiting until the learning phases are over")
    over = _until(graduated, "learning ends", 90.0)
    status = firewall.get("status")
    learnt = status["relationships"].get("learned", 0)
    report.promise(
        "Learning ends by itself",
        over,
        f"relationships: {learnt}, services: {status['services']}, devices: {status['devices']}",
    )
    edges = firewall.get("graph")["relationships"]
    rows = [(e["sentence"].replace(" wants to ", " may "), e["treatment"]) for e in edges]
    report.table("What was learnt", ("Relationship", "Treatment"), sorted(rows)[:40])
    report.pairs(firewall.get("pairs")["pairs"], stage.names())


def new_battery(stage: Stage) -> None:
    """Scenario 1 of the paper: a second battery joins; the washing machine may use it once it is allowed."""
    report, laboratory = stage.report, stage.laboratory
    battery, washer = stage.human(LATER), stage.human(WASHER)
    report.chapter("Scenario 1: a new battery", f"{battery} joins. {washer} would like to use it, too.")
    report.step(f"{battery} is plugged in")
    laboratory.join(LATER)
    firewall = stage.firewall
    if firewall is None:
        seen = _until(
            lambda: _level(stage) is not None, "the washing machine reads the new battery", PATIENCE
        )
        report.promise("Without the firewall, nobody is asked", seen)
        return
    asked = _await_card(stage, "admission")
    report.promise("The site manager is asked whether it may join", asked is not None)
    if asked is not None:
        report.said(asked["sentence"])
        made = firewall.answer(asked["id"], approve=True)
        report.step(f"Allowed; in force after {_ms(made)}")
        if stage.names()[_device(stage, LATER)] != battery:
            report.step(f"The site manager calls it {battery}")
            firewall.post(f"devices/{_device(stage, LATER)}/rename", {"name": battery})
    card = _await_card(stage, "access", _from_to(WASHER, LATER))
    report.promise("The washing machine's attempt is put before the site manager", card is not None)
    if card is None:
        return
    report.said(f"{card['sentence']}. {card['explanation']} Risk: {card['risk']}.")
    received = [e for e in laboratory.services.log("agent4") if CONTROL in str(e.get("by", ""))]
    report.promise(
        "Until then the battery has received nothing of it", not received and _level(stage) is None
    )
    works = False
    for _ in range(ASKS_AT_MOST):
        if card is not None:
            made = firewall.answer(card["id"], approve=True)
            report.step(f"Allowed: {made['sentence']}; in force after {_ms(made)}")
        works = _until(lambda: _level(stage) is not None, "it works", 8.0)
        if works:
            break
        card = _await_card(stage, "access", _from_to(WASHER, LATER), 2.0)
    report.promise("Once it is allowed, it works", works, f"charge level {_level(stage)} %")


def malicious_update(stage: Stage) -> None:
    """Scenario 2 of the paper: an update of the washing machine's control service opens the door."""
    report, services = stage.report, stage.laboratory.services
    washer, lock = stage.human(WASHER), stage.human(LOCK)
    report.chapter("Scenario 2: a malicious update", f"An update of {washer} tries to open {lock}.")
    report.promise("The door is closed", stage.shows(BOLT)("open") is False)
    report.step("The service manager updates washing-control to version 2")
    services.update(CONTROL, "2")
    firewall = stage.firewall
    if firewall is None:
        opened = _until(lambda: stage.shows(BOLT)("open") is True, "the door opens", PATIENCE)
        report.promise("Without the firewall the door opens", opened, "the door is OPEN" if opened else "")
        services.update(CONTROL, "1")
        return
    card = _await_card(stage, "access", _from_to(WASHER, LOCK))
    report.promise("The site manager is asked", card is not None)
    if card is None:
        return
    report.said(f"{card['sentence']}. {card['explanation']} Risk: {card['risk']}.")
    edges = {e["id"]: e for e in firewall.get("graph")["relationships"]}
    edge = edges[card["relationships"][0]]["relationship"]
    access = edge["access"]
    named = access["client"].endswith(CONTROL) and access["operation"] == "write" and card["reason"]
    report.promise(
        "The request names service, operation and violated property",
        bool(named),
        f"{access['client']}: {edge['verb']} {access['resource']} at {access['server']}: {card['reason']}",
    )
    made = firewall.answer(card["id"], approve=False)
    report.step(f"Kept blocked; in force after {_ms(made)}")
    pair = next(
        (p for p in firewall.get("pairs")["pairs"] if (p["client"], p["server"]) == _ends(stage)), None
    )
    report.promise(
        "A drop flow carries the denial in the switch", pair is not None and pair["treatment"] == "drop",
        f"cookie {pair['cookie']}" if pair else "",
    )  # fmt: skip
    tries = _attempts(stage)
    _until(lambda: _attempts(stage) > tries, "it tries again", CALM)
    commands = [e for e in services.log("agent1") if CONTROL in str(e.get("by", ""))]
    report.promise("The lock has never received the command", not commands)
    report.promise(
        "The door is still closed", stage.shows(BOLT)("open") is False, f"after {_attempts(stage)} attempts"
    )
    why = firewall.get("why", client=_ends(stage)[0], server=_ends(stage)[1])
    for sentence in why["sentences"][:4]:
        report.said(sentence)
    report.step("The service manager takes the update back")
    services.update(CONTROL, "1")


def migration(stage: Stage) -> None:
    """A service moves to another node, and keeps its model: nobody is asked again."""
    report, laboratory = stage.report, stage.laboratory
    target = next(
        h.name for h in stage.topology.hosts if h.agent and h.name not in (WASHER, BATTERY, LATER, LOCK)
    )
    report.chapter(
        "Migration", f"The battery's service moves from {stage.human(BATTERY)} to {stage.human(target)}."
    )
    firewall = stage.firewall
    before: set[str] = set()
    if firewall is not None:
        before = {
            card["id"] for card in firewall.requests() if card["client"].startswith(_device(stage, WASHER))
        }
        moved = f"{_device(stage, BATTERY)}/{STORAGE}"
        report.step(f"graphwall move {moved} {_device(stage, target)}")
        firewall.post(f"services/{moved}/move", {"device": _device(stage, target)})
    laboratory.services.migrate(STORAGE, target)
    agent = next(s.name for s in stage.topology.host(target).services if s.program == "knowledge_agent")
    report.step(f"It runs at {agent} now")

    def reads() -> bool:
        batteries: Mapping[str, Mapping[str, object]] = stage.shows(CONTROL)("batteries") or {}
        return "level" in batteries.get(f"/{agent}/{STORAGE}", {})

    works = _until(reads, "the washing machine reads it there", PATIENCE)
    report.promise("The washing machine goes on using it", works)
    if firewall is not None:
        cards = [c for c in firewall.requests() if c["client"].startswith(_device(stage, WASHER))]
        fresh = [c["sentence"] for c in cards if c["id"] not in before]
        report.promise("Nobody is asked again", not fresh, "; ".join(fresh))


SCENARIOS: Mapping[str, Sequence[Callable[[Stage], None]]] = {
    "all": (learning, new_battery, malicious_update, migration),
    "new-battery": (learning, new_battery),
    "malicious-update": (learning, malicious_update),
    "migration": (learning, migration),
}


# Helpers


def _until(condition: Callable[[], object], what: str, timeout: float) -> bool:
    try:
        waiting.until(condition, what, timeout)
    except waiting.WaitedError:
        return False
    return True


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0


def _ms(made: Mapping[str, Any]) -> str:
    return f"{made['latency'] * 1000:.1f} ms" if made.get("latency") is not None else "an unknown time"


def _device(stage: Stage, host: str) -> str:
    """The id that Graphwall has for a host of the laboratory."""
    mac = stage.topology.host(host).mac
    found = next((d["id"] for d in stage.guarded.get("devices")["devices"] if d["mac"] == mac), None)
    if found is None:
        raise LabError(f"graphwall has not seen {host} yet")
    return str(found)


def _ends(stage: Stage) -> tuple[str, str]:
    return _device(stage, WASHER), _device(stage, LOCK)


def _from_to(client: str, server: str) -> Callable[[Stage, Mapping[str, Any]], bool]:
    def fits(stage: Stage, card: Mapping[str, Any]) -> bool:
        return bool(
            card["client"].startswith(f"{_device(stage, client)}/")
            and card["server"].startswith(f"{_device(stage, server)}/")
        )

    return fits


def _await_card(
    stage: Stage,
    kind: str,
    fits: Callable[[Stage, Mapping[str, Any]], bool] = lambda _stage, _card: True,
    timeout: float = PATIENCE,
) -> Mapping[str, Any] | None:
    """The first card of this kind that fits; None when none comes in time."""

    def found() -> Mapping[str, Any] | None:
        return next((c for c in stage.guarded.requests() if c["kind"] == kind and fits(stage, c)), None)

    begin = time.monotonic()
    card = None
    while card is None and time.monotonic() - begin < timeout:
        card = found()
        time.sleep(0.1)
    return card


def _level(stage: Stage) -> object:
    """The charge level of the later battery as the washing machine has read it."""
    batteries: Mapping[str, Mapping[str, object]] = stage.shows(CONTROL)("batteries") or {}
    return next((b["level"] for a, b in batteries.items() if STORAGE_LATER in a and "level" in b), None)


def _attempts(stage: Stage) -> int:
    attack = stage.shows(CONTROL)("attack") or {}
    return int(attack.get("tries", 0))
