"""The commands' way to a running controller: its HTTP API, found by way of the state folder.

Knows nothing of what is asked or printed.
"""

import hmac
import http.client
import json
import ssl
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from controller.web import token

ADDRESS_FILE = "api-address"  # in the state folder, while a controller runs there
PREFIX = "/api/v1"
JSON = "application/json"
ANSWER_WITHIN = 20.0  # s; the firewall itself gives up after ten

Json = dict[str, Any]


class ClientError(Exception):
    """The controller cannot be asked, or has refused. The message says what, where and what to do."""


class Client:
    """Asks the controller at `url` (such as "http://127.0.0.1:8080").

    `fingerprint`: SHA-256 of the certificate that it has to show, for https.
    """

    def __init__(self, url: str, shown: str, fingerprint: str | None = None) -> None:
        self._url = url
        self._token = shown
        self._fingerprint = fingerprint

    def get(self, path: str, **parameters: str | int | None) -> Json:
        given = {key: value for key, value in parameters.items() if value is not None}
        query = f"?{urlencode(given, errors='replace')}" if given else ""
        return self._ask("GET", f"{PREFIX}/{path}{query}", None)

    def file(self, path: str, **parameters: str) -> bytes:
        """An answer that is a file."""
        return self._said("GET", f"{PREFIX}/{path}?{urlencode(parameters)}", None, JSON)[1]

    def send(self, path: str, text: bytes, kind: str, **parameters: str) -> Json:
        """Post a file of a media type."""
        status, content = self._said("POST", f"{PREFIX}/{path}?{urlencode(parameters)}", text, kind)
        return self._understood(status, content)

    def post(self, path: str, body: Mapping[str, object]) -> Json:
        return self._ask("POST", f"{PREFIX}/{path}", json.dumps(body))

    def delete(self, path: str) -> Json:
        return self._ask("DELETE", f"{PREFIX}/{path}", None)

    def patch(self, path: str, body: Mapping[str, object]) -> Json:
        return self._ask("PATCH", f"{PREFIX}/{path}", json.dumps(body))

    def _connection(self) -> http.client.HTTPConnection:
        parts = urlsplit(self._url)
        host = parts.hostname or ""
        if parts.scheme != "https":
            return http.client.HTTPConnection(host, parts.port, timeout=ANSWER_WITHIN)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # _verify() compares the certificate itself
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection(host, parts.port, timeout=ANSWER_WITHIN, context=context)

    def _verify(self, connection: http.client.HTTPConnection) -> None:
        """Insist on the certificate that the controller has noted, before the token is sent."""
        if not isinstance(connection.sock, ssl.SSLSocket):
            return
        shown = sha256(connection.sock.getpeercert(binary_form=True) or b"").hexdigest()
        if self._fingerprint is None or not hmac.compare_digest(shown, self._fingerprint):
            raise ClientError(f"what answers at {self._url} shows another certificate than the controller's")

    def _ask(self, method: str, target: str, body: str | None) -> Json:
        return self._understood(*self._said(method, target, body, JSON))

    def _said(self, method: str, target: str, body: str | bytes | None, kind: str) -> tuple[int, bytes]:
        """What the controller answers; raises ClientError when it does not, or refuses to send a file."""
        connection = self._connection()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        try:
            connection.connect()
            self._verify(connection)
            connection.request(method, target, body, headers)
            answer = connection.getresponse()
            content = answer.read()
        except (ConnectionRefusedError, ConnectionResetError):
            raise ClientError(
                f"no controller answers at {self._url}; start it with: graphwall run --config site.yaml"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            said = str(error) or type(error).__name__
            raise ClientError(f"the controller at {self._url} did not answer ({said}); see its log") from None
        finally:
            connection.close()
        if answer.status >= 400:
            self._understood(answer.status, content)
        return answer.status, content

    def _understood(self, status: int, content: bytes) -> Json:
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise ClientError(f"what answers at {self._url} is not Graphwall; correct {ADDRESS_FILE}")
        if status >= 400:
            raise ClientError(_problem(found, status))
        return found


def segment(text: str) -> str:
    """`text` as part of an address; slashes stay, as ids of services have them."""
    return quote(text, safe="/@", errors="replace")


def _problem(found: Json, status: int) -> str:
    if found.get("code") == "not signed in":
        return (
            f"the controller does not know the token in {token.FILE} of the state folder; "
            "ask with --state or --config for the folder of the controller that runs"
        )
    message, remedy = found.get("message", f"error {status}"), found.get("remedy", "")
    return f"{message}; {remedy}" if remedy else str(message)


def find(state: Path) -> Client:
    """The client of the controller that runs with this state folder; raises ClientError."""
    try:
        url, _, fingerprint = (state / ADDRESS_FILE).read_text().strip().partition(" ")
        shown = (state / token.FILE).read_text().strip()
    except FileNotFoundError as error:
        raise ClientError(
            f"no controller runs with the state folder {state} (there is no {Path(error.filename).name}); "
            "start it with 'graphwall run --config site.yaml', or name its folder with --config, --state or "
            "GRAPHWALL_STATE"
        ) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ClientError(
            f"the state folder {state} cannot be read: {reason}; run this as the user of the controller"
        ) from None
    return Client(url, shown, fingerprint or None)
