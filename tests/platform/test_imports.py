"""Who may import whom. A rule is kept by naming the line that breaks it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

MAY_IMPORT = {
    "studio.core": {"studio.core"},
    "studio.storage": {"studio.storage", "studio.core"},
    "studio.models": {"studio.models", "studio.core"},
    "studio.adapters": {"studio.adapters", "studio.core", "studio.models"},
    "studio.control": {"studio.control", "studio.core", "studio.models"},
    "studio.diffusion": {
        "studio.diffusion",
        "studio.core",
        "studio.models",
        "studio.adapters",
        "studio.control",
    },
    "studio.training": {
        "studio.training",
        "studio.core",
        "studio.storage",
        "studio.models",
        "studio.adapters",
        "studio.control",
        "studio.diffusion",
    },
    "studio.compare": {"studio.compare", "studio.core", "studio.storage", "studio.diffusion"},
    "studio.labels": {"studio.labels", "studio.core", "studio.storage", "studio.diffusion"},
    "studio.app": {
        "studio.app",
        "studio.core",
        "studio.storage",
        "studio.models",
        "studio.adapters",
        "studio.control",
        "studio.diffusion",
        "studio.training",
        "studio.compare",
        "studio.labels",
    },
    "studio.api": {"studio.api", "studio.core"},
    "ui": {"ui", "studio.core"},
}
"""Every part and the parts it may import. `studio.cli` is missing: it wires them together."""

WITHOUT_TORCH = ("studio.core", "studio.storage", "studio.api", "ui", "studio.diffusion.plan")
HEAVY = {"torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "onnxruntime"}


@dataclass(frozen=True)
class Import:
    """One imported module, with the place that imports it."""

    importer: str
    imported: str
    place: str

    def __str__(self) -> str:
        return f"{self.place}: {self.importer} imports {self.imported}"


def imports_below(root: Path) -> Iterator[Import]:
    for folder in ("studio", "ui"):
        for path in sorted((root / folder).rglob("*.py")):
            yield from imports_of(path, root)


def imports_of(path: Path, root: Path) -> Iterator[Import]:
    relative = path.relative_to(root)
    importer = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        for name in imported_names(node, importer):
            yield Import(importer, name, f"{relative.as_posix()}:{node.lineno}")


def imported_names(node: ast.AST, importer: str) -> list[str]:
    """Modules that an import statement names; `from a import b` may mean the module a.b, so that is given."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    above = importer.split(".")[: -node.level] if node.level else []
    module = ".".join([*above, *filter(None, [node.module])])
    return [f"{module}.{alias.name}" for alias in node.names]


def is_within(module: str, part: str) -> bool:
    return module == part or module.startswith(f"{part}.")


def part_of(module: str) -> str | None:
    return next((part for part in MAY_IMPORT if is_within(module, part)), None)


def breaks_the_table(found: Import) -> bool:
    importer = part_of(found.importer)
    if importer is None or (not is_within(found.imported, "studio") and not is_within(found.imported, "ui")):
        return False
    return not any(is_within(found.imported, part) for part in MAY_IMPORT[importer])


def needs_torch_where_it_may_not(found: Import) -> bool:
    light = any(is_within(found.importer, part) for part in WITHOUT_TORCH)
    return light and found.imported.split(".")[0] in HEAVY


def test_every_part_imports_only_what_the_table_allows():
    offenders = [str(found) for found in imports_below(ROOT) if breaks_the_table(found)]
    assert not offenders, "\n".join(offenders)


def test_no_light_part_imports_torch():
    offenders = [str(found) for found in imports_below(ROOT) if needs_torch_where_it_may_not(found)]
    assert not offenders, "\n".join(offenders)


def test_the_tree_is_not_empty():
    imports = list(imports_below(ROOT))
    files = {found.place.split(":")[0] for found in imports}
    assert len(files) >= 60
    assert len(imports) >= 500
    assert {part_of(found.importer) for found in imports} >= {
        "studio.core",
        "studio.storage",
        "studio.models",
        "studio.diffusion",
        "studio.app",
        "studio.api",
        "ui",
    }


@pytest.mark.parametrize(
    ("file", "line", "breaks"),
    [
        ("studio/core/bad.py", "from studio.storage import library", True),
        ("studio/api/bad.py", "from studio.app.studio import build_studio", True),
        ("studio/api/bad.py", "from studio import app", True),
        ("ui/bad.py", "import studio.models.probe", True),
        ("studio/storage/bad.py", "from ..models import probe", True),
        ("studio/api/good.py", "from studio.core.errors import NotFound", False),
        ("studio/diffusion/good.py", "from . import plan", False),
        ("ui/good.py", "import gradio", False),
    ],
)
def test_the_table_is_enforced(tmp_path: Path, file: str, line: str, breaks: bool):
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(f"def lazily():\n    {line}\n")
    (found,) = imports_of(path, tmp_path)
    assert breaks_the_table(found) is breaks
    assert found.place == f"{file}:2"


@pytest.mark.parametrize(
    "module", ["studio.core.protocol", "studio.cli", "studio.app.studio", "studio.api.app", "ui.app"]
)
def test_importing_what_the_page_needs_leaves_torch_alone(module: str):
    script = f"import sys, {module}; print(sorted({HEAVY!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "[]"
