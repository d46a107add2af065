"""What a LoRA file is read against: the original model of its family, or a checkpoint with its weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from torch import Tensor

from studio.adapters.lora.targets import Targets, family_targets, lora_targets
from studio.core.errors import InvalidRequest
from studio.core.models import Family, ModelInfo, ModelKind, PredictionType
from studio.models.cache import FileCache
from studio.models.components import ComponentRef, components_of
from studio.models.convert import Source
from studio.models.describe import describe
from studio.models.modules import empty_module, find_sources
from studio.models.safe import open_weights
from studio.models.scan import Found
from studio.models.weights import Weights

_ROLES = ("unet", "text_encoder", "text_encoder_2")


@dataclass(frozen=True, eq=False)
class Base:
    """A model as LoRAs see it."""

    family: Family
    targets: Targets
    prediction_type: PredictionType = PredictionType.EPSILON

    def weight(self, target: str) -> Tensor | None:
        """The weight of a layer before any LoRA; None where only the family is known, not the checkpoint."""
        return None


def family_base(family: Family) -> Base:
    """The family's original model, without its weights.

    Raises: InvalidRequest: the family is not known.
    """
    if family is Family.UNKNOWN:
        raise InvalidRequest(
            "The file does not tell which family of models it was made for.",
            "Name a checkpoint that it belongs to with --base.",
        )
    return Base(family, family_targets(family))


@dataclass(frozen=True, eq=False)
class Part:
    """One component of a checkpoint: its tensors in the file, and which of them is which layer."""

    ref: ComponentRef
    weights: Weights
    sources: Mapping[str, Source]
    """By their names in the module."""
    targets: Targets

    def source(self, target: str) -> Source:
        """Where the file has the weight of a target, which is named with its role: `unet.conv_in`."""
        return self.sources[f"{target.split('.', 1)[1]}.weight"]


@dataclass(frozen=True, eq=False)
class OpenCheckpoint(Base):
    """A checkpoint whose tensors are mapped: nothing of it is in memory before it is used."""

    info: ModelInfo = field(kw_only=True)
    parts: Mapping[str, Part] = field(kw_only=True)
    """By role; only those that a LoRA can change."""

    @property
    def path(self) -> Path:
        return Path(self.info.location)

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """Those that hold what a LoRA can change, each once."""
        return tuple(dict.fromkeys(file for part in self.parts.values() for file in part.ref.files))

    def weight(self, target: str) -> Tensor:
        part = self.parts[target.split(".", 1)[0]]
        return part.source(target).read(part.weights).reshape(self.targets[target])


def open_checkpoint(path: Path) -> OpenCheckpoint:
    """The checkpoint at `path`: a single file, or a diffusers folder.

    Raises:
        InvalidRequest: something else, or one that cannot be used.
        ModelFileError: its files are broken.
    """
    info = describe(Found(path, None, path.stem), FileCache(), None)
    if info.usable and info.kind is not ModelKind.CHECKPOINT:
        raise InvalidRequest(f"{path.name} is {info.kind.with_article}, not a checkpoint.")
    components = components_of(_Alone(path), info, fingerprints=False).components
    parts = {role: _part(components[role]) for role in _ROLES if role in components}
    targets = {name: shape for part in parts.values() for name, shape in part.targets.items()}
    return OpenCheckpoint(info.family, targets, info.prediction_type, info=info, parts=parts)


class _Alone:
    """A shelf with one model on it, whatever folder it lies in."""

    def __init__(self, path: Path) -> None:
        self.cache = FileCache()
        self._path = path

    def path_of(self, model_id: str) -> Path:
        return self._path

    def tokenizer_folders(self) -> Iterable[Path]:
        return ()


def _part(ref: ComponentRef) -> Part:
    module = empty_module(ref.class_name, ref.config)
    weights = open_weights(ref.files)
    sources = find_sources(module.state_dict(), ref.layout, ref.prefix, weights, ref.path.name)
    return Part(ref, weights, sources, lora_targets({ref.role: module}))
