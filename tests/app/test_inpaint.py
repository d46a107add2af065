"""Inpainting through the whole studio: with any model, with models made for it, and what is refused."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from studio.app.studio import LocalStudio, build_studio
from studio.core.errors import InvalidRequest
from studio.core.inpaint import Inpaint, InpaintArea, MaskedContent, Outpaint
from studio.core.requests import GenerateRequest, HiresPass, SourceImage
from studio.core.samplers import Sampler
from studio.core.settings import Precision, Settings
from tests import tiny
from tests.app.test_studio import pictures

SIZE = (96, 80)


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStudio]:
    folder = tmp_path_factory.mktemp("inpaint")
    tiny.make_sd1(folder / "models" / "tiny", seed=1)
    tiny.make_sd1(folder / "models" / "nine", seed=2, inpaint=True)
    settings = Settings(
        data_dir=folder / "data",
        models_dirs=(folder / "models",),
        device="cpu",
        precision=Precision.FP32,
        preview_seconds=0,
    )
    studio = build_studio(settings)
    studio.start()
    yield studio
    studio.close()


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 256, (SIZE[1], SIZE[0], 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def mask() -> Image.Image:
    mask = Image.new("L", SIZE, 0)
    mask.paste(255, (40, 24, 72, 56))
    return mask


@pytest.fixture
def request_of(studio: LocalStudio, photo: Image.Image, mask: Image.Image):
    def make(model: str = "tiny", strength: float = 0.7, painted: Image.Image = mask, **options):
        given = {"blur": 0, "mask": studio.put_blob(png(painted)), **options}
        return GenerateRequest(
            model=model,
            prompt="a red ball",
            width=SIZE[0],
            height=SIZE[1],
            steps=4,
            seed=5,
            sampler=Sampler.EULER,
            source=SourceImage(image=studio.put_blob(png(photo)), strength=strength),
            inpaint=Inpaint(**given),
        )

    return make


def differs(a: Image.Image, b: Image.Image) -> np.ndarray:
    return (np.asarray(a, int) != np.asarray(b, int)).any(axis=2)


@pytest.mark.parametrize("model", ["tiny", "nine"])
@pytest.mark.parametrize("area", list(InpaintArea))
@pytest.mark.parametrize("strength", [0.7, 1.0])
def test_the_mask_changes_and_the_rest_stays_bit_equal(
    studio, photo, mask, request_of, model, area, strength
):
    (result,) = pictures(studio, request_of(model, strength, area=area, padding=8))
    painted = np.asarray(mask) > 0
    assert result.size == SIZE
    assert not differs(photo, result)[~painted].any()
    assert differs(photo, result)[painted].mean() > 0.9


def test_every_option_changes_the_picture(studio, request_of):
    (usual,) = pictures(studio, request_of())
    for change in (
        {"content": MaskedContent.FILL},
        {"content": MaskedContent.LATENT_NOISE},
        {"content": MaskedContent.LATENT_NOTHING},
        {"area": InpaintArea.MASKED, "padding": 8},
        {"blur": 8},
        {"grow": 6},
        {"invert": True},
        {"outpaint": Outpaint(right=16)},
    ):
        (other,) = pictures(studio, request_of(**change))
        assert other.size != usual.size or differs(usual, other).any(), change


def test_grey_parts_of_a_soft_mask_change_less(studio, photo, mask, request_of):
    grey = mask.point(lambda value: value * 5 // 8)
    (hard,) = pictures(studio, request_of(painted=grey))
    (soft,) = pictures(studio, request_of(painted=grey, soft=True))
    inside = np.asarray(mask) > 0
    change = [np.abs(np.asarray(one, int) - np.asarray(photo, int))[inside].mean() for one in (soft, hard)]
    assert 0 < change[0] < change[1]


@pytest.mark.parametrize("colour", [(255, 255, 255, 255), (0, 0, 0, 255)])
def test_a_stroke_on_a_transparent_layer_is_the_mask(studio, mask, request_of, colour):
    layer = Image.new("RGBA", SIZE, (0, 0, 0, 0))
    layer.paste(colour, mask.getbbox())
    (painted,), (expected,) = (pictures(studio, one) for one in (request_of(painted=layer), request_of()))
    assert not differs(painted, expected).any()


@pytest.mark.parametrize("model", ["tiny", "nine"])
def test_a_stroke_thinner_than_a_latent_changes_the_photo(studio, photo, request_of, model):
    thin = Image.new("L", SIZE, 0)
    thin.paste(255, (41, 10, 44, 70))
    (result,) = pictures(studio, request_of(model, painted=thin))
    changed = differs(photo, result)
    assert not changed[np.asarray(thin) == 0].any()
    assert changed[np.asarray(thin) > 0].mean() > 0.9


@pytest.mark.parametrize("model", ["tiny", "nine"])
@pytest.mark.parametrize("area", list(InpaintArea))
@pytest.mark.parametrize("content", list(MaskedContent))
@pytest.mark.parametrize("strength", [0.0, 0.2])
def test_where_no_step_is_run_the_photo_stays(studio, photo, request_of, model, area, content, strength):
    """0.2 of four steps is less than one."""
    (result,) = pictures(studio, request_of(model, strength, area=area, content=content, padding=8))
    assert not differs(photo, result).any()


def test_outpainting_alone_needs_no_mask(studio, photo, request_of):
    request = request_of(mask=None, outpaint=Outpaint(left=32)).model_copy(update={"width": 128})
    (result,) = pictures(studio, request)
    assert result.size == (128, 80)
    assert not differs(photo, result.crop((32, 0, 128, 80)))[:, 8:].any()


def test_a_batch_and_its_infotext_restore_the_mask(studio, request_of):
    request = request_of().model_copy(update={"batch_size": 2})
    job = studio.submit(request)
    *_, last = studio.events(job.id, timeout=60)
    assert len(last.images) == 2
    assert studio.image(last.images[1]).request.inpaint == request.inpaint


@pytest.mark.parametrize(
    ("change", "field", "says"),
    [
        ({"painted": Image.new("L", SIZE, 0)}, "inpaint.mask", "nothing is masked"),
        ({"painted": Image.new("RGBA", SIZE, (255, 255, 255, 0))}, "inpaint.mask", "nothing is masked"),
        ({"painted": Image.new("L", SIZE, 255), "invert": True}, "inpaint.mask", "inverted"),
        ({"painted": Image.new("L", (64, 128), 255)}, "inpaint.mask", "shaped like the photo"),
        ({"mask": "f" * 64}, "inpaint.mask", "fffff|stored|there is no|missing|There"),
    ],
)
def test_masks_that_cannot_work_are_refused_at_once(studio, request_of, change, field, says):
    with pytest.raises(InvalidRequest, match=says) as refused:
        studio.submit(request_of(**change))
    assert refused.value.field == field


def test_a_strip_is_not_outpainted_to_more_than_memory_holds(studio, request_of):
    request = request_of(mask=None, outpaint=Outpaint(top=1024, bottom=1024))
    strip = SourceImage(image=studio.put_blob(png(Image.new("RGB", (60_000, 1)))))
    with pytest.raises(InvalidRequest, match="60000 x 2049 px") as refused:
        studio.submit(request.model_copy(update={"source": strip}))
    assert refused.value.field == "inpaint.outpaint"


def test_a_full_mask_paints_everything(studio, photo, request_of):
    (result,) = pictures(studio, request_of(painted=Image.new("L", SIZE, 255)))
    assert differs(photo, result).mean() > 0.9


def test_models_and_parts_that_do_not_go_together_are_refused(studio, request_of):
    cases = {
        "model": request_of("nine").model_copy(update={"inpaint": None}),
        "source.image": request_of().model_copy(update={"source": None}),
        "hires": request_of().model_copy(update={"hires": HiresPass()}),
    }
    for field, request in cases.items():
        with pytest.raises(InvalidRequest) as refused:
            studio.submit(request)
        assert refused.value.field == field
