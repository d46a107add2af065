"""Annotators with random weights, in the files and folders that the real ones come in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import (
    BitConfig,
    ConvNextConfig,
    DepthAnythingConfig,
    DepthAnythingForDepthEstimation,
    Dinov2Config,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessor,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    UperNetConfig,
    UperNetForSemanticSegmentation,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
    VitPoseImageProcessor,
    YolosConfig,
    YolosForObjectDetection,
    YolosImageProcessor,
    ZoeDepthConfig,
    ZoeDepthForDepthEstimation,
    ZoeDepthImageProcessor,
)

from studio.core.annotator_nets import WEIGHTS, Net
from studio.models.annotator_files import new_net
from tests.onnx_writer import model, node

AUX_NETS = (
    Net.HED,
    Net.PIDINET,
    Net.TEED,
    Net.LINEART,
    Net.LINEART_COARSE,
    Net.LINEART_ANIME,
    Net.MLSD,
    Net.OPENPOSE_BODY,
    Net.OPENPOSE_HAND,
    Net.OPENPOSE_FACE,
    Net.NORMAL_BAE,
    Net.LERES,
)
"""Those that controlnet_aux has the classes for."""

COCO = (
    *("Nose", "L_Eye", "R_Eye", "L_Ear", "R_Ear", "L_Shoulder", "R_Shoulder", "L_Elbow", "R_Elbow"),
    *("L_Wrist", "R_Wrist", "L_Hip", "R_Hip", "L_Knee", "R_Knee", "L_Ankle", "R_Ankle"),
)


def make_file(net: Net, folder: Path) -> Path:
    """A file of controlnet_aux's, its tensors named as its authors' script did.

    All tensors are views of one storage of random numbers, so that a net of 200 MB takes a few.
    """
    shapes = {name: tensor.shape for name, tensor in new_net(net).state_dict().items()}
    largest = max(shape.numel() for shape in shapes.values())
    numbers = torch.randn(largest, generator=torch.Generator().manual_seed(0)) * 0.05
    tensors = {
        _name_in_file(net, name): numbers[: shape.numel()].abs().view(shape)
        if name.endswith("running_var")
        else numbers[: shape.numel()].view(shape)
        for name, shape in shapes.items()
        if not name.endswith("num_batches_tracked")
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WEIGHTS[net].file
    torch.save(_wrapped(net, tensors), path)
    return path


def _name_in_file(net: Net, name: str) -> str:
    if net in (Net.OPENPOSE_BODY, Net.OPENPOSE_HAND):
        return name.partition(".")[2]
    return f"module.{name}" if net in (Net.PIDINET, Net.LINEART_ANIME, Net.NORMAL_BAE, Net.LERES) else name


def _wrapped(net: Net, tensors: dict[str, torch.Tensor]) -> object:
    key = {Net.PIDINET: "state_dict", Net.NORMAL_BAE: "model", Net.LERES: "depth_model"}.get(net)
    return {key: tensors} if key else tensors


def make_depth_anything(folder: Path) -> Path:
    torch.manual_seed(0)
    net = DepthAnythingForDepthEstimation(
        DepthAnythingConfig(
            backbone_config=_dino(),
            patch_size=8,
            reassemble_hidden_size=32,
            neck_hidden_sizes=[8, 16, 16, 16],
            fusion_hidden_size=16,
            head_hidden_size=8,
        )
    )
    _enliven(net)
    torch.nn.init.constant_(net.head.conv3.bias, 1.0)  # the last ReLU starts alive
    net.save_pretrained(folder)
    DPTImageProcessor(
        size={"height": 64, "width": 64}, keep_aspect_ratio=True, ensure_multiple_of=8
    ).save_pretrained(folder)
    return folder


def _enliven(net: torch.nn.Module) -> None:
    """Weights as trained ones are large, so that the answer depends on the picture."""
    for name, parameter in net.named_parameters():
        if name.startswith(("neck.", "head.")) and parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)


def _dino() -> Dinov2Config:
    return Dinov2Config(
        image_size=64,
        patch_size=8,
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        mlp_ratio=2,
        out_indices=[1, 2, 3, 4],
        reshape_hidden_states=False,
    )


def make_dpt(folder: Path, *, hybrid: bool = False) -> Path:
    """`hybrid` as in Intel/dpt-hybrid-midas: a transformer behind a small BiT."""
    torch.manual_seed(0)
    common = {
        "image_size": 64,
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "backbone_out_indices": [0, 1, 2, 3],
        "neck_hidden_sizes": [8, 16, 16, 16],
        "fusion_hidden_size": 16,
    }
    if hybrid:
        backbone = BitConfig(
            embedding_size=8,
            hidden_sizes=[8, 16, 32],
            depths=[1, 1, 1],
            num_groups=4,
            layer_type="bottleneck",
            global_padding="same",
            out_features=["stage1", "stage2", "stage3"],
        )
        common |= {
            "is_hybrid": True,
            "backbone_config": backbone,
            "backbone_featmap_shape": [1, 32, 4, 4],
            "neck_ignore_stages": [0, 1],
            "neck_hidden_sizes": [8, 16, 16, 16],
            "readout_type": "project",
        }
    net = DPTForDepthEstimation(DPTConfig(**common))
    _enliven(net)
    torch.nn.init.constant_(net.head.head[4].bias, 1.0)
    net.save_pretrained(folder)
    DPTImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def make_segmentation(folder: Path, labels: tuple[str, ...] = ("sky", "earth", "person", "cat")) -> Path:
    torch.manual_seed(0)
    net = SegformerForSemanticSegmentation(
        SegformerConfig(
            depths=[1, 1, 1, 1],
            hidden_sizes=[8, 16, 16, 16],
            num_attention_heads=[1, 2, 2, 2],
            mlp_ratios=[2, 2, 2, 2],
            decoder_hidden_size=16,
            id2label=dict(enumerate(labels)),
            label2id={label: at for at, label in enumerate(labels)},
        )
    )
    net.save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def make_upernet(folder: Path) -> Path:
    torch.manual_seed(0)
    backbone = ConvNextConfig(
        hidden_sizes=[8, 16, 16, 16],
        depths=[1, 1, 1, 1],
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    net = UperNetForSemanticSegmentation(
        UperNetConfig(backbone_config=backbone, hidden_size=16, num_labels=150, auxiliary_channels=8)
    )
    net.save_pretrained(folder)
    SegformerImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def make_vitpose(folder: Path) -> Path:
    torch.manual_seed(0)
    backbone = VitPoseBackboneConfig(
        image_size=(48, 48),
        patch_size=(6, 6),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        out_indices=[2],
    )
    net = VitPoseForPoseEstimation(
        VitPoseConfig(
            backbone_config=backbone,
            id2label=dict(enumerate(COCO)),
            label2id={name: at for at, name in enumerate(COCO)},
        )
    )
    net.save_pretrained(folder)
    VitPoseImageProcessor(size={"height": 48, "width": 48}).save_pretrained(folder)
    return folder


def make_detector(folder: Path) -> Path:
    torch.manual_seed(0)
    net = YolosForObjectDetection(
        YolosConfig(
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            image_size=[64, 64],
            num_detection_tokens=5,
            id2label={0: "person", 1: "car"},
            label2id={"person": 0, "car": 1},
        )
    )
    net.save_pretrained(folder)
    YolosImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(folder)
    return folder


def make_zoe(folder: Path) -> Path:
    torch.manual_seed(0)
    backbone = {
        "model_type": "beit",
        "image_size": 64,
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "use_relative_position_bias": True,
        "reshape_hidden_states": False,
        "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }
    net = ZoeDepthForDepthEstimation(
        ZoeDepthConfig(
            backbone_config=backbone,
            neck_hidden_sizes=[8, 16, 16, 16],
            fusion_hidden_size=16,
            bottleneck_features=16,
            num_relative_features=8,
            bin_embedding_dim=16,
            num_attractors=[2, 2, 2, 1],
            bin_configurations=[{"n_bins": 8, "min_depth": 0.1, "max_depth": 10.0, "name": "nyu"}],
        )
    )
    net.save_pretrained(folder)
    ZoeDepthImageProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


def make_yolox(
    folder: Path, *, blue: float = 0.0, sure: float = 3.0, sides: float = 4.0, classes: int = 2
) -> Path:
    """A YOLOX that reads 64x64 px, and sees a person in each of the four cells of its coarsest grid.

    Args:
        blue: how much surer blue makes it, a level that blue has more than red.
        sure: logit of a person where there is no colour.
        sides: of a person, in cells.
    """
    nodes, tensors = [], {}
    for stride in (8, 16, 32):
        only_here = sure if stride == 32 else -20.0
        weights = np.zeros((5 + classes, 3, 1, 1), np.float32)
        weights[4, :, 0, 0] = np.array([blue, 0, -blue]) * (stride == 32)
        bias = np.array([0.5, 0.5, *[np.log(sides)] * 2, only_here, 9, *[-9] * (classes - 1)], np.float32)
        tensors |= {f"w{stride}": weights, f"b{stride}": bias}
        nodes += [
            node("AveragePool", "images", f"p{stride}", kernel_shape=[stride] * 2, strides=[stride] * 2),
            node("Conv", f"p{stride} w{stride} b{stride}", f"c{stride}", kernel_shape=[1, 1]),
            node("Split", f"c{stride} parts", f"r{stride} s{stride}", axis=1),
            node("Sigmoid", f"s{stride}", f"o{stride}"),
            node("Concat", f"r{stride} o{stride}", f"a{stride}", axis=1),
            node("Reshape", f"a{stride} flat", f"f{stride}"),
        ]
    tensors |= {"parts": np.array([4, 1 + classes]), "flat": np.array([0, 0, -1])}
    nodes += [node("Concat", "f8 f16 f32", "all", axis=2), node("Transpose", "all", "output", perm=[0, 2, 1])]
    return _write(folder, Net.YOLOX, model(nodes, tensors, {"images": ["batch", 3, 64, 64]}, ["output"]))


def make_dwpose(folder: Path, points: int = 133) -> Path:
    """A DWPose that reads 48x64 px: bodies are red, left hands green, right hands and faces blue."""
    weights = np.full((points, 3, 1, 1), -5.0, np.float32)
    for part, colour in ((slice(0, 23), 0), (slice(91, 112), 1), (slice(23, 91), 2), (slice(112, 133), 2)):
        weights[part, colour] = 10.0
    columns, rows = np.zeros((48, 96), np.float32), np.zeros((64, 128), np.float32)
    columns[np.arange(48), 2 * np.arange(48)] = rows[np.arange(64), 2 * np.arange(64)] = 1.0
    tensors = {"w": weights, "b": np.full(points, -10.0, np.float32), "columns": columns, "rows": rows}
    nodes = [
        node("Conv", "input w b", "seen", kernel_shape=[1, 1]),
        node("MaxPool", "seen", "high", kernel_shape=[64, 1]),
        node("MaxPool", "seen", "wide", kernel_shape=[1, 48]),
        node("Squeeze", "high two", "along"),
        node("Squeeze", "wide three", "down"),
        node("MatMul", "along columns", "simcc_x"),
        node("MatMul", "down rows", "simcc_y"),
    ]
    tensors |= {"two": np.array([2]), "three": np.array([3])}
    shape = {"input": ["batch", 3, 64, 48]}
    return _write(folder, Net.DWPOSE, model(nodes, tensors, shape, ["simcc_x", "simcc_y"]))


def _write(folder: Path, net: Net, content: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / WEIGHTS[net].file
    path.write_bytes(content)
    return path
