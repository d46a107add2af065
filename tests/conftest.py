"""What all tests share: their order, how many run at once, what is told at the end, and the browser."""

from __future__ import annotations

import os

import psutil
import pytest

import launch

# Tiny models gain nothing from a second thread, and lose much where other work shares the machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

LAST = ("parity", "toytown", "browser")
"""Folders whose tests are slow; in this order, behind all others."""

LONGEST = (
    "browser/test_control.py",
    "browser/test_inpaint.py",
    "browser/test_boxes.py",
    "browser/test_stack.py",
)
"""Files that one process is busy with for a minute or more, the longest first."""

DIFFERENCE = "largest difference"
"""Property of a parity test's report: the largest difference that it found."""

_MOST_PROCESSES = 8
_BYTES_EACH = 3 * 2**30
"""Memory of a process of tests, with its browser."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Processes for `-n auto`: as many as cores are idle and memory has room for; two on a busy machine."""
    cores = psutil.cpu_count() or 1
    idle = round(cores * (1 - psutil.cpu_percent(interval=0.5) / 100))
    fitting = int(psutil.virtual_memory().available / _BYTES_EACH)
    return max(1, min(max(idle, min(cores, 2)), fitting, _MOST_PROCESSES))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In one process quick tests come first, so that a plain mistake shows within seconds.

    In several it is the long files, so that none is left for the end, when the others have nothing to do.
    """
    items.sort(key=_length if hasattr(config, "workerinput") else _rank)


def _rank(item: pytest.Item) -> int:
    folder = item.path.parent.name
    return LAST.index(folder) + 1 if folder in LAST else 0


def _length(item: pytest.Item) -> int:
    name = f"{item.path.parent.name}/{item.path.name}"
    return LONGEST.index(name) if name in LONGEST else len(LONGEST)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of differences that the parity tests leave behind."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    rows = [
        (report.nodeid.rpartition("::")[2], value)
        for report in reports
        for name, value in report.user_properties
        if name == DIFFERENCE
    ]
    if rows:
        terminalreporter.section("final latents, ours against diffusers: largest difference")
    for name, difference in rows:
        terminalreporter.line(f"{name:<68} {difference:.2e}")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the Chromium that browser tests drive; `launch.py test` has made sure that there is one."""
    path = launch.find_chromium()
    assert path, "Browser tests need a Chromium. Run them through: python launch.py test"
    return path
