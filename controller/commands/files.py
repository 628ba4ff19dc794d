"""The commands that write and read files: the graph, the model and the dashboard.

Knows nothing of what is in them.
"""

import argparse
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType

from controller.commands.client import Client, ClientError
from controller.commands.display import line, plain

FORMATS = ("graphml", "json", "dot", "svg", "png")
KINDS = {"allow": "green", "deny": "red", "forget": "yellow"}

Arguments = argparse.Namespace


def add_export(parser: argparse.ArgumentParser) -> None:
    """The arguments of `graphwall export`."""
    what = "the graph for other programs; the model as YAML; a dashboard for Grafana"
    parser.add_argument("what", choices=("graph", "model", "grafana"), help=what)
    parser.add_argument("--format", choices=FORMATS, default=None, help="of the graph (default: by --output)")
    parser.add_argument("--output", "-o", metavar="FILE", type=Path, help="else it is printed")


def add_import(parser: argparse.ArgumentParser) -> None:
    """The arguments of `graphwall import`."""
    parser.add_argument(
        "file", metavar="FILE", type=Path, help="a model, as 'graphwall export model' writes it"
    )
    parser.add_argument("--yes", action="store_true", help="do it; else only what would change is shown")


def exported(client: Client | None, arguments: Arguments) -> bytes:
    """The file that was asked for."""
    if client is None:
        return files("controller.web").joinpath("grafana.json").read_bytes()
    if arguments.what == "model":
        return client.file("export/model")
    suffix = "" if arguments.output is None else arguments.output.suffix[1:].lower()
    kind = arguments.format or suffix or "json"
    if kind not in FORMATS:
        raise ClientError(
            f"a graph is not written as .{kind}; end the file in .{', .'.join(FORMATS)}, or give --format"
        )
    return client.file("export/graph", format=kind)


def put(content: bytes, target: Path | None) -> None:
    """Write a file, or print it."""
    if target is None:
        if sys.stdout.isatty() and b"\0" in content:
            raise ClientError("a picture cannot be printed; name a file with --output")
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    try:
        target.write_bytes(content)
    except OSError as error:
        raise ClientError(f"{target} cannot be written: {error.strerror}; choose another file") from None


def imported(client: Client, arguments: Arguments) -> tuple[Any, RenderableType]:
    """Compare a file with the model, and with --yes make the model what it says."""
    try:
        text = arguments.file.read_bytes()
    except OSError as error:
        raise ClientError(f"{arguments.file} cannot be read: {error.strerror}") from None
    found = client.send("import/model", text, "application/yaml", preview="1")
    shown: list[RenderableType] = [
        line("  ", plain(change["kind"], KINDS.get(change["kind"], "")), "  ", change["sentence"])
        for change in found["changes"]
    ]
    if not shown:
        return found, plain("The model is what the file says: nothing would change.")
    if not arguments.yes:
        count = len(shown)
        again = f"graphwall import {arguments.file} --yes"
        return found, Group(
            *shown, plain(f"{count} change{'' if count == 1 else 's'}; make them with: {again}")
        )
    done = client.send("import/model", text, "application/yaml", fingerprint=found["fingerprint"])
    undo = line("Take all of it back with: ", plain(f"graphwall undo {done['decision']}", "cyan"))
    return done, Group(*shown, plain(done["sentence"], "bold"), undo)
