"""What a model is: kind, family, variant and prediction type, from names, shapes and configurations.

Only headers are read. A diffusers folder says most of it in its configurations; a single file says it with
its tensors (`signatures`). What neither can say is told by sidecars, metadata and names (`prediction`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from studio.core.errors import CorruptFile, UnknownFile
from studio.core.models import Family, ModelKind, PredictionType, Variant
from studio.models.annotator_graphs import net_of_ports
from studio.models.annotators import net_of_folder
from studio.models.clip_layers import layers_of_file, layers_of_folder
from studio.models.configs import Config
from studio.models.folders import (
    component_class,
    component_config,
    is_pipeline,
    latent_size,
    pipeline_components,
    read_json,
    text_width,
    weight_files,
)
from studio.models.gligen_checks import graft_problem
from studio.models.gligen_files import PIPELINE_IMAGE_PROJECTION, graft_layout
from studio.models.onnx_ports import ports_of
from studio.models.onnx_session import ONNX
from studio.models.prediction import PREDICTION_TYPES, prediction_of_file, sidecar_family
from studio.models.safe import open_weights, read_header
from studio.models.signatures import (
    ONLY_UNET,
    Evidence,
    controlnet_layout,
    family_of_context,
    identify,
    lora_context_width,
    unet_family,
)
from studio.models.texts import MAX_LINE, MAX_TEXT, clean
from studio.models.weights import Header

_LATENT_SCALE = 8
"""Pixels a latent, in every family."""


@dataclass(frozen=True)
class Probe:
    kind: ModelKind
    family: Family
    variant: Variant = Variant.BASE
    prediction_type: PredictionType = PredictionType.EPSILON
    layout: str = ""
    dtype: str = ""
    """torch's name of the type that most of its bytes have: 'float16'."""
    native_size: int = 512
    """Side of the pictures it was trained on, px."""
    context_width: int | None = None
    """Width of the text embeddings it attends to, where that can be seen."""
    clip_layers: int | None = None
    """Highest clip skip of a checkpoint, where that can be seen."""
    zero_snr: bool = False
    licence: str = ""
    description: str = ""
    problem: str = ""
    """Why it cannot be used, though it is known what it is."""


def probe(path: Path) -> Probe:
    """What the file or folder at `path` is.

    Raises:
        UnknownFile: readable, but no model that Easel knows.
        CorruptFile: truncated, or a header that lies.
        UnsafeFile: it would have to execute code to be read.
        NotFound: something is missing.
    """
    try:
        if path.suffix.lower() == ONNX:
            return _probe_onnx(path)
        if not path.is_dir():
            return _probe_file(path)
        return _probe_pipeline(path) if is_pipeline(path) else _probe_component(path)
    except _CONTRADICTIONS as error:
        raise contradiction(path, error) from error


_CONTRADICTIONS = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError, RecursionError)
"""What code runs into that takes a header or a configuration at its word."""


def contradiction(path: Path, error: Exception) -> CorruptFile:
    """The sentence for a file that made our code stumble."""
    why = clean(repr(error), MAX_LINE)
    return CorruptFile(f"{path.name} contradicts itself: {why}.", "Download or copy it again.")


def _probe_file(path: Path) -> Probe:
    header = read_header(path)
    evidence = _evidence(header, path.stem)
    signature = identify(evidence)
    is_checkpoint = signature.kind is ModelKind.CHECKPOINT
    prediction_type = prediction_of_file(path, header, signature)
    return Probe(
        signature.kind,
        sidecar_family(path) if signature.family is Family.UNKNOWN else signature.family,
        signature.variant,
        prediction_type,
        signature.layout,
        main_dtype(header),
        native_size(signature.family, prediction_type),
        lora_context_width(evidence.shapes),
        layers_of_file(evidence.shapes, signature.family) if is_checkpoint else None,
        signature.zero_snr,
        clean(header.metadata.get("modelspec.license"), MAX_LINE),
        clean(header.metadata.get("modelspec.description"), MAX_TEXT),
        signature.problem,
    )


