"""The command `graphwall`: reads its arguments, asks the controller or runs it, and prints.

Knows nothing of how a command is carried out: run.py wires the controller, the API does the rest.
"""

import argparse
import datetime as dt
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import segno
from rich.console import Console, RenderableType

from controller.commands import display, dissect, files, membership
from controller.commands.client import Client, ClientError, find, segment
from controller.config import Config, ConfigError, parse
from controller.config import seconds as in_seconds
from controller.events import Record
from controller.web import token
from controller.words import visible

if TYPE_CHECKING:
    from controller.commands.replay import Phase
    from controller.commands.run import Started

STATE_VARIABLE = "GRAPHWALL_STATE"
SITE = Path("/etc/graphwall/site.yaml")  # of an installed service
WAIT = 2.0  # s that approve, deny and undo wait for "in force"
WRONG = 2  # exit code for everything that the user can put right
DIFFERENT = 1  # for what differs from what it should be
BROKEN = 1  # for what he cannot
LONGEST_ERROR = 2000  # characters
LONGEST_PAUSE = 86400.0  # s; the API's limit

Json = dict[str, Any]
Arguments = argparse.Namespace


class CliError(Exception):
    """What was asked cannot be done. The message says what, where and what to do."""


class Parser(argparse.ArgumentParser):
    """Errors are one line, as all errors here."""

    def error(self, message: str) -> NoReturn:
        raise CliError(f"{message}; see: {self.prog} --help")


# ---------------------------------------------------------------- where things are


def _config(file: Path) -> Config:
    try:
        return parse(file.read_text("utf-8"), str(file))
    except FileNotFoundError:
        raise CliError(f"there is no file {file}; name your site description with --config") from None
    except OSError as error:
        raise CliError(f"{file} cannot be read: {error.strerror}; correct its name or its rights") from None
    except UnicodeDecodeError as error:
        raise CliError(f"{file} is not UTF-8 text ({error.reason}); save it as UTF-8") from None


def _state(arguments: Arguments, config: Config | None = None) -> Path:
    """The state folder: --state, the site's, the environment's, or the usual one.

    A relative `state:` is meant from where site.yaml is.
    """
    if arguments.state is not None:
        return Path(arguments.state).absolute()
    if config is None and arguments.config is not None:
        config = _config(arguments.config)
    if config is not None:
        base: Path = arguments.config.absolute().parent
        return base / config.state
    return Path(os.environ.get(STATE_VARIABLE) or Config().state).absolute()


def _client(arguments: Arguments) -> Client:
    return find(_state(arguments))


# ---------------------------------------------------------------- printing


def _console() -> Console:
    return Console(markup=False, highlight=False, emoji=False, soft_wrap=False)


def _print(arguments: Arguments, answer: Json, show: Callable[[Json], RenderableType]) -> int:
    if arguments.json:
        print(json.dumps(answer, indent=2))
    else:
        _console().print(show(answer))
    return 0


# ---------------------------------------------------------------- reading


def _status(arguments: Arguments) -> int:
    return _print(arguments, _client(arguments).get("status"), display.status)


def _requests(arguments: Arguments) -> int:
    answer = _client(arguments).get("requests")
    if arguments.id is not None:
        wanted = arguments.id
        found = display.request(answer, wanted, time.time())
        if found is None:
            raise CliError(
                f"there is no request {visible(wanted)}, or more than one begins so; "
                "list the open ones with: graphwall requests"
            )
        (one,) = [r for r in answer["requests"] if r["id"] == wanted] or [
            r for r in answer["requests"] if r["id"].startswith(wanted)
        ]
        return _print(arguments, one, lambda _: found)
    return _print(arguments, answer, lambda found: display.requests(found, time.time()))


def _graph(arguments: Arguments) -> int:
    return _print(arguments, _client(arguments).get("graph", switch=arguments.switch), display.graph)


def _services(arguments: Arguments) -> int:
    if arguments.service is None:
        return _print(arguments, _client(arguments).get("services"), display.services)
    answer = _client(arguments).get(f"services/{segment(arguments.service)}")
    return _print(arguments, answer, display.one_service)


def _devices(arguments: Arguments) -> int:
    return _print(arguments, _client(arguments).get("devices"), display.devices)


