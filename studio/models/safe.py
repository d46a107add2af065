"""Weight files, read without executing anything.

`.safetensors` files are parsed here by hand, header first, so that a truncated or hostile file is refused
with a sentence before any of its numbers is touched. `.ckpt`, `.pt`, `.pth` and `.bin` files are pickles:
they go through `torch.load(weights_only=True)`, whose unpickler builds tensors and containers and nothing
else. Tensors are views of the mapped file: nothing is read from disk before it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from studio.core.errors import NotFound, UnknownFile
from studio.models.pickles import open_pickle
from studio.models.safetensors_file import open_safetensors
from studio.models.weights import Header, Weights, merge

SAFETENSORS = ".safetensors"
PICKLES = frozenset({".ckpt", ".pt", ".pth", ".bin"})
WEIGHT_SUFFIXES = PICKLES | {SAFETENSORS}


def read_header(path: Path) -> Header:
    """Names, shapes and types of the tensors in `path`, without reading any of them.

    Raises:
        CorruptFile: truncated, or a header that lies.
        UnsafeFile: it would have to execute code to be read.
        UnknownFile: no weight file at all.
        NotFound: no such file.
    """
    return open_weights([path]).header


def open_weights(paths: Sequence[Path]) -> Weights:
    """One mapping over a weight file, or over the shards of one.

    The mapping is private: a change to a tensor stays in memory and never reaches the file.

    Raises: as `read_header`.
    """
    parts = [_open_one(path) for path in paths]
    return parts[0] if len(parts) == 1 else merge(parts, paths)


def _open_one(path: Path) -> Weights:
    if not path.is_file():
        raise NotFound(f"The model file {path.name} is not there.", "Refresh the list of models.")
    suffix = path.suffix.lower()
    if suffix == SAFETENSORS:
        return open_safetensors(path)
    if suffix in PICKLES:
        return open_pickle(path)
    raise UnknownFile(
        f"{path.name} is no weight file: its name ends in {suffix or 'nothing'}.",
        f"Easel reads {', '.join(sorted(WEIGHT_SUFFIXES))}.",
    )
