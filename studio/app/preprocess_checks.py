"""What can be said of a map to be made before the device is touched: alone, or as a control. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from PIL import Image

from studio.app.masks import ReadPicture
from studio.control.annotators import AnnotatorShelf, check_models
from studio.control.picture import is_empty, read_rgb
from studio.control.preprocess import ANY_PICTURE, EMPTY_CANVAS
from studio.core.base import BlobId
from studio.core.errors import InvalidRequest, below, invalid_at
from studio.core.preprocess import Preprocessor
from studio.core.requests import GenerateRequest, PreprocessRequest


def check_preprocess(request: PreprocessRequest, read: ReadPicture, shelf: AnnotatorShelf) -> None:
    """Raises: InvalidRequest: no such picture, an empty one, a net that is not there or does not fit."""
    check_map_pictures(request.image, request.preprocessor, read)
    _check_nets(request.preprocessor, shelf)


def check_controls(request: GenerateRequest, read: ReadPicture, shelf: AnnotatorShelf) -> None:
    """The same for the maps of all controls that are on, with the field: `controls.0.image`."""
    check_control_pictures(request, read)
    for field, _, preprocessor in _maps(request):
        with below(field):
            _check_nets(preprocessor, shelf)


def check_control_pictures(request: GenerateRequest, read: ReadPicture) -> None:
    """Raises: InvalidRequest: a control would follow the map of an empty picture."""
    for field, image, preprocessor in _maps(request):
        with below(field):
            check_map_pictures(image, preprocessor, read)


def check_map_pictures(image: BlobId, preprocessor: Preprocessor, read: ReadPicture) -> None:
    """Raises: InvalidRequest, at `image` or `preprocessor.mask`."""
    picture = _read(image, "image", read)
    if preprocessor.kind not in ANY_PICTURE and is_empty(read_rgb(picture)):
        raise InvalidRequest(*EMPTY_CANVAS, field="image")
    for mask in sorted(preprocessor.blobs):
        _read(mask, "preprocessor.mask", read)


def _read(blob: BlobId, field: str, read: ReadPicture) -> Image.Image:
    with invalid_at(field):
        return read(blob)


def _check_nets(preprocessor: Preprocessor, shelf: AnnotatorShelf) -> None:
    with below("preprocessor"):
        check_models(shelf, preprocessor)


def _maps(request: GenerateRequest) -> Iterator[tuple[str, BlobId, Preprocessor]]:
    for number, control in enumerate(request.controls):
        if control.enabled and control.preprocessor:
            yield f"controls.{number}", control.image, control.preprocessor
