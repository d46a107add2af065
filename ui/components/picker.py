"""The models that can follow a map: those that fit the checkpoint, and the others greyed with the reason."""

from __future__ import annotations

from collections.abc import Sequence

from studio.core.annotators import FACTS
from studio.core.control_types import ControlType, union_controls
from studio.core.models import ModelInfo, ModelKind
from ui.components.networks import unfit
from ui.words import esc

KINDS = {
    ModelKind.CONTROLNET: "ControlNets",
    ModelKind.T2I_ADAPTER: "T2I-Adapters",
    ModelKind.IP_ADAPTER: "IP-Adapters",
}

_NAMED = {
    ControlType.OPENPOSE: ("pose",),
    ControlType.SCRIBBLE: ("scribble", "sketch"),
    ControlType.SOFT_EDGE: ("softedge", "hed"),
    ControlType.NORMAL: ("normal",),
    ControlType.SEGMENTATION: ("seg",),
    ControlType.COLOUR: ("color", "colour"),
}
"""What models for a control are called, where it is not the control's own name."""

_DRAWN = {"sketch": (ControlType.SCRIBBLE,), "pose": (ControlType.OPENPOSE,)}


def suited(models: Sequence[ModelInfo], checkpoint: ModelInfo | None, map_kind: str, chosen: str) -> str:
    """The id of the model to offer: the `chosen` one while it fits the map, else the first that does.

    Args: map_kind: `sketch`, `pose`, or the kind of a preprocessor.
    """
    usable = [model for model in models if not unfit(model, checkpoint)]
    offered = [model.id for model in usable if is_made_for(model, map_kind)] or [model.id for model in usable]
    return chosen if chosen in offered else next(iter(offered), "")


def is_made_for(model: ModelInfo, map_kind: str) -> bool:
    """Told from its name, as people name them after the map that they follow; union nets follow many."""
    controls = _DRAWN.get(map_kind) or (FACTS[map_kind].controls if map_kind in FACTS else ())
    if known := union_controls(model.layout):
        return any(control in known for control in controls)
    name = "".join(filter(str.isalnum, f"{model.name}{model.id}".lower()))
    return any(word in name for control in controls for word in _NAMED.get(control, (str(control).lower(),)))


def picker_html(models: Sequence[ModelInfo], checkpoint: ModelInfo | None, chosen: str, *, label: str) -> str:
    """A list to choose from; where none fits, what to do instead."""
    groups = "".join(_group(kind, models, checkpoint, chosen) for kind in KINDS)
    usable = any(not unfit(model, checkpoint) for model in models)
    nothing = '<option value="" selected disabled>None is here yet</option>'
    note = "" if usable else '<small class="note">Install one on the Models tab.</small>'
    return (
        f'<label class="pick model-pick"><span>{esc(label)}</span><select name="control-model">'
        f"{'' if usable else nothing}{groups}</select></label>{note}"
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
