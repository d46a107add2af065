"""What can be said of a preprocess request before the device is touched. No torch."""

from __future__ import annotations

from studio.control.annotators import check_models
from studio.control.picture import is_empty, read_rgb
from studio.control.preprocess import ANY_PICTURE, EMPTY_CANVAS
from studio.core.errors import EaselError, ImageError, InvalidRequest, NotFound
from studio.core.requests import PreprocessRequest
from studio.core.settings import Settings
from studio.models.catalogue import ModelCatalogue
from studio.storage.library import Library
from studio.storage.pictures import read_picture


def check_preprocess(
    request: PreprocessRequest, settings: Settings, catalogue: ModelCatalogue, library: Library
) -> None:
    """Raises: InvalidRequest: no such picture, an empty one, a net that is not there or does not fit."""
    for blob, field in _named(request):
        try:
            picture = read_picture(library.blob(blob), max_pixels=settings.max_pixels)
        except (NotFound, ImageError) as error:
            raise InvalidRequest(error.problem, error.remedy, field=field) from error
        if field == "image" and request.preprocessor.kind not in ANY_PICTURE and is_empty(read_rgb(picture)):
            raise InvalidRequest(*EMPTY_CANVAS, field="image")
    try:
        check_models(catalogue, request.preprocessor)
    except EaselError as error:
        error.field = f"preprocessor.{error.field}"
        raise


def _named(request: PreprocessRequest) -> list[tuple[str, str]]:
    masks = [(blob, "preprocessor.mask") for blob in sorted(request.preprocessor.blobs)]
    return [(request.image, "image"), *masks]
