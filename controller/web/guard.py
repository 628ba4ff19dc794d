"""Who may ask at all, and how much: looked at before anything else reads the request.

A request is a person's (by the cookie of a session) or a program's (by a bearer token). What a cookie
does must come from our own page: it needs a header that other sites cannot send, and the same origin.
Knows nothing of routes but those that are open to all.
"""

import re

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from controller.web.members import Asker, Members
from controller.web.values import Problem, to_json

SIGN_IN = "/api/v1/session"
OPEN = frozenset({"/healthz", "/", "/manifest.webmanifest", "/service-worker.js", "/favicon.ico"})
OPEN_BELOW = ("/page/", "/icons/")
LARGEST_BODY = 64 * 1024  # bytes; no command needs more
LARGEST = {"/api/v1/import/model": 8 * 1024 * 1024}  # but a whole model does
COOKIE = "graphwall"
OURS = "x-graphwall"  # a header that only a page of the same origin can send

_BEARER = re.compile(r"Bearer +([!-~]+) *", re.IGNORECASE)
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types lit-html graphwall"
)
_ALWAYS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def problem(status: int, code: str, message: str, remedy: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    body = to_json(Problem(code, message, remedy))
    return Response(body, status, headers, media_type="application/json")


class Guard:
    """Lets a request of somebody known through, and stops reading one that is too long."""

    def __init__(self, app: ASGIApp, members: Members) -> None:
        self._app = app
        self._members = members

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._request(scope, receive, _with_our_headers(scope, send))

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        asker, by_cookie = self._asker(headers)
        refused = self._refused(scope, headers, asker, by_cookie)
        if refused is not None:
            await refused(scope, receive, send)
            return
        most = LARGEST.get(scope["path"], LARGEST_BODY)
        body = await _body(headers, receive, most)
        if body is None:
            much = problem(413, "too long", f"a request has at most {most} bytes", "send less")
            await much(scope, receive, send)
            return
        waiting = [body]

        async def again() -> Message:
            return waiting.pop() if waiting else await receive()

        scope.setdefault("state", {})["asker"] = asker
        if asker is not None and self._members.seen_long_ago(asker):
            await run_in_threadpool(self._members.note_seen, asker)
        await self._app(scope, again, send)

    def _asker(self, headers: Headers) -> tuple[Asker | None, bool]:
        """Who asks, and whether a cookie says so."""
        if "authorization" in headers:
            shown = _BEARER.fullmatch(headers["authorization"])
            return (None if shown is None else self._members.with_token(shown[1])), False
        secret = _cookie(headers)
        return (None, False) if secret is None else (self._members.with_cookie(secret), True)

    @staticmethod
    def _refused(scope: Scope, headers: Headers, asker: Asker | None, by_cookie: bool) -> Response | None:
        path, reading = scope["path"], scope["method"] in _READING
        signing_in = path == SIGN_IN and scope["method"] == "POST"
        if (by_cookie or signing_in) and not reading and not _from_our_page(scope, headers):
            return problem(
                403,
                "wrong origin",
                "this did not come from Graphwall's own page",
                f"programs send 'Authorization: Bearer TOKEN'; the page sends '{OURS}: 1'",
            )
        if asker is not None or signing_in or (reading and (path in OPEN or path.startswith(OPEN_BELOW))):
            return None
        return problem(
            401,
            "not signed in",
            "this needs somebody who is signed in, or the token of the controller",
            "open the link of an invitation, or send 'Authorization: Bearer TOKEN'; the token is in the file "
            "api-token of the state folder",
        )


def _from_our_page(scope: Scope, headers: Headers) -> bool:
    origin = headers.get("origin")
    here = f"{scope['scheme']}://{headers.get('host', '')}"
    return (
        headers.get(OURS) == "1"
        and headers.get("sec-fetch-site", "same-origin") == "same-origin"
        and (origin is None or origin == here)
    )


def _cookie(headers: Headers) -> str | None:
    """Ours, whatever other programs on this host have left in the same browser: cookies know no ports."""
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)


def _with_our_headers(scope: Scope, send: Send) -> Send:
    async def careful(message: Message) -> None:
        if message["type"] == "http.response.start":
            out = MutableHeaders(scope=message)
            out.setdefault("Cache-Control", "no-store")
            if "etag" in scope.get("state", {}) and message["status"] in (200, 304):
                out["ETag"] = scope["state"]["etag"]
            for name, value in _ALWAYS.items():
                out[name] = value
        await send(message)

    return careful


async def _body(headers: Headers, receive: Receive, most: int) -> Message | None:
    """The whole body as one message; None for one that is, or says that it will be, too long."""
    length = headers.get("content-length", "0")
    if not re.fullmatch("[0-9]{1,9}", length) or int(length) > most:
        return None
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return message
        body += message.get("body", b"")
        if len(body) > most:
            return None
        if not message.get("more_body", False):
            return {"type": "http.request", "body": body, "more_body": False}
