"""From what the Control tab holds to an entry of the stack, and from an entry back to its editor."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any

from PIL import Image
from pydantic import ValidationError

from studio.core.annotators import FACTS, control_of
from studio.core.base import BlobId, Record
from studio.core.conditions import ControlInput, ControlMode, ImagePrompt, StackEntry
from studio.core.control_types import ControlType, union_controls
from studio.core.errors import InvalidRequest
from studio.core.geometry import ResizeMode
from studio.core.models import ModelInfo
from studio.core.openpose import POSE_CHUNK
from studio.core.preprocess import Map
from ui.form import held_entry

SOURCES = {"photo": "Photo", "sketch": "Sketch", "pose": "Pose", "look": "Look"}
"""Where a unit comes from: the editor's name, and what it is called."""

USUAL_WEIGHTS = {
    "controls": ControlInput.model_fields["weight"].default,
    "image_prompts": ImagePrompt.model_fields["weight"].default,
}

_NOTES = {POSE_CHUNK: "pose", "easel-sketch": "sketch"}
"""Notes in a map's PNG that tell which editor drew it."""

_DRAWN = {"sketch": ControlType.SCRIBBLE, "pose": ControlType.OPENPOSE}
"""What the maps of an editor show."""

FINISHED_MAP = Map.model_fields["kind"].default
"""The kind of a map that no preprocessor of ours made, which may show anything."""

_MOST_TEXT = 4_000_000
"""Characters of a note that are looked at."""


def path_of(source: str) -> str:
    """The stacked field that units of an editor go to."""
    return "image_prompts" if source == "look" else "controls"


def kind_of(source: str, unit: Mapping[str, Any]) -> str:
    """What a unit shows: the kind of its preprocessor, else the editor that drew it."""
    told = unit.get("preprocessor")
    return str(told.get("kind")) if isinstance(told, Mapping) else source


def shown_by(map_kind: str) -> tuple[ControlType, ...]:
    """What a map of a kind shows, the usual first; none where it is no map, or may show anything.

    Args: map_kind: as `kind_of` tells it.
    """
    if map_kind in _DRAWN:
        return (_DRAWN[map_kind],)
    return FACTS[map_kind].controls if map_kind in FACTS and map_kind != FINISHED_MAP else ()


def purpose_of(source: str, kind: str) -> str:
    """What a model is chosen for; it is told from the next purpose by this text."""
    return f"{source} {kind}"


def weight_for(source: str, offered: str, weight: float) -> float:
    """A weight that nobody changed becomes the usual one, where an editor of the other stack comes up.

    Args: offered: the purpose that the model and the weight were set for; empty where there was none.
    """
    before = offered.partition(" ")[0]
    moved = bool(before) and path_of(before) != path_of(source)
    return USUAL_WEIGHTS[path_of(source)] if moved and weight in USUAL_WEIGHTS.values() else weight


class UnitSettings(Record):
    """What a person set beside the picture itself."""

    model: str = ""
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    mode: ControlMode = ControlMode.BALANCED
    resize_mode: ResizeMode = ResizeMode.CROP
    mask: BlobId | None = None
    control_type: ControlType | None = None
    """What the map shows, where a union ControlNet is to be told something else than where it came from."""


def drawn_unit(text: str) -> dict[str, Any]:
    """What an editor handed over. Raises: InvalidRequest, with the editor's own sentence."""
    with suppress(TypeError, ValueError):
        unit = json.loads(text)
        if isinstance(unit, dict) and not unit.get("problem"):
            return unit
        raise InvalidRequest(str(unit["problem"]))
    raise InvalidRequest("The editor is not ready yet.", "Try again in a moment.")


