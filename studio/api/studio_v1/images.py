"""The library: search, look, download, mark, delete with undo, export."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse
from pydantic import Field, StringConstraints

from studio.api.dependencies import ID_PATTERN, PathId, StudioDep
from studio.core.base import Record
from studio.core.library import ImagePage, ImageQuery, ImageRecord

router = APIRouter(prefix="/images", tags=["library"])

Id = Annotated[str, StringConstraints(pattern=ID_PATTERN)]

_MAX_AT_ONCE = 1000


def _file_content(media_type: str) -> dict[int | str, dict[str, object]]:
    return {200: {"content": {media_type: {"schema": {"type": "string", "format": "binary"}}}}}


class Selection(Record):
    images: tuple[Id, ...] = Field(min_length=1, max_length=_MAX_AT_ONCE)


class Favourite(Record):
    favourite: bool


class Deletion(Record):
    undo: str = Field(description="token that brings the images back: POST it to images/undo")


class Undo(Record):
    undo: Id


@router.get("", summary="Search images")
def search(query: Annotated[ImageQuery, Query()], studio: StudioDep) -> ImagePage:
    """Newest first. All given conditions must hold."""
    return studio.images(query)


@router.post("/delete", summary="Delete images")
def delete_many(selection: Selection, studio: StudioDep) -> Deletion:
    """Moves them to the trash."""
    return Deletion(undo=studio.delete_images(selection.images))


@router.post("/undo", summary="Bring deleted images back")
def undo(deletion: Undo, studio: StudioDep) -> Selection:
    return Selection(images=studio.undo_delete(deletion.undo))


@router.post(
    "/export",
    summary="Download images as a zip",
    response_class=FileResponse,
    responses=_file_content("application/zip"),
)
def export(selection: Selection, studio: StudioDep) -> FileResponse:
    """The files as they are, with their metadata."""
    exported = studio.export_images(selection.images)
    return FileResponse(exported.path, media_type="application/zip", filename="easel-images.zip")


@router.get("/{image_id}", summary="Look at an image's record")
def get_image(image_id: PathId, studio: StudioDep) -> ImageRecord:
    return studio.image(image_id)


@router.get(
    "/{image_id}/file",
    summary="Download an image",
    response_class=FileResponse,
    responses=_file_content("image/*"),
)
def get_file(image_id: PathId, studio: StudioDep) -> FileResponse:
    """The file as it was made, with the request that made it inside."""
    path, record = studio.image_path(image_id), studio.image(image_id)
    return FileResponse(
        path, media_type=record.media_type, filename=path.name, content_disposition_type="inline"
    )


@router.get(
    "/{image_id}/thumbnail",
    summary="Download a small version of an image",
    response_class=FileResponse,
    responses=_file_content("image/webp"),
)
def get_thumbnail(image_id: PathId, studio: StudioDep) -> FileResponse:
    return FileResponse(studio.thumbnail_path(image_id), media_type="image/webp")


@router.patch("/{image_id}", summary="Mark or unmark an image as a favourite")
def set_favourite(image_id: PathId, change: Favourite, studio: StudioDep) -> ImageRecord:
    return studio.set_favourite(image_id, change.favourite)


@router.delete("/{image_id}", summary="Delete an image")
def delete(image_id: PathId, studio: StudioDep) -> Deletion:
    """Moves it to the trash."""
    return Deletion(undo=studio.delete_images([image_id]))
