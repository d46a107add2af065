"""The parts that a model on disk consists of, each with a fingerprint of its content.

Two parts with equal weights have equal digests, whatever file they lie in and however it names them, so an
inpainting model, its base and a single-file copy of either share one text encoder and one VAE in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from studio.core.errors import CorruptFile, InvalidRequest
from studio.core.models import Family, ModelInfo, ModelKind, PredictionType, Variant
from studio.models import configs
from studio.models.cache import FileCache
from studio.models.configs import Config, Shapes
from studio.models.fingerprint import VERSION, behaviour_digest, identity
from studio.models.folders import (
    PIPELINE_INDEX,
    component_class,
    component_config,
    is_pipeline,
    pipeline_components,
    read_json,
    weight_files,
)
from studio.models.safe import read_header
from studio.models.signatures import UNET, VAE, text_encoder_prefixes
from studio.models.tokenizers import NOWHERE, TOKENIZER_ROLES, tokenizer_digest, tokenizer_folder
from studio.models.weights import Header

TITLES = {
    "unet": "UNet",
    "vae": "VAE",
    "text_encoder": "text encoder",
    "text_encoder_2": "second text encoder",
    "tokenizer": "tokenizer",
    "tokenizer_2": "second tokenizer",
    "controlnet": "ControlNet",
    "t2i": "T2I-Adapter",
    "ip_adapter": "IP-Adapter",
    "image_encoder": "image encoder",
    "gligen": "GLIGEN layers",
    "image_project": "image projection",
    "annotator": "annotator",
    "lora": "LoRA",
    "embedding": "textual inversion",
    "hypernetwork": "hypernetwork",
}
"""By role, or by what a role begins with: `controlnet:canny`."""

_ROLES = frozenset({"unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"})
"""Parts of a pipeline that are run."""


@dataclass(frozen=True)
class ComponentRef:
    """One part of a model: where it lies and what it is. Loading it is `load.load_component`."""

    role: str
    """unet, vae, text_encoder, text_encoder_2, tokenizer or tokenizer_2; for what is stacked, its kind and
    its model's id: `controlnet:canny`."""
    model: str
    """Id of the model that it is a part of."""
    family: Family
    class_name: str
    path: Path
    """Its own folder, or the single file that it shares with others."""
    layout: str
    """How the file names its tensors: 'diffusers', or a key of `modules.LAYOUTS`."""
    prefix: str = ""
    """What the file puts before the names of this part."""
    size_bytes: int = 0
    digest: str = ""
    """Fingerprint of weights and behaviour; equal for equal parts of different files."""
    config: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def title(self) -> str:
        """For a person: 'UNet of toytown'."""
        return f"{TITLES.get(self.role.split(':')[0], self.role)} of {self.model}"

    @property
    def is_tokenizer(self) -> bool:
        return self.role in TOKENIZER_ROLES

    @property
    def is_annotator(self) -> bool:
        return self.role.startswith("annotator:")

    @property
    def is_at_hand(self) -> bool:
        """False for a tokenizer that would have to be fetched from the Hub."""
        return self.path != NOWHERE

    @property
    def overflows_in_fp16(self) -> bool:
        """True for SDXL's VAE, which gives NaN in float16 (diffusers #4325); repaired ones say so."""
        return (
            self.role == "vae" and self.family is Family.SDXL and bool(self.config.get("force_upcast", True))
        )

    @property
    def files(self) -> tuple[Path, ...]:
        return weight_files(self.path) if self.path.is_dir() else (self.path,)


def one_a_role(refs: Iterable[ComponentRef]) -> tuple[ComponentRef, ...]:
    """`refs` with each role once; of two with one role the later is kept."""
    return tuple({ref.role: ref for ref in refs}.values())


