"""What a weight file is, told from the names and shapes of its tensors.

Each rule looks at one header and says what the file is, or `None`. The families differ in structure, not
only in width, which is why tiny and widened models are told apart as well: SD 1.x projects into attention
with convolutions, SD 2.x and SDXL with matrices, and only SDXL is conditioned on picture sizes (`label_emb`,
in diffusers `add_embedding`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from studio.core.control_types import union_layout
from studio.core.errors import UnknownFile
from studio.core.models import Family, ModelKind, PredictionType, Variant
from studio.models.annotator_files import net_of_file
from studio.models.configs import Shapes, context_width
from studio.models.gligen_checks import graft_problem
from studio.models.gligen_files import graft_layout

_FAMILY_BY_CONTEXT = {768: Family.SD1, 1024: Family.SD2, 2048: Family.SDXL, 1280: Family.SDXL}
"""Width of the text embeddings; 1280 is SDXL's second encoder alone (in textual inversions)."""

UNET = "model.diffusion_model."
VAE = "first_stage_model."


@dataclass(frozen=True)
class Signature:
    """What the tensors alone tell."""

    kind: ModelKind
    family: Family = Family.UNKNOWN
    variant: Variant = Variant.BASE
    layout: str = "ldm"
    prediction_type: PredictionType | None = None
    """None where the tensors do not tell."""
    zero_snr: bool = False
    problem: str = ""
    """Why the file cannot be used, though it is known what it is."""


@dataclass(frozen=True)
class Evidence:
    shapes: Shapes
    metadata: Mapping[str, str]
    name: str
    """The file's name without its suffix: a hint where shapes cannot tell."""

    def has(self, *names: str) -> bool:
        return any(name in self.shapes for name in names)

    def first(self, pattern: str) -> tuple[int, ...] | None:
        """Shape of the first tensor whose name matches anywhere."""
        find = re.compile(pattern).search
        return next((shape for name, shape in self.shapes.items() if find(name)), None)

    def without(self, prefix: str) -> Evidence:
        """Only the tensors under `prefix`, which is taken off."""
        inner = {k.removeprefix(prefix): v for k, v in self.shapes.items() if k.startswith(prefix)}
        return Evidence(inner, self.metadata, self.name)


def identify(evidence: Evidence) -> Signature:
    """The first rule that knows the file.

    Raises: UnknownFile.
    """
    _refuse_other_architectures(evidence)
    for rule in _RULES:
        signature = rule(evidence)
        if signature is not None:
            return signature
    raise UnknownFile(
        f"{evidence.name} is readable, but no model that Easel knows: it begins with the tensor "
        f"{next(iter(evidence.shapes), 'none')[:80]}.",
        "Easel runs SD 1.x, SD 2.x and SDXL and what belongs to them.",
    )


def unet_family(unet: Evidence) -> Family:
    """The family of a UNet or ControlNet, in LDM or diffusers names."""
    if unet.has("label_emb.0.0.weight", "add_embedding.linear_1.weight"):
        return Family.SDXL
    projection = unet.first(r"attentions?\.\d+\.proj_in\.weight|blocks?\.\d+(\.\d+)?\.proj_in\.weight")
    return Family.SD2 if projection and len(projection) == 2 else Family.SD1


def family_of_context(width: int | None) -> Family:
    """By the width of the text embeddings that cross-attention reads."""
    return _FAMILY_BY_CONTEXT.get(width or 0, Family.UNKNOWN)


_OTHER_ARCHITECTURES = {
    r"joint_blocks\.\d+\.|transformer_blocks\.\d+\.norm1_context": "Stable Diffusion 3",
    r"double_blocks[._]\d+|single_transformer_blocks[._]\d+": "FLUX",
    r"motion_modules\.\d+": "AnimateDiff",
    r"(^|\.)down_blocks\.\d+\.\d+\.channelwise|clip_txt_mapper": "Stable Cascade",
    r"lllite_": "ControlNet-LLLite",
    r"(^|\.)lora_controlnet$": "Control-LoRA",
}


def _refuse_other_architectures(evidence: Evidence) -> None:
    for pattern, architecture in _OTHER_ARCHITECTURES.items():
        if evidence.first(pattern) is not None:
            raise UnknownFile(
                f"{evidence.name} belongs to {architecture}, which Easel does not run.",
                "Easel runs SD 1.x, SD 2.x and SDXL and what belongs to them.",
            )


def _controlnet(evidence: Evidence) -> Signature | None:
    net = evidence.without("control_model.") if evidence.first(r"^control_model\.") else evidence
    if net.has("input_hint_block.0.weight"):
        return Signature(ModelKind.CONTROLNET, unet_family(net))
    if net.has("controlnet_cond_embedding.conv_in.weight"):
        return Signature(ModelKind.CONTROLNET, unet_family(net), layout=controlnet_layout(net.shapes))
    return None


def controlnet_layout(shapes: Shapes) -> str:
    """The layout of a ControlNet in diffusers' names; a union net is told by what it knows of its tasks."""
    tasks = shapes.get("task_embedding")
    return union_layout(tasks[0]) if tasks else "diffusers"


