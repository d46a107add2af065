"""What stacks on the base starts as nothing: the first step of its training is the base's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from base import Base, add_noise, early_timesteps
from evaluate import MODELS
from evaluate_stack import box_iou, edge_f1
from export_stack import export_gligen, gligen_file
from facts import LABELS, NOTHING, Facts, edges_of, label_map, load_facts, name_of
from safetensors.torch import load_file
from tokens import new_tokenizer
from torch import nn
from train_annotators import KEYPOINTS, new_depth_net, new_pose_net, new_segmentation_net
from train_controlnet import canny_maps, depth_maps, new_controlnet, to_control, train_controlnet
from train_gligen import Boxes, graft_of, load_graft, new_gligen_unet, train_gligen
from train_inpaint import Holes, new_inpaint_unet, random_mask
from world import KINDS, describe, random_scene, render

SCENES = 24


@pytest.fixture(scope="module")
def base() -> Base:
    return Base.load(MODELS / "toytown")


@pytest.fixture(scope="module")
def facts(tmp_path_factory) -> Facts:
    return load_facts(tmp_path_factory.mktemp("work"), new_tokenizer(), SCENES)


@pytest.fixture(scope="module")
def inputs(base) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 4, 16, 16, generator=generator), torch.tensor([200, 900]), torch.randn(2, 77, 128)


def test_facts_are_those_of_the_scenes(facts):
    tokenizer = new_tokenizer()
    for seed in range(SCENES):
        rng = np.random.default_rng(seed)
        scene = random_scene(rng)
        view = render(scene)
        assert np.array_equal(facts.images[seed], view.image)
        assert np.array_equal(facts.labels[seed], label_map(scene, view))
        names = [name_of(number) for number in facts.names[seed] if number != NOTHING]
        assert names == [(thing.color, thing.kind) for thing in scene.things]
        assert np.allclose(facts.boxes[seed, : len(names)], view.boxes)
        caption = tokenizer.decode(facts.captions[seed, 0], skip_special_tokens=True)
        assert caption.replace(" ,", ",").strip() == describe(scene, rng)


def test_labels_tell_sky_from_ground_and_things(facts):
    for seed in range(SCENES):
        rng = np.random.default_rng(seed)
        scene = random_scene(rng)
        assert set(np.unique(facts.labels[seed])) == {0, 1, *(LABELS.index(t.kind) for t in scene.things)}
        assert facts.labels[seed, 0, 0] == LABELS.index("sky")
        assert facts.labels[seed, -1, 0] == LABELS.index("ground")


def test_persons_alone_have_keypoints(facts):
    has_points = ~np.isnan(facts.keypoints).all(axis=(2, 3))
    is_person = np.asarray(facts.names) // 9 == KINDS.index("person")
    assert np.array_equal(has_points, is_person)
    assert has_points.any()


def test_a_new_controlnet_changes_nothing_but_can_learn(base, facts, inputs):
    net = new_controlnet(base)
    control = to_control(canny_maps(facts, np.arange(2)))
    down, middle = net(*inputs, controlnet_cond=control, return_dict=False)
    assert all((part == 0).all() for part in (*down, middle))
    stem = net.controlnet_cond_embedding(control)
    assert stem.abs().max() > 0


def test_training_a_controlnet_leaves_the_base_alone_and_moves_the_net(base, facts, tmp_path):
    before = {name: value.clone() for name, value in base.unet.state_dict().items()}
    latents = torch.randn(SCENES, 4, 16, 16)
    net = train_controlnet(base, facts, latents, depth_maps, tmp_path / "net.pt", minutes=0.03)
    assert all(torch.equal(before[name], value) for name, value in base.unet.state_dict().items())
    assert net.controlnet_mid_block.weight.abs().max() > 0


def test_a_new_inpainting_unet_is_the_base_whatever_the_mask(base, inputs):
    latents, timesteps, embeds = inputs
    unet = new_inpaint_unet(base).eval()
    with torch.no_grad():
        wide = unet(torch.cat([latents, torch.randn(2, 5, 16, 16)], dim=1), timesteps, embeds).sample
        assert torch.allclose(wide, base.unet(*inputs).sample, atol=1e-5)


def test_a_new_graft_is_neutral_with_open_gates(base, facts, inputs):
    unet = new_gligen_unet(base).eval()
    boxes = Boxes(base, facts)(np.arange(2), np.random.default_rng(0))
    with torch.no_grad():
        boxed = unet(*inputs, cross_attention_kwargs={"gligen": boxes}).sample
        assert torch.allclose(boxed, base.unet(*inputs).sample, atol=1e-5)
    assert {name for name, p in unet.named_parameters() if p.requires_grad} <= {
        f"{name.replace('/', '.')}.{key}"
        for name, part in graft_of(unet).items()
        for key, _ in part.named_parameters()
    }


def test_a_graft_survives_its_file(base, tmp_path):
    unet, again = new_gligen_unet(base), new_gligen_unet(base)
    nn.init.normal_(unet.position_net.null_position_feature)
    export_gligen(tmp_path, unet)
    weights = load_file(tmp_path / "gligen" / "toytown-boxes.safetensors")
    load_graft(again, weights)
    assert torch.equal(
        again.position_net.null_position_feature, unet.position_net.null_position_feature.half().float()
    )
    assert all(name.startswith("position_net.") or ".fuser." in name for name in weights)


def test_training_further_goes_on_from_the_finished_graft(base, facts, tmp_path):
    start = load_file(gligen_file(MODELS))
    latents = torch.randn(SCENES, 4, 16, 16)
    unet = train_gligen(base, facts, latents, tmp_path / "boxes.pt", 0.02, start)
    export_gligen(tmp_path, unet)
    weights = load_file(gligen_file(tmp_path))
    moved = torch.cat([(weights[name] - start[name]).float().flatten() for name in start])
    size = torch.cat([value.float().flatten() for value in start.values()])
    assert 0 < moved.norm() < 0.1 * size.norm()


def test_boxes_of_missing_things_are_null(base, facts):
    boxes = Boxes(base, facts)(np.arange(SCENES), np.random.default_rng(0))
    masks = boxes["masks"]
    assert masks.shape == (SCENES, 30)
    assert (boxes["positive_embeddings"][masks == 0] == 0).all()
    assert (boxes["boxes"][masks == 0] == 0).all()
    counts = (facts.names != NOTHING).sum(axis=1)
    assert set(masks.sum(1).int().tolist()) <= {0, *counts.tolist()}


def test_holes_are_masks_of_zeros_and_ones_of_every_size(base, facts):
    rng = np.random.default_rng(0)
    masks = np.stack([random_mask(facts.boxes[at % SCENES, 0], rng) for at in range(200)])
    assert set(np.unique(masks)) == {0, 1}
    shares = masks.mean(axis=(1, 2))
    assert shares.max() == 1
    assert 0.05 < np.median(shares) < 0.6
    masks, ids = Holes(base, facts).masks_and_ids(np.arange(SCENES), rng)
    assert (masks.shape, ids.shape) == ((SCENES, 1, 128, 128), (SCENES, 77))


def test_noisy_steps_are_preferred_when_asked():
    torch.manual_seed(0)
    assert float(early_timesteps(4000, 1).mean()) == pytest.approx(0.5, abs=0.03)
    assert float(early_timesteps(4000, 3).mean()) == pytest.approx(0.75, abs=0.03)


def test_noise_is_mixed_as_the_schedule_says(base):
    clean = torch.zeros(64, 4, 16, 16)
    batch = add_noise(clean, base.alphas, torch.linspace(0, 1, 64))
    assert batch.timesteps.min() == 0
    assert batch.timesteps.max() == 999
    assert torch.allclose(
        batch.latents, (1 - base.alphas[batch.timesteps]).sqrt().view(-1, 1, 1, 1) * batch.noise
    )
    assert float(batch.losses(batch.noise)["loss"]) == 0


def test_edges_agree_with_themselves_and_not_with_others(facts):
    edges = [edges_of(facts.images[at]) for at in range(2)]
    assert edge_f1(edges[0], edges[0]) == 1
    assert edge_f1(edges[0], edges[1]) < 0.6
    assert edge_f1(edges[0], np.zeros_like(edges[0])) == 0


def test_boxes_overlap_as_geometry_says():
    whole, half = np.asarray([0, 0, 1, 1]), np.asarray([0, 0, 0.5, 1])
    assert box_iou(whole, half) == pytest.approx(0.5)
    assert box_iou(half, np.asarray([0.6, 0, 1, 1])) == 0


def test_annotators_answer_in_the_shapes_of_their_classes():
    pixels = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        assert new_depth_net().eval()(pixels).predicted_depth.shape == (1, 128, 128)
        assert new_segmentation_net().eval()(pixels).logits.shape == (1, len(LABELS), 32, 32)
        heatmaps = new_pose_net().eval()(torch.randn(1, 3, 96, 96)).heatmaps
    assert heatmaps.shape == (1, len(KEYPOINTS), 64, 64)
