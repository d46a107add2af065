import random

import pytest

from studio.core.errors import InvalidRequest
from studio.core.geometry import ResizeMode
from studio.core.models import ModelKind
from studio.core.requests import GenerateRequest, HiresPass, SourceImage, Variation
from studio.core.samplers import Sampler, Schedule, Upscaler, schedules_for
from studio.storage.infotext import ModelFacts, format_infotext, parse_infotext, request_from_infotext

BLOB = "ab" * 32


def imported(text, **options):
    return request_from_infotext(parse_infotext(text), **options)


def test_a_request_is_written_as_a1111_writes_it():
    request = GenerateRequest(
        prompt="a red ball\non grass",
        negative_prompt="blurry",
        sampler=Sampler.DPMPP_2M,
        schedule=Schedule.KARRAS,
        seed=1,
        clip_skip=2,
        variation=Variation(seed=5, strength=0.25),
        hires=HiresPass(scale=1.5, steps=10, strength=0.4, upscaler=Upscaler.LATENT),
    )
    facts = ModelFacts("toy, town", "0123456789abcdef", "soft", "fedcba9876543210")
    assert format_infotext(request, facts, "0.1.0") == (
        "a red ball\n"
        "on grass\n"
        "Negative prompt: blurry\n"
        "Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512,"
        ' Model hash: 0123456789, Model: "toy, town", VAE hash: fedcba9876, VAE: soft,'
        " Variation seed: 5, Variation seed strength: 0.25, Denoising strength: 0.4, Clip skip: 2,"
        " Hires upscale: 1.5, Hires steps: 10, Hires upscaler: Latent, Version: Easel 0.1.0"
    )


def test_a_plain_request_names_only_what_applies():
    text = format_infotext(GenerateRequest(prompt="x", seed=3, guidance_scale=7.5), ModelFacts())
    assert text == (
        "x\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Automatic, CFG scale: 7.5, Seed: 3, Size: 512x512,"
        " Version: Easel"
    )


def test_another_studios_text_is_taken_apart_with_unknown_keys():
    parsed = parse_infotext(
        "masterpiece, <lora:style:0.8>\n"
        "Negative prompt: worst, low quality\n"
        "second line\n"
        'Steps: 20, Sampler: Euler a, Seed: 1, Lora hashes: "style: 0123, other: 4567", ControlNet 0: '
        '"Module: canny, Weight: 1.0", Odd-key/x: "with \\"quotes\\"", Version: v1.10.1'
    )
    assert parsed.prompt == "masterpiece, <lora:style:0.8>"
    assert parsed.negative_prompt == "worst, low quality\nsecond line"
    assert parsed.fields["Lora hashes"] == "style: 0123, other: 4567"
    assert parsed.fields["ControlNet 0"] == "Module: canny, Weight: 1.0"
    assert parsed.fields["Odd-key/x"] == 'with "quotes"'
    assert parsed.source == "AUTOMATIC1111"


@pytest.mark.parametrize("last_line", ["Steps: 20, Seed: 1", "just words", "time: noon, place: beach"])
def test_a_last_line_of_fewer_than_three_pairs_is_prompt(last_line):
    parsed = parse_infotext(f"a ball\n{last_line}")
    assert parsed.prompt == f"a ball\n{last_line}"
    assert parsed.fields == {}


def test_a_prompt_that_looks_like_parameters_survives():
    request = GenerateRequest(prompt="Steps: 3, Sampler: Euler, Seed: 4", seed=1)
    assert imported(format_infotext(request, ModelFacts())).request == request


def test_a_text_without_parameters_is_refused_with_a_sentence():
    with pytest.raises(InvalidRequest, match=r"no generation parameters .* It needs a last line"):
        imported("a red ball")


def random_text(chance):
    words = [
        "a (red:1.2) ball",
        "blue, house",
        "[cat|dog]",
        "<lora:x:0.5>",
        "über",
        "猫",
        '"quoted"',
        "a:b",
        "\\(",
    ]
    lines = [", ".join(chance.choices(words, k=chance.randint(1, 5))) for _ in range(chance.randint(1, 3))]
    return "\n".join(lines)


def random_request(chance):
    sampler = chance.choice(list(Sampler))
    hires = HiresPass(
        scale=round(chance.uniform(1, 4), 3),
        steps=chance.randint(0, 150),
        strength=round(chance.random(), 4),
        upscaler=chance.choice(list(Upscaler)),
    )
    source = SourceImage(
        image=BLOB, strength=round(chance.random(), 4), resize_mode=chance.choice(list(ResizeMode))
    )
    variation = Variation(seed=chance.randrange(2**32), strength=chance.uniform(0.01, 1))
    return GenerateRequest(
        prompt=random_text(chance) if chance.random() < 0.9 else "",
        negative_prompt=random_text(chance) if chance.random() < 0.6 else "",
        width=chance.randrange(64, 4097, 8),
        height=chance.randrange(64, 4097, 8),
        steps=chance.randint(1, 150),
        sampler=sampler,
        schedule=chance.choice(schedules_for(sampler)),
        guidance_scale=chance.choice([1, 7, 7.5, chance.uniform(1, 30)]),
        seed=chance.randrange(2**32),
        clip_skip=chance.randint(1, 12),
        hires=chance.choice([None, hires]),
        source=chance.choice([None, source]),
        variation=chance.choice([None, variation]),
        model="models/a, b: c",
        vae=chance.choice(["", "vae-1"]),
    )