def _why(arguments: Arguments) -> int:
    first, server, port = arguments.first, arguments.server, arguments.port
    if server is None:
        answer = _client(arguments).get("why", id=first)
    else:
        answer = _client(arguments).get("why", client=first, server=server, port=port)
    return _print(arguments, answer, display.why)


def _verify(arguments: Arguments) -> int:
    """What OpenFlow does not tell is looked up where the bridges are, if this may."""
    answer = _client(arguments).get("verify")
    answer["faults"] = _faults({int(check["switch"], 16) for check in answer["switches"]})
    answer["equal"] = answer["equal"] and not answer["faults"]
    _print(arguments, answer, display.verified)
    return 0 if answer["equal"] else DIFFERENT


def _faults(switches: set[int]) -> list[str]:
    from controller.commands import attach  # noqa: PLC0415  # it loads os-ken

    try:
        there = attach.attachments()
    except attach.AttachError:
        return []
    return [fault for one in there if one.switch in switches for fault in one.faults]


def _log(arguments: Arguments) -> int:
    answer = _client(arguments).get("log", limit=arguments.limit, before=arguments.before)
    return _print(arguments, answer, display.log)


# ---------------------------------------------------------------- commands


def _done(arguments: Arguments, word: str, path: str, **body: object) -> int:
    answer = _client(arguments).post(path, body)
    return _print(arguments, answer, lambda found: display.carried(word, found))


def _decide(arguments: Arguments) -> int:
    return _done(
        arguments,
        "Allowed" if arguments.verb == "approve" else "Denied",
        f"requests/{segment(arguments.id)}/{arguments.verb}",
        scope=arguments.scope,
        duration=arguments.duration,
        only=arguments.only,
        wait=arguments.wait,
    )


def _same_as(arguments: Arguments) -> int:
    return _done(
        arguments,
        "It may join, with the same permissions",
        f"requests/{segment(arguments.id)}/same-as",
        device=arguments.device,
        wait=WAIT,
    )


def _pause(arguments: Arguments) -> int:
    seconds = 0.0 if arguments.end else arguments.time
    word = (
        "Protection is on again" if arguments.end else "Protection is paused: what nobody has denied may pass"
    )
    return _done(arguments, word, f"devices/{segment(arguments.device)}/pause", seconds=seconds)


def _review(arguments: Arguments) -> int:
    answer = _client(arguments).get(f"services/{segment(arguments.service)}/review")
    return _print(arguments, answer, display.review)


def _undo(arguments: Arguments) -> int:
    return _done(arguments, "Undone", f"decisions/{arguments.decision}/undo", wait=arguments.wait)


def _learn(arguments: Arguments) -> int:
    action, word = ("end", "It is no longer learning") if arguments.end else ("start", "It learns again")
    return _done(arguments, word, f"services/{segment(arguments.service)}/learn", action=action)


def _move(arguments: Arguments) -> int:
    path = f"services/{segment(arguments.service)}/move"
    return _done(arguments, "Moved, with all that it may do", path, device=arguments.device)


def _rename(arguments: Arguments) -> int:
    kind = "services" if "/" in arguments.id else "devices"
    return _done(arguments, "Renamed", f"{kind}/{segment(arguments.id)}/rename", name=arguments.name)


def _forget(arguments: Arguments) -> int:
    return _done(arguments, "Forgotten; the log stays", f"devices/{segment(arguments.device)}/forget")


def _block(arguments: Arguments) -> int:
    blocked = arguments.verb == "block"
    word = "Blocked: nothing of it passes" if blocked else "Admitted again"
    return _done(arguments, word, f"devices/{segment(arguments.device)}/block", blocked=blocked)


def _people(arguments: Arguments) -> int:
    answer, shown = membership.carry_out_people(_client(arguments), arguments)
    _print(arguments, answer, lambda _: shown)
    if arguments.what == "invite" and not arguments.json:
        _print_link(answer["url"])
    return 0


def _tokens(arguments: Arguments) -> int:
    answer, shown = membership.carry_out_tokens(_client(arguments), arguments)
    return _print(arguments, answer, lambda _: shown)


def _export(arguments: Arguments) -> int:
    client = None if arguments.what == "grafana" else _client(arguments)  # the dashboard is in the package
    files.put(files.exported(client, arguments), arguments.output)
    return 0


