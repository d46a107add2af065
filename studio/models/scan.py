"""Finding models: which files and folders in the models folders are candidates, and of what kind.

The folders of AUTOMATIC1111 and ComfyUI are understood by their names, ComfyUI's `extra_model_paths.yaml` by
its contents, and diffusers folders wherever they lie. Links that a person made in their own folders are
followed (the Hub's cache consists of them), each place once. No name from outside ever becomes part of a
path.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from studio.core.annotator_nets import WEIGHTS
from studio.core.models import ModelKind
from studio.core.texts import storable
from studio.models.folders import is_component, is_pipeline
from studio.models.onnx_session import ONNX
from studio.models.safe import WEIGHT_SUFFIXES

MAX_DEPTH = 8
"""Levels below a models folder that are searched."""

FOLDER_KINDS: Mapping[str, ModelKind] = {
    "stable-diffusion": ModelKind.CHECKPOINT,
    "checkpoints": ModelKind.CHECKPOINT,
    "unet": ModelKind.CHECKPOINT,
    "diffusion_models": ModelKind.CHECKPOINT,
    "vae": ModelKind.VAE,
    "vae_approx": ModelKind.VAE,
    "lora": ModelKind.LORA,
    "loras": ModelKind.LORA,
    "lycoris": ModelKind.LORA,
    "embeddings": ModelKind.EMBEDDING,
    "hypernetworks": ModelKind.HYPERNETWORK,
    "controlnet": ModelKind.CONTROLNET,
    "t2i_adapter": ModelKind.T2I_ADAPTER,
    "ipadapter": ModelKind.IP_ADAPTER,
    "gligen": ModelKind.GLIGEN,
    "clip_vision": ModelKind.CLIP_VISION,
    "annotators": ModelKind.ANNOTATOR,
    "annotator": ModelKind.ANNOTATOR,
    "controlnetpreprocessor": ModelKind.ANNOTATOR,
}
"""Names of folders, in lower case, in both studios."""

OWN_FOLDERS: Mapping[ModelKind, str] = {
    ModelKind.CHECKPOINT: "checkpoints",
    ModelKind.VAE: "vae",
    ModelKind.LORA: "loras",
    ModelKind.EMBEDDING: "embeddings",
    ModelKind.HYPERNETWORK: "hypernetworks",
    ModelKind.CONTROLNET: "controlnet",
    ModelKind.T2I_ADAPTER: "t2i_adapter",
    ModelKind.IP_ADAPTER: "ipadapter",
    ModelKind.GLIGEN: "gligen",
    ModelKind.CLIP_VISION: "clip_vision",
    ModelKind.ANNOTATOR: "annotators",
}
"""Where imports and installs go, below the own models folder."""

_FOREIGN = frozenset(
    {
        *("esrgan", "realesrgan", "swinir", "gfpgan", "codeformer", "ldsr", "dat", "scunet", "karlo", "blip"),
        *("deepbooru", "torch_deepdanbooru", "opencv", "insightface"),
        *("upscale_models", "latent_upscale_models"),
        *("text_encoders", "text_encoder", "clip", "style_models", "photomaker", "model_patches"),
        *("audio_encoders", "animatediff_models", "configs", "repositories", "extensions", "custom_nodes"),
        *("outputs", "output", "input", "node_modules", "venv", "__pycache__"),
    }
)
"""Folders of both studios that hold models Easel has no use for."""


_MAX_YAML_BYTES = 2**16
"""Of a list of folders; a megabyte of YAML takes ten seconds to read."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    path: Path
    hint: ModelKind | None
    """The kind that its folder's name promises."""
    name: str


def find_models(folders: Iterable[Path]) -> Iterator[Found]:
    """Every model file and model folder below `folders`, in order, each place once."""
    visited: set[str] = set()
    for folder in filter(is_storable, folders):
        for place, hint in ((folder, _hint(folder)), *_embeddings_beside(folder), *extra_model_paths(folder)):
            yield from _search(place, hint, visited, MAX_DEPTH)


def _embeddings_beside(folder: Path) -> list[tuple[Path, ModelKind | None]]:
    """AUTOMATIC1111 keeps embeddings beside its `models` folder, not in it."""
    is_webui = folder.name == "models" and (folder / "Stable-diffusion").is_dir()
    return [(folder.parent / "embeddings", ModelKind.EMBEDDING)] if is_webui else []


