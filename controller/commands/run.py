"""`graphwall run`: wires configuration, store, firewall, inspector, switches and API together, and back.

The only place that knows all parts. Decides nothing.
"""

import datetime as dt
import gc
import logging
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import FrameType
from typing import NoReturn

from controller import launch
from controller.commands.client import ADDRESS_FILE
from controller.config import Config
from controller.events import Record
from controller.firewall.firewall import Firewall
from controller.inspector.link import Settings
from controller.inspector.supervisor import SOCKET, Supervisor, SupervisorError
from controller.people import NotKeptError
from controller.store.accounts import Accounts
from controller.store.store import FILE, Store, StoreError
from controller.web import certificate, token
from controller.web.api import create_app
from controller.web.certificate import Certificate, CertificateError
from controller.web.members import Members
from controller.web.server import ServeError, Server, serve
from controller.web.signing import link

log = logging.getLogger(__name__)

_OWN = "network-secret"  # in the state folder; signs what Graphwall itself sends into the network
INSPECTOR_WITHIN = 5.0  # s
# Of what is made, nearly all is kept, and has no cycles: looking for some takes longer than making it.
COLLECT = (20_000, 20, 20)
HAND_OVER = 0.001  # s that one thread keeps others from running, where a decision waits
STOP_WITHIN = 1.8  # s; then the process ends whatever hangs


class RunError(Exception):
    """The controller cannot run. The message says what, where and what to do."""


EXPECTED = (RunError, StoreError, SupervisorError, launch.LaunchError, ServeError, CertificateError)


@dataclass(frozen=True, slots=True)
class Started:
    """What runs, for the report."""

    switches: str
    api: str
    fingerprint: str | None  # of the API's certificate
    first_link: str | None  # for the first manager; None: there is one
    inspector: int | None
    saved: Record


def own_folder(folder: Path) -> None:
    """Make the state folder Graphwall's alone; raises RunError where others could change it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
        empty = not any(folder.iterdir())
        if found.st_mode & 0o077 and found.st_uid == os.geteuid() and (empty or (folder / FILE).exists()):
            folder.chmod(0o700)
        elif found.st_mode & 0o022:
            raise RunError(
                f"others may write to the folder {folder}; choose one of Graphwall's own with 'state:' in "
                "site.yaml or --state"
            )
    except (FileExistsError, NotADirectoryError) as error:
        raise RunError(
            f"the state folder {folder} is no folder; choose another with 'state:' in site.yaml or --state"
        ) from error
    except OSError as error:
        raise RunError(
            f"the state folder {folder} cannot be used: {error.strerror}; run as root, or choose "
            "another with 'state:' in site.yaml or --state"
        ) from error


def _need_rights(folder: Path) -> None:
    """Refuse early what the inspector would find out only later."""
    with socket.socket(socket.AF_UNIX) as living, suppress(OSError):
        living.connect(str(folder / SOCKET))
        return  # one runs already
    try:
        socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()
    except PermissionError:
        raise RunError(
            "the inspector needs the right to read frames (CAP_NET_RAW); run as root: sudo graphwall run …"
        ) from None


class Ending:
    """What the first signal asks for, and the second enforces."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.supervisor: Supervisor | None = None

    def handle(self, number: int, _: FrameType | None) -> None:
        if self.asked.is_set():
            self.at_once(128 + number)
        self.asked.set()

    def at_once(self, code: int) -> None:
        if self.supervisor is not None:
            self.supervisor.kill()
        os._exit(code)

    def in_time(self) -> threading.Timer:
        """Ends the process when the orderly end takes too long."""

        def too_long() -> None:
            hanging = ", ".join(thread.name for thread in threading.enumerate() if not thread.daemon)
            log.error("the controller did not end within %g s (%s); it is ended now", STOP_WITHIN, hanging)
            self.at_once(1)

        timer = threading.Timer(STOP_WITHIN, too_long)
        timer.daemon = True
        timer.start()
        return timer