def _import(arguments: Arguments) -> int:
    answer, shown = files.imported(_client(arguments), arguments)
    return _print(arguments, answer, lambda _: shown)


# ---------------------------------------------------------------- running


def _run(arguments: Arguments) -> NoReturn:
    from controller.commands import run  # noqa: PLC0415  # takes half a second; only this command pays for it

    if arguments.config is None:
        raise CliError("say which site to protect: graphwall run --config site.yaml")
    config = _config(arguments.config)
    folder = _state(arguments, config)
    run.set_up_log(arguments.log_level)
    ending = run.Ending()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, ending.handle)
    try:
        with run.running(config, folder, ending, arguments.insecure, arguments.inspector) as started:
            _report(config, folder, started)
            ending.asked.wait()
    except run.EXPECTED as error:
        raise CliError(str(error)) from error
    run.leave(0)


def _report(config: Config, folder: Path, started: "Started") -> None:
    saved = started.saved
    numbers = len(saved.devices), len(saved.services), len(saved.relationships)
    kept = "{} devices, {} services, {} relationships".format(*numbers)
    console = _console()
    console.print(display.plain(f"Graphwall protects {config.site}.", "bold"))
    rows = (
        ("Switches", f"may connect to {started.switches}"),
        ("Inspector", "not running" if started.inspector is None else f"process {started.inspector}"),
        ("API", f"{started.api}/api/v1/, token in {folder / token.FILE}"),
        *(() if started.fingerprint is None else (("Certificate", f"SHA-256 {started.fingerprint}"),)),
        ("State", f"{folder}: {kept}"),
    )
    console.print(display.report(rows))
    if started.first_link is not None:
        console.print(display.plain("Nobody may sign in yet. The first manager opens this link, once:"))
        _print_link(started.first_link)
    console.print(display.plain("Stop it with Ctrl-C.", "dim"))
    sys.stdout.flush()


def _print_link(url: str) -> None:
    """A link as a line that can be copied, and as a QR code where somebody looks at a terminal."""
    print(f"  {url}")
    if sys.stdout.isatty():
        segno.make(url, error="m").terminal(compact=True)


def _attach(arguments: Arguments) -> int:
    from controller.commands import attach  # noqa: PLC0415  # it loads os-ken

    try:
        if arguments.detach:
            said = attach.detach(arguments.bridge)
            nothing = f"{arguments.bridge} is not attached; there is nothing to do."
        else:
            config = Config() if arguments.config is None else _config(arguments.config)
            target = arguments.controller or _target(config)
            said = attach.attach(arguments.bridge, target, inspect=not arguments.no_inspection)
            nothing = f"{arguments.bridge} is attached already; there is nothing to do."
    except attach.AttachError as error:
        raise CliError(str(error)) from error
    console = _console()
    for sentence in said or (nothing,):
        console.print(display.plain(sentence))
    return 0


def _target(config: Config) -> str:
    """Where a bridge on this machine finds the controller, in Open vSwitch's words."""
    openflow = config.openflow
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(openflow.listen, openflow.listen)  # noqa: S104  # compared
    host = f"[{host}]" if ":" in host else host
    if openflow.key is not None:
        return f"ssl:{host}:{openflow.tls_port}"
    return f"tcp:{host}:{openflow.port}"


def _certs(arguments: Arguments) -> int:
    from controller.commands import certificates  # noqa: PLC0415  # only this command needs it

    try:
        now = dt.datetime.now(dt.UTC)
        made = certificates.make(arguments.folder.absolute(), arguments.switches, now)
    except certificates.CertificatesError as error:
        raise CliError(str(error)) from error
    print("\n".join(display.certificates(made.folder, made.names, f"{made.until:%Y-%m-%d}")))
    return 0


def _selftest(arguments: Arguments) -> int:
    from controller.commands import selftest  # noqa: PLC0415  # it loads os-ken

    if os.geteuid() != 0:
        raise CliError("the self-test makes network namespaces, and needs root: run it with sudo")
    if arguments.config is None and arguments.state is None and SITE.exists():
        arguments.config = SITE
    config = Config() if arguments.config is None else _config(arguments.config)
    console, checks = _console(), []

    def say(check: selftest.Check) -> None:
        checks.append(asdict(check))
        if not arguments.json:
            console.print(display.check(check.name, check.passed, check.detail))

    try:
        passed = selftest.run(_client(arguments), config, arguments.bridge, say)
    except selftest.SelfTestError as error:
        raise CliError(str(error)) from error
    if arguments.json:
        print(json.dumps({"passed": passed, "checks": checks}, indent=2))
    return 0 if passed else DIFFERENT


