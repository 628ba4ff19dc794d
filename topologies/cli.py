"""python -m topologies: run a laboratory, ask it, describe its site, clean up after it."""

import argparse
import json
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console
from rich.table import Table

from topologies import control, marks, schema
from topologies.marks import PREFIX, LabError
from topologies.waiting import WaitedError

OK, FAILED, USAGE = 0, 1, 2


class Parser(argparse.ArgumentParser):
    """What is wrong with the arguments is one line, as everything that can be put right."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}; see: {self.prog} --help\n")


def _run(given: argparse.Namespace) -> int:
    # Here, not above: Mininet takes its time to import, which other commands need not spend.
    from topologies.laboratory import Laboratory, Setting  # noqa: PLC0415

    topology = schema.read(given.topology)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: ended.set())
    endpoint = None if given.controller == "none" else given.controller
    setting = Setting(given.firewall == "on", endpoint, given.datapath, given.prefix)
    console = Console()
    laboratory = Laboratory(topology, setting)
    console.print(
        f"Building {topology.name} ({laboratory.network.datapath} datapath, firewall {given.firewall}) …"
    )
    with laboratory, control.Control(laboratory):
        _wait_ready(console, laboratory.services, ended)
        if not ended.is_set():
            console.print(_table(control.ask(given.prefix, "status")))
            console.print(
                "Running; end it with Ctrl-C. Elsewhere: python -m topologies ctl --help", style="dim"
            )
        ended.wait()
        console.print("Taking it down …")
    return OK


def _wait_ready(console: Console, services: Any, ended: threading.Event) -> None:
    """Up to ten seconds: behind a firewall that is still asking, services may never be ready."""
    for _ in range(50):
        if ended.wait(0.2) or all(s.ready or s.state == "stopped" for s in services.status()):
            return
    late = [s.name for s in services.status() if not s.ready and s.state != "stopped"]
    console.print(f"Not ready yet: {', '.join(late)}", style="yellow")


def _table(status: dict[str, Any]) -> Table:
    table = Table(title=status["topology"], title_justify="left")
    for heading in ("Device", "Address", "Port", "Service", "State"):
        table.add_column(heading)
    for host in status["hosts"]:
        address = host["address"] or ("no address yet" if host["joined"] else "joins later")
        first = [host["human"], address, host["interface"] or "-"]
        services = [s for s in status["services"] if s["host"] == host["name"]]
        for service in services or [None]:
            name = service["name"] if service else "-"
            if service and service["version"] != "1":
                name += f" (version {service['version']})"
            state = ("ready" if service["ready"] else service["state"]) if service else ""
            table.add_row(*first, name, state)
            first = ["", "", ""]
    return table


def _demo(given: argparse.Namespace) -> int:
    # Here, not above: as in _run.
    from topologies.demo import play  # noqa: PLC0415

    firewall = given.firewall == "on"
    return (
        OK if play.demonstrate(given.topology, given.scenario, firewall, given.keep, given.prefix) else FAILED
    )


def _ctl(given: argparse.Namespace) -> int:
    answer = control.ask(given.prefix, *given.words)
    if given.words[0] == "status" and not given.json:
        Console().print(_table(answer))
    elif answer is not None:
        print(json.dumps(answer, indent=None if given.json else 2, ensure_ascii=False))
    return OK


def _site(given: argparse.Namespace) -> int:
    from topologies import site  # noqa: PLC0415  as in _run
    from topologies.network import Network  # noqa: PLC0415

    topology = schema.read(given.topology)
    network = Network(
        topology,
        prefix=given.prefix,
        mark="",
        directory=Path(),
        controller=None,
        secure=True,
        datapath="user",
    )
    print(site.text(topology, network, devices=given.devices), end="")
    return OK


def _check(given: argparse.Namespace) -> int:
    for name in given.topologies:
        topology = schema.read(name)
        services = sum(len(h.services) for h in topology.hosts)
        print(f"{name}: {topology.name}: {len(topology.hosts)} hosts, {services} services")
    return OK


def _clean(given: argparse.Namespace) -> int:
    prefixes = {given.prefix}
    for prefix in marks.known_prefixes():
        state = marks.read_state(prefix)
        if given.all or state is None or not marks.is_running(state):
            prefixes.add(prefix)
    removed = marks.Removed()
    for prefix in sorted(prefixes):
        removed.add(marks.clean(prefix))
    for problem in removed.problems:
        print(problem, file=sys.stderr)
    counts: dict[str, Sequence[object]] = {
        "laboratory|laboratories": removed.runners,
        "process|processes": removed.processes,
        "bridge|bridges": removed.bridges,
        "interface|interfaces": removed.interfaces,
    }
    said = ", ".join(f"{len(w)} {words.split('|')[len(w) > 1]}" for words, w in counts.items() if w)
    print(f"Removed {said}." if said else "Nothing to clean.")
    return FAILED if any(marks.directory_of(prefix).exists() for prefix in prefixes) else OK


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m topologies", description="The laboratory: networks of real services.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Any, text: str, prog: str | None = None) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text, prog=prog)
        made.add_argument("--prefix", default=PREFIX, help=f"of interface names (default {PREFIX})")
        made.set_defaults(function=function)
        return made

    run = command("run", _run, "Build a network, run its services until Ctrl-C, and remove everything.")
    run.add_argument("topology", help="a file, or: paper, smart_home, factory")
    run.add_argument(
        "--firewall", choices=("on", "off"), default="on", help="off: plain switches (default on)"
    )
    run.add_argument(
        "--controller", default="127.0.0.1:6653", metavar="HOST:PORT", help="or none (default %(default)s)"
    )
    run.add_argument(
        "--datapath", choices=("kernel", "user"), help="default: kernel where its module is there"
    )
    played = "Play the paper's scenarios before Graphwall, and check what was promised."
    demo = command("demo", _demo, played, prog="graphwall demo")  # what people call it by
    demo.add_argument("--topology", default="smart_home", help="a file, or: paper, smart_home (default)")
    scenarios = ("all", "new-battery", "malicious-update", "migration")
    demo.add_argument("--scenario", choices=scenarios, default="all", help="default: all")
    demo.add_argument("--firewall", choices=("on", "off"), default="on", help="off: plain switches")
    demo.add_argument("--keep", action="store_true", help="leave everything running until Ctrl-C")
    usages = [f"{name} {usage}".rstrip() for name, (usage, _function) in control.COMMANDS.items()]
    ctl = command("ctl", _ctl, "Ask a running laboratory, or have it do something.")
    ctl.add_argument("--json", action="store_true", help="one line of JSON")
    ctl.add_argument("words", nargs="+", metavar="WORD", help="; ".join(usages))
    described = command("site", _site, "Print the site.yaml that fits a topology.")
    described.add_argument("topology")
    described.add_argument("--devices", action="store_true", help="list all devices, not only infrastructure")
    check = command("check", _check, "Check topologies.")
    check.add_argument("topologies", nargs="+", metavar="TOPOLOGY")
    clean = command("clean", _clean, "Remove what a laboratory made, also after a crash; ends a running one.")
    clean.add_argument("--all", action="store_true", help="also running laboratories with other prefixes")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 1 failed, 2 asked for what cannot be."""
    logging.captureWarnings(True)
    given = _parser().parse_args(arguments)
    try:
        status: int = given.function(given)
    except (LabError, schema.ConfigError) as error:
        print(error, file=sys.stderr)
        return USAGE
    except WaitedError as error:
        print(error, file=sys.stderr)
        return FAILED
    return status
