"""Controls and image prompts: our final latents against diffusers' pipelines, tiny random nets, same seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from PIL import Image, ImageDraw
from transformers import CLIPVisionModelWithProjection

from studio.core.conditions import ControlInput, ControlMode, ImagePrompt
from studio.core.geometry import Extent, ResizeMode
from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.requests import GenerateRequest, HiresPass
from studio.core.samplers import Sampler, Upscaler
from studio.diffusion.control_stack import ControlPictures, PromptPictures, in_one_pass
from studio.diffusion.fitting import fit_picture
from studio.diffusion.plan_control import PlannedControl, PlannedImagePrompt
from studio.models.cache import FileCache
from studio.models.load import load_component
from studio.models.parts import part_of, part_role
from tests import tiny
from tests.parity.equality import IMG2IMG, REQUEST, Record, assert_equal
from tests.parity.sides import Sides

BLOB = "0" * 64
SIZE = (REQUEST.width, REQUEST.height)


class Lab:
    """A tiny checkpoint of one family with its nets, adapters and image encoder."""

    def __init__(self, folder: Path, family: Family) -> None:
        self.folder = folder
        self.base = (tiny.make_sdxl if family is Family.SDXL else tiny.make_sd1)(folder / "base")
        self.sides = Sides(self.base, family)
        self.family = family
        self.stacked: dict[str, Any] = {}
        vision = tiny.make_image_encoder(folder / "vision")
        self.encoder = CLIPVisionModelWithProjection.from_pretrained(vision)
        self.stacked["image_encoder"] = self.encoder

    def net(self, seed: int, **config: Any) -> Any:
        folder = tiny.make_controlnet(self.folder / f"net{seed}{len(config)}", self.base, seed=seed, **config)
        return diffusers.ControlNetModel.from_pretrained(folder)

    def union(self, seed: int, tasks: int = 6) -> Any:
        folder = tiny.make_union(self.folder / f"union{seed}-{tasks}", self.base, seed=seed, tasks=tasks)
        return diffusers.ControlNetUnionModel.from_pretrained(folder)

    def told(self, name: str, net: Any, image: Image.Image, task: int, **entry: Any) -> ControlPictures:
        """A control of a union net, which is told what its map shows."""
        unit = self.control(name, net, image, **entry)
        return replace(unit, planned=replace(unit.planned, task=task))

    def adapter(self, seed: int, **options: Any) -> Any:
        folder = self.folder / f"t2i{seed}{''.join(map(str, options.values()))}"
        return diffusers.T2IAdapter.from_pretrained(tiny.make_t2i_adapter(folder, seed=seed, **options))

    def control(
        self, name: str, net: Any, image: Image.Image, mask: Image.Image | None = None, **entry: Any
    ) -> ControlPictures:
        """A control of ours, whose net the next job can borrow."""
        is_net = not isinstance(net, diffusers.T2IAdapter)
        info = ModelInfo(id=name, name=name, kind=ModelKind.CONTROLNET if is_net else ModelKind.T2I_ADAPTER)
        planned = PlannedControl(ControlInput(model=name, image=BLOB, **entry), info, "controls.0")
        self.stacked[planned.role] = net
        return ControlPictures(planned, image, mask)

    def image_prompt(
        self, projection: str, pictures: list[Image.Image], mask: Image.Image | None = None, **entry: Any
    ) -> PromptPictures:
        file = tiny.make_ip_adapter(self.folder / f"{projection}.bin", self.base, projection=projection)
        info = ModelInfo(id=projection, name=projection, kind=ModelKind.IP_ADAPTER, layout="ip-adapter")
        self.stacked[part_role(info)] = load_component(part_of(Alone(file), info), torch.float32)
        blobs = tuple(f"{i:064x}" for i in range(len(pictures)))
        prompt = ImagePrompt(model=projection, images=blobs, **entry)
        planned = PlannedImagePrompt(prompt, info, "image_prompts.0")
        return PromptPictures(planned, "image_encoder", tuple(zip(blobs, pictures, strict=True)), mask)

    def ours(self, request: GenerateRequest, *units: Any, source: Image.Image | None = None) -> torch.Tensor:
        controls = [unit for unit in units if isinstance(unit, ControlPictures)]
        prompts = [unit for unit in units if isinstance(unit, PromptPictures)]
        return self.sides.ours(request, source, controls, prompts, self.stacked)

    def pipeline(self, name: str, **parts: Any) -> Any:
        """diffusers' pipeline of that class over the modules of ours."""
        return getattr(diffusers, name)(**self.parts, **parts)

    @property
    def parts(self) -> dict[str, Any]:
        given = dict(self.sides.text_to_image.components)
        given.pop("image_encoder", None)
        if self.family is not Family.SDXL:
            given |= {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        return given

    def with_image_prompts(self, projection: str, scale: float) -> Any:
        """diffusers' pipeline with the adapter loaded, over a UNet of its own."""
        kind = "StableDiffusionXLPipeline" if self.family is Family.SDXL else "StableDiffusionPipeline"
        pipeline = getattr(diffusers, kind).from_pretrained(
            self.base, image_encoder=self.encoder, **({} if "XL" in kind else {"safety_checker": None})
        )
        pipeline.load_ip_adapter(str(self.folder), "", f"{projection}.bin", image_encoder_folder=None)
        pipeline.set_ip_adapter_scale(scale)
        return pipeline


class Alone:
    """A catalogue of one file."""

    def __init__(self, file: Path) -> None:
        self.cache = FileCache()
        self._file = file

    def path_of(self, model_id: str) -> Path:
        return self._file

    def tokenizer_folders(self) -> tuple[Path, ...]:
        return ()


@pytest.fixture(scope="module")
def sd1(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("sd1"), Family.SD1)


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("sdxl"), Family.SDXL)


