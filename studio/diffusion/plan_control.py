"""The controls and image prompts of a request, checked against the catalogue. Pure: no torch, no files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from studio.core.annotators import control_of
from studio.core.base import BlobId
from studio.core.conditions import ControlInput, ImagePrompt, StackEntry
from studio.core.control_types import UNION_TASKS, ControlType, union_controls
from studio.core.errors import InvalidRequest, invalid_at
from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.requests import GenerateRequest
from studio.diffusion.plan_boxes import box_pictures
from studio.models.parts import part_role

FindModel = Callable[[str], ModelInfo]
"""By id or name. Raises: NotFound."""

Entry = TypeVar("Entry", bound=StackEntry)

_CONTROL_KINDS = (ModelKind.CONTROLNET, ModelKind.T2I_ADAPTER)


@dataclass(frozen=True)
class PlannedControl:
    """A control that is on, with the model that it names."""

    entry: ControlInput
    model: ModelInfo
    field: str
    """Its place in the request: `controls.0`."""
    task: int | None = None
    """What the map shows, by the number that a union ControlNet knows it by; None for other models."""

    @property
    def role(self) -> str:
        return part_role(self.model)


@dataclass(frozen=True)
class PlannedImagePrompt:
    """An image prompt that is on, with the adapter that it names."""

    entry: ImagePrompt
    model: ModelInfo
    field: str
    """Its place in the request: `image_prompts.0`."""

    @property
    def role(self) -> str:
        return part_role(self.model)


def plan_controls(
    request: GenerateRequest, checkpoint: ModelInfo, find: FindModel
) -> tuple[PlannedControl, ...]:
    """Raises: InvalidRequest, with the field (`controls.0.model`)."""
    return tuple(
        _planned(entry, _model(entry.model, field, checkpoint, find, _CONTROL_KINDS), field)
        for entry, field in _enabled(request.controls, "controls")
    )


def _planned(entry: ControlInput, model: ModelInfo, field: str) -> PlannedControl:
    known = union_controls(model.layout)
    return PlannedControl(entry, model, field, _task(entry, model, known, field) if known else None)


def _task(entry: ControlInput, model: ModelInfo, known: Sequence[ControlType], field: str) -> int:
    """The number of what the map shows. Args: known: what `model`, a union ControlNet, can be told."""
    shown = entry.control_type or control_of(entry.preprocessor)
    if shown is not None and shown in known:
        return UNION_TASKS[shown]
    problem = (
        f"{model.name} follows maps of many kinds, and must be told what this one shows."
        if shown is None
        else f"{model.name} follows maps of many kinds, but none that show {shown}."
    )
    remedy = f"It knows {', '.join(sorted(known))}."
    raise InvalidRequest(problem, remedy, field=f"{field}.control_type")


def plan_image_prompts(
    request: GenerateRequest, checkpoint: ModelInfo, find: FindModel
) -> tuple[PlannedImagePrompt, ...]:
    """Raises: InvalidRequest, with the field (`image_prompts.0.model`)."""
    return tuple(
        PlannedImagePrompt(
            entry, _model(entry.model, field, checkpoint, find, (ModelKind.IP_ADAPTER,)), field
        )
        for entry, field in _enabled(request.image_prompts, "image_prompts")
    )


def pictures_of_stack(request: GenerateRequest) -> Iterator[tuple[str, BlobId]]:
    """Each stored picture that an entry or box which is on needs, with its field: `controls.0.image`."""
    for control, field in _enabled(request.controls, "controls"):
        yield f"{field}.image", control.image
        if control.mask:
            yield f"{field}.mask", control.mask
    for prompt, field in _enabled(request.image_prompts, "image_prompts"):
        for i, image in enumerate(prompt.images):
            yield f"{field}.images.{i}", image
        if prompt.mask:
            yield f"{field}.mask", prompt.mask
    yield from box_pictures(request.boxes)


def check_pictures(request: GenerateRequest, stored: Callable[[BlobId], object]) -> None:
    """Raises: InvalidRequest: a picture that the stack needs is not stored, with its field."""
    for field, blob in pictures_of_stack(request):
        with invalid_at(field):
            stored(blob)


def _enabled(entries: Sequence[Entry], name: str) -> Iterator[tuple[Entry, str]]:
    return ((entry, f"{name}.{i}") for i, entry in enumerate(entries) if entry.enabled)


def _model(
    name: str, field: str, checkpoint: ModelInfo, find: FindModel, kinds: tuple[ModelKind, ...]
) -> ModelInfo:
    """The usable model `name` of one of `kinds` that fits the checkpoint."""
    field = f"{field}.model"
    with invalid_at(field):
        info = find(name)
    wanted = " or ".join(kind.with_article for kind in kinds)
    if info.kind not in kinds:
        raise InvalidRequest(
            f"What is needed here is {wanted}, but {info.name} is {info.kind.with_article}.", field=field
        )
    if not info.usable:
        raise InvalidRequest(f"{info.name} cannot be used: {info.problem}", field=field)
    if Family.UNKNOWN not in (info.family, checkpoint.family) and info.family is not checkpoint.family:
        raise InvalidRequest(
            f"{info.name} is made for {info.family}, but {checkpoint.name} is {checkpoint.family}.",
            f"Choose {wanted} for {checkpoint.family}, or a checkpoint of {info.family}.",
            field=field,
        )
    return info
