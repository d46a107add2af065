"""What the library knows of an image, and what can be asked of it."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

from pydantic import Field

from studio.core.base import Record
from studio.core.requests import GenerateRequest

ImageId = str
"""Opaque id of an image in the library."""


class ImageRecord(Record):
    """A generated image with the request that made it."""

    id: ImageId
    created: datetime
    width: int
    height: int
    seed: int
    model: str = Field(description="name of the model")
    prompt: str
    negative_prompt: str = ""
    request: GenerateRequest = Field(description="restores this very image: its seed, batch size 1")
    infotext: str = Field(description="AUTOMATIC1111's generation parameters")
    job: str = ""
    favourite: bool = False
    size_bytes: int = 0
    media_type: str = "image/png"


MAX_OFFSET = 2**63 - 1
"""The largest number that the index can be asked for."""


class ImageQuery(Record):
    """A search. All given conditions must hold; newest first."""

    text: str = Field("", max_length=500, description="words that prompt or negative prompt must contain")
    model: str = ""
    since: date | None = None
    until: date | None = Field(None, description="inclusive")
    favourites: bool = False
    job: str = ""
    offset: int = Field(0, ge=0, le=MAX_OFFSET)
    limit: int = Field(60, ge=1, le=500)


class ImagePage(Record):
    images: tuple[ImageRecord, ...]
    total: int


class ImportedSettings(Record):
    """Settings read from an image file or a text, of ours or of another studio."""

    request: GenerateRequest
    source: str = Field(description="'Easel', 'AUTOMATIC1111', 'ComfyUI', 'InvokeAI', 'Fooocus', ...")
    infotext: str = ""
    parameters: dict[str, str] = Field(
        {}, description="the infotext taken apart: Prompt, Negative prompt, and all keys of its last line"
    )
    warnings: tuple[str, ...] = Field((), description="what could not be taken over, and why")


class Export(Record):
    path: Path
    count: int
