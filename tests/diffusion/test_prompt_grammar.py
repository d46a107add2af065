"""What a prompt parses to, and where its errors point."""

from __future__ import annotations

import random
import time

import pytest

from studio.core.errors import PromptError
from studio.diffusion.prompt import (
    HypernetworkTag,
    LoraTag,
    Span,
    parse_negative_prompt,
    parse_prompt,
    prompt_schedule,
)
from studio.diffusion.prompt.grammar import MAX_PARTS


def spans(prompt: str) -> list[tuple[str, float]]:
    """The (text, weight) pairs of a prompt's only part and segment at its first step."""
    (part,) = prompt_schedule(parse_prompt(prompt), 10)[0].parts
    (segment,) = part.segments
    return [(span.text, pytest.approx(span.weight)) for span in segment]


@pytest.mark.parametrize(
    "prompt",
    [
        "a red ball and a blue house, on grass",
        "ratio 16:9",
        "1:1, 3/4; 50% & more!? -- {curly} *stars* #5 @ $ ^ ~ _x_ 'quoted' \"twice\"",
        "a | b : c < d > e :: f",
        "BREAKFAST in the SANDBOX, ANDROID",
        "日本語 и русский 🎈\n\tnew lines \r\n stay",
        "back\\slash and one at the end \\",
        " spaces  ",
    ],
)
def test_ordinary_text_parses_to_itself(prompt: str):
    assert spans(prompt) == [(prompt, 1)]


def test_an_empty_prompt_is_one_empty_segment():
    (part,) = prompt_schedule(parse_prompt(""), 5)[0].parts
    assert part.segments == ((),)
    assert part.is_blank


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("(a)", [("a", 1.1)]),
        ("[a]", [("a", 1 / 1.1)]),
        ("((a))", [("a", 1.21)]),
        ("[[a]]", [("a", 1 / 1.21)]),
        ("(a:1.2)", [("a", 1.2)]),
        ("(a: 1.2 )", [("a", 1.2)]),
        ("(a:.5)", [("a", 0.5)]),
        ("(a:-1)", [("a", -1)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("[a:b]", [("a:b", 1 / 1.1)]),
        ("[a, b (c:1.5)]", [("a, b ", 1 / 1.1), ("c", 1.5 / 1.1)]),
        ("(a)(b) c", [("ab", 1.1), (" c", 1)]),
        (r"\(a\) \[b\] \\ \: \|", [(r"(a) [b] \ : |", 1)]),
        (r"(a \(b\):1.3)", [("a (b)", 1.3)]),
        (
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).)",
            [
                ("a ", 1),
                ("house", 1.573),
                (" ", 1.1),
                ("on", 1),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641),
                (".", 1.1),
            ],
        ),
    ],
)
def test_brackets_change_weights(prompt: str, expected: list[tuple[str, float]]):
    assert spans(prompt) == expected


def test_break_starts_a_segment_and_keeps_the_weight_around_it():
    (part,) = prompt_schedule(parse_prompt("(a BREAK b:1.3) c"), 1)[0].parts
    assert part.segments == ((Span("a ", 1.3),), (Span(" b", 1.3), Span(" c", 1.0)))


def test_and_composes_parts_with_weights():
    parts = prompt_schedule(parse_prompt("a cat AND a dog :1.2 AND a penguin:-.5"), 1)[0].parts
    texts = ["".join(span.text for span in part.segments[0]).strip() for part in parts]
    assert texts == ["a cat", "a dog", "a penguin"]
    assert [part.weight for part in parts] == [1, 1.2, -0.5]


def test_network_tags_are_data_and_leave_no_text():
    parsed = parse_prompt("<lora:a b:0.5:0.7>x<hypernet:h:0.3><lora:c><lora:d:unet=0.2:te=0>")
    assert parsed.tags == (
        LoraTag("a b", 0.5, 0.7),
        HypernetworkTag("h", 0.3),
        LoraTag("c", 1, 1),
        LoraTag("d", 0, 0.2),
    )
    assert spans("<lora:a:0.5>x<hypernet:h>") == [("x", 1)]


def test_a_lyco_is_a_lora():
    parsed = parse_prompt("x <lyco:a:0.5:unet=0.7>")
    assert parsed.tags == (LoraTag("a", 0.5, 0.7),)
    assert parsed.strays == ()
    with pytest.raises(PromptError, match="no closing >"):
        parse_prompt("a <lyco:b")


def test_a_tag_of_no_kind_that_there_is_leaves_no_text_and_is_told():
    parsed = parse_prompt("a<LORA:x:1> (b <segment:face>:1.2) [c<x:y>|d]")
    assert parsed.strays == ("<LORA:x:1>", "<segment:face>", "<x:y>")
    assert parsed.tags == ()
    assert spans("a<LORA:x:1> b") == [("a b", 1)]


@pytest.mark.parametrize("text", ["a < b: c > d", "<3", "<cat>", "<a:", "<:b>", r"\<LORA:x:1>", "a <b c:d>"])
def test_what_is_no_tag_stays_text(text: str):
    assert parse_prompt(text).strays == ()
    assert "".join(said for said, _ in spans(text)) == text.replace("\\", "")


