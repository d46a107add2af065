"""Which of the installed nets a preprocessor runs, and borrowing them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from studio.control.nets import Nets
from studio.control.segmentation import PERSON
from studio.core.annotator_nets import WEIGHTS, HubWeights, Net
from studio.core.annotators import facts_of, needs_of
from studio.core.errors import InvalidRequest, invalid_at
from studio.core.models import ModelInfo, ModelKind
from studio.core.preprocess import Options
from studio.core.preprocessor_facts import Need
from studio.models.annotators import annotator_of
from studio.models.components import Shelf

if TYPE_CHECKING:
    from studio.models.components import ComponentRef
    from studio.models.manager import ModelManager


class AnnotatorShelf(Shelf, Protocol):
    """What choosing a net needs to know of the catalogue."""

    def models(self, kind: ModelKind | None = None) -> tuple[ModelInfo, ...]: ...

    def find(self, name: str, kind: ModelKind | None = None) -> ModelInfo: ...


Install = Callable[[HubWeights], None]
"""Fetches a net that is not there, so that the catalogue knows it. Raises: EaselError."""

Told = Callable[[str], None]
"""Told what is going on, as a sentence."""


class Annotators:
    """The nets of preprocessors: chosen from the catalogue, borrowed from the manager.

    Args:
        install: called for a net that is on no disk; without it that is an error.
    """

    def __init__(self, shelf: AnnotatorShelf, manager: ModelManager, install: Install | None = None) -> None:
        self._shelf = shelf
        self._manager = manager
        self._install = install

    def choose(self, options: Options) -> tuple[ComponentRef, ...]:
        """The components that a preprocessor runs, each need's one.

        Raises: InvalidRequest (with the option at fault), Offline.
        """
        return tuple(annotator_of(self._shelf, self._chosen(need, options)) for need in needs_of(options))

    @contextmanager
    def borrow(self, refs: tuple[ComponentRef, ...], told: Told | None = None) -> Iterator[Nets]:
        """The nets on the device, for as long as the block runs; `told` hears what is being loaded."""
        if not refs:
            yield Nets()
            return
        with self._manager.lease(refs, loading=told) as lease:
            yield Nets(lease, refs, told)

    def _chosen(self, need: Need, options: Options) -> ModelInfo:
        asked = asked_for(self._shelf, need, options) or best(fitting(self._shelf, need))
        if asked is None and self._install:
            self._install(WEIGHTS[need.nets[0]])
            asked = best(fitting(self._shelf, need))
        if asked is None:
            raise _missing(need, options)
        return asked


def check_models(shelf: AnnotatorShelf, options: Options) -> None:
    """Raises: InvalidRequest: a net that the options name is not there, or does not fit."""
    for need in needs_of(options):
        asked_for(shelf, need, options)


def asked_for(shelf: AnnotatorShelf, need: Need, options: Options) -> ModelInfo | None:
    """The net that the options name; None where they leave it open. Raises: InvalidRequest."""
    name = getattr(options, need.field) if need.field else ""
    if not name:
        return None
    with invalid_at(need.field):
        info = shelf.find(name, ModelKind.ANNOTATOR)
    if info not in fitting(shelf, need):
        raise InvalidRequest(
            f"{facts_of(options).title} runs {' or '.join(WEIGHTS[net].title for net in need.nets)} and its "
            f"kind, and {info.name} is no such net{f' ({info.problem})' if info.problem else ''}.",
            "Choose another net, or none for the best one installed.",
            field=need.field,
        )
    return info


def fitting(shelf: AnnotatorShelf, need: Need) -> list[ModelInfo]:
    """The installed nets that will do."""
    found = [info for info in shelf.models(ModelKind.ANNOTATOR) if info.usable]
    return [info for info in found if info.layout in need.nets and _suits(shelf, info, need)]


def _suits(shelf: AnnotatorShelf, info: ModelInfo, need: Need) -> bool:
    """A net of segmentation finds persons only where it knows them."""
    if info.layout != Net.SEGMENTATION or Net.DETECTOR not in need.nets:
        return True
    labels = annotator_of(shelf, info).config["model"].get("id2label") or {}
    return PERSON in labels.values()


def best(infos: list[ModelInfo]) -> ModelInfo | None:
    """The usual weights where they are there, else the largest net: small ones know small worlds."""
    return max(infos, key=lambda info: (_is_usual(info), info.size_bytes), default=None)


def _is_usual(info: ModelInfo) -> bool:
    usual = WEIGHTS[Net(info.layout)]
    name = Path(usual.file).stem or usual.repo.split("/")[1]
    return name.lower() in (info.name.lower(), Path(info.location).stem.lower())


def _missing(need: Need, options: Options) -> InvalidRequest:
    usual = WEIGHTS[need.nets[0]]
    return InvalidRequest(
        f"{facts_of(options).title} needs the net {usual.title}, which is not on this machine.",
        f"Install it in the Models tab ({usual.repo}{f', {usual.file}' if usual.file else ''}).",
        field=need.field or need.option or None,
    )
