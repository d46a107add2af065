"""What all weight files have in common once they are open: a header, and tensors by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from studio.core.errors import CorruptFile, UnsafeFile

if TYPE_CHECKING:
    import torch

GET_IT_AGAIN = "Download or copy it again."
CONVERT_IT = "Look for a .safetensors version of it, or leave it unless you trust where it came from."


@dataclass(frozen=True)
class TensorInfo:
    """What a header says of one tensor."""

    dtype: str
    """torch's name: 'float16'."""
    shape: tuple[int, ...]
    offset: int
    """First byte, counted from the file's start; 0 in pickles, which do not tell."""
    size_bytes: int


@dataclass(frozen=True)
class Header:
    """All that a weight file says of itself."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str] = field(default_factory=dict)
    """Free text about the file: `modelspec.*`, `ss_*`; in pickles the values that are no tensors."""

    @property
    def size_bytes(self) -> int:
        return sum(tensor.size_bytes for tensor in self.tensors.values())


Blocks = Callable[[str, int, int], Iterable[memoryview]]
"""Of a tensor's name, its first byte and the number of bytes: those bytes, in pieces. For any thread."""


class Weights(Mapping[str, "torch.Tensor"]):
    """Tensors by name, each a view of its mapped file, made when asked for."""

    def __init__(
        self,
        header: Header,
        tensor: Callable[[str], torch.Tensor],
        blocks: Blocks | None = None,
    ) -> None:
        self.header = header
        self._tensor = tensor
        self._blocks = blocks

    def __getitem__(self, name: str) -> torch.Tensor:
        return self._tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.header.tensors)

    def __len__(self) -> int:
        return len(self.header.tensors)

    def __contains__(self, name: object) -> bool:
        return name in self.header.tensors

    @property
    def is_read_by_any_thread(self) -> bool:
        """Whether `blocks` leaves torch alone, which only one thread may compute with."""
        return self._blocks is not None

    def blocks(self, name: str, start: int, length: int) -> Iterable[memoryview]:
        """`length` bytes of a tensor from its byte `start` on, in pieces, each to be used before the next.

        They are read, not mapped, where the file allows it: what is mapped counts as memory in use.

        Raises: CorruptFile: the file was cut off meanwhile.
        """
        if self._blocks is not None:
            return self._blocks(name, start, length)
        return [tensor_bytes(self[name])[start : start + length]]


def tensor_bytes(tensor: torch.Tensor) -> memoryview:
    """A tensor's content, of whatever type, as it lies in memory."""
    import torch

    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data


def merge(parts: Sequence[Weights], paths: Sequence[Path]) -> Weights:
    """The shards of one file as one mapping. Raises: CorruptFile."""
    owner: dict[str, Weights] = {}
    for part, path in zip(parts, paths, strict=True):
        for name in part:
            if name in owner:
                raise CorruptFile(f"{path.name} repeats the tensor {name} of another shard.", GET_IT_AGAIN)
            owner[name] = part
    tensors = {name: part.header.tensors[name] for name, part in owner.items()}
    metadata = {key: text for part in parts for key, text in part.header.metadata.items()}
    header = Header(tensors, metadata)
    if not all(part.is_read_by_any_thread for part in parts):
        return Weights(header, lambda name: owner[name][name])
    return Weights(
        header,
        lambda name: owner[name][name],
        lambda name, start, length: owner[name].blocks(name, start, length),
    )


def refuse_dunder_names(path: Path, names: Iterable[str]) -> None:
    """Names with `__` reach into Python's own attributes when they are used to set values on a module.

    Raises: UnsafeFile.
    """
    for name in names:
        if "__" in name:
            raise UnsafeFile(
                f"{path.name} holds a tensor named {name[:80]!r}, which no model has.", CONVERT_IT
            )
