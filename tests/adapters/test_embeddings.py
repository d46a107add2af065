"""Textual inversions: files of every form, their place in a prompt, and an encoder left as it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from studio.adapters.embedding import Embedding, read_embedding
from studio.core.errors import CorruptFile, EaselError
from studio.core.models import Family, ModelKind
from studio.diffusion.chunks import LearnedWords, chunk_prompt, count_tokens
from studio.diffusion.encode import EmbeddingCache, TextEncoder, TextEncoders, encode_prompts
from studio.diffusion.prompt import Span, parse_prompt, prompt_schedule
from studio.diffusion.prompt.words import WordFinder
from studio.models.embedding_file import embedding_shape
from studio.models.probe import probe
from studio.models.safe import open_weights
from tests import tiny
from tests.adapters.networks import write_embedding


def vectors(count: int, width: int = 32, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def read(file: Path) -> Embedding:
    weights = open_weights([file])
    shape = embedding_shape(weights.header, file.stem)
    embedding = read_embedding(weights, file.stem, "digest")
    assert (shape.vectors, shape.widths) == (embedding.count, tuple(v.shape[1] for v in embedding.vectors))
    return embedding


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("cat.pt", "a1111"),
        ("cat.pt", "emb_params"),
        ("cat.safetensors", "emb_params"),
        ("cat.safetensors", "one-key"),
        ("learned_embeds.bin", "one-key"),
        ("learned_embeds.safetensors", "one-key"),
    ],
)
@pytest.mark.parametrize(
    "saved", [vectors(3, 768), vectors(1, 768), vectors(1, 768)[0]], ids=lambda t: str(t.shape)
)
def test_every_form_is_told_and_read(tmp_path: Path, name: str, form: str, saved: torch.Tensor):
    file = write_embedding(tmp_path / name, saved, form=form)
    told = probe(file)
    assert (told.kind, told.family) == (ModelKind.EMBEDDING, Family.SD1)
    (read_back,) = read(file).vectors
    assert torch.equal(read_back, torch.atleast_2d(saved))


def test_pairs_of_sdxl(tmp_path: Path):
    saved = vectors(2, 768), vectors(2, 1280, seed=1)
    file = write_embedding(tmp_path / "cat.safetensors", *saved, form="sdxl")
    assert (probe(file).kind, probe(file).family) == (ModelKind.EMBEDDING, Family.SDXL)
    assert all(torch.equal(a, b) for a, b in zip(read(file).vectors, saved, strict=True))


@pytest.mark.parametrize(("width", "family"), [(768, Family.SD1), (1024, Family.SD2), (1280, Family.SDXL)])
def test_the_width_tells_the_family(tmp_path: Path, width: int, family: Family):
    assert probe(write_embedding(tmp_path / "cat.pt", vectors(2, width))).family is family


def test_a_parameter_that_was_trained_is_read_as_numbers(tmp_path: Path):
    torch.save({"string_to_param": {"*": torch.nn.Parameter(vectors(2))}}, tmp_path / "cat.pt")
    assert not read(tmp_path / "cat.pt").vectors[0].isnan().any()


def test_the_first_files_keep_their_vectors_in_a_module(tmp_path: Path):
    saved = torch.nn.ParameterDict({"*": torch.nn.Parameter(vectors(2, 768))})
    torch.save({"string_to_token": {"*": torch.tensor(265)}, "string_to_param": saved}, tmp_path / "cat.pt")
    assert probe(tmp_path / "cat.pt").family is Family.SD1
    (read_back,) = read(tmp_path / "cat.pt").vectors
    assert torch.equal(read_back, saved["*"])


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "NaN": ({"string_to_param": {"*": torch.full((2, 768), torch.nan)}}, "NaN"),
    "infinity": ({"emb_params": torch.full((2, 768), torch.inf)}, "not a number"),
    "whole numbers": ({"emb_params": torch.ones(2, 768, dtype=torch.long)}, "NaN"),
    "no vector": ({"emb_params": torch.ones(0, 768)}, "0 vectors"),
    "more than a window": ({"emb_params": torch.ones(76, 768)}, "76 vectors"),
    "uneven pair": ({"clip_l": torch.ones(2, 768), "clip_g": torch.ones(3, 1280)}, "2 and 3"),
    "wrong rank": ({"emb_params": torch.ones(1, 2, 768)}, "has no"),
}


@pytest.mark.parametrize(("content", "says"), BROKEN.values(), ids=BROKEN)
def test_what_is_broken_is_refused_with_a_reason(tmp_path: Path, content: dict[str, Any], says: str):
    torch.save(content, tmp_path / "bad.pt")
    with pytest.raises(CorruptFile, match=says):
        read(tmp_path / "bad.pt")


def test_a_wrong_rank_is_no_embedding_to_the_catalogue(tmp_path: Path):
    torch.save({"string_to_param": {"*": torch.ones(1, 2, 768)}}, tmp_path / "bad.pt")
    with pytest.raises(EaselError):
        probe(tmp_path / "bad.pt")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a photo of cat, sharp", ["cat"]),
        ("CAT and Cat", ["cat", "cat"]),
        ("concatenate the cats of cat2", []),
        ("black cat sleeping", ["black cat"]),
        ("black  CAT", ["black cat"]),
        ("bad-hands-5, bad-hands-55", ["bad-hands-5", "bad-hands"]),
        ("(cat:1.2) c++", ["cat", "c++"]),
        ("my_cat", ["cat"]),
        ("\u017ftyle", ["style"]),
    ],
)
def test_names_are_found_in_any_case_as_whole_words_the_longest_first(text: str, found: list[str]):
    finder = WordFinder(["Cat", "black cat", "bad-hands", "bad-hands-5", "c++", "style"])
    assert list(finder.names_in([(Span(text),)])) == found


def test_pieces_are_the_whole_text():
    pieces = list(WordFinder(["cat"]).pieces("a cat, and Cat"))
    assert "".join(piece.text for piece in pieces) == "a cat, and Cat"


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tiny.make_sd1(tmp_path_factory.mktemp("embeddings") / "tiny")
    return StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)


WORDS = LearnedWords({"style": 8, "cat": 1})


def runs(tokenizer: Any, prompt: str) -> list[list[tuple[int, str, int]]]:
    """Positions, names and numbers of the vectors in each chunk."""
    ((part,),) = (scheduled.parts for scheduled in prompt_schedule(parse_prompt(prompt), steps=1))
    chunks = chunk_prompt(tokenizer, part.segments, WORDS)
    return [[(place, v.name, v.index) for place, v in chunk.vectors] for chunk in chunks]


@pytest.mark.parametrize("before", [0, 1, 60, 67, 68, 70, 74, 75, 76, 149, 150])
def test_vectors_are_never_cut_apart(pipeline: Any, before: int):
    chunks = runs(pipeline.tokenizer, "red " * before + "style ball")
    (whole,) = [chunk for chunk in chunks if chunk]
    first = whole[0][0]
    assert whole == [(first + i, "style", i) for i in range(8)]
    assert first + 8 <= 76


@pytest.mark.parametrize(
    ("prompt", "tokens", "limit"),
    [
        ("a style ball", 10, 75),
        ("a (Style:1.3), [cat:style:3]", 18, 75),
        ("red " * 70 + "style", 83, 150),
        ("stylesheet", len("stylesheet"), 75),
        ("cat cat cat", 3, 75),
    ],
)
def test_each_vector_counts_as_a_token(pipeline: Any, prompt: str, tokens: int, limit: int):
    count = count_tokens(pipeline.tokenizer, prompt, WORDS)
    assert (count.tokens, count.limit) == (tokens, limit)


def encoders(pipeline: Any, **embeddings: Embedding) -> TextEncoders:
    encoder = TextEncoder(pipeline.tokenizer, lambda: pipeline.text_encoder, "weights")
    return TextEncoders(Family.SD1, (encoder,), embeddings=embeddings)


def embeds(
    pipeline: Any, prompt: str, cache: EmbeddingCache | None = None, **embeddings: Embedding
) -> torch.Tensor:
    made = encode_prompts(
        prompt, "", encoders(pipeline, **embeddings), EmbeddingCache() if cache is None else cache, steps=4
    )
    return made.at(0).conditional[0][0].prompt_embeds


def own_vectors(pipeline: Any, words: Sequence[str]) -> Embedding:
    """The encoder's own embeddings of `words`, so that a name must encode as these words do."""
    ids = [pipeline.tokenizer(word, add_special_tokens=False).input_ids[0] for word in words]
    table = pipeline.text_encoder.get_input_embeddings().weight
    return Embedding((table[ids].detach().clone(),), "own")


