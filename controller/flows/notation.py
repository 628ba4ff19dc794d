"""Flows as the tools of a switch write them, for people to compare. Pure.

Knows nothing of which flow is wanted, or why.
"""

from collections.abc import Iterator, Sequence
from typing import assert_never

from controller.flows.flow import (
    CONTROLLER_PORT,
    Action,
    Commit,
    Goto,
    Match,
    Output,
    SetRegister,
    Track,
)

_NAMES = {
    "source": "reg0",
    "destination": "reg1",
    "src_port": "tp_src",
    "dst_port": "tp_dst",
    "eth_src": "dl_src",
    "eth_dst": "dl_dst",
    "ip_src": "nw_src",
    "ip_dst": "nw_dst",
}
_SHOWN = (
    "in_port", "eth_src", "eth_dst", "ip_src", "ip_dst", "src_port", "dst_port", "icmp_type", "nd_target",
    "source", "destination",
)  # fmt: skip
_KINDS = {0x0800: "ip", 0x0806: "arp", 0x86DD: "ipv6"}
_PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp"}


def match_text(match: Match) -> str:
    """What a match takes, such as "tcp, tp_dst=80, reg0=3"."""
    return ", ".join(_parts(match)) or "everything"


def actions_text(actions: Sequence[Action]) -> str:
    """What is done, such as "output:3"."""
    return ", ".join(map(_action, actions)) or "drop"


def _parts(match: Match) -> Iterator[str]:
    if match.eth_type is not None:
        kind = _KINDS.get(match.eth_type, f"dl_type={match.eth_type:#06x}")
        if match.ip_proto is not None:
            six = "6" if kind == "ipv6" else ""
            kind = f"{_PROTOCOLS[match.ip_proto]}{six}" if match.ip_proto in _PROTOCOLS else kind
        yield kind
    for name in _SHOWN:
        value = getattr(match, name)
        if value is not None:
            yield f"{_NAMES.get(name, name)}={value}"
    if match.tcp_flags is not None:
        yield "tcp_flags={:#x}/{:#x}".format(*match.tcp_flags)
    if match.eth_dst_group:
        yield "to a group"
    if match.vlan is False:
        yield "untagged"
    if match.tracked is not None:
        yield "ct_state=+trk+est+rpl" if match.tracked else "ct_state=-trk"


def _action(action: Action) -> str:
    match action:
        case Output(port):
            return "controller" if port == CONTROLLER_PORT else f"output:{port}"
        case SetRegister(register, value):
            return f"load:{value}->reg{register}"
        case Commit():
            return "ct(commit)"
        case Track(table):
            return f"ct(table={table.value})"
        case Goto(table):
            return f"goto_table:{table.value}"
        case _:
            assert_never(action)
