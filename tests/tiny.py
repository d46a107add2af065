"""Tiny models with random weights, of the same classes and file layouts as the real ones.

Every builder writes a diffusers folder and returns its path; `to_single_file` turns such a folder into
one LDM-named checkpoint. Widths follow the rules that the real families follow (8 heads in SD 1.x, 64
channels a head later), so that a single file's configuration can be read off its shapes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    ControlNetModel,
    ControlNetUnionModel,
    DDIMScheduler,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    T2IAdapter,
    UNet2DConditionModel,
)
from safetensors.torch import load_file, save_file
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
)

from studio.models import convert, convert_control
from studio.models.ip_adapter import IPAdapter

WORDS = ("red", "blue", "ball", "house", "on", "grass", "a", "and")
"""Words that the tiny tokenizer knows as one token; all others are spelt letter by letter."""

LATENT_SIZE = 8
PICTURE_SIZE = 64
"""The tiny VAE divides by 8, as the real ones do."""


def make_sd1(path: Path, *, inpaint: bool = False, dtype: torch.dtype = torch.float32, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(path / "tokenizer")
    unet = _unet(in_channels=9 if inpaint else 4, cross_attention_dim=32, attention_head_dim=8)
    text_encoder = CLIPTextModel(_clip_config(len(tokenizer), hidden_size=32, act="quick_gelu"))
    return _save_sd(path, unet, text_encoder, tokenizer, _scheduler("epsilon"), dtype)


def make_sd2(
    path: Path,
    *,
    v: bool = True,
    inpaint: bool = False,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Path:
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(path / "tokenizer", pad_token="!")
    unet = _unet(
        in_channels=9 if inpaint else 4,
        cross_attention_dim=64,
        attention_head_dim=(1, 1),
        use_linear_projection=True,
        upcast_attention=v,
    )
    text_encoder = CLIPTextModel(_clip_config(len(tokenizer), hidden_size=64, act="gelu"))
    return _save_sd(
        path, unet, text_encoder, tokenizer, _scheduler("v_prediction" if v else "epsilon"), dtype
    )


def make_sdxl(
    path: Path,
    *,
    inpaint: bool = False,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
    force_zeros: bool = True,
) -> Path:
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(path / "tokenizer")
    tokenizer_2 = make_tokenizer(path / "tokenizer_2", pad_token="!")
    unet = _unet(
        in_channels=9 if inpaint else 4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        cross_attention_dim=32 + 64,
        attention_head_dim=(1, 1),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=64 + 6 * 8,
    )
    pipeline = StableDiffusionXLPipeline(
        vae=make_vae_module(scaling_factor=0.13025),
        text_encoder=CLIPTextModel(_clip_config(len(tokenizer), hidden_size=32, act="quick_gelu")),
        text_encoder_2=CLIPTextModelWithProjection(
            _clip_config(len(tokenizer_2), hidden_size=64, act="gelu")
        ),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer_2,
        unet=unet,
        scheduler=EulerDiscreteScheduler(**_BETAS, interpolation_type="linear", use_karras_sigmas=False),
        force_zeros_for_empty_prompt=force_zeros,
        add_watermarker=False,
    )
    pipeline.to(dtype).save_pretrained(path)
    return path


def make_vae(path: Path, *, scaling_factor: float = 0.18215, seed: int = 1) -> Path:
    """A standalone VAE in a diffusers folder."""
    torch.manual_seed(seed)
    make_vae_module(scaling_factor).save_pretrained(path)
    return path


def make_taesd(path: Path, *, seed: int = 2) -> Path:
    """A tiny autoencoder for previews (TAESD's class), in a diffusers folder."""
    torch.manual_seed(seed)
    AutoencoderTiny(
        encoder_block_out_channels=(16, 16, 16, 16),
        decoder_block_out_channels=(16, 16, 16, 16),
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(1, 1, 1, 1),
    ).save_pretrained(path)
    return path


def make_controlnet(path: Path, base: Path, *, seed: int = 3, **config: Any) -> Path:
    """A ControlNet of the checkpoint in `base`, as if it were trained: no convolution of it is zero."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    net = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16, 32, 64))
    net.register_to_config(**config)
    _shake(net)
    net.save_pretrained(path)
    return path


def make_union(path: Path, base: Path, *, tasks: int = 6, seed: int = 6, **config: Any) -> Path:
    """A union ControlNet of the SDXL checkpoint in `base`, as if it were trained."""
    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    plain = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(8, 16, 32, 64))
    width = plain.config.block_out_channels[0]
    known = {key: value for key, value in plain.config.items() if key != "mid_block_type"}
    net = ControlNetUnionModel.from_config(
        known, num_control_type=tasks, num_trans_channel=width, num_proj_channel=width
    )
    net.load_state_dict(plain.state_dict(), strict=False)
    net.register_to_config(**config)
    _shake(net)
    net.save_pretrained(path)
    return path


def make_t2i_adapter(
    path: Path, *, adapter_type: str = "full_adapter", channels: int = 3, seed: int = 4
) -> Path:
    """A T2I-Adapter of the tiny SD 1.x (full and light) or SDXL checkpoint."""
    torch.manual_seed(seed)
    widths = {"full_adapter": (32, 64), "light_adapter": (32, 64), "full_adapter_xl": (32, 64, 64)}
    adapter = T2IAdapter(
        in_channels=channels,
        channels=list(widths[adapter_type]),
        num_res_blocks=2,
        downscale_factor=16 if adapter_type.endswith("xl") else 8,
        adapter_type=adapter_type,
    )
    adapter.save_pretrained(path)
    return path


def make_image_encoder(path: Path, *, seed: int = 5) -> Path:
    """A CLIP image encoder: 32 px pictures, 4 x 4 patches, `IMAGE_WIDTH` channels, of which 24 are told."""
    torch.manual_seed(seed)
    config = CLIPVisionConfig(
        hidden_size=IMAGE_WIDTH,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=IMAGE_EMBEDS_WIDTH,
    )
    encoder = CLIPVisionModelWithProjection(config)
    _shake(encoder)
    encoder.save_pretrained(path)
    return path


IMAGE_WIDTH, IMAGE_EMBEDS_WIDTH = 32, 24


def make_ip_adapter(file: Path, base: Path, *, projection: str = "plain", seed: int = 6) -> Path:
    """An IP-Adapter of the checkpoint in `base`, in the original names: .safetensors, or .bin as a pickle.

    Args:
        projection: plain, plus or full.
    """
    torch.manual_seed(seed)
    unet = UNet2DConditionModel.from_pretrained(base / "unet")
    layers = [module for name, module in unet.named_modules() if name.endswith("attn2")]
    adapter = IPAdapter(
        projection,
        image_width=IMAGE_EMBEDS_WIDTH if projection == "plain" else IMAGE_WIDTH,
        context_width=unet.config["cross_attention_dim"],
        layers={str(2 * i + 1): layer.inner_dim for i, layer in enumerate(layers)},
        tokens=4,
        **({"width": 64, "depth": 4, "heads": 1} if projection == "plus" else {}),
    )
    state = adapter.state_dict()
    full = projection == "full"
    sources = convert_control.full_ip_adapter_sources if full else convert_control.ip_adapter_sources
    tensors = convert.stored(state, sources(state))
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".safetensors":
        save_file(tensors, file)
    else:
        torch.save({part: _inner(part, tensors) for part in ("image_proj", "ip_adapter")}, file)
    return file


def _inner(part: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {k.removeprefix(f"{part}."): v for k, v in tensors.items() if k.startswith(f"{part}.")}


def _shake(module: torch.nn.Module) -> None:
    """Small random numbers in place of those that are zero before training."""
    for parameter in module.parameters():
        if not parameter.any():
            parameter.data = torch.randn(parameter.shape) * 0.1


def to_single_file(folder: Path, file: Path, metadata: dict[str, str] | None = None) -> Path:
    """The diffusers folder of `make_sd1`, `make_sd2` or `make_sdxl` as one checkpoint in LDM names.

    What real files carry beside the weights is written too: SD 2.x holds one text encoder layer more than
    is ever run, and matrices of the VAE's attention are 1x1 convolutions.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    tensors = ldm_tensors(folder)
    if file.suffix == ".safetensors":
        save_file(tensors, file, metadata)
    else:
        torch.save({"state_dict": tensors, "global_step": 7}, file)
    return file


def ldm_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a diffusers folder under their names in a single file."""
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    tensors = _prefixed("model.diffusion_model.", convert.stored(unet, convert.unet_sources(unet)))
    tensors |= _prefixed("first_stage_model.", ldm_vae_tensors(folder / "vae"))
    text = load_file(folder / "text_encoder" / "model.safetensors")
    as_clip = convert.stored(text, convert.clip_sources(text))
    if (folder / "text_encoder_2").is_dir():
        second = load_file(folder / "text_encoder_2" / "model.safetensors")
        tensors |= _prefixed("conditioner.embedders.0.transformer.", as_clip)
        return tensors | _prefixed(
            "conditioner.embedders.1.model.", convert.stored(second, convert.open_clip_sources(second))
        )
    if unet["down_blocks.0.attentions.0.proj_in.weight"].ndim == 4:
        return tensors | _prefixed("cond_stage_model.transformer.", as_clip)
    as_open_clip = convert.stored(text, convert.open_clip_sources(text))
    return tensors | _prefixed("cond_stage_model.model.", as_open_clip | _last_layer(as_open_clip))


def ldm_vae_tensors(folder: Path) -> dict[str, torch.Tensor]:
    vae = load_file(folder / "diffusion_pytorch_model.safetensors")
    tensors = convert.stored(vae, convert.vae_sources(vae))
    return {
        name: tensor[:, :, None, None] if ".attn_1." in name and tensor.ndim == 2 else tensor
        for name, tensor in tensors.items()
    }


def make_tokenizer(path: Path, *, pad_token: str = "<|endoftext|>") -> CLIPTokenizer:
    """CLIP's tokenizer over bytes and `WORDS`; the end token has the largest id, as in the real one."""
    vocabulary, merges = _vocabulary(WORDS)
    path.mkdir(parents=True, exist_ok=True)
    (path / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (path / "merges.txt").write_text(
        "\n".join(["#version: 0.2", *map(" ".join, merges), ""]), encoding="utf-8"
    )
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad_token, model_max_length=77)
    tokenizer.save_pretrained(path)
    return tokenizer


def make_vae_module(scaling_factor: float = 0.18215) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(32, 32, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        sample_size=PICTURE_SIZE,
        scaling_factor=scaling_factor,
    )


_BETAS: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}


