"""Access logs of the VSL's monitor are read line by line; what is no access is said and left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.captures.reader import CaptureError
from controller.dpi.message import Operation
from controller.replay.accesslog import COLUMNS, Agents, Line, is_access_log, lines

HEADER = ",".join(COLUMNS) + "\n"


def row(operation: str = "read", when: str = "1519899600000", client: str = "/agent2/lightcontrol2") -> str:
    return (
        f"lightcontrol2,{client},/lightControler,Bedroom,/agent4/light1,/light,Hall,/agent4/light1/isOn,"
        f"/basic/number,{operation},1,{when},normal\n"
    )


def test_an_access_is_the_message_that_its_request_would_have_been() -> None:
    (line,) = lines([HEADER, row()])
    assert isinstance(line, Line)
    message = line.message
    assert (line.number, line.time, line.client, line.server) == (2, 1519899600.0, "agent2", "agent4")
    assert (message.protocol, message.verb, message.operation) == ("vsl", "get", Operation.READ)
    assert (message.resource, message.identity, message.service) == (
        "/agent4/light1/isOn",
        "lightcontrol2",
        "light1",
    )
    assert (line.kind, line.normality) == ("lightControler", "normal")


@pytest.mark.parametrize(
    ("word", "verb", "operation"),
    [
        ("WRITE", "set", Operation.WRITE),
        ("SUBSCRIBE", "subscribe", Operation.SUBSCRIBE),
        ("NOTIFYCALLBACK", "notify", Operation.NOTIFY),
        ("lockSubtree", "lock_subtree", Operation.LOCK),
        ("REGISTER_VIRTUAL_NODE", "register_virtual_node", Operation.REGISTER),
        ("registerService", "register_service", Operation.REGISTER),
        ("OTHER", "OTHER", Operation.EXECUTE),
    ],
)
def test_the_monitors_operations_have_their_own_words(word: str, verb: str, operation: Operation) -> None:
    (line,) = lines([HEADER, row(word)])
    assert isinstance(line, Line)
    assert (line.message.verb, line.message.operation) == (verb, operation)


def test_lines_that_are_no_accesses_are_named_and_the_others_read() -> None:
    found = list(lines([HEADER, "a,b\n", row(when="soon"), row(client="/"), row(when="-5"), "\n", row()]))
    assert [type(line).__name__ for line in found] == ["str"] * 4 + ["Line"]
    assert found[0] == "line 2 has 2 columns instead of 13"


def test_another_table_is_refused() -> None:
    assert is_access_log(HEADER)
    assert not is_access_log("a,b,c\n")
    with pytest.raises(CaptureError, match="columns"):
        list(lines(["a,b,c\n", "1,2,3\n"]))


@given(st.lists(st.text(max_size=200)))
def test_any_text_gives_lines_or_says_what_is_wrong(text: list[str]) -> None:
    try:
        found = list(lines([HEADER, *text]))
    except CaptureError:
        return
    assert all(isinstance(line, str | Line) for line in found)


def test_agents_are_devices_with_addresses_and_ports_of_their_own() -> None:
    agents = Agents()
    hostile = row(client="/\u202e\x1b/x")
    found = [line for line in lines([HEADER, row(), hostile]) if isinstance(line, Line)]
    assert all(agents.see(line) for line in found)
    assert agents.port("agent4") == 8084
    assert agents.port("agent99999999") == agents.port("x") == 8080
    devices = agents.devices()
    assert len({device.mac for device in devices}) == len({device.addresses for device in devices}) == 3
    assert [device.id for device in devices] == ["agent2", "agent4", "vsl-3"]
