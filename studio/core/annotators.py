"""What is known of each preprocessor: its name, the controls that it suits, and the nets that it needs.

Tables of facts, for the page, the API and whoever loads the nets. The names of modules and of control types
are those of AUTOMATIC1111's ControlNet extension.
"""

from __future__ import annotations

from collections.abc import Mapping

from studio.core.annotator_nets import Net
from studio.core.control_types import ControlType
from studio.core.preprocess import PREPROCESSORS, Options
from studio.core.preprocessor_facts import Module, Need, PreprocessorFacts, Slider


def _facts(
    kind: str,
    group: str,
    title: str,
    controls: tuple[ControlType, ...],
    *modules: Module,
    needs: tuple[Need, ...] = (),
) -> PreprocessorFacts:
    return PreprocessorFacts(
        kind=kind, group=group, title=title, controls=controls, modules=modules, needs=needs
    )


def _module(
    name: str, *aliases: str, a: Slider | None = None, b: Slider | None = None, **options: bool
) -> Module:
    """Args: a, b: what its two thresholds mean. options: what its name stands for."""
    return Module(name=name, aliases=aliases, threshold_a=a, threshold_b=b, options=options)


def _slider(
    field: str, title: str, minimum: float, maximum: float, default: float, step: float = 1
) -> Slider:
    return Slider(field=field, title=title, minimum=minimum, maximum=maximum, default=default, step=step)


def _model(*nets: Net, option: str = "", value: bool = True) -> Need:
    return Need(nets=nets, field="model", option=option, value=value)


