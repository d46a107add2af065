import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

from studio.core.errors import InvalidRequest, PromptError
from studio.core.models import Family
from studio.diffusion.chunks import chunk_prompt, count_tokens
from studio.diffusion.encode import EmbeddingCache, TextEncoder, TextEncoders, encode_prompts
from studio.diffusion.prompt import Span, parse_prompt, prompt_schedule
from tests.tiny import make_sd1, make_sd2, make_sdxl

LONG = ", ".join(["red ball on blue grass"] * 30)


@pytest.fixture(scope="module")
def sd1(tmp_path_factory):
    return _pipeline(StableDiffusionPipeline, make_sd1(tmp_path_factory.mktemp("sd1")))


@pytest.fixture(scope="module")
def sd2(tmp_path_factory):
    return _pipeline(StableDiffusionPipeline, make_sd2(tmp_path_factory.mktemp("sd2")))


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory):
    return _pipeline(StableDiffusionXLPipeline, make_sdxl(tmp_path_factory.mktemp("sdxl")))


def _pipeline(cls, path):
    return cls.from_pretrained(path, local_files_only=True)


def _encoders(pipeline, digest="weights", **options):
    if isinstance(pipeline, StableDiffusionXLPipeline):
        second = TextEncoder(pipeline.tokenizer_2, lambda: pipeline.text_encoder_2, digest)
        return TextEncoders(Family.SDXL, (_encoder(pipeline, digest), second), **options)
    return TextEncoders(Family.SD1, (_encoder(pipeline, digest),))


def _encoder(pipeline, digest):
    return TextEncoder(pipeline.tokenizer, lambda: pipeline.text_encoder, digest)


def _encode(pipeline, prompt, negative="", cache=None, digest="weights", steps=10, **options):
    cache = EmbeddingCache() if cache is None else cache
    return encode_prompts(prompt, negative, _encoders(pipeline, digest), cache, steps=steps, **options)


def _embeds(pipeline, prompt, **options):
    return _encode(pipeline, prompt, **options).at(0).conditional[0][0].prompt_embeds


@pytest.mark.parametrize("name", ["sd1", "sd2"])
@pytest.mark.parametrize("prompt", ["", "a red ball, and a blue house: on grass!", "x " * 75])
def test_plain_prompts_are_bit_equal_to_diffusers(name, prompt, request):
    pipeline = request.getfixturevalue(name)
    theirs, their_negative = pipeline.encode_prompt(prompt, "cpu", 1, True, "blue")
    ours = _encode(pipeline, prompt, "blue").at(0)
    assert torch.equal(ours.conditional[0][0].prompt_embeds, theirs)
    assert torch.equal(ours.unconditional.prompt_embeds, their_negative)


@pytest.mark.parametrize("negative", [None, "blue"])
def test_sdxl_is_bit_equal_to_diffusers(sdxl, negative):
    theirs = sdxl.encode_prompt("a red ball", device="cpu", negative_prompt=negative)
    ours = _encode(sdxl, "a red ball", negative or "").at(0)
    text, no_text = ours.conditional[0][0], ours.unconditional
    tensors = (
        text.prompt_embeds,
        no_text.prompt_embeds,
        text.pooled_prompt_embeds,
        no_text.pooled_prompt_embeds,
    )
    assert all(torch.equal(mine, other) for mine, other in zip(tensors, theirs, strict=True))


def test_sdxl_encodes_an_empty_negative_prompt_where_the_checkpoint_says_so(sdxl):
    encoders = _encoders(sdxl, force_zeros_for_empty_prompt=False)
    ours = encode_prompts("a", "", encoders, EmbeddingCache(), steps=1).at(0)
    assert torch.equal(ours.unconditional.prompt_embeds, sdxl.encode_prompt("", device="cpu")[0])


@pytest.mark.parametrize("clip_skip", [1, 2])
def test_sdxl_clip_skip_counts_as_diffusers_does_plus_one(sdxl, clip_skip):
    theirs = sdxl.encode_prompt("a red ball", device="cpu", clip_skip=clip_skip - 1)[0]
    assert torch.equal(_embeds(sdxl, "a red ball", clip_skip=clip_skip), theirs)


def test_clip_skip_two_normalises_the_layer_before_the_last(sd1):
    encoder = sd1.text_encoder
    ids = sd1.tokenizer("a red ball", padding="max_length", return_tensors="pt").input_ids
    expected = encoder.final_layer_norm(encoder(ids, output_hidden_states=True).hidden_states[-2])
    assert torch.equal(_embeds(sd1, "a red ball", clip_skip=2), expected)
    assert not torch.equal(_embeds(sd1, "a red ball", clip_skip=1), expected)


def test_clip_skip_beyond_the_encoder_is_refused_at_its_field(sd1):
    with pytest.raises(InvalidRequest, match="Choose 1 to 3") as error:
        _encode(sd1, "a", clip_skip=4)
    assert error.value.field == "clip_skip"


def test_a_long_prompt_is_chunked_and_never_cut(sd1):
    chunks = chunk_prompt(sd1.tokenizer, ((Span(LONG),),))
    tokens = [id_ for chunk in chunks for id_ in _content(sd1.tokenizer, chunk)]
    assert tokens == sd1.tokenizer(LONG, add_special_tokens=False).input_ids
    assert _embeds(sd1, LONG).shape[1] == 77 * len(chunks) > 77


def test_each_chunk_is_encoded_alone(sd1):
    joined = _embeds(sd1, "a red BREAK blue house")
    assert torch.allclose(joined[:, :77], _embeds(sd1, "a red"), atol=1e-6)
    assert torch.allclose(joined[:, 77:], _embeds(sd1, "blue house"), atol=1e-6)


