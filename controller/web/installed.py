"""The flows in a switch, as the API tells of them. Pure.

Knows nothing of which flow is wanted, or why.
"""

from controller.flows.flow import Flow
from controller.flows.notation import actions_text, match_text
from controller.view import FlowView
from controller.web.values import InstalledFlow


def installed(view: FlowView, switch: str) -> InstalledFlow:
    flow: Flow = view.flow
    return InstalledFlow(
        switch=switch,
        table=f"{flow.table.value} {flow.table.name}",
        priority=int(flow.priority),
        cookie=f"{flow.cookie:#018x}",
        match=match_text(flow.match),
        actions=actions_text(flow.actions),
        packets=view.packets,
        bytes=view.bytes,
        passing=bool(flow.idle_timeout or flow.hard_timeout),
    )