def _install_service(arguments: Arguments) -> int:
    from controller.commands import service  # noqa: PLC0415  # only this command needs it

    file = (arguments.config or SITE).absolute()
    config = Config() if arguments.config is None and not file.exists() else _config(file)
    state = Path(arguments.state or file.parent / config.state).absolute()
    installation = service.Installation(arguments.user, file, config, state, service.this_python())
    try:
        if arguments.print:
            for name, text in installation.units().items():
                print(f"# {service.UNITS / name}\n{text}")
        else:
            for sentence in service.install(installation):
                print(visible(sentence, LONGEST_ERROR))
    except service.ServiceError as error:
        raise CliError(str(error)) from error
    except OSError as error:
        raise CliError(f"{error.filename}: {error.strerror}; nothing more was done") from None
    return 0


def _replay(arguments: Arguments) -> int:
    from controller.commands import findings, replay  # noqa: PLC0415  # only these two need the whole firewall

    folder: Path | None = arguments.save_model
    try:
        if folder is not None:
            replay.may_save(folder)
        saved = Record() if arguments.model is None else replay.model(arguments.model)
        config = None if arguments.site is None else _config(arguments.site)
        summary, record, code = replay.Replay(
            arguments.files, config, arguments.learn, arguments.json, saved
        ).run()
        if folder is not None:
            replay.save(record, folder)
    except replay.EXPECTED as error:
        raise CliError(str(error)) from error
    if arguments.json:
        print(json.dumps(summary))
        return code
    _console().print(findings.summary(summary))
    if folder is not None:
        command = f"graphwall run --config {arguments.site or 'site.yaml'} --state {folder}"
        _console().print(display.plain(f"The model is in {folder}: {command}"))
    return code


def _phase(text: str) -> "Phase":
    from controller.commands.replay import phase  # noqa: PLC0415

    return phase(text)


def _dissect(arguments: Arguments) -> int:
    return dissect.main(arguments.arguments)


def _demo(arguments: Arguments) -> int:
    """The laboratory takes over this process; the controller never imports it."""
    source = Path(__file__).parents[1]
    if not (source / "topologies" / "__main__.py").exists():
        raise CliError(
            f"the laboratory is not here (no topologies/ in {source}); it comes with the source: "
            "git clone the project, then run: sudo ./lab demo"
        )
    sys.stdout.flush()
    found = os.environ.get("PYTHONPATH")
    environment = {**os.environ, "PYTHONPATH": f"{source}:{found}" if found else str(source)}
    command = [sys.executable, "-P", "-m", "topologies", "demo", *arguments.arguments]
    os.execve(sys.executable, command, environment)  # noqa: S606  # the same Python, the user's arguments


# ---------------------------------------------------------------- arguments


def _version() -> str:
    try:
        return version("graphwall")
    except PackageNotFoundError:
        return "(not installed)"


def seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= 5:
        raise argparse.ArgumentTypeError("it is a number of seconds from 0 to 5")
    return number


def paused(text: str) -> float:
    try:
        found = in_seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if found > LONGEST_PAUSE:
        raise argparse.ArgumentTypeError("protection is paused for at most 1d")
    return found


