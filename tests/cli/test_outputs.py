"""Names of results: nothing that is there is replaced, unless it is told to."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from studio.cli.outputs import Naming, place_for, places_for
from studio.core.errors import InvalidRequest

PICTURES = Naming((".png", ".jpg"))
USUAL = Path("out.png")
free = partial(places_for, force=False, naming=PICTURES)
forced = partial(places_for, force=True, naming=PICTURES)


@pytest.fixture
def ball(tmp_path: Path) -> Path:
    (tmp_path / "ball.png").touch()
    return tmp_path / "ball.png"


def test_one_result_has_the_name_itself_and_several_are_numbered(ball: Path):
    star = ball.with_name("star.png")
    assert free(star, USUAL, (), 1) == (star,)
    assert free(star, USUAL, (), 2) == (star.with_stem("star-1"), star.with_stem("star-2"))


def test_pictures_that_were_made_together_go_on_behind_those_that_are_there(ball: Path):
    ball.with_stem("ball-2").touch()
    assert free(ball, USUAL, (), 1) == (ball.with_stem("ball-3"),)
    assert free(ball, USUAL, (), 2) == (ball.with_stem("ball-3"), ball.with_stem("ball-4"))
    assert forced(ball, USUAL, (), 2) == (ball.with_stem("ball-1"), ball.with_stem("ball-2"))


def test_a_folder_takes_the_usual_name_and_a_bare_name_its_suffix(ball: Path):
    assert free(ball.parent, USUAL, (), 1) == (ball.parent / "out.png",)
    assert free(ball.with_name("a.v2"), USUAL, (), 1) == (ball.with_name("a.v2.png"),)
    with pytest.raises(InvalidRequest, match=r"ends in \.png, \.jpg, not 'ball\.gif'"):
        free(ball.with_suffix(".gif"), USUAL, (), 1)


def test_force_spares_sources_under_any_name(ball: Path):
    link = ball.with_name("link.png")
    link.symlink_to(ball)
    assert forced(ball, USUAL, (), 1) == (ball,)
    for source in (ball, link):
        with pytest.raises(InvalidRequest, match="it is a source"):
            forced(ball, USUAL, (source,), 1)
    ball.rename(ball.with_stem("ball-2"))
    with pytest.raises(InvalidRequest, match=r"replace ball-2\.png: it is a source"):
        forced(ball, USUAL, (ball.with_stem("ball-2"),), 3)


def test_a_link_to_nothing_is_something_that_is_there(tmp_path: Path):
    (tmp_path / "anna.safetensors").symlink_to(tmp_path / "gone")
    assert place_for(tmp_path / "anna", USUAL, ()) == tmp_path / "anna-2.safetensors"
