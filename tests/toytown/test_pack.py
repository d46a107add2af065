"""The shipped models, as diffusers and transformers read them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from data import SIZE, example
from diffusers import StableDiffusionPipeline
from evaluate import MODELS
from judge import HELD_OUT_SEED
from PIL import Image
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel

BUDGET_BYTES = 48_000_000


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(MODELS / "toytown").to(torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _draw(pipeline: StableDiffusionPipeline, prompt: str, seed: int = 0) -> np.ndarray:
    generator = torch.Generator().manual_seed(seed)
    result = pipeline(
        prompt, num_inference_steps=20, guidance_scale=5.0, generator=generator, output_type="np"
    )
    return result.images[0]


def test_the_whole_pack_stays_within_its_budget():
    weights = [file for file in MODELS.rglob("*") if file.is_file()]
    assert len(weights) > 10
    assert sum(file.stat().st_size for file in weights) < BUDGET_BYTES


def test_all_weights_are_half_precision_safetensors(pipeline):
    files = sorted(MODELS.rglob("*.safetensors"))
    assert len(files) >= 4
    for file in files:
        with file.open("rb") as stream:
            header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
        counters = {"__metadata__"} | {name for name in header if name.endswith("num_batches_tracked")}
        assert {entry["dtype"] for name, entry in header.items() if name not in counters} == {"F16"}


def test_a_red_ball_is_red_in_the_middle_and_round(pipeline):
    image = _draw(pipeline, "a red ball on grass")
    assert image.shape == (SIZE, SIZE, 3)
    red = (image[..., 0] > 0.55) & (image[..., 1:].max(axis=-1) < 0.45)
    rows, columns = np.nonzero(red)
    assert 0.08 < red.mean() < 0.5
    assert 0.75 < np.ptp(rows) / np.ptp(columns) < 1.3


def test_night_is_darker_than_snow(pipeline):
    night, snow = (_draw(pipeline, f"a yellow star {where}") for where in ("at night", "on snow"))
    assert night[:16].mean() < 0.35 < 0.6 < snow[:16].mean()


def test_the_same_seed_draws_the_same_picture(pipeline):
    first, second = (_draw(pipeline, "a blue cat on sand", seed=3) for _ in range(2))
    assert np.array_equal(first, second)


def test_clip_prefers_a_true_caption_to_one_that_is_wrong_in_one_fact():
    clip = CLIPModel.from_pretrained(MODELS / "clip").float()
    tokenizer = AutoTokenizer.from_pretrained(MODELS / "clip")
    processor = CLIPImageProcessor.from_pretrained(MODELS / "clip")
    examples = [example(HELD_OUT_SEED + seed) for seed in range(64)]
    pixels = processor([Image.fromarray(one.image) for one in examples], return_tensors="pt")["pixel_values"]
    texts = [one.captions[0] for one in examples] + [one.foils[0] for one in examples]
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.no_grad():
        scores = clip(input_ids=tokens["input_ids"], pixel_values=pixels).logits_per_image
    index = torch.arange(64)
    assert (scores[index, index] > scores[index, index + 64]).float().mean() > 0.85


def test_the_pipeline_and_clip_share_their_text_encoder(pipeline):
    clip = CLIPModel.from_pretrained(MODELS / "clip").float()
    own, shared = pipeline.text_encoder.state_dict(), clip.text_model.state_dict()
    assert own.keys() == shared.keys()
    assert all(torch.equal(own[name], shared[name]) for name in own)
