"""The models that can follow a map: those that fit the checkpoint, and the others greyed with the reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from studio.core.control_models import controls_of
from studio.core.control_types import ControlType
from studio.core.models import CatalogueRow, ModelInfo, ModelKind
from ui.components.networks import unfit
from ui.control_units import shown_by
from ui.words import esc

KINDS = {
    ModelKind.CONTROLNET: "ControlNets",
    ModelKind.T2I_ADAPTER: "T2I-Adapters",
    ModelKind.IP_ADAPTER: "IP-Adapters",
}

_WORDS: Mapping[ControlType, str] = {
    ControlType.CANNY: "Canny edges",
    ControlType.DEPTH: "depth",
    ControlType.INPAINT: "a masked picture",
    ControlType.LINEART: "line art",
    ControlType.MLSD: "straight lines",
    ControlType.NORMAL: "normals",
    ControlType.OPENPOSE: "a pose",
    ControlType.SCRIBBLE: "a sketch",
    ControlType.SEGMENTATION: "segmentation",
    ControlType.SHUFFLE: "a shuffled picture",
    ControlType.SOFT_EDGE: "soft edges",
    ControlType.COLOUR: "a grid of colours",
    ControlType.TILE: "a tile",
}


def suited(models: Sequence[ModelInfo], checkpoint: ModelInfo | None, map_kind: str, chosen: str) -> str:
    """The id of the model to offer: `chosen` while it fits the map, else the first made for it, else none.

    What was made for another control is never offered; a person may choose it all the same.

    Args: map_kind: `sketch`, `pose`, `look`, or the kind of a preprocessor.
    """
    usable = [model for model in models if not unfit(model, checkpoint)]
    made = [model.id for model in usable if _is_made_for(model, map_kind)]
    kept = [model.id for model in usable if _may_follow(model, map_kind)]
    return chosen if chosen in (made or kept) else next(iter(made), "")


def _is_made_for(model: ModelInfo, map_kind: str) -> bool:
    """True for all image prompts where a look is followed; a finished map does not say what it shows."""
    controls = shown_by(map_kind)
    return any(control in controls_of(model) for control in controls) if controls else map_kind == "look"


def _may_follow(model: ModelInfo, map_kind: str) -> bool:
    """False where it is known to follow something else."""
    return not shown_by(map_kind) or not controls_of(model)


def lacking(
    models: Sequence[ModelInfo],
    checkpoint: ModelInfo | None,
    map_kind: str,
    rows: Iterable[CatalogueRow],
) -> tuple[str, str]:
    """What is missing where no model here was made for a map, and what to do; both empty where one was.

    Args: rows: what can be installed.
    """
    usable = [model for model in models if not unfit(model, checkpoint)]
    controls = shown_by(map_kind)
    if usable and not controls:
        return ("", "") if map_kind in ("", "look") else _UNTOLD
    if any(_is_made_for(model, map_kind) for model in usable):
        return "", ""
    wanted = f"net for {_WORDS[controls[0]]}" if controls else "IP-Adapter" if map_kind == "look" else "net"
    fitting = f" that fits {checkpoint.name}" if checkpoint else ""
    remedy = _remedy(rows, checkpoint, map_kind)
    knowing = ", or choose a net that you know to follow it" if usable else ""
    return f"No {wanted}{fitting} is here.", f"{remedy}{knowing}."


_UNTOLD = ("A finished map does not tell what it shows.", "Choose the net that was made for it.")


def _remedy(rows: Iterable[CatalogueRow], checkpoint: ModelInfo | None, map_kind: str) -> str:
    made = list(_installable(rows, map_kind))
    if row := next((row for row in made if checkpoint and row.fits(checkpoint)), None):
        return f"Install {row.name} on the Models tab"
    if any(checkpoint and row.family is checkpoint.family for row in made):
        return "Those that can be installed do not fit it either: take another checkpoint"
    return "Add one on the Models tab"


def _installable(rows: Iterable[CatalogueRow], map_kind: str) -> Iterator[CatalogueRow]:
    """The models for a map that are not installed, those for what it shows first of all in front."""
    missing = [row for row in rows if not row.installed]
    if map_kind == "look":
        yield from (row for row in missing if row.kind is ModelKind.IP_ADAPTER)
    for control in shown_by(map_kind):
        yield from (row for row in missing if control in row.controls)


def picker_html(
    models: Sequence[ModelInfo], checkpoint: ModelInfo | None, chosen: str, *, label: str, note: str = ""
) -> str:
    """A list to choose from, and below it what there is to say, if anything."""
    groups = "".join(_group(kind, models, checkpoint, chosen) for kind in KINDS)
    usable = {model.id for model in models if not unfit(model, checkpoint)}
    words = "Choose one" if usable else "None is here yet"
    nothing = "" if chosen in usable else f'<option value="" selected disabled>{words}</option>'
    return (
        f'<label class="pick model-pick"><span>{esc(label)}</span><select name="control-model">'
        f'{nothing}{groups}</select></label><small class="note">{esc(note)}</small>'
    )


def _group(kind: ModelKind, models: Sequence[ModelInfo], checkpoint: ModelInfo | None, chosen: str) -> str:
    own = sorted((model for model in models if model.kind is kind), key=lambda m: bool(unfit(m, checkpoint)))
    options = "".join(_option(model, unfit(model, checkpoint), chosen) for model in own)
    return f'<optgroup label="{KINDS[kind]}">{options}</optgroup>' if own else ""


def _option(model: ModelInfo, reason: str, chosen: str) -> str:
    if reason:
        words = f"{model.name}: {reason}"
        return f'<option value="{esc(model.id)}" disabled title="{esc(reason)}">{esc(words)}</option>'
    mark = " selected" if model.id == chosen else ""
    return f'<option value="{esc(model.id)}"{mark}>{esc(model.name)}</option>'
