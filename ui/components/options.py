"""Preprocessors to choose from, and a control for each of their options, made from the typed vocabulary."""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import Enum
from inspect import getdoc
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from studio.core.annotator_nets import WEIGHTS
from studio.core.annotators import FACTS
from studio.core.preprocess import PREPROCESSORS, Options
from studio.core.preprocessor_facts import Need, PreprocessorFacts
from ui.components.editors import file_button, option_tags
from ui.words import esc, label_words, size_words

ACTIONS = ("kind",)

_BOUNDS = ("ge", "gt", "le", "lt")
_LONGEST_SLIDER = 10_000
"""Values that a slider can tell apart; a seed gets a field alone."""


def options_html() -> str:
    """The choice of a preprocessor, and under it the options of the chosen one (see `options.js`)."""
    groups: dict[str, list[PreprocessorFacts]] = {}
    for facts in FACTS.values():
        groups.setdefault(facts.group, []).append(facts)
    choices = "".join(_group(name, members) for name, members in groups.items())
    return (
        '<section class="options" aria-label="Preprocessor"><label class="pick">'
        f'<span>Make the map with</span><select name="kind">{choices}</select></label>'
        f"{''.join(_options(kind, each) for kind, each in PREPROCESSORS.items())}</section>"
    )


def _group(name: str, members: list[PreprocessorFacts]) -> str:
    options = option_tags({facts.kind: facts.title for facts in members})
    return f'<optgroup label="{esc(name)}">{options}</optgroup>'


def _options(kind: str, preprocessor: type[Options]) -> str:
    fields = {name: info for name, info in preprocessor.model_fields.items() if name != "kind"}
    ticks = [name for name, info in fields.items() if info.annotation is bool]
    others = "".join(_control(kind, name, info) for name, info in fields.items() if name not in ticks)
    return (
        f'<fieldset data-kind="{esc(kind)}" hidden><p class="about">{esc(getdoc(preprocessor) or "")}</p>'
        f"{''.join(_download_notes(FACTS[kind]))}{others}"
        f'<div class="ticks">{"".join(_tick(name, fields[name]) for name in reversed(ticks))}</div>'
        "</fieldset>"
    )


def _download_notes(facts: PreprocessorFacts) -> Iterator[str]:
    """For each net that it needs, what the first use costs; the page hides it once such a net is here."""
    for need in facts.needs:
        weights = WEIGHTS[need.nets[0]]
        yield (
            f'<small class="download" data-layouts="{_layouts(need)}">{esc(weights.title)} is downloaded on '
            f"first use ({size_words(weights.size_bytes)}).</small>"
        )


def _layouts(need: Need) -> str:
    return esc(" ".join(map(str, need.nets)))


# ---------------------------------------------------------------------- one option


def _control(kind: str, name: str, info: FieldInfo) -> str:
    type_ = _plain(info.annotation)
    if name == "mask":
        return _picture(name, info)
    need = next((need for need in FACTS[kind].needs if need.field == name), None)
    body = (
        f'<select name="{name}" data-layouts="{_layouts(need)}">'
        '<option value="">The best one installed</option></select>'
        if need
        else _choice(name, type_, info.default)
        if _choices(type_)
        else _number(name, type_, info)
    )
    return (
        f'<div class="option" title="{_help(info)}"><label>'
        f"<span>{esc(label_words(name))}</span>{body}</label>{_note(info)}</div>"
    )


def _note(info: FieldInfo) -> str:
    return f"<small>{_help(info)}</small>" if info.description else ""


def _help(info: FieldInfo) -> str:
    """The description, which may name other options `so`."""
    return esc((info.description or "").replace("`", ""))


def _tick(name: str, info: FieldInfo) -> str:
    checked = " checked" if info.default else ""
    return (
        f'<label class="tick" title="{_help(info)}">'
        f'<input type="checkbox" name="{name}"{checked}>'
        f"{esc(label_words(name))}</label>"
    )


def _picture(name: str, info: FieldInfo) -> str:
    return (
        f'<div class="option"><input type="hidden" name="{name}" value="">'
        f"{file_button(label_words(name), name, 'image/*')}{_note(info)}</div>"
    )


def _plain(annotation: Any) -> Any:
    """`int` of `int | None`."""
    parts = [part for part in get_args(annotation) if part is not NoneType]
    return parts[0] if NoneType in get_args(annotation) and len(parts) == 1 else annotation


def _choices(type_: Any) -> tuple[str, ...]:
    if get_origin(type_) is Literal:
        return tuple(str(value) for value in get_args(type_))
    return tuple(str(value) for value in type_) if isinstance(type_, type) and issubclass(type_, Enum) else ()


def _choice(name: str, type_: Any, default: Any) -> str:
    options = option_tags({value: label_words(value) for value in _choices(type_)}, str(default))
    return f'<select name="{name}">{options}</select>'


def _number(name: str, type_: Any, info: FieldInfo) -> str:
    """A slider with a field for the exact number; the field alone where there are too many values."""
    bounds = {key: getattr(limit, key) for limit in info.metadata for key in _BOUNDS if hasattr(limit, key)}
    low, high = bounds.get("ge", bounds.get("gt", 0)), bounds.get("le", bounds.get("lt", math.inf))
    step = (
        1 if type_ is int else 10 ** math.floor(math.log10((high - low) / 100)) if high < math.inf else 0.01
    )
    limits = f'min="{low}"' + (f' max="{high}"' if high < math.inf else "")
    field = (
        f'<input type="number" name="{name}" {limits} step="{1 if type_ is int else "any"}" '
        f'value="{info.default}" data-default="{info.default}">'
    )
    if (high - low) / step > _LONGEST_SLIDER:
        return field
    return (
        f'{field}<input type="range" data-for="{name}" {limits} step="{step:g}" value="{info.default}" '
        f'aria-label="{esc(label_words(name))}, slider">'
    )
