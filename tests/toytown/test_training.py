from __future__ import annotations

import itertools

import course
import numpy as np
import pytest
import torch
from course import Course
from data import SIZE, Town, example, to_pixels
from judge import Judge, Sight
from muon import orthogonalize, split_matrices
from torch import nn
from train_unet import new_scheduler, new_unet
from train_vae import new_vae, standardize
from world import describe


@pytest.fixture(scope="module")
def town() -> Town:
    images = np.stack([example(seed).image for seed in range(24)])
    nothing = np.zeros((24, 1, 77), np.int16)
    return Town(images, nothing, nothing)


@pytest.fixture(autouse=True)
def clock(monkeypatch) -> None:
    """A clock by which every step takes a millisecond, however busy the machine is."""
    times = itertools.count(step=0.001)
    monkeypatch.setattr(course, "clock", lambda: next(times))


def _course(file, minutes: float) -> Course:
    torch.manual_seed(0)
    return Course(file, nn.ModuleDict({"net": nn.Linear(16, 16)}), {"net": 1e-2}, minutes, ema=0.9)


def _fit_identity(training: Course) -> list[float]:
    losses = []

    def loss_of(step: int) -> dict[str, torch.Tensor]:
        inputs = torch.randn(32, 16)
        loss = (training.modules["net"](inputs) - inputs).square().mean()
        losses.append(loss.item())
        return {"loss": loss}

    training.run(loss_of)
    return losses


def test_a_course_learns(tmp_path):
    losses = _fit_identity(_course(tmp_path / "net.pt", minutes=0.01))
    assert losses[-1] < 0.2 * losses[0]


def test_a_course_goes_on_where_it_was_stopped(tmp_path):
    first = _course(tmp_path / "net.pt", minutes=0.004)
    _fit_identity(first)
    second = _course(tmp_path / "net.pt", minutes=0.008)
    assert second.step == first.step
    assert second.progress == pytest.approx(0.5, abs=0.1)
    assert torch.equal(second.modules["net"].weight, first.modules["net"].weight)


def test_a_finished_course_changes_nothing(tmp_path):
    _fit_identity(_course(tmp_path / "net.pt", minutes=0.004))
    assert _fit_identity(_course(tmp_path / "net.pt", minutes=0.004)) == []


def test_orthogonalized_updates_have_singular_values_near_one():
    values = torch.linalg.svdvals(orthogonalize(torch.randn(24, 60)))
    assert 0.6 < values.min() <= values.max() < 1.3


def test_embeddings_and_vectors_are_left_to_adam():
    net = nn.Sequential(nn.Embedding(30, 16), nn.Linear(16, 32))
    matrices, rest = split_matrices(net)
    assert [tuple(p.shape) for p in matrices] == [(32, 16)]
    assert [tuple(p.shape) for p in rest] == [(30, 16), (32,)]


def test_standardized_latents_decode_to_the_same_picture(town):
    vae = new_vae().eval().requires_grad_(False)
    pixels = to_pixels(town.images[:2])
    before = vae.decode(vae.encode(pixels).latent_dist.mean).sample
    standardize(vae, town)
    latents = vae.encode(to_pixels(town.images)).latent_dist.mean
    assert latents.mean(dim=(0, 2, 3)).abs().max() < 0.05
    assert latents.std(dim=(0, 2, 3)).numpy() == pytest.approx(1, abs=0.05)
    assert torch.allclose(vae.decode(latents[:2]).sample, before, atol=1e-3)


def test_examples_tell_the_truth_in_captions_and_lie_in_foils():
    for seed in range(60):
        one = example(seed)
        every = {describe(one.scene, np.random.default_rng(n)) for n in range(300)}
        assert set(one.captions) <= every
        assert not set(one.foils) & every


def test_the_noise_schedule_is_stable_diffusions():
    alphas = new_scheduler().alphas_cumprod
    assert float(alphas[0]) == pytest.approx(0.99915, abs=1e-5)
    assert float(alphas[-1]) == pytest.approx(0.00466, abs=1e-5)


def test_the_unet_maps_latents_of_128_px_pictures():
    unet = new_unet().eval()
    with torch.no_grad():
        noise = unet(torch.randn(1, 4, SIZE // 8, SIZE // 8), 500, torch.randn(1, 77, 128)).sample
    assert noise.shape == (1, 4, 16, 16)


def test_the_judge_answers_in_the_words_of_the_world(town):
    sights = Judge().eval().look(town.images[:3])
    assert all(isinstance(sight, Sight) and sight.place for sight in sights)
