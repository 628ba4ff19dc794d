"""Prepares a bridge of Open vSwitch for Graphwall, and gives it back as it was.

Talks to ovs-vsctl, ovs-ofctl, ip and ethtool; knows nothing of flows beyond which are ours, of the
controller process or of the model. Needs root.
"""

import ipaddress
import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from controller.firewall.fabric import COPY_SUFFIX, INSPECTION_SUFFIX
from controller.flows.flow import COOKIE_MARK, COOKIE_MASK
from controller.switches.openflow import METERS, PACKET_IN_LIMIT

DEFAULT_CONTROLLER = "tcp:127.0.0.1:6653"

_NAME_AT_MOST = 15  # IFNAMSIZ of Linux, less the closing zero
_MTU = 9000  # frames of any common network fit, jumbo ones too
_RECONNECT_MS = 1000  # the least that Open vSwitch takes; its own default grows to 8 s
_SECONDS = 10  # for one command
_BEFORE = "graphwall-before"  # external_ids key of the bridge: what attach found
_ROLE = "graphwall"  # external_ids key of our ports
_TARGET = re.compile(r"(?:tcp|ssl):(\[[0-9A-Fa-f:.]+\]|[0-9.]+)(?::(\d{1,5}))?|unix:\S+")

Run = Callable[[Sequence[str]], subprocess.CompletedProcess[str]]


class AttachError(Exception):
    """A bridge cannot be prepared. The message says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A bridge that is attached. The interfaces are the inspector's side, "" without inspection.

    `faults`: sentences on what was changed since by others and lets traffic past the firewall.
    """

    bridge: str
    switch: int  # OpenFlow datapath id
    inspection: str
    copy: str
    faults: tuple[str, ...] = ()


def _stem(bridge: str) -> str:
    longest = _NAME_AT_MOST - len(INSPECTION_SUFFIX) - 1
    if len(bridge) <= longest:
        return bridge
    return blake2b(bridge.encode(), digest_size=4).hexdigest()


def inspection_port(bridge: str) -> str:
    """Name of the switch's port that frames to be judged go out of and come back in.

    >>> inspection_port("br0"), inspection_port("a-bridge-with-a-long-name")
    ('br0-gwi', '072a6366-gwi')
    """
    return _stem(bridge) + INSPECTION_SUFFIX


def copy_port(bridge: str) -> str:
    """Name of the switch's port that copies go out of."""
    return _stem(bridge) + COPY_SUFFIX


def inspector_side(port: str) -> str:
    """Name of the interface at the other end of inspection_port() or copy_port().

    >>> inspector_side("br0-gwi")
    'br0-gwi0'
    """
    return f"{port}0"


# ------------------------------------------------------------------ commands


