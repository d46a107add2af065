"""LoRAs come onto a module and off it without a trace, in whatever order they came."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from diffusers import UNet2DConditionModel

from studio.adapters.lora import Hadamard, LoraLayer, LowRank, lora_targets, read_lora
from studio.adapters.patches import Patch, WeightPatches, stack_digest
from studio.core.conditions import BlockWeights
from studio.core.errors import NumericalError
from studio.models.packing import pack_weights, packed_weight
from tests.adapters import loras

LAYER = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture
def unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=32,
        attention_head_dim=8,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    )
    return unet.requires_grad_(False).to(torch.bfloat16).to(memory_format=torch.channels_last)


@pytest.fixture
def five(unet: torch.nn.Module) -> list[dict[str, LoraLayer]]:
    """Two LoRAs, a LoCon on every convolution, a LoHa and a DoRA."""
    targets = lora_targets({"unet": unet})
    transformers = loras.transformer_targets(targets)
    files = [
        loras.kohya(loras.random_pairs(transformers, seed=1)),
        loras.peft(loras.random_pairs(transformers, seed=2, rank=7)),
        loras.kohya(loras.random_pairs(targets, seed=3)),
        loha(transformers),
        dora(transformers),
    ]
    networks = [read_lora(file, targets, "mine") for file in files]
    return [{name.removeprefix("unet."): layer for name, layer in n.layers.items()} for n in networks]


def loha(targets: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    tensors = {}
    for name, shape in targets.items():
        stem = loras.kohya_name(name)
        for half in ("w1", "w2"):
            tensors[f"{stem}.hada_{half}_a"] = torch.randn(shape[0], 3) * 0.2
            tensors[f"{stem}.hada_{half}_b"] = torch.randn(3, shape[1]) * 0.2
    return tensors


def dora(targets: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    tensors = loras.kohya(loras.random_pairs(targets, seed=5))
    lengths = {
        f"{loras.kohya_name(name)}.dora_scale": torch.rand(shape[0], *[1] * (len(shape) - 1)) + 0.5
        for name, shape in targets.items()
    }
    return tensors | lengths


def patch(layers: dict[str, LoraLayer], number: int, weight: float, **kwargs: object) -> Patch:
    return Patch(f"digest {number}", layers, weight, **kwargs)


def state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert all(torch.equal(a[name].view(torch.int16), b[name].view(torch.int16)) for name in a)


def assert_rounded(weight: torch.Tensor, original: torch.Tensor, delta: torch.Tensor) -> None:
    """`weight` is the sum of both in bfloat16; the factors of `delta` may be rounded too."""
    atol = float(delta.abs().max()) * 2**-7
    assert torch.allclose(weight.float(), original.float() + delta, rtol=2**-8, atol=atol)


def test_two_hundred_random_swaps_leave_not_a_bit_and_not_a_byte(unet, five):
    before, storages = state(unet), {name: p.data_ptr() for name, p in unet.named_parameters()}
    patches, rng, sizes = WeightPatches(unet), random.Random(1), {}
    for _ in range(200):
        chosen = rng.sample(range(5), rng.randint(0, 5))
        patches.apply([patch(five[i], i, rng.choice([-1.5, -0.3, 0.5, 1.0])) for i in chosen])
        touched = frozenset(path for i in chosen for path in five[i])
        assert sizes.setdefault(touched, patches.size_bytes) == patches.size_bytes
    patches.apply([])
    assert_equal(state(unet), before)
    assert {name: p.data_ptr() for name, p in unet.named_parameters()} == storages
    assert patches.size_bytes == 0


def test_the_same_stack_has_the_same_bits_whatever_was_on_before(unet, five):
    patches = WeightPatches(unet)
    stack = [patch(five[i], i, 0.3 * i - 0.5) for i in range(5)]
    patches.apply(stack)
    straight = state(unet)
    patches.apply([patch(five[4], 4, 2.0)])
    patches.apply([patch(five[1], 1, 1.0), patch(five[0], 0, -1.0)])
    patches.apply(stack[::-1])
    assert_equal(state(unet), straight)


def test_weights_are_the_sum_of_all_differences(unet, five):
    before = state(unet)[f"{LAYER}.weight"]
    WeightPatches(unet).apply([patch(five[i], i, 0.5) for i in range(5)])
    deltas = sum(layers[LAYER].delta(before, 0.5) for layers in five)
    assert_rounded(unet.get_submodule(LAYER).weight, before, deltas)


def test_a_convolution_keeps_its_memory_format(unet, five):
    conv = unet.get_submodule("down_blocks.0.resnets.0.conv1")
    before, strides = conv.weight.clone(), conv.weight.stride()
    WeightPatches(unet).apply([patch(five[2], 2, 1.0)])
    assert conv.weight.stride() == strides
    layer = five[2]["down_blocks.0.resnets.0.conv1"]
    assert_rounded(conv.weight, before, layer.delta(before, 1.0))
    assert (conv.weight != before).any()


def test_changing_one_of_five_computes_only_its_own_layers(unet, five):
    patches = WeightPatches(unet)
    stack = [patch(five[i], i, 0.5) for i in range(4)]
    small = {LAYER: five[0][LAYER]}
    patches.apply([*stack, patch(small, 9, 0.5)])
    assert patches.apply([*stack, patch(small, 9, 0.5)]) == 0
    assert patches.apply([*stack, patch(small, 9, 0.6)]) == 1
    assert patches.apply(stack) == 1


def test_block_weights_count_where_they_belong(unet, five):
    before = state(unet)
    blocks = BlockWeights(down=0, mid=0.5, up=1)
    WeightPatches(unet).apply([patch(five[0], 0, 1.0, blocks=blocks)])
    for path, layer in five[0].items():
        factor = {"down": 0.0, "mid_": 0.5, "up_b": 1.0}[path[:4]]
        original = before[f"{path}.weight"]
        assert_rounded(unet.get_submodule(path).weight, original, layer.delta(original, factor))
        assert (factor == 0) == torch.equal(unet.get_submodule(path).weight, original)


def test_a_module_may_move_while_it_is_patched(unet, five):
    """To another precision and back is a move as the manager makes it: every parameter gets a new tensor."""
    before = state(unet)
    patches = WeightPatches(unet)
    patches.apply([patch(five[0], 0, 1.0)])
    patched = state(unet)
    for parameter in unet.parameters():
        parameter.data = parameter.data.clone()
    patches.apply([patch(five[0], 0, 0.5), patch(five[1], 1, 1.0)])
    patches.apply([patch(five[0], 0, 1.0)])
    assert_equal(state(unet), patched)
    patches.apply([])
    assert_equal(state(unet), before)


def test_a_layer_that_runs_on_packed_weights_runs_on_the_patched_ones(unet, five):
    layer, rows = unet.get_submodule(LAYER), torch.randn(3, 64).bfloat16()
    pack_weights(unet)
    patches = WeightPatches(unet)
    with torch.inference_mode():
        before = layer(rows)
        for weight in (1.0, -1.0, 0.5):
            patches.apply([patch(five[0], 0, weight)])
            expected = torch.nn.functional.linear(rows, layer.weight)
            assert torch.allclose(layer(rows).float(), expected.float(), rtol=2**-7, atol=1e-2)
        patches.apply([])
        assert torch.equal(layer(rows), before)


def test_what_was_on_before_comes_back_without_being_computed(unet, five):
    layer, rows = unet.get_submodule(LAYER), torch.randn(3, 64).bfloat16()
    pack_weights(unet)
    patches = WeightPatches(unet)
    a, b = patch(five[0], 0, 1.0), patch(five[1], 1, 1.0)
    with torch.inference_mode():
        outputs = [patches.apply([on], keep=True) and layer(rows) for on in (a, b)]
        broken = {path: Breaking(1.0, low.up, low.down) for path, low in five[0].items()}
        bits, packed = layer.weight.clone(), packed_weight(layer)
        patches.apply([patch(broken, 0, 1.0)], keep=True)
        assert torch.equal(layer(rows), outputs[0])
        patches.apply([b], keep=True)
        assert torch.equal(layer(rows), outputs[1])
    assert torch.equal(layer.weight, bits)
    assert packed_weight(layer) is packed
    patches.apply([patch(five[2], 2, 1.0)])
    with pytest.raises(torch.OutOfMemoryError):
        patches.apply([patch(broken, 0, 1.0)])


def test_keeping_what_was_on_takes_what_was_told_and_never_more(unet, five):
    before, patches, rng = state(unet), WeightPatches(unet), random.Random(2)
    whole = 3 * sum(p.nbytes for p in unet.parameters())
    for _ in range(60):
        stack = [patch(five[i], i, rng.choice([-0.5, 1.0])) for i in rng.sample(range(5), rng.randint(0, 3))]
        limit = patches.size_bytes + patches.growth(stack, keep=True)
        patches.apply(stack, keep=True)
        assert patches.size_bytes <= min(limit, whole)
    straight = WeightPatches(unet)
    patches.apply([patch(five[0], 0, 1.0)], keep=True)
    kept = state(unet)
    patches.apply([], keep=True)
    assert_equal(state(unet), before)
    assert patches.size_bytes == 0
    straight.apply([patch(five[0], 0, 1.0)])
    assert_equal(state(unet), kept)


class Breaking(LowRank):
    @property
    def factors(self):
        raise torch.OutOfMemoryError("no room")


def test_after_a_failure_midway_everything_still_comes_off(unet, five):
    before, patches = state(unet), WeightPatches(unet)
    patches.apply([patch(five[0], 0, 1.0)])
    layer = five[0][LAYER]
    broken = five[1] | {LAYER: Breaking(1.0, layer.up, layer.down)}
    with pytest.raises(torch.OutOfMemoryError):
        patches.apply([patch(broken, 1, 1.0)])
    patches.apply([])
    assert_equal(state(unet), before)
    patches.apply([patch(five[1], 1, 1.0)])
    original = before[f"{LAYER}.weight"]
    assert_rounded(unet.get_submodule(LAYER).weight, original, five[1][LAYER].delta(original, 1.0))


def test_a_lora_that_leaves_the_range_of_the_weights_is_named_and_comes_off(unet, five):
    before, patches, wide = state(unet), WeightPatches(unet), five[0][LAYER]
    big = {LAYER: LowRank(wide.alpha, wide.up.float() * 1e25, wide.down.float() * 1e25)}
    far = patch(big, 1, 2.0, name="big", field="loras.1.model")
    harmless = patch(five[0], 0, 0.5, name="first")
    for stack in ([harmless, far], [far]):
        patches.apply([harmless])
        with pytest.raises(NumericalError, match=r"^big at weight 2 makes") as raised:
            patches.apply(stack)
        assert LAYER in raised.value.problem
        assert "bfloat16" in raised.value.problem
        assert raised.value.field == "loras.1.model"
        patches.apply([])
        assert_equal(state(unet), before)


def test_loras_that_leave_the_range_together_are_both_named(unet, five):
    patches, factors = WeightPatches(unet), (torch.full((64, 4), 2.0**63), torch.full((4, 64), 2.0**62))
    big = {LAYER: LowRank(4.0, *factors)}
    assert patches.apply([patch(big, 0, 1.0)]) == 1
    with pytest.raises(NumericalError, match=r"^a at weight 1 and b at weight 1 make"):
        patches.apply([patch(big, i, 1.0, name="ab"[i]) for i in (0, 1)])


@pytest.mark.parametrize("kind", [3, 4], ids=["LoHa", "DoRA"])
def test_other_kinds_are_looked_at_as_well(unet, five, kind: int):
    layer = five[kind][LAYER]
    if isinstance(layer, Hadamard):
        layer = replace(layer, alpha=3e38, w1=tuple(factor * 1e20 for factor in layer.w1))
    else:
        layer = replace(layer, magnitude=torch.full_like(layer.magnitude, 3e38))
    with pytest.raises(NumericalError, match=r"^The LoRA at weight 10 makes"):
        WeightPatches(unet).apply([patch({LAYER: layer}, 1, 10.0)])


def test_large_numbers_that_the_weights_can_hold_are_left_alone(unet, five):
    wide = five[0][LAYER]
    up, down = torch.full((64, 4), 2.0**120), torch.full((4, 64), 2.0**-120)
    WeightPatches(unet).apply([patch({LAYER: replace(wide, up=up, down=down)}, 1, 1.0)])
    assert bool((unet.get_submodule(LAYER).weight > 1).all())


def test_it_works_within_inference_mode_and_after_it(unet, five):
    before, patches = state(unet), WeightPatches(unet)
    with torch.inference_mode():
        patches.apply([patch(five[i], i, 1.0) for i in range(5)])
    patches.apply([patch(five[0], 0, 1.0)])
    unet.get_submodule(LAYER).weight.data.add_(1)
    patches.apply([])
    assert_equal(state(unet), before)


def digests(*stacks: Sequence[Patch]) -> list[str]:
    return [stack_digest(stack) for stack in stacks]


def test_a_stack_is_told_by_what_it_does(five):
    a, b = patch(five[0], 0, 1.0), patch(five[1], 1, 0.5)
    assert stack_digest([a, b]) == stack_digest([b, a])
    assert stack_digest([]) == stack_digest([patch(five[0], 0, 0.0)]) == ""
    different = digests([a], [b], [a, b], [patch(five[0], 0, 0.9)], [a, a])
    assert len(set(different)) == len(different)
