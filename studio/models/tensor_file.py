"""Weight files that are no module of their own: LoRAs, textual inversions, hypernetworks."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from studio.core.errors import InvalidRequest, NotFound
from studio.core.models import ModelInfo, ModelKind
from studio.models.cache import sha256_of
from studio.models.components import ComponentRef, Shelf
from studio.models.weights import Weights

TENSOR_FILE = "TensorFile"
"""Class name of such a component; `load.load_component` gives a `TensorFile` for it."""

ROLES: Mapping[ModelKind, str] = {
    ModelKind.LORA: "lora",
    ModelKind.EMBEDDING: "embedding",
    ModelKind.HYPERNETWORK: "hypernetwork",
}
"""What the roles of these kinds begin with; the model's id follows."""


def file_role(info: ModelInfo) -> str:
    """The role of such a model in a lease: `lora:anna`."""
    return f"{ROLES[info.kind]}:{info.id}"


def tensor_file_of(shelf: Shelf, info: ModelInfo) -> ComponentRef:
    """The component that a LoRA, textual inversion or hypernetwork consists of.

    Its digest is the sha256 of the file, which pictures are labelled with anyway.

    Raises:
        InvalidRequest: it cannot be used.
        NotFound: its file is gone.
    """
    if not info.usable:
        raise InvalidRequest(f"{info.name} cannot be used: {info.problem}")
    path = shelf.path_of(info.id)
    if not path.is_file():
        raise NotFound(f"The file of {info.name} is not there any more.", "Refresh the list of models.")
    digest = shelf.cache.remember(path, "sha256", lambda: sha256_of(path))
    size = path.stat().st_size
    return ComponentRef(
        file_role(info),
        info.id,
        info.family,
        TENSOR_FILE,
        path,
        "diffusers",
        size_bytes=size,
        digest=digest,
    )


class TensorFile(torch.nn.Module):
    """A file's tensors as they are, in a module, so that the manager moves, counts and evicts them too.

    Attributes:
        metadata: what the file says beside its tensors; in pickles the values that are none.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self.metadata: Mapping[str, str] = dict(weights.header.metadata)
        self._places = {name: f"tensor{i}" for i, name in enumerate(weights)}
        for name, place in self._places.items():
            self.register_buffer(place, weights[name].detach())

    @property
    def tensors(self) -> dict[str, torch.Tensor]:
        """By their names in the file, each in the file's own type, where the module is now."""
        return {name: self.get_buffer(place) for name, place in self._places.items()}
