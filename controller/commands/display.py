"""What the commands print, made from the API's JSON: short, plain, and readable at 80 columns.

Every text goes through `plain`: names come from the network, and a terminal obeys control characters.
"""

import json
import shlex
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from controller.words import visible

Json = Mapping[str, Any]

LONGEST = 300  # characters of one sentence
_STYLES = {
    "learned": "green",
    "approved": "green",
    "allowed": "green",
    "pending": "yellow",
    "waiting": "yellow",
    "expired": "yellow",
    "mixed": "yellow",
    "denied": "red",
    "opens": "bold red",
    "changes": "yellow",
    "reads": "green",
}


def plain(value: object, style: str = "") -> Text:
    """Text that is shown as it is: no markup, no control characters, not too long."""
    return Text(visible(str(value), LONGEST), style=style)


def _marked(word: str) -> Text:
    return plain(word, _STYLES.get(word, ""))


def line(*parts: object) -> Text:
    return Text.assemble(*(part if isinstance(part, Text) else plain(part) for part in parts))


def table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def row(table: Table, *cells: object) -> None:
    table.add_row(*(cell if isinstance(cell, Text) else plain(cell) for cell in cells))


def _plural(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def when(at: float | None) -> str:
    return "" if at is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _ago(at: float, now: float) -> str:
    seconds = max(0, round(now - at))
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            return f"{_plural(seconds // size, unit)} ago"
    return f"{seconds} s ago"


# ---------------------------------------------------------------- reading


def status(answer: Json) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    edges = answer["relationships"]
    known = ", ".join(f"{number} {name}" for name, number in edges.items()) or "none yet"
    pairs = ", ".join(f"{number} {name}" for name, number in answer["pairs"].items()) or "none yet"
    switches = [
        f"{name} ({'connected' if up else 'not connected'})" for name, up in answer["switches"].items()
    ]
    waiting, learning = answer["waiting_devices"], answer["learning_services"]
    for name, value in (
        ("Site", plain(answer["site"], "bold")),
        ("Switches", ", ".join(switches) or "none has connected yet"),
        ("Inspector", plain("running") if answer["inspector"] else plain("not running", "red")),
        ("Devices", f"{answer['devices']}{f', {waiting} waiting to be admitted' if waiting else ''}"),
        ("Services", f"{answer['services']}{f', {learning} learning' if learning else ''}"),
        ("Relationships", known),
        ("Treatments", pairs),
        *((("Paused", _paused(answer["paused"])),) if answer["paused"] else ()),
        ("Requests", _asks(answer["requests"])),
    ):
        row(table, plain(name, "dim"), value)
    return table


def _paused(until: Mapping[str, float]) -> Text:
    said = ", ".join(f"{name} until {when(at)}" for name, at in until.items())
    return plain(f"the protection of {said}", "bold red")


def _asks(number: int) -> Text:
    if not number:
        return plain("none open", "green")
    return plain(f"{number} open; see them with: graphwall requests", "yellow")


def request(answer: Json, wanted: str, now: float) -> RenderableType | None:
    """One request with all that is known of it; None when there is none with this id or beginning of one."""
    fitting = [one for one in answer["requests"] if one["id"].startswith(wanted)]
    exact = [one for one in fitting if one["id"] == wanted] or fitting
    if not wanted or len(exact) != 1:
        return None
    found = exact[0]
    details = Table.grid(padding=(0, 2))
    for name, value in (
        ("Asks", f"{found['client_name']} ({found['client']})"),
        ("Is asked", f"{found['server_name']} ({found['server']})" if found["server"] else ""),
        ("First", when(found["first_seen"])),
        ("Last", when(found["last_seen"])),
        ("Sensitive", "yes: it needs a manager" if found["sensitive"] else ""),
        ("Relationships", " ".join(found["relationships"])),
    ):
        if value:
            row(details, plain(f"  {name}", "dim"), value)
    return Group(_card(found, now), details)


def requests(answer: Json, now: float) -> RenderableType:
    cards = [card for request in answer["requests"] for card in (_card(request, now), Text())]
    return Group(*cards[:-1]) if cards else plain("Nothing waits for an answer.")


def _card(request: Json, now: float) -> RenderableType:
    attempts = _plural(request["attempts"], "attempt")
    trying = "still trying" if request["still_trying"] else "no longer trying"
    several = request["relationships"][1:]
    text = [
        line(plain(request["id"], "bold cyan"), "  ", plain(request["sentence"], "bold")),
        line("  Why you are asked: ", request["explanation"], " (", request["reason"], ")"),
        line(
            "  Risk: ",
            _marked(request["risk"]),
            f"; {attempts}, the last {_ago(request['last_seen'], now)}, {trying}",
        ),
    ]
    if several:
        text.append(plain(f"  {len(several) + 1} questions; choose some with --only ID:"))
        asked = zip(request["relationships"], request["questions"], strict=True)
        text += [line("    ", plain(name, "cyan"), "  ", question) for name, question in asked]
    text.append(line("  Answer: ", plain(f"graphwall approve {request['id']}", "cyan"), "  or  ",
                     plain(f"graphwall deny {request['id']}", "cyan")))  # fmt: skip
    return Group(*text)


def graph(answer: Json) -> RenderableType:
    """Relationships below the two services that they join; those that need an answer first."""
    if not answer["relationships"]:
        return plain("No relationship is known yet: services have to talk first.")
    services = {view["service"]["id"]: view for view in answer["services"]}
    names = {device["id"]: device["name"] for device in answer["devices"]}
    groups: defaultdict[tuple[str, str], list[Json]] = defaultdict(list)
    for edge in sorted(answer["relationships"], key=_order):
        access = edge["relationship"]["access"]
        groups[access["client"], access["server"]].append(edge)
    shown: list[RenderableType] = []
    for (client, server), edges in groups.items():
        ends = (
            _who(client, edges[0]["client_device"], services, names),
            _who(server, edges[0]["server_device"], services, names),
        )
        shown.append(plain(" → ".join(ends), "bold"))
        table = Table.grid(padding=(0, 2))
        for edge in edges:
            relationship = edge["relationship"]
            what = _what(relationship["access"])
            row(table, f"  {edge['id']}", _marked(relationship["status"]), edge["treatment"], what)
        shown.append(table)
    counted = _plural(len(answer["relationships"]), "relationship"), _plural(len(services), "service")
    return Group(*shown, Text(), plain(f"{counted[0]} of {counted[1]}."))


def _order(edge: Json) -> tuple[int, float]:
    urgent = {"pending": 0, "denied": 1, "expired": 2}
    return urgent.get(edge["relationship"]["status"], 3), edge["relationship"]["first_seen"]


def _who(service: str, device: str, services: Mapping[str, Json], names: Mapping[str, str]) -> str:
    """Such as "Washing machine (control)"; both names are cut, so that a line stays readable."""
    name = services[service]["service"]["name"] if service in services else service.rpartition("/")[2]
    device_name = names.get(device, device)
    return visible(device_name) if name == device_name else f"{visible(device_name)} ({visible(name)})"


def _what(access: Json) -> Text:
    operation = "anything" if access["operation"] == "*" else access["operation"]
    resource = "" if access["resource"] in ("", "*") else f" {access['resource']}"
    protocol = "" if access["protocol"] == "*" else f" ({access['protocol']})"
    return plain(f"{operation}{resource}{protocol}")


def services(answer: Json) -> RenderableType:
    if not answer["services"]:
        return plain("No service was seen yet.")
    shown = []
    for view in sorted(answer["services"], key=lambda view: view["service"]["id"]):
        service, learning = view["service"], view["learning"]
        progress = "" if learning is None else f", learning ({learning['progress']:.0%})"
        known = _plural(view["relationships"], "relationship")
        shown += [
            plain(service["id"], "bold cyan"),
            line("  ", service["name"], " on ", view["device"]["name"], f"{progress}, {known}"),
        ]
    return Group(*shown)


def devices(answer: Json) -> RenderableType:
    """Devices of the site, then who outside they talk to. "Everyone on the site" is an address, no device."""
    found = [device for device in answer["devices"] if device["place"] != "group"]
    if not found:
        return plain("No device was seen yet.")
    shown = table("Id", "Name", "Kind", "Admission", "Addresses")
    for device in sorted(found, key=lambda device: device["place"] != "site"):
        admission = device["admission"]
        style = {"new": "yellow", "blocked": "red"}.get(admission, "")
        addresses = " ".join(sorted(device["addresses"]))
        word = plain(admission, style) if device["place"] == "site" else plain("outside", "dim")
        if device["paused_until"] is not None:
            word = plain(f"protection paused until {when(device['paused_until'])}", "bold red")
        row(shown, device["id"], device["name"], device["kind"], word, addresses)
    return shown


def one_service(answer: Json) -> RenderableType:
    view = answer["service"]
    service = view["service"]
    learning = view["learning"]
    text: list[RenderableType] = [
        line(plain(service["name"], "bold"), " (", service["id"], ") on ", view["device"]["name"]),
        plain(
            "Its learning phase is over."
            if learning is None
            else f"It is learning: {learning['progress']:.0%} done."
        ),
    ]
    text += [
        line("  ", _marked(edge["relationship"]["status"]), ": ", edge["sentence"])
        for edge in answer["relationships"]
    ]
    return Group(*text)


def review(answer: Json) -> RenderableType:
    """What a service has learnt, and what of it deserves a look."""
    worth, ended = answer["worth_a_look"], answer["ended_at"]
    at = "" if ended is None else f" since {when(ended)}"
    state = "It is still learning" if answer["learning"] else f"Its learning phase is over{at}"
    look = f"{len(worth)} deserve a look" if worth else "none deserves a look"
    first = f"{state}: {_plural(answer['learnt'], 'relationship')} learnt, {look}."
    text: list[RenderableType] = [plain(first, "bold")]
    for one in worth:
        text.append(
            line("  ", plain(one["relationship"], "cyan"), "  ", _marked(one["risk"]), "  ", one["sentence"])
        )
        text.append(plain(f"    {one['why']}"))
    if worth:
        text.append(plain("Block one with: graphwall deny ID", "dim"))
    return Group(*text)


def why(answer: Json) -> RenderableType:
    verdict = "not known" if answer["verdict"] == "unknown" else answer["verdict"]
    return Group(_marked(verdict), *(plain(sentence) for sentence in answer["sentences"]))


def log(answer: Json) -> RenderableType:
    entries = list(reversed(answer["entries"]))
    if not entries:
        return plain("The log is empty.")
    table = Table.grid(padding=(0, 2))
    for entry in entries:
        number = entry["subject"]
        about = f"decision {number}" if entry["event"] in ("decision", "undo") and number.isdecimal() else ""
        signed = ", ".join(part for part in (entry["by"], about) if part)
        row(table, plain(when(entry["at"]), "dim"), f"{entry['text']}{f' ({signed})' if signed else ''}")
    return table


def verified(answer: Json) -> RenderableType:
    """A line for each switch, and each difference below it."""
    shown: list[RenderableType] = []
    for check in answer["switches"]:
        repaired = f"; {check['repaired']} repaired since the start" if check["repaired"] else ""
        if not check["read"]:
            shown.append(plain(f"✗ {check['name']}: could not be read; see graphwall status", "red"))
        elif check["differing"]:
            numbers = f"{check['found']} flows instead of {check['expected']}, {check['differing']} differ"
            shown.append(plain(f"✗ {check['name']}: {numbers}; they are being repaired{repaired}", "red"))
        else:
            text = f"✓ {check['name']}: all {check['expected']} flows are as the model asks{repaired}"
            shown.append(plain(text, "green"))
        for difference in check["differences"]:
            edges = difference["relationships"]
            concerned = f" (relationship {', '.join(edges[:5])})" if edges else ""
            shown.append(plain(f"    {difference['kind']}: {difference['sentence']}{concerned}"))
    shown += [plain(f"✗ {fault}", "red") for fault in answer.get("faults", ())]
    return Group(*shown) if shown else plain("No switch has connected yet.", "yellow")


# ---------------------------------------------------------------- what was done


def carried(done: str, answer: Json) -> RenderableType:
    """What became of a command; `done` such as "Allowed"."""
    decision = answer["decision"]
    if decision is None:
        return plain(f"{done}.")
    first = line(plain(done, "bold"), *([": ", answer["sentence"]] if answer["sentence"] else []))
    return Group(first, *_force(answer, undone=done == "Undone"))


def _force(answer: Json, undone: bool) -> Iterator[Text]:
    if answer["in_force"]:
        latency = answer["latency"]
        fast = "" if latency is None or undone else f", {latency * 1000:.0f} ms after the decision"
        yield plain(f"  It is in force{fast}.", "green")
    else:
        yield plain("  It is stored, but not in force yet: see graphwall status.", "yellow")
    if answer["until"] is not None and not undone:
        yield plain(f"  It ends at {when(answer['until'])}.")
    if not undone:
        yield line("  Take it back with: ", plain(f"graphwall undo {answer['decision']}", "cyan"))


def certificates(folder: Path, names: Iterable[str], until: str) -> Iterator[str]:
    """How the files of `graphwall certs` are used; lines that can be copied, however long."""
    for name in names:
        if name == "controller":
            yield "On the controller, in site.yaml (its user must be able to read the key):"
            yield "  openflow:"
            for key, file in (("key", "controller.key"), ("certificate", "controller.pem"), ("ca", "ca.pem")):
                yield f"    {key}: {json.dumps(str(folder / file))}"
        else:
            files = " ".join(
                shlex.quote(str(folder / file)) for file in (f"{name}.key", f"{name}.pem", "ca.pem")
            )
            yield f"On the switch {name}, as root, with these three files:"
            yield f"  ovs-vsctl set-ssl {files}"
            yield "  graphwall attach BRIDGE --controller ssl:ADDRESS:6654"
    yield f"They are valid until {until}. Keep {folder / 'ca.key'} to yourself: it makes switches."


def check(name: str, passed: bool, detail: str) -> RenderableType:
    """One line of the self-test."""
    sign = plain("✓ ", "green") if passed else plain("✗ ", "red")
    return line(sign, name, *([plain(f": {detail}", "dim" if passed else "red")] if detail else []))


def report(rows: Iterable[tuple[str, str]]) -> RenderableType:
    """Names and values below each other."""
    table = Table.grid(padding=(0, 2))
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in rows:
        row(table, plain(f"  {name}", "dim"), value)
    return table
