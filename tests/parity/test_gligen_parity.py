"""Boxes against diffusers' GLIGEN pipelines: their gated UNet, ours with the graft taken from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    StableDiffusionGLIGENPipeline,
    StableDiffusionGLIGENTextImagePipeline,
    StableDiffusionInpaintPipeline,
)
from diffusers.pipelines.stable_diffusion import CLIPImageProjection
from PIL import Image
from transformers import CLIPImageProcessor, CLIPProcessor, CLIPVisionModelWithProjection

from studio.core.boxes import Boxes, BoxInput
from studio.core.geometry import Box
from studio.core.inpaint import Inpaint
from studio.core.models import Family, ModelInfo, ModelKind
from studio.core.requests import GenerateRequest, SourceImage
from studio.core.samplers import Sampler
from studio.diffusion.boxes import BoxScene, BoxStack, FramedBox
from studio.diffusion.encode import EmbeddingCache, TextEncoder, TextEncoders
from studio.diffusion.plan_boxes import PlannedBoxes
from studio.models.gligen import GligenGraft
from studio.models.gligen_files import fit_gligen, gligen_sources
from tests import tiny
from tests.parity.equality import REQUEST, Record, assert_equal
from tests.parity.sides import Sides
from tests.tiny_gligen import gated_unet, graft_tensors, make_text_image

PHRASES = ("a red ball", "blue house on grass")
BOXES = ((0.1, 0.2, 0.5, 0.7), (0.55, 0.0, 1.0, 0.9))


class BoxedSides(Sides):
    """Ours with a graft beside the pipeline's modules."""

    def __init__(self, folder: Path, reads_pictures: bool = False) -> None:
        super().__init__(folder, Family.SD1)
        self.gated = gated_unet(folder, reads_pictures=reads_pictures)
        self.graft = graft_module(graft_tensors(self.gated))

    def boxed(self, layout: Boxes, pictures: Mapping[int, Image.Image], stacked: Mapping[str, Any]) -> Any:
        """A `BoxStack` as the engine makes it."""
        info = ModelInfo(id="boxes", name="boxes", kind=ModelKind.GLIGEN, family=Family.SD1)
        framed = tuple(
            FramedBox(one.box, one.phrase, (str(i), pictures[i]) if i in pictures else None)
            for i, one in enumerate(layout.boxes)
        )
        roles = ("image_encoder:boxes", "image_project:boxes") if pictures else ()
        pipeline = self.text_to_image
        lease = _Lease({"gligen:boxes": self.graft, "unet": pipeline.unet, **stacked})
        encoder = TextEncoder(pipeline.tokenizer, lambda: pipeline.text_encoder, "")
        encoders = TextEncoders(Family.SD1, (encoder,))
        scene = BoxScene(PlannedBoxes(layout, info), framed, *roles)
        return BoxStack(lease, scene, encoders, EmbeddingCache(2**20))  # type: ignore[arg-type]


class _Lease:
    device = torch.device("cpu")
    lean = False

    def __init__(self, modules: Mapping[str, Any]) -> None:
        self._modules = modules

    def get(self, role: str) -> Any:
        return self._modules[role]

    peek = get

    def digest(self, role: str) -> str:
        return role


def graft_module(tensors: dict[str, torch.Tensor]) -> GligenGraft:
    graft = GligenGraft(**fit_gligen({name: tuple(tensor.shape) for name, tensor in tensors.items()}))
    sources = gligen_sources(graft.state_dict())
    graft.load_state_dict({name: source.read(tensors) for name, source in sources.items()})
    return graft.eval().requires_grad_(False)


def layout_of(share: float, phrases: tuple[str, ...] = PHRASES) -> Boxes:
    return Boxes(
        boxes=tuple(
            BoxInput(box=Box(x0=x0, y0=y0, x1=x1, y1=y1), phrase=phrase)
            for phrase, (x0, y0, x1, y1) in zip(phrases, BOXES, strict=True)
        ),
        share=share,
    )


