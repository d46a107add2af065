"""What every request passes before it reaches a route, the page's own routes included.

In this order: the address must be one, the Host must be ours (DNS rebinding), the Origin must be the Host's
(cross-site requests), the password must be right where one is set, and the body must stay within its limit
while it streams in. Replies leave with headers that switch off sniffing, framing and leaking of addresses.

Pure ASGI: nothing is buffered, so server-sent events flow and uploads stream.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import ipaddress
import re
import socket
from collections.abc import Callable

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from studio.api.errors import error_reply
from studio.core.errors import EaselError, Forbidden, InvalidRequest, NotFound
from studio.core.settings import Settings

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARD_HOSTS = frozenset({"0.0.0.0", "::", ""})
DEFAULT_PORTS = {"http": "80", "https": "443"}
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

PAGE_UPLOAD = "/gradio_api/upload"
"""The page's upload route, which also takes model files."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": (
        "frame-ancestors 'self'; object-src 'none'; base-uri 'self'; form-action 'self'"
    ),
}
"""Scripts stay unrestricted: Gradio needs inline ones and `eval`."""

_MAX_PATH = 2000
_MAX_NAME = 255
"""Bytes of one part of a path; file systems take no more."""

_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(\d{1,5}))?", re.IGNORECASE | re.ASCII)
_ORIGIN = re.compile(r"(https?)://([^/?#@\s]+)", re.IGNORECASE | re.ASCII)


class Unauthorized(EaselError):
    http_status = 401


class BodyTooLarge(InvalidRequest):
    http_status = 413


Check = Callable[[Scope, Headers], None]
"""Looks at a request before its body is read. Raises: EaselError."""


class Guard:
    """ASGI middleware that keeps foreign sites, strangers and floods away from `app`."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._max_body = settings.max_upload_bytes
        self._max_page_upload = max(settings.max_upload_bytes, settings.max_model_bytes)
        self._checks: tuple[Check, ...] = (
            _sane_address,
            _trusted_hosts(settings),
            _same_origin,
            *([_basic_auth(*settings.auth)] if settings.auth else ()),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        try:
            self._check(scope)
        except EaselError as error:
            await _refuse(error, scope, receive, send)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, send)
            return
        metered = _MeteredBody(receive, _with_security_headers(send), self._limit(scope))
        await metered.run(self._app, scope)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        for check in self._checks:
            check(scope, headers)
        if _declared_length(headers) > self._limit(scope):
            raise _too_large(self._limit(scope))

    def _limit(self, scope: Scope) -> int:
        return self._max_page_upload if scope["path"] == PAGE_UPLOAD else self._max_body


def _sane_address(scope: Scope, headers: Headers) -> None:
    """Refuse addresses that no file could have: the page's file routes would stop with an OSError."""
    path = scope["path"]
    if len(path) > _MAX_PATH or "\0" in path or max(map(_byte_length, path.split("/"))) > _MAX_NAME:
        raise NotFound("There is nothing at this address: it is too long, or not an address at all.")


def _byte_length(text: str) -> int:
    return len(text.encode(errors="replace"))


def _trusted_hosts(settings: Settings) -> Check:
    """Accept the names that this server goes by, so that no foreign name can be rebound to its address.

    A server that listens on every address also answers to any literal IP address: those cannot be rebound.
    """
    listens_everywhere = settings.host in WILDCARD_HOSTS
    names = {
        *LOOPBACK_NAMES,
        settings.host.lower(),
        *(_host_name(name) or name.lower() for name in settings.allowed_hosts),
    }
    if listens_everywhere:
        names.add(socket.gethostname().lower())

    def check(scope: Scope, headers: Headers) -> None:
        values = headers.getlist("host")
        name = _host_name(values[0]) if len(values) == 1 else ""
        if not name or (name not in names and not (listens_everywhere and _is_address(name))):
            raise Forbidden(
                f"This server does not go by the name {name!r}."
                if name
                else "The Host header names no host.",
                "Open it by its own address, or add the name to the allowed hosts.",
            )

    return check


