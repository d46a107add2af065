"""LoRA files of every program name the same layers, and broken ones are refused with a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from studio.adapters.lora import family_targets, read_lora
from studio.core.errors import CorruptFile, EaselError, InvalidRequest, UnknownFile
from studio.core.models import Family
from studio.models.lora_file import check_lora
from studio.models.weights import Header, TensorInfo
from tests.adapters import loras

ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.0.attn1"
UP, DOWN = torch.ones(640, 4), torch.ones(4, 640)
TEXT = "encoder.layers.3.self_attn.q_proj"
TEXT_UP, TEXT_DOWN = torch.ones(768, 4), torch.ones(4, 768)


@pytest.mark.parametrize(
    ("family", "up", "down", "target"),
    [
        (
            Family.SD1,
            "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.lora_up.weight",
            "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight",
            f"unet.{ATTENTION}.to_q",
        ),
        (
            Family.SD1,
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_up.weight",
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.lora_down.weight",
            f"unet.{ATTENTION}.to_q",
        ),
        (
            Family.SDXL,
            "lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_out_0.lora_up.weight",
            "lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_out_0.lora_down.weight",
            "unet.down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_out.0",
        ),
        (
            Family.SD1,
            f"unet.{ATTENTION}.to_q.lora_B.weight",
            f"unet.{ATTENTION}.to_q.lora_A.weight",
            f"unet.{ATTENTION}.to_q",
        ),
        (
            Family.SD1,
            f"base_model.model.{ATTENTION}.to_q.lora_B.default.weight",
            f"base_model.model.{ATTENTION}.to_q.lora_A.default.weight",
            f"unet.{ATTENTION}.to_q",
        ),
        (
            Family.SD1,
            f"unet.{ATTENTION}.to_k.lora.up.weight",
            f"unet.{ATTENTION}.to_k.lora.down.weight",
            f"unet.{ATTENTION}.to_k",
        ),
        (
            Family.SD1,
            f"unet.{ATTENTION}.processor.to_out_lora.up.weight",
            f"unet.{ATTENTION}.processor.to_out_lora.down.weight",
            f"unet.{ATTENTION}.to_out.0",
        ),
        (
            Family.SD1,
            f"{ATTENTION}.processor.to_v_lora.up.weight",
            f"{ATTENTION}.processor.to_v_lora.down.weight",
            f"unet.{ATTENTION}.to_v",
        ),
        (
            Family.SDXL,
            "diffusion_model.input_blocks.4.1.transformer_blocks.1.attn1.to_q.lora_B.weight",
            "diffusion_model.input_blocks.4.1.transformer_blocks.1.attn1.to_q.lora_A.weight",
            "unet.down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q",
        ),
        (
            Family.SD1,
            "lycoris_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.lora_up.weight",
            "lycoris_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight",
            f"unet.{ATTENTION}.to_q",
        ),
    ],
)
def test_every_spelling_of_a_unet_layer(family: Family, up: str, down: str, target: str):
    network = read_lora({up: UP, down: DOWN}, family_targets(family), "mine")
    assert list(network.layers) == [target]


@pytest.mark.parametrize(
    ("family", "stem", "role"),
    [
        (Family.SD1, "lora_te_text_model_encoder_layers_3_self_attn_q_proj.lora_{}", "text_encoder"),
        (Family.SDXL, "lora_te1_text_model_encoder_layers_3_self_attn_q_proj.lora_{}", "text_encoder"),
        (Family.SD1, "text_encoder.text_model.encoder.layers.3.self_attn.q_proj.lora.{}", "text_encoder"),
        (Family.SD1, "text_encoder.text_model.encoder.layers.3.self_attn.to_q_lora.{}", "text_encoder"),
        (
            Family.SD1,
            "text_encoder.encoder.layers.3.self_attn.q_proj.lora_linear_layer.{}",
            "text_encoder",
        ),
    ],
)
def test_every_spelling_of_a_text_encoder_layer(family: Family, stem: str, role: str):
    tensors = {f"{stem.format('up')}.weight": TEXT_UP, f"{stem.format('down')}.weight": TEXT_DOWN}
    (name,) = read_lora(tensors, family_targets(family), "mine").layers
    assert name.startswith(f"{role}.")
    assert name.endswith(TEXT)


def test_sdxls_second_encoder():
    up, down = torch.ones(1280, 4), torch.ones(4, 1280)
    stem = "lora_te2_text_model_encoder_layers_30_self_attn_q_proj.lora"
    network = read_lora(
        {f"{stem}_up.weight": up, f"{stem}_down.weight": down}, family_targets(Family.SDXL), "mine"
    )
    assert network.roles == {"text_encoder_2"}


def test_kohya_and_peft_files_of_one_lora_are_one_network():
    targets = loras.transformer_targets(family_targets(Family.SDXL))
    few = dict(list(targets.items())[::40])
    pairs = loras.random_pairs(few, seed=1)
    as_kohya = read_lora(loras.kohya(pairs, alpha=loras.RANK, family_two=True), targets, "kohya")
    as_peft = read_lora(loras.peft(pairs), targets, "peft")
    assert set(as_kohya.layers) == set(as_peft.layers) == set(few)
    for name, layer in as_kohya.layers.items():
        pristine = torch.zeros(few[name])
        assert torch.equal(layer.delta(pristine, 1.0), as_peft.layers[name].delta(pristine, 1.0))


def test_gligens_attention_is_never_hit():
    block = f"{ATTENTION.removesuffix('attn1')}fuser.attn.to_q"
    targets = {f"unet.{ATTENTION}.to_q": (640, 640), f"unet.{block}": (640, 640)}
    tensors = {f"unet.{ATTENTION}.to_q.lora_B.weight": UP, f"unet.{ATTENTION}.to_q.lora_A.weight": DOWN}
    assert list(read_lora(tensors, targets, "mine").layers) == [f"unet.{ATTENTION}.to_q"]


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({"unet.r": 4, "unet.lora_alpha": 2}, 0.5),
        ({"unet.lora_alpha": 8, "unet.alpha_pattern": {"attn1.to_q": 1}}, 0.25),
        ({"unet.lora_alpha": 8, "unet.use_rslora": True}, 4.0),
        ({"text_encoder.lora_alpha": 8}, 1.0),
    ],
)
def test_alpha_in_pefts_metadata(config: dict[str, object], scale: float):
    tensors = {f"unet.{ATTENTION}.to_q.lora_B.weight": UP, f"unet.{ATTENTION}.to_q.lora_A.weight": DOWN}
    metadata = {"lora_adapter_metadata": json.dumps(config)}
    network = read_lora(tensors, family_targets(Family.SD1), "mine", metadata)
    assert network.layers[f"unet.{ATTENTION}.to_q"].scale == scale


STEM = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
PAIR = {f"{STEM}.lora_up.weight": UP, f"{STEM}.lora_down.weight": DOWN}


CONV = "lora_unet_down_blocks_0_resnets_0_conv1"


def changed(**tensors: Tensor) -> dict[str, Tensor]:
    return PAIR | {f"{STEM}.{name.replace('__', '.')}": tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    ("tensors", "error", "words"),
    [
        ({f"{STEM}.lora_up.weight": UP}, CorruptFile, "lacks down"),
        (changed(lora_down__weight=torch.ones(5, 640)), CorruptFile, "one rank, but have 4 and 5"),
        (changed(lora_down__weight=torch.full((4, 640), torch.nan)), CorruptFile, "not a number"),
        (changed(lora_up__weight=torch.full((640, 4), torch.inf)), CorruptFile, "not a number"),
        (changed(lora_up__weight=torch.ones(640)), CorruptFile, "must be a matrix"),
        (changed(alpha=torch.ones(3)), CorruptFile, "one number"),
        (changed(lora_mid__weight=torch.ones(4, 3)), CorruptFile, "core of a convolution.* shape 4 x 3"),
        (changed(lora_mid__weight=torch.ones(4, 3, 3, 3)), CorruptFile, "one rank, but have 3 and 4"),
        (changed(lora_down__weight=torch.ones(4, 320)), InvalidRequest, "640 x 320"),
        (changed(dora_scale=torch.ones(7, 1)), CorruptFile, "7 lengths, but that weight has 640 rows"),
        (changed(dora_scale=torch.ones(1, 7)), CorruptFile, "7 lengths, but that weight has 640 columns"),
        (changed(dora_scale=torch.ones(2, 320)), CorruptFile, "one row of numbers, but .* 2 x 320"),
        ({f"{STEM}.lora_up.weight": UP[:, :0], f"{STEM}.lora_down.weight": DOWN[:0]}, CorruptFile, "rank"),
        ({f"{STEM}.oft_blocks": UP}, UnknownFile, "oft_blocks"),
        ({}, CorruptFile, "no layers"),
        ({f"{STEM}.alpha": torch.ones(())}, CorruptFile, "lacks up and down"),
        (
            {f"{STEM}.hada_{p}": torch.ones(640, 640) for p in ("w1_a", "w1_b", "w2_a")},
            CorruptFile,
            "lacks hada_w2_b",
        ),
        ({f"{STEM}.lokr_w1": torch.ones(5, 5), f"{STEM}.lokr_w2_a": UP}, CorruptFile, "lacks lokr_w2_b"),
        ({f"{STEM}.lokr_w1": torch.ones(7, 7), f"{STEM}.lokr_w2": UP}, InvalidRequest, "another model"),
        (
            {f"{CONV}.lokr_w1": torch.ones(4, 45), f"{CONV}.lokr_w2": torch.ones(80, 64)},
            InvalidRequest,
            "into 4 x 45 blocks, but here that has 320 x 320 channels",
        ),
        (
            {
                f"{CONV}.lora_up.weight": torch.ones(320, 4),
                f"{CONV}.lora_down.weight": torch.ones(4, 960, 3, 1),
            },
            InvalidRequest,
            "as a weight of 320 x 960 x 3 x 1, but here that has 320 x 320 x 3 x 3",
        ),
    ],
)
def test_a_broken_file_is_refused_with_a_sentence(
    tensors: dict[str, Tensor], error: type[EaselError], words: str
):
    with pytest.raises(error, match=words) as raised:
        read_lora(tensors, family_targets(Family.SD1), "mine")
    assert "mine" in raised.value.problem


R, K = 4, 3
LORA = {"lora_up.weight": (640, R), "lora_down.weight": (R, 640)}
TUCKER = LORA | {"lora_mid.weight": (R, R, K, K)}
LOHA = {"hada_w1_a": (640, R), "hada_w1_b": (R, 640), "hada_w2_a": (640, R), "hada_w2_b": (R, 640)}
CORES = {f"hada_w{i}_{side}": (R, 640) for i in (1, 2) for side in "ab"} | {
    "hada_t1": (R, R, K, K),
    "hada_t2": (R, R, K, K),
}
LOKR = {"lokr_w1_a": (8, R), "lokr_w1_b": (R, 8), "lokr_w2_a": (80, R), "lokr_w2_b": (R, 80)}
LOKR_CORE = LOKR | {"lokr_w2_a": (R, 80), "lokr_t2": (R, R, K, K)}


@pytest.mark.parametrize("plain", [LORA, TUCKER, LOHA, CORES, LOKR, LOKR_CORE])
def test_each_part_of_a_layer_has_the_dimensions_of_its_formula(plain: dict[str, tuple[int, ...]]):
    check_lora(a_header(plain), "mine")
    for part, shape in plain.items():
        for wrong in ((*shape, 1), (*shape[:2], K, K, K), (*shape[:2], 0, 0), shape[:1], ()):
            with pytest.raises(CorruptFile, match=r"of mine must be (a matrix|the core)"):
                check_lora(a_header(plain | {part: wrong}), "mine")
        if len(shape) == 2:
            check_lora(a_header(plain | {part: (*shape, 1, 1)} | twin(plain, part, (*shape, 1, 1))), "mine")


@pytest.mark.parametrize(
    ("plain", "with_kernel"),
    [
        (LORA, {"lora_down.weight"}),
        (TUCKER, set()),
        (LOHA, {"hada_w1_b", "hada_w2_b"}),
        (CORES, set()),
        (LOKR, {"lokr_w2_b"}),
        (LOKR_CORE, set()),
        ({"lokr_w1": (8, 8), "lokr_w2": (80, 80)}, {"lokr_w2"}),
    ],
)
def test_a_kernel_lies_in_one_part_of_a_layer_only(plain: dict[str, tuple[int, ...]], with_kernel: set[str]):
    for part, shape in plain.items():
        if len(shape) == 4:
            continue
        kernel = (*shape, K, K)
        header = a_header(plain | {part: kernel} | twin(plain, part, kernel))
        if part in with_kernel:
            check_lora(header, "mine")
        else:
            with pytest.raises(CorruptFile, match=r"must be a matrix, but has the shape \d+ x \d+ x 3 x 3"):
                check_lora(header, "mine")


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (CORES | {"hada_t2": (R, R, 2, 2)}, "two products .* differ in shape"),
        (CORES | {"hada_t2": (R, 5, K, K)}, "one rank, but have 4 and 5"),
        ({part: shape for part, shape in CORES.items() if part != "hada_t2"}, "lacks hada_t2"),
        ({"lokr_w1": (8, 8), "lokr_w2": (80, 80), "lokr_t2": (80, 80, K, K)}, "a whole lokr_w2"),
    ],
)
def test_cores_agree(shapes: dict[str, tuple[int, ...]], words: str):
    with pytest.raises(CorruptFile, match=words):
        check_lora(a_header(shapes), "mine")


def a_header(shapes: dict[str, tuple[int, ...]]) -> Header:
    return Header(
        {f"{STEM}.{part}": TensorInfo("float16", shape, 0, 0) for part, shape in shapes.items()}, {}
    )


def twin(plain: dict[str, tuple[int, ...]], part: str, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """The part of the other product of a LoHa, which is always of the same shape."""
    other = part.replace("w1", "w3").replace("w2", "w1").replace("w3", "w2")
    return {other: shape} if part.startswith("hada_w") else {}


@pytest.mark.parametrize(
    ("made_for", "used_with"),
    [(Family.SDXL, Family.SD1), (Family.SD1, Family.SDXL), (Family.SD1, Family.SD2)],
)
@pytest.mark.parametrize("write", [loras.peft, loras.kohya], ids=["peft", "kohya"])
def test_a_lora_of_another_family_is_refused(made_for: Family, used_with: Family, write: Callable[..., dict]):
    targets = loras.transformer_targets(family_targets(made_for))
    pairs = {
        name: (torch.ones(shape[0], 1, *[1] * len(shape[2:])), torch.ones(1, *shape[1:]))
        for name, shape in targets.items()
    }
    with pytest.raises(InvalidRequest, match="made for another model"):
        read_lora(write(pairs), family_targets(used_with), "mine")


def test_what_a_model_lacks_is_told():
    tensors = PAIR | {
        "lora_te_text_model_encoder_layers_99_mlp_fc1.lora_up.weight": UP,
        "lora_te_text_model_encoder_layers_99_mlp_fc1.lora_down.weight": DOWN,
    }
    network = read_lora(tensors, family_targets(Family.SD1), "mine")
    assert network.strangers == ("lora_te_text_model_encoder_layers_99_mlp_fc1",)
