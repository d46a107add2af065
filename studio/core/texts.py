"""Texts from outside, as files and databases can hold them."""

from __future__ import annotations


def storable(text: str) -> str:
    """The text without halves of surrogate pairs, which JSON can hold and no file or database can."""
    return text if text.isascii() else text.encode("utf-8", "ignore").decode()
