"""Where a command puts what it makes: never over something that is there, unless it is told to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from os.path import lexists
from pathlib import Path

from studio.core.errors import EaselError, InvalidRequest

SUFFIX = ".safetensors"

_FORMATS = frozenset(
    (
        *(SUFFIX, ".ckpt", ".pt", ".pth", ".bin", ".json"),
        *(".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp"),
        *(".tif", ".tiff", ".avif", ".heic", ".jxl", ".svg"),
    )
)
"""Endings that promise a format; any other one (`anna.v2`) is a part of the name."""


@dataclass(frozen=True)
class Naming:
    """Which names a result may have."""

    suffixes: tuple[str, ...]
    """The first is added to a name that has none."""
    option: str = "--out"
    """By which a person names it, for sentences."""


WEIGHTS = Naming((SUFFIX,))


def place_for(
    out: Path | None,
    proposed: Path,
    sources: Iterable[Path],
    *,
    force: bool = False,
    folder: bool = False,
    naming: Naming = WEIGHTS,
) -> Path:
    """Where the result goes: `out`, or `proposed`; where that is taken, `name-2`, `name-3`, ...

    Args:
        out: a name with or without suffix, or a folder to put it into under the proposed name.
        sources: what it is made of, which is never replaced.
        force: replace a file that has the name.
        folder: the result is a folder itself.

    Raises: InvalidRequest: the folder is not there, or the name is no name for such a file.
    """
    place = asked_place(out, proposed, naming, folder)
    return _over(place, sources, naming, folder) if force and lexists(place) else _free(place)


def places_for(
    out: Path | None, proposed: Path, sources: Iterable[Path], number: int, *, force: bool, naming: Naming
) -> tuple[Path, ...]:
    """The same for `number` results: one has the name itself, several have `name-1`, `name-2`, ...

    Where one of these is taken, all go on behind it, so that what was made together stands together.

    Args, raises: as `place_for`.
    """
    if number == 1:
        return (place_for(out, proposed, sources, force=force, naming=naming),)
    place = asked_place(out, proposed, naming)
    runs = (_numbered(place, first, number) for first in count(1))
    if force:
        return tuple(_over(each, sources, naming) if lexists(each) else each for each in next(runs))
    return next(run for run in runs if not any(map(lexists, run)))


def _numbered(place: Path, first: int, number: int) -> tuple[Path, ...]:
    return tuple(place.with_stem(f"{place.stem}-{i}") for i in range(first, first + number))


def asked_place(out: Path | None, proposed: Path, naming: Naming, folder: bool = False) -> Path:
    """The place as it was asked for, which may be taken. Args, raises: as `place_for`."""
    place = _with_suffix(out.expanduser(), proposed, naming, folder) if out else proposed
    if not place.parent.is_dir():
        raise InvalidRequest(
            f"The folder {place.parent} for the result is not there.",
            f"Make it first, or choose another {naming.option}.",
        )
    return place


def _with_suffix(out: Path, proposed: Path, naming: Naming, folder: bool) -> Path:
    if out.is_dir() and not folder:
        return out / proposed.name
    if folder or out.suffix.lower() in naming.suffixes:
        return out
    if out.suffix.lower() in _FORMATS:
        raise InvalidRequest(
            f"{naming.option} needs a name that ends in {', '.join(naming.suffixes)}, not {out.name!r}."
        )
    return out.with_name(out.name + naming.suffixes[0])


def _over(place: Path, sources: Iterable[Path], naming: Naming, folder: bool = False) -> Path:
    """`place`, which exists, if it may be replaced. Raises: InvalidRequest."""
    if folder or place.is_dir() or any(_is_same(place, source) for source in sources):
        raise InvalidRequest(
            f"--force does not replace {place.name}: it is {'a folder' if place.is_dir() else 'a source'}.",
            f"Choose another {naming.option}.",
        )
    return place


def _is_same(place: Path, source: Path) -> bool:
    """Also under another name: through a link, or in other case where the disk makes no difference."""
    return place.exists() and source.exists() and place.samefile(source)


def _free(place: Path) -> Path:
    """`place`, or the first of `name-2`, `name-3`, ... that is nothing's name yet."""
    others = (place.with_name(f"{place.stem}-{number}{place.suffix}") for number in count(2))
    return next(name for name in chain([place], others) if not lexists(name))


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