def test_a_full_chunk_ends_behind_a_comma_of_its_last_twenty_tokens(sd1):
    assert _chunk_lengths(sd1, "red " * 60 + ", " + "blue " * 20) == [61, 20]


def test_a_comma_further_back_does_not_end_a_chunk(sd1):
    assert _chunk_lengths(sd1, "red " * 50 + ", " + "blue " * 30) == [75, 6]


def test_a_break_at_the_end_adds_no_chunk(sd1):
    assert _chunk_lengths(sd1, "red BREAK") == [1]


def test_both_prompts_have_the_length_of_the_longer_one(sd1):
    step = _encode(sd1, "a", LONG).at(0)
    text, no_text = step.conditional[0][0].prompt_embeds, step.unconditional.prompt_embeds
    assert text.shape == no_text.shape
    assert torch.equal(text[:, 77:154], _embeds(sd1, ""))


def test_weights_multiply_tokens_and_the_mean_stays(sd1):
    plain, weighted = _embeds(sd1, "a red ball"), _embeds(sd1, "a (red:1.5) ball")
    ratio = weighted / plain
    assert torch.allclose(weighted.mean(), plain.mean(), atol=1e-6)
    assert torch.allclose(ratio[0, 2], 1.5 * ratio[0, 1], rtol=1e-3)


def test_sd2_pads_with_its_own_token(sd2):
    (chunk,) = chunk_prompt(sd2.tokenizer, ((Span("red"),),))
    assert set(chunk.input_ids[3:]) == {sd2.tokenizer.convert_tokens_to_ids("!")}


def test_a_constant_prompt_is_one_object_for_all_steps(sd1):
    schedule = _encode(sd1, "a red ball", "blue")
    assert len({id(schedule.at(step)) for step in range(10)}) == 1


def test_a_switch_changes_the_text_at_its_step(sd1):
    schedule = _encode(sd1, "a [red:blue:4] ball")
    assert schedule.at(3) is schedule.at(0)
    assert schedule.at(4) is schedule.at(9)
    assert torch.equal(schedule.at(4).conditional[0][0].prompt_embeds, _embeds(sd1, "a blue ball"))


def test_alternation_comes_back_to_the_same_objects(sd1):
    schedule = _encode(sd1, "[red|blue] ball")
    assert schedule.at(0) is schedule.at(2) is not schedule.at(1)


def test_negative_prompts_switch_too(sd1):
    schedule = _encode(sd1, "a", "[red:blue:0.5]")
    assert torch.equal(schedule.at(5).unconditional.prompt_embeds, _embeds(sd1, "blue"))


def test_and_gives_each_part_its_weight(sd1):
    step = _encode(sd1, "red ball AND blue house :0.5").at(0)
    assert [weight for _, weight in step.conditional] == [1.0, 0.5]


def test_texts_are_encoded_once_across_requests(sd1):
    cache = EmbeddingCache()
    first = _encode(sd1, "a red ball", cache=cache)
    second = _encode(sd1, "a red ball", cache=cache)
    assert cache.misses == 2
    assert second.at(0).conditional[0][0] is first.at(0).conditional[0][0]


def test_an_encoder_is_not_even_loaded_for_a_known_text(sd1):
    cache = EmbeddingCache()
    _encode(sd1, "a red ball", cache=cache)

    def refuse():
        raise AssertionError("the encoder was loaded")

    encoders = TextEncoders(Family.SD1, (TextEncoder(sd1.tokenizer, refuse, "weights"),))
    assert len(encode_prompts("a red ball", "", encoders, cache, steps=3)) == 3


@pytest.mark.parametrize("change", [{"digest": "with a LoRA"}, {"clip_skip": 2}])
def test_another_adapter_or_layer_is_another_entry(sd1, change):
    cache = EmbeddingCache()
    _encode(sd1, "a red ball", cache=cache)
    _encode(sd1, "a red ball", cache=cache, **change)
    assert cache.misses == 4


def test_the_cache_stays_within_its_bytes_and_keeps_the_newest(sd1):
    one = _embeds(sd1, "a").nbytes
    cache = EmbeddingCache(max_bytes=3 * one)
    for word in ("red", "blue", "ball", "house", "grass"):
        _encode(sd1, word, "a", cache=cache)
    assert cache.size_bytes <= 3 * one
    misses = cache.misses
    _encode(sd1, "grass", "a", cache=cache)
    assert cache.misses == misses


@pytest.mark.parametrize(
    ("prompt", "tokens", "limit"),
    [
        ("", 0, 75),
        ("a red ball", 3, 75),
        ("(red:1.3)", 1, 75),
        ("red " * 80, 80, 150),
        ("a BREAK red", 76, 150),
    ],
)
def test_tokens_are_counted_as_they_are_encoded(sd1, prompt, tokens, limit):
    count = count_tokens(sd1.tokenizer, prompt)
    assert (count.tokens, count.limit) == (tokens, limit)


def test_counting_a_broken_prompt_points_at_the_character(sd1):
    with pytest.raises(PromptError) as error:
        count_tokens(sd1.tokenizer, "a (red")
    assert error.value.position == 2


def _content(tokenizer, chunk):
    end = chunk.input_ids.index(tokenizer.eos_token_id)
    return chunk.input_ids[1:end]


def _chunk_lengths(pipeline, prompt):
    ((part,),) = (scheduled.parts for scheduled in prompt_schedule(parse_prompt(prompt), steps=1))
    return [
        len(_content(pipeline.tokenizer, chunk)) for chunk in chunk_prompt(pipeline.tokenizer, part.segments)
    ]
