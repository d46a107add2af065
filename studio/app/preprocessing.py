"""Control maps as jobs, and inside of them: made once for a picture, its options and its nets, then kept."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from functools import partial

import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.app.observer import JobObserver
from studio.control.annotators import Annotators
from studio.control.preprocess import ControlMap, make_map
from studio.core.annotator_nets import HubWeights
from studio.core.base import BlobId
from studio.core.errors import EaselError, NotFound, Offline, OutOfMemory
from studio.core.openpose import POSE_CHUNK
from studio.core.preprocess import Inpaint, Preprocessor
from studio.core.requests import InstallRequest, PreprocessRequest
from studio.core.settings import Settings
from studio.models.catalogue import ModelCatalogue
from studio.models.components import ComponentRef
from studio.models.install import install
from studio.models.manager import ModelManager
from studio.storage.library import Library
from studio.storage.maps import MapIndex
from studio.storage.pictures import read_mask, read_picture

_VERSION = 1
"""Of the preprocessors: a change to what they draw makes the kept maps worthless."""


class Preprocessing:
    """Runs preprocessors on stored pictures. Belongs to the GPU thread."""

    def __init__(
        self,
        settings: Settings,
        catalogue: ModelCatalogue,
        library: Library,
        index: MapIndex,
        manager: ModelManager,
    ) -> None:
        self._settings = settings
        self._catalogue = catalogue
        self._library = library
        self._index = index
        self._manager = manager

    def run(self, request: PreprocessRequest, observer: JobObserver) -> BlobId:
        """The map of a request, as a stored PNG.

        Raises: InvalidRequest, Offline, OutOfMemory; each names the request's field.
        """
        return self._placed(request.image, request.preprocessor, observer)

    def control_map(
        self, image: BlobId, preprocessor: Preprocessor, observer: JobObserver
    ) -> tuple[BlobId, Image.Image]:
        """The map as the control of a picture needs it; RGBA only of `Inpaint`, see `ControlMap`.

        Returns: where it is stored, and the map.

        Raises: as `run`.
        """
        made = self._placed(image, preprocessor, observer)
        return made, self._picture(made)

    def _placed(self, image: BlobId, preprocessor: Preprocessor, observer: JobObserver) -> BlobId:
        """The map; an error is at `image`, at `preprocessor`, or at one of its options."""
        try:
            return self._map(image, preprocessor, observer)
        except EaselError as error:
            if error.field != "image":
                error.field = ".".join(filter(None, ("preprocessor", error.field)))
            raise

    def _map(self, image: BlobId, preprocessor: Preprocessor, observer: JobObserver) -> BlobId:
        fetch = partial(self._fetch, observer=observer)
        annotators = Annotators(self._catalogue, self._manager, fetch)
        key = _key(image, preprocessor, annotators.choose(preprocessor))
        kept = self._kept(key)
        if kept:
            return kept
        observer.phase("Making the control map")
        made = self._library.put_blob(_png(self._make(image, preprocessor, annotators, observer)))
        self._index.keep(key, made)
        return made

    def _kept(self, key: str) -> BlobId | None:
        blob = self._index.find(key)
        try:
            return blob if blob and self._library.blob(blob) else None
        except NotFound:
            return None

    def _make(
        self, image: BlobId, preprocessor: Preprocessor, annotators: Annotators, observer: JobObserver
    ) -> ControlMap:
        picture = self._picture(image)
        mask_blob = preprocessor.mask if isinstance(preprocessor, Inpaint) else None
        mask = self._mask(mask_blob) if mask_blob else None
        make = partial(make_map, picture, preprocessor, annotators, mask=mask, told=observer.phase)
        try:
            return make()
        except (torch.OutOfMemoryError, OutOfMemory):
            observer.log("Out of memory: trying again with nothing else on the device.")
        self._manager.recover()
        try:
            return make()
        except torch.OutOfMemoryError as error:
            raise OutOfMemory(
                f"A picture of {picture.width}x{picture.height} px needs more memory than there is.",
                "Choose a lower resolution.",
                field="resolution",
            ) from error

    def _picture(self, blob: BlobId) -> Image.Image:
        return read_picture(self._library.blob(blob), max_pixels=self._settings.max_pixels, keep_alpha=True)

    def _mask(self, blob: BlobId) -> Image.Image:
        return read_mask(self._library.blob(blob), max_pixels=self._settings.max_pixels)

    def _fetch(self, weights: HubWeights, observer: JobObserver) -> None:
        """Download a net on its first use.

        Raises: Offline.
        """
        phase = f"Downloading {weights.title}"
        observer.phase(phase)
        try:
            install(
                InstallRequest(repo=weights.repo, file=weights.file),
                self._settings,
                progress=lambda done, total: observer.step(phase, done, total, 0),
                check=observer.check,
            )
        except Offline as error:
            raise Offline(
                f"This preprocessor needs the net {weights.title}, which is not on this machine, and the Hub "
                "does not answer.",
                "Install it in the Models tab once there is a connection "
                f"({weights.repo}{f', {weights.file}' if weights.file else ''}).",
                field="model",
            ) from error
        self._catalogue.refresh()


def _key(image: BlobId, preprocessor: Preprocessor, refs: Iterable[ComponentRef]) -> str:
    """The same for the same map: nets count by their content, not by how they are called."""
    options = preprocessor.model_dump(mode="json", exclude={"model", "detector"})
    told = [_VERSION, image, options, [ref.digest for ref in refs]]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _png(made: ControlMap) -> bytes:
    """The map's file; a pose goes along as text."""
    texts = PngInfo()
    if made.openpose:
        texts.add_text(POSE_CHUNK, made.openpose)
    file = io.BytesIO()
    made.image.save(file, "PNG", compress_level=3, pnginfo=texts)
    return file.getvalue()
