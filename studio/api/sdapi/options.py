"""The options of AUTOMATIC1111 that mean something here, and the changes that clients make to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError

from studio.api.errors import invalid_request
from studio.api.sdapi.names import AUTOMATIC_VAE
from studio.core.base import Record
from studio.core.errors import InvalidRequest
from studio.core.requests import OutputOptions

CHECKPOINT = "sd_model_checkpoint"
"""The option that switches the model. Its value is the Studio's active model, so it is not kept here."""

_READ_ONLY = frozenset({"sd_checkpoint_hash"})

_FORMATS: Mapping[str, Literal["png", "jpeg", "webp"]] = {
    "png": "png",
    "jpg": "jpeg",
    "jpeg": "jpeg",
    "webp": "webp",
}


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


class Options(Record):
    """Values under A1111's names."""

    sd_vae: Annotated[str, StringConstraints(max_length=1000)] = AUTOMATIC_VAE
    CLIP_stop_at_last_layers: int = Field(1, ge=1, le=12)
    samples_format: Annotated[Literal["png", "jpg", "jpeg", "webp"], BeforeValidator(_lower)] = "png"
    jpeg_quality: int = Field(92, ge=1, le=100, description="of JPEG and WebP")
    live_previews_enable: bool = True

    @property
    def output(self) -> OutputOptions:
        return OutputOptions(format=_FORMATS[self.samples_format], quality=self.jpeg_quality)


@dataclass(frozen=True)
class Changes:
    """What a client's options object comes to."""

    options: Options
    checkpoint: str
    """The model it asks for; empty for the active one."""
    updated: tuple[str, ...]
    ignored: tuple[str, ...]
    """Names of options that Easel does not have."""


def changed(options: Options, wishes: Mapping[str, Any]) -> Changes:
    """`options` with what `wishes` says of them; null means unchanged. Raises: InvalidRequest."""
    given = {name: value for name, value in wishes.items() if value is not None and name not in _READ_ONLY}
    ours = {name: value for name, value in given.items() if name in Options.model_fields}
    checkpoint = given.get(CHECKPOINT, "")
    if not isinstance(checkpoint, str):
        raise InvalidRequest(f"The option {CHECKPOINT} must be a model's name.", field=CHECKPOINT)
    try:
        merged = Options.model_validate({**options.model_dump(), **ours})
    except ValidationError as error:
        raise invalid_request(error.errors()) from error
    return Changes(
        options=merged,
        checkpoint=checkpoint,
        updated=tuple(sorted({*ours, *({CHECKPOINT} & given.keys())})),
        ignored=tuple(sorted(given.keys() - ours.keys() - {CHECKPOINT})),
    )


class OptionStore:
    """The options of one running server. They last as long as it runs."""

    def __init__(self) -> None:
        self.current = Options()
