"""A request put together from what other studios wrote: clamped, and with a word on each loss."""

from __future__ import annotations

import math
from typing import Any

from annotated_types import Ge, Le, MultipleOf
from pydantic import BaseModel

from studio.core.requests import MAX_SEED, GenerateRequest, Prompt
from studio.core.sampler_names import read_sampler, read_upscaler
from studio.core.samplers import Upscaler
from studio.core.texts import storable

_MAX_PROMPT: int = Prompt.__metadata__[0].max_length  # type: ignore[attr-defined]


class Draft:
    """Collects the fields of a `GenerateRequest` and the warnings for the person who imports it."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.warnings: list[str] = []

    def request(self) -> GenerateRequest:
        """The request with the fields collected so far, the rest at their defaults."""
        return GenerateRequest(**self.values)

    def prompts(self, prompt: str, negative_prompt: str) -> None:
        self.values["prompt"] = self._shortened(prompt, "prompt")
        self.values["negative_prompt"] = self._shortened(negative_prompt, "negative prompt")

    def sampler(self, name: str, schedule: str = "") -> None:
        choice = read_sampler(name, schedule)
        self.values.update(sampler=choice.sampler, schedule=choice.schedule)
        self.warnings += choice.warnings

    def upscaler(self, name: str) -> Upscaler:
        upscaler, warnings = read_upscaler(name)
        self.warnings += warnings
        return upscaler

    def number(self, field: str, text: object, label: str) -> None:
        """Set a number of the request; see `within_bounds`."""
        value = self.within_bounds(GenerateRequest, field, text, label)
        if value is not None:
            self.values[field] = value

    def seed(self, text: object) -> int | None:
        """A seed in our range. Other studios draw them from 64 bits; those are folded into 32."""
        value = _whole(text)
        if value is None:
            self.warnings.append(f"The seed {str(text)[:40]!r} is no number; a random one is used.")
            return None
        if not 0 <= value <= MAX_SEED:
            self.warnings.append(
                f"The seed {value} is outside of 0 to {MAX_SEED}; {value % (MAX_SEED + 1)} is used, and makes"
                " another picture."
            )
        return value % (MAX_SEED + 1)

    def within_bounds(self, record: type[BaseModel], field: str, text: object, label: str) -> float | None:
        """The number in `text`, moved into the bounds that `record` gives its `field`, with a warning.

        Args:
            label: what the person knows the field as.

        Returns: None where `text` holds no number.
        """
        info = record.model_fields[field]
        try:
            value = float(str(text))
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.warnings.append(f"{label} {str(text)[:40]!r} is no number; {info.default} is used.")
            return None
        allowed = _clamped(value, info.metadata)
        if info.annotation is int:
            allowed = round(allowed)
        if allowed != value:
            self.warnings.append(f"{label} {value:g} is not possible here; {allowed:g} is used.")
        return allowed

    def _shortened(self, text: str, label: str) -> str:
        text = storable(text)
        if len(text) > _MAX_PROMPT:
            self.warnings.append(
                f"The {label} has {len(text)} characters; the first {_MAX_PROMPT} are taken over."
            )
        return text[:_MAX_PROMPT]


def _clamped(value: float, bounds: list[Any]) -> float:
    for bound in bounds:
        if isinstance(bound, MultipleOf):
            step = float(bound.multiple_of)  # type: ignore[arg-type]
            value = round(value / step) * step
        elif isinstance(bound, Ge):
            value = max(value, float(bound.ge))  # type: ignore[arg-type]
        elif isinstance(bound, Le):
            value = min(value, float(bound.le))  # type: ignore[arg-type]
    return value


def _whole(text: object) -> int | None:
    try:
        return int(str(text).strip())
    except ValueError:
        return None
