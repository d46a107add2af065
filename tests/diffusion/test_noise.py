"""A seed means the same noise wherever it stands in a batch."""

from __future__ import annotations

import torch

from studio.diffusion.noise import NoiseSource, image_seeds, slerp

CPU = torch.device("cpu")
SHAPE = (4, 8, 8)


def test_picture_i_of_a_batch_is_what_its_own_seed_draws_alone():
    batch = NoiseSource(image_seeds(7, 0, 3), CPU).draw(SHAPE)
    for i in range(3):
        alone = torch.randn((1, *SHAPE), generator=torch.Generator("cpu").manual_seed(7 + i))
        assert torch.equal(batch[i : i + 1], alone)


def test_seeds_wrap_around_at_32_bits():
    assert image_seeds(2**32 - 1, 0, 2) == (2**32 - 1, 0)


def test_variation_strength_goes_from_one_noise_to_the_other_and_keeps_its_variance():
    low, high = NoiseSource([1], CPU).draw((4, 64, 64)), NoiseSource([2], CPU).draw((4, 64, 64))
    assert torch.allclose(slerp(low, high, 0.0), low, atol=1e-6)
    assert torch.allclose(slerp(low, high, 1.0), high, atol=1e-6)
    assert abs(slerp(low, high, 0.5).std().item() - 1) < 0.03
