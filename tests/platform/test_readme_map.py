"""The README's map: every tracked file has its place in it, and it says what the files say of themselves."""

from __future__ import annotations

import re

import pytest

from tests.platform import readme_map
from tests.platform.readme_map import ROOT, WHOLE, rewritten
from tests.platform.test_packaging import tracked_files

README = (ROOT / "README.md").read_text("utf-8")
REMEDY = "run `python -m tests.platform.readme_map`; what a file is for stands in its first line"


def mapped() -> set[str]:
    """The paths that the map annotates: two spaces a level, folders end in a slash."""
    drawing = README.split("## Map\n")[1].split("\n## ")[0]
    paths = set()
    chapters = re.findall(r"(?:<code>(\S+)</code></summary>\n\n)?```\n(.*?)```", drawing, re.DOTALL)
    for chapter, block in chapters:
        folders: list[str] = []
        for indent, name in re.findall(r"^( *)(\S+) +\S", block, re.MULTILINE):
            folders = folders[: len(indent) // 2]
            paths.add("".join([chapter, *folders, name]))
            folders.append(name)
    return paths


def place_of(name: str) -> str:
    """What must stand in the map for a file: itself, or the folder whose line speaks for it."""
    folder, _, file = name.rpartition("/")
    whole = [outer for outer in WHOLE if name.startswith(f"{outer}/")]
    told_by_folder = file == "__init__.py" or file.startswith("test_")
    return f"{whole[0]}/" if whole else f"{folder}/" if told_by_folder else name


def test_every_tracked_file_has_its_place_in_the_map():
    places = {place_of(path.relative_to(ROOT).as_posix()) for path in tracked_files()}
    assert len(places) > 300
    assert places - mapped() == set(), REMEDY


def test_the_map_names_nothing_that_is_not_there():
    assert [name for name in sorted(mapped()) if not (ROOT / name).exists()] == [], REMEDY


def test_the_map_says_what_the_files_say_of_themselves():
    assert rewritten(README) == README, REMEDY


def test_no_note_is_kept_for_a_file_that_is_gone():
    assert [name for name in readme_map.NOTES if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    ("name", "text", "note"),
    [
        ("a.py", '"""Reads masks.\n\nAnd more."""\n', "Reads masks"),
        ("a.js", "// Reads masks (see mask.js). Then more\n// of it.\n", "Reads masks (see mask.js)"),
        ("a.css", "/* Masks. */\n", "Masks"),
        ("a.js", "let mask = 1; // no comment at the top\n", ""),
        ("a.txt", "masks\n", ""),
    ],
)
def test_a_file_says_in_its_first_line_what_it_is_for(tmp_path, monkeypatch, name, text, note):
    monkeypatch.setattr(readme_map, "ROOT", tmp_path)
    (tmp_path / name).write_text(text)
    assert readme_map.note_of(tmp_path / name) == note