def _host_name(authority: str) -> str:
    """`[::1]:7860` -> `::1`; empty for what is no host and port."""
    match = _AUTHORITY.fullmatch(authority)
    return match[1].strip("[]").lower() if match else ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _same_origin(scope: Scope, headers: Headers) -> None:
    """Refuse what a page of another site (or a sandboxed one: `null`) sends. Programs send no Origin.

    Reads are refused as well: Gradio would otherwise let foreign sites see the answers, cookies and password
    included, when the server listens beyond loopback.
    """
    origins = headers.getlist("origin")
    if not origins:
        from_browser = headers.get("sec-fetch-site", "none") in ("cross-site", "same-site")
        if from_browser and scope.get("method", "GET") not in SAFE_METHODS:
            raise _foreign("another site")
    elif len(origins) > 1 or not _is_origin_of(origins[0], headers["host"]):
        raise _foreign(repr(origins[0][:100]))


def _is_origin_of(origin: str, host: str) -> bool:
    """Whether a page of `origin` is served under `host`; the scheme may differ, as a TLS proxy makes it."""
    match = _ORIGIN.fullmatch(origin)
    if not match:
        return False
    default = DEFAULT_PORTS[match[1].lower()]
    return _with_port(match[2], default) == _with_port(host, default)


def _with_port(authority: str, default: str) -> tuple[str, str] | None:
    match = _AUTHORITY.fullmatch(authority)
    return (match[1].lower(), match[2] or default) if match else None


def _foreign(who: str) -> Forbidden:
    return Forbidden(
        f"This request comes from {who}, and only Easel's own page may send it.",
        "Behind a proxy, pass the Host header on unchanged.",
    )


def _basic_auth(user: str, password: str) -> Check:
    expected = f"{user}:{password}".encode()

    def check(scope: Scope, headers: Headers) -> None:
        if not hmac.compare_digest(_credentials(headers.get("authorization", "")), expected):
            raise Unauthorized("This server needs its user name and password.", "Send them by HTTP Basic.")

    return check


def _credentials(authorization: str) -> bytes:
    """`user:password` of a Basic header; empty if there is none."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _declared_length(headers: Headers) -> int:
    """The Content-Length; 0 if there is none. Bodies are counted as well, so a wrong one gains nothing."""
    value = headers.get("content-length", "")
    return int(value) if re.fullmatch(r"[0-9]{1,20}", value) else 0


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"The upload is larger than the {limit / 2**20:.6g} MiB that this server accepts.",
        "Send a smaller file, or raise max_upload_bytes.",
    )


class _MeteredBody:
    """One request whose body is counted as it comes.

    Past the limit the reply is 413, whatever the app makes of the broken body.
    """

    def __init__(self, receive: Receive, send: Send, limit: int) -> None:
        self._receive = receive
        self._send = send
        self._limit = limit
        self._received = 0
        self._started = False

    @property
    def _exceeded(self) -> bool:
        return self._received > self._limit

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        try:
            await app(scope, self.receive, self.send)
        except Exception:
            if not self._exceeded:
                raise
        if self._exceeded and not self._started:
            await _error_response(_too_large(self._limit))(scope, self._receive, self._send)

    async def receive(self) -> Message:
        message = await self._receive()
        self._received += len(message.get("body", b""))
        if self._exceeded:
            # FastAPI and Gradio hand an HTTPException through where they hide any other error.
            raise HTTPException(BodyTooLarge.http_status, "the body is too large")
        return message

    async def send(self, message: Message) -> None:
        if self._exceeded and not self._started:
            return
        self._started = True
        await self._send(message)


def _with_security_headers(send: Send) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return send_with_headers


async def _refuse(error: EaselError, scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008, "reason": error.problem[:100]})
        return
    await _error_response(error)(scope, receive, _with_security_headers(send))


def _error_response(error: EaselError) -> JSONResponse:
    """Closes the connection, so that no server reads on through a body that nobody wants."""
    headers = {"Connection": "close"}
    if isinstance(error, Unauthorized):
        headers["WWW-Authenticate"] = 'Basic realm="Easel", charset="UTF-8"'
    return JSONResponse(error_reply(error).model_dump(), error.http_status, headers=headers)
