"""Who may ask at all, and how much: looked at before anything else reads the request.

Knows nothing of routes but the one that is open to all.
"""

import hmac
import re

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.web.values import Problem, to_json

OPEN = frozenset({"/healthz"})
LARGEST_BODY = 64 * 1024  # bytes; no command needs more

_BEARER = re.compile(r"Bearer +([!-~]+) *", re.IGNORECASE)


def problem(status: int, code: str, message: str, remedy: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    body = to_json(Problem(code, message, remedy))
    return Response(body, status, headers, media_type="application/json")


class Guard:
    """Lets a request through that shows the token, and stops reading one that is too long."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, send)

    def _knows(self, headers: Headers) -> bool:
        shown = _BEARER.fullmatch(headers.get("authorization", ""))
        return shown is not None and hmac.compare_digest(shown[1].encode(), self._token)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if scope["path"] not in OPEN and not self._knows(headers):
            refused = problem(
                401,
                "not signed in",
                "this needs the token of the controller",
                "send 'Authorization: Bearer TOKEN'; the token is in the file api-token of the state folder",
            )
            await refused(scope, receive, send)
            return
        body = await _body(headers, receive)
        if body is None:
            much = problem(413, "too long", f"a request has at most {LARGEST_BODY} bytes", "send less")
            await much(scope, receive, send)
            return
        waiting = [body]

        async def again() -> Message:
            return waiting.pop() if waiting else await receive()

        async def careful(message: Message) -> None:
            if message["type"] == "http.response.start":
                out = MutableHeaders(scope=message)
                out.setdefault("Cache-Control", "no-store")
                out.setdefault("X-Content-Type-Options", "nosniff")
            await send(message)

        await self._app(scope, again, careful)


async def _body(headers: Headers, receive: Receive) -> Message | None:
    """The whole body as one message; None for one that is, or says that it will be, too long."""
    length = headers.get("content-length", "0")
    if not re.fullmatch("[0-9]{1,9}", length) or int(length) > LARGEST_BODY:
        return None
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return message
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            return None
        if not message.get("more_body", False):
            return {"type": "http.request", "body": body, "more_body": False}