def execute(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run without a shell. Raises AttachError when the program is not there or hangs."""
    program = command[0]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS + 5, check=False)
    except FileNotFoundError:
        package = {"ip": "iproute2", "ethtool": "ethtool"}.get(program, "openvswitch-switch")
        raise AttachError(f"{program} is not installed: apt-get install {package}") from None
    except subprocess.TimeoutExpired:
        raise AttachError(f"{program} does not answer: service openvswitch-switch restart") from None


def checked(run: Run, command: Sequence[str]) -> str:
    done = run(command)
    if done.returncode == 0:
        return done.stdout
    said = (done.stderr.strip() or done.stdout.strip()).splitlines()
    text = said[-1] if said else f"exit code {done.returncode}"
    if "database connection failed" in done.stderr:
        raise AttachError("Open vSwitch is not running: service openvswitch-switch start")
    if "ermission" in done.stderr or "not permitted" in done.stderr:
        raise AttachError(f"{command[0]} was refused ({text}): run as root, for example with sudo")
    if done.returncode < 0:  # ovs-vsctl ends itself by SIGALRM when ovs-vswitchd does not answer
        raise AttachError("ovs-vswitchd does not answer: service openvswitch-switch restart")
    raise AttachError(f"{' '.join(command)}: {text}")


def _vsctl(run: Run, *arguments: str) -> str:
    return checked(run, ["ovs-vsctl", f"--timeout={_SECONDS}", *arguments])


def _ofctl(run: Run, command: str, bridge: str, *arguments: str) -> str:
    return checked(run, ["ovs-ofctl", "-O", "OpenFlow13", command, bridge, *arguments])


def _value(cell: Any) -> Any:
    """A cell of ovs-vsctl's JSON (RFC 7047, section 5.1) as a Python value."""
    match cell:
        case ["set", list() as items]:
            return [_value(item) for item in items]
        case ["map", list() as items]:
            return {key: _value(value) for key, value in items}
        case ["uuid", str() as name]:
            return name
        case _:
            return cell


def _rows(run: Run, table: str, columns: str, *records: str) -> list[dict[str, Any]]:
    said = json.loads(_vsctl(run, "--format=json", f"--columns={columns}", "list", table, *records))
    return [dict(zip(said["headings"], map(_value, row), strict=True)) for row in said["data"]]


def _list(value: Any) -> list[Any]:
    """An optional or repeated column, which ovs-vsctl gives plain when it has one value."""
    return value if isinstance(value, list) else [value]


# ------------------------------------------------------------------ what is there


def _bridge(run: Run, bridge: str) -> dict[str, Any]:
    known = _vsctl(run, "list-br").split()
    if bridge not in known:
        there = f"there are {', '.join(known)}" if known else "there is none"
        raise AttachError(f"no bridge {bridge} ({there}): ovs-vsctl add-br {bridge}")
    columns = "name,fail_mode,protocols,other_config,external_ids,datapath_id"
    return _rows(run, "Bridge", columns, bridge)[0]


def _need_root() -> None:
    if os.geteuid() != 0:
        raise AttachError("changing a bridge needs root: run it with sudo")


def _exists(interface: str) -> bool:
    return Path("/sys/class/net", interface).exists()


def attachments(run: Run = execute) -> tuple[Attachment, ...]:
    """The bridges that are attached, by name. Raises AttachError when Open vSwitch does not answer."""
    found = []
    for row in _rows(run, "Bridge", "name,fail_mode,controller,external_ids,datapath_id,ports"):
        if _BEFORE not in row["external_ids"]:
            continue
        bridge = row["name"]
        ports = set(_vsctl(run, "list-ports", bridge).split())
        sides = [
            inspector_side(port) if port in ports else ""
            for port in (inspection_port(bridge), copy_port(bridge))
        ]
        faults = []
        if row["fail_mode"] != "secure":
            faults.append(
                f"{bridge} forwards everything while it has no controller (fail_mode is not secure): "
                f"graphwall attach {bridge}"
            )
        if not _list(row["controller"]):
            faults.append(f"{bridge} has no controller: graphwall attach {bridge}")
        found.append(
            Attachment(bridge, int(row["datapath_id"] or "0", 16), sides[0], sides[1], tuple(faults))
        )
    return tuple(sorted(found, key=lambda a: a.bridge))


# ------------------------------------------------------------------ attach


def _is_target(text: str) -> bool:
    """Whether Open vSwitch could reach a controller there: it takes any text, and then waits silently."""
    found = _TARGET.fullmatch(text)
    if found is None:
        return False
    address, port = found.groups()
    try:
        if address is not None:
            ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        return False
    return port is None or 0 < int(port) < 65536


def attach(
    bridge: str, controller: str = DEFAULT_CONTROLLER, inspect: bool = True, run: Run = execute
) -> tuple[str, ...]:
    """Put `bridge` under Graphwall; sentences on what was changed, none when it was so already.

    `controller` is an OpenFlow target of Open vSwitch, such as "tcp:127.0.0.1:6653".
    `inspect` False: without inspection and copy ports; what must be judged is then dropped.
    Raises AttachError.
    """
    if not _is_target(controller):
        raise AttachError(f"controller {controller!r} is no target: it looks like {DEFAULT_CONTROLLER}")
    _need_root()
    row = _bridge(run, bridge)
    targets = _vsctl(run, "get-controller", bridge).split()
    changes: list[str] = []
    commands: list[str] = []

    if _BEFORE not in row["external_ids"]:
        before = {
            "fail_mode": _list(row["fail_mode"]),
            "protocols": _list(row["protocols"]),
            "in_band": row["other_config"].get("disable-in-band"),
            "controllers": targets,
            "fragments": _ofctl(run, "get-frags", bridge).strip(),
        }
        commands += _set("Bridge", bridge, f"external_ids:{_BEFORE}={json.dumps(json.dumps(before))}")
    if _list(row["fail_mode"]) != ["secure"]:
        commands += _set("Bridge", bridge, "fail_mode=secure")
        changes.append("without a controller it now forwards only what its flows allow (fail_mode secure)")
    if _list(row["protocols"]) != ["OpenFlow13"]:
        commands += _set("Bridge", bridge, "protocols=OpenFlow13")
        changes.append("it speaks OpenFlow 1.3 only")
    if row["other_config"].get("disable-in-band") != "true":
        commands += _set("Bridge", bridge, "other_config:disable-in-band=true")
        changes.append("it has no hidden flows for in-band control")
    if targets != [controller]:
        commands += ["--", "set-controller", bridge, controller]
        changes.append(f"its controller is {controller}")
    if inspect:
        present = set(_vsctl(run, "list-ports", bridge).split())
        for port, role in ((inspection_port(bridge), "inspect"), (copy_port(bridge), "copy")):
            if _cable(run, port) or port not in present:
                changes.append(f"port {port} leads to the inspector's interface {inspector_side(port)}")
            commands += ["--", "--may-exist", "add-port", bridge, port]
            commands += _set("Port", port, f"external_ids:{_ROLE}={role}")
    if commands:
        _vsctl(run, *commands[1:])
    # Open vSwitch 3.1 takes it only as a change of a controller that it has already
    if _vsctl(run, "get", "Controller", bridge, "max_backoff").strip() != str(_RECONNECT_MS):
        _vsctl(run, "set", "Controller", bridge, f"max_backoff={_RECONNECT_MS}")
    return tuple(f"{bridge}: {change}" for change in changes)


def _set(table: str, record: str, column: str) -> list[str]:
    return ["--", "set", table, record, column]


def _cable(run: Run, port: str) -> bool:
    """The veth pair of a port, carrying frames as they are and nothing of its own; False: it was there."""
    ends = (port, inspector_side(port))
    new = not all(_exists(end) for end in ends)
    if new:
        _remove_cable(run, port)
        checked(run, ["ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1]])
    for end in ends:
        # Else the host would send neighbour discovery and multicast reports into the site
        ipv6 = Path("/proc/sys/net/ipv6/conf", end, "disable_ipv6")
        if ipv6.exists():
            ipv6.write_text("1")
        checked(run, ["ip", "address", "flush", "dev", end])
        checked(run, ["ip", "link", "set", end, "mtu", str(_MTU), "arp", "off", "up"])
        # Raw sockets and userspace datapaths are handed unfinished checksums otherwise, and TCP stalls
        checked(run, ["ethtool", "-K", end, "tx", "off", "gro", "off"])
    return new


def _remove_cable(run: Run, port: str) -> None:
    for end in (port, inspector_side(port)):
        if _exists(end):
            checked(run, ["ip", "link", "delete", end])


# ------------------------------------------------------------------ detach


def detach(bridge: str, run: Run = execute) -> tuple[str, ...]:
    """Give `bridge` back as attach() found it; sentences on what was changed. Raises AttachError."""
    _need_root()
    row = _bridge(run, bridge)
    ports = (inspection_port(bridge), copy_port(bridge))
    noted = row["external_ids"].get(_BEFORE)
    if noted is None:
        return ()
    before: Mapping[str, Any] = json.loads(noted)
    # Our flows go first: with another controller behind it they would stay, and nobody would know them.
    _ofctl(run, "del-flows", bridge, f"cookie={COOKIE_MARK:#x}/{COOKIE_MASK:#x}")
    for meter in METERS:  # not every switch has meters, so a refusal is no fault
        name = "controller" if meter == PACKET_IN_LIMIT else str(meter)
        run(["ovs-ofctl", "-O", "OpenFlow13", "del-meter", bridge, f"meter={name}"])
    _ofctl(run, "set-frags", bridge, before["fragments"])

    commands = ["--", "remove", "Bridge", bridge, "external_ids", _BEFORE]
    for column in ("fail_mode", "protocols"):
        commands += _restore(bridge, column, before[column])
    if before["in_band"] is None:
        commands += ["--", "remove", "Bridge", bridge, "other_config", "disable-in-band"]
    else:
        commands += _set("Bridge", bridge, f"other_config:disable-in-band={json.dumps(before['in_band'])}")
    commands += ["--", "del-controller", bridge]
    if before["controllers"]:
        commands += ["--", "set-controller", bridge, *before["controllers"]]
    for port in ports:
        commands += ["--", "--if-exists", "del-port", bridge, port]
    _vsctl(run, *commands[1:])
    for port in ports:
        _remove_cable(run, port)
    fails = "".join(before["fail_mode"]) or "standalone, which forwards everything"
    controllers = ", ".join(before["controllers"]) or "none"
    return (
        f"{bridge}: fail_mode is {fails} again",
        f"{bridge}: its controller is {controllers} again",
        f"{bridge}: inspection and copy ports are gone",
    )


def _restore(bridge: str, column: str, values: Sequence[str]) -> list[str]:
    if not values:
        return ["--", "clear", "Bridge", bridge, column]
    return _set("Bridge", bridge, f"{column}={','.join(values)}")
