"""The studio: library, catalogue, queue and engine behind the one protocol that pages and APIs speak."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from PIL import Image

from studio.app.active import JobContext, Made
from studio.app.box_models import check_box_parts
from studio.app.installs import Installer
from studio.app.masks import check_canvas, check_mask
from studio.app.preprocess_checks import check_controls, check_preprocess
from studio.app.prompt_tags import networks_in
from studio.app.queue import JobQueue
from studio.app.worker import Worker
from studio.core.base import BlobId, ModelId
from studio.core.errors import EaselError, InvalidRequest, invalid_at
from studio.core.events import Event, Preview, Progress
from studio.core.jobs import JobView
from studio.core.library import Export, ImageId, ImagePage, ImageQuery, ImageRecord, ImportedSettings
from studio.core.models import CatalogueRow, ModelInfo, ModelKind, StudioStatus
from studio.core.protocol import PromptNetworks, TokenCount
from studio.core.requests import MAX_SEED, RANDOM_SEED, GenerateRequest, JobRequest, PreprocessRequest
from studio.core.settings import Settings
from studio.diffusion.plan import plan
from studio.diffusion.plan_control import check_pictures
from studio.diffusion.plan_stack import the_one_named
from studio.models.catalogue import ModelCatalogue
from studio.storage.database import Database
from studio.storage.jobs import JobStore
from studio.storage.library import Library
from studio.storage.maps import MapIndex
from studio.storage.pictures import read_mask, read_picture

if TYPE_CHECKING:
    from studio.app.engine import Engine

_log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LOOKS = 0.5


class LocalStudio:
    """Implements `studio.core.protocol.Studio` on this machine.

    Nothing here imports torch: `start` loads the engine on a thread of its own, so a page can be served,
    and jobs be queued, before it is there.

    Args:
        resume: go on with the jobs that wait from an earlier run; otherwise they are left to a later one.
    """

    def __init__(self, settings: Settings, *, resume: bool = True) -> None:
        self._settings = settings
        self._database = Database(settings.database)
        self._catalogue = ModelCatalogue(settings, put_preview=self.put_blob)
        self._library = Library(settings, self._database, self._resolve_model)
        self._maps = MapIndex(self._database)
        self._queue = JobQueue(JobStore(self._database), settings, self._library.made_by, resume=resume)
        self._installer = Installer(settings, self._catalogue)
        self._engine: Future[Engine] = Future()
        self._workers = (
            Worker(self._queue, "gpu", self._run_on_device),
            Worker(self._queue, "io", self._installer.run),
        )

    # -- life ---------------------------------------------------------------------------------------

    def start(self) -> None:
        threading.Thread(target=self._load_engine, name="easel-engine", daemon=True).start()
        self._library.start(self._needed_blobs, self._queue.find_again)
        for worker in self._workers:
            worker.start()

    def close(self) -> None:
        for worker in self._workers:
            worker.stop()
        self._library.close()
        self._database.close()

    def _load_engine(self) -> None:
        try:
            from studio.app.engine import Engine

            engine = Engine(self._settings, self._catalogue, self._library, self._maps)
            self._engine.set_result(engine)
        except EaselError as error:  # as for a device that is not there: every job tells it
            self._engine.set_exception(error)
        except Exception as error:  # noqa: BLE001 - shown in the status, told by every job
            _log.exception("The engine could not be started")
            self._engine.set_exception(error)

    def _run_on_device(self, job: JobView, context: JobContext) -> Made:
        while not self._engine.done():
            context.check()
            context.emit(Progress(phase="Loading torch", done=0, total=0))
            wait([self._engine], timeout=_SECONDS_BETWEEN_LOOKS)
        return self._engine.result().run(job, context)

    def _needed_blobs(self) -> frozenset[BlobId]:
        """Stored pictures that no image of the library may tell of: those of jobs, and previews of models."""
        return self._queue.blobs | self._catalogue.previews

    def status(self) -> StudioStatus:
        memory = psutil.virtual_memory()
        common = StudioStatus(
            ready=False,
            message="Loading torch",
            active_model=self._catalogue.active_id,
            ram_used=memory.total - memory.available,
            ram_total=memory.total,
            queue_length=self._queue.waiting,
        )
        if not self._engine.done():
            return common
        if error := self._engine.exception():
            return common.model_copy(update={"message": f"The engine could not be started: {error}"})
        return self._engine.result().describe(common)

    # -- jobs ---------------------------------------------------------------------------------------

    def submit(self, request: JobRequest, *, job_id: str | None = None) -> JobView:
        if isinstance(request, GenerateRequest):
            request = self._complete(request)
        elif isinstance(request, PreprocessRequest):
            check_preprocess(request, self._picture, self._catalogue)
        return self._queue.submit(request, job_id=job_id)

    def _complete(self, request: GenerateRequest) -> GenerateRequest:
        """The request with nothing left open, checked as far as it can be without the device."""
        filled = _with_seeds(request).model_copy(update={"model": self._model_of(request).id})
        planned = plan(filled, self._catalogue)
        check_box_parts(planned.boxes, self._catalogue)
        if filled.source:
            self._check_source(filled.source.image)
        check_pictures(filled, self._library.blob)
        check_controls(filled, self._picture, self._catalogue)
        check_canvas(filled, self._picture, self._settings.max_pixels)
        check_mask(filled, self._picture, self._mask)
        return filled

    def _picture(self, blob_id: BlobId) -> Image.Image:
        return read_picture(self._library.blob(blob_id), max_pixels=self._settings.max_pixels)

    def _mask(self, blob_id: BlobId) -> Image.Image:
        return read_mask(self._library.blob(blob_id), max_pixels=self._settings.max_pixels)

    def _model_of(self, request: GenerateRequest) -> ModelInfo:
        name = request.model or self._catalogue.active_id
        if not name:
            raise InvalidRequest(
                "A picture needs a checkpoint, but there is none on this machine.",
                "Install one in the Models tab.",
                field="model",
            )
        with invalid_at("model"):
            return self._catalogue.find(name)

    def _check_source(self, blob_id: BlobId) -> None:
        with invalid_at("source.image"):
            self._library.blob(blob_id)

    def job(self, job_id: str) -> JobView:
        return self._queue.job(job_id)

    def jobs(self, limit: int = 50) -> tuple[JobView, ...]:
        return self._queue.jobs(limit)

    def events(self, job_id: str, after: int = 0, timeout: float | None = None) -> Iterator[Event]:
        return self._queue.events(job_id, after, timeout)

    def preview(self, job_id: str) -> Preview | None:
        return self._queue.preview(job_id)

    def cancel(self, job_id: str) -> JobView:
        return self._queue.cancel(job_id)

    def retry(self, job_id: str) -> JobView:
        return self._queue.retry(job_id)

    def set_dismissed(self, job_id: str, dismissed: bool) -> JobView:
        return self._queue.set_dismissed(job_id, dismissed)

    # -- library ------------------------------------------------------------------------------------

    def _resolve_model(self, name: str, sha256: str, kind: ModelKind) -> ModelId | None:
        """The model that an imported picture names; its hash says more than its name."""
        info = self._catalogue.resolve(name, sha256, kind)
        return info.id if info else None

    def put_blob(self, data: bytes) -> BlobId:
        return self._library.put_blob(data)

    def blob(self, blob_id: BlobId) -> bytes:
        return self._library.blob(blob_id)

    def images(self, query: ImageQuery | None = None) -> ImagePage:
        return self._library.images(query)

    def image(self, image_id: ImageId) -> ImageRecord:
        return self._library.image(image_id)

    def image_path(self, image_id: ImageId) -> Path:
        return self._library.image_path(image_id)

    def thumbnail_path(self, image_id: ImageId) -> Path:
        return self._library.thumbnail_path(image_id)

    def set_favourite(self, image_id: ImageId, favourite: bool) -> ImageRecord:
        return self._library.set_favourite(image_id, favourite)

    def delete_images(self, image_ids: Sequence[ImageId]) -> str:
        return self._library.delete_images(image_ids)

    def undo_delete(self, token: str) -> tuple[ImageId, ...]:
        return self._library.undo_delete(token)

    def export_images(self, image_ids: Sequence[ImageId]) -> Export:
        return self._library.export_images(image_ids)

    def read_settings(self, data: bytes) -> ImportedSettings:
        return self._library.read_settings(data)

    def read_infotext(self, text: str) -> ImportedSettings:
        return self._library.read_infotext(text)

    # -- models -------------------------------------------------------------------------------------

    def models(self, kind: ModelKind | None = None) -> tuple[ModelInfo, ...]:
        return self._catalogue.models(kind)

    def refresh_models(self) -> tuple[ModelInfo, ...]:
        return self._catalogue.refresh()

    def catalogue(self) -> tuple[CatalogueRow, ...]:
        return self._catalogue.installable()

    def add_models_dir(self, path: Path) -> tuple[ModelInfo, ...]:
        return self._catalogue.add_dir(path)

    def import_model(self, path: Path, name: str = "") -> ModelInfo:
        return self._catalogue.import_model(path, name)

    def activate(self, model_id: ModelId) -> ModelInfo:
        return self._catalogue.activate(model_id)

    def unload_models(self) -> None:
        if self._ready:
            self._engine.result().manager.unload()

    def count_tokens(
        self, prompt: str, model_id: ModelId = "", loras: Sequence[ModelId] = ()
    ) -> TokenCount | None:
        return self._engine.result().count_tokens(prompt, model_id, loras) if self._ready else None

    def network_tags(self, prompt: str) -> PromptNetworks:
        return networks_in(prompt, partial(the_one_named, models=self._catalogue))

    @property
    def _ready(self) -> bool:
        return self._engine.done() and self._engine.exception() is None


def _with_seeds(request: GenerateRequest) -> GenerateRequest:
    """Random seeds drawn now, so that the stored request makes the same picture again."""
    update: dict[str, object] = {}
    if request.seed == RANDOM_SEED:
        update["seed"] = secrets.randbelow(MAX_SEED + 1)
    if request.variation and request.variation.seed == RANDOM_SEED:
        update["variation"] = request.variation.model_copy(update={"seed": secrets.randbelow(MAX_SEED + 1)})
    return request.model_copy(update=update)


def build_studio(settings: Settings, *, resume: bool = True) -> LocalStudio:
    """A studio over the folders that `settings` name; they are made where they are missing.

    Args:
        resume: go on with the jobs that wait from an earlier run.
    """
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EaselError(
            f"Easel keeps its data in {settings.data_dir}, which cannot be made: {error.strerror}.",
            "Choose another one with --data-dir.",
        ) from error
    return LocalStudio(settings, resume=resume)
