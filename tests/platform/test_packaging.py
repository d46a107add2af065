"""What is tracked: nothing of one machine, no registry, nothing unfinished, not too much."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LARGEST_TREE = 58 * 2**20
TEXT = {"", ".cfg", ".css", ".html", ".js", ".json", ".md", ".py", ".sh", ".toml", ".txt", ".yaml", ".yml"}

# Written in pieces, so that this file does not contain what it looks for.
FOREIGN = re.compile(
    "|".join(
        [
            r"(?<![\w.])/(?:root|work|farm|home/\w+|Users/\w+)/",
            "files[.]" + "pythonhosted",
            "pypi[.]" + r"(?:org|python)/(?:simple|packages)",
            "registry[.]" + "npmjs",
            r"--(?:extra-)?index-url\s+\S",
            "-----BEGIN " + "[A-Z ]*PRIVATE KEY",
            r"\bhf_[A-Za-z0-9]{30,}\b",
        ]
    )
)
UNFINISHED = re.compile(r"\b(?:TO" + "DO|FIX" + "ME|XX" + "X|raise NotImplemented" + "Error)\\b")


def tracked_files() -> list[Path]:
    """What git tracks; in a copy that came without git, every file but what launch.py and Python make."""
    if not (ROOT / ".git").exists():
        made = {".venv", "__pycache__", ".mypy_cache", ".pytest_cache", ".ruff_cache", "easel.egg-info"}
        return [path for path in ROOT.rglob("*") if path.is_file() and not made & set(path.parts)]
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for name in listing.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def lines_matching(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:120]}"
        for path in paths
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if pattern.search(line)
    ]


def source_files() -> list[Path]:
    folders = (ROOT / "studio", ROOT / "ui")
    return [
        path
        for path in tracked_files()
        if path.suffix == ".py" and any(path.is_relative_to(folder) for folder in folders)
    ]


def test_no_tracked_text_names_a_machine_path_a_registry_or_a_secret():
    texts = [path for path in tracked_files() if path.suffix in TEXT]
    assert len(texts) > 100
    offenders = lines_matching(FOREIGN, texts)
    assert not offenders, "\n".join(offenders)


def test_no_source_file_is_left_unfinished():
    assert len(source_files()) > 60
    offenders = lines_matching(UNFINISHED, source_files())
    assert not offenders, "\n".join(offenders)


def test_the_tracked_tree_stays_small():
    assert sum(path.stat().st_size for path in tracked_files()) < LARGEST_TREE


def test_the_constraints_pin_every_package_exactly():
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert len(pins) > 100
    assert all(re.match(r"[a-z0-9._-]+==[\w.+]+( ; .+)?$", pin) for pin in pins)


@pytest.mark.parametrize("package", ["torch", "torchvision", "diffusers", "transformers", "gradio"])
def test_the_installed_version_is_the_pinned_one(package):
    """The tests speak for the pins, so they must run with them."""
    from importlib.metadata import version

    pins = (ROOT / "constraints.txt").read_text("utf-8")
    assert re.search(rf"^{package}=={re.escape(version(package))}\b", pins, re.MULTILINE)
