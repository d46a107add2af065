"""Texts out of model files and of what lies beside them: short, fit to be stored and shown, and only data."""

from __future__ import annotations

import re
from typing import Any

from studio.core.texts import storable

MAX_LINE = 200
MAX_TEXT = 2000
"""Characters."""


def clean(value: object, limit: int) -> str:
    """A text from a file as one that can be shown and stored: no control characters, cut to `limit`."""
    if not isinstance(value, str):
        return ""
    text = storable(value[: 2 * limit])
    text = re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]", " ", text)
    return text.strip()[:limit]


def storable_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An `object_pairs_hook` for JSON, after which every text in it is storable."""
    return {storable(name): _storable(value) for name, value in pairs}


def _storable(value: Any) -> Any:
    """Objects inside went through the hook before."""
    if isinstance(value, str):
        return storable(value)
    return list(map(_storable, value)) if isinstance(value, list) else value