_FACTS = (
    _facts(
        "canny",
        "Edges",
        "Canny",
        (ControlType.CANNY,),
        _module(
            "canny",
            a=_slider("low", "Low threshold", 1, 255, 100),
            b=_slider("high", "High threshold", 1, 255, 200),
        ),
    ),
    _facts(
        "scribble_drawing",
        "Scribble",
        "Scribble from a drawing",
        (ControlType.SCRIBBLE,),
        _module("scribble"),
    ),
    _facts(
        "scribble_xdog",
        "Scribble",
        "Scribble, XDoG",
        (ControlType.SCRIBBLE,),
        _module("scribble_xdog", a=_slider("threshold", "Threshold", 1, 64, 32)),
    ),
    _facts(
        "scribble_hed",
        "Scribble",
        "Scribble, HED",
        (ControlType.SCRIBBLE,),
        _module("scribble_hed", "fake_scribble"),
        needs=(_model(Net.HED),),
    ),
    _facts(
        "scribble_pidinet",
        "Scribble",
        "Scribble, PiDiNet",
        (ControlType.SCRIBBLE,),
        _module("scribble_pidinet", "t2ia_sketch_pidi", "pidinet_scribble"),
        needs=(_model(Net.PIDINET),),
    ),
    _facts(
        "softedge_hed",
        "Soft edges",
        "Soft edges, HED",
        (ControlType.SOFT_EDGE, ControlType.SCRIBBLE),
        _module("softedge_hed", "hed"),
        _module("softedge_hedsafe", "hed_safe", safe=True),
        needs=(_model(Net.HED),),
    ),
    _facts(
        "softedge_pidinet",
        "Soft edges",
        "Soft edges, PiDiNet",
        (ControlType.SOFT_EDGE, ControlType.SCRIBBLE),
        _module("softedge_pidinet", "pidinet"),
        _module("softedge_pidisafe", "pidinet_safe", safe=True),
        needs=(_model(Net.PIDINET),),
    ),
    _facts(
        "softedge_teed",
        "Soft edges",
        "Soft edges, TEED",
        (ControlType.SOFT_EDGE, ControlType.SCRIBBLE),
        _module("softedge_teed", "teed", a=_slider("safe_steps", "Safe steps", 0, 10, 2)),
        needs=(_model(Net.TEED),),
    ),
    _facts(
        "lineart_realistic",
        "Line art",
        "Line art, realistic",
        (ControlType.LINEART,),
        _module("lineart_realistic", "lineart"),
        _module("lineart_coarse", coarse=True),
        needs=(
            _model(Net.LINEART, option="coarse", value=False),
            _model(Net.LINEART_COARSE, option="coarse"),
        ),
    ),
    _facts(
        "lineart_anime",
        "Line art",
        "Line art, anime",
        (ControlType.LINEART,),
        _module("lineart_anime"),
        needs=(_model(Net.LINEART_ANIME),),
    ),
    _facts(
        "lineart_standard",
        "Line art",
        "Line art, standard",
        (ControlType.LINEART,),
        _module("lineart_standard", "lineart_standard (from white bg & black line)"),
    ),
    _facts(
        "depth_anything",
        "Depth",
        "Depth Anything V2",
        (ControlType.DEPTH,),
        _module("depth_anything_v2", "depth_anything"),
        needs=(_model(Net.DEPTH_ANYTHING),),
    ),
    _facts(
        "depth_dpt",
        "Depth",
        "Depth, DPT",
        (ControlType.DEPTH,),
        _module("depth_dpt"),
        needs=(_model(Net.DPT),),
    ),
    _facts(
        "depth_midas",
        "Depth",
        "Depth, MiDaS",
        (ControlType.DEPTH,),
        _module("depth_midas", "depth"),
        needs=(_model(Net.MIDAS),),
    ),
    _facts(
        "depth_zoe",
        "Depth",
        "Depth, ZoeDepth",
        (ControlType.DEPTH,),
        _module("depth_zoe"),
        needs=(_model(Net.ZOE),),
    ),
    _facts(
        "depth_leres",
        "Depth",
        "Depth, LeReS",
        (ControlType.DEPTH,),
        _module(
            "depth_leres",
            a=_slider("flatten_near", "Remove near, %", 0, 100, 0, step=0.1),
            b=_slider("cut_far", "Remove background, %", 0, 100, 0, step=0.1),
        ),
        needs=(_model(Net.LERES),),
    ),
    _facts(
        "pose_openpose",
        "Pose",
        "OpenPose",
        (ControlType.OPENPOSE,),
        _module("openpose"),
        _module("openpose_hand", hands=True),
        _module("openpose_face", face=True),
        _module("openpose_faceonly", body=False, face=True),
        _module("openpose_full", hands=True, face=True),
        needs=(
            _model(Net.OPENPOSE_BODY),
            Need(nets=(Net.OPENPOSE_HAND,), option="hands"),
            Need(nets=(Net.OPENPOSE_FACE,), option="face"),
        ),
    ),
    _facts(
        "pose_dw",
        "Pose",
        "DWPose",
        (ControlType.OPENPOSE,),
        _module("dw_openpose_full", "dwpose"),
        needs=(_model(Net.DWPOSE), Need(nets=(Net.YOLOX, Net.DETECTOR), field="detector")),
    ),
    _facts(
        "pose_vit",
        "Pose",
        "ViTPose",
        (ControlType.OPENPOSE,),
        _module("vitpose"),
        needs=(_model(Net.VITPOSE), Need(nets=(Net.DETECTOR, Net.SEGMENTATION), field="detector")),
    ),
    _facts(
        "normal_bae",
        "Normals",
        "Normals, Bae",
        (ControlType.NORMAL,),
        _module("normal_bae"),
        needs=(_model(Net.NORMAL_BAE),),
    ),
    _facts(
        "normal_depth",
        "Normals",
        "Normals from depth",
        (ControlType.NORMAL,),
        _module(
            "normal_midas",
            "normal_map",
            "normal",
            a=_slider("background", "Background threshold", 0, 1, 0.4, step=0.01),
        ),
        needs=(_model(Net.MIDAS, Net.DEPTH_ANYTHING, Net.DPT),),
    ),
    _facts(
        "segmentation",
        "Segmentation",
        "Segmentation",
        (ControlType.SEGMENTATION,),
        _module("seg_ufade20k", "segmentation", "seg_ofade20k", "oneformer_ade20k"),
        needs=(_model(Net.SEGMENTATION),),
    ),
    _facts(
        "mlsd",
        "Straight lines",
        "Straight lines, M-LSD",
        (ControlType.MLSD,),
        _module(
            "mlsd",
            a=_slider("score", "Value threshold", 0.01, 2, 0.1, step=0.01),
            b=_slider("distance", "Distance threshold", 0.01, 20, 0.1, step=0.01),
        ),
        needs=(_model(Net.MLSD),),
    ),
    _facts("shuffle", "Picture", "Shuffle", (ControlType.SHUFFLE,), _module("shuffle")),
    _facts(
        "tile",
        "Picture",
        "Tile",
        (ControlType.TILE,),
        _module("tile_resample", "tile", a=_slider("factor", "Down sampling rate", 1, 8, 1, step=0.01)),
    ),
    _facts("colour", "Picture", "Colour grid", (ControlType.COLOUR,), _module("t2ia_color_grid", "color")),
    _facts(
        "threshold",
        "Picture",
        "Threshold",
        (ControlType.SCRIBBLE, ControlType.CANNY),
        _module("threshold", "binary", a=_slider("level", "Binarization threshold", 0, 254, 127)),
    ),
    _facts(
        "inpaint",
        "Picture",
        "Inpaint",
        (ControlType.INPAINT,),
        _module("inpaint_only", "inpaint", "inpaint_global_harmonious"),
    ),
    _facts(
        "map",
        "Picture",
        "The map itself",
        tuple(ControlType),
        _module("invert", "invert (from white bg & black line)", invert=True),
    ),
)

FACTS: Mapping[str, PreprocessorFacts] = {facts.kind: facts for facts in _FACTS}
"""By kind, in the order in which they are offered."""

MODULES: Mapping[str, tuple[PreprocessorFacts, Module]] = {
    name: (facts, module)
    for facts in _FACTS
    for module in facts.modules
    for name in (module.name, *module.aliases)
}
"""By the name or alias that A1111's API knows."""

CONTROLS: Mapping[ControlType, tuple[PreprocessorFacts, ...]] = {
    control: tuple(facts for facts in _FACTS if control in facts.controls) for control in ControlType
}
"""The preprocessors that suit a control, the usual one first."""


def facts_of(options: Options) -> PreprocessorFacts:
    return FACTS[kind_of(options)]


def control_of(options: Options | None) -> ControlType | None:
    """What the map of a preprocessor shows; None for a finished map, which may show anything."""
    controls = facts_of(options).controls if options else ()
    return None if len(controls) == len(ControlType) else next(iter(controls), None)


def kind_of(options: Options) -> str:
    kind = type(options).model_fields["kind"].default
    assert kind in PREPROCESSORS
    return str(kind)


def needs_of(options: Options) -> tuple[Need, ...]:
    """The nets that a preprocessor runs with just these options."""
    return tuple(
        need
        for need in facts_of(options).needs
        if not need.option or getattr(options, need.option) is need.value
    )