def _probe_onnx(path: Path) -> Probe:
    """Told by what the net reads and answers: the names of its tensors are numbers."""
    net = net_of_ports(ports_of(path))
    if net is None:
        raise UnknownFile(
            f"{path.name} is an ONNX file, but of another net than the two of DWPose.",
            "Look for a .safetensors version of it.",
        )
    return Probe(ModelKind.ANNOTATOR, Family.UNKNOWN, layout=net, dtype="float32")


def _evidence(header: Header, name: str) -> Evidence:
    return Evidence({name: info.shape for name, info in header.tensors.items()}, header.metadata, name)


def main_dtype(header: Header) -> str:
    """The number format that most bytes of a file are in, in safetensors' words; empty of an empty file."""
    sizes: dict[str, int] = {}
    for info in header.tensors.values():
        sizes[info.dtype] = sizes.get(info.dtype, 0) + info.size_bytes
    return max(sizes, key=lambda dtype: sizes[dtype], default="")


def native_size(family: Family, prediction_type: PredictionType) -> int:
    """Side of the pictures that models of a family were trained on, px."""
    if family is Family.SDXL:
        return 1024
    return 768 if (family, prediction_type) == (Family.SD2, PredictionType.V_PREDICTION) else 512


def _probe_pipeline(folder: Path) -> Probe:
    components = pipeline_components(folder)
    if components.get("unet") != "UNet2DConditionModel":
        raise UnknownFile(
            f"{folder.name} is a pipeline without a Stable Diffusion UNet.",
            "Easel runs SD 1.x, SD 2.x and SDXL.",
        )
    unet = component_config(folder / "unet")
    weights = [open_weights(weight_files(folder / role)) for role in _weighted(components)]
    family = family_of_unet_config(unet)
    prediction_type = _scheduler_prediction(folder, components)
    probed = Probe(
        ModelKind.CHECKPOINT,
        family,
        _variant_of(unet, folder.name),
        prediction_type,
        "diffusers",
        main_dtype(weights[0].header),
        latent_size(unet, folder.name) * _LATENT_SCALE,
        text_width(unet, folder.name),
        layers_of_folder(folder, components, family),
    )
    return _with_graft(probed, folder, weights[0].header) if _is_gated(unet) else probed


_WEIGHTED_ROLES = ("unet", "vae", "text_encoder", "text_encoder_2")


def _weighted(components: dict[str, str]) -> list[str]:
    return [role for role in _WEIGHTED_ROLES if role in components]


def _scheduler_prediction(folder: Path, components: dict[str, str]) -> PredictionType:
    if "scheduler" not in components:
        return PredictionType.EPSILON
    told = read_json(folder / "scheduler" / "scheduler_config.json").get("prediction_type", "epsilon")
    if told not in PREDICTION_TYPES:
        raise UnknownFile(f"{folder.name} predicts {told!r}; Easel knows epsilon and v_prediction.")
    return PREDICTION_TYPES[told]


def family_of_unet_config(config: Config) -> Family:
    """The family of a UNet or ControlNet in a diffusers folder; told by structure, as in `signatures`."""
    if config.get("addition_embed_type") == "text_time":
        return Family.SDXL
    return Family.SD2 if config.get("use_linear_projection") else Family.SD1


def _variant_of(unet: Config, name: str) -> Variant:
    channels = unet.get("in_channels", 4)
    if channels not in (4, 9):
        raise UnknownFile(f"The UNet of {name} takes {channels} channels; Easel runs those with 4 and 9.")
    return Variant.INPAINT if channels == 9 else Variant.BASE


def _is_gated(unet: Config) -> bool:
    return str(unet.get("attention_type", "")).startswith("gated")


