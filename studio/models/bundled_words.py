"""Textual inversions in the file of a LoRA, which prompts call by name while it is on, as in AUTOMATIC1111.

`bundle_emb.NAME.` stands before the names that the tensors have in a textual inversion's own file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from studio.models.weights import Header

BUNDLED = "bundle_emb."

MAX_WORDS = 64
"""As many are looked at in one file."""

_Tensor = TypeVar("_Tensor")


def bundled_words(tensors: Iterable[str]) -> tuple[str, ...]:
    """The names that stand for textual inversions in a LoRA's file.

    Args:
        tensors: names of all tensors of the file.
    """
    parts = (name.removeprefix(BUNDLED).partition(".") for name in tensors if name.startswith(BUNDLED))
    words = dict.fromkeys(word for word, _, part in parts if word.strip() and part)
    return tuple(words)[:MAX_WORDS]


def bundled_tensors(tensors: Mapping[str, _Tensor], word: str) -> dict[str, _Tensor]:
    """The textual inversion `word` as a file of its own would hold it."""
    prefix = f"{BUNDLED}{word}."
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}


def bundled_header(header: Header, word: str) -> Header:
    """The same of the file's header."""
    return Header(bundled_tensors(header.tensors, word), header.metadata)