def _gligen(evidence: Evidence) -> Signature | None:
    if evidence.first(r"(^|\.)position_net\.") is None and evidence.first(r"\.fuser\.") is None:
        return None
    layout = graft_layout(evidence.shapes, has_projection=False)
    return Signature(ModelKind.GLIGEN, Family.SD1, layout=layout, problem=graft_problem(evidence.shapes))


def _checkpoint(evidence: Evidence) -> Signature | None:
    if not evidence.has(f"{UNET}input_blocks.0.0.weight"):
        return None
    unet = evidence.without(UNET)
    family = unet_family(unet)
    return Signature(
        ModelKind.CHECKPOINT,
        family,
        _variant(evidence.name, unet.shapes["input_blocks.0.0.weight"]),
        prediction_type=PredictionType.V_PREDICTION if evidence.has("v_pred") else None,
        zero_snr=evidence.has("ztsnr"),
        problem=_missing_parts(evidence, family),
    )


def _variant(name: str, conv_in: tuple[int, ...]) -> Variant:
    channels = conv_in[1] if len(conv_in) == 4 else 0
    if channels == 4:
        return Variant.BASE
    if channels == 9:
        return Variant.INPAINT
    raise UnknownFile(
        f"The UNet of {name} takes {channels} channels; Easel runs those with 4 (base) and 9 (inpainting).",
        "Choose another variant of the model.",
    )


_TEXT_ENCODERS = {
    Family.SD1: ("cond_stage_model.transformer.",),
    Family.SD2: ("cond_stage_model.model.",),
    Family.SDXL: ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."),
}


def text_encoder_prefixes(family: Family) -> tuple[str, ...]:
    """Where the text encoders of a single-file checkpoint lie, in order."""
    return _TEXT_ENCODERS[family]


def _missing_parts(evidence: Evidence, family: Family) -> str:
    if evidence.first(r"^conditioner\.embedders\.0\.model\.") is not None:
        return "It is the SDXL refiner; Easel runs the base model and its fine-tunes."
    parts = dict.fromkeys(text_encoder_prefixes(family), "text encoder") | {VAE: "VAE"}
    missing = [part for prefix, part in parts.items() if evidence.first("^" + re.escape(prefix)) is None]
    return f"It lacks its {' and '.join(dict.fromkeys(missing))}." if missing else ""


ONLY_UNET = "It holds only a UNet, without text encoder and VAE."


def _unet_only(evidence: Evidence) -> Signature | None:
    if evidence.has("input_blocks.0.0.weight") and evidence.has("out.2.weight"):
        conv_in, layout = evidence.shapes["input_blocks.0.0.weight"], "ldm"
    elif evidence.has("conv_in.weight") and evidence.first(r"^up_blocks\.\d+\.resnets"):
        conv_in, layout = evidence.shapes["conv_in.weight"], "diffusers"
    else:
        return None
    variant = _variant(evidence.name, conv_in)
    return Signature(
        ModelKind.CHECKPOINT, unet_family(evidence), variant, layout=f"{layout}-unet", problem=ONLY_UNET
    )


def _t2i_adapter(evidence: Evidence) -> Signature | None:
    if evidence.first(r"^(adapter\.)?body\.\d+\.(in_conv|block1|resnets\.0\.block1)\.") is None:
        return None
    conv_in = evidence.first(r"^(adapter\.)?conv_in\.weight$")
    family = Family.SDXL if conv_in and conv_in[1] in _XL_UNSHUFFLED else Family.SD1
    layout = "diffusers" if evidence.first(r"^adapter\.") else "ldm"
    return Signature(ModelKind.T2I_ADAPTER, family, layout=layout)


_XL_UNSHUFFLED = (1 * 16 * 16, 3 * 16 * 16)
"""Input channels of SDXL's adapters: the picture folded 16 to a side (SD 1.x folds 8)."""


def _ip_adapter(evidence: Evidence) -> Signature | None:
    key = evidence.first(r"^ip_adapter\.\d+\.to_k_ip\.weight$")
    if key is None:
        return None
    reads_faces = evidence.has("image_proj.norm.weight") and evidence.has("image_proj.proj.0.weight")
    reads_faces |= evidence.first(r"^image_proj\.perceiver_resampler\.") is not None
    problem = _NO_FACE_ID if reads_faces else ""
    return Signature(ModelKind.IP_ADAPTER, family_of_context(key[1]), layout="ip-adapter", problem=problem)


_NO_FACE_ID = (
    "It is an IP-Adapter FaceID, which needs a face recogniser that Easel does not have; "
    "choose an IP-Adapter Plus Face."
)


def _hypernetwork(evidence: Evidence) -> Signature | None:
    if evidence.first(r"^\d+\.[01]\.linear(\.\d+|\d)\.weight$") is None:
        return None
    widths = {int(name.split(".")[0]) for name in evidence.shapes if re.match(r"\d+\.", name)}
    family = next((_FAMILY_BY_CONTEXT[w] for w in (2048, 1024, 768) if w in widths), Family.UNKNOWN)
    return Signature(ModelKind.HYPERNETWORK, family, layout="a1111")