@dataclass(frozen=True)
class Checkpoint:
    """A model taken apart. A standalone VAE is one with a single component."""

    info: ModelInfo
    components: Mapping[str, ComponentRef]
    scheduler_config: Mapping[str, Any] = field(default_factory=dict)
    """As in diffusers' `scheduler_config.json`."""
    force_zeros_for_empty_prompt: bool = True
    """SDXL only: an empty negative prompt is all zeros, not the embedding of an empty text."""

    @property
    def family(self) -> Family:
        return self.info.family

    @property
    def variant(self) -> Variant:
        return self.info.variant

    @property
    def prediction_type(self) -> PredictionType:
        return self.info.prediction_type

    @property
    def native_size(self) -> int:
        return self.info.native_size

    @property
    def modules(self) -> tuple[ComponentRef, ...]:
        """All that holds weights: what a lease of the manager takes."""
        return tuple(ref for ref in self.components.values() if not ref.is_tokenizer)

    @property
    def tokenizers(self) -> tuple[ComponentRef, ...]:
        return tuple(ref for ref in self.components.values() if ref.is_tokenizer)


class Shelf(Protocol):
    """What taking a model apart needs to know of the catalogue."""

    cache: FileCache
    """Where fingerprints are kept."""

    def path_of(self, model_id: str) -> Path: ...

    def tokenizer_folders(self) -> Iterable[Path]:
        """CLIP tokenizers on this machine, for single files, which carry none."""


def components_of(shelf: Shelf, info: ModelInfo, *, fingerprints: bool = True) -> Checkpoint:
    """The components of a checkpoint or a standalone VAE.

    Args:
        fingerprints: False leaves out the digests of weights, for which a new file is opened. The
            manager lends nothing without them.

    Raises:
        InvalidRequest: a model of another kind, or one that cannot be used.
        ModelFileError: its files are broken.
    """
    if not info.usable:
        raise InvalidRequest(f"{info.name} cannot be used: {info.problem}", field="model")
    path = shelf.path_of(info.id)
    refs, scheduler = _parts(shelf, info, path)
    components = {
        ref.role: fingerprinted(ref, shelf.cache) if fingerprints or ref.is_tokenizer else ref for ref in refs
    }
    return Checkpoint(info, components, scheduler, _forces_zeros(path))


def _forces_zeros(path: Path) -> bool:
    """As a folder's index says. Single files cannot say; diffusers takes them for SDXL's base, which does."""
    told = read_json(path / PIPELINE_INDEX) if is_pipeline(path) else {}
    return bool(told.get("force_zeros_for_empty_prompt", True))


def _parts(shelf: Shelf, info: ModelInfo, path: Path) -> tuple[list[ComponentRef], Config]:
    if info.kind is ModelKind.VAE:
        return [_vae(info, path)], {}
    if info.kind is not ModelKind.CHECKPOINT:
        raise InvalidRequest(f"{info.name} is {info.kind.with_article}, not a checkpoint.", field="model")
    if path.is_dir():
        return _folder_components(info, path)
    return _file_components(info, path, shelf.tokenizer_folders())


def _folder_components(info: ModelInfo, folder: Path) -> tuple[list[ComponentRef], Config]:
    classes = pipeline_components(folder)
    refs = [_folder_component(info, role, folder / role) for role in classes if role in _ROLES]
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json") if "scheduler" in classes else {}
    return refs, scheduler


def _folder_component(info: ModelInfo, role: str, folder: Path) -> ComponentRef:
    if role in TOKENIZER_ROLES:
        return ComponentRef(role, info.id, info.family, "CLIPTokenizer", folder, "diffusers")
    config = component_config(folder)
    size = sum(file.stat().st_size for file in weight_files(folder))
    return ComponentRef(
        role,
        info.id,
        info.family,
        component_class(config),
        folder,
        "diffusers",
        size_bytes=size,
        config=config,
    )


def _vae(info: ModelInfo, path: Path) -> ComponentRef:
    if path.is_dir():
        return _folder_component(info, "vae", path)
    header = read_header(path)
    if info.layout != "ldm":
        raise InvalidRequest(
            f"{info.name} is a VAE in diffusers' names without its config.json.",
            "Put both into one folder, or choose a version in the original names.",
            field="vae",
        )
    return _file_vae(info, path, header, VAE if any(name.startswith(VAE) for name in header.tensors) else "")


