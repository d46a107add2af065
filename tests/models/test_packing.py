"""Packed weights compute the same, follow a weight that is replaced, and stay out of the way of training."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel

from studio.models.packing import PackedConv2d, PackedLinear, pack_weights
from tests import tiny


@pytest.fixture
def unet(tmp_path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(tiny.make_sd1(tmp_path / "sd1") / "unet").eval()


def predict(unet, width=8):
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(2, 4, 8, width, generator=generator)
    text = torch.randn(2, 7, 32, generator=generator)
    return unet(sample, 500, encoder_hidden_states=text, return_dict=False)[0]


@torch.inference_mode()
def test_a_packed_unet_predicts_the_same(unet):
    plain = [predict(unet, width) for width in (8, 16)]
    names = list(unet.state_dict())
    pack_weights(unet)
    packed = [predict(unet, width) for width in (8, 16)]
    assert sum(isinstance(layer, PackedLinear | PackedConv2d) for layer in unet.modules()) > 50
    for before, after in zip(plain, packed, strict=True):
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    assert list(unet.state_dict()) == names


@pytest.mark.parametrize(
    ("layer", "shape"), [(torch.nn.Linear(8, 6), (3, 8)), (torch.nn.Conv2d(8, 6, 3, stride=2), (1, 8, 9, 7))]
)
@torch.inference_mode()
def test_a_replaced_weight_is_packed_anew(layer, shape):
    pack_weights(layer)
    x = torch.randn(shape)
    before = layer(x)
    plain, layer.weight.data = layer.weight.data, layer.weight.data * 2
    doubled = layer(x)
    layer.weight.data = plain
    layer.bias.data, bias = torch.zeros_like(layer.bias), layer.bias.data
    torch.testing.assert_close(doubled, 2 * layer(x) + bias.reshape(-1, *[1] * (x.dim() - 2)))
    layer.bias.data = bias
    assert torch.equal(layer(x), before)


def test_training_goes_through_the_plain_weights():
    layer = torch.nn.Linear(8, 6)
    pack_weights(layer)
    layer(torch.randn(3, 8)).sum().backward()
    assert layer.weight.grad is not None
    layer.weight.grad = None


def test_layers_that_cannot_be_packed_stay_as_they_are():
    half = torch.nn.Linear(8, 6, dtype=torch.float64)
    reflecting = torch.nn.Conv2d(3, 3, 3, padding=1, padding_mode="reflect")
    for layer in (half, reflecting):
        pack_weights(layer)
        assert type(layer) in (torch.nn.Linear, torch.nn.Conv2d)