def request_for(sampler: Sampler, **changes: Any) -> GenerateRequest:
    return REQUEST.model_copy(update={"sampler": sampler, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_sd1(tmp_path_factory.mktemp("gligen") / "sd1")


@pytest.fixture(scope="module")
def sides(folder: Path) -> BoxedSides:
    return BoxedSides(folder)


def text_pipeline(sides: BoxedSides) -> Any:
    parts = {k: v for k, v in sides.text_to_image.components.items() if k != "image_encoder"}
    return StableDiffusionGLIGENPipeline(**parts | {"unet": sides.gated}, requires_safety_checker=False)


@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("sampler", [Sampler.DDIM, Sampler.EULER, Sampler.EULER_A, Sampler.DPMPP_2M])
@pytest.mark.parametrize(("guidance", "batch"), [(7.0, 1), (1.0, 2)])
def test_text_boxes(
    sides: BoxedSides, record: Record, sampler: Sampler, share: float, guidance: float, batch: int
) -> None:
    request = request_for(sampler, guidance_scale=guidance, batch_size=batch)
    stack = sides.boxed(layout_of(share), {}, {})
    ours = sides.ours(request, conditions=stack.conditions)
    theirs = sides.theirs(
        request,
        pipeline=text_pipeline(sides),
        gligen_phrases=list(PHRASES),
        gligen_boxes=[list(box) for box in BOXES],
        gligen_scheduled_sampling_beta=share,
    )
    assert_equal(ours, theirs, record)
    assert (ours - sides.ours(request)).abs().max() > 1e-2, "the boxes changed nothing"


def test_boxes_with_pictures(folder: Path, tmp_path: Path, record: Record) -> None:
    sides = BoxedSides(folder, reads_pictures=True)
    parts = make_text_image(tmp_path / "gligen", folder)
    encoder = CLIPVisionModelWithProjection.from_pretrained(parts / "image_encoder")
    projection = CLIPImageProjection.from_pretrained(parts / "image_project")
    picture = Image.effect_noise((40, 32), 90).convert("RGB")
    request = request_for(Sampler.DDIM)
    layout = layout_of(1.0, ("a red ball", ""))
    stack = sides.boxed(
        layout, {1: picture}, {"image_encoder:boxes": encoder, "image_project:boxes": projection}
    )
    ours = sides.ours(request, conditions=stack.conditions)
    pipe = sides.text_to_image
    size = encoder.config.image_size
    processor = CLIPProcessor(
        CLIPImageProcessor(size={"shortest_edge": size}, crop_size={"height": size, "width": size}),
        pipe.tokenizer,
    )
    theirs = sides.theirs(
        request,
        pipeline=StableDiffusionGLIGENTextImagePipeline(
            pipe.vae,
            pipe.text_encoder,
            pipe.tokenizer,
            processor,
            encoder,
            projection,
            sides.gated,
            pipe.scheduler,
            None,
            None,
            requires_safety_checker=False,
        ),
        gligen_phrases=["a red ball", None],
        gligen_images=[None, picture],
        gligen_boxes=[list(box) for box in BOXES],
    )
    assert_equal(ours, theirs, record)
    without = sides.boxed(layout_of(1.0, ("a red ball", "x")), {}, {})
    assert (ours - sides.ours(request, conditions=without.conditions)).abs().max() > 1e-3


@pytest.mark.parametrize("nine", [True, False])
def test_inpainting_with_boxes(tmp_path: Path, record: Record, nine: bool) -> None:
    """diffusers' inpainting pipeline over the gated UNet; the stock GLIGEN pipeline has another scheme."""
    sides = BoxedSides(tiny.make_sd1(tmp_path / "sd1", inpaint=nine))
    photo = Image.effect_noise((64, 80), 90).convert("RGB")
    mask = Image.new("L", (64, 80), 0)
    mask.paste(255, (16, 8, 49, 56))
    request = request_for(
        Sampler.DDIM,
        source=SourceImage(image="0" * 64, strength=1.0),
        inpaint=Inpaint(mask="1" * 64, blur=0),
    )
    stack = sides.boxed(layout_of(1.0), {}, {})
    ours = sides.ours(request, photo, mask=mask, conditions=stack.conditions)
    parts = dict(sides.text_to_image.components) | {"unet": sides.gated}
    theirs = sides.theirs(
        request,
        photo,
        StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False),
        mask_image=mask,
        width=64,
        height=80,
        cross_attention_kwargs={"gligen": _their_inputs(sides)},
    )
    assert_equal(ours, theirs, record)
    assert (ours - sides.ours(request, photo, mask=mask)).abs().max() > 1e-2


def _their_inputs(sides: BoxedSides) -> dict[str, torch.Tensor]:
    """As the stock pipeline makes them, for both halves of guidance."""
    pipeline = sides.text_to_image
    boxes, features, masks = torch.zeros(2, 30, 4), torch.zeros(2, 30, 32), torch.zeros(2, 30)
    tokens = pipeline.tokenizer(list(PHRASES), padding=True, return_tensors="pt")
    with torch.inference_mode():
        boxes[:, :2] = torch.tensor(BOXES)
        features[:, :2] = pipeline.text_encoder(**tokens).pooler_output
    masks[1, :2] = 1
    return {"boxes": boxes, "positive_embeddings": features, "masks": masks}


def test_strength_scales_what_the_boxes_do(sides: BoxedSides) -> None:
    request = request_for(Sampler.DDIM)
    bare = sides.ours(request)

    def changed(strength: float) -> float:
        layout = layout_of(1.0).model_copy(update={"strength": strength})
        stack = sides.boxed(layout, {}, {})
        return float((sides.ours(request, conditions=stack.conditions) - bare).abs().max())

    assert changed(0.0) == 0
    assert 0 < changed(0.1) < changed(1.0)


def test_a_share_of_nothing_changes_nothing(sides: BoxedSides) -> None:
    request = request_for(Sampler.DDIM)
    stack = sides.boxed(layout_of(0.0), {}, {})
    assert torch.equal(sides.ours(request, conditions=stack.conditions), sides.ours(request))


def test_a_share_of_less_than_a_step_is_one_step(sides: BoxedSides) -> None:
    """diffusers would leave the boxes out, which is not what a person means who asks for some."""
    request = request_for(Sampler.DDIM)

    def boxed(share: float) -> torch.Tensor:
        return sides.ours(request, conditions=sides.boxed(layout_of(share), {}, {}).conditions)

    assert torch.equal(boxed(0.1), boxed(1 / 6))
    assert (boxed(0.1) - sides.ours(request)).abs().max() > 1e-2
    assert not torch.equal(boxed(0.1), boxed(2 / 6))