@pytest.mark.parametrize(
    "written", ["a {} on grass", "a ({}:1.4) on grass", "{}", "a [grass|{}] ({} ball:0.5)"]
)
def test_a_name_encodes_as_its_vectors_do(pipeline: Any, written: str):
    words = ("red", "ball")
    ours = embeds(pipeline, written.replace("{}", "zz"), zz=own_vectors(pipeline, words))
    assert torch.equal(ours, embeds(pipeline, written.replace("{}", " ".join(words))))


def test_vectors_of_a_name_in_the_second_chunk(pipeline: Any):
    words = ("red", "ball")
    ours = embeds(pipeline, "a BREAK zz house", zz=own_vectors(pipeline, words))
    assert torch.equal(ours, embeds(pipeline, "a BREAK red ball house"))


def test_tokenizer_and_table_stay_as_they_were(pipeline: Any):
    table = pipeline.text_encoder.get_input_embeddings()
    before, size = table.weight.clone(), len(pipeline.tokenizer)
    plain = embeds(pipeline, "zz ball")
    assert not torch.equal(embeds(pipeline, "zz ball", zz=Embedding((vectors(2),), "1")), plain)
    assert torch.equal(embeds(pipeline, "zz ball"), plain)
    assert torch.equal(table.weight, before)
    assert len(pipeline.tokenizer) == size
    assert not table._forward_hooks


def test_half_precision_files_and_encoders_meet(pipeline: Any):
    half = Embedding((vectors(2).half(),), "1")
    whole = Embedding((vectors(2).half().float(),), "2")
    assert torch.equal(embeds(pipeline, "zz", zz=half), embeds(pipeline, "zz", zz=whole))


def test_the_cache_knows_the_vectors(pipeline: Any):
    cache = EmbeddingCache()
    first = embeds(pipeline, "zz ball", cache, zz=Embedding((vectors(2),), "1"))
    other = embeds(pipeline, "zz ball", cache, zz=Embedding((vectors(2, seed=1),), "2"))
    again = embeds(pipeline, "zz ball", cache, zz=Embedding((vectors(2),), "1"))
    assert not torch.equal(first, other)
    assert torch.equal(first, again)
    assert cache.misses == 3  # both, and the empty negative prompt


def test_texts_without_the_name_stay_in_the_cache(pipeline: Any):
    cache = EmbeddingCache()
    embeds(pipeline, "a red ball", cache)
    embeds(pipeline, "a red ball", cache, zz=Embedding((vectors(2),), "1"))
    assert cache.misses == 2
