"""The Studio protocol: all that a page, an HTTP API or a command line may ask of the engine.

`studio.app` implements it with the real engine; `tests/fakes.py` without one. Every method may be called
from any thread, answers at once (work goes through the queue), and raises only `EaselError`s.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from studio.core.base import BlobId, ModelId, Record
from studio.core.conditions import HypernetworkInput, LoraInput
from studio.core.events import Event, Preview
from studio.core.jobs import JobView
from studio.core.library import Export, ImageId, ImagePage, ImageQuery, ImageRecord, ImportedSettings
from studio.core.models import CatalogueRow, ModelInfo, ModelKind, StudioStatus
from studio.core.requests import JobRequest


class TokenCount(Record):
    """How much of the text encoder's window a prompt takes."""

    tokens: int
    limit: int
    """Tokens that fit into the chunks in use: 75, 150, 225, ..."""


class PromptNetworks(Record):
    """The networks that a prompt switches on by its tags, `<lora:name:0.8>`."""

    prompt: str
    """What is left of it without the tags of the entries."""
    loras: tuple[LoraInput, ...] = ()
    hypernetworks: tuple[HypernetworkInput, ...] = ()
    problems: tuple[str, ...] = ()
    """One sentence for each tag that stays, because it names nothing or says nothing."""

    @property
    def entries(self) -> tuple[LoraInput | HypernetworkInput, ...]:
        return (*self.loras, *self.hypernetworks)


class Jobs(Protocol):
    def submit(self, request: JobRequest, *, job_id: str | None = None) -> JobView:
        """Check `request` (plan included), fill in model and seed, and append it to the durable queue.

        Raises: InvalidRequest, NotFound, QueueFull.
        """

    def job(self, job_id: str) -> JobView:
        """Raises: NotFound."""

    def jobs(self, limit: int = 50) -> tuple[JobView, ...]:
        """Running first, then waiting in order, then ended, newest first."""

    def events(self, job_id: str, after: int = 0, timeout: float | None = None) -> Iterator[Event]:
        """The job's events numbered above `after`, as they come, up to and including the terminal one.

        Blocks between events, at most `timeout` seconds (then the iterator simply ends). Of progress and
        previews only the newest is kept, so a late reader catches up at once.
        """

    def preview(self, job_id: str) -> Preview | None:
        """The newest preview of a running job."""

    def cancel(self, job_id: str) -> JobView:
        """Stop a running job within one step, or take a waiting one out. An ended job stays as it is."""

    def retry(self, job_id: str) -> JobView:
        """Append the job's request once more, as a new job. An install goes on where it stopped."""

    def set_dismissed(self, job_id: str, dismissed: bool) -> JobView:
        """Take an ended job out of sight, or bring it back; what it made stays where it is.

        Raises: NotFound, InvalidRequest (it waits or runs).
        """


class Library(Protocol):
    def put_blob(self, data: bytes) -> BlobId:
        """Store an uploaded picture. Raises: ImageError (no image, too many pixels, truncated)."""

    def blob(self, blob_id: BlobId) -> bytes:
        """Raises: NotFound."""

    def images(self, query: ImageQuery | None = None) -> ImagePage: ...

    def image(self, image_id: ImageId) -> ImageRecord:
        """Raises: NotFound."""

    def image_path(self, image_id: ImageId) -> Path:
        """The image's file, for reading. Raises: NotFound."""

    def thumbnail_path(self, image_id: ImageId) -> Path:
        """A small WebP of it (256 px), made on first use. Raises: NotFound."""

    def set_favourite(self, image_id: ImageId, favourite: bool) -> ImageRecord: ...

    def delete_images(self, image_ids: Sequence[ImageId]) -> str:
        """Move images to the trash. Returns a token for `undo_delete`."""

    def undo_delete(self, token: str) -> tuple[ImageId, ...]: ...

    def export_images(self, image_ids: Sequence[ImageId]) -> Export:
        """A zip of the files as they are, metadata included."""

    def read_settings(self, data: bytes) -> ImportedSettings:
        """Settings from an image file of ours, AUTOMATIC1111, ComfyUI, InvokeAI, Fooocus or NovelAI.

        Raises: ImageError, InvalidRequest (no settings inside).
        """

    def read_infotext(self, text: str) -> ImportedSettings:
        """Settings from AUTOMATIC1111's generation parameters. Raises: InvalidRequest."""


class Models(Protocol):
    def models(self, kind: ModelKind | None = None) -> tuple[ModelInfo, ...]: ...

    def refresh_models(self) -> tuple[ModelInfo, ...]:
        """Look at the folders again."""

    def catalogue(self) -> tuple[CatalogueRow, ...]:
        """What can be installed."""

    def add_models_dir(self, path: Path) -> tuple[ModelInfo, ...]:
        """Search one more folder, now and at every later start. Raises: InvalidRequest."""

    def import_model(self, path: Path, name: str = "") -> ModelInfo:
        """Copy an uploaded model file into the models folder. Raises: ModelFileError, DiskFull."""

    def activate(self, model_id: ModelId) -> ModelInfo:
        """Make a checkpoint the one that requests without a model mean. Raises: NotFound, InvalidRequest."""

    def unload_models(self) -> None:
        """Free all memory that cached models take, once no job uses them."""

    def count_tokens(
        self, prompt: str, model_id: ModelId = "", loras: Sequence[ModelId] = ()
    ) -> TokenCount | None:
        """None while the tokenizer is not at hand.

        Args:
            loras: those in the stack that are on; words of the prompt may be defined in their files.

        Raises: PromptError.
        """

    def network_tags(self, prompt: str) -> PromptNetworks:
        """The prompt's tags as entries of the stack."""


class Studio(Jobs, Library, Models, Protocol):
    def start(self) -> None:
        """Begin loading torch and working through the queue, in the background. Returns at once."""

    def close(self) -> None:
        """Stop the running job, keep the waiting ones for the next start."""

    def status(self) -> StudioStatus: ...
