"""`graphwall dissect FILE`: what the messages in a capture say, one line each.

Needs no controller, no switch and no rights. Starts without what the other commands need, since it is
used in pipes and loops.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

from controller.captures.dissection import Dissection, Said
from controller.captures.link import NOBODY
from controller.captures.reader import Captured, CaptureError, DamagedError, frames
from controller.dpi.message import Message, printable
from controller.words import visible

if TYPE_CHECKING:
    from rich.console import Console

LONG: Final = 8 * 1024 * 1024  # bytes of a file that gets a progress bar
PROGRESS_EVERY: Final = 2048  # frames
WRONG, INCOMPLETE = 2, 1  # exit codes: nothing could be read; not everything could
LONGEST: Final = 200  # characters of a text in a line for people

_STYLES: Final = {
    "read": "green",
    "lookup": "green",
    "subscribe": "green",
    "connect": "cyan",
    "announce": "cyan",
}

Printer = Callable[[Captured, Said, Message], str]


# ---------------------------------------------------------------- files


@contextmanager
def opened(file: Path) -> Iterator[BinaryIO]:
    """The file ("-" is standard input), or a CaptureError that says what is wrong with it."""
    try:
        if str(file) == "-":
            yield sys.stdin.buffer
            return
        with file.open("rb") as source:
            yield source
    except FileNotFoundError:
        raise CaptureError("there is no such file") from None
    except IsADirectoryError:
        raise CaptureError("this is a folder; name the files in it") from None
    except PermissionError:
        raise CaptureError("you may not read it; change its rights") from None


@contextmanager
def progress(file: Path, source: BinaryIO) -> Iterator[Callable[[], None]]:
    """Something to call now and then: it shows how far a long file is, where somebody looks."""
    size = os.fstat(source.fileno()).st_size
    if size < LONG or not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console  # noqa: PLC0415  # only for long files
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(visible(file.name), total=size)
        yield lambda: bar.update(task, completed=source.tell())


# ---------------------------------------------------------------- lines


def _text(value: str) -> str:
    return encode_basestring_ascii(printable(value))


@lru_cache(maxsize=8192)
def _end(mac: str, ip: str | None, port: int | None) -> str:
    shown = None if mac == NOBODY else mac
    return json.dumps({"mac": shown, "ip": ip, "port": port}, separators=(",", ":"))


@lru_cache(maxsize=8192)
def _said(protocol: str, verb: str, operation: str, resource: str, identity: str | None) -> str:
    return (
        f'"protocol":{_text(protocol)},"verb":{_text(verb)},"operation":"{operation}",'
        f'"resource":{_text(resource)},"identity":{"null" if identity is None else _text(identity)}'
    )


def _plain(value: object) -> object:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {printable(str(key)): _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        return [_plain(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float) else str(value)


def as_json(captured: Captured, said: Said, message: Message) -> str:
    """One object in one line; `time` has all the digits that the capture has."""
    headers = said.headers
    seconds, part = divmod(captured.time, 1_000_000_000)
    m = message
    detail = json.dumps(_plain(m.detail), separators=(",", ":")) if m.detail else "{}"
    return (
        f'{{"frame":{captured.number},"time":{seconds}.{part:09d},'
        f'"client":{_end(headers.src_mac, headers.src_ip, headers.src_port)},'
        f'"server":{_end(headers.dst_mac, headers.dst_ip, headers.dst_port)},'
        f"{_said(m.protocol, m.verb, m.operation, m.resource, m.identity)},"
        f'"detail":{detail}}}'
    )


def _place(ip: str | None, port: int | None) -> str:
    return f"[{ip}]:{port}" if ip is not None and ":" in ip else f"{ip}:{port}"


def _columns(captured: Captured, said: Said, message: Message) -> tuple[str, str, str, str]:
    headers = said.headers
    clock = time.strftime("%H:%M:%S", time.gmtime(captured.time // 1_000_000_000 % 86400))
    clock += f".{captured.time // 1_000_000 % 1000:03d}"
    ends = f"{_place(headers.src_ip, headers.src_port)} > {_place(headers.dst_ip, headers.dst_port)}"
    who = f' as "{visible(message.identity)}"' if message.identity else ""
    what = f"{message.protocol} {visible(message.verb)} {visible(message.resource, LONGEST)}".rstrip()
    return f"{captured.number:>7}  {clock}  {ends}", what, message.operation.value, who


def as_text(captured: Captured, said: Said, message: Message) -> str:
    """One line for people; times of day are UTC."""
    place, what, operation, who = _columns(captured, said, message)
    return f"{place}  {what}  [{operation}]{who}"


def _shown(console: "Console", captured: Captured, said: Said, message: Message) -> None:
    from rich.text import Text  # noqa: PLC0415  # only in a terminal

    place, what, operation, who = _columns(captured, said, message)
    style = _STYLES.get(operation, "bold yellow")
    console.print(Text.assemble((place, "dim"), "  ", what, "  ", (operation, style), (who, "dim")))


def _writer(as_objects: bool) -> Callable[[Captured, Said], None]:
    """What prints the messages of one frame."""
    if as_objects or not sys.stdout.isatty():
        write, line = sys.stdout.write, as_json if as_objects else as_text

        def printed(captured: Captured, said: Said) -> None:
            for message in said.messages:
                write(line(captured, said, message) + "\n")

        return printed
    from rich.console import Console  # noqa: PLC0415  # only in a terminal

    console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)

    def coloured(captured: Captured, said: Said) -> None:
        for message in said.messages:
            _shown(console, captured, said, message)

    return coloured


# ---------------------------------------------------------------- the command


def _complain(file: Path, what: str) -> None:
    sys.stdout.flush()
    sys.stderr.write(f"graphwall: {visible(str(file), LONGEST)}: {visible(what, LONGEST)}\n")


def _dissect(file: Path, as_objects: bool) -> int:
    """Print all messages of a file; 0, or INCOMPLETE."""
    dissection, write, result = Dissection(), _writer(as_objects), 0
    with opened(file) as source, progress(file, source) as advance:
        try:
            for captured in frames(source.read):
                said = dissection.frame(captured)
                if said is not None:
                    write(captured, said)
                if not captured.number % PROGRESS_EVERY:
                    advance()
        except DamagedError as error:
            _complain(file, f"{error}; what stands before it was read")
            result = INCOMPLETE
    for what, count in dissection.counters.items():
        _complain(
            file,
            f"{count} {what}: not read" if what.startswith("frames") else f"{count} frames {what}: not read",
        )
    return result


class Parser(argparse.ArgumentParser):
    """Errors are one line, as those of all commands."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG, f"graphwall: {visible(message, LONGEST)}; see: {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    made = Parser(
        prog="graphwall dissect",
        description="Print what the messages in a capture (pcap or pcapng, plain or gzipped) ask for.",
    )
    made.add_argument("file", metavar="FILE", type=Path, help="'-' for standard input")
    made.add_argument("--json", action="store_true", help="one object per message and line")
    made.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return made


def main(given: Sequence[str]) -> int:
    """Carry the command out; 0, INCOMPLETE with a warning, or WRONG with an error."""
    arguments = parser().parse_args(given)
    try:
        result = _dissect(arguments.file, arguments.json)
        sys.stdout.flush()
    except CaptureError as error:
        if arguments.debug:
            raise
        _complain(arguments.file, str(error))
        return WRONG
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except BrokenPipeError:  # whoever read our output has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result
