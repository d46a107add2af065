"""The Generate form: the one place that knows which component stands for which field of the request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, TypeVar, get_args

from gradio.components import Component
from pydantic import BaseModel, ValidationError

from studio.core.base import Record
from studio.core.conditions import ControlInput, StackEntry
from studio.core.geometry import Extent
from studio.core.requests import GenerateRequest, HiresPass, SourceImage, Variation

C = TypeVar("C", bound=Component)
R = TypeVar("R", bound=Record)

HIRES = "hires"
"""Path of the switch that turns the second pass on."""

_OPTIONAL_TEXT = frozenset({"model", "vae", "source.image"})
"""Fields whose component may hold None, which means the same as an empty text."""

_DEFAULTS: dict[str, Record] = {
    "source": SourceImage.model_construct(image=""),
    "hires": HiresPass(),
    "variation": Variation(),
}
"""What an absent part of a request looks like in the form."""


STACKED = ("loras", "hypernetworks", "controls", "image_prompts")
"""Fields that hold any number of entries. Their components hold them as one JSON text."""


PARTS = ("inpaint", "boxes")
"""Fields that hold one record or nothing, edited as a whole. Their components hold it as JSON text."""


def paths_of(record: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Dotted paths of all plain fields of `record`, those of its parts included."""
    for name, info in record.model_fields.items():
        if name in STACKED or name in PARTS:
            yield prefix + name
            continue
        parts = (info.annotation, *get_args(info.annotation))
        part = next((t for t in parts if isinstance(t, type) and issubclass(t, Record)), None)
        if part:
            yield from paths_of(part, f"{prefix}{name}.")
        elif name != "kind":
            yield prefix + name


REQUEST_PATHS = frozenset({*paths_of(GenerateRequest), HIRES})


def field_id(path: str) -> str:
    """Id in the page of the component at `path`: `field-hires-scale`."""
    return f"field-{path.replace('.', '-')}"


class Form:
    """Components by the request's path that each stands for, in the order they were added."""

    def __init__(self) -> None:
        self._components: dict[str, Component] = {}

    def add(self, path: str, component: C) -> C:
        """Let `component` stand for the field at `path`."""
        if path not in REQUEST_PATHS or path in self._components:
            raise KeyError(path)
        component.elem_id = field_id(path)
        self._components[path] = component
        return component

    def __getitem__(self, path: str) -> Component:
        return self._components[path]

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(self._components)

    @property
    def components(self) -> tuple[Component, ...]:
        return tuple(self._components.values())

    def read(self, values: Mapping[Component, Any]) -> GenerateRequest:
        """The request that the page's values stand for. Raises: pydantic.ValidationError."""
        return self._request({path: values[component] for path, component in self._components.items()})

    def restore(self, saved: Any, fallback: GenerateRequest) -> GenerateRequest:
        """The request in what a browser `saved` by path; `fallback`'s values where some are wrong."""
        usual = {self._path(component): value for component, value in self.show(fallback).items()}
        known = saved if isinstance(saved, dict) else {}
        given = {path: known.get(path, value) for path, value in usual.items()}
        try:
            return self._request(given)
        except ValidationError as error:
            wrong = {".".join(map(str, details["loc"])) for details in error.errors()}
            return self._request({path: usual[path] if path in wrong else given[path] for path in usual})

    def _path(self, component: Component) -> str:
        return next(path for path, own in self._components.items() if own is component)

    def _request(self, flat: Mapping[str, Any]) -> GenerateRequest:
        given = {
            path: "" if value is None and path in _OPTIONAL_TEXT else value for path, value in flat.items()
        }
        given.update({path: _from_json(given[path], "[]") for path in STACKED if path in given})
        given.update({path: _from_json(given[path], "null") for path in PARTS if path in given})
        present = {
            "source": bool(given["source.image"]),
            "hires": bool(given.pop(HIRES)),
            "variation": given["variation.strength"] != 0,
        }
        return GenerateRequest.model_validate(_nested(given, present))

    def sized(self, extent: Extent) -> dict[Component, int]:
        """The values by which a picture of this extent is asked for."""
        return {self["width"]: extent.width, self["height"]: extent.height}

    def show(self, request: GenerateRequest) -> dict[Component, Any]:
        """The values that make the page stand for `request`."""
        values = {path: _value_at(request, path) for path in self._components if path != HIRES}
        values[HIRES] = request.hires is not None
        return {self._components[path]: value for path, value in values.items()}


def _nested(flat: Mapping[str, Any], present: Mapping[str, bool]) -> dict[str, Any]:
    """`{"hires.scale": 2}` as `{"hires": {"scale": 2}}`, without the parts that are not present."""
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        part, _, name = path.rpartition(".")
        if not part:
            nested[name] = value
        elif present.get(part, True):
            nested.setdefault(part, {})[name] = value
    return nested


def _from_json(text: Any, empty: str) -> Any:
    """What a JSON text holds; what is none is left for the request's own check to refuse."""
    try:
        return json.loads(text or empty)
    except (TypeError, ValueError):
        return text


def stacked_text(request: GenerateRequest, path: str) -> str:
    """The entries of a stacked field as the text that its component holds."""
    return json.dumps([held_entry(entry) for entry in getattr(request, path)])


def part_text(request: GenerateRequest, path: str) -> str:
    """A part of a request as the text that its component holds."""
    part: Record | None = getattr(request, path)
    return json.dumps(part.model_dump(mode="json", exclude_defaults=True)) if part else ""


def held_part(record: type[R], text: str) -> R | None:
    """What such a component holds; None where it is empty or not yet right."""
    with suppress(ValidationError):
        return record.model_validate_json(text) if text else None
    return None


def held_entry(entry: StackEntry) -> dict[str, Any]:
    """An entry without what is as usual. The kind of a preprocessor is a default, but tells which it is."""
    held = entry.model_dump(mode="json", exclude_defaults=True)
    if isinstance(entry, ControlInput) and entry.preprocessor:
        held["preprocessor"]["kind"] = entry.preprocessor.kind
    return held


def _value_at(request: GenerateRequest, path: str) -> Any:
    if path in STACKED:
        return stacked_text(request, path)
    if path in PARTS:
        return part_text(request, path)
    part, _, name = path.rpartition(".")
    holder = (getattr(request, part) or _DEFAULTS[part]) if part else request
    value = getattr(holder, name)
    return str(value) if isinstance(value, str) else value
