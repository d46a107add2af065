"""What a model is, told from names and shapes alone: tiny models, and the real ones' shapes over holes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, ControlNetModel, T2IAdapter, UNet2DConditionModel
from safetensors.torch import save_file

from studio.core.errors import CorruptFile, EaselError, UnknownFile
from studio.core.models import Family, ModelKind, PredictionType, Variant
from studio.models import convert
from studio.models.configs import ASSETS
from studio.models.modules import empty_module
from studio.models.probe import probe
from tests import tiny
from tests.models.sparse import write_sparse

Shapes = dict[str, tuple[int, ...]]

PREFIXES = {
    Family.SD1: {"text_encoder": "cond_stage_model.transformer."},
    Family.SD2: {"text_encoder": "cond_stage_model.model."},
    Family.SDXL: {
        "text_encoder": "conditioner.embedders.0.transformer.",
        "text_encoder_2": "conditioner.embedders.1.model.",
    },
}
FOLDERS = {Family.SD1: "sd1", Family.SD2: "sd2-v", Family.SDXL: "sdxl"}


def module_shapes(class_name: str, config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return empty_module(class_name, config).state_dict()


def config_of(family: Family, role: str) -> dict[str, Any]:
    return json.loads((ASSETS / FOLDERS[family] / f"{role}.json").read_text())


def stored_shapes(
    tensors: dict[str, torch.Tensor], sources: dict[str, convert.Source], prefix: str
) -> Shapes:
    return {prefix + name: tuple(t.shape) for name, t in convert.stored(tensors, sources).items()}


def real_checkpoint(family: Family, in_channels: int = 4) -> Shapes:
    """Names and shapes of a whole checkpoint as the real files have them."""
    unet = module_shapes("UNet2DConditionModel", config_of(family, "unet") | {"in_channels": in_channels})
    vae = module_shapes("AutoencoderKL", config_of(family, "vae"))
    shapes = stored_shapes(unet, convert.unet_sources(unet), "model.diffusion_model.")
    shapes |= stored_shapes(vae, convert.vae_sources(vae), "first_stage_model.")
    for role, prefix in PREFIXES[family].items():
        class_name = "CLIPTextModelWithProjection" if role.endswith("_2") else "CLIPTextModel"
        config = config_of(family, role)
        if family is Family.SD2:  # its files hold one layer more than is run
            config["num_hidden_layers"] += 1
        text = module_shapes(class_name, config)
        is_clip = prefix.endswith("transformer.")
        sources = convert.clip_sources(text) if is_clip else convert.open_clip_sources(text)
        shapes |= stored_shapes(text, sources, prefix)
    return shapes


@pytest.fixture(scope="module")
def real_shapes() -> dict[Family, Shapes]:
    return {family: real_checkpoint(family) for family in FOLDERS}


@pytest.mark.parametrize(
    ("family", "prediction", "size", "context"),
    [
        (Family.SD1, PredictionType.EPSILON, 512, 768),
        (Family.SD2, PredictionType.V_PREDICTION, 768, 1024),
        (Family.SDXL, PredictionType.EPSILON, 1024, 2048),
    ],
)
def test_checkpoints_of_the_real_shapes_are_known(tmp_path, real_shapes, family, prediction, size, context):
    told = probe(write_sparse(tmp_path / "model.safetensors", real_shapes[family]))
    assert (told.kind, told.family, told.variant) == (ModelKind.CHECKPOINT, family, Variant.BASE)
    assert (told.prediction_type, told.native_size, told.context_width) == (prediction, size, context)
    assert (told.layout, told.dtype, told.problem) == ("ldm", "float16", "")


@pytest.mark.parametrize(("family", "layers"), [(Family.SD1, 12), (Family.SD2, 23), (Family.SDXL, 11)])
def test_the_names_tell_how_far_clip_skip_goes(tmp_path, real_shapes, family, layers):
    assert probe(write_sparse(tmp_path / "model.safetensors", real_shapes[family])).clip_layers == layers


@pytest.mark.parametrize("family", FOLDERS)
def test_nine_input_channels_are_an_inpainting_model(tmp_path, real_shapes, family):
    shapes = real_shapes[family] | {"model.diffusion_model.input_blocks.0.0.weight": (320, 9, 3, 3)}
    told = probe(write_sparse(tmp_path / "model.safetensors", shapes))
    assert (told.family, told.variant) == (family, Variant.INPAINT)
    assert told.prediction_type is PredictionType.EPSILON


@pytest.mark.parametrize("channels", [5, 7, 8])
def test_a_unet_with_other_inputs_is_not_run(tmp_path, real_shapes, channels):
    shapes = real_shapes[Family.SD1] | {
        "model.diffusion_model.input_blocks.0.0.weight": (320, channels, 3, 3)
    }
    with pytest.raises(UnknownFile, match=f"takes {channels} channels"):
        probe(write_sparse(tmp_path / "model.safetensors", shapes))


@pytest.mark.parametrize("name", ["sd1", "sd2", "sdxl"])
@pytest.mark.parametrize("form", ["", "-file.safetensors", "-pickle.ckpt"])
def test_tiny_models_are_told_by_structure_in_every_form(models_dir, name, form):
    told = probe(models_dir / f"{name}{form}")
    assert told.kind is ModelKind.CHECKPOINT
    assert told.family is {"sd1": Family.SD1, "sd2": Family.SD2, "sdxl": Family.SDXL}[name]
    assert told.problem == ""


@pytest.mark.parametrize("v", [True, False])
def test_a_folder_tells_its_prediction_type_in_the_scheduler(tmp_path, v):
    told = probe(tiny.make_sd2(tmp_path / "model", v=v))
    assert told.prediction_type is (PredictionType.V_PREDICTION if v else PredictionType.EPSILON)


@pytest.mark.parametrize("form", ["", "-file.safetensors", "-pickle.ckpt"])
def test_clip_skip_goes_as_far_in_a_file_as_in_a_folder(models_dir, form):
    layers = {name: probe(models_dir / f"{name}{form}").clip_layers for name in ("sd1", "sd2", "sdxl")}
    assert layers == {"sd1": 3, "sd2": 3, "sdxl": 2}


def test_a_text_encoder_that_does_not_tell_its_layers_is_no_limit(tmp_path):
    folder = tiny.make_sd1(tmp_path / "model")
    config = folder / "text_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_hidden_layers": "three"}))
    assert probe(folder).clip_layers is None


def test_a_folder_tells_its_picture_size(models_dir):
    assert probe(models_dir / "sd1").native_size == tiny.PICTURE_SIZE


@pytest.mark.parametrize(
    ("name", "metadata", "prediction"),
    [
        ("v2-1_768-ema-pruned", {}, PredictionType.V_PREDICTION),
        ("my-model", {}, PredictionType.V_PREDICTION),
        ("512-base-ema", {}, PredictionType.EPSILON),
        ("sd2_512", {}, PredictionType.EPSILON),
        ("sd2_512", {"modelspec.prediction_type": "v"}, PredictionType.V_PREDICTION),
        ("my-model", {"modelspec.prediction_type": "epsilon"}, PredictionType.EPSILON),
    ],
)
def test_metadata_and_then_the_name_tell_what_an_sd2_file_predicts(
    tmp_path, models_dir, name, metadata, prediction
):
    file = tiny.to_single_file(models_dir / "sd2", tmp_path / f"{name}.safetensors", metadata)
    assert probe(file).prediction_type is prediction


@pytest.mark.parametrize(
    ("suffix", "text"),
    [
        (".yaml", "model:\n  params:\n    linear_start: 0.00085\n"),
        (".json", '{"prediction_type": "epsilon"}'),
    ],
)
def test_a_sidecar_overrides_everything(tmp_path, models_dir, suffix, text):
    metadata = {"modelspec.prediction_type": "v"}
    file = tiny.to_single_file(models_dir / "sd2", tmp_path / "model.safetensors", metadata)
    file.with_suffix(suffix).write_text(text)
    assert probe(file).prediction_type is PredictionType.EPSILON


def test_a_sidecar_of_the_original_repository_tells_v_prediction(tmp_path, models_dir):
    file = tiny.to_single_file(models_dir / "sd1", tmp_path / "model.safetensors")
    file.with_suffix(".yaml").write_text('model:\n  params:\n    parameterization: "v"\n')
    assert probe(file).prediction_type is PredictionType.V_PREDICTION


def test_marker_tensors_tell_an_xl_model_with_v_prediction_and_zero_snr(tmp_path, models_dir):
    tensors = tiny.ldm_tensors(models_dir / "sdxl") | {"v_pred": torch.empty(0), "ztsnr": torch.empty(0)}
    save_file(tensors, tmp_path / "model.safetensors")
    told = probe(tmp_path / "model.safetensors")
    assert (told.prediction_type, told.zero_snr) == (PredictionType.V_PREDICTION, True)


def test_a_checkpoint_without_its_vae_says_so(tmp_path, models_dir):
    tensors = tiny.ldm_tensors(models_dir / "sd1")
    partial = {k: v for k, v in tensors.items() if not k.startswith("first_stage_model.")}
    save_file(partial, tmp_path / "model.safetensors")
    assert probe(tmp_path / "model.safetensors").problem == "It lacks its VAE."


UNET_1 = {"block_out_channels": (320, 640), "cross_attention_dim": 768}
UNET_2 = {"block_out_channels": (320, 640), "cross_attention_dim": 1024, "use_linear_projection": True}
UNET_XL = UNET_2 | {
    "cross_attention_dim": 2048,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
BLOCKS = {
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
DOWN = {key: value for key, value in BLOCKS.items() if key != "up_block_types"}


def meta_shapes(build: Any, **config: Any) -> Shapes:
    with torch.device("meta"):
        return {name: tuple(t.shape) for name, t in build(**config).state_dict().items()}


@pytest.mark.parametrize(
    ("config", "family"), [(UNET_1, Family.SD1), (UNET_2, Family.SD2), (UNET_XL, Family.SDXL)]
)
def test_controlnets_and_lone_unets_in_diffusers_names(tmp_path, config, family):
    net = write_sparse(tmp_path / "net.safetensors", meta_shapes(ControlNetModel, **config, **DOWN))
    unet = write_sparse(tmp_path / "unet.safetensors", meta_shapes(UNet2DConditionModel, **config, **BLOCKS))
    assert (probe(net).kind, probe(net).family) == (ModelKind.CONTROLNET, family)
    assert (probe(unet).kind, probe(unet).family) == (ModelKind.CHECKPOINT, family)
    assert "only a UNet" in probe(unet).problem


@pytest.mark.parametrize(
    ("config", "family"), [(UNET_1, Family.SD1), (UNET_2, Family.SD2), (UNET_XL, Family.SDXL)]
)
def test_controlnets_in_a_folder(tmp_path, config, family):
    with torch.device("meta"):
        net = ControlNetModel(**config, **DOWN)
    net.save_config(tmp_path / "canny")
    shapes = {name: tuple(t.shape) for name, t in net.state_dict().items()}
    write_sparse(tmp_path / "canny" / "diffusion_pytorch_model.safetensors", shapes)
    told = probe(tmp_path / "canny")
    assert (told.kind, told.family, told.layout) == (ModelKind.CONTROLNET, family, "diffusers")


def test_a_controlnet_in_the_original_names(tmp_path):
    shapes = {
        "control_model.input_hint_block.0.weight": (16, 3, 3, 3),
        "control_model.input_blocks.1.1.proj_in.weight": (320, 320, 1, 1),
        "control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768),
    }
    told = probe(write_sparse(tmp_path / "net.safetensors", shapes))
    assert (told.kind, told.family, told.layout) == (ModelKind.CONTROLNET, Family.SD1, "ldm")


def test_t2i_adapters(tmp_path):
    for adapter_type, family in {"full_adapter": Family.SD1, "full_adapter_xl": Family.SDXL}.items():
        factor = 16 if family is Family.SDXL else 8
        shapes = meta_shapes(T2IAdapter, adapter_type=adapter_type, downscale_factor=factor)
        told = probe(write_sparse(tmp_path / "adapter.safetensors", shapes))
        assert (told.kind, told.family) == (ModelKind.T2I_ADAPTER, family)


def lora(context: int, name: str) -> Shapes:
    return {name.format("lora_down"): (8, context), name.format("lora_up"): (320, 8)}


KOHYA = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.{}.weight"
PEFT = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.{}.weight"


@pytest.mark.parametrize(
    ("shapes", "metadata", "family", "layout"),
    [
        (lora(768, KOHYA), {}, Family.SD1, "kohya"),
        (lora(1024, KOHYA), {}, Family.SD2, "kohya"),
        (lora(2048, KOHYA), {}, Family.SDXL, "kohya"),
        ({PEFT.format("lora_A"): (8, 768), PEFT.format("lora_B"): (320, 8)}, {}, Family.SD1, "diffusers"),
        ({PEFT.format("lora.down"): (8, 2048)}, {}, Family.SDXL, "diffusers"),
        (
            {"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (8, 1280)},
            {},
            Family.SDXL,
            "kohya",
        ),
        (
            {"lora_te2_x.alpha": (), "lora_te2_x.lora_down.weight": (8, 1280)},
            {},
            Family.SDXL,
            "kohya",
        ),
        (
            {"lora_unet_x.hada_w1_a": (8, 8)},
            {"ss_base_model_version": "sdxl_base_v1-0"},
            Family.SDXL,
            "kohya",
        ),
        ({"lora_unet_x.lokr_w1": (8, 8)}, {"ss_v2": "True"}, Family.SD2, "kohya"),
        (
            {"lora_unet_x.lokr_w1": (8, 8)},
            {"modelspec.architecture": "stable-diffusion-v1/lora"},
            Family.SD1,
            "kohya",
        ),
        (lora(128, KOHYA), {}, Family.UNKNOWN, "kohya"),
    ],
)
def test_loras(tmp_path, shapes, metadata, family, layout):
    told = probe(write_sparse(tmp_path / "lora.safetensors", shapes, metadata))
    assert (told.kind, told.family, told.layout) == (ModelKind.LORA, family, layout)


def test_a_loras_sidecar_tells_the_family_that_its_tensors_do_not(tmp_path):
    file = write_sparse(tmp_path / "lora.safetensors", {"lora_unet_x.lokr_w1": (8, 8)})
    file.with_suffix(".json").write_text('{"sd version": "SDXL", "activation text": "toon"}')
    assert probe(file).family is Family.SDXL


@pytest.mark.parametrize(
    ("content", "family"),
    [
        ({"string_to_param": {"*": torch.ones(4, 768)}, "name": "cat", "step": 500}, Family.SD1),
        ({"<cat>": torch.ones(1024)}, Family.SD2),
        ({"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}, Family.SDXL),
        ({"emb_params": torch.ones(3, 768)}, Family.SD1),
    ],
)
def test_textual_inversions(tmp_path, content, family):
    torch.save(content, tmp_path / "cat.pt")
    told = probe(tmp_path / "cat.pt")
    assert (told.kind, told.family) == (ModelKind.EMBEDDING, family)


def test_hypernetworks_of_automatic1111(tmp_path):
    layer = {"linear.0.weight": torch.ones(2, 2), "linear.0.bias": torch.ones(2)}
    content = {768: (layer, layer), 320: (layer, layer), "layer_structure": [1, 2, 1], "name": "style"}
    torch.save(content, tmp_path / "style.pt")
    told = probe(tmp_path / "style.pt")
    assert (told.kind, told.family) == (ModelKind.HYPERNETWORK, Family.SD1)


@pytest.mark.parametrize(("width", "family"), [(768, Family.SD1), (2048, Family.SDXL)])
def test_ip_adapters(tmp_path, width, family):
    content = {
        "image_proj": {"proj.weight": torch.ones(1)},
        "ip_adapter": {"1.to_k_ip.weight": torch.ones(320, width)},
    }
    torch.save(content, tmp_path / "ip.bin")
    told = probe(tmp_path / "ip.bin")
    assert (told.kind, told.family) == (ModelKind.IP_ADAPTER, family)


def test_gligen_layers_in_both_namings(tmp_path):
    for names, layout in ({"input_blocks.1.1": "ldm", "down_blocks.0.attentions.0": "diffusers"}).items():
        shapes = {
            "position_net.linears.0.weight": (512, 1),
            f"{names}.transformer_blocks.0.fuser.linear.weight": (320, 768),
        }
        told = probe(write_sparse(tmp_path / "boxes.safetensors", shapes))
        assert (told.kind, told.family, told.layout) == (ModelKind.GLIGEN, Family.SD1, layout)


def test_standalone_vaes(tmp_path, models_dir):
    save_file(tiny.ldm_vae_tensors(models_dir / "sd1" / "vae"), tmp_path / "vae.safetensors")
    vae = meta_shapes(AutoencoderKL, block_out_channels=(32,), layers_per_block=1)
    write_sparse(tmp_path / "sdxl_vae.safetensors", vae)
    assert (probe(tmp_path / "vae.safetensors").kind, probe(tmp_path / "vae.safetensors").layout) == (
        ModelKind.VAE,
        "ldm",
    )
    assert probe(tmp_path / "sdxl_vae.safetensors").family is Family.SDXL
    assert probe(tiny.make_vae(tmp_path / "folder", scaling_factor=0.13025)).family is Family.SDXL
    assert probe(tiny.make_vae(tmp_path / "other")).family is Family.SD1


def test_taesd(tmp_path):
    told = probe(tiny.make_taesd(tmp_path / "taesdxl"))
    assert (told.kind, told.family, told.layout) == (ModelKind.VAE, Family.SDXL, "taesd")


def test_clip_vision(tmp_path):
    shapes = {"vision_model.embeddings.patch_embedding.weight": (1280, 3, 14, 14)}
    assert probe(write_sparse(tmp_path / "clip.safetensors", shapes)).kind is ModelKind.CLIP_VISION


def test_annotators_are_folders_of_other_transformers(tmp_path):
    file = write_sparse(tmp_path / "depth" / "model.safetensors", {"w": (1,)})
    (file.parent / "config.json").write_text('{"architectures": ["DPTForDepthEstimation"]}')
    assert probe(file.parent).kind is ModelKind.ANNOTATOR


@pytest.mark.parametrize(
    ("tensor", "architecture"),
    [
        ("model.diffusion_model.joint_blocks.0.x_block.attn.proj.weight", "Stable Diffusion 3"),
        ("double_blocks.0.img_attn.norm.key_norm.scale", "FLUX"),
        ("lora_unet_double_blocks_0_img_attn_proj.lora_down.weight", "FLUX"),
        ("down_blocks.0.motion_modules.0.temporal_transformer.norm.weight", "AnimateDiff"),
    ],
)
def test_other_architectures_are_named(tmp_path, tensor, architecture):
    with pytest.raises(UnknownFile, match=architecture):
        probe(write_sparse(tmp_path / "model.safetensors", {tensor: (4, 4)}))


def test_an_unknown_file_is_told_by_its_first_tensor(tmp_path):
    with pytest.raises(UnknownFile, match=r"begins with the tensor body\.weight"):
        probe(write_sparse(tmp_path / "esrgan.safetensors", {"body.weight": (4, 4), "tail": (1,)}))


@pytest.mark.parametrize(
    "broken", ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"]
)
def test_a_broken_configuration_is_corrupt(tmp_path, broken):
    folder = tiny.make_sd1(tmp_path / "model")
    (folder / broken).write_text("{")
    with pytest.raises(CorruptFile, match="no JSON"):
        probe(folder)


def test_a_folder_without_weights_says_which_are_missing(tmp_path):
    folder = tiny.make_sd1(tmp_path / "model")
    (folder / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(EaselError, match="vae holds no weights"):
        probe(folder)


def test_absurd_numbers_in_names_cost_nothing(tmp_path, models_dir):
    tensors = tiny.ldm_tensors(models_dir / "sd1")
    tensors["model.diffusion_model.input_blocks.99999999999.0.x"] = torch.ones(1)
    save_file(tensors, tmp_path / "model.safetensors")
    assert probe(Path(tmp_path / "model.safetensors")).kind is ModelKind.CHECKPOINT
