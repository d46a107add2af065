"""`easel serve`: the page and the HTTP APIs."""

from __future__ import annotations

import errno
import ipaddress
import socket
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer
import uvicorn

from studio.cli.groups import grouped
from studio.cli.options import StudioOptions
from studio.cli.session import open_studio
from studio.core.errors import EaselError
from studio.core.protocol import Studio
from studio.core.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

EPILOG = (
    "Examples:\n\n"
    "easel serve --port 8000 --models-dir ~/stable-diffusion-webui/models\n\n"
    "easel serve --listen 0.0.0.0 --auth ada:correct-horse"
)

_network = partial(typer.Option, rich_help_panel="Network")
Browser = Annotated[bool, typer.Option(help="Open the page in the browser.")]
Port = Annotated[int, _network(min=0, max=65535, envvar="EASEL_PORT", help="0 takes any free one.")]
Listen = Annotated[
    str,
    _network(
        metavar="HOST",
        help="Address to listen at; any but this machine's own needs --auth. 0.0.0.0 is all of them.",
    ),
]
Auth = Annotated[
    str | None,
    _network(
        metavar="USER:PASSWORD",
        envvar="EASEL_AUTH",
        help="Ask for this name and password. The variable keeps it out of the list of processes.",
    ),
]
AllowedHosts = Annotated[
    list[str] | None,
    _network(
        "--allowed-host",
        metavar="NAME",
        help="A name by which browsers may address this machine, as of a proxy. May be given again.",
    ),
]


@grouped
def serve(
    *,
    browser: Browser = True,
    port: Port = 7860,
    listen: Listen = "127.0.0.1",
    auth: Auth = None,
    allowed_host: AllowedHosts = None,
    machine: StudioOptions,
) -> None:
    """Serve the page, and the APIs under /studio/v1 and /sdapi/v1 (described at /docs).

    The page is there within seconds; torch is loaded behind it, and jobs wait for it.
    """
    check_exposure(listen, auth)
    door = open_port(listen, port)
    settings = machine.settings(
        host=listen,
        port=door.getsockname()[1],
        auth=parse_auth(auth),
        allowed_hosts=tuple(allowed_host or ()),
    )
    with open_studio(settings, resume=True) as studio:
        run(studio, settings, door, open_browser=browser)


def parse_auth(text: str | None) -> tuple[str, str] | None:
    """Raises: BadParameter without a user or a password."""
    if text is None:
        return None
    user, _, password = text.partition(":")
    if not user or not password:
        raise typer.BadParameter("needs a user and a password, as in ada:correct-horse", param_hint="--auth")
    return user, password


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_exposure(host: str, auth: str | None) -> None:
    """Raises: BadParameter when others could reach the studio without a password."""
    if not auth and not is_loopback(host):
        raise typer.BadParameter(
            f"{host} lets other machines in, which needs a password. Add --auth USER:PASSWORD, "
            "or leave --listen away to serve this machine alone.",
            param_hint="--listen",
        )


def open_port(host: str, port: int) -> socket.socket:
    """A listening socket. Raises: EaselError when the port is taken or the address is not this machine's."""
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise EaselError(
                f"Port {port} is taken, perhaps by another Easel.", "End that one, or choose --port."
            ) from error
        raise EaselError(
            f"Easel cannot listen at {host}, port {port}: {error.strerror}.", "Choose --listen and --port."
        ) from error


def run(studio: Studio, settings: Settings, door: socket.socket, *, open_browser: bool) -> None:
    """Serve until interrupted. The studio starts once the page answers, so that torch delays nothing."""
    address = f"http://{_display_host(settings.host)}:{settings.port}"

    def on_ready() -> None:
        typer.echo(f"Easel is at {address} (Ctrl+C ends it).")
        studio.start()
        if open_browser:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()

    config = uvicorn.Config(build_site(studio, settings), log_level="warning", timeout_graceful_shutdown=3)
    with suppress(KeyboardInterrupt):  # uvicorn has shut down by then, and raises it once more
        _Server(config, on_ready).run(sockets=[door])


def build_site(studio: Studio, settings: Settings) -> FastAPI:
    """The APIs with the page mounted on them."""
    import gradio as gr

    from studio.api.app import create_app
    from ui.app import create_page, page_kwargs

    app = create_app(studio, settings)
    gr.mount_gradio_app(app, create_page(studio, settings), path="/", **page_kwargs(settings))
    return app


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()


def _display_host(host: str) -> str:
    """The name to type into a browser on this machine."""
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
