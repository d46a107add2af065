"""What a net makes of a time is computed once, until a weight that it depends on changes."""

from __future__ import annotations

import pytest
import torch
from diffusers import UNet2DConditionModel

from studio.models import time_memory
from studio.models.packing import PackedLinear, pack_weights, set_packed_weight
from studio.models.time_memory import RememberingProjection, remember_times
from tests import tiny


@pytest.fixture
def unet(tmp_path) -> UNet2DConditionModel:
    return UNet2DConditionModel.from_pretrained(tiny.make_sd1(tmp_path / "sd1") / "unet").eval()


@torch.inference_mode()
def predict(unet, time: float, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    sample = torch.randn(batch, 4, 8, 8, generator=generator)
    text = torch.randn(batch, 7, 32, generator=generator)
    prediction: torch.Tensor = unet(sample, time, encoder_hidden_states=text, return_dict=False)[0]
    return prediction


def remembering(unet) -> UNet2DConditionModel:
    pack_weights(unet)
    remember_times(unet)
    predict(unet, 1)  # packs
    return unet


def test_predictions_are_those_without_memory_at_any_time_and_batch(unet):
    pack_weights(unet)
    cases = [(time, batch) for time in (0, 1.5, 999) for batch in (2, 1)]
    before = [predict(unet, *case) for case in cases]
    remember_times(unet)
    for _ in range(2):
        assert all(torch.equal(predict(unet, *case), was) for case, was in zip(cases, before, strict=True))


def test_a_known_time_is_not_computed_again(unet, monkeypatch):
    remembering(unet)
    of_time = {part for part in unet.modules() if isinstance(part, RememberingProjection)}
    of_time |= {unet.time_embedding.linear_1, unet.time_embedding.linear_2}
    assert len(of_time) > 6
    asked: list[torch.nn.Module] = []
    forward = PackedLinear.forward

    def counted(self, input: torch.Tensor) -> torch.Tensor:
        asked.append(self)
        return forward(self, input)

    monkeypatch.setattr(PackedLinear, "forward", counted)
    predict(unet, 7)
    assert of_time <= {*asked}
    asked.clear()
    predict(unet, 7)
    assert not of_time & {*asked}


@pytest.mark.parametrize(
    "name", ["time_embedding.linear_1", "time_embedding.linear_2", "mid_block.resnets.0.time_emb_proj"]
)
@pytest.mark.parametrize("in_place", [True, False])
def test_a_weight_that_changes_is_noticed(unet, name, in_place):
    plain = UNet2DConditionModel.from_config(unet.config).eval()
    plain.load_state_dict(unet.state_dict())
    pack_weights(plain)
    remembering(unet)
    predict(unet, 7)
    for net in (unet, plain):
        layer = net.get_submodule(name)
        if in_place:
            layer.weight.data.mul_(1.5)
            set_packed_weight(layer, None)
        else:
            layer.weight.data = layer.weight.data * 1.5
    assert torch.equal(predict(unet, 7), predict(plain, 7))


def test_it_forgets_before_it_grows_without_end(unet, monkeypatch):
    monkeypatch.setattr(time_memory, "_MOST", 5)
    remembering(unet)
    for time in range(12):
        predict(unet, time)
    assert len(unet.time_embedding.linear_1._packed.answers) <= 5
    assert torch.equal(predict(unet, 3), predict(unet, 3))


def test_training_goes_through_the_plain_layers(unet):
    remembering(unet)
    sample, text = torch.randn(1, 4, 8, 8), torch.randn(1, 7, 32)
    unet(sample, 7, encoder_hidden_states=text).sample.sum().backward()
    assert unet.time_embedding.linear_1.weight.grad.abs().sum() > 0
    assert unet.mid_block.resnets[0].time_emb_proj.weight.grad.abs().sum() > 0
