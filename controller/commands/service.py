"""`graphwall install-service`: two systemd units, each with the rights it needs and no others.

The controller runs as a user without any capability. The inspector reads and writes frames and may do
nothing else; it is a unit of its own, because a controller without rights cannot give it any, and
because it goes on judging while the controller restarts. Knows nothing of what either does.
"""

import grp
import os
import pwd
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import controller
from controller.config import Config

UNITS = Path("/etc/systemd/system")
CONTROLLER, INSPECTOR = "graphwall.service", "graphwall-inspector.service"
SOCKET = Path("/run/graphwall-inspector/inspector.sock")
_MARK = "# Made by graphwall install-service, which writes it anew."
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_STATES = Path("/var/lib")
_FOR_ROOT = 1024  # ports below

# What neither needs (systemd.exec(5)).
_SANDBOX = """\
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallErrorNumber=EPERM
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
"""

_CONTROLLER = """\
{mark}
[Unit]
Description=Graphwall, the firewall of {site}
Wants={inspector}
After=network.target openvswitch-switch.service {inspector}

[Service]
Type=exec
User={user}
Group={user}
ExecStart={python} -P -m controller --config {config} run --inspector {socket}
Restart=always
RestartSec=1
TimeoutStopSec=5
UMask=0077
{state}
CapabilityBoundingSet={capabilities}
AmbientCapabilities={capabilities}
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
{sandbox}
[Install]
WantedBy=multi-user.target
"""

_INSPECTOR = """\
{mark}
[Unit]
Description=Graphwall's inspector, which reads what switches ask it about
Before={controller}

[Service]
Type=exec
# A user of its own, who exists as long as the unit runs; the group may call at its socket
DynamicUser=yes
Group={user}
RuntimeDirectory={folder}
RuntimeDirectoryMode=0750
ExecStart={python} -P -m controller.inspector --group --socket {socket}
Restart=always
RestartSec=200ms
TimeoutStopSec=5
Nice=-10
CapabilityBoundingSet=CAP_NET_RAW
AmbientCapabilities=CAP_NET_RAW
RestrictAddressFamilies=AF_UNIX AF_PACKET
{sandbox}
[Install]
WantedBy=multi-user.target
"""


class ServiceError(Exception):
    """The units cannot be installed. The message says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What the units are made from. `state`: the state folder; `python`: what runs both."""

    user: str
    config_file: Path
    config: Config
    state: Path
    python: Path

    def units(self) -> Mapping[str, str]:
        """The text of each unit by its name. Raises ServiceError."""
        if not _USER.fullmatch(self.user) or self.user == "root":
            raise ServiceError(f"{self.user!r} is no name for a user without rights, such as graphwall")
        home = "read-only" if self._at_home() else "yes"
        sandbox = _SANDBOX.format(home=home)
        words = {
            "mark": _MARK,
            "user": self.user,
            "python": _word(self.python),
            "socket": _word(SOCKET),
            "sandbox": sandbox,
            "controller": CONTROLLER,
            "inspector": INSPECTOR,
        }
        return {
            CONTROLLER: _CONTROLLER.format(
                **words,
                site=_text(self.config.site),
                config=_word(self.config_file),
                state=self._state_folder(),
                capabilities=self._capabilities(),
            ),
            INSPECTOR: _INSPECTOR.format(**words, folder=SOCKET.parent.name),
        }

    def programs(self) -> tuple[Path, ...]:
        """What the users of the units must be able to read."""
        return (self.python, self.python.resolve(), Path(controller.__file__))

    def _at_home(self) -> bool:
        needed = (*self.programs(), self.config_file, self.state)
        return any(path.is_relative_to(home) for path in needed for home in ("/home", "/root", "/run/user"))

    def _state_folder(self) -> str:
        if self.state.is_relative_to(_STATES) and self.state != _STATES:
            return f"StateDirectory={_word(self.state.relative_to(_STATES))}\nStateDirectoryMode=0700"
        return f"ReadWritePaths={_word(self.state)}"

    def _capabilities(self) -> str:
        openflow, api = self.config.openflow, self.config.api
        listens = (openflow.port if openflow.key is None else openflow.tls_port, api.port)
        return "CAP_NET_BIND_SERVICE" if any(0 < port < _FOR_ROOT for port in listens) else ""


def _text(value: str) -> str:
    """One line, in which systemd finds nothing to replace."""
    return "".join(c for c in value if c.isprintable()).replace("%", "%%").rstrip("\\")


def _word(value: Path) -> str:
    """One word of a command or a list (systemd.syntax(7))."""
    text = str(value)
    if not text.isprintable():
        raise ServiceError(f"{text!r} cannot be written into a unit; choose another place")
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if re.search(r"[^A-Za-z0-9_./@:=+,%-]", text) else text


def install(installation: Installation, folder: Path = UNITS) -> Iterator[str]:
    """Make the user, write the units, and tell systemd; sentences on what was done. Raises ServiceError."""
    units = installation.units()
    if os.geteuid() != 0:
        raise ServiceError("installing services needs root: run it with sudo, or look at them with --print")
    if not folder.is_dir():
        raise ServiceError(f"there is no {folder}: this machine does not run systemd; see them with --print")
    for name in units:
        file = folder / name
        if file.exists() and not file.read_text("utf-8", "replace").startswith(_MARK):
            raise ServiceError(f"{file} was made by somebody else; move it away first")
    _check_reachable(installation)
    yield from _make_user(installation.user)
    state = installation.state
    if not state.is_relative_to(_STATES):
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = pwd.getpwnam(installation.user)
        os.chown(state, owner.pw_uid, owner.pw_gid)
        yield f"{state} belongs to {installation.user}"
    for name, text in units.items():
        (folder / name).write_text(text, "utf-8")
        yield f"{folder / name} is written"
    if Path("/run/systemd/system").is_dir():
        _run("systemctl", "daemon-reload")
    yield f"Start it, now and at every boot, with: systemctl enable --now {INSPECTOR} {CONTROLLER}"


def _check_reachable(installation: Installation) -> None:
    """The units run as users who own nothing of the program."""
    for path in installation.programs():
        for step in (path, *path.parents):
            if not step.stat().st_mode & 0o001 and step.is_dir():
                raise ServiceError(
                    f"{step} is closed to others, so {installation.user} cannot run {path}; install "
                    "Graphwall where all may read it, such as /opt/graphwall"
                )
    config = installation.config_file
    if not config.exists():
        raise ServiceError(f"there is no {config}; write it first, or name yours with --config")


def _make_user(user: str) -> Iterator[str]:
    try:
        pwd.getpwnam(user)
    except KeyError:
        shell = "/usr/sbin/nologin"
        _run("useradd", "--system", "--user-group", "--no-create-home", "--shell", shell, user)
        yield f"user {user} is made, who may not log in"
    try:
        grp.getgrnam(user)
    except KeyError:
        raise ServiceError(f"the user {user} has no group of that name: groupadd --system {user}") from None


def _run(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        raise ServiceError(f"{command[0]} is not installed") from None
    if done.returncode != 0:
        raise ServiceError(f"{' '.join(command)}: {done.stderr.strip()}")


def this_python() -> Path:
    """The Python of this installation, not what it links to."""
    return Path(sys.executable)
