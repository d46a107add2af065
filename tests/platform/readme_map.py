"""Writes the README's map of the repository anew from what each file says of itself in its first line.

`python -m tests.platform.readme_map`, after a file was added, moved or removed, or its first line changed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_COLUMN = 31

NOTES = {
    "pyproject.toml": "Dependencies (floors), lint, types, tests",
    "constraints.txt": "The exact versions that were tested",
    "README.md": "This page",
    "CONTRIBUTING.md": "How to work on Easel: the house, style, tests, pins",
    "CHANGELOG.md": "What changed, for those who use it",
    "LICENSE": "Apache-2.0",
    ".gitignore": "What is made here and not tracked",
    ".ci": "`run`: what CI runs: `python launch.py test`, then lint and types",
    "docs": "Decisions with their reasons, figures with their commands, pictures",
    "assets": "What ships beside the code: the page's styles and behaviour, configurations, Toytown",
    "assets/catalogue.json": "Models that can be installed from the Hub, with sizes and licences",
    "assets/poses.json": "Poses to start from, 18 points each",
    "assets/configs": "Configurations of the known families: a single-file checkpoint needs no network",
    "assets/css": "The look, above what the theme says",
    "assets/examples": "Pictures that tabs open with",
    "assets/js": "The behaviour of own components; no build step",
    "assets/toytown": "The toy world: scenes of which every fact is known, and the training of its models",
    "assets/toytown/README.md": "What its prompts are, how it is trained, and what it gets right",
    "assets/toytown/models": "The trained weights, in the layouts of diffusers and transformers",
    "tests": "Mirrors studio/ and ui/; each `test_*.py` is named after what it tests",
    "tests/adapters": "What changes a model: files of every layout, exact numbers, and off without a trace",
    "tests/api": "HTTP over the stand-in: both APIs, the guard, the PyPI client webuiapi unchanged",
    "tests/app": "The queue (order, cancel, kill, restart), the whole engine over tiny models, the benchmark",
    "tests/browser": "The page in a real Chromium: desktop and phone, with the stand-in and with Toytown",
    "tests/cli": "The command line as processes; a served page, its start and its end",
    "tests/control": "Preprocessors: what each makes of a picture, and nets beside the originals",
    "tests/core": "The vocabulary: what models follow, files written whole",
    "tests/diffusion": "Prompt grammar and schedule, encoding, noise, masks, plan",
    "tests/models": "Probe, safe reading, loading, conversion, catalogue, install, manager",
    "tests/parity": "Final latents against diffusers' own pipelines, printed as a table",
    "tests/platform": "Launcher, doctor, import table, and what is tracked",
    "tests/storage": "Library, infotext, foreign files; a full disk and a kill at every moment",
    "tests/toytown": "The world, its tokens, its training, and the shipped models",
    "tests/ui": "Form, stream and words of the page; the stand-in keeps its promises",
}
"""What files and folders are that cannot say it themselves, by their path."""

WHOLE = {".ci", "docs", "assets/configs", "assets/examples", "assets/toytown/models"}
"""Folders whose one line stands for all that is in them."""


def note_of(path: Path) -> str:
    """What a file or folder says of itself, without the full stop; nothing where it says nothing."""
    name = path.relative_to(ROOT).as_posix()
    if name in NOTES:
        return NOTES[name]
    file = path / "__init__.py" if path.is_dir() else path
    read = {".py": _docstring, ".js": _first_comment, ".css": _first_comment}.get(file.suffix)
    return read(file) if read and file.is_file() else ""


def _docstring(module: Path) -> str:
    text = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
    return text.partition("\n")[0].removesuffix(".")


def _first_comment(file: Path) -> str:
    """The first sentence of a script or style sheet that starts with a comment."""
    found = re.match(r"(?://|/\*) (.+?)\.(?:\s|$)", file.read_text("utf-8").partition("\n")[0])
    return found[1] if found else ""


def is_listed(file: Path) -> bool:
    """Whether a file has a line of its own; a package and its tests are told of by their folder's."""
    return file.name != "__init__.py" and not file.name.startswith("test_") and bool(note_of(file))


def folders_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and note_of(path))


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and is_listed(path))


def lines_below(folder: Path, depth: int = 0) -> Iterator[str]:
    """The lines of what a folder holds: its files, then its folders with what they hold, by name."""
    if folder.relative_to(ROOT).as_posix() in WHOLE:
        return
    for file in files_in(folder):
        yield _line(file.name, depth, note_of(file))
    for inner in folders_in(folder):
        yield _line(f"{inner.name}/", depth, note_of(inner))
        yield from lines_below(inner, depth + 1)


def _line(name: str, depth: int, note: str) -> str:
    return ("  " * depth + name).ljust(_COLUMN) + note


def overview() -> Iterator[str]:
    """The first level, and the packages of the engine."""
    for path in [ROOT / "launch.py", *(ROOT / name for name in NOTES if "/" not in name)]:
        if path.is_file():
            yield _line(path.name, 0, note_of(path))
    for folder in folders_in(ROOT):
        yield _line(f"{folder.name}/", 0, note_of(folder))
        if folder.name == "studio":
            yield from (_line(file.name, 1, note_of(file)) for file in files_in(folder))
            yield from (_line(f"{inner.name}/", 1, note_of(inner)) for inner in folders_in(folder))


def chapters() -> list[Path]:
    """The folders that are drawn in full, each folded away."""
    return [*folders_in(ROOT / "studio"), *(ROOT / name for name in ("ui", "assets", "tests"))]


def _chapter(folder: Path) -> str:
    name = folder.relative_to(ROOT).as_posix()
    lines = "\n".join(lines_below(folder))
    return f"<details><summary><code>{name}/</code></summary>\n\n```\n{lines}\n```\n\n</details>\n"


def rewritten(readme: str) -> str:
    """`readme` with its map drawn anew; the words above it and all other parts stay."""
    before, heading, rest = readme.partition("## Map\n")
    words = rest.partition("```")[0]
    after = rest[rest.index("\n## ") :]
    drawn = "\n".join(overview())
    folded = "\n".join(_chapter(folder) for folder in chapters())
    return f"{before}{heading}{words}```\n{drawn}\n```\n\n{folded}{after}"


if __name__ == "__main__":
    page = ROOT / "README.md"
    page.write_text(rewritten(page.read_text("utf-8")), "utf-8")
