"""A CA of the site's own: who may be what by it, for how long, and who may read the keys."""

import datetime as dt
import re
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509

from controller import cli
from controller.commands.certificates import CertificatesError, make
from controller.config import Config, OpenFlow, parse
from tests.unit.test_app import Site

NOW = dt.datetime.now(dt.UTC)


def refuses(client: ssl.SSLContext, server: ssl.SSLContext) -> str:
    """Why a handshake in memory fails; "" when it succeeds."""
    wires = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(wires[0], wires[1], server_hostname="controller"),
        server.wrap_bio(wires[1], wires[0], server_side=True),
    ]
    try:
        for _ in range(6):
            for end in ends:
                try:
                    end.do_handshake()
                except ssl.SSLWantReadError:
                    continue
    except ssl.SSLError as error:
        return error.reason or str(error)
    return ""


def end(folder: Path, name: str, server: bool) -> ssl.SSLContext:
    """One end of a connection, as strict as Python 3.13 is by default."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(folder / "ca.pem")
    context.load_cert_chain(folder / f"{name}.pem", folder / f"{name}.key")
    return context


def test_controller_and_switches_believe_each_other_by_the_strictest_rules(tmp_path: Path) -> None:
    make(tmp_path, ["hall", "attic"], NOW)
    for switch in ("hall", "attic"):
        assert refuses(end(tmp_path, switch, server=False), end(tmp_path, "controller", server=True)) == ""


def test_a_switch_cannot_pass_for_the_controller_nor_the_controller_for_a_switch(tmp_path: Path) -> None:
    make(tmp_path, ["hall", "attic"], NOW)
    client = end(tmp_path, "hall", server=False)
    client.check_hostname = False
    assert refuses(client, end(tmp_path, "attic", server=True)) == "CERTIFICATE_VERIFY_FAILED"
    server = end(tmp_path, "controller", server=True)
    server.maximum_version = ssl.TLSVersion.TLSv1_2  # where the client's is looked at before the end
    assert refuses(end(tmp_path, "controller", server=False), server) == "CERTIFICATE_VERIFY_FAILED"


def test_certificates_of_another_site_are_worth_nothing(tmp_path: Path) -> None:
    for site in ("one", "two"):
        make(tmp_path / site, ["hall"], NOW)
    client = end(tmp_path / "one", "hall", server=False)
    assert refuses(client, end(tmp_path / "two", "controller", server=True)) == "CERTIFICATE_VERIFY_FAILED"


def test_only_their_owner_reads_keys_and_all_may_read_certificates(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    make(folder, ["hall"], NOW)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()}
    assert modes == {
        f"{name}.{kind}": mode
        for name in ("ca", "controller", "hall")
        for kind, mode in (("key", 0o600), ("pem", 0o644))
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_further_switches_are_made_by_the_same_ca_and_nothing_is_overwritten(tmp_path: Path) -> None:
    make(tmp_path, ["hall"], NOW)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(CertificatesError, match=r"hall\.key is there already"):
        make(tmp_path, ["shed", "hall"], NOW)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert make(tmp_path, ["shed"], NOW).names == ("shed",)
    assert refuses(end(tmp_path, "shed", server=False), end(tmp_path, "controller", server=True)) == ""


def test_no_certificate_outlives_its_ca(tmp_path: Path) -> None:
    first = make(tmp_path, ["hall"], NOW)
    assert first.until - NOW == dt.timedelta(days=1826)
    later = make(tmp_path, ["shed"], NOW + dt.timedelta(days=3000))
    ca = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes())
    assert later.until == ca.not_valid_after_utc


@pytest.mark.parametrize("name", ["ca", "controller", "../x", "Hall", "", "-a"])
def test_a_name_that_is_none_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(CertificatesError, match="cannot be called"):
        make(tmp_path / "keys", [name], NOW)
    assert not (tmp_path / "keys").exists()


def test_what_is_no_ca_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.key").write_text("not a key")
    (tmp_path / "ca.pem").write_text("not a certificate")
    with pytest.raises(CertificatesError, match="are no CA"):
        make(tmp_path, ["hall"], NOW)


def test_what_is_printed_can_be_used_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "my keys"
    assert cli.main(["certs", str(folder)]) == 0
    said = capsys.readouterr().out
    yaml = re.search(r"^  openflow:\n(    .*\n)+", said, re.MULTILINE)
    assert yaml
    openflow = parse(yaml[0].replace("\n  ", "\n")[2:], "site.yaml").openflow
    assert openflow == OpenFlow(
        key=str(folder / "controller.key"),
        certificate=str(folder / "controller.pem"),
        ca=str(folder / "ca.pem"),
    )
    assert f"ovs-vsctl set-ssl '{folder}/switch.key' '{folder}/switch.pem' '{folder}/ca.pem'" in said
    assert cli.main(["certs", str(folder)]) == 2
    site = Site(Config(openflow=openflow.model_copy(update={"tls_port": 0})))
    try:
        assert site.connect(tls=end_of_switch(folder)).closed is False
    finally:
        site.close()


def end_of_switch(folder: Path) -> ssl.SSLContext:
    context = end(folder, "switch", server=False)
    context.check_hostname = False  # as Open vSwitch, which knows an address only
    return context


def test_the_plain_listener_is_for_this_machine_only_unless_told_otherwise() -> None:
    assert OpenFlow().listen == "127.0.0.1"
