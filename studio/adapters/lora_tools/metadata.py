"""What a LoRA file says of itself: kohya's `ss_*`, and https://github.com/Stability-AI/ModelSpec."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from studio.adapters.lora.alphas import PEFT_METADATA
from studio.adapters.lora_tools.bases import Base
from studio.adapters.lora_tools.factors import Factored
from studio.core.models import Family, PredictionType
from studio.core.texts import json_object

_UNTRUE = ("sshs_", "modelspec.hash", "ss_network_", "modelspec.date", PEFT_METADATA)
"""What a copy of a file's metadata no longer means, by how it begins."""

_MODELS = {
    Family.SD1: ("sd_v1", "stable-diffusion-v1/lora", "512x512"),
    Family.SD2: ("sd_v2", "stable-diffusion-v2-512/lora", "512x512"),
    Family.SDXL: ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora", "1024x1024"),
}
_SD2_V = ("sd_v2_v", "stable-diffusion-v2-768-v/lora", "768x768")


def lora_metadata(
    lora: Factored, base: Base, title: str, comment: str, sources: Sequence[Mapping[str, str]] = ()
) -> dict[str, str]:
    """The metadata of a LoRA that is about to be written.

    Args:
        title: name of the file without its suffix.
        comment: how it was made.
        sources: the metadata of the files that it was made of. Of one file all stays that is still true; of
            several what they agree on, their captions' words, and their trigger phrases one after the other.
    """
    ranks = set(lora.ranks)
    version, architecture, resolution = _model(base)
    return _inherited(sources) | {
        "ss_base_model_version": version,
        "ss_v2": str(base.family is Family.SD2),
        "ss_output_name": title,
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(ranks.pop()) if len(ranks) == 1 else "Dynamic",
        "ss_network_alpha": str(float(max(lora.ranks))),
        "ss_training_comment": comment,
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": architecture,
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models"
        if base.family is Family.SDXL
        else "diffusers",
        "modelspec.title": title,
        "modelspec.resolution": resolution,
        "modelspec.prediction_type": spec_prediction(base.prediction_type),
        "modelspec.date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def spec_prediction(prediction_type: PredictionType) -> str:
    """The word that ModelSpec has for it."""
    return "v" if prediction_type is PredictionType.V_PREDICTION else "epsilon"


def _model(base: Base) -> tuple[str, str, str]:
    if base.family is Family.SD2 and base.prediction_type is PredictionType.V_PREDICTION:
        return _SD2_V
    return _MODELS[base.family]


def _inherited(sources: Sequence[Mapping[str, str]]) -> dict[str, str]:
    if not sources:
        return {}
    first, *others = sources
    shared = {key: text for key, text in first.items() if all(other.get(key) == text for other in others)}
    kept = {key: text for key, text in shared.items() if not key.startswith(_UNTRUE)}
    phrases = dict.fromkeys(filter(None, (source.get("modelspec.trigger_phrase", "") for source in sources)))
    if phrases:
        kept["modelspec.trigger_phrase"] = ", ".join(phrases)
    words = _words(source.get("ss_tag_frequency", "") for source in sources)
    return kept | ({"ss_tag_frequency": json.dumps(words)} if words else {})


def _words(texts: Iterable[str]) -> dict[str, Any]:
    """The captions' words of all files; folders of one name in two of them are told apart by a number."""
    folders: dict[str, Any] = {}
    for number, text in enumerate(texts, 1):
        for folder, tags in json_object(text).items():
            folders[folder if folder not in folders else f"{folder} ({number})"] = tags
    return folders