def test_500_random_requests_come_back_exactly_as_they_were():
    chance = random.Random(7)
    ids = {("A, b: c", ModelKind.CHECKPOINT): "models/a, b: c", ('soft "one"', ModelKind.VAE): "vae-1"}
    for _ in range(500):
        request = random_request(chance)
        facts = ModelFacts("A, b: c", "00" * 32, 'soft "one"' if request.vae else "")
        settings = imported(
            format_infotext(request, facts, "0.1"),
            resolve_model=lambda name, digits, kind: ids.get((name, kind)),
            known_blobs={BLOB},
        )
        assert settings.request == request
        assert settings.warnings == ()
        assert settings.source == "Easel"


def test_values_out_of_bounds_are_moved_inside_with_a_warning():
    settings = imported(
        "x\nSteps: 900, Sampler: Euler, CFG scale: 0.5, Seed: 1, Size: 5000x333, Clip skip: 0"
    )
    request = settings.request
    assert (request.steps, request.guidance_scale, request.clip_skip) == (150, 1, 1)
    assert (request.width, request.height) == (4096, 336)
    assert len(settings.warnings) == 5
    assert "Steps 900 is not possible here; 150 is used." in settings.warnings


@pytest.mark.parametrize("value", ["many", "nan", "inf", "", "-"])
def test_a_value_that_is_no_number_keeps_the_default_with_a_warning(value):
    settings = imported(f"x\nSteps: {value}, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 64x64")
    assert settings.request.steps == 20
    assert "no number" in settings.warnings[0]


def test_a_64_bit_seed_is_folded_with_a_warning():
    settings = imported(f"x\nSteps: 20, Sampler: Euler, Seed: {2**40 + 5}")
    assert settings.request.seed == 5
    assert "makes another picture" in settings.warnings[0]


def test_an_image_made_from_another_says_that_it_is_missing():
    settings = imported("x\nSteps: 20, Sampler: Euler, Seed: 1, Denoising strength: 0.6")
    assert settings.request.source is None
    assert "strength 0.6" in settings.warnings[0]


def test_a_source_picture_that_is_not_in_the_store_is_left_out():
    request = GenerateRequest(seed=1, source=SourceImage(image=BLOB))
    assert imported(format_infotext(request, ModelFacts())).request.source is None


def test_a_missing_model_is_named():
    settings = imported(
        "x\nSteps: 20, Sampler: Euler, Seed: 1, Model: dream, Model hash: 0123456789",
        resolve_model=lambda name, digits, kind: None,
    )
    assert settings.request.model == ""
    assert settings.warnings == ("The checkpoint 'dream' is not here; the active one is used instead.",)


def test_a_model_is_found_by_its_hash_alone():
    settings = imported(
        "x\nSteps: 20, Sampler: Euler, Seed: 1, Model hash: 0123456789",
        resolve_model=lambda name, digits, kind: {"0123456789": "found"}.get(digits),
    )
    assert (settings.request.model, settings.warnings) == ("found", ())


def test_what_has_no_place_is_named_in_one_warning():
    settings = imported("x\nSteps: 20, Sampler: Euler, Seed: 1, ENSD: 31337, Face restoration: CodeFormer")
    assert settings.warnings == ("Not taken over: ENSD (31337), Face restoration (CodeFormer).",)


@pytest.mark.parametrize("key", ["Foo", "Model", "Lora hashes"])
def test_half_a_character_in_a_quoted_value_is_dropped(key):
    parsed = parse_infotext(f'a\nSteps: 20, Sampler: Euler, CFG scale: 7, {key}: "x\\ud800: y"')
    assert parsed.fields[key] == "x: y"
    assert request_from_infotext(parsed).model_dump_json()


def test_hires_given_as_a_size_becomes_a_scale():
    settings = imported(
        "x\nSteps: 20, Sampler: Euler, Seed: 1, Size: 512x512, Denoising strength: 0.5,"
        " Hires resize: 1024x1024, Hires upscaler: R-ESRGAN 4x+"
    )
    assert settings.request.hires == HiresPass(scale=2, strength=0.5, upscaler=Upscaler.LANCZOS)
    assert settings.warnings == ("Easel has no upscaler 'R-ESRGAN 4x+'; Lanczos is used instead.",)


@pytest.mark.parametrize(
    ("ending", "source"),
    [
        ("Version: v1.10.1", "AUTOMATIC1111"),
        ("Version: f2.0.1v1.10.1", "Forge"),
        ("App: SD.Next, Version: 894e15d3", "SD.Next"),
        ("Version: Fooocus v2.5.5", "Fooocus"),
    ],
)
def test_the_studio_that_wrote_it_is_named(ending, source):
    assert imported(f"x\nSteps: 20, Sampler: Euler, Seed: 1, {ending}").source == source


def test_a_prompt_beyond_our_limit_is_shortened_with_a_warning():
    settings = imported("x" * 30_000 + "\nSteps: 20, Sampler: Euler, Seed: 1")
    assert len(settings.request.prompt) == 20_000
    assert "30000 characters" in settings.warnings[0]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "text", ["a" * 900_000, 'a: "' * 200_000, "a:,," * 200_000, '"\\' * 400_000, "\n" * 900_000]
)
def test_hostile_texts_are_taken_apart_in_linear_time(text):
    parse_infotext(text)
