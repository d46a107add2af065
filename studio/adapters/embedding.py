"""Textual inversion (Gal et al. 2022): words whose token embeddings were learned from pictures.

The vectors take the place of placeholder tokens while a text is encoded; the tokenizer and the encoder's own
table of embeddings are never changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from studio.core.errors import CorruptFile
from studio.models.signatures import embedding_tensors


@dataclass(frozen=True, eq=False)
class Embedding:
    """The learned vectors of one word."""

    vectors: tuple[torch.Tensor, ...]
    """(N, width) for each text encoder."""
    digest: str
    """Of the file."""

    @property
    def count(self) -> int:
        """Tokens that the word stands for."""
        return len(self.vectors[0])


@dataclass(frozen=True)
class Place:
    """Where in a batch of tokens a learned vector belongs."""

    row: int
    position: int
    vector: torch.Tensor
    """(width,)"""


def read_embedding(tensors: Mapping[str, torch.Tensor], name: str, digest: str) -> Embedding:
    """The vectors of a file that `embedding_shape` has accepted.

    Raises: CorruptFile: they are not all numbers.
    """
    names = embedding_tensors({key: tuple(tensor.shape) for key, tensor in tensors.items()})
    for key in names:
        if not (tensors[key].is_floating_point() and bool(tensors[key].isfinite().all())):
            raise CorruptFile(
                f"The textual inversion {name} is broken: its {key} is not a number (NaN) or infinite.",
                "Download it again, or choose another version.",
            )
    vectors = tuple(tensors[key].reshape(-1, tensors[key].shape[-1]) for key in names)
    return Embedding(vectors, digest)


@contextmanager
def vectors_in_place(encoder: Any, places: Sequence[Place]) -> Iterator[None]:
    """Within the block, `encoder` embeds the tokens at `places` as the vectors given.

    Args:
        encoder: a transformers `CLIPTextModel`; run on one batch whose rows and positions `places` names.
    """
    if not places:
        yield
        return

    def replace(_module: Any, _inputs: Any, embedded: torch.Tensor) -> torch.Tensor:
        changed = embedded.clone()
        for place in places:
            changed[place.row, place.position] = place.vector.to(changed)
        return changed

    hook = encoder.get_input_embeddings().register_forward_hook(replace)
    try:
        yield
    finally:
        hook.remove()