def test_a_lora_weight_alone_is_for_both_networks():
    assert parse_prompt("<lora:a:0.5>").tags == (LoraTag("a", 0.5, 0.5),)


@pytest.mark.parametrize(
    ("prompt", "position", "words"),
    [
        ("a (b", 2, "never closed"),
        ("a [b (c)", 2, "never closed"),
        ("a b)", 3, "closes nothing"),
        ("smile :)", 7, "closes nothing"),
        ("it is 3:1.5)", 11, "closes nothing"),
        ("(a]", 2, r"needs a \)"),
        ("[a:1.3)", 6, r"needs a \]"),
        ("[a:b:c]", 6, "number N"),
        ("[a:b:]", 5, "number N"),
        ("[a:b:c:0.5]", 4, "third"),
        ("[a|b:3]", 4, "no number"),
        ("(a AND b)", 3, "inside brackets"),
        (" AND b", 1, "both of its sides"),
        ("a AND  ", 2, "both of its sides"),
        ("(a:1000)", 2, "at most 100"),
        ("a <lora:b", 2, "no closing >"),
        ("a <lora::1>", 2, "names no file"),
        ("a <lora:b:much>", 2, "is a number"),
        ("a <hypernet:b:1:2>", 2, "takes weight"),
        ("(" * 51 + ")" * 51, 50, "50 deep"),
        ("a AND " * 16 + "a", 92, "compose 16 prompts"),
    ],
)
def test_errors_point_at_the_character(prompt: str, position: int, words: str):
    with pytest.raises(PromptError, match=words) as error:
        parse_prompt(prompt)
    assert error.value.position == position
    assert error.value.field == "prompt"
    assert str(error.value).startswith(f"Character {position + 1}: ")


def test_as_many_prompts_as_one_step_can_hold_are_composed():
    assert len(parse_prompt("a AND " * (MAX_PARTS - 1) + "a").parts) == MAX_PARTS


def test_a_negative_prompt_is_one_text():
    with pytest.raises(PromptError, match="one text") as error:
        parse_negative_prompt("a AND b")
    assert (error.value.position, error.value.field) == (2, "negative_prompt")


def test_errors_in_the_negative_prompt_name_its_field():
    with pytest.raises(PromptError) as error:
        parse_negative_prompt("(a")
    assert error.value.field == "negative_prompt"


def test_any_text_parses_or_gets_an_error_within_it():
    """5000 prompts made of the grammar's own pieces."""
    pieces = [*"()[]:|<>\\ ,a", "1.5", ":2)", ":3]", " AND ", " BREAK ", "<lora:x:1>", "<lora:", "\n", "é"]
    chance = random.Random(0)
    prompts = ["".join(chance.choices(pieces, k=chance.randint(1, 12))) for _ in range(5000)]
    positions = {prompt: error_position(prompt) for prompt in prompts}
    assert all(0 <= at < len(prompt) for prompt, at in positions.items() if at is not None)
    assert 500 < sum(at is None for at in positions.values()) < 4500


def error_position(prompt: str) -> int | None:
    try:
        prompt_schedule(parse_prompt(prompt), 3)
    except PromptError as error:
        return error.position
    return None


def test_parsing_is_deterministic_and_hashable():
    prompt = "[a|b:c|(d:1.2)] e AND <lora:f:1> [g:h:0.5] :2"
    assert parse_prompt(prompt) == parse_prompt(prompt)
    assert len({parse_prompt(prompt), parse_prompt(prompt)}) == 1


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", ["word, ", "(a:1.2) ", "[a|b]", ":   ", "\\", "1", " ", "<lora:x:1>"])
def test_the_longest_prompt_allowed_parses_in_moments(piece: str):
    prompt_schedule(parse_prompt(piece * (20_000 // len(piece))), 20)


DIGITS, SPACES = "1" * 20_000, " " * 20_000


@pytest.mark.parametrize(
    "prompt",
    [
        f":{DIGITS}x",
        f":{DIGITS[:9000]}.{DIGITS[:9000]}x",
        f":{DIGITS[:9000]}{SPACES[:9000]}x",
        f"(a:{DIGITS}",
        f"(a:{DIGITS}x)",
        f"[a:b:{DIGITS}",
        f"[a:b:{DIGITS}{SPACES}x]",
        f":{SPACES}x",
        f"(a:.{DIGITS}x)",
        f"a AND b :{DIGITS}x",
        *(piece * 20_000 for piece in "()[]:|\\,.1 <\n-a"),
        *(piece * 3000 for piece in ("<lora:", ":1x", ":.1 ", "[a|", "(a:1", ":1.:", "AND ", "\\(")),
    ],
    ids=lambda prompt: repr(prompt[:12]),
)
def test_no_prompt_takes_long_to_read_or_to_refuse(prompt: str):
    """Well under half a second each; the bound leaves room for a busy machine, and minutes miss it."""
    begun = time.process_time()
    error_position(prompt[:20_000])
    assert time.process_time() - begun < 5


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_step_beyond_all_numbers_is_as_good_as_never_or_at_once(sign: str):
    (only,) = prompt_schedule(parse_prompt(f"[a:b:{sign}{'9' * 400}]"), 20)
    assert only.parts[0].segments == ((Span("b" if sign else "a"),),)
