"""How long a job will take, from what others took."""

from __future__ import annotations

import pytest

from studio.app.estimate import Estimate
from studio.core.requests import GenerateRequest, HiresPass, InstallRequest
from studio.storage.jobs import Pace

REQUEST = GenerateRequest(model="toy", width=64, height=64, steps=20, seed=1)
A_SECOND_A_STEP = 20.0
"""19 steps after the first one, and decoding, which counts as another."""


def learned(*seconds: float) -> Estimate:
    estimate = Estimate([])
    for each in seconds:
        estimate.learn(REQUEST, each)
    return estimate


def changed(**fields: object) -> GenerateRequest:
    return REQUEST.model_copy(update=fields)


@pytest.mark.parametrize(
    ("request_", "seconds"),
    [
        (REQUEST, 21),
        (changed(steps=40), 41),
        (changed(batches=3), 63),
        (changed(width=128, height=128), 84),
        (changed(hires=HiresPass(scale=2, steps=9, strength=1)), 61),
    ],
)
def test_a_job_takes_its_share_of_what_another_took(request_: GenerateRequest, seconds: float):
    assert learned(A_SECOND_A_STEP).seconds(request_) == pytest.approx(seconds)


@pytest.mark.parametrize("others", [1, 2, 4])
def test_one_job_that_had_to_wait_for_something_does_not_count(others: int):
    usual = [A_SECOND_A_STEP] * others
    for order in ([1000.0, *usual], [*usual, 1000.0]):
        assert learned(*order).seconds(REQUEST) == pytest.approx(21)


def test_a_machine_that_became_slower_is_believed_after_some_jobs():
    assert learned(*[A_SECOND_A_STEP] * 20, *[100.0] * 3).seconds(REQUEST) == pytest.approx(105)


def test_earlier_runs_count_and_the_newest_of_them_most():
    paces = [Pace(REQUEST, seconds) for seconds in (*[A_SECOND_A_STEP] * 5, *[1000.0] * 9)]
    assert Estimate(paces).seconds(REQUEST) == pytest.approx(21)


def test_other_models_and_other_kinds_of_jobs_tell_nothing():
    estimate = learned(A_SECOND_A_STEP)
    install = InstallRequest(repo="a/b")
    estimate.learn(install, 5)
    assert estimate.seconds(install) is None
    assert estimate.seconds(changed(model="other")) is None
