"""The library: every image with the request that made it; found, restored, exported, deleted, undone."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from uuid import uuid4

from PIL import Image

from studio.core.atomic import write_bytes
from studio.core.base import BlobId
from studio.core.errors import EaselError, InvalidRequest, NotFound
from studio.core.library import Export, ImageId, ImagePage, ImageQuery, ImageRecord, ImportedSettings
from studio.core.requests import GenerateRequest
from studio.core.settings import Settings
from studio.storage.blobs import BlobStore
from studio.storage.database import Database
from studio.storage.files import ImageFiles, suffix_of
from studio.storage.importing import import_infotext, import_settings
from studio.storage.index import ImageIndex
from studio.storage.infotext import ModelFacts
from studio.storage.pictures import encode, read_embedded
from studio.storage.provenance import Provenance, easel_version, request_of_image
from studio.storage.recovery import Recovery
from studio.storage.stack_reading import ResolveModel

TRASH_DAYS = 30
"""How long a deletion can be undone."""

BLOB_DAYS = 30
"""How long an uploaded picture is kept after its last use, though no image and no job needs it: a page that
somebody left open, or a form that a browser remembers, may still hold it."""

_SECONDS_BETWEEN_ROUNDS = 24 * 3600.0

_log = logging.getLogger(__name__)


class Library:
    """Implements `studio.core.protocol.Library`, and `add` for the engine. Safe to call from any thread.

    The index is the truth about what is deleted and what is a favourite, the files are the truth about
    everything else; `reconcile` brings the two together, after a crash or the loss of the index.

    Args:
        settings: where things lie, and the largest picture taken in.
        database: shared with the job store.
        resolve_model: finds the models that an imported picture names; without one they are not looked up.
    """

    def __init__(
        self, settings: Settings, database: Database, resolve_model: ResolveModel | None = None
    ) -> None:
        self._max_pixels = settings.max_pixels
        self._resolve_model = resolve_model
        self._database = database
        self._index = ImageIndex(database)
        self._files = ImageFiles(settings)
        self._blobs = BlobStore(settings.blobs, settings.max_pixels)
        self._closing = Event()
        self._recovery = Recovery(database, self._index, self._files, settings.max_pixels, self._closing)
        self._housekeeping: Thread | None = None

    def start(
        self,
        needed: Callable[[], Collection[BlobId]] = frozenset,
        in_order: Callable[[], None] = lambda: None,
    ) -> None:
        """Keep house in the background, now and every day. Everything can be used meanwhile.

        Args:
            needed: the uploads that others than images need, asked for before any is deleted.
            in_order: called each time that index and files agree.
        """
        self._housekeeping = Thread(
            target=self._keep_house, args=[needed, in_order], name="easel-library", daemon=True
        )
        self._housekeeping.start()

    def close(self) -> None:
        """Stop the housekeeping; what it did not reach is for the next start."""
        self._closing.set()
        if self._housekeeping:
            self._housekeeping.join()

    def _keep_house(self, needed: Callable[[], Collection[BlobId]], in_order: Callable[[], None]) -> None:
        while True:
            try:
                self.reconcile()
                in_order()
                # Only once every file's record is known: it may be the one that needs an upload.
                if not self._closing.is_set():
                    self.collect_blobs(needed())
            except (EaselError, OSError, sqlite3.Error):
                _log.exception("The library could not be put in order")
            if self._closing.wait(_SECONDS_BETWEEN_ROUNDS):
                return

    # -- images the engine made ---------------------------------------------------------------------

    def add(
        self,
        image: Image.Image,
        request: GenerateRequest,
        facts: ModelFacts | None = None,
        *,
        index: int = 0,
        job: str = "",
    ) -> ImageRecord:
        """Keep one finished picture: write its file, settings inside, and index it. Both or neither.

        Args:
            image: RGB or RGBA, as it came from the decoder (after the hires pass).
            request: of the whole batch, as it ran: with its seed drawn and its model filled in. The image's
                own request (seed + index, batch of 1) is made here.
            facts: names and hashes of the models that made it, for the infotext.
            index: of the picture in the job, from 0 (batch number x batch size + place in the batch).
            job: id of the job.

        Raises: DiskFull; then neither file nor record is left. ValueError for a seed that was not drawn.
        """
        if request.seed < 0 or (request.variation and request.variation.seed < 0):
            raise ValueError("draw the seeds before the image is made: they are kept with it")
        facts = facts or ModelFacts()
        provenance = Provenance(
            version=easel_version(),
            job=job,
            model=facts.model,
            model_hash=facts.model_hash,
            vae=facts.vae,
            vae_hash=facts.vae_hash,
            networks=facts.networks,
            request=request_of_image(request, index),
        )
        data = encode(image, request.output, provenance.infotext, provenance.model_dump_json())
        media_type = f"image/{request.output.format}"
        record = provenance.record(image.width, image.height, len(data), media_type)
        self._keep(record, data)
        return record

    def _keep(self, record: ImageRecord, data: bytes) -> None:
        path = None
        try:
            # The database's write lock also keeps two processes from taking the same number.
            with self._database.transaction():
                relative = self._files.new_path(
                    record.created.date(), record.seed, suffix_of(record.media_type)
                )
                path = self._files.output(relative)
                write_bytes(path, data)
                self._index.add(record, relative)
        except BaseException:
            if path:
                path.unlink(missing_ok=True)
            raise

    # -- uploaded pictures --------------------------------------------------------------------------

    def put_blob(self, data: bytes) -> BlobId:
        """Store an uploaded picture. Raises: ImageError, DiskFull."""
        return self._blobs.put(data)

    def blob(self, blob_id: BlobId) -> bytes:
        """Raises: NotFound."""
        return self._blobs.get(blob_id)

    def collect_blobs(self, keep: Collection[BlobId] = ()) -> int:
        """Delete uploads that no image needs, those in the trash included, and nobody used for 30 days.

        Args:
            keep: blobs that others need, gathered before this call: a job that ends in between has then made
                its image, which needs them.

        Returns: how many were deleted.
        """
        return self._blobs.collect(self._index.blobs() | set(keep), timedelta(days=BLOB_DAYS).total_seconds())

    # -- finding ------------------------------------------------------------------------------------

    def images(self, query: ImageQuery | None = None) -> ImagePage:
        """One page of what matches, newest first."""
        return self._index.find(query or ImageQuery())

    def image(self, image_id: ImageId) -> ImageRecord:
        """Raises: NotFound."""
        record = self._index.get(image_id)
        if record is None:
            raise _no_image(image_id)
        return record

    def made_by(self, job: str) -> tuple[ImageId, ...]:
        """The images of a job that are in the library, in the order in which they were made."""
        return self._index.of_job(job)

    def image_path(self, image_id: ImageId) -> Path:
        """The image's file, for reading. Raises: NotFound."""
        return self._files.output(self._path(image_id))

    def thumbnail_path(self, image_id: ImageId) -> Path:
        """A small WebP of it (256 px), made on first use. Raises: NotFound, DiskFull."""
        return self._files.thumbnail(image_id, self._path(image_id), self._max_pixels)

    def set_favourite(self, image_id: ImageId, favourite: bool) -> ImageRecord:
        """Raises: NotFound."""
        self._path(image_id)
        self._index.set_favourite(image_id, favourite)
        return self.image(image_id)

    # -- deleting, exporting ------------------------------------------------------------------------

    def delete_images(self, image_ids: Sequence[ImageId]) -> str:
        """Move images to the trash, all or none. Returns a token for `undo_delete`. Raises: NotFound."""
        for image_id in image_ids:
            self._path(image_id)
        token = uuid4().hex
        # A crash in between is no harm: `reconcile` moves the files to where the index says they are.
        self._index.trash(image_ids, token, datetime.now().astimezone())
        for file in self._index.in_trash(token):
            self._files.settle(file)
        return token

    def undo_delete(self, token: str) -> tuple[ImageId, ...]:
        """Put back what `delete_images` took, as it was. Raises: NotFound."""
        files = self._index.in_trash(token)
        if not files:
            raise NotFound(
                "There is nothing left to undo for this deletion.",
                f"Deleted images are kept for {TRASH_DAYS} days, and come back once.",
            )
        self._index.restore(token)
        for file in files:
            self._files.settle(replace(file, trash=None))
        return tuple(file.id for file in files)

    def export_images(self, image_ids: Sequence[ImageId]) -> Export:
        """A zip of the files as they are, metadata included. Raises: NotFound, InvalidRequest, DiskFull."""
        if not image_ids:
            raise InvalidRequest("No image is selected.", "Select the images to export.")
        paths = [self._path(image_id) for image_id in dict.fromkeys(image_ids)]
        return Export(path=self._files.export(paths), count=len(paths))

    # -- settings out of pictures and texts ---------------------------------------------------------

    def read_settings(self, data: bytes) -> ImportedSettings:
        """Settings from an image file of ours, AUTOMATIC1111, ComfyUI, InvokeAI, Fooocus or NovelAI.

        Raises: ImageError, InvalidRequest (no settings inside).
        """
        embedded = read_embedded(data, max_pixels=self._max_pixels)
        return import_settings(embedded, self._resolve_model, self._blobs)

    def read_infotext(self, text: str) -> ImportedSettings:
        """Settings from AUTOMATIC1111's generation parameters. Raises: InvalidRequest."""
        return import_infotext(text, self._resolve_model, self._blobs)

    # -- order after a crash ------------------------------------------------------------------------

    def reconcile(self) -> int:
        """Bring files and index together, as `start` does in the background.

        Indexes the files that no record knows (a crash between file and record, a file put there by hand),
        finishes deletions and their undoing, hides records whose file is gone until it is back, removes
        what killed writers left half done, and empties the trash of what is older than 30 days.

        Returns: how many files were indexed.
        """
        self._files.remove_leftovers()
        self._blobs.remove_leftovers()
        self._recovery.purge_trash(datetime.now().astimezone() - timedelta(days=TRASH_DAYS))
        self._recovery.settle_all()
        return self._recovery.index_orphans()

    def _path(self, image_id: ImageId) -> str:
        path = self._index.path(image_id)
        if path is None:
            raise _no_image(image_id)
        return path


def _no_image(image_id: ImageId) -> NotFound:
    return NotFound(f"There is no image {image_id[:64]!r} in the library.", "It may have been deleted.")