@pytest.fixture(scope="module")
def maps() -> list[Image.Image]:
    return [drawing(seed) for seed in range(3)]


def drawing(seed: int, size: tuple[int, int] = SIZE) -> Image.Image:
    """A picture of a few shapes."""
    picture = Image.new("RGB", size)
    pen = ImageDraw.Draw(picture)
    pen.ellipse((8 + 9 * seed, 10, 40, 50), outline=(255, 255, 255), width=2)
    pen.rectangle((5, 40 - 7 * seed, 30, 60), fill=(200, 40 * seed, 90))
    return picture


def half_mask(size: tuple[int, int] = SIZE) -> Image.Image:
    """White on its left half."""
    mask = Image.new("L", size)
    mask.paste(255, (0, 0, size[0] // 2, size[1]))
    return mask


CONTROLNET = "StableDiffusionControlNetPipeline"


def test_one_controlnet(sd1: Lab, maps: list[Image.Image], record: Record):
    net = sd1.net(1)
    ours = sd1.ours(REQUEST, sd1.control("a", net, maps[0], weight=0.8))
    pipeline = sd1.pipeline(CONTROLNET, controlnet=net)
    theirs = sd1.sides.theirs(REQUEST, pipeline=pipeline, image=maps[0], controlnet_conditioning_scale=0.8)
    assert_equal(ours, theirs, record)
    assert (ours - sd1.ours(REQUEST)).abs().max() > 0.05, "the net steers nothing"


def test_three_controlnets_with_ranges_of_their_own(sd1: Lab, maps: list[Image.Image], record: Record):
    nets = [sd1.net(seed) for seed in (1, 2, 3)]
    weights, starts, ends = [0.5, 1.0, 0.7], [0.0, 0.3, 0.5], [0.5, 1.0, 1.0]
    units = [
        sd1.control(f"n{i}", nets[i], maps[i], weight=weights[i], start=starts[i], end=ends[i])
        for i in range(3)
    ]
    theirs = sd1.sides.theirs(
        REQUEST,
        pipeline=sd1.pipeline(CONTROLNET, controlnet=nets),
        image=maps,
        controlnet_conditioning_scale=weights,
        control_guidance_start=starts,
        control_guidance_end=ends,
    )
    assert_equal(sd1.ours(REQUEST, *units), theirs, record)


def test_controlnet_image_to_image(sd1: Lab, maps: list[Image.Image], record: Record):
    net, photo = sd1.net(1), drawing(2)
    theirs = sd1.sides.theirs(
        IMG2IMG,
        photo,
        pipeline=sd1.pipeline("StableDiffusionControlNetImg2ImgPipeline", controlnet=net),
        control_image=maps[0],
        controlnet_conditioning_scale=0.8,
        control_guidance_end=0.5,
    )
    unit = sd1.control("a", net, maps[0], weight=0.8, end=0.5)
    assert_equal(sd1.ours(IMG2IMG, unit, source=photo), theirs, record)


@pytest.mark.parametrize("guidance_scale", [4.0, 1.0])
def test_guess_mode(sd1: Lab, maps: list[Image.Image], guidance_scale: float, record: Record):
    net = sd1.net(1)
    request = REQUEST.model_copy(update={"guidance_scale": guidance_scale})
    theirs = sd1.sides.theirs(
        request,
        pipeline=sd1.pipeline(CONTROLNET, controlnet=net),
        image=maps[0],
        guess_mode=True,
        controlnet_conditioning_scale=1.0,
    )
    unit = sd1.control("a", net, maps[0], mode=ControlMode.CONTROL)
    assert_equal(sd1.ours(request, unit), theirs, record)


@pytest.mark.parametrize(
    "config", [{"global_pool_conditions": True}, {"controlnet_conditioning_channel_order": "bgr"}]
)
def test_nets_that_pool_and_nets_that_read_blue_first(
    sd1: Lab, maps: list[Image.Image], config: dict[str, Any], record: Record
):
    net = sd1.net(4, **config)
    pipeline = sd1.pipeline(CONTROLNET, controlnet=net)
    theirs = sd1.sides.theirs(REQUEST, pipeline=pipeline, image=maps[1], controlnet_conditioning_scale=1.0)
    assert_equal(sd1.ours(REQUEST, sd1.control("a", net, maps[1])), theirs, record)


def test_controlnet_of_sdxl(sdxl: Lab, maps: list[Image.Image], record: Record):
    net = sdxl.net(1)
    theirs = sdxl.sides.theirs(
        REQUEST,
        pipeline=sdxl.pipeline("StableDiffusionXLControlNetPipeline", controlnet=net, add_watermarker=False),
        image=maps[0],
        controlnet_conditioning_scale=0.7,
    )
    assert_equal(sdxl.ours(REQUEST, sdxl.control("a", net, maps[0], weight=0.7)), theirs, record)


UNION = "StableDiffusionXLControlNetUnionPipeline"


def test_a_union_controlnet_with_one_map(sdxl: Lab, maps: list[Image.Image], record: Record):
    net = sdxl.union(1)
    ours = sdxl.ours(REQUEST, sdxl.told("u", net, maps[0], 3, weight=0.7, end=0.75))
    theirs = sdxl.sides.theirs(
        REQUEST,
        pipeline=sdxl.pipeline(UNION, controlnet=net, add_watermarker=False),
        control_image=[maps[0]],
        control_mode=[3],
        controlnet_conditioning_scale=0.7,
        control_guidance_end=0.75,
    )
    assert_equal(ours, theirs, record)
    assert (ours - sdxl.ours(REQUEST)).abs().max() > 0.05, "the net steers nothing"
    other = sdxl.ours(REQUEST, sdxl.told("u", net, maps[0], 1, weight=0.7, end=0.75))
    assert (ours - other).abs().max() > 0.001, "the net does not mind what the map shows"


def test_a_union_controlnet_with_two_maps_of_two_kinds(sdxl: Lab, maps: list[Image.Image], record: Record):
    net = sdxl.union(2, tasks=8)
    request = REQUEST.model_copy(update={"batch_size": 2})
    theirs = sdxl.sides.theirs(
        request,
        pipeline=sdxl.pipeline(UNION, controlnet=net, add_watermarker=False),
        control_image=maps[:2],
        control_mode=[0, 7],
        controlnet_conditioning_scale=[0.9, 0.6],
        control_guidance_start=[0.0, 0.25],
        control_guidance_end=[0.5, 1.0],
    )
    calls = []
    net.register_forward_pre_hook(lambda *_: calls.append(1))
    units = (
        sdxl.told("u", net, maps[0], 0, weight=0.9, end=0.5),
        sdxl.told("u", net, maps[1], 7, weight=0.6, start=0.25),
    )
    assert_equal(sdxl.ours(request, *units), theirs, record)
    assert len(calls) == request.steps, "one forward pass a step for both maps"


def test_a_union_controlnet_in_guess_mode_leaves_the_unconditional_half_alone(
    sdxl: Lab, maps: list[Image.Image]
):
    net = sdxl.union(1)
    rows = []
    handle = net.register_forward_pre_hook(lambda _, given: rows.append(len(given[0])))
    sdxl.ours(REQUEST, sdxl.told("u", net, maps[0], 3, mode=ControlMode.CONTROL))
    sdxl.ours(REQUEST, sdxl.told("u", net, maps[0], 3))
    handle.remove()
    assert rows == [1] * REQUEST.steps + [2] * REQUEST.steps


def test_maps_of_one_union_net_with_masks_of_their_own_are_read_apart(sdxl: Lab, maps: list[Image.Image]):
    net, other = sdxl.union(1), sdxl.union(2)
    units = [
        sdxl.told("u", net, maps[0], 0),
        sdxl.told("v", other, maps[1], 0),
        sdxl.told("u", net, maps[1], 3),
        sdxl.told("u", net, maps[2], 1),
    ]
    masked = units[2].planned.entry.model_copy(update={"mask": BLOB})
    units[2] = replace(units[2], planned=replace(units[2].planned, entry=masked))
    assert in_one_pass(units) == [[units[0], units[3]], [units[1]], [units[2]]]
    units[3] = replace(units[3], mask=Image.new("L", (8, 8)))  # as of a map that knows a part of the canvas
    assert in_one_pass(units) == [[unit] for unit in units]


def test_a_batch_follows_one_map(sd1: Lab, maps: list[Image.Image], record: Record):
    net = sd1.net(1)
    request = REQUEST.model_copy(update={"batch_size": 2})
    theirs = sd1.sides.theirs(
        request,
        pipeline=sd1.pipeline(CONTROLNET, controlnet=net),
        image=maps[0],
        controlnet_conditioning_scale=1.0,
    )
    assert_equal(sd1.ours(request, sd1.control("a", net, maps[0])), theirs, record)


T2I = "StableDiffusionAdapterPipeline"


@pytest.mark.parametrize("kind", ["full_adapter", "light_adapter"])
def test_one_t2i_adapter(sd1: Lab, maps: list[Image.Image], kind: str, record: Record):
    adapter = sd1.adapter(1, adapter_type=kind)
    theirs = sd1.sides.theirs(
        REQUEST, pipeline=sd1.pipeline(T2I, adapter=adapter), image=maps[0], adapter_conditioning_scale=0.8
    )
    unit = sd1.control("t", adapter, maps[0], weight=0.8)
    assert_equal(sd1.ours(REQUEST, unit), theirs, record)
    assert (theirs - sd1.ours(REQUEST)).abs().max() > 0.01, "the adapter steers nothing"


def test_two_t2i_adapters(sd1: Lab, maps: list[Image.Image], record: Record):
    adapters = [sd1.adapter(1), sd1.adapter(2)]
    theirs = sd1.sides.theirs(
        REQUEST,
        pipeline=sd1.pipeline(T2I, adapter=diffusers.MultiAdapter(adapters)),
        image=maps[:2],
        adapter_conditioning_scale=[0.8, 0.5],
    )
    units = [sd1.control(f"t{i}", adapters[i], maps[i], weight=(0.8, 0.5)[i]) for i in range(2)]
    assert_equal(sd1.ours(REQUEST, *units), theirs, record)


def test_a_t2i_adapter_that_reads_one_channel(sd1: Lab, maps: list[Image.Image], record: Record):
    adapter = sd1.adapter(3, channels=1)
    grey = maps[0].convert("L")
    theirs = sd1.sides.theirs(
        REQUEST, pipeline=sd1.pipeline(T2I, adapter=adapter), image=grey, adapter_conditioning_scale=1.0
    )
    assert_equal(sd1.ours(REQUEST, sd1.control("t", adapter, grey)), theirs, record)


def test_t2i_adapter_of_sdxl_with_an_end(sdxl: Lab, record: Record):
    adapter = sdxl.adapter(1, adapter_type="full_adapter_xl")
    request = REQUEST.model_copy(update={"width": 64, "height": 64})
    picture = drawing(0, (64, 64))
    theirs = sdxl.sides.theirs(
        request,
        pipeline=sdxl.pipeline("StableDiffusionXLAdapterPipeline", adapter=adapter),
        image=picture,
        adapter_conditioning_scale=0.9,
        adapter_conditioning_factor=0.5,
    )
    assert_equal(sdxl.ours(request, sdxl.control("t", adapter, picture, weight=0.9, end=0.5)), theirs, record)


def test_sdxl_adapters_take_sizes_that_they_do_not_divide(sdxl: Lab):
    adapter = sdxl.adapter(1, adapter_type="full_adapter_xl")
    request = REQUEST.model_copy(update={"width": 72, "height": 88})
    steered = sdxl.ours(request, sdxl.control("t", adapter, drawing(0, (72, 88))))
    assert steered.shape == (1, 4, 11, 9)


@pytest.mark.parametrize(("family", "projection"), [("sd1", "plain"), ("sd1", "plus"), ("sdxl", "plain")])
def test_one_image_prompt(
    family: str, projection: str, sd1: Lab, sdxl: Lab, maps: list[Image.Image], record: Record
):
    lab = {"sd1": sd1, "sdxl": sdxl}[family]
    ours = lab.ours(REQUEST, lab.image_prompt(projection, [maps[0]], weight=0.6))
    pipeline = lab.with_image_prompts(projection, 0.6)
    assert_equal(ours, lab.sides.theirs(REQUEST, pipeline=pipeline, ip_adapter_image=[maps[0]]), record)
    assert (ours - lab.ours(REQUEST)).abs().max() > 0.01, "the picture says nothing"


def test_two_pictures_in_one_image_prompt(sd1: Lab, maps: list[Image.Image], record: Record):
    ours = sd1.ours(REQUEST, sd1.image_prompt("plain", maps[:2], weight=0.6))
    theirs = sd1.sides.theirs(
        REQUEST, pipeline=sd1.with_image_prompts("plain", 0.6), ip_adapter_image=[maps[:2]]
    )
    assert_equal(ours, theirs, record)


def test_an_image_prompt_with_a_mask(sd1: Lab, maps: list[Image.Image], record: Record):
    ours = sd1.ours(REQUEST, sd1.image_prompt("plus", [maps[2]], half_mask(), weight=0.8))
    masks = diffusers.image_processor.IPAdapterMaskProcessor().preprocess(
        half_mask(), height=REQUEST.height, width=REQUEST.width
    )
    theirs = sd1.sides.theirs(
        REQUEST,
        pipeline=sd1.with_image_prompts("plus", 0.8),
        ip_adapter_image=[maps[2]],
        cross_attention_kwargs={"ip_adapter_masks": [masks]},
    )
    assert_equal(ours, theirs, record)


def test_two_image_prompts_add_up_in_any_order(sd1: Lab, maps: list[Image.Image]):
    plain = sd1.image_prompt("plain", [maps[0]], weight=0.5)
    plus = sd1.image_prompt("plus", [maps[1]], weight=0.5)
    both = sd1.ours(REQUEST, plain, plus)
    assert torch.allclose(both, sd1.ours(REQUEST, plus, plain), atol=1e-4)
    assert not torch.allclose(both, sd1.ours(REQUEST, plain), atol=1e-3)


# -- what no pipeline of diffusers does ---------------------------------------------------------------


@pytest.fixture
def units(sd1: Lab, maps: list[Image.Image]) -> list[Any]:
    return [
        sd1.control("a", sd1.net(1), maps[0], weight=0.7),
        sd1.control("t", sd1.adapter(1), maps[1], weight=0.6),
        sd1.image_prompt("plain", [maps[2]], weight=0.5),
    ]


def test_all_three_kinds_stack_and_leave_no_trace(sd1: Lab, units: list[Any]):
    before = sd1.ours(REQUEST)
    together = sd1.ours(REQUEST, *units)
    for left_out in range(3):
        rest = [unit for i, unit in enumerate(units) if i != left_out]
        assert not torch.allclose(together, sd1.ours(REQUEST, *rest), atol=1e-3)
    assert torch.equal(sd1.ours(REQUEST), before)


def test_a_unit_outside_of_its_range_or_without_weight_changes_nothing(sd1: Lab, maps: list[Image.Image]):
    net, before = sd1.net(1), sd1.ours(REQUEST)
    runs: list[Any] = []
    net.register_forward_hook(lambda *_: runs.append(None))
    assert torch.equal(sd1.ours(REQUEST, sd1.control("a", net, maps[0], weight=0)), before)
    too_short = sd1.control("a", net, maps[0], start=0.01, end=0.16)  # of 6 steps, none lies inside
    assert torch.equal(sd1.ours(REQUEST, too_short), before)
    assert not runs
    sd1.ours(REQUEST, sd1.control("a", net, maps[0], end=0.5))
    assert len(runs) == 3


def test_the_embedding_of_a_map_is_computed_once(sd1: Lab, maps: list[Image.Image]):
    net, runs = sd1.net(1), []
    net.controlnet_cond_embedding.register_forward_hook(lambda *_: runs.append(None))
    sd1.ours(REQUEST, sd1.control("a", net, maps[0]))
    assert len(runs) == 1


def test_prompt_mode_lies_between_off_and_balanced(sd1: Lab, maps: list[Image.Image]):
    net, off = sd1.net(1), sd1.ours(REQUEST)

    def distance(mode: ControlMode) -> float:
        steered = sd1.ours(REQUEST, sd1.control("a", net, maps[0], mode=mode, weight=0.5))
        return (steered - off).abs().mean().item()

    assert 0 < distance(ControlMode.PROMPT) < distance(ControlMode.BALANCED)


@pytest.mark.parametrize("kind", ["net", "t2i", "prompt"])
def test_a_mask_limits_and_a_white_one_does_not(sd1: Lab, maps: list[Image.Image], kind: str):
    net, adapter = sd1.net(1), sd1.adapter(1)

    def unit(mask: Image.Image | None) -> Any:
        if kind == "prompt":
            return sd1.image_prompt("plain", [maps[0]], mask, weight=0.8)
        return sd1.control("a", net if kind == "net" else adapter, maps[0], mask)

    everywhere = sd1.ours(REQUEST, unit(None))
    white, black = Image.new("L", SIZE, 255), Image.new("L", SIZE, 0)
    assert torch.allclose(sd1.ours(REQUEST, unit(white)), everywhere, atol=1e-4)
    assert torch.allclose(sd1.ours(REQUEST, unit(black)), sd1.ours(REQUEST), atol=1e-4)
    assert not torch.allclose(sd1.ours(REQUEST, unit(half_mask())), everywhere, atol=1e-3)


def test_a_map_of_another_shape_is_placed_as_its_resize_mode_says(sd1: Lab):
    net, wide = sd1.net(1), drawing(1, (200, 100)).rotate(20)
    results = []
    for mode in ResizeMode:
        fitted = fit_picture(wide, Extent(width=SIZE[0], height=SIZE[1]), mode)
        ours = sd1.ours(REQUEST, sd1.control("a", net, wide, resize_mode=mode))
        assert torch.equal(ours, sd1.ours(REQUEST, sd1.control("a", net, fitted, resize_mode=mode)))
        results.append(ours)
    assert (results[0] - results[2]).abs().max() > 1e-4


def test_the_hires_pass_follows_the_map_at_its_own_size(sd1: Lab, maps: list[Image.Image]):
    request = REQUEST.model_copy(update={"hires": HiresPass(scale=2, strength=0.5, upscaler=Upscaler.LATENT)})
    net = sd1.net(1)
    sizes: list[tuple[int, ...]] = []
    net.controlnet_cond_embedding.register_forward_pre_hook(
        lambda _, given: sizes.append(tuple(given[0].shape[-2:]))
    )
    steered = sd1.ours(request, sd1.control("a", net, maps[0]), sd1.image_prompt("plain", [maps[1]]))
    assert steered.shape[-2:] == (20, 16)
    assert sizes == [(80, 64), (160, 128)]


def test_conditions_stack_with_every_part_of_an_and_prompt(sd1: Lab, units: list[Any]):
    prompt = "a red ball AND a blue house :0.5"
    request = REQUEST.model_copy(update={"prompt": prompt, "sampler": Sampler.EULER})
    guess = sd1.control("g", sd1.net(2), drawing(1), mode=ControlMode.CONTROL)
    assert torch.isfinite(sd1.ours(request, *units, guess)).all()
