"""`easel bench generate`: seconds a picture, time to the first preview, peak memory, model switches."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from studio.app.bench.sides import Case, Diffusers, Ours, SideProcess

REPEATS = (1, 4, 20)


@dataclass(frozen=True)
class Row:
    """One figure, ours beside diffusers'."""

    figure: str
    ours: float
    diffusers: float
    unit: str

    @property
    def ratio(self) -> float:
        """Ours over diffusers'; below 1 is better."""
        return self.ours / self.diffusers if self.diffusers else float("nan")


def bench_generate(
    case: Case, repeats: tuple[int, ...] = REPEATS, progress: Callable[[str], None] = lambda _: None
) -> Iterator[Row]:
    """The rows of a case's table, as they are measured.

    Pictures are made in turn by both sides, so that whatever else the machine does hits both alike.
    """
    with SideProcess(Ours, case) as ours, SideProcess(Diffusers, case) as theirs:
        progress("first picture, models loaded from disk")
        cold = ours.generate(case.models[0], 0), theirs.generate(case.models[0], 0)
        yield Row("first picture, cold", cold[0].seconds, cold[1].seconds, "s")
        for count in repeats:
            progress(f"{count} pictures by turns")
            timings = [
                (ours.generate(case.models[0], seed), theirs.generate(case.models[0], seed))
                for seed in range(1, count + 1)
            ]
            yield _median(f"a picture, of {count}", [(a.seconds, b.seconds) for a, b in timings])
        yield _median("first preview", [(a.first_preview, b.first_preview) for a, b in timings])
        if len(case.models) > 1:
            yield from _switches(case, ours, theirs)
        peaks = ours.peak_bytes(), theirs.peak_bytes()
        yield Row("peak main memory", peaks[0][0] / 2**20, peaks[1][0] / 2**20, "MB")
        if peaks[0][1]:
            yield Row("peak device memory", peaks[0][1] / 2**20, peaks[1][1] / 2**20, "MB")


def _switches(case: Case, ours: SideProcess, theirs: SideProcess) -> Iterator[Row]:
    """First picture after a switch: to a model not yet seen, and back to the one before."""
    first, second = case.models[:2]
    for label, model in (("to another model", second), ("and back", first)):
        a, b = ours.generate(model, 0), theirs.generate(model, 0)
        yield Row(f"switch {label}, with a picture", a.seconds, b.seconds, "s")


def _median(figure: str, pairs: list[tuple[float, float]]) -> Row:
    ours, theirs = zip(*pairs, strict=True)
    return Row(figure, statistics.median(ours), statistics.median(theirs), "s")
