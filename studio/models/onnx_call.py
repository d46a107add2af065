"""What an operator of an ONNX graph is called with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from studio.models.onnx_file import Node, Values


@dataclass(frozen=True)
class Call:
    """An operator's arguments; what they lack or contradict raises an error of Python's or torch's."""

    node: Node
    version: int
    """Of the set of operators that the node is of."""
    tensors: Sequence[Tensor | None]
    values: Mapping[str, Values]
    """The file's small tensors, by name."""

    def tensor(self, at: int) -> Tensor:
        tensor = self.optional(at)
        if tensor is None:
            raise ValueError(f"input {at} is missing")
        return tensor

    def optional(self, at: int) -> Tensor | None:
        return self.tensors[at] if at < len(self.tensors) else None

    def picture(self, at: int = 0) -> Tensor:
        """Features of a picture, (N, C, H, W)."""
        tensor = self.tensor(at)
        if tensor.ndim != 4 or not tensor.is_floating_point():
            raise ValueError(f"its input has the shape {tuple(tensor.shape)}, which is no picture's")
        return tensor

    def numbers(self, at: int) -> list[Any] | None:
        """An input that says how to compute: its numbers one after another; None where it is left out."""
        name = self.node.inputs[at] if at < len(self.node.inputs) else ""
        if not name:
            return None
        if name in self.values:
            flat: list[Any] = self.values[name].reshape(-1).tolist()
            return flat
        tensor = self.tensor(at)
        if tensor.is_floating_point() or tensor.is_meta:
            raise ValueError(f"its input {at} depends on the picture")
        numbers: list[Any] = tensor.reshape(-1).tolist()
        return numbers

    def needed(self, at: int) -> list[Any]:
        numbers = self.numbers(at)
        if numbers is None:
            raise ValueError(f"input {at} is missing")
        return numbers

    def told(self, name: str, at: int) -> Any:
        """What older versions tell in an attribute and newer ones in an input; None where neither does."""
        given = self.node.attributes.get(name)
        return self.numbers(at) if given is None else given

    def attribute(self, name: str, default: Any) -> Any:
        return self.node.attributes.get(name, default)
