"""Where the self-test cannot be done, it says why, and touches nothing."""

from typing import Any

import pytest

from controller.commands import attach, selftest
from controller.commands.selftest import SelfTestError
from controller.config import Config

SWITCH = {"switch": 7, "connected": True, "inspected": True}


class FakeClient:
    """Answers as a controller with one switch would."""

    def __init__(self, switch: dict[str, Any], inspector: bool) -> None:
        self.answers = {"switches": {"switches": [switch]}, "status": {"inspector": inspector}}

    def get(self, path: str) -> dict[str, Any]:
        return self.answers[path]


@pytest.mark.parametrize(
    ("attached", "switch", "inspector", "said"),
    [
        ((), SWITCH, True, "br0 is not attached: graphwall attach br0"),
        (("br1",), SWITCH, True, "br0 is not attached"),
        (("br0",), {**SWITCH, "switch": 8}, True, "not connected to this controller"),
        (("br0",), {**SWITCH, "connected": False}, True, "not connected to this controller"),
        (("br0",), {**SWITCH, "inspected": False}, True, "there is no inspector"),
        (("br0",), SWITCH, False, "there is no inspector"),
    ],
)
def test_what_is_missing_is_named_before_anything_is_changed(
    attached: tuple[str, ...],
    switch: dict[str, Any],
    inspector: bool,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = tuple(attach.Attachment(bridge, 7, "", "") for bridge in attached)
    monkeypatch.setattr(attach, "attachments", lambda: found)
    client: Any = FakeClient(switch, inspector)
    with pytest.raises(SelfTestError, match=said):
        selftest.run(client, Config(), "br0", lambda _: None)
