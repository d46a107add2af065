"""Names of other studios for samplers, schedules and upscalers."""

import time

import pytest

from studio.core.sampler_names import known_schedule, read_sampler, read_upscaler
from studio.core.samplers import Sampler, Schedule, Upscaler, schedules_for


@pytest.mark.parametrize("sampler", Sampler)
def test_our_own_names_are_read_with_every_schedule_they_follow(sampler):
    for schedule in schedules_for(sampler):
        assert read_sampler(str(sampler), str(schedule)) == (sampler, schedule, ())


@pytest.mark.parametrize(
    ("name", "schedule", "expected"),
    [
        ("DPM++ 2M Karras", "", (Sampler.DPMPP_2M, Schedule.KARRAS)),
        ("DPM++ 2M SDE Exponential", "", (Sampler.DPMPP_2M_SDE, Schedule.EXPONENTIAL)),
        ("DPM++ SDE Karras", "", (Sampler.DPMPP_SDE, Schedule.KARRAS)),
        ("LMS Karras", "", (Sampler.LMS, Schedule.KARRAS)),
        ("euler A", "", (Sampler.EULER_A, Schedule.AUTOMATIC)),
        ("DPM2 Karras", "", (Sampler.DPM2, Schedule.KARRAS)),
        ("dpmpp_2m_sde_gpu", "karras", (Sampler.DPMPP_2M_SDE, Schedule.KARRAS)),
        ("euler_ancestral", "normal", (Sampler.EULER_A, Schedule.AUTOMATIC)),
        ("dpm_2", "sgm_uniform", (Sampler.DPM2, Schedule.SGM_UNIFORM)),
        ("uni_pc_bh2", "simple", (Sampler.UNIPC, Schedule.SIMPLE)),
        ("dpmpp_2m_sde_k", "", (Sampler.DPMPP_2M_SDE, Schedule.KARRAS)),
        ("euler_k", "", (Sampler.EULER, Schedule.KARRAS)),
        ("kdpm_2", "", (Sampler.DPM2, Schedule.AUTOMATIC)),
        ("pndm", "", (Sampler.PLMS, Schedule.AUTOMATIC)),
        ("k_euler_ancestral", "native", (Sampler.EULER_A, Schedule.AUTOMATIC)),
        ("k_dpm_2_a", "", (Sampler.DPM2_A, Schedule.AUTOMATIC)),
    ],
)
def test_other_studios_names_are_read(name, schedule, expected):
    assert read_sampler(name, schedule) == (*expected, ())


def test_a_sampler_that_easel_lacks_becomes_its_nearest_relative_with_a_warning():
    choice = read_sampler("DPM++ 3M SDE Karras")
    assert (choice.sampler, choice.schedule) == (Sampler.DPMPP_2M_SDE, Schedule.KARRAS)
    assert choice.warnings == ("Easel has no sampler 'DPM++ 3M SDE Karras'; DPM++ 2M SDE is used instead.",)


def test_an_unknown_sampler_becomes_the_default_with_a_warning():
    choice = read_sampler("Restart")
    assert choice.sampler is Sampler.DPMPP_2M
    assert "'Restart'" in choice.warnings[0]


def test_a_schedule_that_the_sampler_cannot_follow_is_dropped_with_a_warning():
    choice = read_sampler("Euler a", "Karras")
    assert choice.schedule is Schedule.AUTOMATIC
    assert choice.warnings == ("Euler a cannot follow the schedule 'karras'; its own is used.",)


def test_upscalers_are_read_or_replaced_by_the_nearest():
    assert read_upscaler("latent (nearest)") == (Upscaler.LATENT_NEAREST, ())
    assert read_upscaler("Latent (bicubic)")[0] is Upscaler.LATENT
    assert read_upscaler("4x-UltraSharp")[0] is Upscaler.LANCZOS


@pytest.mark.parametrize(
    "name",
    [
        "Automatic",
        "Uniform",
        "Karras",
        "Exponential",
        "Polyexponential",
        "SGM Uniform",
        "Simple",
        "Normal",
        "Beta",
    ],
)
def test_a_schedule_goes_by_its_label_and_by_its_name(name):
    assert known_schedule(name) is known_schedule(name.lower().replace(" ", "_")) is not None


def test_a_schedule_of_another_kind_is_none_of_ours():
    assert known_schedule("Align Your Steps") is None


def test_an_endless_name_is_read_in_moments():
    begun = time.process_time()
    assert read_sampler("k " * 100_000).warnings
    assert time.process_time() - begun < 5