_LORA = re.compile(
    r"\.(lora_down|lora_up|lora_A|lora_B|lora\.down|lora\.up|hada_w1_a|lokr_w1|lokr_w1_a)(\.|$)|_lora\.(down|up)\."
)
_LORA_CONTEXT = re.compile(
    r"attn2[._](?:processor[._])?to_k(?:_lora)?\.(?:lora_down|lora_A|lora\.down|down)\."
)


def _lora(evidence: Evidence) -> Signature | None:
    if not any(_LORA.search(name) for name in evidence.shapes):
        return None
    layout = "kohya" if evidence.first(r"^lora_(unet|te)") is not None else "diffusers"
    return Signature(ModelKind.LORA, _lora_family(evidence), layout=layout)


def _lora_family(evidence: Evidence) -> Family:
    told = evidence.metadata.get("modelspec.architecture", "") + evidence.metadata.get(
        "ss_base_model_version", ""
    )
    if "xl" in told or evidence.first(r"^(lora_te2_|text_encoder_2\.)") is not None:
        return Family.SDXL
    if "v2" in told or evidence.metadata.get("ss_v2") == "True":
        return Family.SD2
    if "v1" in told:
        return Family.SD1
    widths = (shape[-1] for name, shape in evidence.shapes.items() if _LORA_CONTEXT.search(name))
    return family_of_context(next(widths, None))


_NO_OPEN_CLIP = "It is an image encoder in OpenCLIP's names; choose a copy in transformers' names."


def _clip_vision(evidence: Evidence) -> Signature | None:
    if evidence.first(r"(^|vision_model\.)embeddings\.patch_embedding\.weight$"):
        return Signature(ModelKind.CLIP_VISION, layout="diffusers")
    if evidence.has("visual.conv1.weight"):
        return Signature(ModelKind.CLIP_VISION, layout="openclip", problem=_NO_OPEN_CLIP)
    return None


def _vae(evidence: Evidence) -> Signature | None:
    vae = evidence.without(VAE) if evidence.first("^" + re.escape(VAE)) else evidence
    if not vae.has("decoder.conv_in.weight") or not vae.has("encoder.conv_in.weight"):
        return None
    if vae.shapes["decoder.conv_in.weight"][1] != 4:
        raise UnknownFile(
            f"{evidence.name} is a VAE with {vae.shapes['decoder.conv_in.weight'][1]} latent channels.",
            "Stable Diffusion 1.x, 2.x and XL need 4.",
        )
    layout = "ldm" if vae.first(r"^decoder\.mid\.") else "diffusers"
    return Signature(
        ModelKind.VAE, Family.SDXL if "xl" in evidence.name.lower() else Family.UNKNOWN, layout=layout
    )


def _tiny_autoencoder(evidence: Evidence) -> Signature | None:
    family = Family.SDXL if "xl" in evidence.name.lower() else Family.UNKNOWN
    if evidence.first(r"^decoder\.layers\.\d+\.") and evidence.first(r"^encoder\.layers\.\d+\."):
        return Signature(ModelKind.VAE, family, layout="taesd")
    if evidence.first(r"^(taesd_decoder\.|decoder\.)?\d+\.conv\.\d+\.weight$"):
        return Signature(
            ModelKind.VAE, family, layout="taesd-half", problem="It is one half of TAESD; install the whole."
        )
    return None


def _annotator(evidence: Evidence) -> Signature | None:
    net = net_of_file(evidence.shapes, evidence.name)
    return None if net is None else Signature(ModelKind.ANNOTATOR, layout=net)


def _embedding(evidence: Evidence) -> Signature | None:
    names = embedding_tensors(evidence.shapes)
    if not names:
        return None
    width = evidence.shapes[names[-1]][-1]
    family = Family.SDXL if len(names) == 2 else family_of_context(width)
    return Signature(ModelKind.EMBEDDING, family, layout="a1111")


def embedding_tensors(shapes: Shapes) -> tuple[str, ...]:
    """The tensors that hold a textual inversion's vectors, (N, width) or (width,), in the encoders' order.

    One, or SDXL's two; none where the file is no textual inversion.
    """
    for names in (("clip_l", "clip_g"), ("emb_params",), ("string_to_param.*",)):
        if all(len(shapes.get(name, ())) in (1, 2) for name in names):
            return names
    told = [name for name in shapes if not name.startswith("string_to_token")]
    return (told[0],) if len(told) == 1 and len(shapes[told[0]]) in (1, 2) else ()


_RULES: tuple[Callable[[Evidence], Signature | None], ...] = (
    _controlnet,
    _gligen,
    _checkpoint,
    _ip_adapter,
    _lora,
    _t2i_adapter,
    _hypernetwork,
    _unet_only,
    _clip_vision,
    _tiny_autoencoder,
    _vae,
    _annotator,
    _embedding,
)


def lora_context_width(shapes: Shapes) -> int | None:
    """Width of the text embeddings that a LoRA, ControlNet or UNet was made for, where it can be seen."""
    widths = (shape[-1] for name, shape in shapes.items() if _LORA_CONTEXT.search(name))
    return next(widths, None) or context_width(shapes)
