"""Errors become sentences at their field, never a trace."""

import pytest
from pydantic import ValidationError

from studio.core.errors import InvalidRequest, QueueFull
from studio.core.requests import GenerateRequest, InstallRequest
from ui.problems import Problem, guarded, problems_html, problems_of


def problem_with(record=GenerateRequest, **values):
    with pytest.raises(ValidationError) as refused:
        record.model_validate(values)
    (problem,) = problems_of(refused.value)
    return problem


@pytest.mark.parametrize(
    ("values", "field", "sentence"),
    [
        ({"width": 8}, "width", "Width is 8. Give it 64 or more."),
        ({"steps": 500}, "steps", "Steps is 500. Give it 150 or less."),
        ({"height": 517}, "height", "Height is 517, which is no multiple of 8. Try 520."),
        ({"width": 99_999}, "width", "Width is 99999, which is no multiple of 8. Try 4096."),
        ({"width": 3}, "width", "Width is 3, which is no multiple of 8. Try 64."),
        ({"seed": None}, "seed", "Seed is empty. Give it a value."),
        ({"seed": 2**40}, "seed", "Seed is 1099511627776. Give it 4294967295 or less."),
        ({"hires": {"scale": 9}}, "hires.scale", "Hires scale is 9. Give it 4 or less."),
    ],
)
def test_a_value_out_of_bounds_says_need_have_and_remedy(values, field, sentence):
    assert problem_with(**values) == Problem(sentence, field)


def test_a_long_prompt_an_unknown_sampler_and_a_fraction_are_explained():
    assert "20001 characters, but 20000 fit" in problem_with(prompt="x" * 20_001).message
    assert "Choose 'DPM++ 2M'" in problem_with(sampler="None such").message
    assert problem_with(batch_size=1.5).message.startswith("Batch size is '1.5'.")


def test_an_entry_of_the_stack_is_named_as_a_person_counts():
    problem = problem_with(loras=[{"model": "a"}, {"model": "b", "weight": 11}])
    assert problem == Problem("LoRA 2 weight is 11. Give it 10 or less.", "loras.1.weight")
    problem = problem_with(loras=[{"model": "a", "start": 0.5, "end": 0.2}])
    assert problem == Problem("LoRA 1: the start (0.5) must lie before the end (0.2).", "loras.0")


def test_a_wrong_hub_id_shows_how_one_looks():
    problem = problem_with(InstallRequest, repo="just-a-name")
    assert problem.field == "repo"
    assert "owner/name" in problem.message


def test_an_error_of_easel_keeps_its_sentence_and_field():
    error = InvalidRequest("It needs a.", "Give it b.", field="vae")
    assert problems_of(error) == (Problem("It needs a. Give it b.", "vae"),)


def test_an_unforeseen_error_shows_nothing_of_its_inside():
    (problem,) = problems_of(RuntimeError("secret /path/of/this/machine"))
    assert "secret" not in problem.message


def test_what_people_wrote_is_escaped():
    html = problems_html((Problem("<img src=x onerror=y>", "a.b"),))
    assert "<img" not in html
    assert 'data-field="a-b"' in html


def test_a_handler_that_fails_fills_the_banner_and_one_that_works_clears_it():
    def full():
        raise QueueFull("200 jobs wait.", "Wait for one.")

    assert "200 jobs wait." in guarded("banner", full, {"banner": ""})()["banner"]
    assert guarded("banner", lambda: {"field": 1}, {"banner": ""})() == {"banner": "", "field": 1}
