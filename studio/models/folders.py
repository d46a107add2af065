"""Model folders as diffusers and transformers write them: which files a component consists of.

Nothing in a folder names code to run: class names are looked up in a table of those that Easel knows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from studio.core.errors import CorruptFile, NotFound
from studio.models.safe import PICKLES, SAFETENSORS
from studio.models.texts import MAX_LINE, clean, storable_object

PIPELINE_INDEX = "model_index.json"
COMPONENT_CONFIG = "config.json"

_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")

_USUAL_LATENT_SIZE, _MAX_LATENT_SIZE = 64, 1024
_MAX_CHANNELS = 2**16

MAX_JSON_BYTES = 8 * 2**20
"""Configurations are a few kilobytes; sharded models list their tensors, a few hundred."""


def is_pipeline(folder: Path) -> bool:
    """Whether a folder is a diffusers pipeline, as its index says."""
    try:
        return (folder / PIPELINE_INDEX).is_file()
    except OSError:  # it may not be looked at
        return False


def is_component(folder: Path) -> bool:
    """A folder that holds one model: a configuration and its weights."""
    try:
        return (folder / COMPONENT_CONFIG).is_file() and bool(_candidates(folder))
    except OSError:
        return False


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises: NotFound, CorruptFile.
    """
    if not path.is_file():
        raise NotFound(f"The file {path.name} of the model {path.parent.name} is not there.")
    if path.stat().st_size > MAX_JSON_BYTES:
        raise CorruptFile(f"{path.name} is larger than any configuration.")
    try:
        content = json.loads(path.read_text("utf-8"), object_pairs_hook=storable_object)
    except (ValueError, RecursionError) as error:
        raise CorruptFile(
            f"{path.parent.name}/{path.name} is no JSON: {error}.", "Download it again."
        ) from error
    if not isinstance(content, dict):
        raise CorruptFile(f"{path.parent.name}/{path.name} is no JSON object.", "Download it again.")
    return content


def component_config(folder: Path) -> dict[str, Any]:
    """A component's configuration.

    The width of the text embeddings, which diffusers lets be told for each block, is told once where it is
    the same for all; no UNet of the families has others.

    Raises: NotFound, CorruptFile.
    """
    config = read_json(folder / COMPONENT_CONFIG)
    widths = config.get("cross_attention_dim")
    if isinstance(widths, list) and widths and all(width == widths[0] for width in widths):
        config["cross_attention_dim"] = widths[0]
    return config


def text_width(config: Mapping[str, Any], name: str) -> int | None:
    """Channels of the text embeddings that a component attends to; None where it tells none.

    Raises: CorruptFile.
    """
    told = config.get("cross_attention_dim")
    return None if told is None else _whole(told, "cross_attention_dim", name, _MAX_CHANNELS)


def latent_size(unet: Mapping[str, Any], name: str) -> int:
    """Side of the latents that a UNet was trained on; of two sides, the longer one. Raises: CorruptFile."""
    told = unet.get("sample_size") or _USUAL_LATENT_SIZE
    sides = told if isinstance(told, list) else [told]
    return max(_whole(side, "sample_size", name, _MAX_LATENT_SIZE) for side in sides)


def _whole(told: object, key: str, name: str, most: int) -> int:
    is_number = isinstance(told, (int, float)) and not isinstance(told, bool)
    if is_number and 1 <= told <= most and told == int(told):  # type: ignore[operator, call-overload]
        return int(told)  # type: ignore[call-overload, no-any-return]
    raise CorruptFile(
        f"The configuration of {name} needs a whole number from 1 to {most} as its {key}, but has "
        f"{clean(repr(told), MAX_LINE)}.",
        "Download the model again.",
    )


def pipeline_components(folder: Path) -> dict[str, str]:
    """The components that a pipeline's index lists, with their class names.

    Raises: NotFound, CorruptFile.
    """
    components: dict[str, str] = {}
    for role, entry in read_json(folder / PIPELINE_INDEX).items():
        match entry:
            case [str(), str(class_name)] if role.isidentifier():
                components[role] = class_name
    return components


def component_class(config: Mapping[str, Any]) -> str:
    """The class that a component's configuration names; empty where it names none."""
    architectures = config.get("architectures")
    named = config.get("_class_name") or (
        architectures[0] if isinstance(architectures, list) and architectures else ""
    )
    return named if isinstance(named, str) else ""


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The file that holds a component's weights, or its shards, in order.

    safetensors go before pickles, and the full precision before variants such as `.fp16`.

    Raises: NotFound, CorruptFile.
    """
    candidates = _candidates(folder)
    if not candidates:
        raise NotFound(f"The folder {folder.name} holds no weights.", "Download the model again.")
    chosen = min(candidates, key=_preference)
    return _shards(chosen) if chosen.suffix == ".json" else (chosen,)


def _candidates(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [
        file for file in folder.iterdir() if _stem(file) in _STEMS and _is_weights(file) and file.is_file()
    ]


def _stem(file: Path) -> str:
    return file.name.split(".", 1)[0]


def _is_weights(file: Path) -> bool:
    if ".index." in file.name and file.suffix == ".json":
        return True
    return file.suffix in {SAFETENSORS, *PICKLES} and "-of-" not in file.name


def _preference(file: Path) -> tuple[bool, int, int, str]:
    return SAFETENSORS not in file.name, file.name.count("."), _STEMS.index(_stem(file)), file.name


def _shards(index: Path) -> tuple[Path, ...]:
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CorruptFile(f"{index.name} lists no shards.", "Download the model again.")
    names = sorted({str(name) for name in weight_map.values()})
    shards = tuple(index.parent / name for name in names)
    for shard in shards:
        if shard.name not in names or shard.parent != index.parent or not shard.is_file():
            raise CorruptFile(
                f"{index.name} lists the shard {shard.name}, which is not there.", "Download it again."
            )
    return shards