def _scheduler(prediction_type: str) -> DDIMScheduler:
    return DDIMScheduler(**_BETAS, clip_sample=False, set_alpha_to_one=False, prediction_type=prediction_type)


def _unet(**config: Any) -> UNet2DConditionModel:
    defaults: dict[str, Any] = {
        "block_out_channels": (32, 64),
        "layers_per_block": 1,
        "sample_size": LATENT_SIZE,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    return UNet2DConditionModel(**(defaults | config))


def _clip_config(vocabulary: int, hidden_size: int, act: str) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=hidden_size,
        intermediate_size=4 * hidden_size,
        projection_dim=hidden_size,
        num_hidden_layers=3,
        num_attention_heads=1,
        max_position_embeddings=77,
        hidden_act=act,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
    )


def _save_sd(
    path: Path,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    scheduler: DDIMScheduler,
    dtype: torch.dtype,
) -> Path:
    pipeline = StableDiffusionPipeline(
        vae=make_vae_module(),
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.to(dtype).save_pretrained(path)
    return path


def _prefixed(prefix: str, tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _last_layer(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """OpenCLIP's last layer and projection, which SD 2.x never runs."""
    last = max(int(name.split(".")[2]) for name in tensors if name.startswith("transformer."))
    layer = {
        name.replace(f"resblocks.{last}.", f"resblocks.{last + 1}."): torch.zeros_like(tensor)
        for name, tensor in tensors.items()
        if f"resblocks.{last}." in name
    }
    return layer | {"text_projection": torch.zeros(64, 64), "logit_scale": torch.zeros(())}


def _vocabulary(words: Sequence[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """CLIP's order: bytes, bytes that end a word, merges, start, end."""
    letters = _byte_letters()
    merges: list[tuple[str, str]] = []
    for word in words:
        merges += [pair for pair in _merges(word) if pair not in merges]
    symbols = [*letters, *(letter + "</w>" for letter in letters), *(a + b for a, b in merges)]
    unique = list(dict.fromkeys(symbols))
    return {token: i for i, token in enumerate([*unique, "<|startoftext|>", "<|endoftext|>"])}, merges


def _merges(word: str) -> list[tuple[str, str]]:
    """The pairs that join `word` from left to right: r+e, re+d</w>."""
    letters = [*word[:-1], word[-1] + "</w>"]
    return [("".join(letters[:i]), letters[i]) for i in range(1, len(letters))]


def _byte_letters() -> list[str]:
    """One printable character a byte (the byte-level alphabet of GPT-2), in CLIP's order."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
