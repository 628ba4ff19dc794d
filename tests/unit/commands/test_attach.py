"""The names of ports, and what is said when a bridge cannot be prepared. The rest is in tests/switch."""

import json
import subprocess
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.commands import attach
from controller.commands.attach import AttachError
from controller.firewall.fabric import COPY_SUFFIX, INSPECTION_SUFFIX

bridges = st.text(st.characters(codec="ascii", categories=("L", "N"), include_characters="-_."), min_size=1)


@given(bridges)
def test_names_fit_into_an_interface_and_say_what_they_are(bridge: str) -> None:
    inspection, copy = attach.inspection_port(bridge), attach.copy_port(bridge)
    assert inspection.endswith(INSPECTION_SUFFIX)
    assert copy.endswith(COPY_SUFFIX)
    for name in (inspection, copy, attach.inspector_side(inspection), attach.inspector_side(copy)):
        assert len(name) <= 15


@given(bridges, bridges)
def test_two_bridges_do_not_share_a_name(one: str, other: str) -> None:
    assert (one == other) == (attach.inspection_port(one) == attach.inspection_port(other))


def answering(
    returncode: int = 0, out: str = "", err: str = ""
) -> Callable[[Sequence[str]], subprocess.CompletedProcess[str]]:
    return lambda command: subprocess.CompletedProcess(command, returncode, out, err)


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("run", "text"),
    [
        (answering(out="s1\ns2\n"), "no bridge br0 (there are s1, s2): ovs-vsctl add-br br0"),
        (answering(), "no bridge br0 (there is none): ovs-vsctl add-br br0"),
        (
            answering(
                1, err="ovs-vsctl: unix:/var/run/…/db.sock: database connection failed (No such file …)"
            ),
            "Open vSwitch is not running: service openvswitch-switch start",
        ),
        (
            answering(1, err="db.sock: (Permission denied)"),
            "ovs-vsctl was refused (db.sock: (Permission denied)): run as root, for example with sudo",
        ),
        (answering(-14), "ovs-vswitchd does not answer: service openvswitch-switch restart"),
        (
            answering(1, err="ovs-vsctl: something else"),
            "ovs-vsctl --timeout=10 list-br: ovs-vsctl: something else",
        ),
    ],
)
@pytest.mark.parametrize("what", [attach.attach, attach.detach])
def test_what_is_wrong_is_one_line_with_its_remedy(
    what: Callable[..., object], run: attach.Run, text: str
) -> None:
    with pytest.raises(AttachError) as caught:
        what("br0", run=run)
    assert str(caught.value) == text


@pytest.mark.usefixtures("as_root")
def test_a_program_that_is_missing_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(
        AttachError, match=r"^ovs-vsctl is not installed: apt-get install openvswitch-switch$"
    ):
        attach.attach("br0")


@pytest.mark.usefixtures("as_root")
def test_a_program_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        raise subprocess.TimeoutExpired("ovs-vsctl", 15)

    monkeypatch.setattr("subprocess.run", hang)
    with pytest.raises(AttachError, match=r"^ovs-vsctl does not answer: service openvswitch-switch restart$"):
        attach.attach("br0")


@pytest.mark.parametrize("what", [attach.attach, attach.detach])
def test_without_root_nothing_is_tried(what: Callable[..., object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    def never(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        raise AssertionError(command)

    with pytest.raises(AttachError, match=r"^changing a bridge needs root: run it with sudo$"):
        what("br0", run=never)


@pytest.mark.parametrize(
    "target",
    [
        "",
        "127.0.0.1",
        "tcp:host:6653",
        "udp:1.2.3.4",
        "tcp:1.2.3.4:5 --",
        "tcp:1.2.3.4\nx",
        "tcp:1.2.3.4:0",
        "tcp:1.2.3.4:65536",
        "tcp:1.2.3.400:6653",
        "tcp:[::1::]:6653",
    ],
)
def test_a_target_that_is_none_is_refused(target: str) -> None:
    with pytest.raises(AttachError, match=r"is no target: it looks like tcp:127.0.0.1:6653"):
        attach.attach("br0", target)


@pytest.mark.parametrize(
    "target",
    ["tcp:127.0.0.1", "tcp:127.0.0.1:6653", "ssl:10.0.0.1:6654", "tcp:[::1]:6653", "unix:/run/x.sock"],
)
@pytest.mark.usefixtures("as_root")
def test_targets_of_all_kinds_are_taken(target: str) -> None:
    with pytest.raises(AttachError, match="no bridge"):
        attach.attach("br0", target, run=answering())


def test_bridges_that_are_not_attached_are_not_listed() -> None:
    said = {
        "headings": ["name", "fail_mode", "controller", "external_ids", "datapath_id", "ports"],
        "data": [
            ["s1", "secure", ["set", []], ["map", [["owner", "somebody"]]], "0000000000000001", ["set", []]]
        ],
    }
    assert attach.attachments(answering(out=json.dumps(said))) == ()
