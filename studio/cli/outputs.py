"""Where a command puts what it makes: never over something that is there, unless it is told to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path

from studio.core.errors import EaselError, InvalidRequest

SUFFIX = ".safetensors"


def place_for(
    out: Path | None, proposed: Path, sources: Iterable[Path], *, force: bool = False, folder: bool = False
) -> Path:
    """Where the result goes: `out`, or `proposed`; where that is taken, `name-2`, `name-3`, ...

    Args:
        out: a name with or without suffix, or a folder to put it into under the proposed name.
        sources: what it is made of, which is never replaced.
        force: replace a file that has the name.
        folder: the result is a folder itself.

    Raises: InvalidRequest: the folder is not there, or the name is no name for such a file.
    """
    place = _named(out.expanduser(), proposed, folder) if out else proposed
    if not place.parent.is_dir():
        raise InvalidRequest(
            f"The folder {place.parent} for the result is not there.",
            "Make it first, or choose another --out.",
        )
    if not force or not place.exists():
        return _free(place)
    if folder or place.is_dir() or place.resolve() in {source.resolve() for source in sources}:
        raise InvalidRequest(
            f"--force does not replace {place.name}: it is {'a folder' if place.is_dir() else 'a source'}.",
            "Choose another --out.",
        )
    return place


def _named(out: Path, proposed: Path, folder: bool) -> Path:
    if out.is_dir() and not folder:
        return out / proposed.name
    if folder or out.suffix.lower() == SUFFIX:
        return out
    if out.suffix.lower() in (".ckpt", ".pt", ".pth", ".bin"):
        raise InvalidRequest(f"--out needs a name that ends in {SUFFIX}, not {out.name!r}.")
    return out.with_name(out.name + SUFFIX)


def _free(place: Path) -> Path:
    """`place`, or the first of `name-2`, `name-3`, ... that is nothing's name yet."""
    others = (place.with_name(f"{place.stem}-{number}{place.suffix}") for number in count(2))
    return next(name for name in chain([place], others) if not name.exists())


@contextmanager
def writing_explained(place: Path) -> Iterator[None]:
    """Turn what the disk refuses into a sentence."""
    try:
        yield
    except OSError as error:
        raise EaselError(
            f"{place.name} cannot be written into {place.parent}: {error.strerror or error}.",
            "Choose another --out.",
        ) from error