_COMPONENT_KINDS = {
    "AutoencoderKL": ModelKind.VAE,
    "AutoencoderTiny": ModelKind.VAE,
    "ControlNetModel": ModelKind.CONTROLNET,
    "ControlNetUnionModel": ModelKind.CONTROLNET,
    "ControlNetModel_Union": ModelKind.CONTROLNET,
    "T2IAdapter": ModelKind.T2I_ADAPTER,
    "UNet2DConditionModel": ModelKind.CHECKPOINT,
    "CLIPModel": ModelKind.CLIP_VISION,
    "CLIPVisionModel": ModelKind.CLIP_VISION,
    "CLIPVisionModelWithProjection": ModelKind.CLIP_VISION,
}


def _probe_component(folder: Path) -> Probe:
    config = component_config(folder)
    class_name = component_class(config)
    kind = _COMPONENT_KINDS.get(class_name)
    if class_name == "UNet2DConditionModel" and _is_gated(config):
        return _probe_gated_unet(folder, config)
    net = net_of_folder(config)
    if net is not None:
        kind = ModelKind.ANNOTATOR
    if kind is None:
        raise UnknownFile(
            f"{folder.name} holds a {class_name or 'model of no class'}, which Easel does not run."
        )
    header = open_weights(weight_files(folder)).header
    evidence = _evidence(header, folder.name)
    return Probe(
        kind,
        _component_family(kind, class_name, config, evidence),
        layout=net or _component_layout(kind, class_name, evidence),
        dtype=main_dtype(header),
        context_width=text_width(config, folder.name),
        problem=_COMPONENT_PROBLEMS.get(class_name, ""),
    )


def _component_layout(kind: ModelKind, class_name: str, evidence: Evidence) -> str:
    if kind is ModelKind.CONTROLNET:
        return controlnet_layout(evidence.shapes)
    return "taesd" if class_name == "AutoencoderTiny" else "diffusers"


def _probe_gated_unet(folder: Path, config: Config) -> Probe:
    """A UNet that GLIGEN was trained into, or a folder with what GLIGEN added to one."""
    header = open_weights(weight_files(folder)).header
    family = unet_family(_evidence(header, folder.name))
    context = text_width(config, folder.name)
    probed = Probe(ModelKind.GLIGEN, family, dtype=main_dtype(header), context_width=context)
    return _with_graft(probed, folder, header)


def _with_graft(probed: Probe, folder: Path, unet: Header) -> Probe:
    """`probed` as the GLIGEN model that its UNet says it is."""
    layout = graft_layout(unet.tensors, has_projection=(folder / PIPELINE_IMAGE_PROJECTION).is_dir())
    return replace(probed, kind=ModelKind.GLIGEN, layout=layout, problem=graft_problem(unet.tensors))


_COMPONENT_PROBLEMS = {
    "UNet2DConditionModel": ONLY_UNET,
    "CLIPModel": "It holds CLIP's text encoder as well; choose a folder of its image encoder alone.",
    "CLIPVisionModel": "It lacks the projection of a CLIPVisionModelWithProjection, which is needed.",
}


_FAMILY_BY_LATENT_SCALING = {0.18215: Family.SD1, 0.13025: Family.SDXL}


def _component_family(kind: ModelKind, class_name: str, config: Config, evidence: Evidence) -> Family:
    if class_name == "AutoencoderKL":
        return _FAMILY_BY_LATENT_SCALING.get(config.get("scaling_factor", 0.18215), Family.UNKNOWN)
    if class_name == "AutoencoderTiny":
        return Family.SDXL if "xl" in evidence.name.lower() else Family.UNKNOWN
    if kind is ModelKind.CONTROLNET or class_name == "UNet2DConditionModel":
        return (
            family_of_context(text_width(config, evidence.name))
            if _is_bare(config)
            else unet_family(evidence)
        )
    if class_name == "T2IAdapter":
        return Family.SDXL if str(config.get("adapter_type", "")).endswith("_xl") else Family.SD1
    return Family.UNKNOWN


def _is_bare(config: Config) -> bool:
    """Small SDXL ControlNets have no attention and no size conditioning to be told by."""
    return not any("CrossAttn" in str(block) for block in config.get("down_block_types", ()))
