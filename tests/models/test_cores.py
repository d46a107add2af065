"""Torch gets as many threads as other programs leave cores idle."""

from __future__ import annotations

import time

import pytest
import torch

from studio.models.cores import CpuUse, IdleCores, read_cpu_use


class Machine:
    """A processor whose use is told, not measured."""

    def __init__(self) -> None:
        self.now = CpuUse(at=-100.0, everybody=0.0, ours=0.0)

    def read(self) -> CpuUse:
        return self.now

    def passes(self, seconds: float, *, others: float, ours: float) -> None:
        """`others` and `ours`: cores that were busy all the while."""
        self.now = CpuUse(
            self.now.at + seconds,
            self.now.everybody + seconds * (others + ours),
            self.now.ours + seconds * ours,
        )


@pytest.fixture(autouse=True)
def threads_restored():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("others", "ours", "threads"),
    [(0.1, 3.9, 4), (0.6, 3.4, 3), (2, 2, 2), (4, 0.5, 1), (9, 0, 1), (0, 0, 4), (-0.2, 4, 4)],
)
def test_busy_programs_take_their_cores(monkeypatch, others, ours, threads):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    machine = Machine()
    cores = IdleCores(4, machine.read)
    machine.passes(2, others=others, ours=ours)
    cores.adapt()
    assert torch.get_num_threads() == threads


def test_cores_come_back_when_the_others_are_done(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    machine = Machine()
    cores = IdleCores(4, machine.read)
    for others, threads in ((3, 1), (0, 4), (1, 3)):
        machine.passes(1, others=others, ours=1)
        cores.adapt()
        assert torch.get_num_threads() == threads


def test_what_happened_before_the_work_began_does_not_count(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    machine = Machine()
    cores = IdleCores(4, machine.read)
    machine.passes(60, others=4, ours=0)
    cores.begin()
    machine.passes(1, others=0, ours=4)
    cores.adapt()
    assert torch.get_num_threads() == 4


def test_a_number_that_the_user_fixed_stays(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    torch.set_num_threads(2)
    machine = Machine()
    cores = IdleCores(4, machine.read)
    machine.passes(1, others=4, ours=0)
    cores.adapt()
    assert torch.get_num_threads() == 2


def test_the_reading_knows_our_own_work_from_that_of_others():
    before = read_cpu_use()
    begun = time.process_time()
    while time.process_time() - begun < 0.2:
        sum(range(1000))
    after = read_cpu_use()
    assert after.ours - before.ours > 0.1
    assert after.everybody - before.everybody >= (after.ours - before.ours) - 0.1
    assert after.at > before.at
