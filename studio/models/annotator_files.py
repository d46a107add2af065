"""Nets of controlnet_aux, as single files: how each is told by its tensors, and how the file names them.

The files are those of A1111's folder `annotator/downloads` and of the repository lllyasviel/Annotators. Most
were written by training scripts, which put a word or two before the names that the module has.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Mapping
from contextlib import redirect_stdout
from functools import partial
from importlib import import_module
from io import StringIO
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from studio.core.annotator_nets import Net
from studio.core.errors import CorruptFile
from studio.models.configs import Shapes

if TYPE_CHECKING:
    import torch

CONTROLNET_AUX = "controlnet_aux"

_PREFIXES = ("", "module.", "model.module.", "model.", "depth_model.module.", "depth_model.")

_SIGNS: Mapping[Net, tuple[str, ...]] = {
    Net.HED: ("norm", "block1.convs.0.weight", "block5.projection.weight"),
    Net.PIDINET: ("init_block.weight", "block1_1.conv1.weight", "classifier.weight"),
    Net.TEED: ("block_1.conv1.weight", "block_cat.DWconv2.weight"),
    Net.LINEART: ("model0.1.weight", "model1.0.weight", "model4.1.weight"),
    Net.LINEART_ANIME: ("model.model.0.weight", "model.model.1.model.1.weight", "model.model.3.weight"),
    Net.MLSD: ("backbone.features.0.0.weight", "block23.conv3.weight"),
    Net.NORMAL_BAE: ("encoder.original_model.conv_stem.weight", "decoder.out_conv_res1.6.weight"),
    Net.LERES: ("depth_model.encoder_modules.encoder.conv1.weight",),
    Net.MIDAS: ("pretrained.model.cls_token", "scratch.output_conv.4.weight"),
}
"""Tensors, by the names of the module, that a net has and no other."""

_LAST_OF_OPENPOSE: Mapping[str, Mapping[int, Net]] = {
    "Mconv7_stage6_L2.weight": {19: Net.OPENPOSE_BODY},
    "Mconv7_stage6.weight": {22: Net.OPENPOSE_HAND, 71: Net.OPENPOSE_FACE},
}
"""OpenPose's nets have the names of Caffe's layers; the last one has a map for each point."""


def net_of_file(shapes: Shapes, name: str) -> Net | None:
    """The net that a file holds; None where it is none of these.

    Args:
        name: the file's, without suffix: the two nets of line art differ in nothing else.
    """
    for layer, nets in _LAST_OF_OPENPOSE.items():
        last = next((shape for key, shape in shapes.items() if key.endswith(layer)), (0,))
        if last[0] in nets:
            return nets[last[0]]
    for net, signs in _SIGNS.items():
        if any(all(prefix + sign in shapes for sign in signs) for prefix in _PREFIXES):
            coarse = net is Net.LINEART and re.search(r"model2|coarse", name)
            return Net.LINEART_COARSE if coarse else net
    return None


def places(wanted: Collection[str], available: Collection[str], file: str) -> dict[str, str]:
    """For each tensor that a module has, its name in the file.

    Raises: CorruptFile.
    """
    found = {name: _place(name, available) for name in wanted}
    missing = [name for name, place in found.items() if not place]
    if missing:
        raise CorruptFile(
            f"{file} lacks {len(missing)} of {len(wanted)} tensors, the first is {missing[0]}.",
            "Download it again.",
        )
    return found


def _place(name: str, available: Collection[str]) -> str:
    # OpenPose's modules put Caffe's layers into blocks, the files do not.
    candidates = (*(prefix + name for prefix in _PREFIXES), name.partition(".")[2])
    return next((candidate for candidate in candidates if candidate in available), "")


def new_net(net: Net) -> torch.nn.Module:
    """The module of a net, its weights not yet of any use."""
    place, arguments = _CLASSES[net]
    module_name, _, class_name = place.rpartition(".")
    make: Callable[..., torch.nn.Module] = getattr(controlnet_aux(module_name), class_name)
    with warnings.catch_warnings(), redirect_stdout(StringIO()):  # one of them tells what it does
        warnings.simplefilter("ignore")
        return make(**arguments())


def controlnet_aux(module: str = "") -> Any:
    """The library, or one of its modules. Imported for the first time, it takes seconds.

    It warns then of what other libraries will remove, and of some that it could use besides.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return import_module(f"{CONTROLNET_AUX}.{module}".rstrip("."))


def _nothing() -> dict[str, Any]:
    return {}


def _lineart() -> dict[str, Any]:
    return {"input_nc": 3, "output_nc": 1, "n_residual_blocks": 3}


def _lineart_anime() -> dict[str, Any]:
    from torch.nn import InstanceNorm2d

    norm = partial(InstanceNorm2d, affine=False, track_running_stats=False)
    return {"input_nc": 3, "output_nc": 1, "num_downs": 8, "ngf": 64, "norm_layer": norm}


def _normal_bae() -> dict[str, Any]:
    # As its authors ran it on ScanNet; the ratios only matter for training.
    return {
        "args": SimpleNamespace(
            mode="client", architecture="BN", pretrained="scannet", sampling_ratio=0.4, importance_ratio=0.7
        )
    }


def _leres() -> dict[str, Any]:
    return {"backbone": "resnext101"}


def _midas() -> dict[str, Any]:
    return {"path": None, "backbone": "vitb_rn50_384", "non_negative": True}


_CLASSES: Mapping[Net, tuple[str, Callable[[], dict[str, Any]]]] = {
    Net.HED: ("hed.ControlNetHED_Apache2", _nothing),
    Net.PIDINET: ("pidi.model.pidinet", _nothing),
    Net.TEED: ("teed.ted.TED", _nothing),
    Net.LINEART: ("lineart.Generator", _lineart),
    Net.LINEART_COARSE: ("lineart.Generator", _lineart),
    Net.LINEART_ANIME: ("lineart_anime.UnetGenerator", _lineart_anime),
    Net.MLSD: ("mlsd.models.mbv2_mlsd_large.MobileV2_MLSD_Large", _nothing),
    Net.OPENPOSE_BODY: ("open_pose.model.bodypose_model", _nothing),
    Net.OPENPOSE_HAND: ("open_pose.model.handpose_model", _nothing),
    Net.OPENPOSE_FACE: ("open_pose.face.FaceNet", _nothing),
    Net.NORMAL_BAE: ("normalbae.nets.NNET.NNET", _normal_bae),
    Net.LERES: ("leres.leres.multi_depth_model_woauxi.RelDepthModel", _leres),
    Net.MIDAS: ("midas.midas.dpt_depth.DPTDepthModel", _midas),
}
"""Where controlnet_aux has the class of a net, and what it is built with."""
