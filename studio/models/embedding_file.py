"""The header of a textual inversion's file: how many vectors it has, and how wide they are."""

from __future__ import annotations

from dataclasses import dataclass

from studio.core.errors import CorruptFile
from studio.models.signatures import embedding_tensors
from studio.models.weights import Header

MAX_VECTORS = 75
"""As many as one window of the text encoder holds."""


@dataclass(frozen=True)
class EmbeddingShape:
    """What a file's header tells of its vectors."""

    vectors: int
    """Tokens that the word takes in a prompt."""
    widths: tuple[int, ...]
    """Of one vector, for each text encoder: one, or SDXL's two."""


def embedding_shape(header: Header, name: str) -> EmbeddingShape:
    """How many vectors a file holds, and how wide they are.

    Args:
        name: of the file, for errors.

    Raises: CorruptFile.
    """
    shapes = {key: info.shape for key, info in header.tensors.items()}
    vectors = [_as_rows(shapes[key]) for key in embedding_tensors(shapes)]
    counts = {count for count, _ in vectors}
    if len(counts) != 1:
        found = " and ".join(map(str, sorted(counts))) or "no"
        raise CorruptFile(
            f"A textual inversion needs as many vectors for each text encoder, but {name} has {found}.",
            "Download it again, or choose another version.",
        )
    (count,) = counts
    if not 1 <= count <= MAX_VECTORS:
        raise CorruptFile(
            f"The textual inversion {name} has {count} vectors; a prompt's window takes 1 to {MAX_VECTORS}.",
            "Choose a version with fewer.",
        )
    return EmbeddingShape(count, tuple(width for _, width in vectors))


def _as_rows(shape: tuple[int, ...]) -> tuple[int, int]:
    """Single vectors may lie in the file without their row: (width,) -> (1, width)."""
    return (1, shape[0]) if len(shape) == 1 else (shape[0], shape[1])
