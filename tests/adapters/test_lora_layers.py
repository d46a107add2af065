"""Every kind of LoRA against its formula, written out element by element or by another library."""

from __future__ import annotations

import pytest
import torch
from peft.tuners.lokr.layer import make_kron, make_weight_cp
from torch.linalg import vector_norm

from studio.adapters.lora import LoraLayer, read_lora

OUT, IN, KERNEL, RANK, ALPHA = 12, 8, 3, 2, 3.0
LINEAR, CONV = (OUT, IN), (OUT, IN, KERNEL, KERNEL)
SCALE = ALPHA / RANK


def rand(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape) + len(shape)))


def read_one(shape: tuple[int, ...], **parts: torch.Tensor) -> LoraLayer:
    tensors = {f"lora_unet_mid.{part.replace('__', '.')}": tensor for part, tensor in parts.items()}
    tensors["lora_unet_mid.alpha"] = torch.tensor(ALPHA)
    return read_lora(tensors, {"unet.mid": shape}, "mine").layers["unet.mid"]


def assert_delta(layer: LoraLayer, shape: tuple[int, ...], expected: torch.Tensor) -> None:
    for weight in (1.0, 0.3, -0.7):
        assert torch.allclose(layer.delta(rand(*shape), weight), weight * expected, atol=1e-6)


def test_lora():
    up, down = rand(OUT, RANK), rand(RANK, IN)
    layer = read_one(LINEAR, lora_up__weight=up, lora_down__weight=down)
    assert (layer.kind, layer.rank, layer.alpha) == ("LoRA", RANK, ALPHA)
    assert_delta(layer, LINEAR, SCALE * up @ down)


def test_lora_without_alpha_counts_as_it_is():
    up, down = rand(OUT, RANK), rand(RANK, IN)
    tensors = {"lora_unet_mid.lora_up.weight": up, "lora_unet_mid.lora_down.weight": down}
    layer = read_lora(tensors, {"unet.mid": LINEAR}, "mine").layers["unet.mid"]
    assert_delta(layer, LINEAR, up @ down)


def test_locon_is_two_convolutions_in_a_row():
    up, down, picture = rand(OUT, RANK, 1, 1), rand(RANK, IN, KERNEL, KERNEL), rand(1, IN, 7, 7)
    layer = read_one(CONV, lora_up__weight=up, lora_down__weight=down)
    both = torch.nn.functional.conv2d(torch.nn.functional.conv2d(picture, down), up) * SCALE
    one = torch.nn.functional.conv2d(picture, layer.delta(rand(*CONV), 1.0))
    assert torch.allclose(one, both, atol=1e-5)


def test_locon_with_a_core_is_three_convolutions_in_a_row():
    up, core, down = rand(OUT, RANK, 1, 1), rand(RANK, RANK, KERNEL, KERNEL), rand(RANK, IN, 1, 1)
    picture = rand(1, IN, 7, 7)
    layer = read_one(CONV, lora_up__weight=up, lora_mid__weight=core, lora_down__weight=down)
    conv = torch.nn.functional.conv2d
    three = conv(conv(conv(picture, down), core), up) * SCALE
    assert torch.allclose(conv(picture, layer.delta(rand(*CONV), 1.0)), three, atol=1e-5)


def loha_parts(columns: int) -> dict[str, torch.Tensor]:
    return {
        "hada_w1_a": rand(OUT, RANK),
        "hada_w1_b": rand(RANK, columns),
        "hada_w2_a": rand(OUT, RANK) * 2,
        "hada_w2_b": rand(RANK, columns) - 1,
    }


@pytest.mark.parametrize("shape", [LINEAR, CONV])
def test_loha(shape: tuple[int, ...]):
    parts = loha_parts(columns=torch.Size(shape[1:]).numel())
    expected = torch.zeros(OUT, parts["hada_w1_b"].shape[1])
    for row in range(OUT):
        for column in range(expected.shape[1]):
            first = parts["hada_w1_a"][row] @ parts["hada_w1_b"][:, column]
            second = parts["hada_w2_a"][row] @ parts["hada_w2_b"][:, column]
            expected[row, column] = SCALE * first * second
    layer = read_one(shape, **parts)
    assert (layer.kind, layer.rank) == ("LoHa", RANK)
    assert_delta(layer, shape, expected.reshape(shape))


