"""How the outcome of a replay is shown to people: what was learnt, asked and denied, in sentences."""

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from controller.commands.display import line, plain

Json = Mapping[str, Any]

SHOWN: Final = 40  # of one list


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))


def _listed(title: str, lines: Iterable[RenderableType]) -> Iterator[RenderableType]:
    """A heading and its lines, not too many of them."""
    found = list(lines)
    if found:
        yield Text()
        yield plain(title, "bold")
        yield from found[:SHOWN]
        if len(found) > SHOWN:
            yield plain(f"  … and {len(found) - SHOWN} more; --json has all", "dim")


def _services(answer: Json) -> Iterator[RenderableType]:
    devices = {device["id"]: device for device in answer["devices"]}
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    shown = [s for s in answer["services"] if s["device"] in devices]
    for service in shown[:SHOWN]:
        device = devices[service["device"]]
        learning = plain("learning", "yellow") if service["learning"] else plain("")
        table.add_row(
            line("  ", plain(service["name"])),
            plain(device["name"]),
            plain(", ".join(device["addresses"][:3]), "dim"),
            plain(", ".join(service["endpoints"]), "dim"),
            learning,
        )
    if shown:
        yield Text()
        yield plain(f"{len(shown)} services", "bold")
        yield table
        if len(shown) > SHOWN:
            yield plain(f"  … and {len(shown) - SHOWN} more; --json has all", "dim")


def _counts(counted: Mapping[str, int], style: str) -> Iterator[RenderableType]:
    for what, count in counted.items():
        yield line(plain(f"{count:>9}  ", style), what)


def summary(answer: Json) -> RenderableType:
    """The whole account of a replay."""
    messages = answer["messages"]
    total = messages["allowed"] + messages["denied"]
    read = [f"{answer[what]} {what}" for what in ("frames", "accesses") if answer[what]]
    parts: list[RenderableType] = [
        plain(f"{_when(answer['begin'])} to {_when(answer['end'])}", "dim"),
        line(
            f"{', '.join(read)}, {total} messages: ",
            plain(f"{messages['allowed']} allowed", "green"),
            ", ",
            plain(f"{messages['denied']} denied", "red" if messages["denied"] else "dim"),
        ),
    ]
    if answer["learnt_until"] is not None:
        parts.append(plain(f"Learnt until {_when(answer['learnt_until'])}.", "dim"))
    parts.extend(_services(answer))
    allowed = [r for r in answer["relationships"] if r["status"] in ("learned", "approved")]
    parts.extend(
        _listed(
            f"{len(allowed)} relationships",
            (
                line(
                    f"  {r['sentence'].replace(' wants to ', ' may ', 1)}",
                    plain(f"  ({r['allowed']})", "dim"),
                )
                for r in allowed
            ),
        )
    )
    parts.extend(_listed("Would have been asked", _requests(answer)))
    parts.extend(_listed("Denied messages, by what they violate", _counts(answer["denied"], "red")))
    parts.extend(_listed("By the labels of the log", _labels(answer["labelled"])))
    parts.extend(_listed("Not judged", _counts(answer["not_judged"], "dim")))
    if all(service["learning"] for service in answer["services"]) and answer["services"]:
        parts += [
            Text(),
            plain("Everybody was still learning at the end; --learn says for how long.", "yellow"),
        ]
    return Group(*parts)


def _requests(answer: Json) -> Iterator[RenderableType]:
    for request in answer["requests"]:
        yield line("  ", plain(request["sentence"], "yellow"), plain(f"  ({request['reason']})", "dim"))
        if len(request["questions"]) > 1:
            yield from (line("      ", question) for question in request["questions"][:5])


def _labels(labelled: Mapping[str, Mapping[str, int]]) -> Iterator[RenderableType]:
    for label, count in labelled.items():
        yield line(f"  {label}: ", f"{count['allowed']} allowed, ", plain(f"{count['denied']} denied", "red"))
