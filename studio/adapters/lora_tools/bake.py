"""LoRAs put into a checkpoint for good: a copy of it, whose weights are what the LoRAs would make of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile

import torch
from torch import Tensor

from studio.adapters.lora_tools.bases import OpenCheckpoint, Part
from studio.adapters.lora_tools.merge import Weighted, delta
from studio.adapters.lora_tools.metadata import spec_prediction
from studio.core.errors import CorruptFile, InvalidRequest, NumericalError
from studio.models.cache import sha256_of
from studio.models.convert import Source
from studio.models.safe import PICKLES, SAFETENSORS, WEIGHT_SUFFIXES, open_weights
from studio.models.safetensors_file import data_start
from studio.models.safetensors_write import Each, write_safetensors
from studio.models.weights import Weights


def bake(checkpoint: OpenCheckpoint, loras: Sequence[Weighted], out: Path, each: Each = iter) -> None:
    """Write the checkpoint with `loras` in it: a single file as one, a folder as a folder.

    Every changed weight is the old one plus all differences in float32, rounded once to the file's own type;
    all other tensors are copied bit by bit. One tensor is in memory at a time.

    Args:
        out: must not exist.

    Raises:
        InvalidRequest: its weights are pickles in several files.
        NumericalError: a weight leaves the range of its type.
        CorruptFile: what was read again is not what was written.
    """
    is_folder = checkpoint.path.is_dir()
    places = {file: out / _place(file, checkpoint) if is_folder else out for file in checkpoint.files}
    if is_folder:
        _copy_folder(checkpoint, out)
    for file, place in places.items():
        weights = open_weights([file])
        patched = _Patched(checkpoint, loras, weights, _pieces(checkpoint, loras, file))
        _write(place, weights, patched, _metadata(checkpoint, loras, weights), each)


@dataclass(frozen=True)
class _Piece:
    """The part of a file's tensor that is one layer's weight."""

    target: str
    source: Source


def _pieces(
    checkpoint: OpenCheckpoint, loras: Sequence[Weighted], file: Path
) -> Mapping[str, Sequence[_Piece]]:
    """The layers in `file` that change, by the name of the file's tensor."""
    pieces: dict[str, list[_Piece]] = {}
    for target in dict.fromkeys(name for lora in loras for name in lora.network.layers):
        part = checkpoint.parts[target.split(".", 1)[0]]
        if file in part.ref.files:
            source = part.source(target)
            pieces.setdefault(source.name, []).append(_Piece(target, source))
    return pieces


@dataclass(frozen=True, eq=False)
class _Patched:
    """The tensors of one file, each made when asked for."""

    checkpoint: OpenCheckpoint
    loras: Sequence[Weighted]
    weights: Weights
    pieces: Mapping[str, Sequence[_Piece]]

    def tensor(self, name: str) -> Tensor:
        before = self.weights[name]
        if name not in self.pieces:
            return before
        after = before.to(torch.float32, copy=True)
        for piece in self.pieces[name]:
            self._add(after, piece)
        stored = after.to(before.dtype)
        if not bool(torch.isfinite(stored).all()):
            raise NumericalError(
                f"With these LoRAs {name} holds numbers too large for {str(before.dtype)[6:]}.",
                "Choose smaller weights, or a checkpoint in another precision.",
            )
        return stored

    def _add(self, whole: Tensor, piece: _Piece) -> None:
        source = piece.source
        part = source.part_of(whole)
        for lora in self.loras:
            if piece.target in lora.network.layers:
                layer = lora.network.layers[piece.target]
                change = delta(layer, lora.weight, piece.target, self.checkpoint)
                part += (change.T if source.transposed else change).reshape(part.shape)


def _write(place: Path, weights: Weights, patched: _Patched, metadata: Mapping[str, str], each: Each) -> None:
    layout = {name: (info.dtype, info.shape) for name, info in weights.header.tensors.items()}
    digest = write_safetensors(place, layout, patched.tensor, metadata, each)
    if sha256_of(place, data_start(place)) != digest:
        raise CorruptFile(
            "The checkpoint was written, but what is read from it is something else.",
            "The disk may be failing; nothing was kept.",
        )


def _metadata(checkpoint: OpenCheckpoint, loras: Sequence[Weighted], weights: Weights) -> Mapping[str, str]:
    """What the file said, but for hashes, and what a new name may hide: how it predicts, what is in it."""
    kept = {key: text for key, text in weights.header.metadata.items() if "hash" not in key}
    if any(file.suffix.lower() in PICKLES for file in checkpoint.files):
        kept = {}  # of a pickle: all that is no tensor
    return kept | {
        "format": "pt",
        "modelspec.prediction_type": spec_prediction(checkpoint.prediction_type),
        "easel.merged": ", ".join(f"{lora.name} ({lora.weight:g})" for lora in loras),
    }


def _place(file: Path, checkpoint: OpenCheckpoint) -> Path:
    """Where a folder's copy keeps the weights of `file`: where it was; pickles become safetensors."""
    relative = file.relative_to(checkpoint.path)
    if file.suffix not in PICKLES:
        return relative
    if any(file in part.ref.files and len(part.ref.files) > 1 for part in checkpoint.parts.values()):
        raise InvalidRequest(
            f"The weights of {checkpoint.info.name} are pickles in several files, which Easel does not copy.",
            "Choose a version in safetensors.",
        )
    return relative.with_name(re.sub("^pytorch_model", "model", relative.stem) + SAFETENSORS)


def _copy_folder(checkpoint: OpenCheckpoint, out: Path) -> None:
    """All that stays as it is: configurations, tokenizers, the VAE."""
    changed = {part.ref.path: part for part in checkpoint.parts.values()}
    for file in checkpoint.path.rglob("*"):
        relative = file.relative_to(checkpoint.path)
        if not file.is_file() or any(name.startswith(".") for name in relative.parts):
            continue
        if _is_replaced(file, checkpoint.path, changed.get(file.parent)):
            continue
        (out / relative).parent.mkdir(parents=True, exist_ok=True)
        copyfile(file, out / relative)


def _is_replaced(file: Path, folder: Path, part: Part | None) -> bool:
    """True for the weights that change, in all their variants, and for what else repositories keep beside."""
    if ".index." in file.name and part is not None:
        return not all(shard.name in file.read_text("utf-8", "replace") for shard in part.ref.files)
    return file.suffix.lower() in WEIGHT_SUFFIXES and (part is not None or file.parent == folder)
