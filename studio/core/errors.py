"""Every error that Easel raises on purpose.

EaselError
├── InvalidRequest            what was asked cannot be done as asked            (HTTP 422)
│   ├── PromptError           the prompt's grammar, with the character's position
│   └── ImageError            an uploaded image is broken, too large or no image
├── NotFound                  an id that names nothing                          (HTTP 404)
├── ModelFileError            a model file cannot be used                       (HTTP 422)
│   ├── CorruptFile           truncated, or a header that lies
│   ├── UnsafeFile            it would have to execute code to be read
│   └── UnknownFile           readable, but no model that Easel knows
├── ResourceError             the machine lacks something                       (HTTP 503)
│   ├── OutOfMemory           GPU or main memory, even in the leanest mode
│   ├── DiskFull              no space for what has to be kept              (HTTP 507)
│   ├── QueueFull
│   └── Offline               a download is needed and the network does not answer
├── NumericalError            NaN or infinity: the models cannot make it so     (HTTP 422)
├── JobCancelled              not a fault: the person stopped the job
└── Forbidden                 the caller may not do that                        (HTTP 403)

A message is one or two sentences for a person: what is needed, what is there, what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from studio.core.texts import storable


class EaselError(Exception):
    """Base of all of them.

    Args:
        problem: what was needed and what is there instead, as a sentence.
        remedy: what the person can do about it, as a sentence; may be empty.
        field: the request's field at fault (`"width"`, `"hires.scale"`), so that a page can show it there.
    """

    http_status = 500

    def __init__(self, problem: str, remedy: str = "", *, field: str | None = None) -> None:
        super().__init__(storable(f"{problem} {remedy}".strip()))
        self.problem = storable(problem)
        self.remedy = remedy
        self.field = field


class InvalidRequest(EaselError):
    http_status = 422


class PromptError(InvalidRequest):
    """The prompt does not parse.

    Args:
        position: index of the offending character in the prompt, from 0.
    """

    def __init__(
        self, problem: str, remedy: str = "", *, position: int, field: str | None = "prompt"
    ) -> None:
        super().__init__(f"Character {position + 1}: {problem}", remedy, field=field)
        self.position = position


class ImageError(InvalidRequest):
    pass


class NotFound(EaselError):
    http_status = 404


class ModelFileError(EaselError):
    http_status = 422


class CorruptFile(ModelFileError):
    pass


class UnsafeFile(ModelFileError):
    pass


class UnknownFile(ModelFileError):
    pass


class ResourceError(EaselError):
    http_status = 503


class OutOfMemory(ResourceError):
    pass


class DiskFull(ResourceError):
    http_status = 507


class QueueFull(ResourceError):
    pass


class Offline(ResourceError):
    pass


class NumericalError(EaselError):
    """No fault of the program: these models at this precision and these weights make no picture.

    Asked again, they fail again; so it is the request that has to change, and no client should retry it.
    """

    http_status = 422


class JobCancelled(EaselError):
    def __init__(self) -> None:
        super().__init__("The job was cancelled.")


class Forbidden(EaselError):
    http_status = 403


@contextmanager
def at(field: str) -> Iterator[None]:
    """Errors in the block that name no field get this one."""
    try:
        yield
    except EaselError as error:
        error.field = error.field or field
        raise


@contextmanager
def invalid_at(field: str) -> Iterator[None]:
    """What the block does not find, or refuses, makes the request invalid at `field`."""
    try:
        yield
    except (NotFound, InvalidRequest) as error:
        raise InvalidRequest(error.problem, error.remedy, field=field) from error


@contextmanager
def below(place: str) -> Iterator[None]:
    """Errors in the block get their field below `place`: `image` in `controls.0` is `controls.0.image`."""
    try:
        yield
    except EaselError as error:
        error.field = f"{place}.{error.field}" if error.field else place
        raise