@contextmanager
def _address(folder: Path, server: Server) -> Iterator[None]:
    """Tell the commands where the API is, as long as it is there."""
    file = folder / ADDRESS_FILE
    partial = file.with_name(f"{file.name}.partial")
    pinned = "" if server.tls is None else f" {server.tls.fingerprint}"
    try:
        partial.write_text(f"{server.url_here}{pinned}\n")
        partial.replace(file)
    except OSError as error:  # a full disk; who is here is protected all the same
        partial.unlink(missing_ok=True)
        log.error(  # noqa: TRY400  # no bug
            "%s cannot be written: %s; free space there and start again, or commands may not find this "
            "controller", file, error.strerror,
        )  # fmt: skip
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _certificate(config: Config, folder: Path, insecure: bool) -> Certificate | None:
    """What the API is served with; None: without TLS, on this machine alone unless told otherwise."""
    api = config.api
    if api.certificate is not None and api.key is not None:
        return certificate.given(Path(api.certificate), Path(api.key))
    if insecure or ip_address(api.listen).is_loopback:
        return None
    return certificate.own(folder, certificate.names_here(api.listen), dt.datetime.now(dt.UTC))


def _url(config: Config, server: Server) -> str:
    """How others reach the page, as far as can be known here."""
    if config.api.url is not None:
        return config.api.url
    host = certificate.reachable(server.host)
    host = f"[{host}]" if ":" in host else host
    return f"{server.scheme}://{host}:{server.port}"


def _first_link(members: Members) -> str | None:
    """The link for the first manager; what cannot be kept is no reason not to protect the site."""
    try:
        return members.first_link()
    except NotKeptError as error:
        again = "later: graphwall people invite NAME --role manager"
        log.error("there is no link for the first manager: %s; %s", error, again)  # noqa: TRY400  # it says all
        return None


@contextmanager
def running(
    config: Config, folder: Path, ending: Ending, insecure: bool = False, inspector: Path | None = None
) -> Iterator[Started]:
    """Everything runs inside, and nothing is left behind.

    `insecure`: without TLS even beyond this machine. `inspector`: the socket of one that others start
    and end; without it, one is started and ended here. Raises one of EXPECTED when it cannot.
    """
    own_folder(folder)
    with ExitStack() as stack:
        stack.callback(gc.set_threshold, *gc.get_threshold())
        stack.callback(sys.setswitchinterval, sys.getswitchinterval())
        gc.set_threshold(*COLLECT)
        sys.setswitchinterval(HAND_OVER)
        store = Store(folder / FILE)
        stack.callback(store.close)
        saved = store.load()
        secret = bytes.fromhex(token.secret(folder / _OWN))
        shown = token.secret(folder / token.FILE)
        supervisor = Supervisor(folder, Settings(reveal_intent=config.reveal_intent), inspector)
        if inspector is None:
            _need_rights(folder)
        firewall = Firewall(config, saved, secret)
        stack.callback(supervisor.stop)
        switches = launch.start(config, firewall, store, supervisor)
        stack.callback(switches.stop)
        members = Members(Accounts(store), shown)
        app = create_app(switches.app, store, members)
        server = serve(app, config.api.listen, config.api.port, _certificate(config, folder, insecure))
        stack.callback(server.stop)
        stack.enter_context(_address(folder, server))
        app.state.url = url = _url(config, server)
        ending.supervisor = supervisor
        supervisor.start(switches.app.post)
        if not ending.asked.is_set() and not supervisor.wait(INSPECTOR_WITHIN):
            log.error("the inspector does not run yet: %s", supervisor.last_words() or "it is started again")
        if not server.local and server.tls is None:
            log.warning("the API at %s can be reached by others, and is not encrypted", server.url)
        first = _first_link(members)
        yield Started(
            f"{switches.address} port {switches.port}",
            url,
            None if server.tls is None else server.tls.readable,
            None if first is None else link(url, first),
            supervisor.process,
            saved,
        )
        timer = ending.in_time()
    timer.cancel()


def set_up_log(level: str) -> None:
    """Lines with time on standard error; libraries only when something is wrong with them."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)-7s %(message)s", level=level.upper(), stream=sys.stderr, force=True
    )
    if level != "debug":
        for library in ("os_ken", "OFPHandler", "ofp_event", "uvicorn", "asyncio", "networkx"):
            logging.getLogger(library).setLevel(logging.WARNING)
    logging.raiseExceptions = False  # whoever read the log may be gone; the firewall is not


def leave(code: int) -> NoReturn:
    """End this process now that everything is closed: no thread of a library holds it up."""
    logging.shutdown()
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(code)
