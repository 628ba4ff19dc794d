"""The certificate of the page: made once, renewed in time, and insisted on by the commands."""

import datetime as dt
import ssl
from pathlib import Path

import httpx
import pytest

from controller.commands.client import Client, ClientError
from controller.web.certificate import CERTIFICATE, KEY, RENEW, VALID, CertificateError, given, own, reachable
from controller.web.server import serve
from tests.unit.web.fake_site import TOKEN, FakeSite, app_of, home

NOW = dt.datetime.now(dt.UTC)


def test_it_is_made_once_for_the_same_names(tmp_path: Path) -> None:
    first = own(tmp_path, ["localhost", "127.0.0.1"], NOW)
    assert own(tmp_path, ["127.0.0.1"], NOW) == first
    assert (tmp_path / KEY).stat().st_mode & 0o077 == 0
    assert own(tmp_path, ["127.0.0.1", "192.0.2.7"], NOW).fingerprint != first.fingerprint


def test_it_is_made_anew_before_it_ends(tmp_path: Path) -> None:
    first = own(tmp_path, ["localhost"], NOW)
    assert own(tmp_path, ["localhost"], NOW + VALID - RENEW - dt.timedelta(days=1)) == first
    assert own(tmp_path, ["localhost"], NOW + VALID - RENEW + dt.timedelta(days=1)) != first


def test_a_damaged_file_or_a_key_that_others_can_read_is_replaced(tmp_path: Path) -> None:
    first = own(tmp_path, ["localhost"], NOW)
    (tmp_path / KEY).chmod(0o644)
    second = own(tmp_path, ["localhost"], NOW)
    assert second.fingerprint != first.fingerprint
    (tmp_path / CERTIFICATE).write_text("nonsense")
    assert own(tmp_path, ["localhost"], NOW).fingerprint != second.fingerprint


def test_what_is_no_certificate_is_named(tmp_path: Path) -> None:
    made = own(tmp_path, ["localhost"], NOW)
    assert given(made.certificate, made.key).fingerprint == made.fingerprint
    with pytest.raises(CertificateError, match=r"correct api\.certificate and api\.key"):
        given(made.key, made.key)
    with pytest.raises(CertificateError, match="No such file"):
        given(tmp_path / "nowhere.pem", made.key)


def test_clients_verify_it_by_name_and_commands_by_its_fingerprint(tmp_path: Path) -> None:
    made = own(tmp_path, ["127.0.0.1"], NOW)
    running = serve(app_of(FakeSite(home())), "127.0.0.1", 0, made)
    try:
        assert running.url.startswith("https://127.0.0.1:")
        trusting = ssl.create_default_context(cafile=str(made.certificate))
        with httpx.Client(verify=trusting) as client:
            assert client.get(f"{running.url}/healthz").json() == {"status": "ok"}
            answer = client.post(f"{running.url}/api/v1/session", json={"secret": "x"})
            assert answer.status_code == 403
        assert Client(running.url, TOKEN, made.fingerprint).get("status")["site"] == "Home"
        for wrong in (None, "0" * 64):
            with pytest.raises(ClientError, match="another certificate"):
                Client(running.url, TOKEN, wrong).get("status")
    finally:
        running.stop()


def test_what_others_reach_is_an_address_and_not_everything() -> None:
    assert reachable("127.0.0.1") == "127.0.0.1"
    assert reachable("0.0.0.0") != "0.0.0.0"
