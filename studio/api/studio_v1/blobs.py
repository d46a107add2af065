"""Uploads: pictures that requests refer to, and files that settings are read from."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Path, Response
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from studio.api.dependencies import UPLOAD_BODY, StudioDep, Upload
from studio.core.base import BlobId, Record
from studio.core.library import ImportedSettings

router = APIRouter(tags=["uploads"])

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)


_A_DAY = "private, max-age=86400, immutable"
"""A blob's id is the hash of its bytes, so what is under it never changes. But it is deleted once nobody has
asked for it for a month, so a browser that still shows it asks again on another day."""


class StoredBlob(Record):
    id: BlobId
    size_bytes: int


class Infotext(Record):
    text: str = Field(max_length=200_000, description="AUTOMATIC1111's generation parameters")


@router.post("/blobs", status_code=201, summary="Upload a picture", openapi_extra=UPLOAD_BODY)
async def put_blob(data: Upload, studio: StudioDep) -> StoredBlob:
    """Stores a picture under the hash of its bytes; requests refer to it by that id."""
    blob_id = await run_in_threadpool(studio.put_blob, data)
    return StoredBlob(id=blob_id, size_bytes=len(data))


@router.get(
    "/blobs/{blob_id}",
    summary="Download a picture",
    response_class=Response,
    responses={200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}},
)
def get_blob(blob_id: Annotated[BlobId, Path(description="sha256 in hex")], studio: StudioDep) -> Response:
    data = studio.blob(blob_id)
    return Response(data, media_type=media_type(data), headers={"Cache-Control": _A_DAY})


@router.post("/settings/from-image", summary="Read the settings of an image file", openapi_extra=UPLOAD_BODY)
async def settings_from_image(data: Upload, studio: StudioDep) -> ImportedSettings:
    """From a file of Easel, AUTOMATIC1111, ComfyUI, InvokeAI, Fooocus or NovelAI."""
    return await run_in_threadpool(studio.read_settings, data)


@router.post("/settings/from-text", summary="Read settings from generation parameters")
def settings_from_text(infotext: Annotated[Infotext, Body()], studio: StudioDep) -> ImportedSettings:
    return studio.read_infotext(infotext.text)


def media_type(data: bytes) -> str:
    """By the first bytes; what is no known picture is served as nothing that a browser would open."""
    return next((kind for start, kind in _SIGNATURES if data.startswith(start)), "application/octet-stream")
