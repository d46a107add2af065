"""What routes ask for by type: the Studio, its followers, ids, and an uploaded file."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import Depends, Path, Request
from starlette.datastructures import UploadFile

from studio.api.follow import Followers
from studio.core.errors import InvalidRequest
from studio.core.protocol import Studio
from studio.core.settings import Settings

ID_PATTERN = r"^[A-Za-z0-9_()-]{1,100}$"
"""Ids are looked up, never opened: nothing that a path is made of fits in."""

PathId = Annotated[str, Path(pattern=ID_PATTERN, description="opaque id")]


def _studio(request: Request) -> Studio:
    return cast(Studio, request.app.state.studio)


def _followers(request: Request) -> Followers:
    return cast(Followers, request.app.state.followers)


def _settings(request: Request) -> Settings:
    return cast(Settings, request.app.state.settings)


StudioDep = Annotated[Studio, Depends(_studio)]
FollowersDep = Annotated[Followers, Depends(_followers)]
SettingsDep = Annotated[Settings, Depends(_settings)]


async def _uploaded_file(request: Request) -> bytes:
    """The file of a multipart form, under any field name, or the raw body."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        data = await request.body()
    else:
        async with request.form(max_files=1, max_fields=10) as form:
            files = [value for value in form.values() if isinstance(value, UploadFile)]
            data = await files[0].read() if files else b""
    if not data:
        raise InvalidRequest("The upload is empty.", "Send the file as the body, or as multipart form data.")
    return data


Upload = Annotated[bytes, Depends(_uploaded_file)]

UPLOAD_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
"""`openapi_extra` of a route that takes an `Upload`."""