def test_loha_with_cores_as_in_peft():
    a, b, t = rand(RANK, OUT), rand(RANK, IN), rand(RANK, RANK, KERNEL, KERNEL)
    layer = read_one(
        CONV, hada_w1_a=a, hada_w1_b=b, hada_w2_a=2 * a, hada_w2_b=b - 1, hada_t1=t, hada_t2=t + 1
    )
    expected = make_weight_cp(t, a, b) * make_weight_cp(t + 1, 2 * a, b - 1)
    assert_delta(layer, CONV, SCALE * expected)


def test_lokr_of_whole_matrices_has_no_scale():
    w1, w2 = rand(3, 2), rand(4, 4)
    layer = read_one(LINEAR, lokr_w1=w1, lokr_w2=w2)
    assert layer.kind == "LoKr"
    assert_delta(layer, LINEAR, make_kron(w1, w2))


def test_lokr_of_factors():
    w1, w2_a, w2_b = rand(3, 2), rand(4, RANK), rand(RANK, 4)
    assert_delta(
        read_one(LINEAR, lokr_w1=w1, lokr_w2_a=w2_a, lokr_w2_b=w2_b),
        LINEAR,
        SCALE * make_kron(w1, w2_a @ w2_b),
    )
    w1_a, w1_b = rand(3, RANK), rand(RANK, 2)
    both = read_one(LINEAR, lokr_w1_a=w1_a, lokr_w1_b=w1_b, lokr_w2_a=w2_a, lokr_w2_b=w2_b)
    assert_delta(both, LINEAR, SCALE * make_kron(w1_a @ w1_b, w2_a @ w2_b))


def test_lokr_of_convolutions():
    w1, w2 = rand(3, 2), rand(4, 4, KERNEL, KERNEL)
    assert_delta(read_one(CONV, lokr_w1=w1, lokr_w2=w2), CONV, make_kron(w1, w2))
    w2_a, w2_b = rand(4, RANK), rand(RANK, 4 * KERNEL * KERNEL)
    flat = read_one(CONV, lokr_w1=w1, lokr_w2_a=w2_a, lokr_w2_b=w2_b)
    assert_delta(flat, CONV, SCALE * make_kron(w1, (w2_a @ w2_b).reshape(4, 4, KERNEL, KERNEL)))
    core, a, b = rand(RANK, RANK, KERNEL, KERNEL), rand(RANK, 4), rand(RANK, 4)
    tucker = read_one(CONV, lokr_w1=w1, lokr_w2_a=a, lokr_w2_b=b, lokr_t2=core)
    assert_delta(tucker, CONV, SCALE * make_kron(w1, make_weight_cp(core, a, b)))


@pytest.mark.parametrize("axis", [0, 1], ids=["rows", "columns"])
@pytest.mark.parametrize("shape", [LINEAR, CONV], ids=["linear", "conv"])
def test_dora_sets_the_length_of_every_row_or_column(shape: tuple[int, ...], axis: int):
    pristine = rand(*shape)
    up, down = rand(OUT, RANK, *[1] * (len(shape) - 2)), rand(RANK, *shape[1:])
    lengths = rand(shape[axis]).abs() + 0.5
    broadcast = lengths.reshape([-1 if i == axis else 1 for i in range(len(shape))])
    layer = read_one(shape, lora_up__weight=up, lora_down__weight=down, dora_scale=broadcast)
    assert (layer.kind, layer.rank) == ("DoRA", RANK)
    after = pristine + layer.delta(pristine, 1.0)
    others = [i for i in range(len(shape)) if i != axis]
    assert torch.allclose(vector_norm(after, dim=others), lengths, atol=1e-5)
    direction = pristine + SCALE * (up.flatten(1) @ down.flatten(1)).reshape(shape)
    expected = direction / vector_norm(direction, dim=others, keepdim=True) * broadcast
    assert torch.allclose(after, expected, atol=1e-5)
    half = pristine + layer.delta(pristine, 0.5)
    assert torch.allclose(half, (pristine + after) / 2, atol=1e-6)
