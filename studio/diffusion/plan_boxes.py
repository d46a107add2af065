"""The boxes of a request, checked against the checkpoint and the GLIGEN models. Pure: no torch, no files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from studio.core.boxes import Boxes
from studio.core.errors import InvalidRequest, invalid_at
from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.requests import GenerateRequest
from studio.diffusion.plan_stack import NetworkLookup
from studio.models.gligen_files import lacks_projection, reads_pictures
from studio.models.parts import part_role

_SHOWN_NAMES = 3


@dataclass(frozen=True)
class PlannedBoxes:
    """Boxes that are on, with the model that knows them."""

    layout: Boxes
    model: ModelInfo

    @property
    def role(self) -> str:
        return part_role(self.model)

    @property
    def acts(self) -> bool:
        """False where the settings leave the boxes without effect."""
        return self.layout.strength > 0 and self.layout.share > 0

    @property
    def phrases(self) -> dict[str, str]:
        """What is said in boxes that have an effect, by field."""
        said = enumerate(self.layout.boxes if self.acts else ())
        return {f"boxes.boxes.{i}.phrase": one.phrase for i, one in said}


def plan_boxes(request: GenerateRequest, checkpoint: ModelInfo, models: NetworkLookup) -> PlannedBoxes | None:
    """Raises: InvalidRequest, with the field (`boxes`, `boxes.model`, `boxes.boxes.0.phrase`)."""
    layout = request.boxes
    if layout is None or not layout.enabled:
        return None
    _check_checkpoint(checkpoint, models)
    model = _named(layout.model, checkpoint, models) if layout.model else _first(layout, checkpoint, models)
    _check_objects(layout, model)
    return PlannedBoxes(layout, model)


def _check_checkpoint(checkpoint: ModelInfo, models: NetworkLookup) -> None:
    if checkpoint.family in (Family.SD1, Family.UNKNOWN):
        return
    able = [
        info.name for info in models.models(ModelKind.CHECKPOINT) if info.family is Family.SD1 and info.usable
    ]
    remedy = f"Choose {_listed(able)}" if able else "Install a checkpoint of SD 1.x"
    raise InvalidRequest(
        f"Boxes work with checkpoints of {Family.SD1}, but {checkpoint.name} is {checkpoint.family}.",
        f"{remedy}, or switch the boxes off.",
        field="boxes",
    )


def _listed(names: list[str]) -> str:
    shown = names[:_SHOWN_NAMES]
    return " or ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]


def _named(name: str, checkpoint: ModelInfo, models: NetworkLookup) -> ModelInfo:
    with invalid_at("boxes.model"):
        info = models.find(name)
    if info.kind is not ModelKind.GLIGEN:
        raise InvalidRequest(
            f"Boxes need a GLIGEN model, but {info.name} is {info.kind.with_article}.",
            "Choose a GLIGEN model, or none, for the first that fits.",
            field="boxes.model",
        )
    if not info.usable:
        raise InvalidRequest(f"{info.name} cannot be used: {info.problem}", field="boxes.model")
    if not _fits(info, checkpoint):
        raise InvalidRequest(
            f"{info.name} is made for another model than {checkpoint.name}: it reads text of "
            f"{info.context_width} channels, the checkpoint's has {checkpoint.context_width}.",
            "Choose another GLIGEN model, or none, for the first that fits.",
            field="boxes.model",
        )
    return info


def _first(layout: Boxes, checkpoint: ModelInfo, models: NetworkLookup) -> ModelInfo:
    """The first model that fits; of several, one that reads pictures just where a box has one.

    One that was trained on pictures but cannot read them comes behind those for phrases alone.
    """
    fitting = [info for info in models.models(ModelKind.GLIGEN) if info.usable and _fits(info, checkpoint)]
    has_pictures = any(one.image for one in layout.boxes)
    fitting.sort(
        key=lambda info: (reads_pictures(info.layout) is not has_pictures, lacks_projection(info.layout))
    )
    if not fitting:
        raise InvalidRequest(
            f"Boxes need a GLIGEN model that fits {checkpoint.name}, and none is installed.",
            "Install one under Models (GLIGEN text boxes, for SD 1.x), or put one into the folder gligen.",
            field="boxes.model",
        )
    return fitting[0]


def _fits(info: ModelInfo, checkpoint: ModelInfo) -> bool:
    widths = {info.context_width, checkpoint.context_width} - {None}
    return len(widths) < 2 and info.family in (checkpoint.family, Family.UNKNOWN)


def _check_objects(layout: Boxes, model: ModelInfo) -> None:
    for i, one in enumerate(layout.boxes):
        if one.image and not reads_pictures(model.layout):
            raise _reads_none(i, model)
        if not one.image and not one.phrase.strip():
            raise InvalidRequest(
                f"Box {i + 1} does not say what is to be seen in it.",
                "Write a phrase, such as: a red ball.",
                field=f"boxes.boxes.{i}.phrase",
            )


def _reads_none(number: int, model: ModelInfo) -> InvalidRequest:
    field = f"boxes.boxes.{number}.image"
    if lacks_projection(model.layout):
        return InvalidRequest(
            f"Box {number + 1} has a picture, but {model.name} lacks the projection by which boxes take one.",
            "Install the whole folder of such a model, not its UNet alone, or give the box a phrase instead.",
            field=field,
        )
    return InvalidRequest(
        f"Box {number + 1} has a picture, but {model.name} knows boxes by phrases alone.",
        "Give it a phrase instead, or choose a GLIGEN model for text and pictures.",
        field=field,
    )


def box_pictures(layout: Boxes | None) -> Iterable[tuple[str, str]]:
    """Each stored picture that boxes which are on need, with its field."""
    for i, one in enumerate(layout.boxes if layout and layout.enabled else ()):
        if one.image:
            yield f"boxes.boxes.{i}.image", one.image