def _file_components(
    info: ModelInfo, path: Path, tokenizers: Iterable[Path]
) -> tuple[list[ComponentRef], Config]:
    header = read_header(path)
    try:
        encoders = _file_text_encoders(info, path, header)
        refs = [_file_unet(info, path, header, encoders), _file_vae(info, path, header, VAE), *encoders]
    except (KeyError, IndexError, StopIteration, ValueError, TypeError) as error:
        raise CorruptFile(
            f"{path.name} lacks or misshapes a tensor that every {info.family} model has: {error}.",
            "Download it again, or choose another version.",
        ) from error
    folders = tuple(tokenizers)
    refs += [_file_tokenizer(encoder, folders) for encoder in encoders]
    zero_snr = "ztsnr" in header.tensors
    return refs, configs.scheduler_config(info.family, info.prediction_type, zero_snr=zero_snr)


def _file_unet(info: ModelInfo, path: Path, header: Header, encoders: Iterable[ComponentRef]) -> ComponentRef:
    shapes, size = _under(header, UNET)
    config = configs.fit_unet(configs.read_config(info.family, info.prediction_type, "unet"), shapes)
    if info.family is Family.SDXL:
        pooled = next(ref.config["projection_dim"] for ref in encoders if ref.role == "text_encoder_2")
        config = configs.fit_size_conditioning(config, shapes, pooled)
    return ComponentRef(
        "unet", info.id, info.family, "UNet2DConditionModel", path, "ldm-unet", UNET, size, config=config
    )


def _file_vae(info: ModelInfo, path: Path, header: Header, prefix: str) -> ComponentRef:
    shapes, size = _under(header, prefix)
    family = Family.SD1 if info.family is Family.UNKNOWN else info.family
    config = configs.fit_vae(configs.read_config(family, info.prediction_type, "vae"), shapes)
    return ComponentRef(
        "vae", info.id, info.family, "AutoencoderKL", path, "ldm-vae", prefix, size, config=config
    )


def _file_text_encoders(info: ModelInfo, path: Path, header: Header) -> list[ComponentRef]:
    prefixes = text_encoder_prefixes(info.family)
    roles = ("text_encoder", "text_encoder_2")
    return [
        _file_text_encoder(info, path, header, role, prefix)
        for role, prefix in zip(roles, prefixes, strict=False)
    ]


def _file_text_encoder(info: ModelInfo, path: Path, header: Header, role: str, prefix: str) -> ComponentRef:
    shapes, size = _under(header, prefix)
    base = configs.read_config(info.family, info.prediction_type, role)
    class_name = "CLIPTextModelWithProjection" if role == "text_encoder_2" else "CLIPTextModel"
    if prefix.endswith("transformer."):
        layout, config = "ldm-clip", configs.fit_clip(base, shapes)
    else:
        layout = "open-clip"
        config = configs.fit_open_clip(base, shapes, drop_last=info.family is Family.SD2)
    return ComponentRef(role, info.id, info.family, class_name, path, layout, prefix, size, config=config)


def _file_tokenizer(encoder: ComponentRef, folders: Iterable[Path]) -> ComponentRef:
    """SD 2.x and SDXL's second encoder fill up with `!`, the others with the end token."""
    vocabulary = encoder.config["vocab_size"]
    pad_token = "!" if encoder.layout == "open-clip" else "<|endoftext|>"
    config = {"pad_token": pad_token, "vocab_size": vocabulary}
    folder = tokenizer_folder(folders, vocabulary)
    role = encoder.role.replace("text_encoder", "tokenizer")
    return ComponentRef(
        role, encoder.model, encoder.family, "CLIPTokenizer", folder, "clip-bpe", config=config
    )


def _under(header: Header, prefix: str) -> tuple[Shapes, int]:
    mine = {k.removeprefix(prefix): info for k, info in header.tensors.items() if k.startswith(prefix)}
    return {name: info.shape for name, info in mine.items()}, sum(info.size_bytes for info in mine.values())


def fingerprinted(ref: ComponentRef, cache: FileCache) -> ComponentRef:
    """`ref` with its digest. A file that was never looked at is opened, and seldom read as a whole."""
    if ref.is_tokenizer:
        return replace(ref, digest=tokenizer_digest(ref.path, ref.config.get("pad_token", "")))
    behaviour = behaviour_digest(ref.class_name, ref.config)
    fact = f"weights {VERSION} {ref.role} {behaviour}"
    weights = cache.remember(ref.path, fact, lambda: identity(ref, cache))
    return replace(ref, digest=hashlib.sha256(f"{behaviour}{weights}".encode()).hexdigest())
