"""Nets that read pictures (depth, edges, poses, ...) as components of the manager.

They are folders of transformers, single files that controlnet_aux has the classes for, or graphs of ONNX.
The weights of the former two are read by us and handed to the module; ONNX files are onnxruntime's to read.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studio.core.annotator_nets import Net
from studio.core.errors import CorruptFile, InvalidRequest, UnknownFile
from studio.core.models import ModelInfo, ModelKind
from studio.models.annotator_files import CONTROLNET_AUX, new_net, places
from studio.models.annotator_graphs import net_of_ports
from studio.models.cache import sha256_of
from studio.models.components import ComponentRef, Shelf, fingerprinted
from studio.models.configs import Config
from studio.models.folders import COMPONENT_CONFIG, component_class, read_json, weight_files
from studio.models.modules import refuse_endless
from studio.models.onnx_session import ONNX
from studio.models.safe import open_weights

if TYPE_CHECKING:
    import torch

PROCESSOR_CONFIG = "preprocessor_config.json"

CLASSES: Mapping[str, Net] = {
    "DepthAnythingForDepthEstimation": Net.DEPTH_ANYTHING,
    "DPTForDepthEstimation": Net.DPT,
    "ZoeDepthForDepthEstimation": Net.ZOE,
    "VitPoseForPoseEstimation": Net.VITPOSE,
    "SegformerForSemanticSegmentation": Net.SEGMENTATION,
    "UperNetForSemanticSegmentation": Net.SEGMENTATION,
    "DPTForSemanticSegmentation": Net.SEGMENTATION,
    "BeitForSemanticSegmentation": Net.SEGMENTATION,
    "RTDetrForObjectDetection": Net.DETECTOR,
    "RTDetrV2ForObjectDetection": Net.DETECTOR,
    "YolosForObjectDetection": Net.DETECTOR,
    "DetrForObjectDetection": Net.DETECTOR,
}
"""The classes of transformers that preprocessors run."""


def net_of_folder(config: Config) -> Net | None:
    """The net that a folder of transformers holds; None where Easel runs none of its class."""
    net = CLASSES.get(component_class(config))
    return Net.MIDAS if net is Net.DPT and config.get("is_hybrid") else net


def annotator_role(info: ModelInfo) -> str:
    """The role of an annotator in a lease."""
    return f"annotator:{info.id}"


def annotator_of(shelf: Shelf, info: ModelInfo) -> ComponentRef:
    """The one component of an annotator; its layout is the name of its net.

    Raises:
        InvalidRequest: it cannot be used, or is no annotator.
        ModelFileError: its files are broken.
    """
    if info.kind is not ModelKind.ANNOTATOR or not info.usable:
        raise InvalidRequest(
            f"{info.name} reads no pictures: {info.problem or f'it is {info.kind.with_article}'}."
        )
    path = shelf.path_of(info.id)
    config = _configs(path) if path.is_dir() else {}
    files = weight_files(path) if path.is_dir() else (path,)
    ref = ComponentRef(
        annotator_role(info),
        info.id,
        info.family,
        component_class(config["model"]) if config else CONTROLNET_AUX,
        path,
        info.layout,
        size_bytes=sum(file.stat().st_size for file in files),
        config=config,
    )
    if path.suffix.lower() == ONNX:
        # The file is the net's configuration as well, so all of it counts.
        digest = shelf.cache.remember(path, "sha256", lambda: sha256_of(path))
        return replace(ref, class_name=ONNX, digest=digest)
    ref = fingerprinted(ref, shelf.cache)
    behaviour = json.dumps([ref.layout, config], sort_keys=True)
    return replace(ref, digest=hashlib.sha256(f"{ref.digest}{behaviour}".encode()).hexdigest())


def _configs(folder: Path) -> Config:
    """What the folder says of the net, and of how it wants its pictures."""
    processor = folder / PROCESSOR_CONFIG
    return {
        "model": read_json(folder / COMPONENT_CONFIG),
        "processor": read_json(processor) if processor.is_file() else {},
    }


def load_annotator(ref: ComponentRef) -> torch.nn.Module:
    """The net on the CPU, in float32: half precision moves edges and joints.

    Raises:
        CorruptFile: a tensor is missing, superfluous or of the wrong shape.
        UnsafeFile: it would have to execute code to be read.
    """
    load = {CONTROLNET_AUX: _load_file, ONNX: _load_onnx}.get(ref.class_name, _load_folder)
    return load(ref).float().eval().requires_grad_(False)


def _load_file(ref: ComponentRef) -> torch.nn.Module:
    weights = open_weights(ref.files)
    module = new_net(Net(ref.layout))
    # Old files lack the counters of batch normalisation, which only training reads.
    wanted = [name for name in module.state_dict() if not name.endswith("num_batches_tracked")]
    found = places(wanted, weights, ref.path.name)
    try:
        module.load_state_dict({name: weights[place] for name, place in found.items()}, strict=False)
    except RuntimeError as error:
        raise _misfit(ref, error) from error
    return module


def _load_onnx(ref: ComponentRef) -> torch.nn.Module:
    from studio.models.onnx_net import OnnxNet

    net = OnnxNet(ref.path)
    if net_of_ports(net.ports) != ref.layout:
        raise _misfit(ref, "the file holds another one")
    return net


def _load_folder(ref: ComponentRef) -> torch.nn.Module:
    import transformers

    weights = open_weights(ref.files)
    tensors = {name: weights[name] for name in weights}
    model_class = getattr(transformers, _known_class(ref.class_name))
    # A backbone by name would be fetched from the Hub, though the folder's own weights replace it.
    told = {**ref.config["model"], "use_pretrained_backbone": False}
    refuse_endless(ref.class_name, told)
    transformers.utils.logging.disable_progress_bar()
    try:
        config = model_class.config_class.from_dict(told)
        module, report = model_class.from_pretrained(
            None, config=config, state_dict=tensors, output_loading_info=True
        )
    except Exception as error:  # a configuration from a file can make a constructor raise anything
        raise _misfit(ref, error) from error
    for fault in ("missing_keys", "mismatched_keys"):
        if report[fault]:
            raise _misfit(ref, f"{fault.replace('_keys', '')} {min(map(str, report[fault]))}")
    net: torch.nn.Module = module
    return net


def _known_class(name: str) -> str:
    if name not in CLASSES:
        raise UnknownFile(f"The class {name} is none of those that read pictures for Easel.")
    return name


def _misfit(ref: ComponentRef, error: Exception | str) -> CorruptFile:
    return CorruptFile(
        f"The weights of {ref.model} do not fit its net: {str(error)[:300]}.", "Download it again."
    )


def processor_of(ref: ComponentRef) -> Any:
    """Transformers' image processor of a net, as its folder describes it; its class' own where it does not.

    Raises: CorruptFile.
    """
    import transformers

    told = dict(ref.config["processor"])
    named = told.pop("image_processor_type", None) or told.pop("feature_extractor_type", "")
    class_name = str(named).removesuffix("Fast").replace("FeatureExtractor", "ImageProcessor")
    if class_name not in _PROCESSORS.values():
        class_name = _PROCESSORS[ref.class_name]
    try:
        return getattr(transformers, class_name)(**told)
    except Exception as error:  # as above
        raise _misfit(ref, error) from error


_PROCESSORS: Mapping[str, str] = {
    "DepthAnythingForDepthEstimation": "DPTImageProcessor",
    "DPTForDepthEstimation": "DPTImageProcessor",
    "DPTForSemanticSegmentation": "DPTImageProcessor",
    "ZoeDepthForDepthEstimation": "ZoeDepthImageProcessor",
    "VitPoseForPoseEstimation": "VitPoseImageProcessor",
    "SegformerForSemanticSegmentation": "SegformerImageProcessor",
    "UperNetForSemanticSegmentation": "SegformerImageProcessor",
    "BeitForSemanticSegmentation": "BeitImageProcessor",
    "RTDetrForObjectDetection": "RTDetrImageProcessor",
    "RTDetrV2ForObjectDetection": "RTDetrImageProcessor",
    "YolosForObjectDetection": "YolosImageProcessor",
    "DetrForObjectDetection": "DetrImageProcessor",
}
"""The image processor of a class; a folder may name another one of these."""
