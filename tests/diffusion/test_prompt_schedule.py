"""Which text is shown at which step; the examples are those of AUTOMATIC1111's documentation."""

from __future__ import annotations

import pytest

from studio.diffusion.prompt import ScheduledPrompt, parse_prompt, prompt_schedule


def text_of(scheduled: ScheduledPrompt) -> str:
    (part,) = scheduled.parts
    return "".join(span.text for segment in part.segments for span in segment)


def schedule(prompt: str, steps: int = 10, earlier_steps: int = 0) -> list[tuple[int, str]]:
    scheduled = prompt_schedule(parse_prompt(prompt), steps, earlier_steps=earlier_steps)
    return [(entry.until_step, text_of(entry)) for entry in scheduled]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("test", [(10, "test")]),
        ("a [b:3]", [(3, "a "), (10, "a b")]),
        ("a [b: 3]", [(3, "a "), (10, "a b")]),
        ("a [b::3]", [(3, "a b"), (10, "a ")]),
        ("a [[[b]]:2]", [(2, "a "), (10, "a b")]),
        ("[(a:2):3]", [(3, ""), (10, "a")]),
        ("a [b : c : 1] d", [(1, "a b  d"), (10, "a  c  d")]),
        ("a[b:[c:d:2]:1]e", [(1, "abe"), (2, "ace"), (10, "ade")]),
        ("a [b:.5] c", [(5, "a  c"), (10, "a b c")]),
        ("[a:b:0.25]", [(2, "a"), (10, "b")]),
        ("[a:b:0]", [(10, "b")]),
        ("[a:b:-1]", [(10, "b")]),
        ("[a:b:10]", [(10, "a")]),
        ("[a:b:99]", [(10, "a")]),
        ("[a:b:1.0]", [(10, "a")]),
        ("[a:a:5]", [(10, "a")]),
    ],
)
def test_a_switch_happens_after_its_step(prompt: str, expected: list[tuple[int, str]]):
    assert schedule(prompt) == expected


def test_alternation_takes_turns_each_step():
    assert schedule("a [b|c] d", 4) == [(1, "a b d"), (2, "a c d"), (3, "a b d"), (4, "a c d")]


def test_alternation_may_leave_out_text_within_a_word():
    assert schedule("[fe|]male", 3) == [(1, "female"), (2, "male"), (3, "female")]


def test_several_empty_options_are_several_turns():
    assert schedule("[fe|||]male", 6) == [(1, "female"), (4, "male"), (5, "female"), (6, "male")]


def test_alternation_and_switch_nest():
    assert schedule("[[a|b]:c:2]", 4) == [(1, "a"), (2, "b"), (4, "c")]


def test_text_on_both_sides_of_a_switch_stays_one_span():
    (first, second) = prompt_schedule(parse_prompt("x[y:z:1]w"), 2)
    assert [len(entry.parts[0].segments[0]) for entry in (first, second)] == [1, 1]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("[a:b:0.5]", [(4, "b")]),
        ("[a:b:1.5]", [(2, "a"), (4, "b")]),
        ("[a:b:3]", [(4, "b")]),
        ("[a:b:12]", [(2, "a"), (4, "b")]),
    ],
)
def test_a_hires_pass_goes_on_counting(prompt: str, expected: list[tuple[int, str]]):
    assert schedule(prompt, 4, earlier_steps=10) == expected


def test_parts_of_a_composition_switch_each_on_their_own():
    scheduled = prompt_schedule(parse_prompt("[a:b:1] AND [c:d:2]"), 3)
    assert [entry.until_step for entry in scheduled] == [1, 2, 3]