def lines(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 1000:
        raise argparse.ArgumentTypeError("it is a number from 1 to 1000")
    return number


def _places() -> Parser:
    """Options that may stand before and after a command; made anew for each, as parsers share them."""
    places = Parser(add_help=False, argument_default=argparse.SUPPRESS)
    where = places.add_argument_group("where the controller is")
    where.add_argument("--config", metavar="FILE", type=Path, help="site.yaml")
    where.add_argument("--state", metavar="FOLDER", help=f"else that of --config, else ${STATE_VARIABLE}")
    places.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return places


def _parser() -> Parser:
    top = Parser(
        prog="graphwall", description="A self-learning firewall for IoT services.", parents=[_places()]
    )
    top.set_defaults(config=None, state=None, debug=False, json=False)
    top.add_argument("--version", action="version", version=f"graphwall {_version()}")
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="verb")

    def add(name: str, action: Callable[[Arguments], int], text: str, *, answers: bool = True) -> Parser:
        made: Parser = commands.add_parser(name, help=text, description=f"{text}.", parents=[_places()])
        made.set_defaults(action=action)
        if answers:
            made.add_argument("--json", action="store_true", help="print the API's answer", default=False)
        return made

    run = add("run", _run, "Run the controller, the inspector and the API", answers=False)
    run.add_argument(
        "--log-level", choices=("debug", "info", "warning", "error"), default="info", help="default: info"
    )
    run.add_argument(
        "--insecure", action="store_true", help="serve the API without TLS even beyond this machine"
    )
    run.add_argument(
        "--inspector",
        metavar="SOCKET",
        type=Path,
        help="use the inspector that listens there, and leave starting and ending it to others",
    )
    demo = commands.add_parser("demo", add_help=False, help="Build a smart home in Mininet and attack it")
    demo.set_defaults(action=_demo)
    said = commands.add_parser("dissect", add_help=False, help="Print what the messages in a capture ask for")
    said.set_defaults(action=_dissect)
    replay = add("replay", _replay, "Show what would have been learnt, asked and denied", answers=False)
    replay.add_argument(
        "files", metavar="FILE", type=Path, nargs="+", help="captures, or access logs of the VSL in CSV"
    )
    replay.add_argument(
        "--learn", metavar="TIME", type=_phase, help="how much teaches: 600, 10m, or 30%% of the whole"
    )
    replay.add_argument("--model", metavar="FILE", type=Path, help="begin with this model (a state folder)")
    replay.add_argument("--save-model", metavar="FOLDER", type=Path, help="make a state folder for run")
    replay.add_argument("--site", metavar="FILE", type=Path, help="site.yaml; else it is guessed")
    replay.add_argument("--json", action="store_true", help="one object per event and line, the summary last")
    selftest = add(
        "selftest", _selftest, "Show on a live site that allowed, asked and denied are what they are"
    )
    selftest.add_argument("bridge", help="an attached bridge on this machine, for two ports of a moment")
    service = add("install-service", _install_service, "Make systemd run it without root", answers=False)
    service.add_argument("--print", action="store_true", help="only show the units")
    service.add_argument("--user", metavar="NAME", default="graphwall", help="default: graphwall")
    certs = add("certs", _certs, "Make a CA, and certificates for the controller and switches", answers=False)
    certs.add_argument(
        "folder", metavar="FOLDER", type=Path, help="for the files; a new one, or one of before"
    )
    certs.add_argument(
        "switches", metavar="SWITCH", nargs="*", default=["switch"], help="a name for each (default: switch)"
    )
    attach = add("attach", _attach, "Prepare a bridge of Open vSwitch for Graphwall", answers=False)
    attach.add_argument("bridge")
    attach.add_argument("--detach", action="store_true", help="give it back as it was")
    attach.add_argument(
        "--controller", metavar="TARGET", help="such as tcp:127.0.0.1:6653 (else of --config)"
    )
    attach.add_argument(
        "--no-inspection",
        action="store_true",
        help="without inspection ports: what must be judged is dropped",
    )

    add("status", _status, "Show the site in numbers")
    requests = add("requests", _requests, "List what waits for your answer, or show one")
    requests.add_argument("id", metavar="ID", nargs="?", help="of one request, or its beginning")
    for verb, text in (("approve", "Allow what a request asks for"), ("deny", "Keep it blocked")):
        decide = add(verb, _decide, text)
        decide.add_argument("id", help="of the request, or its beginning")
        scopes = "this operation; every operation of these services; anything between them"
        decide.add_argument(
            "--scope", choices=("operation", "service", "pair"), default="operation", help=scopes
        )
        decide.add_argument("--duration", choices=("once", "hour", "tonight", "always"), default="always")
        decide.add_argument(
            "--only", metavar="ID", nargs="+", default=[], help="only these of its relationships"
        )
        decide.add_argument(
            "--wait", metavar="SECONDS", type=seconds, default=WAIT, help="for it to be in force"
        )
    same = add("same-as", _same_as, "Let a new device join with the permissions of one of its kind")
    same.add_argument("id", help="of the request to join, or its beginning")
    same.add_argument("device", metavar="DEVICE", help="that has the permissions already")
    pause = add("pause", _pause, "Let everything of a device pass for a while that nobody has denied")
    pause.add_argument("device", metavar="DEVICE")
    pause.add_argument(
        "--time", type=paused, default=3600.0, help="such as 30m or 2h, at most 1d (default: 1h)"
    )
    pause.add_argument("--end", action="store_true", help="end it now")
    undo = add("undo", _undo, "Take a decision back")
    undo.add_argument(
        "decision", type=int, metavar="ID", help="number of the decision, as approve and log say"
    )
    undo.add_argument("--wait", metavar="SECONDS", type=seconds, default=WAIT, help="for it to be in force")
    graph = add("graph", _graph, "Show who may do what with whom")
    graph.add_argument("--switch", metavar="NAME", help="of one switch only")
    services = add("services", _services, "List the services, or show one")
    services.add_argument("service", metavar="SERVICE", nargs="?")
    add("devices", _devices, "List the devices")
    why = add("why", _why, "Say why something is allowed or not")
    why.add_argument(
        "first", metavar="ID|CLIENT", help="relationship, request, decision, flow cookie; or who asks"
    )
    why.add_argument("server", metavar="SERVER", nargs="?", help="who is asked")
    why.add_argument("port", metavar="PORT", nargs="?", help="such as 80 or udp-5683")
    add("verify", _verify, "Read back every switch's flows and compare them with the model")
    log = add("log", _log, "Show what has happened")
    log.add_argument("--limit", type=lines, default=50, help="lines, at most 1000 (default: 50)")
    log.add_argument("--before", type=int, metavar="NUMBER", help="older ones: 'next' of --json")
    learn = add("learn", _learn, "Start a service's learning phase again, or end it")
    learn.add_argument("service", metavar="SERVICE")
    learn.add_argument("--end", action="store_true", help="end it now")
    review = add("review", _review, "Show what of what a service has learnt deserves a look")
    review.add_argument("service", metavar="SERVICE")
    move = add("move", _move, "Say that a service lives on another device now")
    move.add_argument("service", metavar="SERVICE")
    move.add_argument("device", metavar="DEVICE")
    rename = add("rename", _rename, "Give a device or service a name that stays")
    rename.add_argument("id", metavar="ID")
    rename.add_argument("name", metavar="NAME")
    membership.add_people(add("people", _people, "Show who may sign in; invite, change or remove somebody"))
    membership.add_tokens(add("tokens", _tokens, "Show which programs may ask; add or remove one"))
    text = "Write the graph, the model or a dashboard for Grafana"
    files.add_export(add("export", _export, text, answers=False))
    files.add_import(
        add("import", _import, "Make the model what an edited file says, after a look at the changes")
    )
    forget = add("forget", _forget, "Take a device out of the model, with all that is known of it")
    forget.add_argument("device", metavar="DEVICE")
    for verb, text in (("block", "Let nothing of a device pass"), ("unblock", "Let a device in again")):
        add(verb, _block, text).add_argument("device", metavar="DEVICE")
    return top