def entry_for(source: str, unit: Mapping[str, Any], settings: UnitSettings) -> StackEntry:
    """The entry that stands for a unit. Raises: InvalidRequest."""
    if not settings.model:
        wanted = "An IP-Adapter" if source == "look" else "A ControlNet or T2I-Adapter"
        raise InvalidRequest(
            f"{wanted} is needed, and none is chosen.",
            "Choose one, or install one on the Models tab.",
            field="control-model",
        )
    if settings.start >= settings.end:
        raise InvalidRequest(
            f"The start ({settings.start:g}) must lie before the end ({settings.end:g}).",
            "Move one of them.",
            field="control-end",
        )
    try:
        return _entry(source, unit, settings)
    except ValidationError as error:
        details = error.errors()[0]
        raise InvalidRequest(f"{'.'.join(map(str, details['loc']))}: {details['msg']}.") from error


def _entry(source: str, unit: Mapping[str, Any], settings: UnitSettings) -> StackEntry:
    shared = settings.model_dump(include={"model", "weight", "start", "end", "mask"})
    if source == "look":
        return ImagePrompt.model_validate({**shared, "images": unit.get("images", ())})
    return ControlInput.model_validate(
        {
            **shared,
            "mode": settings.mode,
            "resize_mode": settings.resize_mode,
            "image": unit.get("image"),
            "preprocessor": unit.get("preprocessor"),
            "control_type": settings.control_type or _DRAWN.get(source),
        }
    )


def check_told(entry: StackEntry, models: Iterable[ModelInfo]) -> None:
    """Raises: InvalidRequest: a union ControlNet, and nobody says what the map shows."""
    if not isinstance(entry, ControlInput) or entry.control_type or control_of(entry.preprocessor):
        return
    for model in models:
        if model.id == entry.model and union_controls(model.layout):
            raise InvalidRequest(
                f"{model.name} follows maps of many kinds, and must be told what this one shows.",
                "Say it under What the map shows.",
                field="control-model",
            )


def settings_of(entry: StackEntry) -> UnitSettings:
    return UnitSettings.model_validate(entry.model_dump(include=set(UnitSettings.model_fields)))


def source_of(entry: StackEntry, data: bytes) -> str:
    """The editor in which `entry` can be changed. Args: data: of the picture that a control follows."""
    if isinstance(entry, ImagePrompt):
        return "look"
    if isinstance(entry, ControlInput) and entry.preprocessor is None:
        return drawn_in(data)
    return "photo"


def drawn_in(data: bytes) -> str:
    """The editor that a map came from: `photo` where its file does not tell."""
    with suppress(OSError, ValueError, SyntaxError), Image.open(BytesIO(data)) as picture:
        for note, source in _NOTES.items():
            if 0 < len(str(picture.info.get(note, ""))) <= _MOST_TEXT:
                return source
    return "photo"


def editor_message(entry: StackEntry) -> dict[str, Any]:
    """What the editor is told to open."""
    if isinstance(entry, ImagePrompt):
        return {"open": list(entry.images)}
    assert isinstance(entry, ControlInput)
    return {"open": entry.image}


def options_message(entry: StackEntry) -> dict[str, Any] | None:
    """What the choice of a preprocessor is told, where the entry has one or follows a finished map."""
    if not isinstance(entry, ControlInput):
        return None
    return (entry.preprocessor or Map()).model_dump(mode="json")


def people_finder(layouts: Collection[str]) -> dict[str, Any] | None:
    """The preprocessor that finds people with nets of these `layouts`, and all of them that it can find.

    None where no net that finds people is there.
    """
    poses = [facts for facts in FACTS.values() if ControlType.OPENPOSE in facts.controls and facts.needs_net]
    for facts in poses:
        here = {need: bool(set(map(str, need.nets)) & set(layouts)) for need in facts.needs}
        if all(there for need, there in here.items() if not need.option):
            return {"kind": facts.kind, **{need.option: there for need, there in here.items() if need.option}}
    return None


def replaced(held: Sequence[Mapping[str, Any]], index: int | None, entry: StackEntry) -> str:
    """The JSON of the entries `held` with `entry` at `index`; after them all where there is no such place."""
    new = held_entry(entry)
    entries = [dict(each) for each in held]
    if index is not None and 0 <= index < len(entries):
        new = {**new, **({"enabled": False} if entries[index].get("enabled") is False else {})}
        entries[index] = new
    else:
        entries.append(new)
    return json.dumps(entries)
