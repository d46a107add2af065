"""Texts from outside, as files and databases can hold them."""

from __future__ import annotations

import json
from typing import Any


def storable(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can hold and no file or database can."""
    return text if text.isascii() else text.encode("utf-8", "ignore").decode()


def json_object(text: str) -> dict[str, Any]:
    """The JSON object that a file's text holds; empty where it holds none, or nothing that can be read."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