def _arguments(given: Sequence[str]) -> Arguments:
    parser = _parser()
    arguments, others = parser.parse_known_args(given)
    if arguments.verb is None:
        raise CliError("say what to do; see: graphwall --help")
    if arguments.verb in ("demo", "dissect"):  # they read their own arguments
        arguments.arguments = list(given[list(given).index(arguments.verb) + 1 :])
    elif others:
        parser.error(f"unknown: {' '.join(others)}")
    return arguments


def main(given: Sequence[str] | None = None) -> int:
    """Carry out one command; 0, or 2 with one line on standard error about what to put right."""
    given = sys.argv[1:] if given is None else given
    try:
        arguments = _arguments(given)
        return int(arguments.action(arguments))
    except (CliError, ClientError, ConfigError) as error:
        return _failed(error, str(error), given, WRONG)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # whoever read our output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001  # the border: a traceback helps only who asks for it
        text = f"this should not happen: {type(error).__name__}: {error}; run it with --debug and report it"
        return _failed(error, text, given, BROKEN)


def _failed(error: Exception, text: str, given: Sequence[str], code: int) -> int:
    if "--debug" in given:
        raise error
    for line in text.splitlines():
        print(f"graphwall: {visible(line, LONGEST_ERROR)}", file=sys.stderr)
    return code
