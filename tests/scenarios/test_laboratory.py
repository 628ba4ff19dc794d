"""With plain switches everything works; what was made can be removed, whatever happened."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import pytest

from topologies import control, marks, schema
from topologies.laboratory import Laboratory, Setting
from topologies.manager import ServiceState
from topologies.marks import LabError
from topologies.waiting import WaitedError, until

Start = Callable[[str], AbstractContextManager[Laboratory]]

pytestmark = [pytest.mark.root, pytest.mark.mininet]

START_WITHIN = 10.0  # seconds for ten and more services to do their work


def events(laboratory: Laboratory, service: str, name: str) -> list[dict[str, Any]]:
    return [e for e in laboratory.services.log(service) if e["event"] == name]


# The smart home


@pytest.fixture(scope="module")
def home(without_firewall: Start) -> Iterator[Laboratory]:
    with without_firewall("smart_home") as laboratory:
        yield laboratory


def test_eighteen_services_work_within_ten_seconds() -> None:
    begin = time.monotonic()
    with Laboratory(
        schema.read("smart_home"), Setting(firewall=False, prefix=marks.free_prefix())
    ) as laboratory:
        laboratory.wait_ready(30)
        assert time.monotonic() - begin < START_WITHIN
        running = [s for s in laboratory.services.status() if s.state is ServiceState.RUNNING]
        assert len(running) == 18


def test_devices_get_their_addresses_by_dhcp_and_tell_their_names(home: Laboratory) -> None:
    leases = (home.directory / "dnsmasq.leases").read_text().splitlines()
    names = {line.split()[3]: line.split()[2] for line in leases}
    devices = [h.name for h in home.topology.hosts if h.ipv4 == "dhcp" and home.network.joined(h.name)]
    assert len(devices) == 11
    assert {d: home.network.address(d) for d in devices} == {d: names[d] for d in devices}


@pytest.mark.parametrize("name", ["camera", "camera.home.arpa", "router", "firmware.ocularis.example"])
def test_names_are_resolved_by_the_routers_dns(home: Laboratory, name: str) -> None:
    assert home.network.run("tablet", ["getent", "hosts", name]).returncode == 0


def test_unknown_names_are_refused_by_dns(home: Laboratory) -> None:
    assert home.network.run("tablet", ["getent", "hosts", "nowhere.example"]).returncode == 2


def test_washing_machine_starts_when_the_battery_is_full(home: Laboratory) -> None:
    services = home.services
    until(lambda: services.state("washing-control").get("running") is False, "the machine is idle", 20)
    before = services.state("washing-control")["washes"]
    services.command("storage", "charge", to=100)
    until(lambda: services.state("washing-control").get("running") is True, "the machine runs", 15)
    assert services.state("washing-control")["washes"] == int(str(before)) + 1
    assert any(e.get("battery") == "/agent2/storage" for e in events(home, "washing-control", "washing"))


def test_readings_arrive_by_mqtt_and_wishes_reach_the_thermostat(home: Laboratory) -> None:
    services = home.services
    readings = until(
        lambda: (r := services.state("home-app").get("readings")) and "home/kitchen/window" in str(r) and r,
        "the phone shows the window",
    )
    assert isinstance(readings, dict)
    assert "home/living-room/thermostat/temperature" in readings
    services.command("home-app", "publish", topic="home/living-room/thermostat/target", value="17.5")
    until(lambda: services.state("climate").get("target") == 17.5, "the thermostat has its new target")


def test_last_will_is_published_for_a_sensor_that_died(home: Laboratory) -> None:
    services = home.services
    pid = next(s.pid for s in services.status() if s.name == "window")
    assert pid
    os.kill(pid, signal.SIGKILL)

    def reading() -> object:
        readings = services.state("home-app")["readings"]
        assert isinstance(readings, dict)
        return readings["home/kitchen/window"]

    until(lambda: reading() == '"unreachable"', "the broker publishes the last will")
    assert next(s.state for s in services.status() if s.name == "window") is ServiceState.FAILED
    services.start("window")
    until(lambda: reading() in ("open", "closed"), "the sensor is back")


def test_mqtt_clients_come_back_after_the_broker_was_restarted(home: Laboratory) -> None:
    services = home.services
    services.stop("broker")
    until(lambda: events(home, "climate", "disconnected"), "the thermostat lost its connection")
    services.start("broker")
    came = len(events(home, "climate", "connected"))
    until(lambda: len(events(home, "climate", "connected")) > came, "the thermostat is back", 15)


def test_wall_switch_turns_the_lamp_by_coap(home: Laboratory) -> None:
    wanted = home.services.command("button", "press")
    assert home.services.state("light")["on"] is (wanted == "1")
    served = events(home, "light", "served")
    assert {"GET", "PUT"} <= {e["operation"] for e in served}


def test_camera_serves_pictures_and_asks_its_cloud_by_tls(home: Laboratory) -> None:
    services = home.services
    until(lambda: services.state("eye").get("firmware") == "1.0.3", "the camera knows the newest firmware")
    until(lambda: services.state("dashboard").get("pictures"), "the tablet has a picture")
    assert services.command("dashboard", "put", url="http://camera/settings", body={"name": "Garden"}) == 204
    assert services.state("eye")["settings"] == {"name": "Garden"}
    asked = [e for e in events(home, "clouds", "served") if e["agent"].startswith("OcularisCam")]
    assert asked[0]["host"] == "firmware.ocularis.example"


def test_time_is_told(home: Laboratory) -> None:
    ask = (
        "import socket; s = socket.socket(type=2); s.settimeout(3); s.connect(('router', 123)); "
        "s.send(b'\\x23' + bytes(47)); print(len(s.recv(100)))"
    )
    assert home.network.run("camera", [sys.executable, "-c", ask]).stdout == "48\n"


# The paper's network


@pytest.fixture
def paper(without_firewall: Start) -> Iterator[Laboratory]:
    with without_firewall("paper") as laboratory:
        yield laboratory


def batteries(laboratory: Laboratory) -> dict[str, Any]:
    found = laboratory.services.state("washing-control").get("batteries", {})
    assert isinstance(found, dict)
    return found


def level(laboratory: Laboratory, address: str) -> float | None:
    found: float | None = batteries(laboratory).get(address, {}).get("level")
    return found


def test_battery_that_joins_later_is_found_and_read(paper: Laboratory) -> None:
    paper.join("battery-2")
    until(lambda: level(paper, "/agent4/storage-2"), "the washing machine reads the second battery", 15)
    paper.leave("battery-2")
    until(lambda: list(batteries(paper)) == ["/agent2/storage"], "the second battery is gone", 15)
    paper.join("battery-2")
    until(lambda: level(paper, "/agent4/storage-2"), "it is back", 15)


def test_malicious_update_opens_the_real_door(paper: Laboratory) -> None:
    services = paper.services
    assert services.state("lock")["open"] is False
    services.update("washing-control", "2")
    until(lambda: services.state("lock")["open"] is True, "the door is open", 15)
    assert events(paper, "lock", "opened")[-1]["by"] == "washing-control"
    until(lambda: level(paper, "/agent2/storage"), "it also does its work")
    services.update("washing-control", "1")
    assert services.command("lock", "close")
    until(lambda: services.state("lock")["open"] is False, "the door is closed again")


def test_battery_that_is_moved_to_another_node_keeps_its_charge_and_is_found(paper: Laboratory) -> None:
    services = paper.services
    charge = services.command("storage", "charge", to=77)
    services.migrate("storage", "node-5")
    until(lambda: level(paper, "/agent5/storage"), "the washing machine reads the moved battery", 15)
    assert events(paper, "storage", "state")[-1].get("level", charge) >= charge
    assert services.where("storage") == "node-5"
    until(lambda: "/agent2/storage" not in batteries(paper), "its old place is forgotten", 15)


def test_control_service_works_on_another_node(paper: Laboratory) -> None:
    services = paper.services
    services.migrate("washing-control", "node-5")
    until(
        lambda: services.state("washing-control").get("address") == "/agent5/washing-control", "it has moved"
    )
    until(lambda: level(paper, "/agent2/storage"), "it reads the battery from there", 15)
    seen = [e for e in events(paper, "agent2", "served") if e["by"] == "washing-control"]
    assert seen[-1]["remote"] == paper.network.address("node-5")


def test_subscribing_version_is_told_of_changes(paper: Laboratory) -> None:
    paper.services.update("washing-control", "3")
    until(lambda: events(paper, "washing-control", "subscribed"), "it subscribes", 15)
    until(
        lambda: any(
            e["operation"] == "POST" and e["by"] == "storage" for e in events(paper, "agent2", "forwarded")
        ),
        "the battery's agent calls back",
        15,
    )


def test_services_register_again_when_their_agent_was_restarted(paper: Laboratory) -> None:
    services = paper.services
    services.stop("agent2")
    until(lambda: events(paper, "storage", "unregistered"), "the battery misses its agent", 15)
    services.start("agent2")
    before = len(events(paper, "storage", "registered"))
    until(lambda: len(events(paper, "storage", "registered")) > before, "the battery is registered again", 15)
    seen = len(events(paper, "agent2", "served"))
    until(lambda: len(events(paper, "agent2", "served")) > seen, "the washing machine reads it again", 15)


def test_what_cannot_be_is_refused_with_a_reason(paper: Laboratory) -> None:
    services = paper.services
    for ask, reason in (
        (lambda: services.start("ghost"), "there is no service 'ghost'; there are: agent1"),
        (lambda: services.update("lock", "7"), "no version '7'; there are: 1"),
        (lambda: services.migrate("lock", "moon"), "there is no host 'moon'"),
        (lambda: services.migrate("lock", "battery-2"), "has not joined yet"),
        (lambda: services.command("lock", "explode"), "no command 'explode'; there are: close"),
        (lambda: paper.join("battery"), "has joined already"),
        (lambda: paper.network.set_trunk("s1", "s2", up=False), "no link between s1 and s2"),
    ):
        with pytest.raises(LabError, match=reason):
            ask()


def test_laboratory_answers_another_process(paper: Laboratory) -> None:
    prefix = paper.setting.prefix
    with control.Control(paper):
        status = control.ask(prefix, "status")
        assert {s["name"]: s["ready"] for s in status["services"]}["lock"] is True
        assert control.ask(prefix, "do", "storage", "charge", "to=55") == 55
        with pytest.raises(LabError, match="usage: ctl update SERVICE VERSION"):
            control.ask(prefix, "update", "lock")
        said = subprocess.run(
            [sys.executable, "-m", "topologies", "ctl", "--prefix", prefix, "--json", "state", "lock"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(said.stdout)["open"] is False


def test_second_laboratory_of_the_same_prefix_is_refused(paper: Laboratory) -> None:
    with pytest.raises(LabError, match="is running already"):
        Laboratory(schema.read("paper"), Setting(firewall=False, prefix=paper.setting.prefix)).start()
    assert paper.services.state("lock")["ready"] is True


def test_secure_switches_without_a_controller_forward_nothing() -> None:
    setting = Setting(firewall=True, controller=None, prefix=marks.free_prefix())
    with Laboratory(schema.read("paper"), setting) as laboratory:
        laboratory.wait_ready(20)  # each service reaches its own agent
        ping = laboratory.network.run("battery", ["ping", "-c", "2", "-i", "0.2", "-W", "1", "10.0.0.1"])
        assert "100% packet loss" in ping.stdout
        assert not batteries(laboratory)


# The factory


@pytest.fixture(scope="module")
def factory(without_firewall: Start) -> Iterator[Laboratory]:
    with without_firewall("factory") as laboratory:
        yield laboratory


def test_values_of_all_controllers_are_read(factory: Laboratory) -> None:
    for service in ("panel", "records", "projects"):
        readings = factory.services.state(service)["readings"]
        assert isinstance(readings, dict)
        until(lambda r=readings: set(r) == {"plc-1", "plc-2", "plc-3"}, f"{service} reads all")  # type: ignore[misc]
    panel = until(lambda: factory.services.state("panel")["readings"], "the panel shows")
    assert isinstance(panel, dict)
    assert panel["plc-2"]["wanted"] == 60


def test_what_the_engineering_station_writes_is_done(factory: Laboratory) -> None:
    services = factory.services
    services.command("projects", "register", plc="plc-1", address=0, value=80)
    until(lambda: services.state("press").get("wanted") == 80, "the press has its new speed")
    services.command("projects", "coil", plc="plc-1", address=0, value=False)
    until(lambda: services.state("press").get("speed") == 0, "the press stands still")
    written = [e["operation"] for e in events(factory, "press", "served")]
    assert written == ["Write Single Register", "Write Single Coil"]


def test_ring_survives_a_cut(factory: Laboratory) -> None:
    services = factory.services
    factory.network.set_trunk("s1", "s2", up=False)
    try:
        begin = time.time()
        until(
            lambda: [
                e for e in events(factory, "records", "sent") if e["plc"] == "plc-1" and e["time"] > begin + 1
            ],
            "the historian on s2 reads the controller on s1 the other way",
            30,
        )
    finally:
        factory.network.set_trunk("s1", "s2", up=True)
    assert all(s.ready for s in services.status())


# What remains: nothing


def namespaces_of(processes: Iterable[int | str]) -> set[int]:
    """The network namespaces that these processes are in; some of them may end meanwhile."""
    found = set()
    for pid in processes:
        with suppress(OSError):
            found.add(Path(f"/proc/{pid}/ns/net").stat().st_ino)
    return found


def leftovers(prefix: str, namespaces: set[int]) -> dict[str, object]:
    """What is still there of a laboratory; empty lists when nothing is."""
    held = namespaces_of(path.name for path in Path("/proc").glob("[0-9]*"))
    return {
        "processes": marks.marked_processes(prefix),
        "bridges": marks.marked_bridges(prefix),
        "interfaces": [p.name for p in Path("/sys/class/net").iterdir() if p.name.startswith(prefix)],
        "namespaces": sorted(held & namespaces),
        "files": [str(p) for p in marks.RUN_DIRECTORY.glob(prefix.rstrip("-"))],
    }


NOTHING: dict[str, object] = {"processes": [], "bridges": [], "interfaces": [], "namespaces": [], "files": []}


def nothing_is_left(prefix: str, namespaces: set[int]) -> None:
    try:  # the kernel takes a moment to let a namespace go
        until(lambda: leftovers(prefix, namespaces) == NOTHING, "nothing is left", 3)
    except WaitedError:
        assert leftovers(prefix, namespaces) == NOTHING


def run(topology: str, prefix: str, *more: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "topologies", "run", topology, "--prefix", prefix, *more]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def running(prefix: str) -> set[int]:
    """Wait until the laboratory is up; returns its network namespaces."""

    def answers() -> bool:
        try:
            control.ask(prefix, "ready", "20")
        except LabError:
            return False
        return True

    until(answers, "the laboratory runs", 40)
    return namespaces_of(marks.marked_processes(prefix)) - namespaces_of(["self"])


@pytest.mark.parametrize(("number", "firewall"), [(signal.SIGINT, "off"), (signal.SIGTERM, "on")])
def test_run_ends_on_a_signal_and_leaves_nothing(number: signal.Signals, firewall: str) -> None:
    prefix = marks.free_prefix()
    more = ("--firewall", firewall, "--controller", "none")
    with run("paper", prefix, *more) as process:
        namespaces = running(prefix)
        assert len(namespaces) == 4
        process.send_signal(number)
        assert process.wait(20) == 0
    nothing_is_left(prefix, namespaces)


@pytest.mark.timeout(90)
@pytest.mark.parametrize("topology", ["smart_home", "factory"])
def test_clean_removes_everything_after_the_runner_was_killed(topology: str) -> None:
    prefix = marks.free_prefix()
    with run(topology, prefix, "--firewall", "off") as process:
        namespaces = running(prefix)
        process.kill()
        process.wait()
    assert leftovers(prefix, namespaces)["bridges"]  # a crash does leave something
    said = subprocess.run(
        [sys.executable, "-m", "topologies", "clean", "--prefix", prefix],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.startswith("Removed ")
    until(
        lambda: leftovers(prefix, namespaces) == NOTHING,
        f"nothing is left of {leftovers(prefix, namespaces)}",
        5,
    )


def test_clean_ends_a_running_laboratory_and_no_other(paper: Laboratory) -> None:
    prefix = marks.free_prefix()
    with run("paper", prefix, "--firewall", "off") as process:
        namespaces = running(prefix)
        subprocess.run([sys.executable, "-m", "topologies", "clean", "--prefix", prefix], check=True)
        assert process.wait(10) == 0
    nothing_is_left(prefix, namespaces)
    assert all(s.ready for s in paper.services.status() if s.state is ServiceState.RUNNING)


def test_start_after_a_crash_cleans_up_by_itself() -> None:
    prefix = marks.free_prefix()
    with run("paper", prefix, "--firewall", "off") as process:
        running(prefix)
        process.kill()
        process.wait()
    with Laboratory(schema.read("paper"), Setting(firewall=False, prefix=prefix)) as laboratory:
        laboratory.wait_ready(20)
    nothing_is_left(prefix, set())


def test_hosts_may_have_ipv6_addresses() -> None:
    text = schema.find("paper").read_text()
    for number in (1, 2):
        ipv4 = f"ipv4: 10.0.0.{number}\n"
        text = text.replace(ipv4, f"{ipv4}    ipv6: fd00:77::{number}/64\n")
    setting = Setting(firewall=False, prefix=marks.free_prefix())
    with Laboratory(schema.parse(text, "paper.yaml"), setting) as laboratory:
        ping = ["ping", "-6", "-c", "1", "-W", "3", "fd00:77::1"]
        until(lambda: laboratory.network.run("battery", ping).returncode == 0, "IPv6 is forwarded")
