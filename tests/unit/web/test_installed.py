"""The flows in a switch, as the API tells of them."""

from controller.flows.flow import Flow, Match, Output, Table
from controller.view import FlowView
from controller.web.installed import installed


def test_where_it_is_what_it_does_and_what_it_has_counted() -> None:
    flow = Flow(Table.VERDICT, 310, Match(in_port=1), (Output(3),), 0x67 << 56 | 1, idle_timeout=30)
    found = installed(FlowView(1, flow, 9, 900), "hall")
    assert (found.switch, found.table, found.cookie) == ("hall", "3 VERDICT", "0x6700000000000001")
    assert (found.match, found.actions) == ("in_port=1", "output:3")
    assert (found.packets, found.bytes, found.passing) == (9, 900, True)
