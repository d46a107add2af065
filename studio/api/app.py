"""The HTTP side of Easel: one FastAPI app that the command line serves, with the page mounted on it."""

from __future__ import annotations

from fastapi import APIRouter, FastAPI, Request

from studio.api import controlnet, sdapi, studio_v1
from studio.api.docs import docs_router
from studio.api.errors import install_error_handlers
from studio.api.follow import Followers
from studio.api.guard import Guard
from studio.api.sdapi.options import OptionStore
from studio.core.errors import NotFound
from studio.core.protocol import Studio
from studio.core.settings import Settings

DESCRIPTION = """
APIs in front of one queue:

- **/studio/v1**: Easel's own. POST a request, follow its events, fetch its images.
- **/sdapi/v1** and **/controlnet**: what clients of AUTOMATIC1111's web UI and of its ControlNet extension
  speak.

Every error is an `ErrorReply`: what is needed, what is there, and what to do.
"""

API_VERSION = "1"

_ALL_METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]


def create_app(studio: Studio, settings: Settings) -> FastAPI:
    """The app with both APIs and the guard. A page mounted on it later is guarded as well.

    Nothing is started: the caller starts and closes the studio.
    """
    app = FastAPI(title="Easel", version=API_VERSION, description=DESCRIPTION, docs_url=None, redoc_url=None)
    app.state.studio = studio
    app.state.settings = settings
    app.state.followers = Followers(studio)
    app.state.sdapi_options = OptionStore()
    app.include_router(docs_router())
    app.include_router(studio_v1.router)
    app.include_router(sdapi.router)
    app.include_router(controlnet.router)
    app.include_router(_unknown_routes())
    install_error_handlers(app)
    app.add_middleware(Guard, settings=settings)
    return app


def _unknown_routes() -> APIRouter:
    """Answers for the APIs' unknown paths, which would fall through to the page otherwise."""
    router = APIRouter(include_in_schema=False)

    def unknown(request: Request) -> None:
        raise NotFound(
            f"There is no {request.method} {request.url.path[:200]!r} here.", "See /docs for what there is."
        )

    for prefix in ("/studio", "/sdapi", "/controlnet"):
        router.add_api_route(f"{prefix}/{{path:path}}", unknown, methods=_ALL_METHODS)
    return router
