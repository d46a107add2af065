"""Errors as sentences, each at the field where it happened."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from studio.core.errors import EaselError
from studio.core.requests import GenerateRequest
from ui.words import esc, label_words

_log = logging.getLogger(__name__)

Values = dict[Any, Any]
"""What a *set* of inputs brings, by component, as the browser sent it."""

Updates = dict[Any, Any]
"""New values (or `gr.update`s) by component."""

_HINTS = {"repo": "Write it as owner/name, as in the address of its page on huggingface.co."}


@dataclass(frozen=True)
class Problem:
    message: str
    field: str = ""
    """Path of the request's field at fault; empty when it is nobody's."""


def problems_of(error: Exception) -> tuple[Problem, ...]:
    """What to tell a person about `error`. Unforeseen ones are logged and told without their trace."""
    if isinstance(error, EaselError):
        return (Problem(str(error), error.field or ""),)
    if isinstance(error, ValidationError):
        return tuple(_problem_of(dict(details)) for details in error.errors())
    _log.error("unforeseen error in the page", exc_info=error)
    return (Problem("Something went wrong inside Easel. Try again; the terminal shows the details."),)


def _problem_of(details: dict[str, Any]) -> Problem:
    path = ".".join(str(part) for part in details["loc"])
    return Problem(f"{_sentence(path, details)} {_HINTS.get(path, '')}".strip(), path)


def _sentence(path: str, details: dict[str, Any]) -> str:
    """Pydantic's complaint about one value as need, have and remedy."""
    label, value, limits, kind = label_words(path), details["input"], details.get("ctx", {}), details["type"]
    if value is None or value == "":
        return f"{label} is empty. Give it a value."
    if kind == "value_error":
        return f"{label}: {limits['error']}."
    if kind == "greater_than_equal":
        return f"{label} is {value:.15g}. Give it {limits['ge']:.15g} or more."
    if kind == "less_than_equal":
        return f"{label} is {value:.15g}. Give it {limits['le']:.15g} or less."
    if kind == "multiple_of":
        step = limits["multiple_of"]
        near = _within_bounds(path, round(value / step) * step)
        return f"{label} is {value:.15g}, which is no multiple of {step:g}. Try {near:.15g}."
    if kind == "string_too_long":
        return f"{label} has {len(value)} characters, but {limits['max_length']} fit. Shorten it."
    if kind in ("enum", "literal_error"):
        return f"{label} cannot be {str(value)[:60]!r}. Choose {limits['expected']}."
    if kind == "string_pattern_mismatch":
        return f"{label} is {str(value)[:60]!r}, which does not look right."
    return f"{label} is {str(value)[:60]!r}. {details['msg'].removesuffix('.')}."


def _within_bounds(path: str, value: float) -> float:
    """The nearest `value` that the request's field at `path` takes: pydantic tells of one fault at a time."""
    field = GenerateRequest.model_fields.get(path)
    for bound in field.metadata if field else ():
        value = max(value, getattr(bound, "ge", value))
        value = min(value, getattr(bound, "le", value))
    return value


def problems_html(problems: tuple[Problem, ...]) -> str:
    """Alerts for the banner; the ones with a field are moved there by `problems.js`."""
    return "".join(
        f'<p class="problem" role="alert" data-field="{esc(problem.field.replace(".", "-"))}">'
        f"{esc(problem.message)}</p>"
        for problem in problems
    )


def guarded(
    banner: Any,
    handler: Callable[..., Updates],
    always: Updates,
    *,
    otherwise: Updates | None = None,
    field: str = "",
) -> Callable[..., Updates]:
    """`handler` with the updates `always`; if it raises, sentences in `banner` and `otherwise` instead.

    Args: field: the one that problems are shown at which name none.
    """

    @functools.wraps(handler)
    def run(*args: Any, **kwargs: Any) -> Updates:
        try:
            updates = handler(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 (the border to the person: nothing may end as a stack trace)
            problems = (replace(problem, field=problem.field or field) for problem in problems_of(error))
            return {**always, **(otherwise or {}), banner: problems_html(tuple(problems))}
        return {**always, **updates}

    return run
