"""What the tensors of a single file cannot say: the prediction type of an SD 2.x or SDXL model.

It is looked for, in this order, in

1. a sidecar beside the file: `name.yaml` as the original repositories write it (`parameterization: "v"`) or
   `name.json` with `{"prediction_type": "v_prediction"}`; this is how a person overrides the rest;
2. the metadata `modelspec.prediction_type` (https://github.com/Stability-AI/ModelSpec);
3. an empty tensor `v_pred`, the marker that SDXL v-prediction models such as NoobAI carry (`ztsnr` beside it:
   trained to zero terminal SNR);
4. for SD 2.x the size in the file's name: Stability's own are `768-v-ema`, `v2-1_768-ema-pruned` and
   `512-base-ema`, and so are the names of their fine-tunes; inpainting models predict the noise;
5. otherwise v-prediction for SD 2.x, as diffusers' single-file loader assumes, and epsilon for the others.
"""

from __future__ import annotations

import re
from pathlib import Path

from studio.core.errors import CorruptFile
from studio.core.models import Family, ModelKind, PredictionType, Variant
from studio.models.configs import Config
from studio.models.folders import read_json
from studio.models.signatures import Signature
from studio.models.weights import Header

PREDICTION_TYPES = {
    "epsilon": PredictionType.EPSILON,
    "eps": PredictionType.EPSILON,
    "v": PredictionType.V_PREDICTION,
    "v_prediction": PredictionType.V_PREDICTION,
    "v-prediction": PredictionType.V_PREDICTION,
}
"""By the words of diffusers, ModelSpec and the original repositories."""


def prediction_of_file(path: Path, header: Header, signature: Signature) -> PredictionType:
    """Epsilon for all that is no checkpoint."""
    if signature.kind is not ModelKind.CHECKPOINT:
        return PredictionType.EPSILON
    told = _sidecar_prediction(path) or header.metadata.get("modelspec.prediction_type", "").lower()
    if told in PREDICTION_TYPES:
        return PREDICTION_TYPES[told]
    if signature.prediction_type is not None:
        return signature.prediction_type
    if signature.family is not Family.SD2 or signature.variant is Variant.INPAINT:
        return PredictionType.EPSILON
    small = re.search(r"512|(?<![a-z])base(?![a-z])", path.stem.lower())
    return PredictionType.EPSILON if small else PredictionType.V_PREDICTION


def _sidecar_prediction(path: Path) -> str:
    yaml = path.with_suffix(".yaml")
    if yaml.is_file():
        match = re.search(
            r"^\s*parameterization:\s*[\"']?(\w+)", yaml.read_text("utf-8", "replace"), re.MULTILINE
        )
        return match[1].lower() if match else "epsilon"
    return str(read_sidecar(path).get("prediction_type", "")).lower()


_SIDECAR_FAMILIES = {"sd1": Family.SD1, "sd2": Family.SD2, "sdxl": Family.SDXL}
"""Values of `sd version` in AUTOMATIC1111's sidecars."""


def sidecar_family(path: Path) -> Family:
    """What a sidecar says of an embedding or hypernetwork whose tensors do not tell."""
    return _SIDECAR_FAMILIES.get(str(read_sidecar(path).get("sd version", "")).lower(), Family.UNKNOWN)


def read_sidecar(path: Path) -> Config:
    """What `name.json` beside a model says; empty where there is none that can be read."""
    sidecar = path.with_suffix(".json")
    try:
        return read_json(sidecar) if sidecar.is_file() else {}
    except (CorruptFile, OSError):
        return {}
