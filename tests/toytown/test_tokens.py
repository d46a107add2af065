from __future__ import annotations

import numpy as np
import pytest
import torch
from tokens import WORDS, new_tokenizer, save_tokenizer
from train_clip import new_clip
from transformers import AutoTokenizer, CLIPTokenizer
from world import describe, random_scene


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    return new_tokenizer()


def test_every_toytown_word_is_one_token(tokenizer):
    assert [word for word in WORDS if len(tokenizer.tokenize(word)) != 1] == []


def test_captions_are_as_many_tokens_as_words(tokenizer):
    for seed in range(50):
        rng = np.random.default_rng(seed)
        caption = describe(random_scene(rng), rng)
        assert len(tokenizer.tokenize(caption)) == len(caption.replace(",", " ,").split())


def test_any_text_survives_encoding_and_decoding(tokenizer):
    ids = tokenizer("a Zürich-blue 猫 ☂")["input_ids"]
    assert tokenizer.unk_token_id not in ids[1:-1]
    assert "猫" in tokenizer.decode(ids[1:-1])


def test_the_end_token_comes_last_in_the_vocabulary(tokenizer):
    assert tokenizer.eos_token_id == len(tokenizer) - 1
    assert tokenizer.bos_token_id == len(tokenizer) - 2


@pytest.mark.parametrize("reader", [AutoTokenizer, CLIPTokenizer])
def test_a_saved_tokenizer_reads_the_same(tokenizer, tmp_path, reader):
    save_tokenizer(tokenizer, tmp_path)
    again = reader.from_pretrained(tmp_path)
    text = "a red ball left of an orange star, at night"
    assert again(text)["input_ids"] == tokenizer(text)["input_ids"]
    assert again.model_max_length == 77


def test_clip_pools_at_the_first_end_token(tokenizer):
    text_model = new_clip(tokenizer).text_model.eval()
    ids = tokenizer("a red ball", padding="max_length", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        output = text_model(ids)
    end = ids[0].tolist().index(tokenizer.eos_token_id)
    assert end == 4
    assert torch.equal(output.pooler_output[0], output.last_hidden_state[0, end])