def _search(folder: Path, hint: ModelKind | None, visited: set[str], depth: int) -> Iterator[Found]:
    real = os.path.realpath(folder)
    if depth < 0 or real in visited or not _is_folder(folder):
        return
    visited.add(real)
    if is_pipeline(folder) or is_component(folder):
        yield Found(folder, hint, _folder_name(folder))
        return
    for entry in _entries(folder):
        if _is_folder(entry):
            if entry.name.lower() not in _FOREIGN:
                yield from _search(entry, _hint(entry) or hint, visited, depth - 1)
        elif _holds_weights(entry, hint) and os.path.realpath(entry) not in visited:
            visited.add(os.path.realpath(entry))
            yield Found(entry, hint, _file_name(entry))


def _holds_weights(file: Path, hint: ModelKind | None) -> bool:
    """ONNX files are looked at among annotators, or by the names of those that Easel runs."""
    if file.suffix.lower() == ONNX:
        return hint is ModelKind.ANNOTATOR or file.name in _USUAL_FILES
    return file.suffix.lower() in WEIGHT_SUFFIXES


_USUAL_FILES = frozenset(weights.file for weights in WEIGHTS.values())


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(entry for entry in folder.iterdir() if _is_candidate(entry.name))
    except OSError:
        return []


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # it may not be looked at
        return False


def _is_candidate(name: str) -> bool:
    """Hidden files are none, nor are names that cannot be stored."""
    return not name.startswith(".") and is_storable(name)


def is_storable(name: Path | str) -> bool:
    """False for names whose bytes are no UTF-8: no database could hold them."""
    return storable(str(name)) == str(name)


def _hint(folder: Path) -> ModelKind | None:
    return FOLDER_KINDS.get(folder.name.lower().replace("vae-approx", "vae_approx"))


def _folder_name(folder: Path) -> str:
    """The folder's name; in the Hub's cache the repository's."""
    if folder.parent.name == "snapshots" and folder.parent.parent.name.startswith("models--"):
        return folder.parent.parent.name.split("--")[-1]
    return folder.name


_NAMELESS = frozenset(
    {
        *("diffusion_pytorch_model", "pytorch_lora_weights", "adapter_model", "model", "pytorch_model"),
        "learned_embeds",
    }
)
"""What libraries call every file; the folder's name says more."""


def _file_name(file: Path) -> str:
    has_own_folder = _hint(file.parent) is None
    return _folder_name(file.parent) if is_nameless(file.stem) and has_own_folder else file.stem


def is_nameless(stem: str) -> bool:
    """Whether libraries call every file so: the folder has the name."""
    return stem.split(".", maxsplit=1)[0] in _NAMELESS


def own_part(stem: str) -> str:
    """What a name says beyond what libraries call every file: `_promax`; all of it, where they do not."""
    common = next((name for name in _NAMELESS if stem.startswith(f"{name}_")), "")
    return stem.removeprefix(common)


def extra_model_paths(folder: Path) -> list[tuple[Path, ModelKind | None]]:
    """The folders that ComfyUI's `extra_model_paths.yaml` names, in `folder` or beside it."""
    places: list[tuple[Path, ModelKind | None]] = []
    for file in (folder / "extra_model_paths.yaml", folder.parent / "extra_model_paths.yaml"):
        try:
            for section in _read_yaml(file).values():
                if isinstance(section, dict):
                    places += _section_places(file.parent, section)
        except (OSError, ValueError, RuntimeError) as error:  # of ~nobody, a home is not known
            _log.warning("%s is left out, as it cannot be read: %s", file, error)
    return places


def _section_places(origin: Path, section: dict[str, Any]) -> Iterator[tuple[Path, ModelKind | None]]:
    base = origin / Path(str(section.get("base_path") or ".")).expanduser()
    for folder_kind, lines in section.items():
        kind = FOLDER_KINDS.get(str(folder_kind).lower())
        if kind is not None and isinstance(lines, str):
            paths = (base / line.strip() for line in lines.splitlines() if line.strip())
            yield from ((path, kind) for path in paths if is_storable(path) and "\0" not in str(path))


def _read_yaml(file: Path) -> dict[str, Any]:
    import yaml  # type: ignore[import-untyped]

    if not file.is_file() or file.stat().st_size > _MAX_YAML_BYTES:
        return {}
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"no YAML: {error}") from error
    return content if isinstance(content, dict) else {}
